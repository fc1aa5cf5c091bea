"""The engine for Spark, in this process with one thread."""

import os
import shutil
import threading
import time

import pytest

from firsthand.errors import InputError
from firsthand.query.speql import Session
from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.equality import difference
from firsthand.query.speql.errors import QueryFailed, QueryInterrupted, UnsafeStatement
from firsthand.query.speql.matching import rewrite
from firsthand.query.speql.plan import plan_views
from firsthand.query.speql.random_queries import draw_query, draw_world, edited
from firsthand.query.speql.spark_engine import SparkEngine
from firsthand.query.speql.views import View, filling

SALES = "SELECT item, SUM(price) AS total FROM sales WHERE quantity > 5 GROUP BY item"


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    sql = pytest.importorskip("pyspark.sql")
    if shutil.which("java") is None:
        pytest.skip("needs Java: apt-get install default-jre-headless")
    folder = tmp_path_factory.mktemp("spark")
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    session = (
        sql.SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "1g")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
        .config("spark.local.dir", str(folder / "local"))
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture
def tables(spark, tmp_path):
    """Puts tables into the session, as Parquet files that DuckDB wrote; they are gone after the test."""
    import duckdb

    names = []

    def put(statements):
        with duckdb.connect() as connection:
            for statement in statements:
                connection.execute(statement)
            for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
                (tmp_path / name).mkdir(exist_ok=True)
                connection.execute(f"COPY {name} TO '{tmp_path / name / 'part-0.parquet'}' (FORMAT parquet)")
                spark.read.parquet(str(tmp_path / name)).createOrReplaceTempView(name)
                names.append(name)
        return tmp_path

    yield put
    for name in names:
        spark.catalog.dropTempView(name)


@pytest.fixture
def sales(tables):
    return tables(
        [
            "CREATE TABLE sales AS SELECT n AS id, 'item ' || n % 7 AS item, (n % 100)::DECIMAL(7, 2) AS price, "
            "(n % 20)::INTEGER AS quantity, DATE '2000-01-01' + (n % 90)::INTEGER AS day FROM range(40000) AS s(n)"
        ]
    )


def _answer(table):
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


def test_engine(spark, sales):
    engine = SparkEngine(spark)
    connection = engine.connect()
    table = engine.schema.table("sales")
    assert [column.type for column in table.columns] == ["BIGINT", "STRING", "DECIMAL(7,2)", "INT", "DATE"]
    assert table.settled
    assert table.rows > 0
    assert [(c.name, c.type) for c in connection.describe("SELECT SUM(price), day FROM sales GROUP BY day")] == [
        ("sum(price)", "DECIMAL(17,2)"), ("day", "DATE"),
    ]  # fmt: skip
    assert connection.explain("SELECT * FROM sales a, sales b").crossed > 1e6
    assert connection.explain("SELECT * FROM sales a JOIN sales b ON a.id = b.id").crossed == 0
    before = engine.version()
    filled = connection.fill(1, "SELECT item AS c0, price AS c1 FROM sales WHERE quantity > 5")
    assert (filled.rows, filled.types) == (28000, ("STRING", "DECIMAL(7,2)"))
    assert engine.version() == before
    assert connection.query(f"SELECT COUNT(*) AS n FROM {filled.name}").to_pylist() == [{"n": 28000}]
    connection.drop(filled.name)
    with pytest.raises(QueryFailed, match="TABLE_OR_VIEW_NOT_FOUND"):
        connection.query(f"SELECT COUNT(*) FROM {filled.name}")
    with pytest.raises(QueryFailed, match="differ from run to run"):
        connection.fill(2, "SELECT rand() AS c0 FROM sales")
    with pytest.raises(QueryFailed, match="nope"):
        connection.describe("SELECT nope FROM sales")
    engine.close()
    engine.close()
    with pytest.raises(InputError, match="SparkSession"):
        SparkEngine("local[1]")


def test_refuses_what_does_more_than_read(spark):
    engine = SparkEngine(spark)
    for sql in (
        "SELECT 1; SELECT 2",
        "DROP TABLE sales",
        "FROM sales INSERT INTO other SELECT *",
        "WITH a AS (SELECT 1) INSERT INTO other SELECT * FROM a",
        "SELECT reflect('java.lang.System', 'exit', 1)",
        "SELECT TRANSFORM(item) USING 'cat' FROM sales",
        "",
    ):
        with pytest.raises(UnsafeStatement):
            engine.refuse(sql)
        with pytest.raises(UnsafeStatement):
            engine.connect().query(sql)
    engine.refuse("(SELECT 'INSERT') UNION SELECT 2")


