"""How well uncertainty tells wrong answers from right ones (arXiv 2503.01688, section 4): the AUC and its interval.

    AUC = P(u of a wrong answer > u of a right one), a tie counts one half

With m errors and n right answers, DeLong's placements are V10_i, the share of right answers that the i-th wrong one is
above, and V01_j, the share of wrong ones that are above the j-th right one:

    var(AUC) = var(V10) / m + var(V01) / n

Where the two kinds are parted without overlap this is 0 and would give an interval of no width; there the interval is
Newcombe's: all θ with |AUC − θ| <= z·s.e.(θ), by Hanley and McNeil's variance. The estimate's `method` says which.

Knows `error` and u as arrays. Knows no table and no groups: see `groups`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.claims.intervals import smallest_alpha
from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.errors import SingleClassError
from firsthand.evaluation.uncertainty.estimates import (
    Estimate,
    Flags,
    Floats,
    as_flags,
    as_scores,
    check_level,
    two_sided_z,
)

__all__ = [
    "AucInterval",
    "auc",
    "check_both_classes",
    "error_auc",
    "gini",
    "hanley_mcneil_se",
    "paired_difference",
    "pr_auc",
    "unpaired_difference",
    "weighted_aucs",
]

AucInterval = Literal["delong", "bootstrap"]
RESAMPLES = 2000
_AT_ONCE = 1 << 21  # counts drawn in one step, 16 MB


def auc(error: ArrayLike, u: ArrayLike) -> float:
    """P(u of an error > u of a right answer), ties one half.

    Args:
        error: (n,) true where the answer is wrong.
        u: (n,) uncertainty, higher is less certain.

    Raises:
        SingleClassError: all right or all wrong.
        InputError, EmptyGroup, NonFiniteScores: arrays that cannot be used.
    """
    flags, scores = _both(error, u)
    return _placements(flags, scores).auc


def error_auc(
    error: ArrayLike,
    u: ArrayLike,
    *,
    ci: AucInterval = "delong",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The AUC of u for errors, with an interval and a test against chance.

    The p value is of the Mann-Whitney test, which assumes that u says nothing; near 0.05 it may differ from what the
    interval says.

    Args:
        error: (n,) true where the answer is wrong.
        u: (n,) uncertainty, higher is less certain.
        ci: "delong", or "bootstrap": percentiles over resamples in which errors and right answers are drawn apart.
        level: of the interval.
        resamples, seed: of the bootstrap.

    Raises:
        SingleClassError: all right or all wrong.
        InputError: fewer than two of a kind for "delong", or an argument that cannot be.
        EmptyGroup, NonFiniteScores: arrays that cannot be used.
    """
    level = check_level(level)
    flags, scores = _both(error, u)
    placed = _placements(flags, scores)
    if ci == "delong":
        se, method = placed.standard_error(), "DeLong"
        low, high = placed.interval(level)
        if se == 0:
            method = "Hanley-McNeil score interval, DeLong's variance is 0"
    elif ci == "bootstrap":
        drawn = _bootstrap(flags, scores, resamples, seed)
        low, high = np.quantile(drawn, (0.5 - level / 2, 0.5 + level / 2))
        se = float(drawn.std(ddof=1))
        method = "stratified bootstrap"
    else:
        raise InputError(f"ci must be 'delong' or 'bootstrap', got {ci!r}")
    return Estimate(
        placed.auc,
        float(low),
        float(high),
        level,
        method,
        flags.size,
        placed.m,
        se,
        _mann_whitney(flags, scores),
    )


def hanley_mcneil_se(auc: float, errors: int, right: int) -> float:
    """Standard error of an AUC of which only the counts are known (Hanley and McNeil 1982).

        Q1 = A / (2 − A),  Q2 = 2A² / (1 + A)
        s.e.² = (A(1 − A) + (m − 1)(Q1 − A²) + (n − 1)(Q2 − A²)) / (m n)

    Args:
        auc: A, 0 to 1.
        errors, right: m and n, at least 1.

    Raises:
        InputError: an argument out of its range.
    """
    if not 0 <= auc <= 1:
        raise InputError(f"an AUC is between 0 and 1, got {auc!r}")
    if min(errors, right) < 1:
        raise InputError(f"there must be at least one error and one right answer, got {errors} and {right}")
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    total = auc * (1 - auc) + (errors - 1) * (q1 - auc**2) + (right - 1) * (q2 - auc**2)
    return math.sqrt(max(total, 0.0) / (errors * right))


