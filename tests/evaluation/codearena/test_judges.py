"""Judge processes: several share one database, a killed one is replaced, an ended one finishes the job it is at."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from firsthand.errors import InputError
from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.errors import SandboxUnavailable
from firsthand.evaluation.codearena.settings import ArenaSettings
from firsthand.evaluation.codearena.store.judges import (
    Judges,
    JudgeSettings,
    grader_named,
    judge_until,
    judges_on,
)
from firsthand.evaluation.codearena.store.presence import Presence, Voice
from firsthand.evaluation.codearena.store.tables import job

from .scripted import ScriptedGrader
from .watched import GRADER, HERE, judged_once, lives, settings_of, until

# For what is about processes and not about their database.
on_sqlite = pytest.mark.parametrize("arena_url", ["sqlite"], indirect=True)


def test_several_processes_judge_each_job_once_and_a_killed_one_is_replaced(league, tmp_path, caplog):
    meeting, marker = tmp_path / "meeting", tmp_path / "marker"
    meeting.mkdir()
    together = [league.submit("h", "sum", "python", f"MEET {meeting} 2 AC 1") for _ in range(2)]
    hangs = league.submit("h", "sum", "python", f"ONCE {marker} AC 5")
    others = [league.submit("h", "sum", "python", f"AC {number + 1}") for number in range(20)]
    with caplog.at_level(logging.ERROR), Judges(settings_of(league), 2) as judges:
        until(lambda: judged_once(league, together))
        processes = {league.submission(sid).message for sid in together}
        assert len(processes) == 2, "both processes were at work at once"
        assert processes == {f"process {pid}" for pid in judges.pids}
        until(lambda: judged_once(league, others) and marker.exists())
        assert league.submission(hangs).state == "judging"
        (busy,) = _busy(league)
        os.kill(busy, signal.SIGKILL)
        until(lambda: judged_once(league, [hangs]))
        assert league.submission(hangs).cpu_ms == 5
        until(lambda: len(judges.pids) == 2 and busy not in judges.pids)
        until(lambda: len(league.judges.seen()) >= 2)
    assert "a judge process ended with -9" in caplog.text
    assert league.audit().clean
    assert league.queue.load().waiting == 0


def _busy(arena: Arena) -> list[int]:
    """Processes that have a lease."""
    with arena.database.read() as connection:
        owners = connection.execute(select(job.c.lease_owner).where(job.c.lease.is_not(None))).scalars()
        return [int(owner.partition("-")[0]) for owner in owners]


@on_sqlite
def test_an_ended_judge_finishes_the_job_that_it_is_at(league, tmp_path):
    began = tmp_path / "began"
    sid = league.submit("h", "sum", "python", f"MARK {began} SLEEP 0.7 AC 1")
    left = league.submit("h", "sum", "python", "AC 1")
    judges = Judges(settings_of(league), 1)
    judges.start()
    until(began.exists)
    judges.stop(grace_s=120.0)
    assert (league.submission(sid).verdict, league.submissions.judgements(sid)) == ("AC", 1)
    assert league.submission(left).state == "queued"
    assert league.judges.seen() == []  # it said that it was going
    assert judges.pids == []


@on_sqlite
def test_a_judge_that_does_not_finish_in_time_is_killed_and_its_job_waits(league, tmp_path):
    marker = tmp_path / "marker"
    sid = league.submit("h", "sum", "python", f"ONCE {marker} AC 1")
    judges = Judges(settings_of(league), 1)
    judges.start()
    until(marker.exists)
    judges.stop(grace_s=0.1)
    until(lambda: league.judge_once() == sid)  # once the lease is over
    assert (league.submission(sid).verdict, league.submissions.judgements(sid)) == ("AC", 1)


PARENT = """
import sys, time
from firsthand.evaluation.codearena.store.judges import Judges, JudgeSettings

if __name__ == "__main__":
    judges = Judges(JudgeSettings(sys.argv[1], grader=sys.argv[2]), 1)
    judges.start()
    print(*judges.pids, flush=True)
    if sys.argv[3] == "wait":
        time.sleep(600)
"""


@pytest.mark.parametrize("end", ["killed", "forgotten"])
def test_judges_end_with_their_parent(sqlite_url, tmp_path, end):
    """Killed, or come to its end without having stopped them."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, script, sqlite_url, GRADER, "wait" if end == "killed" else "go"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    if end == "killed":
        parent.kill()
    parent.wait(timeout=120)
    until(lambda: not lives(pid))


