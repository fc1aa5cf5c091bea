"""DuckDB: a file opened to be read, or a folder of Parquet, CSV and JSON files.

An in-memory database is the main one; the user's file is attached to it read-only, and speculative tables lie beside it
in a schema of the memory that every cursor sees. Nothing outside the file or the folder can be read or written: access
to files is switched off and the configuration is locked once both are open.
"""

from __future__ import annotations

import contextlib
import json
import math
import weakref
from collections.abc import Collection, Hashable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from firsthand.errors import InputError, MissingDependencyError, NotFoundError
from firsthand.query.speql.engine import Filled, Plan, refuse_all_but_one_query
from firsthand.query.speql.errors import QueryFailed, QueryInterrupted, UnsafeStatement
from firsthand.query.speql.reasoning import VOLATILE
from firsthand.query.speql.schema import Column, Schema, Table
from firsthand.query.speql.text import names_in
from firsthand.query.speql.turns import Interruptible

__all__ = ["DuckDBEngine"]

_READERS = {
    ".parquet": "read_parquet", ".csv": "read_csv", ".tsv": "read_csv", ".json": "read_json", ".jsonl": "read_json",
    ".ndjson": "read_json",
}  # fmt: skip
_PLACE = "memory.speql"
_CROSSING = frozenset({"CROSS_PRODUCT", "BLOCKWISE_NL_JOIN", "NESTED_LOOP_JOIN"})


def _duckdb() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "duckdb is not installed; run: pip install 'firsthand[query]'"
        ) from error
    return duckdb


