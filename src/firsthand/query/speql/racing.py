"""A submission runs as it is, while it is looked whether tables that were made ahead answer it sooner.

Whoever looks computes in Python, and Python lets one thread compute at a time: a look takes time from the run beside
it. Therefore it begins late, when the run has taken longer than the look will, and stops when the run is done. A short
run is then as short as it would be alone, and a long one loses little. Knows threads; knows nothing of views.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from firsthand.query.speql.engine import Connection
from firsthand.query.speql.happenings import now_ms

__all__ = ["Look", "Run", "Runner"]

T = TypeVar("T")


class _Overtaken(Exception):  # noqa: N818 - no error: the other one was quicker
    """The run beside a look is done, and the look is for nothing."""


class Runner:
    """One thread that runs queries, kept from one to the next: the engine finds its memory warm.

    Args:
        connection: on which it runs them.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="firsthand-speql-direct", daemon=True)
        self._thread.start()

    def begin(self, job: Callable[[], None]) -> None:
        """Do this next."""
        self._queue.put(job)

    def close(self) -> None:
        """End the thread; returns once what it does has ended."""
        self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (job := self._queue.get()) is not None:
            job()


class Run:
    """A query that runs in another thread from now on."""

    def __init__(self, runner: Runner, sql: str, timeout_s: float | None, over: threading.Event) -> None:
        self._connection = runner.connection
        self._found: Any = None
        self._error: BaseException | None = None
        self._ended = False
        self._over = threading.Event()
        self.done = False
        self.begun = now_ms()

        def run() -> None:
            try:
                if not self._ended:
                    self._found = self._connection.query(sql, timeout_s=timeout_s)
            except BaseException as error:  # told to whoever asks for the result
                self._error = error
            self.done = True
            self._over.set()
            over.set()

        runner.begin(run)

    def result(self) -> Any:
        """Its rows; raises what it raised."""
        self._over.wait()
        if self._error is not None:
            raise self._error
        return self._found

    def end(self) -> None:
        """Stop it, if it still runs."""
        self._ended = True
        while not self._over.wait(0.002):
            self._connection.interrupt()


class Look(Generic[T]):
    """A computation in a thread of its own from now on, which asks now and then whether it is still wanted.

    Args:
        run: beside which it looks.
        look: is given a function to call between its steps, which raises an exception once the run is done.
        over: is set when it has ended.
    """

    def __init__(self, run: Run, look: Callable[[Callable[[], None]], T], over: threading.Event) -> None:
        self._found: T | None = None
        self._error: BaseException | None = None
        self.done = False

        def go_on() -> None:
            time.sleep(0)  # whoever waits to compute comes first
            if run.done:
                raise _Overtaken

        def compute() -> None:
            try:
                go_on()
                self._found = look(go_on)
            except _Overtaken:
                pass
            except BaseException as error:  # told to whoever asks for what was found
                self._error = error
            self.done = True
            over.set()

        threading.Thread(target=compute, name="firsthand-speql-look", daemon=True).start()

    def found(self) -> T | None:
        """What it found; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._found
