"""The page's server, asked as the page asks it: messages, windows of rows, downloads, who is let in."""

from __future__ import annotations

import io
import threading
import time

import httpx
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from firsthand.errors import InputError
from firsthand.query.speql.desk import query_up_to
from firsthand.query.speql.page import speql_app
from firsthand.query.speql.protocol import pack, read_message, unpack
from firsthand.query.speql.rows import columns_of, export, window
from firsthand.query.speql.schema import Schema
from firsthand.serve import LiveServer
from tests.query.speql.page_fixtures import SALES, TOKEN, Tab, TooManyTabs, live, small_database

SLOW = "SELECT sum(a.range * b.range % 7) FROM range(100000) a, range(100000) b"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("data") / "shop.duckdb")


@pytest.fixture(scope="module")
def server(path):
    with live(path) as server:
        yield server


@pytest.fixture
def tab(server):
    with Tab(server.url) as tab:
        yield tab


# --- messages ------------------------------------------------------------------------------------------------


def test_a_tab_is_greeted_with_the_schema(tab):
    assert tab.hello["name"] == "shop.duckdb"
    assert tab.hello["debounce_ms"] == 250
    assert not tab.hello["resumed"]
    schema, _ = tab.until("schema")
    assert [table["name"] for table in schema["tables"]] == ["sales", "visits"]
    assert schema["tables"][0]["columns"][1] == {"name": "price", "type": "INTEGER"}
    assert schema["tables"][0]["rows"] == 7


def test_a_half_typed_query_is_repaired_and_previewed(tab):
    number = tab.edit("SELECT item FROM sales WHERE price > 5 AND quantity")
    repaired, _ = tab.until("repaired")
    assert (repaired["id"], repaired["exact"]) == (number, False)
    assert repaired["sql"] == "SELECT item FROM sales WHERE price > 5"
    assert any("quantity" in words for words in repaired["dropped"])
    preview, rows = tab.until("preview")
    assert (preview["id"], preview["trust"], preview["more"]) == (number, "assumed", False)
    assert preview["columns"] == [{"name": "item", "type": "VARCHAR", "kind": "text"}]
    assert rows.num_rows == 6
    number = tab.edit("SELECT item FROM sales WHERE price > 5 AND quantity > 50")
    preview, rows = tab.until("preview", number=number)
    assert preview["trust"] == "exact"
    assert rows.to_pydict() == {"c0": ["b"]}


def test_what_is_made_ahead_is_told(tab):
    number = tab.edit("SELECT item FROM sales WHERE price > 5")
    created, _ = tab.until("view_created", number=number)
    while True:
        planned, _ = tab.until("planned")
        if any(node["view"] == created["view"] for node in planned["nodes"]):
            break
    assert planned["id"] == number
    assert created["view"] in [view["view"] for view in planned["views"]]
    node = next(node for node in planned["nodes"] if node["view"] == created["view"])
    assert (node["state"], node["query"] != "") == ("done", True)


def test_what_cannot_be_repaired_says_why(tab):
    number = tab.edit("SELECT * FROM nowhere")
    failed, _ = tab.until("repair_failed")
    assert failed["id"] == number
    assert "nowhere" in failed["message"]


def test_a_preview_names_columns_as_the_answer_does(tab):
    text = "SELECT max(price + 1), count(*) FROM sales"
    number = tab.edit(text)
    preview, _ = tab.until("preview", number=number)
    tab.submit(text)
    result, _ = tab.until("result")
    names = [[column["name"] for column in body["columns"]] for body in (preview, result)]
    assert names[0] == names[1]


def test_a_preview_that_takes_too_long_is_sampled_or_given_up_in_words(path):
    with live(path, command_timeout_s=0.02) as server, Tab(server.url) as tab:
        number = tab.edit("SELECT sum(hash(range)) FROM range(400_000_000)")
        failed, _ = tab.until("preview_failed", number=number)
        assert "too long" in failed["message"]


