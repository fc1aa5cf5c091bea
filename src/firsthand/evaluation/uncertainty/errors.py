"""What can go wrong between a question file and a table of AUCs, by the names that the room's users catch.

Each is a `ValueError` too, and its message says which row, question or reply it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from firsthand.errors import FirsthandError, InputError

__all__ = ["AmbiguousOptionTokens", "EmptyGroup", "NonFiniteScores", "ParseFailure", "SingleClassError"]


class SingleClassError(InputError):
    """All answers are right, or all are wrong: no score can tell one kind from the other, so AUC is undefined."""


class EmptyGroup(InputError):
    """A group, a mask or a set of scores without a single row."""


class NonFiniteScores(InputError):
    """Scores that are NaN or infinite.

    Attributes:
        rows: ids of the rows, or their places where they have no ids.
    """

    def __init__(self, what: str, rows: Sequence[object]) -> None:
        shown = ", ".join(str(row) for row in rows[:5]) + (", ..." if len(rows) > 5 else "")
        super().__init__(
            f"{what} must be finite; {len(rows)} of them are not (rows {shown}): leave those rows out, or mend "
            "what computed them"
        )
        self.rows = tuple(rows)


class ParseFailure(FirsthandError, ValueError):
    """A judge's reply without the verdict that was asked for; never replaced by a default.

    Attributes:
        raw: the whole reply.
    """

    def __init__(self, message: str, raw: str) -> None:
        super().__init__(message)
        self.raw = raw


class AmbiguousOptionTokens(InputError):
    """Two options begin with the same token, and only one token was to be scored."""
