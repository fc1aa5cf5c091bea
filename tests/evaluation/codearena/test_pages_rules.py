"""Boards have addresses: what a form sends is read, and the address of a board gives that board again."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.evaluation.codearena.pages.rules import board_address
from firsthand.evaluation.codearena.refusals import InvalidRequest
from firsthand.evaluation.codearena.scores.rules import Rules

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("llm", "human", "all")
)
RULES = st.builds(
    Rules,
    challenge=st.sampled_from(["formula", "share"]),
    aggregate=st.sampled_from(["sum", "dmoj"]),
    ac_unit=st.sampled_from(["user", "submission"]),
    population=st.one_of(st.sampled_from(["llm", "human", "all"]), st.lists(NAMES, min_size=1, max_size=4)),
    es_weight=st.sampled_from([0.0, 0.5, 1.0, 12.0]),
    es_scope=st.sampled_from(["problem", "problem+language"]),
    es_tolerance=st.sampled_from([0.0, 2.5, 10.0]),
    leave_out=st.lists(st.one_of(NAMES, st.tuples(st.sampled_from(["user", "problem"]), NAMES)), max_size=4),
)


def address_of(query: str):
    return board_address(parse_qsl(query.removeprefix("?"), keep_blank_values=True))


@given(RULES)
@settings(max_examples=100, deadline=None)
def test_the_address_of_a_board_gives_the_same_rules(rules):
    pairs = [(name, "" if isinstance(value, list) else str(value)) for name, value in rules.as_dict().items()]
    pairs += [("population", name) for name in sorted(rules.named)]
    pairs += [("leave_out", one if isinstance(one, str) else f"{one[0]}:{one[1]}") for one in rules.leave_out]
    first = board_address(pairs)
    assert first.rules == rules
    assert address_of(first.query()).rules == rules


def test_the_own_board_has_the_plain_address():
    address = address_of("challenge=&aggregate=&es_weight=&population=&leave_out=&at=")
    assert address.is_default
    assert address.query() == address.api_query == ""
    assert address.query(intervals="1") == "?intervals=1"


def test_names_may_stand_in_one_field_or_in_several():
    address = address_of("leave_out=a,+b;c&leave_out=problem:d")
    assert address.rules.leave_out == {"a", "b", "c", ("problem", "d")}
    assert address.sent["leave_out"] == "a, b;c problem:d"


def test_a_day_is_its_end():
    address = address_of("at=2024-07-30")
    assert address.at == datetime(2024, 7, 31, tzinfo=UTC)
    assert not address.is_default
    assert address.query() == "?at=2024-07-30"
    assert address.api_query == "?at=2024-07-31T00%3A00%3A00Z"
    assert address_of("at=2024-07-30T12:00:00%2B02:00").at == datetime(2024, 7, 30, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "query",
    [
        "challenge=other", "es_weight=x", "es_weight=-1", "es_weight=nan", "es_tolerance=inf", "at=tomorrow",
        "at=9999-12-31", "at=2024-07-30T12:00:00", "population=llm,human" + ",a" * 3000, "ac_unit=%00",
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_was_sent(query):
    with pytest.raises(InvalidRequest) as caught:
        address_of(query)
    assert isinstance(caught.value.args[1], dict)
    assert str(caught.value) == caught.value.args[0]
