"""Rewards that a short rule can give: boxes, names, one box from a sentence, and the form of the answer (section 3.2).

Each is a pure function of a text and the truth; none raises for what a model wrote. `detection_rewards` does many
answers at once in arrays, and `trl_reward` wraps any of them as a reward function for `firsthand.rl` or TRL.

    R_IoU  = min(1, Σ matched IoU / max(m, n))       n predictions, m true boxes
    R_conf = (1/n) Σ r,  r = confidence of a match, 1 − confidence of anything else

Where there is nothing to find, an answer that says so gets 1 and any other 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firsthand.training.visual_rft.answers import (
    Detection,
    answer_of,
    answered_boxes,
    parse_box,
)
from firsthand.training.visual_rft.errors import ColumnFormatError, ColumnMissingError, RewardInputError
from firsthand.training.visual_rft.matching import Boxes, match_boxes, packed
from firsthand.vision import Box, diou, giou, iou

__all__ = [
    "DetectionRewards",
    "RewardKind",
    "classification_reward",
    "confidence_reward",
    "detection_rewards",
    "format_reward",
    "grounding_reward",
    "iou_reward",
    "normalised",
    "trl_reward",
    "truth_of",
]

Denominator = Literal["max", "pred", "gt"]
RewardKind = Literal["iou", "confidence", "class", "grounding", "format"]


class DetectionRewards(NamedTuple):
    """Of N answers: R_IoU (N,) and R_conf (N,)."""

    iou: NDArray[np.float64]
    confidence: NDArray[np.float64]


def detection_rewards(
    predicted: Boxes,
    truth: Boxes,
    *,
    denominator: Denominator = "max",
    iou_threshold: float = 0.5,
    class_aware: bool = False,
    confidence_requires_match: bool = False,
) -> DetectionRewards:
    """R_IoU and R_conf of N answers whose boxes are packed; predictions of an answer that could not be read are empty.

    `denominator` is what Σ IoU is divided by: "max" of predictions and true boxes (the official code in use),
    "pred" (its first version, in which a miss costs nothing), "gt". With `confidence_requires_match` R_conf is
    Σ confidence of matches / max(m, n): a box that hits nothing earns nothing, however unsure it is.
    """
    found = match_boxes(predicted, truth, iou_threshold=iou_threshold, class_aware=class_aware)
    n, m = predicted.counts, truth.counts
    if denominator not in ("max", "pred", "gt"):
        raise RewardInputError(f"a denominator is max, pred or gt, got {denominator!r}")
    by = {"max": np.maximum(n, m), "pred": n, "gt": m}[denominator]
    overlap = np.minimum(1.0, found.iou.sum(axis=1) / np.maximum(by, 1))
    hit = (found.iou > 0) & predicted.present
    if confidence_requires_match:
        sure = (predicted.confidence * hit).sum(axis=1) / np.maximum(np.maximum(n, m), 1)
    else:
        each = np.where(hit, predicted.confidence, 1 - predicted.confidence) * predicted.present
        sure = each.sum(axis=1) / np.maximum(n, 1)
    nothing = m == 0
    overlap[nothing] = sure[nothing] = n[nothing] == 0
    return DetectionRewards(overlap, np.clip(sure, 0, 1))


def _single(
    predicted: Sequence[Detection] | None, truth: Sequence[Detection], *, negatives: bool, **options: Any
) -> DetectionRewards | None:
    """One answer's rewards; None where it could not be read."""
    if not truth and not negatives:
        raise RewardInputError("there is no true box: say negatives=True to reward an answer that says so")
    classes: dict[str | None, int] = {}
    theirs = packed([truth], classes, truth=True)
    if predicted is None:
        return None
    return detection_rewards(packed([predicted], classes), theirs, **options)


def iou_reward(
    predicted: Sequence[Detection] | None,
    truth: Sequence[Detection],
    *,
    denominator: Denominator = "max",
    iou_threshold: float = 0.5,
    class_aware: bool = False,
    negatives: bool = True,
) -> float:
    """R_IoU of one answer, 0 to 1; None (an answer that could not be read) gets 0.

    Raises `RewardInputError` for true boxes without an area, and for none at all where `negatives` is false.
    """
    found = _single(
        predicted, truth, negatives=negatives, denominator=denominator, iou_threshold=iou_threshold,
        class_aware=class_aware,
    )  # fmt: skip
    return 0.0 if found is None else float(found.iou[0])


