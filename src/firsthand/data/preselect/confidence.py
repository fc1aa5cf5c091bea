r"""How far predictive strength hangs on which models happened to be at hand: a bootstrap over models.

    S_b(d) = sum_{i<j} w_i w_j 1[C_i(d) > C_j(d)] / sum_{i<j} w_i w_j,    w = how often each model was drawn

Strength is a mean over pairs of models, and pairs that share a model are not independent: six models make
fifteen pairs and still are six models. So models are drawn again with replacement, not pairs and not
documents. Copies of one model are equally able, make no pair, and leave numerator and Z alike, as in
`predictive_strength`. The paper has nothing of this.

What it cannot say: a document on which all pairs agree agrees in every resample, so that S = 1 (and S = 0)
has standard error 0. How often luck alone leads there is what `decided_by_chance` tells.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.data.preselect.strength import Floats, Ties, ability_pairs, check_losses
from firsthand.errors import InputError

__all__ = ["StrengthConfidence", "strength_confidence"]

_EXACT_MOST = 5000  # so many different resamples are all gone through: up to seven models
_CELLS = 1 << 16  # documents times resamples at once: half a megabyte, which stays in the cache
_ALL_ORDERS = math.factorial(7)  # so many orders of the models are all gone through, else
_CHANCE_ORDERS = 2000  # so many are drawn


@dataclass(frozen=True)
class StrengthConfidence:
    """What a bootstrap over models says of each document's strength; NaN where there is no strength.

    With three models every resample that has a strength is the sample itself: nothing can be said, and
    all figures are NaN.
    """

    standard_error: Floats  # (D,)
    low: Floats  # (D,) percentile interval
    high: Floats  # (D,)
    top_stability: Floats  # (D,) share of the resamples in which the document is in the top quarter
    level: float  # of the interval
    resamples: int  # different sets of models where `exact`, else draws
    exact: bool  # all sets of models, each with its probability, instead of random draws
    top_quarter_kept: float  # mean `top_stability` of the documents in the top quarter by S
    decided_by_chance: float  # what `decided` would be if losses had nothing to do with ability
    kept_by_chance: float  # the same for `top_quarter_kept`

    @property
    def median_standard_error(self) -> float:
        """Over the documents with a strength; NaN where there is none."""
        there = self.standard_error[~np.isnan(self.standard_error)]
        return float(np.median(there)) if there.size else math.nan

    @property
    def decided(self) -> float:
        """Share of the documents with a strength whose interval excludes 1/2."""
        return _decided(self.low, self.high)

    @property
    def rests_on_little(self) -> bool:
        """Fewer than twice as many documents are decided as luck alone decides, or nothing can be said.

        Of the documents that look decided, luck may account for the share `decided_by_chance / decided`;
        above one half, the labels are not known to be more than luck.
        """
        return not self.decided >= 2 * self.decided_by_chance

    def as_dict(self) -> dict[str, Any]:
        """The figures about all documents, for a report; None where there is none."""
        figures: dict[str, float] = {
            "median_standard_error": self.median_standard_error,
            "decided": self.decided,
            "decided_by_chance": self.decided_by_chance,
            "top_quarter_kept": self.top_quarter_kept,
            "kept_by_chance": self.kept_by_chance,
        }
        return {
            **{name: None if math.isnan(value) else value for name, value in figures.items()},
            "rests_on_little": self.rests_on_little,
            "level": self.level,
            "resamples": self.resamples,
            "exact": self.exact,
        }


def strength_confidence(
    losses: ArrayLike,
    ability: ArrayLike,
    *,
    ties: Ties = "zero",
    min_gap: float = 0.0,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> StrengthConfidence:
    """Standard error and interval of S(d), and whether the document would stay in the top quarter.

    A resample in which fewer than three abilities differ (or no two by `min_gap`) has no strength and is
    drawn again: all figures are conditional on the others, which makes errors and intervals too small for
    four or five models. Up to seven models all resamples are gone through, each with its probability, and nothing is
    random. Documents that order the models alike are computed once.

    Time grows with documents x resamples x pairs, memory with resamples x pairs and documents x models.

    Args:
        losses: (D, N), as in `predictive_strength`; NaN = missing.
        ability: (N,), higher is better.
        ties: what two equal losses are worth.
        min_gap: pairs of models closer than this in ability are left out.
        level: of the percentile interval, in (0, 1).
        resamples: how many are drawn where there are too many to go through.
        seed: seeds the draws.

    Raises:
        InputError: as in `predictive_strength`; a level outside (0, 1); too few resamples for the level.
    """
    if ties not in ("zero", "half"):
        raise InputError(f"ties must be 'zero' or 'half', not {ties!r}")
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, got {level}")
    least = math.ceil(2 / (1 - level))
    if resamples < least:
        raise InputError(
            f"resamples={resamples} are too few for an interval of level {level}: the outermost on each "
            f"side bound it, at least {least} are needed"
        )
    weaker, stronger = ability_pairs(ability, min_gap)
    s = np.asarray(ability, dtype=np.float64)
    c = check_losses(losses, s.size)
    rng = np.random.default_rng(seed)
    exact = math.comb(2 * s.size - 1, s.size) <= _EXACT_MOST
    weights, times = (
        _all_resamples(s.size) if exact else _drawn_resamples(s, weaker, stronger, resamples, rng)
    )
    has_strength = _has_strength(weights, s, weaker, stronger)
    sets = _Resamples(weights[has_strength], times[has_strength], weaker, stronger, ties, level)

    there = ~np.isnan(c).any(axis=1)
    found = np.full((4, c.shape[0]), np.nan)
    kept = decided_by_chance = kept_by_chance = math.nan
    if sets.size > 1:
        once = np.ones((1, s.size), dtype=np.float32)
        own = _Resamples(once, np.ones(1, dtype=np.int64), weaker, stronger, ties, level)
        lucky = _chance_orders(s.size, rng)
        by_luck, kept_by_chance = _measure(sets, own, lucky, np.ones(len(lucky), dtype=np.int64))
        decided_by_chance = _decided(by_luck[1], by_luck[2])
        if there.any():
            orders, place, documents = _orders(c[there])
            by_order, kept = _measure(sets, own, orders, documents)
            found[:, there] = by_order[:, place]
    return StrengthConfidence(
        standard_error=found[0],
        low=found[1],
        high=found[2],
        top_stability=found[3],
        level=level,
        resamples=sets.size,
        exact=exact,
        top_quarter_kept=kept,
        decided_by_chance=decided_by_chance,
        kept_by_chance=kept_by_chance,
    )


def _measure(
    sets: _Resamples, own: _Resamples, orders: NDArray[np.uint16], documents: NDArray[np.int64]
) -> tuple[Floats, float]:
    """(4, P) summaries of the orders, and how much of the top quarter by S (`own`) stays there."""
    found = sets.summaries(orders, sets.top_quarter(orders, documents))
    in_top = own.summaries(orders, own.top_quarter(orders, documents))[3] * documents
    return found, float(in_top @ found[3] / in_top.sum())


def _decided(low: Floats, high: Floats) -> float:
    there = ~np.isnan(low)
    if not there.any():
        return math.nan
    return float(np.mean((low[there] > 0.5) | (high[there] < 0.5)))


def _all_resamples(n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Every multiset of n out of n models, and how many of the n^n draws give it."""
    bags = itertools.combinations_with_replacement(range(n), n)
    weights = np.array([np.bincount(bag, minlength=n) for bag in bags])
    factorial = np.array([math.factorial(k) for k in range(n + 1)], dtype=np.int64)
    return weights.astype(np.float32), factorial[n] // factorial[weights].prod(axis=1)


