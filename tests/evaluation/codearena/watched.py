"""What tests of judges in other processes share: how they are set up, and waiting for what they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.store.judges import JudgeSettings

HERE = "tests.evaluation.codearena.scripted"
GRADER = f"{HERE}:ScriptedGrader"
LEASE_S = 3.0


def until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait for what has to come; the time is only for giving up."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def settings_of(arena: Arena) -> JudgeSettings:
    url = arena.database.engine.url.render_as_string(hide_password=False)
    return JudgeSettings(url, grader=GRADER, lease_s=LEASE_S)


def judged_once(arena: Arena, sids: list[str]) -> bool:
    """Whether all are judged; and none twice."""
    found = [arena.submission(sid) for sid in sids]
    assert all(arena.submissions.judgements(sid) <= 1 for sid in sids)
    return all(one.state == "done" for one in found)


def lives(pid: int) -> bool:
    """Whether there is such a process, and not only what is left of it until its parent asks."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that these started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found = list(children.get(pid, []))
    for one in found:
        found += children.get(one, [])
    return found
