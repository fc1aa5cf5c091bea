"""The shape of a query that may be unfinished: queries, clauses, items, conjuncts and what is still open.

Knows where a clause begins, what separates the members of a list and which AND belongs to a BETWEEN; knows neither
what an expression means nor any table. Never fails: what it cannot place is left over, and said to be.
The parts are told in `parts`.
"""

from __future__ import annotations

from collections.abc import Sequence

from firsthand.query.speql.parts import CONDITIONS, JOIN_WORDS, Node
from firsthand.query.speql.text import QUERY_STARTS, Token

__all__ = ["outline"]

_SETS = frozenset({"UNION", "INTERSECT", "EXCEPT", "MINUS"})
_HEADS = frozenset(
    {
        "SELECT",
        "FROM",
        "WHERE",
        "GROUP",
        "HAVING",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "QUALIFY",
        "WINDOW",
        "FETCH",
        "USING",
    }
)
_QUERY_WORDS = QUERY_STARTS - {"("}
_CLOSES = {"(": ")", "[": "]", "{": "}"}
_NOT_CALLED = frozenset(
    {
        "AND",
        "OR",
        "NOT",
        "ON",
        "WHERE",
        "HAVING",
        "SELECT",
        "DISTINCT",
        "BY",
        "WHEN",
        "THEN",
        "ELSE",
        "AS",
        "BETWEEN",
    }
    | {
        "LIKE",
        "ILIKE",
        "IS",
        "FROM",
        "JOIN",
        "LIMIT",
        "OFFSET",
        "QUALIFY",
        "UNION",
        "ALL",
        "INTERSECT",
        "EXCEPT",
    }
    | {"CASE", "VALUES", "USING", "OVER", "FILTER", "ESCAPE"}
)


def outline(tokens: Sequence[Token]) -> Node:
    """The shape of one statement.

    Args:
        tokens: of one statement, without comments.

    Returns:
        Its query; every token is in it, if need be among what is left over.
    """
    reader = _Reader(tokens)
    root = reader.query(None)
    if reader.at < len(tokens) and root.left_over < 0:
        root.left_over = reader.at
    root.end = len(tokens)
    return root


