"""How good predictions are, with intervals: average precision of boxes, overlap of single boxes, share of right names.

Average precision follows COCO's protocol (101 recall points, IoU 0.5 to 0.95, at most 100 boxes an image, no crowds
and no areas). All annotated classes of all images are asked for, whatever another model found. Intervals are over
images: Wilson's for shares, bootstrap for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.training.visual_rft.answers import Detection, answered_boxes, parse_box
from firsthand.training.visual_rft.rewards import classification_reward
from firsthand.vision import Box, iou, iou_matrix

__all__ = [
    "IOU_THRESHOLDS",
    "Estimate",
    "average_precision",
    "evaluate_classification",
    "evaluate_detection",
    "evaluate_grounding",
    "read_answers",
    "share",
]

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
_MOST = 100  # boxes of an image that count, the surest ones
_RECALLS = np.linspace(0, 1, 101)
_RESAMPLES = 500


class Estimate(NamedTuple):
    """A value, the ends of its 95 % interval, and of how many images it speaks."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class _Class:
    """One class over all images: scores, hits and images of its predictions in falling score; true boxes an image."""

    hits: NDArray[np.bool_]  # (thresholds, D)
    images: NDArray[np.int64]  # (D,)
    truth: NDArray[np.int64]  # (images,)

    def precision(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """AP at each threshold, every image counted `weights` (images,) times; NaN without a true box."""
        positives = float(self.truth @ weights)
        if positives == 0:
            return np.full(len(self.hits), np.nan)
        if self.hits.shape[1] == 0:
            return np.zeros(len(self.hits))
        times = weights[self.images]
        right = np.cumsum(self.hits * times, axis=1)
        seen = np.cumsum(times)
        recall = right / positives
        precise = right / np.maximum(seen, np.finfo(float).tiny)
        envelope = np.maximum.accumulate(precise[:, ::-1], axis=1)[:, ::-1]
        found = np.empty(len(self.hits))
        for row in range(len(self.hits)):
            places = np.searchsorted(recall[row], _RECALLS, side="left")
            inside = places < envelope.shape[1]
            found[row] = envelope[row, places[inside]].sum() / len(_RECALLS)
        return found


def _class(
    predicted: Sequence[Sequence[Detection]], truth: Sequence[Sequence[Detection]], label: str | None,
    thresholds: Sequence[float],
) -> _Class:  # fmt: skip
    scores: list[float] = []
    images: list[int] = []
    hits: list[NDArray[np.bool_]] = []
    counts = np.zeros(len(truth), dtype=np.int64)
    for image, (guesses, answers) in enumerate(zip(predicted, truth, strict=True)):
        right = [d.box for d in answers if d.label == label]
        counts[image] = len(right)
        mine = sorted((d for d in guesses if d.label == label), key=lambda d: -d.confidence)[:_MOST]
        if not mine:
            continue
        scores += [d.confidence for d in mine]
        images += [image] * len(mine)
        hits.append(_hits(mine, right, thresholds))
    if not scores:
        return _Class(np.zeros((len(thresholds), 0), dtype=bool), np.zeros(0, dtype=np.int64), counts)
    order = np.argsort(-np.array(scores), kind="stable")
    return _Class(np.concatenate(hits, axis=1)[:, order], np.array(images)[order], counts)


def _hits(mine: Sequence[Detection], right: Sequence[Box], thresholds: Sequence[float]) -> NDArray[np.bool_]:
    """Which predictions (in falling score) hit a box of their own, at each threshold (T, D)."""
    found = np.zeros((len(thresholds), len(mine)), dtype=bool)
    if not right:
        return found
    overlap = np.zeros((len(mine), len(right)))
    whole = [place for place, d in enumerate(mine) if d.box[2] > d.box[0] and d.box[3] > d.box[1]]
    if whole:
        overlap[whole] = iou_matrix([mine[place].box for place in whole], right)
    for row, threshold in enumerate(thresholds):
        free = np.ones(len(right), dtype=bool)
        for place in range(len(mine)):
            values = np.where(free, overlap[place], -1)
            best = len(right) - 1 - int(values[::-1].argmax())  # of equal ones the last, as COCO's code takes
            if values[best] >= min(threshold, 1 - 1e-10):
                found[row, place] = True
                free[best] = False
    return found


def average_precision(
    predicted: Sequence[Sequence[Detection]],
    truth: Sequence[Sequence[Detection]],
    *,
    thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> float:
    """Mean over classes and `thresholds` of COCO's average precision, 0 to 1; NaN without any true box.

    One list of detections an image each; classes are the labels of true boxes.
    """
    return _over_classes(predicted, truth, thresholds)(np.ones(len(truth)))


def _over_classes(
    predicted: Sequence[Sequence[Detection]],
    truth: Sequence[Sequence[Detection]],
    thresholds: Sequence[float],
) -> Callable[[NDArray[np.float64]], float]:
    if len(predicted) != len(truth) or not len(truth):
        raise InputError(f"{len(predicted)} lists of predictions for {len(truth)} images")
    labels = sorted({d.label for answers in truth for d in answers}, key=str)
    classes = [_class(predicted, truth, label, thresholds) for label in labels]

    def value(weights: NDArray[np.float64]) -> float:
        found = [float(np.mean(c.precision(weights))) for c in classes]
        known = [one for one in found if not math.isnan(one)]
        return float(np.mean(known)) if known else math.nan

    return value


def evaluate_detection(
    predicted: Sequence[Sequence[Detection] | None], truth: Sequence[Sequence[Detection]], *, seed: int = 0
) -> dict[str, Estimate]:
    """AP over IoU 0.5 to 0.95, AP50, and "parsed": the share of answers that could be read; None could not."""
    lists = [list(p or []) for p in predicted]
    found = {"parsed": share([p is not None for p in predicted])}
    for name, thresholds in (("AP", IOU_THRESHOLDS), ("AP50", (0.5,))):
        value = _over_classes(lists, truth, thresholds)
        found[name] = _bootstrap(value, len(truth), seed)
    return found


def evaluate_grounding(texts: Sequence[str], truth: Sequence[Box]) -> dict[str, Estimate]:
    """ "mIoU" of the answers' boxes, 0 for one that cannot be read, and "IoU>0.5"."""
    if len(texts) != len(truth) or not texts:
        raise InputError(f"{len(texts)} answers for {len(truth)} boxes")
    overlaps = np.array([_overlap(parse_box(text), box) for text, box in zip(texts, truth, strict=True)])
    return {
        "mIoU": _bootstrap(lambda weights: float(np.average(overlaps, weights=weights)), len(texts), 0),
        "IoU>0.5": share(overlaps > 0.5),
    }


def _overlap(mine: Box | None, truth: Box) -> float:
    return iou(mine, truth) if mine is not None and mine[2] > mine[0] and mine[3] > mine[1] else 0.0


def evaluate_classification(
    texts: Sequence[str], labels: Sequence[str], *, classes: Sequence[str] | None = None
) -> dict[str, Estimate]:
    """ "accuracy" by the strict rule, and "accuracy (substring)" by the official one, which flatters."""
    if len(texts) != len(labels) or not texts:
        raise InputError(f"{len(texts)} answers for {len(labels)} labels")
    strict = [
        classification_reward(t, name, classes=classes) > 0 for t, name in zip(texts, labels, strict=True)
    ]
    loose = [
        classification_reward(t, name, mode="substring") > 0 for t, name in zip(texts, labels, strict=True)
    ]
    return {"accuracy": share(strict), "accuracy (substring)": share(loose)}


def read_answers(texts: Sequence[str], label: str | None = None) -> list[list[Detection] | None]:
    """Detections of each answer, with `label` where the answer names none; None for what cannot be read.

    An answer that says there is nothing has no detections, which is not the same.
    """
    found = []
    for text in texts:
        parsed = answered_boxes(text)
        found.append(
            None
            if parsed is None
            else [Detection(d.box, d.confidence, label if d.label is None else d.label) for d in parsed]
        )
    return found


def share(hits: Sequence[bool] | NDArray[np.bool_]) -> Estimate:
    """A proportion with Wilson's interval."""
    n, right = len(hits), int(np.sum(hits))
    z = 1.959963984540054
    p, spread = right / n, z * z / n
    middle = (p + spread / 2) / (1 + spread)
    half = z * math.sqrt(p * (1 - p) / n + spread / (4 * n)) / (1 + spread)
    return Estimate(p, max(0.0, middle - half), min(1.0, middle + half), n)


def _bootstrap(value: Callable[[NDArray[np.float64]], float], n: int, seed: int) -> Estimate:
    """The value with every image once, and the middle 95 % of it with images drawn anew."""
    rng = np.random.default_rng(seed)
    draws = [value(rng.multinomial(n, [1 / n] * n).astype(float)) for _ in range(_RESAMPLES)]
    known = [draw for draw in draws if not math.isnan(draw)]
    low, high = np.quantile(known, [0.025, 0.975]) if known else (math.nan, math.nan)
    return Estimate(value(np.ones(n)), float(low), float(high), n)
