"""PostgreSQL by a SQLAlchemy URL or engine: its tables are read, speculative tables lie in a schema of their own.

SQLAlchemy reads the URL, opens connections and inspects the catalog; queries run through psycopg, which can cancel one
from another thread. Speculative tables are UNLOGGED tables in a schema `speql_...` that the engine makes and drops:
PostgreSQL's temporary tables are seen by one connection alone, and a session has several. A schema that a process left
behind when it was killed is dropped by the next engine of the same user.

What a user asks runs in a read-only transaction. Whether data changed is asked of `pg_current_snapshot()` (see
`postgres.Moment`), so that an answer is never older than its submission's start. An answer needs the right to make a
schema: `GRANT CREATE ON DATABASE ... TO ...`; on a standby, which writes nothing, there is no working ahead.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import weakref
from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import Any

from firsthand.errors import InputError, MissingDependencyError
from firsthand.query.speql.engine import Filled, Plan
from firsthand.query.speql.errors import EngineUnsupported, QueryFailed, QueryInterrupted
from firsthand.query.speql.postgres import (
    FUNCTIONS,
    RELATIONS,
    Moment,
    arrow_column,
    plan_of,
    refuse_unsafe,
    unsettled,
    volatile_names,
)
from firsthand.query.speql.reasoning import VOLATILE
from firsthand.query.speql.schema import Column, Schema, Table
from firsthand.query.speql.turns import Interruptible

__all__ = ["SQLAlchemyEngine"]

# Of a column whose collation takes different texts for equal the type says so, and is no type that is reasoned about.
_TYPES_OF = """
SELECT upper(format_type(a.atttypid, a.atttypmod)) ||
       CASE WHEN c.collisdeterministic IS FALSE THEN ' COLLATE ' || c.collname ELSE '' END
FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = a.attcollation
WHERE a.attrelid = '{}'::regclass AND a.attnum > 0 ORDER BY a.attnum
"""
_CANCELLED = "57014"
_PREFIX = "speql_"


class SQLAlchemyEngine:
    """A PostgreSQL database.

    Args:
        source: a URL, such as `postgresql://user:password@host/database`, or a `sqlalchemy.Engine`.

    Raises:
        MissingDependencyError: SQLAlchemy or the driver is not installed.
        EngineUnsupported: another database than PostgreSQL, another driver than psycopg, or no right to make a schema.
        InputError: the URL cannot be read, or nobody answers there; the message never holds the password.
    """

    def __init__(self, source: Any) -> None:
        self._sqlalchemy = _engine(source)
        self._own: set[int] = set()  # numbers of our own transactions
        self._lock = threading.RLock()
        self._connections: weakref.WeakSet[PostgresConnection] = weakref.WeakSet()
        self._closed = False
        self.place = ""  # the schema of the speculative tables
        self._main = PostgresConnection(self, self._dial())
        try:
            self._begin()
            self.refresh()
        except BaseException:
            self.close()
            raise

    def _dial(self) -> Any:
        """A connection of psycopg's that no pool takes back."""
        import psycopg
        import sqlalchemy

        try:
            pooled = self._sqlalchemy.raw_connection()
            found: Any = pooled.driver_connection
            pooled.detach()
            found.autocommit = True
            found.execute("SET client_encoding = 'UTF8'")
            found.execute("SET extra_float_digits = 1")  # so that a number's text is the number
        except (sqlalchemy.exc.SQLAlchemyError, psycopg.Error) as error:
            raise InputError(self._without_password(f"the database does not answer: {error}")) from error
        return found

    def _without_password(self, message: str) -> str:
        password = self._sqlalchemy.url.password
        shown = message.partition("\n(Background")[0]
        return shown.replace(str(password), "***") if password else shown

    def _begin(self) -> None:
        self._drop_orphans()
        number = secrets.randbits(62)
        place = f"{_PREFIX}{number:016x}"
        self._main.rows(f"SELECT pg_advisory_lock({number})")  # says that the schema's maker lives
        try:
            self._main.write(f"CREATE SCHEMA {place}")
        except QueryFailed as error:
            user, database = self._main.rows(
                "SELECT quote_ident(current_user), quote_ident(current_database())"
            )[0]
            raise EngineUnsupported(
                f"tables cannot be made ahead here: {error}; a schema of the session's own is needed: "
                f"GRANT CREATE ON DATABASE {database} TO {user}",
                "speculative tables",
            ) from error
        self.place = place
        functions = [(name, kind, own == "t") for name, kind, own in self._main.rows(FUNCTIONS)]
        self._volatile = volatile_names(functions)

    def _drop_orphans(self) -> None:
        """Drop schemas of this user's whose maker is no more: its lock on the schema's number is free."""
        found = self._main.rows(
            f"SELECT nspname FROM pg_namespace WHERE nspname ~ '^{_PREFIX}[0-9a-f]{{16}}$' "
            "AND nspowner = current_user::regrole"
        )
        for (name,) in found:
            number = int(name.removeprefix(_PREFIX), 16)
            if self._main.rows(f"SELECT pg_try_advisory_lock({number})")[0][0] == "t":
                with contextlib.suppress(QueryFailed):  # somebody else drops it at this moment
                    self._main.write(f"DROP SCHEMA {name} CASCADE")
                self._main.rows(f"SELECT pg_advisory_unlock({number})")

    @property
    def schema(self) -> Schema:
        """Tables and views of the default schema that may be read."""
        return self._schema

    @property
    def volatile(self) -> Collection[str]:
        """Names of functions that differ from call to call, the database's own list of them among these."""
        return self._volatile if hasattr(self, "_volatile") else VOLATILE

    def version(self) -> Hashable:
        """Which transactions of others have ended; see `postgres.Moment`."""
        with self._lock:
            return Moment.read(self._main.rows("SELECT pg_current_snapshot()")[0][0], self._own)

    def refresh(self) -> None:
        """Read the catalog."""
        import sqlalchemy

        with self._lock:
            relations = self._main.rows(RELATIONS)
        try:
            inspector = sqlalchemy.inspect(self._sqlalchemy)
            described = inspector.get_multi_columns(kind=sqlalchemy.engine.ObjectKind.ANY)
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise InputError(self._without_password(f"the catalog cannot be read: {error}")) from error
        columns = {name: tuple(map(self._column, found)) for (_, name), found in described.items()}
        views = {row[0].lower(): row[3] for row in relations if row[1] == "v"}
        foreign = {row[0].lower() for row in relations if row[1] == "f" or row[4] == "t"}
        bad = unsettled(views, foreign, self.volatile)
        tables = [
            Table(name, columns[name], self._rows(name, float(count)), name.lower() not in bad)
            for name, _, count, *_ in relations
            if columns.get(name) and _told_apart(columns[name])
        ]
        folded = [table.name.lower() for table in tables]
        self._schema = Schema(
            tuple(table for table in tables if folded.count(table.name.lower()) == 1), "postgres"
        )

    def _column(self, found: Any) -> Column:
        try:
            kind = str(found["type"].compile(dialect=self._sqlalchemy.dialect))
        except Exception:  # a type that SQLAlchemy does not know has no name to compile
            kind = "UNKNOWN"
        return Column(found["name"], kind)

    def _rows(self, name: str, estimate: float) -> int | None:
        """About how many rows a table has: what was counted last, or what the planner thinks before anyone counted."""
        if estimate > 0:
            return int(estimate)
        with contextlib.suppress(QueryFailed), self._lock:
            return int(self._main.explain(f"SELECT * FROM {_quoted(name)}").rows or 0)
        return None

    def connect(self) -> PostgresConnection:
        """A connection of its own, for one thread."""
        connection = PostgresConnection(self, self._dial())
        self._connections.add(connection)
        return connection

    def refuse(self, sql: str) -> None:
        """See `postgres.refuse_unsafe`."""
        refuse_unsafe(sql)

    def ours(self, number: int) -> None:
        """Note that the transaction of that number is one of ours, while it still runs."""
        with self._lock:
            self._own.add(number)

    def close(self) -> None:
        """Interrupt what runs, drop the schema with all that is in it, end all connections."""
        if self._closed:
            return
        self._closed = True
        for connection in list(self._connections):
            connection.close()
        with self._lock, contextlib.suppress(QueryFailed, QueryInterrupted):
            if self.place:  # a server that has gone keeps it until the next engine comes
                self._main.write(f"DROP SCHEMA IF EXISTS {self.place} CASCADE")
        self._main.close()
        self._sqlalchemy.dispose()


