"""Queries of one connection in turn, and how another thread stops the one that runs and not the next.

Knows conditions and threads. What telling a database to stop is, each engine says itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from firsthand.query.speql.errors import QueryInterrupted

__all__ = ["Interruptible"]


class Interruptible:
    """What a `Connection` needs to be interrupted: its turns are numbered, and only the one that was meant is stopped.

    A signal may come before a query's first step and be lost, and a query may be several jobs: it is given again until
    the turn has ended.
    """

    def __init__(self) -> None:
        self._state = threading.Condition()
        self._running = False
        self._stopped = False  # whether the turn that runs, or ran last, was told to stop
        self._turn = 0
        self._poking = 0  # the turn that a thread is stopping
        self._closed = False

    def _signal(self) -> None:
        """Tell the database to stop what runs; called with the state locked, so that no next turn begins meanwhile."""
        raise NotImplementedError

    @contextmanager
    def _in_turn(self, timeout_s: float | None = None) -> Iterator[None]:
        """A block in which one query runs; it is told to stop after `timeout_s` seconds."""
        with self._state:
            if self._closed:
                raise QueryInterrupted("the connection is closed")
            self._running, self._stopped = True, False
            self._turn += 1
            turn = self._turn
        late = None if timeout_s is None else threading.Timer(timeout_s, self._stop, (turn,))
        if late is not None:
            late.daemon = True
            late.start()
        try:
            yield
        finally:
            if late is not None:
                late.cancel()
            with self._state:
                self._running = False
                self._state.notify_all()

    def _stop(self, turn: int) -> None:
        """Give the signal until that turn has ended."""
        with self._state:
            while self._running and self._turn == turn and not self._closed:
                self._stopped = True
                self._signal()
                self._state.wait(0.005)

    def interrupt(self) -> None:
        """Stop the query that runs; returns once it has stopped."""
        with self._state:
            self._stop(self._turn)

    def poke(self) -> None:
        """Have the query that runs stopped, and return at once: a thread sees to it."""
        turn = self._turn
        if self._running and self._poking != turn:
            self._poking = turn
            threading.Thread(target=self._stop, args=(turn,), daemon=True).start()

    def _end(self) -> bool:
        """Interrupt, and take no more turns; whether this was not so before."""
        self.interrupt()
        with self._state:
            before, self._closed = self._closed, True
        return not before
