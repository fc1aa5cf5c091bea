"""Repair by a language model, in the order of the paper's Section 3.1: local patches first, then a full rewrite.

Knows how to ask and how to check an answer; the model is whatever answers a list of messages. It is told the schema's
names and types, the text with a mark at the cursor, what the database said, and at most one past query whose numbers
and strings are masked. It is never told a row. Whatever it proposes, the database is asked before it counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol

from firsthand.errors import InputError
from firsthand.query.speql.edits import Edit
from firsthand.query.speql.errors import RepairFailed
from firsthand.query.speql.history import masked
from firsthand.query.speql.patches import difference
from firsthand.query.speql.repair import Accepts, RuleRepairer
from firsthand.query.speql.schema import Schema
from firsthand.query.speql.text import QUERY_STARTS, check_cursor, code, statement_at, statements, tokenize

__all__ = ["CURSOR", "Chat", "ModelRepairer"]

CURSOR = "⟦cursor⟧"
"""The mark that stands at the cursor in what the model reads; it must still be there in what it answers."""

_PATCH = (
    "You repair an unfinished SQL query so that the database accepts it. Change as little as you can. Answer with "
    'nothing but a JSON list of replacements, [{"old": "...", "new": "..."}]. Each "old" must occur exactly once in '
    f"the query. The mark {CURSOR} shows where the user types: keep it."
)
_EXPLAIN = "Say in at most 150 words what keeps the database from running this unfinished SQL query."
_REWRITE = (
    "Rewrite the unfinished SQL query so that the database accepts it, and change as little as you can. Answer with "
    f"nothing but the query. The mark {CURSOR} shows where the user types: keep it."
)


class Chat(Protocol):
    """Answers messages of the form `{"role": ..., "content": ...}`."""

    def __call__(self, messages: list[dict[str, str]]) -> str:
        """The text of the answer."""
        ...


class ModelRepairer:
    """Asks a model for edits until the database accepts the result.

    Of N attempts the first N − 1 ask `chat` for local patches and the N-th asks `large`; then N − 1 ask `chat` for a
    full rewrite and the last asks `large`. A rewrite takes two calls: what is wrong, then the query. After a failure
    N is one less, at least 1; after a success it is `attempts` again.

    Args:
        chat: the small model.
        large: the large one; None: the small one.
        accepts: asks the database about a statement; None: sqlglot must read it and the schema must have all its names.
        attempts: N.
        nearest: a past query like a text, or None; see `HistoryCompleter.nearest`.
        redact_literals: mask numbers and strings of that past query.
    """

    def __init__(
        self,
        chat: Chat,
        *,
        large: Chat | None = None,
        accepts: Accepts | None = None,
        attempts: int = 3,
        nearest: Callable[[str, Schema], str | None] | None = None,
        redact_literals: bool = True,
    ) -> None:
        if attempts < 1:
            raise InputError(f"attempts must be at least 1, not {attempts}")
        self._chat = chat
        self._large = large or chat
        self._rules = RuleRepairer(accepts)
        self._attempts = attempts
        self._left = attempts
        self._nearest = nearest
        self._redact = redact_literals

    @property
    def attempts_now(self) -> int:
        """N of the next repair."""
        return self._left

    def __call__(self, text: str, cursor: int, schema: Schema, error: str | None = None) -> list[Edit]:
        """Edits of `text` after which its statement at the cursor runs.

        Raises:
            RepairFailed: no proposal was accepted.
        """
        cursor = check_cursor(text, cursor)
        span = statement_at(text, cursor, schema.dialect)
        if span.start == span.end:
            raise RepairFailed("there is no query here yet", cursor)
        statement = text[span.start : span.end]
        here = min(max(cursor - span.start, 0), len(statement))
        if error is None:
            fault = self._rules.verdict(statement, schema, schema.dialect)
            if fault is None:
                return []
            error = str(fault)
        marked = statement[:here] + CURSOR + statement[here:]
        context = self._context(statement, schema)
        for number in range(2 * self._left):
            full = number >= self._left
            last = number % self._left == self._left - 1
            chat = self._large if last else self._chat
            proposed = (
                _rewritten(chat, marked, context, error) if full else _patched(chat, marked, context, error)
            )
            if isinstance(proposed, _Unusable):
                error = proposed.why
                continue
            fault = self._rules.verdict(proposed, schema, schema.dialect)
            why = _no_query(proposed, schema.dialect) or (None if fault is None else str(fault))
            if why is None:
                self._left = self._attempts
                return [
                    Edit(e.start + span.start, e.end + span.start, e.new, e.why)
                    for e in difference(
                        statement, proposed, why="proposed by the model", dialect=schema.dialect
                    )
                ]
            error = why
        self._left = max(1, self._left - 1)
        raise RepairFailed(f"the model found nothing that runs; the last fault: {error}", cursor)

    def _context(self, statement: str, schema: Schema) -> str:
        lines = [
            f"{table.name}({', '.join(f'{column.name} {column.type}' for column in table.columns)})"
            for table in schema.tables
        ]
        parts = [f"Dialect: {schema.dialect}", "Tables:", *lines]
        past = self._nearest(statement, schema) if self._nearest is not None else None
        if past:
            parts += ["A past query:", masked(past, schema.dialect) if self._redact else past]
        return "\n".join(parts)


class _Unusable:
    """An answer that is no proposal."""

    def __init__(self, why: str) -> None:
        self.why = why


def _messages(task: str, context: str, marked: str, error: str, *more: str) -> list[dict[str, str]]:
    asked = "\n\n".join([context, f"Query:\n{marked}", f"The database says: {error}", *more])
    return [{"role": "system", "content": task}, {"role": "user", "content": asked}]


def _patched(chat: Chat, marked: str, context: str, error: str) -> str | _Unusable:
    answer = chat(_messages(_PATCH, context, marked, error))
    start, end = answer.find("["), answer.rfind("]")
    try:
        patches = json.loads(answer[start : end + 1])
    except ValueError:
        return _Unusable("the answer was no JSON list of replacements")
    if not isinstance(patches, list) or not patches:
        return _Unusable("the answer was no JSON list of replacements")
    for patch in patches:
        old = patch.get("old") if isinstance(patch, dict) else None
        new = patch.get("new") if isinstance(patch, dict) else None
        if not isinstance(old, str) or not isinstance(new, str) or not old:
            return _Unusable('a replacement must have a text under "old" and one under "new"')
        if marked.count(old) != 1:
            return _Unusable(
                f'"old" must occur exactly once in the query, not {marked.count(old)} times: {old}'
            )
        marked = marked.replace(old, new)
    return _unmarked(marked)


def _rewritten(chat: Chat, marked: str, context: str, error: str) -> str | _Unusable:
    explained = chat(_messages(_EXPLAIN, context, marked, error))
    answer = chat(_messages(_REWRITE, context, marked, error, f"What is wrong: {explained.strip()[:2000]}"))
    fence = answer.find("```")
    if fence >= 0:
        inner = answer[fence + 3 :].split("```")[0]
        answer = inner.removeprefix("sql").removeprefix("SQL")
    return _unmarked(answer.strip())


def _unmarked(marked: str) -> str | _Unusable:
    if marked.count(CURSOR) != 1:
        return _Unusable(f"the mark {CURSOR} must stay in the query, once")
    return marked.replace(CURSOR, "").strip().rstrip(";").rstrip()


def _no_query(text: str, dialect: str) -> str | None:
    """Why a text is not one query; None: it is."""
    if len(statements(text, dialect)) != 1:
        return "exactly one query is wanted"
    first = code(tokenize(text, dialect))[0]
    return None if first.upper in QUERY_STARTS else f"a query was wanted, not {first.text[:40]}"
