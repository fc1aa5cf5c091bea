"""How spread out a model's distribution over answers is (arXiv 2503.01688, section 3): one number an answer.

    u = H(p) = −Σ_v p_v ln p_v,   p = softmax(logits), over the whole vocabulary      `token_entropy`
    the same over the K options alone, renormalised                                   `option_entropy`
    Σ of the options' probabilities under the whole vocabulary                        `option_mass`

The logits must be those that chose the answer's token. The published code takes those of the position after it.

Everything is computed in float64 from a shifted logarithm: `p·log(p + 1e-12)` in half precision is NaN at p = 0, as
1e-12 is 0 there. A logit or log-probability may be −inf (masked, or padding), never NaN or +inf.

Knows arrays of logits, from NumPy or torch. Knows no model, no tokens and no question.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.errors import EmptyGroup, NonFiniteScores
from firsthand.evaluation.uncertainty.estimates import Flags, Floats

__all__ = [
    "TopKEntropy",
    "log_probabilities",
    "margin",
    "max_probability",
    "option_entropy",
    "option_mass",
    "perplexity",
    "token_entropy",
    "top_k_entropy",
]

Base = Literal["e", "2", "10"]
_PER_NAT = {"e": 1.0, "2": 1 / math.log(2), "10": 1 / math.log(10)}
_OVER_ONE = 1e-4  # how far above 1 a sum of probabilities may be: half precision rounds each


def log_probabilities(logits: Any) -> Floats:
    """(..., V) natural log-probabilities, log softmax over the last axis, from logits or log-probabilities.

    Raises:
        InputError: no axis, or values that are not numbers.
        EmptyGroup: nothing to choose from.
        NonFiniteScores: a row with a NaN, with +inf, or with nothing above −inf.
    """
    values = _numbers(logits, "logits")
    shifted = values - values.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def token_entropy(logits: Any, *, base: Base = "e", normalize: bool = False) -> Floats:
    """(...) entropy of the token's distribution over the whole vocabulary; 0 is certain, ln V knows nothing.

    Args:
        logits: (..., V) logits or log-probabilities of the position that chose the token; any float type, no
            temperature, top-k or penalty applied.
        base: of the logarithm: "e" for nats, "2" for bits, "10".
        normalize: divide by the entropy of V equal choices, so that 1 is the most; needs V of at least 2.

    Raises:
        InputError: another base, or one choice and `normalize`.
        NonFiniteScores, EmptyGroup: see `log_probabilities`.
    """
    if base not in _PER_NAT:
        raise InputError(f"base must be one of {', '.join(_PER_NAT)}, got {base!r}")
    found = log_probabilities(logits)
    most = math.log(found.shape[-1])
    # Rounding alone leads out of [0, ln V].
    nats = np.clip(-_plogp(found).sum(axis=-1), 0.0, most)
    if normalize:
        if most == 0:
            raise InputError("the entropy of a single choice cannot be normalised: ln 1 is 0")
        return np.asarray(nats / most)
    return np.asarray(nats * _PER_NAT[base])


def option_entropy(option_logprobs: Any) -> Floats:
    """(...) entropy in nats over the K options alone, their probabilities scaled to sum to 1.

    Args:
        option_logprobs: (..., K) log-probability of each option's text, or its logit; rows with fewer options are
            padded with −inf.

    Raises:
        InputError, NonFiniteScores, EmptyGroup: see `log_probabilities`.
    """
    return token_entropy(option_logprobs)


def option_mass(option_logprobs: Any) -> Floats:
    """(...) probability that the model gives to the options together, under its whole vocabulary; 0 to 1.

    Below about 0.5 the entropy over the vocabulary says more of the format than of the answer.

    Args:
        option_logprobs: (..., K) log-probabilities, not logits.

    Raises:
        InputError: a row that sums to more than 1: logits, or options of which one begins another ("1" and "10").
        NonFiniteScores, EmptyGroup: see `log_probabilities`.
    """
    return _mass(_numbers(option_logprobs, "option log-probabilities", may_be_impossible=True))


def max_probability(logits: Any) -> Floats:
    """(...) probability of the likeliest choice, from (..., K) logits; a confidence: higher is more certain.

    Raises:
        InputError, NonFiniteScores, EmptyGroup: see `log_probabilities`.
    """
    return np.asarray(np.exp(log_probabilities(logits).max(axis=-1)))


def margin(logits: Any) -> Floats:
    """(...) probability of the likeliest choice less that of the second; a confidence: higher is more certain.

    Raises:
        InputError: fewer than two choices, or what `log_probabilities` refuses.
        NonFiniteScores, EmptyGroup: see `log_probabilities`.
    """
    found = np.exp(log_probabilities(logits))
    if found.shape[-1] < 2:
        raise InputError("a margin needs at least two choices")
    two = np.partition(found, -2, axis=-1)
    return np.asarray(two[..., -1] - two[..., -2])


def perplexity(token_logprobs: Any, mask: Any = None) -> Floats:
    """(...) perplexity of an answer of several tokens, exp of the mean of −ln p over them; at least 1.

    Args:
        token_logprobs: (..., T) log-probability of each token of the answer, at most 0.
        mask: (..., T) true where there is a token; None: everywhere.

    Raises:
        InputError: a log-probability above 0, or a mask of another shape.
        EmptyGroup: an answer without tokens.
        NonFiniteScores: a token that is NaN or infinite, or a perplexity too large for float64.
    """
    values = _array(token_logprobs, "token log-probabilities")
    taken = np.ones(values.shape, np.bool_) if mask is None else np.asarray(mask)
    if taken.dtype != np.bool_ or taken.shape != values.shape:
        raise InputError(
            f"mask must hold true or false in the shape {values.shape}, got {taken.dtype} {taken.shape}"
        )
    count = taken.sum(axis=-1)
    if values.shape[-1] == 0 or not count.all():
        raise EmptyGroup(f"an answer without tokens has no perplexity: {_first_row(count == 0)}")
    values = np.where(taken, values, 0.0)
    _refuse(~np.isfinite(values).all(axis=-1), "token log-probabilities")
    if (values > _OVER_ONE).any():
        raise InputError(
            f"a log-probability is at most 0, got {values.max()} in {_first_row((values > _OVER_ONE).any(axis=-1))}"
        )
    with np.errstate(over="ignore"):
        found = np.exp(np.maximum(-values.sum(axis=-1) / count, 0.0))
    _refuse(~np.isfinite(found), "perplexities")
    return np.asarray(found)


@dataclass(frozen=True)
class TopKEntropy:
    """What k log-probabilities of a longer list say about its entropy, in nats; each array has the shape (...).

    `lower <= H <= upper`. `renormalized` is the entropy of the k alone, scaled to sum to 1: neither bound nor estimate,
    but what other tools report.
    """

    lower: Floats
    upper: Floats | None  # None where the size of the vocabulary was not given
    renormalized: Floats
    mass: Floats  # probability of the k together
    truncated: Flags  # true where more than rounding is missing: the entropy is not exact


def top_k_entropy(top_logprobs: Any, *, vocabulary: int | None = None) -> TopKEntropy:
    """Bounds of an entropy of which only the k largest log-probabilities are known, as services return them.

    With r = 1 − Σ_k p the missing mass, none of whose tokens is likelier than the k-th:

        −Σ_k p ln p − r ln p_k  <=  H  <=  −Σ_k p ln p − r ln(r / (V − k))

    Args:
        top_logprobs: (..., k) the largest log-probabilities, in any order; −inf for none.
        vocabulary: V, for the upper bound; None: no upper bound.

    Raises:
        InputError: a sum above 1, k above V, or k = V and mass is missing.
        NonFiniteScores, EmptyGroup: see `log_probabilities`.
    """
    values = _numbers(top_logprobs, "top log-probabilities")
    mass = _mass(values)
    k = values.shape[-1]
    rest = 1 - mass
    known = -_plogp(values).sum(axis=-1)
    least = np.where(np.isfinite(values), values, np.inf).min(axis=-1)
    lower = np.maximum(known - rest * least, 0.0)
    truncated = np.asarray(rest > _OVER_ONE)
    upper = None
    if vocabulary is not None:
        if vocabulary < k:
            raise InputError(f"{k} log-probabilities of a vocabulary of {vocabulary}")
        if vocabulary == k and truncated.any():
            raise InputError(
                f"all {k} log-probabilities were given and sum to less than 1: {_first_row(truncated)}"
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.where(rest > 0, -rest * (np.log(rest) - math.log(max(vocabulary - k, 1))), 0.0)
        upper = np.asarray(known + spread)
    return TopKEntropy(lower, upper, option_entropy(values), mass, truncated)


# --- arrays ------------------------------------------------------------------------------------------


def _plogp(logp: Floats) -> Floats:
    """p ln p, and 0 where p is 0."""
    return np.asarray(np.exp(logp) * np.where(np.isneginf(logp), 0.0, logp))


def _mass(logprobs: Floats) -> Floats:
    with np.errstate(over="ignore"):
        total = np.exp(logprobs).sum(axis=-1)
    over = total > 1 + _OVER_ONE
    if over.any():
        raise InputError(
            f"probabilities sum to {total[over].flat[0] if total.ndim else total:.6g} in {_first_row(over)}: give "
            "log-probabilities and not logits, of options of which none begins another"
        )
    return np.asarray(np.minimum(total, 1.0))


def _array(values: Any, what: str) -> Floats:
    """(..., V) in float64, from what NumPy takes or from a tensor, bfloat16 too."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    array = np.asarray(values)
    if array.ndim == 0:
        raise InputError(f"{what} need an axis of choices, got a single number")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what} must be numbers, got values of type {array.dtype}")
    return array.astype(np.float64)


def _numbers(values: Any, what: str, *, may_be_impossible: bool = False) -> Floats:
    array = _array(values, what)
    if array.shape[-1] == 0:
        raise EmptyGroup(f"{what}: there is nothing to choose from")
    wrong = np.isnan(array).any(axis=-1) | np.isposinf(array).any(axis=-1)
    if not may_be_impossible:
        wrong |= np.isneginf(array).all(axis=-1)
    _refuse(wrong, what)
    return array


def _refuse(wrong: Any, what: str) -> None:
    if np.any(wrong):
        places = np.argwhere(np.asarray(wrong))
        raise NonFiniteScores(
            what, [int(place[0]) if place.size == 1 else tuple(place.tolist()) for place in places]
        )


def _first_row(wrong: Any) -> str:
    places = np.argwhere(np.asarray(wrong))
    if not places.size:
        return "the only row"
    return f"row {places[0][0] if places[0].size == 1 else tuple(places[0].tolist())}"
