"""Jobs give the same in this process, in a pool and on Ray; they resume; a dead worker is replaced."""

import json
import os
import socket
import subprocess
import sys
import time
import types

import pytest

from firsthand.errors import CheckError, InputError
from firsthand.launch import Job, run_jobs
from firsthand.launch.jobs import execute

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


@pytest.mark.parametrize(
    "spoil",
    [lambda raw: b"[1, 2]", lambda raw: b'"text"', lambda raw: b"\xff\xfe" + raw,
     lambda raw: raw.replace(b'"process"', b'"other"'), lambda raw: raw.replace(b'"key"', b'"more": 1, "key"'),
     lambda raw: json.dumps({**json.loads(raw), "cpu_seconds": None}).encode(),
     lambda raw: json.dumps({"fingerprint": json.loads(raw)["fingerprint"]}).encode()],
)  # fmt: skip
def test_a_kept_file_that_is_not_ours_is_run_again(tmp_path, spoil):
    first = run_jobs(jobs(1), engine="inline", keep=tmp_path)
    path = tmp_path / "job-0.json"
    path.write_bytes(spoil(path.read_bytes()))
    again = run_jobs(jobs(1), engine="inline", keep=tmp_path, resume=True)
    assert [f.resumed for f in again] == [False]
    assert again[0].result == first[0].result


def test_a_resumed_job_brings_the_load_of_the_run_that_made_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (7.0, 0.0, 0.0))
    run_jobs(jobs(1), engine="inline", keep=tmp_path)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.0, 0.0))
    assert [f.load_average for f in run_jobs(jobs(2), engine="inline", keep=tmp_path, resume=True)] == [
        7.0,
        0.5,
    ]


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
    inline = run_jobs(jobs(6, "numbers"), engine="inline")
    ray = run_jobs(jobs(6, "numbers_together", folder=str(tmp_path)), engine="ray", workers=2)
    assert (tmp_path / "died").exists(), "no worker was killed"
    assert [f.result for f in ray] == [f.result for f in inline]
    assert len(list(tmp_path.glob("process-*"))) >= 2  # they wait for each other: two were at work at once
    assert os.getpid() not in {f.process for f in ray}


class Reference:
    def __init__(self, job):
        self.job = job


class FakeRay(types.ModuleType):
    """As much of Ray as is called: it runs a task when somebody waits for it, and counts what is under way."""

    def __init__(self, refuses=None):
        super().__init__("ray")
        self.refuses, self.started, self.under_way, self.most = refuses, None, 0, 0
        self.exceptions = types.SimpleNamespace(RayTaskError=RuntimeError, RayError=OSError)
        self.util = types.SimpleNamespace(get_node_ip_address=lambda: "127.0.0.1")

    def is_initialized(self):
        return False

    def init(self, **arguments):
        if self.refuses:
            raise self.refuses
        self.started = arguments

    def shutdown(self):
        pass

    def remote(self, **options):
        return lambda function: types.SimpleNamespace(remote=self._submit)

    def _submit(self, job):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        return Reference(job)

    def wait(self, pending, num_returns):
        self.under_way -= 1
        return pending[-1:], pending[:-1]

    def get(self, reference):
        return execute(reference.job)


@pytest.fixture
def listening():
    """HOST:PORT of something that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("cluster", [False, True])
def test_ray_never_has_more_jobs_under_way_than_workers(monkeypatch, listening, cluster):
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    address = listening if cluster else None
    finished = run_jobs(jobs(7), engine="ray", workers=3, address=address)
    assert [f.result["seed"] for f in finished] == list(range(7))
    assert fake.most == 3
    assert fake.started["address"] == (listening if cluster else "local")
    assert ("num_cpus" in fake.started) is not cluster


def test_a_ray_that_cannot_be_joined_is_the_users_error(monkeypatch, listening):
    for refusal in (ConnectionError("refused"), ValueError("bad format"), SystemExit(15)):
        monkeypatch.setitem(sys.modules, "ray", FakeRay(refusal))
        with pytest.raises(InputError, match=listening):
            run_jobs(jobs(1), engine="ray", address=listening)
        with pytest.raises(InputError, match="on this machine"):
            run_jobs(jobs(1), engine="ray")


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "127.0.0.1:port", "[:1"])
def test_an_address_nobody_answers_at_is_said_at_once(monkeypatch, address):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = address.format(port=server.getsockname()[1])  # closed again below: nobody listens there
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    with pytest.raises(InputError) as raised:
        run_jobs(jobs(1), engine="ray", address=address)
    assert address in str(raised.value)
    assert fake.started is None
