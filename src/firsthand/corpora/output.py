"""A folder that holds what one call wrote, each file once, and nothing of what calls before it wrote.

The call has a key: whatever decides its output. Finished files are noted in a journal, so that a call that
was killed and is made again goes on behind the last of them; the manifest is written last, and where it is
there with the same key nothing is left to do. Files that an earlier call with another key left are removed
once the new ones are whole. Knows nothing of what the files hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from firsthand.corpora.files import InputFile
from firsthand.corpora.places import atomic_file, is_local, read_json, write_json
from firsthand.errors import InputError, OutputError
from firsthand.launch.cache import cache_folder

__all__ = ["OutputFolder", "keep_off", "only_writer", "sweep"]

MANIFEST = "manifest.json"
JOURNAL = ".unfinished.jsonl"

_HALF_WRITTEN = re.compile(r"\..+\.(\d+)\.part", re.DOTALL)  # as `atomic_file` names it


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Nobody else on this machine writes to `folder` meanwhile: a second call raises `InputError` at once.

    The system frees the lock of a process that is killed; the lock lies in the cache. Folders behind a URL
    have no lock.
    """
    if not is_local(folder):
        yield
        return
    import filelock

    # Resolved: through a symbolic link or `..` it is still the same folder.
    name = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    lock = filelock.FileLock(str(cache_folder("locks") / f"{name}.lock"), timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise InputError(
            f"{folder}: another run is writing here; wait for it, or name another output"
        ) from error
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def sweep(folder: Path) -> None:
    """Remove what killed processes of this machine left half-written in `folder` itself (`atomic_file`)."""
    if not is_local(folder) or not folder.is_dir():
        return
    for left in folder.glob(".*.part"):
        found = _HALF_WRITTEN.fullmatch(left.name)
        if found and not _runs(int(found[1])):
            _unlink(left)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return process != os.getpid()  # ours writes nothing else while it sweeps


def keep_off(files: Iterable[InputFile], targets: Iterable[Path]) -> None:
    """Raise `InputError` where one of `targets` is one of the files that are read: it would be lost."""
    read = {_whereabouts(file.path): file for file in files}
    for target in targets:
        if (file := read.get(_whereabouts(target))) is not None:
            raise InputError(f"{file.path} is read here and would be overwritten; name another output")


def _whereabouts(place: Path) -> str:
    return str(place.resolve()) if is_local(place) else str(place)


class OutputFolder:
    """The files of one call; see the module.

    Args:
        folder: local, or a URL's place.
        key: what decides the output: inputs, settings, versions. Another key begins anew.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key
        self._journal = folder / JOURNAL
        stored = _record(read_json(folder / MANIFEST))
        whole = _parts(stored.get("outputs"))
        head, noted = self._read_journal()
        self._done: dict[str, dict[str, Any]] = {}
        if head.get("key") == key:
            self._done = noted
        elif stored.get("key") == key:  # whole once, but somebody removed a file since
            self._done = whole
        self._writers = {record["name"]: part for part, record in self._done.items() if record["name"]}
        listed = head.get("stale")
        names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
        names += [record["name"] for record in (*noted.values(), *whole.values())]
        # What earlier calls left here. A manifest that somebody edited must not make us delete files elsewhere.
        self._stale = {name for name in names if name and _is_below(name)}

    def manifest(self) -> dict[str, Any] | None:
        """The manifest of a whole output with this key, or None."""
        stored = _record(read_json(self.folder / MANIFEST))
        outputs = stored.get("outputs")
        parts = _parts(outputs)
        if stored.get("key") != self.key or not isinstance(outputs, list) or len(parts) != len(outputs):
            return None
        if not all(self._is_there(record["name"]) for record in parts.values()):
            return None
        self._sweep(record["name"] for record in parts.values())
        _unlink(self._journal)  # a call killed at its last step leaves it
        return stored

    def begin(self, names: Iterable[str] = ()) -> None:
        """An earlier manifest goes: it speaks of another output. What it named is remembered in the journal.

        Args:
            names: of the files that this call may write. Where it is killed between a file and its note, a
                later call with another key knows by them that the file was ours; without them it stays.

        Raises:
            InputError: two parts would write one file.
        """
        planned = Counter(names)
        if twice := sorted(name for name, times in planned.items() if times > 1):
            raise InputError(f"{self.folder}: two inputs would both become {twice[0]!r}; rename one of them")
        self._sweep(planned)
        self._stale |= {name for name in planned if _is_below(name) and not self._is_there(name)}
        self._rewrite()
        _unlink(self.folder / MANIFEST)

    def done(self, part: str) -> dict[str, Any] | None:
        """What was noted of `part`, where its file is still there; None where it is to be written."""
        record = self._done.get(part)
        if record is not None and record["name"] is not None and not self._is_there(record["name"]):
            return None
        return record

    def note(self, part: str, record: dict[str, Any]) -> None:
        """`part` is finished. `record["name"]` is its file in the folder, or None where nothing was kept.

        Raises `InputError` where another part has written a file of that name.
        """
        name = record["name"]
        if name is not None and self._writers.setdefault(name, part) != part:
            raise InputError(f"{self.folder}: {self._writers[name]!r} and {part!r} both became {name!r}")
        self._done[part] = record
        if not is_local(self.folder) or not self._journal.exists():  # an object store appends nothing
            self._rewrite()
            return
        try:
            with self._journal.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"part": part, **record}) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self._journal}: {error.strerror or error}") from error

    def finish(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Remove what earlier calls left, write the manifest, forget the journal; returns the manifest.

        It gets `key` and `outputs`: the records of all parts that have a file, in the order of their parts'
        names.
        """
        outputs = [{"part": part, **record} for part, record in sorted(self._done.items()) if record["name"]]
        for name in sorted(self._stale - {str(record["name"]) for record in outputs}):
            self._remove(name)
        whole = {"key": self.key, **manifest, "outputs": outputs}
        write_json(self.folder / MANIFEST, whole)
        _unlink(self._journal)
        return whole

    def _sweep(self, names: Iterable[str]) -> None:
        """What killed calls left half-written beside these files, and those of earlier calls."""
        parents = {(self.folder / name).parent for name in {*names, *self._stale} if _is_below(name)}
        for folder in sorted({self.folder, *parents}):
            sweep(folder)

    def _rewrite(self) -> None:
        lines: list[dict[str, Any]] = [{"key": self.key, "stale": sorted(self._stale)}]
        lines += [{"part": part, **record} for part, record in self._done.items()]
        with atomic_file(self._journal) as beside:
            beside.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def _read_journal(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """The journal's head and its parts; a last line that was cut off does not count."""
        entries = []
        with contextlib.suppress(OSError, ValueError):
            for line in self._journal.read_text(encoding="utf-8").splitlines():
                entries.append(json.loads(line))
        return _record(entries[0] if entries else None), _parts(entries[1:])

    def _is_there(self, name: str | None) -> bool:
        return name is not None and _is_below(name) and (self.folder / name).is_file()

    def _remove(self, name: str) -> None:
        """Remove a stale file, unless a link on the way leads out of the folder; then folders left empty."""
        path = self.folder / name
        if not is_local(self.folder):
            _unlink(path)
        elif path.parent.resolve().is_relative_to(self.folder.resolve()):
            _unlink(path)
            for parent in path.relative_to(self.folder).parents[:-1]:
                with contextlib.suppress(OSError):  # not empty, or never made
                    (self.folder / parent).rmdir()


def _is_below(name: str) -> bool:
    """Whether `name` can be an output: relative, no way up, no URL, and neither manifest nor journal."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or "://" in name or "\x00" in name:
        return False
    return path.name != "" and path.as_posix() not in (MANIFEST, JOURNAL)


def _record(found: Any) -> dict[str, Any]:
    return dict(found) if isinstance(found, dict) else {}


def _parts(found: Any) -> dict[str, dict[str, Any]]:
    """Part -> record of those entries that are records of a part; a file may have been edited or cut."""
    parts = {}
    for entry in found if isinstance(found, list) else []:
        record = _record(entry)
        part, name = record.pop("part", None), record.get("name", 0)
        if isinstance(part, str) and (name is None or isinstance(name, str)):
            parts[part] = record
    return parts


def _unlink(path: Path) -> None:
    """Remove a file that may be there; what is a folder by now is none of ours."""
    try:
        if not path.is_dir():
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {error.strerror or error}") from error
