"""What pages show while judges are at work: drawn anew after a change, and large boards not more often than is needed.

Every judgement changes the scores, and a board of ten thousand results takes a tenth of a second of processor time.
With many readers the server would do nothing else. So what is made of many results is shown for a moment longer, in
proportion to their number and for at most a few seconds; what is made of few is always the newest. One request draws,
those that want the same meanwhile wait for it.

Knows keys and times. Knows nothing of boards.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

__all__ = ["Recent"]

T = TypeVar("T")
_SMALL = 2000  # results that are drawn at once
_SECOND = 4000  # results for each second that a larger drawing is kept
_LONGEST_S = 5.0


class Recent:
    """Drawings of one server.

    Args:
        most: how many are kept; the one not asked for longest goes first.
    """

    def __init__(self, *, most: int = 64, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._kept: OrderedDict[Hashable, tuple[Any, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._drawing: dict[Hashable, threading.Lock] = {}

    def of(self, key: Hashable, draw: Callable[[], T], results: Callable[[T], int]) -> T:
        """What was drawn for this key a moment ago, or what `draw` gives now.

        Args:
            results: how many results a drawing is made of.
        """
        found = self._found(key)
        if found is not None:
            return cast(T, found[0])
        with self._lock:
            turn = self._drawing.setdefault(key, threading.Lock())
        try:
            with turn:
                found = self._found(key)  # somebody else may have drawn it while we waited
                if found is not None:
                    return cast(T, found[0])
                drawn = draw()
                size = results(drawn)
                if size > _SMALL:
                    self._keep(key, drawn, self._clock() + min(_LONGEST_S, size / _SECOND))
                return drawn
        finally:
            with self._lock:
                self._drawing.pop(key, None)

    def _found(self, key: Hashable) -> tuple[Any] | None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or self._clock() >= kept[1]:
                return None
            self._kept.move_to_end(key)
            return (kept[0],)

    def _keep(self, key: Hashable, drawn: Any, until: float) -> None:
        with self._lock:
            self._kept[key] = (drawn, until)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
