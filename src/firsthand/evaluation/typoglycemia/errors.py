"""What can go wrong between a text and its scores: a word, a target, a segmentation or a model that cannot be used.

Knows no words and no models; only the names that `except` needs.
"""

from __future__ import annotations

from firsthand.errors import FirsthandError

__all__ = [
    "AttentionUnavailable",
    "CannotScramble",
    "CannotSegment",
    "TargetNotFound",
    "TargetTruncated",
    "WordTooShort",
]


class WordTooShort(FirsthandError, ValueError):
    """A word of fewer letters than were asked for."""


class CannotScramble(FirsthandError, ValueError):
    """A word that no perturbation of this kind and dose can change, such as one whose inner letters are all equal."""


class CannotSegment(FirsthandError, ValueError):
    """A word that cannot be cut into so many pieces of the vocabulary."""


class TargetNotFound(FirsthandError, LookupError):
    """A text without a word that can be a target, or a span that no token covers."""


class TargetTruncated(FirsthandError, ValueError):
    """A target whose tokens lie beyond the longest sequence allowed."""


class AttentionUnavailable(FirsthandError, RuntimeError):
    """A model that gave no attention weights: it was not loaded with the eager implementation."""