def pr_auc(error: ArrayLike, u: ArrayLike) -> float:
    """Average precision of u for errors, Σ (R_k − R_{k−1}) P_k from the least certain down; tied rows come together.

    Chance is the error rate. The paper's notebook takes right answers for the positive class: `pr_auc(correct, -u)`.

    Raises:
        SingleClassError: all right or all wrong.
        InputError, EmptyGroup, NonFiniteScores: arrays that cannot be used.
    """
    flags, scores = _both(error, u)
    values, place = np.unique(-scores, return_inverse=True)
    found = np.bincount(place, flags, minlength=values.size)
    hits, taken = np.cumsum(found), np.cumsum(np.bincount(place, minlength=values.size))
    return float(np.sum(found * hits / taken) / flags.sum())


def gini(error: ArrayLike, u: ArrayLike) -> float:
    """|2 AUC − 1|, as the paper's notebook has it; it does not say which way u points.

    Raises:
        SingleClassError, InputError, EmptyGroup, NonFiniteScores: see `auc`.
    """
    return abs(2 * auc(error, u) - 1)


def unpaired_difference(
    error: ArrayLike, u: ArrayLike, other_error: ArrayLike, other_u: ArrayLike, *, level: float = 0.95
) -> Estimate:
    """AUC of one group less AUC of another that shares no question with it.

    The variances add. Where a group has none (its kinds are parted), the distances of its interval's ends take their
    place (Newcombe's square-and-add), and the p value is the smallest α whose interval leaves 0 out.

    Args:
        error, u: of the one group.
        other_error, other_u: of the other.
        level: of the interval.

    Raises:
        SingleClassError: a group is all right or all wrong.
        InputError: fewer than two of a kind in a group.
        EmptyGroup, NonFiniteScores: arrays that cannot be used.
    """
    level = check_level(level)
    flags, scores = _both(error, u)
    other_flags, other_scores = _both(other_error, other_u)
    one, two = _placements(flags, scores), _placements(other_flags, other_scores)
    n, errors = flags.size + other_flags.size, one.m + two.m
    difference = one.auc - two.auc
    if one.standard_error() > 0 and two.standard_error() > 0:
        se = math.hypot(one.standard_error(), two.standard_error())
        return _normal(difference, se, level, "DeLong, independent groups", n, errors)

    def interval(at: float) -> tuple[float, float]:
        (a, b), (c, d) = one.interval(at), two.interval(at)
        return (
            difference - math.hypot(one.auc - a, d - two.auc),
            difference + math.hypot(b - one.auc, two.auc - c),
        )

    p_value = smallest_alpha(interval, lambda low, high: low > 0 or high < 0)
    low, high = interval(level)
    return Estimate(
        difference, low, high, level, "square-and-add, independent groups", n, errors, p_value=p_value
    )


def paired_difference(error: ArrayLike, u: ArrayLike, other_u: ArrayLike, *, level: float = 0.95) -> Estimate:
    """AUC of `u` less AUC of `other_u` on the same questions: DeLong's test of correlated AUCs.

    Args:
        error: (n,) true where the answer is wrong.
        u, other_u: (n,) two scores of the same answers.
        level: of the interval.

    Raises:
        SingleClassError: all right or all wrong.
        InputError: fewer than two of a kind, or two AUCs that differ and neither of which has a variance.
        EmptyGroup, NonFiniteScores: arrays that cannot be used.
    """
    level = check_level(level)
    flags, scores = _both(error, u)
    one, two = (
        _placements(flags, scores),
        _placements(flags, as_scores(other_u, flags.size, "the other scores")),
    )
    difference = one.auc - two.auc
    one.standard_error()  # refuses fewer than two of a kind
    variance = np.var(one.v10 - two.v10, ddof=1) / one.m + np.var(one.v01 - two.v01, ddof=1) / one.n
    if variance == 0 and difference != 0:
        raise InputError(
            f"the AUCs {one.auc} and {two.auc} differ, and no row differs from another: {flags.size} rows are too few "
            "for an interval"
        )
    return _normal(difference, math.sqrt(variance), level, "DeLong, paired", flags.size, one.m)


def check_both_classes(error: Flags, where: str = "") -> None:
    """Nothing where there are right and wrong answers.

    Raises:
        SingleClassError: all right or all wrong.
    """
    wrong = int(error.sum())
    if wrong in (0, error.size):
        raise SingleClassError(
            f"{where}{_counted(error.size, 'answer')}, {'all wrong' if wrong else 'all right'}: an AUC needs both"
        )


