"""Scores (arXiv 2503.01714): how near a scrambled word is to the intact one, and to what the model says next.

    SemRecScore(L) = cos(x_o(L), x_s(L))                      hidden states of one layer, last piece of each word
    R              = (s − floor) / (ceiling − floor)          1: as near as the intact word so cut; 0: as a wrong word
    KL             = Σ_v p_o(v) (log p_o(v) − log p_s(v))     next-token distributions
    NegCorrRate(Δ) = mean over texts of the share of pairs of levels Δ apart in which s and KL move against each other

All by log-softmax in float32 or float64 and without an epsilon: the official 1e-12 is 0 in half precision.

Knows arrays. Knows no words, tokenizers or models.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError

__all__ = [
    "floats_of",
    "kl_divergence",
    "log_softmax",
    "neg_corr_rate",
    "rescaled_score",
    "sem_rec_score",
    "top1_agreement",
]

Floats = NDArray[np.float64]
Precision = Literal["float32", "float64"]


def floats_of(values: Any, name: str, *, infinite: bool = False) -> Floats:
    """Numbers of any kind, torch tensors of any precision and device among them, as a float64 array.

    Args:
        values: what to read.
        name: for the message.
        infinite: whether infinities are allowed; NaN never is.

    Raises:
        InputError: not numbers, or NaN.
    """
    if hasattr(values, "detach"):  # numpy does not read bfloat16 or what is on a GPU
        values = values.detach().double().cpu().numpy()
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers in rows of equal length: {error}") from error
    wrong = np.isnan(found) if infinite else ~np.isfinite(found)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise InputError(
            f"{name} must be {'numbers' if infinite else 'finite'}, got {found[place]} at {place}"
        )
    return found


def sem_rec_score(h_original: Any, h_scrambled: Any) -> Any:
    """SemRecScore, the cosine of two hidden states, in float64 (the module has the formula).

    Args:
        h_original: (d,) or (..., d), of the intact word.
        h_scrambled: the same shape, or one that broadcasts to it.

    Returns:
        A float for two vectors, else an array (...), from −1 to 1.

    Raises:
        InputError: a vector of zeros, shapes that do not fit, or what is not finite.
    """
    one, other = floats_of(h_original, "h_original"), floats_of(h_scrambled, "h_scrambled")
    if not one.ndim or not other.ndim or one.shape[-1] != other.shape[-1] or not one.shape[-1]:
        raise InputError(f"hidden states need one width, got shapes {one.shape} and {other.shape}")
    one, other = _unit(one, "h_original"), _unit(other, "h_scrambled")
    try:
        cosine = np.clip((one * other).sum(-1), -1, 1)
    except ValueError as error:
        raise InputError(f"shapes {one.shape} and {other.shape} do not fit each other") from error
    return cosine if cosine.ndim else float(cosine)


def rescaled_score(
    score: Any, floor: Any, ceiling: Any, *, undefined: Literal["raise", "nan"] = "raise"
) -> Any:
    """R = (s − floor) / (ceiling − floor), elementwise.

    1 is as near as the intact word in as many pieces (ceiling), 0 no nearer than a wrong word in as many pieces
    (floor). It may be negative. Where the ceiling is not above the floor, R says nothing.

    Args:
        score, floor, ceiling: numbers, or arrays that broadcast.
        undefined: what to do where the ceiling is not above the floor: raise, or give NaN.

    Returns:
        A float for three numbers, else an array.

    Raises:
        InputError: a ceiling that is not above its floor, or what is not finite.
    """
    if undefined not in ("raise", "nan"):
        raise InputError(f"undefined must be one of raise, nan, got {undefined!r}")
    s, low, high = (
        floats_of(values, name) for values, name in ((score, "score"), (floor, "floor"), (ceiling, "ceiling"))
    )
    try:
        s, low, high = np.broadcast_arrays(s, low, high)
    except ValueError as error:
        raise InputError(f"score, floor and ceiling do not fit each other: {error}") from error
    flat = high <= low
    if flat.any() and undefined == "raise":
        place = tuple(int(i) for i in np.argwhere(flat)[0])
        raise InputError(
            f"ceiling {high[place]:g} is not above floor {low[place]:g} at {place}: R is not defined there; "
            "average over items first, or give undefined='nan'"
        )
    found = np.divide(s - low, high - low, out=np.full(s.shape, np.nan), where=~flat)
    return found if found.ndim else float(found)


def log_softmax(logits: Any, *, dtype: Precision = "float64") -> NDArray[np.floating[Any]]:
    """log p over the last axis, (..., V); a logit of −inf has probability 0.

    Raises:
        InputError: NaN, +inf, a row of −inf only, or no logits.
    """
    if dtype not in ("float32", "float64"):
        raise InputError(f"dtype must be one of float32, float64, got {dtype!r}")
    z = floats_of(logits, "logits", infinite=True)
    if not z.ndim or not z.shape[-1]:
        raise InputError(f"logits need a last axis of at least one token, got shape {z.shape}")
    top = z.max(-1, keepdims=True)
    if not np.isfinite(top).all():
        raise InputError("logits: a row's largest must be finite")
    z = (z - top).astype(dtype)
    return np.asarray(z - np.log(np.exp(z).sum(-1, keepdims=True)))


def kl_divergence(logits_p: Any, logits_q: Any, *, dtype: Precision = "float64") -> Any:
    """KL(p ‖ q) in nats of the distributions of two rows of logits.

    Args:
        logits_p: (V,) or (..., V), of the intact text.
        logits_q: the same shape, of the scrambled one.
        dtype: precision of the logarithms; the sum is in float64.

    Returns:
        A float for two rows, else an array (...). At least 0; inf where q rules out what p allows.

    Raises:
        InputError: shapes that differ, or what `log_softmax` refuses.
    """
    p, q = _pair(logits_p, logits_q, dtype)
    p, q = p.astype(np.float64), q.astype(np.float64)
    with np.errstate(invalid="ignore"):  # −inf − −inf where both are 0; not taken
        terms = np.where(np.isneginf(p), 0.0, np.exp(p) * (p - q))
    found = np.maximum(terms.sum(-1), 0.0)  # rounding may leave −1e-17
    return found if found.ndim else float(found)


def top1_agreement(logits_p: Any, logits_q: Any) -> Any:
    """Whether two rows of logits have the same likeliest token; of equal ones the first counts.

    Returns:
        A bool for two rows (V,), else an array (...).

    Raises:
        InputError: shapes that differ, or what `log_softmax` refuses.
    """
    _pair(logits_p, logits_q, "float64")  # refuses what is no distribution
    # of the logits themselves: the softmax rounds differences of 1e-17 away
    p, q = (floats_of(logits, "logits", infinite=True) for logits in (logits_p, logits_q))
    found = p.argmax(-1) == q.argmax(-1)
    return found if found.ndim else bool(found)


def neg_corr_rate(sim: Any, kl: Any, levels: Any) -> dict[float, float]:
    """NegCorrRate by the distance Δ of two levels (the module has the formula).

    Of a text's pairs (i, j) with level j − level i = Δ, the share with (s_i − s_j)(k_i − k_j) < 0, averaged over
    texts. At Δ = 0 it is 0 by construction. A rate that rises with Δ says that SemRecScore tracks the output.

    Args:
        sim: (n, k) or (k,), SemRecScore of n texts at k levels.
        kl: the same shape.
        levels: (k,) Scramble Ratios, all different, in any order.

    Raises:
        InputError: shapes that do not fit, no text, equal levels, or what is not finite.
    """
    s, k, sr = (
        np.atleast_2d(floats_of(sim, "sim")),
        np.atleast_2d(floats_of(kl, "kl")),
        floats_of(levels, "levels"),
    )
    if s.ndim != 2 or s.shape != k.shape or sr.shape != s.shape[1:] or not s.size:
        raise InputError(
            f"sim and kl must be (n, k) and levels (k,), got {s.shape}, {k.shape} and {sr.shape}"
        )
    order = np.argsort(sr)
    s, k, sr = s[:, order], k[:, order], sr[order]
    first, second = np.triu_indices(len(sr))
    deltas = np.round(sr[second] - sr[first], 9)  # 0.3 − 0.2 and 0.2 − 0.1 are one Δ
    if np.count_nonzero(deltas == 0) > len(sr):
        raise InputError(f"levels must all be different, got {sr.tolist()}")
    against = np.sign(s[:, first] - s[:, second]) * np.sign(k[:, first] - k[:, second]) < 0  # (n, pairs)
    return {float(delta): float(against[:, deltas == delta].mean()) for delta in np.unique(deltas)}


def _unit(vectors: Floats, name: str) -> Floats:
    size = np.abs(vectors).max(-1, keepdims=True)
    if (size == 0).any():
        raise InputError(f"{name} has a vector of zeros, whose direction is not defined")
    scaled = vectors / size  # squares of very large or small numbers would leave float64
    return np.asarray(scaled / np.sqrt((scaled**2).sum(-1, keepdims=True)))


def _pair(logits_p: Any, logits_q: Any, dtype: Precision) -> tuple[NDArray[Any], NDArray[Any]]:
    p, q = log_softmax(logits_p, dtype=dtype), log_softmax(logits_q, dtype=dtype)
    if p.shape != q.shape:
        raise InputError(f"logits must have one shape, got {p.shape} and {q.shape}")
    return p, q
