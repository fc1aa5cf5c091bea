"""Repair by rules: the reference table, and what holds for every text."""

from __future__ import annotations

from collections import Counter

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.query.speql.errors import QueryFailed, RepairFailed
from firsthand.query.speql.repair import Edit, RuleRepairer, apply_edits, repair
from firsthand.query.speql.schema import Schema

SCHEMA = Schema.of(
    {
        "sales": {"item": "VARCHAR", "price": "INTEGER", "quantity": "INTEGER", "region": "VARCHAR"},
        "customer": {"c_id": "INTEGER", "c_name": "VARCHAR", "active": "BOOLEAN"},
    }
)
DATABASE = duckdb.connect()
DATABASE.execute("CREATE TABLE sales(item VARCHAR, price INTEGER, quantity INTEGER, region VARCHAR)")
DATABASE.execute("CREATE TABLE customer(c_id INTEGER, c_name VARCHAR, active BOOLEAN)")
DATABASE.execute(
    "INSERT INTO sales VALUES ('a',3,100,'n'),('b',6,60,'s'),('c',7,20,'n'),('d',9,5,NULL),('e',10,1,'s'),"
    "('f',6,NULL,'n'),('a',8,12,'s'),('g',NULL,0,'n')"
)
DATABASE.execute("INSERT INTO customer VALUES (3,'a',true),(6,'b',false),(9,NULL,NULL),(8,'é',true)")


def asked(sql):
    try:
        DATABASE.execute("DESCRIBE " + sql)
    except duckdb.Error as error:
        return QueryFailed(str(error).splitlines()[0])
    return None


@pytest.fixture(params=["schema", "database"])
def accepts(request):
    return asked if request.param == "database" else None


def check(text, accepts=None, cursor=None):
    done = repair(text, SCHEMA, cursor=cursor, accepts=accepts)
    assert apply_edits(text, done.edits) == text[: done.span.start] + done.sql + text[done.span.end :]
    assert all(a.end < b.start for a, b in zip(done.edits, done.edits[1:], strict=False))
    assert all(edit.why for edit in done.edits)
    again = repair(done.sql, SCHEMA, accepts=accepts)
    assert again.exact
    assert again.sql == done.sql
    return done


