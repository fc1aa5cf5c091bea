"""A process killed at any statement of a write leaves the whole of it or nothing, and nothing is judged twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy import event, func, select

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.store import tables

from .conftest import PROCESSES, add_problem, judge_all, leases_over
from .scripted import ScriptedGrader


def killed_at(url: str, verb: str, statement: int) -> None:
    """Do one write in this process, which kills itself before that statement of it, or before its commit (0)."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with Arena.open(url, grader=ScriptedGrader()) as arena:
        engine = arena.database.engine
        judge = arena.judge
        if verb == "judge":
            lease = arena.queue.claim("dies")
            assert lease is not None
            work = judge.load(lease)
            grade = ScriptedGrader()(work.programs[0], work.task)
        left = statement

        @event.listens_for(engine, "before_cursor_execute")
        def count(*_: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                die()

        if statement == 0:
            event.listen(engine, "commit", die)
        if verb == "judge":
            judge.settle(work, grade)
        else:
            arena.submit("m", "sum", "python", "AC 1")


def ends(url: str, verb: str, statement: int) -> int | None:
    child = PROCESSES.Process(target=killed_at, args=(url, verb, statement))
    child.start()
    child.join()
    return child.exitcode


def counts(arena: Arena) -> dict[str, int]:
    names = ("submission", "job", "event", "judgement", "case_result", "user_problem_score")
    with arena.database.read() as connection:
        return {
            name: connection.execute(
                select(func.count()).select_from(tables.metadata.tables[name])
            ).scalar_one()
            for name in names
        }


@pytest.fixture
def ready(arena):
    add_problem(arena)
    arena.accounts.create("m", "llm")
    return arena


def url_of(arena: Arena) -> str:
    return arena.database.engine.url.render_as_string(hide_password=False)


def test_a_submission_is_taken_in_wholly_or_not_at_all(ready):
    before = counts(ready)
    statement = 0
    while ends(url_of(ready), "submit", statement) == -signal.SIGKILL:
        assert counts(ready) == before, f"killed at statement {statement}"
        statement += 1
    assert statement > 5  # it has so many at least
    # The last one had fewer statements than it was to be killed at, and the attempt was still there for it.
    assert counts(ready) == {**before, "submission": 1, "job": 1, "event": before["event"] + 1}
    assert len(judge_all(ready)) == 1


def test_a_judgement_is_written_wholly_or_not_at_all(ready):
    sid = ready.submit("m", "sum", "python", "AC 7")
    before = counts(ready)
    statement = 0
    while ends(url_of(ready), "judge", statement) == -signal.SIGKILL:
        assert counts(ready) == before, f"killed at statement {statement}"
        assert ready.ranking().rows == ()
        assert ready.submission(sid).verdict is None
        leases_over(ready)
        with ready.database.write() as connection:  # the tries of a program that kills judges are few
            connection.execute(tables.job.update().values(tries=0))
        statement += 1
    assert statement > 8
    assert counts(ready) == {
        **before,
        "job": 0,
        "event": before["event"] + 1,
        "judgement": 1,
        "case_result": 2,
        "user_problem_score": 1,
    }
    assert (ready.submission(sid).verdict, ready.submissions.judgements(sid)) == ("AC", 1)
    assert ready.audit().clean


WRITER = """
import sys
from firsthand.evaluation.codearena.arena import Arena
from tests.evaluation.codearena.scripted import ScriptedGrader

arena = Arena.open(sys.argv[1], grader=ScriptedGrader())
number = 0
while True:
    number += 1
    print(arena.submit("h", "sum", "python", f"AC {number}"), flush=True)
    if number % 2:
        print(arena.judge_once(), flush=True)
"""


def test_what_was_acknowledged_before_a_kill_is_there_after_it(ready):
    """Killed at whatever moment: every id that was told is stored, and each is judged once in the end."""
    ready.accounts.create("h", "human")
    told: set[str] = set()
    for lines in (3, 8, 17):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, url_of(ready)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        assert writer.stdout is not None
        for _ in range(lines):
            told.add(writer.stdout.readline().strip())
        time.sleep(0.003 * lines)
        writer.kill()
        told |= {line.strip() for line in writer.stdout.read().splitlines() if len(line.strip()) == 26}
        writer.wait()
    leases_over(ready)
    judge_all(ready)
    found, total = ready.submissions.page(limit=10_000)
    assert told <= {one.sid for one in found}
    assert {one.state for one in found} == {"done"}
    assert [ready.submissions.judgements(one.sid) for one in found] == [1] * total
    assert ready.queue.load().waiting == 0
    assert ready.audit().clean
