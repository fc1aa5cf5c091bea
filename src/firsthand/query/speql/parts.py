"""The parts of a query that may be unfinished.

query      [with] select (UNION select)*       in parentheses or the whole statement
with       cte, cte                            cte: name AS paren
select     clause*                             SELECT, FROM, WHERE, GROUP BY, …
clause     item, item                          a member of SELECT, GROUP BY, ORDER BY, LIMIT …
           conjunct AND conjunct OR conjunct   of WHERE, HAVING, QUALIFY
           chain, chain                        of FROM: source join*; join: source [on | using]
paren      query | items | conjuncts | chains  anywhere; so is case
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["CONDITIONS", "JOIN_WORDS", "Node"]

CONDITIONS = frozenset({"WHERE", "HAVING", "QUALIFY"})
JOIN_WORDS = frozenset(
    {
        "JOIN",
        "INNER",
        "LEFT",
        "RIGHT",
        "FULL",
        "CROSS",
        "NATURAL",
        "OUTER",
        "SEMI",
        "ANTI",
        "ASOF",
        "POSITIONAL",
    }
)


class Node:
    """A part of a query.

    Attributes:
        kind: query, with, cte, select, clause, item, conjunct, chain, source, join, on, paren or case.
        name: of a clause its words, of a cte its name, of a join its kind ("LEFT JOIN"), of a paren what it is for:
            "in", "exists", "call", "group", "list", "table", "any" or "cte".
        start, end: tokens [start, end).
        body: the first token behind the opening words.
        separator: the first token of what stands between this and the one before it; -1 where there is none.
        joiner: that separator's first word: `,`, AND, OR, UNION …
        closed: False for a parenthesis without its mate and a CASE without its END.
        left_over: of a query the token from where nothing can be placed; -1 where all can.
    """

    __slots__ = (
        "body", "children", "closed", "end", "joiner", "kind", "left_over", "name", "parent", "separator", "start",
    )  # fmt: skip

    def __init__(self, kind: str, start: int, parent: Node | None, name: str = "") -> None:
        self.kind = kind
        self.name = name
        self.start = self.end = self.body = start
        self.parent = parent
        self.children: list[Node] = []
        self.separator = -1
        self.joiner = ""
        self.closed = True
        self.left_over = -1
        if parent is not None:
            parent.children.append(self)

    def walk(self) -> Iterator[Node]:
        """This and all below it, each before its children."""
        yield self
        for child in self.children:
            yield from child.walk()

    def up(self, *kinds: str) -> Node | None:
        """The nearest node above this of one of the kinds."""
        node = self.parent
        while node is not None and node.kind not in kinds:
            node = node.parent
        return node

    def child(self, kind: str, name: str | None = None) -> Node | None:
        """The first child of that kind and name."""
        for node in self.children:
            if node.kind == kind and (name is None or node.name == name):
                return node
        return None
