"""Soundness, tried at length: many random worlds, and the queries of TPC-DS and TPC-H typed before a session.

A proof is a file with a line for each part that is done; cut off at any moment it goes on with the parts that are
missing and ends with the same lines. Knows files and order; what is compared is in `proof` and `equality`.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

from firsthand.errors import InputError, OutputError
from firsthand.query.speql.config import Config
from firsthand.query.speql.engine import Connection
from firsthand.query.speql.equality import difference
from firsthand.query.speql.errors import QueryFailed, QueryInterrupted
from firsthand.query.speql.opening import open as open_session
from firsthand.query.speql.proof import prove_world
from firsthand.query.speql.session import Session
from firsthand.query.speql.traces import keystrokes, typed
from firsthand.query.speql.workload import (
    reflowed,
    tpcds_file,
    tpcds_queries,
    tpch_file,
    tpch_queries,
    with_literals,
)

__all__ = ["Proof", "prove_workload", "prove_worlds"]

_FILES = {"tpcds": tpcds_file, "tpch": tpch_file}
_QUERIES = {"tpcds": tpcds_queries, "tpch": tpch_queries}
_LIMIT_S = 2.0  # of a speculative query: what takes longer is given up, which is tried in this way too
_MOST_ROWS = 1e6  # that an unfinished text may have, by the engine's guess, to be asked

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Proof:
    """What was tried.

    Attributes:
        parts: worlds, or queries that were typed.
        pairs: of a text that was typed and a text that was asked after it.
        served: answers that came from tables made ahead.
        filled: answers of a workload that have rows at all; 0 of worlds, where they are not counted.
        differences: of answers that were not the text's own, with how they differ.
    """

    parts: int = 0
    pairs: int = 0
    served: int = 0
    filled: int = 0
    differences: tuple[str, ...] = ()

    def __add__(self, other: Proof) -> Proof:
        return Proof(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"differences": list(self.differences)}


def prove_worlds(pairs: int, path: str | Path, *, progress: Progress | None = None) -> Proof:
    """Random worlds 0, 1, 2 and so on, until so many pairs of a typed and an asked text were compared.

    Args:
        pairs: at least so many.
        path: a file of lines; what is in it already is not done again.
        progress: called with the pairs that are done and those that are wanted.

    Raises `InputError` for less than one pair or a file of something else, `OutputError` where it cannot be written.
    """
    if pairs < 1:
        raise InputError(f"{pairs} pairs are none; give 1 or more")
    found, seed = Proof(), 0
    with _Parts(path) as parts:
        while found.pairs < pairs:
            found = found + parts.get(f"world {seed}", partial(_world, seed))
            seed += 1
            if progress is not None:
                progress(min(found.pairs, pairs), pairs)
    return found


def prove_workload(
    workload: Literal["tpcds", "tpch"],
    path: str | Path,
    *,
    by: Literal["line", "character"] = "line",
    scale_factor: float = 0.01,
    queries: int | Sequence[int] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Proof:
    """Type queries before a session; submit each, what of it was a query by itself on the way, and an edited one.

    Args:
        workload: whose tables and queries.
        path: a file of lines; what is in it already is not done again.
        by: what is typed before the session has all the time it takes.
        scale_factor: of the tables.
        queries: how many, chosen by `seed`, or their numbers; None for all.
        seed: also of the constant that is changed in the edited text.
        progress: called with the queries that are done and all of them.

    Raises `InputError` for a workload or a way that there is none of, or a file of something else; `OutputError` where
    it cannot be written; `MissingDependencyError` without the generator of the tables.
    """
    if workload not in _FILES:
        raise InputError(f"there is no workload {workload!r}; there are {', '.join(_FILES)}")
    if by not in ("line", "character"):
        raise InputError(f"nothing is typed by {by!r}; give line or character")
    texts = {number: reflowed(sql) for number, sql in _QUERIES[workload]().items()}
    chosen = _chosen(sorted(texts), queries, seed)
    database = _FILES[workload](scale_factor)
    found = Proof()
    with _Parts(path) as parts:
        for done, number in enumerate(chosen, 1):
            name = f"{workload} sf{scale_factor:g} q{number} by {by} {seed}"
            found = found + parts.get(name, partial(_typed, texts[number], database, by, seed))
            if progress is not None:
                progress(done, len(chosen))
    return found


# --- parts ----------------------------------------------------------------------


class _Parts:
    """A file with a line for each part that is done."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._done: dict[str, Proof] = {}
        whole = 0
        try:
            lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    break  # it was cut off while it was written
                self._read(line, number)
                whole += len(line)
            self._file = self.path.open("ab")
            self._file.truncate(whole)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def get(self, name: str, make: Callable[[], Proof]) -> Proof:
        """A part: from the file, or made and written into it."""
        if name not in self._done:
            self._done[name] = make()
            line = json.dumps({"part": name, **self._done[name].as_dict()}, ensure_ascii=False)
            self._file.write(line.encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        return self._done[name]

    def _read(self, line: bytes, number: int) -> None:
        try:
            said = json.loads(line)
            name = said.pop("part")
            self._done[name] = Proof(**{**said, "differences": tuple(said["differences"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{self.path}, line {number}: no part of a proof; give another file") from error


def _world(seed: int) -> Proof:
    found = prove_world(seed)
    return Proof(1, found.pairs, found.served, 0, found.differences)


def _chosen(numbers: Sequence[int], wanted: int | Sequence[int] | None, seed: int) -> list[int]:
    if wanted is None:
        return list(numbers)
    if not isinstance(wanted, int):
        unknown = sorted(set(wanted) - set(numbers))
        if unknown or not wanted:
            said = f"no query {unknown[0]}" if unknown else "no queries"
            raise InputError(f"{said}; there are {numbers[0]} to {numbers[-1]}")
        return sorted(set(wanted))
    if not 1 <= wanted <= len(numbers):
        raise InputError(f"{wanted} queries of {len(numbers)}; give 1 to {len(numbers)}")
    return sorted(random.Random(f"queries {seed}").sample(list(numbers), wanted))


def _typed(text: str, database: Path, by: str, seed: int) -> Proof:
    """One query, typed from its first line or character to its last."""
    shown = keystrokes(text) if by == "character" else typed(text, last=len(text.splitlines()))
    edited = with_literals(text, seed + 1, database, which="last")
    config = Config(max_results=0, race=False, command_timeout_s=_LIMIT_S)
    with open_session(database, config=config, threads=1) as session:
        direct = session.engine.connect()
        found = Proof(parts=1)
        for now in shown[:-1]:
            session.edit(now)
            session.wait(120)
            if by == "line" and _light(direct, now):
                found = found + _asked(session, direct, now, _LIMIT_S)
        for last in dict.fromkeys((text, edited)):
            found = found + _asked(session, direct, last)
        session.edit(text)
        session.wait(120)
        return found + _asked(session, direct, text)


def _light(direct: Connection, text: str) -> bool:
    """Whether an unfinished text is a query by itself, and one to be asked: tables may be joined on nothing yet."""
    try:
        plan = direct.explain(text)
    except QueryFailed:
        return False
    return (plan.rows or 0) <= _MOST_ROWS and plan.crossed <= _MOST_ROWS


def _asked(session: Session, direct: Connection, text: str, limit_s: float | None = None) -> Proof:
    """One submission, compared with the text's own run; nothing where that takes longer than the limit."""
    try:
        wanted = direct.query(text, timeout_s=limit_s)
    except QueryInterrupted:
        return Proof()
    result = session.submit(text)
    said = difference(text, wanted, result.table, direct.query)
    differences = (f"{said}\n{text}\nran as\n{result.sql}",) if said else ()
    return Proof(0, 1, int(result.level == 1), int(wanted.num_rows > 0), differences)