def confidence_reward(
    predicted: Sequence[Detection] | None,
    truth: Sequence[Detection],
    *,
    iou_threshold: float = 0.5,
    class_aware: bool = False,
    confidence_requires_match: bool = False,
    negatives: bool = True,
) -> float:
    """R_conf of one answer, 0 to 1; None (an answer that could not be read) gets 0."""
    found = _single(
        predicted, truth, negatives=negatives, iou_threshold=iou_threshold, class_aware=class_aware,
        confidence_requires_match=confidence_requires_match,
    )  # fmt: skip
    return 0.0 if found is None else float(found.confidence[0])


def normalised(name: str) -> str:
    """A class name for comparison: lower case, runs of spaces, underscores and hyphens as one space, no full stop."""
    return re.sub(r"[\s_\-]+", " ", name).strip().rstrip(".").strip().lower()


def classification_reward(
    text: str,
    label: str,
    *,
    aliases: Mapping[str, Sequence[str]] | None = None,
    classes: Sequence[str] | None = None,
    mode: Literal["exact", "substring"] = "exact",
) -> float:
    """1 where the answer names the class, else 0.

    "exact" compares normalised names, with the `aliases` of each class. With `classes` an answer may be a sentence:
    it counts where it names exactly one of them, and that one is right. "substring" is the official rule, which an
    empty answer, a single letter and a list of all classes pass: for comparison only.
    """
    answer = answer_of(text)
    if answer is None:
        return 0.0
    if not normalised(label):
        raise RewardInputError("a class without a name can be answered by anything")
    if mode == "substring":
        mine, right = (re.sub(r"[\s_]", "", name).lower() for name in (answer, label))
        return float(mine in right or right in mine)
    if mode != "exact":
        raise RewardInputError(f"a mode is exact or substring, got {mode!r}")
    wanted = _names(label, aliases)
    given = normalised(answer)
    if given in wanted:
        return 1.0
    if classes is None:
        return 0.0
    named = {own for own in {*classes, label} if any(_says(given, name) for name in _names(own, aliases))}
    # "labrador" is no second answer where "labrador retriever" was given.
    for own in list(named):
        longer = [
            o
            for o in named - {own}
            if any(_says(n, m) for n in _names(o, aliases) for m in _names(own, aliases))
        ]
        without = given
        for name in sorted((n for o in longer for n in _names(o, aliases)), key=len, reverse=True):
            without = without.replace(name, " ")
        if longer and not any(_says(without, name) for name in _names(own, aliases)):
            named.discard(own)
    return float({normalised(name) for name in named} == {normalised(label)})


def _names(label: str, aliases: Mapping[str, Sequence[str]] | None) -> set[str]:
    return {normalised(label), *(normalised(other) for other in (aliases or {}).get(label, ()))}