def test_tables_over_what_may_change_unseen_are_not_settled(spark, sales):
    spark.createDataFrame(spark.sparkContext.parallelize([(1,)]), "a int").createOrReplaceTempView("loose")
    spark.sql("CREATE OR REPLACE TEMP VIEW moving AS SELECT id FROM sales WHERE day < current_date()")
    spark.sql("CREATE OR REPLACE TEMP VIEW drawn AS SELECT rand() AS r FROM sales")
    spark.sql("CREATE OR REPLACE TEMP VIEW steady AS SELECT id FROM sales WHERE quantity > 1")
    engine = SparkEngine(spark)
    assert {table.name: table.settled for table in engine.schema.tables} == {
        "sales": True, "loose": False, "moving": False, "drawn": False, "steady": True,
    }  # fmt: skip
    for name in ("loose", "moving", "drawn", "steady"):
        spark.catalog.dropTempView(name)


def test_a_running_query_is_cancelled(spark, sales):
    engine = SparkEngine(spark)
    connection = engine.connect()
    endless = "SELECT SUM(a.id * b.id % 7) AS s FROM range(1000000) a CROSS JOIN range(1000000) b"
    threading.Timer(1.0, connection.interrupt).start()
    start = time.perf_counter()
    with pytest.raises(QueryInterrupted):
        connection.query(endless)
    assert time.perf_counter() - start < 15
    with pytest.raises(QueryInterrupted):
        connection.fill(1, endless, timeout_s=0.5)
    assert connection.progress() == 0
    assert connection.query("SELECT 1 AS one").to_pylist() == [{"one": 1}]
    engine.close()


def test_a_session_from_typing_to_nothing_left(spark, sales):
    import duckdb

    session = Session(SparkEngine(spark))
    session.edit(f"{SALES} HAVING")
    assert session.wait(60)
    assert session.preview(30).rows.num_rows == 7
    first = session.submit(SALES)
    assert first.level == 1
    duckdb.sql(
        "COPY (SELECT 0 AS id, 'item 1' AS item, 1000::DECIMAL(7, 2) AS price, 9 AS quantity, NULL::DATE AS day) "
        f"TO '{sales / 'sales' / 'part-1.parquet'}' (FORMAT parquet)"
    )
    second = session.submit(SALES)
    assert second.level != 0
    totals = dict(_answer(first.table))
    assert _answer(second.table) == sorted({**totals, "item 1": totals["item 1"] + 1000}.items())
    session.close()
    assert not [one.name for one in spark.catalog.listTables() if one.name.startswith("speql")]
    assert spark.sparkContext._jsc.getPersistentRDDs().size() == 0


def _served(spark, tables, worlds, queries):
    """How often speculative tables answered random queries and their edits, each time as the tables do."""
    served = 0
    for seed in worlds:
        world = draw_world(seed)
        tables(world.statements)
        engine = SparkEngine(spark)
        connection = engine.connect()
        for number in queries:
            lines = draw_query(world, number)
            text, later = (
                "\n".join(some).replace("AS VARCHAR)", "AS STRING)")
                for some in (lines, edited(lines, number))
            )
            statement = Statement.read(text, engine.schema, volatile=engine.volatile)
            assert not statement.unknown
            views = []
            for place, vertex in enumerate(plan_views(statement)):
                filled = connection.fill(place, filling(vertex.definition, "spark"))
                views.append(
                    View(
                        place,
                        vertex.definition,
                        filled.name,
                        filled.types,
                        filled.rows,
                        (8.0,) * len(filled.types),
                    )
                )
            for target in (text, later):
                found = rewrite(Statement.read(target, engine.schema, volatile=engine.volatile), views)
                if found is None:
                    continue
                served += 1
                direct = connection.query(target)
                answered = connection.query(found.sql).rename_columns(direct.schema.names)
                wrong = difference(target, direct, answered, connection.query, dialect="spark")
                assert not wrong, f"{wrong}\n--- asked\n{target}\n--- ran\n{found.sql}"
        engine.close()
    return served


def test_random_queries_and_edits_are_answered_as_the_tables_answer_them(spark, tables):
    assert _served(spark, tables, (1,), range(5)) >= 5


@pytest.mark.long
def test_many_random_queries_and_edits_are_answered_as_the_tables_answer_them(spark, tables):
    assert _served(spark, tables, range(2, 12), range(6)) >= 60
