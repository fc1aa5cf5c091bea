"""Smaller parts: bodies and tails, shared conditions, equality of answers, costs, previews of samples."""

from __future__ import annotations

import math

import duckdb
import numpy as np
import pytest

from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.bodies import body_and_tail
from firsthand.query.speql.costs import DirectRuns, Worth, scan_bytes
from firsthand.query.speql.equality import difference
from firsthand.query.speql.guesses import closed, with_shared_conditions
from firsthand.query.speql.matching import Rewrite
from firsthand.query.speql.prepared import Prepared, outputs_of
from firsthand.query.speql.previews import sample_of
from firsthand.query.speql.schema import Column, Schema, Table
from firsthand.query.speql.text import first_word

SCHEMA = Schema(
    (
        Table("t", (Column("a", "INTEGER"), Column("b", "BIGINT"), Column("s", "VARCHAR")), 1000),
        Table("u", (Column("a", "INTEGER"), Column("c", "INTEGER")), 10),
    )
)


@pytest.mark.parametrize(
    ("sql", "body", "tail"),
    [
        ("SELECT a FROM t", "SELECT a FROM t", ""),
        ("SELECT a FROM t ORDER BY a LIMIT 3", "SELECT a FROM t", "ORDER BY a LIMIT 3"),
        ("SELECT sum(b) OVER (ORDER BY a) FROM t -- x\nLIMIT 1", "SELECT sum(b) OVER (ORDER BY a) FROM t", "LIMIT 1"),
        ("SELECT a FROM t UNION SELECT a FROM u ORDER BY 1", "SELECT a FROM t UNION SELECT a FROM u", "ORDER BY 1"),
        ('SELECT "limit" FROM t', 'SELECT "limit" FROM t', ""),
    ],
)  # fmt: skip
def test_bodies_and_tails(sql: str, body: str, tail: str) -> None:
    found = body_and_tail(sql, "duckdb")
    assert (found.text, found.tail) == (body, tail)


@pytest.mark.parametrize(
    "sql", ["", "SELECT DISTINCT ON (a) a, b FROM t ORDER BY b", "SELECT 'a", "SELECT (a FROM t", "LIMIT 3"]
)
def test_what_has_no_body(sql: str) -> None:
    assert body_and_tail(sql, "duckdb") is None


def test_layout_does_not_count_and_text_does() -> None:
    one = body_and_tail("SELECT a\nFROM t /* x */ WHERE s = 'x'", "duckdb")
    assert one.key == body_and_tail("SELECT a FROM t   WHERE s = 'x' LIMIT 1", "duckdb").key
    assert one.key != body_and_tail("SELECT a FROM t WHERE s = 'X'", "duckdb").key


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        ("ORDER BY s DESC", "ORDER BY 2 DESC"), ("ORDER BY 1, S LIMIT 5", "ORDER BY 1, 2 LIMIT 5"),
        ("LIMIT 2 OFFSET 1", "LIMIT 2 OFFSET 1"),
        ("ORDER BY t.a", "ORDER BY 1"), ("ORDER BY SUM(b)", "ORDER BY 2"), ("ORDER BY b", None),
        ("ORDER BY a + s", None),
        ("ORDER BY 3", None), ("LIMIT (SELECT 1)", None), ("LIMIT 50 PERCENT", "LIMIT 50 PERCENT"), ("ORDER BY", None),
    ],
)  # fmt: skip
def test_tails_over_columns(tail: str, found: str | None) -> None:
    body = "SELECT t.a, sum(b) AS s FROM t GROUP BY t.a"
    prepared = Prepared(Rewrite("SELECT 1", ()), ("a", "s"), outputs_of(body, 2, "duckdb"), 0.0, 0)
    sql = prepared.with_tail(tail, "duckdb")
    assert sql == (None if found is None else f"SELECT * FROM (SELECT 1) AS _q {found}")


def test_two_columns_of_one_name() -> None:
    prepared = Prepared(Rewrite("SELECT 1", ()), ("a", "a"), ("", ""), 0.0, 0)
    assert prepared.with_tail("ORDER BY a", "duckdb") is None


