"""An unfinished end: which of its parts can stay, which must go, and what has to be closed.

Knows the outline, which word may not come last, and what sqlglot takes for an expression; asks no database. Walks down
the right edge of the query only, so it costs about as much as its last item is long.
"""

from __future__ import annotations

from firsthand.query.speql.fragments import dangles, parsed, reads
from firsthand.query.speql.parts import CONDITIONS, Node
from firsthand.query.speql.schema import Schema
from firsthand.query.speql.surgery import Lost, Surgery

__all__ = ["settle"]

_MAY_FOLLOW = frozenset(
    {
        "AND",
        "OR",
        "GROUP",
        "ORDER",
        "HAVING",
        "LIMIT",
        "OFFSET",
        "UNION",
        "INTERSECT",
        "EXCEPT",
        "BETWEEN",
        "IN",
        "IS",
    }
    | {
        "NOT",
        "LIKE",
        "ILIKE",
        "QUALIFY",
        "WINDOW",
        "AS",
        "ASC",
        "DESC",
        "NULLS",
        "FIRST",
        "LAST",
        "WHERE",
        "FROM",
    }
    | {
        "JOIN",
        "LEFT",
        "RIGHT",
        "INNER",
        "FULL",
        "CROSS",
        "ON",
        "USING",
        "COLLATE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
    }
)
_NO_CONDITION_NEEDED = frozenset({"CROSS", "NATURAL", "POSITIONAL"})
_NEEDS_ALIAS = frozenset(
    {"postgres", "redshift", "mysql", "tsql", "doris", "starrocks", "materialize", "risingwave"}
)


def settle(surgery: Surgery, schema: Schema, dialect: str) -> None:
    """Cut and close what is unfinished at the end of a query.

    Raises:
        Lost: nothing that runs would be left.
    """
    _Tail(surgery, schema, dialect).query(surgery.root)


