r"""Predictive strength: how often a document's losses rank models as the benchmark does.

    S(d) = (1/Z) * sum_{i<j} 1[C_i(d) > C_j(d)],    models sorted so that s_1 < ... < s_N     (section 3)

Knows losses and abilities as plain arrays; not where they come from, and not what is done with S. Without
ties S = (tau + 1) / 2 for Kendall's tau between ability and minus loss. A score of 1 says that every better
model of *these* models compresses the document better: it is relative to the models and the benchmark, and
no probability of quality.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.data.preselect.errors import SaturationWarning
from firsthand.errors import InputError

__all__ = [
    "EstimatorComparison",
    "LevelHistogram",
    "PairAgreement",
    "ability_pairs",
    "compare_estimators",
    "level_histogram",
    "predictive_strength",
]

Ties = Literal["zero", "half"]
Floats = NDArray[np.float64]

_BLOCK = 8192  # documents at once: the columns of a block stay in the second-level cache
_log = logging.getLogger("firsthand")


@dataclass(frozen=True)
class PairAgreement:
    """For every pair that counts: the weaker and the stronger model, and how many documents agree."""

    weaker: NDArray[np.intp]  # (Z,) column of the model with the lower ability
    stronger: NDArray[np.intp]  # (Z,)
    agreement: Floats  # (Z,) share of the documents with a strength that agree; NaN where there is none


def ability_pairs(ability: ArrayLike, min_gap: float = 0.0) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pairs that count: (weaker, stronger) columns, (Z,) each.

    Two models of equal ability make no pair, and neither do two whose abilities differ by less than
    `min_gap` (give the benchmark's standard error of a difference: below it the order is a coin flip).

    Raises:
        InputError: not one-dimensional, not finite, fewer than 3 distinct abilities, or no pair left.
    """
    s = np.asarray(ability, dtype=np.float64)
    if s.ndim != 1:
        raise InputError(f"ability must have one dimension, a number a model; its shape is {s.shape}")
    if not np.isfinite(s).all():
        raise InputError(f"ability must be finite, got {s.tolist()}")
    if not min_gap >= 0:
        raise InputError(f"min_gap must be at least 0, got {min_gap}")
    distinct = np.unique(s).size
    if distinct < 3:
        raise InputError(
            f"predictive strength needs at least 3 models with distinct ability; there are {s.size} models "
            f"with {distinct} distinct: {s.tolist()}"
        )
    order = np.argsort(s, kind="stable")
    i, j = np.triu_indices(s.size, k=1)
    weaker, stronger = order[i], order[j]
    gap = s[stronger] - s[weaker]
    counts = (gap > 0) & (gap >= min_gap)
    if not counts.any():
        raise InputError(f"no two abilities differ by min_gap={min_gap}: {np.sort(s).tolist()}")
    return weaker[counts], stronger[counts]


def check_losses(losses: ArrayLike, n_models: int) -> Floats:
    """(D, N) float64: positive, NaN where a loss is missing; raises `InputError` for anything else."""
    c = np.asarray(losses, dtype=np.float64)
    if c.ndim != 2 or c.shape[1] != n_models:
        raise InputError(
            f"losses have shape {c.shape} and ability has shape ({n_models},): losses must be (documents, "
            "models), with one ability a column"
        )
    if np.isinf(c).any():
        d, m = np.argwhere(np.isinf(c))[0]
        raise InputError(f"the loss of document {d} under model {m} is infinite; use NaN for a missing one")
    if (c <= 0).any():
        d, m = np.argwhere(c <= 0)[0]
        raise InputError(f"the loss of document {d} under model {m} is {c[d, m]}; a loss is above 0")
    return c


@overload
def predictive_strength(
    losses: ArrayLike,
    ability: ArrayLike,
    *,
    ties: Ties = ...,
    min_gap: float = ...,
    return_pairs: Literal[False] = ...,
) -> Floats: ...


@overload
def predictive_strength(
    losses: ArrayLike,
    ability: ArrayLike,
    *,
    ties: Ties = ...,
    min_gap: float = ...,
    return_pairs: Literal[True],
) -> tuple[Floats, PairAgreement]: ...


