"""Health, metrics, languages, events, the audit and the export over HTTP."""

from __future__ import annotations

import io
import json
import re
import zipfile

import httpx
import pytest

from firsthand.errors import InputError
from firsthand.evaluation.codearena.service import exchange
from firsthand.evaluation.codearena.service.api import create_app
from firsthand.evaluation.codearena.settings import ArenaSettings
from firsthand.evaluation.codearena.store.submissions import Machine
from firsthand.serve import LiveServer

from .conftest import add_problem, judge_all
from .door import Door, refused


@pytest.fixture
def door(arena):
    add_problem(arena, licence="CC-BY-4.0")
    return Door(arena)


@pytest.fixture
def small_door(small):
    add_problem(small)
    return Door(small)


def test_health(door, clock):
    door.arena.submit("m", "sum", "python", "AC 1")
    door.arena.judges.here("j", Machine("host", "x86"), languages=["python", "c"])
    found = door.get("/healthz")
    assert (found["status"], found["waiting"], found["leased"]) == ("ok", 1, 0)
    assert found["oldest"] is not None
    assert [(judge["id"], judge["languages"], judge["fault"]) for judge in found["judges"]] == [
        ("j", ["c", "python"], "")
    ]
    clock.move(seconds=91)
    assert door.get("/healthz")["judges"] == []


def test_judges_are_not_told_to_everybody_where_nothing_is(small):
    small.judges.here("j", Machine("secret-host", "x86"))
    door = Door(small, public_reads=False)
    assert door.get("/healthz")["judges"] == []
    assert door.get("/healthz", "m")["judges"][0]["host"] == "secret-host"


def test_an_application_opens_and_closes_its_own_arena(sqlite_url):
    """What `firsthand codearena serve` makes of its settings, without judges."""
    app = create_app(ArenaSettings(database=sqlite_url, judges=0, source_kb=1, queue_limit=7, lease_s=9.0))
    with LiveServer(app) as live, httpx.Client(base_url=live.url, verify=False) as client:
        assert client.get("/healthz").json()["status"] == "ok"
    arena = app.state.service.arena
    assert (arena.queue.lease_s, arena.submissions._source_bytes, arena.submissions._queue_limit) == (
        9.0,
        1024,
        7,
    )
    assert arena.database.engine.pool.checkedin() == 0  # its connections are closed
    with pytest.raises(InputError, match="mysql"):
        create_app(ArenaSettings(database="mysql://x"))


def test_metrics(door):
    door.arena.submit("m", "sum", "python", "AC 1")
    judge_all(door.arena)
    door.arena.submit("n", "sum", "python", "AC 1")
    door.ask("GET", "/api/nothing/")
    answer = door.ask("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.text
    for line in text.splitlines():
        assert re.fullmatch(
            r'# (HELP|TYPE) \w+ .+|firsthand_codearena_\w+(\{(\w+="[^"\\]*",?)+\})? [0-9.e+-]+', line
        ), line
    for wanted in (
        'submissions{state="done",verdict="AC"} 1', 'submissions{state="queued",verdict=""} 1', "jobs_waiting 1",
        "jobs_leased 0", 'judges{able="yes"} 0', "deliveries_waiting 0", 'http_responses_total{status="404"} 1',
    ):  # fmt: skip
        assert f"firsthand_codearena_{wanted}\n" in text, wanted


def test_languages(small_door):
    found = {language["name"]: language for language in small_door.get("/api/language/")}
    assert {"c", "cpp", "go", "haskell", "java", "javascript", "python", "rust"} <= set(found)
    assert (found["python"]["title"], "py3" in found["python"]["aliases"]) == ("Python 3", True)


def test_events(door):
    sid = door.arena.submit("m", "sum", "python", "AC 1")
    judge_all(door.arena)
    mine = door.get("/api/event/", "root", subject=sid)
    assert [event["kind"] for event in mine] == ["submission.accepted", "submission.judged"]
    assert door.get("/api/event/", "root", after=mine[0]["seq"], limit=1) == [mine[1]]
    assert door.get("/api/event/", "root", after=2**63 - 1) == []


def test_the_audit_finds_nothing_and_finds_what_was_tampered_with(door):
    from sqlalchemy import update

    from firsthand.evaluation.codearena.store.tables import user_problem_score

    door.arena.submit("m", "sum", "python", "AC 1")
    judge_all(door.arena)
    found = door.get("/api/audit/", "root")
    assert (found["clean"], found["submissions"], found["differences"]) == (True, 1, [])
    with door.arena.database.write() as connection:
        connection.execute(update(user_problem_score).values(es=0.5))
    found = door.get("/api/audit/", "root")
    assert not found["clean"]
    assert found["differences"]


def test_the_export_as_json_lines_and_as_parquet(door, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(exchange.tempfile, "tempdir", str(tmp_path))
    door.arena.submit("m", "sum", "python", "AC 1")
    judge_all(door.arena)
    answer = door.ask("GET", "/api/export", "rita")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert 'filename="arena.jsonl"' in answer.headers["content-disposition"]
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert rows[0]["format"] == "firsthand-codearena"
    by_table = {row["table"]: row for row in rows[1:]}
    assert by_table["problem_edition"]["licence"] == "CC-BY-4.0"
    assert by_table["submission"]["source"] == "AC 1"
    answer = door.ask("GET", "/api/export", "rita", params={"format": "parquet"})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        found = parquet.read_table(io.BytesIO(archive.read("problem_edition.parquet"))).to_pylist()
    assert [row["licence"] for row in found] == ["CC-BY-4.0"]
    everything = door.ask("GET", "/api/export", "root").text
    for token in (door.tokens["root"], door.tokens["rita"]):
        assert token.removeprefix("arena_") not in everything
    assert "hash" not in {key for row in rows for key in row}
    assert list(tmp_path.glob("firsthand-arena-*")) == []  # nothing is left lying about
    refused(
        door.ask("GET", "/api/export", "rita", params={"format": "csv"}), 422, "invalid_request", "format"
    )


def test_an_export_that_is_made_can_be_read_by_this_user_only(small_door, tmp_path, monkeypatch):
    monkeypatch.setattr(exchange.tempfile, "tempdir", str(tmp_path))
    path = exchange.export_file(small_door.arena.database, "jsonl")
    assert path.parent.stat().st_mode & 0o077 == 0
