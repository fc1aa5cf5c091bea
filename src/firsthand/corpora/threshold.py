"""The score from which on documents are kept, exactly.

Documents are ranked by score, highest first; equals by a seeded order of their ids. Kept are the fewest from
the top whose sizes together reach the budget: the kept size is at least `fraction` of the total, and without
the last kept document it would be below. `threshold_for` does this on arrays in memory; `find_threshold` on
any number of documents in constant memory, by narrowing down histograms of the scores' bits, with the same
result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.corpora.ids import seeded_order
from firsthand.errors import InputError

__all__ = ["Chunk", "Measure", "Passes", "Threshold", "find_threshold", "threshold_for"]

Measure = Literal["chars", "tokens", "docs"]

_LAST = (1 << 64) - 1


@dataclass(frozen=True)
class Threshold:
    """Where the ranking is cut, and what that keeps."""

    value: float  # the lowest kept score
    last_key: int  # among documents of that score: kept up to this key of the seeded order
    seed: int
    fraction: float | None  # asked for; None where an amount was
    kept_fraction: float  # reached, by size
    kept_docs: int
    kept_size: int
    total_size: int  # of the documents that have a score
    scored_docs: int
    unscored_docs: int  # NaN (empty texts): never kept, not part of the total
    amount: int | None = None  # asked for, in units of size

    def keep(self, scores: ArrayLike, ids: Sequence[str] | None = None) -> NDArray[np.bool_]:
        """(n,) which of these documents are kept; `ids` as given to the function that made the threshold."""
        s = np.asarray(scores)
        kept = s > self.value
        at = np.flatnonzero(s == self.value)
        if at.size:
            names = [str(i) for i in at.tolist()] if ids is None else [ids[i] for i in at.tolist()]
            kept[at] = seeded_order(names, self.seed) <= np.uint64(self.last_key)
        return np.asarray(kept, dtype=np.bool_)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def check_budget(fraction: float | None, amount: int | None) -> None:
    """Raise `InputError` unless exactly one of them is given and makes sense."""
    if (fraction is None) == (amount is None):
        raise InputError("give a fraction or an amount, one of them")
    if fraction is not None and not 0 < fraction <= 1:
        raise InputError(f"fraction must be above 0 and at most 1, got {fraction}")
    if amount is not None and amount < 1:
        raise InputError(f"amount must be at least 1, got {amount}")


def exact_fraction(value: float) -> Fraction:
    """What was meant: 0.07 is 7 hundredths, and 1/3 a third, though no float is either."""
    given = Fraction(repr(float(value)))
    near = given.limit_denominator(10**6)
    return near if abs(near - given) * 2**52 <= given else given


def budget_of(total: int, fraction: float | None, amount: int | None) -> int:
    """The size to reach: `amount`, or the least whole size that is at least `fraction` of `total`.

    0.07 of 100 is 7, not 7.000…01; see `exact_fraction`. Raises `InputError` for an amount that is not there.
    """
    if amount is None:
        assert fraction is not None
        return math.ceil(exact_fraction(fraction) * total)
    if amount > total:
        raise InputError(
            f"an amount of {amount} was asked for, and the documents with a score make up {total}"
        )
    return amount


def threshold_for(
    scores: ArrayLike,
    sizes: ArrayLike,
    fraction: float | None = None,
    *,
    amount: int | None = None,
    ids: Sequence[str] | None = None,
    seed: int = 0,
) -> Threshold:
    """The exact threshold for arrays in memory.

    Args:
        scores: (n,), NaN = no score.
        sizes: (n,) whole numbers >= 0: characters, tokens, or ones to count documents.
        fraction: of the total size of documents with a score, in (0, 1]; 1 keeps them all.
        amount: or the size itself, a whole number of characters, tokens or documents.
        ids: (n,) unique ids for the order among equals; without them positions stand in.
        seed: seeds that order.

    Raises:
        InputError: shapes that do not match, a bad fraction or size, or nothing to select from.
    """
    check_budget(fraction, amount)
    s = np.asarray(scores)
    size = _sizes(sizes)
    if s.ndim != 1 or s.shape != size.shape:
        raise InputError(f"scores have shape {s.shape} and sizes {size.shape}; both must be (n,)")
    if ids is not None and len(ids) != s.size:
        raise InputError(f"there are {s.size} scores and {len(ids)} ids")
    if s.dtype.kind != "f":  # the negative of an unsigned number would be a large one
        s = s.astype(np.float64)
    there = np.flatnonzero(~np.isnan(s))
    total = int(size[there].sum())
    _check_total(there.size, total)
    budget = budget_of(total, fraction, amount)
    names = [str(i) for i in there.tolist()] if ids is None else [ids[i] for i in there.tolist()]
    keys = seeded_order(names, seed)
    ranked = np.lexsort((keys, -s[there]))
    running = np.cumsum(size[there][ranked])
    n = there.size if fraction == 1 else int(np.searchsorted(running, budget)) + 1
    last = ranked[n - 1]
    value, kept_size = s[there][last], int(running[n - 1])
    # Where there is nothing to choose among, every key of that score is kept, as `find_threshold` has it.
    free = fraction == 1 or int((s == value).sum()) == 1
    return Threshold(
        value=float(value),
        last_key=_LAST if free else int(keys[last]),
        seed=seed,
        fraction=None if fraction is None else float(fraction),
        kept_fraction=kept_size / total,
        kept_docs=n,
        kept_size=kept_size,
        total_size=total,
        scored_docs=int(there.size),
        unscored_docs=int(s.size - there.size),
        amount=amount,
    )


def _sizes(sizes: ArrayLike) -> NDArray[np.int64]:
    given = np.asarray(sizes)
    whole = given.astype(np.int64) if np.isfinite(given).all() else np.full(given.shape, -1)
    if (whole != given).any() or (whole < 0).any():
        raise InputError("sizes must be whole numbers of at least 0")
    return np.asarray(whole, dtype=np.int64)


def _check_total(n: int, total: int) -> None:
    if n == 0:
        raise InputError("no document has a score: there is nothing to select from")
    if total == 0:
        raise InputError("the documents with a score have a total size of 0: there is nothing to select from")


class Chunk(NamedTuple):
    """Some documents of a pass; `ids` are only read when the pass asks for them, `sources` for quotas."""

    scores: NDArray[np.float32]
    sizes: NDArray[np.int64]
    ids: Sequence[str]
    sources: Sequence[str] = ()


Passes = Callable[[bool], Iterator[Chunk]]  # with_ids -> the documents, from the start


def ordered_bits(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Whole numbers that ascend where the scores descend, equal where they are equal."""
    bits = (scores + np.float32(0)).view(np.uint32)  # + 0 turns -0.0 into 0.0
    negative = bits >> np.uint32(31) == 1
    upward = np.where(negative, ~bits, bits | np.uint32(0x80000000))
    return np.asarray(~upward, dtype=np.uint32)