def predictive_strength(
    losses: ArrayLike,
    ability: ArrayLike,
    *,
    ties: Ties = "zero",
    min_gap: float = 0.0,
    return_pairs: bool = False,
) -> Floats | tuple[Floats, PairAgreement]:
    """S(d) of each document, in [0, 1].

    Args:
        losses: (D, N), any unit that is the same for all models of one document; NaN = missing.
        ability: (N,), higher is better.
        ties: what two equal losses are worth: "zero" (strict, as in the official code) or "half".
        min_gap: pairs of models closer than this in ability are left out, of numerator and Z.
        return_pairs: also return the agreement of every pair over all documents.

    Returns:
        (D,) float64, NaN for a document that lacks a loss from any model; exactly 1.0 where all pairs
        agree. With `return_pairs`, a tuple with a `PairAgreement`.

    Raises:
        InputError: shapes that do not match, a loss that is infinite or not positive, fewer than 3 models
            with distinct ability.
    """
    if ties not in ("zero", "half"):
        raise InputError(f"ties must be 'zero' or 'half', not {ties!r}")
    weaker, stronger = ability_pairs(ability, min_gap)
    c = check_losses(losses, np.asarray(ability).size)
    n_pairs = weaker.size
    # Whole numbers are counted (twice the credit where halves occur), so that levels are exact.
    unit = 2 if ties == "half" else 1
    most = unit * n_pairs
    counter: type[np.unsignedinteger[Any]] = (
        np.uint8 if most < 1 << 8 else np.uint16 if most < 1 << 16 else np.uint32
    )
    missing: NDArray[np.bool_] = np.zeros(c.shape[0], dtype=bool)
    strength = np.empty(c.shape[0])
    agree = np.zeros(n_pairs, dtype=np.int64)
    for start in range(0, c.shape[0], _BLOCK):
        block = np.ascontiguousarray(c[start : start + _BLOCK].T)  # (N, B): a model's losses lie together
        missing[start : start + _BLOCK] = np.isnan(block).any(axis=0)
        whole = ~missing[start : start + _BLOCK]
        count: NDArray[Any] = np.zeros(block.shape[1], dtype=counter)
        hit = np.empty(block.shape[1], dtype=bool)
        as_number = hit.view(np.uint8)  # adding booleans would convert them first
        for pair, (i, j) in enumerate(zip(weaker, stronger, strict=True)):
            np.greater(block[i], block[j], out=hit)
            count += as_number
            if return_pairs:
                agree[pair] += np.count_nonzero(hit & whole)
            if unit == 2:
                np.greater_equal(block[i], block[j], out=hit)
                count += as_number  # a strict win counts in both lines, a tie in one
        strength[start : start + _BLOCK] = count / (unit * n_pairs)
    strength[missing] = np.nan
    n_missing = int(missing.sum())
    if n_missing:
        _log.info(
            "%d of %d documents lack a loss from some model; their strength is NaN", n_missing, c.shape[0]
        )
    if not return_pairs:
        return strength
    n_whole = c.shape[0] - n_missing
    share = agree / n_whole if n_whole else np.full(n_pairs, np.nan)
    return strength, PairAgreement(weaker, stronger, share)


@dataclass(frozen=True)
class LevelHistogram:
    """How many documents sit on each level k/Z that occurs, overall and per source."""

    levels: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int
    by_source: dict[str, tuple[int, ...]]

    @property
    def total(self) -> int:
        """Documents with a strength."""
        return sum(self.counts)

    @property
    def largest_share(self) -> float:
        """Share of the documents on the fullest level; 0 where there is none."""
        return max(self.counts) / self.total if self.total else 0.0

    def lines(self) -> list[str]:
        """The histogram as text, a line a level."""
        total = max(self.total, 1)
        rows = [f"S = {s:.3f}: {n} ({n / total:.0%})" for s, n in zip(self.levels, self.counts, strict=True)]
        return rows + ([f"no strength: {self.missing}"] if self.missing else [])


def level_histogram(
    strength: ArrayLike, sources: Sequence[str] | None = None, *, warn_above: float = 0.6
) -> LevelHistogram:
    """Count documents per level of S, overall and per source.

    Args:
        strength: (D,), NaN where a document has none.
        sources: (D,) names to count by, such as web domains or files.
        warn_above: the share of documents on one level above which a `SaturationWarning` is given: models
            nested on one data mix, or a pool of duplicates, push nearly every document to S = 1.
    """
    s = np.asarray(strength, dtype=np.float64)
    if s.ndim != 1:
        raise InputError(f"strength must have one dimension, its shape is {s.shape}")
    if sources is not None and len(sources) != s.size:
        raise InputError(f"there are {s.size} strengths and {len(sources)} sources")
    there = ~np.isnan(s)
    levels, place, counts = np.unique(s[there], return_inverse=True, return_counts=True)
    by_source: dict[str, tuple[int, ...]] = {}
    if sources is not None:
        names, which = np.unique(np.asarray(sources, dtype=object)[there], return_inverse=True)
        table = np.bincount(which * levels.size + place, minlength=names.size * levels.size)
        by_source = {
            str(name): tuple(row)
            for name, row in zip(names, table.reshape(names.size, levels.size).tolist(), strict=True)
        }
    histogram = LevelHistogram(
        tuple(levels.tolist()), tuple(int(n) for n in counts), int((~there).sum()), by_source
    )
    if histogram.largest_share > warn_above:
        fullest = histogram.levels[int(np.argmax(histogram.counts))]
        warnings.warn(
            f"{histogram.largest_share:.0%} of the documents sit on one level (S = {fullest:.3f}): the "
            "reference models are too alike, or the documents are; the selection will follow that "
            "and not the benchmark",
            SaturationWarning,
            stacklevel=2,
        )
    return histogram


