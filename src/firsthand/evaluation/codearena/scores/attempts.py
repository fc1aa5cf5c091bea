"""Attempts at problems: what everything else here is computed from, one by one and as columns.

Knows who tried which problem, whether every test case passed, how long the program ran, and when. Knows no points,
no database and no source code.

An attempt that is not counted (the judge's own fault, an aborted run) is kept and never enters a score. A compile
error is a counted attempt that did not solve the problem.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from firsthand.corpora.files import parquet_module
from firsthand.errors import FirsthandError, InputError, NotFoundError
from firsthand.evaluation.codearena.scores.columns import (
    arrow_column,
    as_float,
    first_of,
    flags_of,
    in_utc,
    is_number,
    names_of,
    plain_column,
    runtimes_of,
    times_of,
)

__all__ = ["Attempt", "AttemptSource", "Attempts", "Kind", "as_attempts", "read_attempts"]

Kind = Literal["llm", "human"]
KINDS: tuple[Kind, ...] = get_args(Kind)

AttemptSource = Any
"""What `as_attempts` reads: `Attempts`, a sequence of `Attempt` or of mappings, an Arrow table, a data frame, or a
mapping of columns."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One judged submission.

    Args:
        user: name of the account.
        problem: id of the problem.
        solved: whether every test case passed.
        runtime_ms: CPU time of the run steps, summed over cases, in ms, finite and not negative. An attempt that
            solved its problem has one.
        language: name of the programming language; needed where runtimes are compared within a language.
        submitted_at: when; a time without a zone is taken as UTC.
        counted: False where the judge was at fault or the run was aborted.
        kind: whether the account is a language model's ("llm") or a person's ("human").
        host_class: of the machine that timed it; runtimes of different classes are not compared. Those without one
            are compared with each other.

    Raises:
        InputError: a value that cannot be; the message names the attempt.
    """

    user: str
    problem: str
    solved: bool
    runtime_ms: float | None
    language: str | None = None
    submitted_at: datetime | None = None
    counted: bool = True
    kind: Kind = "llm"
    host_class: str | None = None

    def __post_init__(self) -> None:
        for name in ("user", "problem"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise InputError(f"{self._where}: {name} must be a text that is not empty, got {value!r}")
        for name in ("solved", "counted"):
            value = getattr(self, name)
            if not isinstance(value, bool | np.bool_):
                raise InputError(f"{self._where}: {name} must be true or false, got {value!r}")
            object.__setattr__(self, name, bool(value))
        for name in ("language", "host_class"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise InputError(f"{self._where}: {name} must be a text or left out, got {value!r}")
        if self.kind not in KINDS:
            raise InputError(f"{self._where}: kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.runtime_ms is None:
            if self.solved:
                raise InputError(f"{self._where}: it solved the problem, so it needs a runtime_ms")
        else:
            object.__setattr__(self, "runtime_ms", self._runtime(self.runtime_ms))
        if self.submitted_at is not None:
            if not isinstance(self.submitted_at, datetime):
                raise InputError(f"{self._where}: submitted_at must be a datetime, got {self.submitted_at!r}")
            object.__setattr__(self, "submitted_at", in_utc(self.submitted_at))

    def _runtime(self, value: object) -> float:
        if not is_number(value):
            raise InputError(f"{self._where}: runtime_ms must be a number of milliseconds, got {value!r}")
        runtime = as_float(value)
        if not (math.isfinite(runtime) and runtime >= 0):
            raise InputError(f"{self._where}: runtime_ms must be finite and not negative, got {runtime}")
        return runtime

    @property
    def _where(self) -> str:
        return f"attempt of {self.user!r} at {self.problem!r}"


_FIELDS = tuple(field.name for field in fields(Attempt))
_REQUIRED = ("user", "problem", "solved", "runtime_ms")


@dataclass(frozen=True, eq=False)
class Attempts:
    """Attempts as columns of equal length n, with names as places in sorted tuples.

    Made by `as_attempts` and `read_attempts`, which check every value.
    """

    users: tuple[str, ...]  # sorted, each once
    problems: tuple[str, ...]  # sorted, each once
    languages: tuple[str, ...]  # sorted, each once
    host_classes: tuple[str, ...]  # sorted, each once
    user: NDArray[np.intp]  # (n,) places in users
    problem: NDArray[np.intp]  # (n,) places in problems
    solved: NDArray[np.bool_]
    runtime_ms: NDArray[np.float64]  # NaN where there is none
    language: NDArray[np.intp]  # (n,) places in languages, -1 where there is none
    host_class: NDArray[np.intp]  # (n,) places in host_classes, -1 where there is none
    submitted_at: NDArray[np.datetime64]  # UTC, µs; NaT where there is none
    counted: NDArray[np.bool_]
    human: NDArray[np.bool_]  # (users,) whether a user is a person

    def __len__(self) -> int:
        return len(self.user)

    def __iter__(self) -> Iterator[Attempt]:
        times = self.submitted_at.astype(object)
        for row in range(len(self)):
            runtime = float(self.runtime_ms[row])
            yield Attempt(
                user=self.users[self.user[row]],
                problem=self.problems[self.problem[row]],
                solved=bool(self.solved[row]),
                runtime_ms=None if math.isnan(runtime) else runtime,
                language=None if self.language[row] < 0 else self.languages[self.language[row]],
                submitted_at=None if times[row] is None else times[row].replace(tzinfo=UTC),
                counted=bool(self.counted[row]),
                kind="human" if self.human[self.user[row]] else "llm",
                host_class=None if self.host_class[row] < 0 else self.host_classes[self.host_class[row]],
            )


def as_attempts(source: AttemptSource) -> Attempts:
    """Attempts as columns.

    Args:
        source: `Attempts`; a sequence of `Attempt`, or of mappings with its fields; a `pyarrow.Table`; a data frame
            (pandas, polars); or a mapping of such columns. `language`, `submitted_at`, `counted`, `kind` and
            `host_class` may be absent, fields of other names are passed over, and a time may be written in ISO 8601.

    Raises:
        InputError: a field that is missing, a value that cannot be, a user of two kinds; the message says where.
    """
    if isinstance(source, Attempts):
        return source
    if hasattr(source, "column_names"):  # a pyarrow.Table, without importing it
        return _from_columns(
            {name: arrow_column(source, name) if name in _FIELDS else () for name in source.column_names}
        )
    if isinstance(source, Mapping):
        return _from_columns(
            {name: plain_column(values) if name in _FIELDS else () for name, values in source.items()}
        )
    if hasattr(source, "columns"):
        return _from_columns(
            {name: plain_column(source[name]) if name in _FIELDS else () for name in source.columns}
        )
    if isinstance(source, str | bytes | Path) or not isinstance(source, Iterable):
        raise InputError(
            f"attempts must be a sequence, a table or a mapping of columns, got {type(source).__name__}; "
            "a file is read by read_attempts(path)"
        )
    rows = list(source)
    if all(isinstance(row, Attempt) for row in rows):
        return _from_columns(_columns_of_checked(rows), checked=True)
    return _from_columns(_columns_of(rows))


def read_attempts(path: Path | str) -> Attempts:
    """Attempts from a `.jsonl` file (one object a line) or a `.parquet` file, with the fields of `Attempt`.

    Raises:
        NotFoundError: no such file.
        InputError: another kind of file, a damaged one, or what `as_attempts` refuses.
        MissingDependencyError: Parquet without pyarrow.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file")
    if path.suffix not in (".jsonl", ".parquet"):
        raise InputError(f"{path}: attempts are read from .jsonl and .parquet files")
    try:
        if path.suffix == ".jsonl":
            return as_attempts(_json_lines(path))
        with path.open("rb") as stream:
            return as_attempts(parquet_module().read_table(stream))
    except FirsthandError as error:
        if isinstance(error, InputError) and not str(error).startswith(f"{path}:"):
            raise InputError(f"{path}: {error}") from error
        raise
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise InputError(f"{path}: cannot be read: {error}") from error


