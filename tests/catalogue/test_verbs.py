"""The catalogue's verbs as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from firsthand.catalogue import verbs
from firsthand.catalogue.rooms import Room, all_rooms, find_room
from firsthand.errors import InputError, NotFoundError

from .conftest import record_for, write_record

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "digest"

OWN_ROOMS = [room for room in all_rooms() if room.origin == "firsthand"]

app = typer.Typer()
app.command("list")(verbs.list_command)
app.command("show")(verbs.show_command)
app.command("cite")(verbs.cite_command)
app.command("read")(verbs.digest_read_command)


def run(*arguments: str) -> tuple[str, str]:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout, result.stderr


def test_list_names_every_room() -> None:
    out, err = run("list")
    assert all(room.slug in out for room in all_rooms())
    assert err == ""


def test_list_narrows_to_a_domain() -> None:
    rows = json.loads(run("list", "--domain", "vision3d", "--json")[0])
    assert [row["slug"] for row in rows] == ["difix3d", "kiss3dgen", "plane-dust3r"]
    with pytest.raises(InputError, match=r"'video'.*vision3d"):
        run("list", "--domain", "video")


def test_narrow_terminals_keep_names_whole() -> None:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["list"])
    assert all(room.slug in result.stdout for room in all_rooms())
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


@pytest.mark.parametrize("room", OWN_ROOMS, ids=lambda room: room.slug)
def test_show_prints_the_card(room: Room) -> None:
    out = " ".join(run("show", room.slug)[0].split())
    assert room.card.summary in out
    assert room.card.authors[0] in out
    assert all(peer.name in out for peer in room.card.peers)
    data = json.loads(run("show", room.slug, "--json")[0])
    assert data["title"] == room.card.title
    assert len(data["figures"]) == len(room.card.figures)


def test_show_takes_brackets_literally(
    make_room: Callable[..., Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make_room("__all__ = ['pair']", claims=True)
    write_record(room, record_for(room, source_hash="0" * 64, evidence="simulated"))
    monkeypatch.setattr(verbs, "find_room", lambda name: room)
    out, _ = run("show", "sock-sorter")
    assert "pairs (primary): More pairs are found by moonlight than by hand." in out
    assert "2.5 [2, 3] pairs" in out
    assert "holds (stale)" in out
    assert "simulated" in out
    assert "no people here" in out
    assert "from acme_for_tests.socks import pair" in out


def test_show_and_cite_know_no_stranger() -> None:
    for verb in ("show", "cite"):
        with pytest.raises(NotFoundError, match="did you mean"):
            run(verb, "codearea")


def test_cite_prints_bibtex_alone_and_warns_beside_it() -> None:
    out, err = run("cite", "rds_plus")
    assert out.strip() == find_room("rds-plus").card.bibtex
    assert "digest's order" in err
    assert run("cite", "tonal")[1] == ""


def test_digest_read() -> None:
    out, err = run("read", str(FIXTURES / "inline.md"))
    assert "3 entries, 2 with a room here" in out
    assert "preselect" in out
    assert err == ""
    assert "1 with a room here" in run("read", str(FIXTURES / "nested.md"))[0]


def test_digest_problems_go_to_stderr_and_into_json() -> None:
    path = FIXTURES / "problems.md"
    out, err = run("read", str(path))
    assert "unknown field" not in out
    assert f"{path}:10: unknown field 'Limitations'" in err
    out, err = run("read", str(path), "--json")
    data = json.loads(out)
    assert err == ""
    assert len(data["entries"]) == 4
    assert {"line": 10, "cause": "unknown field 'Limitations'"} in data["problems"]


def test_digest_read_refuses_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no\.md"):
        run("read", str(tmp_path / "no.md"))
