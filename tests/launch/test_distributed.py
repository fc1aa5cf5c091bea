"""Processes that torchrun started find their places, wait for each other, and do not wait for the dead."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from firsthand.errors import InputError
from firsthand.launch import Rank, process_group, this_rank
from firsthand.launch.distributed import _agreed

from .torchrun_for_tests import torchrun

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
PROGRAM = "tests.launch.ranks_for_tests"


@pytest.fixture
def environment(monkeypatch):
    def set_to(**values):
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    set_to()
    return set_to


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_alone_nothing_is_started(environment):
    for values in ({}, {"WORLD_SIZE": "1", "RANK": "0"}):
        environment(**values)
        with process_group() as rank:
            assert rank == Rank(0, 1, 0)
            assert rank.first
            assert all(rank.takes(number) for number in range(3))
            assert rank.device("auto") == "auto"
            rank.barrier()


def test_alone_torch_is_not_imported():
    code = (
        "import sys\nfrom firsthand.launch import process_group\n"
        "with process_group() as rank: rank.barrier()\nprint('torch' in sys.modules)"
    )
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"WORLD_SIZE": "2"}, "no RANK, MASTER_ADDR, MASTER_PORT"),
        ({"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "1"}, "no MASTER_ADDR"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE must be a whole number, got 'two'"),
        ({"WORLD_SIZE": "1", "RANK": "1"}, "RANK is 1 and its WORLD_SIZE 1"),
    ],
)
def test_an_environment_that_contradicts_itself(environment, values, message):
    environment(**values)
    with pytest.raises(InputError, match=message):
        this_rank()


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_every_piece_has_one_rank(world):
    for number in range(20):
        assert sum(Rank(rank, world).takes(number) for rank in range(world)) == 1


def test_every_process_has_a_gpu_of_its_own(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [Rank(rank, 2, rank).device() for rank in range(2)] == ["cuda:0", "cuda:1"]
    assert Rank(5, 6, 1).device("cuda") == "cuda:1"
    assert Rank(1, 2, 1).device("cpu") == "cpu"
    assert Rank(1, 2, 1).device("cuda:0") == "cuda:0"
    with pytest.raises(InputError, match="has 2 GPUs and this is its process 3"):
        Rank(2, 3, 2).device()


def test_a_barrier_outside_the_group_is_an_error():
    pytest.importorskip("torch")
    with pytest.raises(InputError, match="within process_group"):
        Rank(0, 2).barrier()


class Store(dict):
    """As much of torch's store as is called; shared by threads."""

    def set(self, name, value):
        self[name] = value.encode()

    def get(self, name):
        return self[name]

    def check(self, names):
        return all(name in self for name in names)

    def wait(self, names, limit):
        deadline = time.monotonic() + limit.total_seconds()
        while not self.check(names):
            if time.monotonic() > deadline:
                raise RuntimeError("timed out")
            time.sleep(0.001)


def test_a_start_has_a_name_of_its_own_in_a_store_that_outlives_it():
    """torchrun keeps the store through restarts; what dead processes left there must mislead nobody."""
    store, limit = Store({"firsthand/name/1": b"of-a-dead-process", "firsthand/name/2": b"another"}), 20.0
    names = set()
    for _ in range(3):
        with ThreadPoolExecutor(3) as threads:
            agreed = [threads.submit(_agreed, store, Rank(r, 3), timedelta(seconds=limit)) for r in range(3)]
        assert len({future.result() for future in agreed}) == 1
        names |= {future.result() for future in agreed}
    assert len(names) == 3


def test_a_process_that_never_comes_is_named():
    store = Store({"firsthand/name/1": b"of-a-dead-process"})
    with pytest.raises(RuntimeError, match=r"no sign of the processes \[1\]"):
        _agreed(store, Rank(0, 2), timedelta(seconds=0.1))


def test_two_processes_meet(tmp_path):
    pytest.importorskip("torch")
    done = torchrun("-m", PROGRAM, tmp_path, "meet")
    assert done.returncode == 0, done.stderr
    came = {(tmp_path / f"came-{rank}").read_text() for rank in range(2)}
    assert len(came) == 2  # two processes
    assert (tmp_path / "saw-0").read_text() == "came-0 came-1 [0, 2, 4] True auto"
    assert (tmp_path / "saw-1").read_text() == "came-0 came-1 [1, 3] False auto"


@pytest.mark.parametrize("how", ["second_is_killed", "second_hangs"])
def test_nobody_waits_for_ever(tmp_path, how):
    pytest.importorskip("torch")
    done = torchrun("-m", PROGRAM, tmp_path, how)
    assert done.returncode != 0
    assert not any(alive(int((tmp_path / f"came-{rank}").read_text())) for rank in range(2))
    heard = tmp_path / "heard"
    # Torchrun may end the first before it has heard of a death; nobody tells it of one that hangs.
    if how == "second_hangs" or heard.exists():
        assert "process 0 of 2 waited for the others in vain" in heard.read_text()
