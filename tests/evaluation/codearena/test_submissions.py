"""Submissions: one attempt of a language model however many race for it, and a judgement that is written once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.errors import (
    AttemptAlreadyUsed,
    InvalidSource,
    NotAuthorized,
    QueueFull,
    SandboxUnavailable,
    SourceTooLarge,
    UnknownProblem,
    UnsupportedLanguage,
)
from firsthand.evaluation.codearena.refusals import (
    Conflict,
    InvalidRequest,
    NotReady,
    UnknownAccount,
    UnknownSubmission,
)
from firsthand.evaluation.codearena.store import tables
from firsthand.evaluation.codearena.store.editions import id_of, locked

from .conftest import PROCESSES, add_problem, judge_all, leases_over, retries_now
from .scripted import ScriptedGrader


@pytest.fixture
def ready(arena):
    add_problem(arena)
    for name in ("m", "n"):
        arena.accounts.create(name, "llm")
    arena.accounts.create("h", "human")
    return arena


def test_a_submission_is_queued_judged_and_told_of(ready, clock):
    sid = ready.submit("m", "sum", "python", "AC 12.5")
    waiting = ready.submission(sid)
    assert (waiting.state, waiting.verdict, waiting.finished, len(sid)) == ("queued", None, False, 26)
    clock.move(seconds=5)
    assert ready.judge_once() == sid
    done = ready.submission(sid)
    assert (done.state, done.verdict, done.cpu_ms, done.wall_ms) == ("done", "AC", 12.5, 25.0)
    assert (done.user, done.problem, done.version, done.judged_at) == ("m", "sum", 1, clock())
    assert done.host
    assert done.host_class
    assert [outcome.verdict for outcome in ready.submissions.outcomes(sid)] == ["AC", "AC"]
    assert ready.submission(str(done.number)) == done
    assert ready.judge_once() is None
    assert [event.kind for event in ready.events(subject=sid)] == [
        "submission.accepted",
        "submission.judged",
    ]


def test_a_language_model_has_one_attempt_and_a_person_any_number(ready):
    ready.submit("m", "sum", "python", "WA 1")
    with pytest.raises(AttemptAlreadyUsed, match="'m' has used its one attempt at 'sum'"):
        ready.submit("m", "sum", "python", "AC 1")
    judge_all(ready)
    with pytest.raises(AttemptAlreadyUsed):
        ready.submit("m", "sum", "python", "AC 1")
    assert len({ready.submit("h", "sum", "python", "AC 1") for _ in range(3)}) == 3


def test_of_64_that_race_for_one_attempt_exactly_one_gets_it(ready):
    gate = threading.Barrier(64)

    def attempt(number: int) -> str | None:
        gate.wait()
        try:
            return ready.submit("m", "sum", "python", f"AC {number + 1}")
        except AttemptAlreadyUsed:
            return None

    with ThreadPoolExecutor(64) as pool:
        found = [sid for sid in pool.map(attempt, range(64)) if sid]
    assert len(found) == 1
    assert judge_all(ready) == found
    assert ready.submissions.page()[1] == 1


def _attempts(url: str, together: Any, accepted: Any) -> None:
    """Sixteen threads of a process of their own."""

    def attempt(number: int) -> bool:
        together.wait()
        try:
            arena.submit("m", "sum", "python", f"AC {number + 1}")
        except AttemptAlreadyUsed:
            return False
        return True

    with Arena.open(url, grader=ScriptedGrader()) as arena, ThreadPoolExecutor(16) as pool:
        accepted.put(sum(pool.map(attempt, range(16))))


def test_of_64_in_four_processes_exactly_one_gets_it(ready):
    together, accepted = PROCESSES.Barrier(64), PROCESSES.Queue()
    url = ready.database.engine.url.render_as_string(hide_password=False)
    children = [PROCESSES.Process(target=_attempts, args=(url, together, accepted)) for _ in range(4)]
    for child in children:
        child.start()
    assert sum(accepted.get(timeout=120) for _ in children) == 1
    for child in children:
        child.join()
    assert len(judge_all(ready)) == 1


def test_submissions_come_in_while_a_problems_scores_are_written(postgres_urls):
    """On PostgreSQL; SQLite has one writer at a time."""
    with postgres_urls.database() as url, Arena.open(url, grader=ScriptedGrader()) as arena:
        add_problem(arena)
        arena.accounts.create("m", "llm")
        with arena.database.write() as connection:
            locked(connection, id_of(connection, "sum"))
            assert arena.submit("m", "sum", "python", "AC 1")


def test_the_rule_of_one_attempt_is_the_databases_own(ready, clock):
    """Whoever writes past our code is stopped too."""
    sid = ready.submit("m", "sum", "python", "AC 1")
    with ready.database.read() as connection:
        row = connection.execute(select(tables.submission).where(tables.submission.c.sid == sid)).one()
    again = {**row._mapping, "sid": "0" * 26}
    del again["id"]
    with pytest.raises(IntegrityError), ready.database.write() as connection:
        connection.execute(insert(tables.submission).values(again))


def test_the_same_key_gives_the_same_submission(ready):
    sid = ready.submit("m", "sum", "python", "AC 1", idempotency_key="k")
    assert ready.submit("m", "sum", "python", "AC 1", idempotency_key="k") == sid
    judge_all(ready)
    assert ready.submit("m", "sum", "python", "AC 1", idempotency_key="k") == sid
    assert ready.judge_once() is None
    with pytest.raises(Conflict, match=sid):
        ready.submit("m", "sum", "python", "AC 2", idempotency_key="k")
    with pytest.raises(AttemptAlreadyUsed):
        ready.submit("m", "sum", "python", "AC 1", idempotency_key="other")
    assert ready.submit("n", "sum", "python", "AC 1", idempotency_key="k") != sid  # keys are an account's own
    for key in ("", "x" * 201, "\0"):
        with pytest.raises(InvalidRequest, match="key"):
            ready.submit("h", "sum", "python", "AC 1", idempotency_key=key)


def test_many_with_the_same_key_at_once_get_the_same_submission(ready):
    def send(user: str) -> str:
        return ready.submit(user, "sum", "python", "AC 1", idempotency_key="k")

    for user in ("m", "h"):
        with ThreadPoolExecutor(16) as pool:
            assert len(set(pool.map(send, [user] * 16))) == 1


def test_extra_samples_come_after_the_attempt_and_never_count(ready):
    with pytest.raises(NotReady, match="comes after"):
        ready.submit("m", "sum", "python", "AC 1", extra=True)
    ready.submit("m", "sum", "python", "WA 1")
    extra = ready.submit("m", "sum", "python", "AC 1", extra=True)
    judge_all(ready)
    assert (ready.submission(extra).verdict, ready.submission(extra).counted) == ("AC", False)
    assert ready.ranking().of("m").solved == 0
    assert ready.rating("pass@k", k=1).rows[0].rating == 0.5
    ready.submit("m", "sum", "python", "AC 1", extra=True)
    judge_all(ready)
    assert ready.rating("pass@k", k=1).rows[0].rating == pytest.approx(2 / 3)  # not the one that was kept
    assert ready.rating("pass@k", k=2).rows[0].rating == 1.0
    assert ready.audit().clean
    with pytest.raises(InvalidRequest, match="people"):
        ready.submit("h", "sum", "python", "AC 1", extra=True)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("", InvalidSource),
        (" \n\t", InvalidSource),
        ("a\0b", InvalidSource),
        ("\ud800", InvalidSource),
        (b"\xff\xfe", InvalidSource),
        ("x" * 65537, SourceTooLarge),
        (b"x" * 65537, SourceTooLarge),
        ("ä" * 32769, SourceTooLarge),  # bytes count, not characters
    ],
)
def test_sources_that_cannot_be(ready, source, fault):
    with pytest.raises(fault):
        ready.submit("m", "sum", "python", source)
    assert ready.submissions.page()[1] == 0


def test_a_source_of_exactly_the_limit_is_taken(ready):
    sid = ready.submit("m", "sum", "python", b"AC 1" + b" " * (65536 - 4))
    assert len(ready.submission(sid).source) == 65536


def test_who_and_what_is_not_there(ready):
    ready.accounts.create("c", "curator")
    for fault, arguments in (
        (UnknownAccount, ("x", "sum", "python", "AC")),
        (UnknownProblem, ("m", "x", "python", "AC")),
        (UnsupportedLanguage, ("m", "sum", "x", "AC")),
        (NotAuthorized, ("c", "sum", "python", "AC")),
    ):
        with pytest.raises(fault):
            ready.submit(*arguments)
    for sid in ("x", "9999999", "9" * 40, ""):
        with pytest.raises(UnknownSubmission):
            ready.submission(sid)
    from firsthand.evaluation.codearena.store.collection import Problem

    ready.create_problem(Problem("bare", "Bare", ""))
    with pytest.raises(NotReady, match="no active test case"):
        ready.submit("m", "bare", "python", "AC")


def test_a_full_queue_refuses_and_says_when_to_come_again(arena_url, clock):
    with Arena.open(arena_url, grader=ScriptedGrader(), clock=clock, queue_limit=2) as arena:
        add_problem(arena)
        arena.accounts.create("h", "human")
        for number in range(2):
            arena.submit("h", "sum", "python", "AC 1", idempotency_key=str(number))
        with pytest.raises(QueueFull, match="2 submissions are waiting") as caught:
            arena.submit("h", "sum", "python", "AC 1")
        assert caught.value.retry_after_s > 0
        arena.submit("h", "sum", "python", "AC 1", idempotency_key="0")  # is there already
        judge_all(arena)
        arena.problems.update("sum", {"time_ms": 500})
        assert arena.queue.load().waiting == 2  # of those that are judged again none is in the way
        arena.submit("h", "sum", "python", "AC 1")


@pytest.mark.parametrize("source", ["IE", "RAISE"])
def test_the_judges_own_fault_is_tried_again_three_times_and_never_counts(ready, source):
    ready.submit("n", "sum", "python", "WA 1")
    judge_all(ready)
    sid = ready.submit("m", "sum", "python", source)
    for number in range(4):
        assert ready.judge_once() == sid
        assert ready.submission(sid).state == ("failed" if number == 3 else "queued")
        assert ready.judge_once() is None  # it waits
        retries_now(ready)
    done = ready.submission(sid)
    assert (done.verdict, done.counted) == ("IE", False)
    assert [row.user for row in ready.ranking().rows] == ["n"]
    assert ready.submissions.judgements(sid) == 1
    assert [event.kind for event in ready.events(subject=sid)].count("submission.retried") == 3
    # It is left for an administrator, and nobody has the attempt meanwhile.
    with pytest.raises(AttemptAlreadyUsed):
        ready.submit("m", "sum", "python", "AC 1")
    ready.rejudge(sid)
    assert ready.audit().clean


def test_a_job_whose_judges_die_is_given_up(ready):
    sid = ready.submit("m", "sum", "python", "AC 1")
    for _ in range(4):
        assert ready.queue.claim("dies") is not None
        leases_over(ready)
    assert ready.judge_once() == sid
    assert ready.submission(sid).verdict == "IE"
    assert "died" in ready.submission(sid).message


def test_without_isolation_nothing_is_judged_and_no_try_is_used(ready):
    sid = ready.submit("m", "sum", "python", "NOBOX")
    for _ in range(6):
        with pytest.raises(SandboxUnavailable):
            ready.judge_once()
    assert (ready.submission(sid).state, ready.submission(sid).verdict) == ("queued", None)
    with ready.database.read() as connection:
        assert connection.execute(select(tables.job.c.tries)).scalar_one() == 0


def test_judged_again_the_old_verdict_counts_until_the_new_one_is_there(ready, clock):
    before = clock.time
    sid = ready.submit("h", "sum", "python", "AC 4")
    judge_all(ready)
    clock.move(hours=1)
    ready.rejudge(sid)
    with pytest.raises(NotReady, match="waiting already"):
        ready.rejudge(sid)
    assert ready.submission(sid).verdict == "AC"
    assert ready.ranking(population="human").of("h").solved == 1
    judge_all(ready)
    assert ready.submissions.judgements(sid) == 2
    assert ready.ranking(before, population="human").of("h").solved == 1
    assert ready.audit().clean


def test_a_failed_second_judging_leaves_the_first_in_force(ready):
    sid = ready.submit("m", "sum", "python", "AC 4")
    judge_all(ready)
    ready.rejudge(sid)
    ready.judge._grader = lambda program, task: ScriptedGrader()(
        type(program)(program.language, "IE", program.sid), task
    )
    for _ in range(4):
        retries_now(ready)
        ready.judge_once()
    assert (ready.submission(sid).verdict, ready.submission(sid).state) == ("AC", "done")
    assert ready.ranking().of("m").solved == 1
    assert "submission.rejudge_failed" in [event.kind for event in ready.events(subject=sid)]


def test_an_aborted_submission_counts_for_nothing_and_gives_the_attempt_back(ready):
    waiting = ready.submit("m", "sum", "python", "AC 4")
    ready.submissions.abort(waiting)
    assert ready.judge_once() is None
    judged = ready.submit("m", "sum", "python", "AC 4")
    judge_all(ready)
    assert ready.ranking().of("m").solved == 1
    ready.submissions.abort(judged)
    assert ready.ranking().rows == ()
    assert (ready.submission(judged).verdict, ready.submission(judged).counted) == ("AB", False)
    ready.submit("m", "sum", "python", "AC 4")
    with pytest.raises(NotReady, match="aborted"):
        ready.rejudge(judged)
    assert ready.audit().clean


def test_an_aborted_submission_that_was_being_judged_stays_aborted(ready):
    sid = ready.submit("m", "sum", "python", "AC 4")
    lease = ready.queue.claim("slow")
    work = ready.judge.load(lease)
    ready.submissions.abort(sid)
    ready.judge.settle(work, ScriptedGrader()(work.programs[0], work.task))
    assert ready.submission(sid).verdict == "AB"


def test_timing_again_is_for_machines_of_one_class_only(ready):
    ready.judge.machine = type(ready.judge.machine)("old", "slow machines")
    timed = ready.submit("m", "sum", "python", "AC 4")
    ready.submit("n", "sum", "python", "WA 4")
    judge_all(ready)
    assert ready.standing.host_classes() == {"slow machines": 1}
    assert ready.submissions.retime("fast machines") == [timed]
    assert ready.submissions.retime("fast machines") == []  # asked already
    assert ready.judge_once() is None  # not on this one
    ready.judge.machine = type(ready.judge.machine)("new", "fast machines")
    assert ready.judge_once() == timed
    assert ready.submission(timed).host == "new"
    assert ready.standing.host_classes() == {"fast machines": 1}


def test_submissions_are_paged_and_filtered(ready, clock):
    add_problem(ready, "hidden", visible_from=clock.time.replace(hour=12))
    first = ready.submit("m", "sum", "python", "AC 4")
    second = ready.submit("h", "sum", "c", "WA 4")
    third = ready.submit("h", "hidden", "c", "WA 4")
    ready.problems.update("hidden", {"visible_from": clock.time.replace(hour=20)})
    find = lambda **how: [found.sid for found in ready.submissions.page(**how)[0]]
    assert find() == [second, first]
    assert find(user="m") == find(language="python") == [first]
    assert find(pid="hidden") == []
    judge_all(ready)
    assert find(verdict="WA") == [second]
    assert find(offset=1, limit=1) == [first]
    assert ready.submissions.page(limit=1)[1] == 2
    assert ready.submission(third).verdict == "WA"


def test_what_a_program_says_is_kept_as_far_as_a_database_can(ready):
    sid = ready.submit("m", "sum", "python", "AC 4")
    from .scripted import case_grade, grade

    ready.judge._grader = lambda program, task: grade(
        "CE", 0.0, (case_grade(1, "WA", 1.0),), message="a\0b\ud800" + "x" * 100_000
    )
    ready.judge_once()
    message = ready.submission(sid).message
    assert message.startswith("a\ufffdb?x")
    assert len(message) < 20_000


def test_ids_sort_by_time():
    from firsthand.evaluation.codearena.store.texts import new_sid

    found = []
    for _ in range(5):
        found.append(new_sid())
        time.sleep(0.002)
    assert found == sorted(found)
    assert len(set(found)) == 5