def score_of(bits: int) -> float:
    """The score that `ordered_bits` made this number of."""
    upward = ~np.uint32(bits)
    back = upward & np.uint32(0x7FFFFFFF) if upward >> np.uint32(31) else ~upward
    return float(np.array([back], dtype=np.uint32).view(np.float32)[0])


class Narrowing:
    """Follows one ascending whole-number key, `digit` bits a pass, to where the sizes reach the budget.

    A pass costs 16 · 2^digit bytes and there are width / digit of them.
    """

    def __init__(self, width: int, budget: int, digit: int = 16) -> None:
        if width % digit:
            raise InputError(f"a key of {width} bits does not fall into digits of {digit}")
        self.width, self.digit, self.shift = width, digit, width - digit
        self.prefix = 0
        self.before_docs = 0
        self.before_size = 0
        self.here_docs = self.here_size = 0
        self.budget = budget
        self._start()

    def _start(self) -> None:
        self._docs = np.zeros(1 << self.digit, dtype=np.int64)
        self._size = np.zeros(1 << self.digit, dtype=np.int64)

    def add(self, keys: NDArray[Any], sizes: NDArray[np.int64]) -> None:
        """Take these documents into the pass."""
        kind, bins = keys.dtype.type, 1 << self.digit
        if self.shift + self.digit < self.width:
            inside = keys >> kind(self.shift + self.digit) == kind(self.prefix)
            keys, sizes = keys[inside], sizes[inside]
        place = ((keys >> kind(self.shift)) & kind(bins - 1)).astype(np.int64)
        np.add.at(self._docs, place, 1)
        np.add.at(self._size, place, sizes)

    def close_pass(self) -> None:
        """Choose the digit at which the budget is reached."""
        running = self.before_size + np.cumsum(self._size)
        at = int(np.searchsorted(running, self.budget))
        self.before_docs += int(self._docs[:at].sum())
        self.before_size = int(running[at] - self._size[at])
        self.here_docs, self.here_size = int(self._docs[at]), int(self._size[at])
        self.prefix = (self.prefix << self.digit) | at
        self.shift -= self.digit
        if self.shift >= 0:
            self._start()
        else:  # done: nothing more is counted
            self._docs = self._size = np.zeros(0, dtype=np.int64)