class _Tail:
    def __init__(self, surgery: Surgery, schema: Schema, dialect: str) -> None:
        self.surgery = surgery
        self.tokens = surgery.tokens
        self.count = len(surgery.tokens)
        self.schema = schema
        self.dialect = dialect

    # ------------------------------------------------------------------ queries

    def query(self, node: Node) -> None:
        surgery = self.surgery
        if node.left_over >= 0:
            raise Lost
        arms = surgery.alive(node, "select")
        if not arms:
            ctes = node.child("with")
            if ctes is None:
                surgery.drop(node)
                return
            self._cte(ctes.children[-1])
            if not surgery.gone(node) and not surgery.preview_last_cte(node):
                surgery.drop(node)
            return
        self._select(arms[-1])

    def _cte(self, node: Node) -> None:
        paren = node.child("paren", "cte")
        if paren is None:
            self.surgery.drop(node)
        elif not paren.closed:
            self._inside(paren)

    def _inside(self, paren: Node) -> None:
        """Settle the query in an open parenthesis, and close it."""
        self.query(paren.children[0])
        if not self.surgery.gone(paren):
            self._close(paren)

    def _close(self, paren: Node) -> None:
        mark = {"(": ")", "[": "]", "{": "}"}[self.tokens[paren.start].text]
        self.surgery.insert(self.tokens[-1].end, mark, "closed", paren)

    def _select(self, node: Node) -> None:
        surgery = self.surgery
        clauses = surgery.alive(node)
        if not clauses:
            surgery.drop(node)
            return
        last = clauses[-1]
        if last.kind == "paren":
            if not last.closed:
                self._inside(last)
            return
        if surgery.without_tables(node):
            surgery.drop(node)
            return
        if not last.closed:  # GROUP without BY
            surgery.drop(last)
        elif last.name == "FROM":
            self._chains(last)
        elif last.name in CONDITIONS:
            self._conditions(last)
        else:
            self._items(last)
        if not surgery.gone(node) and surgery.without_tables(node):
            surgery.drop(node)

    # ------------------------------------------------------------------ lists

    def _items(self, holder: Node) -> None:
        item = holder.children[-1]
        if item.kind != "item" or not self._item_stays(item, holder.name):
            self.surgery.drop(item)

    def _conditions(self, holder: Node) -> None:
        """Settle the last conjunct; where it goes, what is last then must be a condition, too."""
        surgery = self.surgery
        conjunct = holder.children[-1]
        if not self._conjunct_stays(conjunct):
            surgery.drop(conjunct)
        while not surgery.gone(holder) and (left := surgery.alive(holder, "conjunct")):
            if left[-1] is conjunct or self._complete(left[-1], condition=True):
                return
            surgery.drop(left[-1])

    def _conjunct_stays(self, node: Node) -> bool:
        surgery = self.surgery
        inner = self._open_child(node)
        if inner is not None:
            if inner.kind == "paren" and inner.children and inner.children[0].kind == "query":
                if inner.name in ("in", "exists") and not surgery.polarity.query_widens(inner.children[0]):
                    return False  # NOT IN (SELECT …: each condition to come adds rows
                self._inside(inner)
            elif inner.name == "in" and inner.kind == "paren":
                if not self._list_stays(inner):
                    return False
                self._close(inner)
            elif inner.name == "group" and inner.start == node.start and self._only_and(inner):
                self._conditions(inner)
                if not surgery.gone(inner):
                    self._close(inner)
            else:
                return False  # a call, an operand, a CASE, half an OR: what is to come could change it
        return surgery.gone(node) or self._complete(node, condition=True, closed=inner is not None)

    @staticmethod
    def _only_and(paren: Node) -> bool:
        return all(n.kind == "conjunct" and n.joiner in ("", "AND") for n in paren.children)

    def _list_stays(self, paren: Node) -> bool:
        """Whether an open IN list has a finished member; an unfinished last one goes."""
        members = paren.children
        if not self._item_stays(members[-1], "in"):
            if len(members) < 2:
                return False
            self.surgery.drop(members[-1])
        return True

    def _item_stays(self, node: Node, clause: str) -> bool:
        surgery = self.surgery
        inner = self._open_child(node)
        if inner is not None:
            if inner.kind == "case":
                return False
            if inner.children and inner.children[0].kind == "query":
                self._inside(inner)
            else:
                last = inner.children[-1]
                if last.kind == "conjunct" and len(inner.children) > 1 and last.joiner != ",":
                    return False
                empty_call = inner.name == "call" and len(inner.children) == 1 and last.start == last.end
                if empty_call or not self._item_stays(last, "in"):
                    return False
                self._close(inner)
            if surgery.gone(node):
                return True
        return self._complete(node, clause=clause, closed=inner is not None)

    def _open_child(self, node: Node) -> Node | None:
        """The unclosed parenthesis or CASE that a part ends in."""
        last = node.children[-1] if node.children else None
        return last if last is not None and not last.closed and last.end == node.end == self.count else None

    # ------------------------------------------------------------------ FROM

    def _chains(self, holder: Node) -> None:
        surgery = self.surgery
        chain = holder.children[-1]
        if chain.kind != "chain":
            return
        last = chain.children[-1]
        if last.kind == "join":
            self._join(last)
        elif last.kind == "source":
            self._source(last)
        elif not last.closed:
            surgery.drop(chain)
        if not surgery.gone(chain):
            self._trim(chain)

    def _source(self, node: Node) -> None:
        surgery = self.surgery
        if node.start == node.end:
            surgery.drop(node)
            return
        inner = self._open_child(node)
        if inner is not None:
            if inner.children and inner.children[0].kind == "query":
                self._inside(inner)
                if not surgery.gone(node) and self.dialect in _NEEDS_ALIAS:
                    surgery.insert(self.tokens[-1].end, " AS unnamed", "named", node)
            elif inner.children and inner.children[0].kind == "chain":
                self._chains(inner)
                if not surgery.gone(node):
                    self._close(inner)
            else:
                surgery.drop(node)
            return
        tail = self.tokens[node.end - 1]
        if node.end == self.count and (not tail.finished or tail.text == "." or tail.kind == "operator"):
            surgery.drop(node)

    def _join(self, node: Node) -> None:
        surgery = self.surgery
        source = node.child("source")
        if source is None or source.start == source.end:
            surgery.drop(node)
            return
        words = set(node.name.split())
        on, using = node.child("on"), node.child("using")
        if on is not None:
            self._conditions(on)
        elif using is not None:
            paren = using.child("paren")
            if paren is None or not (paren.closed or self._list_stays_using(paren)):
                surgery.drop(node)
            elif not paren.closed:
                self._close(paren)
        elif words & _NO_CONDITION_NEEDED:
            self._source(source)
        else:
            surgery.drop(node)

    def _list_stays_using(self, paren: Node) -> bool:
        last = paren.children[-1]
        return len(paren.children) >= 1 and last.end > last.start and self.tokens[last.end - 1].finished

    def _trim(self, chain: Node) -> None:
        """Leave out an AS behind which no name has come."""
        tail = self.tokens[-1]
        if chain.end == self.count and tail.upper == "AS" and tail.kind == "word":
            self.surgery.cut_last_token(self.count - 1)

    # ------------------------------------------------------------------ what is complete

    def _complete(
        self, node: Node, *, condition: bool = False, clause: str = "", closed: bool = False
    ) -> bool:
        """Whether a part is an expression; a last word that has only begun (`ORD`) is cut off.

        With `condition` it must say yes or no by itself: a column or a number alone does not. `closed`: it ends in a
        parenthesis that was settled and closed.
        """
        if node.end <= node.start:
            return False
        last = self.tokens[node.end - 1]
        fragment = self._fragment(node, node.end)
        if closed:
            return reads(fragment, condition, clause, self.dialect, self.schema)
        if (
            last.finished
            and not dangles(last)
            and reads(fragment, condition, clause, self.dialect, self.schema)
        ):
            return True
        begun = last.kind == "word" and any(
            word.startswith(last.upper) and word != last.upper for word in _MAY_FOLLOW
        )
        if node.end == self.count and begun and node.end - node.start > 1:
            before = self.tokens[node.end - 2]
            shorter = self._fragment(node, node.end - 1)
            if not dangles(before) and reads(shorter, condition, clause, self.dialect, self.schema):
                self.surgery.cut_last_token(self.count - 1)
                return True
        kind = "condition" if condition else "SELECT "
        if last.finished and not dangles(last) and parsed(fragment, kind, self.dialect) is None:
            self.surgery.unsure = True
        return False

    def _fragment(self, node: Node, end: int) -> str:
        """The words of a part with every query in it shortened and what is open closed."""
        parts: list[str] = []
        self._write(node, end, parts)
        return " ".join(parts)

    def _write(self, node: Node, end: int, parts: list[str]) -> None:
        at = node.start
        for child in node.children:
            if self.surgery.gone(child):
                at = child.end
                if parts and child.joiner and parts[-1].upper() in (",", "AND", "OR"):
                    parts.pop()
                continue
            parts += [token.text for token in self.tokens[at : child.start]]
            if child.kind == "paren" and child.children and child.children[0].kind == "query":
                parts.append("(SELECT 1)")
            else:
                self._write(child, end, parts)
                if child.kind == "paren" and not child.closed:
                    parts.append({"(": ")", "[": "]", "{": "}"}[self.tokens[child.start].text])
            at = child.end
        parts += [token.text for token in self.tokens[at : min(node.end, end)]]
