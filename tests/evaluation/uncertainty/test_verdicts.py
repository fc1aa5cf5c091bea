"""Verdicts are read strictly: the sheet's replies, any text around them, and what is no verdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import FirsthandError, InputError
from firsthand.evaluation.uncertainty.errors import ParseFailure
from firsthand.evaluation.uncertainty.verdicts import (
    NOMINAL,
    ReasoningLabels,
    difficulty,
    parse_nominal,
    parse_numerical,
    parse_rating,
    parse_reasoning,
    parse_verdict,
)

from .slow import unhurried

THREE = (
    "Why: x.\n[[Requires knowledge: no]]\n[[Requires reasoning: Yes ]]\n[[Number of reasoning steps: MEDIUM]]"
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="[]"))


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        ("It is ... [[0.55]]", 0.55),
        ("[[0.2]] or rather [[0.9]]", 0.2),
        ("[[ 0 ]]", 0.0),
        ("[[1]]", 1.0),
        ("[[1.0]]", 1.0),
        ("[[.5]]", 0.5),
        ("[0.1] [[0.3]]", 0.3),
        ("[[[0.3]]]", 0.3),
    ],
)
def test_numbers(reply, wanted):
    assert parse_numerical(reply) == wanted
    assert parse_verdict(reply, "numerical") == wanted


@pytest.mark.parametrize(
    "reply",
    ["[[1.2]]", "[[-0.1]]", "[[nan]]", "[[inf]]", "[[1e-1]]", "[[0,5]]", "[[50%]]", "[[0.2-0.4]]", "[[]]", "0.5",
     "[0.5]", "", "[[0.5]", "[[٠.٥]]", "[[half]] [[0.5]]", "[[0.5\n0.6]]", "[[1_0]]"],
)  # fmt: skip
def test_what_is_no_number(reply):
    with pytest.raises(ParseFailure) as raised:
        parse_numerical(reply)
    assert raised.value.raw == reply
    assert isinstance(raised.value, FirsthandError)
    assert isinstance(raised.value, ValueError)


@unhurried
@given(TEXT, TEXT, st.integers(0, 1000))
def test_any_text_may_stand_around_a_number(before, after, thousandths):
    assert parse_numerical(f"{before}[[{thousandths / 1000}]]{after}") == thousandths / 1000


@pytest.mark.parametrize("name", NOMINAL)
def test_names(name):
    assert parse_nominal(f"So: [[{name}]] and not [[postgraduate]]") == name
    assert difficulty(parse_verdict(f"[[ {name} ]]", "nominal")) == NOMINAL[name]


def test_names_stand_for_the_middle_of_their_part():
    assert list(NOMINAL.values()) == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert difficulty(0.35) == 0.35


@pytest.mark.parametrize("reply", ["[[undergraduate]]", "[[Graduate]]", "[[PhD]]", "graduate", "[[]]"])
def test_what_is_none_of_the_names(reply):
    with pytest.raises(ParseFailure):
        parse_nominal(reply)


def test_labels():
    found = parse_reasoning(THREE)
    assert found == ReasoningLabels("no", "yes", "medium")
    assert found.as_labels() == {"knowledge": "no", "reasoning": "yes", "steps": "medium"}
    assert parse_verdict("[[see: x]] " + THREE + " [[Requires knowledge: yes]]", "reasoning") == found
    swapped = "[[number of  reasoning steps:low]] [[REQUIRES REASONING: NO]] [[requires knowledge : yes]]"
    assert parse_reasoning(swapped) == ReasoningLabels("yes", "no", "low")


@pytest.mark.parametrize("line", THREE.splitlines()[1:])
def test_a_label_that_is_missing_or_wrong_is_never_a_default(line):
    with pytest.raises(ParseFailure, match="no verdict"):
        parse_reasoning(THREE.replace(line, ""))
    tag = line.split(":")[0]
    for value in ("maybe", "", "yes, low"):
        with pytest.raises(ParseFailure, match="must be"):
            parse_reasoning(THREE.replace(line, f"{tag}: {value}]]"))
    with pytest.raises(ParseFailure, match="no verdict"):
        parse_reasoning(THREE.replace(line, line.replace(":", "")))


@pytest.mark.parametrize(
    ("reply", "wanted"), [("Fine. [[8]]", 8), ("[[10]]", 10), ("[[1]] [[9]]", 1), ("[[ 7 ]]", 7)]
)
def test_ratings(reply, wanted):
    assert parse_rating(reply) == wanted


@pytest.mark.parametrize(
    "reply", ["[[0]]", "[[11]]", "[[8.5]]", "[[8/10]]", "[[-8]]", "[[eight]]", "8", "[[٨]]", "[[108]]"]
)
def test_what_is_no_rating(reply):
    with pytest.raises(ParseFailure):
        parse_rating(reply)


def test_other_bad_input():
    with pytest.raises(InputError, match="scale must be one of numerical, nominal, reasoning"):
        parse_verdict("[[0.5]]", "rating")
    for verdict in ("hard", ReasoningLabels("yes", "no", "low")):
        with pytest.raises(InputError, match="not a verdict on difficulty"):
            difficulty(verdict)
