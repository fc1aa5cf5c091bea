"""Rows of an export as they lie in files, each field checked, with words for where a wrong one is.

Knows JSON lines, Parquet and zip, and the tables of `exported`. Knows no database. What only the database can say
(names that are taken, rows that are not there) is left to it; what it would take and nobody could read again is
refused here.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from firsthand.corpora.files import parquet_module
from firsthand.errors import InputError
from firsthand.evaluation.codearena.errors import ArenaError
from firsthand.evaluation.codearena.grading.sandboxed import check_checker
from firsthand.evaluation.codearena.refusals import InvalidRequest
from firsthand.evaluation.codearena.service.exported import EXPORTED, Exported, Row
from firsthand.evaluation.codearena.service.schemas import moment
from firsthand.evaluation.codearena.store.accounts import NAME_PATTERN
from firsthand.evaluation.codearena.store.collection import PID_PATTERN, Problem
from firsthand.evaluation.codearena.store.texts import checked_source, checked_text

__all__ = ["FORMAT", "VERSION", "line_rows", "parquet_rows", "unpacked"]

FORMAT, VERSION = "firsthand-codearena", 1
SID_PATTERN = r"[0-9A-HJKMNP-TV-Z]{26}"
_BATCH = 5000  # rows that are held at once
_LONGEST = (
    1 << 24
)  # bytes of a program; the arena that wrote the file may have had a higher limit than this one
_PROBLEM = {field.name for field in fields(Problem)}


def line_rows(path: Path) -> Iterator[tuple[str, Exported, Row]]:
    """(where it is, its table, the row) of a file of JSON lines."""
    count = _Count(str(path))
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                where = f"{path}, line {number}"
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise InputError(f"{where}: not JSON: {error}") from error
                if not isinstance(row, dict):
                    raise InputError(f"{where}: a line must be a JSON object")
                if "format" in row:
                    count.expect(where, row)
                    continue
                table = _table(where, row.pop("table", None))
                yield where, table, _checked(where, table, row)
                count.seen[table.name] += 1
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    count.check()


class _Count:
    """How many rows of each table came, and how many the head said there are."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._expected: dict[str, int] = {}
        self.seen = dict.fromkeys(EXPORTED, 0)

    def expect(self, where: str, head: Mapping[str, Any]) -> None:
        """Read a head."""
        _check_head(where, head)
        rows = head.get("rows", {})
        if not isinstance(rows, dict) or not all(
            name in EXPORTED and isinstance(count, int) for name, count in rows.items()
        ):
            raise InputError(f"{where}: rows must say how many there are of each table, got {rows!r}")
        self._expected = rows

    def check(self) -> None:
        """Raise where rows are missing or too many."""
        for name, count in self._expected.items():
            if self.seen[name] != count:
                raise InputError(
                    f"{self._where}: not whole: it should have {count} rows of {name} and has {self.seen[name]}; "
                    "export again, or copy again"
                )


def _check_head(where: str, head: Mapping[str, Any]) -> None:
    if head.get("format") != FORMAT or str(head.get("version")) != str(VERSION):
        raise InputError(
            f"{where}: this is {head.get('format')!r}, version {head.get('version')!r}; "
            f"{FORMAT!r}, version {VERSION} can be read"
        )


def _table(where: str, name: Any) -> Exported:
    if not isinstance(name, str) or name not in EXPORTED:
        raise InputError(f"{where}: table must be one of {', '.join(EXPORTED)}, got {name!r}")
    return EXPORTED[name]


