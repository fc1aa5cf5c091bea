"""What an unfinished choice of conditions will come to: what all its arms have in common so far.

While `(a.k = b.k AND a.x > 5) OR (a.k = b.k AND ...` is being typed, a repair leaves the whole choice out, and with it
the only condition that joins a and b. That its arms go on to share `a.k = b.k` is a guess: tables are made on it, and
whether they may answer the finished query is proven as for any other. Knows tokens and trees.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlglot import exp

from firsthand.query.speql.blocks import Block, Statement
from firsthand.query.speql.predicates import Conjunct, arms_of, conjuncts_of, text_of
from firsthand.query.speql.reasoning import VOLATILE
from firsthand.query.speql.text import code, tokenize

__all__ = ["closed", "with_shared_conditions"]

_CLOSING = {"(": ")", "[": "]", "{": "}"}


def closed(prefix: str, dialect: str) -> str:
    """The text with its last unfinished words left out and its open parentheses closed; it need not parse."""
    tokens = code(tokenize(prefix, dialect))
    while tokens and (
        not tokens[-1].finished
        or tokens[-1].kind == "operator"
        or tokens[-1].text in ("(", ",", ".")
        or tokens[-1].upper in ("AND", "OR", "NOT", "WHERE", "BETWEEN", "IN", "LIKE", "HAVING", "ON", "IS")
    ):
        tokens.pop()
    if not tokens:
        return ""
    open_: list[str] = []
    for token in tokens:
        if token.text in _CLOSING:
            open_.append(_CLOSING[token.text])
        elif open_ and token.text == open_[-1]:
            open_.pop()
    return prefix[: tokens[-1].end] + "".join(reversed(open_))


def with_shared_conditions(
    repaired: Statement, prefix: str, *, volatile: Collection[str] = VOLATILE
) -> Statement | None:
    """The repaired statement with what the arms of its unfinished choices share; None where there is nothing to add.

    Args:
        repaired: the statement as it was repaired.
        prefix: the text of the statement up to the cursor, as it was typed.
    """
    if (
        repaired.unknown
        or not isinstance(repaired.tree, exp.Select)
        or " OR " not in prefix.upper().replace("\n", " ")
    ):
        return None
    typed = Statement.read(closed(prefix, repaired.dialect), repaired.schema, volatile=volatile)
    if typed.unknown or not isinstance(typed.tree, exp.Select):
        return None
    mine, theirs = repaired.block(repaired.tree), typed.block(typed.tree)
    if mine is None or theirs is None or mine.joins != theirs.joins:
        return None
    shared = _shared(theirs, mine, repaired.dialect)
    if not shared:
        return None
    tree = repaired.tree.copy()
    for conjunct in shared:
        tree = tree.where(conjunct.tree.copy(), copy=False)
    found = Statement.read(text_of(tree, repaired.dialect), repaired.schema, volatile=volatile)
    return None if found.unknown else found


def _shared(typed: Block, repaired: Block, dialect: str) -> list[Conjunct]:
    """Conjuncts that stand in every arm of a choice which the repaired block has not got."""
    found: dict[str, Conjunct] = {}
    for text, conjunct in typed.conjuncts.items():
        if text in repaired.conjuncts or not isinstance(conjunct.tree, exp.Or) or conjunct.has_query:
            continue
        arms = [conjuncts_of(arm, dialect) for arm in arms_of(conjunct.tree)]
        for one in set.intersection(*(set(arm) for arm in arms)):
            found[one] = arms[0][one]
    return [conjunct for text, conjunct in sorted(found.items()) if text not in repaired.conjuncts]
