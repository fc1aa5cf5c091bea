"""What can be taken out of a query, and what must fall with it.

Knows the outline of a query and which way a missing condition moves its result (`polarity`); knows no table and asks
no database. An arm of an OR that cannot be read makes the whole OR unknown, so all of it goes: half an OR narrows.
"""

from __future__ import annotations

from collections.abc import Sequence

from firsthand.errors import FirsthandError
from firsthand.query.speql.edits import Edit
from firsthand.query.speql.parts import CONDITIONS, Node
from firsthand.query.speql.polarity import Polarity
from firsthand.query.speql.text import Token

__all__ = ["Lost", "Surgery", "brief"]

_NARROWING = CONDITIONS | {"GROUP BY", "LIMIT", "OFFSET", "USING SAMPLE", "FETCH"}
_LABELS = {
    "SELECT": "column",
    "GROUP BY": "grouping",
    "ORDER BY": "ordering",
    "WHERE": "condition",
    "HAVING": "condition on groups",
    "QUALIFY": "condition on windows",
}
_MEMBERS = frozenset({"item", "conjunct", "chain", "cte", "select"})


def brief(text: str, limit: int = 160) -> str:
    """A piece of a query on one line, its middle left out where it is long."""
    words = " ".join(text.split())
    return words if len(words) <= limit else f"{words[: limit // 2]} … {words[-limit // 3 :]}"


class Lost(FirsthandError, LookupError):  # noqa: N818 - `repair` tells users of it in its own words
    """Nothing that runs would be left."""


