"""Do two groups differ because of what they ask, or because one is harder? Their AUCs at one accuracy.

Sub-samples of both groups are drawn until both have the mean of their two error rates.

Drawn by outcome (`strata=None`), right and wrong answers are left out at random. That brings the classes' sizes, and
with them the precision, to one level; but an AUC does not depend on how many there are of either, so its expectation
stays what it was. A harder group may also have questions of other kinds. Drawn by strata (a label such as exposure or
steps), whole kinds of question are taken more or less often, whatever the answer was, with

    weight_s ∝ exp(λ · error rate of stratum s),   λ such that the expected error rate is the one wanted

(exponential tilting: of all re-weightings that reach it, the nearest to the group as it is). This can move an AUC.

Knows tables and AUCs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.discrimination import unpaired_difference
from firsthand.evaluation.uncertainty.errors import EmptyGroup, SingleClassError
from firsthand.evaluation.uncertainty.estimates import Estimate, Flags, Floats, check_level, two_sided_z
from firsthand.evaluation.uncertainty.table import Invalid, UncertaintyTable

__all__ = ["MatchedDifference", "auc_difference", "tilted_weights"]


@dataclass(frozen=True)
class MatchedDifference(Estimate):
    """AUC of group a less that of group b, and the accuracies that they were compared at."""

    accuracy_a: float = math.nan
    accuracy_b: float = math.nan
    n_a: float = math.nan  # rows, mean over the repeats
    n_b: float = math.nan


@dataclass(frozen=True)
class _Group:
    error: Flags
    u: Floats
    strata: NDArray[np.intp] | None

    @property
    def rate(self) -> float:
        return float(self.error.mean())


def auc_difference(
    table: UncertaintyTable,
    a: ArrayLike,
    b: ArrayLike,
    *,
    score: str = "H_vocab",
    match_accuracy: bool = False,
    strata: str | None = None,
    repeats: int = 50,
    invalid: Invalid = "apart",
    level: float = 0.95,
    seed: int = 0,
) -> MatchedDifference:
    """AUC of the score in group a less that in group b.

    Matched, it is the mean over the repeats. Its variance is the mean of theirs: repeats share rows, so averaging them
    is not taken to make it smaller, and the interval is rather too wide.

    Args:
        table: the answers.
        a, b: (n,) flags of the rows of each group; no row in both.
        score: what `UncertaintyTable.uncertainty` takes.
        match_accuracy: compare at one accuracy; the module says how, and what it can and cannot show.
        strata: "subject" or a label to draw by; None: by outcome.
        repeats: sub-samples, at least 1.
        invalid: "apart" or "error"; see `table`.
        level: of the interval.
        seed: of the draws.

    Raises:
        EmptyGroup: a group without rows.
        SingleClassError: a group that is all right or all wrong.
        InputError: groups that share a row, an accuracy that no mixture of strata reaches, or another argument that
            cannot be.
        NonFiniteScores: a row that lacks the score, by its id.
    """
    check_level(level)
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise InputError(f"repeats must be a whole number of at least 1, got {repeats!r}")
    if strata is not None and not match_accuracy:
        raise InputError("strata are for match_accuracy=True")
    masks = [np.asarray(mask) for mask in (a, b)]
    for mask in masks:
        if mask.dtype != np.bool_ or mask.shape != (len(table),):
            raise InputError(f"a group is given by {len(table)} flags, got {mask.dtype} {mask.shape}")
    if (masks[0] & masks[1]).any():
        raise InputError(f"row {table.id[int(np.argmax(masks[0] & masks[1]))]!r} is in both groups")
    one, two = (
        _group(table, mask & table.judged(invalid), score, strata, name)
        for mask, name in zip(masks, "ab", strict=True)
    )
    if not match_accuracy:
        found = unpaired_difference(one.error, one.u, two.error, two.u, level=level)
        return MatchedDifference(
            **found.__dict__,
            accuracy_a=1 - one.rate,
            accuracy_b=1 - two.rate,
            n_a=one.error.size,
            n_b=two.error.size,
        )
    rate = (one.rate + two.rate) / 2
    chances = [None if strata is None else _keeping(group, rate, strata, name)
               for group, name in ((one, "a"), (two, "b"))]  # fmt: skip
    random = np.random.default_rng(seed)
    found_all, rates, sizes = [], [], []
    for _ in range(repeats):
        drawn = [
            _by_outcome(group.error, rate, random)
            if chance is None
            else np.flatnonzero(random.random(chance.size) < chance)
            for group, chance in zip((one, two), chances, strict=True)
        ]
        x, y = drawn
        found_all.append(unpaired_difference(one.error[x], one.u[x], two.error[y], two.u[y], level=level))
        rates.append((one.error[x].mean(), two.error[y].mean()))
        sizes.append((x.size, y.size))
    return _pooled(found_all, np.array(rates), np.array(sizes), level, strata)


def tilted_weights(rates: ArrayLike, shares: ArrayLike, wanted: float) -> Floats:
    """(S,) weights exp(λ r_s), at most 1, under which the mean of the rates is the one wanted.

    Args:
        rates: (S,) error rate of each stratum.
        shares: (S,) its share of the rows, above 0.
        wanted: strictly between the lowest and the highest rate, or the only one.

    Raises:
        InputError: a rate that no weights reach.
    """
    r, p = np.asarray(rates, np.float64), np.asarray(shares, np.float64)
    if np.allclose(r, wanted, rtol=0, atol=1e-12):
        return np.ones(r.size)
    if not r.min() < wanted < r.max():
        raise InputError(
            f"no mixture of strata with error rates from {r.min():.4g} to {r.max():.4g} has the rate {wanted:.4g}"
        )
    from scipy.optimize import brentq

    def weights(tilt: float) -> Floats:
        return np.asarray(np.exp(tilt * r - (tilt * r).max()))

    def off(tilt: float) -> float:
        w = weights(tilt) * p
        return float(w @ r / w.sum() - wanted)

    end = 1.0
    while off(-end) > 0 or off(end) < 0:
        end *= 2
    return weights(float(brentq(off, -end, end, xtol=1e-12)))


def _group(table: UncertaintyTable, rows: Flags, score: str, strata: str | None, name: str) -> _Group:
    if not rows.any():
        raise EmptyGroup(f"group {name} has no rows that can be judged")
    error = ~table.correct[rows]
    if error.all() or not error.any():
        raise SingleClassError(
            f"group {name}: {error.size} answers, {'all wrong' if error.all() else 'all right'}"
        )
    codes = None
    if strata is not None:
        names = [value for value, taken in zip(table.group(strata), rows, strict=True) if taken]
        if None in names:
            row = int(np.flatnonzero(rows)[names.index(None)])
            raise InputError(f"row {table.id[row]!r} has no {strata!r} to draw by")
        codes = np.unique(np.array(names), return_inverse=True)[1]
    return _Group(error, table.uncertainty(score, rows), codes)


def _by_outcome(error: Flags, rate: float, random: np.random.Generator) -> NDArray[np.intp]:
    """Places of a sub-sample of this error rate, as large as can be: all of the scarce kind, some of the other."""
    wrong, right = np.flatnonzero(error), np.flatnonzero(~error)
    if wrong.size * (1 - rate) > right.size * rate:
        wrong = random.choice(wrong, max(1, round(right.size * rate / (1 - rate))), replace=False)
    else:
        right = random.choice(right, max(1, round(wrong.size * (1 - rate) / rate)), replace=False)
    return np.concatenate([wrong, right])


def _keeping(group: _Group, rate: float, strata: str, name: str) -> Floats:
    """(n,) the chance of each row to be drawn."""
    assert group.strata is not None
    sizes = np.bincount(group.strata)
    rates = np.bincount(group.strata, group.error) / sizes
    try:
        return np.asarray(tilted_weights(rates, sizes / sizes.sum(), rate)[group.strata])
    except InputError as error:
        raise InputError(f"group {name} by {strata!r}: {error}") from error


def _pooled(
    found: list[Estimate], rates: Floats, sizes: NDArray[np.int64], level: float, strata: str | None
) -> MatchedDifference:
    from scipy.special import ndtr

    value = float(np.mean([one.value for one in found]))
    # Where a sub-sample is parted it has no standard error; its interval's width has the place of one.
    z = two_sided_z(level)
    squares = [
        ((one.high - one.low) / (2 * z) if math.isnan(one.standard_error) else one.standard_error) ** 2
        for one in found
    ]
    se = math.sqrt(float(np.mean(squares)))
    n = round(float(sizes.sum(axis=1).mean()))
    return MatchedDifference(
        value,
        value - z * se,
        value + z * se,
        level,
        f"mean of {len(found)} sub-samples of one accuracy, drawn by {strata or 'outcome'}",
        n,
        round(float((rates * sizes).sum(axis=1).mean())),
        se,
        float(2 * ndtr(-abs(value) / se)),
        accuracy_a=float(1 - rates[:, 0].mean()),
        accuracy_b=float(1 - rates[:, 1].mean()),
        n_a=float(sizes[:, 0].mean()),
        n_b=float(sizes[:, 1].mean()),
    )
