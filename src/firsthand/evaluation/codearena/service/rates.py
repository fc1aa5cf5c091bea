"""How often one client may ask: token buckets in memory.

Knows keys and times. A server's processes each count for themselves: with n processes a client has up to n times the
rate. Knows no HTTP.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Buckets"]


class Buckets:
    """A bucket for each key, which holds a minute's worth at most and fills evenly.

    Args:
        per_minute: how much flows in.
        most: keys that are remembered; the one not seen for longest is forgotten, and begins with a full bucket.
    """

    def __init__(
        self, per_minute: float, *, most: int = 20_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._full = per_minute / 60, max(per_minute, 1.0)
        self._most, self._clock = most, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str, amount: float = 1.0) -> float:
        """Take so much out, and return 0; or return how many seconds are missing, and take nothing.

        More than a bucket holds can be taken from a full one, which then takes so much longer to fill again.
        """
        with self._lock:
            level, now = self._level(key)
            wanted = min(amount, self._full)
            if level < wanted:
                return (wanted - level) / self._rate
            self._keep(key, level - amount, now)
            return 0.0

    def missing(self, key: str) -> float:
        """How many seconds are missing until one can be taken; takes nothing."""
        with self._lock:
            return max(0.0, (1.0 - self._level(key)[0]) / self._rate)

    def _level(self, key: str) -> tuple[float, float]:
        now = self._clock()
        level, at = self._levels.get(key, (self._full, now))
        return min(self._full, level + (now - at) * self._rate), now

    def _keep(self, key: str, level: float, now: float) -> None:
        self._levels[key] = (level, now)
        self._levels.move_to_end(key)
        while len(self._levels) > self._most:
            self._levels.popitem(last=False)
