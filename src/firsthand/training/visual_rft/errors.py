"""What is wrong with data: predictions are never an error, ground truth that makes no sense always is."""

from __future__ import annotations

from firsthand.errors import InputError

__all__ = ["ColumnFormatError", "ColumnMissingError", "RewardInputError"]


class RewardInputError(InputError):
    """Ground truth that no answer can be scored against."""


class ColumnMissingError(InputError):
    """A reward needs a column that the data do not have."""


class ColumnFormatError(RewardInputError):
    """A column's entry is not what the reward reads; the message says which row."""
