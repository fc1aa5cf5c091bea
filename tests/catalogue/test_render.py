"""What is printed about rooms: rows, the README's table, verdicts, lines of Python."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from firsthand.catalogue.render import (
    first_sentence,
    latest_verdicts,
    list_rows,
    public_names,
    python_lines,
    room_record,
    show_data,
    systems_table_markdown,
)
from firsthand.catalogue.rooms import Room, all_rooms
from firsthand.claims.sources import source_hash
from firsthand.errors import InputError

from .conftest import record_for, write_record

MakeRoom = Callable[..., Room]


def current_hash(room: Room) -> str:
    return source_hash(f"{room.package}.check", room.card.claims)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("__all__ = ['a', 'b']", ("a", "b")),
        ("__all__: list[str] = ['a']\n__all__ += ('c',)", ("a", "c")),
        ("__all__ = ['old']\n__all__ = ('new',)", ("new",)),
        ("'''No names.'''", ()),
        ("def f():\n    __all__ = ['inner']", ()),
    ],
)
def test_public_names_are_read_not_imported(source: str, names: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "__init__.py"
    path.write_text(source + "\nraise RuntimeError('imported')\n", encoding="utf-8")
    assert public_names(path) == names


@pytest.mark.parametrize(
    "source", ["__all__ = [name for name in x]", "__all__ = ['a', b]", "__all__ = [1]", "def"]
)
def test_public_names_that_cannot_be_read(source: str, tmp_path: Path) -> None:
    path = tmp_path / "__init__.py"
    path.write_text(source, encoding="utf-8")
    with pytest.raises(InputError, match=r"__init__\.py"):
        public_names(path)


def test_python_lines(make_room: MakeRoom, tmp_path: Path) -> None:
    assert public_names(tmp_path / "no_such.py") == ()
    assert python_lines(make_room()) == ""
    room = make_room("__all__ = ['pair', 'sort']")
    assert python_lines(room) == "from acme_for_tests.socks import pair, sort"
    names = [f"a_rather_long_public_name_{number}" for number in range(6)]
    lines = python_lines(make_room(f"__all__ = {names}"))
    assert max(len(line) for line in lines.splitlines()) <= 88
    (statement,) = ast.parse(lines).body
    assert isinstance(statement, ast.ImportFrom)
    assert [alias.name for alias in statement.names] == names


def test_python_lines_of_our_ready_rooms_name_something() -> None:
    for room in all_rooms():
        assert bool(python_lines(room)) or not room.ready, room.slug


def test_list_rows_are_plain(make_room: MakeRoom) -> None:
    (row,) = list_rows([make_room()])
    assert row == {
        "slug": "sock-sorter",
        "name": "SockSorter",
        "title": "Sorting Socks by Moonlight",
        "arxiv": "3105.00001",
        "domain": "data",
        "status": "planned",
        "summary": "Finds the pairs in a heap of socks. You get a drawer in order.",
    }


def test_verdicts_before_any_record(make_room: MakeRoom) -> None:
    rows = latest_verdicts(make_room(claims=True))
    assert [(row["claim"], row["verdict"], row["reason"]) for row in rows] == [
        ("pairs", "not run", ""),
        ("joy", "not measurable here", "no people here"),
    ]


def test_verdicts_from_a_record(make_room: MakeRoom) -> None:
    room = make_room(claims=True)
    write_record(room, record_for(room, source_hash=current_hash(room)))
    pairs, joy = latest_verdicts(room)
    assert (pairs["claim"], pairs["scale"], pairs["verdict"]) == ("pairs", "laptop", "holds")
    assert pairs["stale"] is False
    assert pairs["intervals"] == ["2.5 [2, 3] pairs"]
    assert (joy["verdict"], joy["scale"], joy["intervals"]) == ("not measurable here", "laptop", [])


def test_a_record_of_other_sources_is_stale(make_room: MakeRoom) -> None:
    room = make_room(claims=True)
    write_record(room, record_for(room, source_hash="0" * 64))
    assert latest_verdicts(room)[0]["stale"] is True
    assert "| holds, stale 2.5 [2, 3] pairs |" in systems_table_markdown([room])


def test_an_exploratory_record_is_not_shown(make_room: MakeRoom) -> None:
    room = make_room(claims=True)
    write_record(room, record_for(room, source_hash=current_hash(room), exploratory=True))
    assert [row["verdict"] for row in latest_verdicts(room)] == ["not run", "not measurable here"]
    assert "holds" not in systems_table_markdown([room])


def test_a_broken_record_is_named(make_room: MakeRoom) -> None:
    room = make_room(claims=True)
    assert room_record(room, "laptop") is None
    room.results_folder.mkdir()
    room.record_path("laptop").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"laptop\.json"):
        latest_verdicts(room)


def test_the_table_of_the_readme(make_room: MakeRoom) -> None:
    room = make_room(claims=True)
    write_record(room, record_for(room, source_hash=current_hash(room), evidence="simulated"))
    lines = systems_table_markdown([room]).splitlines()
    assert lines[2:] == [
        "| **data** | | | |",
        "| SockSorter (`sock-sorter`, [3105.00001](https://arxiv.org/abs/3105.00001)) "
        "| Finds the pairs in a heap of socks. | planned | holds, simulated 2.5 [2, 3] pairs |",
    ]


def test_the_table_has_every_system_once() -> None:
    rooms = [room for room in all_rooms() if room.origin == "firsthand"]
    table = systems_table_markdown(rooms)
    assert all(table.count(f"(`{room.slug}`,") == 1 for room in rooms)
    assert table.endswith("|\n")
    assert {line.replace("\\|", "").count("|") for line in table.splitlines()} == {5}


def test_a_pipe_in_a_card_does_not_break_the_table(make_room: MakeRoom) -> None:
    room = make_room()
    card = room.card.model_copy(update={"summary": "Either | or.", "name": "A|B"})
    row = systems_table_markdown([Room(card, room.package, room.folder, "acme")]).splitlines()[-1]
    assert "A\\|B" in row
    assert "Either \\| or." in row


def test_show_data_is_the_whole_card(make_room: MakeRoom) -> None:
    data = show_data(make_room(claims=True))
    assert {"slug", "figures", "claims", "peers", "bibtex", "verdicts", "python", "package"} <= set(data)
    assert data["claims"][0]["clauses"][0]["kind"] == "greater"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("One. Two.", "One."),
        ("Uses 0.4 M parameters, e.g. few. Then more.", "Uses 0.4 M parameters, e.g. few."),
        ("No end", "No end"),
    ],
)
def test_first_sentence(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence
