"""What timing noise does to efficiency scores, between two passes of a judge."""

from __future__ import annotations

import numpy as np
import pytest

from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores.attempts import Attempt
from firsthand.evaluation.codearena.scores.noise import compare_passes, flip_probability


def league(times):
    return [
        Attempt(user, problem, time is not None, time)
        for user, problems in times.items()
        for problem, time in problems.items()
    ]


FIRST = league(
    {
        "A": {"P1": 10, "P2": 50},
        "B": {"P1": 11, "P2": 80},
        "C": {"P1": 30, "P2": None},
        "D": {"P1": 30, "P2": 90},
    }
)


def test_the_same_pass_twice():
    found = compare_passes(FIRST, FIRST)
    assert (found.tau, found.pairs, found.flips) == (1.0, 8, 0)  # C and D took equally long on P1
    assert (found.close_pairs, found.close_flips, found.flip_rate) == (1, 0, 0.0)


def test_a_close_pair_flips():
    second = league(
        {"A": {"P1": 12, "P2": 55}, "B": {"P1": 11, "P2": 80}, "C": {"P1": 31, "P2": None}, "D": {"P1": 32, "P2": 81}}
    )  # fmt: skip
    found = compare_passes(FIRST, second)
    assert (found.pairs, found.flips, found.close_pairs, found.close_flips) == (8, 1, 1, 1)
    assert (found.flip_rate, found.close_flip_rate) == (0.125, 1.0)
    assert compare_passes(FIRST, second, close_ms=0).close_flip_rate is None


def test_tau_is_of_the_users_sums():
    one, other = league({"A": {"P1": 10}, "B": {"P1": 11}}), league({"A": {"P1": 12}, "B": {"P1": 11}})
    assert compare_passes(one, other).tau == -1
    assert compare_passes(one, other, es_tolerance=25).tau is None  # all have the same


def test_as_often_as_theory_says():
    random = np.random.default_rng(0)
    problems = [f"p{number}" for number in range(4000)]
    true = {"A": 100.0, "B": 101.0}
    passes = [
        league({user: {p: time + random.normal(0, 2) for p in problems} for user, time in true.items()})
        for _ in range(2)
    ]
    wrong = flip_probability(1.0, 2.0)
    # two passes disagree where one of them is wrong
    assert compare_passes(*passes).flip_rate == pytest.approx(2 * wrong * (1 - wrong), abs=0.025)


def test_nothing_to_compare():
    found = compare_passes([], [])
    assert (found.tau, found.pairs, found.flip_rate) == (None, 0, None)
    assert compare_passes(FIRST[:1], FIRST[:1]).tau is None


def test_bad_input():
    with pytest.raises(
        InputError, match=r"'A' solved 'P1' in one pass and not in the other \(1 such pairs\)"
    ):
        compare_passes(FIRST, FIRST[1:])
    with pytest.raises(InputError, match="close_ms must be a finite number"):
        compare_passes(FIRST, FIRST, close_ms=-1)
    for gap, noise in ((1, 0), (-1, 1), (float("nan"), 1), (1, float("inf"))):
        with pytest.raises(InputError, match="noise_ms above 0"):
            flip_probability(gap, noise)
