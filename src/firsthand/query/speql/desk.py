"""One tab of a browser: its session, its last answer, and whoever listens at the moment.

Everything here may wait for the database and is called from threads; the event loop (`page`) only hands over. A tab
that loses its connection keeps its desk for a while, so that a reconnect goes on where it was.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from firsthand.errors import FirsthandError, NotFoundError
from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.errors import QueryInterrupted
from firsthand.query.speql.happenings import Event
from firsthand.query.speql.predicates import text_of
from firsthand.query.speql.previews import query_at
from firsthand.query.speql.protocol import (
    Message,
    dag_body,
    event_message,
    pack,
    result_message,
    rows_message,
    schema_body,
)
from firsthand.query.speql.repair import repair
from firsthand.query.speql.schema import Schema
from firsthand.query.speql.session import Session
from firsthand.query.speql.text import statement_at
from firsthand.query.speql.views import with_ctes

__all__ = ["FIRST_ROWS", "MOST_ROWS", "Desk", "query_up_to"]

FIRST_ROWS = 500
MOST_ROWS = 2000
_KEPT_IDS = 256


def query_up_to(text: str, cursor: int, schema: Schema) -> str:
    """The innermost query that holds the cursor and can stand alone, the CTEs that it reads in front.

    Raises `RepairFailed` where nothing that runs can be made of the text.
    """
    found = repair(text, schema, cursor=cursor)
    statement = Statement.read(found.sql, schema)
    query = query_at(statement, found, cursor)
    if query is None or query is statement.tree:
        return found.sql
    return text_of(with_ctes(query.copy(), statement), schema.dialect)


class Desk:
    """A session behind one tab.

    Args:
        client: the name that the tab has here; nobody else can guess it.
        session: the desk closes it.
    """

    def __init__(self, client: str, session: Session) -> None:
        self.client, self.session = client, session
        self.edits = ThreadPoolExecutor(1, thread_name_prefix="firsthand-speql-edits")
        self.runs = ThreadPoolExecutor(1, thread_name_prefix="firsthand-speql-runs")
        self._lock = threading.Lock()
        self._ids: OrderedDict[int, int] = OrderedDict()  # snapshot's number → id that the page gave
        self._post: Callable[[Message], None] | None = None
        self._result: tuple[int, Any] | None = None
        self._newest_run = 0
        session.listen(self._happened)

    # --- the connection ----------------------------------------------------------------------

    def attach(self, post: Callable[[Message], None] | None) -> None:
        """Call `post` with every message from now on, from any thread; None: nobody listens."""
        self._post = post

    def _happened(self, event: Event) -> None:
        post = self._post
        if post is None:
            return
        with self._lock:
            number = self._ids.get(event.snapshot, 0)
        message = event_message(event, number)
        if message is not None:
            post(message)

    # --- what the page asks for ----------------------------------------------------------------------

    def edit(self, number: int, text: str, cursor: int) -> None:
        """Hand over what the editor holds."""
        with self._lock:  # an event of this snapshot waits until its id is known
            snapshot = self.session.edit(text, min(cursor, len(text)))
            self._ids[snapshot.number] = number
            while len(self._ids) > _KEPT_IDS:
                self._ids.popitem(last=False)

    def submit(self, number: int, text: str, cursor: int, here: bool) -> Message:
        """Run the statement at the cursor, or the query at the cursor alone; the answer as a message."""
        try:
            if number < self._newest_run:
                raise QueryInterrupted("another submission came after it")
            schema = self.session.schema
            if here:
                sql = query_up_to(text, min(cursor, len(text)), schema)
            else:
                span = statement_at(text, min(cursor, len(text)), schema.dialect)
                sql = text[span.start : span.end].strip()
            result = self.session.submit(sql)
            with self._lock:
                self._result = (number, result.table)
            return result_message(result, number, sql, FIRST_ROWS)
        except FirsthandError as error:
            position = getattr(error, "position", None)
            interrupted = isinstance(error, QueryInterrupted)
            return pack("error", number, message=str(error), position=position, interrupted=interrupted)

    def begin(self, number: int) -> None:
        """Say that a submission of that id is to come: those before it that wait give way."""
        self._newest_run = max(self._newest_run, number)

    def cancel(self) -> None:
        """Interrupt whatever runs."""
        self.session.cancel()

    def rows(self, result: int, start: int, count: int) -> Message:
        """A window of the last answer; raises `NotFoundError` where it is another's."""
        return rows_message(self.table(result), result, start, min(count, MOST_ROWS))

    def table(self, result: int | None = None) -> Any:
        """The last answer's rows; raises `NotFoundError` where there is none, or not that one."""
        with self._lock:
            found = self._result
        if found is None or (result is not None and found[0] != result):
            raise NotFoundError("these rows are not kept any more; run the query again")
        return found[1]

    # --- what the page is told without asking --------------------------------------------------

    def ahead(self) -> tuple[int, dict[str, Any]]:
        """What is made ahead now: the id of the snapshot that it is for, and a message's body."""
        dag, views = self.session.dag(), self.session.views()
        with self._lock:
            return self._ids.get(dag.snapshot, 0), dag_body(dag, views)

    def schema(self) -> Message:
        """Tables and columns."""
        return pack("schema", **schema_body(self.session.schema))

    def close(self) -> None:
        """End the session; safe to call twice."""
        self._post = None
        self.session.close()
        self.edits.shutdown(wait=False, cancel_futures=True)
        self.runs.shutdown(wait=False, cancel_futures=True)
        self._result = None
