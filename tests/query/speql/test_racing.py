"""A text that runs while it is looked whether something else answers it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from firsthand.query.speql.config import Config
from firsthand.query.speql.duckdb_engine import DuckDBEngine
from firsthand.query.speql.errors import QueryFailed
from firsthand.query.speql.racing import Look, Run, Runner
from firsthand.query.speql.session import Session

from .conftest import SALES, database

QUERY = "SELECT item, sum(quantity) AS s FROM sales WHERE price > 5 GROUP BY item"


class Slow:
    """A connection whose query ends when it is told to."""

    def __init__(self, answer: Any = "rows") -> None:
        self.go, self.answer, self.interrupted = threading.Event(), answer, 0

    def query(self, sql: str, *, timeout_s: float | None = None) -> Any:
        assert self.go.wait(30)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def interrupt(self) -> None:
        self.interrupted += 1
        self.go.set()


@pytest.fixture
def runner() -> Iterator[Callable[[Any], Runner]]:
    """Makes runners, and ends their threads."""
    made: list[Runner] = []

    def make(connection: Any) -> Runner:
        made.append(Runner(connection))
        return made[-1]

    yield make
    for one in made:
        one.connection.go.set()
        one.close()


def test_a_look_that_is_quicker_is_found_and_the_run_is_ended(runner: Any) -> None:
    connection, over = Slow(), threading.Event()
    run = Run(runner(connection), "SELECT 1", None, over)
    look = Look(run, lambda go_on: "views", over)
    assert over.wait(30)
    assert look.done
    assert not run.done
    assert look.found() == "views"
    run.end()
    assert connection.interrupted


def test_a_look_ends_once_the_run_is_done(runner: Any) -> None:
    connection, over = Slow(), threading.Event()
    steps = []

    def look(go_on: Any) -> str:
        while True:
            steps.append(1)
            go_on()
            time.sleep(0.001)

    run = Run(runner(connection), "SELECT 1", None, over)
    looking = Look(run, look, over)
    connection.go.set()
    assert over.wait(30)
    assert run.result() == "rows"
    for _ in range(3000):
        if looking.done:
            break
        time.sleep(0.01)
    assert looking.done
    assert looking.found() is None
    run.end()
    assert not connection.interrupted


@pytest.mark.parametrize("of", ["run", "look"])
def test_what_either_raises_is_told(runner: Any, of: str) -> None:
    connection, over = Slow(QueryFailed("no such column")), threading.Event()
    run = Run(runner(connection), "SELECT 1", None, over)
    if of == "run":
        connection.go.set()
        with pytest.raises(QueryFailed, match="no such column"):
            run.result()
    else:
        looking = Look(run, lambda go_on: 1 // 0, over)
        assert over.wait(30)
        with pytest.raises(ZeroDivisionError):
            looking.found()
        run.end()


@pytest.fixture
def raced(sales: Path):
    with Session(DuckDBEngine(sales, threads=1), Config()) as session:
        session.edit(QUERY)
        assert session.wait(30)
        yield session


def hold(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    """Let the text's own run last until it is interrupted, as if its tables were large."""
    real = session._runner.connection.query

    def slow(sql: str, *, timeout_s: float | None = None) -> Any:
        return real(
            f"SELECT * FROM ({sql}) WHERE (SELECT count(*) FROM range(100000000000)) > 0", timeout_s=60
        )

    monkeypatch.setattr(session._runner.connection, "query", slow)


def test_views_answer_before_a_long_run(raced: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, raced)
    result = raced.submit(QUERY.replace("> 5", "> 6"))
    assert result.level == 1
    assert sorted(result.table.to_pydict()["item"]) == ["a", "c", "d", "e"]


def test_a_short_run_is_not_looked_beside(raced: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    raced._ahead.stock.look_ms = 30_000.0
    monkeypatch.setattr(raced._ahead.stock, "rewritten", lambda *_: pytest.fail("looked"))
    result = raced.submit(QUERY.replace("> 5", "> 6"))
    assert result.level == 2
    assert sorted(result.table.to_pydict()["item"]) == ["a", "c", "d", "e"]


def test_what_a_run_found_is_kept_and_counted_later(raced: Session) -> None:
    raced._ahead.stock.look_ms = 30_000.0
    runs = len(raced._ahead.stock.runs._runs)
    text = QUERY.replace("> 5", "> 6")
    first = raced.submit(text)
    assert raced.wait(30)
    assert len(raced._ahead.stock.runs._runs) == runs + 1
    again = raced.submit(text)
    assert again.level == 0
    assert again.table == first.table
    for _ in range(2):  # rows that differ each time are not
        assert raced.submit("SELECT random() FROM sales").level != 0
        assert raced.wait(30)


def test_what_was_found_of_older_data_is_not_kept(tmp_path: Path) -> None:
    path = database(tmp_path / "sales.duckdb", SALES)
    with Session(DuckDBEngine(path, threads=1), Config()) as session:
        text = "SELECT count(*) AS n FROM sales"
        result = session.submit(text)
        assert session.wait(30)
        session._ahead.stock.changes += 1  # as a change of the file would
        session._keep(text, result, session._ahead.stock.changes - 1)
        assert session.submit(text).level != 0


def test_a_run_that_fails_says_why(raced: Session) -> None:
    with pytest.raises(QueryFailed, match="nothing"):
        raced.submit("SELECT nothing FROM sales")
