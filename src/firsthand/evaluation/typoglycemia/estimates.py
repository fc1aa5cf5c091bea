"""What a table of scores gives: effects, slopes, shares of variance, each with an interval over words.

The unit is the word: texts with one word are averaged before words are (118 words stand behind the 380 texts of the
paper's published results), and words are drawn again. Every comparison is within an item.

    effect          mean over words of cos(level one) − cos(level other), the same items in both
    dose slope      Σ_w mean_i Σ (x − x̄_i)(cos − cos̄_i) / Σ_w mean_i Σ (x − x̄_i)²       x: realised dose
    R of a dose     (s − floor) / (ceiling − floor), each averaged over words first; R at dose 0 is 1
    zero dose       where R, drawn straight from dose to dose, first comes down to 0; inf if it never does
    shares          SS of SR, of CI and of items over the SS in all, on a complete grid

R is a ratio of means, not a mean of ratios: an item whose ceiling happens to be near its floor would drown the others.
Intervals are those of `firsthand.claims` (BCa, 30 words at least); the zero dose, which may be inf, has a percentile
interval.

Knows a table of scores. Knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from firsthand.claims.intervals import UndecidedError
from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.resampling import WordEstimate, by_word, over_words, resampled_means
from firsthand.evaluation.typoglycemia.scores import Arm, Grid, Scores, as_scores
from firsthand.evaluation.typoglycemia.similarity import rescaled_score

__all__ = [
    "DoseScore",
    "VarianceShares",
    "context_over_form",
    "dose_slope",
    "effect",
    "rescaled_by_dose",
    "rescaled_slope",
    "variance_shares",
    "zero_dose",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DoseScore:
    """Means over words at one nominal dose. R is NaN where the ceiling is not above the floor."""

    sr: float
    realised: float
    score: float
    floor: float
    ceiling: float
    rescaled: float


@dataclass(frozen=True)
class VarianceShares:
    """Shares of the sum of squares; they add up to 1."""

    sr: float
    ci: float
    item: float
    rest: float


def effect(
    scores: Any,
    *,
    by: Literal["sr", "ci"],
    one: float,
    other: float,
    at: Sequence[float] | None = None,
    arm: Arm = "scramble",
    layer: int = -1,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> WordEstimate:
    """Mean paired difference of SemRecScore, at level `one` minus at level `other`.

    Args:
        scores: what `as_scores` reads.
        by: which factor the two levels are of.
        one, other: the levels.
        at: levels of the other factor to average over; None for all.
        arm, layer: see `Scores.grid`.
        n_boot: draws of the bootstrap.
        seed: of the draws.
        level: of the interval.

    Raises:
        InputError: levels that are missing for an item, or an argument that cannot be.
        UndecidedError: fewer than 30 words.
    """
    if by not in ("sr", "ci"):
        raise InputError(f"by must be one of sr, ci, got {by!r}")
    if one == other:
        raise InputError(f"the two levels must differ, got {one!r} twice")
    table = as_scores(scores)
    if by == "sr":
        cos = table.grid(arm, layer=layer, srs=(one, other), cis=at).cos.mean(2)  # (items, 2)
    else:
        cos = table.grid(arm, layer=layer, srs=at, cis=(one, other)).cos.mean(1)
    words = by_word(table.words, cos[:, 0] - cos[:, 1])
    return over_words(words, lambda mean: float(mean), n_boot, seed, level)


def dose_slope(
    scores: Any,
    *,
    ci: float = 1.0,
    srs: Sequence[float] | None = None,
    arm: Arm = "scramble",
    layer: int = -1,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> WordEstimate:
    """Slope of SemRecScore on the realised dose within items: the change from dose 0 to dose 1.

    Args:
        scores: what `as_scores` reads.
        ci: the context.
        srs: nominal doses to use; None for all.
        arm, layer: see `Scores.grid`.
        n_boot, seed, level: see `effect`.

    Raises:
        InputError: no item has two realised doses, or what `effect` refuses.
        UndecidedError: fewer than 30 words, or a resample without a slope.
    """
    grid = as_scores(scores).grid(arm, layer=layer, srs=srs, cis=(ci,))
    x, y = grid.realised[:, :, 0], grid.cos[:, :, 0]  # (items, srs)
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    sums = np.stack([(x * y).sum(1), (x * x).sum(1)], axis=1)  # (items, 2)
    if sums[:, 1].sum() < 1e-12:
        raise InputError("a slope needs items with two realised doses; every item has one")
    return over_words(by_word(grid.words, sums), _quotient, n_boot, seed, level)


def rescaled_by_dose(
    scores: Any, *, ci: float = 1.0, srs: Sequence[float] | None = None, layer: int = -1
) -> tuple[DoseScore, ...]:
    """R at each nominal dose above 0, from the arms scramble, wrong_segment (floor) and segment (ceiling).

    Args:
        scores: what `as_scores` reads.
        ci: the context.
        srs: nominal doses; None for all above 0.
        layer: see `Scores.grid`.

    Raises:
        InputError: an item without one of the three arms at a dose.
    """
    levels, words = _three_arms(as_scores(scores), ci, srs, layer)
    score, floor, ceiling, realised = words.mean(0)
    rescaled = rescaled_score(score, floor, ceiling, undefined="nan")
    return tuple(
        DoseScore(sr, *map(float, row))
        for sr, row in zip(levels, zip(realised, score, floor, ceiling, rescaled, strict=True), strict=True)
    )


def rescaled_slope(
    scores: Any,
    *,
    ci: float = 1.0,
    srs: Sequence[float] | None = None,
    layer: int = -1,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> WordEstimate:
    """Least-squares slope of R on the mean realised dose, over the nominal doses above 0.

    Args:
        scores, ci, srs, layer: see `rescaled_by_dose`.
        n_boot, seed, level: see `effect`.

    Raises:
        InputError: fewer than two doses, a dose whose ceiling is not above its floor, or what `effect` refuses.
        UndecidedError: fewer than 30 words, or a resample in which R is not defined.
    """
    levels, words = _three_arms(as_scores(scores), ci, srs, layer)
    _check_defined(levels, words)
    if len(levels) < 2 or np.ptp(words.mean(0)[3]) < 1e-9:
        raise InputError(f"a slope of R needs two realised doses above 0; the nominal ones are {levels}")

    def slope(mean: Floats) -> float:  # (4, srs)
        x = mean[3] - mean[3].mean()
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(x @ rescaled_score(*mean[:3], undefined="nan") / (x @ x))

    return over_words(words, slope, n_boot, seed, level)


def zero_dose(
    scores: Any,
    *,
    ci: float = 1.0,
    srs: Sequence[float] | None = None,
    layer: int = -1,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> WordEstimate:
    """The realised dose at which R comes down to 0: where a scrambled word is no nearer than a wrong one.

    R is 1 at dose 0, where the word and its ceiling are the same, and is drawn straight between doses. A value or an
    end of inf says that R stays above 0 up to the largest dose.

    Args:
        scores, ci, srs, layer: see `rescaled_by_dose`.
        n_boot, seed, level: see `effect`; the interval is a percentile interval.

    Raises:
        InputError: a dose whose ceiling is not above its floor, or what `effect` refuses.
        UndecidedError: fewer than 30 words, or a resample in which R is not defined.
    """
    levels, words = _three_arms(as_scores(scores), ci, srs, layer)
    _check_defined(levels, words)
    means = resampled_means(words, n_boot=n_boot, seed=seed, level=level)  # (n_boot, 4, srs)
    doses = _first_zero(np.concatenate([words.mean(0)[None], means]))
    if np.isnan(doses).any():
        raise UndecidedError("R is not defined on some resample: its ceiling is not above its floor there")
    # Ends are replicates, not points between two: there is none between a number and inf.
    low = float(np.quantile(doses[1:], 0.5 - level / 2, method="lower"))
    high = float(np.quantile(doses[1:], 0.5 + level / 2, method="higher"))
    return WordEstimate(float(doses[0]), low, high, level, len(words), "percentile bootstrap")


def variance_shares(
    scores: Any,
    *,
    srs: Sequence[float] | None = None,
    cis: Sequence[float] | None = None,
    arm: Arm = "scramble",
    layer: int = -1,
) -> VarianceShares:
    """How much of the scores' variance goes with SR, with CI and with the item (η², main effects).

    Args:
        scores: what `as_scores` reads.
        srs: nominal doses; None for all above 0, since the score at 0 is 1 by construction.
        cis: contexts; None for all.
        arm, layer: see `Scores.grid`.

    Raises:
        InputError: an item without a cell of the grid, or scores that do not vary.
    """
    table = as_scores(scores)
    cos = table.grid(arm, layer=layer, srs=_above_zero(table, srs), cis=cis).cos
    if np.ptp(cos) < 1e-12:
        raise InputError("all scores are equal, so there is no variance to share out")
    off = cos - cos.mean()  # (items, srs, cis)
    whole = (off**2).sum()
    item, sr, ci = (
        float((off.mean(axes) ** 2).sum() * math.prod(off.shape[a] for a in axes) / whole)
        for axes in ((1, 2), (0, 2), (0, 1))
    )
    return VarianceShares(sr, ci, item, 1 - sr - ci - item)


def context_over_form(
    scores: Any,
    *,
    srs: Sequence[float] | None = None,
    cis: Sequence[float] | None = None,
    arm: Arm = "scramble",
    layer: int = -1,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> WordEstimate:
    """The largest difference between contexts over the largest difference between doses, of means over words.

    Args:
        scores: what `as_scores` reads.
        srs: nominal doses, averaged over for the contexts; None for all.
        cis: contexts, averaged over for the doses; None for all.
        arm, layer: see `Scores.grid`.
        n_boot, seed, level: see `effect`.

    Raises:
        InputError: all doses have one mean, or what `effect` refuses.
        UndecidedError: fewer than 30 words, or a resample without a ratio.
    """
    grid = as_scores(scores).grid(arm, layer=layer, srs=srs, cis=cis)
    words = by_word(grid.words, grid.cos)  # (words, srs, cis)
    if np.ptp(words.mean((0, 2))) < 1e-12:
        raise InputError(
            "all doses have the same mean score, so nothing can be compared with their difference"
        )
    return over_words(
        words,
        lambda mean: _quotient(np.array([np.ptp(mean.mean(0)), np.ptp(mean.mean(1))])),
        n_boot,
        seed,
        level,
    )


def _three_arms(
    table: Scores, ci: float, srs: Sequence[float] | None, layer: int
) -> tuple[tuple[float, ...], Floats]:
    """Doses, and (words, 4, srs): score, floor, ceiling, realised dose."""
    levels = _above_zero(table, srs)
    if min(levels) <= 0:
        raise InputError("R at dose 0 is 1 by construction; name doses above 0")
    grids: list[Grid] = [
        table.grid(arm, layer=layer, srs=levels, cis=(ci,))
        for arm in ("scramble", "wrong_segment", "segment")
    ]
    parts = [*(grid.cos for grid in grids), grids[0].realised]
    return tuple(levels), by_word(table.words, np.stack([part[:, :, 0] for part in parts], axis=1))


def _above_zero(table: Scores, srs: Sequence[float] | None) -> list[float]:
    levels = [float(sr) for sr in (np.unique(table.sr[table.sr > 0]) if srs is None else srs)]
    if not levels:
        raise InputError("there is no dose above 0" if srs is None else "srs must name at least one dose")
    return levels


def _check_defined(levels: tuple[float, ...], words: Floats) -> None:
    _, floor, ceiling, _ = words.mean(0)
    for sr, low, high in zip(levels, floor, ceiling, strict=True):
        if high <= low:
            raise InputError(
                f"at sr {sr:g} the intact word so cut scores {high:.4g} and a wrong word {low:.4g}: R is not defined"
            )


def _first_zero(means: Floats) -> Floats:
    """(draws, 4, srs) -> (draws,) the dose where R first comes down to 0, inf if nowhere, NaN if it is not defined."""
    order = np.argsort(means[:, 3], axis=1, kind="stable")[:, None]
    score, floor, ceiling, x = np.moveaxis(
        np.take_along_axis(means, order, axis=2), 1, 0
    )  # (draws, srs) each
    R = rescaled_score(score, floor, ceiling, undefined="nan")
    R = np.concatenate([np.ones((len(R), 1)), R], axis=1)
    x = np.concatenate([np.zeros((len(x), 1)), x], axis=1)
    under = R <= 0
    at = np.where(under.any(1), under.argmax(1), 1)[:, None]  # R[0] is 1, so at least 1
    (r0, r1), (x0, x1) = ([np.take_along_axis(v, at - step, 1)[:, 0] for step in (1, 0)] for v in (R, x))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(under.any(1), x0 + (x1 - x0) * r0 / (r0 - r1), math.inf)
    return np.where(np.isnan(R).any(1), math.nan, found)


def _quotient(parts: Floats) -> float:
    return float(parts[0] / parts[1]) if parts[1] > 0 else math.nan
