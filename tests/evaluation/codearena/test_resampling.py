"""Intervals over problems: against resampling one by one, and what must hold of ranks."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores.attempts import Attempt
from firsthand.evaluation.codearena.scores.points import score
from firsthand.evaluation.codearena.scores.ranks import ranks_of
from firsthand.evaluation.codearena.scores.score_table import performance_points

from .slow_points import PROBLEMS, league

COUNTS = np.array([[1, 1, 1, 1], [0, 4, 0, 0], [2, 0, 1, 1], [0, 0, 0, 4]])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_ranks(scores):
    wanted = [1 + sum(other > mine for other in scores) for mine in scores]
    assert ranks_of(np.array(scores, float)).tolist() == wanted
    assert ranks_of(np.array([scores, scores], float)).tolist() == [wanted, wanted]


def test_ranks_pass_over_rounding():
    assert ranks_of(np.array([0.1 + 0.2, 0.3, 0.2999])).tolist() == [1, 1, 3]


@pytest.mark.parametrize("rules", [{}, {"es_weight": 0.5, "challenge": "share"}, {"aggregate": "dmoj"}])
@settings(max_examples=30, deadline=None)
@given(attempts=league(most=20))
def test_a_weight_is_a_problem_that_comes_so_often(rules, attempts):
    """The scores behind the intervals equal those of boards with copies of problems."""
    table = score(attempts, PROBLEMS, **rules)
    names = list(PROBLEMS)
    problems, copied = [{} for _ in COUNTS], [[] for _ in COUNTS]
    for number, counts in enumerate(COUNTS):
        for name, count in zip(names, counts, strict=True):
            for copy in range(count):
                problems[number][f"{name}-{copy}"] = PROBLEMS[name]
                copied[number] += [
                    replace(a, problem=f"{name}-{copy}") for a in attempts if a.problem == name
                ]
    found = table.resampled(COUNTS)
    for number in range(len(COUNTS)):
        board = score(copied[number], problems[number], **rules)
        dp = {row.user: row.dp for row in board.rows}
        wanted = [dp.get(row.user, 0.0) for row in table.rows]  # absent: tried none of those drawn
        assert found[number] == pytest.approx(wanted)


def test_performance_points_stop_at_a_hundred():
    problems = {f"p{number}": 1.0 + number % 5 for number in range(80)}
    attempts = [Attempt("A", name, True, 1.0) for name in problems]
    found = score(attempts, problems, aggregate="dmoj").resampled(np.full((1, 80), 2))
    assert found[0, 0] == pytest.approx(performance_points([*problems.values()] * 2))


def two_of_a_kind(n=40):
    """A and B alternate in speed; C solves nothing."""
    problems = {f"p{number:02}": 5.0 for number in range(n)}
    attempts = []
    for number, name in enumerate(problems):
        attempts += [
            Attempt("A", name, True, 10.0 + number % 2),
            Attempt("B", name, True, 11.0 - number % 2),
            Attempt("C", name, False, None),
        ]
    return score(attempts, problems)


def test_what_is_certain_and_what_is_not():
    table = two_of_a_kind()
    found = table.bootstrap(500)
    assert found.n == 500
    assert found.above("A", "C") == found.above("B", "C") == 1.0
    assert 0.3 < found.above("A", "B") < 0.6
    ties = np.mean(found.ranks[:, 0] == found.ranks[:, 1])
    assert found.above("A", "B") + found.above("B", "A") + ties == pytest.approx(1)
    assert np.allclose(found.above_matrix()[0], [0, found.above("A", "B"), 1])
    rows = {row.user: row for row in found.rows}
    assert (rows["C"].rank, rows["C"].rank_low, rows["C"].rank_high) == (3, 3, 3)
    assert (rows["A"].rank_low, rows["A"].rank_high) == (1, 2)
    for row in found.rows:
        assert row.low <= row.score <= row.high
        assert row.score == pytest.approx(table.of(row.user).dp)
        assert row.rank == table.of(row.user).rank


def test_width_is_that_of_the_mean():
    """For the plain sum the bootstrap's standard error is √N times the spread over problems."""
    random = np.random.default_rng(3)
    problems = {f"p{number:03}": 5.0 for number in range(200)}
    attempts = [
        Attempt(user, name, bool(random.random() < 0.5), float(random.random()))
        for name in problems
        for user in "ABC"
    ]
    table = score(attempts, problems)
    found = table.bootstrap(4000, level=0.95)
    for row in found.rows:
        points = np.zeros(200)
        for pair in table.breakdown(row.user):
            points[int(pair.problem[1:])] = pair.cs + pair.es
        assert (row.high - row.low) / 2 == pytest.approx(1.96 * points.std() * np.sqrt(200), rel=0.08)


def test_same_seed_same_draws():
    table = two_of_a_kind()
    one, same, other = table.bootstrap(50, seed=1), table.bootstrap(50, seed=1), table.bootstrap(50, seed=2)
    assert one == same
    assert np.array_equal(one.scores, same.scores)
    assert not np.array_equal(one.scores, other.scores)
    found = json.loads(json.dumps(one.as_dict(), allow_nan=False))
    assert (found["n"], found["level"], found["rows"][2]["user"]) == (50, 0.95, "C")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"n": 0}, "n must be at least 1 resample"),
        ({"n": True}, "n must be"),
        ({"n": 2.5}, "n must be"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"unit": "user"}, "unit must be 'problem'"),
    ],
)
def test_bad_arguments(arguments, says):
    with pytest.raises(InputError, match=says):
        two_of_a_kind(2).bootstrap(**arguments)


def test_nothing_to_draw():
    with pytest.raises(InputError, match="no problem to draw"):
        score([], {}).bootstrap()
    assert score([], {"P1": 5}).bootstrap(10).rows == ()
    with pytest.raises(InputError, match="'Z' is not on this board"):
        two_of_a_kind(2).bootstrap(10).above("A", "Z")
