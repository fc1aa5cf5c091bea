"""What a program may use, what came of running it, and the shape of whatever runs it.

Knows no sandbox: `bubblewrap.py` has the one that judges, and a test may bring another with the same methods.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Literal, Protocol

from firsthand.errors import InputError

__all__ = ["NOTHING", "Box", "Limits", "Prepared", "RunResult", "Sandbox", "Status"]

Status = Literal["ok", "tle", "mle", "ole", "rte", "internal"]
NOTHING: Mapping[str, bytes] = {}


@dataclass(frozen=True)
class Limits:
    """What one run may use. Whatever is not finite and positive raises `InputError`.

    Attributes:
        cpu_s: processor time, user and system, of all the run's processes together, in seconds. What TLE means.
        wall_s: seconds on the clock, a guard against a program that sleeps. A program that the machine keeps
            waiting for a processor is given up to four times as long.
        memory_mb: memory of all processes together, in MiB; temporary files and cached pages count.
        processes: processes and threads at one time.
        output_kb: what standard output, and standard error, may hold, in KiB.
        file_mb: what temporary files may take together, in MiB.
        open_files: files that one process may have open.
    """

    cpu_s: float = 2.0
    wall_s: float = 6.0
    memory_mb: int = 256
    processes: int = 64
    output_kb: int = 16384
    file_mb: int = 16
    open_files: int = 128

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"limit {one.name} = {value!r}: it has to be a finite number above 0")


@dataclass(frozen=True)
class RunResult:
    """What came of one run.

    Attributes:
        exit_code: None where a signal ended the program.
        signal: the number of the signal that ended it; None where it ended by itself.
        status: `ok` (ended with 0 within the limits), `tle` (processor or wall time), `mle` (memory), `ole`
            (output), `rte` (another exit code, or a signal), `internal` (the sandbox's own fault).
        cpu_ms: processor time of all its processes, in milliseconds.
        wall_ms: time on the clock, without what setting up the sandbox takes.
        peak_kb: most memory that its processes had together, in KiB.
        stdout: standard output, at most `output_kb` of it.
        stderr: the first 64 KiB of standard error. For `internal`, what the sandbox said.
        truncated: whether more was written than is given here.
    """

    exit_code: int | None
    signal: int | None
    status: Status
    cpu_ms: float
    wall_ms: float
    peak_kb: int
    stdout: bytes = b""
    stderr: bytes = b""
    truncated: bool = False


class Prepared(Protocol):
    """A run that waits to be let go."""

    def run(self) -> RunResult:
        """Let the program go, wait for its end, and say what came of it. Once."""

    def close(self) -> None:
        """Leave nothing behind, whether it was run or not."""


class Box(Protocol):
    """A folder of files that a program sees, read-only, as `/box`, and that outlives its runs."""

    def put(self, name: str, content: bytes) -> None:
        """Add or replace a file."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        limits: Limits = ...,
        environment: Mapping[str, str] = ...,
        visible: Sequence[str] = (),
        stdout_to: str | None = None,
    ) -> RunResult:
        """Run a program with nothing in reach but the box, system folders and an empty `/tmp`.

        Args:
            argv: the program and its arguments, as seen from inside.
            stdin: all of standard input.
            limits: what it may use.
            environment: variables beside PATH, HOME, TMPDIR and LANG.
            visible: more paths of this machine that it may read, where they exist.
            stdout_to: a file of the box that takes standard output (a compiler's result) instead of `stdout`.
        """

    def prepare(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        limits: Limits = ...,
        environment: Mapping[str, str] = ...,
        visible: Sequence[str] = (),
        stdout_to: str | None = None,
    ) -> Prepared:
        """Begin to make a run's surroundings and come back at once; what it finds in the box is what is there later."""


class Sandbox(Protocol):
    """Runs programs that nobody trusts."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        files: Mapping[str, bytes] = NOTHING,
        limits: Limits = ...,
    ) -> RunResult:
        """Run a program once, in a box of its own with these files in `/box`."""

    def box(self, files: Mapping[str, bytes] = NOTHING) -> AbstractContextManager[Box]:
        """A box for several runs, removed with all its files at the end."""
