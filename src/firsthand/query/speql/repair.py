"""From a half-typed query to one that runs: by rules, with no model.

    1  the text as it is, if nothing is unfinished and the database takes it;
    2  the text without what the cursor stands in, if there is text behind the cursor;
    3  the text up to the cursor, its end cut and closed (`tails`), unknown names replaced or left out, columns added to
       a GROUP BY that lacks them (`names`), and what the database points at left out;
    4  shorter and shorter ends of that, cut where a condition, a join or a clause begins.

Every step asks the database once. What is left out and what is put in is told in places of the text as it was typed.
A repair may leave out what was typed; where that would narrow a result instead of widening it, it leaves out more
(`surgery`). Text before that is kept letter by letter.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from firsthand.errors import InputError
from firsthand.query.speql.edits import Edit, apply_edits
from firsthand.query.speql.errors import QueryFailed, RepairFailed
from firsthand.query.speql.mending import Mending, read
from firsthand.query.speql.schema import Schema
from firsthand.query.speql.surgery import Lost
from firsthand.query.speql.text import Span, check_cursor, statement_at

__all__ = ["Accepts", "Edit", "Repair", "Repairer", "RuleRepairer", "apply_edits", "repair"]

Accepts = Callable[[str], QueryFailed | None]


@dataclass(frozen=True)
class Repair:
    """A statement that runs, and what had to be done to the text for it.

    Attributes:
        sql: the statement alone, without `;`.
        edits: what was done, in places of the whole text as it was typed; in order, apart from each other. Applied to
            that text they give the same text with `sql` in the place of `span`.
        dropped: what of the text was ignored, in words: "last condition: quantity >".
        span: where in the text the statement stands.
    """

    sql: str
    edits: tuple[Edit, ...]
    dropped: tuple[str, ...]
    span: Span

    @property
    def exact(self) -> bool:
        """Whether this is the text as it was typed."""
        return not self.edits


class Repairer(Protocol):
    """Anything that proposes edits for a text that does not run."""

    def __call__(self, text: str, cursor: int, schema: Schema, error: str | None) -> list[Edit]:
        """Edits of `text`, in order and without overlap.

        Args:
            text: as it was typed.
            cursor: in code points.
            schema: what tables there are.
            error: what the database said of the text; None where it was not asked.

        Raises:
            RepairFailed: it knows none.
        """
        ...


def repair(
    sql: str,
    schema: Schema,
    *,
    cursor: int | None = None,
    dialect: str | None = None,
    repairer: Literal["rules"] | Repairer = "rules",
    accepts: Accepts | None = None,
) -> Repair:
    """Make something that runs of the statement that holds the cursor.

    Args:
        sql: the text of an editor, finished or not.
        schema: what tables there are.
        cursor: in code points; None: the text's end.
        dialect: sqlglot's name of it; None: the schema's.
        repairer: "rules", or what else proposes edits; its proposal is checked.
        accepts: asks the database about a statement: None or what it says against it. None: sqlglot must read the
            statement and every table and column must be in the schema.

    Raises:
        RepairFailed: nothing that runs can be made of it.
        InputError: the cursor is outside the text, or there is no such dialect.
    """
    rules = repairer if isinstance(repairer, RuleRepairer) else RuleRepairer(accepts)
    if repairer == "rules" or repairer is rules:
        return rules.repair(sql, schema, cursor=cursor, dialect=dialect, accepts=accepts)
    assert not isinstance(repairer, str)
    dialect = dialect or schema.dialect
    place = check_cursor(sql, cursor)
    span = statement_at(sql, place, dialect)
    found = rules.as_typed(sql, schema, cursor=cursor, dialect=dialect)
    if found is not None:
        return found
    fault = rules.verdict(sql[span.start : span.end], schema, dialect)
    edits = tuple(repairer(sql, place, schema, None if fault is None else str(fault)))
    checked = _checked(sql, edits)
    grown = sum(len(edit.new) - (edit.end - edit.start) for edit in edits if edit.start <= span.end)
    new = statement_at(checked, min(max(span.end + grown, 0), len(checked)), dialect)
    fault = rules.verdict(checked[new.start : new.end], schema, dialect)
    if fault is not None:
        raise RepairFailed(f"what was proposed does not run, either: {fault}", fault.position)
    dropped = tuple(sql[edit.start : edit.end].strip() for edit in edits if not edit.new.strip())
    return Repair(checked[new.start : new.end], edits, dropped, span)


def _checked(text: str, edits: Sequence[Edit]) -> str:
    at = 0
    for edit in edits:
        if not at <= edit.start <= edit.end <= len(text):
            raise InputError(f"edits out of order or outside the text: {edit}")
        at = edit.end
    return apply_edits(text, edits)


class RuleRepairer:
    """Repairs by rules, and remembers what the database said.

    Args:
        accepts: asks the database about a statement; see `repair`. It is asked once about each text.
        tries: how many shortened texts to ask about at most once all else failed.
        remembered: how many answers to keep.
    """

    def __init__(self, accepts: Accepts | None = None, *, tries: int = 40, remembered: int = 512) -> None:
        self._accepts = accepts
        self._tries = tries
        self._remembered = remembered
        self._answers: OrderedDict[tuple[str, str, bool], QueryFailed | None] = OrderedDict()
        self._schema: Schema | None = None

    def __call__(self, text: str, cursor: int, schema: Schema, error: str | None = None) -> list[Edit]:
        """The edits of `repair`."""
        return list(self.repair(text, schema, cursor=cursor).edits)

    def verdict(
        self, sql: str, schema: Schema, dialect: str, accepts: Accepts | None = None
    ) -> QueryFailed | None:
        """What is wrong with a statement; None: nothing."""
        accepts = accepts or self._accepts
        if schema is not self._schema:
            self._answers.clear()
            self._schema = schema
        key = (sql, dialect, accepts is not None)
        if key in self._answers:
            self._answers.move_to_end(key)
            return self._answers[key]
        answer = accepts(sql) if accepts is not None else read(sql, schema, dialect)
        self._answers[key] = answer
        if len(self._answers) > self._remembered:
            self._answers.popitem(last=False)
        return answer

    def as_typed(
        self,
        sql: str,
        schema: Schema,
        *,
        cursor: int | None = None,
        dialect: str | None = None,
        accepts: Accepts | None = None,
    ) -> Repair | None:
        """The statement at the cursor where it runs as it is, and nothing in it is half a condition; else None."""
        mending = self._mending(sql, schema, cursor, dialect, accepts)
        try:
            return Repair(mending.whole.text, (), (), mending.span) if mending.as_typed() else None
        except (Lost, RecursionError):
            return None

    def repair(
        self,
        sql: str,
        schema: Schema,
        *,
        cursor: int | None = None,
        dialect: str | None = None,
        accepts: Accepts | None = None,
    ) -> Repair:
        """See `repair`. An `accepts` given here is asked in the place of the one this was made with."""
        mending = self._mending(sql, schema, cursor, dialect, accepts)
        try:
            draft, dropped = mending.run()
        except (Lost, RecursionError):
            raise mending.failure() from None
        return Repair(draft.text, draft.edits(), tuple(dict.fromkeys(dropped)), mending.span)

    def _mending(
        self, sql: str, schema: Schema, cursor: int | None, dialect: str | None, accepts: Accepts | None
    ) -> Mending:
        words = dialect or schema.dialect
        place = check_cursor(sql, cursor)
        span = statement_at(sql, place, words)
        if span.start == span.end:
            raise RepairFailed("there is no query here yet", place)
        return Mending(
            lambda text: self.verdict(text, schema, words, accepts),
            schema,
            words,
            sql,
            span,
            min(max(place, span.start), span.end),
            self._tries,
        )
