"""Rooms: ours are all there under the ids of their papers; rooms of others come and break alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import firsthand
from firsthand.catalogue import rooms as rooms_module
from firsthand.catalogue.rooms import DOMAINS, Room, all_rooms, find_room, room_slugs
from firsthand.errors import InputError, MissingDependencyError, NotFoundError

from .conftest import CARD

SYSTEMS = {
    "preselect": ("data", "2503.00808"),
    "samplemix": ("data", "2503.01506"),
    "rds-plus": ("data", "2503.01807"),
    "videoufo": ("data", "2503.01739"),
    "visual-rft": ("training", "2503.01785"),
    "four-habits": ("training", "2503.01307"),
    "get-go": ("training", "2502.19402"),
    "phi4-mini": ("training", "2503.01743"),
    "liger": ("training", "2503.01496"),
    "ddo": ("training", "2503.01103"),
    "tokenswift": ("decoding", "2502.18890"),
    "duodecoding": ("decoding", "2503.00784"),
    "self-calibration": ("decoding", "2503.00031"),
    "uncertainty": ("evaluation", "2503.01688"),
    "typoglycemia": ("evaluation", "2503.01714"),
    "codearena": ("evaluation", "2503.01295"),
    "onerec": ("recommendation", "2502.18965"),
    "qilin": ("recommendation", "2503.00501"),
    "speql": ("query", "2503.00714"),
    "tonal": ("audio", "2503.01063"),
    "podagent": ("audio", "2503.00455"),
    "diffrhythm": ("audio", "2503.01183"),
    "difix3d": ("vision3d", "2503.01774"),
    "kiss3dgen": ("vision3d", "2503.01370"),
    "plane-dust3r": ("vision3d", "2502.16779"),
    "clea": ("agents", "2503.00729"),
    "web-agents": ("agents", "2502.20383"),
}


def own_rooms() -> list[Room]:
    return [room for room in all_rooms() if room.origin == "firsthand"]


def test_the_27_systems_are_there() -> None:
    assert {room.slug: (room.domain, room.card.arxiv) for room in own_rooms()} == SYSTEMS
    assert len({arxiv for _, arxiv in SYSTEMS.values()}) == 27


def test_rooms_are_listed_by_domain() -> None:
    order = [name for name, _ in DOMAINS]
    places = [order.index(room.domain) for room in own_rooms()]
    assert places == sorted(places)
    assert set(places) == set(range(len(DOMAINS)))
    assert [slug for slug in room_slugs() if slug in SYSTEMS] == [room.slug for room in own_rooms()]


def test_every_room_is_a_package_where_its_folder_says() -> None:
    root = Path(firsthand.__file__).parent
    for room in own_rooms():
        assert room.folder == root / room.domain / room.slug.replace("-", "_")
        assert room.package == f"firsthand.{room.domain}.{room.folder.name}"
        assert (room.folder.parent / "__init__.py").is_file()


def test_slugs_need_neither_pydantic_nor_a_room() -> None:
    code = (
        "import sys; from firsthand.catalogue.rooms import room_slugs; room_slugs(with_command=True);"
        "print([m for m in sys.modules if m == 'pydantic' or m.startswith('firsthand.') and "
        "m.split('.')[1] not in ('catalogue', 'errors')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("typed", ["rds-plus", "rds_plus", " RDS-Plus "])
def test_find_room_forgives_spelling(typed: str) -> None:
    assert find_room(typed).slug == "rds-plus"


def test_find_room_suggests() -> None:
    with pytest.raises(NotFoundError, match="did you mean preselect"):
        find_room("preselct")
    with pytest.raises(NotFoundError, match="firsthand list"):
        find_room("zzzzzz")


def test_ready_needs_check_command_and_record(make_room: Callable[..., Room]) -> None:
    room = make_room()
    seen = [(room.has_check, room.has_command, room.status)]
    for path in (room.folder / "check.py", room.folder / "command.py", room.record_path("laptop")):
        path.parent.mkdir(exist_ok=True)
        path.write_text("", encoding="utf-8")
        seen.append((room.has_check, room.has_command, room.status))
    assert seen == [
        (False, False, "planned"),
        (True, False, "planned"),
        (True, True, "planned"),
        (True, True, "ready"),
    ]


def test_records_of_our_rooms_share_a_folder(make_room: Callable[..., Room]) -> None:
    own = find_room("ddo")
    assert own.record_path("gpu") == Path(firsthand.__file__).parent / "results" / "ddo" / "gpu.json"
    other = make_room()
    assert other.record_path("laptop") == other.folder / "results" / "laptop.json"


def test_module_is_imported_when_asked_for(
    make_room: Callable[..., Room], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    room = make_room("GREETING = 'hello'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "acme").rename(tmp_path / "acme_for_tests")
    folder = tmp_path / "acme_for_tests" / "socks"
    (folder / "check.py").write_text("from a_package_that_nobody_has import thing\n", encoding="utf-8")
    (folder / "command.py").write_text("from acme_for_tests.socks import missing\n", encoding="utf-8")
    (folder / "wrong.py").write_text("import acme_for_tests.no_such_module\n", encoding="utf-8")
    try:
        assert room.module().GREETING == "hello"
        with pytest.raises(MissingDependencyError, match=r"a_package_that_nobody_has.*pip install 'acme'"):
            room.module("check")
        with pytest.raises(NotFoundError, match=r"sock-sorter.*no module acme_for_tests\.socks\.nothing"):
            room.module("nothing")
        with pytest.raises(ModuleNotFoundError, match=r"acme_for_tests\.no_such_module"):
            room.module("wrong")
        with pytest.raises(ImportError, match="missing"):
            room.module("command")
    finally:
        for name in [name for name in sys.modules if name.startswith("acme_for_tests")]:
            del sys.modules[name]


def test_a_missing_extra_is_named() -> None:
    room = Room(find_room("tonal").card, "firsthand.audio.tonal", Path())
    blocked = "wave_for_tests_that_nobody_has"
    with pytest.MonkeyPatch.context() as patch:

        def refuse(name: str) -> None:
            raise ModuleNotFoundError(f"No module named {blocked!r}", name=blocked)

        patch.setattr(rooms_module.importlib, "import_module", refuse)
        with pytest.raises(MissingDependencyError, match=r"pip install 'firsthand\[audio\]'"):
            room.module("command")


@pytest.mark.parametrize(("old", "new"), [('slug = "socks"', 'slug = "shoes"'), ('"data"', '"audio"')])
def test_our_own_card_must_match_its_folder(
    old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "socks"
    folder.mkdir(parents=True)
    right = CARD.replace("sock-sorter", "socks")
    monkeypatch.setattr(rooms_module, "PACKAGE_FOLDER", tmp_path)
    (folder / "card.toml").write_text(right, encoding="utf-8")
    assert find_room("socks").domain == "data"
    (folder / "card.toml").write_text(right.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match="do not match the folder"):
        all_rooms()


# Rooms of other distributions: a package and a dist-info folder on the path are what an installation leaves.


def install(site: Path, distribution: str, entries: dict[str, str]) -> None:
    info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    lines = "\n".join(f"{name} = {value}" for name, value in entries.items())
    (info / "entry_points.txt").write_text(f"[firsthand.rooms]\n{lines}\n", encoding="utf-8")


def package(site: Path, name: str, card: str | None, *, command: bool = False) -> None:
    folder = site.joinpath(*name.split("."))
    folder.mkdir(parents=True)
    for part in [folder, *folder.parents]:
        if part == site:
            break
        # Finding a room must not run its code, nor that of the packages above it.
        (part / "__init__.py").write_text("raise RuntimeError('imported')\n", encoding="utf-8")
    if card is not None:
        (folder / "card.toml").write_text(card, encoding="utf-8")
    if command:
        (folder / "command.py").write_text("", encoding="utf-8")


def python(site: Path, code: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=check)


def ask(site: Path, question: str) -> tuple[object, str]:
    """Ask a fresh interpreter that has `site` on its path; its answer and its log."""
    code = (
        "import json, logging; logging.basicConfig(format='%(levelname)s %(message)s');"
        "from firsthand.catalogue.rooms import all_rooms, find_room, room_slugs;"
        f"print(json.dumps({question}))"
    )
    done = python(site, code)
    return json.loads(done.stdout), done.stderr


LISTING = "[(r.slug, r.package, r.origin, str(r.folder)) for r in all_rooms() if 'socks' in r.package]"


def test_an_installed_room_shows_up(tmp_path: Path) -> None:
    package(tmp_path, "acme_socks.rooms.sorter", CARD, command=True)
    install(tmp_path, "acme-socks", {"sock-sorter": "acme_socks.rooms.sorter"})
    question = f"[{LISTING}, find_room('sock_sorter').origin, room_slugs(with_command=True)]"
    answer, log = ask(tmp_path, question)
    assert isinstance(answer, list)
    folder = tmp_path / "acme_socks" / "rooms" / "sorter"
    assert answer[0] == [["sock-sorter", "acme_socks.rooms.sorter", "acme-socks", str(folder)]]
    assert answer[1] == "acme-socks"
    assert "sock-sorter" in answer[2]
    assert "WARNING" not in log


def test_broken_rooms_are_left_out_and_named(tmp_path: Path) -> None:
    package(tmp_path, "good_socks", CARD)
    package(tmp_path, "bare_socks", None)
    package(tmp_path, "torn_socks", "slug = ")
    package(tmp_path, "other_socks", CARD)
    package(tmp_path, "our_socks", CARD.replace("sock-sorter", "preselect"))
    (tmp_path / "flat_socks.py").write_text("", encoding="utf-8")
    install(tmp_path, "good", {"sock-sorter": "good_socks"})
    install(tmp_path, "gone", {"gone-room": "socks_that_nobody_has"})
    install(tmp_path, "bare", {"bare-room": "bare_socks"})
    install(tmp_path, "torn", {"torn-room": "torn_socks"})
    install(tmp_path, "misnamed", {"shoe-sorter": "other_socks"})
    install(tmp_path, "thief", {"preselect": "our_socks"})
    install(tmp_path, "twin", {"sock_sorter": "other_socks"})
    install(tmp_path, "flat", {"flat-room": "flat_socks"})
    question = (
        f"[{LISTING}, find_room('preselect').origin, find_room('sock-sorter').origin,"
        " [slug for slug in room_slugs(with_command=True) if 'room' in slug]]"
    )
    answer, log = ask(tmp_path, question)
    assert isinstance(answer, list)
    assert [row[2] for row in answer[0]] == ["good"]
    assert answer[1:] == ["firsthand", "good", []]
    causes = {
        "gone": "socks_that_nobody_has",
        "bare": "no such card",
        "torn": "TOML|torn_socks",
        "misnamed": "entry point",
        "thief": "already taken by firsthand",
        "twin": "already taken by good",
        "flat": "not a package folder",
    }
    warnings = [line for line in log.splitlines() if line.startswith("WARNING")]
    for distribution, cause in causes.items():
        own = [line for line in warnings if f"distribution {distribution!r}" in line]
        assert own, f"no warning names {distribution}"
        assert any(word in line for word in cause.split("|") for line in own), own


def test_a_broken_room_asked_for_by_name_is_an_error(tmp_path: Path) -> None:
    install(tmp_path, "gone", {"gone-room": "socks_that_nobody_has"})
    code = "from firsthand.catalogue.rooms import find_room; find_room('gone-room')"
    done = python(tmp_path, code, check=False)
    assert done.returncode == 1
    assert "InputError: room 'gone-room' is installed but broken" in done.stderr