class PostgresConnection(Interruptible):
    """A connection of psycopg's, spoken to one statement at a time: a text of two is refused by the server."""

    def __init__(self, engine: SQLAlchemyEngine, driver: Any) -> None:
        super().__init__()
        self._engine, self._driver = engine, driver

    @contextlib.contextmanager
    def _run(self, begin: str, timeout_s: float | None = None) -> Iterator[None]:
        """A transaction that `interrupt` may end, and that is rolled back where anything goes wrong."""
        import psycopg

        limit = (
            0 if timeout_s is None else max(int(timeout_s * 1e3), 1)
        )  # the server's own: it needs no thread
        done = False
        with self._in_turn():
            try:
                self._simple(f"{begin}; SET LOCAL statement_timeout = {limit}")
                yield
                self._simple("COMMIT")
                done = True
            except psycopg.Error as error:
                raise QueryFailed(self._engine._without_password(_first_line(str(error)))) from error
            finally:
                if not done:
                    with contextlib.suppress(Exception):
                        self._simple("ROLLBACK")

    def _simple(self, sql: str) -> None:
        """Statements of ours, several at once."""
        _checked(self._driver.pgconn.exec_(sql.encode()))

    def _execute(self, sql: str) -> Any:
        """One statement, as a result of libpq's with values as texts."""
        return _checked(self._driver.pgconn.exec_params(_encoded(sql), None))

    def query(self, sql: str, *, timeout_s: float | None = None) -> Any:
        """See `engine.Connection`."""
        import pyarrow as pa

        with self._run("BEGIN READ ONLY", timeout_s):
            found = self._execute(sql)
        rows = range(found.ntuples)
        columns = [
            arrow_column([found.get_value(row, n) for row in rows], found.ftype(n), found.fmod(n))
            for n in range(found.nfields)
        ]
        names = [found.fname(n).decode() for n in range(found.nfields)]
        return pa.Table.from_arrays(columns, names=names)

    def rows(self, sql: str) -> list[tuple[str, ...]]:
        """Rows of a query of ours as texts, NULL as ""; locks that it takes stay until they are given back."""
        with self._run("BEGIN"):
            return _texts(self._execute(sql))

    def write(self, *statements: str) -> list[Any]:
        """Run statements in one transaction, known as ours before it changes anything; results of libpq's."""
        with self._run("BEGIN"):
            self._engine.ours(int(_texts(self._execute("SELECT pg_current_xact_id()"))[0][0]))
            return [self._execute(statement) for statement in statements]

    def describe(self, sql: str) -> tuple[Column, ...]:
        """See `engine.Connection`. The server parses the text and runs nothing."""
        with self._run("BEGIN READ ONLY"):
            return self._described(sql)

    def _described(self, sql: str) -> tuple[Column, ...]:
        _checked(self._driver.pgconn.prepare(b"", _encoded(sql)))
        found = _checked(self._driver.pgconn.describe_prepared(b""))
        if not found.nfields:
            return ()
        pairs = ", ".join(f"({found.ftype(n)}::oid, {found.fmod(n)})" for n in range(found.nfields))
        kinds = _texts(
            self._execute(f"SELECT format_type(oid, modifier) FROM (VALUES {pairs}) AS t(oid, modifier)")
        )
        return tuple(Column(found.fname(n).decode(), kinds[n][0].upper()) for n in range(found.nfields))

    def explain(self, sql: str) -> Plan:
        """See `engine.Connection`."""
        with self._run("BEGIN READ ONLY"):
            return plan_of(json.loads(_texts(self._execute(f"EXPLAIN (FORMAT JSON) {sql}"))[0][0]))

    def fill(self, number: int, sql: str, *, timeout_s: float | None = None) -> Filled:
        """See `engine.Connection`. The table is unlogged, and no autovacuum looks at it."""
        name = f"{self._engine.place}.v_{number}"
        with self._run("BEGIN", timeout_s):
            self._engine.ours(int(_texts(self._execute("SELECT pg_current_xact_id()"))[0][0]))
            made = self._execute(f"CREATE UNLOGGED TABLE {name} WITH (autovacuum_enabled = false) AS {sql}")
            types = tuple(row[0] for row in _texts(self._execute(_TYPES_OF.format(name))))
        return Filled(name, int(made.command_tuples or 0), types)

    def drop(self, name: str) -> None:
        """See `engine.Connection`."""
        self.write(f"DROP TABLE IF EXISTS {name}")

    def _signal(self) -> None:
        with contextlib.suppress(Exception):
            self._driver.cancel_safe(timeout=2.0)

    def progress(self) -> float:
        """0: PostgreSQL does not tell of queries."""
        return 0.0

    def close(self) -> None:
        """Interrupt and end it; safe to call twice."""
        if self._end():
            self._driver.close()


