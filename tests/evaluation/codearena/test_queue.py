"""Leases: one holder at a time, lost when they run out, extended while a judge works, named by whoever finishes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from firsthand.evaluation.codearena.arena import Arena

from .conftest import add_problem, judge_all
from .scripted import ScriptedGrader


@pytest.fixture
def quick(arena_url):
    """Leases of 0.3 s, and some submissions."""
    with Arena.open(arena_url, grader=ScriptedGrader(), lease_s=0.3) as arena:
        add_problem(arena)
        arena.accounts.create("h", "human")
        yield arena


def test_a_job_has_one_holder(quick):
    quick.submit("h", "sum", "python", "AC 1")
    first = quick.queue.claim("a")
    assert first is not None
    assert quick.queue.claim("b") is None
    load = quick.queue.load()
    assert (load.waiting, load.leased) == (0, 1)


def test_many_that_claim_at_once_get_different_jobs(quick):
    for _ in range(24):
        quick.submit("h", "sum", "python", "AC 1")
    claims = Arena.open(str(quick.database.engine.url.render_as_string(False)), lease_s=30.0)
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda number: claims.queue.claim(str(number)), range(30)))
    ids = [lease.job_id for lease in found if lease]
    assert len(ids) == len(set(ids)) == 24
    claims.close()


def test_the_oldest_first_and_fresh_ones_before_those_judged_again(quick):
    again = quick.submit("h", "sum", "python", "AC 1")
    judge_all(quick)
    quick.rejudge(again)
    fresh = [quick.submit("h", "sum", "python", f"AC {number}") for number in (1, 2)]
    assert judge_all(quick) == [*fresh, again]


def test_a_lease_runs_out_and_its_former_holder_writes_nothing(quick):
    sid = quick.submit("h", "sum", "python", "AC 1")
    lost = quick.queue.claim("hangs")
    work = quick.judge.load(lost)
    time.sleep(0.35)
    assert quick.judge_once() == sid
    assert not quick.queue.extend(lost)
    quick.judge.settle(work, ScriptedGrader()(type(work.programs[0])("python", "WA 9"), work.task))
    assert quick.submission(sid).verdict == "AC"
    assert quick.submissions.judgements(sid) == 1


def test_while_a_judge_works_it_keeps_its_lease(quick):
    sid = quick.submit("h", "sum", "python", "SLEEP 1.0 AC 1")
    thread = threading.Thread(target=quick.judge_once)
    thread.start()
    time.sleep(0.6)  # two leases long
    assert quick.queue.claim("greedy") is None
    thread.join()
    assert quick.submissions.judgements(sid) == 1


def test_a_job_put_back_waits_and_counts_its_tries(quick):
    quick.submit("h", "sum", "python", "AC 1")
    lease = quick.queue.claim("a")
    with quick.database.write() as connection:
        assert quick.queue.put_back(connection, lease, after_s=0.2)
        assert not quick.queue.put_back(connection, lease)  # it is nobody's now
    assert quick.queue.claim("a") is None
    time.sleep(0.25)
    again = quick.queue.claim("a")
    assert (again.job_id, again.tries) == (lease.job_id, 2)
    quick.judge.give_back(again)
    assert quick.queue.claim("a").tries == 2


def test_the_same_is_not_asked_for_twice(quick):
    sid = quick.submit("h", "sum", "python", "AC 1")
    number = quick.submission(sid).number
    with quick.database.write() as connection:
        assert not quick.queue.add(connection, "submission", problem_id=1, submission_id=number)
        assert quick.queue.drop(connection, number)
        assert not quick.queue.drop(connection, number)
    assert quick.queue.load().waiting == 0
