"""Boxes on images: their overlap, and the ways in which models and data sets write them down.

A `Box` is (x1, y1, x2, y2): the left, upper, right and lower edge, with x2 > x1 and y2 > y1, in whatever unit its
`BoxFormat` says. Overlaps are ratios of areas and know no unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError

__all__ = ["Box", "BoxFormat", "CoordinateScaleError", "diou", "giou", "iou", "iou_matrix"]

Box = tuple[float, float, float, float]
Layout = Literal["xyxy", "xywh", "cxcywh"]


class CoordinateScaleError(InputError):
    """A coordinate lies outside the scale that was declared: most likely another convention was meant."""


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1; raises `InputError` for edges that are not numbers or crossed."""
    return float(iou_matrix([a], [b])[0, 0])


def iou_matrix(a: Sequence[Box] | NDArray[Any], b: Sequence[Box] | NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of every box of `a` (N, 4) with every box of `b` (M, 4), as (N, M)."""
    one, other = _checked(a), _checked(b)
    shared, joined = _areas(one, other)
    result: NDArray[np.float64] = shared / joined
    return result


def giou(a: Box, b: Box) -> float:
    """Generalised IoU, above -1 to 1: IoU − (|C| − |A ∪ B|)/|C| with C the smallest box around both."""
    one, other = _checked([a]), _checked([b])
    shared, joined = _areas(one, other)
    around = _around(one[0], other[0])
    size = (around[2] - around[0]) * (around[3] - around[1])
    return float(shared[0, 0] / joined[0, 0] - (size - joined[0, 0]) / size)


def diou(a: Box, b: Box) -> float:
    """Distance IoU, above -1 to 1: IoU − d²/c² with d between the centres and c the diagonal around both."""
    one, other = _checked([a]), _checked([b])
    shared, joined = _areas(one, other)
    around = _around(one[0], other[0])
    between = (one[0, :2] + one[0, 2:] - other[0, :2] - other[0, 2:]) / 2
    diagonal = (around[2] - around[0]) ** 2 + (around[3] - around[1]) ** 2
    return float(shared[0, 0] / joined[0, 0] - float((between**2).sum()) / diagonal)


def _areas(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas (N, M) of intersections and of unions."""
    corner = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = np.clip(corner, 0, None).prod(axis=2)
    own = (a[:, 2:] - a[:, :2]).prod(axis=1)[:, None] + (b[:, 2:] - b[:, :2]).prod(axis=1)[None, :]
    return shared, own - shared


def _around(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])


def _checked(boxes: Sequence[Box] | NDArray[Any]) -> NDArray[np.float64]:
    found = np.asarray(boxes, dtype=np.float64).reshape(-1, 4) if len(boxes) else np.empty((0, 4))
    if not np.isfinite(found).all():
        raise InputError(
            f"box edges must be numbers, got {found[~np.isfinite(found).all(axis=1)][0].tolist()}"
        )
    crossed = (found[:, 2:] <= found[:, :2]).any(axis=1)
    if crossed.any():
        raise InputError(
            f"a box is x1, y1, x2, y2 with x2 > x1 and y2 > y1, got {found[crossed][0].tolist()}"
        )
    return found


class BoxFormat(NamedTuple):
    """How boxes are written: which four numbers, and what an image's width and height count as.

    `scale` is 1000 for Qwen2-VL (both edges run from 0 to 1000), 1 for fractions, and (width, height) in pixels for
    absolute coordinates; Qwen2.5-VL's are pixels of the *resized* image, so give that size.
    """

    layout: Layout = "xyxy"
    scale: float | tuple[float, float] = 1000.0

    @property
    def sides(self) -> tuple[float, float]:
        """What width and height count as."""
        sides = self.scale if isinstance(self.scale, tuple) else (self.scale, self.scale)
        if not all(math.isfinite(side) and side > 0 for side in sides):
            raise InputError(f"a scale is above 0, got {self.scale}")
        return sides

    def read(self, numbers: Sequence[float], *, strict: bool = False) -> Box:
        """Four numbers of this format as fractions of width and height, x1, y1, x2, y2.

        With `strict` (ground truth) raises `CoordinateScaleError` for what lies outside the image, and `InputError`
        for what is no box.
        """
        if len(numbers) != 4 or not all(math.isfinite(float(number)) for number in numbers):
            raise InputError(f"a box is four numbers, got {list(numbers)}")
        a, b, c, d = (float(number) for number in numbers)
        if self.layout == "xywh":
            c, d = a + c, b + d
        elif self.layout == "cxcywh":
            a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
        elif self.layout != "xyxy":
            raise InputError(f"a layout is xyxy, xywh or cxcywh, got {self.layout!r}")
        width, height = self.sides
        if strict:
            slack = 1e-6 * max(width, height)
            if min(a, b) < -slack or c > width + slack or d > height + slack:
                raise CoordinateScaleError(
                    f"the box {list(numbers)} ({self.layout}) reaches outside 0 to {width:g} by 0 to {height:g}; "
                    "is another scale meant (0-1000, fractions, pixels of the resized image)?"
                )
            if c <= a or d <= b:
                raise InputError(f"the box {list(numbers)} ({self.layout}) has no area")
        return a / width, b / height, c / width, d / height

    def write(self, box: Box, *, digits: int | None = None) -> tuple[float, ...]:
        """A box in fractions (x1, y1, x2, y2) as four numbers of this format, rounded to `digits` where given."""
        width, height = self.sides
        a, b, c, d = box[0] * width, box[1] * height, box[2] * width, box[3] * height
        if self.layout == "xywh":
            numbers = (a, b, c - a, d - b)
        elif self.layout == "cxcywh":
            numbers = ((a + c) / 2, (b + d) / 2, c - a, d - b)
        elif self.layout == "xyxy":
            numbers = (a, b, c, d)
        else:
            raise InputError(f"a layout is xyxy, xywh or cxcywh, got {self.layout!r}")
        return numbers if digits is None else tuple(round(number, digits) for number in numbers)
