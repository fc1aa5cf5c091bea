"""A session: text comes in as it is typed, tables are made ahead, a submission is answered from what there is.

The one law: whatever was guessed, a submission's rows are those of its own text. `matching` proves that a view gives
them, or the text runs as it is.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from firsthand.errors import FirsthandError, InputError
from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.bodies import body_and_tail
from firsthand.query.speql.config import Config
from firsthand.query.speql.costs import bytes_read
from firsthand.query.speql.engine import Engine
from firsthand.query.speql.errors import QueryFailed
from firsthand.query.speql.happenings import Dag, Event, Result, Snapshot, now_ms
from firsthand.query.speql.history import HistoryCompleter
from firsthand.query.speql.matching import Rewrite
from firsthand.query.speql.previews import Preview
from firsthand.query.speql.racing import Look, Run, Runner
from firsthand.query.speql.repair import Repairer
from firsthand.query.speql.schema import Schema
from firsthand.query.speql.speculation import Speculation
from firsthand.query.speql.stock import tables_read
from firsthand.query.speql.text import statement_at
from firsthand.query.speql.views import View

__all__ = ["Session"]

_LOG = logging.getLogger("firsthand.speql")
_HEAD_START = 2.0  # times what a look takes: a run that is done by then is not looked beside


class Session:
    """Speculation over one engine; `speql.open` makes one. As a context manager it closes at the end.

    Args:
        engine: whose tables are queried; the session closes it.
        config: budgets and delays; `Config(speculate=False)` answers each submission as it comes.
        repairer: asked for a repair where the rules find none (`ModelRepairer`); None for rules alone.
        history: guesses which columns will be wanted; a new one by default. Accepted queries are added to it.

    `edit` and `listen` may be called from any thread, `submit` too: submissions are answered one after another.
    """

    def __init__(
        self,
        engine: Engine,
        config: Config | None = None,
        *,
        repairer: Repairer | None = None,
        history: HistoryCompleter | None = None,
    ) -> None:
        self.engine, self.config = engine, config or Config()
        self.history = history or HistoryCompleter()
        self._listeners: list[Callable[[Event], None]] = []
        self._lock = threading.RLock()
        self._foreground = threading.Lock()
        self._numbers = itertools.count(1)
        self._newest: Snapshot | None = None
        self._results: OrderedDict[str, Any] = OrderedDict()
        self._results_of = 0  # the state of the data that they are of
        self._keeping = threading.Lock()
        self._closed = False
        self._front, self._runner = engine.connect(), Runner(engine.connect())
        self._ahead = Speculation(engine, self.config, self.history, repairer, self._tell)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def schema(self) -> Schema:
        """Tables of the engine."""
        return self.engine.schema

    def edit(self, sql: str, cursor: int | None = None) -> Snapshot:
        """Tell what the editor holds now; returns at once.

        Args:
            sql: the whole text; several statements may stand in it, the one at the cursor counts.
            cursor: in code points; the end by default.

        Raises `InputError` where the cursor is outside the text.
        """
        if cursor is not None and not 0 <= cursor <= len(sql):
            raise InputError(f"the cursor is at {cursor} in a text of {len(sql)} code points")
        with self._lock:
            self._open()
            snapshot = Snapshot(next(self._numbers), sql, len(sql) if cursor is None else cursor, now_ms())
            self._newest = snapshot
            if self.config.speculate:
                self._ahead.take(snapshot)
        return snapshot

    def preview(self, timeout: float | None = None) -> Preview | None:
        """The preview of the newest snapshot; None after `timeout` seconds, or where the text cannot be repaired."""
        self._open()
        newest = self._newest
        if newest is None or not self.config.speculate:
            return None
        return self._ahead.preview(newest.number, timeout)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to work ahead on; whether that came within `timeout` seconds."""
        return self._ahead.wait(timeout)

    def submit(self, sql: str, *, timeout_s: float | None = None) -> Result:
        """Answer one query. Speculation stands still meanwhile.

        Raises `UnsafeStatement`, `QueryFailed`, and `QueryInterrupted` after `cancel` or `timeout_s` seconds.
        """
        start = now_ms()
        self._open()
        newest = self._newest
        number = 0 if newest is None else newest.number
        try:
            self.engine.refuse(sql)
            with self._ahead.paused(), self._foreground:
                result = self._answered(sql, start, timeout_s)
        except FirsthandError as error:
            self._tell("submit_failed", number, sql=sql, message=str(error))
            raise
        result = replace(result, gap_ms=None if newest is None else start - newest.at)
        self._ahead.remember(sql)
        self._tell("submitted", number, result=result, sql=sql)
        return result

    def cancel(self) -> None:
        """Interrupt whatever runs, submissions included, and forget what was to be made."""
        self._ahead.forget()
        self._stop_answers()

    def progress(self) -> float:
        """The share of the running submission that is done, 0 to 1; 0 where the engine does not tell."""
        return max(self._front.progress(), self._runner.connection.progress())

    def dag(self) -> Dag:
        """Vertices of the newest planned snapshot, and how far each is."""
        return self._ahead.dag()

    def views(self) -> list[View]:
        """The speculative tables there are, the most recently used last."""
        return self._ahead.stock.pool.views()

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` with every event, in the thread in which it happens; returns what ends that."""
        with self._lock:
            self._listeners.append(listener)

        def end() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return end

    def events(self) -> Iterator[Event]:
        """Events from now on, until the session is closed."""
        queue: SimpleQueue[Event] = SimpleQueue()
        return self._drained(queue, self.listen(queue.put))

    def _drained(self, queue: SimpleQueue[Event], end: Callable[[], None]) -> Iterator[Event]:
        try:
            while (event := queue.get()).kind != "closed":
                yield event
        finally:
            end()

    def close(self) -> None:
        """Stop, drop every speculative table, close the engine; safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._stop_answers()
        self._ahead.close()
        with self._foreground:
            self._runner.close()
            self.engine.close()
        self._tell("closed", 0)

    # --- answers ----------------------------------------------------------------------

    def _answered(self, sql: str, start: float, timeout_s: float | None) -> Result:
        span = statement_at(sql, len(sql), self.schema.dialect)
        text = sql[span.start : span.end]
        self._ahead.notice_changes()
        if not self.config.speculate:
            return self._direct(text, None, start, timeout_s)
        kept = self._kept(text)
        if kept is not None:
            return Result(kept, 0, (), text, now_ms() - start, 0.0)
        result = self._from_prepared(text, start, timeout_s)
        if result is not None:
            return self._keep(text, result)
        self._ahead.interrupt()  # what may have begun between the pause and here
        if not self.config.race:
            return self._planned(text, start, timeout_s)
        return self._raced(text, start, timeout_s)

    def _planned(self, text: str, start: float, timeout_s: float | None) -> Result:
        """The answer from views where they give it, or else from the text itself."""
        statement = Statement.read(text, self.schema, volatile=self.engine.volatile)
        found = self._ahead.stock.rewritten(statement)
        note = ""
        if found is not None:
            result, note = self._from_views(text, found, (), start, timeout_s)
            if result is not None:
                return self._served(text, statement, result)
        result = replace(self._direct(text, statement, start, timeout_s), note=note)
        return result if statement.unknown else self._keep(text, result)

    def _raced(self, text: str, start: float, timeout_s: float | None) -> Result:
        """The same, but the text itself runs meanwhile, and whichever is sooner answers."""
        of = self._ahead.stock.changes
        over = threading.Event()
        run = Run(self._runner, text, timeout_s, over)
        try:
            note = ""
            if self._ahead.stock.pool.views() and not over.wait(
                _HEAD_START * self._ahead.stock.look_ms / 1e3
            ):
                look = Look(run, lambda go_on: self._looked(text, go_on), over)
                over.wait()
                looked = look.found() if look.done and not run.done else None
                if looked is not None:
                    statement, found = looked
                    result, note = self._from_views(text, found, (), start, timeout_s)
                    if result is not None:
                        return self._served(text, statement, result)
            table = run.result()
            done = now_ms()
        finally:
            run.end()
        level = 2 if self._ahead.stock.read_before(text) else None
        result = Result(table, level, (), text, run.begun - start, done - run.begun, note=note)
        self._ahead.account(text, result.exec_ms, lambda: self._keep(text, result, of))
        return result

    def _looked(self, text: str, go_on: Callable[[], None]) -> tuple[Statement, Rewrite] | None:
        """A text and how views answer it; None where they do not."""
        begun = now_ms()
        statement = Statement.read(text, self.schema, volatile=self.engine.volatile)
        go_on()
        found = self._ahead.stock.rewritten(statement, go_on)
        self._ahead.stock.looked(now_ms() - begun)
        return None if found is None else (statement, found)

    def _served(self, text: str, statement: Statement, result: Result) -> Result:
        """An answer from views, with what the text itself would have taken, and kept."""
        estimate = self._ahead.stock.runs.estimate(bytes_read(statement))
        return self._keep(text, replace(result, direct_ms_estimate=estimate))

    def _direct(
        self, text: str, statement: Statement | None, start: float, timeout_s: float | None
    ) -> Result:
        """The text as it is. Without a statement nothing is noted of it."""
        planned = now_ms()
        table = self._front.query(text, timeout_s=timeout_s)
        done = now_ms()
        result = Result(table, None, (), text, planned - start, done - planned)
        if statement is None:
            return result
        scanned = bytes_read(statement)
        estimate = self._ahead.stock.runs.estimate(scanned)
        if not statement.unknown:
            self._ahead.stock.runs.add(scanned, done - planned)
        read = tables_read(statement)
        level = 2 if read and read <= self._ahead.stock.warm else None
        return replace(result, level=level, direct_ms_estimate=estimate)

    def _from_prepared(self, text: str, start: float, timeout_s: float | None) -> Result | None:
        """The answer of a body that was rewritten ahead, with the text's own tail; None where there is none."""
        dialect = self.schema.dialect
        body = body_and_tail(text, dialect)
        prepared = (
            None if body is None else self._ahead.stock.prepared.get(body.key, self._ahead.stock.changes)
        )
        sql = None if body is None or prepared is None else prepared.with_tail(body.tail, dialect)
        if prepared is None or sql is None:
            return None
        found = Rewrite(sql, prepared.rewrite.views)
        result, _ = self._from_views(text, found, prepared.names, start, timeout_s)
        if result is None:
            return None
        return replace(result, direct_ms_estimate=self._ahead.stock.runs.estimate(prepared.scanned))

    def _from_views(
        self, text: str, found: Rewrite, names: Sequence[str], start: float, timeout_s: float | None
    ) -> tuple[Result | None, str]:
        """The answer from views, or None and what hindered it: a view that has gone, a query that was refused."""
        with self._ahead.stock.pool.reading(found.views) as there:
            if not there:
                return None, ""
            names = names or [column.name for column in self._front.describe(text)]
            self._ahead.interrupt()
            planned = now_ms()
            try:
                table = self._front.query(found.sql, timeout_s=timeout_s)
            except QueryFailed as error:
                _LOG.warning("a rewritten query was refused: %s\n%s", error, found.sql)
                return None, f"the rewritten query was refused, and the text ran as it is: {error}"
            done = now_ms()
            if (
                not self._ahead.stock.unchanged()
            ):  # tables may have been read as they are now, views as they were
                return None, "the data changed meanwhile, and the text ran as it is"
        used = tuple(view.id for view in found.views)
        made = sum(view.made_ms for view in found.views)
        renamed = table.rename_columns(list(names))
        return Result(renamed, 1, used, found.sql, planned - start, done - planned, made), ""

    def _kept(self, text: str) -> Any:
        """The answer that the same text had before, if the data is the same."""
        with self._keeping:
            if self._results_of != self._ahead.stock.changes:
                self._results.clear()
                self._results_of = self._ahead.stock.changes
            return self._results.get(text)

    def _keep(self, text: str, result: Result, of: int | None = None) -> Result:
        """Keep a small answer for the same text again; only while the data is in the state `of`, if that is given."""
        with self._keeping:
            stale = of is not None and of != self._ahead.stock.changes
            if not stale and result.table.nbytes <= self.config.max_result_bytes:
                self._results[text] = result.table
                while len(self._results) > self.config.max_results:
                    self._results.popitem(last=False)
        return result

    def _stop_answers(self) -> None:
        for connection in (self._front, self._runner.connection):
            connection.interrupt()

    def _open(self) -> None:
        if self._closed:
            raise InputError("the session is closed; open another")

    def _tell(self, kind: str, snapshot: int, **data: Any) -> None:
        event = Event(kind, snapshot, now_ms(), data)
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(event)