def test_an_older_edit_is_not_told_of_after_a_newer_one(tab):
    numbers = [tab.edit(f"SELECT item FROM sales WHERE price > {n}") for n in range(20)]
    tab.until("preview", number=numbers[-1])
    ids = [body["id"] for body in tab.seen if body["kind"] in ("repaired", "preview")]
    assert ids == sorted(ids)


def test_a_submission_is_answered(tab):
    number = tab.submit("SELECT * FROM sales WHERE price > 5 ORDER BY price, item")
    result, rows = tab.until("result")
    assert (result["id"], result["total"]) == (number, 6)
    assert [column["name"] for column in result["columns"]] == ["item", "price", "quantity"]
    wanted = sorted((row for row in SALES if row[1] > 5), key=lambda row: (row[1], row[0]))
    assert [tuple(row.values()) for row in rows.to_pylist()] == wanted
    assert result["total_ms"] > 0
    assert result["sql"].startswith("SELECT * FROM sales")


def test_a_submission_after_typing_reads_what_was_made(tab):
    text = "SELECT item, sum(quantity) AS q FROM sales WHERE price > 5 GROUP BY item"
    number = tab.edit(text)
    tab.until("view_created", number=number)
    tab.until("preview", number=number)
    tab.submit(text)
    result, rows = tab.until("result")
    assert result["level"] in (0, 1, 2)
    assert dict(zip(rows["c0"].to_pylist(), rows["c1"].to_pylist(), strict=True))["a"] == "12"


def test_the_statement_at_the_cursor_is_the_one_that_runs(tab):
    text = "SELECT 1 AS one;\nSELECT 2 AS two"
    tab.submit(text, cursor=3)
    assert tab.until("result")[0]["columns"][0]["name"] == "one"
    tab.submit(text)
    assert tab.until("result")[0]["columns"][0]["name"] == "two"


def test_up_to_here(tab):
    text = "WITH dear AS (SELECT item, price FROM sales WHERE price > 8) SELECT count(*) FROM dear"
    tab.submit(text, cursor=text.index("item"), here=True)
    result, rows = tab.until("result")
    assert sorted(rows["c0"].to_pylist()) == ["d", "e"]
    assert "count" not in result["sql"].lower()


def test_the_query_at_the_cursor_takes_its_ctes_along():
    schema = Schema.of({"t": {"a": "INTEGER"}})
    text = "WITH x AS (SELECT a FROM t), y AS (SELECT a + 1 AS b FROM x) SELECT * FROM y"
    assert query_up_to(text, text.index("+"), schema).startswith("WITH")
    assert query_up_to(text, len(text), schema) == text
    with pytest.raises(InputError):
        query_up_to("SELECT a FROM nowhere", 3, schema)


@pytest.mark.parametrize(
    "text",
    ["DROP TABLE sales", "COPY sales TO 'x.csv'", "ATTACH 'x.db'", "PRAGMA database_list", "INSTALL httpfs",
     "SELECT * FROM read_csv('/etc/passwd')", "SELECT nothing FROM sales", ""],
)  # fmt: skip
def test_what_is_unsafe_or_wrong_is_refused_in_words(tab, text):
    number = tab.submit(text)
    error, _ = tab.until("error", "result")
    assert (error["kind"], error["id"], error["interrupted"]) == ("error", number, False)
    assert error["message"]
    tab.submit("SELECT count(*) FROM sales")
    assert tab.until("result")[1].to_pydict() == {"c0": [7]}


def test_cancel_ends_a_run(tab):
    number = tab.submit(SLOW)
    progress, _ = tab.until("progress")
    assert progress["id"] == number
    assert 0 <= progress["share"] <= 1
    tab.send("cancel")
    error, _ = tab.until("error")
    assert (error["id"], error["interrupted"]) == (number, True)


