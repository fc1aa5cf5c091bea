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
from typing import Any

from firsthand.errors import FirsthandError
from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.bodies import Body, body_and_tail
from firsthand.query.speql.config import Config
from firsthand.query.speql.costs import bytes_read
from firsthand.query.speql.engine import Engine
from firsthand.query.speql.errors import BudgetExceeded, QueryFailed, QueryInterrupted, RepairFailed
from firsthand.query.speql.guesses import with_shared_conditions
from firsthand.query.speql.happenings import Dag, Node, Snapshot, now_ms
from firsthand.query.speql.history import HistoryCompleter
from firsthand.query.speql.making import Maker, Wanted
from firsthand.query.speql.patches import PatchCache
from firsthand.query.speql.plan import Vertex, plan_views, text_vertex
from firsthand.query.speql.previews import Preview, query_at
from firsthand.query.speql.repair import Repair, Repairer, RuleRepairer
from firsthand.query.speql.stock import Stock
from firsthand.query.speql.text import names_in

__all__ = ["Speculation"]

_LOG = logging.getLogger("firsthand.speql")


@dataclass(frozen=True)
class _Body:
    """A body to be rewritten once the views of its snapshot are there."""

    snapshot: int
    body: Body


_Task = Vertex | Wanted | _Body


def _key(task: _Task) -> str:
    if isinstance(task, Vertex):
        return task.key
    return f"{'preview' if isinstance(task, Wanted) else 'body'} {task.snapshot}"


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
        self.stock = Stock(
            engine, config, lambda number: self._tell("view_dropped", self._planned, id=number)
        )
        self._tell = tell
        self._rules, self._other = RuleRepairer(self._accepts), repairer
        self._patches = PatchCache(
            config.min_rule_length, config.patch_similarity, dialect=engine.schema.dialect
        )
        self._asking, self._maker = engine.connect(), Maker(engine, config, self.stock, self._go_on)
        self._wake = threading.Condition(threading.RLock())
        self._newest: Snapshot | None = None
        self._planned = 0
        self._chores: list[Callable[[], None]] = []  # what submissions leave to be done when there is time
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
        self._later(lambda: self.history.add(sql, self.engine.schema))

    def account(self, sql: str, milliseconds: float, keep: Callable[[], object]) -> None:
        """Note, when there is time, what a query took as it is; `keep` is called if its answer may be given again."""

        def note() -> None:
            statement = Statement.read(sql, self.engine.schema, volatile=self.engine.volatile)
            if not statement.unknown:
                self.stock.runs.add(bytes_read(statement), milliseconds)
                keep()

        self._later(note)

    def _later(self, chore: Callable[[], None]) -> None:
        with self._wake:
            self._chores.append(chore)
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
        for connection in (self._maker.connection, self._asking):
            connection.interrupt()

    def forget(self) -> None:
        """Drop what is still to be made, and interrupt what is being made."""
        with self._wake:
            self._todo, self._wanted = [], frozenset()
            if self._newest is not None:
                self._planned = max(self._planned, self._newest.number)
        self.interrupt()

    def notice_changes(self) -> None:
        """Forget everything that was made of other data than there is now."""
        if self.stock.notice_changes(self.paused):
            self._tell("stale", self._planned)

    def close(self) -> None:
        """Stop both threads and drop every view."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        while any(thread.is_alive() for thread in self._threads):
            self.interrupt()
            for thread in self._threads:
                thread.join(0.02)
        self.stock.close()
        self._asking.close()
        self._maker.connection.close()

    # --- the planner ----------------------------------------------------------------------

    def _plan_loop(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closed or self._unplanned() or self._chore_ready())
                if self._closed:
                    return
                chore = self._chores[0] if self._chore_ready() else None
                snapshot = self._newest
            if chore is not None:
                try:
                    chore()
                except Exception:
                    _LOG.exception("what a submission left to be done failed")
                with self._wake:
                    self._chores.pop(
                        0
                    )  # only now: whoever waits until nothing is left to do waits for this too
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

    def _chore_ready(self) -> bool:
        return bool(self._chores) and not self._paused

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
        self._put(plan, snapshot, Wanted(snapshot.number, repair, statement, at_cursor, body))

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

    def _put(self, plan: list[Vertex], snapshot: Snapshot, preview: Wanted | None = None) -> None:
        """Let a snapshot's vertices be what is to be done; what runs and is not among them is interrupted."""
        there = {view.key: view.id for view in self.stock.pool.views()}
        refused = self.stock.refused()
        todo: list[_Task] = [v for v in plan if v.key not in there and v.key not in refused]
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
            self._nodes = {vertex.key: self._node(vertex, there, refused) for vertex in plan}
            self._todo = [task for task in todo if _key(task) != self._running]
            self._wanted = frozenset(_key(task) for task in todo)
            unwanted = None if self._running in self._wanted else self._running
            self._wake.notify_all()
        self._give_up(unwanted, snapshot.number)
        self._tell("planned", snapshot.number, vertices=len(plan))

    def _node(self, vertex: Vertex, there: Mapping[str, int], refused: Mapping[str, str]) -> Node:
        if vertex.key in there:
            return Node(vertex, "done", view=there[vertex.key])
        if vertex.key in refused:
            return Node(vertex, "refused", refused[vertex.key])
        return Node(vertex, "running" if vertex.key == self._running else "waiting")

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
                self._maker.connection.poke()
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
                elif isinstance(task, Wanted):
                    self._make_preview(task)
                else:
                    self._maker.prepare(task.body)
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
        try:
            view = self._maker.view(vertex)
        except (BudgetExceeded, QueryFailed) as error:
            self._note(vertex, "refused" if isinstance(error, BudgetExceeded) else "failed", str(error))
            self._tell("view_refused", snapshot, key=vertex.key, of=vertex.kind, reason=str(error))
            return
        self._note(vertex, "done", view=view.id, milliseconds=view.made_ms)
        self._tell(
            "view_created", snapshot, id=view.id, of=vertex.kind, key=vertex.key, rows=view.rows, bytes=view.bytes,
            milliseconds=view.made_ms, query=vertex.query,
        )  # fmt: skip

    def _make_preview(self, wanted: Wanted) -> None:
        try:
            preview = self._maker.preview(wanted)
        except (QueryFailed, BudgetExceeded) as error:
            self._tell("preview_failed", wanted.snapshot, message=str(error))
            return
        with self._wake:
            if self._preview is None or wanted.snapshot >= self._preview.snapshot:
                self._preview = preview
            self._wake.notify_all()
        self._tell("preview", wanted.snapshot, preview=preview)

    # --- common ----------------------------------------------------------------------

    def _previewed(self, number: int) -> bool:
        """Whether nothing is to come for a snapshot's preview."""
        if self._closed or (self._preview is not None and self._preview.snapshot >= number):
            return True
        if self._planned < number:
            return False
        coming = any(isinstance(task, Wanted) for task in self._todo)
        return not coming and not (self._running or "").startswith("preview ")

    def _idle(self) -> bool:
        if self._closed:
            return True
        waiting = self._newest is not None and self._newest.number > self._planned
        return not waiting and not self._chores and not self._todo and self._running is None


def _folded(extra: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """As qualified trees of dialects that fold names have them."""
    return {alias.lower(): frozenset(name.lower() for name in names) for alias, names in extra.items()}
