"""Metrics with intervals: average precision against faster-coco-eval by hypothesis, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.training.visual_rft import Detection
from firsthand.training.visual_rft.evaluation import (
    average_precision,
    evaluate_classification,
    evaluate_detection,
    evaluate_grounding,
    read_answers,
)

A, B = (0.0, 0.0, 100.0, 100.0), (200.0, 200.0, 300.0, 300.0)


def test_by_hand():
    truth = [[Detection(A, 1, "x"), Detection(B, 1, "x")]]
    assert average_precision([[Detection(A, 0.9, "x"), Detection(B, 0.8, "x")]], truth) == pytest.approx(1)
    # One of two found: precision 1 up to recall 0.5, that is 51 of the 101 points.
    assert average_precision([[Detection(A, 0.9, "x")]], truth) == pytest.approx(51 / 101)
    # A wrong box that is surer: precision at recall 0.5 is one half.
    wrong = Detection((500.0, 500.0, 600.0, 600.0), 0.95, "x")
    assert average_precision([[wrong, Detection(A, 0.9, "x")]], truth) == pytest.approx(51 / 101 / 2)
    # IoU 0.68 counts at four of the ten thresholds.
    near = Detection((210.0, 210.0, 310.0, 310.0), 0.9, "x")
    assert average_precision([[near]], [[Detection(B, 1, "x")]]) == pytest.approx(0.4)
    assert average_precision([[]], truth) == 0
    assert math.isnan(average_precision([[wrong]], [[]]))


edge = st.integers(0, 60)
box = st.builds(
    lambda x, y, w, h: (float(x), float(y), float(x + w), float(y + h)),
    edge,
    edge,
    st.integers(1, 40),
    st.integers(1, 40),
)
label = st.sampled_from(["a", "b"])
# Scores differ, because equal ones may stand in either order.
images = st.lists(
    st.tuples(
        st.lists(st.builds(Detection, box=box, confidence=st.floats(0, 1), label=label), max_size=5),
        st.lists(st.builds(Detection, box=box, label=label), max_size=4),
    ),
    min_size=1,
    max_size=4,
).filter(
    lambda rows: (
        any(t for _, t in rows)
        and len({d.confidence for p, _ in rows for d in p}) == sum(len(p) for p, _ in rows)
    )
)


def by_faster_coco_eval(rows):
    from faster_coco_eval import COCO, COCOeval_faster

    labels = sorted({d.label for _, truth in rows for d in truth})
    numbers = {name: n + 1 for n, name in enumerate(["a", "b"])}

    def area(b):
        return (b[2] - b[0]) * (b[3] - b[1])

    def xywh(b):
        return [b[0], b[1], b[2] - b[0], b[3] - b[1]]

    annotations = [
        {
            "image_id": n,
            "category_id": numbers[d.label],
            "bbox": xywh(d.box),
            "area": area(d.box),
            "iscrowd": 0,
        }
        for n, (_, truth) in enumerate(rows)
        for d in truth
    ]
    truth = COCO(
        {
            "images": [{"id": n, "width": 200, "height": 200} for n in range(len(rows))],
            "annotations": [{**entry, "id": n + 1} for n, entry in enumerate(annotations)],
            "categories": [{"id": n, "name": name} for name, n in numbers.items()],
        }
    )
    found = [
        {"image_id": n, "category_id": numbers[d.label], "bbox": xywh(d.box), "score": d.confidence}
        for n, (predicted, _) in enumerate(rows) for d in predicted
    ]  # fmt: skip
    if not found:
        return 0.0
    run = COCOeval_faster(truth, truth.loadRes(found), "bbox", print_function=lambda *_: None)
    run.params.catIds = [numbers[name] for name in labels]
    run.params.areaRng = [[0, 1e10]]
    run.params.areaRngLbl = ["all"]
    run.params.maxDets = [100]
    run.evaluate()
    run.accumulate()
    precision = run.eval["precision"][:, :, :, 0, -1]
    return float(np.mean(precision[precision > -1]))


@settings(deadline=None, max_examples=60)
@given(images)
def test_as_faster_coco_eval_computes_it(rows):
    predicted, truth = [p for p, _ in rows], [t for _, t in rows]
    assert average_precision(predicted, truth) == pytest.approx(by_faster_coco_eval(rows), abs=1e-6)


def test_with_intervals():
    rng = np.random.default_rng(0)
    truth, predicted = [], []
    for n in range(40):
        x = float(rng.integers(0, 500))
        truth.append([Detection((x, x, x + 100, x + 100), 1, "x")])
        predicted.append(
            None if n % 10 == 0 else [Detection((x, x, x + 100, x + (100 if n % 2 else 20)), 0.5, "x")]
        )
    found = evaluate_detection(predicted, truth)
    assert found["parsed"].value == pytest.approx(0.9)
    assert found["AP"].low < found["AP"].value < found["AP"].high
    assert found["AP50"].value == pytest.approx(found["AP"].value)  # right ones are exact
    assert found["AP"].n == 40
    assert evaluate_detection(predicted, truth) == found


def test_names_and_boxes():
    names = evaluate_classification(["<answer>cat</answer>", "<answer></answer>", "dog"], ["cat"] * 3)
    assert names["accuracy"].value == pytest.approx(1 / 3)
    assert names["accuracy (substring)"].value == pytest.approx(2 / 3)
    assert names["accuracy"].low == pytest.approx(0.0615, abs=1e-3)  # Wilson, 1 of 3
    assert names["accuracy"].high == pytest.approx(0.7923, abs=1e-3)
    boxes = evaluate_grounding(
        ["<answer>(0,0),(100,100)</answer>", "no", "<answer>(9,9),(1,1)</answer>"], [A] * 3
    )
    assert boxes["mIoU"].value == boxes["IoU>0.5"].value == pytest.approx(1 / 3)
    answers = ["<answer>[{'Position': [0, 0, 1, 1]}]</answer>", "?", "<answer>No Objects</answer>"]
    assert read_answers(answers, "x") == [[Detection((0, 0, 1, 1), 1.0, "x")], None, []]


def test_lengths_that_differ():
    for act in (
        lambda: average_precision([], []),
        lambda: average_precision([[]], [[], []]),
        lambda: evaluate_grounding([], []),
        lambda: evaluate_classification(["x"], []),
    ):
        with pytest.raises(InputError):
            act()
