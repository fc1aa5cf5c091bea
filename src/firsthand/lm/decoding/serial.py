"""Speculation that takes turns: a draft model, or the text's own repetitions, propose; then the target checks.

These are the baselines that a cleverer scheme has to beat: serial speculative decoding (arXiv 2211.17192,
2302.01318) with a chain of `length` drafted tokens, and prompt lookup, which copies what followed the last
occurrence of the newest few tokens. Both give plain decoding's text token for token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Literal

from firsthand.errors import InputError
from firsthand.lm.decoding.protocol import CausalLM, check_pair, check_prompt
from firsthand.lm.decoding.results import GenerationResult, drive
from firsthand.lm.decoding.sampling import Sampler, SamplingParams
from firsthand.lm.decoding.stops import Ending, Stop
from firsthand.lm.decoding.trees import TokenTree, check_tree

__all__ = ["PromptLookup", "SerialSpeculation"]

# Proposes what may follow a text: at most so many tokens, drawn with this sampler where it draws.
Propose = Callable[[list[int], int, Sampler], list[int]]


def _speculate(
    target: CausalLM,
    proposer: Callable[[], Propose],
    prompt_ids: Sequence[int],
    max_new_tokens: int,
    sampling: SamplingParams | None,
    stop: Stop | None,
) -> Generator[list[int], None, GenerationResult]:
    """Propose, check, emit, until the text ends."""
    started = time.perf_counter()
    ids = check_prompt(target, prompt_ids, max_new_tokens)
    prompt_tokens = len(ids)
    sampler = Sampler(sampling or SamplingParams(), target.name)
    ending = Ending(stop or Stop(), max_new_tokens)
    propose = proposer()
    cache = target.new_cache()
    first, steps, drafted, accepted = 0.0, 0, 0, 0
    emitted: list[int] = []
    while not ending.reached:
        left = prompt_tokens + max_new_tokens - len(ids)
        tree = TokenTree(ids[-1])
        tree.add_path(propose(ids, left - 1, sampler))
        checked = check_tree(target, cache, tree, ids, sampler)
        steps += 1
        drafted, accepted = drafted + len(tree) - 1, accepted + len(checked.path)
        first = first or time.perf_counter() - started
        taken = ending.take(checked.tokens)
        emitted += taken
        yield taken
    return GenerationResult(
        tokens=tuple(emitted),
        stop_reason=ending.reason or "length",
        prompt_tokens=prompt_tokens,
        steps=steps,
        target_passes=steps,
        drafted=drafted,
        accepted=accepted,
        ttft_s=first,
        wall_s=time.perf_counter() - started,
    )


class SerialSpeculation:
    """Draft `length` tokens with `draft`, check them with one pass of `target`, take turns.

    Args:
        length: γ, drafted tokens a step.
        draft_mode: "greedy" drafts the most probable token; "coupled" draws it from the draft's own filtered
            distribution with the position's own uniform number, the one that the target will use: where both
            models agree on the distribution they agree on the token. At temperature 0 both are the same.

    Raises `InputError` where vocabularies differ or `length` is below 1.
    """

    def __init__(
        self,
        target: CausalLM,
        draft: CausalLM,
        *,
        length: int = 5,
        draft_mode: Literal["greedy", "coupled"] = "greedy",
    ) -> None:
        check_pair(target, draft)
        if length < 1:
            raise InputError(f"length must be at least 1 drafted token a step, got {length}")
        if draft_mode not in ("greedy", "coupled"):
            raise InputError(f"draft_mode {draft_mode!r} is neither 'greedy' nor 'coupled'")
        self.target, self.draft, self.length, self.draft_mode = target, draft, length, draft_mode

    def stream(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        sampling: SamplingParams | None = None,
        stop: Stop | None = None,
    ) -> Generator[list[int], None, GenerationResult]:
        """Yield new tokens as they are checked; the return value is the result."""
        return _speculate(self.target, self._proposer, prompt_ids, max_new_tokens, sampling, stop)

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        sampling: SamplingParams | None = None,
        stop: Stop | None = None,
        on_token: Callable[[int], None] | None = None,
    ) -> GenerationResult:
        """Go on from `prompt_ids` (T,) by at most `max_new_tokens`; errors as in plain decoding."""
        return drive(self.stream(prompt_ids, max_new_tokens, sampling, stop), on_token)

    def _proposer(self) -> Propose:
        cache: Any = self.draft.new_cache()
        read: list[int] = []  # what the draft's cache holds

        def propose(ids: list[int], limit: int, sampler: Sampler) -> list[int]:
            count = min(self.length, limit)
            if count < 1:
                return []
            shared = _common(read, ids)
            cache.truncate(shared)
            del read[shared:]
            text = list(ids)
            greedy = Sampler(SamplingParams(), self.draft.name)
            chooser = greedy if self.draft_mode == "greedy" else Sampler(sampler.params, self.draft.name)
            while len(text) - len(ids) < count:
                unread = text[len(read) :]
                logits = self.draft.forward(unread, cache, last=1)
                read.extend(unread)
                text.append(chooser.draw(logits[0], text))
            return text[len(ids) :]

        return propose


def _common(read: Sequence[int], ids: Sequence[int]) -> int:
    """How many first tokens agree, when only the newest can differ; always less than all of `ids`."""
    length = min(len(read), len(ids) - 1)
    while length and read[length - 1] != ids[length - 1]:
        length -= 1
    return length


class PromptLookup:
    """Propose what followed the last occurrence of the newest tokens, in prompt and output.

    Args:
        ngram: the longest suffix that is looked up; shorter ones follow where it is new.
        length: tokens proposed a step, at most.
    """

    def __init__(self, target: CausalLM, *, ngram: int = 3, length: int = 10) -> None:
        if ngram < 1 or length < 1:
            raise InputError(f"ngram and length must be at least 1, got {ngram} and {length}")
        self.target, self.ngram, self.length = target, ngram, length

    def stream(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        sampling: SamplingParams | None = None,
        stop: Stop | None = None,
    ) -> Generator[list[int], None, GenerationResult]:
        """Yield new tokens as they are checked; the return value is the result."""
        return _speculate(self.target, self._proposer, prompt_ids, max_new_tokens, sampling, stop)

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        sampling: SamplingParams | None = None,
        stop: Stop | None = None,
        on_token: Callable[[int], None] | None = None,
    ) -> GenerationResult:
        """Go on from `prompt_ids` (T,) by at most `max_new_tokens`; errors as in plain decoding."""
        return drive(self.stream(prompt_ids, max_new_tokens, sampling, stop), on_token)

    def _proposer(self) -> Propose:
        after: dict[
            tuple[int, ...], int
        ] = {}  # an n-gram -> where the text went on after its last occurrence
        indexed = 0  # n-grams that end before this token are in

        def propose(ids: list[int], limit: int, sampler: Sampler) -> list[int]:
            nonlocal indexed
            for end in range(max(indexed, 1), len(ids)):  # the newest token's own n-grams come next time
                for n in range(1, min(self.ngram, end) + 1):
                    after[tuple(ids[end - n : end])] = end
            indexed = len(ids)
            for n in range(min(self.ngram, len(ids)), 0, -1):
                start = after.get(tuple(ids[-n:]))
                if start is not None:
                    return ids[start : start + max(0, min(self.length, limit))]
            return []

        return propose
