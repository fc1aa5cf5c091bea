"""Answering only where one is certain: how much risk is left at which coverage.

Answers are taken from the most certain on. Of the first k of n

    coverage_k = k / n,   risk_k = errors among them / k,   AURC = mean of risk_k over k = 1 … n
    PRR = (AURC_random − AURC) / (AURC_random − AURC_oracle)

A random order has AURC = error rate; the oracle takes all right answers first. Tied rows come in no order: each k
inside a tie has the risk expected over all of them, so that the order of rows changes nothing.

Knows `error` and u as arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.discrimination import check_both_classes
from firsthand.evaluation.uncertainty.estimates import Flags, Floats, as_flags, as_scores, check_level

__all__ = [
    "Aurc",
    "RiskCoverage",
    "Threshold",
    "aurc",
    "prr",
    "risk_coverage",
    "threshold_for_risk",
]


@dataclass(frozen=True)
class RiskCoverage:
    """A risk-coverage curve; all arrays (n,), from the most certain answer on."""

    coverage: Floats  # k / n
    risk: Floats
    threshold: Floats  # the largest u that is answered at this coverage

    @property
    def area(self) -> float:
        """AURC."""
        return float(self.risk.mean())


@dataclass(frozen=True)
class Aurc:
    """The area under a risk-coverage curve, with those of the best order and of a random one."""

    value: float
    oracle: float
    random: float


@dataclass(frozen=True)
class Threshold:
    """Answer where u <= `u`. Where not even the most certain answers are safe enough: u −inf, coverage 0, risk NaN."""

    u: float
    coverage: float
    risk: float  # among the answers that were given
    bound: float  # upper bound of the risk of further questions; NaN where none was asked for


def risk_coverage(error: ArrayLike, u: ArrayLike) -> RiskCoverage:
    """The curve of risk over coverage.

    Args:
        error: (n,) true where the answer is wrong.
        u: (n,) uncertainty, higher is less certain.

    Raises:
        InputError, EmptyGroup, NonFiniteScores: arrays that cannot be used.
    """
    flags, scores = _both(error, u)
    values, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    errors = np.bincount(place, flags)
    # Inside a tie errors come at the tie's own rate.
    wrong = np.cumsum(np.repeat(errors / count, count))
    k = np.arange(1, flags.size + 1)
    return RiskCoverage(k / flags.size, np.minimum(wrong / k, 1.0), np.repeat(values, count))


def aurc(error: ArrayLike, u: ArrayLike) -> Aurc:
    """AURC beside what the best and a random order would have; lower is better.

    Raises:
        InputError, EmptyGroup, NonFiniteScores: arrays that cannot be used.
    """
    flags, scores = _both(error, u)
    return Aurc(
        risk_coverage(flags, scores).area,
        risk_coverage(flags, flags.astype(np.float64)).area,
        float(flags.mean()),
    )


def prr(error: ArrayLike, u: ArrayLike) -> float:
    """Prediction rejection ratio: 1 for the oracle's order, 0 for a random one, below 0 for a worse one.

    Raises:
        SingleClassError: all right or all wrong, where every order is the oracle's.
        InputError, EmptyGroup, NonFiniteScores: arrays that cannot be used.
    """
    flags, scores = _both(error, u)
    check_both_classes(flags)
    found = aurc(flags, scores)
    return (found.random - found.value) / (found.random - found.oracle)


def threshold_for_risk(
    error: ArrayLike, u: ArrayLike, target: float, *, level: float | None = None
) -> Threshold:
    """The threshold of u that answers most while the risk is at most `target`.

    Without `level` the risk is that of the rows given, on which the threshold was chosen: on further questions it tends
    to be higher. With `level` the threshold is safe on further questions of the same kind with that probability: every
    distinct value of u is a candidate, and its risk's Clopper-Pearson bound at 1 − (1 − level) / candidates must be at
    most `target`.

    Args:
        error: (n,) true where the answer is wrong.
        u: (n,) uncertainty, higher is less certain.
        target: risk, from 0 to below 1.
        level: None, or between 0 and 1.

    Raises:
        InputError: a target or level out of range, or arrays that cannot be used.
        EmptyGroup, NonFiniteScores: arrays that cannot be used.
    """
    if isinstance(target, bool) or not isinstance(target, int | float) or not 0 <= target < 1:
        raise InputError(f"target must be a risk from 0 to below 1, got {target!r}")
    flags, scores = _both(error, u)
    values, place = np.unique(scores, return_inverse=True)
    wrong = np.cumsum(np.bincount(place, flags)).round()
    taken = np.cumsum(np.bincount(place))
    risk, bound = wrong / taken, np.full(values.size, math.nan)
    if level is not None:
        from scipy.special import betaincinv

        miss = (1 - check_level(level)) / values.size
        every = wrong == taken
        bound = np.where(every, 1.0, betaincinv(wrong + 1, np.where(every, 1, taken - wrong), 1 - miss))
    safe = np.flatnonzero((risk if level is None else bound) <= target)
    if not safe.size:
        return Threshold(-math.inf, 0.0, math.nan, math.nan)
    last = safe[-1]
    return Threshold(
        float(values[last]), float(taken[last] / flags.size), float(risk[last]), float(bound[last])
    )


def _both(error: ArrayLike, u: ArrayLike) -> tuple[Flags, Floats]:
    flags = as_flags(error)
    return flags, as_scores(u, flags.size)