class DuckDBEngine:
    """A DuckDB file, a folder of files (each a table named as the file is), or nothing (an empty database).

    Args:
        path: `sales.duckdb`, or a folder with `.parquet`, `.csv`, `.tsv`, `.json`, `.jsonl` files; a folder in it is
            one table of all the files of one kind that it holds.
        memory_limit: DuckDB's, such as "4GB"; None for its own (80 % of the memory).
        threads: DuckDB's; None for its own (all cores).

    Raises `NotFoundError` where nothing is there, `InputError` where it is no database or holds no table.
    """

    def __init__(
        self, path: str | Path, *, memory_limit: str | None = None, threads: int | None = None
    ) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise NotFoundError(f"{self.path} is not there; give a DuckDB file or a folder of Parquet files")
        self._spill = TemporaryDirectory(prefix="firsthand-speql-")
        self._config: dict[str, Any] = {"temp_directory": self._spill.name}
        if memory_limit is not None:
            self._config["memory_limit"] = memory_limit
        if threads is not None:
            self._config["threads"] = threads
        self._connections: weakref.WeakSet[DuckDBConnection] = weakref.WeakSet()
        self._main: Any = None
        self._closed = False
        try:
            self.refresh()
        except BaseException:
            self.close()
            raise

    def refresh(self) -> None:
        """Open the file or folder as it is now, and read its catalog. What was made before is gone afterwards."""
        duckdb = _duckdb()
        before = self._main
        try:
            self._main = duckdb.connect(":memory:", config=self._config)
        except duckdb.Error as error:
            raise InputError(f"DuckDB did not start: {_first_line(error)}") from error
        try:
            self._open()
            self._read_catalog()
        except duckdb.Error as error:
            raise InputError(f"{self.path} cannot be opened: {_first_line(error)}") from error
        for connection in list(self._connections):
            connection.renew(self._main.cursor(), self._use)
        if before is not None:
            before.close()

    def _open(self) -> None:
        """Attach what is queried, and shut everything else out."""
        if self.path.is_dir():
            self._use = "memory.main"
            allowed = [str(self.path.resolve()) + "/", self._spill.name + "/"]
            self._main.execute(f"SET allowed_directories = {_list(allowed)}")
            self._make_file_views()
        else:
            self._use = '"db".main'
            self._main.execute(f"ATTACH {_text(str(self.path))} AS db (READ_ONLY)")
            self._main.execute(f"SET allowed_directories = {_list([self._spill.name + '/'])}")
        self._main.execute(f"CREATE SCHEMA {_PLACE}")
        self._main.execute("SET enable_external_access = false")
        self._main.execute("SET lock_configuration = true")
        kinds = "SELECT function_name FROM duckdb_functions() WHERE stability NOT IN ('CONSISTENT')"
        self._volatile = VOLATILE | {name for (name,) in self._main.execute(kinds).fetchall()}

    def _make_file_views(self) -> None:
        """A view of each file, and of each folder of files of one kind."""
        duckdb = _duckdb()
        found: dict[str, Path] = {}
        for path in sorted(self.path.iterdir()):
            files = _files_of(path)
            if not files:
                continue
            name = path.name if path.is_dir() else path.name.removesuffix(path.suffix)
            if name.lower() in found:
                raise InputError(f"{found[name.lower()]} and {path} would be one table; rename one of them")
            found[name.lower()] = path
            reader = _READERS[files[0].suffix.lower()]
            source = _list([str(file.resolve()) for file in files])
            try:
                self._main.execute(f"CREATE VIEW main.{_name(name)} AS SELECT * FROM {reader}({source})")
            except duckdb.Error as error:
                raise InputError(f"{path} cannot be read: {_first_line(error)}") from error
        if not found:
            kinds = ", ".join(sorted(_READERS))
            raise InputError(f"{self.path} holds no file that can be read as a table ({kinds})")

    @property
    def schema(self) -> Schema:
        """Its tables and views; those of other schemas than main as `schema.table`."""
        return self._schema

    @property
    def volatile(self) -> Collection[str]:
        """Names of functions that differ from call to call: DuckDB's own list of them, and ours."""
        return self._volatile

    def version(self) -> Hashable:
        """Sizes and times of change of the files below."""
        if self.path.is_dir():
            files = [file for path in sorted(self.path.iterdir()) for file in _files_of(path)]
        else:
            files = [self.path, self.path.with_name(self.path.name + ".wal")]
        return tuple((str(file), found.st_size, found.st_mtime_ns) for file in files for found in _stat(file))

    def _read_catalog(self) -> None:
        database = self._use.split(".")[0].strip('"')
        columns = (
            "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() "
            f"WHERE database_name = {_text(database)} AND NOT internal AND schema_name <> 'speql' "
            "ORDER BY schema_name, table_name, column_index"
        )
        sizes = (
            "SELECT schema_name, table_name, estimated_size FROM duckdb_tables() "
            f"WHERE database_name = {_text(database)}"
        )
        rows = {(schema, table): size for schema, table, size in self._main.execute(sizes).fetchall()}
        found: dict[tuple[str, str], list[Column]] = {}
        for schema, table, column, kind in self._main.execute(columns).fetchall():
            found.setdefault((schema, table), []).append(Column(column, kind))
        unsettled = self._unsettled_views(database)
        tables = []
        for (schema, name), its in found.items():
            count = rows.get((schema, name))
            if count is None and self.path.is_dir():
                count = self._rows_of_view(name)
            full = name if schema == "main" else f"{schema}.{name}"
            tables.append(Table(full, tuple(its), count, name.lower() not in unsettled))
        self._schema = Schema(tuple(tables), "duckdb")

    def _unsettled_views(self, database: str) -> set[str]:
        """Folded names of views that call a function which differs from call to call, or read such a view."""
        query = (
            "SELECT view_name, sql FROM duckdb_views() "
            f"WHERE database_name = {_text(database)} AND NOT internal"
        )
        words = {name.lower(): names_in(sql, "duckdb") for name, sql in self._main.execute(query).fetchall()}
        found = {name for name, used in words.items() if used & self._volatile}
        while True:
            more = {name for name, used in words.items() if name not in found and used & found}
            if not more:
                return found
            found |= more

    def _rows_of_view(self, name: str) -> int | None:
        """About how many rows a file has, from the plan alone."""
        with contextlib.suppress(Exception):
            plan = json.loads(
                self._main.execute(f"EXPLAIN (FORMAT json) SELECT * FROM main.{_name(name)}").fetchall()[0][1]
            )
            return int(_estimate(plan[0]) or 0) or None
        return None

    def connect(self) -> DuckDBConnection:
        """A cursor of its own, for one thread."""
        connection = DuckDBConnection(self, self._main.cursor(), self._use)
        self._connections.add(connection)
        return connection

    def refuse(self, sql: str) -> None:
        """Raise `UnsafeStatement` unless the text is one query; what does not parse is left to the engine's words."""
        duckdb = _duckdb()
        try:
            statements = [one.type.name for one in duckdb.extract_statements(sql)]
        except duckdb.Error as error:
            raise _failed(error) from error
        refuse_all_but_one_query(sql, statements)
        if statements != ["SELECT"]:
            raise UnsafeStatement(f"{statements[0]} is not run here: only one SELECT at a time")

    def close(self) -> None:
        """Interrupt what runs, drop what was made, end all connections."""
        if self._closed:
            return
        self._closed = True
        for connection in list(self._connections):
            connection.close()
        if self._main is not None:
            self._main.close()
        self._spill.cleanup()


