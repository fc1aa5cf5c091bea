"""Whether a confidence of 0.8 is right four times in five (arXiv 2503.01688, section 4): errors of calibration.

    ECE = Σ_b (n_b / n) |mean confidence_b − accuracy_b|,   b = (k/B, (k+1)/B], and 0 in the first
    Brier = mean (confidence − correct)²

Confidences are in [0, 1], higher is more certain; `correct` is true where the answer is right. `recalibration` mends
what this module measures.

Knows confidences and right answers as arrays. Knows no table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.claims.intervals import wilson_estimate
from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.estimates import Flags, Floats, as_flags, as_scores, check_level

__all__ = [
    "ReliabilityBin",
    "as_confidences",
    "brier",
    "ece",
    "max_normalised_confidence",
    "option_confidence",
    "reliability_table",
]


@dataclass(frozen=True)
class ReliabilityBin:
    """The answers whose confidence is in (low, high], in [low, high] for the first bin."""

    low: float
    high: float
    n: int  # above 0: empty bins are left out
    confidence: float  # mean
    accuracy: float
    accuracy_low: float  # Wilson's interval
    accuracy_high: float

    @property
    def gap(self) -> float:
        """Confidence less accuracy: above 0 is overconfident."""
        return self.confidence - self.accuracy


def ece(confidence: ArrayLike, correct: ArrayLike, bins: int = 10, adaptive: bool = False) -> float:
    """Expected calibration error, 0 to 1.

    Args:
        confidence: (n,) in [0, 1].
        correct: (n,) true where the answer is right.
        bins: how many; the paper does not say its number.
        adaptive: bins of equal number of answers rather than of equal width; equal confidences stay in one bin.

    Raises:
        InputError: a confidence outside [0, 1], or another argument that cannot be.
        EmptyGroup, NonFiniteScores: arrays that cannot be used.
    """
    values, right = _both(confidence, correct)
    _, place = _binned(values, bins, adaptive)
    gaps = np.bincount(place, values - right)  # n_b (confidence_b − accuracy_b)
    return float(np.abs(gaps).sum() / values.size)


def brier(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Mean squared distance of the confidence from 1 for right and 0 for wrong answers; 0 to 1.

    Raises:
        InputError, EmptyGroup, NonFiniteScores: see `ece`.
    """
    values, right = _both(confidence, correct)
    return float(np.mean((values - right) ** 2))


def reliability_table(
    confidence: ArrayLike,
    correct: ArrayLike,
    bins: int = 10,
    adaptive: bool = False,
    *,
    level: float = 0.95,
) -> tuple[ReliabilityBin, ...]:
    """What a reliability diagram shows, a row a bin that is not empty, from the least confident.

    Raises:
        InputError, EmptyGroup, NonFiniteScores: see `ece`.
    """
    level = check_level(level)
    values, right = _both(confidence, correct)
    edges, place = _binned(values, bins, adaptive)
    rows = []
    for number in np.unique(place).tolist():
        inside = place == number
        share = wilson_estimate(right[inside].astype(np.float64).tolist())
        rows.append(
            ReliabilityBin(
                float(edges[number]),
                float(edges[number + 1]),
                int(inside.sum()),
                float(values[inside].mean()),
                share.value,
                *share.interval(level),
            )
        )
    return tuple(rows)


def option_confidence(u: ArrayLike, options: ArrayLike) -> Floats:
    """(n,) confidence 1 − H / ln K from the entropy over a question's K options; it depends on no other question.

    Args:
        u: (n,) entropy over the options, in nats, 0 to ln K.
        options: K, one number for all or (n,), at least 2.

    Raises:
        InputError: K below 2, or an entropy outside [0, ln K].
        EmptyGroup, NonFiniteScores: arrays that cannot be used.
    """
    scores = as_scores(u, what="entropies")
    counts = np.asarray(options)
    if counts.dtype.kind not in "iu" or counts.shape not in ((), scores.shape):
        raise InputError(f"options must be one whole number, or one for each of {scores.size} entropies")
    if (counts < 2).any():
        raise InputError(f"a question has at least 2 options, got {counts.min()}")
    found = 1 - scores / np.log(counts)
    wrong = np.flatnonzero((found < -1e-6) | (found > 1 + 1e-6))
    if wrong.size:
        row = int(wrong[0])
        most = math.log(int(np.broadcast_to(counts, scores.shape)[row]))
        raise InputError(
            f"row {row}: an entropy of {scores[row]:.6g} is outside 0 to ln K = {most:.6g}; it must be over the "
            "options alone, in nats"
        )
    return np.asarray(np.clip(found, 0.0, 1.0))


def max_normalised_confidence(u: ArrayLike) -> Floats:
    """(n,) confidence 1 − u_i / max_j u_j: the paper's, for reproduction only.

    The maximum is of the very answers that are judged, so one outlier changes every confidence and the ECEs of two
    models, or of two samples of one model, cannot be compared. `option_confidence` has no such flaw.

    Raises:
        InputError: an entropy below 0, or none above 0.
        EmptyGroup, NonFiniteScores: arrays that cannot be used.
    """
    scores = as_scores(u, what="entropies")
    if (scores < 0).any():
        raise InputError(f"row {int(np.argmax(scores < 0))}: an entropy of {scores.min():.6g} is below 0")
    most = scores.max()
    if most == 0:
        raise InputError("all entropies are 0: there is no maximum to divide by")
    return np.asarray(1 - scores / most)


def as_confidences(values: ArrayLike, n: int | None = None) -> Floats:
    """(n,) numbers in [0, 1].

    Raises:
        InputError: a number outside; the message names its row.
        EmptyGroup, NonFiniteScores: arrays that cannot be used.
    """
    found = as_scores(values, n, "confidences")
    wrong = np.flatnonzero((found < 0) | (found > 1))
    if wrong.size:
        raise InputError(f"confidences are between 0 and 1; row {wrong[0]} is {found[wrong[0]]:.6g}")
    return found


def _both(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, Flags]:
    right = as_flags(correct, "correct")
    return as_confidences(confidence, right.size), right


def _binned(values: Floats, bins: int, adaptive: bool) -> tuple[Floats, NDArray[np.intp]]:
    """(bins + 1,) edges and (n,) the bin of each: the first whose upper edge is not below it."""
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise InputError(f"bins must be a whole number of at least 1, got {bins!r}")
    if adaptive:
        ordered = np.sort(values)
        last = np.arange(1, bins + 1) * values.size // bins - 1
        edges = np.unique(np.r_[ordered[last[last >= 0]]])
        edges = np.r_[ordered[0], edges]
    else:
        edges = np.arange(bins + 1) / bins  # k/bins rounded once: 0.3 is an edge, not 0.30000000000000004
    return edges, np.searchsorted(edges[1:], values, side="left")
