"""Problems and test cases: a case counts once canonical solutions agree, and what changes judging is a new version."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from firsthand.evaluation.codearena.errors import (
    InvalidCase,
    InvalidSource,
    SourceTooLarge,
    UnknownProblem,
    UnsupportedLanguage,
)
from firsthand.evaluation.codearena.refusals import Conflict, InvalidRequest, NotReady
from firsthand.evaluation.codearena.store.cases import NewCase, Program, Verified
from firsthand.evaluation.codearena.store.collection import Problem

from .conftest import SHOUTS, add_problem, judge_all, retries_now
from .scripted import ScriptedGrader

PLAIN = Problem("echo", "Echo", "Shout back.", bps=3)


def states(arena, pid="echo"):
    return {case.ordinal: case.state for case in arena.cases.all(pid)}


def test_a_case_is_pending_until_two_solutions_agree(arena):
    arena.create_problem(PLAIN, cases=[NewCase("a", "A")])
    arena.add_solution("echo", SHOUTS[0])
    assert arena.judge_once() is None  # one solution agrees with nobody
    assert states(arena) == {1: "pending"}
    arena.add_solution("echo", SHOUTS[1])
    assert arena.judge_once() is None
    assert states(arena) == {1: "active"}
    stored = arena.problems.find("echo")
    assert (stored.version, stored.cases) == (2, 1)
    assert arena.cases.all("echo")[0].version == 2


def test_a_case_that_a_solution_disagrees_with_is_rejected_and_says_why(arena):
    arena.create_problem(PLAIN, cases=[NewCase("a", "A"), NewCase("b", "b")], solutions=SHOUTS)
    judge_all(arena)
    assert states(arena) == {1: "active", 2: "rejected"}
    rejected = arena.cases.all("echo")[1]
    assert rejected.detail == "canonical solution 1 does not agree: scripted SHOUT"
    assert rejected.version is None
    # Sent again, it is looked at again.
    assert arena.add_case("echo", NewCase("b", "b")).ordinal == 2
    assert states(arena)[2] == "pending"
    judge_all(arena)
    assert states(arena)[2] == "rejected"


def test_a_case_without_an_answer_gets_that_of_the_solutions(arena):
    arena.create_problem(
        PLAIN, cases=[NewCase("a", ""), NewCase("b", "B"), NewCase("b", "")], solutions=SHOUTS
    )
    judge_all(arena)
    assert [(case.output, case.state, case.detail) for case in arena.cases.all("echo")] == [
        ("A", "active", ""),
        ("B", "active", ""),
        ("", "rejected", "the same as test case 2"),
    ]
    assert arena.problems.find("echo").cases == 2


@pytest.mark.parametrize(("source", "says"), [("TLE 9", "does not agree"), ("CE", "cannot be compiled")])
def test_a_solution_that_fails_agrees_with_nothing(arena, source, says):
    arena.create_problem(PLAIN, cases=[NewCase("a", "A")], solutions=[SHOUTS[0], Program("cpp", source)])
    judge_all(arena)
    assert f"canonical solution 2 {says}" in arena.cases.all("echo")[0].detail


def test_cases_that_come_while_others_are_validated_are_validated_too(arena):
    arena.create_problem(PLAIN, cases=[NewCase("a", "A")], solutions=SHOUTS)
    lease = arena.queue.claim("me")
    arena.add_case("echo", NewCase("b", "B"))
    assert arena.queue.claim("another") is None  # one job a problem
    assert arena.cases.settle(lease, [Verified(1, NewCase("a", "A"))])
    assert states(arena) == {1: "active", 2: "pending"}
    judge_all(arena)
    assert states(arena) == {1: "active", 2: "active"}
    assert arena.problems.find("echo").version == 3


def test_what_a_judge_found_that_lost_its_lease_is_not_written(arena):
    arena.create_problem(PLAIN, cases=[NewCase("a", "A")], solutions=SHOUTS)
    lease = arena.queue.claim("me")
    with arena.database.write() as connection:
        arena.queue.put_back(connection, lease)
    assert not arena.cases.settle(lease, [Verified(1, NewCase("a", "A"), "wrong")])
    judge_all(arena)
    assert states(arena) == {1: "active"}


def test_cases_that_the_caller_validated_are_active_at_once(arena):
    add_problem(arena, "echo")
    assert states(arena) == {1: "active", 2: "active"}
    assert [case.ordinal for case in arena.cases.samples("echo")] == [1]
    assert arena.judge_once() is None
    with pytest.raises(InvalidCase, match="at least 2"):
        arena.create_problem(
            Problem("other", "Other", ""), cases=[NewCase("a", "A")], solutions=SHOUTS[:1], validated=True
        )


def test_generators_make_cases_from_seeds(arena):
    arena.create_problem(PLAIN)
    number = arena.cases.add_generator("echo", Program("python", "SEEDED word "))
    with pytest.raises(NotReady, match="canonical"):
        arena.cases.generate("echo", number, [1])
    for program in SHOUTS:
        arena.add_solution("echo", program)
    arena.cases.generate("echo", number, [7, 8, 7], sample=True)
    judge_all(arena)
    found = arena.cases.all("echo")
    assert [(case.input, case.output, case.seed, case.generator) for case in found] == [
        ("word 7", "WORD 7", 7, number),
        ("word 8", "WORD 8", 8, number),
    ]
    assert {case.state for case in found} == {"active"}
    assert all(case.sample for case in found)
    for seeds in ([], [-1], [2**63], list(range(1001))):
        with pytest.raises(InvalidRequest, match="seeds"):
            arena.cases.generate("echo", number, seeds)
    with pytest.raises(InvalidRequest, match="no generator"):
        arena.cases.generate("echo", number + 1, [1])


def test_a_generator_that_fails_makes_no_case_and_the_log_says_why(arena):
    arena.create_problem(PLAIN, solutions=SHOUTS)
    number = arena.cases.add_generator("echo", Program("python", "BROKEN"))
    arena.cases.generate("echo", number, [3])
    judge_all(arena)
    assert states(arena) == {}
    (event,) = (event for event in arena.events() if event.kind == "case.generated")
    assert event.payload["fault"] == "the generator failed for seed 3 (rte): scripted"


def test_solutions_that_the_judge_fails_to_run_leave_cases_pending(arena):
    arena.create_problem(PLAIN, cases=[NewCase("a", "A")], solutions=[SHOUTS[0], Program("c", "RAISE")])
    judge_all(arena)
    assert states(arena) == {1: "pending"}
    assert arena.queue.load().waiting == 1


def test_what_the_judge_always_fails_to_validate_is_given_up_until_it_is_asked_for_again(arena):
    arena.create_problem(PLAIN, cases=[NewCase("a", "A")], solutions=[SHOUTS[0], Program("c", "RAISE")])
    for _ in range(4):
        assert arena.queue.load().waiting == 1
        judge_all(arena)
        retries_now(arena)
    assert arena.queue.load().waiting == 0
    assert states(arena) == {1: "pending"}
    arena.add_case("echo", NewCase("b", "B"))
    assert arena.queue.load().waiting == 1


def test_a_grader_without_case_making_leaves_cases_to_others(arena):
    arena.create_problem(PLAIN, cases=[NewCase("a", "A")], solutions=SHOUTS)
    arena.use(lambda program, task: ScriptedGrader()(program, task))
    judge_all(arena)
    assert states(arena) == {1: "pending"}
    arena.use(ScriptedGrader())
    retries_now(arena)
    judge_all(arena)
    assert states(arena) == {1: "active"}


def test_a_judge_keeps_the_cases_of_few_problems_in_memory(arena, monkeypatch):
    monkeypatch.setattr("firsthand.evaluation.codearena.store.judging._KEPT_CHARACTERS", 6)
    arena.accounts.create("h", "human")
    for pid in ("one", "two", "three"):
        add_problem(arena, pid)
        arena.submit("h", pid, "python", "AC 1")
    judge_all(arena)
    assert len(arena.judge._tasks) == 1


def test_a_new_version_has_every_submission_judged_again_and_mixes_none(arena):
    add_problem(arena, "echo")
    arena.accounts.create("m", "llm")
    arena.accounts.create("n", "llm")
    first = arena.submit("m", "echo", "python", "AC 5")
    judge_all(arena)
    arena.submit("n", "echo", "python", "WA")
    judge_all(arena)
    assert arena.ranking().of("m").dp == 5 * 0.5 + 1
    arena.cases.retire("echo", 2)
    assert states(arena)[2] == "active"
    assert [case.ordinal for case in arena.cases.active("echo")] == [1]
    # Until they are judged by the new cases, old judgements count for nothing.
    assert arena.ranking().rows == ()
    assert arena.submission(first).state == "queued"
    assert arena.judge_once() == first
    assert arena.ranking().of("m").dp == 0 + 1
    judge_all(arena)
    assert arena.ranking().of("m").dp == 5 * 0.5 + 1
    assert arena.submission(first).version == 2
    assert [outcome.ordinal for outcome in arena.submissions.outcomes(first)] == [1]
    assert arena.audit().clean
    with pytest.raises(NotReady, match="no active test case 2"):
        arena.cases.retire("echo", 2)


def test_what_was_judged_by_old_cases_is_judged_again(arena):
    add_problem(arena, "echo")
    arena.accounts.create("m", "llm")
    sid = arena.submit("m", "echo", "python", "AC 5")
    lease = arena.queue.claim("slow")
    work = arena.judge.load(lease)
    arena.problems.update("echo", {"time_ms": 1000})
    assert arena.submission(sid).state == "judging"
    arena.judge.settle(work, arena.judge._grader(work.programs[0], work.task))
    assert arena.submission(sid).verdict is None
    assert arena.judge_once() == sid
    assert (arena.submission(sid).verdict, arena.submission(sid).version) == ("AC", 2)
    assert arena.submissions.judgements(sid) == 1


def test_limits_are_a_new_version_words_and_points_are_not(arena):
    add_problem(arena, "echo")
    arena.accounts.create("m", "llm")
    arena.accounts.create("n", "llm")
    arena.submit("m", "echo", "python", "AC 5")
    arena.submit("n", "echo", "python", "WA")
    judge_all(arena)
    stored = arena.problems.update("echo", {"title": "Shout", "bps": 8.0})
    assert (stored.problem.title, stored.version, stored.edition) == ("Shout", 1, 2)
    assert arena.judge_once() is None
    assert arena.ranking().of("m").dp == 8 * 0.5 + 1
    for changes in ({"time_ms": 500}, {"memory_kb": 4096}, {"checker": "exact"}):
        before = arena.problems.find("echo").version
        assert arena.problems.update("echo", changes).version == before + 1
    assert arena.problems.update("echo", {}).edition == 5
    assert arena.audit().clean


def test_a_problem_is_hidden_until_it_is_published(arena, clock):
    later = clock.time.replace(hour=15)
    add_problem(arena, "echo", visible_from=later)
    arena.accounts.create("m", "llm")
    for act in (
        lambda: arena.problems.find("echo"),
        lambda: arena.submit("m", "echo", "python", "AC 1"),
    ):
        with pytest.raises(UnknownProblem, match="'echo'"):
            act()
    assert arena.problems.page()[1] == 0
    assert arena.problems.page(hidden=True)[1] == 1
    assert arena.ranking().problems == ()
    clock.move(hours=3)
    assert arena.problems.find("echo").visible_from == later
    assert arena.problems.published() == {"echo": later}
    assert [row.problem for row in arena.ranking().problems] == ["echo"]
    arena.submit("m", "echo", "python", "AC 1")
    judge_all(arena)
    assert len(arena.ranking().rows) == 1
    arena.problems.update("echo", {"visible_from": clock.move(hours=1).replace(hour=23)})
    assert arena.ranking().rows == ()


def test_cases_are_paged_cut_and_limited_in_number(arena):
    arena.create_problem(PLAIN, cases=[NewCase("word " * 10, "WORD"), NewCase("b", "B")])
    (first, second), total = arena.cases.page("echo", longest=8)
    assert (first.input, first.input_length, first.truncated) == ("word wor", 50, True)
    assert (second.truncated, total) == (False, 2)
    assert [case.ordinal for case in arena.cases.page("echo", offset=1, limit=1)[0]] == [2]
    assert arena.cases.find("echo", 1).input == "word " * 10
    assert arena.cases.find("echo", 3) is None
    with pytest.raises(InvalidCase, match="at most 1000"):
        arena.cases.add("echo", [NewCase(str(number), "") for number in range(999)])
    number = arena.cases.add_generator("echo", Program("python", "SEEDED x"))
    assert arena.cases.generators("echo") == [(number, Program("python", "SEEDED x"))]
    assert arena.problems.points() == {"echo": 3.0}


def test_what_a_generator_made_for_a_lost_lease_is_not_written(arena):
    arena.create_problem(PLAIN, solutions=SHOUTS)
    arena.cases.generate("echo", arena.cases.add_generator("echo", Program("python", "SEEDED x")), [1])
    lease = arena.queue.claim("slow")
    with arena.database.write() as connection:
        arena.queue.put_back(connection, lease)
    assert not arena.cases.settle_generated(lease, [Verified(1, NewCase("a", "A"))])
    assert states(arena) == {}


def test_problems_are_searched_and_paged(arena, clock):
    for pid in ("b_1", "a%1", "A-2"):
        if pid == "a%1":
            with pytest.raises(InvalidRequest, match="id"):
                Problem(pid, "x", "")
            continue
        add_problem(arena, pid, difficulty="easy" if pid == "A-2" else "hard")
        clock.move(days=1)
    add_problem(arena, "ba1")
    find = lambda **how: [stored.pid for stored in arena.problems.page(**how)[0]]
    assert find() == sorted(["b_1", "A-2", "ba1"])
    assert find(q="B_1") == ["b_1"]  # an underscore is no wildcard
    assert find(q="%") == []
    assert find(q="A-") == ["A-2"]
    assert find(difficulty="easy") == ["A-2"]
    assert set(find(since=clock.time)) == {"ba1"}
    assert arena.problems.page(limit=1, offset=1)[1] == 3


@pytest.mark.parametrize(
    "field",
    [
        {"pid": "a/b"}, {"pid": ""}, {"pid": "x" * 65}, {"title": " "}, {"title": "a\0"}, {"statement": "\ud800"},
        {"bps": 0}, {"bps": -1.0}, {"bps": math.nan}, {"bps": math.inf}, {"bps": True}, {"bps": "5"},
        {"time_ms": 0}, {"time_ms": 1.5}, {"memory_kb": 5}, {"statement": "x" * 300_000}, {"licence": None},
    ],
)  # fmt: skip
def test_problems_that_cannot_be(field):
    with pytest.raises(InvalidRequest):
        Problem(**{"pid": "p", "title": "t", "statement": "s", **field})


def test_a_custom_checkers_program_and_a_time_of_publication_are_checked(arena):
    checker = {"checker": "custom", "checker_source": "print('ok')", "checker_language": "python"}
    arena.create_problem(Problem("echo", "Echo", "", **checker))
    with pytest.raises(InvalidCase, match="no program"):
        arena.problems.update("echo", {"checker": "exact"})
    stored = arena.problems.update("echo", {"checker": "exact", "checker_source": None})
    assert (stored.version, stored.problem.checker_source) == (2, None)
    with pytest.raises(InvalidSource):
        Problem("echo", "Echo", "", **{**checker, "checker_source": " "})
    naive = datetime(2025, 1, 2)
    assert Problem("echo", "Echo", "", visible_from=naive).visible_from == naive.replace(tzinfo=UTC)


def test_what_cannot_be_added_leaves_nothing_behind(arena):
    bad = [
        (InvalidCase, {"cases": [NewCase("a\0", "A")]}),
        (InvalidCase, {"cases": [NewCase("a", "\udcff")]}),
        (InvalidCase, {"cases": [NewCase("a", "A"), NewCase("a", "A")]}),
        (InvalidCase, {"cases": [NewCase("a", "A" * (4 * 1024 * 1024 + 1))]}),
        (InvalidSource, {"solutions": [Program("python", " \n")]}),
        (InvalidSource, {"solutions": [Program("python", "a\0")]}),
        (SourceTooLarge, {"solutions": [Program("python", "x" * 65537)]}),
        (UnsupportedLanguage, {"solutions": [Program("cobol", "x")]}),
        (Conflict, {"solutions": [SHOUTS[0], SHOUTS[0]]}),
    ]
    for fault, parts in bad:
        with pytest.raises(fault):
            arena.create_problem(PLAIN, **parts)
    with pytest.raises(InvalidCase, match="checker"):
        arena.create_problem(Problem("echo", "Echo", "", checker="magic"))
    assert arena.problems.page()[1] == 0
    assert list(arena.events()) == []
    add_problem(arena, "echo")
    with pytest.raises(Conflict, match="'echo'"):
        add_problem(arena, "echo")
    with pytest.raises(InvalidCase, match="is there already, as 1"):
        arena.add_case("echo", NewCase("a", "A"))
    with pytest.raises(Conflict, match="canonical"):
        arena.add_solution("echo", SHOUTS[0])
    with pytest.raises(InvalidRequest, match="'pid'"):
        arena.problems.update("echo", {"pid": "x"})
    for act in (arena.cases.all, arena.cases.solutions, lambda pid: arena.problems.update(pid, {})):
        with pytest.raises(UnknownProblem):
            act("nosuch")


def test_of_many_that_create_the_same_problem_one_does(arena):
    def create(_):
        try:
            add_problem(arena, "echo")
        except Conflict:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1
