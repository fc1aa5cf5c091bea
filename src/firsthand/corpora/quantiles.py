"""Quantiles of any number of scores, weighted by size, in one pass and bounded memory.

The q-digest of Shrivastava, Buragohain, Agrawal and Suri ("Medians and Beyond: New Aggregation Techniques for
Sensor Networks", SenSys 2004) over the 32-bit image of float32 that ascends with the score. Every possible
score is a leaf of a binary tree 32 levels deep. A node of the tree holds weight of scores somewhere below it;
what is light moves up to the parent, so that only heavy regions stay resolved.

Own code, because no library has all of: weights, merging, and an error that is guaranteed and not only
probable. KLL and REQ sketches (Apache DataSketches for Python) take no weights and hold with a probability;
t-digests (pytdigest, crick, fastdigest, DataSketches' own) have no bound; DDSketch bounds the value's error
and not the rank's.

Knows nothing of documents, files or workers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.errors import InputError

__all__ = ["QuantileSketch"]

_LEVELS = 32
_FIRST_LEAF = 1 << _LEVELS  # nodes are numbered as in a heap: 1 is the root, 2i and 2i + 1 are children of i
_MOST_WEIGHT = 1 << 61  # twice this and a little more still fits an int64
_LEAST_ERROR = 1e-6  # some 3 GB
_FORMAT = "q-digest of float32, 1"

_Ids = NDArray[np.int64]
_Weights = NDArray[np.int64]


class QuantileSketch:
    """A summary of (score, weight) pairs that knows every rank up to `error` × the total weight.

    The guarantee holds for every input, in every order, and for every tree of merges: where a rank is
    uncertain, no more than `error` × `total` of weight is. The same calls on the same data give the same
    sketch on every machine; asking changes nothing. Scores are rounded to float32; -0.0 is 0.0; infinities
    rank as the largest and smallest scores; NaN is counted in `missing` and not ranked.

    With k = ⌈32 / error⌉ the sketch holds at most `most_nodes` = 4k + 1 + max(2k, 4096) nodes of 16 bytes
    (3 MB for an error of 1e-3), plus the batch just given. As long as the distinct scores are at most 4k,
    every answer is exact. A million scores in batches of 1024 take 1 to 2 CPU-seconds; on random scores the
    uncertainty met is about an eighth of what is promised.

    Why 4k + 1: call t = ⌊total / k⌋. After compression two siblings and their parent together weigh more than
    t, otherwise they would have moved up. Summed over all pairs of siblings a node's weight counts at most
    twice, once as a child and once as a parent, so there are fewer than 2k pairs. Why the error: a node other
    than a leaf weighs at most t, and a score has 32 of them above it, 32 t ≤ error × total. Adding the nodes
    of two sketches keeps this, since ⌊a / k⌋ + ⌊b / k⌋ ≤ ⌊(a + b) / k⌋.

    Args:
        error: the share of the total weight by which a rank may be off, from 1e-6 to below 1.

    Raises:
        InputError: an error outside that range.
    """

    def __init__(self, error: float = 1e-3) -> None:
        if not _LEAST_ERROR <= error < 1:
            raise InputError(f"error must be at least {_LEAST_ERROR} and below 1, got {error}")
        self.error = float(error)
        self.count = 0  # scores ranked
        self.missing = 0  # scores that are NaN
        self.total = 0  # weight of the scores ranked
        self._k = math.ceil(_LEVELS / Fraction(self.error))
        self._stride = max(2 * self._k, 4096)
        self._position = 0  # in the stream since it was last looked at whether to compress
        self._low, self._high = _FIRST_LEAF << 1, 0  # leaves of the lowest and the highest score with weight
        self._ids: _Ids = np.empty(0, np.int64)  # ascending
        self._weights: _Weights = np.empty(0, np.int64)  # all above 0
        self._waiting: list[tuple[_Ids, _Weights]] = []  # leaves not yet among the nodes
        self._ends: _Ends | None = None

    @property
    def most_nodes(self) -> int:
        """No sketch of this error ever holds more nodes between two calls."""
        return self._most_compressed + self._stride

    @property
    def nodes(self) -> int:
        """How many nodes it holds now."""
        self._settle()
        return int(self._ids.size)

    @property
    def _most_compressed(self) -> int:
        return 4 * self._k + 1

    def update(self, values: ArrayLike, weights: ArrayLike | None = None) -> None:
        """Add scores.

        How a stream is cut into batches makes no difference.

        Args:
            values: (n,) scores.
            weights: (n,) whole numbers >= 0; without them every score weighs 1.

        Raises:
            InputError: shapes that do not match, a score that is finite and too large for float32, a weight
                that is negative or not whole, a total beyond 2**61. The sketch is then as it was.
        """
        scores = _as_scores(values)
        weighed = np.ones(scores.shape, np.int64) if weights is None else _as_weights(weights)
        if scores.shape != weighed.shape:
            raise InputError(
                f"values have shape {scores.shape} and weights {weighed.shape}; both must be (n,)"
            )
        ranked = ~np.isnan(scores)
        if not ranked.all():
            scores, weighed = scores[ranked], weighed[ranked]
        self._grow(int(scores.size), int(ranked.size - scores.size), weighed)
        leaves = _leaf(scores)
        with_weight = weighed > 0
        if with_weight.any():
            held = leaves[with_weight]
            self._low, self._high = min(self._low, int(held.min())), max(self._high, int(held.max()))
        # It is looked at places of the stream that are fixed: neither batches nor questions move them.
        while leaves.size:
            take = min(self._stride - self._position, int(leaves.size))
            self._waiting.append((leaves[:take], weighed[:take]))
            leaves, weighed = leaves[take:], weighed[take:]
            self._position += take
            if self._position == self._stride:
                self._settle()
                self._compress_if_large()

    def merge(self, other: QuantileSketch) -> None:
        """Add all that `other` has seen; `other` stays as it is.

        Raises:
            InputError: `other` was made with another error, or the totals sum to more than 2**61.
        """
        if other.error != self.error:
            raise InputError(
                f"a sketch of error {other.error} cannot be merged into one of error {self.error}; "
                "make all of them with the same error"
            )
        ids, weights = other._settle()
        self._grow(other.count, other.missing, weights)
        self._low, self._high = min(self._low, other._low), max(self._high, other._high)
        self._waiting.append((ids, weights))
        self._settle()
        self._compress_if_large()

    def quantile(self, q: float) -> float:
        """A score v of rank q: scores below v weigh at most, and scores up to v at least, q × total.

        Both hold within error / 2 × total. 0 gives the lowest score and 1 the highest, exactly.

        Raises:
            InputError: q outside [0, 1], or nothing to rank.
        """
        if not 0 <= q <= 1:
            raise InputError(f"q must be from 0 to 1, got {q}")
        ends = self._ends_of_nodes()
        if q in (0, 1):
            return _score(self._low if q == 0 else self._high)
        # The weight up to a score is the mean of what is surely and what is possibly there, here doubled.
        wanted = math.ceil(2 * _share(q) * self.total)
        places = np.union1d(ends.first, ends.last)
        surely = ends.up_to_last[np.searchsorted(ends.last, places, side="right")]
        possibly = ends.up_to_first[np.searchsorted(ends.first, places, side="right")]
        return self._within(int(places[np.searchsorted(surely + possibly, wanted)]))

    def weight_above(self, value: float) -> tuple[int, int]:
        """Bounds (low, high) of the weight of the scores >= value; high - low <= error × total.

        Raises:
            InputError: value is NaN.
        """
        if math.isnan(value):
            raise InputError("value is NaN: no score is above or below it")
        if not self.total:
            return 0, 0
        with np.errstate(over="ignore"):
            nearest = np.float32(value)
            if float(nearest) < value:  # the scores from value on are those from the next float32 on
                nearest = np.nextafter(nearest, np.float32(np.inf))
        leaf = int(_leaf(np.array([nearest], np.float32))[0])
        if leaf <= self._low:
            return self.total, self.total
        if leaf > self._high:
            return 0, 0
        ends = self._ends_of_nodes()
        possibly_below = int(ends.up_to_first[np.searchsorted(ends.first, leaf)])
        surely_below = int(ends.up_to_last[np.searchsorted(ends.last, leaf)])
        return self.total - possibly_below, self.total - surely_below

    def threshold(self, fraction: float) -> float:
        """A score from which on the kept weight is at least `fraction` of the total, and hardly more.

        Guaranteed, with kept(v) the exact weight of the scores >= v, above(v) that of the scores > v:
        kept(v) ≥ fraction × total, and above(v) < (fraction + error) × total. So the kept share is in
        [fraction, fraction + error + share of the scores equal to v). 1 keeps everything.

        Args:
            fraction: of the total weight, in (0, 1].

        Raises:
            InputError: a fraction outside (0, 1], or nothing to rank.
        """
        if not 0 < fraction <= 1:
            raise InputError(f"fraction must be above 0 and at most 1, got {fraction}")
        ends = self._ends_of_nodes()
        wanted = math.ceil(_share(fraction) * self.total)
        # The highest first leaf of a node such that the nodes from there on surely weigh enough.
        at = int(np.searchsorted(ends.up_to_first, self.total - wanted, side="right")) - 1
        return self._within(int(ends.first[at]))

    def as_dict(self) -> dict[str, Any]:
        """Everything, in values that JSON has; `from_dict` makes a sketch that goes on exactly like this one."""
        ids, weights = self._settle()
        return {
            "sketch": _FORMAT,
            "error": self.error,
            "count": self.count,
            "missing": self.missing,
            "total": self.total,
            "position": self._position,
            "low": self._low,
            "high": self._high,
            "nodes": ids.tolist(),
            "weights": weights.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> QuantileSketch:
        """The sketch that `as_dict` wrote.

        Raises:
            InputError: something that `as_dict` did not write.
        """
        if values.get("sketch") != _FORMAT:
            raise InputError(f"not a quantile sketch: 'sketch' is {values.get('sketch')!r}, not {_FORMAT!r}")
        try:
            made = cls(values["error"])
            made.count, made.missing, made.total = (int(values[n]) for n in ("count", "missing", "total"))
            made._position, made._low, made._high = (int(values[n]) for n in ("position", "low", "high"))
            ids, weights = np.array(values["nodes"], np.int64), np.array(values["weights"], np.int64)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"the values of a quantile sketch are damaged: {error!r}") from error
        if (
            ids.ndim != 1
            or ids.shape != weights.shape
            or ids.size > made.most_nodes
            or (ids[1:] <= ids[:-1]).any()
            or (ids.size and not 1 <= ids[0] <= ids[-1] < 2 * _FIRST_LEAF)
            or (ids.size and not _FIRST_LEAF <= made._low <= made._high < 2 * _FIRST_LEAF)
            or (weights <= 0).any()
            or sum(weights.tolist()) != made.total
            or made.total > _MOST_WEIGHT
            or not 0 <= made._position < made._stride
        ):
            raise InputError("the values of a quantile sketch are damaged: nodes and weights do not fit")
        made._ids, made._weights = ids, weights
        return made

    def _grow(self, count: int, missing: int, weights: _Weights) -> None:
        """Count what is added; refuse before anything is changed."""
        # The sum in float64 first: the exact one could leave int64.
        added = float(weights.sum(dtype=np.float64))
        if added > _MOST_WEIGHT or self.total + int(weights.sum()) > _MOST_WEIGHT:
            raise InputError("the weights sum to more than 2**61; weigh in a larger unit")
        self.count += count
        self.missing += missing
        self.total += int(weights.sum())
        self._ends = None

    def _settle(self) -> tuple[_Ids, _Weights]:
        """Bring what waits among the nodes, as it is."""
        if self._waiting:
            ids, weights = _summed(
                np.concatenate([part for part, _ in self._waiting]),
                np.concatenate([part for _, part in self._waiting]),
            )
            there = weights > 0
            self._ids, self._weights = _summed(
                np.concatenate([self._ids, ids[there]]), np.concatenate([self._weights, weights[there]])
            )
            self._waiting = []
        return self._ids, self._weights

    def _compress_if_large(self) -> None:
        self._position = 0
        # A pass moves a parent up after its children were looked at, which may make room for them: hence the
        # loop. It ends, since a pass that moves nothing leaves at most that many nodes.
        most = int(self._weights.sum()) // self._k  # not `total`: it knows the rest of the batch already
        while self._ids.size > self._most_compressed:
            self._ids, self._weights = _compressed(self._ids, self._weights, most)

    def _within(self, leaf: int) -> float:
        return _score(min(max(leaf, self._low), self._high))

    def _ends_of_nodes(self) -> _Ends:
        if not self.total:
            raise InputError("no score with weight was added: there is nothing to rank")
        if self._ends is None:
            self._ends = _Ends(*self._settle())
        return self._ends


class _Ends:
    """The first and the last leaf below each node, each ascending, with the weight of the nodes before it."""

    def __init__(self, ids: _Ids, weights: _Weights) -> None:
        up = _LEVELS - _level(ids)
        first, last = ids << up, ((ids + 1) << up) - 1
        by_first, by_last = np.argsort(first, kind="stable"), np.argsort(last, kind="stable")
        self.first, self.last = first[by_first], last[by_last]
        self.up_to_first = np.concatenate([[0], np.cumsum(weights[by_first])])  # (nodes + 1,)
        self.up_to_last = np.concatenate([[0], np.cumsum(weights[by_last])])


def _level(ids: _Ids) -> _Ids:
    """0 for the root, 32 for leaves; ids are below 2**33, which float64 holds exactly."""
    return np.asarray(np.frexp(ids.astype(np.float64))[1] - 1, dtype=np.int64)


def _summed(ids: _Ids, weights: _Weights) -> tuple[_Ids, _Weights]:
    """Ids ascending and once each, with the sum of their weights."""
    if not ids.size:
        return ids, weights
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    start = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    return ids[start], np.add.reduceat(weights[order], start)


def _compressed(ids: _Ids, weights: _Weights, most: int) -> tuple[_Ids, _Weights]:
    """From the leaves to the root: siblings that with their parent weigh at most `most` join the parent."""
    cuts = np.searchsorted(ids, 1 << np.arange(_LEVELS + 2, dtype=np.int64))
    held, weight = ids[cuts[_LEVELS] :], weights[cuts[_LEVELS] :]
    stay: list[tuple[_Ids, _Weights]] = []
    for level in range(_LEVELS - 1, -1, -1):
        above, weight_above = ids[cuts[level] : cuts[level + 1]], weights[cuts[level] : cuts[level + 1]]
        if held.size:
            parents = held >> 1
            start = np.flatnonzero(np.concatenate([[True], parents[1:] != parents[:-1]]))
            family = np.add.reduceat(weight, start)
            parent = parents[start]
            if above.size:
                at = np.minimum(np.searchsorted(above, parent), above.size - 1)
                own = np.where(above[at] == parent, weight_above[at], 0)
            else:
                own = np.zeros_like(family)
            moves = family + own <= most
            stays = ~np.repeat(moves, np.diff(np.append(start, held.size)))
            stay.append((held[stays], weight[stays]))
            above, weight_above = _summed(
                np.concatenate([above, parent[moves]]), np.concatenate([weight_above, family[moves]])
            )
        held, weight = above, weight_above
    stay.append((held, weight))
    return np.concatenate([part for part, _ in stay[::-1]]), np.concatenate([part for _, part in stay[::-1]])


def _leaf(scores: NDArray[np.float32]) -> _Ids:
    """The leaf of each score: ascends where the scores ascend, equal where they are equal."""
    bits = (scores + np.float32(0)).view(np.uint32)  # + 0 turns -0.0 into 0.0
    upward = np.where(bits >> np.uint32(31) == 1, ~bits, bits | np.uint32(0x80000000))
    return upward.astype(np.int64) + _FIRST_LEAF


def _score(leaf: int) -> float:
    upward = leaf - _FIRST_LEAF
    bits = upward & 0x7FFFFFFF if upward >> 31 else upward ^ 0xFFFFFFFF
    return float(np.array([bits], np.uint32).view(np.float32)[0])


def _share(fraction: float) -> Fraction:
    """The number as it is written: 0.07 of 100 is 7, not 7.000…01."""
    return Fraction(repr(float(fraction)))


def _as_scores(values: ArrayLike) -> NDArray[np.float32]:
    given = np.asarray(values)
    if given.ndim != 1 or given.dtype.kind not in "fiub":
        raise InputError(f"values must be numbers of shape (n,), got {given.dtype} of shape {given.shape}")
    with np.errstate(over="ignore"):
        scores = given.astype(np.float32)
    if given.dtype != np.float32 and (np.isinf(scores) & ~np.isinf(given)).any():
        raise InputError("a score is finite and too large for float32; rescale the scores")
    return scores


def _as_weights(weights: ArrayLike) -> _Weights:
    given = np.asarray(weights)
    if given.dtype.kind not in "fiub":
        raise InputError(f"weights must be whole numbers of at least 0, got {given.dtype}")
    # In this order: a float beyond int64 has no whole number to compare with.
    if given.size and not (given.min() >= 0 and np.isfinite(given).all()):  # NaN fails the first, too
        raise InputError("weights must be whole numbers of at least 0")
    if given.size and given.max() > _MOST_WEIGHT:
        raise InputError("a weight is above 2**61; weigh in a larger unit")
    whole = given.astype(np.int64)
    if (whole != given).any():
        raise InputError("weights must be whole numbers of at least 0")
    return whole
