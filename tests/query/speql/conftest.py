"""What tests of several files share: a small database, a session on it, a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from firsthand.query.speql.config import Config
from firsthand.query.speql.duckdb_engine import DuckDBEngine
from firsthand.query.speql.session import Session
from tests import postgres_server

SALES = (
    "CREATE TABLE sales (item VARCHAR, price INTEGER, quantity INTEGER)",
    "INSERT INTO sales VALUES ('a', 3, 100), ('b', 6, 60), ('c', 7, 20), ('d', 9, 5), ('e', 10, 1), ('f', 6, NULL), "
    "('a', 8, 12)",
    "CREATE TABLE stock (item VARCHAR, shelf INTEGER)",
    "INSERT INTO stock VALUES ('a', 1), ('b', 2), ('z', 3)",
)


def database(path: Path, statements: tuple[str, ...] = SALES) -> Path:
    connection = duckdb.connect(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return path


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    return database(tmp_path / "sales.duckdb")


@pytest.fixture
def session(sales: Path) -> Iterator[Session]:
    # Without a race: on seven rows the text itself may be quicker than finding out that a view would do.
    with Session(DuckDBEngine(sales, threads=1), Config(race=False)) as session:
        yield session


@pytest.fixture
def run() -> Callable[[str], Any]:
    """Answers of a fresh in-memory database with the tables of `SALES`."""
    connection = duckdb.connect()
    for statement in SALES:
        connection.execute(statement)
    return lambda sql: connection.execute(sql).fetchall()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server's database."""
    with postgres_server.server() as url:
        yield url


@pytest.fixture
def admin(postgres_url: str) -> Iterator[Any]:
    """A connection of somebody else's to the same database, whose default schema is emptied before the test."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
        connection.execute("CREATE SCHEMA public")
        yield connection


@pytest.fixture(scope="session")
def workload(tmp_path_factory):
    """`speql.workload`, its files in a cache of the tests' own; skips where the generators are not installed."""
    pytest.importorskip("duckdb_extension_tpcds")
    pytest.importorskip("duckdb_extension_tpch")
    from firsthand.query.speql import workload

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTHAND_CACHE", str(tmp_path_factory.mktemp("workload")))
        yield workload
