"""What DuoDecoding reports: the new tokens, and round by round what both sides did."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

from firsthand.decoding.duodecoding.budget import HardwareProfile
from firsthand.lm.decoding.results import GenerationResult

__all__ = ["DuoResult", "Round"]


@dataclass(frozen=True)
class Round:
    """One round: a pass of the target, and what the draft did meanwhile.

    Attributes:
        kind: "duo", or "plain" where the draft was left out.
        budget: γ; 0 where nothing was drafted.
        sequences: k, of the draft made in this round; 0 where it was given up or left out.
        length: L, the longest of these sequences.
        tail: drafted tokens of earlier rounds that this pass checked.
        accepted: how many of them, from the first on, were right.
        hit: which new sequence the text goes on with; −1 none of them, None if that question did not arise: the
            tail failed before, nothing was drafted, or the text ended.
        appended: what the text grew by: the sequence that was hit, or the target's own token.
        certain: new certain tokens.
        draft_steps: tokens that the draft read one after another or side by side.
        draft_passes: forward passes of the draft.
        target_tokens: tokens that the target's pass read.
        draft_s, target_s: seconds that each side worked.
        wait_s: seconds that the target's side waited for the draft.
        comm_s: seconds between the sides: until the request was taken up, and until its answer was.
        wall_s: the round's seconds; what the caller did with the tokens meanwhile is not in them.
    """

    kind: Literal["duo", "plain"]
    budget: int
    sequences: int
    length: int
    tail: int
    accepted: int
    hit: int | None
    appended: tuple[int, ...]
    certain: int
    draft_steps: int
    draft_passes: int
    target_tokens: int
    draft_s: float
    target_s: float
    wait_s: float
    comm_s: float
    wall_s: float

    @classmethod
    def plain(cls, token: int, target_s: float, wall_s: float) -> Round:
        """A step without the draft."""
        nothing = {"budget": 0, "sequences": 0, "length": 0, "tail": 0, "accepted": 0}
        return cls(
            "plain",
            **nothing,
            hit=None,
            appended=(token,),
            certain=1,
            draft_steps=0,
            draft_passes=0,
            target_tokens=1,
            draft_s=0.0,
            target_s=target_s,
            wait_s=0.0,
            comm_s=0.0,
            wall_s=wall_s,
        )


@dataclass(frozen=True)
class DuoResult(GenerationResult):
    """New tokens, and what both sides did for them.

    Attributes:
        log: every round.
        executor: where the draft ran.
        profile: the times that the budget came from; None for a budget given as a number.
        profile_s: seconds spent on measuring them, not part of `wall_s`.
    """

    log: tuple[Round, ...] = ()
    executor: str = "serial"
    profile: HardwareProfile | None = None
    profile_s: float = 0.0

    @property
    def rounds(self) -> int:
        """Rounds in which draft and target worked side by side."""
        return len(self._duo)

    @property
    def _duo(self) -> list[Round]:
        return [entry for entry in self.log if entry.kind == "duo"]

    @property
    def tokens_per_round(self) -> float:
        """Certain tokens a round, over those in which both worked; 0 where there was none."""
        return sum(entry.certain for entry in self._duo) / max(1, self.rounds)

    @property
    def hit_rate(self) -> float:
        """How often the target's next token began a sequence, of the rounds in which that was asked."""
        asked = [entry.hit >= 0 for entry in self._duo if entry.hit is not None and entry.sequences]
        return sum(asked) / max(1, len(asked))

    @property
    def k_histogram(self) -> dict[int, int]:
        """In how many rounds so many sequences were drafted."""
        return dict(sorted(Counter(entry.sequences for entry in self._duo if entry.sequences).items()))

    @property
    def budgets(self) -> dict[int, int]:
        """In how many rounds the budget was so large."""
        return dict(sorted(Counter(entry.budget for entry in self._duo if entry.budget).items()))

    @property
    def tail_acceptance(self) -> tuple[float, ...]:
        """Of the tails whose tokens before position i were right, the share whose token i was too."""
        longest = max((entry.tail for entry in self._duo), default=0)
        shares = []
        for place in range(longest):
            reached = [e.accepted > place for e in self._duo if e.tail > place and e.accepted >= place]
            if not reached:
                break
            shares.append(sum(reached) / len(reached))
        return tuple(shares)

    @property
    def draft_steps(self) -> int:
        """Tokens that the draft read."""
        return sum(entry.draft_steps for entry in self.log)

    @property
    def draft_busy_s(self) -> float:
        """Seconds that the draft worked."""
        return sum(entry.draft_s for entry in self.log)

    @property
    def target_busy_s(self) -> float:
        """Seconds that the target worked."""
        return sum(entry.target_s for entry in self.log)

    @property
    def comm_s(self) -> float:
        """Seconds that neither worked because a message was under way."""
        return sum(entry.comm_s for entry in self.log)

    @property
    def idle_share(self) -> dict[str, float]:
        """Which share of the rounds with both each side did not work."""
        wall = sum(entry.wall_s for entry in self._duo)
        if wall <= 0:
            return {"draft": 0.0, "target": 0.0}
        return {
            "draft": max(0.0, 1 - sum(entry.draft_s for entry in self._duo) / wall),
            "target": max(0.0, 1 - sum(entry.target_s for entry in self._duo) / wall),
        }

    def as_dict(self, *, log: bool = False) -> dict[str, Any]:
        """All fields and rates, as JSON has them; the rounds one by one only if asked."""
        plain = super().as_dict()
        plain["log"] = [asdict(entry) for entry in self.log] if log else None
        if not log:
            del plain["log"]
        plain["profile"] = None if self.profile is None else self.profile.as_dict()
        return {
            **plain,
            "rounds": self.rounds,
            "tokens_per_round": self.tokens_per_round,
            "hit_rate_first_token": self.hit_rate,
            "tail_accept_by_position": list(self.tail_acceptance),
            "k_histogram": {str(k): count for k, count in self.k_histogram.items()},
            "budgets": {str(budget): count for budget, count in self.budgets.items()},
            "draft_steps": self.draft_steps,
            "draft_busy_s": self.draft_busy_s,
            "target_busy_s": self.target_busy_s,
            "idle_share": self.idle_share,
            "comm_s": self.comm_s,
        }