F = "SELECT item FROM sales"
TABLE = [
    # the sheet's reference table
    (f"{F} WHERE price > 5 AND", f"{F} WHERE price > 5"),
    (f"{F} WHERE price > 5 AND quantity >", f"{F} WHERE price > 5"),
    (f"{F} WHERE price > 5 AND quantity", f"{F} WHERE price > 5"),
    (f"{F} WHERE (price > 5 OR", F),
    ("SELECT region, SUM(price) FROM sales", "SELECT region, SUM(price) FROM sales GROUP BY region"),
    (f"{F} WHERE price IN (SELECT MAX(price) FROM sales", f"{F} WHERE price IN (SELECT MAX(price) FROM sales)"),
    (f"{F} WHERE item = 'ab", F),
    ("SELECT ite", None),
    ("SELECT item FROM sal", None),
    (f"{F} JOIN customer c", F),
    # ends
    (f"{F} WHERE", F),
    (f"{F} WHERE price", F),
    (f"{F} WHERE price + 5", F),
    (f"{F} WHERE price > 5 ORD", f"{F} WHERE price > 5"),
    (f"{F} WHERE price > 5 GROUP", f"{F} WHERE price > 5"),
    (f"{F} WHERE price BETWEEN 1 AND", F),
    (f"{F} WHERE price BETWEEN 1 AND 5 AND", f"{F} WHERE price BETWEEN 1 AND 5"),
    (f"{F} WHERE quantity IN (1, 2", f"{F} WHERE quantity IN (1, 2)"),
    (f"{F} WHERE quantity IN (1, 'ab", f"{F} WHERE quantity IN (1)"),
    (f"{F} WHERE quantity IN (", F),
    (f"{F} WHERE price > 5 AND region IS NOT", f"{F} WHERE price > 5"),
    (f"{F} WHERE CASE WHEN price > 5", F),
    (f"{F} WHERE price > abs(quantity", F),
    (f"{F} WHERE price > 1 AND substr(item, 1, 1)", f"{F} WHERE price > 1"),
    (f"{F} WHERE price > 5 AND (", f"{F} WHERE price > 5"),
    (f"{F} GROUP BY item ORDER BY", f"{F} GROUP BY item"),
    (f"{F} ORDER BY item, price DES", f"{F} ORDER BY item, price"),
    (f"{F} ORDER BY item LIMIT", f"{F} ORDER BY item"),
    (f"{F} UNION", F),
    (f"{F} UNION ALL SELECT c_", F),
    (f"{F},", F),
    (f"{F}, (SELECT", F),
    (f"{F} AS", F),
    ("SELECT item FROM (SELECT item FROM sales WHERE price >", "SELECT item FROM (SELECT item FROM sales)"),
    ("SELECT region, SUM(price) FROM sales GROUP BY region HAVING SUM(price) > 5 AND SUM(",
     "SELECT region, SUM(price) FROM sales GROUP BY region HAVING SUM(price) > 5"),
    ("SELECT region, item, SUM(price) FROM sales GROUP BY region,",
     "SELECT region, item, SUM(price) FROM sales GROUP BY region, item"),
    # ORs
    (f"{F} WHERE price > 5 OR quantity >", F),
    (f"{F} WHERE price > 5 OR quantity > 3 AND region =", f"{F} WHERE price > 5 OR quantity > 3"),
    (f"{F} WHERE price > 1 AND (quantity > 5 OR region = 'n'", f"{F} WHERE price > 1"),
    # polarity
    (f"{F} WHERE price > 1 AND (price > 5 AND quantity >", f"{F} WHERE price > 1 AND (price > 5)"),
    (f"{F} WHERE price > 1 AND NOT (price > 5 AND quantity >", f"{F} WHERE price > 1"),
    (f"{F} WHERE item IN (SELECT c_name FROM customer WHERE c_id > 3 AND c_name =",
     f"{F} WHERE item IN (SELECT c_name FROM customer WHERE c_id > 3)"),
    (f"{F} WHERE price > 1 AND item NOT IN (SELECT c_name FROM customer WHERE c_id > 3 AND c_name =",
     f"{F} WHERE price > 1"),
    (f"{F} WHERE NOT EXISTS (SELECT 1 FROM customer", F),
    (f"{F} WHERE EXISTS (SELECT 1 FROM customer WHERE c_id = price AND",
     f"{F} WHERE EXISTS (SELECT 1 FROM customer WHERE c_id = price)"),
    (f"{F} WHERE price > (SELECT avg(price) FROM sales WHERE quantity >", F),
    (f"{F} WHERE price > (SELECT avg(price) FROM sales", f"{F} WHERE price > (SELECT avg(price) FROM sales)"),
    (f"{F} EXCEPT SELECT c_name FROM customer WHERE c_id >", F),
    # joins
    (f"{F} s JOIN customer c ON", f"{F} s"),
    (f"{F} s LEFT", f"{F} s"),
    (f"{F} s JOIN customer c ON s.price = c.c_id AND", f"{F} s JOIN customer c ON s.price = c.c_id"),
    (f"{F} s LEFT JOIN customer c ON s.price = c.c_id AND c.c_id >", f"{F} s"),
    # WITH
    ("WITH a AS (SELECT item FROM sales WHERE price > 3)",
     "WITH a AS (SELECT item FROM sales WHERE price > 3) SELECT * FROM a"),
    ("WITH a AS (SELECT item FROM sales), b AS (SELECT item FROM a WHERE",
     "WITH a AS (SELECT item FROM sales), b AS (SELECT item FROM a) SELECT * FROM b"),
    ("WITH a AS (SELECT item FROM sales), b AS (SELECT", "WITH a AS (SELECT item FROM sales) SELECT * FROM a"),
    ("WITH a AS (SELECT item FROM sales) SELECT", "WITH a AS (SELECT item FROM sales) SELECT * FROM a"),
    ("WITH a AS (SELECT", None),
    # names
    ("SELECT itm FROM sales WHERE prise > 5", "SELECT item FROM sales WHERE price > 5"),
    ("SELECT item FROM salse", "SELECT item FROM sales"),
    ("SELECT item, c_name FROM sales,", "SELECT item FROM sales"),
    ("SELECT s.item, x.nope FROM sales s WHERE s.price > 3", "SELECT s.item FROM sales s WHERE s.price > 3"),
    ("SELECT item FROM nowhere WHERE price > 5", None),
    # as they are
    ("SELECT c_id FROM customer WHERE active", "SELECT c_id FROM customer WHERE active"),
    (f" {F} ; ", F),
    ("FROM sales SELECT item,", "FROM sales SELECT item"),
    (f"{F} /* open", F),
    (f"{F} WHERE price > 5 AND -- note\n", f"{F} WHERE price > 5"),
    ("SELECT item,, price FROM sales", "SELECT item, price FROM sales"),
    ("SELECT 'é😀' AS x FROM sales WHERE item = 'é' AND", "SELECT 'é😀' AS x FROM sales WHERE item = 'é'"),
    ("", None),
    ("DROP TABLE sales", None),
    ("SELEC", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), TABLE)
