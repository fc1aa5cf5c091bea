"""Plain decoding: one token a pass. What every faster decoder must equal, and be timed against."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence

from firsthand.lm.decoding.protocol import CausalLM, check_prompt
from firsthand.lm.decoding.results import GenerationResult, drive
from firsthand.lm.decoding.sampling import Sampler, SamplingParams
from firsthand.lm.decoding.stops import Ending, Stop

__all__ = ["PlainDecoder"]


class PlainDecoder:
    """Autoregressive decoding of `model`: each token is drawn from the logits after all before it."""

    def __init__(self, model: CausalLM) -> None:
        self.model = model

    def stream(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        sampling: SamplingParams | None = None,
        stop: Stop | None = None,
    ) -> Generator[list[int], None, GenerationResult]:
        """Yield each new token in a list of its own; the return value is the result."""
        started = time.perf_counter()
        ids = check_prompt(self.model, prompt_ids, max_new_tokens)
        prompt_tokens = len(ids)
        sampler = Sampler(sampling or SamplingParams(), self.model.name)
        ending = Ending(stop or Stop(), max_new_tokens)
        cache = self.model.new_cache()
        unread, passes, first = list(ids), 0, 0.0
        while not ending.reached:
            logits = self.model.forward(unread, cache, last=1)
            passes += 1
            token = sampler.draw(logits[0], ids)
            ids.append(token)
            unread = [token]
            first = first or time.perf_counter() - started
            yield ending.take([token])
        return GenerationResult(
            tokens=tuple(ids[prompt_tokens:]),
            stop_reason=ending.reason or "length",
            prompt_tokens=prompt_tokens,
            steps=len(ids) - prompt_tokens,
            target_passes=passes,
            ttft_s=first,
            wall_s=time.perf_counter() - started,
        )

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        sampling: SamplingParams | None = None,
        stop: Stop | None = None,
        on_token: Callable[[int], None] | None = None,
    ) -> GenerationResult:
        """Go on from `prompt_ids` (T,) by at most `max_new_tokens`.

        Raises `InputError` and `ContextLengthError` as `check_prompt` does, `NonFiniteLogitsError` for NaN.
        """
        return drive(self.stream(prompt_ids, max_new_tokens, sampling, stop), on_token)
