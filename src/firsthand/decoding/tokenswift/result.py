"""What TokenSwift reports: the new tokens, how the drafts fared along the text, and where the time went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from firsthand.lm.decoding import GenerationResult

__all__ = ["CurvePoint", "LongResult"]


class CurvePoint(NamedTuple):
    """The stretch of text that ends after `tokens` new tokens, and what was seen along it.

    Attributes:
        alpha: α of its drafts.
        tokens_per_s, tokens_per_step: how fast it came.
        reuse_share: of its accepted tokens, those that only a re-used n-gram had proposed.
        distinct_2: the share of distinct 2-grams among its own.
        selections: how often the draft's keys had been chosen by its end.
    """

    tokens: int
    alpha: float
    tokens_per_s: float
    tokens_per_step: float = 0.0
    reuse_share: float = 0.0
    distinct_2: float = 0.0
    selections: int = 0


@dataclass(frozen=True)
class LongResult(GenerationResult):
    """New tokens, and how they came about.

    Attributes:
        gamma: γ, the positions that one step drafts.
        modes: steps by what they did: "draft" (a draft pass, a tree), "table" (re-used n-grams alone),
            "plain" (one token).
        reused: accepted tokens that only a re-used n-gram had proposed.
        distinct: share of distinct n-grams of the new tokens, n from 1 to 4.
        curve: a point every so many tokens.
        selections: how often the draft's keys were chosen.
        partial_bytes: what the draft's keys and values take; 0 where the text never exceeded the budget.
        seconds: by what was done: "prompt", "draft", "verify", "plain", "own" (everything that is no pass).
        resumed_at: new tokens that came from a checkpoint.
    """

    gamma: int = 0
    modes: dict[str, int] = field(default_factory=dict)
    reused: int = 0
    distinct: dict[int, float] = field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()
    selections: int = 0
    partial_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    resumed_at: int = 0

    @property
    def acceptance_rate(self) -> float:
        """α = accepted / (γ · speculative steps), the official definition; 0 where there was none."""
        steps = self.modes.get("draft", 0) + self.modes.get("table", 0)
        return self.accepted / (self.gamma * steps) if steps else 0.0

    @property
    def reuse_share(self) -> float:
        """The share of accepted tokens that only a re-used n-gram had proposed."""
        return self.reused / self.accepted if self.accepted else 0.0

    def as_dict(self) -> dict[str, Any]:
        """All fields and rates, as JSON has them."""
        return {
            **super().as_dict(),
            "acceptance_definition": "accepted / (gamma * speculative steps)",
            "distinct": {str(n): share for n, share in self.distinct.items()},
            "curve": [point._asdict() for point in self.curve],
            "reuse_share": self.reuse_share,
        }
