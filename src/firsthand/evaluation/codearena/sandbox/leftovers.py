"""Folders that belong to one running process, and the removal of those whose process was killed.

A folder's owner holds a lock on it (`flock`) as long as it lives, whichever way it ends; a folder that can be locked
therefore belongs to nobody. This holds across PID namespaces, where a process id means nothing, and in the cgroup file
system as well as on a disk. Knows nothing of what the folders are for.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["PREFIX", "LockedFolder", "abandoned"]

PREFIX = "firsthand-judge-"


class LockedFolder:
    """A new folder with a name of its own, locked until `release` or this process's end. It is not removed here."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    @classmethod
    def create(cls, parent: Path, *, mode: int = 0o711) -> LockedFolder:
        """Make and lock a folder in `parent`; raises `OSError` where that may not be."""
        while True:
            path = parent / f"{PREFIX}{secrets.token_hex(6)}"
            path.mkdir(mode)
            path.chmod(mode)  # the process's umask has no say: the sandbox's user has to pass through
            lock = _lock(path)
            if lock is not None:
                return cls(path, lock)  # else a sweep came between the two steps, and removes it

    def release(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _lock(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def abandoned(parent: Path, remove: Callable[[Path], None]) -> Iterator[str]:
    """Call `remove` on each folder in `parent` that a dead process left, and give their names."""
    for path in sorted(parent.glob(f"{PREFIX}*")):
        try:
            if path.stat(follow_symlinks=False).st_uid != os.geteuid():
                continue
        except FileNotFoundError:  # its owner removed it just now
            continue
        lock = _lock(path)
        if lock is not None:
            try:
                remove(path)
                yield path.name
            finally:
                os.close(lock)
