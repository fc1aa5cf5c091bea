"""Re-scoring the problem that was touched gives what scoring everything gives, after any order of events."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores.attempts import Attempt
from firsthand.evaluation.codearena.scores.points import problem_points, score
from firsthand.evaluation.codearena.scores.rules import Rules
from firsthand.evaluation.codearena.scores.score_table import PairRow, ProblemRow, table_of
from firsthand.evaluation.codearena.scores.scoreboard import Scoreboard

from .slow_points import PROBLEMS, league

RULES = st.sampled_from(
    [
        {},
        {"challenge": "share", "population": "all"},
        {"aggregate": "dmoj"},
        {"es_scope": "problem+language", "ac_unit": "submission", "population": "human"},
        {"es_tolerance": 25.0, "es_weight": 0.5, "population": {"u0", "u4", "absent"}},
    ]
)


@settings(max_examples=60, deadline=None)
@given(league(most=20), RULES, st.integers(1, 5))
def test_equals_full_recomputation_after_every_event(attempts, rules, step):
    board = Scoreboard(PROBLEMS, Rules(**rules))
    assert board.table() == score([], PROBLEMS, **rules)
    for start in range(0, len(attempts), step):
        touched = board.add(attempts[start : start + step])
        assert set(touched) == {attempt.problem for attempt in attempts[start : start + step]}
        assert board.table() == score(attempts[: start + step], PROBLEMS, **rules)


def test_rows_that_were_stored():
    attempts = [Attempt("A", "P1", True, 3.0), Attempt("B", "P1", False, None)]
    problem, pairs = problem_points(attempts, "P1", 5.0)
    assert problem == ProblemRow("P1", 5.0, 2, 1, 1, 0.5, 2.5)
    assert pairs == (PairRow("A", "P1", 1, 1, 3.0, 2.5, 1.0), PairRow("B", "P1", 1, 0, None, 0.0, 0.0))
    assert table_of(reversed(pairs), [problem]) == score(attempts, {"P1": 5.0})


def test_refusals():
    board = Scoreboard({"P1": 5})
    with pytest.raises(InputError, match="'A' tried 'P2', which is not among the 1 problems"):
        board.add([Attempt("A", "P1", True, 1.0), Attempt("A", "P2", True, 1.0)])
    assert board.table().rows == ()  # nothing of it was taken in
    board.add([Attempt("A", "P1", True, 1.0)])
    with pytest.raises(InputError, match="'A' was of kind 'llm' and is now 'human'"):
        board.add([Attempt("A", "P1", True, 1.0, kind="human")])
    with pytest.raises(InputError, match="cannot leave anything out"):
        Scoreboard({"P1": 5}, Rules(leave_out=["A"]))
    problem, pairs = problem_points([Attempt("A", "P1", True, 3.0)], "P1", 5.0)
    with pytest.raises(InputError, match="has two rows"):
        table_of([*pairs, *pairs], [problem])
    with pytest.raises(InputError, match="not listed"):
        table_of(pairs, [])
    with pytest.raises(InputError, match="comes twice"):
        table_of(pairs, [problem, problem])
    with pytest.raises(InputError, match="cannot leave anything out"):
        table_of(pairs, [problem], Rules(leave_out=["A"]))