def _drawn_resamples(
    s: Floats, weaker: NDArray[np.intp], stronger: NDArray[np.intp], resamples: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Seeded draws; those without a strength are drawn again (at least about a third have one)."""
    parts: list[NDArray[np.float32]] = []
    lacking = resamples
    while lacking > 0:
        drawn = rng.multinomial(s.size, np.full(s.size, 1 / s.size), size=resamples).astype(np.float32)
        parts.append(drawn[_has_strength(drawn, s, weaker, stronger)][:lacking])
        lacking -= len(parts[-1])
    return np.concatenate(parts), np.ones(resamples, dtype=np.int64)


def _has_strength(
    weights: NDArray[np.float32], s: Floats, weaker: NDArray[np.intp], stronger: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """(R,) at least three abilities differ in the resample, and some pair of it counts."""
    values, which = np.unique(s, return_inverse=True)
    of_ability = np.eye(values.size, dtype=np.float32)[which]  # (N, distinct)
    distinct = np.count_nonzero(weights @ of_ability, axis=1)
    pairs = np.zeros((s.size, s.size), dtype=np.float32)
    pairs[weaker, stronger] = 1
    z = ((weights @ pairs) * weights).sum(axis=1)
    return np.asarray((distinct >= 3) & (z > 0))


def _orders(c: Floats) -> tuple[NDArray[np.uint16], NDArray[np.intp], NDArray[np.int64]]:
    """The different orders in which documents put the models.

    Returns (P, N) ranks of the losses, equal ones alike; (D,) which order each document has; (P,) how many
    documents have it.
    """
    order = np.argsort(c, axis=1)
    ascending = np.take_along_axis(c, order, axis=1)
    steps = np.zeros(c.shape, dtype=np.uint16)
    np.cumsum(ascending[:, 1:] > ascending[:, :-1], axis=1, out=steps[:, 1:])
    ranks = np.empty_like(steps)
    np.put_along_axis(ranks, order, steps, axis=1)
    rows: NDArray[Any] = ranks.view(f"V{c.shape[1] * ranks.itemsize}").ravel()  # a row is one value
    _, first, place = np.unique(rows, return_index=True, return_inverse=True)
    return ranks[first], place, np.bincount(place).astype(np.int64)


def _chance_orders(n: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    """(P, N) the orders of models that have nothing to do with ability: all, or a random part of them."""
    if math.factorial(n) <= _ALL_ORDERS:
        return np.array(list(itertools.permutations(range(n))), dtype=np.uint16)
    return np.argsort(rng.random((_CHANCE_ORDERS, n)), axis=1).astype(np.uint16)


class _Resamples:
    """R resamples of models, and what they make of orders of models."""

    def __init__(
        self,
        weights: NDArray[np.float32],
        times: NDArray[np.int64],
        weaker: NDArray[np.intp],
        stronger: NDArray[np.intp],
        ties: Ties,
        level: float,
    ) -> None:
        self.size = len(weights)
        self._times, self._share = times, times / times.sum()
        self._weaker, self._stronger, self._half = weaker, stronger, ties == "half"
        # Whole numbers, exact in float32: equal strengths are equal numbers, and 1 is exactly 1.
        self._pairs = (weights[:, weaker] * weights[:, stronger]).T  # (Z, R)
        self._most = self._pairs.sum(axis=0) * (2 if self._half else 1)  # (R,) the count that makes S = 1
        self._tail = (1 - level) / 2

    def _counts(self, orders: NDArray[np.uint16]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Blocks of (block, R) agreeing pairs, twice where halves occur."""
        rows = max(1, _CELLS // max(self.size, self._weaker.size))
        for start in range(0, len(orders), rows):
            block = orders[start : start + rows]
            weak, strong = block[:, self._weaker], block[:, self._stronger]
            credit = (weak > strong).astype(np.float32)
            if self._half:
                credit += weak >= strong
            yield slice(start, start + len(block)), credit @ self._pairs

    def top_quarter(
        self, orders: NDArray[np.uint16], documents: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], Floats]:
        """Where the top quarter of the documents ends in each resample.

        Returns (R,) the count on its edge, and (R,) the part of the documents there that still belongs to
        it: ties on the edge share what is left.
        """
        width = int(self._most.max()) + 1
        histogram = np.zeros(self.size * width)
        offset = np.arange(self.size) * width
        single = bool((documents == 1).all())
        for at, counts in self._counts(orders):
            cells = (counts + offset).astype(np.intp).ravel()
            each = None if single else np.repeat(documents[at], self.size)
            histogram += np.bincount(cells, each, histogram.size)
        from_top = histogram.reshape(self.size, width)[:, ::-1]
        quarter = documents.sum() / 4
        reached = np.cumsum(from_top, axis=1)
        edge = np.argmax(reached >= quarter, axis=1)[:, None]
        on_edge = np.take_along_axis(from_top, edge, axis=1)[:, 0]
        before = np.take_along_axis(reached, edge, axis=1)[:, 0] - on_edge
        part = np.divide(quarter - before, on_edge, out=np.zeros(self.size), where=on_edge > 0)
        return (width - 1 - edge[:, 0]).astype(np.float32), part

    def summaries(self, orders: NDArray[np.uint16], edges: tuple[NDArray[np.float32], Floats]) -> Floats:
        """(4, P): standard error, low, high, and share of the resamples in the top quarter."""
        edge, part = edges
        found = np.empty((4, len(orders)))
        for at, counts in self._counts(orders):
            strength = counts / self._most.astype(np.float64)  # (block, R)
            found[1, at], found[2, at] = self._interval(strength)
            strength -= (strength @ self._share)[:, None]
            found[0, at] = np.sqrt(np.square(strength, out=strength) @ self._share)
            found[3, at] = (counts > edge) @ self._share + (counts == edge) @ (part * self._share)
        return found

    def _interval(self, strength: Floats) -> tuple[Floats, Floats]:
        """The least and the greatest value with at least the tail's probability at or beyond it."""
        if (self._times == 1).all():
            outer = max(math.ceil(self._tail * self.size - 1e-9), 1) - 1
            ascending = np.sort(strength, axis=1)  # twice as fast as NumPy's partition of short rows
            return ascending[:, outer], ascending[:, self.size - 1 - outer]
        tail = self._tail * self._times.sum()
        order = np.argsort(strength, axis=1)
        times = self._times[order]
        low = np.argmax(np.cumsum(times, axis=1) >= tail, axis=1)
        high = self.size - 1 - np.argmax(np.cumsum(times[:, ::-1], axis=1) >= tail, axis=1)
        ascending = np.take_along_axis(strength, order, axis=1)
        rows = np.arange(len(strength))
        return ascending[rows, low], ascending[rows, high]
