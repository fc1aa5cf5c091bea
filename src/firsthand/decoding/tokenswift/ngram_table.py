"""How often each n-gram came: after a token, the continuations that the text has used most (section 3.3).

Knows tokens and counts; knows nothing of models. Ties go to the more recent continuation, then to the
smaller token ids. Nothing is written when a run is cut off: the table follows from the tokens.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence

from firsthand.errors import InputError

__all__ = ["LaggedFeed", "NGramTable"]


class NGramTable:
    """Counts of the n − 1 tokens that followed each token.

    Args:
        n: length of the n-grams, the key included; the paper's is 4.
        max_keys: how many first tokens are remembered, the least recently used ones going first; None is all.

    Raises `InputError` where n < 2 or max_keys < 1.
    """

    def __init__(self, n: int = 4, max_keys: int | None = None) -> None:
        if n < 2:
            raise InputError(f"n-grams need a key and something after it: n must be at least 2, got {n}")
        if max_keys is not None and max_keys < 1:
            raise InputError(f"max_keys must be at least 1, or None, got {max_keys}")
        self.n, self.max_keys = n, max_keys
        self._after: OrderedDict[int, dict[tuple[int, ...], tuple[int, int]]] = OrderedDict()
        self._clock = 0

    def __len__(self) -> int:
        return len(self._after)

    def add(self, ngram: Sequence[int]) -> None:
        """Count one n-gram."""
        first, rest = ngram[0], tuple(ngram[1:])
        counts = self._after.get(first)
        if counts is None:
            counts = self._after[first] = {}
        self._after.move_to_end(first)
        self._clock += 1
        counts[rest] = (counts.get(rest, (0, 0))[0] + 1, self._clock)
        if self.max_keys is not None and len(self._after) > self.max_keys:
            self._after.popitem(last=False)

    def update(self, tokens: Sequence[int]) -> None:
        """Count every n-gram of a text; a text shorter than n has none."""
        for start in range(len(tokens) - self.n + 1):
            self.add(tokens[start : start + self.n])

    preload = update  # a corpus is a text like any other

    def topk(self, first: int, k: int) -> list[tuple[int, ...]]:
        """The k most frequent continuations (n − 1 tokens each) of `first`, most frequent first.

        Raises `InputError` for a negative k.
        """
        if k < 0:
            raise InputError(f"the number of re-used n-grams must be at least 0, got {k}")
        counts = self._after.get(first)
        if not counts or not k:
            return []
        best = heapq.nsmallest(k, counts.items(), key=lambda item: (-item[1][0], -item[1][1], item[0]))
        return [rest for rest, _ in best]


class LaggedFeed:
    """Feeds a growing text to a table, `lag` tokens behind its end: what the penalty forbids is not proposed.

    Every n-gram that ends before `len(ids) − lag` is counted once. With lag 0 that is all of the text.
    """

    def __init__(self, table: NGramTable, lag: int) -> None:
        if lag < 0:
            raise InputError(f"the lag must be at least 0, got {lag}")
        self.table, self.lag = table, lag
        self._next = 0  # where the next n-gram starts

    def advance(self, ids: Sequence[int]) -> None:
        """Count the n-grams that have become old enough; the cost follows the new tokens only."""
        last = len(ids) - self.lag - self.table.n
        for start in range(self._next, last + 1):
            self.table.add(ids[start : start + self.table.n])
        self._next = max(self._next, last + 1)
