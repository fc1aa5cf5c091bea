from __future__ import annotations

import pytest

from firsthand.query.speql.matching import match, rewrite
from firsthand.query.speql.plan import plan_views

from .conftest import SALES
from .helpers import Bench

ROLLUP = (
    "CREATE TABLE t (a INTEGER, b INTEGER, x INTEGER, f DOUBLE)",
    "INSERT INTO t VALUES (1, 1, 10, 0.1), (1, 1, 20, 0.2), (1, 2, 30, 0.3), (2, 1, 5, 1e300), (2, 2, NULL, NULL)",
)
OUTER = (
    "CREATE TABLE l (k INTEGER)", "INSERT INTO l VALUES (1), (2), (3)",
    "CREATE TABLE r (k INTEGER, v INTEGER)", "INSERT INTO r VALUES (1, 10), (2, 20), (4, 40)",
)  # fmt: skip


@pytest.fixture
def sales() -> Bench:
    return Bench(*SALES)


@pytest.fixture
def rollup() -> Bench:
    return Bench(*ROLLUP)


@pytest.fixture
def outer() -> Bench:
    return Bench(*OUTER)


def test_reference_1_rows(sales: Bench) -> None:
    made = "SELECT item, quantity FROM sales WHERE price > 5"
    (view,) = sales.views(made)
    assert view.rows == 6
    for least, items in ((50, "b"), (10, "abc"), (1, "abcd")):
        asked = f"{made} AND quantity > {least}"
        assert sales.served(made, asked) is not None
        assert "".join(sorted(row[0] for row in sales.rows(asked))) == items


def test_reference_2_groups_are_added_up(rollup: Bench) -> None:
    made = "SELECT a, b, count(*), count(x), sum(x), avg(x), min(x), max(x) FROM t GROUP BY a, b"
    asked = "SELECT a, count(*), count(x), sum(x), avg(x), min(x), max(x) FROM t GROUP BY a"
    found = rollup.served(made, asked, "groups")
    assert found is not None
    assert sorted(rollup.rows(found.sql))[0][:5] == (1, 3, 3, 60, 20.0)
    assert sorted(rollup.rows(found.sql))[1][:5] == (2, 2, 1, 5, 5.0)


def test_reference_3_no_rows(rollup: Bench) -> None:
    made = "SELECT a, count(*), sum(x) FROM t GROUP BY a"
    found = rollup.served(made, "SELECT count(*), sum(x) FROM t WHERE a = 9", "groups")
    assert found is not None
    assert rollup.rows(found.sql) == [(0, None)]


def test_reference_4_outer_joins(outer: Bench) -> None:
    plain = "SELECT l.k, r.v FROM l LEFT JOIN r ON l.k = r.k"
    assert outer.served(plain + " WHERE l.k < 4", f"{plain} WHERE l.k < 4 AND r.v > 15", "rows") is not None
    on = "SELECT l.k, r.v FROM l LEFT JOIN r ON l.k = r.k AND r.v > 15 WHERE l.k < 4"
    assert outer.served(plain + " WHERE l.k < 4", on, "rows") is None
    assert sorted(outer.rows(on)) == [(1, None), (2, 20), (3, None)]


@pytest.mark.parametrize("kind", ["RIGHT", "FULL"])
def test_what_a_later_outer_join_brings_back(outer: Bench, kind: str) -> None:
    asked = f"SELECT l.k, r.v FROM l {kind} JOIN r ON l.k = r.k WHERE l.k > 1"
    assert outer.served("SELECT l.k FROM l WHERE l.k > 1", asked, "rows") is None


def test_on_before_a_right_join_is_not_where(outer: Bench) -> None:
    made = "SELECT l.k, r.v, m.k AS mk FROM l JOIN r ON l.k = r.k RIGHT JOIN l AS m ON m.k = l.k WHERE 1 = 1"
    asked = "SELECT l.k, r.v, m.k AS mk FROM l, r RIGHT JOIN l AS m ON m.k = r.k WHERE l.k = r.k AND 1 = 1"
    assert outer.served(made, asked, "rows") is None


