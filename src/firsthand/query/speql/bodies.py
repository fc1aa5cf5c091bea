"""A statement as a body and a tail: what gives the rows, and the ORDER BY and LIMIT that choose among them.

Knows tokens, and nothing of grammar but which words open a tail.
"""

from __future__ import annotations

from dataclasses import dataclass

from firsthand.query.speql.text import code, tokenize

__all__ = ["Body", "Key", "body_and_tail"]

_TAILS = frozenset({"ORDER", "LIMIT", "OFFSET"})

Key = tuple[str, ...]


@dataclass(frozen=True)
class Body:
    """A statement without its own ORDER BY, LIMIT and OFFSET.

    Attributes:
        key: its tokens.
        text: as it is written.
        tail: what was behind it; "" where nothing was.
    """

    key: Key
    text: str
    tail: str


def body_and_tail(sql: str, dialect: str) -> Body | None:
    """Divide one statement; None where an ORDER BY says which rows there are (DISTINCT ON), or the text has no end."""
    tokens = code(tokenize(sql, dialect))
    if not tokens or not tokens[-1].finished:
        return None
    depth = 0
    cut = len(tokens)
    for place, token in enumerate(tokens):
        if token.kind == "punctuation":
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.text, 0)
        elif token.kind == "word" and depth == 0:
            if token.upper == "ON" and place and tokens[place - 1].upper == "DISTINCT":
                return None
            if token.upper in _TAILS:
                cut = place
                break
    if not cut or depth:
        return None
    end = tokens[cut - 1].end
    key = tuple(token.text for token in tokens[:cut])
    return Body(key, sql[:end], sql[tokens[cut].start :] if cut < len(tokens) else "")
