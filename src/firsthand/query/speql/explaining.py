"""What would be made ahead of a query, and which of it would answer: told from plans alone, nothing is run."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.engine import Engine
from firsthand.query.speql.errors import QueryFailed
from firsthand.query.speql.matching import rewrite
from firsthand.query.speql.plan import plan_views
from firsthand.query.speql.previews import query_at
from firsthand.query.speql.repair import Repair, repair
from firsthand.query.speql.schema import width_of
from firsthand.query.speql.views import View, filling

__all__ = ["Explanation", "Planned", "explain"]


@dataclass(frozen=True)
class Planned:
    """A table that would be made ahead.

    Attributes:
        name: under which `Explanation.answer` reads it.
        kind: "rows", "groups" or "answer".
        sql: that fills it.
        rows: about how many it would have; None where the engine does not say.
        answers: whether the query would read it.
    """

    name: str
    kind: str
    sql: str
    rows: float | None
    answers: bool


@dataclass(frozen=True)
class Explanation:
    """What speculation makes of a query.

    Attributes:
        repair: the statement that runs, and how it came from the text.
        unknown: why the statement is not understood and is run as it is; "" where it is.
        planned: in the order in which they would be made.
        answer: the query over these tables; None where they cannot answer it.
    """

    repair: Repair
    unknown: str
    planned: tuple[Planned, ...]
    answer: str | None


def explain(text: str, engine: Engine, *, cursor: int | None = None) -> Explanation:
    """Plan a query, finished or not, as a session would; budgets and what is worth reading are left out of account.

    Raises `RepairFailed` where nothing that runs can be made of the text, `UnsafeStatement` where it is no query.
    """
    place = len(text) if cursor is None else cursor
    asking = engine.connect()

    def accepts(sql: str) -> QueryFailed | None:
        try:
            asking.describe(sql)
        except QueryFailed as error:
            return error
        return None

    try:
        with contextlib.suppress(QueryFailed):  # it does not parse: it is not finished
            engine.refuse(text)
        found = repair(text, engine.schema, cursor=place, accepts=accepts)
        engine.refuse(found.sql)
        statement = Statement.read(found.sql, engine.schema, volatile=engine.volatile)
        vertices = plan_views(statement, query_at(statement, found, place))
        views, counts = [], []
        for number, vertex in enumerate(vertices, 1):
            sql = filling(vertex.definition, engine.schema.dialect)
            types = tuple(column.type for column in asking.describe(sql))
            rows = asking.explain(sql).rows
            widths = tuple(width_of(type_) for type_ in types)
            views.append(View(number, vertex.definition, f"ahead_{number}", types, int(rows or 0), widths))
            counts.append((vertex.kind, sql, rows))
        answer = rewrite(statement, views) if views else None
    finally:
        asking.close()
    used = {view.id for view in answer.views} if answer is not None else set()
    planned = tuple(
        Planned(view.name, kind, sql, rows, view.id in used)
        for view, (kind, sql, rows) in zip(views, counts, strict=True)
    )
    return Explanation(found, statement.unknown or "", planned, None if answer is None else answer.sql)