@pytest.mark.parametrize(
    ("prefix", "text"),
    [("a AND (b = 1 OR (c = 2 AND", "a AND (b = 1 OR (c = 2))"), ("f(1, (2", "f(1, (2))"), ("a = 'x", "a"), ("(", ""),
     ("x IN (1,", "x IN (1)")],
)  # fmt: skip
def test_closing(prefix: str, text: str) -> None:
    assert closed(prefix, "duckdb") == text


def test_shared_conditions() -> None:
    repaired = Statement.read("SELECT count(*) AS n FROM t, u", SCHEMA)
    prefix = "SELECT count(*) AS n FROM t, u WHERE ((t.a = u.a AND c = 1) OR (u.a = t.a AND c = 2 AND"
    assert with_shared_conditions(repaired, prefix).text.endswith('WHERE "t"."a" = "u"."a"')
    assert with_shared_conditions(repaired, prefix.replace("u.a = t.a", "b = 3")) is None
    assert with_shared_conditions(repaired, "SELECT count(*) AS n FROM t, u WHERE t.a = u.a") is None


@pytest.mark.parametrize(
    ("sql", "word"),
    [("select 1", "SELECT"), (" -- x\n/* y */ ; With", "WITH"), ("(SELECT 1)", "("), ("", ""),
     ("/* open", ""), ("-- x", "")],
)  # fmt: skip
def test_first_words(sql: str, word: str) -> None:
    assert first_word(sql) == word


def table(*rows: tuple, names: str = "ab"):
    connection = duckdb.connect()
    values = ", ".join(str(row) for row in rows).replace("nan", "'nan'::DOUBLE").replace("None", "NULL")
    return connection.execute(f"SELECT * FROM (VALUES {values}) AS t({', '.join(names)})").to_arrow_table()


def no_run(sql: str):
    raise AssertionError(sql)


def test_equal_as_bags() -> None:
    assert difference("SELECT a, b FROM t", table((1, 2), (1, 3)), table((1, 3), (1, 2)), no_run) == ""
    assert "not among" in difference("SELECT a, b FROM t", table((1, 2)), table((1, 3)), no_run)
    assert "rows" in difference("SELECT a, b FROM t", table((1, 2)), table((1, 2), (1, 2)), no_run)
    assert "often" in difference(
        "SELECT a, b FROM t", table((1, 2), (3, 4), (3, 4)), table((1, 2), (1, 2), (3, 4)), no_run
    )
    assert "types" in difference("SELECT a, b FROM t", table((1, 2)), table((1, 2.5)), no_run)
    assert "columns" in difference("SELECT a, b FROM t", table((1, 2)), table((1, 2), names="ac"), no_run)


def test_equal_within_a_billionth() -> None:
    near, far = table(("x", 1e0 * (1 + 1e-12))), table(("x", 1e0 * (1 + 1e-7)))
    exact = table(("x", 1.0e0))
    near, far, exact = (t.set_column(1, "b", t.column(1).cast("double")) for t in (near, far, exact))
    assert difference("SELECT a, b FROM t", exact, near, no_run) == ""
    assert difference("SELECT a, b FROM t", exact, far, no_run)


def test_order_counts_where_it_is_asked_for() -> None:
    one, other = table((1, 2), (3, 4)), table((3, 4), (1, 2))
    assert "in order" in difference("SELECT a, b FROM t ORDER BY a", one, other, no_run)
    assert difference("SELECT a, b FROM t ORDER BY a + 0", one, other, no_run) == ""
    ties = table((1, 2), (1, 4))
    assert difference("SELECT a, b FROM t ORDER BY a", ties, table((1, 4), (1, 2)), no_run) == ""


def test_ties_at_a_limit() -> None:
    every = table((1, 2), (1, 3), (2, 9))
    sql = "SELECT a, b FROM t ORDER BY a LIMIT 1"
    assert difference(sql, table((1, 2)), table((1, 3)), lambda text: every) == ""
    assert difference(sql, table((1, 2)), table((1, 9)), lambda text: every)
    assert difference(sql, table((1, 2)), table((2, 9)), lambda text: every)


