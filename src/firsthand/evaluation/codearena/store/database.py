"""An arena's database: SQLite in a file, or PostgreSQL. Opening brings its tables up to date.

Knows engines, transactions and migrations; knows nothing of what the tables hold. Two kinds of transaction: `read`,
and `write`, which on SQLite takes the one write lock when it begins (BEGIN IMMEDIATE), so that what it reads first is
still true when it writes. On PostgreSQL several writers are at work at once and lock the rows they depend on.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    create_engine,
    event,
    func,
    inspect,
    literal,
    text,
    type_coerce,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from firsthand.errors import InputError, MissingDependencyError
from firsthand.evaluation.codearena.store.tables import Utc

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["Database", "absolute_url", "open_database", "upgrade"]

BUSY_S = 30.0  # how long SQLite waits for another process's write
_MIGRATING = 0x_A7E_4A  # names our advisory lock on PostgreSQL
_ALEMBIC = threading.Lock()  # it keeps what it is at in variables of its module


class Database:
    """An open database. `read()` and `write()` give connections in a transaction that is committed at the end.

    Safe to use from several threads. After a fork the child opens its own.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sqlite = engine.dialect.name == "sqlite"
        self._writer = engine.execution_options(firsthand_writes=True)
        self._reader = engine
        if not self.sqlite:
            self._reader = engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        # Threads of this process take turns here; SQLite itself would let them poll.
        self._turn = threading.Lock()

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read from: all that is read is of one moment."""
        with self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection to read and write: all of it happens, or nothing."""
        if not self.sqlite:
            with self._writer.begin() as connection:
                yield connection
            return
        with self._turn, self._writer.begin() as connection:
            yield connection

    def now(self, seconds: float = 0.0) -> ColumnElement[datetime]:
        """So many seconds from now, by the one clock that all judges of this database share."""
        if self.sqlite:  # they are all on this machine
            return literal(datetime.now(UTC) + timedelta(seconds=seconds), Utc())
        moment: ColumnElement[datetime] = func.clock_timestamp(type_=Utc())
        if not seconds:
            return moment
        return type_coerce(moment + func.make_interval(0, 0, 0, 0, 0, 0, seconds), Utc())

    def close(self) -> None:
        """Close all connections; those in use are closed when they are given back."""
        self.engine.dispose()


def open_database(url: str, *, migrate: bool = True) -> Database:
    """Open a database and, with `migrate`, make or renew its tables.

    Args:
        url: `sqlite:///arena.db` (a file; three slashes for a relative path) or `postgresql+psycopg://user@host/name`.
        migrate: False raises where the tables are not up to date.

    Raises:
        InputError: a URL that cannot be used, a database that cannot be reached, tables of a newer Firsthand.
        MissingDependencyError: psycopg is not installed.
    """
    database = Database(_engine(_checked(url)))
    try:
        _prepare(database, migrate)
    except BaseException:
        database.close()
        raise
    return database


def absolute_url(url: str) -> str:
    """The same database whatever folder a process is in; raises `InputError` as `open_database` does."""
    found = _checked(url)
    if found.drivername.startswith("sqlite"):
        found = found.set(database=str(Path(str(found.database)).resolve()))
    return found.render_as_string(hide_password=False)


def _checked(url: str) -> URL:
    try:
        found = make_url(url)
    except ArgumentError as error:
        raise InputError(
            "the database's URL cannot be read; write sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
        ) from error
    if found.drivername in ("postgresql", "postgres"):
        found = found.set(drivername="postgresql+psycopg")
    if found.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise InputError(
            f"the database's URL begins with {found.drivername}://; an arena is kept in sqlite:///FILE or "
            "postgresql+psycopg://USER@HOST/NAME"
        )
    if found.drivername.startswith("sqlite"):
        if found.database in (None, "", ":memory:"):
            raise InputError(
                "an arena's SQLite database is a file, which server and judges share: sqlite:///FILE"
            )
        if not Path(str(found.database)).resolve().parent.is_dir():
            raise InputError(f"there is no folder for the database {found.database}; make it first")
    return found


def _engine(url: URL) -> Engine:
    try:
        if url.drivername == "postgresql+psycopg":
            return create_engine(url, pool_size=10, max_overflow=20, pool_pre_ping=True, hide_parameters=True)
        engine = create_engine(
            url,
            pool_size=10,
            max_overflow=60,
            hide_parameters=True,  # sources and secrets are kept out of logs and of errors' words
            connect_args={"timeout": BUSY_S, "check_same_thread": False},
        )
    except (ImportError, NoSuchModuleError) as error:
        raise MissingDependencyError(
            "PostgreSQL needs psycopg: pip install 'firsthand[evaluation]'"
        ) from error
    if sqlite3.sqlite_version_info < (3, 35):
        raise InputError(f"SQLite is {sqlite3.sqlite_version}; an arena needs 3.35 or newer")

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # Python's own BEGIN would come too late and be of the wrong kind
        _keep_a_log(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("firsthand_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _keep_a_log(connection: Any) -> None:
    """Have readers and a writer at one time. Only this statement does not wait for others that are at the file."""
    end = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
        time.sleep(0.01)


# --- migrations --------------------------------------------------------------------------------------------


def _alembic(connection: Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@cache
def _revisions() -> tuple[str, ...]:
    """All revisions, the newest first."""
    from alembic.script import ScriptDirectory

    return tuple(script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions())


def _revision_in(connection: Connection) -> str | None:
    """What the database says; None where it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _prepare(database: Database, migrate: bool) -> None:
    try:
        with database.read() as connection:
            there = _revision_in(connection)
            foreign = there is None and bool(inspect(connection).get_table_names())
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()
        raise InputError(
            f"the database {database.name} cannot be opened: {reason[0] if reason else error.orig}"
        ) from error
    if there == _revisions()[0]:
        return
    if foreign:
        raise InputError(f"{database.name} holds other tables; an arena needs a database of its own")
    if there is not None and there not in _revisions():
        raise InputError(
            f"{database.name} was made by a newer Firsthand (revision {there}); install that one, or open a copy"
        )
    if not migrate:
        raise InputError(
            f"the tables of {database.name} are of revision {there or 'none'}, not {_revisions()[0]}; open the "
            "arena once, or run: firsthand codearena serve"
        )
    upgrade(database)


def upgrade(database: Database) -> None:
    """Bring the tables up to date; whoever comes meanwhile waits, and finds it done."""
    from alembic import command

    with _ALEMBIC, database.write() as connection:
        if not database.sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:name)"), {"name": _MIGRATING})
        command.upgrade(_alembic(connection), "head")
