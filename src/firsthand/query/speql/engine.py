"""What speculation asks of a database, whichever it is.

An `Engine` knows tables, makes connections and holds the speculative tables; a `Connection` runs one query at a time
and can be interrupted from another thread. `duckdb_engine` and `sqlalchemy_engine` are the two there are.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from firsthand.query.speql.errors import UnsafeStatement
from firsthand.query.speql.schema import Column, Schema
from firsthand.query.speql.text import QUERY_STARTS, first_word

__all__ = ["Connection", "Engine", "Filled", "Plan", "refuse_all_but_one_query"]


@dataclass(frozen=True)
class Plan:
    """What an engine says of a query before it runs.

    Attributes:
        rows: about how many rows come out; None where it does not say.
        crossed: about how many rows come of joining tables on nothing, or row by row on what is no equality; 0 where
            none are.
    """

    rows: float | None
    crossed: float


@dataclass(frozen=True)
class Filled:
    """A speculative table that was made: its name as SQL writes it, rows, and the types of its columns."""

    name: str
    rows: int
    types: tuple[str, ...]


class Connection(Protocol):
    """One connection: a query at a time, in one thread; `interrupt` and `progress` may be called from any."""

    def query(self, sql: str, *, timeout_s: float | None = None) -> Any:
        """Rows of a query as a `pyarrow.Table`.

        Raises `QueryFailed` in the engine's words, `QueryInterrupted` after `interrupt` or `timeout_s` seconds.
        """
        ...

    def describe(self, sql: str) -> tuple[Column, ...]:
        """Names and types of a query's columns, without running it; raises `QueryFailed`."""
        ...

    def explain(self, sql: str) -> Plan:
        """The engine's plan, in short; raises `QueryFailed`."""
        ...

    def fill(self, number: int, sql: str, *, timeout_s: float | None = None) -> Filled:
        """Make the speculative table of that number from a query; raises as `query` does, and leaves nothing then."""
        ...

    def drop(self, name: str) -> None:
        """Drop a speculative table."""
        ...

    def interrupt(self) -> None:
        """Stop the query that runs on this connection, if one does; returns once it has stopped."""
        ...

    def poke(self) -> None:
        """Tell the query that runs to stop, and return at once; it may have to be told again."""
        ...

    def progress(self) -> float:
        """The share of the running query that is done, 0 to 1; 0 where the engine does not tell."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Engine(Protocol):
    """A database."""

    @property
    def schema(self) -> Schema:
        """Its tables."""
        ...

    @property
    def volatile(self) -> Collection[str]:
        """Names of functions that differ from call to call."""
        ...

    def version(self) -> Hashable:
        """A value that differs once data may have changed."""
        ...

    def refresh(self) -> None:
        """Read the catalog again after `version` changed."""
        ...

    def connect(self) -> Connection:
        """A connection."""
        ...

    def refuse(self, sql: str) -> None:
        """Raise `UnsafeStatement` unless the text is one statement that only reads."""
        ...

    def close(self) -> None:
        """Drop every speculative table and end all connections; safe to call twice."""
        ...


def refuse_all_but_one_query(sql: str, statements: Sequence[str]) -> None:
    """Raise `UnsafeStatement` unless `statements`, the kinds of a text's statements, is one that begins as a query."""
    if not statements:
        raise UnsafeStatement("there is no statement; write a SELECT")
    if len(statements) > 1:
        raise UnsafeStatement(
            f"{len(statements)} statements ({', '.join(statements)}); run one at a time, and only queries"
        )
    word = first_word(sql)
    if word not in QUERY_STARTS:
        raise UnsafeStatement(
            f"{word or 'this'} is not run here: only one SELECT at a time, which reads and never writes"
        )
