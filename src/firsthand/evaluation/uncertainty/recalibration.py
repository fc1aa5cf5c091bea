"""Better confidences from the same answers: temperature scaling and isotonic regression, cross-fitted.

    temperature (Guo et al. 2017):  softmax(l / T), T > 0 minimises −Σ_i ln p_i[gold_i]
    isotonic (Zadrozny and Elkan 2002):  the non-decreasing f that minimises Σ_i (f(confidence_i) − correct_i)²

Cross-fitted: the answers are dealt into folds, and those of a fold get what was fitted to the others, so that no
answer's own outcome is in its confidence.

Knows log-probabilities of options, confidences and right answers as arrays. Measures nothing: see `calibration`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.corpora.ids import seeded_order
from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.calibration import as_confidences
from firsthand.evaluation.uncertainty.entropy import log_probabilities
from firsthand.evaluation.uncertainty.estimates import Floats, as_flags

__all__ = [
    "IsotonicMap",
    "Scaled",
    "Temperature",
    "fit_isotonic",
    "fit_temperature",
    "isotonic",
    "temperature_scaled",
]

_LEAST, _MOST = 0.01, 100.0


@dataclass(frozen=True)
class Temperature:
    """A fitted T: above 1 the model was overconfident."""

    value: float
    loss: float  # mean −ln p of the gold option, nats
    loss_before: float  # the same at T = 1
    at_bound: bool  # T is 0.01 or 100: the loss has its minimum beyond, and T says only in which direction

    def apply(self, option_logprobs: ArrayLike) -> Floats:
        """(..., K) probabilities softmax(l / T)."""
        return np.asarray(np.exp(log_probabilities(log_probabilities(option_logprobs) / self.value)))


@dataclass(frozen=True)
class Scaled:
    """Cross-fitted probabilities of the options, and what each fold was scaled by."""

    probabilities: Floats  # (n, K)
    confidence: Floats  # (n,) of the likeliest option
    fold: NDArray[np.intp]  # (n,)
    temperatures: tuple[Temperature, ...]  # (folds,), each fitted to the other folds


def fit_temperature(option_logprobs: ArrayLike, answers: ArrayLike) -> Temperature:
    """The temperature at which the gold options are likeliest.

    Args:
        option_logprobs: (n, K) log-probability or logit of each option, −inf where a question has fewer.
        answers: (n,) place of the gold option.

    Raises:
        InputError: shapes that do not fit, or a gold option that the model holds impossible.
        NonFiniteScores, EmptyGroup: log-probabilities that cannot be used.
    """
    logp, gold = _options(option_logprobs, answers)
    return _fitted(logp, gold)


def temperature_scaled(
    option_logprobs: ArrayLike,
    answers: ArrayLike,
    *,
    folds: int = 5,
    seed: int = 0,
    ids: Sequence[str] | None = None,
) -> Scaled:
    """Probabilities of the options at temperatures that were fitted to other questions.

    Args:
        option_logprobs, answers: see `fit_temperature`.
        folds: how many parts, 2 to n.
        seed: of the dealing.
        ids: of the questions; with them a question's fold hangs on its id, whatever the order of the rows.

    Raises:
        InputError, NonFiniteScores, EmptyGroup: see `fit_temperature`; or folds that cannot be.
    """
    logp, gold = _options(option_logprobs, answers)
    fold = _dealt(gold.size, folds, seed, ids)
    found = tuple(_fitted(logp[fold != number], gold[fold != number]) for number in range(folds))
    probabilities = np.empty_like(logp)
    for number, temperature in enumerate(found):
        probabilities[fold == number] = temperature.apply(logp[fold == number])
    return Scaled(probabilities, probabilities.max(axis=1), fold, found)


@dataclass(frozen=True)
class IsotonicMap:
    """A non-decreasing function: straight between its points, level beyond them."""

    x: Floats  # increasing
    y: Floats  # in [0, 1], not decreasing

    def apply(self, confidence: ArrayLike) -> Floats:
        """(n,) confidences that the map gives in their place."""
        return np.asarray(np.interp(as_confidences(confidence), self.x, self.y))


def fit_isotonic(confidence: ArrayLike, correct: ArrayLike) -> IsotonicMap:
    """The non-decreasing map nearest to the outcomes; equal confidences get one value.

    Args:
        confidence: (n,) in [0, 1].
        correct: (n,) true where the answer is right.

    Raises:
        InputError, NonFiniteScores, EmptyGroup: arrays that cannot be used.
    """
    right = as_flags(correct, "correct")
    values = as_confidences(confidence, right.size)
    from scipy.optimize import isotonic_regression

    x, place, count = np.unique(values, return_inverse=True, return_counts=True)
    share = np.bincount(place, right) / count
    return IsotonicMap(x, np.asarray(isotonic_regression(share, weights=count).x))


def isotonic(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    folds: int = 5,
    seed: int = 0,
    ids: Sequence[str] | None = None,
) -> Floats:
    """(n,) confidences, each from the map that was fitted to the other folds.

    Args:
        confidence, correct: see `fit_isotonic`.
        folds, seed, ids: see `temperature_scaled`.

    Raises:
        InputError, NonFiniteScores, EmptyGroup: arrays or folds that cannot be used.
    """
    right = as_flags(correct, "correct")
    values = as_confidences(confidence, right.size)
    fold = _dealt(right.size, folds, seed, ids)
    found = np.empty(right.size)
    for number in range(folds):
        rest = fold != number
        found[~rest] = fit_isotonic(values[rest], right[rest]).apply(values[~rest])
    return found


def _options(option_logprobs: ArrayLike, answers: ArrayLike) -> tuple[Floats, NDArray[np.intp]]:
    logp = log_probabilities(option_logprobs)
    gold = np.asarray(answers)
    if logp.ndim != 2:
        raise InputError(
            f"option log-probabilities must have the shape (questions, options), got {logp.shape}"
        )
    if gold.shape != logp.shape[:1] or gold.dtype.kind not in "iu":
        raise InputError(f"answers must be {len(logp)} whole numbers, got {gold.dtype} {gold.shape}")
    wrong = np.flatnonzero((gold < 0) | (gold >= logp.shape[1]))
    if wrong.size:
        raise InputError(f"row {wrong[0]}: the answer {gold[wrong[0]]} is not among {logp.shape[1]} options")
    gold = gold.astype(np.intp)
    wrong = np.flatnonzero(np.isneginf(logp[np.arange(gold.size), gold]))
    if wrong.size:
        raise InputError(
            f"row {wrong[0]}: the gold option's log-probability is -inf: no temperature makes it possible"
        )
    return logp, gold


def _fitted(logp: Floats, gold: NDArray[np.intp]) -> Temperature:
    """The loss is convex in 1/T, and so has one minimum in ln T too."""
    from scipy.optimize import minimize_scalar

    rows = np.arange(gold.size)

    def loss(log_t: float) -> float:
        return float(np.abs(log_probabilities(logp / math.exp(log_t))[rows, gold]).mean())

    bounds = (math.log(_LEAST), math.log(_MOST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-8})
    if not found.success:
        raise InputError(f"no temperature was found for {gold.size} questions: {found.message}")
    # Where the gold options lead everywhere the loss falls until it is 0 in float64, and is level from there on.
    ends = [bound for bound in bounds if loss(bound) <= found.fun]
    log_t = ends[0] if ends else float(found.x)
    return Temperature(math.exp(log_t), loss(log_t), loss(0.0), bool(ends))


def _dealt(n: int, folds: int, seed: int, ids: Sequence[str] | None) -> NDArray[np.intp]:
    """(n,) the fold of each row, of sizes that differ by at most one."""
    if isinstance(folds, bool) or not isinstance(folds, int) or not 2 <= folds <= n:
        raise InputError(f"folds must be a whole number from 2 to the number of answers, {n}; got {folds!r}")
    if ids is None:
        order = np.random.default_rng(seed).permutation(n)
    else:
        if len(ids) != n or len(set(ids)) != n:
            raise InputError(
                f"ids must be {n} different ones, got {len(ids)}, {len(set(ids))} of them different"
            )
        order = np.argsort(seeded_order(ids, seed), kind="stable")
    fold = np.empty(n, np.intp)
    fold[order] = np.arange(n) % folds
    return fold
