"""Opening a database: its tables come from the migrations, wrong ones are refused, events are never changed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from firsthand.errors import InputError
from firsthand.evaluation.codearena.store import tables
from firsthand.evaluation.codearena.store.database import _keep_a_log, absolute_url, open_database
from firsthand.evaluation.codearena.store.events import note

from .conftest import add_problem


def test_the_migrations_make_the_tables_of_the_code(arena_url):
    database = open_database(arena_url, migrate=False)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        partial = {
            (table, index["name"])
            for table in tables.metadata.tables
            for index in inspect(connection).get_indexes(table)
            if any(name.endswith("_where") for name in index.get("dialect_options", {}))
        }
    wanted = {
        (table.name, index.name)
        for table in tables.metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    assert partial == wanted
    database.close()


def test_columns_are_as_in_the_code_to_the_type_and_the_order(arena_url):
    """What Alembic's comparison passes over: the order of columns, and checks."""
    database = open_database(arena_url, migrate=False)
    with database.read() as connection:
        there = inspect(connection)
        for table in tables.metadata.sorted_tables:
            assert [column["name"] for column in there.get_columns(table.name)] == table.columns.keys()
            checks = {check["name"] for check in there.get_check_constraints(table.name)}
            assert checks == {
                str(one.name) for one in table.constraints if isinstance(one, CheckConstraint)
            }, table.name
    database.close()


def test_a_reader_cannot_write_on_postgresql(postgres_urls, clock):
    with postgres_urls.database() as url:
        database = open_database(url)
        with pytest.raises(DBAPIError, match="read-only"), database.read() as connection:
            note(connection, clock(), "x", "y")
        database.close()


def test_a_relative_path_is_the_same_database_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_url("sqlite:///arena.db") == f"sqlite:///{tmp_path}/arena.db"
    assert absolute_url("postgresql://u:secret@h/x") == "postgresql+psycopg://u:secret@h/x"


def test_a_new_database_is_made_and_opened_again(tmp_path):
    url = f"sqlite:///{tmp_path}/new.db"
    open_database(url).close()
    database = open_database(url, migrate=False)
    with database.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == ["0001"]
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    database.close()


def test_several_that_make_the_tables_at_once_make_them_once(empty_url):
    with ThreadPoolExecutor(4) as pool:
        for database in pool.map(open_database, [empty_url] * 4):
            database.close()
    database = open_database(empty_url, migrate=False)
    with database.read() as connection:
        assert len(connection.execute(text("SELECT * FROM alembic_version")).all()) == 1
    database.close()


def test_a_log_is_kept_once_nobody_is_at_the_file():
    """SQLite's busy timeout does not hold for the change of a journal."""

    class Busy:
        asked = 0

        def execute(self, statement):
            self.asked += 1
            if self.asked < 3:
                raise sqlite3.OperationalError("database is locked")

    class Broken:
        def execute(self, statement):
            raise sqlite3.OperationalError("disk I/O error")

    busy = Busy()
    _keep_a_log(busy)
    assert busy.asked == 3
    with pytest.raises(sqlite3.OperationalError, match="disk"):
        _keep_a_log(Broken())


def test_several_processes_make_the_tables_once(empty_url):
    code = f"from firsthand.evaluation.codearena.store.database import open_database; open_database({empty_url!r})"
    makers = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(3)]
    for maker in makers:
        _, said = maker.communicate()
        assert maker.returncode == 0, said.decode()
    database = open_database(empty_url, migrate=False)
    with database.read() as connection:
        assert len(connection.execute(text("SELECT * FROM alembic_version")).all()) == 1
    database.close()


def test_two_databases_at_once_in_one_process_get_their_own_tables(tmp_path, postgres_urls):
    """Alembic keeps what it is at in variables of its module."""
    urls = [f"sqlite:///{tmp_path}/{number}.db" for number in range(3)] + [postgres_urls("template0")]
    with ThreadPoolExecutor(4) as pool:
        for database in pool.map(open_database, urls):
            with database.read() as connection:
                assert inspect(connection).has_table("user_problem_score")
            database.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://x/y", "sqlite:///FILE"),
        ("no url", "cannot be read"),
        ("sqlite://", "is a file"),
        ("sqlite:////no/such/folder/x.db", "no folder"),
        ("postgresql://user:hunter2@127.0.0.1:1/x", "cannot be opened"),
    ],
)
def test_what_is_no_database_is_refused(url, says):
    with pytest.raises(InputError, match=says) as caught:
        open_database(url)
    assert "hunter2" not in str(caught.value)


def test_other_peoples_tables_and_newer_ones_are_left_alone(tmp_path):
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE account (x)")
    with pytest.raises(InputError, match="database of its own"):
        open_database(f"sqlite:///{foreign}")
    newer = tmp_path / "newer.db"
    with sqlite3.connect(newer) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    with pytest.raises(InputError, match="newer Firsthand"):
        open_database(f"sqlite:///{newer}")
    (tmp_path / "text.db").write_text("this is no database, and long enough to be seen as such" * 20)
    with pytest.raises(InputError, match="cannot be opened"):
        open_database(f"sqlite:///{tmp_path}/text.db")
    with pytest.raises(InputError, match="not 0001"):
        open_database(f"sqlite:///{tmp_path}/empty.db", migrate=False)


def test_events_and_checkpoints_are_never_changed(arena):
    add_problem(arena)
    arena.checkpoint()
    for name in tables.IMMUTABLE:
        for statement in (f"UPDATE {name} SET at = at", f"DELETE FROM {name}"):
            with pytest.raises(DBAPIError, match="never changed"), arena.database.write() as connection:
                connection.execute(text(statement))
    assert [event.kind for event in arena.events()][:1] == ["problem.created"]


def test_a_transaction_happens_wholly_or_not_at_all(arena, clock):
    def broken() -> None:
        with arena.database.write() as connection:
            note(connection, clock(), "x", "y")
            connection.execute(insert(tables.account).values(name="a", kind="wizard", created_at=clock()))

    with pytest.raises(IntegrityError):
        broken()
    assert list(arena.events()) == []


def test_writers_of_one_process_wait_for_each_other(arena, clock):
    arena.accounts.create("a", "llm")

    def rename(number: int) -> None:
        with arena.database.write() as connection:
            row = connection.execute(select(tables.account).with_for_update()).one()
            connection.execute(update(tables.account).values(name=f"{row.name}x", first_seen=clock()))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(rename, range(48)))
    assert arena.accounts.find("a" + "x" * 48).first_seen == clock()


def test_a_time_without_a_zone_is_a_mistake(small):
    from datetime import datetime

    with pytest.raises(Exception, match="needs its zone"), small.database.write() as connection:
        note(connection, datetime(2024, 1, 1), "x", "y")
