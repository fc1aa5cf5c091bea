"""Judge processes: so many on this host, each with its own connection, started again when one dies.

Any number of hosts may do this on one PostgreSQL. A process that is killed loses nothing: its lease runs out, and
another judges the job. A process whose parent is gone ends itself. On SIGTERM a judge finishes the job that it is at.

Knows processes and signals. What a job is, is known to `judging`; Ray, instead of processes of this host, to
`ray_judges`.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import multiprocessing
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy.exc import DBAPIError

from firsthand.errors import InputError
from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.errors import SandboxUnavailable
from firsthand.evaluation.codearena.settings import ArenaSettings
from firsthand.evaluation.codearena.store.judging import Grader, this_machine
from firsthand.evaluation.codearena.store.presence import Voice
from firsthand.evaluation.codearena.store.queue import LEASE_S
from firsthand.evaluation.codearena.store.submissions import Machine
from firsthand.launch.threads import one_thread_environment

if TYPE_CHECKING:
    from firsthand.evaluation.codearena.store.ray_judges import RayJudges

__all__ = [
    "GRADER",
    "IDLE_S",
    "NO_SANDBOX_S",
    "Backend",
    "JudgeSettings",
    "Judges",
    "grader_named",
    "judge_until",
    "judges_on",
]

_LOG = logging.getLogger("firsthand.codearena")
GRADER = "firsthand.evaluation.codearena.grading.sandboxed:sandbox_grader"
Backend = Literal["local", "ray"]
IDLE_S = (0.02, 0.5)
"""The first wait where there is nothing to do, and the longest."""
NO_SANDBOX_S = 10.0
"""Between looks whether isolation has become possible."""
_RESTART_S = (0.2, 10.0)


@dataclass(frozen=True)
class JudgeSettings:
    """What a judge process is told.

    `grader` names a function without arguments that makes the grader, "package.module:function".
    """

    database: str
    grader: str = GRADER
    lease_s: float = LEASE_S
    host_class: str = ""
    grade_all: bool = False
    repeats: int = 1

    @classmethod
    def of(cls, settings: ArenaSettings, *, grader: str | None = None) -> JudgeSettings:
        """Those of a server or of `firsthand codearena judge`."""
        return cls(
            database=settings.database,
            grader=grader or GRADER,
            lease_s=settings.lease_s,
            host_class=settings.host_class,
            grade_all=settings.grade_all,
            repeats=settings.repeats,
        )

    @property
    def machine(self) -> Machine:
        """This host, of the class that the settings name."""
        found = this_machine()
        return replace(found, host_class=self.host_class) if self.host_class else found

    def open(self, grader: Grader | None = None) -> Arena:
        """The arena, to judge in it."""
        return Arena.open(
            self.database,
            grader=grader,
            lease_s=self.lease_s,
            machine=self.machine,
            grade_all=self.grade_all,
            repeats=self.repeats,
        )


def grader_named(name: str) -> Grader:
    """The grader that "package.module:function" makes.

    Raises:
        InputError: there is no such function.
        SandboxUnavailable: this machine cannot isolate programs.
    """
    module, colon, function = name.partition(":")
    try:
        make: Callable[[], Grader] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"a grader is named 'package.module:function', got {name!r}: {error}") from error
    if not colon:
        raise InputError(f"a grader is named 'package.module:function', got {name!r}")
    return make()


def judge_until(settings: JudgeSettings, over: threading.Event) -> None:
    """Judge what comes until `over` is set, in this process and one job at a time.

    Where programs cannot be isolated nothing is claimed; the judge says so where judges are listed, and looks again
    every now and then.
    """
    name = f"{this_machine().host}:{os.getpid()}:{secrets.token_hex(3)}"
    with settings.open() as arena, contextlib.closing(Voice(arena.judges, name, arena.machine)) as voice:
        idle = IDLE_S[0]
        grader: Grader | None = None
        while not over.is_set():
            try:
                if grader is None:
                    grader = grader_named(settings.grader)
                    arena.use(grader)
                    voice.say(arena.judge.languages)
                if arena.judge_once() is not None:
                    idle = IDLE_S[0]
                    continue
            except SandboxUnavailable as error:
                _LOG.error("nothing is judged here: %s", error)
                grader = None
                voice.say(fault=str(error))
                over.wait(NO_SANDBOX_S)
                continue
            except DBAPIError:
                _LOG.exception("the database is away; it is tried again")
                idle = IDLE_S[1]
            over.wait(idle)
            idle = min(2 * idle, IDLE_S[1])


def _child(settings: JudgeSettings, parent: int) -> None:
    """A judge process."""
    over = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        over.set()

    signal.signal(signal.SIGTERM, stop)
    os.setsid()  # Ctrl-C goes to the terminal's whole group, judged programs too; here the parent decides

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        over.set()

    threading.Thread(target=watch, daemon=True).start()
    judge_until(settings, over)


def judges_on(
    backend: Backend, settings: JudgeSettings, count: int, *, address: str | None = None
) -> Judges | RayJudges:
    """So many judges, to be started: processes of this host ("local") or tasks on Ray ("ray").

    Args:
        address: of a Ray cluster; None starts one on this machine.

    Raises:
        InputError: an unknown backend, a number of judges that cannot be, an address for "local".
    """
    if backend == "ray":
        from firsthand.evaluation.codearena.store.ray_judges import RayJudges

        return RayJudges(settings, count, address)
    if backend != "local":
        raise InputError(f"judges run on 'local' or 'ray', got {backend!r}")
    if address is not None:
        raise InputError(f"the address {address!r} is that of a Ray cluster: choose the backend 'ray'")
    return Judges(settings, count)


class Judges:
    """So many judge processes, from `start` to `stop`.

    >>> with Judges(JudgeSettings("sqlite:///arena.db"), 2):  # doctest: +SKIP
    ...     input("judging; Enter ends it")
    """

    def __init__(self, settings: JudgeSettings, count: int) -> None:
        if count < 0:
            raise InputError(f"there can be 0 judges or more, got {count}")
        self._settings, self._count = settings, count
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[Any] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [process.pid for process in self._processes if process.is_alive()]

    def start(self) -> None:
        """Start the processes, and a thread that starts those again that die."""
        if self._count == 0:
            return
        self._over.clear()
        self._processes = [self._started() for _ in range(self._count)]
        self._thread = threading.Thread(target=self._keep, name="firsthand-judges", daemon=True)
        self._thread.start()

    def stop(self, grace_s: float = 10.0) -> None:
        """End them: each finishes its job within `grace_s`, or is killed and the job goes to another later."""
        if self._thread is None:
            return
        self._over.set()
        self._thread.join()
        self._thread = None
        for process in self._processes:
            process.terminate()
        end = time.monotonic() + grace_s
        for process in self._processes:
            process.join(max(0.0, end - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        self._processes = []

    def __enter__(self) -> Judges:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _started(self) -> Any:
        with one_thread_environment():
            process = self._context.Process(
                target=_child, args=(self._settings, os.getpid()), name="firsthand-judge", daemon=True
            )
            process.start()
        return process

    def _keep(self) -> None:
        wait = _RESTART_S[0]
        while not self._over.wait(wait):
            dead = [place for place, process in enumerate(self._processes) if not process.is_alive()]
            for place in dead:
                _LOG.error(
                    "a judge process ended with %s; another is started", self._processes[place].exitcode
                )
                self._processes[place] = self._started()
            wait = min(2 * wait, _RESTART_S[1]) if dead else _RESTART_S[0]
