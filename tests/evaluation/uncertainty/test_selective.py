"""Risk-coverage curves against averages over every order of ties; thresholds against a search; bad input."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.errors import EmptyGroup, NonFiniteScores, SingleClassError
from firsthand.evaluation.uncertainty.selective import aurc, prr, risk_coverage, threshold_for_risk

from .slow import answers, unhurried

ERROR = [0, 0, 1, 1]
U = [0.1, 0.4, 0.35, 0.8]


def test_the_sheets_values():
    found = aurc(ERROR, U)
    assert (found.value, found.oracle, found.random) == pytest.approx((0.333333, 0.208333, 0.5), abs=5e-7)
    assert prr(ERROR, U) == pytest.approx(0.571429, abs=5e-7)


@unhurried
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=6))
def test_ties_are_averaged_over_their_orders(rows):
    error, u = zip(*rows, strict=True)
    orders = [p for p in permutations(range(len(u))) if [u[i] for i in p] == sorted(u)]
    curves = [np.cumsum([error[i] for i in p]) / np.arange(1, len(u) + 1) for p in orders]
    found = risk_coverage(error, u)
    assert found.risk == pytest.approx(np.mean(curves, axis=0))
    assert found.coverage == pytest.approx(np.arange(1, len(u) + 1) / len(u))
    assert found.threshold.tolist() == sorted(u)


@unhurried
@given(answers(), st.randoms(use_true_random=False))
def test_what_must_hold_of_any_answers(rows, random):
    error, u = rows
    found = aurc(error, u)
    assert found.oracle <= found.value + 1e-12
    assert aurc(error, error).value == pytest.approx(found.oracle)
    assert prr(error, error) == pytest.approx(1)
    assert prr(error, [1.0] * len(u)) == pytest.approx(0)
    assert prr(error, u) <= 1 + 1e-12
    assert aurc(error, [math.exp(x) for x in u]) == found
    shuffled = list(zip(error, u, strict=True))
    random.shuffle(shuffled)
    assert aurc(*zip(*shuffled, strict=True)).value == pytest.approx(found.value)


@unhurried
@given(answers(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]))
def test_the_threshold_answers_most_within_the_risk(rows, target):
    error, u = np.array(rows[0]), np.array(rows[1])
    best = max((t for t in u if error[u <= t].mean() <= target), default=-math.inf)
    found = threshold_for_risk(error, u, target)
    assert found.u == best
    assert found.coverage == (u <= best).mean()
    if math.isfinite(best):
        assert found.risk == error[u <= best].mean() <= target
    else:
        assert math.isnan(found.risk)
    assert math.isnan(found.bound)
    safe = threshold_for_risk(error, u, target, level=0.9)
    assert safe.u <= found.u
    if math.isfinite(safe.u):
        assert safe.risk < safe.bound <= target


def test_a_bound_is_clopper_and_pearsons_over_all_candidates():
    from scipy.stats import binomtest

    error = [0] * 190 + [1] * 10
    u = [0.0] * 195 + [1.0] * 5
    found = threshold_for_risk(error, u, 0.2, level=0.9)
    assert (found.u, found.risk) == (1.0, 0.05)
    one_sided = 0.05  # 0.1 over two candidates
    assert found.bound == pytest.approx(binomtest(10, 200).proportion_ci(1 - 2 * one_sided).high)


def test_with_a_level_the_risk_on_further_questions_is_kept():
    """Without one it is not: the threshold was chosen where the rows happened to be right."""
    over = {None: 0, 0.9: 0}
    answered = 0
    for seed in range(150):
        random = np.random.default_rng(seed)
        u = random.random(200).round(1)
        error = random.random(200) < 0.05 + 0.5 * u
        for level in over:
            found = threshold_for_risk(error, u, 0.3, level=level)
            share = [0.05, *[0.1] * 9, 0.05]  # of u's values 0, 0.1 … 1
            values = np.arange(11) / 10
            inside = values <= found.u
            if inside.any():
                answered += level is not None
                truth = np.average(0.05 + 0.5 * values[inside], weights=np.array(share)[inside])
                over[level] += truth > 0.3
    assert over[0.9] <= 15
    assert over[None] > 40
    assert answered > 100


def test_all_right_and_all_wrong():
    assert aurc([0, 0], [1.0, 2.0]).value == 0
    assert aurc([1, 1], [1.0, 2.0]).value == 1
    assert threshold_for_risk([1, 1], [1.0, 2.0], 0.5, level=0.9).u == -math.inf
    assert threshold_for_risk([0, 0], [1.0, 2.0], 0.0).coverage == 1
    for error in ([0, 0], [1, 1]):
        with pytest.raises(SingleClassError, match="2 answers"):
            prr(error, [1.0, 2.0])


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda: risk_coverage([], []), EmptyGroup, "no rows"),
        (lambda: aurc([1, 0], [1.0]), InputError, "1 rows where 2"),
        (lambda: prr([1, 0], [1.0, math.nan]), NonFiniteScores, "rows 1"),
        (lambda: threshold_for_risk(ERROR, U, 1.0), InputError, "target"),
        (lambda: threshold_for_risk(ERROR, U, -0.1), InputError, "target"),
        (lambda: threshold_for_risk(ERROR, U, True), InputError, "target"),
        (lambda: threshold_for_risk(ERROR, U, 0.5, level=1.0), InputError, "level"),
    ],
)
def test_bad_input(call, kind, says):
    with pytest.raises(kind, match=says):
        call()
