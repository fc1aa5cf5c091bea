"""Which way a missing condition moves a result.

A conjunct that is left out widens a result only where more rows below mean more rows above: not under NOT, NOT IN and
NOT EXISTS, not in the right arm of EXCEPT, not in the ON of an outer join nor on the side that such a join fills with
NULL, not in a scalar subquery. Knows the outline of a query and nothing of tables.
"""

from __future__ import annotations

from collections.abc import Sequence

from firsthand.query.speql.parts import Node
from firsthand.query.speql.text import Token

__all__ = ["Polarity"]

_OUTER = frozenset({"LEFT", "RIGHT", "FULL", "ANTI", "ASOF"})


class Polarity:
    """Of the parts of one query.

    Args:
        tokens: of it, without comments.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens

    def widens(self, holder: Node) -> bool:
        """Whether leaving a condition out of this WHERE, HAVING, ON or parenthesis can only add rows."""
        parent = holder.parent
        match holder.kind:
            case "clause":
                assert parent is not None
                assert parent.parent is not None
                return parent.joiner not in ("EXCEPT", "MINUS") and self.query_widens(parent.parent)
            case "on":
                return parent is not None and self._inner(parent) and self._chain_widens(parent)
            case "paren":
                if holder.name == "table":
                    return self._source_widens(holder)
                if parent is None or parent.kind != "conjunct" or holder.name != "group":
                    return False
                alone = holder.start == parent.start and (not holder.closed or holder.end == parent.end)
                return alone and parent.parent is not None and self.widens(parent.parent)
        return False

    def query_widens(self, query: Node) -> bool:
        """Whether more rows of this query can only mean more rows of the whole."""
        paren = query.parent
        if paren is None:
            return True
        owner = paren.parent
        assert owner is not None
        if paren.name == "cte":
            outer = owner.up("query")
            return outer is None or self.query_widens(outer)
        if owner.kind == "select":  # an arm in parentheses
            assert owner.parent is not None
            return owner.joiner not in ("EXCEPT", "MINUS") and self.query_widens(owner.parent)
        if paren.name == "table":
            return self._source_widens(paren)
        if owner.kind == "conjunct" and paren.name in ("in", "exists", "any"):
            before = [self.tokens[place].upper for place in range(owner.start, paren.start)]
            denied = any(w == "NOT" and (i == 0 or before[i - 1] != "IS") for i, w in enumerate(before))
            whole = not paren.closed or paren.end == owner.end
            return not denied and whole and owner.parent is not None and self.widens(owner.parent)
        return False

    def _source_widens(self, paren: Node) -> bool:
        source = paren.parent
        if source is None or source.parent is None:
            return False
        if source.parent.kind == "join" and not self._inner(source.parent):
            return False
        return self._chain_widens(source.parent)

    def _chain_widens(self, part: Node) -> bool:
        """Whether more rows of a join, or of a chain's first table, mean more rows of the query."""
        chain = part if part.kind == "chain" else part.parent
        assert chain is not None
        assert chain.parent is not None
        later = False
        for join in chain.children:
            if (
                join.kind == "join"
                and (later or part is chain)
                and {"RIGHT", "FULL"} & set(join.name.split())
            ):
                return False
            later = later or join is part
        return self.widens(chain.parent)

    @staticmethod
    def _inner(join: Node) -> bool:
        return not _OUTER & set(join.name.split())