def _says(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def grounding_reward(
    text: str, box: Box, *, kind: Literal["giou", "diou", "iou"] = "giou", scale: float = 1000.0
) -> float:
    """GIoU + 1 or DIoU + 1 (0 to 2), or IoU (0 to 1), of the answer's `(x1,y1),(x2,y2)` with `box`; 0 if there is none.

    `box` is in the same unit as the answer; both are fractions of `scale`. A box without an area gets 0.
    """
    truth = _area(box, scale)
    if truth is None:
        raise RewardInputError(f"the true box {tuple(box)} has no area, or edges that are no numbers")
    found = parse_box(text)
    mine = None if found is None else _area(found, scale)
    if mine is None:
        return 0.0
    if kind == "iou":
        return iou(mine, truth)
    if kind in ("giou", "diou"):
        return 1 + (giou if kind == "giou" else diou)(mine, truth)
    raise RewardInputError(f"a kind is giou, diou or iou, got {kind!r}")


def _area(box: Sequence[float], scale: float) -> Box | None:
    if len(box) != 4 or not np.isfinite(np.asarray(box, dtype=float)).all():
        return None
    x1, y1, x2, y2 = (float(edge) / scale for edge in box)
    # An area too small for floating point is none.
    return (
        (x1, y1, x2, y2)
        if x2 > x1 and y2 > y1 and np.isfinite((x2 - x1) * (y2 - y1)) and (x2 - x1) * (y2 - y1) > 0
        else None
    )


def format_reward(text: str, tags: Sequence[str] = ("think", "answer")) -> float:
    """1 where the whole text is `<think>…</think><answer>…</answer>` (or other `tags`) with only space between, else 0.

    Anything before or after, a line break too, gives 0, as in the official code.
    """
    pattern = r"\s*".join(rf"<{re.escape(tag)}>.*?</{re.escape(tag)}>" for tag in tags)
    return float(re.fullmatch(pattern, text, re.DOTALL) is not None)


# --- as reward functions over a batch ------------------------------------------------------------------------


def truth_of(entry: Any, row: int, column: str, task: RewardKind) -> Any:
    """What a row's solution says: boxes for "iou" and "confidence", a name for "class", one box for "grounding".

    Boxes may be given as detections, or as text with an `<answer>`. Raises `ColumnFormatError` naming the row.
    """
    what = f"row {row}, column {column!r}"
    if task in ("iou", "confidence"):
        if isinstance(entry, Sequence) and not isinstance(entry, str):
            if all(isinstance(one, Detection) for one in entry):
                return list(entry)
            raise ColumnFormatError(f"{what}: a list of Detection is wanted, got {list(entry)[:2]!r}")
        if isinstance(entry, str) and answer_of(entry, repair=False) is not None:
            found = answered_boxes(entry, repair=False)
            if found is not None:
                return found
        raise ColumnFormatError(
            f"{what}: an <answer> with a list of {{'Position': [x1, y1, x2, y2], 'Confidence': 1}} is wanted, "
            f"got {str(entry)[:120]!r}"
        )
    if task == "grounding":
        if isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) == 4:
            return tuple(float(edge) for edge in entry)
        box = parse_box(entry, repair=False) if isinstance(entry, str) else None
        if box is None:
            raise ColumnFormatError(
                f"{what}: an <answer> with (x1,y1),(x2,y2) is wanted, got {str(entry)[:120]!r}"
            )
        return box
    if not isinstance(entry, str):
        raise ColumnFormatError(f"{what}: a text is wanted, got {type(entry).__name__}")
    inner = answer_of(entry, repair=False)
    return entry.strip() if inner is None else inner


def trl_reward(
    rule: RewardKind, /, *, column: str = "solution", **options: Any
) -> Callable[..., list[float | None]]:
    """A reward function `(completions, **columns) -> list[float]`, as `firsthand.rl.Rewards` and TRL call it.

    `column` holds the truth (`truth_of`); "format" needs none. `options` go to the pure function of that rule.
    Raises, when it is called, `ColumnMissingError` for data without the column and `ColumnFormatError` for an entry
    that makes no sense; predictions never raise.
    """
    from firsthand.rl.rewards import answer_text

    if rule not in ("iou", "confidence", "class", "grounding", "format"):
        raise RewardInputError(f"a reward is iou, confidence, class, grounding or format, got {rule!r}")

    def reward(completions: Sequence[Any], **columns: Any) -> list[float | None]:
        texts = [answer_text(completion) for completion in completions]
        if rule == "format":
            return [format_reward(text, **options) for text in texts]
        if column not in columns:
            raise ColumnMissingError(
                f"the reward {rule!r} reads column {column!r}; the data have {', '.join(sorted(columns)) or 'none'}"
            )
        truths = [truth_of(entry, row, column, rule) for row, entry in enumerate(columns[column])]
        if rule == "class":
            return [classification_reward(t, name, **options) for t, name in zip(texts, truths, strict=True)]
        if rule == "grounding":
            return [grounding_reward(t, box, **options) for t, box in zip(texts, truths, strict=True)]
        return list(_many(texts, truths, rule, options))

    reward.__name__ = rule
    return reward


def _many(
    texts: Sequence[str], truths: Sequence[Sequence[Detection]], kind: str, options: Mapping[str, Any]
) -> list[float]:
    """Detection rewards of many texts, in arrays."""
    classes: dict[str | None, int] = {}
    parsed = [answered_boxes(text) for text in texts]
    found = detection_rewards(
        packed([boxes or [] for boxes in parsed], classes), packed(truths, classes, truth=True), **options
    )
    values = found.iou if kind == "iou" else found.confidence
    readable = [boxes is not None for boxes in parsed]
    scored: list[float] = np.where(readable, values, 0.0).tolist()
    return scored