def test_bytes_that_are_read() -> None:
    def scanned(sql: str) -> float:
        statement = Statement.read(sql, SCHEMA)
        return scan_bytes(statement, statement.tree)

    assert scanned("SELECT a FROM t") == 4_000
    assert scanned("SELECT a, b, s FROM t WHERE b > 3") == 28_000
    assert scanned("SELECT t.b FROM t, u WHERE t.a = u.a") == 12_000 + 40
    assert scanned("WITH c AS (SELECT a FROM t) SELECT x.a FROM c AS x, c AS y") == 8_000


def test_a_view_nearly_as_large_is_not_worth_it() -> None:
    from .test_pool import view

    statement = Statement.read("SELECT a, b, s FROM t WHERE b > 3", SCHEMA)
    assert Worth(statement, 0.5, floor=0)(view(1, 3_500), [0], statement.tree)
    assert not Worth(statement, 0.5, floor=0)(view(1, 3_501), [0], statement.tree)
    assert Worth(statement, 0.5, floor=14_004)(view(1, 3_501), [0], statement.tree)


def test_direct_runs_make_a_line() -> None:
    runs = DirectRuns()
    for scanned in (0.0, 1e6):
        runs.add(scanned, 2 + scanned / 1e5)
    assert runs.estimate(5e5) is None
    runs.add(3e6, 32.0)
    assert math.isclose(runs.estimate(2e6), 22.0)


SAMPLED = "SELECT k, count(*) AS n, sum(x) AS s FROM big GROUP BY k ORDER BY k LIMIT 3"


def test_reference_9_sampled_sums_are_scaled() -> None:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(
        "CREATE TABLE big AS SELECT range % 3 AS k, (range % 11)::INTEGER AS x FROM range(300000)"
    )
    schema = Schema((Table("big", (Column("k", "BIGINT"), Column("x", "INTEGER")), 300_000),))
    sample = sample_of(Statement.read(SAMPLED, schema), 0.05, seed=42)
    assert sample.scaled == (1, 2)
    found = connection.execute(sample.sql).fetchall()
    for row, truth in zip(found, connection.execute(SAMPLED).fetchall(), strict=True):
        assert row[0] == truth[0]
        # half of the 95 % interval of a count of N rows drawn with p: 1.96 sqrt(N (1 - p) / p)
        assert row[3] == pytest.approx(1.96 * math.sqrt(1e5 * 0.95 / 0.05), rel=0.05)
        assert abs(row[1] - truth[1]) < 2 * row[3]
        assert abs(row[2] - truth[2]) < 2 * row[4]


def test_intervals_cover() -> None:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("CREATE TABLE f AS SELECT range % 40 AS k, (range % 7)::INTEGER AS x FROM range(4000)")
    connection.execute(
        "CREATE TABLE d AS SELECT range % 20 AS k FROM range(60)"
    )  # three rows a key: sampled rows count thrice
    schema = Schema(
        (
            Table("f", (Column("k", "BIGINT"), Column("x", "INTEGER")), 4000),
            Table("d", (Column("k", "BIGINT"),), 60),
        )
    )
    sql = "SELECT sum(x) AS s FROM f, d WHERE f.k = d.k"
    ((truth,),) = connection.execute(sql).fetchall()
    hits = []
    for seed in range(200):
        ((estimate, half),) = connection.execute(
            sample_of(Statement.read(sql, schema), 0.1, seed).sql
        ).fetchall()
        hits.append(abs(estimate - truth) <= half)
    assert 0.9 <= np.mean(hits) <= 0.99


@pytest.mark.parametrize(
    "sql",
    ["SELECT t.a FROM t LEFT JOIN u ON t.a = u.a", "SELECT median(a) FROM t", "SELECT sum(a) + 1 FROM t",
     "SELECT DISTINCT a, count(*) FROM t GROUP BY a"],
)  # fmt: skip
def test_what_no_sample_is_drawn_of(sql: str) -> None:
    assert sample_of(Statement.read(sql, SCHEMA), 0.05) is None


def test_plain_rows_of_a_sample_are_not_scaled() -> None:
    found = sample_of(Statement.read("SELECT a, b FROM t WHERE b > 3", SCHEMA), 0.05)
    assert found.scaled == ()
    assert "BERNOULLI" in found.sql
