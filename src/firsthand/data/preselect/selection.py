"""What is kept: the arms that a selection is compared with, all cut at the same size.

Works on arrays in memory; `corpus` does the same for files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.corpora.ids import seeded_order
from firsthand.corpora.threshold import Measure, Threshold, threshold_for
from firsthand.data.preselect.scorer import Scorer
from firsthand.data.preselect.scorers import ScorerKind, make_scorer
from firsthand.errors import InputError

__all__ = [
    "Measure",
    "Selection",
    "lowest_loss_selection",
    "positives_classifier",
    "random_selection",
    "select_by_score",
]


@dataclass(frozen=True)
class Selection:
    """The kept documents as ascending positions, and the threshold that cut them off."""

    indices: NDArray[np.intp]
    threshold: Threshold


def select_by_score(
    scores: ArrayLike, sizes: ArrayLike, fraction: float, *, ids: Sequence[str] | None = None, seed: int = 0
) -> Selection:
    """Keep the highest scores: the fewest that reach `fraction` of the size; see `threshold_for`."""
    threshold = threshold_for(scores, sizes, fraction, ids=ids, seed=seed)
    return Selection(np.flatnonzero(threshold.keep(scores, ids)), threshold)


def random_selection(
    sizes: ArrayLike, fraction: float, *, ids: Sequence[str] | None = None, seed: int = 0
) -> Selection:
    """The control: documents in a seeded order of their ids, as many as reach `fraction` of the size."""
    return select_by_score(np.zeros(np.asarray(sizes).shape), sizes, fraction, ids=ids, seed=seed)


def lowest_loss_selection(
    bits: ArrayLike, sizes: ArrayLike, fraction: float, *, ids: Sequence[str] | None = None, seed: int = 0
) -> Selection:
    """Keep what one model compresses best ("low perplexity").

    Args:
        bits: (n,) loss per character (`bits_per_char`), so that documents of unlike length and models of
            unlike tokenizer compare; NaN = no loss, never kept.
        sizes, fraction, ids, seed: as in `threshold_for`.
    """
    return select_by_score(-np.asarray(bits, dtype=np.float64), sizes, fraction, ids=ids, seed=seed)


def positives_classifier(
    positive_texts: Sequence[str],
    pool_texts: Sequence[str],
    *,
    pool_ids: Sequence[str] | None = None,
    scorer: Scorer | ScorerKind = "auto",
    max_per_class: int = 200_000,
    seed: int = 0,
    **parameters: Any,
) -> Scorer:
    """A scorer in the way of DCLM: texts that you call good, against a random sample of the pool.

    Args:
        positive_texts: your own examples of what you want more of.
        pool_texts: what is selected from; as many as there are positives are drawn for the other class.
        pool_ids: ids by which they are drawn; without them positions stand in.
        scorer: an untrained scorer, or its kind with `parameters`.
        max_per_class: at most this many of each.
        seed: seeds the draw.
    """
    if not positive_texts or not pool_texts:
        raise InputError("positives_classifier needs at least one positive text and one text of the pool")
    names = [str(i) for i in range(len(pool_texts))] if pool_ids is None else list(pool_ids)
    if len(names) != len(pool_texts):
        raise InputError(f"there are {len(pool_texts)} pool texts and {len(names)} ids")
    n = min(len(positive_texts), len(pool_texts), max_per_class)
    positives = [positive_texts[i] for i in np.argsort(seeded_order(positive_texts, seed), kind="stable")[:n]]
    drawn = np.argsort(seeded_order(names, seed), kind="stable")[:n]
    model = make_scorer(scorer, seed=seed, **parameters) if isinstance(scorer, str) else scorer
    return model.fit(positives + [pool_texts[i] for i in drawn], np.repeat([1, 0], n))
