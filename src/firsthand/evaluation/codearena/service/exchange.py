"""Everything out and in again: JSON lines, or Parquet with a file for each table.

    {"format": "firsthand-codearena", "version": 1, "exported_at": ..., "rows": {"account": 8, ...}}
    {"table": "account", "name": ..., "kind": ..., ...}
    {"table": "problem", ...}

An export is of one moment, and its head says how many rows there are, so that half a file is not taken for a whole one;
JSON lines that somebody wrote may do without the head. An import happens wholly or not at all. Into an arena that has
something already, rows that are there are passed over if they are the same, and are an error if they are not; the rest
is added. Scores are computed afresh, and what was waiting for a judge waits again.

Knows files. What the tables are is known to `exported`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DataError, IntegrityError

from firsthand.corpora.files import parquet_module
from firsthand.errors import InputError, NotFoundError, OutputError
from firsthand.evaluation.codearena.service.exported import (
    EXPORTED,
    Exported,
    Ids,
    Kind,
    Row,
    digest,
    read_rows,
    write_row,
)
from firsthand.evaluation.codearena.service.imported import FORMAT, VERSION, line_rows, parquet_rows, unpacked
from firsthand.evaluation.codearena.store import tables
from firsthand.evaluation.codearena.store.database import Database
from firsthand.evaluation.codearena.store.queue import CASES_FIRST, FRESH, REPEATED, Queue
from firsthand.evaluation.codearena.store.rescoring import rescore_all

__all__ = ["Format", "export_arena", "export_file", "import_arena"]

Format = Literal["jsonl", "parquet"]
_BATCH = 5000  # rows that are held at once


# --- out -----------------------------------------------------------------------------------------------------


def export_arena(database: Database, path: Path | str) -> dict[str, int]:
    """Write everything but secrets.

    Args:
        path: a `.jsonl` file, a `.zip` file of Parquet files, or a folder for them, which must be new or empty.

    Returns:
        How many rows each table has.

    Raises:
        InputError: the folder has something in it.
        OutputError: writing failed; nothing half-written is left behind.
        MissingDependencyError: Parquet without pyarrow.
    """
    path = Path(path)
    if path.suffix in (".jsonl", ".zip"):
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            try:
                write = _write_lines if path.suffix == ".jsonl" else _write_zip
                counts = write(database, beside)
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        return counts
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} is not an empty folder; name a new one, a .jsonl file or a .zip file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as part:
            counts = _write_parquet(database, Path(part) / "arena")
            if path.exists():
                path.rmdir()
            (Path(part) / "arena").rename(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    return counts


def export_file(database: Database, form: Format) -> Path:
    """A file with everything, in a folder of its own that only this user may look into, and that the caller deletes."""
    folder = Path(tempfile.mkdtemp(prefix="firsthand-arena-"))
    path = folder / ("arena.jsonl" if form == "jsonl" else "arena.zip")
    try:
        export_arena(database, path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return path


def _head(connection: Connection) -> dict[str, Any]:
    rows = {
        name: connection.execute(select(func.count()).select_from(table.target)).scalar_one()
        for name, table in EXPORTED.items()
    }
    return {"format": FORMAT, "version": VERSION, "exported_at": datetime.now(UTC).isoformat(), "rows": rows}


def _write_lines(database: Database, path: Path) -> dict[str, int]:
    counts = dict.fromkeys(EXPORTED, 0)
    with path.open("w", encoding="utf-8", newline="\n") as file, database.read() as connection:
        file.write(json.dumps(_head(connection)) + "\n")
        for name, table in EXPORTED.items():
            for row in read_rows(connection, table):
                file.write(json.dumps({"table": name, **row}, ensure_ascii=False, allow_nan=False) + "\n")
                counts[name] += 1
    return counts


def _write_zip(database: Database, path: Path) -> dict[str, int]:
    with tempfile.TemporaryDirectory(prefix="firsthand-arena-") as folder:
        counts = _write_parquet(database, Path(folder))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # Parquet is compressed already
            for file in sorted(Path(folder).iterdir()):
                archive.write(file, file.name)
    return counts


def _write_parquet(database: Database, folder: Path) -> dict[str, int]:
    parquet = parquet_module()
    import pyarrow as pa

    kinds = {
        "text": pa.large_string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(),
        "time": pa.timestamp("us", "UTC"), "json": pa.large_string(),
    }  # fmt: skip
    counts = {}
    folder.mkdir(exist_ok=True)
    with database.read() as connection:
        head = _head(connection)
        described = {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in head.items()
        }
        for name, table in EXPORTED.items():
            schema = pa.schema(
                [
                    pa.field(field, kinds[kind], field in table.optional)
                    for field, kind in table.fields.items()
                ],
                described,
            )
            counts[name] = 0
            with parquet.ParquetWriter(folder / f"{name}.parquet", schema) as writer:
                for batch in _batches(read_rows(connection, table)):
                    columns = {
                        field: [_for_arrow(row[field], kind) for row in batch]
                        for field, kind in table.fields.items()
                    }
                    writer.write_table(pa.table(columns, schema))
                    counts[name] += len(batch)
    return counts


def _for_arrow(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    if kind == "time":
        return datetime.fromisoformat(value)
    return json.dumps(value) if kind == "json" else value


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


# --- in ------------------------------------------------------------------------------------------------------


def import_arena(database: Database, path: Path | str) -> dict[str, int]:
    """Read what `export_arena` wrote, or a file of the same form with some of the tables.

    Args:
        path: a `.jsonl` file, a `.zip` file or a folder of Parquet files.

    Returns:
        How many rows were added to each table.

    Raises:
        NotFoundError: no such file.
        InputError: another kind of file, a damaged one, a row that cannot be or contradicts what is there; the message
            says which. Nothing was imported.
        MissingDependencyError: Parquet without pyarrow.
    """
    path = Path(path)
    if not path.exists():
        raise NotFoundError(f"{path}: no such file or folder")
    if path.is_dir():
        rows = parquet_rows(path)
    elif path.suffix == ".jsonl":
        rows = line_rows(path)
    elif path.suffix == ".zip":
        with tempfile.TemporaryDirectory(prefix="firsthand-arena-") as folder:
            return _imported(database, parquet_rows(unpacked(path, Path(folder)), shown=path), path)
    else:
        raise InputError(
            f"{path}: an arena is read from a .jsonl file, a .zip file, or a folder of .parquet files"
        )
    return _imported(database, rows, path)


def _imported(database: Database, rows: Iterator[tuple[str, Exported, Row]], path: Path) -> dict[str, int]:
    counts = dict.fromkeys(EXPORTED, 0)
    there: dict[str, dict[str, str]] = {}
    order = list(EXPORTED)
    last = 0
    with database.write() as connection:
        ids = Ids(connection)
        for where, table, row in rows:
            place = order.index(table.name)
            if place < last:
                raise InputError(f"{where}: a row of {table.name} comes after one of {order[last]}")
            last = place
            if table.name not in there:
                there[table.name] = {
                    _key(table, known): digest(known) for known in list(read_rows(connection, table))
                }
                _remember(ids, connection, table)
            before = there[table.name].get(_key(table, row))
            if before is not None:
                if before != digest(row):
                    named = ", ".join(str(row[name]) for name in table.key)
                    raise InputError(f"{where}: {table.name} {named} is there already, with other content")
                continue
            try:
                write_row(connection, ids, table, row)
            except (IntegrityError, DataError) as error:
                raise InputError(f"{where}: the database refuses it: {_reason(error)}") from error
            except InputError as error:
                raise InputError(f"{where}: {error}") from error
            counts[table.name] += 1
        _check_whole(connection, path)
        _take_up(connection, Queue(database))
    return counts


def _remember(ids: Ids, connection: Any, table: Exported) -> None:
    """Numbers of generators and judgements that are there, by the names that an export gives them."""
    if table.name not in ("test_case", "case_result"):
        return
    named = EXPORTED["generator" if table.name == "test_case" else "judgement"]
    order = (named.target.c.problem_id, named.target.c.id) if named.name == "generator" else (
        named.target.c.submission_id, named.target.c.id,
    )  # fmt: skip
    numbers = connection.execute(select(named.target.c.id).order_by(*order)).scalars().all()
    known = ids.generators if named.name == "generator" else ids.judgements
    for row, number in zip(list(read_rows(connection, named)), numbers, strict=True):
        known[row[named.key[0]], row["number"]] = number


def _key(table: Exported, row: Row) -> str:
    return json.dumps([row[name] for name in table.key], sort_keys=True)


def _reason(error: IntegrityError | DataError) -> str:
    return str(error.orig).strip().splitlines()[0]


def _check_whole(connection: Any, path: Path) -> None:
    """Every problem has the edition that it says it is in."""
    lacking = connection.execute(
        select(tables.problem.c.pid)
        .outerjoin(
            tables.problem_edition,
            (tables.problem_edition.c.problem_id == tables.problem.c.id)
            & (tables.problem_edition.c.edition == tables.problem.c.edition),
        )
        .where(tables.problem_edition.c.edition.is_(None))
    ).scalar()
    if lacking is not None:
        raise InputError(
            f"{path}: problem {lacking!r} comes without its current edition (a row of problem_edition)"
        )


def _take_up(connection: Any, queue: Queue) -> None:
    """Compute all scores, and queue what waits for a judge."""
    rescore_all(connection)
    waiting = connection.execute(
        select(
            tables.submission.c.id,
            tables.submission.c.problem_id,
            tables.submission.c.verdict,
            tables.submission.c.language,
        )
        .where(tables.submission.c.state.not_in(("done", "failed")))
        .order_by(tables.submission.c.id)
    ).all()
    for row in waiting:
        queue.add(
            connection, "submission", problem_id=row.problem_id, submission_id=row.id,
            priority=FRESH if row.verdict is None else REPEATED, language=row.language,
        )  # fmt: skip
    pending = select(tables.test_case.c.problem_id).where(tables.test_case.c.state == "pending").distinct()
    for problem_id in connection.execute(pending).scalars().all():
        queue.add(connection, "cases", problem_id=problem_id, priority=CASES_FIRST)