def test_table(text, wanted, accepts):
    if wanted is None:
        with pytest.raises(RepairFailed):
            repair(text, SCHEMA, accepts=accepts)
    else:
        assert check(text, accepts).sql == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("SELECT item, | FROM sales WHERE price > 5", "SELECT item,  FROM sales WHERE price > 5"),
        ("SELECT item, SUM(| FROM sales WHERE price > 5", None),
        (f"{F} WHERE price > | ORDER BY item", f"{F}  ORDER BY item"),
        (f"{F} WHERE quantity| AND price > 5", f"{F} WHERE price > 5"),
        (f"{F} WHERE price IN (|)", F),
        (f"{F} WHERE price > 5 AND | GROUP", f"{F} WHERE price > 5"),
        (f"{F} WHERE | price > 5; SELECT nothing", f"{F} WHERE  price > 5"),
        (f"SELECT nothing; {F} WHERE pric|", F),
    ],
)
def test_cursor(text, wanted):
    cursor = text.index("|")
    text = text.replace("|", "")
    if wanted is None:
        with pytest.raises(RepairFailed):
            repair(text, SCHEMA, cursor=cursor, accepts=asked)
    else:
        assert check(text, asked, cursor).sql == wanted


def test_what_is_told():
    done = check(f"{F} WHERE price > 5 AND quantity >")
    assert done.dropped == ("last condition: quantity >",)
    assert done.edits == (Edit(38, 53, "", "last condition left out"),)
    assert not done.exact
    assert check(f"{F};").exact
    with pytest.raises(RepairFailed, match="did you mean sales") as caught:
        repair("SELECT item FROM sal", SCHEMA)
    assert caught.value.position == 20
    with pytest.raises(InputError, match="outside"):
        repair("SELECT", SCHEMA, cursor=9)


def test_the_database_is_asked_once_about_each_text():
    seen = []

    def counting(sql):
        seen.append(sql)
        return asked(sql)

    rules = RuleRepairer(counting)
    for text in (f"{F} WHERE price > 5 AND", f"{F} WHERE price > 5", f"{F} WHERE price > 5 AND quantity"):
        assert rules.repair(text, SCHEMA).sql == f"{F} WHERE price > 5"
    assert seen == [f"{F} WHERE price > 5"]
    assert rules(f"{F} WHERE", len(F) + 6, SCHEMA) == list(rules.repair(f"{F} WHERE", SCHEMA).edits)


def test_the_database_has_the_last_word():
    def only_short(sql):
        return None if len(sql) <= len(F) else QueryFailed("too long")

    done = repair(f"{F} WHERE price > 5 AND quantity > 3", SCHEMA, accepts=only_short)
    assert done.sql == F
    with pytest.raises(RepairFailed, match="no part of this runs yet: never"):
        repair(F, SCHEMA, accepts=lambda sql: QueryFailed("never"))


def test_another_repairer():
    def other(text, cursor, schema, error):
        assert error == "there is no column itm"
        return [Edit(7, 10, "item", "as I like it")]

    done = repair("SELECT itm FROM sales", SCHEMA, repairer=other)
    assert (done.sql, len(done.edits)) == (F, 1)
    assert repair(F, SCHEMA, repairer=other).exact
    with pytest.raises(RepairFailed, match="does not run, either"):
        repair("SELECT itm FROM sale", SCHEMA, repairer=lambda *_: [])
    with pytest.raises(InputError, match="out of order"):
        repair("SELECT itm FROM sales", SCHEMA, repairer=lambda *_: [Edit(5, 99, "")])


def test_other_dialects():
    done = repair("SELECT item FROM (SELECT item FROM sales", SCHEMA, dialect="postgres")
    assert done.sql == "SELECT item FROM (SELECT item FROM sales) AS unnamed"
    done = repair('SELECT `item` FROM sales WHERE item = "a', SCHEMA, dialect="spark")
    assert done.sql == "SELECT `item` FROM sales"