@on_sqlite
def test_without_isolation_a_judge_says_so_and_claims_nothing(league):
    sid = league.submit("h", "sum", "python", "AC 1")
    settings = settings_of(league)
    without = type(settings)(settings.database, grader=f"{HERE}:without_isolation")
    with Judges(without, 1):
        until(lambda: bool(league.judges.seen()))
        (seen,) = league.judges.seen()
        assert seen.fault == "scripted to have no isolation"
    assert league.submission(sid).state == "queued"


def test_a_judge_leaves_programs_whose_language_it_lacks(league):
    haskell = league.submit("h", "sum", "haskell", "AC 1")
    assert league.judge_once() is None
    assert league.queue.load().waiting == 1
    league.use(ScriptedGrader(languages=("haskell",)))
    assert league.judge_once() == haskell


def test_what_judges_are_told():
    settings = ArenaSettings(database="sqlite:///x.db", host_class="reference", repeats=3, lease_s=5)
    told = JudgeSettings.of(settings)
    assert (told.database, told.lease_s, told.repeats, told.grade_all) == ("sqlite:///x.db", 5, 3, False)
    assert told.machine.host_class == "reference"
    assert JudgeSettings("sqlite:///x.db").machine.host_class != ""


def test_judges_that_cannot_be():
    for name in ("nosuchmodule:x", "tests.evaluation", f"{HERE}:nothing", ""):
        with pytest.raises(InputError, match=r"package\.module:function"):
            grader_named(name)
    with pytest.raises(SandboxUnavailable):
        grader_named(f"{HERE}:without_isolation")
    settings = JudgeSettings("sqlite:///x.db")
    with pytest.raises(InputError, match="0 judges or more"):
        judges_on("local", settings, -1)
    with pytest.raises(InputError, match="'local' or 'ray'"):
        judges_on("slurm", settings, 1)
    with pytest.raises(InputError, match="Ray cluster"):
        judges_on("local", settings, 1, address="10.0.0.1:6379")
    with pytest.raises(InputError, match="at least 1"):
        judges_on("ray", settings, 0)
    with pytest.raises(InputError, match="do not share"):
        judges_on("ray", settings, 1, address="10.0.0.1:6379")
    with judges_on("local", settings, 0) as none:
        assert none.pids == []


def test_a_judge_is_heard_of_while_its_job_takes_long(small, monkeypatch, caplog):
    monkeypatch.setattr("firsthand.evaluation.codearena.store.presence.HEARD_S", 0.03)
    said = []

    class Counting(Presence):
        def here(self, *arguments, **more):
            said.append(more)
            if len(said) == 3:
                raise OperationalError("x", {}, Exception("the database is away"))
            super().here(*arguments, **more)

        def gone(self, judge_id):
            super().gone(judge_id)
            raise OperationalError("x", {}, Exception("the database is away"))

    voice = Voice(Counting(small.database), "me", small.machine)
    voice.say({"c"})
    voice.say({"c"})
    until(lambda: len(said) >= 5)  # four times without being asked, once in vain
    assert [seen.languages for seen in small.judges.seen(1e9)] == [("c",)]
    voice.close()
    assert small.judges.seen(1e9) == []
    assert caplog.text.count("the database is away") == 2


@on_sqlite
def test_a_judge_outlasts_a_database_that_is_away(league, monkeypatch, caplog):
    sid = league.submit("h", "sum", "python", "AC 1")
    over, plain, tries = threading.Event(), Arena.judge_once, []

    def judge_once(arena):
        tries.append(1)
        if len(tries) == 1:
            raise OperationalError("x", {}, Exception("no route to host"))
        done = plain(arena)
        if done is not None:
            over.set()
        return done

    monkeypatch.setattr(Arena, "judge_once", judge_once)
    judge_until(settings_of(league), over)
    assert league.submission(sid).verdict == "AC"
    assert "no route to host" in caplog.text


@on_sqlite
def test_isolation_that_comes_later_is_found(league, monkeypatch, caplog):
    sid = league.submit("h", "sum", "python", "AC 1")
    over = threading.Event()
    made = []

    def make():
        made.append(1)
        if len(made) == 1:
            raise SandboxUnavailable("not yet")
        over.set()
        return ScriptedGrader()

    monkeypatch.setattr("tests.evaluation.codearena.scripted.ScriptedGrader", make)
    monkeypatch.setattr("firsthand.evaluation.codearena.store.judges.NO_SANDBOX_S", 0.01)
    judge_until(settings_of(league), over)
    assert len(made) == 2
    assert league.submission(sid).verdict == "AC"
    assert "not yet" in caplog.text