def unpacked(path: Path, folder: Path) -> Path:
    """`folder` with the files of a zip file."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.removesuffix(".parquet") not in EXPORTED or not name.endswith(".parquet"):
                    raise InputError(f"{path}: {name!r} is none of an arena's files")
                archive.extract(name, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    return folder


def parquet_rows(folder: Path, shown: Path | None = None) -> Iterator[tuple[str, Exported, Row]]:
    """(where it is, its table, the row) of a folder of Parquet files; `shown`: what messages call the folder."""
    parquet, shown = parquet_module(), shown or folder
    files = {file.stem: file for file in sorted(folder.glob("*.parquet"))}
    if not files:
        raise InputError(f"{shown}: there is no .parquet file in it")
    for name in files:
        _table(str(shown), name)
    count = _Count(str(shown))
    for name, table in EXPORTED.items():
        if name not in files:
            continue
        file_shown = f"{shown}/{name}.parquet"
        try:
            with parquet.ParquetFile(files[name]) as file:
                count.expect(file_shown, _described(file_shown, file.schema_arrow.metadata))
                number = 0
                for batch in file.iter_batches(_BATCH):
                    for row in batch.to_pylist():
                        where = f"{file_shown}, row {number}"
                        number += 1
                        yield where, table, _checked(where, table, _from_arrow(where, table, row))
                count.seen[name] = number
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{file_shown}: cannot be read: {error}") from error
    count.check()


def _described(where: str, metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """The head that a Parquet file has for its metadata."""
    head: dict[str, Any] = {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in (metadata or {}).items()
    }
    if "rows" in head:
        try:
            head["rows"] = json.loads(head["rows"])
        except ValueError as error:
            raise InputError(f"{where}: its rows are not JSON: {error}") from error
    return head


def _from_arrow(where: str, table: Exported, row: Row) -> Row:
    found = dict(row)
    for name, value in row.items():
        if isinstance(value, datetime):
            found[name] = value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        elif table.fields.get(name) == "json" and isinstance(value, str):
            try:
                found[name] = json.loads(value)
            except ValueError as error:
                raise InputError(f"{where}: {name} is not JSON: {error}") from error
    return found


def _checked(where: str, table: Exported, row: Row) -> Row:
    """The row with exactly the table's fields, each of its kind, times in one form."""
    for name in row:
        if name not in table.fields:
            raise InputError(f"{where}: {table.name} has no field {name!r}")
    found: Row = {}
    for name, kind in table.fields.items():
        value = row.get(name)
        if value is None:
            if name not in table.optional:
                raise InputError(f"{where}: {table.name} needs the field {name!r}")
            found[name] = None
            continue
        try:
            found[name] = _READ[kind](value)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{where}: {table.name}.{name} must be {kind}: {error}") from error
    try:
        _check_content(table.name, found)
    except ArenaError as error:
        raise InputError(f"{where}: {error}") from error
    return found


def _check_content(table: str, row: Row) -> None:
    """Names that addresses can carry, problems that can be judged, programs that can be stored."""
    patterns = {
        "account": ("name", NAME_PATTERN), "problem": ("pid", PID_PATTERN), "submission": ("sid", SID_PATTERN),
    }  # fmt: skip
    if table in patterns:
        field, pattern = patterns[table]
        if not re.fullmatch(pattern, row[field]):
            raise InvalidRequest(f"{table}.{field} must match {pattern}, got {row[field]!r}")
    if table == "problem_edition":
        Problem(**{name: row[name] for name in _PROBLEM if name in row})
        check_checker(row["checker"], row["checker_source"], row["checker_language"])
    if table in ("submission", "canonical", "generator"):
        checked_source(row["source"], limit=_LONGEST, what=f"{table}.source")
        checked_text(row["language"], f"{table}.language", 32, fault=InvalidRequest)


def _read_text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError("it is no text, or has a NUL character")
    value.encode()  # half of a surrogate pair
    return value


def _read_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise TypeError(f"got {value!r}")
    return value


def _read_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"got {value!r}")
    return float(value)


def _read_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"got {value!r}")
    return value


def _read_time(value: Any) -> str:
    found = moment(value)
    assert isinstance(found, datetime)
    return found.isoformat().replace("+00:00", "Z")


def _read_json(value: Any) -> Any:
    if not isinstance(value, dict):
        raise TypeError("it is no object")
    return value


_READ = {
    "text": _read_text, "int": _read_int, "float": _read_float, "bool": _read_bool, "time": _read_time,
    "json": _read_json,
}  # fmt: skip