def test_a_comma_does_not_hide_the_view_from_a_later_on(outer: Bench) -> None:
    made = "SELECT l.k FROM l WHERE l.k > 0"
    asked = "SELECT l.k, s.v, r.v AS w FROM l CROSS JOIN r AS s LEFT JOIN r ON l.k = r.k WHERE l.k > 0"
    assert outer.served(made, asked, "rows") is not None


@pytest.mark.parametrize(
    ("made", "asked"),
    [
        ("price > 5", "price > 10"), ("price > 5", "price = 7"), ("price IN (6, 7, 8)", "price IN (6, 8)"),
        ("price > 5", "price BETWEEN 6 AND 8"), ("price > 5", "(price = 6 OR price = 7)"), ("price <> 3", "price > 4"),
    ],
)  # fmt: skip
def test_narrower_conditions_stay(sales: Bench, made: str, asked: str) -> None:
    text = "SELECT item, price, quantity FROM sales WHERE {}"
    found = sales.served(text.format(made), text.format(asked), "rows")
    assert found is not None
    assert "WHERE" in found.sql


@pytest.mark.parametrize(
    "asked", ["price > 4", "price >= 5", "price < 9", "quantity > 5", "price > 5 OR quantity > 5"]
)
def test_wider_conditions_do_not_match(sales: Bench, asked: str) -> None:
    text = "SELECT item, price, quantity FROM sales WHERE {}"
    assert sales.served(text.format("price > 5"), text.format(asked), "rows") is None


def test_a_column_that_is_not_there(sales: Bench) -> None:
    made = "SELECT item FROM sales WHERE price > 5"
    assert sales.served(made, "SELECT quantity FROM sales WHERE price > 5", "rows") is None
    assert sales.served(made, "SELECT price FROM sales WHERE price > 5", "rows") is not None


def test_a_view_of_some_tables(sales: Bench) -> None:
    made = "SELECT item, price FROM sales WHERE price > 5"
    asked = "SELECT s.item, shelf FROM sales AS s, stock AS k WHERE s.item = k.item AND price > 5"
    assert sales.served(made.replace("sales", "sales AS s"), asked, "rows") is not None
    assert sales.served(made, asked, "rows") is None  # other aliases are other sources


@pytest.mark.parametrize(
    "aggregate",
    [
        "count(DISTINCT x)",
        "median(x)",
        "stddev(x)",
        "list(x)",
        "sum(x) FILTER (WHERE x > 10)",
        "sum(f)",
        "avg(f)",
    ],
)
def test_what_is_never_added_up(rollup: Bench, aggregate: str) -> None:
    made = f"SELECT a, b, {aggregate} FROM t GROUP BY a, b"
    assert rollup.served(made, f"SELECT a, {aggregate} FROM t GROUP BY a", "groups") is None
    if not aggregate.startswith("list"):
        assert rollup.served(made, f"SELECT b, a, {aggregate} FROM t GROUP BY b, a", "groups") is not None


def test_having_order_and_limit_stay_above(rollup: Bench) -> None:
    made = "SELECT a, b, sum(x) FROM t GROUP BY a, b"
    for asked in (
        "SELECT a, sum(x) AS s FROM t GROUP BY a HAVING sum(x) > 10 ORDER BY s DESC LIMIT 1",
        "SELECT a, b, sum(x) * 2 + 1 FROM t GROUP BY a, b HAVING count(*) > 1",
        "SELECT a, rank() OVER (ORDER BY sum(x)) FROM t GROUP BY a, b",
        "SELECT DISTINCT a FROM t GROUP BY a, b",
        "SELECT CASE WHEN sum(x) > 30 THEN 'much' ELSE 'little' END FROM t GROUP BY a",
    ):
        assert rollup.served(made, asked, "groups") is not None, asked


def test_a_filter_on_groups(rollup: Bench) -> None:
    made = "SELECT a, b, sum(x) FROM t GROUP BY a, b"
    assert rollup.served(made, "SELECT a, sum(x) FROM t WHERE b = 1 GROUP BY a", "groups") is not None
    assert rollup.served(made, "SELECT a, sum(x) FROM t WHERE x > 5 GROUP BY a", "groups") is None
    scalar = "SELECT sum(x) FROM t"
    assert rollup.served(scalar, "SELECT sum(x) FROM t WHERE 1 = 0", "groups") is None


