"""The paper's example and hand-computed figures, in both readings."""

from __future__ import annotations

import pytest

from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores.attempts import Attempt
from firsthand.evaluation.codearena.scores.noise import flip_probability
from firsthand.evaluation.codearena.scores.points import score
from firsthand.evaluation.codearena.scores.score_table import performance_points

# Figure 3 of the paper: P1 5 points, P2 3 points, P3 5 points; ms of those who passed, None of those who failed
PROBLEMS = {"P1": 5, "P2": 3, "P3": 5}
FIGURE_3 = {
    "A": {"P1": 58, "P2": 42, "P3": None},
    "B": {"P1": None, "P2": 24, "P3": 19},
    "C": {"P1": None, "P2": 48, "P3": 22},
}
WITH_D = {**FIGURE_3, "D": {"P1": 58, "P2": None}}


def attempts_of(board):
    return [
        Attempt(user, problem, time is not None, time)
        for user, times in board.items()
        for problem, time in times.items()
    ]


def dp_of(board, **rules):
    return {row.user: row.dp for row in score(attempts_of(board), PROBLEMS, **rules).rows}


@pytest.mark.parametrize(
    ("challenge", "wanted"),
    [
        ("formula", {"A": 5.0, "B": 3 + 2 / 3, "C": 2.5}),
        ("share", {"A": 7 + 2 / 3, "B": 5.5, "C": 4 + 1 / 3}),
    ],
)
def test_figure_3(challenge, wanted):
    assert dp_of(FIGURE_3, challenge=challenge) == pytest.approx(wanted, abs=1e-12)


def test_parts_of_figure_3():
    table = score(attempts_of(FIGURE_3), PROBLEMS)
    parts = {
        user: [(row.problem, row.cs, row.es) for row in table.breakdown(user) if row.solved] for user in "ABC"
    }
    assert parts["A"] == [("P1", pytest.approx(10 / 3), 1), ("P2", 0, pytest.approx(2 / 3))]
    assert parts["B"] == [("P2", 0, 1), ("P3", pytest.approx(5 / 3), 1)]
    assert parts["C"] == [("P2", 0, pytest.approx(1 / 3)), ("P3", pytest.approx(5 / 3), 0.5)]
    assert [(row.rank, row.solved, row.attempted, row.pass_rate) for row in table.rows] == [
        (1, 2, 3, pytest.approx(2 / 3)),
        (2, 2, 3, pytest.approx(2 / 3)),
        (3, 2, 3, pytest.approx(2 / 3)),
    ]
    assert [(p.problem, p.attempts, p.solved, p.ac) for p in table.problems] == [
        ("P1", 3, 1, pytest.approx(1 / 3)),
        ("P2", 3, 3, 1),
        ("P3", 3, 2, pytest.approx(2 / 3)),
    ]


@pytest.mark.parametrize(
    ("challenge", "wanted"),
    [
        ("formula", {"A": 4.916667, "B": 4.416667, "C": 3.25, "D": 3.5}),
        ("share", {"A": 5.166667, "B": 5.5, "C": 4.333333, "D": 3.5}),
    ],
)
def test_a_fourth_joins(challenge, wanted):
    assert dp_of(WITH_D, challenge=challenge) == pytest.approx(wanted, abs=1e-6)


def test_points_are_not_monotone_in_time():
    """D's joining moved the others, who did nothing: one down, two up."""
    before, after = dp_of(FIGURE_3), dp_of(WITH_D)
    assert after["A"] < before["A"]
    assert after["B"] > before["B"]
    assert after["C"] > before["C"]


def test_what_was_not_attempted():
    row = score(attempts_of(WITH_D), PROBLEMS).of("D")
    assert (row.solved, row.attempted, row.pass_rate) == (1, 2, pytest.approx(1 / 3))
    assert row.dp_attempted == pytest.approx(row.dp / 2)


@pytest.mark.parametrize(
    ("points", "wanted"),
    [
        ([5, 3, 5], 15.149408),
        ([5] * 228, 248.185121),
        ([5] * 232, 249.991645),
        ([3] * 16, 47.672892),
        ([], 0.0),
    ],
)
def test_performance_points(points, wanted):
    assert performance_points(points) == pytest.approx(wanted, abs=1e-6)
    assert performance_points([5, 3, 5]) - (5 + 0.95 * 5 + 0.95**2 * 3) == pytest.approx(2.691908, abs=1e-6)


def test_performance_points_of_no_number():
    with pytest.raises(InputError, match="points must be finite numbers"):
        performance_points([5, float("nan")])


def test_published_scale():
    """Stock performance points of 232 problems reach what the paper prints, 249.28; the equations do not."""
    problems = {f"p{number:03}": 5.0 for number in range(256)}
    attempts = [Attempt("m", name, number < 232, 1.0) for number, name in enumerate(problems)]
    others = [Attempt("n", name, number < 16, 1.0) for number, name in enumerate(problems)]
    dmoj = score([*attempts, *others], problems, aggregate="dmoj")
    assert dmoj.of("m").dp == pytest.approx(249.991645, abs=1e-6)
    assert dmoj.of("m").pass_rate == pytest.approx(0.90625)
    assert dmoj.of("n").pass_rate == pytest.approx(0.0625)
    summed = score([*attempts, *others], problems)
    assert summed.of("m").dp == pytest.approx(16 * 1 + 216 * 3.5)
    assert (dmoj.of("m").cs, dmoj.of("m").es) == (summed.of("m").cs, summed.of("m").es)


@pytest.mark.parametrize("n", [1, 3, 19])
def test_sum_of_efficiency(n):
    distinct = [Attempt(f"m{k}", "P1", True, 10.0 + k) for k in range(n)]
    equal = [Attempt(f"m{k}", "P1", True, 10.0) for k in range(n)]
    assert sum(row.es for row in score(distinct, {"P1": 5}).rows) == pytest.approx((n + 1) / 2)
    assert {row.es for row in score(equal, {"P1": 5}).rows} == {1.0}


def test_total_challenge_is_largest_where_half_solve():
    totals = []
    for solvers in range(20):
        attempts = [Attempt(f"m{k:02}", "P1", k < solvers, 1.0) for k in range(19)]
        total = sum(row.cs for row in score(attempts, {"P1": 5}).rows)
        assert total == pytest.approx(solvers * 5 * (1 - solvers / 19))
        totals.append(total)
    assert max(totals) == pytest.approx(23.684211, abs=1e-6)
    assert [k for k, total in enumerate(totals) if total == pytest.approx(max(totals))] == [9, 10]


@pytest.mark.parametrize(("gap", "noise", "wanted"), [(1, 2, 0.3618), (5, 2, 0.0385), (2, 10, 0.4438)])
def test_flips_by_noise(gap, noise, wanted):
    assert flip_probability(gap, noise) == pytest.approx(wanted, abs=5e-5)