@dataclass(frozen=True)
class EstimatorComparison:
    """Three estimators on the same losses, and how far they rank documents alike.

    `rank_agreement` holds Spearman's rho over documents for each two names of "strength", "spearman", "sign";
    `top_overlap` the share of the top quarter by the first that is in the top quarter by the second.
    """

    strength: Floats  # (D,)
    spearman: Floats  # (D,) rank correlation of ability and minus loss, in [-1, 1]
    sign: Floats  # (D,) mean over pairs of sign(s_j - s_i) (C_i - C_j): outliers of C count in full
    rank_agreement: dict[tuple[str, str], float]
    top_overlap: dict[tuple[str, str], float]

    def as_dict(self) -> dict[str, dict[str, float | None]]:
        """The two comparisons, "first/second" -> figure, for a report; None where there is none."""
        return {
            name: {"/".join(pair): None if math.isnan(value) else value for pair, value in figures.items()}
            for name, figures in (("rank_agreement", self.rank_agreement), ("top_overlap", self.top_overlap))
        }


def compare_estimators(
    losses: ArrayLike, ability: ArrayLike, *, ties: Ties = "zero", min_gap: float = 0.0
) -> EstimatorComparison:
    """Does the choice of estimator change which documents come first?

    Compares S with the estimators "spearmanr" and "sign" of Thrush et al. (arXiv 2409.05816). The sign
    estimator depends on the unit of the losses: give bits per character.

    Args:
        losses: (D, N), NaN = missing; such documents are NaN in all three.
        ability: (N,).
        ties: as in `predictive_strength`.
        min_gap: pairs of models closer than this in ability are left out of strength and sign; Spearman's
            estimator has no pairs and is as without.

    Raises:
        InputError: as in `predictive_strength`.
    """
    from scipy.stats import rankdata

    s = np.asarray(ability, dtype=np.float64)
    strength = predictive_strength(losses, s, ties=ties, min_gap=min_gap)
    c = check_losses(losses, s.size)
    there = ~np.isnan(strength)
    weaker, stronger = ability_pairs(s, min_gap)
    z_all = s.size * (s.size - 1) / 2

    spearman = np.full(c.shape[0], np.nan)
    sign = np.full(c.shape[0], np.nan)
    if there.any():
        x = rankdata(-c[there], axis=1)
        y = rankdata(s)
        x = x - x.mean(axis=1, keepdims=True)
        y = y - y.mean()
        scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum())
        spearman[there] = np.divide(x @ y, scale, out=np.zeros_like(scale), where=scale > 0)
        sign[there] = (c[there][:, weaker] - c[there][:, stronger]).sum(axis=1) / z_all

    values = {"strength": strength[there], "spearman": spearman[there], "sign": sign[there]}
    agreement: dict[tuple[str, str], float] = {}
    overlap: dict[tuple[str, str], float] = {}
    names = list(values)
    for at, first in enumerate(names):
        for second in names[at + 1 :]:
            agreement[first, second] = _rank_correlation(values[first], values[second])
            overlap[first, second] = _top_overlap(values[first], values[second])
    return EstimatorComparison(strength, spearman, sign, agreement, overlap)


def _rank_correlation(a: Floats, b: Floats) -> float:
    from scipy.stats import rankdata

    x, y = rankdata(a), rankdata(b)
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _top_overlap(a: Floats, b: Floats) -> float:
    """Ties at the border are shared out: every document of the border level counts in part."""
    quarter = a.size / 4
    if quarter == 0:
        return float("nan")

    def weight(v: Floats) -> Floats:
        _, place, counts = np.unique(-v, return_inverse=True, return_counts=True)
        before = np.concatenate(([0], np.cumsum(counts)[:-1]))
        return np.clip((quarter - before) / counts, 0, 1)[place]

    return float(np.minimum(weight(a), weight(b)).sum() / quarter)