class _Reader:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.count = len(tokens)
        self.at = 0
        self.depth = 0

    def word(self, ahead: int = 0) -> str:
        """The token that many further on, in capitals; "" past the end. A quoted name is never a keyword."""
        place = self.at + ahead
        return self.tokens[place].upper if 0 <= place < self.count else ""

    # ------------------------------------------------------------------ queries

    def query(self, parent: Node | None) -> Node:
        node = Node("query", self.at, parent)
        self.depth += 1
        if self.word() == "WITH":
            self._with(node)
        operator: tuple[int, str] = (-1, "")
        while self.at < self.count or operator[1]:
            word = self.word()
            if word == "(" and self.depth < 60:
                arm = Node("select", self.at, node, "(")
                self._paren(arm, "group", force_query=True)
                if self.word() in ("ORDER", "LIMIT", "OFFSET"):
                    self._clauses(arm)
            elif word in _HEADS or word == "VALUES":
                arm = Node("select", self.at, node)
                self._clauses(arm)
            elif operator[1]:
                arm = Node("select", self.at, node)  # nothing behind UNION yet
            else:
                break
            arm.end = self.at
            arm.separator, arm.joiner = operator
            if self.word() not in _SETS or arm.end == arm.start:
                break
            operator = (self.at, self.word())
            self.at += 1
            while self.word() in ("ALL", "DISTINCT", "BY", "NAME"):
                self.at += 1
        self.depth -= 1
        if self.at < self.count and self.word() not in (")", "]", "}"):
            node.left_over = self.at
            self._skip_to_close()
        node.end = self.at
        return node

    def _skip_to_close(self) -> None:
        """To the parenthesis that ends this query, or the end."""
        depth = 0
        while self.at < self.count:
            text = self.tokens[self.at].text
            if text in _CLOSES:
                depth += 1
            elif text in (")", "]", "}"):
                if depth == 0:
                    return
                depth -= 1
            self.at += 1

    def _with(self, query: Node) -> None:
        node = Node("with", self.at, query)
        self.at += 1
        if self.word() == "RECURSIVE":
            self.at += 1
        node.body = self.at
        separator = -1
        while True:
            cte = Node("cte", self.at, node)
            cte.separator, cte.joiner = separator, "," if separator >= 0 else ""
            cte.closed = False  # until its parenthesis is there
            if self.at < self.count and self.tokens[self.at].is_name and self.word() not in _QUERY_WORDS:
                cte.name = self.tokens[self.at].text
                self.at += 1
            if self.word() == "(":
                self._paren(cte, "list")
            while self.word() in ("AS", "NOT", "MATERIALIZED", "USING", "KEY"):
                self.at += 1
            cte.body = self.at
            if self.word() == "(" and cte.name:
                self._paren(cte, "cte", force_query=True)
                cte.closed = cte.children[-1].closed
            cte.end = self.at
            if self.word() != ",":
                break
            separator = self.at
            self.at += 1
        node.end = self.at

    def _clauses(self, select: Node) -> None:
        while self.at < self.count and (self.word() in _HEADS or self.word() == "VALUES"):
            word = self.word()
            if any(clause.name == word for clause in select.children if clause.kind == "clause"):
                return  # a second SELECT: another statement begins, or a word is missing
            if word == "SELECT" and select.children and select.children[0].name != "FROM":
                return
            before = self.at
            self._clause(select, word)
            if self.at == before:
                return

    # ------------------------------------------------------------------ clauses

    def _clause(self, select: Node, word: str) -> None:
        node = Node("clause", self.at, select, word)
        self.at += 1
        if word in ("GROUP", "ORDER"):
            node.closed = self.word() == "BY"
            if node.closed:
                node.name = f"{word} BY"
                self.at += 1
        elif word == "SELECT":
            if self.word() in ("DISTINCT", "ALL"):
                self.at += 1
                if self.word() == "ON" and self.word(1) == "(":
                    self.at += 1
                    self._paren(node, "list")
        elif word == "USING":
            node.closed = self.word() == "SAMPLE"
            if node.closed:
                node.name = "USING SAMPLE"
                self.at += 1
        node.body = self.at
        if word == "FROM":
            self._chains(node)
        elif word in CONDITIONS:
            self._conjuncts(node)
        else:
            self._items(node)
        node.end = self.at

    def _ends(self, node: Node) -> bool:
        """Whether the next token is beyond the list that `node` holds."""
        if self.at >= self.count:
            return True
        token = self.tokens[self.at]
        if token.kind == "punctuation":
            return token.text in ")]};"
        if token.kind != "word":
            return False
        word = token.upper
        if word not in _HEADS and word not in _SETS:
            return False
        holder = node if node.kind in ("clause", "paren") else node.up("clause", "paren")
        if holder is None or holder.kind == "paren":
            return False
        previous = self.word(-1)
        if previous == ".":
            return False
        if word == "FROM":
            return not (
                previous == "DISTINCT" and self.at - 1 >= node.start and self.word(-2) in ("IS", "NOT")
            )
        if word == "GROUP":
            return previous != "WITHIN"
        if word == "USING":
            return self.word(1) == "SAMPLE"
        if word == "FETCH":
            return self.word(1) in ("FIRST", "NEXT")
        if word == "EXCEPT":
            return not (previous == "*" and self.word(1) == "(" and self.word(2) not in _QUERY_WORDS)
        return True

    def _items(self, holder: Node) -> None:
        separator = -1
        while True:
            item = Node("item", self.at, holder)
            item.separator, item.joiner = separator, "," if separator >= 0 else ""
            while not self._ends(item) and self.word() != ",":
                self._step(item)
            item.end = self.at
            if self.word() != ",":
                return
            separator = self.at
            self.at += 1

    def _conjuncts(self, holder: Node, *, stop_at_join: bool = False) -> None:
        separator, joiner = -1, ""
        while True:
            item = Node("conjunct", self.at, holder)
            item.separator, item.joiner = separator, joiner
            between = 0
            while not self._ends(item):
                word = self.word()
                if word == "BETWEEN":
                    between += 1
                elif word == "AND" and between:
                    between -= 1
                    self.at += 1
                    continue
                elif word in ("AND", "OR", ","):
                    break
                if (
                    stop_at_join
                    and word in JOIN_WORDS
                    and not (word in ("LEFT", "RIGHT") and self.word(1) == "(")
                ):
                    break
                self._step(item)
            item.end = self.at
            word = self.word()
            if word not in ("AND", "OR") and not (
                word == "," and not stop_at_join and holder.kind == "paren"
            ):
                return
            separator, joiner = self.at, word
            self.at += 1

    def _step(self, node: Node) -> None:
        """Past one token, or past all of a parenthesis or a CASE."""
        token = self.tokens[self.at]
        if token.text in _CLOSES and token.kind == "punctuation":
            self._paren(node, self._role(node))
        elif token.upper == "CASE" and token.kind == "word" and self.word(-1) != ".":
            self._case(node)
        else:
            self.at += 1

    def _role(self, node: Node) -> str:
        if self.word() != "(":
            return "list"
        if self.at == node.start:
            return "group"
        before = self.tokens[self.at - 1]
        if before.upper == "IN":
            return "in"
        if before.upper == "EXISTS":
            return "exists"
        if before.upper in ("ANY", "SOME"):
            return "any"
        if before.kind == "quoted" or (before.kind == "word" and before.upper not in _NOT_CALLED):
            return "call"
        if before.upper in ("OVER", "FILTER", "USING", "ALL"):
            return "call"
        return "group"

    def _case(self, node: Node) -> None:
        case = Node("case", self.at, node)
        case.closed = False
        self.at += 1
        while not self._ends(case):
            if self.word() == "END":
                self.at += 1
                case.closed = True
                break
            self._step(case)
        case.end = self.at

    def _paren(self, parent: Node, role: str, *, force_query: bool = False) -> None:
        node = Node("paren", self.at, parent, role)
        close = _CLOSES[self.tokens[self.at].text]
        node.closed = False
        self.depth += 1
        self.at += 1
        node.body = self.at
        if self.depth > 60:  # nobody writes this; a page of `(` must not exhaust the stack
            Node("item", self.at, node)
            self._skip_to_close()
        elif close == ")" and (force_query or self._begins_query()):
            self.query(node)
        elif role == "group" and close == ")":
            self._conjuncts(node)
        elif role == "table":
            self._chains(node)
        else:
            self._items(node)
        self._skip_to_close()
        if self.word() == close:
            self.at += 1
            node.closed = True
        elif self.at < self.count:
            self.at += 1  # a mate of another kind: `(]`
        self.depth -= 1
        node.end = self.at

    def _begins_query(self) -> bool:
        ahead = 0
        while self.word(ahead) == "(":
            ahead += 1
        word = self.word(ahead)
        return word in ("SELECT", "WITH") or (ahead == 0 and word in ("VALUES", "FROM"))

    # ------------------------------------------------------------------ FROM

    def _chains(self, holder: Node) -> None:
        separator = -1
        while True:
            chain = Node("chain", self.at, holder)
            chain.separator, chain.joiner = separator, "," if separator >= 0 else ""
            self._source(chain)
            while self.word() in JOIN_WORDS and not self._ends(chain):
                self._join(chain)
            while not self._ends(chain) and self.word() != ",":
                self._step(chain)
            chain.end = self.at
            if self.word() != ",":
                return
            separator = self.at
            self.at += 1

    def _source(self, parent: Node) -> None:
        node = Node("source", self.at, parent)
        while not self._ends(node):
            word = self.word()
            if word == "," or (word == "ON" and parent.kind == "join") or word in JOIN_WORDS:
                break
            if word == "USING" and parent.kind == "join":
                break
            if word == "(" and self.at == node.start:
                self._paren(node, "table")
            else:
                self._step(node)
        node.end = self.at

    def _join(self, chain: Node) -> None:
        node = Node("join", self.at, chain)
        words = []
        while self.word() in JOIN_WORDS:
            words.append(self.word())
            self.at += 1
            if words[-1] == "JOIN":
                break
        node.name = " ".join(words)
        node.body = self.at
        node.closed = words[-1] == "JOIN"
        if node.closed:
            self._source(node)
        if self.word() == "ON":
            on = Node("on", self.at, node)
            self.at += 1
            on.body = self.at
            self._conjuncts(on, stop_at_join=True)
            on.end = self.at
        elif self.word() == "USING" and self.word(1) != "SAMPLE":
            using = Node("using", self.at, node)
            self.at += 1
            using.body = self.at
            if self.word() == "(":
                self._paren(using, "list")
            using.end = self.at
        node.end = self.at
