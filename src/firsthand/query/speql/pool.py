"""The speculative tables that there are: few, small, and the least recently used goes first.

Knows budgets. Knows neither what a table means nor how it is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from firsthand.query.speql.errors import BudgetExceeded
from firsthand.query.speql.views import View

__all__ = ["Pool"]


class Pool:
    """Views within a budget of `most` tables and `most_bytes` bytes; safe to use from several threads.

    Args:
        drop: is called, outside the lock, with every view that leaves.
    """

    def __init__(self, most: int, most_bytes: float, drop: Callable[[View], None]) -> None:
        self._most, self._most_bytes, self._drop = most, most_bytes, drop
        self._views: dict[int, View] = {}  # the least recently used first
        self._pinned: dict[int, int] = {}
        self._leaving: list[View] = []
        self._lock = threading.Lock()

    def views(self) -> list[View]:
        """All of them, the most recently used last."""
        with self._lock:
            return list(self._views.values())

    @property
    def bytes(self) -> float:
        """Size of all."""
        with self._lock:
            return sum(view.bytes for view in self._views.values())

    def add(self, view: View) -> list[View]:
        """Take a view in, and give the least recently used up for it; those are returned.

        Views that are being read stay. Raises `BudgetExceeded` where it is larger than the whole budget, or where
        everything else is being read; the view is then dropped.
        """
        with self._lock:
            gone: list[View] = []
            kept = dict(self._views)
            fits = view.bytes <= self._most_bytes
            while fits and (
                len(kept) >= self._most
                or sum(one.bytes for one in kept.values()) + view.bytes > self._most_bytes
            ):
                oldest = next((number for number in kept if number not in self._pinned), None)
                if oldest is None:
                    fits = False
                else:
                    gone.append(kept.pop(oldest))
            if fits:
                self._views = {**kept, view.id: view}
        for one in gone if fits else [view]:
            self._drop(one)
        if not fits:
            raise BudgetExceeded(
                f"{view.rows} rows, {view.bytes / 2**20:.1f} MiB, do not fit into {self._most_bytes / 2**20:.1f} MiB"
            )
        return gone

    @contextmanager
    def reading(self, views: Collection[View]) -> Iterator[bool]:
        """A block in which none of these is dropped; False where one of them has gone already. Marks them as used."""
        with self._lock:
            there = all(view.id in self._views for view in views)
            for view in views if there else ():
                self._pinned[view.id] = self._pinned.get(view.id, 0) + 1
                self._views[view.id] = self._views.pop(view.id)
        try:
            yield there
        finally:
            leaving: list[View] = []
            with self._lock:
                for view in views if there else ():
                    self._pinned[view.id] -= 1
                    if not self._pinned[view.id]:
                        del self._pinned[view.id]
                leaving = [view for view in self._leaving if view.id not in self._pinned]
                self._leaving = [view for view in self._leaving if view.id in self._pinned]
            for view in leaving:
                self._drop(view)

    def clear(self) -> list[View]:
        """Give all of them up; those that are being read are dropped when that ends. Returns them."""
        with self._lock:
            gone = list(self._views.values())
            self._views = {}
            now = [view for view in gone if view.id not in self._pinned]
            self._leaving += [view for view in gone if view.id in self._pinned]
        for view in now:
            self._drop(view)
        return gone
