"""Spark, on a session that a user has: its tables and temporary views are read, speculative tables are checkpoints.

A speculative table is a query's rows kept by the executors (`localCheckpoint`), under a temporary view. It is no
`CACHE TABLE`, for Spark puts a cached table silently into every later query that looks like it, and a direct run would
no longer be one. A query is cancelled by its job group.

Spark does not tell when data changes. `version` looks at the files below the tables: names, sizes and times of change.
Tables over anything else (JDBC, RDDs, Hive's own formats, catalogs of other systems) are answered as they are asked,
and nothing is made ahead of them.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
from collections.abc import Collection, Hashable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from firsthand.errors import InputError, MissingDependencyError
from firsthand.query.speql.engine import Filled, Plan, refuse_all_but_one_query
from firsthand.query.speql.errors import QueryFailed, QueryInterrupted, UnsafeStatement
from firsthand.query.speql.reasoning import VOLATILE
from firsthand.query.speql.schema import Column, Schema, Table
from firsthand.query.speql.text import code, first_word, statements, tokenize
from firsthand.query.speql.turns import Interruptible

__all__ = ["SparkEngine"]

_VOLATILE = frozenset(
    {
        "randn", "randstr", "uniform", "shuffle", "monotonically_increasing_id", "spark_partition_id", "curdate",
        "user", "input_file_name", "input_file_block_start", "input_file_block_length", "current_timezone",
        "unix_timestamp",
        "str_to_unix", "time_to_unix", "version", "reflect", "java_method", "try_reflect", "call_function",
    }
)  # fmt: skip
_TELLS_TIME = re.compile(
    r"\b(current_timestamp|current_date|now|localtimestamp|unix_timestamp|current_time)\("
)
# A statement may begin as a query and write (FROM t INSERT INTO u SELECT ...), or run a program.
_WRITES = frozenset({"INSERT", "TRANSFORM", "REDUCE"})
_OUTSIDE = frozenset({"reflect", "java_method", "try_reflect", "read_files", "call_function"})
_LASTING = frozenset(
    {"LocalRelation", "Range", "OneRowRelation"}
)  # leaves of a plan that are as they are for ever
_ROW = 32.0  # bytes that a row is taken to have where Spark tells bytes alone


class SparkEngine:
    """The tables and temporary views of a Spark session's current database.

    Args:
        session: a `pyspark.sql.SparkSession`, which the engine does not stop.

    Raises `MissingDependencyError` without pyspark, `InputError` where the session is no classic one (Spark Connect
    has no job groups) or has stopped.
    """

    def __init__(self, session: Any) -> None:
        try:
            from pyspark.sql import SparkSession
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                "pyspark is not installed; run: pip install 'firsthand[spark]'"
            ) from error
        if not isinstance(session, SparkSession) or not hasattr(session, "_jsparkSession"):
            raise InputError("give a pyspark.sql.SparkSession that runs in this process, not Spark Connect's")
        self.session: Any = session
        self._prefix = f"speql_{secrets.token_hex(8)}_v_"
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._connections: list[SparkConnection] = []
        self._roots: tuple[str, ...] = ()
        self._closed = False
        self.refresh()

    @property
    def schema(self) -> Schema:
        """Tables and views of the current database, and temporary views."""
        return self._schema

    @property
    def volatile(self) -> Collection[str]:
        """Names of functions that differ from call to call."""
        return VOLATILE | _VOLATILE

    def version(self) -> Hashable:
        """Names, sizes and times of change of all files below the tables."""
        return tuple(one for root in self._roots for one in self._files(root))

    def _files(self, root: str) -> list[tuple[str, int, int]]:
        place = urlparse(root)
        if place.scheme == "file":
            path = Path(unquote(place.path))
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            found = [(str(file), file.stat()) for file in files if file.is_file()]
            return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in found]
        context = self.session.sparkContext
        path = context._jvm.org.apache.hadoop.fs.Path(root)
        listed = path.getFileSystem(context._jsc.hadoopConfiguration()).listFiles(path, True)
        every = []
        while listed.hasNext():
            status = listed.next()
            every.append((status.getPath().toString(), status.getLen(), status.getModificationTime()))
        return sorted(every)

    def refresh(self) -> None:
        """Read the catalog, and have Spark list the files below the tables again."""
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        tables, roots = [], set[str]()
        try:
            for listed in self.session.catalog.listTables():
                if listed.name.startswith("speql_"):
                    continue
                with contextlib.suppress(PySparkException):  # a view whose table has gone is no table
                    self.session.catalog.refreshTable(listed.name)
                    frame = self.session.table(listed.name)
                    below = self._below(frame)
                    roots |= below or set()
                    columns = tuple(Column(one.name, _type(one.dataType)) for one in frame.schema.fields)
                    if len({column.name.lower() for column in columns}) == len(columns):
                        tables.append(
                            Table(listed.name, columns, int(_rows(_optimized(frame))), below is not None)
                        )
        except (PySparkException, Py4JError) as error:
            raise InputError(f"the catalog cannot be read: {_first_line(error)}") from error
        self._roots = tuple(sorted(roots))
        self._schema = Schema(tuple(tables), "spark")

    def _below(self, frame: Any) -> set[str] | None:
        """Folders and files that a table's rows come from; None where anything else may change them."""
        plan = frame._jdf.queryExecution().analyzed()
        if not plan.deterministic() or _TELLS_TIME.search(plan.toString()):
            return None
        found: set[str] = set()
        leaves = plan.collectLeaves()
        for number in range(leaves.size()):
            leaf = leaves.apply(number)
            kind = leaf.getClass().getSimpleName()
            if kind in _LASTING:
                continue
            if kind != "LogicalRelation" or leaf.relation().getClass().getSimpleName() != "HadoopFsRelation":
                return None
            paths = leaf.relation().location().rootPaths()
            found |= {paths.apply(place).toUri().toString() for place in range(paths.size())}
        return found

    def connect(self) -> SparkConnection:
        """A connection of its own, for one thread."""
        connection = SparkConnection(self)
        with self._lock:
            self._connections = [one for one in self._connections if not one.closed] + [connection]
        return connection

    def refuse(self, sql: str) -> None:
        """Raise `UnsafeStatement` unless the text is one query that writes nothing and calls no Java or program."""
        spans = statements(sql, "spark")
        refuse_all_but_one_query(sql, [first_word(sql[span.start :]) for span in spans])
        tokens = code(tokenize(sql, "spark"))
        for token, after in zip(tokens, [*tokens[1:], None], strict=True):
            if token.kind == "word" and token.upper in _WRITES:
                raise UnsafeStatement(f"{token.upper} is not run here: only one SELECT at a time")
            if token.is_name and token.name.lower() in _OUTSIDE and after is not None and after.text == "(":
                raise UnsafeStatement(f"{token.name}() reaches beyond the tables and is not run here")

    def keep(self, number: int, frame: Any) -> str:
        """Give a checkpoint the name of the speculative table of that number."""
        name = f"{self._prefix}{number}"
        frame.createOrReplaceTempView(name)
        with self._lock:
            self._made[name] = frame
        return name

    def give_up(self, name: str) -> None:
        """Drop a speculative table and free its rows."""
        with self._lock:
            frame = self._made.pop(name, None)
        if frame is not None:
            self.session.catalog.dropTempView(name)
            frame._jdf.queryExecution().logical().rdd().unpersist(False)

    def close(self) -> None:
        """Interrupt what runs and drop every speculative table; the session lives on."""
        if self._closed:
            return
        self._closed = True
        for connection in list(self._connections):
            connection.close()
        for name in list(self._made):
            self.give_up(name)


