"""Answers as text: the sheet's parser table, what was cut off, and ten thousand texts that mean nothing."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.training.visual_rft import (
    Detection,
    answer_of,
    answered_boxes,
    parse_box,
    parse_detections,
    read_detections,
    says_nothing,
    write_detections,
)


def framed(answer):
    return f"<think>so</think><answer>{answer}</answer>"


ONE = Detection((1, 2, 3, 4), 0.9)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("[{'Position': [1, 2, 3, 4], 'Confidence': 0.9}]", [ONE]),
        ('[{"Position": [1, 2, 3, 4], "Confidence": 0.9}]', [ONE]),
        ("[{'Position': [1, 2, 3, 4], 'Confidence': 0.9}, {'Position': [5, 6", [ONE]),  # cut off
        ("[{'Position': [1, 2, 3, 4], 'Confidence': 0.9}, {'Position': [5, 6, 7, 8]", [ONE]),  # ends in ]
        (
            "[{'Position': [1, 2, 3, 4], 'Confidence': 0.9},\n {'Position': [1, 2, 3, 4], 'Confidence': 0.2}]",
            [ONE],
        ),
        ("[[{'Position': [1, 2, 3, 4], 'Confidence': 0.9}]]", [ONE]),
        ("{'Position': [1, 2, 3, 4], 'Confidence': 0.9}", [ONE]),
        ("I see [{'Position': [1, 2, 3, 4], 'Confidence': 0.9}] there", [ONE]),
        ("[{'Position': ['1', '2', '3', '4'], 'Confidence': '0.9'}]", [ONE]),
        ("[{'Position': [1, 2, 3, 4]}]", [Detection((1, 2, 3, 4), 1.0)]),
        ("[{'bbox_2d': [1, 2, 3, 4], 'label': \"dog's bed\"}]", [Detection((1, 2, 3, 4), 1.0, "dog's bed")]),
        ("[{'Position': [1, 2, 3], 'Confidence': 1}, {'Position': [1, 2, 3, 4], 'Confidence': 0.9}]", [ONE]),
        ("[]", []),
        ("No Objects", None),
        ("[{'Position': 'left', 'Confidence': 1}]", None),
        ("yes", None),
        ("", None),
    ],
)
def test_what_is_read(answer, found):
    assert parse_detections(framed(answer)) == found


def test_what_was_put_right_is_counted():
    found = read_detections(
        framed(
            "[{'Position': [1, 2, 3, 4], 'Confidence': 1.7}, {'Position': [1, 2, 3, 4]}, {'Position': [1]}, {'x': 1"
        )
    )
    assert found.detections == [Detection((1, 2, 3, 4), 1.0)]
    assert (found.repaired, found.out_of_range, found.duplicates, found.malformed) == (True, 1, 1, 1)
    assert not read_detections(framed("[]")).repaired


def test_nothing_and_unreadable_are_told_apart():
    for answer in ("[]", "No Objects", " no object. ", "None"):
        assert says_nothing(framed(answer))
        assert answered_boxes(framed(answer)) == []
    for answer in ("", "No", "[0]", "No Objects here"):
        assert not says_nothing(framed(answer))
        assert answered_boxes(framed(answer)) is None


def test_where_the_answer_is():
    assert answer_of("<answer>a</answer> <answer>\nb\n</answer> c") == "b"
    assert answer_of("<think>x</think><answer>cut of") == "cut of"
    assert answer_of("<think>x</think><answer>cut of", repair=False) is None
    assert answer_of("<think>one [1] two</think> bare") == "bare"
    assert answer_of("<think>never closed") == ""
    assert answer_of("[a]", tags=("[", "]")) == "a"


def test_other_layouts():
    text = framed("[{'Position': [10, 20, 30, 40]}]")
    assert parse_detections(text, layout="xywh") == [Detection((10, 20, 40, 60))]
    assert parse_detections(text, layout="cxcywh") == [Detection((-5, 0, 25, 40))]


def test_one_box_of_a_sentence():
    assert parse_box("<answer> (254,303),(291,365) </answer>") == (254, 303, 291, 365)
    assert parse_box("<answer>(1,2),(3,4) no, ( 5.5 , 6 ) (7,8)</answer>") == (5.5, 6, 7, 8)
    assert parse_box("<answer>(1,2)</answer>") is None
    assert parse_box("") is None


boxes = st.lists(
    st.builds(
        Detection,
        box=st.tuples(*[st.integers(0, 1000)] * 4),
        confidence=st.floats(0, 1).map(lambda x: round(x, 2)),
        label=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="<>"), max_size=8),
    ),
    max_size=6,
    unique_by=lambda d: (d.box, d.label),
)


@given(boxes)
def test_written_and_read_again(detections):
    assert parse_detections(write_detections(detections, think="x")) == detections


@settings(deadline=None)
@given(st.text(max_size=200) | st.text("<>answer/[]{}'\":,.0123456789PositonCfdec ", max_size=200))
def test_no_text_raises(text):
    parse_detections(text)
    parse_box(text)
    says_nothing(text)


def test_ten_thousand_mangled_answers_raise_nothing():
    rng = random.Random(0)
    whole = write_detections(
        [Detection((1, 2, 30, 40), 0.5, "a'b"), Detection((5, 6, 70, 80), 0.25)], think="hm"
    )
    for _ in range(10_000):
        text = list(whole[: rng.randrange(len(whole) + 1)])
        for _ in range(rng.randrange(4)):
            if text:
                text[rng.randrange(len(text))] = rng.choice("[]{}'\",:0129.e-<>\\/ é∞")
        found = parse_detections("".join(text))
        assert found is None or all(len(d.box) == 4 and 0 <= d.confidence <= 1 for d in found)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "{" * 100_000, "{'a':" * 50_000, "('" * 60_000, "<answer>" * 30_000, "9" * 100_000],
)
def test_hostile_texts_are_neither_run_nor_slow(text):
    started = time.process_time()
    assert parse_detections(text) is None
    assert parse_detections(framed(text)) is None
    assert time.process_time() - started < 3


def test_text_is_never_run(tmp_path):
    target = tmp_path / "made"
    parse_detections(framed(f"[{{'Position': __import__('pathlib').Path({str(target)!r}).touch()}}]"))
    assert not target.exists()
