"""How what was planned is made: a table, a preview, a rewritten body.

Before each query it is asked whether to go on; a query that takes too long is given up. Knows connections and budgets;
knows neither order nor threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from sqlglot import exp

from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.bodies import Body
from firsthand.query.speql.config import Config
from firsthand.query.speql.costs import bytes_read
from firsthand.query.speql.engine import Connection, Engine, Filled, Plan
from firsthand.query.speql.errors import BudgetExceeded, QueryInterrupted
from firsthand.query.speql.happenings import now_ms
from firsthand.query.speql.matching import Rewrite
from firsthand.query.speql.plan import Vertex, text_vertex
from firsthand.query.speql.prepared import Prepared, outputs_of
from firsthand.query.speql.previews import Preview, exact_preview, preview_query, sampled_preview
from firsthand.query.speql.repair import Repair
from firsthand.query.speql.schema import width_of
from firsthand.query.speql.stock import SMALL, Stock
from firsthand.query.speql.views import Text, View, filling

__all__ = ["Maker", "Wanted"]

_MOST_CROSSED = 1e7  # rows


@dataclass(frozen=True)
class Wanted:
    """The preview that a snapshot asks for.

    Attributes:
        snapshot: its number.
        repair: what its text became.
        statement: of the repaired text.
        at_cursor: the query in it that is shown; None where there is none.
        body: that a submission may have; None where nothing is known of its rows.
    """

    snapshot: int
    repair: Repair
    statement: Statement
    at_cursor: exp.Query | None
    body: Body | None


class Maker:
    """Makes one thing at a time.

    Args:
        engine: whose tables are read.
        config: budgets.
        stock: into which it is put.
        go_on: raises `QueryInterrupted` where what is being made has to wait.
    """

    def __init__(self, engine: Engine, config: Config, stock: Stock, go_on: Callable[[], None]) -> None:
        self.engine, self.config, self.stock = engine, config, stock
        self.connection: Connection = engine.connect()
        self._go_on = go_on
        self._ids = count(1)

    def view(self, vertex: Vertex) -> View:
        """Make a table and put it into the stock.

        Raises `BudgetExceeded` where it is not worth having, `QueryFailed` where the engine refuses it; a vertex that
        was not worth having once is not the next time, which the stock notes.
        """
        start = now_ms()
        changes = self.stock.changes
        sql = filling(vertex.definition, self.engine.schema.dialect)
        statement = Statement.read(sql, self.engine.schema, volatile=self.engine.volatile)
        found = self.stock.rewritten(statement)
        scanned = bytes_read(statement)
        with self.stock.pool.reading(found.views if found is not None else ()) as there:
            try:
                view = self._filled(vertex, found.sql if found is not None and there else sql, start)
                limit = max(self.config.use_view_ratio * scanned, SMALL)
                if vertex.kind == "rows" and view.bytes > limit:
                    self.connection.drop(view.name)
                    raise BudgetExceeded(
                        f"{view.rows} rows are nearly as much to read as the tables themselves"
                    )
            except BudgetExceeded as error:
                self.stock.refuse(vertex.key, str(error), changes)
                raise
            if not self.stock.put(view, changes):
                self.connection.drop(view.name)
                raise BudgetExceeded("the data changed while it was made")
        if found is None:
            self.stock.runs.add(scanned, view.made_ms)
            self.stock.read_ahead(statement)
        return view

    def preview(self, wanted: Wanted) -> Preview:
        """Rows for the page, of a sample where they take too long.

        Raises `BudgetExceeded` where a sample takes too long as well, `QueryFailed` where the engine refuses it.
        """
        start = now_ms()
        query = preview_query(wanted.statement, wanted.repair, wanted.at_cursor, self.config.preview_rows)
        found = self.stock.rewritten(query.statement) if query.statement is not None else None
        with self.stock.pool.reading(found.views if found is not None else ()) as there:
            sql = found.sql if found is not None and there else query.sql
            used = tuple(view.id for view in found.views) if found is not None and there else ()
            self._go_on()
            whole = wanted.at_cursor is wanted.statement.tree  # then columns are named as the text has them
            described = self.connection.describe(wanted.repair.sql if whole else query.sql)
            _refuse_crossing(self.connection.explain(sql))
            self._go_on()
            begun = now_ms()
            try:
                table = self.connection.query(sql, timeout_s=self.config.command_timeout_s)
            except QueryInterrupted:
                self._give_up(begun)
                try:
                    return sampled_preview(
                        self.connection, query, wanted.repair, wanted.snapshot, self.config, start
                    )
                except QueryInterrupted as error:
                    self._go_on()
                    raise BudgetExceeded("it takes too long, and so does a sample of it") from error
            named = table.rename_columns([column.name for column in described])
            preview = exact_preview(
                named, wanted.repair, wanted.snapshot, query, used, now_ms() - start, self.config.preview_rows
            )
        if not used:
            self.stock.read_ahead(wanted.statement)
        return preview

    def prepare(self, body: Body) -> None:
        """Rewrite a body over the views there are, for a submission that has it."""
        begun = now_ms()
        dialect = self.engine.schema.dialect
        statement = Statement.read(body.text, self.engine.schema, volatile=self.engine.volatile)
        found = self._whole_text(body) if statement.opaque else self.stock.rewritten(statement)
        self.stock.looked(now_ms() - begun)
        if found is None:
            return
        self._go_on()
        names = tuple(column.name for column in self.connection.describe(body.text))
        outputs = outputs_of(body.text, len(names), dialect)
        made = Prepared(found, names, outputs, bytes_read(statement), self.stock.changes)
        self.stock.prepared.put(body.key, made)

    def _filled(self, vertex: Vertex, sql: str, start: float) -> View:
        """Make a table, unless it is plain beforehand that it is a cross product or larger than all may be."""
        self._go_on()
        plan = self.connection.explain(sql)
        _refuse_crossing(plan)
        if plan.rows is not None:
            size = plan.rows * sum(width_of(column.type) for column in self.connection.describe(sql))
            if size > self.config.max_view_bytes:
                raise BudgetExceeded(f"about {plan.rows:.0f} rows, {size / 2**20:.0f} MiB, are expected")
        self._go_on()
        number, begun = next(self._ids), now_ms()
        limit = self.config.command_timeout_s
        try:
            filled: Filled = self.connection.fill(number, sql, timeout_s=limit)
        except QueryInterrupted as error:
            self._give_up(begun)
            raise BudgetExceeded(f"it takes more than {limit:g} s") from error
        widths = tuple(map(width_of, filled.types))
        made_ms = now_ms() - start
        return View(
            number, vertex.definition, filled.name, filled.types, filled.rows, widths, made_ms, vertex.key
        )

    def _give_up(self, begun: float) -> None:
        """Return where a query was stopped by its time limit alone; raise `QueryInterrupted` else."""
        self._go_on()
        if now_ms() - begun < 1e3 * self.config.command_timeout_s:
            raise QueryInterrupted("interrupted")

    def _whole_text(self, body: Body) -> Rewrite | None:
        """A body that is not understood, from the table that holds all its rows."""
        wanted = text_vertex(body, ()).key
        dialect = self.engine.schema.dialect
        for view in self.stock.pool.views():
            if view.key == wanted and isinstance(view.definition, Text):
                columns = ", ".join(
                    f"c{place} AS {exp.to_identifier(name, quoted=True).sql(dialect=dialect)}"
                    for place, name in enumerate(view.definition.names)
                )
                return Rewrite(f"SELECT {columns} FROM {view.name}", (view,))
        return None


def _refuse_crossing(plan: Plan) -> None:
    """Raise `BudgetExceeded` before tables that are joined on nothing yet make millions of rows."""
    if plan.crossed > _MOST_CROSSED:
        raise BudgetExceeded(f"two tables are joined on nothing yet: about {plan.crossed:.0f} rows")
