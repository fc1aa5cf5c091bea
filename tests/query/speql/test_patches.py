"""Edits that worked are made again, where they still mean the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.query.speql.edits import Draft, Edit, apply_edits
from firsthand.query.speql.errors import RepairFailed
from firsthand.query.speql.patches import PatchCache, difference
from firsthand.query.speql.repair import RuleRepairer
from firsthand.query.speql.schema import Schema
from firsthand.query.speql.text import tokenize

SCHEMA = Schema.of({"sales": {"item": "VARCHAR", "price": "INTEGER", "quantity": "INTEGER"}})
TYPED = "SELECT itm FROM sales WHERE prise > 5 AND quantity >"
RAN = "SELECT item FROM sales WHERE price > 5"


def test_learnt_and_made_again():
    cache = PatchCache()
    cache.learn(TYPED, RAN)
    assert cache.apply("SELECT itm FROM sales WHERE prise > 5 AND quantity > 3") == (
        "SELECT item FROM sales WHERE price > 5 AND quantity > 3"
    )
    assert cache.apply(TYPED) == RAN
    assert all(len(rule.tokens) >= 5 for rule in cache.rules)


def test_an_end_is_an_end():
    """What was closed behind the last word is not closed there once more words follow."""
    cache = PatchCache()
    text = "SELECT item FROM sales WHERE price IN (SELECT MAX(price) FROM sales"
    cache.learn(text, text + ")")
    assert cache.apply(text) == text + ")"
    assert cache.apply(text + " WHERE quantity > 1") == text + " WHERE quantity > 1"


def test_rules_grow_until_they_are_found_once():
    cache = PatchCache(min_rule_length=1)
    text = "SELECT a, b, a, c FROM t"
    cache.learn(text, "SELECT a, b, x, c FROM t")
    (rule,) = cache.rules
    assert rule.old == ("a",)
    assert len(rule.tokens) > 1
    assert cache.apply(text) == "SELECT a, b, x, c FROM t"
    assert (
        cache.apply("SELECT b, a, c, b, a, c FROM t") == "SELECT b, a, c, b, a, c FROM t"
    )  # twice: not made


def test_another_query_forgets_all():
    cache = PatchCache()
    cache.learn(TYPED, RAN)
    assert cache.edits("INSERT nothing of the kind") == ()
    assert cache.rules == ()
    cache.learn(TYPED, RAN)
    cache.clear()
    assert cache.edits(TYPED) == ()
    with pytest.raises(InputError):
        PatchCache(0)
    with pytest.raises(InputError):
        PatchCache(patch_similarity=2)


def test_nobody_is_asked_twice():
    asked = []

    def other(text, cursor, schema, error):
        asked.append(text)
        return [Edit(7, 10, "item", "")]

    cache = PatchCache()
    first = cache.repair("SELECT itm FROM sales WHERE price > 5", None, SCHEMA, other)
    assert first.sql == "SELECT item FROM sales WHERE price > 5"
    second = cache.repair("SELECT itm FROM sales WHERE price > 5 AND quantity > 1 ", 55, SCHEMA, other)
    assert second.sql == "SELECT item FROM sales WHERE price > 5 AND quantity > 1"
    assert second.span == (0, 54)
    assert len(asked) == 1
    assert cache.repair("SELECT item FROM sales", None, SCHEMA, other).exact
    with pytest.raises(RepairFailed):
        cache.repair("SELECT itm FROM nowhere", None, SCHEMA, other)


def test_what_runs_as_typed_is_left_alone():
    rules = RuleRepairer()
    cache = PatchCache()
    schema = Schema.of({"a": {"x": "INTEGER"}, "b": {"y": "INTEGER"}})
    assert cache.repair("SELECT x, y FROM a", None, schema, rules).sql == "SELECT x FROM a"
    assert cache.repair("SELECT x, y FROM a, b", None, schema, rules).exact


WORDS = st.lists(st.sampled_from(["SELECT", "a", ",", "(", ")", "'x y'", "=", "1", "FROM"]), max_size=12).map(
    " ".join
)


@given(WORDS, WORDS)
def test_difference(old, new):
    made = apply_edits(old, difference(old, new))
    assert [t.text for t in tokenize(made)] == [t.text for t in tokenize(new)]


@given(
    st.text("abc", max_size=12),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.text("xyz", max_size=2)), max_size=4),
)
def test_a_draft_tells_how_it_came_about(text, steps):
    original = f"<<{text}>>"
    draft = Draft(original, 2, len(original) - 2)
    expected = text
    for start, length, new in steps:
        start = min(start, len(expected))
        end = min(start + length, len(expected))
        draft = draft.changed([Edit(start, end, new, "so")])
        expected = expected[:start] + new + expected[end:]
        assert draft.text == expected
    assert apply_edits(original, draft.edits()) == f"<<{expected}>>"
    assert all(a.end < b.start for a, b in zip(draft.edits(), draft.edits()[1:], strict=False))