class DuckDBConnection(Interruptible):
    """A cursor of the engine's database."""

    def __init__(self, engine: DuckDBEngine, cursor: Any, use: str) -> None:
        super().__init__()
        self._engine, self._cursor = engine, cursor
        self._cursor.execute(f"USE {use}")

    @contextlib.contextmanager
    def _run(self, timeout_s: float | None = None) -> Iterator[Any]:
        duckdb = _duckdb()
        with self._in_turn(timeout_s):
            try:
                yield self._cursor
            except duckdb.Error as error:
                if self._stopped or isinstance(error, duckdb.InterruptException):
                    raise QueryInterrupted("the query was interrupted") from error
                raise _failed(error) from error

    def query(self, sql: str, *, timeout_s: float | None = None) -> Any:
        """See `engine.Connection`."""
        with self._run(timeout_s) as cursor:
            return cursor.execute(sql).to_arrow_table()

    def describe(self, sql: str) -> tuple[Column, ...]:
        """See `engine.Connection`."""
        with self._run() as cursor:
            found = cursor.execute(f"DESCRIBE {sql.strip().rstrip(';')}").fetchall()
        return tuple(Column(row[0], row[1]) for row in found)

    def explain(self, sql: str) -> Plan:
        """See `engine.Connection`."""
        with self._run() as cursor:
            found = cursor.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()
        plan = json.loads(found[0][1])
        nodes = list(_nodes(plan))
        crossing = [_product(node) for node in nodes if node["name"].strip() in _CROSSING]
        return Plan(_estimate(plan[0]) if plan else None, max(crossing, default=0.0))

    def fill(self, number: int, sql: str, *, timeout_s: float | None = None) -> Filled:
        """See `engine.Connection`."""
        name = f"{_PLACE}.v_{number}"
        with self._run(timeout_s) as cursor:
            cursor.execute(f"CREATE TABLE {name} AS {sql}")
            rows = cursor.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0]
            types = tuple(row[1] for row in cursor.execute(f"DESCRIBE {name}").fetchall())
        return Filled(name, int(rows), types)

    def drop(self, name: str) -> None:
        """See `engine.Connection`."""
        with self._run() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {name}")

    def _signal(self) -> None:
        self._cursor.interrupt()

    def progress(self) -> float:
        """See `engine.Connection`."""
        found = self._cursor.query_progress() if self._running else 0.0
        return max(0.0, min(1.0, float(found) / 100.0))

    def renew(self, cursor: Any, use: str) -> None:
        """Go on with a cursor of the database that was opened in place of the old one."""
        self.interrupt()
        with self._state:
            old, self._cursor = self._cursor, cursor
            self._cursor.execute(f"USE {use}")
        old.close()

    def close(self) -> None:
        """Interrupt and end it; safe to call twice."""
        if self._end():
            self._cursor.close()


# --- plans, names, messages ------------------------------------------------------------------------------------------


def _nodes(plan: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for node in plan:
        yield node
        yield from _nodes(node.get("children", []))


def _estimate(node: dict[str, Any]) -> float | None:
    """The estimated rows of a plan's node, or of the first below it that has one."""
    while True:
        found = node.get("extra_info", {}).get("Estimated Cardinality")
        if found is not None:
            return float(found)
        children = node.get("children", [])
        if not children:
            return None
        node = children[0]


def _product(node: dict[str, Any]) -> float:
    """About how many pairs a join on nothing makes: DuckDB gives no estimate of its own for it."""
    return math.prod(max(_estimate(child) or 1.0, 1.0) for child in node.get("children", []))


def _failed(error: Exception) -> QueryFailed:
    """DuckDB's message, and the place in the query that its caret points at."""
    message = str(error)
    position = None
    lines = message.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("LINE ") and number + 1 < len(lines) and lines[number + 1].strip() == "^":
            position = lines[number + 1].index("^") - len(line.partition(": ")[0]) - 2
    return QueryFailed(message.partition("\n\nLINE ")[0].strip(), position)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _list(values: list[str]) -> str:
    return "[" + ", ".join(map(_text, values)) + "]"


def _files_of(path: Path) -> list[Path]:
    """The files of a table: one file, or all of one kind in a folder; none for what is no table."""
    if path.is_file():
        return [path] if path.suffix.lower() in _READERS else []
    if not path.is_dir() or path.name.startswith("."):
        return []
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix.lower() in _READERS)
    if len({file.suffix.lower() for file in files}) > 1:
        raise InputError(f"{path} holds files of several kinds; a folder is one table of one kind")
    return files


def _stat(path: Path) -> Iterator[Any]:
    with contextlib.suppress(FileNotFoundError):
        yield path.stat()