def test_unknown_functions_over_groups_are_not_trusted(rollup: Bench) -> None:
    made = "SELECT a, b, sum(x) FROM t GROUP BY a, b"
    assert rollup.served(made, "SELECT a, histogram(b) FROM t GROUP BY a", "groups") is None


@pytest.mark.parametrize(
    "asked",
    [
        "SELECT DISTINCT item FROM sales ORDER BY item LIMIT 2",
        "SELECT item FROM sales UNION SELECT item FROM stock ORDER BY 1 DESC",
        "SELECT item, sum(price) OVER (PARTITION BY item) AS w FROM sales ORDER BY w, item OFFSET 1",
        "SELECT item, count(*) FROM sales GROUP BY ROLLUP (item) ORDER BY 1 NULLS FIRST",
        "WITH c AS (SELECT item, max(price) AS m FROM sales GROUP BY item) SELECT DISTINCT m FROM c ORDER BY m",
    ],
)
def test_answers(sales: Bench, asked: str) -> None:
    made = asked.partition(" ORDER BY")[0]
    found = sales.served(made, asked, "answer")
    assert found is not None
    assert sales.rows(found.sql) == sales.rows(asked)


def test_distinct_on_keeps_its_order(sales: Bench) -> None:
    asked = "SELECT DISTINCT ON (s.item) s.item, s.price FROM sales AS s ORDER BY s.item, s.price {}"
    assert sales.served(asked.format("DESC"), asked.format("ASC"), "answer") is None


def test_queries_inside_queries(sales: Bench) -> None:
    made = "SELECT avg(price) FROM sales WHERE quantity > 10"
    asked = "SELECT item FROM sales WHERE price > (SELECT avg(price) FROM sales WHERE quantity > 10) ORDER BY item"
    assert sales.served(made, asked) is not None
    correlated = (
        "SELECT item FROM sales AS s WHERE price >= (SELECT max(price) FROM sales AS x WHERE x.item = s.item)"
    )
    assert sales.served(correlated, correlated) is not None


def test_an_alias_used_again_inside(sales: Bench) -> None:
    made = "SELECT item FROM sales WHERE price > 5"
    asked = (
        "SELECT item FROM sales WHERE price > 5 AND EXISTS "
        "(SELECT 1 FROM stock AS sales WHERE sales.shelf > 1 AND sales.item = 'b')"
    )
    assert sales.served(made, asked, "rows") is not None


def test_a_cte_whose_body_changed(sales: Bench) -> None:
    text = "WITH c AS (SELECT item, price FROM sales WHERE price > {}) SELECT c.item FROM c WHERE c.price < 9"
    made, asked = text.format(5), text.format(6)
    outer = [view for view in sales.views(made, "rows") if view.definition.joins[0].source.alias == "c"]
    assert outer
    assert rewrite(sales.read(asked), outer) is None


def test_match_is_reflexive_and_monotone(sales: Bench) -> None:
    text = "SELECT item, price, quantity FROM sales WHERE price > 5"
    (view,) = sales.views(text, "rows")
    for more in (
        "",
        " AND quantity > 5",
        " AND quantity > 5 AND item <> 'b'",
        " AND item IN (SELECT item FROM stock)",
    ):
        statement = sales.read(text + more)
        block = statement.block(statement.tree)
        assert match(view, block, statement) is not None


def test_match_is_transitive(sales: Bench) -> None:
    wide, middle, narrow = (f"SELECT item, price FROM sales WHERE price > {n}" for n in (3, 5, 7))
    assert sales.served(wide, middle, "rows") is not None
    assert sales.served(middle, narrow, "rows") is not None
    assert sales.served(wide, narrow, "rows") is not None


def test_the_fit_is_asked(sales: Bench) -> None:
    text = "SELECT item FROM sales WHERE price > 5"
    views = sales.views(text)
    assert rewrite(sales.read(text), views, lambda view, read, query: False) is None


def test_inner_queries_come_first(sales: Bench) -> None:
    text = (
        "WITH c AS (SELECT item, sum(price) AS p FROM sales GROUP BY item) SELECT c.item FROM c WHERE c.p > 5"
    )
    kinds = [(vertex.kind, bool(vertex.parents)) for vertex in plan_views(sales.read(text))]
    assert kinds == [("groups", False), ("rows", True)]
