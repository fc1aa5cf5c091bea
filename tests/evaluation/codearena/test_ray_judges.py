"""Judges on Ray: two worker processes at work, one of them killed, and each submission judged once."""

from __future__ import annotations

import logging
import sys
import types

import pytest

from firsthand.evaluation.codearena.store import ray_judges
from firsthand.evaluation.codearena.store.judges import JudgeSettings, judges_on
from firsthand.evaluation.codearena.store.ray_judges import Done, RayJudges, judge_one

from .conftest import add_problem
from .watched import HERE, judged_once, settings_of, until


@pytest.fixture(autouse=True)
def closed():
    """What tasks opened in this process is closed."""
    yield
    while ray_judges._OPEN:
        ray_judges._OPEN.popitem()[1].close()


@pytest.mark.parametrize("arena_url", ["postgresql"], indirect=True)  # what the nodes of a cluster share
def test_jobs_are_tasks_on_two_workers_and_survive_one_killed(league, tmp_path):
    pytest.importorskip("ray")
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    together = [league.submit("h", "sum", "python", f"MEET {meeting} 2 AC 1") for _ in range(2)]
    dies = league.submit("h", "sum", "python", f"DIES {tmp_path / 'died'} AC 5")
    others = [league.submit("h", "sum", "python", f"AC {number + 1}") for number in range(6)]
    with judges_on("ray", settings_of(league), 2):
        until(lambda: judged_once(league, [*together, dies, *others]))
        until(lambda: any(judge.languages for judge in league.judges.seen()))
        (seen,) = league.judges.seen()
        assert (seen.languages, seen.fault) == (("c", "cpp", "python"), "")
    assert (tmp_path / "died").exists(), "no worker was killed"
    assert len({league.submission(sid).message for sid in together}) == 2
    assert league.submission(dies).cpu_ms == 5
    assert league.judges.seen() == []
    assert league.audit().clean


def test_a_task_judges_one_job(league):
    settings = settings_of(league)
    assert judge_one(settings) == Done(False, ("c", "cpp", "python"))
    sids = [league.submit("h", "sum", "python", "AC 1") for _ in range(2)]
    assert judge_one(settings).judged
    assert [league.submission(sid).verdict for sid in sids] == ["AC", None]
    league.submit("h", "sum", "python", "NOBOX")
    assert judge_one(settings).judged
    assert judge_one(settings) == Done(False, fault="scripted to have no isolation")


class FakeRay(types.ModuleType):
    """As much of Ray as is called; tasks run where they are asked for, or fail as `does` says."""

    class RayError(Exception):
        pass

    def __init__(self, does):
        super().__init__("ray")
        self.does, self.sent, self.cancelled, self.most = does, 0, [], 0
        self.exceptions = types.SimpleNamespace(RayError=self.RayError)

    def is_initialized(self):
        return True

    def remote(self, **options):
        assert options["num_cpus"] == 1
        return lambda function: types.SimpleNamespace(remote=self._send)

    def _send(self, settings):
        self.sent += 1
        return self.does(self.sent, settings)

    def wait(self, pending, num_returns, timeout):
        self.most = max(self.most, len(pending))
        ready = [one for one in pending if one != "hangs"][:num_returns]
        return ready, [one for one in pending if one not in ready]

    def get(self, reference):
        if isinstance(reference, Exception):
            raise reference
        return reference

    def cancel(self, reference, force):
        self.cancelled.append(reference)


@pytest.fixture
def waiting(small):
    add_problem(small)
    small.accounts.create("h", "human")
    for number in range(5):
        small.submit("h", "sum", "python", f"AC {number + 1}")
    return small


def test_tasks_that_fail_are_said_and_others_follow(waiting, monkeypatch, caplog):
    def does(number, settings):
        return FakeRay.RayError("the node is gone") if number == 2 else judge_one(settings)

    monkeypatch.setitem(sys.modules, "ray", FakeRay(does))
    with caplog.at_level(logging.ERROR), RayJudges(settings_of(waiting), 2):
        until(lambda: waiting.queue.load().waiting == 0)
    assert "the node is gone" in caplog.text
    assert waiting.audit().clean


def test_where_no_node_can_isolate_it_is_said_and_no_more_are_sent(waiting, monkeypatch, caplog):
    fake = FakeRay(lambda number, settings: judge_one(settings))
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr("firsthand.evaluation.codearena.store.ray_judges.NO_SANDBOX_S", 0.05)
    settings = JudgeSettings(settings_of(waiting).database, grader=f"{HERE}:without_isolation")
    with caplog.at_level(logging.ERROR), RayJudges(settings, 2):
        until(lambda: any(judge.fault for judge in waiting.judges.seen()))
        assert waiting.judges.seen()[0].fault == "scripted to have no isolation"
    assert "nothing is judged on a node" in caplog.text
    assert waiting.queue.load().waiting == 5


def test_never_more_tasks_than_asked_for_and_those_that_do_not_end_are_ended(waiting, monkeypatch):
    fake = FakeRay(lambda number, settings: "hangs")
    monkeypatch.setitem(sys.modules, "ray", fake)
    judges = RayJudges(settings_of(waiting), 2)
    judges.start()
    until(lambda: fake.sent == 2)
    judges.stop(grace_s=0.01)
    judges.stop()
    assert (fake.most, fake.cancelled) == (2, ["hangs", "hangs"])
