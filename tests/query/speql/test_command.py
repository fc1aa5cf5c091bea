"""The verbs: what they print, what they refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib

import httpx
import pytest
from typer.testing import CliRunner

from firsthand.errors import InputError, NotFoundError
from firsthand.query.speql.command import app
from firsthand.query.speql.serving import ServeSettings, source_name
from tests.query.speql.page_fixtures import small_database

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(small_database(tmp_path_factory.mktemp("data") / "shop.duckdb"))


def run(*arguments, **options):
    done = RUNNER.invoke(app, list(arguments), **options)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def test_repair_prints_what_runs(path, tmp_path):
    file = tmp_path / "query.sql"
    file.write_text("SELECT item FROM sales WHERE price > 5 AND quantity >")
    done = run("repair", str(file), "--source", path)
    assert done.stdout == "SELECT item FROM sales WHERE price > 5\n"
    assert "quantity" in done.stderr
    body = json.loads(run("repair", "-", "--source", path, "--json", input="SELECT item FROM sales").stdout)
    assert (body["sql"], body["exact"], body["edits"]) == ("SELECT item FROM sales", True, [])


def test_explain_says_what_would_be_made_and_what_would_answer(path):
    sql = "SELECT item, sum(quantity) AS q FROM sales WHERE price > 5 GROUP BY item"
    body = json.loads(run("explain", sql, "--source", path, "--json").stdout)
    assert {one["kind"] for one in body["planned"]} >= {"rows", "groups"}
    assert any(one["answers"] for one in body["planned"])
    assert "ahead_" in body["answer"]
    text = run("explain", sql + " HAVING", "--source", path).stdout
    assert text.startswith("runs      SELECT item")
    assert "answers)" in text
    assert "as it is" in run("explain", "SELECT random() FROM sales", "--source", path).stdout


def test_replay_types_a_trace_again(path, tmp_path):
    query = "SELECT item, sum(quantity) AS q FROM sales WHERE price > 5 GROUP BY item"
    lines = [
        {"at_ms": 0.0, "kind": "edit", "text": query[:60], "cursor": 60},
        {"at_ms": 90.0, "kind": "edit", "text": query, "cursor": len(query)},
        {"at_ms": 95.0, "kind": "submit", "text": query},
        {"at_ms": 99.0, "kind": "submit", "text": "SELECT nope FROM sales"},
    ]
    file = tmp_path / "trace.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    body = json.loads(run("replay", str(file), "--source", path, "--json").stdout)
    assert [one["level"] for one in body["submissions"]] == [1, None]
    assert "nope" in body["submissions"][1]["error"]
    text = run("replay", str(file), "--source", path, "--no-speculation").stdout
    assert "0 tables made ahead" in text
    assert "direct" in text
    assert "failed: QueryFailed" in text


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["repair", "nowhere.sql", "--source", "PATH"], NotFoundError, "nowhere.sql"),
        (["repair", "-", "--source", "nowhere.duckdb"], NotFoundError, "nowhere.duckdb"),
        (["replay", "nowhere.jsonl", "--source", "PATH"], NotFoundError, "nowhere.jsonl"),
        (["replay", "fixing-mistakes", "--source", "PATH", "--clock", "slow"], InputError, "human"),
        (["explain", "DROP TABLE sales", "--source", "PATH"], InputError, "SELECT"),
        (["explain", "SELECT * FROM nowhere", "--source", "PATH"], InputError, "nowhere"),
        (["serve"], InputError, "DuckDB file"),
        (["serve", "nowhere.duckdb"], NotFoundError, "nowhere"),
        (["serve", "PATH", "--sample-fraction", "3"], InputError, "--sample-fraction"),
        (["serve", "PATH", "--token", "two words", "--port", "0"], InputError, "token"),
        (["serve", "PATH", "--config", "nowhere.toml"], NotFoundError, "nowhere.toml"),
    ],
)
def test_mistakes_are_said(path, arguments, kind, words):
    with pytest.raises(kind, match=words):
        run(*(path if one == "PATH" else one for one in arguments))


def test_the_config_file_has_every_setting_and_takes_no_other(path, tmp_path):
    text = run("serve", "--print-config").stdout
    found = tomllib.loads(text)
    assert found["port"] == 8765
    assert found["debounce-ms"] == 250
    assert set(found) == {name.replace("_", "-") for name in ServeSettings.model_fields}
    file = tmp_path / "speql.toml"
    file.write_text(text + "colour = 1\n")
    with pytest.raises(InputError, match="colour: unknown key"):
        run("serve", path, "--config", str(file))


def test_a_page_names_no_password():
    assert (
        source_name("postgresql+psycopg://ann:secret@db.example:5432/shop")
        == "postgresql+psycopg://db.example/shop"
    )
    assert source_name("some/where/shop.duckdb") == "shop.duckdb"


def test_serve_prints_an_address_that_lets_in_and_ends_on_ctrl_c(path, tmp_path):
    file = tmp_path / "speql.toml"
    file.write_text("port = 1\nmax-views = 3\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "firsthand", "speql", "serve", path, "--port", "0", "--no-open", "--config", str(file),
         "--threads", "1", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        body = json.loads(process.stdout.readline())
        with httpx.Client(verify=False, follow_redirects=True) as client:
            page = client.get(body["address"])
        assert page.status_code == 200
        assert "<title>SpeQL</title>" in page.text
        assert httpx.get(body["address"].partition("?")[0], verify=False).status_code == 401
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.communicate()


def test_prove_compares_and_goes_on(tmp_path, monkeypatch):
    out = str(tmp_path / "proof.jsonl")
    first = run("prove", "--output", out, "--pairs", "50")
    assert first.stdout.endswith("0 differ\n")
    body = json.loads(run("prove", "--output", out, "--pairs", "50", "--json", "--quiet").stdout)
    assert body["pairs"] >= 50
    assert body["differences"] == []
    with pytest.raises(InputError, match="tpcc"):
        run("prove", "--output", out, "--workload", "tpcc")
    from firsthand.query.speql.predicates import Premises

    monkeypatch.setattr(Premises, "imply", lambda self, wanted: True)
    done = RUNNER.invoke(app, ["prove", "--output", str(tmp_path / "broken.jsonl"), "--pairs", "150"])
    assert done.exit_code == 1
    assert "ran as" in done.stdout
