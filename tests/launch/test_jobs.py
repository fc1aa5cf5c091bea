"""Jobs give the same in this process, in a pool and on Ray; they resume; a dead worker is replaced."""

import json
import os
import subprocess
import sys
import time

import pytest

from firsthand.errors import CheckError, InputError
from firsthand.launch import Job, run_jobs

HERE = "tests.launch.jobs_for_tests"


def jobs(count, function="numbers", **arguments):
    return [Job(f"job-{i}", f"{HERE}:{function}", {"seed": i, **arguments}) for i in range(count)]


def test_inline_and_pool_give_the_same_bits():
    inline = run_jobs(jobs(4), engine="inline")
    pool = run_jobs(jobs(4), engine="local", workers=2)
    assert [f.result for f in inline] == [f.result for f in pool]
    assert {f.process for f in inline} == {os.getpid()}
    assert os.getpid() not in {f.process for f in pool}
    assert all(f.cpu_seconds >= 0 and f.peak_memory_mib > 0 for f in pool)


def test_jobs_run_on_one_thread_everywhere():
    for engine in ("inline", "local"):
        assert run_jobs(jobs(1, "threads"), engine=engine)[0].result == {"blas": [1], "variable": "1"}


def test_threads_are_given_back():
    before = os.environ.get("OMP_NUM_THREADS")
    run_jobs(jobs(1), engine="inline")
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_finished_jobs_are_kept_and_taken_up(tmp_path):
    first = run_jobs(jobs(3), engine="inline", keep=tmp_path, version="v1")
    (tmp_path / "job-1.json").unlink()
    (tmp_path / "job-2.json").write_text('{"cut sho')  # a power failure
    second = run_jobs(jobs(3), engine="inline", keep=tmp_path, version="v1", resume=True)
    assert [f.resumed for f in second] == [True, False, False]
    assert [f.result for f in first] == [f.result for f in second]
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("change", ["version", "arguments"])
def test_what_other_sources_or_arguments_made_is_not_taken_up(tmp_path, change):
    run_jobs(jobs(1), engine="inline", keep=tmp_path, version="v1")
    version = "v2" if change == "version" else "v1"
    again = jobs(1, n=5) if change == "arguments" else jobs(1)
    assert not run_jobs(again, engine="inline", keep=tmp_path, version=version, resume=True)[0].resumed


def test_a_job_that_fails_leaves_the_finished_ones(tmp_path):
    with pytest.raises(CheckError, match=r"job-2.*ZeroDivisionError"):
        run_jobs(jobs(4, "fails_at_two"), engine="inline", keep=tmp_path)
    assert sorted(p.name for p in tmp_path.glob("*.json")) == ["job-0.json", "job-1.json"]


def test_a_users_error_keeps_its_type_through_the_pool():
    with pytest.raises(InputError, match="on purpose"):
        run_jobs(jobs(2, "users_mistake"), engine="local", workers=2)


def test_a_killed_worker_is_replaced(tmp_path):
    marker = tmp_path / "died"
    finished = run_jobs(jobs(3, "dies_once", marker=str(marker)), engine="local", workers=2)
    assert marker.exists()
    assert [f.result["seed"] for f in finished] == [0, 1, 2]


def test_a_worker_that_always_dies_is_an_error():
    with pytest.raises(CheckError, match="died 3 times"):
        run_jobs(jobs(1, "always_dies"), engine="local")


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    code = (
        "from firsthand.launch import Job, run_jobs\n"
        f"run_jobs([Job('a', '{HERE}:sleeps', {{'path': {str(tmp_path / 'pid')!r}}})])"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.time() + 60
    while not (tmp_path / "pid").exists() and time.time() < deadline:
        time.sleep(0.05)
    worker = int((tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    while os.path.exists(f"/proc/{worker}") and time.time() < deadline:
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{worker}")


def test_results_are_plain_json(tmp_path):
    finished = run_jobs(jobs(1), engine="inline", keep=tmp_path)
    kept = json.loads((tmp_path / "job-0.json").read_text())
    assert kept["result"] == finished[0].result


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"engine": "slurm"}, "unknown engine"), ({"workers": 0}, "at least 1")],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        run_jobs(jobs(1), **arguments)
    with pytest.raises(InputError, match="repeat"):
        run_jobs([*jobs(1), *jobs(1)])


def test_ray_gives_the_same_on_two_workers_and_survives_one_killed(tmp_path):
    """The way up is real: two processes at work, one of them killed, equal results."""
    pytest.importorskip("ray")
    marker = tmp_path / "died"
    inline = run_jobs(jobs(6, "slow_numbers"), engine="inline")
    ray = run_jobs(jobs(6, "slow_numbers", marker=str(marker)), engine="ray", workers=2)
    assert marker.exists(), "no worker was killed"
    assert [f.result for f in ray] == [f.result for f in inline]
    assert len({f.process for f in ray}) >= 2
    assert os.getpid() not in {f.process for f in ray}
