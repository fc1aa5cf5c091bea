"""Completion from past queries: which one is taken, which names count, what is on disk."""

from __future__ import annotations

import json
import time

import pytest

from firsthand.errors import InputError, NotFoundError
from firsthand.query.speql.history import HistoryCompleter, masked
from firsthand.query.speql.schema import Schema

SCHEMA = Schema.of(
    {
        "sales": {"id": "INTEGER", "item": "VARCHAR", "price": "INTEGER", "Quantity": "INTEGER"},
        "customer": {"id": "INTEGER", "name": "VARCHAR", "valid_id": "INTEGER"},
    }
)


def completer(*queries):
    history = HistoryCompleter()
    for query in queries:
        history.add(query, SCHEMA)
    return history


def test_worked_trace():
    history = completer("SELECT item FROM sales WHERE price > 5 AND quantity > 50;")
    assert history.complete("SELECT item FROM sales WHERE price > 7", "", SCHEMA) == "and quantity > ?"
    assert history.columns("SELECT item FROM sales WHERE price > 7", "", SCHEMA) == {"sales": {"Quantity"}}
    assert history.columns("SELECT item FROM sales x WHERE price > 7 ", " ORDER BY 1", SCHEMA) == {
        "x": {"Quantity"}
    }


def test_longest_agreement_then_the_last():
    history = completer(
        "SELECT item FROM sales WHERE id = 1 AND price > 5 AND quantity > 1",
        "SELECT id FROM sales WHERE price > 5 AND item = 'a'",
        "SELECT id FROM sales WHERE price > 5 ORDER BY id",
    )
    assert history.complete("SELECT id FROM sales WHERE price > 9", "", SCHEMA) == "order by id"
    assert (
        history.complete("SELECT x FROM sales WHERE id = 3 AND price > 9", "", SCHEMA) == "and quantity > ?"
    )
    assert history.complete("SELECT id FROM sales WHERE price > 5 AND ", "", SCHEMA) == "item = ?"
    assert history.complete("SELECT id FROM sales WHERE price > 5 O", "", SCHEMA) == "order by id"


def test_same_tables_and_same_clause_only():
    history = completer("SELECT item FROM sales WHERE price > 5 AND quantity > 50")
    for prefix in (
        "SELECT name FROM customer WHERE price > 5",
        "SELECT item FROM sales, customer WHERE price > 5",
        "SELECT item FROM sales HAVING price > 5",
        "",
        "-- nothing",
    ):
        assert history.complete(prefix, "", SCHEMA) == ""
        assert not any(history.columns(prefix, "", SCHEMA).values())


def test_names_are_whole_and_belong_to_their_table():
    history = completer(
        "SELECT s.item FROM sales s JOIN customer c ON s.id = c.id WHERE s.price > 5 AND c.valid_id = 1"
    )
    prefix = "SELECT a.item FROM sales a JOIN customer b ON a.id = b.id WHERE a.price > 3"
    # the qualifiers differ, so no more than the last token agrees; the names still find their tables
    assert history.columns(prefix, "", SCHEMA) == {"a": frozenset(), "b": frozenset({"valid_id"})}
    history = completer("SELECT item FROM sales s, customer c WHERE price > 5 AND id = 1 AND id(name) > 2")
    prefix = "SELECT item FROM sales, main.customer AS k WHERE price > 3"
    assert history.columns(prefix, "", SCHEMA) == {"sales": {"id"}, "k": {"id", "name"}}


def test_the_innermost_from():
    history = completer(
        "SELECT item FROM (SELECT item FROM sales WHERE price > 5 AND quantity > 3) t, customer"
    )
    prefix = "SELECT item FROM (SELECT item FROM sales s WHERE price > 1"
    assert history.columns(prefix, "", SCHEMA) == {"s": {"Quantity"}}
    assert history.columns(prefix, " ) t, customer", SCHEMA) == {"s": {"Quantity"}}


def test_the_oldest_is_forgotten():
    history = HistoryCompleter(2)
    for column in ("id", "item", "price"):
        history.add(f"SELECT {column} FROM sales WHERE {column} IS NULL", SCHEMA)
    history.add("SELECT item FROM sales WHERE item IS NULL;", SCHEMA)  # known, now the last
    assert [query.split()[1] for query in history.queries(SCHEMA)] == ["price", "item"]
    assert history.complete("SELECT id FROM sales WHERE id", "", SCHEMA) == ""
    history.add("", SCHEMA)
    assert len(history.queries(SCHEMA)) == 2
    assert history.queries(Schema.of({"t": {"a": "INTEGER"}})) == []
    with pytest.raises(InputError, match="limit"):
        HistoryCompleter(0)


def test_nothing_of_the_data_is_on_disk(tmp_path):
    query = "SELECT item FROM sales WHERE item = 'Ann é' /* Ann */ AND price > 52 -- Ann"
    history = completer(query)
    history.save(tmp_path / "h.jsonl", SCHEMA)
    text = (tmp_path / "h.jsonl").read_text()
    assert json.loads(text) == {"sql": "SELECT item FROM sales WHERE item = ?   AND price > ?  "}
    again = HistoryCompleter()
    assert again.load(tmp_path / "h.jsonl", SCHEMA) == 1
    assert again.complete("SELECT item FROM sales WHERE item = 'x'", "", SCHEMA) == "and price > ?"
    history.save(tmp_path / "h.jsonl", SCHEMA, literals=True)
    assert "Ann é" in (tmp_path / "h.jsonl").read_text(encoding="utf-8")
    (tmp_path / "h.jsonl").write_text('{"sql": "SELECT 1"}\n\n{"query": 1}\n')
    with pytest.raises(InputError, match="line 3"):
        again.load(tmp_path / "h.jsonl", SCHEMA)
    with pytest.raises(NotFoundError):
        again.load(tmp_path / "none.jsonl", SCHEMA)


def test_masked_and_nearest():
    assert masked("SELECT 'a''b', $$c$$, 1.5, x1 FROM t") == "SELECT ?, ?, ?, x1 FROM t"
    assert masked("SELECT 'open") == "SELECT ?"
    history = completer("SELECT item FROM sales WHERE price > 5", "SELECT name FROM customer WHERE id = 7")
    assert (
        history.nearest("SELECT name, id FROM customer", SCHEMA) == "SELECT name FROM customer WHERE id = ?"
    )
    assert HistoryCompleter().nearest("SELECT", SCHEMA) is None


def test_a_thousand_queries_are_no_burden():
    columns = ["id", "item", "price", "quantity"]
    history = HistoryCompleter()
    for number in range(1000):
        chosen = [columns[number // 4**place % 4] for place in range(5)]
        conditions = " AND ".join(f"{name} > {number}" for name in chosen)
        history.add(f"SELECT {', '.join(chosen)} FROM sales WHERE {conditions} GROUP BY {chosen[0]}", SCHEMA)
    times = []
    for name in columns * 5:
        start = time.perf_counter()
        assert history.complete(
            f"SELECT item, price FROM sales WHERE price > 3 AND {name} > 4 AND", "", SCHEMA
        )
        times.append(time.perf_counter() - start)
    assert sorted(times)[10] < 0.05  # 5 ms on an idle machine