# --- results, names, messages ----------------------------------------------------------------------------------------


def _checked(result: Any) -> Any:
    """A result of libpq's; raises what the server says against the statement."""
    from psycopg.pq import DiagnosticField, ExecStatus

    if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        return result
    fields = {
        field: (result.error_field(field) or b"").decode(errors="replace")
        for field in (
            DiagnosticField.SQLSTATE,
            DiagnosticField.MESSAGE_PRIMARY,
            DiagnosticField.MESSAGE_HINT,
            DiagnosticField.STATEMENT_POSITION,
        )
    }
    if fields[DiagnosticField.SQLSTATE] == _CANCELLED:
        raise QueryInterrupted(fields[DiagnosticField.MESSAGE_PRIMARY] or "the query was interrupted")
    message = fields[DiagnosticField.MESSAGE_PRIMARY] or result.get_error_message() or "the statement failed"
    hint, place = fields[DiagnosticField.MESSAGE_HINT], fields[DiagnosticField.STATEMENT_POSITION]
    raise QueryFailed(f"{message} ({hint})" if hint else message, int(place) - 1 if place else None)


def _encoded(sql: str) -> bytes:
    if "\0" in sql:
        raise QueryFailed("the text holds a NUL character", sql.index("\0"))
    return sql.encode("utf-8", errors="replace")


def _texts(result: Any) -> list[tuple[str, ...]]:
    return [
        tuple((result.get_value(row, n) or b"").decode() for n in range(result.nfields))
        for row in range(result.ntuples)
    ]


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _told_apart(columns: Sequence[Column]) -> bool:
    return len({column.name.lower() for column in columns}) == len(columns)


def _engine(source: Any) -> Any:
    """A SQLAlchemy engine from a URL or an engine; see `SQLAlchemyEngine` for what it raises."""
    try:
        import sqlalchemy
        from sqlalchemy.engine import make_url
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "sqlalchemy is not installed; run: pip install 'firsthand[query]'"
        ) from error
    if isinstance(source, sqlalchemy.Engine):
        _driven(source.dialect.name, source.dialect.driver)
        return source
    try:
        url = make_url(source)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise InputError(
            "this is no database URL; write it as postgresql://user:password@host/database"
        ) from error
    kind, _, driver = url.drivername.partition("+")
    if kind == "duckdb":
        raise InputError(f"give a DuckDB file by its path, without duckdb:// ({url.database or 'no path'})")
    _driven("postgresql" if kind == "postgres" else kind, driver or "psycopg")
    try:
        return sqlalchemy.create_engine(url.set(drivername="postgresql+psycopg"))
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{error.name} is not installed; run: pip install 'firsthand[query]'"
        ) from error


def _driven(dialect: str, driver: str) -> None:
    if dialect != "postgresql":
        raise EngineUnsupported(
            f"{dialect} is not driven from here: PostgreSQL is by its URL, Spark by SparkEngine, DuckDB by its path",
            dialect,
        )
    if driver != "psycopg":
        raise EngineUnsupported(
            f"the driver {driver} cannot cancel a query from another thread; use postgresql+psycopg://",
            "cancellation",
        )