def find_threshold(
    passes: Passes, fraction: float | None = None, *, amount: int | None = None, seed: int = 0
) -> Threshold:
    """The same threshold as `threshold_for`, in constant memory.

    Three passes find totals and the exact float32 score; where several documents share it, four more find
    the place in the seeded order of their ids.

    Args:
        passes: called once a pass with whether ids are needed; yields the documents in chunks.
        fraction: of the total size, in (0, 1].
        amount: or the size itself.
        seed: seeds the order among equal scores.
    """
    check_budget(fraction, amount)
    docs = scored = total = 0
    lowest = math.inf
    for chunk in passes(False):
        there = ~np.isnan(chunk.scores)
        docs += chunk.scores.size
        scored += int(there.sum())
        total += int(chunk.sizes[there].sum())
        if there.any():
            lowest = min(lowest, float(chunk.scores[there].min()))
    _check_total(scored, total)
    unscored = docs - scored
    if fraction == 1:
        return Threshold(lowest, _LAST, seed, 1.0, 1.0, scored, total, total, scored, unscored)

    budget = budget_of(total, fraction, amount)
    by_score = Narrowing(32, budget)
    while by_score.shift >= 0:
        for chunk in passes(False):
            there = ~np.isnan(chunk.scores)
            by_score.add(ordered_bits(chunk.scores[there]), chunk.sizes[there])
        by_score.close_pass()
    value = score_of(by_score.prefix)

    by_key = Narrowing(64, budget)
    by_key.before_docs, by_key.before_size = by_score.before_docs, by_score.before_size
    if by_score.here_docs == 1:  # nothing to choose among
        by_key.here_docs, by_key.here_size, by_key.prefix, by_key.shift = 1, by_score.here_size, _LAST, -1
    while by_key.shift >= 0:
        for chunk in passes(True):
            at = np.flatnonzero(chunk.scores == np.float32(value))
            if at.size:
                by_key.add(seeded_order([chunk.ids[i] for i in at.tolist()], seed), chunk.sizes[at])
        by_key.close_pass()
    last_key = by_key.prefix
    kept_docs = by_key.before_docs + by_key.here_docs
    kept_size = by_key.before_size + by_key.here_size
    return Threshold(
        value=value,
        last_key=last_key,
        seed=seed,
        fraction=None if fraction is None else float(fraction),
        kept_fraction=kept_size / total,
        kept_docs=kept_docs,
        kept_size=kept_size,
        total_size=total,
        scored_docs=scored,
        unscored_docs=unscored,
        amount=amount,
    )
