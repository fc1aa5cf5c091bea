"""Places: what is local and what is not, written whole or not at all, on a disk and behind a URL."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

import pytest
from upath import UPath

from firsthand.corpora import places as module
from firsthand.corpora.places import as_place, atomic_file, is_local, read_json, write_json
from firsthand.errors import InputError, MissingDependencyError, NotFoundError, OutputError


def everything():
    """All that lies in fsspec's memory, also what was left by accident."""
    return sorted(UPath("memory://").fs.store)


@pytest.mark.parametrize(
    "given", ["{}", "file://{}", "FILE://{}", "local://{}", Path, UPath, lambda path: UPath(f"file://{path}")]
)
def test_local_in_every_spelling_is_a_plain_path(tmp_path, given):
    path = tmp_path / "with space" / "a%20b.jsonl"
    place = as_place(given.format(path) if isinstance(given, str) else given(path))
    assert type(place) is type(Path())
    assert place == path
    assert is_local(place)


def test_home_is_found(monkeypatch):
    monkeypatch.setenv("HOME", "/home/her")
    assert as_place("~/corpus") == Path("/home/her/corpus")
    assert as_place("a:b.txt") == Path("a:b.txt")  # no URL
    assert as_place("C://x") == Path("C://x")


def test_a_url_is_no_local_place(memory):
    place = as_place(f"{memory}/a/b.jsonl")
    assert not is_local(place)
    assert (place.name, place.parent.name) == ("b.jsonl", "a")
    assert as_place(place) is place
    place.write_text("x")
    assert as_place(f"simplecache::{place}").read_text() == "x"


def test_an_unknown_scheme_is_refused():
    with pytest.raises(InputError, match=r"nope://bucket/x: .*nope"):
        as_place("nope://bucket/x")
    with pytest.raises(InputError, match="github://x: "):  # known, but it needs an organisation
        as_place("github://x")


def hide(monkeypatch, *packages):
    """As if these packages were not installed."""
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.partition(".")[0] in packages:
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("make", [str, UPath])
def test_a_missing_driver_is_named(monkeypatch, make):
    hide(monkeypatch, "s3fs")
    with pytest.raises(MissingDependencyError, match=r"s3://bucket/x: fsspec needs another package.*s3fs"):
        as_place(make("s3://bucket/x"))


def test_missing_universal_pathlib_is_named(monkeypatch, tmp_path):
    hide(monkeypatch, "upath")
    with pytest.raises(
        MissingDependencyError, match=r"memory://x: .*universal-pathlib: pip install 'firsthand\[data\]'"
    ):
        as_place("memory://x")
    assert as_place(str(tmp_path)) == tmp_path
    assert as_place(f"file://{tmp_path}") == tmp_path


@pytest.fixture(params=["local", "local upath", "memory"])
def folder(request, tmp_path, memory):
    """A folder that is not there yet, of each kind."""
    return {
        "local": tmp_path / "deep" / "er",
        "local upath": UPath(f"file://{tmp_path}/deep/er"),
        "memory": UPath(f"{memory}/deep/er"),
    }[request.param]


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("name", ["a.jsonl", "a [1] b?.jsonl", "ä#b%20.jsonl"])
def test_a_file_is_written_whole(folder, name):
    for content in ("one", "another, which is longer", "3"):
        with atomic_file(folder / name) as beside:
            beside.write_text(content)
            assert not (folder / name).exists() or (folder / name).read_text() != content
            written = beside.stat().st_ino
        assert (folder / name).read_text() == content
        assert names(folder) == [name]
        if is_local(folder):  # renamed, not copied: nobody sees a copy under way
            assert (folder / name).stat().st_ino == written
    assert not beside.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError, ZeroDivisionError])
def test_an_interrupted_write_leaves_the_old_file(folder, error):
    write_json(folder / "a.json", "old")
    with pytest.raises(error), atomic_file(folder / "a.json") as beside:  # noqa: PT012
        beside.write_text("half of the n")
        raise error
    assert read_json(folder / "a.json") == "old"
    assert names(folder) == ["a.json"]
    assert not beside.exists()
    with pytest.raises(OutputError, match=r"cannot write .*b\.json: "), atomic_file(folder / "b.json"):
        pass  # nothing was written
    assert names(folder) == ["a.json"]


class VendorError(Exception):
    """Not an OSError: what some drivers raise."""


@pytest.mark.parametrize("step", ["put_file", "mv"])
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left"), VendorError("No space left"), KeyboardInterrupt()]
)
def test_an_upload_that_fails_leaves_the_old_file(memory, monkeypatch, step, error):
    target = UPath(f"{memory}/a.json")
    write_json(target, "old")
    real = getattr(type(target.fs), step)

    def fail(self, source, goal, **more):
        if step == "put_file":
            real(self, source, goal, **more)  # some of it is there already
        raise error

    monkeypatch.setattr(type(target.fs), step, fail)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OutputError
    with pytest.raises(expected) as caught:
        write_json(target, "new")
    if expected is OutputError:
        assert f"cannot write {target}: " in str(caught.value)
        assert "No space left" in str(caught.value)
    assert everything() == ["/bucket/a.json"]
    assert read_json(target) == "old"


def test_where_no_folder_can_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"cannot write .*file/a\.json: "):
        write_json(tmp_path / "file" / "a.json", 1)


def test_errors_of_ours_pass_unchanged(tmp_path):
    with pytest.raises(NotFoundError, match=r"^there is none$"), atomic_file(tmp_path / "a"):
        raise NotFoundError("there is none")


def test_json_round_trips(folder):
    value = {"é": [1, None, "\u2028"], "not UTF-8": "x\udcff"}
    write_json(folder / "a.json", value)
    assert read_json(folder / "a.json") == value
    write_json(folder / "a.json", {"é": 1})
    assert "é" in (folder / "a.json").read_text(encoding="utf-8")
    assert read_json(folder / "none.json") is None
    for broken in (b"", b'{"a": ', b"\xff"):
        (folder / "a.json").write_bytes(broken)
        assert read_json(folder / "a.json") is None


def test_two_writers_of_one_process_name_do_not_mix(tmp_path, monkeypatch):
    """Two processes that write one file use two files beside it; the last rename wins, whole."""
    with atomic_file(tmp_path / "a") as mine:
        mine.write_text("mine")
        monkeypatch.setattr(module.os, "getpid", lambda: 1)
        with atomic_file(tmp_path / "a") as theirs:
            theirs.write_text("theirs")
        assert (tmp_path / "a").read_text() == "theirs"
    assert (tmp_path / "a").read_text() == "mine"
