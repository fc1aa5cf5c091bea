"""A submission runs as it is, while it is looked whether tables that were made ahead answer it sooner.

Whoever looks computes in Python, and Python lets one thread compute at a time: a look takes time from the run beside
it. Therefore it begins late, when the run has taken about as long as the look will, and stops when the run is done. A
short run is then as short as it would be alone, and a long one loses little. Knows threads; knows nothing of views.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from firsthand.query.speql.engine import Connection
from firsthand.query.speql.happenings import now_ms

__all__ = ["Look", "Overtaken", "Run"]

T = TypeVar("T")


class Overtaken(Exception):  # noqa: N818 - no error: the other one was quicker
    """The run beside a look is done, and the look is for nothing."""


class Run:
    """A query that runs in a thread of its own from now on."""

    def __init__(
        self, connection: Connection, sql: str, timeout_s: float | None, over: threading.Event
    ) -> None:
        self._connection, self._over = connection, over
        self._found: Any = None
        self._error: BaseException | None = None
        self._ended = False
        self.done = False
        self.begun = now_ms()

        def run() -> None:
            try:
                if not self._ended:
                    self._found = connection.query(sql, timeout_s=timeout_s)
            except BaseException as error:  # told to whoever asks for the result
                self._error = error
            self.done = True
            over.set()

        self._thread = threading.Thread(target=run, name="firsthand-speql-direct", daemon=True)
        self._thread.start()

    def result(self) -> Any:
        """Its rows; raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found

    def end(self) -> None:
        """Stop it, if it still runs."""
        self._ended = True
        while self._thread.is_alive():
            self._connection.interrupt()
            self._thread.join(0.002)


class Look(Generic[T]):
    """A computation in a thread of its own from now on, which asks now and then whether it is still wanted.

    Args:
        run: beside which it looks.
        look: is given a function to call between its steps, which raises `Overtaken` once the run is done.
        over: is set when it has ended.
    """

    def __init__(self, run: Run, look: Callable[[Callable[[], None]], T], over: threading.Event) -> None:
        self._found: T | None = None
        self._error: BaseException | None = None
        self.done = False

        def go_on() -> None:
            time.sleep(0)  # whoever waits to compute comes first
            if run.done:
                raise Overtaken

        def compute() -> None:
            try:
                go_on()
                self._found = look(go_on)
            except Overtaken:
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
