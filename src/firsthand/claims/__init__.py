"""The instrument: claims, observations, intervals, verdicts, records, the static board.

Knows nothing of any room. A room's card states claims, its check measures observations, and this package
turns the two into a verdict by one set of rules.
"""

from firsthand.claims.model import (
    SCALES,
    Claim,
    ClaimResult,
    Clause,
    ClauseResult,
    Gate,
    Interval,
    Measurement,
    Observation,
    PaperFigure,
    Record,
)

__all__ = [
    "SCALES",
    "Claim",
    "ClaimResult",
    "Clause",
    "ClauseResult",
    "Gate",
    "Interval",
    "Measurement",
    "Observation",
    "PaperFigure",
    "Record",
]
