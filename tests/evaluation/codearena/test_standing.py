"""Scores in the database: the sheet's figures, and equality with `points.score` to the last bit after any history."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from firsthand.errors import InputError
from firsthand.evaluation.codearena.refusals import InvalidRequest, UnknownEntry
from firsthand.evaluation.codearena.scores.points import score
from firsthand.evaluation.codearena.store import tables
from firsthand.evaluation.codearena.store.rescoring import rescore_all

from .conftest import add_problem, judge_all

EXAMPLE = {
    "P1": (5.0, {"A": "AC 58", "B": "WA 1", "C": "WA 1"}),
    "P2": (3.0, {"A": "AC 42", "B": "AC 24", "C": "AC 48"}),
    "P3": (5.0, {"A": "WA 1", "B": "AC 19", "C": "AC 22"}),
}


def example(arena):
    for user in "ABCD":
        arena.accounts.create(user, "llm")
    for pid, (bps, sources) in EXAMPLE.items():
        add_problem(arena, pid, bps=bps)
        for user, source in sources.items():
            arena.submit(user, pid, "python", source)
    judge_all(arena)


def dp(table):
    return {row.user: pytest.approx(row.dp, abs=5e-5) for row in table.rows}


def test_the_sheets_examples(arena, clock):
    example(arena)
    at = clock.time
    first = {"A": 5.0, "B": 3.6667, "C": 2.5}
    assert first == dp(arena.ranking())
    assert dp(arena.ranking(challenge="share")) == {"A": 7.6667, "B": 5.5, "C": 4.3333}
    clock.move(days=1)
    arena.submit("D", "P1", "python", "AC 58")
    arena.submit("D", "P2", "python", "WA 1")
    judge_all(arena)
    assert dp(arena.ranking()) == {"A": 4.9167, "B": 4.4167, "C": 3.25, "D": 3.5}
    assert dp(arena.ranking(challenge="share")) == {"A": 5.1667, "B": 5.5, "C": 4.3333, "D": 3.5}
    # The board of the day before, and what would be without the one who came.
    assert first == dp(arena.ranking(at))
    assert first == dp(arena.ranking(leave_out=["D"]))
    assert arena.ranking().of("D").pass_rate == 1 / 3
    assert [row.rank for row in arena.ranking().rows] == [1, 2, 3, 4]
    assert arena.audit().clean


def same_as_afresh(arena):
    attempts, points = arena.standing.attempts()
    wanted = score(attempts, points)
    found = arena.ranking()
    assert found.rows == wanted.rows
    assert found.problems == wanted.problems
    assert found.pairs.rows() == wanted.pairs.rows()
    assert arena.audit().differences == ()


def test_judges_that_finish_at_once_leave_no_stale_score(arena):
    """Two transactions that re-score one problem must not overlook each other."""
    add_problem(arena)
    for number in range(24):
        arena.accounts.create(f"m{number}", "llm")
        arena.submit(f"m{number}", "sum", "python", f"AC {number}" if number % 3 else "WA 1")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: judge_all(arena), range(8)))
    assert len(arena.ranking().rows) == 24
    same_as_afresh(arena)


def test_people_and_named_sets_have_boards_of_their_own(arena):
    example(arena)
    arena.accounts.create("human", "human")
    arena.submit("human", "P1", "python", "AC 1")
    judge_all(arena)
    assert "human" not in dp(arena.ranking())
    assert [row.user for row in arena.ranking(population="human").rows] == ["human"]
    assert len(arena.ranking(population="all").rows) == 4
    named = arena.ranking(population=["A", "nobody"])
    assert {row.user: row.solved for row in named.rows} == {"A": 2, "nobody": 0}
    with pytest.raises(InputError, match="challenge"):
        arena.ranking(challenge="magic")


def test_a_judge_whose_clock_is_ahead_counts_at_once(arena, clock):
    example(arena)
    arena.submit("D", "P1", "python", "AC 1")
    clock.move(minutes=5)
    judge_all(arena)
    clock.move(minutes=-5)
    for rules in ({}, {"challenge": "share"}, {"population": "all"}):
        assert arena.ranking(**rules).of("D").solved == 1
    assert {row.user for row in arena.rating("pass@k").rows} == set("ABCD")


def test_of_many_that_ask_for_a_board_at_once_one_draws_it(arena):
    example(arena)
    drawn = []

    def draw() -> str:
        drawn.append(1)
        time.sleep(0.05)
        return "board"

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: arena.standing.kept("key", draw), range(8))) == {"board"}
    assert len(drawn) == 1
    with pytest.raises(ZeroDivisionError):
        arena.standing.kept("other", lambda: 1 // 0)
    assert arena.standing.kept("other", lambda: 1) == 1  # a failure is not kept


def test_boards_are_drawn_once_for_each_state(arena):
    example(arena)
    board = arena.ranking()
    assert arena.ranking() is board
    assert arena.ranking(challenge="share") is not board
    arena.submit("D", "P1", "python", "AC 1")
    assert arena.ranking() is board  # nothing was judged
    judge_all(arena)
    assert arena.ranking() is not board
    assert arena.rating("bradley-terry") is arena.rating("bradley-terry")


def test_other_rankings_come_from_the_same_attempts(arena):
    example(arena)
    solved = arena.rating("bradley-terry")
    assert {row.user for row in solved.rows} == {"A", "B", "C"}
    runtime = arena.rating("bradley-terry-runtime")
    assert runtime.rows[0].user == "B"
    assert arena.rating("pass@k").rows[0].rating == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="k = 2"):
        arena.rating("pass@k", k=2)


def test_signals_of_a_leak_come_from_the_same_attempts(arena, clock):
    program = "AC 1\n" + "\n".join(f"total = total + word_{number} * {number}" for number in range(20))
    for user, first_seen in (("old", clock.time), ("new", None), ("other", None)):
        arena.accounts.create(user, "llm", first_seen=first_seen)
    clock.move(days=40)
    add_problem(arena)
    clock.move(days=1)
    arena.submit("old", "sum", "python", program)
    arena.submit("new", "sum", "python", program)
    arena.submit("other", "sum", "python", "WA 1")
    judge_all(arena)
    found = arena.leakage()
    assert [(group["users"], group["exact"]) for group in found["duplicates"]] == [(["new", "old"], True)]
    # Published after the one was first seen, and before the others were: on the day of their first attempt.
    rows = {row["user"]: row for row in found["before_and_after"]}
    assert rows.keys() == {"old", "new", "other"}
    (period,) = found["periods"]
    assert (period["attempts"], period["solved"]) == (3, 2)
    assert arena.leakage() is found
    assert arena.leakage(copies=False)["duplicates"] == []


def test_the_audit_finds_what_was_changed_behind_our_back(arena):
    example(arena)
    assert arena.audit().clean
    assert (arena.audit().problems, arena.audit().rows, arena.audit().submissions) == (3, 9, 9)
    with arena.database.write() as connection:
        connection.execute(update(tables.user_problem_score).values(es=0.25))
    differences = arena.audit().differences
    assert len(differences) == 9
    assert differences[0].startswith("row A P1: kept")
    with arena.database.write() as connection:
        rescore_all(connection)
    assert arena.audit().clean
    with arena.database.write() as connection:
        connection.execute(
            update(tables.submission).where(tables.submission.c.verdict == "WA").values(verdict="AC")
        )
    assert sum("says AC, was judged WA" in text for text in arena.audit().differences) == 3


def test_a_checkpoint_stays_what_it_was(arena, clock):
    example(arena)
    first = arena.checkpoint()
    share = arena.checkpoint(challenge="share")
    assert len(arena.history(["A"])) == 1
    clock.move(days=30)
    arena.submit("D", "P1", "python", "AC 58")
    judge_all(arena)
    arena.checkpoint()
    assert arena.checkpoints.find(first.id) == first
    assert first.board["rows"][0]["dp"] == pytest.approx(5.0)
    assert share.parameters["challenge"] == "share"
    of_a = arena.history(["A"])
    assert [point.checkpoint for point in of_a] == [first.id, share.id + 1]
    assert of_a[1].dp < of_a[0].dp  # points are not monotone in time
    assert [point.rank for point in arena.history(["A"], challenge="share")] == [1]
    assert len(arena.checkpoints.history(since=clock.time)) == 4
    page, total = arena.checkpoints.page(limit=2)
    assert ([one.id for one in page], total) == ([3, 2], 3)
    with pytest.raises(UnknownEntry):
        arena.checkpoints.find(99)


def test_each_stretch_of_time_has_one_checkpoint_however_many_make_it(arena, clock):
    example(arena)
    with ThreadPoolExecutor(8) as pool:
        made = [one for one in pool.map(lambda _: arena.checkpoints.make_due(24), range(8)) if one]
    assert len(made) == 1
    assert arena.checkpoints.make_due(24) is None
    clock.move(days=1)
    assert arena.checkpoints.make_due(24) is not None
    with pytest.raises(InvalidRequest):
        arena.checkpoints.make_due(0)


def test_efficiency_is_within_a_class_of_machines(arena):
    add_problem(arena)
    for name, host_class, program in (("a", "fast", "AC 10"), ("b", "slow", "AC 40"), ("c", "fast", "AC 20")):
        arena.accounts.create(name, "llm")
        arena.submit(name, "sum", "python", program)
        arena.judge.machine = type(arena.judge.machine)("host", host_class)
        judge_all(arena)

    def efficiency(**rules):
        return {row.user: row.es for row in arena.ranking(**rules).rows}

    assert efficiency() == efficiency(leave_out=()) == {"a": 1.0, "b": 1.0, "c": 0.5}
    assert efficiency(es_weight=2.0) == efficiency()  # scored afresh, not read
    assert arena.audit().clean
    assert len(arena.submissions.retime("fast")) == 1
    arena.judge.machine = type(arena.judge.machine)("host", "fast")
    judge_all(arena)
    assert efficiency() == {"a": 1.0, "b": 1 / 3, "c": 2 / 3}
    assert efficiency(es_weight=2.0) == efficiency()
    assert arena.audit().clean
