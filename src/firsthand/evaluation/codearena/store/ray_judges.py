"""Judges on Ray: every job is a task of one processor, on whichever node has room, in a sandbox of that node's own.

A task does what a judge process does: it claims a job from the database, keeps its lease while it works, and writes
the result. So a node that dies loses nothing: Ray starts the task again, the lease runs out, and the job is judged once
in the end. Here it is only said how many tasks are under way, and when there is work for more.

Knows Ray. What a job is, is known to `judging`.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from sqlalchemy.exc import DBAPIError

from firsthand.errors import InputError
from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.errors import SandboxUnavailable
from firsthand.evaluation.codearena.store.database import absolute_url
from firsthand.evaluation.codearena.store.judges import IDLE_S, NO_SANDBOX_S, JudgeSettings, grader_named
from firsthand.evaluation.codearena.store.presence import Voice
from firsthand.launch.ray_session import ATTEMPTS, ray_session

__all__ = ["Done", "RayJudges", "judge_one"]

_LOG = logging.getLogger("firsthand.codearena")
_OPEN: dict[JudgeSettings, Arena] = {}  # of this worker process, which Ray gives one task after another


@dataclass(frozen=True)
class Done:
    """What came of a task: whether there was a job to do, what its node can judge, and why it could not."""

    judged: bool
    languages: tuple[str, ...] = ()
    fault: str = ""


def judge_one(settings: JudgeSettings) -> Done:
    """Claim and do one job in this process: what a Ray task runs.

    The arena and the sandbox are opened by a worker's first task and stay open for the next ones.
    """
    try:
        if settings not in _OPEN:
            grader = grader_named(settings.grader)
            _OPEN[settings] = settings.open(grader)
        arena = _OPEN[settings]
        done = arena.judge.once(arena.owner)
    except SandboxUnavailable as error:
        if settings in _OPEN:
            _OPEN.pop(settings).close()
        return Done(False, fault=str(error))
    return Done(done is not None, tuple(sorted(arena.judge.languages)))


class RayJudges:
    """So many jobs at once on Ray, from `start` to `stop`.

    Args:
        settings: what every task is told; the database must be one that all nodes reach.
        count: how many tasks are under way at most.
        address: of a Ray cluster; None starts one of `count` processors on this machine.

    Raises:
        InputError: fewer than one task, or SQLite, which is a file of one machine, on a cluster.
    """

    def __init__(self, settings: JudgeSettings, count: int, address: str | None = None) -> None:
        if count < 1:
            raise InputError(f"on Ray at least 1 job must be under way at once, got {count}")
        url = absolute_url(settings.database)
        if address is not None and url.startswith("sqlite"):
            raise InputError(
                "a SQLite database is a file of this machine, which the nodes of a cluster do not share; "
                "use postgresql+psycopg://USER@HOST/NAME"
            )
        self._settings, self._count, self._address = replace(settings, database=url), count, address
        self._over = threading.Event()
        self._stack = ExitStack()
        self._dispatcher: _Dispatcher | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Join or start Ray, and hand out tasks.

        Raises:
            MissingDependencyError: Ray is not installed.
            InputError: no Ray answers at the address, or none can be started here; a database that cannot be used.
        """
        with ExitStack() as stack:
            ray = stack.enter_context(ray_session(self._count, self._address))
            arena = stack.enter_context(self._settings.open())
            self._stack = stack.pop_all()
        self._over.clear()
        self._dispatcher = _Dispatcher(ray, arena, self._settings, self._count, self._over)
        self._thread = threading.Thread(target=self._dispatcher.run, name="firsthand-judges", daemon=True)
        self._thread.start()

    def stop(self, grace_s: float = 10.0) -> None:
        """Hand out no more; tasks finish their jobs within `grace_s`, or are ended and the jobs go to others later."""
        if self._thread is None or self._dispatcher is None:
            return
        self._dispatcher.grace_s = grace_s
        self._over.set()
        self._thread.join()
        self._thread = None
        self._stack.close()

    def __enter__(self) -> RayJudges:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Dispatcher:
    """Keeps as many tasks under way as there are jobs, up to the number that was asked for."""

    def __init__(
        self, ray: Any, arena: Arena, settings: JudgeSettings, count: int, over: threading.Event
    ) -> None:
        self._ray, self._arena, self._settings, self._count = ray, arena, settings, count
        self._over, self.grace_s = over, 0.0
        # A worker that is killed takes no result with it: Ray starts the task again elsewhere.
        self._remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1, retry_exceptions=False)(judge_one)
        self._pending: list[Any] = []
        self._languages: set[str] = set()
        self._wait = IDLE_S[0]

    def run(self) -> None:
        """Hand out tasks until it is over, then wait for those that are under way."""
        machine = self._arena.machine
        name = f"{machine.host}:{os.getpid()}:ray"
        with closing(Voice(self._arena.judges, name, machine)) as self._voice:
            self._send(1)  # so that it is known at once what can be judged there, and whether anything can
            while not self._over.is_set():
                try:
                    room = self._count - len(self._pending)
                    self._send(min(room, self._arena.queue.ready(self._count)))
                except DBAPIError:
                    _LOG.exception("the database is away; it is tried again")
                    self._wait = IDLE_S[1]
                self._take(self._wait)
            if self._pending:
                everything = len(self._pending)
                _, left = self._ray.wait(self._pending, num_returns=everything, timeout=self.grace_s)
                for one in left:
                    self._ray.cancel(one, force=True)

    def _send(self, count: int) -> None:
        self._pending += [self._remote.remote(self._settings) for _ in range(count)]

    def _take(self, seconds: float) -> None:
        """Wait for a task to end; the longer, the more of them found nothing to do."""
        if not self._pending:
            self._over.wait(seconds)
            done = Done(False)
        else:
            ended, self._pending = self._ray.wait(self._pending, num_returns=1, timeout=seconds)
            done = self._result(ended[0]) if ended else Done(False)
        self._wait = IDLE_S[0] if done.judged else min(2 * self._wait, IDLE_S[1])
        if done.fault:
            self._over.wait(NO_SANDBOX_S)

    def _result(self, reference: Any) -> Done:
        try:
            done: Done = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            # Of the task's own, of a worker that died again and again, or of a node that is gone.
            _LOG.error("a judge's task failed: %s", error)
            return Done(False)
        self._languages |= set(done.languages)
        if done.fault:
            _LOG.error("nothing is judged on a node: %s", done.fault)
        self._voice.say(self._languages, done.fault)
        return done
