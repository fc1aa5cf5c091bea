"""The one cache, and the locks on it.

Everything that is assembled, harvested or trained once lies under one root: `$FIRSTHAND_CACHE`, or the
user's cache folder. Entries are keyed by their content by whoever makes them; this module only knows
folders, locks and sizes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from firsthand.errors import InputError, OutputError

__all__ = [
    "CacheEntry",
    "cache_entries",
    "cache_folder",
    "cache_root",
    "clear_cache",
    "locked",
    "machine_lock",
    "write_atomically",
]


def cache_root() -> Path:
    """The cache's root folder; it need not exist yet."""
    chosen = os.environ.get("FIRSTHAND_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("firsthand"))


def cache_folder(*parts: str) -> Path:
    """Create (where needed) and return a folder of the cache; raises `OutputError` where it cannot."""
    folder = cache_root().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot create the cache folder {folder}: {error.strerror}; "
            "set FIRSTHAND_CACHE to a folder you can write to"
        ) from error
    return folder


@contextlib.contextmanager
def locked(path: Path, *, timeout: float = -1) -> Iterator[None]:
    """Hold the lock beside `path` (PATH.lock); others on this machine wait for it, forever by default."""
    import filelock

    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(str(path) + ".lock", timeout=timeout):
        yield


@contextlib.contextmanager
def machine_lock() -> Iterator[None]:
    """One holder a machine: taken by checks that time things, so that none times another.

    The lock lies in the system's temporary folder and not in the cache: two users, or two caches, still
    share the processors. Raises `OutputError` where the lock file can be neither made nor opened.
    """
    import filelock

    path = Path(tempfile.gettempdir()) / "firsthand-timing.lock"
    lock = filelock.FileLock(str(path), mode=0o666)  # whoever makes it, others must be able to take it
    try:
        lock.acquire()
    except OSError as error:
        raise OutputError(
            f"cannot take the machine's timing lock {path}: {error.strerror or error}; "
            "give everyone the right to write it, or delete it while nothing is being timed"
        ) from error
    try:
        yield
    finally:
        lock.release()


def write_atomically(path: Path, text: str) -> None:
    """Write `text` beside `path` and rename; on failure nothing is left and `OutputError` says why."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


@dataclass(frozen=True)
class CacheEntry:
    """A top-level folder of the cache: its name, how many files and how many bytes."""

    name: str
    files: int
    size: int


def cache_entries() -> tuple[CacheEntry, ...]:
    """What lies in the cache, a line a folder; raises `InputError` where it cannot be read."""
    root = cache_root()
    if not root.is_dir():
        return ()
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir())
    except OSError as error:
        raise InputError(f"cannot read the cache {root}: {error.strerror or error}") from error
    entries = []
    for folder in folders:
        sizes = [size for path in folder.rglob("*") if (size := _file_size(path)) is not None]
        entries.append(CacheEntry(folder.name, len(sizes), sum(sizes)))
    return tuple(entries)


def _file_size(path: Path) -> int | None:
    """Bytes of a file; None for what is none, or went between the listing and the look."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def clear_cache(name: str | None = None) -> int:
    """Delete one top-level folder of the cache, or all of it; returns the bytes that went.

    Raises:
        InputError: no such folder, or somebody holds a lock in one of those to be deleted; nothing went.
        OutputError: deleting failed (no permission); what had gone by then is gone.
    """
    entries = cache_entries()
    if name is not None:
        entries = tuple(entry for entry in entries if entry.name == name)
        if not entries:
            there = ", ".join(entry.name for entry in cache_entries()) or "nothing"
            raise InputError(f"the cache holds no {name!r}; it holds {there}")
    with contextlib.ExitStack() as held:
        for entry in entries:  # all of them before anything goes: whoever comes now waits for us
            _hold(cache_root() / entry.name, held)
        for entry in entries:
            folder = cache_root() / entry.name
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise OutputError(
                    f"cannot delete {error.filename or folder}: {error.strerror or error}"
                ) from error
    return sum(entry.size for entry in entries)


def _hold(folder: Path, held: contextlib.ExitStack) -> None:
    """Take every lock in and beside a cache folder, without waiting."""
    import filelock

    beside = folder.with_name(folder.name + ".lock")
    for path in sorted(path for path in [*folder.rglob("*.lock"), beside] if path.is_file()):
        try:
            held.enter_context(filelock.FileLock(str(path), timeout=0))
        except filelock.Timeout as error:
            raise InputError(
                f"the cache's {folder.name!r} is in use: {path} is held; try again when that run has ended"
            ) from error
        except OSError as error:
            raise OutputError(f"cannot lock {path}: {error.strerror or error}") from error
