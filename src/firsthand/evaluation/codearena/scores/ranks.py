"""Ranks of scores, and how far two rankings agree. Knows arrays and nothing of what they score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["TIE", "Floats", "kendall_tau_b", "ranks_of"]

Floats = NDArray[np.float64]

TIE = 1e-9  # scores closer than this differ by rounding only


def ranks_of(scores: Floats) -> NDArray[np.int64]:
    """Ranks along the last axis, 1 for the highest score; equal scores share one: 1, 1, 3.

    Scores that follow each other within 1e-9 count as equal.
    """
    order = np.argsort(-scores, axis=-1, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=-1)
    places = np.ones(scores.shape, np.int64)
    lower = ordered[..., :-1] - ordered[..., 1:] > TIE
    places[..., 1:] = np.where(lower, np.arange(2, scores.shape[-1] + 1), 0)
    ranks = np.empty_like(places)
    np.put_along_axis(ranks, order, np.maximum.accumulate(places, axis=-1), axis=-1)
    return ranks


def kendall_tau_b(scores: Floats, others: Floats) -> Floats:
    """(..., n) scores and (n,) others -> (...) Kendall's τ_b; values within 1e-9 are ties.

    NaN where all scores, or all of the others, are equal.
    """
    above = np.triu_indices(others.size, 1)

    def signs_of(values: Floats) -> Floats:
        gaps = (values[..., :, None] - values[..., None, :])[..., above[0], above[1]]
        return np.where(np.abs(gaps) > TIE, np.sign(gaps), 0.0)

    signs, wanted = signs_of(scores), signs_of(others)
    with np.errstate(invalid="ignore"):
        pairs = np.count_nonzero(signs, axis=-1) * np.count_nonzero(wanted)
        return np.asarray((signs * wanted).sum(axis=-1) / np.sqrt(pairs))
