"""Boxes: the sheet's values, properties, and every way of writing them there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.vision import BoxFormat, CoordinateScaleError, diou, giou, iou, iou_matrix

edge = st.integers(0, 990)


@st.composite
def boxes(draw):
    x, y = draw(edge), draw(edge)
    return (x, y, x + draw(st.integers(1, 1000 - x)), y + draw(st.integers(1, 1000 - y)))


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [
        ((100, 100, 200, 200), (150, 150, 250, 250), 2500 / 17500),
        ((0, 0, 100, 100), (100, 0, 200, 100), 0.0),
        ((1, 2, 3, 4), (1, 2, 3, 4), 1.0),
        ((0, 0, 100, 100), (0, 0, 100, 50), 0.5),
    ],
)
def test_iou(a, b, value):
    assert iou(a, b) == iou(b, a) == pytest.approx(value)


def test_giou_and_diou():
    assert giou((0, 0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.75)) == pytest.approx(-0.079365, abs=1e-6)
    assert giou((0, 0, 0.1, 0.1), (0.9, 0.9, 1, 1)) == pytest.approx(-0.98)
    assert giou((0, 0, 1, 1), (0, 0, 1, 1)) == diou((0, 0, 1, 1), (0, 0, 1, 1)) == 1
    # Centres 0.25 apart in both directions, diagonal of the box around both 0.75.
    assert diou((0, 0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.75)) == pytest.approx(
        1 / 7 - (2 * 0.25**2) / (2 * 0.75**2)
    )


@given(boxes(), boxes())
def test_overlaps_of_any_boxes(a, b):
    pixels = np.zeros((2, 1001, 1001), dtype=bool) if max(*a, *b) <= 60 else None
    value = iou(a, b)
    assert 0 <= value <= 1
    assert giou(a, b) <= value
    assert -1 < giou(a, b) <= 1
    assert diou(a, b) <= value
    if pixels is not None:  # counted
        for plane, (x1, y1, x2, y2) in zip(pixels, (a, b), strict=True):
            plane[y1:y2, x1:x2] = True
        assert value == pytest.approx((pixels[0] & pixels[1]).sum() / (pixels[0] | pixels[1]).sum())


def test_many_at_once():
    found = iou_matrix([(0, 0, 2, 2), (1, 1, 3, 3)], [(0, 0, 2, 2), (5, 5, 6, 6), (1, 1, 3, 3)])
    assert found == pytest.approx(np.array([[1, 0, 1 / 7], [1 / 7, 0, 1]]))
    assert iou_matrix([], [(0, 0, 1, 1)]).shape == (0, 1)


@given(boxes(), st.sampled_from(["xyxy", "xywh", "cxcywh"]), st.sampled_from([1.0, 1000.0, (640.0, 480.0)]))
def test_written_and_read_again(box, layout, scale):
    fractions = tuple(number / 1000 for number in box)
    form = BoxFormat(layout, scale)
    assert form.read(form.write(fractions), strict=True) == pytest.approx(fractions)


def test_conventions():
    assert BoxFormat("xywh", 1000).read([100, 200, 300, 400]) == pytest.approx((0.1, 0.2, 0.4, 0.6))
    assert BoxFormat("cxcywh", 1).read([0.5, 0.5, 0.2, 0.4]) == pytest.approx((0.4, 0.3, 0.6, 0.7))
    assert BoxFormat("xyxy", (640, 480)).read([320, 120, 640, 480]) == pytest.approx((0.5, 0.25, 1, 1))
    assert BoxFormat().write((0.1234, 0.2, 0.4, 0.6), digits=0) == (123, 200, 400, 600)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: iou((0, 0, 0, 1), (0, 0, 1, 1)), "x2 > x1"),
        (lambda: iou((0, 0, float("nan"), 1), (0, 0, 1, 1)), "must be numbers"),
        (lambda: BoxFormat().read([1, 2, 3]), "four numbers"),
        (lambda: BoxFormat().read([1, 2, 3, float("inf")]), "four numbers"),
        (lambda: BoxFormat("yxyx").read([1, 2, 3, 4]), "layout"),
        (lambda: BoxFormat("yxyx").write((0, 0, 1, 1)), "layout"),
        (lambda: BoxFormat(scale=0).read([1, 2, 3, 4]), "above 0"),
        (lambda: BoxFormat().read([5, 5, 5, 9], strict=True), "no area"),
    ],
)
def test_what_is_no_box(act, message):
    with pytest.raises(InputError, match=message):
        act()


def test_another_scale_is_named():
    with pytest.raises(CoordinateScaleError, match="0-1000"):
        BoxFormat("xyxy", 1).read([254, 303, 291, 365], strict=True)
    with pytest.raises(CoordinateScaleError, match="reaches outside"):
        BoxFormat("xyxy", 1000).read([254, 303, 1400, 365], strict=True)
