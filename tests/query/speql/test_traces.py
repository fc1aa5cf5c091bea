"""Traces: what is typed is written down, read again and done again, the same each time."""

import json
import runpy
from pathlib import Path

import duckdb
import pytest

from firsthand.errors import InputError, NotFoundError, OutputError
from firsthand.query.speql import Config
from firsthand.query.speql import open as open_session
from firsthand.query.speql.errors import UnsafeStatement
from firsthand.query.speql.traces import (
    TraceEvent,
    TraceRecorder,
    example_traces,
    human_ms,
    keystrokes,
    read_trace,
    replay,
    replay_on,
    typed,
    write_trace,
)

AMPLE = Config(race=False)
QUERY = "SELECT item, count(*) AS n\nFROM sales\nWHERE price > 5\nGROUP BY item"


@pytest.fixture
def sales(tmp_path):
    path = tmp_path / "sales.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE sales (item VARCHAR, price INTEGER, quantity INTEGER)")
        connection.execute("INSERT INTO sales VALUES ('a', 3, 100), ('b', 6, 60), ('c', 7, 20), ('b', 9, 5)")
    return path


def test_lines_and_characters():
    assert typed("a\nb\nc") == ["a", "a\nb", "a\nb\nc"]
    assert typed("a\nb\nc", last=1) == ["a\nb", "a\nb\nc"]
    assert typed("a", last=5) == ["a"]
    assert typed("") == []
    assert keystrokes("abc") == ["a", "ab", "abc"]
    with pytest.raises(InputError, match="1 or more"):
        typed("a", last=0)


def test_the_human_clock():
    assert human_ms("", "abcde") == 1000
    assert human_ms("abc", "abc\nd") == 2 * 200 + 1000
    assert human_ms("price > 50", "price > 60") == 400
    assert human_ms("same", "same") == 0


def test_a_trace_is_read_as_it_was_written(tmp_path):
    events = (
        TraceEvent(0, "edit", "SELECT item FROM sales", 22),
        TraceEvent(100, "edit", "SELECT item, price FROM sales", 18),
        TraceEvent(200, "submit", "SELECT item, price FROM sales", 29),
        TraceEvent(250, "submit", "SELECT 1 AS é", 13),
        TraceEvent(300, "cancel"),
        TraceEvent(400, "edit", "", 0),
    )
    path = tmp_path / "t.jsonl"
    write_trace(path, events)
    assert read_trace(path) == events
    second, third = (json.loads(line) for line in path.read_text().splitlines()[1:3])
    assert (second["replace"], second["text"]) == ([11, 11], ", price")
    assert "text" not in third


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense", "line 2"),
        ('{"at_ms": 1, "kind": "type"}', "none of edit, submit, cancel"),
        ('{"at_ms": 1, "kind": "edit"}', "text"),
        ('{"at_ms": 1, "kind": "edit", "text": 5}', "no event"),
        ('{"at_ms": 1, "kind": "edit", "text": "a", "cursor": 2}', "the cursor is at 2"),
        ('{"at_ms": 1, "kind": "edit", "replace": [0, 9], "text": "b"}', "outside a text of 1"),
        ('{"at_ms": -5, "kind": "cancel"}', "before the line above"),
    ],
)
def test_what_is_no_trace(tmp_path, line, words):
    path = tmp_path / "t.jsonl"
    path.write_text('{"at_ms": 0, "kind": "edit", "text": "x"}\n' + line + "\n\n")
    with pytest.raises(InputError, match=words):
        read_trace(path)


def test_what_cannot_be_read_or_written(tmp_path):
    with pytest.raises(NotFoundError):
        read_trace(tmp_path / "none.jsonl")
    (tmp_path / "latin").write_bytes(b"\xe9")
    with pytest.raises(InputError, match="cannot be read"):
        read_trace(tmp_path / "latin")
    with pytest.raises(OutputError):
        TraceRecorder(None, tmp_path / "none" / "t.jsonl")
    with pytest.raises(InputError, match="there already"):
        TraceRecorder(None, tmp_path / "latin")


def test_a_recording_replays_to_the_same_answers(sales, tmp_path):
    path = tmp_path / "t.jsonl"
    with open_session(sales, config=AMPLE, threads=1) as session:
        with TraceRecorder(session, path) as recorder:
            for text in typed(QUERY):
                recorder.edit(text)
                session.wait(30)
            first = recorder.submit(QUERY)
            recorder.edit(QUERY, 3)
            recorder.cancel()
            with pytest.raises(UnsafeStatement):
                recorder.submit("DROP TABLE sales")
        recorder.close()
    assert [event.kind for event in read_trace(path)] == ["edit"] * 4 + ["submit", "edit", "cancel", "submit"]
    with open_session(sales, config=AMPLE, threads=1) as session:
        report = replay(path, session, clock="ample")
    answered, refused = report.submissions
    assert answered.level == first.level == 1
    assert answered.result.table.equals(first.table)
    assert answered.views
    assert refused.error.startswith("UnsafeStatement: DROP")
    assert report.edits == 5
    assert json.loads(json.dumps(report.as_dict()))["submissions"][0]["rows"] == 2


def test_clocks_pause_as_they_say(sales):
    events = [TraceEvent(0, "edit", "SELECT 1", 8), TraceEvent(5000, "submit", "SELECT 1", 8)]
    waits = []
    with open_session(sales, config=Config(speculate=False)) as session:
        replay(events, session, clock="recorded", pause=waits.append)
        assert waits[0] == 0
        assert 4 < waits[1] <= 5
        waits.clear()
        report = replay(events, session, clock="human", pause=waits.append)
        assert 1 < waits[0] <= 1.6
        assert not report.speculate
        with pytest.raises(InputError, match="no clock"):
            replay(events, session, clock="fast")


def test_examples_give_the_same_each_time_and_what_a_direct_run_gives(workload):
    path = workload.tpch_file(0.01)
    assert set(example_traces()) == {"exploring-tpch", "fixing-mistakes"}
    for name in example_traces():
        one, two = (replay_on(name, path, threads=1) for _ in range(2))
        direct = replay_on(name, path, speculate=False, threads=1)
        assert one.outcome() == two.outcome()
        assert [(s.answer, s.error) for s in one.submissions] == [
            (s.answer, s.error) for s in direct.submissions
        ]
        assert one.tables == two.tables > 5
        assert all(s.level == 1 for s in one.submissions if not s.error)
        assert not any(s.views for s in direct.submissions)


def test_examples_are_what_their_script_writes(tmp_path, monkeypatch):
    script = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "speql_traces.py"))
    for name, steps in (("exploring-tpch", script["EXPLORING"]), ("fixing-mistakes", script["FIXING"])):
        write_trace(tmp_path / name, script["events"](steps))
        assert (tmp_path / name).read_bytes() == example_traces()[name].read_bytes()
