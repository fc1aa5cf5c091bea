"""The errors and warnings of this room that have a name of their own."""

from __future__ import annotations

from firsthand.errors import InputError

__all__ = ["EmptyClassError", "SaturationWarning", "ScorerVersionError"]


class EmptyClassError(InputError):
    """Too few documents for a class of the scorer; the message holds the level histogram."""


class ScorerVersionError(InputError):
    """A scorer file was made with another text normaliser than this version's."""


class SaturationWarning(UserWarning):
    """Most documents sit on one level of predictive strength: the labels carry little."""
