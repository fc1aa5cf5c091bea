"""The two ways to count what a run uses have this one shape: control groups, and a sampler where there are none."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from firsthand.evaluation.codearena.sandbox.limits import Limits

__all__ = ["Meter", "Meters"]


class Meter(Protocol):
    """Counts the memory and the processor time of one run."""

    @property
    def period_s(self) -> float | None:
        """How often `sample` has to be called, in seconds; None where the kernel counts by itself."""

    def launching(self) -> AbstractContextManager[None]:
        """Around the start of the launcher, by the thread that starts it."""

    def attach(self, pid: int, launcher: int) -> None:
        """Count this process, and all that it will start, from now on; `launcher` waits for it."""

    def sample(self) -> None:
        """Take a look."""

    def ended(self, cpu_ms: float, largest_kb: int) -> None:
        """Take the kernel's account of launcher and process, given when both are gone.

        `largest_kb` is the most that one of their processes had; 0 where that cannot be told from the judge's own.
        """

    def cpu_ms(self) -> float:
        """Processor time so far, of all processes that are or were counted, in milliseconds."""

    def peak_kb(self) -> int:
        """Most memory at one time, in KiB."""

    def out_of_memory(self) -> bool:
        """Whether the run wanted more memory than it may have."""

    def close(self) -> None:
        """Leave nothing behind."""


class Meters(Protocol):
    """Makes a meter for each run.

    Attributes:
        kind: `cgroup v1`, `cgroup v2` or `sampler`.
        place: where the counting takes place, for people to read.
        limits_processes: whether the meter stops a run at its number of processes.
    """

    kind: str
    place: str
    limits_processes: bool

    def open_run(self, limits: Limits) -> Meter:
        """A fresh meter."""

    def close(self) -> None:
        """Leave nothing behind."""
