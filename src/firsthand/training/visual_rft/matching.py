"""Predicted boxes against true ones: greedy, in order of confidence, each true box once (section 3.2).

The rule: predictions in descending confidence (equal ones in the order given); each takes the free true box of
highest IoU; it is a match where that IoU is above the threshold, strictly, and is recorded as 0 otherwise. Many
images at once are arrays: a step of the greedy rule is taken for all of them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firsthand.training.visual_rft.answers import Detection
from firsthand.training.visual_rft.errors import RewardInputError
from firsthand.vision import Box

__all__ = ["Boxes", "Match", "Matched", "match_boxes", "match_detections", "packed"]


class Match(NamedTuple):
    """One prediction: the IoU it is credited with (0 where it matches nothing), its confidence, whom it matched."""

    iou: float
    confidence: float
    truth: int | None


@dataclass(frozen=True)
class Boxes:
    """Boxes of N images, padded to the longest list.

    Attributes:
        edges: (N, P, 4), x1, y1, x2, y2.
        confidence: (N, P).
        labels: (N, P), whole numbers; equal ones are one class.
        present: (N, P), False where padded.
    """

    edges: NDArray[np.float64]
    confidence: NDArray[np.float64]
    labels: NDArray[np.int64]
    present: NDArray[np.bool_]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many each image has (N,)."""
        counted: NDArray[np.int64] = self.present.sum(axis=1)
        return counted


@dataclass(frozen=True)
class Matched:
    """What each prediction was credited with: IoU (N, P), 0 where it matched nothing, and whom it matched, or -1."""

    iou: NDArray[np.float64]
    truth: NDArray[np.int64]


def packed(
    lists: Sequence[Sequence[Detection]], classes: dict[str | None, int] | None = None, *, truth: bool = False
) -> Boxes:
    """Lists of detections as arrays; boxes that repeat an earlier one of their image (and class) are left out.

    `classes` gives each label its number and grows with new ones: use the same one for predictions and truth. Of
    `truth`, every box must have an area and finite edges, else `RewardInputError` says which; of predictions, one
    that has none overlaps nothing.
    """
    known = {} if classes is None else classes
    kept = []
    for row, detections in enumerate(lists):
        unique: dict[tuple[Box, str | None], Detection] = {}
        for detection in detections:
            unique.setdefault((detection.box, detection.label), detection)
        chosen = list(unique.values())
        kept.append(chosen)
        for place, detection in enumerate(chosen if truth else ()):
            x1, y1, x2, y2 = detection.box
            if not (np.isfinite(detection.box).all() and x2 > x1 and y2 > y1):
                raise RewardInputError(
                    f"ground truth {row}, box {place}: {detection.box} is no box with an area"
                )
    longest = max((len(chosen) for chosen in kept), default=0)
    shape = (len(kept), longest)
    edges = np.zeros((*shape, 4))
    confidence, labels, present = (
        np.zeros(shape),
        np.zeros(shape, dtype=np.int64),
        np.zeros(shape, dtype=bool),
    )
    for row, chosen in enumerate(kept):
        if not chosen:
            continue
        count = len(chosen)
        edges[row, :count] = [d.box for d in chosen]
        confidence[row, :count] = [d.confidence for d in chosen]
        labels[row, :count] = [known.setdefault(d.label, len(known)) for d in chosen]
        present[row, :count] = True
    return Boxes(edges, confidence, labels, present)


def match_boxes(
    predicted: Boxes, truth: Boxes, *, iou_threshold: float = 0.5, class_aware: bool = False
) -> Matched:
    """Match the predictions of N images with their true boxes, in place of the predictions' own order."""
    images, predictions = predicted.present.shape
    overlap = _overlaps(predicted, truth)  # (N, P, M)
    if class_aware:
        overlap[predicted.labels[:, :, None] != truth.labels[:, None, :]] = 0
    credited = np.zeros((images, predictions))
    partner = np.full((images, predictions), -1, dtype=np.int64)
    if truth.present.shape[1] == 0:
        return Matched(credited, partner)
    sure = np.where(predicted.present, predicted.confidence, -np.inf)
    order = np.argsort(-sure, axis=1, kind="stable")
    free = truth.present.copy()
    rows = np.arange(images)
    for rank in range(predictions):
        chosen = order[:, rank]
        available = np.where(free, overlap[rows, chosen], -1.0)
        best = available.argmax(axis=1)
        value = available[rows, best]
        hit = (value > iou_threshold) & predicted.present[rows, chosen]
        credited[rows[hit], chosen[hit]] = value[hit]
        partner[rows[hit], chosen[hit]] = best[hit]
        free[rows[hit], best[hit]] = False
    return Matched(credited, partner)


def _overlaps(a: Boxes, b: Boxes) -> NDArray[Any]:
    """IoU (N, P, M); 0 for what is padded or has no area."""
    with np.errstate(invalid="ignore", over="ignore"):
        one, other = a.edges[:, :, None], b.edges[:, None]
        sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
        shared = np.clip(sides, 0, None).prod(axis=-1)
        areas = [
            np.clip(boxes.edges[..., 2:] - boxes.edges[..., :2], 0, None).prod(axis=-1) for boxes in (a, b)
        ]
        joined = areas[0][:, :, None] + areas[1][:, None] - shared
        found = np.where(joined > 0, shared / np.where(joined > 0, joined, 1), 0.0)
    found[~(a.present[:, :, None] & b.present[:, None])] = 0
    return np.nan_to_num(found, nan=0.0, posinf=0.0)


def match_detections(
    predicted: Sequence[Detection],
    truth: Sequence[Detection],
    iou_threshold: float = 0.5,
    class_aware: bool = False,
) -> list[Match]:
    """One image's predictions in the order in which they are matched: descending confidence.

    Boxes that repeat an earlier one are left out. With `class_aware` a box matches only its own label.
    """
    classes: dict[str | None, int] = {}
    mine, theirs = packed([predicted], classes), packed([truth], classes, truth=True)
    found = match_boxes(mine, theirs, iou_threshold=iou_threshold, class_aware=class_aware)
    order = np.argsort(-mine.confidence[0], kind="stable")
    return [
        Match(
            float(found.iou[0, place]),
            float(mine.confidence[0, place]),
            None if found.truth[0, place] < 0 else int(found.truth[0, place]),
        )
        for place in order
    ]
