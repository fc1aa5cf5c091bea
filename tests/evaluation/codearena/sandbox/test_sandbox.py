"""What a program finds in its box, what comes back from it, and what its figures are."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from firsthand.errors import InputError
from firsthand.evaluation.codearena.sandbox.bubblewrap import BubblewrapSandbox
from firsthand.evaluation.codearena.sandbox.limits import Limits
from firsthand.evaluation.codearena.sandbox.runs import PreparedRun

from .processes import long_time, mentioning, running, wait_until

SHORT = Limits(cpu_s=0.3, wall_s=2)


def sh(text: str, *more: str) -> list[str]:
    return ["/bin/sh", "-c", text, "sh", *more]


def python(text: str) -> list[str]:
    return ["python3", "-c", text]


def test_input_output_errors_and_exit_code_come_back(either):
    result = either.run(sh("cat; echo told >&2; exit 7"), stdin=b"some\0thing\xff\n")
    assert (result.status, result.exit_code, result.signal) == ("rte", 7, None)
    assert (result.stdout, result.stderr, result.truncated) == (b"some\0thing\xff\n", b"told\n", False)


def test_figures_of_a_run_that_does_nothing(either):
    result = either.run(["/bin/true"])
    assert (result.status, result.exit_code) == ("ok", 0)
    assert 0 < result.cpu_ms < 500
    assert 0 < result.peak_kb < 20_000
    assert result.wall_ms > 0


def test_files_of_the_box_are_there_and_arguments_arrive_as_they_are(sandbox):
    result = sandbox.run(
        sh('cat /box/a; printf "[%s]" "$@"; pwd', "a b", "$HOME", "", "'\"\n;"), files={"a": b"text\n"}
    )
    assert result.stdout == b"text\n[a b][$HOME][]['\"\n;]/tmp\n"


def test_standard_input_that_nobody_reads_holds_nothing_up(sandbox):
    assert sandbox.run(["/bin/true"], stdin=bytes(8 << 20)).status == "ok"


def test_long_standard_input_arrives_whole(sandbox):
    result = sandbox.run(sh("wc -c"), stdin=bytes(5_000_001))
    assert result.stdout.strip() == b"5000001"


def test_the_environment_is_the_documented_one_and_holds_nothing_of_the_judge_s(sandbox, monkeypatch):
    monkeypatch.setenv("ARENA_SECRET", "hunter2")
    with sandbox.box() as box:
        result = box.run(["/usr/bin/env"], environment={"EXTRA": "a b=c"})
    found = dict(line.split("=", 1) for line in result.stdout.decode().splitlines())
    assert {name: found.pop(name) for name in ("PATH", "LANG", "HOME", "TMPDIR", "EXTRA")} == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "EXTRA": "a b=c",
    }
    assert set(found) <= {"PWD", "OLDPWD", "SHLVL", "_"}  # the guard's shell


def test_a_program_that_is_not_there_is_the_program_s_fault(sandbox):
    assert (sandbox.run(["/box/program"]).status, sandbox.run(["/box/program"]).exit_code) == ("rte", 127)


@pytest.mark.parametrize("argv", [[], ["/bin/echo", "a\0b"]])
def test_commands_that_no_system_call_takes_are_refused(sandbox, argv):
    with pytest.raises(InputError, match="NUL"):
        sandbox.run(argv)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "../x", "a\0"])
def test_a_box_takes_plain_names_only(sandbox, name):
    with sandbox.box() as box, pytest.raises(InputError, match="plain name"):
        box.put(name, b"")


def test_a_box_outlives_its_runs_and_takes_a_program_s_output(sandbox):
    with sandbox.box({"source": b"echo made"}) as box:
        made = box.run(sh("echo '#!/bin/sh'; cat /box/source"), stdout_to="program")
        assert (made.status, made.stdout) == ("ok", b"")
        assert box.run(["/box/program"]).stdout == b"made\n"
        box.put("source", b"echo other")
        assert box.run(sh(". /box/source")).stdout == b"other\n"
        folder = box._folder
    assert not folder.exists()


def test_a_prepared_run_sees_what_is_in_the_box_when_it_goes(either):
    with (
        either.box() as box,
        contextlib.closing(box.prepare(sh("cat /box/late; cat"), stdin=b"in")) as prepared,
    ):
        box.put("late", b"late ")
        result = prepared.run()
    assert (result.status, result.stdout) == ("ok", b"late in")


def test_a_prepared_run_that_is_given_up_leaves_nothing(either):
    before, word = len(os.listdir("/proc/self/fd")), long_time()
    with either.box() as box:
        for pause in (0.0, 0.001, 0.003, 0.005, 0.02):
            prepared = box.prepare(["/bin/sleep", word])
            time.sleep(pause)
            prepared.close()
            prepared.close()
        folder = str(box._folder)
        wait_until(lambda: not mentioning(folder) and not running(word))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_compiler_that_fails_leaves_no_program(sandbox):
    with sandbox.box() as box:
        box.run(sh("echo half; exit 1"), stdout_to="program")
        assert box.run(["/box/program"]).exit_code == 127


def test_nothing_is_kept_in_tmp_between_runs(sandbox):
    with sandbox.box() as box:
        assert box.run(sh("touch /tmp/a /dev/shm/a")).status == "ok"
        assert box.run(sh("ls /tmp /dev/shm")).stdout.split() == [b"/dev/shm:", b"/tmp:"]


def test_output_that_fills_its_limit_is_right_and_one_byte_more_is_too_much(either):
    limits = Limits(output_kb=20480, file_mb=1)
    text = "head -c {} /dev/zero"
    full = either.run(sh(text.format(20480 << 10)), limits=limits)
    assert (full.status, len(full.stdout), full.truncated) == ("ok", 20480 << 10, False)
    more = either.run(sh(text.format((20480 << 10) + 1)), limits=limits)
    assert (more.status, len(more.stdout), more.truncated) == ("ole", 20480 << 10, True)


def test_long_errors_are_cut_and_told_so(sandbox):
    result = sandbox.run(sh("head -c 100000 /dev/zero >&2"))
    assert (result.status, len(result.stderr), result.truncated) == ("ok", 64 << 10, True)


def test_processor_time_is_that_of_all_processes_and_of_none_that_sleeps(either):
    work = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
    once = either.run(sh(work)).cpu_ms
    thrice = either.run(sh(f"({work})& ({work})& ({work})& wait; sleep 0.3"))
    assert thrice.status == "ok"
    assert 2 * once < thrice.cpu_ms < 6 * once
    assert thrice.wall_ms > 300


def test_memory_is_that_of_all_processes_together(either):
    hold = "import time; held = bytes(b'x') * 40_000_000; time.sleep(0.5)"
    both = "import subprocess, sys; [p.wait() for p in [subprocess.Popen([sys.executable, '-c', HOLD]) for _ in 'ab']]"
    result = either.run(python(both.replace("HOLD", repr(hold))))
    assert result.status == "ok", result.stderr
    assert 80_000 < result.peak_kb < 150_000


def test_time_is_what_its_processes_take_together(either):
    spin = "while :; do :; done"
    result = either.run(sh(f"({spin})& ({spin})& {spin}"), limits=SHORT)
    assert result.status == "tle"
    assert result.cpu_ms > 300


def test_who_sleeps_is_stopped_by_the_clock(either):
    result = either.run(sh("sleep 1000"), limits=Limits(cpu_s=5, wall_s=0.3))
    assert (result.status, result.cpu_ms < 300) == ("tle", True)


def test_time_in_short_lived_children_counts(either):
    result = either.run(sh("while :; do /bin/true; done"), limits=SHORT)
    assert result.status == "tle"


def test_less_memory_than_any_program_has_is_the_program_s_trouble(either):
    assert either.run(python("pass"), limits=Limits(memory_mb=1)).status == "mle"


def test_what_the_terminal_sends_the_judge_is_not_for_the_box(sandbox):
    with sandbox.box() as box, contextlib.closing(box.prepare(["/bin/true"])) as prepared:
        assert os.getpgid(prepared._launcher.pid) != os.getpgrp()
        assert prepared.run().status == "ok"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGUSR1])
def test_the_signal_that_ended_a_program_is_told(sandbox, number):
    result = sandbox.run(python(f"import os; os.kill(os.getpid(), {int(number)})"))
    assert (result.status, result.exit_code, result.signal) == ("rte", None, number)


def test_several_runs_at_once_do_not_mix(either):
    def run(number: int) -> bytes:
        return either.run(
            sh("cat; cat /box/name"), stdin=b"%d " % number, files={"name": b"%d" % number}
        ).stdout

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(12))) == [b"%d %d" % (number, number) for number in range(12)]


def test_an_interrupted_judge_leaves_no_program(sandbox, monkeypatch):
    started, word = threading.Event(), long_time()

    def interrupted(*_: object) -> None:
        started.set()
        wait_until(lambda: running(word))
        raise KeyboardInterrupt

    monkeypatch.setattr(PreparedRun, "_watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sandbox.run(["/bin/sleep", word])
    assert started.is_set()
    wait_until(lambda: not running(word))


def test_a_box_that_cannot_be_made_is_the_sandbox_s_fault(sandbox, monkeypatch):
    monkeypatch.setattr(sandbox, "_prefix", [*sandbox._prefix, "--no-such-option"])
    result = sandbox.run(["/bin/true"])
    assert (result.status, result.exit_code) == ("internal", None)
    assert b"no-such-option" in result.stderr


def test_a_box_that_is_not_ready_in_time_is_the_sandbox_s_fault(sandbox, monkeypatch):
    word = long_time()
    for patience in ("_SETUP_PATIENCE_S", "_LEAVE_PATIENCE_S"):
        monkeypatch.setattr(f"firsthand.evaluation.codearena.sandbox.runs.{patience}", 0.05)
    monkeypatch.setattr(sandbox, "_prefix", ["/bin/sh", "-c", f"exec sleep {word}"])
    result = sandbox.run(["/bin/true"])
    assert result.status == "internal"
    assert b"not ready" in result.stderr
    wait_until(lambda: not running(word))


def test_folders_and_groups_are_gone_when_the_sandbox_is_closed(sandbox):
    other = BubblewrapSandbox(type(sandbox.meters)(*_arguments(sandbox)))
    folder, place = other._folder.path, Path(other.meters.place)
    with other:
        assert other.run(["/bin/true"]).status == "ok"
        assert folder.exists()
        assert place.exists()
    assert not folder.exists()
    assert other.meters.kind == "sampler" or not place.exists()


UNCLOSED = """
import json, os, sys
from firsthand.evaluation.codearena.sandbox.isolation import open_sandbox
sandbox = open_sandbox()
print(json.dumps([str(sandbox._folder.path), sandbox.meters.place]))
if os.fork() == 0:
    sys.exit()  # what a child inherits is not the child's to remove
os.wait()
assert sandbox.run(["/bin/true"]).status == "ok"
"""


def test_a_sandbox_that_nobody_closed_is_closed_by_the_process_s_end(isolated):
    said = subprocess.run([sys.executable, "-c", UNCLOSED], stdout=subprocess.PIPE, check=True).stdout
    folder, place = map(Path, json.loads(said.splitlines()[0]))
    assert not folder.exists()
    assert str(place) == "/proc" or not place.exists()


def _arguments(sandbox: BubblewrapSandbox) -> list[object]:
    if sandbox.meters.kind == "cgroup v1":
        return [{name: path.parent for name, path in sandbox.meters._folders.items()}]
    return [] if sandbox.meters.kind == "sampler" else [Path(sandbox.meters.place).parent]


def test_the_judge_s_umask_does_not_lock_programs_out(isolated, sandbox):
    before = os.umask(0o077)
    try:
        with BubblewrapSandbox(type(sandbox.meters)(*_arguments(sandbox))) as strict:
            assert strict.run(sh("cat /box/a"), files={"a": b"seen"}).stdout == b"seen"
    finally:
        os.umask(before)
