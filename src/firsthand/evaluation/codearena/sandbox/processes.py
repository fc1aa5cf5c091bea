"""Memory and processor time of a process and all it started, sampled from `/proc`: for where no cgroup is writable.

A stand-in that says so. What lives and dies between two samples is seen only in what the kernel adds to the account
of a parent that waits for it, so a peak may be missed and a limit is noticed up to a sample late; memory that several
processes share (what was written before a fork) counts once for each. The sandbox denies memory that belongs to no
process in this mode (`seccomp.py`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from firsthand.evaluation.codearena.sandbox.limits import Limits
from firsthand.evaluation.codearena.sandbox.metering import Meter

__all__ = ["PERIOD_S", "ProcessTree", "Sampler", "missing_for_sampling", "run_ms"]

PERIOD_S = 0.005
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _fields(path: str) -> list[bytes]:
    try:
        return Path(path).read_bytes().split()
    except OSError:  # it has ended
        return []


def run_ms(pid: int) -> float:
    """Processor time of a process's threads that are still running, in milliseconds; 0 for one that has ended."""
    look = _look(pid)
    return look.running_ms if look else 0.0


def missing_for_sampling() -> str | None:
    """Which file of `/proc` the sampler needs and this kernel lacks; None where all are there."""
    for name in ("schedstat", "children"):
        if not Path(f"/proc/self/task/{os.getpid()}/{name}").exists():
            return f"/proc/PID/task/TID/{name}"
    return None


class ProcessTree:
    """What a process and its descendants use. Call `sample` every `PERIOD_S` seconds."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._cpu_ms: dict[tuple[int, int], float] = {}  # (pid, start time) -> most seen
        self._account_ms = 0.0
        self._peak_kb = 0

    def sample(self) -> None:
        """Look at every process once.

        An orphan is the root's child, the root being its namespace's first process.
        """
        own_kb = file_kb = 0
        account_ms = 0.0
        waiting = [self._root]
        while waiting:
            pid = waiting.pop()
            look = _look(pid)
            if look is None:
                continue
            waiting += look.children
            own_kb += look.own_kb
            file_kb = max(file_kb, look.file_kb)  # which most of them share
            account_ms += look.account_ms
            key = (pid, look.start)
            self._cpu_ms[key] = max(self._cpu_ms.get(key, 0.0), look.running_ms)
            self._peak_kb = max(self._peak_kb, look.most_kb)
        self._account_ms = max(self._account_ms, account_ms)
        self._peak_kb = max(self._peak_kb, own_kb + file_kb)

    def cpu_ms(self) -> float:
        """Processor time of all processes, in milliseconds.

        The greater of two sums that both err on the low side: what each process was seen to use, which misses brief
        ones, and what the kernel has on account, in hundredths of a second, for those alive and those they waited for.
        """
        return max(sum(self._cpu_ms.values()), self._account_ms)

    def peak_kb(self) -> int:
        """Most memory of all in any sample, or of one process between two, in KiB."""
        return self._peak_kb


@dataclass(frozen=True)
class _Look:
    """One process at one time.

    `running_ms` is that of its threads that have not ended; memory is its own, of files (programs, libraries), and the
    most that it ever had.
    """

    start: int
    running_ms: float
    account_ms: float
    own_kb: int
    file_kb: int
    most_kb: int
    children: list[int]


def _kb(memory: Mapping[bytes, bytes], name: bytes) -> int:
    return int(memory[name].split()[0]) if name in memory else 0


def _look(pid: int) -> _Look | None:
    """None for a process that has ended."""
    try:
        # The second field is the program's name, which may hold spaces and brackets of its own.
        stat = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        memory = dict(
            line.split(b":", 1)
            for line in Path(f"/proc/{pid}/status").read_bytes().splitlines()
            if b":" in line
        )
        threads = [entry.name for entry in os.scandir(f"/proc/{pid}/task")]
    except OSError:
        return None
    running_ns = 0
    children: list[int] = []
    for thread in threads:
        running_ns += int((_fields(f"/proc/{pid}/task/{thread}/schedstat") or [b"0"])[0])
        children += map(int, _fields(f"/proc/{pid}/task/{thread}/children"))
    return _Look(
        start=int(stat[19]),
        running_ms=running_ns / 1e6,
        account_ms=sum(map(int, stat[11:15])) * 1e3 / _TICKS_PER_S,
        own_kb=sum(_kb(memory, name) for name in (b"RssAnon", b"RssShmem")),
        file_kb=_kb(memory, b"RssFile"),
        most_kb=_kb(memory, b"VmHWM"),
        children=children,
    )


class Sampler:
    """Meters that sample `/proc`."""

    kind = "sampler"
    place = "/proc"
    limits_processes = False

    def open_run(self, limits: Limits) -> Meter:
        """A fresh meter."""
        return _SampledRun(limits)

    def close(self) -> None:
        """Nothing is kept between runs."""


class _SampledRun:
    period_s = PERIOD_S

    def __init__(self, limits: Limits) -> None:
        self._limit_kb = limits.memory_mb << 10
        self._tree: ProcessTree | None = None
        self._setup_ms = self._setup_of_root_ms = self._account_ms = 0.0
        self._largest_kb = 0

    def launching(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def attach(self, pid: int, launcher: int) -> None:
        self._tree = ProcessTree(pid)
        self._setup_of_root_ms = run_ms(pid)  # making the box is not the program's doing
        self._setup_ms = self._setup_of_root_ms + run_ms(launcher)
        self._tree.sample()  # a run may be over before there is another

    def sample(self) -> None:
        if self._tree is not None:
            self._tree.sample()

    def ended(self, cpu_ms: float, largest_kb: int) -> None:
        self._account_ms = cpu_ms - self._setup_ms
        self._largest_kb = largest_kb

    def cpu_ms(self) -> float:
        # The account misses processes whose parent did not care for them, the samples what was brief.
        seen = self._tree.cpu_ms() - self._setup_of_root_ms if self._tree else 0.0
        return max(seen, self._account_ms, 0.0)

    def peak_kb(self) -> int:
        return max(self._tree.peak_kb() if self._tree else 0, self._largest_kb)

    def out_of_memory(self) -> bool:
        return self.peak_kb() > self._limit_kb

    def close(self) -> None:
        pass