def test_edits_are_taken_while_a_query_runs(tab):
    tab.submit(SLOW)
    tab.until("progress")
    number = tab.edit("SELECT item FROM sales")
    tab.until("progress")
    tab.send("cancel")
    tab.until("error")
    number = tab.edit("SELECT item FROM sales ")
    assert tab.until("preview", number=number)[1].num_rows == 7


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "1", '{"kind": "drop"}', '{"kind": "edit", "id": 1, "text": 3, "cursor": 0}',
     '{"kind": "edit", "id": -1, "text": "", "cursor": 0}', '{"kind": "rows", "result": true}', "[" * 9999],
)  # fmt: skip
def test_a_malformed_message_is_answered_and_forgotten(tab, content):
    tab.raw(content)
    assert tab.until("error")[0]["message"]
    tab.submit("SELECT 1")
    tab.until("result")


def test_a_cursor_outside_the_text_is_its_end(tab):
    number = tab.edit("SELECT item FROM sales", 999)
    assert tab.until("repaired", number=number)[0]["exact"]


def test_messages_are_read_back():
    body, rows = unpack(pack("rows", 3, pa.table({"a": [1]}), start=5).content)
    assert (body, rows.to_pydict()) == ({"kind": "rows", "id": 3, "start": 5}, {"a": [1]})
    assert unpack(pack("stale").content) == ({"kind": "stale", "id": 0}, None)
    assert read_message('{"kind": "cancel"}') == {"kind": "cancel"}


# --- rows ------------------------------------------------------------------------------------------------


def test_ten_million_rows_come_in_windows(tab):
    number = tab.submit("SELECT range AS n, range % 7 AS m FROM range(10_000_000)")
    result, rows = tab.until("result")
    assert (result["total"], rows.num_rows) == (10_000_000, 500)
    begun = time.monotonic()
    tab.send("rows", result=number, start=9_999_990, count=500)
    body, rows = tab.until("rows")
    assert (body["id"], body["start"]) == (number, 9_999_990)
    assert rows["c0"].to_pylist() == list(range(9_999_990, 10_000_000))
    assert time.monotonic() - begun < 5
    tab.send("rows", result=number, start=0, count=1_000_000)
    assert tab.until("rows")[1].num_rows == 2000
    tab.send("rows", result=number + 1000, start=0, count=10)
    assert "run the query again" in tab.until("error")[0]["message"]


EVERY_TYPE = (
    "SELECT true AS b, 1::TINYINT AS i, 1.50::DECIMAL(10,2) AS d, 'x' AS s, DATE '2024-02-03' AS day, "
    "TIMESTAMP '2024-02-03 04:05:06' AS t, TIME '10:00' AS c, INTERVAL 3 DAY AS v, [1, 2] AS l, {'a': 1} AS r, "
    "'a'::BLOB AS o, uuid() AS u, NULL AS n, 170141183460469231731687303715884105727::HUGEINT AS h, "
    "MAP {'k': 1} AS m, 'e'::ENUM('e', 'f') AS e, 1.5::FLOAT AS f, TIMESTAMPTZ '2024-02-03 04:05:06+00' AS z, 1 AS i"
)


def test_every_type_is_shown_and_exported(tab):
    tab.submit(EVERY_TYPE)
    result, rows = tab.until("result", "error")
    assert result["kind"] == "result", result
    types = {column["name"]: column["type"] for column in result["columns"]}
    assert (types["d"], types["t"], types["l"], types["day"]) == (
        "DECIMAL(10,2)",
        "TIMESTAMP",
        "INTEGER[]",
        "DATE",
    )
    shown = {column["name"]: rows.column(n)[0].as_py() for n, column in enumerate(result["columns"])}
    assert (shown["d"], shown["day"], shown["n"], shown["o"]) == ("1.50", "2024-02-03", None, "\\x61")
    for form in ("csv", "parquet", "arrow"):
        answer = tab.get(f"/export/{tab.hello['client']}/result.{form}")
        assert answer.status_code == 200, (form, answer.text)
        assert answer.headers["content-disposition"] == f'attachment; filename="result.{form}"'
        read = {
            "csv": lambda b: pa.csv.read_csv(io.BytesIO(b)),
            "parquet": lambda b: pq.read_table(io.BytesIO(b)),
            "arrow": lambda b: pa.ipc.open_file(b).read_all(),
        }[form](answer.content)
        assert (read.num_rows, read.num_columns) == (1, len(result["columns"]))


