from __future__ import annotations

import threading
import time
from pathlib import Path

import duckdb
import pytest

from firsthand.errors import InputError, NotFoundError
from firsthand.query import speql
from firsthand.query.speql.config import Config
from firsthand.query.speql.duckdb_engine import DuckDBEngine
from firsthand.query.speql.errors import QueryFailed, QueryInterrupted, UnsafeStatement
from firsthand.query.speql.session import Session

from .conftest import SALES, database

QUERY = "SELECT item, sum(quantity) AS s FROM sales WHERE price > 5 GROUP BY item"


def typed(session: Session, *texts: str) -> None:
    for text in texts:
        session.edit(text)
        assert session.wait(30)


def answers(sql: str) -> list:
    connection = duckdb.connect()
    for statement in SALES:
        connection.execute(statement)
    return connection.execute(sql).fetchall()


def rows(result: speql.Result) -> list:
    return [tuple(row.values()) for row in result.table.to_pylist()]


def test_the_worked_trace(session: Session) -> None:
    start = "SELECT item FROM sales WHERE price > 5 AND quantity > 5"
    session.edit("SELECT item FROM sales WHERE price > 5 AND quantity")
    assert session.wait(30)
    preview = session.preview(5)
    assert preview.kind == "assumed"
    assert preview.rows.num_rows == 6
    assert preview.dropped == ("last condition: quantity",)
    typed(session, start + "0")
    assert session.preview(5).kind == "exact"
    assert session.preview(5).rows.to_pydict() == {"item": ["b"]}
    result = session.submit("SELECT item FROM sales WHERE price > 5 AND quantity > 1")
    assert result.level == 1
    assert sorted(rows(result)) == [("a",), ("b",), ("c",), ("d",)]
    again = session.submit("SELECT item FROM sales WHERE price > 5 AND quantity > 1")
    assert again.level == 0
    assert again.table == result.table


def test_a_prepared_body_takes_any_tail(session: Session) -> None:
    typed(session, QUERY)
    for tail in (
        "",
        " ORDER BY s DESC, item",
        " ORDER BY 2 NULLS FIRST, 1 LIMIT 2",
        " ORDER BY item LIMIT 2 OFFSET 1",
    ):
        result = session.submit(QUERY + tail)
        assert result.level == 1
        assert result.table.column_names == ["item", "s"]
        mine, theirs = rows(result), answers(QUERY + tail)
        assert (mine if tail else sorted(mine, key=repr)) == (theirs if tail else sorted(theirs, key=repr))


def test_names_and_types_are_the_texts_own(session: Session) -> None:
    query = "SELECT Item, count(*), sum(price) + 1, avg(price) FROM sales GROUP BY item"
    typed(session, query)
    found = session.submit(query + " ORDER BY 1").table
    direct = Session(DuckDBEngine(session.engine.path), Config(speculate=False))
    with direct:
        assert direct.submit(query + " ORDER BY 1").table.schema == found.schema


def test_without_speculation_nothing_is_made(sales: Path) -> None:
    with Session(DuckDBEngine(sales), Config(speculate=False)) as session:
        session.edit(QUERY)
        assert session.wait(5)
        assert session.preview(1) is None
        assert session.submit(QUERY).level is None
        assert session.submit(QUERY).level is None
        assert session.views() == []


@pytest.mark.parametrize("race", [True, False])
def test_a_query_that_nothing_was_done_for(sales: Path, race: bool) -> None:
    with Session(DuckDBEngine(sales), Config(race=race)) as session:
        result = session.submit("SELECT count(*) FROM stock")
        assert result.level is None
        assert rows(result) == [(3,)]
        typed(session, "SELECT item FROM stock WHERE shelf > 1")
        assert session.submit("SELECT max(shelf) FROM stock").level == 2


def test_text_that_is_not_understood_is_served_whole(session: Session) -> None:
    query = "SELECT upper(item) AS item, count(*) AS n FROM sales WHERE item <> 'z' GROUP BY sales.item"
    recursive = (
        "WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT n FROM c"
    )
    for text in (query, recursive):
        typed(session, text)
        result = session.submit(text + " ORDER BY 1 DESC")
        assert result.level == 1
        assert rows(result) == answers(text + " ORDER BY 1 DESC")


def test_what_differs_each_time_is_never_kept(session: Session) -> None:
    query = "SELECT random() AS r FROM sales"
    typed(session, query)
    assert session.views() == []
    first, second = session.submit(query), session.submit(query)
    assert first.level is None
    assert second.level is None
    assert first.table != second.table


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE sales", "SELECT 1; SELECT 2", "COPY sales TO 'x.csv'", "ATTACH 'x.db'", "PRAGMA database_list",
        "INSERT INTO sales VALUES ('x', 1, 1)", "INSTALL httpfs", "SET threads = 1", "CREATE TABLE x (a INTEGER)", "",
        "/* nothing */", "EXPLAIN SELECT 1", "CALL pragma_version()", "-- SELECT\nDELETE FROM sales",
        "EXPORT DATABASE 'x'",
    ],
)  # fmt: skip
def test_only_one_query_that_reads(session: Session, text: str) -> None:
    with pytest.raises(UnsafeStatement):
        session.submit(text)
    assert rows(session.submit("SELECT count(*) FROM sales")) == [(7,)]


