"""From predictive strength to two classes of documents.

Strength has few levels (16 for six models), so ties at the edge of a class are the rule. They are broken by
a seeded order of the document *ids*: neither the order of the input nor the sort's whim decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.corpora.ids import seeded_order
from firsthand.data.preselect.errors import EmptyClassError
from firsthand.data.preselect.strength import level_histogram
from firsthand.errors import InputError

__all__ = ["Positives", "build_labels"]

Positives = Literal["exact", "quantile", "auto"]
Indices = NDArray[np.intp]


def build_labels(
    strength: ArrayLike,
    *,
    positives: Positives = "exact",
    q: float = 0.25,
    balance: bool = True,
    seed: int = 0,
    ids: Sequence[str] | None = None,
    max_per_class: int = 200_000,
    min_per_class: int = 50,
) -> tuple[Indices, Indices]:
    """Which documents teach the scorer "predictive" and which "not".

    Args:
        strength: (D,) S of each document; NaN ones are in neither class.
        positives: "exact" (the official way): every document with S = 1, and as many of the lowest, walking
            the levels upward. "quantile": the top and the bottom `q` of the documents. "auto": exact where
            at least `min_per_class` documents reach S = 1, else quantile.
        q: the quantile, in (0, 0.5].
        balance: as many negatives as positives (the larger class is cut); else every document that is not
            positive is negative.
        seed: seeds the order in which equals are taken.
        ids: (D,) unique ids. Without them positions stand in, and the choice among equals then depends on
            the order of the input.
        max_per_class: at most this many of each.
        min_per_class: fewer of either class is an error.

    Returns:
        (indices of positives, indices of negatives), both ascending and disjoint.

    Raises:
        EmptyClassError: a class has fewer than `min_per_class` documents.
        InputError: a bad `q`, ids that repeat or do not match.
    """
    s = np.asarray(strength, dtype=np.float64)
    if s.ndim != 1:
        raise InputError(f"strength must have one dimension, its shape is {s.shape}")
    if positives not in ("exact", "quantile", "auto"):
        raise InputError(f"positives must be 'exact', 'quantile' or 'auto', not {positives!r}")
    if not 0 < q <= 0.5:
        raise InputError(f"q must be above 0 and at most 0.5, got {q}")
    if max_per_class < 1 or min_per_class < 1:
        raise InputError("max_per_class and min_per_class must be at least 1")
    names = [str(i) for i in range(s.size)] if ids is None else list(ids)
    if len(names) != s.size:
        raise InputError(f"there are {s.size} strengths and {len(names)} ids")
    if len(set(names)) != len(names):
        raise InputError("ids repeat: each document needs an id of its own")

    there = np.flatnonzero(~np.isnan(s))
    keys = seeded_order([names[i] for i in there], seed)
    upward = there[np.lexsort((keys, s[there]))]
    downward = there[np.lexsort((keys, -s[there]))]

    if positives == "auto":
        positives = "exact" if int((s == 1.0).sum()) >= min_per_class else "quantile"
    n_top = int((s == 1.0).sum()) if positives == "exact" else math.floor(q * there.size + 0.5)
    n_rest = there.size - n_top  # no document is in both classes
    n_top, n_bottom = min(n_top, max_per_class), min(n_rest, max_per_class)
    if balance:
        n_top = n_bottom = min(n_top, n_bottom)
    top, bottom = downward[:n_top], upward[:n_bottom]
    for label, members in (("positive", top), ("negative", bottom)):
        if members.size < min_per_class:
            raise EmptyClassError(_too_few(label, members.size, min_per_class, positives, s))
    return np.sort(top), np.sort(bottom)


def _too_few(label: str, n: int, least: int, positives: str, strength: NDArray[np.float64]) -> str:
    levels = "; ".join(level_histogram(strength, warn_above=1.0).lines()) or "no document has a strength"
    advice = (
        "use positives='quantile', or a larger seed sample"
        if positives == "exact"
        else "use a larger seed sample, or a larger q"
    )
    return f"the {label} class has {n} documents and needs {least}. Levels: {levels}. Advice: {advice}"
