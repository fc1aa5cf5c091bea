"""One repair, step by step: what is tried, in which order, and what the database is asked.

Knows when to settle an end, when to look names up and where to cut next; what each of these does is told elsewhere
(`tails`, `names`, `surgery`). Every text that the database is asked about differs from those before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError

from firsthand.query.speql.edits import Draft, Edit
from firsthand.query.speql.errors import QueryFailed, RepairFailed
from firsthand.query.speql.fragments import bare_condition
from firsthand.query.speql.names import READ_ERRORS, Findings, Unknown, look_up, nearest
from firsthand.query.speql.outline import outline
from firsthand.query.speql.parts import Node
from firsthand.query.speql.schema import Schema
from firsthand.query.speql.surgery import Lost, Surgery, brief
from firsthand.query.speql.tails import settle
from firsthand.query.speql.text import QUERY_STARTS, Span, Token, code, tokenize

__all__ = ["Mending", "read"]

_BOUNDARIES = frozenset({"clause", "conjunct", "chain", "join", "select", "cte"})


class Mending:
    """One repair of the statement `span` of a text.

    Args:
        verdict: what is wrong with a statement, None if nothing; remembers what it was asked.
        cursor: in the text, within the span.
        tries: how many shortened texts to ask about.
    """

    def __init__(
        self,
        verdict: Callable[[str], QueryFailed | None],
        schema: Schema,
        dialect: str,
        text: str,
        span: Span,
        cursor: int,
        tries: int,
    ) -> None:
        self.verdict = verdict
        self.schema = schema
        self.dialect = dialect
        self.span = span
        self.whole = Draft(text, span.start, span.end)
        self.here = cursor - span.start
        self.tries = tries
        self.error: QueryFailed | None = None
        self.reason = ""
        self.finished = False
        self.bare: Node | None = None
        self._outlined: dict[str, tuple[list[Token], Node]] = {}

    def ask(self, draft: Draft) -> bool:
        """Whether the database takes a draft; what it has against it is kept."""
        answer = self.verdict(draft.text)
        if answer is not None:
            self.error = answer
        return answer is None

    def failure(self) -> RepairFailed:
        """Why `run` found nothing."""
        position = self.span.start + self.here
        if self.reason:
            return RepairFailed(self.reason, position)
        if self.error is not None:
            return RepairFailed(f"no part of this runs yet: {self.error}", position)
        return RepairFailed("no part of this runs yet: a FROM with a table is missing", position)

    # ------------------------------------------------------------------ the order of things

    def as_typed(self) -> bool:
        """Whether the statement runs as it is, and nothing in it is half a condition.

        Raises:
            Lost: it is no query.
        """
        tokens, root = self.outlined(self.whole)
        if tokens[0].upper not in QUERY_STARTS:
            self.reason = (
                f"a query begins with SELECT, WITH, FROM or VALUES, not with {tokens[0].text[:40]!r}"
            )
            raise Lost
        surgery = Surgery(self.whole.text, tokens, root)
        try:
            settle(surgery, self.schema, self.dialect)
            self.finished = not surgery.edits()
        except Lost:
            self.finished = root.left_over >= 0  # it may be a syntax that only the database knows
        if self.here < tokens[-1].end:
            self.bare = bare_condition(tokens, root, self.here, self.schema)
        return (self.finished or surgery.unsure) and self.bare is None and self.ask(self.whole)

    def run(self) -> tuple[Draft, list[str]]:
        """The statement that runs, and what was left out, in words.

        Raises:
            Lost: there is none; see `failure`.
        """
        if self.as_typed():
            return self.whole, []
        tokens, root = self.outlined(self.whole)
        if self.here >= tokens[-1].end:
            return self.ended(self.whole, [])
        kept = self.around(tokens, root)
        if kept is not None:
            return kept
        rest = Edit(self.here, len(self.whole.text), "", "text after the cursor left out")
        return self.ended(self.whole.changed([rest]), ["text after the cursor"])

    def around(self, tokens: list[Token], root: Node) -> tuple[Draft, list[str]] | None:
        """The text with what is behind the cursor: names mended, or without what the cursor stands in."""
        if self.finished and self.bare is None:
            try:
                return self.mended(self.whole, [], whole=True)
            except Lost:
                pass
        node = self.bare or member_at(root, self._token_at(tokens, self.here))
        if node is None:
            return None
        surgery = Surgery(self.whole.text, tokens, root)
        try:
            surgery.drop(node)
            return self.mended(self.whole.changed(surgery.edits()), surgery.dropped, whole=True)
        except Lost:
            return None

    def ended(self, draft: Draft, dropped: list[str]) -> tuple[Draft, list[str]]:
        """The text up to the cursor, its end settled; or shorter."""
        try:
            return self.mended(draft, dropped, whole=False)
        except Lost:
            reason, self.reason = self.reason, ""
        if reason:
            self.reason = reason
            raise Lost
        return self.shortened(draft, dropped)

    def mended(self, draft: Draft, dropped: list[str], *, whole: bool) -> tuple[Draft, list[str]]:
        """Settle, ask, mend what is wrong, ask again.

        Raises:
            Lost: it cannot be mended.
        """
        dropped = list(dropped)
        for _ in range(6):
            draft, more = self.settled(draft)
            if whole and more:
                raise Lost
            dropped += more
            if self.ask(draft):
                return draft, dropped
            draft, more = self.renamed(draft)
            dropped += more
        raise Lost

    def settled(self, draft: Draft) -> tuple[Draft, list[str]]:
        """A draft with its end cut and closed, until nothing is unfinished."""
        dropped: list[str] = []
        for _ in range(4):
            tokens, root = self.outlined(draft)
            if not tokens:
                raise Lost
            surgery = Surgery(draft.text, tokens, root)
            settle(surgery, self.schema, self.dialect)
            edits = surgery.edits()
            end = tokens[-1].end
            if end < len(draft.text):
                edits = _with_rest(edits, end, len(draft.text))
            if not edits:
                break
            draft = draft.changed(edits)
            dropped += surgery.dropped
        return draft, dropped

    def shortened(self, draft: Draft, dropped: list[str]) -> tuple[Draft, list[str]]:
        """Cut where something begins, the last beginning first, until the database takes what is left."""
        tokens, root = self.outlined(draft)
        places = {
            tokens[n.separator if n.separator >= 0 else n.start].start
            for n in root.walk()
            if n.kind in _BOUNDARIES
            and n.start < len(tokens)
            and (n.separator >= 0 or n.kind in ("clause", "join"))
        }
        seen: set[str] = set()
        for place in sorted(places, reverse=True):
            cut = draft.text[place:]
            shorter = draft.changed([Edit(place, len(draft.text), "", "this end could not be read")])
            try:
                shorter, more = self.settled(shorter)
            except Lost:
                continue
            if shorter.text in seen:
                continue
            seen.add(shorter.text)
            told = [*dropped, f"the end: {brief(cut)}", *more]
            if self.ask(shorter):
                return shorter, told
            try:
                mended, more = self.renamed(shorter)
                mended, last = self.settled(mended)
                if self.ask(mended):
                    return mended, [*told, *more, *last]
            except Lost:
                pass
            if len(seen) >= self.tries:
                break
        raise Lost

    # ------------------------------------------------------------------ names

    def renamed(self, draft: Draft) -> tuple[Draft, list[str]]:
        """Replace or leave out what the schema or the database does not know.

        Raises:
            Lost: nothing can be done.
        """
        tokens, root = self.outlined(draft)
        surgery = Surgery(draft.text, tokens, root)
        findings = self.looked_up(draft.text)
        changes: list[Edit] = []
        if findings:
            for unknown in findings.unknown:
                change = self._unknown(unknown, surgery)
                if change is not None:
                    changes.append(change)
            for extra in findings.ungrouped:
                self._group(extra.place, extra.columns, surgery)
        else:
            position = self.error.position if self.error is not None else None
            if position is None:
                fault = read(draft.text, self.schema, self.dialect)
                position = fault.position if fault is not None else None
            node = None if position is None else member_at(root, self._token_at(tokens, position))
            if node is None:
                raise Lost
            surgery.drop(node)
        cuts = surgery.edits()
        changes = [c for c in changes if not any(e.start <= c.start and c.end <= e.end for e in cuts)]
        edits = sorted([*cuts, *changes], key=lambda edit: (edit.start, edit.end))
        if not edits:
            raise Lost
        return draft.changed(edits), surgery.dropped

    def looked_up(self, text: str) -> Findings | None:
        """What is wrong with the names; None: sqlglot cannot read the text."""
        try:
            return look_up(sqlglot.parse_one(text, read=self.dialect), self.schema, self.dialect)
        except READ_ERRORS:
            return None

    def _unknown(self, unknown: Unknown, surgery: Surgery) -> Edit | None:
        if unknown.start < 0:
            return None
        rest = surgery.text[unknown.end :].strip(") \n\t\"'")
        begun = not rest and any(
            name.lower().startswith(unknown.name.lower()) and len(name) > len(unknown.name)
            for name in unknown.known
        )
        near = None if begun else nearest(unknown.name, unknown.known)
        if near is not None:
            return Edit(
                unknown.start, unknown.end, near, f"no {unknown.kind} {unknown.name}: {near} is meant"
            )
        node = member_at(surgery.root, self._token_at(surgery.tokens, unknown.start))
        if node is None:
            raise Lost
        if unknown.kind == "table" and rest:
            self.reason = f"there is no table {unknown.name}" + _nearest_names(unknown)
            raise Lost
        try:
            surgery.drop(node)
        except Lost:
            self.reason = f"there is no {unknown.kind} {unknown.name}" + _nearest_names(unknown)
            raise
        return None

    def _group(self, place: int, columns: Sequence[str], surgery: Surgery) -> None:
        node = member_at(surgery.root, self._token_at(surgery.tokens, place))
        select = node.up("select") if node is not None else None
        if select is None or surgery.gone(select):
            return
        listed = ", ".join(columns)
        group = select.child("clause", "GROUP BY")
        if group is not None and not surgery.gone(group):
            surgery.insert(surgery.end_of(group), f", {listed}", f"grouped by {listed}, too", select)
            return
        before = [c for c in select.children if c.name in ("FROM", "WHERE")]
        if before:
            surgery.insert(surgery.end_of(before[-1]), f" GROUP BY {listed}", f"grouped by {listed}", select)

    # ------------------------------------------------------------------ small things

    def outlined(self, draft: Draft) -> tuple[list[Token], Node]:
        """Tokens and outline of a draft."""
        if draft.text not in self._outlined:
            tokens = code(tokenize(draft.text, self.dialect))
            self._outlined[draft.text] = tokens, outline(tokens)
        return self._outlined[draft.text]

    @staticmethod
    def _token_at(tokens: Sequence[Token], place: int) -> int:
        """The token that holds or ends at a place, else the last before it."""
        found = 0
        for number, token in enumerate(tokens):
            if token.start > place:
                break
            found = number
        return found


def member_at(root: Node, place: int) -> Node | None:
    """The innermost part that can be taken out alone and holds a token."""
    found: Node | None = None
    node: Node | None = root
    while node is not None:
        if node.kind in ("conjunct", "item", "chain", "join", "cte"):
            found = node
        empty = [n for n in node.children if n.start == n.end == place]
        inner = [n for n in node.children if n.start <= place < n.end or n.separator == place]
        node = empty[0] if empty else inner[-1] if inner else None
    return found


def _with_rest(edits: list[Edit], end: int, length: int) -> list[Edit]:
    """The edits, and without what is behind the last token (white space, a comment)."""
    rest = Edit(end, length, "", "")
    if edits and edits[-1].end >= end:
        last = edits.pop()
        rest = Edit(last.start, length, last.new, last.why)
    return [*edits, rest]


def _nearest_names(unknown: Unknown) -> str:
    begun = [name for name in unknown.known if name.lower().startswith(unknown.name.lower())]
    near = nearest(unknown.name, unknown.known, at_most=2)
    names = sorted({*begun[:5], *([near] if near else [])})
    return f"; did you mean {', '.join(names)}?" if names else ""


def _place(sql: str, error: dict[str, object]) -> int | None:
    """Where sqlglot stopped reading; it counts lines from 1 and columns to the end of the token."""
    line, column = error.get("line"), error.get("col")
    if not isinstance(line, int) or not isinstance(column, int):
        return None
    before = sum(len(text) for text in sql.splitlines(keepends=True)[: line - 1])
    return max(0, min(before + column - 1, len(sql)))


def read(sql: str, schema: Schema, dialect: str) -> QueryFailed | None:
    """What sqlglot and the schema have against a statement, where no database is asked."""
    try:
        tree = sqlglot.parse_one(sql, read=dialect)
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        return QueryFailed(f"syntax: {first.get('description') or error}", _place(sql, first))
    except READ_ERRORS as error:
        return QueryFailed(f"syntax: {error}")
    tokens = code(tokenize(sql, dialect))
    for before, token in pairwise(tokens):  # which sqlglot reads
        if (before.text in (",", "(") and token.text == ",") or (
            before.upper == "SELECT" and token.upper == "FROM"
        ):
            return QueryFailed(f"syntax: nothing before {token.text}", token.start)
    for node in tree.find_all(exp.In):
        if not any(node.args.get(key) for key in ("expressions", "query", "unnest", "field")):
            return QueryFailed("syntax: IN without a list")
    findings = look_up(tree, schema, dialect)
    if findings.unknown:
        first_unknown = findings.unknown[0]
        position = first_unknown.start if first_unknown.start >= 0 else None
        return QueryFailed(f"there is no {first_unknown.kind} {first_unknown.name}", position)
    if findings.ungrouped:
        columns = ", ".join(findings.ungrouped[0].columns)
        return QueryFailed(f"not grouped by {columns}", findings.ungrouped[0].place)
    return None