class Surgery:
    """Cuts in one query, gathered; `edits` tells them.

    Args:
        text: of the statement.
        tokens: of it, without comments.
        root: their outline.
    """

    def __init__(self, text: str, tokens: Sequence[Token], root: Node) -> None:
        self.text = text
        self.tokens = tokens
        self.root = root
        self.dropped: list[str] = []
        self.unsure = False  # whether something goes only because sqlglot cannot read it
        self._cut: dict[Node, str] = {}
        self._inserts: list[tuple[int, str, str, Node]] = []
        self._last_token: int | None = None
        self.polarity = Polarity(tokens)

    # ------------------------------------------------------------------ looking

    def alive(self, parent: Node, kind: str | None = None) -> list[Node]:
        """Children that are not cut out."""
        return [n for n in parent.children if n not in self._cut and (kind is None or n.kind == kind)]

    def gone(self, node: Node) -> bool:
        """Whether it is cut out, by itself or with something around it."""
        place: Node | None = node
        while place is not None:
            if place in self._cut:
                return True
            place = place.parent
        return False

    def words(self, node: Node) -> str:
        """The text of a part, as it is typed."""
        if node.end <= node.start:
            return ""
        return self.text[self.tokens[node.start].start : self.tokens[node.end - 1].end]

    def end_of(self, node: Node) -> int:
        """Where the last token of a part ends."""
        return self.tokens[node.end - 1].end if node.end > 0 else 0

    # ------------------------------------------------------------------ cutting

    def insert(self, at: int, new: str, why: str, owner: Node) -> None:
        """Put text in at a place, behind what was put in there before; not where its owner is taken out after all."""
        self._inserts.append((at, new, why, owner))

    def cut_last_token(self, place: int) -> None:
        """Take out one token, the last: a word that has only begun, or an AS without a name."""
        self._last_token = place

    def drop(self, node: Node) -> None:
        """Take a part out, and whatever cannot stand without it.

        Raises:
            Lost: nothing would be left.
        """
        if self.gone(node):
            return
        parent = node.parent
        match node.kind:
            case "conjunct":
                self._drop_conjunct(node)
            case "item":
                self._drop_item(node)
            case "chain" | "join":
                assert parent is not None
                holder = node.up("clause", "paren")
                if holder is not None and not self.polarity.widens(holder):
                    self._rise(holder)
                    return
                self._mark(node)
                if not self.alive(parent, node.kind) and node.kind == "chain":
                    self.drop(parent)
            case "select":
                self._drop_select(node)
            case "clause":
                self._drop_clause(node)
            case "query":
                if parent is None:
                    raise Lost
                self.drop(parent)
            case "cte":
                assert parent is not None
                self._mark(node)
                if not self.alive(parent, "cte"):
                    query = parent.parent
                    assert query is not None
                    if not self.alive(query, "select"):
                        self.drop(query)
                    self._cut[parent] = ""
            case _:  # source, on, using, case, paren, with: never without what they belong to
                if parent is None:
                    raise Lost
                self.drop(parent)

    def _mark(self, node: Node) -> None:
        self._cut[node] = self._label(node)
        self._tell(node)

    def _tell(self, node: Node) -> None:
        self.dropped.append(f"{self._label(node)}: {brief(self.words(node)) or 'nothing typed yet'}")

    def _label(self, node: Node) -> str:
        last = "last " if node.end >= len(self.tokens) else ""
        clause = node.up("clause", "on")
        match node.kind:
            case "conjunct" if clause is not None and clause.kind == "on":
                return f"{last}join condition"
            case "conjunct" | "item" if clause is not None:
                return last + _LABELS.get(clause.name, f"part of {clause.name}")
            case "chain":
                return f"{last}table"
            case "join":
                return f"{last}join"
            case "select":
                return f"{node.joiner} arm" if node.joiner else "main SELECT"
            case "clause":
                return "clause"
            case "cte":
                return "CTE"
        return last + node.kind

    def _drop_conjunct(self, node: Node) -> None:
        holder = node.parent
        assert holder is not None
        if not self.polarity.widens(holder):
            self._rise(holder)
            return
        if all(sibling is node or sibling in self._cut for sibling in self._arm(node)):
            self._drop_level(holder, node)
        else:
            self._mark(node)

    def _drop_level(self, holder: Node, node: Node) -> None:
        """A whole WHERE, ON or parenthesis, for one arm of its conditions is unknown."""
        if holder.kind == "clause" and len(self.alive(holder)) == 1:
            self._cut[holder] = self._label(node)
            self._tell(node)
        elif holder.kind == "clause":
            self._mark(holder)
        else:
            self.drop(holder)

    def _arm(self, node: Node) -> list[Node]:
        """The conjuncts between two ORs that hold this one."""
        assert node.parent is not None
        arms: list[list[Node]] = [[]]
        for sibling in node.parent.children:
            if sibling.kind != "conjunct":
                continue
            if sibling.joiner in ("OR", ","):
                arms.append([])
            arms[-1].append(sibling)
        return next(arm for arm in arms if node in arm)

    def _drop_item(self, node: Node) -> None:
        holder = node.parent
        assert holder is not None
        if holder.kind == "paren":
            if holder.name == "in" and len(self.alive(holder)) > 1:
                self._mark(node)
            else:
                self.drop(holder)
            return
        select = holder.parent
        assert select is not None
        if holder.name in _NARROWING and not self.polarity.widens(holder):
            self._rise(holder)
        elif holder.name == "SELECT" and self._counted(select):
            self._drop_select(select)
        elif len(self.alive(holder, "item")) == 1:
            self._drop_clause(holder)
        else:
            self._mark(node)

    def _counted(self, select: Node) -> bool:
        """Whether it matters how many columns this SELECT has."""
        query = select.parent
        assert query is not None
        if len(self.alive(query, "select")) > 1:
            return True
        paren = query.parent
        if paren is None:
            return False
        if paren.name == "cte" and paren.parent is not None:
            return paren.parent.child("paren", "list") is not None
        return paren.name in ("in", "any", "call", "list") or (
            paren.name == "group" and not self._is_arm(paren)
        )

    @staticmethod
    def _is_arm(paren: Node) -> bool:
        return paren.parent is not None and paren.parent.kind == "select"

    def _drop_clause(self, node: Node) -> None:
        select = node.parent
        assert select is not None
        if node.name in _NARROWING:
            if not self.polarity.widens(node):
                self._rise(node)
                return
        elif node.name in ("SELECT", "FROM", "VALUES"):
            from_first = select.children[0].name == "FROM" and node is not select.children[0]
            constant = (
                node.name == "FROM"
                and select.children[0].name == "SELECT"
                and not self._names(select.children[0])
            )
            if not from_first and not constant:
                self._drop_select(select)
                return
        self._mark(node)

    def _names(self, node: Node) -> bool:
        """Whether a part names anything that would have to come from a table."""
        before = ""
        kind = ""
        place = node.body - 1
        queries = {
            n.start: n.end
            for n in node.walk()
            if n.kind == "paren" and n.children and n.children[0].kind == "query"
        }
        while (place := place + 1) < node.end:
            if place in queries:
                place = queries[place] - 1
                before = ")"
                continue
            token = self.tokens[place]
            after = self.tokens[place + 1].text if place + 1 < len(self.tokens) else ""
            if token.text == "*" and before in ("", ",", "."):
                return True
            if (token.kind == "quoted" or (token.kind == "word" and token.upper not in _CONSTANT)) and (
                after != "(" and before not in ("AS", "::", ")", "END") and kind not in ("number", "string")
            ):
                return True
            before, kind = token.upper, token.kind
        return False

    def without_tables(self, select: Node) -> bool:
        """Whether a SELECT has no FROM but names columns."""
        lists = select.child("clause", "SELECT")
        return lists is not None and select.child("clause", "FROM") is None and self._names(lists)

    def _drop_select(self, node: Node) -> None:
        query = node.parent
        assert query is not None
        if node.joiner:
            if node.joiner == "UNION" or self.polarity.query_widens(query):
                self._mark(node)
            else:
                self.drop(query)
            return
        arms = self.alive(query, "select")
        if arms == [node] and self.preview_last_cte(query):
            self._mark(node)
            return
        self.drop(query)

    def preview_last_cte(self, query: Node) -> bool:
        """Read the last finished CTE of a query that has no SELECT of its own yet; False: it has none."""
        ctes = query.child("with")
        found = [n for n in self.alive(ctes, "cte") if n.name and n.children] if ctes is not None else []
        if not found:
            return False
        new = f" SELECT * FROM {found[-1].name}"
        self.insert(self.end_of(query), new, f"the query has no SELECT yet: {found[-1].name} is shown", query)
        return True

    def _rise(self, holder: Node) -> None:
        """Take out what is around a part that must not lose anything alone."""
        parent = holder.parent
        if parent is None:
            raise Lost
        if holder.kind == "clause":
            if parent.joiner in ("EXCEPT", "MINUS"):
                self._drop_select(parent)
            else:
                assert parent.parent is not None
                self.drop(parent.parent)
        else:
            self.drop(parent)

    # ------------------------------------------------------------------ telling

    def edits(self) -> list[Edit]:
        """All cuts and insertions as edits of the text, in order."""
        ranges = [(*self._range(node), why) for node, why in self._cut.items() if not self._inside(node)]
        if self._last_token is not None:
            begun = self.tokens[self._last_token]
            ranges.append((self._before(self._last_token), begun.end, begun.text))
        ranges.sort()
        merged: list[Edit] = []
        for start, end, why in ranges:
            why = f"{why} left out" if why else ""
            if merged and start <= merged[-1].end:
                last = merged[-1]
                both = "; ".join(dict.fromkeys(filter(None, (last.why, why))))
                merged[-1] = Edit(last.start, max(last.end, end), "", both)
            else:
                merged.append(Edit(start, end, "", why))
        for at, new, why, owner in self._inserts:
            if self.gone(owner):
                continue
            place = next((i for i, e in enumerate(merged) if e.start <= at <= e.end), None)
            if place is None:
                merged.append(Edit(at, at, new, why))
                merged.sort(key=lambda edit: edit.start)
            else:
                old = merged[place]
                both = "; ".join(dict.fromkeys(filter(None, (old.why, why))))
                merged[place] = Edit(old.start, old.end, old.new + new, both)
        return [edit for edit in merged if edit.end > edit.start or edit.new]

    def _inside(self, node: Node) -> bool:
        return node.parent is not None and self.gone(node.parent)

    def _range(self, node: Node) -> tuple[int, int]:
        """The characters that go with a part: from the end of the token before, or up to the one behind."""
        if node.kind in _MEMBERS and node.parent is not None:
            if node.kind == "conjunct":
                siblings = self._arm(node)
            else:
                siblings = [n for n in node.parent.children if n.kind == node.kind]
            place = siblings.index(node)
            if any(n not in self._cut for n in siblings[:place]):
                return self._before(node.separator), self.end_of(node)
            later = next((n for n in siblings[place + 1 :]), None)
            if later is not None:
                return self.tokens[node.start].start, self.tokens[later.start].start if later.start < len(
                    self.tokens
                ) else self.end_of(later)
        return self._before(node.start), max(self._before(node.start), self.end_of(node))

    def _before(self, place: int) -> int:
        return self.tokens[place - 1].end if place > 0 else (self.tokens[0].start if self.tokens else 0)


_CONSTANT = frozenset(
    {"NULL", "TRUE", "FALSE", "AS", "AND", "OR", "NOT", "IS", "IN", "LIKE", "BETWEEN", "CASE", "WHEN", "THEN"}
    | {
        "ELSE",
        "END",
        "DATE",
        "TIMESTAMP",
        "TIME",
        "INTERVAL",
        "CURRENT_DATE",
        "CURRENT_TIME",
        "CURRENT_TIMESTAMP",
    }
    | {
        "INTEGER",
        "INT",
        "BIGINT",
        "VARCHAR",
        "DOUBLE",
        "DECIMAL",
        "BOOLEAN",
        "FLOAT",
        "SMALLINT",
        "DAY",
        "DAYS",
    }
    | {"MONTH", "YEAR", "HOUR", "MINUTE", "SECOND"}
)
