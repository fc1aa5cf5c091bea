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
    "ALPHA",
    "Estimate",
    "UndecidedError",
    "bootstrap_estimate",
    "exact_mismatch_bound",
    "smallest_alpha",
    "t_estimate",
    "units_needed",
    "wilson_estimate",
    "wilson_units_needed",
]

Floats = NDArray[np.float64]
RESAMPLES = 9_999
ALPHA = 0.05  # the level at which one clause is judged and every interval is shown


class UndecidedError(CheckError):
    """The observations are in order, but no interval can be had from them.

    A clause that meets it is inconclusive and says why; other errors of a check are misuse and end it.
    """


@dataclass(frozen=True)
class Estimate:
    """A value with its interval at any confidence level, from `n` independent units."""

    value: float
    interval: Callable[[float], tuple[float, float]]
    n: int
    method: str
    spread: float = math.nan  # standard deviation over units, where that means something
    extent: float = math.nan  # largest minus smallest unit effect or replicate, where that means something
    finest: float = 1e-12  # the smallest α that the interval resolves


def t_estimate(effects: Sequence[float]) -> Estimate:
    """The mean of per-unit effects with Student's t interval, mean ± t(n−1)·s/√n.

    Raises:
        UndecidedError: fewer than 3 units.
    """
    values = np.asarray(effects, dtype=np.float64)
    n = len(values)
    if n < 3:
        raise UndecidedError(f"a t interval needs at least 3 independent units, there are {n}")
    mean, spread = float(values.mean()), float(values.std(ddof=1))

    def interval(level: float) -> tuple[float, float]:
        half = _t_quantile(0.5 + level / 2, n - 1) * spread / math.sqrt(n)
        return mean - half, mean + half

    return Estimate(mean, interval, n, "t", spread, extent=float(np.ptp(values)))


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
        if math.isinf(z):
            return 0.0, 1.0
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

    Raises:
        UndecidedError: fewer than 30 clusters, or the statistic is not defined on some resample. What
            `statistic` raises on the whole sample passes through as it is.
    """
    n = len(clusters)
    value = float(statistic(clusters)) if n else math.nan
    if n < 30:
        raise UndecidedError(f"a bootstrap interval needs at least 30 independent clusters, there are {n}")

    def replicate(chosen: Sequence[object]) -> float:
        try:
            return statistic(chosen)
        except CheckError as error:
            raise UndecidedError(f"the statistic is not defined on some resample: {error}") from error

    rng = np.random.default_rng(seed)
    draws = rng.integers(0, n, size=(resamples, n))
    replicates = np.sort(
        np.array([replicate([clusters[i] for i in draw]) for draw in draws], dtype=np.float64)
    )
    left_out = np.array([replicate([*clusters[:i], *clusters[i + 1 :]]) for i in range(n)], dtype=np.float64)
    if not (math.isfinite(value) and np.isfinite(replicates).all() and np.isfinite(left_out).all()):
        raise UndecidedError("the statistic is not defined on some resample (an arm or a class ran empty)")
    from scipy.special import ndtr, ndtri

    below = (np.sum(replicates < value) + 0.5 * np.sum(replicates == value)) / resamples
    bias = float(ndtri(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples)))
    centred = left_out.mean() - left_out
    scale = float(np.sum(centred**2)) ** 1.5
    acceleration = float(np.sum(centred**3)) / (6 * scale) if scale > 0 else 0.0

    def end(tail: float, extreme: float) -> float:
        z = bias + float(ndtri(tail))
        room = 1 - acceleration * z
        # Past room = 0 the formula comes back from the other side; the tail has reached its extreme there.
        share = float(ndtr(bias + z / room)) if room > 0 else extreme
        return float(np.quantile(replicates, share))

    def interval(level: float) -> tuple[float, float]:
        if level >= 1:
            return float(replicates[0]), float(replicates[-1])
        return end((1 - level) / 2, 0.0), end((1 + level) / 2, 1.0)

    return Estimate(
        value,
        interval,
        n,
        "BCa bootstrap",
        float(replicates.std(ddof=1)) * math.sqrt(n),
        extent=float(replicates[-1] - replicates[0]),
        finest=2 / (resamples + 1),  # two-sided: what lies beyond the outermost replicate is not resolved
    )


def exact_mismatch_bound(n: int) -> float:
    """95 % upper bound on a mismatch rate after n agreements and no mismatch: 1 − 0.05^(1/n)."""
    if n < 1:
        raise CheckError("an exact claim needs observations")
    return float(-np.expm1(math.log(0.05) / n))


def smallest_alpha(
    interval: Callable[[float], tuple[float, float]],
    decided: Callable[[float, float], bool],
    *,
    finest: float = 1e-12,
) -> float:
    """The smallest α at which the whole (1 − α) interval lies where `decided(low, high)` is true.

    This is the two-sided p value of "the effect lies there", never below `finest`; 1 where not even the
    interval of level 0 lies there. It is at most 0.05 exactly when the 95 % interval is decided, so that a
    verdict and its p value cannot disagree.
    """
    shown = decided(*interval(1 - ALPHA))
    if shown:
        low, high = math.log(min(finest, ALPHA)), math.log(ALPHA)
        if decided(*interval(1 - math.exp(low))):
            return math.exp(low)
    elif decided(*interval(0.0)):
        low, high = math.log(ALPHA), 0.0
    else:
        return 1.0
    for _ in range(60):  # intervals shrink as alpha grows: bisect over log alpha
        middle = (low + high) / 2
        if decided(*interval(-math.expm1(middle))):
            high = middle
        else:
            low = middle
    alpha = math.exp(high)
    return min(alpha, ALPHA) if shown else max(alpha, math.nextafter(ALPHA, 1))


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


def wilson_units_needed(share: float, margin: float, *, level: float = 0.95) -> int | None:
    """The number of items at which Wilson's interval of `share` would leave out `margin`; None: at no number.

    Wilson's interval inverts the score test, so it leaves out `margin` where
    |share − margin| > z·√(margin·(1 − margin)/n).
    """
    from scipy.special import ndtri

    distance = abs(share - margin)
    if not (distance > 0 and 0 < margin < 1):
        return None
    z = float(ndtri(0.5 + level / 2))
    return math.floor((z / distance) ** 2 * margin * (1 - margin)) + 1


def _t_quantile(probability: float, degrees: int) -> float:
    from scipy.special import stdtrit

    if probability >= 1:
        return math.inf
    return float(stdtrit(degrees, probability))
