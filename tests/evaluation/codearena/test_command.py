"""The verbs: what they print, what they refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firsthand.errors import FirsthandError, InputError, NotFoundError
from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.command import TOKEN, app
from firsthand.evaluation.codearena.refusals import UnknownAccount
from firsthand.evaluation.codearena.service.api import create_app
from firsthand.evaluation.codearena.settings import ArenaSettings
from firsthand.serve import LiveServer

from .conftest import add_problem, judge_all
from .scripted import ScriptedGrader

RUNNER = CliRunner()
FIGURE_3 = {
    ("A", "P1"): 58, ("A", "P2"): 42, ("B", "P2"): 24, ("C", "P2"): 48, ("B", "P3"): 19, ("C", "P3"): 22,
}  # fmt: skip


def run(*arguments, exit_code=0, **options):
    done = RUNNER.invoke(app, [str(one) for one in arguments], **options)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == exit_code, done.output
    return done


@pytest.fixture
def attempts(tmp_path) -> Path:
    path = tmp_path / "attempts.jsonl"
    rows = [
        {
            "user": user,
            "problem": pid,
            "solved": (user, pid) in FIGURE_3,
            "runtime_ms": FIGURE_3.get((user, pid)),
        }
        for user in "ABC"
        for pid in ("P1", "P2", "P3")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def points(tmp_path) -> Path:
    path = tmp_path / "points.json"
    path.write_text('{"P1": 5, "P2": 3, "P3": 5}')
    return path


def test_rank_of_a_file_is_the_papers_example(attempts, points):
    board = json.loads(run("rank", attempts, "--points", points, "--json").stdout)
    assert [(row["user"], round(row["dp"], 4)) for row in board["rows"]] == [
        ("A", 5.0), ("B", 3.6667), ("C", 2.5),
    ]  # fmt: skip
    share = json.loads(run("rank", attempts, "--points", points, "--challenge", "share", "--json").stdout)
    assert [round(row["dp"], 4) for row in share["rows"]] == [7.6667, 5.5, 4.3333]
    without = run("rank", attempts, "--points", points, "--leave-out", "user:A", "--json").stdout
    assert [row["user"] for row in json.loads(without)["rows"]] == ["B", "C"]


def test_rank_prints_columns_that_line_up(attempts, points):
    lines = run("rank", attempts, "--points", points, "--bootstrap", "50").stdout.splitlines()
    assert lines[0].split() == [
        "place", "user", "dp", "cs", "es", "solved", "attempted", "pass", "rate", "dp,", "95", "%", "place,",
        "95", "%",
    ]  # fmt: skip
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert lines[1].split()[:3] == ["1", "A", "5.0000"]
    other = run("rank", attempts, "--method", "bradley-terry").stdout.splitlines()
    assert len(other) == 4


def test_rank_refuses_what_does_not_go_together(attempts, points, tmp_path):
    for arguments, kind, words in (
        (("rank", attempts, "--url", "http://127.0.0.1:1"), InputError, "one of them"),
        (("rank", "--points", points), InputError, "a file of attempts"),
        (("rank", attempts, "--points", tmp_path / "no.json"), NotFoundError, "no such file"),
        (("rank", tmp_path / "no.jsonl"), NotFoundError, "no such file"),
        (("rank", "--database", f"sqlite:///{tmp_path}/no.db"), NotFoundError, "no such file"),
    ):
        with pytest.raises(kind, match=words):
            run(*arguments)
    points.write_text("[5]")
    with pytest.raises(InputError, match="points are an object"):
        run("rank", attempts, "--points", points)


def test_doctor_lists_isolation_and_languages():
    done = RUNNER.invoke(app, ["doctor", "--json"])
    told = json.loads(done.stdout)
    assert done.exit_code == (0 if told["isolated"] else 1)
    assert len(told["languages"]) == 8
    assert {"bubblewrap", "Linux"} <= {item["name"] for item in told["items"]}
    text = RUNNER.invoke(app, ["doctor"]).stdout
    assert ("Programs can be judged here" in text) == told["isolated"]


def test_tokens_are_issued_listed_rotated_and_revoked(sqlite_url):
    secret = run("token", "issue", "m", "--kind", "llm", "--database", sqlite_url).stdout.strip()
    assert secret.startswith("arena_")
    with Arena.open(sqlite_url) as arena:
        assert arena.accounts.identify(secret).account.name == "m"
    (listed,) = json.loads(run("token", "list", "m", "--database", sqlite_url, "--json").stdout)
    assert secret not in str(listed)
    other = run("token", "rotate", listed["id"], "--database", sqlite_url).stdout.strip()
    states = [
        line.split()[1] for line in run("token", "list", "m", "--database", sqlite_url).stdout.splitlines()
    ]
    assert sorted(states) == ["revoked", "valid"]
    with Arena.open(sqlite_url) as arena:
        token_id = arena.accounts.identify(other).token_id
    assert "is revoked" in run("token", "revoke", token_id, "--database", sqlite_url).stdout
    with pytest.raises(UnknownAccount):
        run("token", "issue", "nobody", "--database", sqlite_url)


def test_export_and_import(sqlite_url, tmp_path):
    with Arena.open(sqlite_url, grader=ScriptedGrader()) as arena:
        add_problem(arena)
        arena.accounts.create("m", "llm")
        arena.submit("m", "sum", "python", "AC 5")
        judge_all(arena)
        before = arena.ranking()
    file = tmp_path / "all.jsonl"
    assert "submission" in run("export", file, "--database", sqlite_url).stdout
    other = f"sqlite:///{tmp_path}/other.db"
    counts = json.loads(run("import", file, "--database", other, "--json").stdout)
    assert counts["submission"] == 1
    with Arena.open(other) as arena:
        assert arena.ranking().rows == before.rows
    with pytest.raises(InputError, match="not both"):
        run("export", file, "--database", sqlite_url, "--url", "http://127.0.0.1:1")


@pytest.fixture
def served(sqlite_url):
    """An arena over HTTP whose programs do as their text says, and a token of a model's."""
    with Arena.open(sqlite_url, grader=ScriptedGrader()) as arena:
        add_problem(arena)
        arena.accounts.create("m", "llm")
        token = arena.accounts.issue("m").secret
        settings = ArenaSettings(database=sqlite_url, judges=0, checkpoint_hours=0)
        with LiveServer(create_app(settings, arena=arena)) as live:
            yield arena, live.url, token


