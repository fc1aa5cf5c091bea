"""Rewards: the sheet's values, the slow rule beside the arrays, what never raises and what always does, speed."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.rl import Rewards
from firsthand.training.visual_rft import (
    ColumnFormatError,
    ColumnMissingError,
    Detection,
    RewardInputError,
    audit_reward,
    classification_reward,
    confidence_reward,
    detection_rewards,
    format_reward,
    grounding_reward,
    iou_reward,
    match_detections,
    packed,
    trl_reward,
    write_detections,
)
from firsthand.vision import iou

A, B = Detection((0, 0, 100, 100)), Detection((200, 200, 300, 300))
P1 = Detection((0, 0, 100, 90), 0.9)
P2 = Detection((210, 210, 310, 310), 0.6)
P3 = Detection((500, 500, 600, 600), 0.8)


def test_the_papers_matching():
    found = match_detections([P1, P2, P3], [A, B])
    assert [m.iou for m in found] == pytest.approx([0.9, 0, 0.680672], abs=1e-6)
    assert [m.confidence for m in found] == [0.9, 0.8, 0.6]
    assert [m.truth for m in found] == [0, None, 1]
    assert iou_reward([P1, P2, P3], [A, B]) == pytest.approx(0.526891, abs=1e-6)
    assert confidence_reward([P1, P2, P3], [A, B]) == pytest.approx(0.566667, abs=1e-6)


def test_misses_cost_unless_only_predictions_count():
    assert iou_reward([P1], [A, B]) == pytest.approx(0.45)
    assert iou_reward([P1], [A, B], denominator="pred") == pytest.approx(0.9)
    assert iou_reward([P1, P3], [A], denominator="gt") == pytest.approx(0.9)
    assert confidence_reward([P1], [A, B]) == pytest.approx(0.9)


def test_the_surer_box_is_matched_first():
    predicted = [Detection((0, 0, 100, 100), 0.5), Detection((0, 0, 100, 60), 0.9)]
    assert iou_reward(predicted, [A]) == pytest.approx(0.3)
    assert confidence_reward(predicted, [A]) == pytest.approx(0.7)


def test_a_half_is_no_match():
    assert iou_reward([Detection((0, 0, 100, 50))], [A]) == 0
    assert iou_reward([Detection((0, 0, 100, 51))], [A]) == pytest.approx(0.51)


def test_classes():
    dog, cat = Detection((0, 0, 100, 100), 1, "dog"), Detection((0, 0, 100, 100), 1, "cat")
    assert iou_reward([cat], [dog], class_aware=True) == 0
    assert iou_reward([cat], [dog]) == 1
    assert iou_reward([cat, dog], [dog, cat], class_aware=True) == 1


def test_where_there_is_nothing_to_find():
    assert iou_reward([], []) == confidence_reward([], []) == 1
    assert iou_reward([P1], []) == confidence_reward([P1], []) == 0
    assert iou_reward(None, []) == 0
    with pytest.raises(RewardInputError, match="negatives=True"):
        iou_reward([], [], negatives=False)


def test_confidence_that_must_be_earned():
    nowhere = [Detection((900, 900, 901, 901), 0.0)]
    assert confidence_reward(nowhere, [A]) == 1
    assert confidence_reward(nowhere, [A], confidence_requires_match=True) == 0
    assert confidence_reward([P1, P3], [A], confidence_requires_match=True) == pytest.approx(0.45)


edge = st.integers(0, 20)
true_boxes = st.builds(
    lambda x, y, w, h: (float(x), float(y), float(x + w), float(y + h)),
    edge,
    edge,
    st.integers(1, 9),
    st.integers(1, 9),
)
truths = st.lists(st.builds(Detection, box=true_boxes, label=st.sampled_from(["a", "b"])), max_size=4)
guesses = st.lists(
    st.builds(
        Detection,
        box=true_boxes | st.tuples(*[edge.map(float)] * 4),
        confidence=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
        label=st.sampled_from(["a", "b"]),
    ),
    max_size=5,
)


def slow(predicted, truth, class_aware):
    """The rule, box by box."""
    unique = list(dict.fromkeys((d.box, d.label) for d in truth))
    seen, chosen = set(), []
    for d in predicted:
        if (d.box, d.label) not in seen:
            seen.add((d.box, d.label))
            chosen.append(d)
    free, total, sure = list(unique), 0.0, 0.0
    for d in sorted(chosen, key=lambda d: -d.confidence):
        best, value = None, 0.5
        for box, label in free:
            if class_aware and label != d.label:
                continue
            if d.box[2] > d.box[0] and d.box[3] > d.box[1] and iou(d.box, box) > value:
                best, value = (box, label), iou(d.box, box)
        if best is None:
            sure += 1 - d.confidence
        else:
            free.remove(best)
            total += value
            sure += d.confidence
    n, m = len(chosen), len(unique)
    if m == 0:
        return float(n == 0), float(n == 0)
    return min(1.0, total / max(n, m)), sure / n if n else 0.0


@settings(deadline=None)
@given(st.lists(st.tuples(guesses, truths), min_size=1, max_size=4), st.booleans())
def test_many_at_once_are_each_by_the_rule(rows, class_aware):
    classes = {}
    found = detection_rewards(
        packed([p for p, _ in rows], classes),
        packed([t for _, t in rows], classes, truth=True),
        class_aware=class_aware,
    )
    for place, (predicted, truth) in enumerate(rows):
        wanted = slow(predicted, truth, class_aware)
        assert (found.iou[place], found.confidence[place]) == pytest.approx(wanted)


@settings(deadline=None)
@given(guesses, truths.filter(bool), st.randoms(use_true_random=False), st.floats(0.1, 50))
def test_properties(predicted, truth, rng, factor):
    value = iou_reward(predicted, truth)
    assert 0 <= value <= 1
    if predicted:
        again = [*predicted, Detection(predicted[0].box, 0.1, predicted[0].label)]
        assert iou_reward(again, truth) == value
    assert iou_reward([*predicted, Detection((500, 500, 501, 501), 0.0)], truth) <= value
    scaled = [
        [Detection(tuple(e * factor for e in d.box), d.confidence, d.label) for d in some]
        for some in (predicted, truth)
    ]
    assert iou_reward(*scaled) == pytest.approx(value, abs=1e-6) or any(
        abs(m.iou - 0.5) < 1e-6 for m in match_detections(predicted, truth, iou_threshold=0)
    )
    if len({d.confidence for d in predicted}) == len(predicted):
        mixed = list(predicted)
        rng.shuffle(mixed)
        assert iou_reward(mixed, truth) == pytest.approx(value)


def test_names():
    assert classification_reward("<answer>Boeing_737-300</answer>", "boeing 737 300") == 1
    assert classification_reward("<answer>Boeing 737-200</answer>", "Boeing 737-300") == 0
    assert classification_reward("<answer></answer>", "cat") == 0
    assert classification_reward("<answer>a</answer>", "cat") == 0
    aliases = {"cat": ["house cat", "Felis catus"]}
    assert classification_reward("<answer>Felis catus.</answer>", "cat", aliases=aliases) == 1
    classes = ["cat", "dog", "labrador", "labrador retriever"]
    for answer, label, value in (
        ("it is a cat", "cat", 1),
        ("cat, dog", "cat", 0),
        ("a labrador retriever", "labrador retriever", 1),
        ("a labrador retriever", "labrador", 0),
        ("labrador, labrador retriever", "labrador", 0),
        ("concatenate", "cat", 0),
        ("a house cat", "cat", 1),
    ):
        assert (
            classification_reward(f"<answer>{answer}</answer>", label, classes=classes, aliases=aliases)
            == value
        ), answer


def test_the_official_rule_can_be_fooled_and_ours_cannot():
    for answer in ("", "c", "cat, dog, cow"):
        assert classification_reward(f"<answer>{answer}</answer>", "cat", mode="substring") == 1
        assert classification_reward(f"<answer>{answer}</answer>", "cat", classes=["cat", "dog", "cow"]) == 0


def test_one_box():
    text = "<answer>({},{}),({},{})</answer>".format
    assert grounding_reward(text(0, 0, 500, 500), (250, 250, 750, 750)) == pytest.approx(0.920635, abs=1e-6)
    assert grounding_reward(text(0, 0, 100, 100), (900, 900, 1000, 1000)) == pytest.approx(0.02)
    assert grounding_reward(text(1, 2, 3, 4), (1, 2, 3, 4)) == 2
    assert grounding_reward(text(1, 2, 3, 4), (1, 2, 3, 4), kind="iou") == 1
    assert grounding_reward(text(1, 2, 3, 4), (1, 2, 3, 4), kind="diou") == 2
    assert grounding_reward(text(3, 4, 1, 2), (1, 2, 3, 4)) == 0
    assert grounding_reward("somewhere", (1, 2, 3, 4)) == 0
    with pytest.raises(RewardInputError, match="no area"):
        grounding_reward("", (3, 3, 3, 4))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<think>a</think><answer>b</answer>", 1),
        ("<think>a</think>\n<answer>b</answer>", 1),
        ("<think>a\nb</think><answer>b\nc</answer>", 1),
        ("<think>a</think><answer>b</answer>\n", 0),
        ("<think>a</think><answer>b", 0),
        ("x<think>a</think><answer>b</answer>", 0),
        ("<think>a</think><answer>b</answer><answer>c</answer>", 1),
        ("", 0),
    ],
)
def test_form(text, value):
    assert format_reward(text) == value


def test_other_tags():
    assert format_reward("<why>a</why><box>b</box>", ("why", "box")) == 1


texts = st.text(max_size=120) | st.text("<>/answerthink[]{}'\":,.0123456789PositnCfdec()e-", max_size=120)


@settings(deadline=None, max_examples=300)
@given(st.lists(texts, min_size=1, max_size=5))
def test_whatever_a_model_writes_has_a_reward_in_range(answers):
    n = len(answers)
    boxes = [write_detections([A, B])] * n
    for kind, columns, top in (
        ("iou", boxes, 1), ("confidence", boxes, 1), ("class", ["cat"] * n, 1), ("grounding", [(1, 2, 3, 4)] * n, 2),
        ("format", boxes, 1),
    ):  # fmt: skip
        values = trl_reward(kind)(answers, solution=columns)
        assert len(values) == n
        assert all(0 <= value <= top for value in values)


def test_as_reward_functions():
    truth = [write_detections([A]), write_detections([])]
    answers = [write_detections([P1], think="."), "<think>.</think><answer>No Objects</answer>"]
    table = Rewards([trl_reward("iou"), trl_reward("confidence"), trl_reward("format")])(
        answers, solution=truth
    )
    assert table.names == ("iou", "confidence", "format")
    assert table.values.tolist() == [[pytest.approx(0.9), pytest.approx(0.9), 1], [1, 1, 1]]
    chats = [[{"role": "assistant", "content": answer}] for answer in answers]
    assert trl_reward("iou")(chats, solution=truth) == table.values[:, 0].tolist()
    assert trl_reward("iou", column="boxes")(answers, boxes=[[A], []]) == table.values[:, 0].tolist()
    assert trl_reward("class")(["<answer>Cat</answer>"], solution=["<answer>cat</answer>"]) == [1]


@pytest.mark.parametrize(
    ("kind", "entry", "message"),
    [
        ("iou", "no tags", "row 0, column 'solution'"),
        ("iou", "<answer>[{'Position': [1, 2</answer>", "a list of"),
        ("iou", [1, 2], "a list of Detection"),
        ("grounding", "<answer>there</answer>", r"\(x1,y1\)"),
        ("class", 7, "a text is wanted"),
    ],
)
def test_truth_that_makes_no_sense_raises(kind, entry, message):
    with pytest.raises(ColumnFormatError, match=message):
        trl_reward(kind)(["<answer>x</answer>"], solution=[entry])


def test_other_mistakes():
    with pytest.raises(ColumnMissingError, match="reads column 'solution'; the data have boxes"):
        trl_reward("iou")(["x"], boxes=["y"])
    with pytest.raises(RewardInputError, match="ground truth 0, box 0"):
        trl_reward("iou")(["x"], solution=[[Detection((3, 3, 3, 4))]])
    with pytest.raises(RewardInputError, match="a reward is"):
        trl_reward("beauty")
    with pytest.raises(RewardInputError, match="denominator"):
        iou_reward([P1], [A], denominator="both")
    with pytest.raises(RewardInputError, match="mode"):
        classification_reward("<answer>x</answer>", "y", mode="loose")
    with pytest.raises(RewardInputError, match="without a name"):
        classification_reward("<answer>x</answer>", " ")
    with pytest.raises(RewardInputError, match="kind"):
        grounding_reward("<answer>(1,2),(3,4)</answer>", (1, 2, 3, 4), kind="area")


# --- tricks ----------------------------------------------------------------------------------------------------


def summed(*rewards):
    return lambda completions, **columns: Rewards(list(rewards))(completions, **columns).total.tolist()


def test_the_papers_reward_pays_for_a_box_anywhere_with_confidence_0():
    official = summed(trl_reward("iou"), trl_reward("confidence"), trl_reward("format"))
    found = audit_reward(official, [Detection((100, 100, 400, 400), 1)])
    trick = next(f for f in found if f.trick == "a tiny box anywhere with confidence 0")
    assert trick.reward == pytest.approx(2.0)
    assert trick.honest == pytest.approx(1.1)
    assert found == sorted(found, key=lambda f: -f.reward)


def test_with_confidence_that_must_be_earned_it_does_not():
    earned = summed(
        trl_reward("iou"), trl_reward("confidence", confidence_requires_match=True), trl_reward("format")
    )
    assert (
        audit_reward(earned, [Detection((100, 100, 400, 400), 1), Detection((600, 600, 700, 900), 1)]) == []
    )


def test_names_and_single_boxes():
    classes = ["cat", "dog", "cow"]
    loose = {
        f.trick for f in audit_reward(trl_reward("class", mode="substring"), "cat", classes, task="classify")
    }
    assert {"an empty answer", "one letter", "all classes"} <= loose
    assert audit_reward(trl_reward("class", classes=classes), "cat", classes, task="classify") == []
    assert audit_reward(trl_reward("grounding"), (200, 300, 500, 600), task="ground") == []
    for act, message in (
        (lambda: audit_reward(trl_reward("class"), "cat", [], task="classify"), "two classes"),
        (lambda: audit_reward(trl_reward("class"), "cat", classes, task="draw"), "a task is"),
        (lambda: audit_reward(lambda completions, **_: [1.0], [A]), "gave 1 numbers"),
    ):
        with pytest.raises(RewardInputError, match=message):
            act()


# --- speed -----------------------------------------------------------------------------------------------------


def test_a_thousand_answers_of_ten_boxes_cost_little():
    """Targets are 50 ms from arrays and 300 ms from text on an idle core; asserted here at three times that."""
    rng = np.random.default_rng(0)

    def some():
        low = rng.integers(0, 800, (10, 2))
        return [
            Detection((*map(float, a), *map(float, a + rng.integers(20, 200, 2))), float(c))
            for a, c in zip(low, rng.random(10).round(2), strict=False)
        ]

    predicted, truth = [some() for _ in range(1024)], [some() for _ in range(1024)]
    mine, theirs = packed(predicted), packed(truth, truth=True)
    texts = [write_detections(p, think="x") for p in predicted]
    reward = trl_reward("iou")
    for act, limit in (
        (lambda: detection_rewards(mine, theirs), 0.15),
        (lambda: reward(texts, solution=truth), 0.9),
    ):
        act()
        started = time.process_time()
        act()
        assert time.process_time() - started < limit
