"""What a decoder gives back, and how it is driven: a stream of tokens whose last word is a result."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from firsthand.lm.decoding.sampling import SamplingParams
from firsthand.lm.decoding.stops import Reason, Stop

__all__ = ["Decoder", "GenerationResult", "TokenStream", "drive"]


@dataclass(frozen=True)
class GenerationResult:
    """New tokens and what they took.

    Attributes:
        tokens: the new tokens, without the prompt; a stop id is the last one.
        stop_reason: "stop" (a stop id or string) or "length".
        prompt_tokens: how many the prompt has.
        steps: rounds of draft and check; in plain decoding, tokens.
        target_passes: forward passes of the checked model, the prompt's included.
        drafted: tokens that were proposed and looked at by the target, not more than one path a step.
        accepted: of these, how many the target agreed with.
        ttft_s: seconds until the first token was certain.
        wall_s: seconds in all, reading the prompt included.
        fell_back: whether speculation was given up because it lost time.
    """

    tokens: tuple[int, ...]
    stop_reason: Reason
    prompt_tokens: int
    steps: int
    target_passes: int
    drafted: int = 0
    accepted: int = 0
    ttft_s: float = 0.0
    wall_s: float = 0.0
    fell_back: bool = False

    @property
    def tokens_per_step(self) -> float:
        """New tokens a step; 0 where there were none."""
        return len(self.tokens) / self.steps if self.steps else 0.0

    @property
    def tokens_per_s(self) -> float:
        """New tokens a second, reading the prompt included."""
        return len(self.tokens) / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def acceptance_rate(self) -> float:
        """Accepted share of drafted tokens; 0 where none were drafted."""
        return self.accepted / self.drafted if self.drafted else 0.0

    def as_dict(self) -> dict[str, Any]:
        """All fields and rates, as JSON has them."""
        return {
            **asdict(self),
            "tokens": list(self.tokens),
            "tokens_per_step": self.tokens_per_step,
            "tokens_per_s": self.tokens_per_s,
            "acceptance_rate": self.acceptance_rate,
        }


Result = TypeVar("Result", bound=GenerationResult)
# Yields the tokens that have become certain, some at a time; returns the result.
TokenStream = Generator[list[int], None, Result]


class Decoder(Protocol):
    """Anything that goes on from a prompt: plain decoding, speculation of any kind."""

    def stream(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        sampling: SamplingParams = ...,
        stop: Stop = ...,
    ) -> Generator[list[int], None, GenerationResult]:
        """Yield new tokens as they become certain; the generator's return value is the result."""
        ...


def drive(stream: TokenStream[Result], on_token: Callable[[int], None] | None = None) -> Result:
    """Run a stream to its end and return its result; `on_token` is called with each new token in order."""
    while True:
        try:
            tokens = next(stream)
        except StopIteration as end:
            result: Result = end.value
            return result
        if on_token is not None:
            for token in tokens:
                on_token(token)
