"""What runs on this machine, seen from outside of any box."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

_NUMBERS = itertools.count()


def long_time() -> str:
    """How long something sleeps that is to be found again: no other program has this argument."""
    return f"{10**6 + os.getpid()}.{next(_NUMBERS)}"


def running(word: str) -> list[int]:
    """The processes whose command line has this word as an argument of its own; not those that have just ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if word.encode() in arguments:
            found.append(int(path.parent.name))
    return found


def mentioning(text: str) -> list[int]:
    """The processes in whose command line this text is somewhere."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_until(holds: Callable[[], object], patience_s: float = 60.0) -> None:
    """Fails where something does not come about; how long it may take says nothing about how long it takes."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)