@pytest.mark.parametrize(
    "text",
    ["SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM glob('/etc/*')", "SELECT * FROM '/etc/passwd'"],
)
def test_files_are_out_of_reach(session: Session, text: str) -> None:
    with pytest.raises(QueryFailed):
        session.submit(text)
    typed(session, text)
    assert session.preview(1) is None


def test_a_fault_says_where(session: Session) -> None:
    with pytest.raises(QueryFailed, match="nope") as caught:
        session.submit("SELECT nope FROM sales")
    assert caught.value.position == 7


def test_text_before_and_behind(session: Session) -> None:
    assert rows(session.submit("  -- all of them\nSELECT count(*) FROM sales; -- done\n")) == [(7,)]


def test_a_cursor_outside(session: Session) -> None:
    with pytest.raises(InputError, match="cursor"):
        session.edit("SELECT 1", 9)


def test_statement_and_query_at_the_cursor(session: Session) -> None:
    text = "SELECT 1; WITH c AS (SELECT item FROM sales WHERE price > 8) SELECT count(*) AS n FROM c"
    session.edit(text, text.index("price"))
    session.wait(30)
    assert session.preview(5).rows.column_names == ["item"]
    session.edit(text)
    session.wait(30)
    assert session.preview(5).rows.to_pydict() == {"n": [2]}


LONG = "SELECT count(*) FROM range(10000000) AS a(x), range(1000) AS b(y) WHERE (x * y) % 7 = 3"


def test_cancel(session: Session) -> None:
    def cancel() -> None:
        time.sleep(0.3)
        session.cancel()

    threading.Thread(target=cancel).start()
    with pytest.raises(QueryInterrupted):
        session.submit(LONG)
    assert rows(session.submit("SELECT 1")) == [(1,)]


def test_a_time_limit(session: Session) -> None:
    with pytest.raises(QueryInterrupted):
        session.submit(LONG, timeout_s=0.2)


def test_a_submission_stops_what_is_made_ahead(tmp_path: Path) -> None:
    path = database(
        tmp_path / "big.duckdb",
        ("CREATE TABLE t AS SELECT range AS a, range % 1000 AS b FROM range(300000)", *SALES),
    )
    slow = "SELECT x.b, count(*) AS n, sum(y.a) AS s FROM t AS x, t AS y WHERE x.b = y.b GROUP BY x.b"
    with Session(DuckDBEngine(path, threads=1)) as session:
        session.edit(slow)
        while not any(node.state == "running" for node in session.dag().nodes):
            time.sleep(0.01)
        assert rows(session.submit("SELECT count(*) FROM sales")) == [(7,)]
        assert not any(node.state == "done" for node in session.dag().nodes)
        session.edit("SELECT item FROM sales WHERE price > 5")  # no longer wanted: it is given up
        assert session.wait(30)
        assert [view.key.split()[0] for view in session.views()] == ["rows"]


def test_tables_joined_on_nothing_are_not_made(tmp_path: Path) -> None:
    path = database(
        tmp_path / "big.duckdb", ("CREATE TABLE t AS SELECT range AS a, range % 9 AS b FROM range(100000)",)
    )
    with Session(DuckDBEngine(path, threads=1)) as session:
        refused = []
        session.listen(lambda event: refused.append(event) if event.kind == "view_refused" else None)
        typed(session, "SELECT x.a, count(*) AS n FROM t AS x, t AS y GROUP BY x.a")
        assert session.views() == []
        assert "joined on nothing" in refused[0].data["reason"]


def test_what_was_not_worth_making_is_not_made_again(tmp_path: Path) -> None:
    path = database(
        tmp_path / "wide.duckdb",
        ("CREATE TABLE wide AS SELECT i, i % 7 AS k, i AS j FROM range(100000) t(i)",),
    )
    with Session(DuckDBEngine(path, threads=1), Config(race=False)) as session:
        heard: list[speql.Event] = []
        session.listen(heard.append)
        text = "SELECT i, k, j FROM wide WHERE k < 6"
        typed(session, text, text + " ", text + "  ")
        refused = [event for event in heard if event.kind == "view_refused"]
        assert len(refused) == len({event.data["key"] for event in refused}) > 0
        assert all("nearly as much to read" in event.data["reason"] for event in refused)
        states = {node.vertex.key: (node.state, node.reason) for node in session.dag().nodes}
        for event in refused:
            assert states[event.data["key"]] == ("refused", event.data["reason"])


def test_what_takes_too_long_is_given_up_and_said(tmp_path: Path) -> None:
    path = database(
        tmp_path / "slow.duckdb", ("CREATE TABLE slow AS SELECT i, i % 3 AS k FROM range(9000) t(i)",)
    )
    with Session(DuckDBEngine(path, threads=1), Config(race=False, command_timeout_s=0.05)) as session:
        heard: list[speql.Event] = []
        session.listen(heard.append)
        text = "SELECT sum(a.i * b.i) AS n FROM slow a JOIN slow b ON a.k = b.k WHERE a.i + b.i > 5"
        typed(session, text, text + " ")
        reasons = [event.data["reason"] for event in heard if event.kind == "view_refused"]
        assert reasons == ["it takes more than 0.05 s"] * 2  # of the groups and of the rows, once each