class SparkConnection(Interruptible):
    """Queries, each a job group."""

    def __init__(self, engine: SparkEngine) -> None:
        super().__init__()
        self._engine, self._session = engine, engine.session
        self._group = ""

    @contextlib.contextmanager
    def _run(self, timeout_s: float | None = None) -> Iterator[None]:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        with self._in_turn(timeout_s):
            self._group = f"speql-{secrets.token_hex(8)}"
            try:
                self._session.sparkContext.setJobGroup(self._group, "speql", True)
                yield
            except (PySparkException, Py4JError) as error:
                if self._stopped:
                    raise QueryInterrupted("the query was interrupted") from error
                raise QueryFailed(_first_line(error), None) from error

    @property
    def closed(self) -> bool:
        """Whether it takes no more queries."""
        return self._closed

    def query(self, sql: str, *, timeout_s: float | None = None) -> Any:
        """See `engine.Connection`."""
        with self._run(timeout_s):
            return self._frame(sql).toArrow()

    def _frame(self, sql: str) -> Any:
        """A query that is planned and not run; what Spark would run at once, a command, is refused before."""
        self._engine.refuse(sql)
        return self._session.sql(sql.strip().rstrip(";"))

    def describe(self, sql: str) -> tuple[Column, ...]:
        """See `engine.Connection`."""
        with self._run():
            return tuple(Column(one.name, _type(one.dataType)) for one in self._frame(sql).schema.fields)

    def explain(self, sql: str) -> Plan:
        """See `engine.Connection`. Spark knows bytes; rows are these by the width that a row is taken to have."""
        with self._run():
            plan = _optimized(self._frame(sql))
            return Plan(_rows(plan), max((_pairs(node) for node in _nodes(plan)), default=0.0))

    def fill(self, number: int, sql: str, *, timeout_s: float | None = None) -> Filled:
        """See `engine.Connection`."""
        with self._run(timeout_s):
            frame = self._frame(sql)
            if not frame._jdf.queryExecution().analyzed().deterministic():
                raise QueryFailed("its rows differ from run to run")
            kept = frame.localCheckpoint(eager=True)
            rows = kept.count()
            types = tuple(_type(one.dataType) for one in kept.schema.fields)
            return Filled(self._engine.keep(number, kept), rows, types)

    def drop(self, name: str) -> None:
        """See `engine.Connection`."""
        with self._run():
            self._engine.give_up(name)

    def _signal(self) -> None:
        with contextlib.suppress(Exception):
            self._session.sparkContext.cancelJobGroup(self._group)

    def progress(self) -> float:
        """0: how many jobs a query will be is not known before."""
        return 0.0

    def close(self) -> None:
        """Interrupt and end it; safe to call twice."""
        self._end()


# --- plans and messages ----------------------------------------------------------------------------------------------


def _type(kind: Any) -> str:
    return str(kind.simpleString()).upper()


def _optimized(frame: Any) -> Any:
    return frame._jdf.queryExecution().optimizedPlan()


def _nodes(plan: Any) -> Iterator[Any]:
    yield plan
    children = plan.children()
    for place in range(children.size()):
        yield from _nodes(children.apply(place))


def _rows(plan: Any) -> float:
    stats = plan.stats()
    counted = stats.rowCount()
    if counted.isDefined():
        return float(str(counted.get()))
    return float(str(stats.sizeInBytes())) / _ROW


def _pairs(node: Any) -> float:
    """Rows on the left times rows on the right of a join whose condition is no equality; 0 of anything else."""
    if node.getClass().getSimpleName() != "Join" or node.joinType().toString() in ("LeftSemi", "LeftAnti"):
        return 0.0
    condition = node.condition()
    text = condition.get().toString() if condition.isDefined() else ""
    if re.search(r"(?<![<>!])= |<=>", text):
        return 0.0
    return _rows(node.left()) * _rows(node.right())


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