PREDICATES = st.recursive(
    st.sampled_from(
        [
            "price > 5",
            "quantity <= 60",
            "item = 'a'",
            "item LIKE '%a%'",
            "region IS NOT NULL",
            "price BETWEEN 3 AND 8",
            "quantity NOT BETWEEN 1 AND 12",
            "item IN (SELECT c_name FROM customer WHERE active AND c_id > 2)",
            "item NOT IN (SELECT c_name FROM customer WHERE c_name IS NOT NULL AND c_id > 3)",
            "EXISTS (SELECT 1 FROM customer WHERE c_id = price AND active)",
            "NOT EXISTS (SELECT 1 FROM customer WHERE c_id = price AND active)",
            "(price\n>\n8\nOR\nquantity\n<\n20)",  # no cut in it: an OR that is not there yet cannot be known
        ]
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda p: f"({' AND '.join(p)})"),
        inner.map(lambda p: f"NOT ({p})"),
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(PREDICATES, min_size=1, max_size=3), st.data())
def test_a_prefix_never_loses_rows(predicates, data):
    """All rows of the finished query are among those of every repaired beginning of its WHERE."""
    text = "SELECT item, price, quantity FROM sales WHERE " + " AND ".join(predicates)
    full = Counter(DATABASE.execute(text).fetchall())
    ends = [i for i in range(text.index("WHERE"), len(text)) if text[i] in " )"]
    end = data.draw(st.sampled_from(ends))
    done = check(text[:end], asked)
    rows = Counter(DATABASE.execute(done.sql).fetchall())
    assert full <= rows, done.sql


QUERIES = [
    "WITH a AS (SELECT region, SUM(price) AS total FROM sales s JOIN customer c ON s.price = c.c_id AND c.active "
    "WHERE quantity > 1 GROUP BY region), b AS (SELECT * FROM a WHERE total > 3) "
    "SELECT x.region, CASE WHEN x.total > 5 THEN 'é' ELSE 'f' END AS k FROM b x LEFT JOIN (SELECT item FROM sales) y "
    "ON x.region = y.item WHERE x.total IN (1, 2, (SELECT max(price) FROM sales)) ORDER BY k DESC LIMIT 5",
    "SELECT item, count(*) FROM sales WHERE item LIKE 'a%' OR (price BETWEEN 1 AND 5 AND NOT quantity = 3) "
    "GROUP BY item HAVING count(*) > 1 UNION ALL SELECT c_name, c_id FROM customer WHERE c_id NOT IN "
    "(SELECT price FROM sales WHERE region IS NULL)",
    "SELECT item, sum(price) OVER (PARTITION BY region ORDER BY price) AS r FROM sales QUALIFY r > 3; SELECT 1",
]


@pytest.mark.parametrize("query", QUERIES)
def test_every_prefix(query):
    rules = RuleRepairer(asked)
    for end in range(0, len(query) + 1, 3):
        text = query[:end]
        try:
            done = rules.repair(text, SCHEMA)
        except RepairFailed:
            continue
        assert asked(done.sql) is None
        assert apply_edits(text, done.edits) == text[: done.span.start] + done.sql + text[done.span.end :]
        assert RuleRepairer(asked).repair(done.sql, SCHEMA).exact


