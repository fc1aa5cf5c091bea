"""Typing that was recorded, and typed again: the same snapshots and submissions against any session.

A trace is JSONL, an event a line: `{"at_ms": 0, "kind": "edit", "text": "SELECT", "cursor": 6}`. An edit may hold what
changed alone, `"replace": [start, end]` in code points of the text before, with `text` in its place; a submission
without `text` submits what the editor holds. A trace holds what was typed, constants too, and no data.

Clocks: "recorded" waits as the trace says, "human" types 5 characters a second and rests a second at each new line,
"ample" waits after each event until nothing is left to do. With the last one a replay is the same each time: levels,
views and answers.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from firsthand.errors import FirsthandError, InputError, NotFoundError, OutputError
from firsthand.launch.cache import write_atomically
from firsthand.query.speql.config import Config
from firsthand.query.speql.equality import rows_of_table
from firsthand.query.speql.happenings import Event, Result, Snapshot, now_ms
from firsthand.query.speql.opening import open
from firsthand.query.speql.session import Session

__all__ = [
    "Clock",
    "Replay",
    "ReplayReport",
    "TraceEvent",
    "TraceRecorder",
    "example_traces",
    "human_ms",
    "keystrokes",
    "read_trace",
    "replay",
    "replay_on",
    "typed",
    "write_trace",
]

Clock = Literal["recorded", "human", "ample"]
_KINDS = ("edit", "submit", "cancel")
_MS_A_CHARACTER, _MS_A_LINE = 200.0, 1000.0


@dataclass(frozen=True)
class TraceEvent:
    """Something that a person did.

    Attributes:
        at_ms: milliseconds from the trace's start.
        kind: "edit", "submit" or "cancel".
        text: all that the editor holds, or the query that is submitted; "" of a cancel.
        cursor: in code points; the text's end for a submission.
    """

    at_ms: float
    kind: Literal["edit", "submit", "cancel"]
    text: str = ""
    cursor: int = 0


# --- typing ----------------------------------------------------------------------


def typed(text: str, *, last: int = 20) -> list[str]:
    """What an editor holds while the last lines of a text are typed, a line at a time (the paper's protocol, §5.2)."""
    if last < 1:
        raise InputError(f"the last {last} lines are none; give 1 or more")
    lines = text.splitlines()
    return ["\n".join(lines[:count]) for count in range(max(len(lines) - last, 1), len(lines) + 1)]


def keystrokes(text: str) -> list[str]:
    """The same, character by character, from the first to the whole text."""
    return [text[: place + 1] for place in range(len(text))]


def human_ms(before: str, after: str) -> float:
    """Milliseconds in which a person turns one text into another: 5 characters a second, and a second a new line.

    What is taken out counts a character as what is put in.
    """
    start, end, new = _change(before, after)
    return _MS_A_CHARACTER * (end - start + len(new)) + _MS_A_LINE * new.count("\n")


def _change(before: str, after: str) -> tuple[int, int, str]:
    """The piece [start, end) of the first text, and what stands in its place in the second."""
    most = min(len(before), len(after))
    start = next((n for n in range(most) if before[n] != after[n]), most)
    tail = next((n for n in range(most - start) if before[-1 - n] != after[-1 - n]), most - start)
    return start, len(before) - tail, after[start : len(after) - tail]


# --- files ----------------------------------------------------------------------


def _line(event: TraceEvent, before: str) -> str:
    """An event as a line, what changed alone where that is shorter."""
    found: dict[str, Any] = {"at_ms": round(event.at_ms, 1), "kind": event.kind}
    if event.kind == "edit":
        start, end, new = _change(before, event.text)
        if len(new) + 16 < len(event.text):
            found |= {"replace": [start, end], "text": new}
        else:
            found["text"] = event.text
        found["cursor"] = event.cursor
    elif event.kind == "submit" and event.text != before:
        found["text"] = event.text
    return json.dumps(found, ensure_ascii=False)


def write_trace(path: str | Path, events: Iterable[TraceEvent]) -> None:
    """Write a trace; raises `OutputError` and leaves nothing half-written where it cannot."""
    lines, held = [], ""
    for event in events:
        lines.append(_line(event, held) + "\n")
        held = event.text if event.kind == "edit" else held
    write_atomically(Path(path), "".join(lines))


def read_trace(path: str | Path) -> tuple[TraceEvent, ...]:
    """Read a trace.

    Raises `NotFoundError` where there is none, `InputError` with the line's number where one is no event.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{path} is not there; give a file, or one of {', '.join(example_traces())}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a trace: {error}") from error
    found: list[TraceEvent] = []
    held = ""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = _event(json.loads(line), held)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}, line {number}: no event of a trace ({error})") from error
        if found and event.at_ms < found[-1].at_ms:
            raise InputError(f"{path}, line {number}: at {event.at_ms:g} ms, before the line above it")
        found.append(event)
        held = event.text if event.kind == "edit" else held
    return tuple(found)


def _event(said: Mapping[str, Any], held: str) -> TraceEvent:
    kind = said["kind"]
    if kind not in _KINDS:
        raise ValueError(f"kind {kind!r} is none of {', '.join(_KINDS)}")
    text = "" if kind == "cancel" else said.get("text", held)
    if kind == "edit" and "replace" in said:
        start, end = said["replace"]
        if not 0 <= start <= end <= len(held):
            raise ValueError(f"[{start}, {end}] is outside a text of {len(held)} characters")
        text = held[:start] + said["text"] + held[end:]
    elif kind == "edit":
        text = said["text"]
    if not isinstance(text, str):
        raise TypeError("text is no text")
    cursor = int(said.get("cursor", len(text)))
    if not 0 <= cursor <= len(text):
        raise ValueError(f"the cursor is at {cursor} in a text of {len(text)} characters")
    return TraceEvent(float(said["at_ms"]), kind, text, cursor)


def example_traces() -> dict[str, Path]:
    """The traces that come with the library, by name: "exploring-tpch" and "fixing-mistakes", both on TPC-H."""
    folder = Path(str(files("firsthand.query.speql"))) / "recorded"
    return {path.stem: path for path in sorted(folder.glob("*.jsonl"))}


class TraceRecorder:
    """Stands before a session and writes down what is done with it; every line is on disk before the session hears it.

    As a context manager it closes its file, not the session. Raises `OutputError` where the file cannot be written, and
    `InputError` where there is one already.
    """

    def __init__(self, session: Session, path: str | Path) -> None:
        self.session = session
        self._held, self._start = "", now_ms()
        self._lock = threading.Lock()
        try:
            self._file = Path(path).open("x", encoding="utf-8")  # noqa: SIM115 - closed by `close`
        except FileExistsError as error:
            raise InputError(f"{path} is there already; a recording begins a file of its own") from error
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error

    def __enter__(self) -> TraceRecorder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def edit(self, sql: str, cursor: int | None = None) -> Snapshot:
        """As `Session.edit`."""
        self._note("edit", sql, len(sql) if cursor is None else cursor)
        return self.session.edit(sql, cursor)

    def submit(self, sql: str, *, timeout_s: float | None = None) -> Result:
        """As `Session.submit`."""
        self._note("submit", sql, len(sql))
        return self.session.submit(sql, timeout_s=timeout_s)

    def cancel(self) -> None:
        """As `Session.cancel`."""
        self._note("cancel", "", 0)
        self.session.cancel()

    def _note(self, kind: Literal["edit", "submit", "cancel"], text: str, cursor: int) -> None:
        with self._lock:
            self._file.write(_line(TraceEvent(now_ms() - self._start, kind, text, cursor), self._held) + "\n")
            self._file.flush()
            self._held = text if kind == "edit" else self._held

    def close(self) -> None:
        """End the recording; safe to call twice."""
        self._file.close()


# --- replay ----------------------------------------------------------------------


@dataclass(frozen=True)
class Replay:
    """What came of one submission.

    Attributes:
        sql: as it was submitted.
        level: see `Result`; None also where it failed.
        views: short keys of the speculative tables that were read.
        rows: of the answer.
        answer: a digest of its rows as a bag, numbers in double precision at nine digits; "" where it failed.
        plan_ms, exec_ms, made_ms: see `Result`.
        error: what it raised, "" where it did not.
        result: the answer itself.
    """

    sql: str
    level: int | None
    views: tuple[str, ...]
    rows: int
    answer: str
    plan_ms: float
    exec_ms: float
    made_ms: float
    error: str = ""
    result: Result | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class ReplayReport:
    """What came of a trace.

    Attributes:
        clock: that it was typed by.
        speculate: whether anything was made ahead.
        submissions: in order.
        edits, previews: how many snapshots there were, and how many of them led to a preview.
        tables: speculative tables that were made.
        seconds: that it took.
    """

    clock: Clock
    speculate: bool
    submissions: tuple[Replay, ...]
    edits: int
    previews: int
    tables: int
    seconds: float

    def outcome(self) -> tuple[tuple[Any, ...], ...]:
        """What does not hang on how long anything took: of each submission level, views, rows, digest and error."""
        return tuple((one.level, one.views, one.rows, one.answer, one.error) for one in self.submissions)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        kept = ("sql", "level", "views", "rows", "answer", "plan_ms", "exec_ms", "made_ms", "error")
        return {
            "clock": self.clock, "speculate": self.speculate, "edits": self.edits, "previews": self.previews,
            "tables": self.tables, "seconds": self.seconds,
            "submissions": [{name: getattr(one, name) for name in kept} for one in self.submissions],
        }  # fmt: skip


def replay(
    trace: Sequence[TraceEvent] | str | Path,
    session: Session,
    *,
    clock: Clock = "recorded",
    speculate: bool = True,
    pause: Callable[[float], None] = time.sleep,
    patience_s: float = 60.0,
) -> ReplayReport:
    """Do again what a trace holds. A submission that fails is noted, and the next event comes.

    Args:
        trace: events, or a file of them.
        session: which is not closed. For the "ample" clock to give the same each time it needs `Config(race=False)`:
            a race between an answer and its rewriting has no winner that is certain.
        clock: see above.
        speculate: whether edits are told to the session; a session with `Config(speculate=False)` tells nothing ahead
            either way, nor keeps answers.
        pause: waits that many seconds.
        patience_s: seconds that the "ample" clock waits for one event's work.

    Raises `InputError` for an unknown clock or a bad trace.
    """
    if clock not in ("recorded", "human", "ample"):
        raise InputError(f"there is no clock {clock!r}; there are recorded, human and ample")
    events = read_trace(trace) if isinstance(trace, str | Path) else tuple(trace)
    heard: list[Event] = []
    end = session.listen(heard.append)
    start = now_ms()
    found: list[Replay] = []
    held, due, edits = "", 0.0, 0
    try:
        for event in events:
            if clock != "ample":
                due = event.at_ms if clock == "recorded" else due + _human_due(event, held)
                pause(max(0.0, due - (now_ms() - start)) / 1e3)
            if event.kind == "edit":
                held, edits = event.text, edits + 1
                if speculate:
                    session.edit(event.text, event.cursor)
            elif event.kind == "cancel":
                session.cancel()
            else:
                found.append(_submitted(session, event.text, heard))
            if clock == "ample":
                session.wait(patience_s)
    finally:
        end()
    count = {kind: sum(one.kind == kind for one in heard) for kind in ("preview", "view_created")}
    return ReplayReport(
        clock, speculate and session.config.speculate, tuple(found), edits, count["preview"], count["view_created"],
        (now_ms() - start) / 1e3,
    )  # fmt: skip


def replay_on(
    trace: str | Path,
    source: str | Path,
    *,
    clock: Clock = "ample",
    speculate: bool = True,
    config: Config | None = None,
    threads: int | None = None,
) -> ReplayReport:
    """Replay a trace on a database, in a session of its own.

    Args:
        trace: a file, or the name of one of `example_traces`.
        source: see `speql.open`.
        clock: see above; the "ample" one switches races off, so that it gives the same each time.
        speculate: False answers each submission as it comes.
        config: of the session.
        threads: DuckDB's; the same answer to the last digit each time takes one.
    """
    events = read_trace(example_traces().get(str(trace), Path(trace)))
    chosen = {**(config or Config()).model_dump(), "speculate": speculate}
    if clock == "ample":
        chosen["race"] = False
    with open(source, config=Config(**chosen), threads=threads) as session:
        return replay(events, session, clock=clock)


def _human_due(event: TraceEvent, held: str) -> float:
    return human_ms(held, event.text) if event.kind == "edit" else 0.0


def _submitted(session: Session, sql: str, heard: Sequence[Event]) -> Replay:
    try:
        result = session.submit(sql)
    except FirsthandError as error:
        return Replay(
            sql, None, (), 0, "", 0.0, 0.0, 0.0, f"{type(error).__name__}: {error}".partition("\n")[0]
        )
    keys = {one.data["id"]: one.data["key"] for one in list(heard) if one.kind == "view_created"}
    views = tuple(sorted(_short(keys.get(number, "")) for number in result.used))
    return Replay(
        sql, result.level, views, result.table.num_rows, _digest(result.table), result.plan_ms, result.exec_ms,
        result.made_ms, result=result,
    )  # fmt: skip


def _digest(table: Any) -> str:
    rows = sorted(
        "\t".join(f"{value:.9g}" if isinstance(value, float) else str(value) for value in row)
        for row in rows_of_table(table)
    )
    return _short("\n".join(["\t".join(table.column_names), *rows]))


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
