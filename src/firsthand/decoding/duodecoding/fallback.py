"""No harm: is speculation slower than plain decoding, and when has it lost enough?

Knows seconds and tokens; knows nothing of models. What a plain token takes is measured in the same text: now
and then one is decoded plainly, which costs nothing against plain decoding.
"""

from __future__ import annotations

import statistics
from collections import deque

__all__ = ["CALIBRATION", "LOSS_SHARE", "PROBE_ROUNDS", "Fallback", "PlainTimes"]

CALIBRATION = 3  # tokens decoded plainly to learn what one takes
REFRESH = 128  # tokens after which another one is, because passes grow longer with the text
PROBE_ROUNDS = 16  # then won and lost are compared
WINDOW = 64  # and again after so many rounds, over these
LOSS_SHARE = 0.03  # of the planned tokens' plain time
_FRESH_S = 60.0


class PlainTimes:
    """What a plain token took in the texts before, by the context's length to a power of two."""

    def __init__(self) -> None:
        self._times: dict[int, tuple[float, float]] = {}

    def put(self, context: int, now: float, seconds: float) -> None:
        """A plain token took `seconds` after `context` tokens."""
        self._times[context.bit_length()] = (now, seconds)

    def get(self, context: int, now: float) -> float | None:
        """What it took at such a context (or half as long) within the last minute, or None."""
        for size in (context.bit_length(), context.bit_length() + 1):
            when, seconds = self._times.get(size, (now - 2 * _FRESH_S, 0.0))
            if now - when <= _FRESH_S:
                return seconds
        return None


class Fallback:
    """Watches one text of `planned` tokens; `plain_s` is what a plain token took just before, if that is known.

    Losses are counted in plain tokens: a round that took as long as five of them and gave two loses three, and
    gains pay for losses. Speculation ends as soon as more is lost than 3 % of the planned tokens; if after
    the first 16 rounds more was lost than won; and if that is so over any later 64.
    """

    def __init__(self, planned: int, plain_s: float | None = None) -> None:
        self._allowed = LOSS_SHARE * planned
        self._plain: deque[float] = deque([] if plain_s is None else [plain_s] * CALIBRATION, CALIBRATION)
        self._since_plain = 0
        self._owed_s = 0.0
        self._lost = self._lost_before = 0.0  # now, and when the present window began
        self._left = PROBE_ROUNDS  # rounds of the present window
        self.gave_up = False

    @property
    def wants_plain(self) -> bool:
        """Whether the next token should be decoded plainly, to learn what that takes."""
        return not self.gave_up and (len(self._plain) < CALIBRATION or self._since_plain >= REFRESH)

    @property
    def plain_s(self) -> float | None:
        """Seconds of a plain token, the median of the latest three; None until there are three."""
        return max(statistics.median(self._plain), 1e-9) if len(self._plain) == CALIBRATION else None

    @property
    def limit_s(self) -> float:
        """How long the next round's draft may take before what it loses is too much; infinite if unknown."""
        return float("inf") if (plain := self.plain_s) is None else (self._allowed - self._lost + 1) * plain

    def saw_plain(self, seconds: float) -> None:
        """A token was decoded plainly."""
        self._plain.append(seconds)
        self._since_plain = 0

    def saw_wait(self, seconds: float) -> None:
        """The target waited so long in a round that gave no measure of its own: the prompt's."""
        self._owed_s += seconds

    def saw_round(self, seconds: float, tokens: int, *, given_up: bool = False) -> None:
        """A round gave `tokens`; `given_up` says that its draft had run into `limit_s`."""
        self._since_plain += tokens
        if (plain := self.plain_s) is None:
            return
        self._lost += (seconds + self._owed_s) / plain - tokens
        self._owed_s = 0.0
        self._left -= 1
        self.gave_up = given_up or self._lost > self._allowed
        if self._left == 0:
            self.gave_up = self.gave_up or self._lost > self._lost_before
            self._lost_before, self._left = self._lost, WINDOW