def test_changed_data_is_noticed(sales: Path) -> None:
    with Session(DuckDBEngine(sales)) as session:
        typed(session, QUERY)
        assert session.submit(QUERY).level == 1
        other = database(
            sales.with_name("other.duckdb"), ("CREATE TABLE sales (item VARCHAR, price INT, quantity INT)",)
        )
        other.replace(sales)
        assert rows(session.submit(QUERY)) == []
        with pytest.raises(QueryFailed):
            session.submit("SELECT * FROM stock")


def test_a_folder_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "parts").mkdir(parents=True)
    connection = duckdb.connect()
    for number in range(2):
        connection.execute(
            f"COPY (SELECT range AS a FROM range({number}, 5)) TO '{folder}/parts/{number}.parquet'"
        )
    (folder / "Cities.csv").write_text("name,size\nUlm,1\nKiel,2\n")
    (folder / "notes.txt").write_text("no table")
    with speql.open(folder) as session:
        assert sorted(session.schema.names()) == ["Cities", "parts"]
        typed(session, "SELECT count(*) AS n FROM parts WHERE a > 0 GROUP BY a")
        assert rows(session.submit("SELECT sum(size) FROM cities WHERE size > 1")) == [(2,)]
        assert rows(session.submit("SELECT count(*) FROM parts")) == [(9,)]
        (folder / "Cities.csv").write_text("name,size\nUlm,1\nKiel,7\n")
        assert rows(session.submit("SELECT sum(size) FROM cities WHERE size > 1")) == [(7,)]
        with pytest.raises(QueryFailed):
            session.submit(f"SELECT * FROM read_csv('{tmp_path}/../x.csv')")


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="not there"):
        speql.open(tmp_path / "nothing.duckdb")
    (tmp_path / "text.duckdb").write_text("this is no database")
    with pytest.raises(InputError, match="cannot be opened"):
        speql.open(tmp_path / "text.duckdb")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no file that can be read"):
        speql.open(tmp_path / "empty")
    with pytest.raises(InputError, match="did not start"):
        speql.open(tmp_path / "empty", memory_limit="lots")


def test_events_and_their_order(sales: Path) -> None:
    with Session(DuckDBEngine(sales)) as session:
        seen: list = []
        end = session.listen(seen.append)
        typed(session, QUERY)
        session.submit(QUERY)
        end()
        kinds = [event.kind for event in seen]
        assert (
            kinds.index("repaired")
            < kinds.index("planned")
            < kinds.index("view_created")
            < kinds.index("preview")
        )
        assert kinds[-1] == "submitted"
        result = seen[-1].data["result"]
        assert result.used == (result.used[0],)
        assert result.gap_ms > 0
        session.edit("SELECT 1")
        session.wait(5)
        assert seen[-1].kind == "submitted"


def test_closing(sales: Path) -> None:
    session = Session(DuckDBEngine(sales))
    typed(session, QUERY)
    engine = session.engine
    spill = Path(engine._spill.name)
    session.close()
    session.close()
    assert not spill.exists()
    with pytest.raises(InputError, match="closed"):
        session.submit(QUERY)
    with pytest.raises(InputError, match="closed"):
        session.edit(QUERY)
    assert not [t for t in threading.enumerate() if t.name.startswith("firsthand-speql")]


def test_history_adds_columns(sales: Path) -> None:
    with Session(DuckDBEngine(sales)) as session:
        session.submit("SELECT item, price FROM sales WHERE price > 1 AND quantity > 3")
        typed(session, "SELECT item, price FROM sales WHERE price > 4")
        (view,) = [view for view in session.views() if view.key.startswith("rows")]
        assert ("sales", "quantity") in view.definition.columns


def test_arms_of_an_unfinished_choice_share_a_join(session: Session) -> None:
    text = (
        "SELECT count(*) AS n FROM sales AS s, stock AS k WHERE s.price > 0 AND "
        "((s.item = k.item AND s.price > 5) OR (s.item = k.item AND s.price > {}"
    )
    typed(session, text.format("6"))
    result = session.submit(text.format("6") + "))")
    assert result.level == 1
    assert rows(result) == answers(text.format("6") + "))")
    other = text.format("6") + ") OR s.quantity > 50)"  # the guess was wrong
    assert rows(session.submit(other)) == answers(other)


def test_it_is_only_a_guess(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is made ahead, answers stay: a speculator that makes tables of another query altogether."""
    from firsthand.query.speql import speculation

    true = speculation.plan_views

    def wrong(statement, *more):
        other = speculation.Statement.read(
            "SELECT item FROM sales WHERE price > 6 GROUP BY item", statement.schema
        )
        return true(other)

    monkeypatch.setattr(speculation, "plan_views", wrong)
    typed(session, QUERY)
    assert session.views()
    assert sorted(rows(session.submit(QUERY)), key=repr) == sorted(answers(QUERY), key=repr)
