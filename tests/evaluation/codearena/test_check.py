"""The check's own parts: the plain equations, pairs of passes, what a judge that knows nothing would give."""

from __future__ import annotations

import numpy as np
import pytest

from firsthand.claims.verdict import judge
from firsthand.evaluation.codearena import check
from firsthand.evaluation.codearena.scores.attempts import Attempt
from firsthand.evaluation.codearena.scores.field import Cell, attempts_of, draw_field
from firsthand.evaluation.codearena.scores.points import score
from firsthand.evaluation.codearena.trial import BoardRow, Judged, Pass, pairs_of, plain_points


@pytest.mark.parametrize("challenge", ["formula", "share"])
def test_the_plain_equations_give_the_papers_example(challenge):
    solved = np.array([[1, 1, 0], [0, 1, 1], [0, 1, 1]], bool)
    runtime = np.array([[58, 42, 0], [0, 24, 19], [0, 48, 22]], float)
    found = plain_points(solved, runtime, np.array([5.0, 3.0, 5.0]), challenge)
    expected = {"formula": [5.0, 11 / 3, 2.5], "share": [23 / 3, 5.5, 13 / 3]}
    assert found == pytest.approx(expected[challenge], abs=1e-12)


@pytest.mark.parametrize("challenge", ["formula", "share"])
def test_the_plain_equations_agree_with_score(challenge):
    field = draw_field(3, models=7, problems=20)
    cell = Cell(0.25, 0.5)
    attempts, points = attempts_of(field, cell)
    (solved,) = field.solved_in([cell])
    found = plain_points(solved, field.runtime_ms, np.full(20, 5.0), challenge)
    board = {row.user: row.dp for row in score(attempts, points, challenge=challenge).rows}
    assert found == pytest.approx([board[f"m{n:02}"] for n in range(7)], abs=1e-12)
    assert isinstance(attempts[0], Attempt)


def two_passes(*times):
    return [
        Pass(tuple(Judged(name, "p", "AC", "AC", ms, 0.0) for name, ms in each.items()), (), 1.0)
        for each in times
    ]


def test_pairs_that_keep_their_order():
    first, second = two_passes({"a": 1.0, "b": 2.0, "c": 9.0}, {"a": 2.5, "b": 2.0, "c": 8.0})
    assert list(pairs_of(first, second)) == [
        ("p: a, b", 1.0, False), ("p: a, c", 8.0, True), ("p: b, c", 7.0, True),
    ]  # fmt: skip


def test_a_judge_that_knows_nothing_is_found_out():
    names = [f"m{n}" for n in range(40)]
    judged = tuple(
        Judged(name, f"p{n % 4}", "AC" if n % 2 else "WA", "AC" if n % 2 else "WA", float(n), 0.0)
        for n, name in enumerate(names)
    )
    boards = tuple(BoardRow("formula", name, float(n), float(n)) for n, name in enumerate(names))
    passes = [Pass(judged, boards, 1.0)] * 2
    right = list(check._service(0, passes))
    assert all(one.value == 1 for one in right)
    senseless = list(check._service(0, [check._without_sense(one, 5 + n) for n, one in enumerate(passes)]))
    for clause, most in (("verdicts", 0.75), ("points", 0.3), ("order", 0.8)):
        values = [one.value for one in senseless if one.clause == clause]
        assert np.mean(values) < most, clause


def test_leaks_at_smoke_size_and_their_null():
    from firsthand.catalogue.rooms import find_room

    claims = find_room("codearena").card.claims
    found, null = [], []
    for seed in range(1, 9):  # no multiple of twenty: nothing is served
        measured = check.measure(seed, "laptop")
        assert set(measured.details) == {"taus"}
        found += measured.observations
        null += check.measure(seed, "laptop", null=True).observations
    leaks = [one for one in claims if one.evidence == "simulated"]
    assert {one.claim.id: one.verdict for one in judge(leaks, found)}["blunts-wide-leaks"] == "holds"
    assert all(one.verdict != "holds" for one in judge(leaks, null))


def test_charts_of_leaks():
    details = [check.measure(seed, "laptop").details for seed in (1, 2)]
    charts = check.charts(details)
    assert [chart["kind"] for chart in charts] == ["line", "line"]
    assert all(len(series["x"]) == len(series["y"]) == 7 for chart in charts for series in chart["series"])
