"""Working ahead: two threads that turn the newest snapshot into tables and a preview.

The planner reads the newest snapshot, repairs it and says what would be worth having. The maker makes these tables and
the preview, one at a time. It is interrupted where a newer snapshot no longer wants what it makes, and stands still as
long as a submission runs, for threads of the engine are shared: what speculates takes time from what was asked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from sqlglot import exp

from firsthand.errors import FirsthandError
from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.bodies import Body, body_and_tail
from firsthand.query.speql.config import Config
from firsthand.query.speql.costs import DirectRuns, Worth, bytes_read
from firsthand.query.speql.engine import Connection, Engine, Plan
from firsthand.query.speql.errors import BudgetExceeded, QueryFailed, QueryInterrupted, RepairFailed
from firsthand.query.speql.guesses import with_shared_conditions
from firsthand.query.speql.happenings import Dag, Node, Snapshot, now_ms
from firsthand.query.speql.history import HistoryCompleter
from firsthand.query.speql.matching import Rewrite, rewrite
from firsthand.query.speql.patches import PatchCache
from firsthand.query.speql.plan import Vertex, plan_views, text_vertex
from firsthand.query.speql.pool import Pool
from firsthand.query.speql.prepared import Prepared, PreparedBodies, outputs_of
from firsthand.query.speql.previews import Preview, exact_preview, preview_query, query_at, sampled_preview
from firsthand.query.speql.repair import Repair, Repairer, RuleRepairer
from firsthand.query.speql.schema import width_of
from firsthand.query.speql.text import names_in
from firsthand.query.speql.views import Text, View, filling

__all__ = ["Speculation", "tables_read"]

_LOG = logging.getLogger("firsthand.speql")
_MOST_CROSSED = 1e7  # rows
_SMALL = 64 * 2**10  # bytes; a table of this size is worth having whatever it was made from


@dataclass(frozen=True)
class _Wanted:
    """The preview that a snapshot asks for."""

    snapshot: int
    repair: Repair
    statement: Statement
    at_cursor: exp.Query | None
    body: Body | None  # that a submission may have; None where nothing is known of its rows


@dataclass(frozen=True)
class _Body:
    """A body to be rewritten once the views of its snapshot are there."""

    snapshot: int
    body: Body


_Task = Vertex | _Wanted | _Body


def _key(task: _Task) -> str:
    if isinstance(task, Vertex):
        return task.key
    return f"{'preview' if isinstance(task, _Wanted) else 'body'} {task.snapshot}"


class Speculation:
    """What is made ahead for one session.

    Args:
        engine: whose tables are read.
        config: budgets.
        history: guesses the columns that will be wanted.
        repairer: asked where the rules find no repair; None for rules alone.
        tell: called with the kind of an event, a snapshot's number and data, from any of the threads.
    """

    def __init__(
        self, engine: Engine, config: Config, history: HistoryCompleter, repairer: Repairer | None,
        tell: Callable[..., None],
    ) -> None:  # fmt: skip
        self.engine, self.config, self.history = engine, config, history
        self.pool = Pool(config.max_views, config.max_view_bytes, self._drop)
        self.runs = DirectRuns()
        self.warm: frozenset[str] = frozenset()  # tables that were read ahead
        self.prepared = PreparedBodies()
        self.changes = 0  # how often the data was found changed
        self._tell = tell
        self._rules, self._other = RuleRepairer(self._accepts), repairer
        self._patches = PatchCache(
            config.min_rule_length, config.patch_similarity, dialect=engine.schema.dialect
        )
        self._asking, self._making = engine.connect(), engine.connect()
        self._ids = count(1)
        self._wake = threading.Condition(threading.RLock())
        self._change = threading.Lock()
        self._version = engine.version()
        self._newest: Snapshot | None = None
        self._planned = 0
        self._ran: list[str] = []  # queries that are to be added to the history
        self._todo: list[_Task] = []
        self._nodes: dict[str, Node] = {}
        self._wanted: frozenset[str] = frozenset()
        self._running: str | None = None
        self._preview: Preview | None = None
        self._paused = 0
        self._closed = False
        self._threads = [
            threading.Thread(target=loop, name=f"firsthand-speql-{name}", daemon=True)
            for name, loop in (("planner", self._plan_loop), ("maker", self._make_loop))
        ]
        for thread in self._threads:
            thread.start()

    # --- from outside ----------------------------------------------------------------------

    def take(self, snapshot: Snapshot) -> None:
        """Work on this snapshot from now on; returns at once."""
        with self._wake:
            self._newest = snapshot
            self._wake.notify_all()

    def remember(self, sql: str) -> None:
        """Add a query that ran to the history, when there is time."""
        with self._wake:
            self._ran.append(sql)
            self._wake.notify_all()

    def preview(self, number: int, timeout: float | None) -> Preview | None:
        """The preview of that snapshot or a later one; None after `timeout` seconds, or once none is to come."""
        with self._wake:
            self._wake.wait_for(lambda: self._previewed(number), timeout)
            found = self._preview
            return found if found is not None and found.snapshot >= number else None

    def wait(self, timeout: float | None) -> bool:
        """Wait until nothing is left to do; whether that came in time (seconds)."""
        with self._wake:
            return self._wake.wait_for(self._idle, timeout)

    def dag(self) -> Dag:
        """See `Session.dag`."""
        with self._wake:
            return Dag(self._planned, tuple(self._nodes.values()))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A block in which nothing is worked ahead; what ran is interrupted, and goes on afterwards if still wanted."""
        with self._wake:
            self._paused += 1
        self.interrupt()
        try:
            yield
        finally:
            with self._wake:
                self._paused -= 1
                self._wake.notify_all()

    def interrupt(self) -> None:
        """Stop the queries that run ahead."""
        for connection in (self._making, self._asking):
            connection.interrupt()

    def forget(self) -> None:
        """Drop what is still to be made, and interrupt what is being made."""
        with self._wake:
            self._todo, self._wanted = [], frozenset()
            if self._newest is not None:
                self._planned = max(self._planned, self._newest.number)
        self.interrupt()

    def rewritten(self, statement: Statement) -> Rewrite | None:
        """The statement over the views there are, where that is allowed and worth it."""
        views = self.pool.views()
        return (
            rewrite(statement, views, Worth(statement, self.config.use_view_ratio, _SMALL)) if views else None
        )

    def notice_changes(self) -> None:
        """Forget everything that was made of other data than there is now."""
        with self._change:
            version = self.engine.version()
            if version == self._version:
                return
            self.changes += (
                1  # before the pool is emptied: what is made of the old data is not put into it then
            )
            with self.paused():
                self.pool.clear()
                self.engine.refresh()
            self._version = self.engine.version()
            self.warm = frozenset()
        self._tell("stale", self._planned)

    def unchanged(self) -> bool:
        """Whether the data is still that which the pool was last found to be of."""
        with self._change:
            return bool(self.engine.version() == self._version)

    def close(self) -> None:
        """Stop both threads and drop every view."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        while any(thread.is_alive() for thread in self._threads):
            self.interrupt()
            for thread in self._threads:
                thread.join(0.02)
        self.pool.clear()
        self._asking.close()
        self._making.close()

    # --- the planner ----------------------------------------------------------------------

    def _plan_loop(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closed or self._unplanned() or self._ran_ready())
                if self._closed:
                    return
                ran = self._ran[0] if self._ran_ready() else None
                snapshot = self._newest
            if ran is not None:
                self.history.add(ran, self.engine.schema)
                with self._wake:
                    self._ran.pop(0)  # only now: whoever waits until nothing is left to do waits for this too
                    self._wake.notify_all()
                continue
            assert snapshot is not None
            try:
                self._plan(snapshot)
            except QueryInterrupted:
                continue  # a submission came first; the newest snapshot is planned after it
            except Exception:
                if self._closed:
                    return
                _LOG.exception("planning snapshot %d failed", snapshot.number)
                self._put([], snapshot)
                self._tell(
                    "repair_failed", snapshot.number, message="internal error; the log has the details"
                )

    def _ran_ready(self) -> bool:
        return bool(self._ran) and not self._paused

    def _unplanned(self) -> bool:
        return self._newest is not None and self._newest.number > self._planned and not self._paused

    def _plan(self, snapshot: Snapshot) -> None:
        start = now_ms()
        self.notice_changes()
        try:
            repair = self._repaired(snapshot)
        except RepairFailed as error:
            self._put([], snapshot)
            self._tell("repair_failed", snapshot.number, message=str(error), position=error.position)
            return
        self._tell("repaired", snapshot.number, repair=repair, milliseconds=now_ms() - start)
        statement = Statement.read(repair.sql, self.engine.schema, volatile=self.engine.volatile)
        at_cursor = query_at(statement, repair, snapshot.cursor)
        extra = self.history.columns(
            snapshot.text[repair.span.start : snapshot.cursor],
            snapshot.text[snapshot.cursor : repair.span.end],
            self.engine.schema,
        )
        names = names_in(snapshot.text[repair.span.start : repair.span.end], statement.dialect)
        plan = plan_views(statement, at_cursor, _folded(extra), names)
        typed = snapshot.text[repair.span.start : min(snapshot.cursor, repair.span.end)]
        guess = with_shared_conditions(statement, typed, volatile=self.engine.volatile)
        if guess is not None:
            planned = {vertex.key for vertex in plan}
            plan += [v for v in plan_views(guess, None, _folded(extra), names) if v.key not in planned]
        known = statement.opaque or not statement.unknown
        body = body_and_tail(repair.sql, statement.dialect) if known else None
        if (
            statement.opaque
            and body is not None
            and not {"LIMIT", "FETCH", "SAMPLE"} & {word.upper() for word in body.key}
        ):
            plan.append(text_vertex(body, [column.name for column in self._asking.describe(body.text)]))
        self._put(plan, snapshot, _Wanted(snapshot.number, repair, statement, at_cursor, body))

    def _repaired(self, snapshot: Snapshot) -> Repair:
        schema = self.engine.schema
        try:
            return self._patches.repair(snapshot.text, snapshot.cursor, schema, self._rules, self._accepts)
        except RepairFailed:
            if self._other is None:
                raise
        return self._patches.repair(snapshot.text, snapshot.cursor, schema, self._other, self._accepts)

    def _accepts(self, sql: str) -> QueryFailed | None:
        """What the database has against a statement."""
        try:
            self.engine.refuse(sql)
            self._asking.describe(sql)
        except QueryFailed as error:
            return error
        except QueryInterrupted:
            raise
        except FirsthandError as error:
            return QueryFailed(str(error))
        return None

    def _put(self, plan: list[Vertex], snapshot: Snapshot, preview: _Wanted | None = None) -> None:
        """Let a snapshot's vertices be what is to be done; what runs and is not among them is interrupted."""
        there = {view.key: view.id for view in self.pool.views()}
        todo: list[_Task] = [vertex for vertex in plan if vertex.key not in there]
        if preview is not None:  # behind what it reads, before the rows that only later edits may need
            place = next(
                (n for n, task in enumerate(todo) if isinstance(task, Vertex) and task.kind == "rows"),
                len(todo),
            )
            todo.insert(place, preview)
            if preview.body is not None:
                todo.append(_Body(snapshot.number, preview.body))
        with self._wake:
            self._planned = max(self._planned, snapshot.number)
            self._nodes = {
                vertex.key: Node(vertex, "done", view=there[vertex.key])
                if vertex.key in there
                else Node(vertex, "running" if vertex.key == self._running else "waiting")
                for vertex in plan
            }
            self._todo = [task for task in todo if _key(task) != self._running]
            self._wanted = frozenset(_key(task) for task in todo)
            unwanted = None if self._running in self._wanted else self._running
            self._wake.notify_all()
        self._give_up(unwanted, snapshot.number)
        self._tell("planned", snapshot.number, vertices=len(plan))

    def _give_up(self, key: str | None, number: int) -> None:
        """Stop what is being made under that key, until it stops or a newer snapshot has come.

        The signal is given under the lock, so that it does not meet what is begun next; but the lock is not held until
        it works, for whoever types must not wait for it.
        """
        while key is not None:
            with self._wake:
                newer = self._newest is not None and self._newest.number > number
                if self._running != key or key in self._wanted or newer or self._closed:
                    return
                self._making.poke()
                self._wake.wait(0.005)

    # --- the maker ----------------------------------------------------------------------

    def _make_loop(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closed or (bool(self._todo) and not self._paused))
                if self._closed:
                    return
                task = self._todo.pop(0)
                self._running = _key(task)
                number = self._planned
                self._note(task, "running")
            try:
                if isinstance(task, Vertex):
                    self._make_view(task, number)
                elif isinstance(task, _Wanted):
                    self._make_preview(task)
                else:
                    self._prepare(task.body)
            except QueryInterrupted:
                with self._wake:
                    again = self._paused > 0 and _key(task) in self._wanted
                    if again and all(_key(one) != _key(task) for one in self._todo):
                        self._todo.insert(0, task)
                    self._note(task, "waiting" if again else "failed", "" if again else "interrupted")
            except Exception as error:
                if not self._closed:
                    _LOG.exception("speculation failed")
                    self._note(task, "failed", str(error))
            with self._wake:
                self._running = None
                idle = not self._todo
                self._wake.notify_all()
            if idle:
                self._tell("idle", number)

    def _note(self, task: _Task, state: str, reason: str = "", **more: Any) -> None:
        with self._wake:
            if isinstance(task, Vertex) and task.key in self._nodes:
                self._nodes[task.key] = Node(task, state, reason, **more)

    def _go_on(self) -> None:
        """Raise `QueryInterrupted` where what is being made has to wait: asked before each query."""
        with self._wake:
            if self._paused or self._closed or self._running not in self._wanted:
                raise QueryInterrupted("a submission, or a newer text, comes first")

    def _make_view(self, vertex: Vertex, snapshot: int) -> None:
        start = now_ms()
        sql = filling(vertex.definition, self.engine.schema.dialect)
        statement = Statement.read(sql, self.engine.schema, volatile=self.engine.volatile)
        changes = self.changes
        found = self.rewritten(statement)
        scanned = bytes_read(statement)
        with self.pool.reading(found.views if found is not None else ()) as there:
            try:
                view = self._filled(vertex, found.sql if found is not None and there else sql, start)
                useless = vertex.kind == "rows" and view.bytes > max(
                    self.config.use_view_ratio * scanned, _SMALL
                )
                if useless:
                    self._making.drop(view.name)
                    raise BudgetExceeded(
                        f"{view.rows} rows are nearly as much to read as the tables themselves"
                    )
                with self._change:  # no change is noticed between the look and the pool
                    changed = changes != self.changes
                    if not changed:
                        self.pool.add(view)
                if changed:
                    self._making.drop(view.name)
                    raise BudgetExceeded("the data changed while it was made")
            except (BudgetExceeded, QueryFailed) as error:
                self._note(vertex, "refused" if isinstance(error, BudgetExceeded) else "failed", str(error))
                self._tell("view_refused", snapshot, key=vertex.key, of=vertex.kind, reason=str(error))
                return
        if found is None:
            self.runs.add(scanned, view.made_ms)
            self.warm |= tables_read(statement)
        self._note(vertex, "done", view=view.id, milliseconds=view.made_ms)
        self._tell(
            "view_created", snapshot, id=view.id, of=vertex.kind, key=vertex.key, rows=view.rows, bytes=view.bytes,
            milliseconds=view.made_ms, query=vertex.query,
        )  # fmt: skip

    def _filled(self, vertex: Vertex, sql: str, start: float) -> View:
        """Make a table, unless it is plain beforehand that it is a cross product or larger than all may be."""
        self._go_on()
        plan = self._making.explain(sql)
        _refuse_crossing(plan)
        if plan.rows is not None:
            size = plan.rows * sum(width_of(column.type) for column in self._making.describe(sql))
            if size > self.config.max_view_bytes:
                raise BudgetExceeded(f"about {plan.rows:.0f} rows, {size / 2**20:.0f} MiB, are expected")
        self._go_on()
        number = next(self._ids)
        filled = self._making.fill(number, sql, timeout_s=self.config.command_timeout_s)
        widths = tuple(width_of(kind) for kind in filled.types)
        return View(
            number,
            vertex.definition,
            filled.name,
            filled.types,
            filled.rows,
            widths,
            now_ms() - start,
            vertex.key,
        )

    def _make_preview(self, wanted: _Wanted) -> None:
        start = now_ms()
        query = preview_query(wanted.statement, wanted.repair, wanted.at_cursor, self.config.preview_rows)
        found = self.rewritten(query.statement) if query.statement is not None else None
        try:
            with self.pool.reading(found.views if found is not None else ()) as there:
                sql = found.sql if found is not None and there else query.sql
                used = tuple(view.id for view in found.views) if found is not None and there else ()
                self._go_on()
                whole = (
                    wanted.at_cursor is wanted.statement.tree
                )  # then columns are named as the text has them
                names = [
                    column.name for column in self._making.describe(wanted.repair.sql if whole else query.sql)
                ]
                _refuse_crossing(self._making.explain(sql))
                self._go_on()
                try:
                    table = self._making.query(sql, timeout_s=self.config.command_timeout_s)
                except QueryInterrupted:
                    if now_ms() - start < 1e3 * self.config.command_timeout_s:
                        raise
                    self._go_on()
                    try:
                        preview = sampled_preview(
                            self._making, query, wanted.repair, wanted.snapshot, self.config, start
                        )
                    except QueryInterrupted as error:
                        self._go_on()  # something else comes first; else it is given up, and said
                        raise BudgetExceeded("it takes too long, and so does a sample of it") from error
                else:
                    preview = exact_preview(
                        table.rename_columns(names), wanted.repair, wanted.snapshot, query, used, now_ms() - start,
                        self.config.preview_rows,
                    )  # fmt: skip
        except (QueryFailed, BudgetExceeded) as error:
            self._tell("preview_failed", wanted.snapshot, message=str(error))
            return
        with self._wake:
            if self._preview is None or wanted.snapshot >= self._preview.snapshot:
                self._preview = preview
            self._wake.notify_all()
        if not used:
            self.warm |= tables_read(wanted.statement)
        self._tell("preview", wanted.snapshot, preview=preview)

    def _prepare(self, body: Body) -> None:
        """Rewrite a body over the views there are, for a submission that has it."""
        dialect = self.engine.schema.dialect
        statement = Statement.read(body.text, self.engine.schema, volatile=self.engine.volatile)
        found = self._whole_text(body) if statement.opaque else self.rewritten(statement)
        if found is None:
            return
        self._go_on()
        names = tuple(column.name for column in self._making.describe(body.text))
        outputs = outputs_of(body.text, len(names), dialect)
        self.prepared.put(body.key, Prepared(found, names, outputs, bytes_read(statement), self.changes))

    def _whole_text(self, body: Body) -> Rewrite | None:
        """A body that is not understood, from the table that holds all its rows."""
        wanted = text_vertex(body, ()).key
        for view in self.pool.views():
            if view.key == wanted and isinstance(view.definition, Text):
                columns = ", ".join(
                    f"c{place} AS {exp.to_identifier(name, quoted=True).sql(dialect=self.engine.schema.dialect)}"
                    for place, name in enumerate(view.definition.names)
                )
                return Rewrite(f"SELECT {columns} FROM {view.name}", (view,))
        return None

    # --- common ----------------------------------------------------------------------

    def _previewed(self, number: int) -> bool:
        """Whether nothing is to come for a snapshot's preview."""
        if self._closed or (self._preview is not None and self._preview.snapshot >= number):
            return True
        if self._planned < number:
            return False
        coming = any(isinstance(task, _Wanted) for task in self._todo)
        return not coming and not (self._running or "").startswith("preview ")

    def _idle(self) -> bool:
        if self._closed:
            return True
        waiting = self._newest is not None and self._newest.number > self._planned
        return not waiting and not self._ran and not self._todo and self._running is None

    def _drop(self, view: View) -> None:
        """A view has left the pool. Whoever sent it away may hold a connection: this takes one of its own."""
        if not self._closed:  # an engine that closes drops what it holds
            connection: Connection = self.engine.connect()
            try:
                connection.drop(view.name)
            finally:
                connection.close()
        self._tell("view_dropped", self._planned, id=view.id)


def _refuse_crossing(plan: Plan) -> None:
    """Raise `BudgetExceeded` before tables that are joined on nothing yet make millions of rows."""
    if plan.crossed > _MOST_CROSSED:
        raise BudgetExceeded(f"two tables are joined on nothing yet: about {plan.crossed:.0f} rows")


def _folded(extra: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """As qualified trees of dialects that fold names have them."""
    return {alias.lower(): frozenset(name.lower() for name in names) for alias, names in extra.items()}


def tables_read(statement: Statement) -> frozenset[str]:
    """Names of the tables that a statement reads; none of one that is not understood."""
    if statement.tree is None or statement.unknown:
        return frozenset()
    return frozenset(
        table.name.lower()
        for table in statement.tree.find_all(exp.Table)
        if table.db or table.name not in statement.ctes
    )
