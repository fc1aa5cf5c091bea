"""One run in a box: launched, made to wait, let go, watched, ended, and what came of it.

`bwrap` makes the box and starts a guard in it, a shell with the run's resource limits that is the first process of the
box's PID namespace. The guard says that it is there and waits for a word. Only then does the meter begin to count, so
that making the box counts for nothing, and the guard is told to start the program. When the judge is killed, the kernel
kills `bwrap` and the guard (`--die-with-parent`), and with a namespace's first process all others; a guard that was not
yet told to start reads the end of its input and leaves. `bwrap` has one moment, before the two are tied together, in
which its death leaves the other waiting: the next judge ends that one with the dead one's folder (`bubblewrap.py`).

Knows nothing of what a box is made of (`bubblewrap.py`).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from firsthand.evaluation.codearena.sandbox.limits import Limits, RunResult, Status
from firsthand.evaluation.codearena.sandbox.metering import Meter

__all__ = ["STDERR_KB", "Files", "PreparedRun", "guard"]

STDERR_KB = 64
_GUARD = (
    "echo >&0 && read -r go || exit 125; { echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null; "
    '"$@" </input; exit $?'
)
_CORE_LOCK = threading.Lock()
_SETUP_PATIENCE_S = 60.0
_LEAVE_PATIENCE_S = 5.0
_KILL_PATIENCE_S = 20.0
_SHORTEST_WAIT_S = 0.003
_LONGEST_WAIT_S = 0.25
# A run that got at least this share of one processor is not asleep, and may outstay `wall_s`.
_BUSY_SHARE = 0.1
_STARVED_TIMES = 4


def guard(limits: Limits, *, limit_processes: bool) -> list[str]:
    """The command of a guard with these limits, to which the program is added.

    A shell sets them from inside, since a judge may not from outside: a container's root mostly lacks CAP_SYS_RESOURCE.
    """
    wanted = [
        # A backstop of whole seconds, for one process, that holds even if the judge does not get to look.
        ("-t", resource.RLIMIT_CPU, math.ceil(limits.cpu_s) + 1, 1),
        # One block over what output may hold, so that full and too much can be told apart.
        ("-f", resource.RLIMIT_FSIZE, max(limits.output_kb << 10, limits.file_mb << 20) + 512, 512),
        ("-n", resource.RLIMIT_NOFILE, limits.open_files, 1),
        # Deep recursion is bounded by memory, not by a stack of 8 MiB.
        ("-s", resource.RLIMIT_STACK, limits.memory_mb << 20, 1024),
    ]
    if limit_processes:
        wanted.append(("$processes", resource.RLIMIT_NPROC, limits.processes + 1, 1))  # the guard is one
    setting = []
    for option, which, value, unit in wanted:
        most = resource.getrlimit(which)[1]
        if most != resource.RLIM_INFINITY:
            value = min(value, most)
        setting.append(f"ulimit {option} {value // unit}")
    if limit_processes:  # shells do not agree on its letter
        setting.insert(0, "processes=-u; ulimit -u >/dev/null 2>&1 || processes=-p")
    return ["/bin/sh", "-c", f"{' && '.join(setting)} && {_GUARD}", "guard"]


@contextlib.contextmanager
def _no_core_dump() -> Iterator[None]:
    """What is started dumps no core: neither a file nor, which a limit of 0 would, the machine's handler for crashes.

    A limit of 1 byte has this meaning to the kernel. The filter keeps programs from raising it again.
    """
    with _CORE_LOCK:
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        if hard == 0:  # as it is, then: it cannot be raised
            yield
            return
        resource.setrlimit(resource.RLIMIT_CORE, (1, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


@dataclass(frozen=True)
class Files:
    """Descriptors of a run: what `bwrap` reads (standard input, filter), what it writes (info, stdout, stderr)."""

    input: int
    filter: int
    info: int
    stdout: int
    stderr: int


class PreparedRun:
    """A run whose surroundings are being made. Let it go by `run`, and in any case close it."""

    def __init__(
        self,
        command: list[str],
        files: Files,
        meter: Meter,
        limits: Limits,
        stack: contextlib.ExitStack,
        *,
        made: Callable[[], None] | None = None,
    ) -> None:
        """Launch `command`, which ends in a guard and the program, and come back at once.

        `stack`: what to close when no process is left; it is taken over. `made`: standard output is a compiler's
        result, which is not read here; this is called where all went well.
        """
        self._files = files
        self._meter = meter
        self._limits = limits
        self._made = made
        self._guard: int | None = None
        self._ours, theirs = socket.socketpair()
        stack.callback(self._ours.close)
        with theirs, _no_core_dump(), meter.launching():
            self._launcher = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=files.stdout,
                stderr=files.stderr,
                pass_fds=(files.input, files.filter, files.info),
                cwd="/",
                env={},
                process_group=0,  # Ctrl-C is for the judge
            )
        stack.callback(self._end)
        self._stack = stack.pop_all()

    def close(self) -> None:
        """Leave no process, whatever happened: an exception, also Ctrl-C's, leaves no program behind."""
        self._stack.close()

    def run(self) -> RunResult:
        """Let the program go, wait for its end, and say what came of it. Once."""
        self._ours.settimeout(_SETUP_PATIENCE_S)
        try:
            ready = self._ours.recv(1)
        except TimeoutError:
            return self._fault(f"the sandbox was not ready after {_SETUP_PATIENCE_S:.0f} s")
        if not ready:
            return self._fault("the sandbox could not be set up")
        pid = int(json.loads(os.pread(self._files.info, 65536, 0))["child-pid"])
        self._guard = os.pidfd_open(pid)
        self._meter.attach(pid, self._launcher.pid)
        started = time.monotonic()
        self._ours.sendall(b"\n")
        exceeded = self._watch(started)
        self._end()
        return self._result(1e3 * (time.monotonic() - started), exceeded)

    def _end(self) -> None:
        if self._launcher.returncode is not None:
            return
        if self._guard is None:
            # A guard that nobody waits for leaves. Killed too early, bwrap would leave a process that waits for it.
            self._ours.close()
            if not _ends(self._launcher.pid, _LEAVE_PATIENCE_S):
                os.kill(self._launcher.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        else:
            self._kill_guard()
            os.close(self._guard)
            self._guard = None
        _, status, usage = os.wait4(self._launcher.pid, 0)
        self._launcher.returncode = os.waitstatus_to_exitcode(status)
        # Linux counts the judge's own memory for what it started, until that became another program.
        judge_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        largest_kb = usage.ru_maxrss if usage.ru_maxrss > 1.1 * judge_kb else 0
        self._meter.ended(1e3 * (usage.ru_utime + usage.ru_stime), largest_kb)

    def _kill_guard(self) -> None:
        assert self._guard is not None
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            signal.pidfd_send_signal(self._guard, signal.SIGKILL)

    def _watch(self, started: float) -> Status | None:
        """Wait for the end; kill what goes over a limit and say which. Looks as seldom as accuracy allows."""
        limits, meter = self._limits, self._meter
        processors = len(os.sched_getaffinity(0))
        ended = os.pidfd_open(self._launcher.pid)
        try:
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            wait_s = min(limits.cpu_s / processors, limits.wall_s, meter.period_s or _LONGEST_WAIT_S)
            while not poll.poll(math.ceil(1e3 * wait_s)):
                meter.sample()
                exceeded = self._exceeded(time.monotonic() - started)
                if exceeded is not None:
                    self._kill_guard()
                    poll.poll(1e3 * _KILL_PATIENCE_S)
                    return exceeded
                # With all processors at work, no limit can be passed sooner than after this time.
                wait_s = (limits.cpu_s - meter.cpu_ms() / 1e3) / processors
                wait_s = max(_SHORTEST_WAIT_S, min(wait_s, meter.period_s or _LONGEST_WAIT_S))
            return None
        finally:
            os.close(ended)

    def _exceeded(self, wall_s: float) -> Status | None:
        limits = self._limits
        cpu_s = self._meter.cpu_ms() / 1e3
        if self._meter.out_of_memory():
            return "mle"
        if cpu_s > limits.cpu_s:
            return "tle"
        if wall_s > limits.wall_s:
            starved = cpu_s > _BUSY_SHARE * wall_s
            if not starved or wall_s > _STARVED_TIMES * limits.wall_s:
                return "tle"
        return "ole" if self._wrote_too_much() else None

    def _wrote_too_much(self) -> bool:
        return any(size > self._limits.output_kb << 10 for size in self._sizes())

    def _sizes(self) -> tuple[int, int]:
        """Of standard output and standard error, in bytes."""
        return os.fstat(self._files.stdout).st_size, os.fstat(self._files.stderr).st_size

    def _result(self, wall_ms: float, exceeded: Status | None) -> RunResult:
        limits, meter = self._limits, self._meter
        code = self._launcher.returncode
        cpu_ms, peak_kb = meter.cpu_ms(), meter.peak_kb()
        # bubblewrap and the guard tell of a signal as shells do: 128 + its number.
        by_signal = -code if code < 0 else code - 128 if 128 < code <= 128 + signal.NSIG else None
        most = limits.output_kb << 10
        stdout_bytes, stderr_bytes = self._sizes()
        status: Status
        if meter.out_of_memory() or exceeded == "mle":
            status = "mle"
        elif code < 0:  # bubblewrap itself was killed, which nothing in the box can do
            return RunResult(None, None, "internal", cpu_ms, wall_ms, peak_kb, stderr=b"bwrap was killed")
        elif exceeded == "tle" or cpu_ms > 1e3 * limits.cpu_s or by_signal == signal.SIGXCPU:
            status = "tle"
        elif exceeded == "ole" or self._wrote_too_much() or by_signal == signal.SIGXFSZ:
            status = "ole"
        elif code != 0:
            status = "rte"
        else:
            status = "ok"
        if self._made is not None and status == "ok":
            self._made()
        return RunResult(
            exit_code=code if by_signal is None else None,
            signal=by_signal,
            status=status,
            cpu_ms=cpu_ms,
            wall_ms=wall_ms,
            peak_kb=peak_kb,
            stdout=os.pread(self._files.stdout, most, 0) if self._made is None else b"",
            stderr=os.pread(self._files.stderr, STDERR_KB << 10, 0),
            truncated=stdout_bytes > most or stderr_bytes > STDERR_KB << 10,
        )

    def _fault(self, message: str) -> RunResult:
        self._end()
        said = os.pread(self._files.stderr, STDERR_KB << 10, 0).decode(errors="replace").strip()
        stderr = f"{message}: {said}" if said else message
        return RunResult(None, None, "internal", 0.0, 0.0, 0, stderr=stderr.encode())


def _ends(pid: int, patience_s: float) -> bool:
    """Whether a process ends within this time."""
    ended = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        return bool(poll.poll(1e3 * patience_s))
    finally:
        os.close(ended)
