"""Databases that tests of several files share: each test that asks for `arena_url` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.engine import make_url

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.store import tables
from firsthand.evaluation.codearena.store.cases import NewCase, Program
from firsthand.evaluation.codearena.store.collection import Problem
from tests import postgres_server

from .scripted import ScriptedGrader
from .watched import LEASE_S

# Children that begin with what is imported, without this process's threads and connections.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [f"{__package__}.{name}" for name in ("test_crashes", "test_submissions")]
    + ["alembic.command", "psycopg"]
)

SHOUTS = (Program("python", "SHOUT"), Program("c", "SHOUT"))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory) -> Path:
    """A database whose tables are made: to be copied."""
    path = tmp_path_factory.mktemp("template") / "arena.db"
    Arena.open(f"sqlite:///{path}").close()
    return path


class PostgresUrls:
    """Makes databases on a server of the tests' own, each with an arena's tables or (`template0`) with nothing."""

    def __init__(self, url: str, admin: Any) -> None:
        self._base, _, self._host = url.replace("postgresql:", "postgresql+psycopg:").partition("/postgres?")
        self._admin, self._numbers = admin, itertools.count()
        self._emptied: list[str] = []
        admin.execute("CREATE DATABASE template_arena")
        Arena.open(self._address("template_arena")).close()

    def _address(self, name: str) -> str:
        return f"{self._base}/{name}?{self._host}"

    def __call__(self, template: str = "template_arena") -> str:
        name = f"arena_{next(self._numbers)}"
        self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._address(name)

    @contextlib.contextmanager
    def database(self, template: str = "template_arena") -> Iterator[str]:
        if template == "template_arena":
            url = self._emptied.pop() if self._emptied else self(template)
            yield url
            self._empty(url)
            self._emptied.append(url)
        else:
            url = self(template)
            yield url
            self._admin.execute(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def _empty(self, url: str) -> None:
        """Ten times as fast as making a new one."""
        import psycopg

        self._admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [make_url(url).database],
        )
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")  # triggers keep events as they are
            connection.execute(f"TRUNCATE {', '.join(tables.metadata.tables)} RESTART IDENTITY CASCADE")


@pytest.fixture(scope="session")
def postgres_urls() -> Iterator[PostgresUrls]:
    psycopg = pytest.importorskip("psycopg")
    with postgres_server.server() as url, psycopg.connect(url, autocommit=True) as admin:
        yield PostgresUrls(url, admin)


@pytest.fixture(params=["sqlite", "postgresql"])
def arena_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an arena with nothing in it."""
    if request.param == "sqlite":
        yield sqlite_copy(request.getfixturevalue("sqlite_template"), tmp_path)
        return
    with request.getfixturevalue("postgres_urls").database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/new.db"
        return
    with request.getfixturevalue("postgres_urls").database("template0") as url:
        yield url


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The same on SQLite only, for what does not depend on the database."""
    return sqlite_copy(sqlite_template, tmp_path)


def sqlite_copy(template: Path, folder: Path) -> str:
    shutil.copy(template, folder / "arena.db")
    return f"sqlite:///{folder}/arena.db"


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2024, 7, 30, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def move(self, **by: float) -> datetime:
        self.time += timedelta(**by)
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def arena(arena_url: str, clock: Clock) -> Iterator[Arena]:
    with Arena.open(arena_url, grader=ScriptedGrader(), clock=clock) as arena:
        yield arena


@pytest.fixture
def small(sqlite_url: str, clock: Clock) -> Iterator[Arena]:
    """An arena on SQLite only."""
    with Arena.open(sqlite_url, grader=ScriptedGrader(), clock=clock) as arena:
        yield arena


@pytest.fixture
def league(arena_url: str) -> Iterator[Arena]:
    """An arena that judge processes share, with a problem and a person; its clock goes."""
    with Arena.open(arena_url, grader=ScriptedGrader(), lease_s=LEASE_S) as arena:
        add_problem(arena)
        arena.accounts.create("h", "human")
        yield arena


def add_problem(arena: Arena, pid: str = "sum", *, bps: float = 5.0, **more: Any) -> None:
    """A problem with one active test case."""
    arena.create_problem(
        Problem(pid, title=pid.title(), statement=f"Solve {pid}.", bps=bps, **more),
        cases=[NewCase("a", "A", sample=True), NewCase("b", "B")],
        solutions=SHOUTS,
        validated=True,
    )


def retries_now(arena: Arena) -> None:
    """Jobs that wait for a retry need wait no longer."""
    with arena.database.write() as connection:
        connection.execute(update(tables.job).values(not_before=arena.database.now(-60)))


def leases_over(arena: Arena) -> None:
    """Every lease has run out."""
    with arena.database.write() as connection:
        held = tables.job.c.lease.is_not(None)
        connection.execute(update(tables.job).where(held).values(lease_until=arena.database.now(-1)))


def judge_all(arena: Arena) -> list[str]:
    found = []
    while (sid := arena.judge_once()) is not None:
        found.append(sid)
    return found
