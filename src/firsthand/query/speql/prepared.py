"""Answers that wait for their last lines: bodies of queries that are rewritten before they are submitted.

What a person types last is most often ORDER BY and LIMIT, and then submits. A body is the statement up to there, known
by its tokens. Once the views of a snapshot are made its body is rewritten, in idle time; a submission of the same body
needs only its tail to be put behind it. Knows tokens and tails; nothing of views but that they must still be there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from firsthand.query.speql.bodies import Key
from firsthand.query.speql.matching import Rewrite
from firsthand.query.speql.predicates import text_of

__all__ = ["Prepared", "PreparedBodies", "outputs_of"]


@dataclass(frozen=True)
class Prepared:
    """A body that is rewritten.

    Attributes:
        rewrite: over which views.
        names: of its columns, as the body's own text gives them.
        outputs: what each column is computed from, as text; "" where that is not written out.
        scanned: bytes that the body itself would read.
        changes: the state of the data that it was made of.
    """

    rewrite: Rewrite
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    scanned: float
    changes: int

    def with_tail(self, tail: str, dialect: str) -> str | None:
        """What to run for the body with a tail behind it; None where the tail orders by what is no column of it."""
        if not tail:
            return self.rewrite.sql
        try:
            parsed = sqlglot.parse_one(f"SELECT 1 {tail}", read=dialect)
        except SqlglotError:
            return None
        if not isinstance(parsed, exp.Select) or {k for k, v in parsed.args.items() if v} - {
            "expressions", "order", "limit", "offset",
        }:  # fmt: skip
            return None
        order = parsed.args.get("order")
        for term in order.expressions if order is not None else ():
            place = self._place(term.this, dialect) if isinstance(term, exp.Ordered) else None
            if place is None:
                return None
            term.set("this", exp.Literal.number(place + 1))
        for name in ("limit", "offset"):
            part = parsed.args.get(name)
            if part is not None and not (isinstance(part.expression, exp.Literal) and part.expression.is_int):
                return None
        parts = [
            text_of(parsed.args[name], dialect)
            for name in ("order", "limit", "offset")
            if parsed.args.get(name)
        ]
        return f"SELECT * FROM ({self.rewrite.sql}) AS _q {' '.join(part.strip() for part in parts)}"

    def _place(self, term: exp.Expr, dialect: str) -> int | None:
        """Which column a term of ORDER BY is; None where that is not certain."""
        if isinstance(term, exp.Literal) and term.is_int and 1 <= int(term.name) <= len(self.names):
            return int(term.name) - 1
        lowered = [name.lower() for name in self.names]
        if isinstance(term, exp.Column) and not term.table:
            return lowered.index(term.name.lower()) if lowered.count(term.name.lower()) == 1 else None
        text = text_of(term, dialect)
        return self.outputs.index(text) if self.outputs.count(text) == 1 and term.find(exp.Column) else None


def outputs_of(body: str, count: int, dialect: str) -> tuple[str, ...]:
    """Texts of what a body's columns are computed from; empty ones where the body is no plain SELECT list."""
    try:
        parsed = sqlglot.parse_one(body, read=dialect)
    except SqlglotError:
        return ("",) * count
    listed: Sequence[exp.Expr] = parsed.expressions if isinstance(parsed, exp.Select) else ()
    if len(listed) != count or any(one.find(exp.Star) and not one.find(exp.Count) for one in listed):
        return ("",) * count
    return tuple(text_of(one.this if isinstance(one, exp.Alias) else one, dialect) for one in listed)


class PreparedBodies:
    """The last bodies that were rewritten, by their tokens."""

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._found: OrderedDict[Key, Prepared] = OrderedDict()

    def put(self, key: Key, prepared: Prepared) -> None:
        """Keep one."""
        self._found[key] = prepared
        self._found.move_to_end(key)
        while len(self._found) > self._most:
            self._found.popitem(last=False)

    def get(self, key: Key, changes: int) -> Prepared | None:
        """The one of these tokens, if the data is as it was."""
        found = self._found.get(key)
        return found if found is not None and found.changes == changes else None