PIECES = st.sampled_from(
    [
        "SELECT", "FROM", "WHERE", "AND", "OR", "NOT", "(", ")", "[", "]", ",", ".", ";", "'", '"', "''", "*", "item",
        "price", "sales", "customer", "c_id", ">", "=", "IN", "BETWEEN", "CASE", "WHEN", "END", "JOIN", "LEFT", "ON",
        "USING", "WITH", "AS", "a", "GROUP", "BY", "ORDER", "HAVING", "LIMIT", "1", "'x'", "--", "/*", "*/", "UNION",
        "EXISTS", "COUNT", "é😀", "::", "$1", "VALUES", "{",
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=18).map(" ".join), st.floats(0, 1), st.booleans())
def test_any_text(text, place, database):
    cursor = round(place * len(text))
    try:
        done = repair(text, SCHEMA, cursor=cursor, accepts=asked if database else None)
    except RepairFailed:
        return
    assert apply_edits(text, done.edits) == text[: done.span.start] + done.sql + text[done.span.end :]
    if database:
        assert asked(done.sql) is None


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_any_characters(text):
    with pytest.raises(RepairFailed):
        repair("x" + text, SCHEMA)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT s.* FROM sales s JOIN customer c ON s.price = c.c_id WHERE c.active",
        "SELECT price, n FROM sales JOIN (SELECT price, sum(quantity) n FROM sales GROUP BY ALL) t USING (price)",
        "SELECT a.x, y FROM (SELECT item, price FROM sales) a(x, y) WHERE x = 'a'",
        "WITH r(n) AS (SELECT price FROM sales) SELECT n FROM r",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r",
        "SELECT item AS name, price * 2 AS twice FROM sales WHERE twice > 4 ORDER BY name",
        "SELECT region, grouping(region), count(*) FROM sales GROUP BY ROLLUP (region)",
        "SELECT substr(item, 1, 1), count(*) FROM sales GROUP BY substr(item, 1, 1)",
        "SELECT region AS r, item, max(price) FROM sales GROUP BY 1, item",
        "SELECT region, sum(sum(price)) OVER (ORDER BY region) FROM sales GROUP BY region",
        "SELECT count(*) FILTER (WHERE price > 1) FROM sales",
        "SELECT x FROM range(3) t(x), (VALUES (1, 2)) v(p, q)",
        "SELECT u FROM unnest([1, 2]) AS q(u)",
        "SELECT item, (SELECT max(c_id) FROM customer WHERE c_id < price) FROM sales",
        "SELECT t.item FROM (sales t JOIN customer ON price = c_id)",
        "SELECT item FROM main.sales WHERE sales.price > 1 AND rowid > 0",
        "SELECT item FROM sales WHERE starts_with(item, 'a')",
        "(SELECT item FROM sales) UNION (SELECT c_name FROM customer) ORDER BY 1 LIMIT 3",
        "SELECT * EXCLUDE (price) FROM sales QUALIFY row_number() OVER (PARTITION BY item) = 1",
        "FROM sales",
    ],
)
def test_what_is_whole_stays(query, accepts):
    assert asked(query) is None
    assert check(query, accepts).exact


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"{F} JOIN customer USING (", F),
        (f"{F} JOIN (SELECT c_id AS price FROM customer) c USING (price",
         f"{F} JOIN (SELECT c_id AS price FROM customer) c USING (price)"),
        (f"{F}, customer CROSS JOIN", f"{F}, customer"),
        (f"{F} CROSS JOIN customer", f"{F} CROSS JOIN customer"),
        (f"{F} JOIN (SELECT c_id FROM customer WHERE", F),
        ("SELECT item FROM (sales JOIN customer ON price = c_id AND",
         "SELECT item FROM (sales JOIN customer ON price = c_id)"),
        ("SELECT item FROM (SELECT item, price FROM sales WHERE price > 1 AND quantity =",
         "SELECT item FROM (SELECT item, price FROM sales WHERE price > 1)"),
        (f"({F} WHERE price >", f"({F})"),
        (f"({F}) UNION (SELECT c_name FROM customer WHERE c_id", f"({F}) UNION (SELECT c_name FROM customer)"),
        (f"{F} INTERSECT SELECT c_name FROM customer WHERE c_id > 1 AND",
         f"{F} INTERSECT SELECT c_name FROM customer WHERE c_id > 1"),
        (f"{F} WHERE price = ANY (SELECT c_id FROM customer WHERE c_id > 1 AND",
         f"{F} WHERE price = ANY (SELECT c_id FROM customer WHERE c_id > 1)"),
        (f"{F} WHERE item IN (SELECT nothing FROM customer)", F),
        (f"{F} WHERE item IN (SELECT c_name FROM customer WHERE nothing = 1)",
         f"{F} WHERE item IN (SELECT c_name FROM customer)"),
        (f"{F} WHERE item NOT IN (SELECT c_name FROM customer WHERE nothing = 1)", F),
        ("SELECT item, nothing FROM sales UNION SELECT c_name, c_id FROM customer", None),
        ("SELECT (SELECT max(price) FROM sales) AS top, (SELECT", "SELECT (SELECT max(price) FROM sales) AS top"),
        ("SELECT region, max(price) FROM sales GROUP BY substr(region, 1",
         "SELECT region, max(price) FROM sales GROUP BY substr(region, 1), region"),
        (f"{F} LIMIT 3 OFFSET", f"{F} LIMIT 3"),
        (f"{F} GROUP BY item HAVING count(*) > 1 OR", f"{F} GROUP BY item"),
        ("WITH a AS (SELECT item FROM sales), ", "WITH a AS (SELECT item FROM sales) SELECT * FROM a"),
    ],
)  # fmt: skip
def test_more_shapes(text, wanted, accepts):
    if wanted is None:
        with pytest.raises(RepairFailed):
            repair(text, SCHEMA, accepts=accepts)
    else:
        assert check(text, accepts).sql == wanted


def test_a_cte_whose_columns_are_counted_goes_whole():
    text = "WITH a(x) AS (SELECT nothing FROM sales), b AS (SELECT item FROM sales) SELECT item FROM b"
    assert check(text).sql == "WITH b AS (SELECT item FROM sales) SELECT item FROM b"
    assert check(text, asked).exact  # DuckDB does not look at a CTE that nobody reads


def test_deep_nesting():
    with pytest.raises(RepairFailed):
        repair("SELECT " + "(" * 5000, SCHEMA)
    assert check("SELECT item FROM sales WHERE " + "(" * 40 + "price > 5", asked).sql.endswith(")" * 40)
