from __future__ import annotations

import pytest
from sqlglot import exp

from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.schema import Column, Schema, Table
from firsthand.query.speql.trees import bodies_of, free_aliases

SCHEMA = Schema.of(
    {
        "t": {"a": "INTEGER", "b": "INTEGER"},
        "u": {"a": "INTEGER", "c": "VARCHAR"},
        "ws.sales": {"a": "INTEGER"},
    }
)


def block(sql: str):
    statement = Statement.read(sql, SCHEMA)
    assert not statement.unknown, statement.unknown
    return statement.block(statement.tree)


def test_a_block() -> None:
    found = block("SELECT t.a FROM t, u WHERE t.a = u.a AND b > 5 GROUP BY t.a")
    assert [source.key for source in found.inner] == ["table:t", "table:u"]
    assert sorted(found.conjuncts) == ['"t"."a" = "u"."a"', '"t"."b" > 5']
    assert found.aggregates


def test_on_of_inner_joins_is_where() -> None:
    one = block("SELECT t.a FROM t JOIN u ON t.a = u.a WHERE b > 5")
    other = block("SELECT t.a FROM t, u WHERE t.a = u.a AND b > 5")
    assert sorted(one.conjuncts) == sorted(other.conjuncts)


def test_a_right_join_keeps_conditions_apart() -> None:
    found = block("SELECT t.a FROM t JOIN u ON t.a = u.a RIGHT JOIN t AS v ON v.a = t.a WHERE t.b > 5")
    assert list(found.conjuncts) == ['"t"."b" > 5']
    assert [join.on for join in found.joins] == ["", '"t"."a" = "u"."a"', '"t"."a" = "v"."a"']


def test_a_cte_is_known_by_its_body() -> None:
    def key(sql: str) -> str:
        return block(sql).inner[0].key

    one = key("WITH c AS (SELECT a FROM t) SELECT x.a FROM c AS x")
    assert one == key("WITH c AS (SELECT a FROM t) SELECT x.a FROM c AS x WHERE x.a > 1")
    assert one != key("WITH c AS (SELECT a FROM t WHERE a > 1) SELECT x.a FROM c AS x")
    nested = "WITH d AS (SELECT a FROM t{}), c AS (SELECT a FROM d) SELECT x.a FROM c AS x"
    assert key(nested.format("")) != key(nested.format(" WHERE a > 1"))


@pytest.mark.parametrize(
    ("sql", "why", "opaque"),
    [
        ("SELECT random() FROM t", "differs", False),
        ("SELECT now()", "differs", False),
        ("SELECT current_date", "differ", False),
        ("SELECT a FROM t WHERE b > nextval('s')", "differs", False),
        ("SELECT * FROM t TABLESAMPLE 10%", "sample", False),
        ("SELECT * FROM read_csv('x')", "table function", False),
        ("SELECT a FROM t WHERE a = ?", "parameter", False),
        (
            "WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c) SELECT n FROM c",
            "recursive",
            True,
        ),
        ("SELECT * FROM t, LATERAL (SELECT t.a) AS l", "lateral", True),
        ("SELECT a AS b, count(*) FROM t GROUP BY b", "both a column and an output", True),
        ("SELECT a FROM t NATURAL JOIN u", "NATURAL", True),
        ("SELECT nope FROM t", "not resolved", True),
        ("SELECT 1; SELECT 2", "not one query", False),
        ("DROP TABLE t", "not one query", False),
        ("SELECT a FROM", "not parsed", False),
        ("WITH t AS (SELECT 1 AS a) SELECT a FROM t", "hides a table", True),
    ],
)
def test_what_is_not_reasoned_about(sql: str, why: str, opaque: bool) -> None:
    found = Statement.read(sql, SCHEMA)
    assert why in found.unknown
    assert found.opaque == opaque


def test_views_that_differ_from_read_to_read() -> None:
    schema = Schema((Table("v", (Column("a", "INTEGER"),), settled=False),))
    found = Statement.read("SELECT a FROM v", schema)
    assert "v differs from read to read" in found.unknown
    assert not found.opaque


def test_order_by_means_the_output() -> None:
    assert not Statement.read("SELECT a AS b FROM t ORDER BY b", SCHEMA).unknown
    assert not Statement.read("SELECT a, sum(b) AS b FROM t GROUP BY a", SCHEMA).unknown


def test_free_aliases() -> None:
    sql = "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a = t.a) AND b IN (SELECT a FROM u)"
    statement = Statement.read(sql, SCHEMA)
    inner = [query for query in bodies_of(statement.tree) if query is not statement.tree]
    assert sorted(sorted(free_aliases(query)) for query in inner) == [[], ["t"]]


def test_limits_inside_are_not_the_same_twice() -> None:
    assert block("SELECT x.a FROM (SELECT a FROM t ORDER BY a LIMIT 3) AS x") is None
    assert block("SELECT x.a FROM (SELECT a FROM t) AS x") is not None


def test_schemas_beside_main() -> None:
    found = block("SELECT s.a FROM ws.sales AS s WHERE s.a > 1")
    assert found.inner[0].key == "table:ws.sales"


def test_names_in_capitals() -> None:
    schema = Schema.of({"Sales": {"Item": "VARCHAR", "Price": "INTEGER"}})
    statement = Statement.read("SELECT ITEM, sum(price) FROM SALES WHERE Price > 3 GROUP BY item", schema)
    assert not statement.unknown
    found = statement.block(statement.tree)
    assert found is not None
    assert isinstance(found.select, exp.Select)
    assert found.inner[0].key == "table:sales"
