"""How good is a scorer? Train on nine tenths of the labels, report on the last.

Which documents are held out depends on ids and seed, never on the order of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.corpora.ids import seeded_order
from firsthand.data.preselect.scorer import Scorer
from firsthand.errors import InputError

__all__ = ["HoldOutReport", "holdout_report", "train_scorer"]


@dataclass(frozen=True)
class HoldOutReport:
    """Measured on documents that training did not see."""

    n: int
    accuracy: float  # share on the right side of 0.5
    auc: float  # P(a positive scores above a negative), ties one half; NaN with one class only
    decile_n: int  # documents in the tenth that scores highest
    decile_mean_score: float  # what the scorer says of them
    decile_positive_share: float  # what they are

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def holdout_report(y: ArrayLike, scores: ArrayLike) -> HoldOutReport:
    """Accuracy, AUC and the calibration of the top decile.

    Args:
        y: (n,) labels 0 or 1.
        scores: (n,) P(label 1); NaN ones are left out.
    """
    labels = np.asarray(y, dtype=np.int64)
    p = np.asarray(scores, dtype=np.float64)
    if labels.shape != p.shape or labels.ndim != 1:
        raise InputError(f"labels have shape {labels.shape} and scores {p.shape}; both must be (n,)")
    there = ~np.isnan(p)
    labels, p = labels[there], p[there]
    n = labels.size
    if n == 0:
        raise InputError("no document was held out that has a score")
    size = max(1, round(n / 10))
    # At the decile's edge equal scores share their label, so that no order of the input decides.
    edge = np.sort(p)[::-1][size - 1]
    above, at = p > edge, p == edge
    room = (size - above.sum()) / at.sum()
    share = (labels[above].sum() + room * labels[at].sum()) / size
    mean = (p[above].sum() + room * p[at].sum()) / size
    return HoldOutReport(
        n, float(((p >= 0.5) == labels).mean()), _auc(labels, p), size, float(mean), float(share)
    )


def _auc(labels: NDArray[np.int64], p: NDArray[np.float64]) -> float:
    from scipy.stats import rankdata

    positives = int(labels.sum())
    negatives = labels.size - positives
    if not positives or not negatives:
        return float("nan")
    rank_sum = rankdata(p)[labels == 1].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def train_scorer(
    scorer: Scorer,
    texts: Sequence[str],
    y: ArrayLike,
    ids: Sequence[str],
    *,
    holdout: float = 0.1,
    seed: int = 0,
) -> HoldOutReport | None:
    """Fit `scorer` on all but a share `holdout` of each class, and report on that share.

    Returns:
        The report, or None with `holdout=0` (then everything is trained on, as the official code does).
    """
    if not 0 <= holdout < 1:
        raise InputError(f"holdout must be at least 0 and below 1, got {holdout}")
    labels = np.asarray(y, dtype=np.int64)
    if not labels.size == len(texts) == len(ids):
        raise InputError(f"there are {len(texts)} texts, {labels.size} labels and {len(ids)} ids")
    out = np.zeros(labels.size, dtype=bool)
    if holdout:
        keys = seeded_order(ids, seed)
        for label in (0, 1):
            members = np.flatnonzero(labels == label)
            chosen = members[np.argsort(keys[members], kind="stable")]
            out[chosen[: max(1, round(holdout * members.size))] if members.size > 1 else chosen[:0]] = True
    scorer.fit([texts[i] for i in np.flatnonzero(~out).tolist()], labels[~out])
    if not out.any():
        return None
    return holdout_report(labels[out], scorer.predict_proba([texts[i] for i in np.flatnonzero(out).tolist()]))
