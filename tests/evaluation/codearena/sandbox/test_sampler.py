"""The stand-in for control groups: what it sees of processes, and of whom it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from firsthand.evaluation.codearena.sandbox import processes
from firsthand.evaluation.codearena.sandbox.limits import Limits
from firsthand.evaluation.codearena.sandbox.processes import (
    ProcessTree,
    Sampler,
    missing_for_sampling,
    run_ms,
)

from .processes import wait_until


@pytest.fixture
def child():
    """Starts a Python program that waits for a line before each of its steps, told by a letter."""
    started = []

    def start(text: str) -> subprocess.Popen[bytes]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-S", "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        )
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait()
        one.stdin.close()
        one.stdout.close()


def step(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b"\n")
    assert child.stdout.read(1) == b"."


def test_processor_time_of_a_process(child):
    one = child("input(); sum(range(5_000_000)); print('.', end='', flush=True); input()")
    before = run_ms(one.pid)
    step(one)
    assert run_ms(one.pid) > before + 10


def test_who_has_ended_uses_nothing():
    one = subprocess.Popen(["/bin/true"])
    one.wait()
    assert run_ms(one.pid) == 0
    tree = ProcessTree(one.pid)
    tree.sample()
    assert (tree.cpu_ms(), tree.peak_kb()) == (0, 0)


def test_descendants_count_and_those_that_ended_stay_counted(child):
    one = child(
        "import os\ninput()\nfor _ in 'ab':\n    if not os.fork():\n        sum(range(5_000_000)); os._exit(0)\n"
        "    os.wait()\nprint('.', end='', flush=True)\ninput()"
    )
    tree = ProcessTree(one.pid)
    tree.sample()
    before = tree.cpu_ms()
    step(one)
    tree.sample()  # both are gone: the kernel has them on their parent's account
    assert tree.cpu_ms() > before + 20


def test_threads_count(child):
    one = child(
        "import threading\ninput()\nwork = [threading.Thread(target=lambda: sum(range(5_000_000))) for _ in 'ab']\n"
        "[one.start() for one in work]; [one.join() for one in work]\nprint('.', end='', flush=True)\ninput()"
    )
    tree = ProcessTree(one.pid)
    tree.sample()
    before = tree.cpu_ms()
    step(one)
    tree.sample()
    assert tree.cpu_ms() > before + 20


def test_memory_between_two_samples_is_seen_while_the_process_lives(child):
    one = child("input(); held = bytes(b'x') * 80_000_000; del held; print('.', end='', flush=True); input()")
    tree = ProcessTree(one.pid)
    step(one)
    tree.sample()
    assert 78_000 < tree.peak_kb() < 130_000


def test_a_name_with_brackets_and_spaces_is_no_trouble(tmp_path):
    program = tmp_path / ") 1 2 (a b)"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "600"]) as one:
        wait_until(lambda: b"(a b" in Path(f"/proc/{one.pid}/stat").read_bytes())
        tree = ProcessTree(one.pid)
        tree.sample()
        assert tree.peak_kb() > 0
        one.kill()


def test_the_judge_s_own_memory_is_not_the_program_s(sampled):
    ours = bytearray(os.urandom(1)) * (300 << 20)
    result = sampled.run(["/bin/true"], limits=Limits(memory_mb=64))
    assert (result.status, result.peak_kb < 64 << 10) == ("ok", True)
    assert len(ours) > 0


def test_setting_the_box_up_is_not_the_program_s(sampled):
    quiet = [sampled.run(["/bin/true"]).cpu_ms for _ in range(3)]
    assert min(quiet) < 20


def test_a_kernel_without_the_files_is_told(monkeypatch):
    assert missing_for_sampling() is None
    monkeypatch.setattr(processes.Path, "exists", lambda path: path.name != "children")
    assert missing_for_sampling() == "/proc/PID/task/TID/children"


def test_a_meter_that_was_never_attached_has_seen_nothing():
    run = Sampler().open_run(Limits())
    run.sample()
    assert (run.cpu_ms(), run.peak_kb(), run.out_of_memory()) == (0, 0, False)
    run.close()
