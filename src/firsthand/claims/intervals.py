"""Intervals of the quantities that claims are about.

Every estimator here gives a function `level -> (low, high)`, so that a verdict can ask the same data at
95 % and at the level that Holm's procedure leaves. Knows numbers, not claims.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import CheckError

__all__ = [
    "Estimate",
    "bootstrap_estimate",
    "exact_mismatch_bound",
    "smallest_alpha",
    "t_estimate",
    "units_needed",
    "wilson_estimate",
]

Floats = NDArray[np.float64]
RESAMPLES = 9_999


@dataclass(frozen=True)
class Estimate:
    """A value with its interval at any confidence level, from `n` independent units."""

    value: float
    interval: Callable[[float], tuple[float, float]]
    n: int
    method: str
    spread: float = math.nan  # standard deviation over units, where that means something


def t_estimate(effects: Sequence[float]) -> Estimate:
    """The mean of per-unit effects with Student's t interval, mean ± t(n−1)·s/√n; needs n ≥ 3."""
    values = np.asarray(effects, dtype=np.float64)
    n = len(values)
    if n < 3:
        raise CheckError(f"a t interval needs at least 3 independent units, there are {n}")
    mean, spread = float(values.mean()), float(values.std(ddof=1))

    def interval(level: float) -> tuple[float, float]:
        half = _t_quantile(0.5 + level / 2, n - 1) * spread / math.sqrt(n)
        return mean - half, mean + half

    return Estimate(mean, interval, n, "t", spread)


def wilson_estimate(values: Sequence[float]) -> Estimate:
    """A proportion of independent items (values 0 or 1) with Wilson's score interval."""
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    if n == 0 or not np.isin(array, (0.0, 1.0)).all():
        raise CheckError("a proportion needs at least one item, and values of 0 and 1 only")
    share = float(array.mean())

    def interval(level: float) -> tuple[float, float]:
        from scipy.special import ndtri

        z = float(ndtri(0.5 + level / 2))
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        # At 0 and n successes the bound is the edge itself; rounding must not push it past.
        return (0.0 if share == 0 else middle - half), (1.0 if share == 1 else middle + half)

    return Estimate(share, interval, n, "Wilson", math.sqrt(share * (1 - share)))


def bootstrap_estimate(
    clusters: Sequence[object],
    statistic: Callable[[Sequence[object]], float],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Any statistic of a sample with the bias-corrected and accelerated bootstrap over its clusters.

    `statistic` takes a list of clusters (each may hold both arms, so that they are resampled jointly) and
    returns a number. Needs 30 clusters or more; below that the interval's coverage is not what it says.
    """
    n = len(clusters)
    if n < 30:
        raise CheckError(f"a bootstrap interval needs at least 30 independent clusters, there are {n}")
    value = float(statistic(clusters))
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, n, size=(resamples, n))
    replicates = np.sort(
        np.array([statistic([clusters[i] for i in draw]) for draw in draws], dtype=np.float64)
    )
    left_out = np.array([statistic([*clusters[:i], *clusters[i + 1 :]]) for i in range(n)], dtype=np.float64)
    if not (math.isfinite(value) and np.isfinite(replicates).all() and np.isfinite(left_out).all()):
        raise CheckError("the statistic is not defined on some resample (an arm or a class ran empty)")
    from scipy.special import ndtr, ndtri

    below = (np.sum(replicates < value) + 0.5 * np.sum(replicates == value)) / resamples
    bias = float(ndtri(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples)))
    centred = left_out.mean() - left_out
    scale = float(np.sum(centred**2)) ** 1.5
    acceleration = float(np.sum(centred**3)) / (6 * scale) if scale > 0 else 0.0

    def interval(level: float) -> tuple[float, float]:
        ends = []
        for tail in ((1 - level) / 2, (1 + level) / 2):
            z = bias + float(ndtri(tail))
            adjusted = float(ndtr(bias + z / (1 - acceleration * z)))
            ends.append(float(np.quantile(replicates, adjusted)))
        return min(ends), max(ends)

    return Estimate(value, interval, n, "BCa bootstrap", float(replicates.std(ddof=1)) * math.sqrt(n))


def exact_mismatch_bound(n: int) -> float:
    """95 % upper bound on a mismatch rate after n agreements and no mismatch: 1 − 0.05^(1/n)."""
    if n < 1:
        raise CheckError("an exact claim needs observations")
    return float(-np.expm1(math.log(0.05) / n))


def smallest_alpha(
    interval: Callable[[float], tuple[float, float]], decided: Callable[[float, float], bool]
) -> float:
    """The smallest α at which the whole (1 − α) interval lies where `decided(low, high)` is true.

    This is the two-sided p value of "the effect lies there". 1 where not even the point estimate does.
    """
    if not decided(*interval(0.0)):
        return 1.0
    low, high = math.log(1e-12), 0.0  # intervals shrink as alpha grows: bisect over log alpha
    if decided(*interval(1 - math.exp(low))):
        return math.exp(low)
    for _ in range(60):
        middle = (low + high) / 2
        if decided(*interval(-math.expm1(middle))):
            high = middle
        else:
            low = middle
    return math.exp(high)


def units_needed(spread: float, distance: float, *, level: float = 0.95, most: int = 1_000_000) -> int | None:
    """The number of units at which the t half-width falls below `distance`, the spread staying as it is."""
    if not (distance > 0 and math.isfinite(spread)):
        return None

    def narrow(n: int) -> bool:
        return _t_quantile(0.5 + level / 2, n - 1) * spread / math.sqrt(n) <= distance

    high = 3
    while not narrow(high):
        high *= 2
        if high > most:
            return None
    low = max(3, high // 2)
    while low < high:  # the half-width falls as n grows
        middle = (low + high) // 2
        low, high = (low, middle) if narrow(middle) else (middle + 1, high)
    return high


def _t_quantile(probability: float, degrees: int) -> float:
    from scipy.special import stdtrit

    if probability >= 1:
        return math.inf
    return float(stdtrit(degrees, probability))