def test_exports_need_a_result_a_format_and_the_cookie(server, tab):
    place = f"/export/{tab.hello['client']}"
    assert "run the query again" in tab.get(f"{place}/result.csv").json()["error"]["message"]
    assert tab.get(f"{place}/result.xlsx").status_code == 404
    assert tab.get("/export/nobody/result.csv").status_code == 404
    assert httpx.get(f"{server.url}{place}/result.csv", verify=False).status_code == 401
    with pytest.raises(InputError, match="csv, parquet, arrow"):
        export(pa.table({"a": [1]}), "xlsx", None)


def test_columns_of_an_empty_table():
    table = pa.table({"a": pa.array([], pa.int32())})
    assert columns_of(table) == [{"name": "a", "type": "INTEGER", "kind": "number"}]
    assert window(table, 0, 10).num_rows == 0


# --- who is let in, who comes back ---------------------------------------------------------------------------


def test_the_page_and_its_websocket_need_the_token(server):
    assert httpx.get(server.url, verify=False).status_code == 401
    with pytest.raises(InvalidStatus):
        connect(server.url.replace("http", "ws") + "/session")
    with httpx.Client(base_url=server.url, verify=False, follow_redirects=True) as client:
        page = client.get(f"/?token={TOKEN}")
    assert (page.status_code, page.url.query) == (200, b"")
    assert "script-src 'self'" in page.headers["content-security-policy"]


def test_a_tab_comes_back_to_its_session(server):
    with Tab(server.url) as tab:
        tab.submit("SELECT 41 + 1")
        tab.until("result")
        name = tab.hello["client"]
        with Tab(server.url, name) as second:  # the place is taken
            assert not second.hello["resumed"]
            assert second.hello["client"] != name
    for _ in range(50):
        with Tab(server.url, name) as again:
            if again.hello["resumed"]:
                assert again.get(f"/export/{name}/result.csv").text.splitlines()[1] == "42"
                return
        time.sleep(0.05)
    pytest.fail("the session was not kept")


def test_a_session_ends_when_its_tab_stays_away(path):
    with live(path, keep_s=0.05) as server:
        with Tab(server.url) as tab:
            name = tab.hello["client"]
        time.sleep(0.5)
        with Tab(server.url, name) as again:
            assert not again.hello["resumed"]


def test_a_source_that_cannot_be_opened_is_told():
    def fail():
        raise InputError("shop.duckdb is no database")

    with LiveServer(speql_app(fail, token=TOKEN)) as server:
        cookie = httpx.get(f"{server.url}/?token={TOKEN}", verify=False).headers["set-cookie"]
        url = server.url.replace("http", "ws") + "/session"
        with connect(url, additional_headers={"Cookie": cookie.partition(";")[0]}) as socket:
            assert "no database" in unpack(socket.recv())[0]["message"]


def test_tabs_that_have_gone_make_room_for_new_ones(path, monkeypatch):
    monkeypatch.setattr("firsthand.query.speql.page._MOST_DESKS", 2)
    with live(path) as server:
        with Tab(server.url), Tab(server.url), pytest.raises(TooManyTabs, match="2 tabs"):
            Tab(server.url)
        time.sleep(0.3)
        with Tab(server.url) as tab:
            assert not tab.hello["resumed"]


def test_all_ends_with_the_server(path):
    before = {thread.name for thread in threading.enumerate()}
    with live(path) as server, Tab(server.url) as tab:
        tab.edit("SELECT item FROM sales")
        tab.until("preview")
    left = {thread.name for thread in threading.enumerate() if "speql" in thread.name} - before
    deadline = time.monotonic() + 5
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = {thread.name for thread in threading.enumerate() if "speql" in thread.name} - before
    assert not left