def _json_lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}:{number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}:{number}: a line must be a JSON object, not a {type(row).__name__}")
            rows.append(row)
    return rows


# --- columns -----------------------------------------------------------------------------------------


def _columns_of_checked(rows: Sequence[Attempt]) -> dict[str, Any]:
    """Columns of attempts whose values were looked at when they were made: no need to do so again."""
    columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in _FIELDS}
    for name, kind in (("solved", np.bool_), ("counted", np.bool_), ("runtime_ms", np.float64)):
        columns[name] = np.array(columns[name], kind)  # a runtime of None becomes NaN
    if all(time is None for time in columns["submitted_at"]):
        del columns["submitted_at"]
    return columns


def _columns_of(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Columns of mappings; a field that no row has stays absent, one that some lack is filled with defaults."""
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InputError(
                f"attempt {number}: expected an Attempt or a mapping of its fields, got {type(row).__name__}; "
                "one sequence holds one kind"
            )
        missing = [name for name in _REQUIRED[:3] if name not in row]
        if missing:
            raise InputError(f"attempt {number}: no field {missing[0]!r}; needed are {', '.join(_REQUIRED)}")
    defaults = {"counted": True, "kind": "llm"}
    return {
        name: [row.get(name, defaults.get(name)) for row in rows]
        for name in _FIELDS
        if name in _REQUIRED or any(name in row for row in rows)
    }


def _from_columns(columns: Mapping[Any, Any], *, checked: bool = False) -> Attempts:
    if not columns and not checked:
        columns = {name: [] for name in _REQUIRED}
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        there = ", ".join(map(str, columns)) or "none"
        raise InputError(f"no column {missing[0]!r} among the attempts' columns; there are: {there}")
    columns = {name: columns[name] for name in _FIELDS if name in columns}
    size = len(columns["user"])
    for name, values in columns.items():
        if len(values) != size:
            raise InputError(f"column {name!r} has {len(values)} rows, column 'user' has {size}")
    users, user = names_of("user", columns["user"])
    problems, problem = names_of("problem", columns["problem"])
    kinds, kind = names_of("kind", columns.get("kind", ["llm"] * size))
    unknown = [name for name in kinds if name not in KINDS]
    if unknown:
        raise InputError(
            f"attempt {first_of(kind == kinds.index(unknown[0]))}: kind must be one of {', '.join(KINDS)}, "
            f"got {unknown[0]!r}"
        )
    languages, language = names_of("language", columns.get("language", [None] * size), optional=True)
    classes, host_class = names_of("host_class", columns.get("host_class", [None] * size), optional=True)
    attempts = Attempts(
        users=users,
        problems=problems,
        languages=languages,
        host_classes=classes,
        user=user,
        problem=problem,
        solved=flags_of("solved", columns["solved"]),
        runtime_ms=runtimes_of(columns["runtime_ms"]),
        language=language,
        host_class=host_class,
        submitted_at=times_of(columns.get("submitted_at"), size),
        counted=flags_of("counted", columns["counted"]) if "counted" in columns else np.ones(size, np.bool_),
        human=_humans(users, user, np.array([name == "human" for name in kinds], np.bool_)[kind]),
    )
    if not checked:
        _check_runtimes(attempts)
    return attempts


def _check_runtimes(attempts: Attempts) -> None:
    runtime = attempts.runtime_ms
    for wrong, says in (
        (np.isinf(runtime) | (runtime < 0), "runtime_ms must be finite and not negative"),
        (attempts.solved & np.isnan(runtime), "it solved the problem, so it needs a runtime_ms"),
    ):
        if wrong.any():
            row = first_of(wrong)
            raise InputError(
                f"attempt {row} of {attempts.users[attempts.user[row]]!r} at "
                f"{attempts.problems[attempts.problem[row]]!r}: {says}, got {float(runtime[row])}"
            )


def _humans(users: tuple[str, ...], user: NDArray[np.intp], human: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(users,) whether each is a person; a user of two kinds is an error."""
    attempts = np.bincount(user, minlength=len(users))
    as_human = np.bincount(user, human, minlength=len(users))
    both = (as_human > 0) & (as_human < attempts)
    if both.any():
        raise InputError(
            f"user {users[first_of(both)]!r} is given as an llm and as a human; an account has one kind"
        )
    return as_human > 0
