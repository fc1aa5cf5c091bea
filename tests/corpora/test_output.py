"""Output that is there exactly once: calls are killed at every step, and made again."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from upath import UPath

from firsthand.corpora.files import find_inputs
from firsthand.corpora.output import JOURNAL, MANIFEST, OutputFolder, _is_below, keep_off, only_writer, sweep
from firsthand.corpora.places import atomic_file
from firsthand.errors import InputError, OutputError

# What calls with these keys write: part -> text. "none" is a part of which nothing is kept.
CALLS = {
    "A": {"a": "first", "b": "second", "deep/c": "third"},
    "B": {"b": "another second", "none": None, "deep/c": "another third", "x/y/d": "fourth"},
    "C": {"e": "fifth"},
}


class KilledError(BaseException):
    """As by `kill -9`: nothing that comes after has any effect."""


def call(folder, key, wrote=None, planned=True, parts=None):
    """One call that writes a file a part; `wrote` gets the parts that it wrote, it dies behind so many parts."""
    names = {part: f"{part}.txt" for part, text in CALLS[key].items() if text is not None}
    with only_writer(folder):
        output = OutputFolder(folder, key)
        if (whole := output.manifest()) is not None:
            return whole
        output.begin(names.values() if planned else ())
        for part, text in CALLS[key].items():
            if output.done(part) is not None:
                continue
            wrote = [] if wrote is None else wrote
            wrote.append(part)
            if text is not None:
                with atomic_file(folder / names[part]) as beside:
                    beside.write_text(f"{key}: {text}")
            output.note(part, {"name": names.get(part), "size": len(text or "")})
            if len(wrote) == parts:
                raise KilledError
        return output.finish({"about": "a test"})


def tree(folder):
    """Name -> text of every file."""
    if isinstance(folder, Path):
        return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}
    root = folder.path + "/"
    return {name.removeprefix(root): folder.fs.cat(name).decode() for name in folder.fs.find(folder.path)}


def outputs(key):
    return {f"{part}.txt": f"{key}: {text}" for part, text in CALLS[key].items() if text is not None}


def assert_whole(folder, key):
    """The outputs of this call and nothing else."""
    found = tree(folder)
    manifest = json.loads(found.pop(MANIFEST))
    assert found == outputs(key)
    assert (manifest["key"], manifest["about"]) == (key, "a test")
    assert {o["part"]: (o["name"], o["size"]) for o in manifest["outputs"]} == {
        part: (f"{part}.txt", len(text)) for part, text in CALLS[key].items() if text is not None
    }
    if isinstance(folder, Path):  # no empty folder either
        assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_dir()} == {
            parent.as_posix() for name in found for parent in Path(name).parents[:-1]
        }


LOCAL = [(Path, name) for name in ("mkdir", "open", "write_text", "replace", "unlink", "rmdir")]
REMOTE = [
    (fsspec.get_filesystem_class("memory"), name)
    for name in ("mkdir", "makedirs", "put_file", "cp_file", "rm_file", "mv")
]


@contextlib.contextmanager
def killed_at(step, operations):
    """Before its `step`-th operation the process dies; a file that was being written is half there."""
    count = 0
    with pytest.MonkeyPatch.context() as patched:
        for kind, name in operations:
            real = getattr(kind, name)

            def guarded(self, *rest, _real=real, _name=name, **more):
                nonlocal count
                count += 1
                if count == step and _name == "write_text":
                    with open(self, "w", encoding="utf-8") as stream:
                        stream.write(rest[0][: len(rest[0]) // 2])
                if count >= step:
                    raise KilledError
                return _real(self, *rest, **more)

            patched.setattr(kind, name, guarded)
        yield


def kill(folder, key, step, operations=LOCAL):
    """Make a call that dies at a step; says whether it did."""
    with killed_at(step, operations):
        try:
            call(folder, key)
        except KilledError:
            return True
    return False


def assert_nothing_half(folder, before, key):
    """After a kill: each visible file is whole, of this call or of what was there; a manifest tells the truth."""
    found = tree(folder)
    new = outputs(key)
    for name, text in found.items():
        if not Path(name).name.startswith(".") and name != MANIFEST:
            assert text in (before.get(name), new.get(name))
    if found.get(MANIFEST) != before.get(MANIFEST) and MANIFEST in found:
        stored = json.loads(found[MANIFEST])
        for output in stored["outputs"]:
            assert found[output["name"]].startswith(f"{stored['key']}: ")
    if not all(found.get(name) == text for name, text in new.items()):  # old ones go at the end only
        assert set(before) - {MANIFEST, JOURNAL} <= set(found)


@pytest.mark.parametrize(
    ("start", "others"), [("A is whole", "AC"), ("A was killed", "A"), ("B is whole but for a file", "")]
)
def test_killed_at_every_step(tmp_path, start, others):
    """Whatever call comes next, it finds its way; what is left is exactly what it writes."""
    first = tmp_path / "first"
    first.mkdir()
    if start == "A is whole":
        call(first, "A")
    elif start == "A was killed":
        with pytest.raises(KilledError):
            call(first, "A", parts=2)
        assert set(tree(first)) == {"a.txt", "b.txt", JOURNAL}
    elif start == "B is whole but for a file":
        call(first, "B")
        (first / "deep" / "c.txt").unlink()
    before = {name: text for name, text in tree(first).items() if not Path(name).name.endswith(".part")}
    step = 0
    while True:
        step += 1
        folder = tmp_path / "out"
        shutil.copytree(first, folder)
        died = kill(folder, "B", step)
        if died:
            assert_nothing_half(folder, before, "B")
            for key in others:
                shutil.copytree(folder, tmp_path / key)
                call(tmp_path / key, key)
                assert_whole(tmp_path / key, key)
                shutil.rmtree(tmp_path / key)
        noted = OutputFolder(folder, "B")
        here = [part for part in CALLS["B"] if noted.done(part) is not None]
        wrote = []
        call(folder, "B", wrote)
        assert not set(wrote) & set(here)  # nothing that was finished is written again
        assert_whole(folder, "B")
        shutil.rmtree(folder)
        if not died:
            break
    assert step > 20


def test_killed_at_every_step_behind_a_url(memory):
    store = UPath(memory).fs.store
    folder = UPath(f"{memory}/out")
    call(folder, "A")
    before, kept = tree(folder), dict(store)
    step = 0
    while True:
        step += 1
        store.clear()
        store.update(kept)
        died = kill(folder, "B", step, REMOTE)
        if died:
            assert_nothing_half(folder, before, "B")
        halfway = dict(store)
        for key in "AB" if died and step % 3 == 0 else "B":
            store.clear()
            store.update(halfway)
            call(folder, key)
            left = {name for name in tree(folder) if name.endswith(".part")}
            for name in left:  # nobody holds a lock on a store: a killed upload stays, hidden
                store.pop(f"{folder.path}/{name}")
            assert_whole(folder, key)
        if not died:
            break
    assert step > 15


def test_a_journal_cut_at_every_byte(tmp_path):
    """What its whole lines say is not done again, not even where the next call is killed as well."""
    first, folder = tmp_path / "first", tmp_path / "out"
    call(first, "A")
    with pytest.raises(KilledError):
        call(first, "B", parts=3)
    journal = (first / JOURNAL).read_bytes()
    head, *ends = [at for at, byte in enumerate(journal) if byte == ord("\n")]
    assert len(ends) == 3
    edges = {at + step for at in (0, 40, head, *ends) for step in (-1, 0, 1, 2)}
    shutil.copytree(first, tmp_path / "read")
    for cut in range(len(journal) + 1):
        (tmp_path / "read" / JOURNAL).write_bytes(journal[:cut])
        found = OutputFolder(tmp_path / "read", "B")
        expected = list(CALLS["B"])[sum(cut >= end for end in ends) :]
        assert [part for part in CALLS["B"] if found.done(part) is None] == expected
        if cut not in edges:
            continue
        shutil.copytree(first, folder)
        (folder / JOURNAL).write_bytes(journal[:cut])
        wrote, rest = [], []
        with pytest.raises(KilledError):
            call(folder, "B", wrote, parts=1)
        call(folder, "B", rest)
        assert wrote + rest == expected
        if cut >= head:
            assert_whole(folder, "B")
        else:  # the head is renamed into place, nothing cuts it; what it knew of A is lost then
            assert tree(folder).items() >= outputs("B").items()
        shutil.rmtree(folder)


def test_a_whole_output_is_left_alone(tmp_path):
    folder = tmp_path / "out"
    first, wrote = call(folder, "A"), []
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert call(folder, "A", wrote) == first
    assert wrote == []
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_file_that_is_missing_is_written_again_alone(tmp_path):
    folder = tmp_path / "out"
    whole = call(folder, "A")
    for part in CALLS["A"]:
        (folder / f"{part}.txt").unlink()
        wrote = []
        assert call(folder, "A", wrote) == whole
        assert wrote == [part]
        assert_whole(folder, "A")


def test_what_is_not_ours_stays(tmp_path):
    folder = tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "mine.txt").write_text("mine")
    (folder / "b.txt").write_text("lay here before, and is overwritten")
    for key in "ABC":
        call(folder, key)
    found = tree(folder)
    assert found.pop("deep/mine.txt") == "mine"
    assert set(found) == {"e.txt", MANIFEST}


def test_without_planned_names_a_kill_between_file_and_note_leaves_it(tmp_path):
    """Why `begin` takes names."""
    for planned in (True, False):
        folder = tmp_path / f"{planned}"
        with only_writer(folder):
            output = OutputFolder(folder, "A")
            output.begin(["a.txt"] if planned else ())
            (folder / "a.txt").write_text("killed here")
        call(folder, "C")
        assert ("a.txt" in tree(folder)) is not planned


def test_what_was_noted_is_known_without_planned_names(tmp_path):
    with pytest.raises(KilledError):
        call(tmp_path / "out", "A", planned=False, parts=2)
    call(tmp_path / "out", "C")
    assert_whole(tmp_path / "out", "C")


def test_a_store_that_appends_nothing(memory, monkeypatch):
    kind = fsspec.get_filesystem_class("memory")
    real = kind._open

    def without_append(self, path, mode="rb", **more):
        if mode.startswith("a"):
            raise NotImplementedError("appending")
        return real(self, path, mode, **more)

    monkeypatch.setattr(kind, "_open", without_append)
    call(UPath(f"{memory}/out"), "B")
    assert_whole(UPath(f"{memory}/out"), "B")


@pytest.mark.parametrize(
    "name", ["../x", "a/../x", "a/..", "..", "/x", "s3://x", "", ".", "a\x00", MANIFEST, "./" + JOURNAL]
)
def test_names_that_are_no_outputs(name):
    assert not _is_below(name)


@pytest.mark.parametrize("name", ["x", "a/x", "..x", "a/x..jsonl", ".x", f"a/{MANIFEST}", "a:/x", "C:x"])
def test_names_that_are_outputs(name):
    assert _is_below(name)


def test_a_planned_file_that_was_there_before_is_not_ours(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    output = OutputFolder(tmp_path, "K")
    output.begin(["a.txt"])
    output.note("a", {"name": None})
    output.finish({})
    assert (tmp_path / "a.txt").read_text() == "mine"


def test_two_parts_of_one_name(tmp_path):
    output = OutputFolder(tmp_path, "K")
    with pytest.raises(InputError, match=r"two inputs would both become 'a\.txt'"):
        output.begin(["b.txt", "a.txt", "a.txt"])
    output.begin()
    output.note("a", {"name": "a.txt"})
    output.note("a", {"name": "a.txt"})
    output.note("none", {"name": None})
    output.note("nothing", {"name": None})
    for again in (output, OutputFolder(tmp_path, "K")):
        (tmp_path / "a.txt").write_text("x")
        with pytest.raises(InputError, match=r"'a' and 'b' both became 'a\.txt'"):
            again.note("b", {"name": "a.txt"})
    assert OutputFolder(tmp_path, "K").done("b") is None


def edited(folder, names):
    """A manifest and a journal that name these files, by whatever hand."""
    listed = [{"part": f"p{i}", "name": name, "size": 1} for i, name in enumerate(names)]
    (folder / MANIFEST).write_text(json.dumps({"key": "old", "outputs": listed}))
    lines = [{"key": "old", "stale": names}, *listed]
    (folder / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("key", ["old", "C"])
def test_an_edited_manifest_deletes_nothing_elsewhere(tmp_path, key):
    folder, other = tmp_path / "out", tmp_path / "other"
    for place in (folder / "sub", other, tmp_path / "out-side"):
        place.mkdir(parents=True)
        (place / "x.txt").write_text("precious")
    (folder / "link").symlink_to(other)
    (folder / "old.txt").write_text("stale")
    (folder / "linked.txt").symlink_to(other / "x.txt")
    edited(
        folder,
        ["../other/x.txt", str(other / "x.txt"), "sub/../../other/x.txt", "link/x.txt", "../out-side/x.txt",
         f"file://{other}/x.txt", "", ".", "sub", "link", "a\x00b", "..", "/", "old.txt", "linked.txt"],
    )  # fmt: skip
    output = OutputFolder(folder, key)
    assert output.manifest() is None
    output.begin()
    output.finish({})
    assert {path.name for path in folder.iterdir()} == {"sub", "link", MANIFEST} | (
        {"linked.txt"} if key == "old" else set()
    ) or key == "old"
    for place in (folder / "sub", other, tmp_path / "out-side"):
        assert (place / "x.txt").read_text() == "precious"
    if key == "C":
        assert not (folder / "old.txt").exists()
        assert not (folder / "linked.txt").is_symlink()


def test_an_edited_manifest_behind_a_url(memory):
    folder, other = UPath(f"{memory}/out"), UPath(f"{memory}/other/x.txt")
    for place in (folder / "old.txt", other):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("x")
    edited(folder, ["../other/x.txt", "/bucket/other/x.txt", str(other), "s3://b/x", "old.txt"])
    output = OutputFolder(folder, "C")
    output.begin()
    output.finish({})
    assert other.exists()
    assert set(tree(folder)) == {MANIFEST}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "null", '{"key": "A"}', '{"key": "A", "outputs": 3}', '{"key": "A", "outputs": [3, null, {}]}',
     '{"key": "A", "outputs": [{"part": "a"}, {"name": "b.txt"}, {"part": 3, "name": "b.txt"}]}',
     '{"key": "A", "outputs": [{"part": "a", "name": 3}]}', '{"key": "A", "outputs": [{"part": "a", "name": null}]}',
     '{"key": "A", "outputs": {"name": "a.txt"}, "stale": 3}', '{"key": "A", "stale": [3, null, {"x": 1}]}'],
)  # fmt: skip
def test_what_is_no_manifest_is_none(tmp_path, text):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / MANIFEST).write_text(text)
    (folder / JOURNAL).write_text(text + "\n" + text + "\n")
    wrote = []
    call(folder, "A", wrote)
    assert wrote[-2:] == ["b", "deep/c"]
    assert set(tree(folder)) - {"a.txt"} == {"b.txt", "deep/c.txt", MANIFEST}


def test_a_journal_that_cannot_be_written(tmp_path, monkeypatch):
    output = OutputFolder(tmp_path, "A")
    output.begin()

    def full(*rest, **more):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match=r"cannot write .*unfinished.*No space"):
        output.note("a", {"name": "a.txt"})
    monkeypatch.undo()
    monkeypatch.setattr(Path, "unlink", full)
    with pytest.raises(OutputError, match=r"cannot remove .*manifest\.json: No space"):
        output.begin()


HOLD = """
import sys, time
from pathlib import Path
from firsthand.corpora.output import only_writer
from firsthand.corpora.places import atomic_file
with only_writer(Path(sys.argv[1])), atomic_file(Path(sys.argv[1]) / "deep" / "a.txt") as beside:
    beside.write_text("half")
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_writer_is_refused_and_a_killed_one_frees_the_lock(tmp_path):
    folder = tmp_path / "out"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        (tmp_path / "link").symlink_to(folder)
        for name in (folder, tmp_path / "link", tmp_path / "x" / ".." / "out"):
            with pytest.raises(InputError, match="another run is writing here"), only_writer(name):
                pass
        assert any(name.endswith(".part") for name in tree(folder))  # a refused call touches nothing
        with only_writer(tmp_path / "another"):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    assert any(name.endswith(".part") for name in tree(folder))
    (folder / ".mine.part").write_text("no number in the name: not from here")
    (folder / "deep" / f".a.txt.{os.getppid()}.part").write_text("of a process that runs")
    with only_writer(folder):
        sweep(folder)
        sweep(folder / "deep")
        assert tree(folder) == {
            ".mine.part": "no number in the name: not from here",
            f"deep/.a.txt.{os.getppid()}.part": "of a process that runs",
        }
        with pytest.raises(InputError), only_writer(folder):
            pass
        with pytest.raises(InputError), only_writer(folder):  # refused, and still held
            pass
    with pytest.raises(ZeroDivisionError), only_writer(folder):
        raise ZeroDivisionError
    with only_writer(folder):
        pass


def test_where_no_folder_can_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"cannot write to .*file"), only_writer(tmp_path / "file"):
        pass


def test_a_url_has_no_lock(memory, own_cache):
    with only_writer(UPath(memory)), only_writer(UPath(memory)):
        pass
    assert not own_cache.exists()


def test_what_is_read_is_not_written(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"text": "x"}\n')
    files = find_inputs([tmp_path / "in"])
    keep_off(files, [tmp_path / "out" / "a.jsonl"])
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for target in (tmp_path / "in" / "a.jsonl", tmp_path / "link" / "a.jsonl"):
        with pytest.raises(InputError, match=r"a\.jsonl is read here and would be overwritten"):
            keep_off(files, [tmp_path / "b", target])
