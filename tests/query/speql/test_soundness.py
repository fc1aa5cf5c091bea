"""The law: whatever was typed before, an answer from views is the answer of the text itself."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.query.speql.proof import Outcome, prove_world


def total(outcomes: list[Outcome]) -> Outcome:
    found = Outcome()
    for one in outcomes:
        found = found + one
    return found


def test_two_thousand_pairs() -> None:
    found = total([prove_world(seed, queries=5) for seed in range(20)])
    assert found.pairs >= 2_000
    assert found.differences == ()
    assert found.served >= found.pairs // 2  # a matcher that never matches is sound, too


@settings(max_examples=15, deadline=None)
@given(st.integers(10_000, 10**6))
def test_any_world(seed: int) -> None:
    assert prove_world(seed, queries=2).differences == ()


@pytest.mark.parametrize(("broken", "seeds"), [("imply", 3), ("count", 12), ("coalesce", 12)])
def test_a_broken_matcher_is_found(monkeypatch: pytest.MonkeyPatch, broken: str, seeds: int) -> None:
    from sqlglot import exp

    from firsthand.query.speql import grouping
    from firsthand.query.speql.predicates import Premises

    true = grouping._Groups.aggregate

    def without(self, atom):
        found = true(self, atom)
        if not (isinstance(found, exp.Cast) and isinstance(found.this, exp.Coalesce)):
            return found
        total = found.this.this
        return total if broken == "coalesce" else exp.Count(this=total.this)

    if broken == "imply":
        monkeypatch.setattr(Premises, "imply", lambda self, wanted: True)
    else:
        monkeypatch.setattr(grouping._Groups, "aggregate", without)
    assert any(prove_world(seed, queries=5).differences for seed in range(seeds))


def test_random_queries_are_valid() -> None:
    from firsthand.query.speql.random_queries import draw_query, draw_world

    for seed in range(10):
        world = draw_world(seed)
        connection = duckdb.connect(config={"threads": 1})
        for statement in world.statements:
            connection.execute(statement)
        for number in range(10):
            assert connection.execute("EXPLAIN " + "\n".join(draw_query(world, number))).fetchall()