def test_submit_and_rank_over_http(served, tmp_path):
    arena, url, token = served
    program = tmp_path / "program.py"
    program.write_text("AC 5")
    sent = json.loads(
        run("submit", "sum", program, "--url", url, "--no-wait", "--json", env={TOKEN: token}).stdout
    )
    assert (sent["language"], sent["verdict"]) == ("python", None)
    judge_all(arena)
    rows = json.loads(run("rank", "--url", url, "--json").stdout)["rows"]
    assert [(row["user"], row["solved"]) for row in rows] == [("m", 1)]


def test_what_submit_refuses(served, tmp_path):
    _, url, token = served
    file = tmp_path / "token"
    file.write_text(token)
    (tmp_path / "program").write_text("AC 5")
    (tmp_path / "latin.py").write_bytes(b"\xff")
    for arguments, kind, words in (
        (("sum", tmp_path / "no.py", "--token-file", file), NotFoundError, "no such file"),
        (("sum", tmp_path / "program", "--token-file", file), InputError, "say --language"),
        (("sum", tmp_path / "latin.py", "--token-file", file), InputError, "UTF-8"),
        (("sum", tmp_path / "program", "--language", "python"), InputError, f"set {TOKEN}"),
        (
            ("sum", tmp_path / "program", "--language", "c", "--token-file", tmp_path / "no"),
            NotFoundError,
            "no",
        ),
    ):
        with pytest.raises(kind, match=words):
            run("submit", *arguments, "--url", url, env={TOKEN: ""})


def test_compete_says_what_is_missing(sqlite_url):
    for arguments in (
        (),
        ("--url", "http://127.0.0.1:1", "--database", sqlite_url),
        ("--database", sqlite_url),
    ):
        with pytest.raises(InputError):
            run("compete", "--model", "x", *arguments, env={TOKEN: "arena_x"})


def test_a_model_that_is_not_there_leaves_no_account(sqlite_url):
    with pytest.raises(FirsthandError, match="nothere"):
        run("compete", "--model", "nothere", "--database", sqlite_url, "--user", "m")
    with Arena.open(sqlite_url) as arena, pytest.raises(UnknownAccount):
        arena.accounts.find("m")


def test_a_configuration_that_is_printed_can_be_read(tmp_path):
    file = tmp_path / "arena.toml"
    file.write_text(run("serve", "--print-config").stdout)
    assert tomllib.loads(file.read_text())["port"] == 8766
    file.write_text("nonsense = 1\n")
    with pytest.raises(InputError, match="unknown key"):
        run("judge", "--config", file)


def test_serve_tells_its_token_once(tmp_path):
    """A real process: first start, Ctrl-C, second start."""
    told = []
    for _ in range(2):
        server = subprocess.Popen(
            [sys.executable, "-m", "firsthand", "codearena", "serve", "--port", "0", "--judges", "0", "--no-demo",
             "--json"],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        try:
            assert server.stdout is not None
            told.append(json.loads(server.stdout.readline()))
        finally:
            server.send_signal(signal.SIGINT)
            _, complaints = server.communicate(timeout=120)
        assert server.returncode == 0, complaints
        assert told[0]["admin_token"] not in complaints
    assert "admin_token" not in told[1]
    with Arena.open(f"sqlite:///{tmp_path}/arena.db") as arena:
        assert arena.accounts.identify(told[0]["admin_token"]).may("admin")
