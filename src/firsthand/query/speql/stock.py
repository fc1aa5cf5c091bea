"""What was made ahead: tables, rewritten bodies, what is known of costs; and whether all of it is still of the data.

Knows when a query is answered from it. Knows neither what is typed nor when anything is made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from sqlglot import exp

from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.config import Config
from firsthand.query.speql.costs import DirectRuns, Worth
from firsthand.query.speql.engine import Connection, Engine
from firsthand.query.speql.matching import Rewrite, rewrite
from firsthand.query.speql.pool import Pool
from firsthand.query.speql.prepared import PreparedBodies
from firsthand.query.speql.text import names_in
from firsthand.query.speql.views import View

__all__ = ["SMALL", "Stock", "tables_read"]

SMALL = 64 * 2**10  # bytes; a table of this size is worth having whatever it was made from
_MOST_REFUSED = 500


class Stock:
    """What one session has.

    Args:
        engine: whose tables are read.
        config: budgets.
        dropped: called with the id of every view that has left.
    """

    def __init__(self, engine: Engine, config: Config, dropped: Callable[[int], None]) -> None:
        self.engine, self.config = engine, config
        self.pool = Pool(config.max_views, config.max_view_bytes, self._drop)
        self.prepared = PreparedBodies()
        self.runs = DirectRuns()
        self.warm: frozenset[str] = frozenset()  # tables that were read ahead
        self.look_ms = 10.0  # that it takes to find out whether views answer a text
        self.changes = 0  # how often the data was found changed
        self._refused: dict[str, str] = {}
        self._dropped = dropped
        self._closed = False
        self._lock = threading.Lock()
        self._version = engine.version()

    # --- use ----------------------------------------------------------------------

    def rewritten(self, statement: Statement, go_on: Callable[[], None] | None = None) -> Rewrite | None:
        """The statement over the views there are, where that is allowed and worth it; `go_on` is called in between."""
        views = self.pool.views()
        worth = Worth(statement, self.config.use_view_ratio, SMALL)

        def fits(view: View, read: Sequence[int], query: exp.Expr) -> bool:
            if go_on is not None:
                go_on()
            return worth(view, read, query)

        return rewrite(statement, views, fits) if views else None

    def looked(self, milliseconds: float) -> None:
        """Note how long it took to find out whether views answer a text."""
        self.look_ms += (milliseconds - self.look_ms) / 4

    def read_ahead(self, statement: Statement) -> None:
        """Note that a statement was run on the tables themselves."""
        self.warm |= tables_read(statement)

    def read_before(self, sql: str) -> bool:
        """Whether every table that a text names was read ahead."""
        schema = self.engine.schema
        read = {name for name in names_in(sql, schema.dialect) if schema.table(name) is not None}
        return bool(read) and read <= self.warm

    # --- what comes in ----------------------------------------------------------------------

    def put(self, view: View, changes: int) -> bool:
        """Take a view in, if the data is still in the state that it was made of; else it stays with the caller.

        Raises `BudgetExceeded` where the pool has no place for it; the view is then dropped.
        """
        with self._lock:  # no change is noticed between the look and the pool
            if changes != self.changes:
                return False
            self.pool.add(view)
        return True

    def refuse(self, key: str, reason: str, changes: int) -> None:
        """Note that a table is not worth having, while the data stays as it was: it would be no other another time."""
        with self._lock:
            if changes == self.changes:
                kept = self._refused if len(self._refused) < _MOST_REFUSED else {}
                self._refused = {**kept, key: reason}

    def refused(self) -> dict[str, str]:
        """Why tables are not worth having, by key."""
        return self._refused

    # --- the data ----------------------------------------------------------------------

    def notice_changes(self, pause: Callable[[], AbstractContextManager[None]]) -> bool:
        """Forget everything that was made of other data than there is now; whether there was any change.

        `pause` gives a block in which nothing is made.
        """
        with self._lock:
            version = self.engine.version()
            if version == self._version:
                return False
            # Before the pool is emptied: what is made of the old data is not put into it then.
            self.changes += 1
            with pause():
                self.pool.clear()
                self._refused = {}
                self.engine.refresh()
            self._version = self.engine.version()
            self.warm = frozenset()
        return True

    def unchanged(self) -> bool:
        """Whether the data is still that which the pool was last found to be of."""
        with self._lock:
            return bool(self.engine.version() == self._version)

    def close(self) -> None:
        """Drop every view; the engine is about to be closed."""
        self._closed = True
        self.pool.clear()

    def _drop(self, view: View) -> None:
        """A view has left the pool. Whoever sent it away may hold a connection: this takes one of its own."""
        if not self._closed:  # an engine that closes drops what it holds
            connection: Connection = self.engine.connect()
            try:
                connection.drop(view.name)
            finally:
                connection.close()
        self._dropped(view.id)


def tables_read(statement: Statement) -> frozenset[str]:
    """Names of the tables that a statement reads; none of one that is not understood."""
    if statement.tree is None or statement.unknown:
        return frozenset()
    return frozenset(
        table.name.lower()
        for table in statement.tree.find_all(exp.Table)
        if table.db or table.name not in statement.ctes
    )