def weighted_aucs(error: Flags, u: Floats, weights: Floats) -> Floats:
    """(B,) AUCs in which row i counts w_i times: Σ_ij w_i w_j [u_i > u_j] / Σ_ij w_i w_j, over errors i and right j.

    Args:
        error: (n,) checked flags of both kinds.
        u: (n,) checked scores.
        weights: (B, n), not negative, with a sum above 0 for either kind.
    """
    values, place = np.unique(u, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(values.size))
    wrong = np.add.reduceat((weights * error)[:, order], starts, axis=1)
    right = np.add.reduceat((weights * ~error)[:, order], starts, axis=1)
    below = np.cumsum(right, axis=1) - right / 2
    return np.asarray((wrong * below).sum(axis=1) / (wrong.sum(axis=1) * right.sum(axis=1)))


# --- DeLong ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Placements:
    v10: Floats  # (m,) of the errors
    v01: Floats  # (n,) of the right answers

    @property
    def m(self) -> int:
        return self.v10.size

    @property
    def n(self) -> int:
        return self.v01.size

    @property
    def auc(self) -> float:
        return float(self.v10.mean())

    def standard_error(self) -> float:
        if min(self.m, self.n) < 2:
            raise InputError(
                f"{_counted(self.m, 'error')} and {_counted(self.n, 'right answer')}: DeLong's variance needs two of "
                "each; use the bootstrap or more questions"
            )
        # Equal placements may differ in their last bit from their mean; that is no variance.
        parts = [
            0.0 if np.ptp(values) == 0 else np.var(values, ddof=1) / values.size
            for values in (self.v10, self.v01)
        ]
        return math.sqrt(sum(parts))

    def interval(self, level: float) -> tuple[float, float]:
        """Within [0, 1]."""
        z, se = two_sided_z(level), self.standard_error()
        if se > 0:
            return max(0.0, self.auc - z * se), min(1.0, self.auc + z * se)
        found = self.auc

        def outside(theta: float) -> bool:
            """By Newcombe 2006, method 5: both sample sizes replaced by their mean."""
            more = (self.m + self.n) / 2 - 1
            variance = theta * (1 - theta) / (self.m * self.n)
            variance *= 1 + more * (1 - theta) / (2 - theta) + more * theta / (1 + theta)
            return abs(found - theta) > z * math.sqrt(variance)

        return (
            _edge(found, 0.0, outside) if found > 0 else 0.0,
            _edge(found, 1.0, outside) if found < 1 else 1.0,
        )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _edge(inside: float, end: float, outside: Callable[[float], bool]) -> float:
    """Between a point inside and the end of the range, where inside stops."""
    far = end
    for _ in range(60):
        middle = (inside + far) / 2
        if outside(middle):
            far = middle
        else:
            inside = middle
    return inside


def _placements(error: Flags, u: Floats) -> _Placements:
    """By sorting (Sun and Xu 2014), not over all m·n pairs."""
    wrong, right = u[error], u[~error]

    def share_below(values: Floats, others: Floats) -> Floats:
        others = np.sort(others)
        below = np.searchsorted(others, values, "left") + np.searchsorted(others, values, "right")
        return np.asarray(below / (2 * others.size))

    return _Placements(share_below(wrong, right), 1 - share_below(right, wrong))


def _normal(value: float, se: float, level: float, method: str, n: int, errors: int) -> Estimate:
    from scipy.special import ndtr

    half = two_sided_z(level) * se
    p_value = 1.0 if se == 0 else float(2 * ndtr(-abs(value) / se))
    return Estimate(value, value - half, value + half, level, method, n, errors, se, p_value)


def _mann_whitney(error: Flags, u: Floats) -> float:
    from scipy.stats import mannwhitneyu

    if np.ptp(u) == 0:
        return 1.0
    return float(mannwhitneyu(u[error], u[~error], alternative="two-sided").pvalue)


def _bootstrap(error: Flags, u: Floats, resamples: int, seed: int) -> Floats:
    """(resamples,) AUCs; a resample of m errors is a draw of how often each value of u occurs among them."""
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < 2:
        raise InputError(f"resamples must be a whole number of at least 2, got {resamples!r}")
    values, place = np.unique(u, return_inverse=True)
    wrong = np.bincount(place[error], minlength=values.size)
    right = np.bincount(place[~error], minlength=values.size)
    random = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // values.size)
    found = np.empty(resamples)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        some: NDArray[np.int64] = random.multinomial(wrong.sum(), wrong / wrong.sum(), size=size)
        rest: NDArray[np.int64] = random.multinomial(right.sum(), right / right.sum(), size=size)
        below = np.cumsum(rest, axis=1) - rest / 2
        found[start : start + size] = (some * below).sum(axis=1) / (wrong.sum() * right.sum())
    return found


def _both(error: ArrayLike, u: ArrayLike) -> tuple[Flags, Floats]:
    flags = as_flags(error)
    scores = as_scores(u, flags.size)
    check_both_classes(flags)
    return flags, scores
