"""What can go wrong with problems and expressions."""

from __future__ import annotations

from firsthand.errors import InputError

__all__ = ["ExpressionError", "JudgeParseError", "LeakageError", "TokenBudgetError", "UnsolvableRangeError"]


class UnsolvableRangeError(InputError):
    """No problem was found in the ranges that were asked for."""


class ExpressionError(InputError):
    """Text that is no arithmetic expression; `position` is where, counted from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"{message} at character {position}")
        self.position = position


class LeakageError(InputError):
    """A problem of one part is in another part too."""


class JudgeParseError(InputError):
    """A judge's answer holds no count."""


class TokenBudgetError(InputError):
    """Two sets of text cannot be brought to one length."""
