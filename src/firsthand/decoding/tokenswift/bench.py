"""TokenSwift beside its controls on a user's own model and prompts: who is how fast, at equal text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from firsthand.decoding.tokenswift.decoder import TokenSwift
from firsthand.errors import InputError
from firsthand.lm.decoding import PlainDecoder, PromptLookup, SamplingParams, SerialSpeculation
from firsthand.lm.decoding.peers import TransformersGenerate
from firsthand.lm.decoding.timing import compare_decoders, seconds_by_option

__all__ = ["bench"]

LENGTHS = (1, 2, 3, 4, 5, 6, 8)  # of serial speculation


def bench(
    swift: TokenSwift,
    always: TokenSwift,
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    *,
    draft: Any = None,
    repeats: int = 3,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Time every scheme on `prompts`, greedily and at an exact length.

    `swift` may decode plainly where speculation loses, `always` is the same and may not. With a `draft` (an
    `HFCausalLM` with the target's tokenizer) serial speculation at its best length, chosen on the first prompt,
    and transformers' assisted generation stand beside them; that prompt is then left out where there are others.
    """
    if not prompts:
        raise InputError("give at least one prompt")
    target, greedy = swift.model, {"sampling": SamplingParams()}
    arms: dict[str, Any] = {
        "plain": PlainDecoder(target),
        "tokenswift": swift,
        "tokenswift, never plain": always,
        "prompt lookup": PromptLookup(target),
        "transformers: plain": TransformersGenerate(target),
        "transformers: prompt lookup": TransformersGenerate(target, "prompt-lookup"),
    }
    judged = list(prompts)
    if draft is not None:
        seconds = seconds_by_option(
            lambda length: SerialSpeculation(target, draft, length=length), LENGTHS, prompts[:1], new_tokens
        )
        best = min(seconds, key=lambda length: seconds[length])
        arms[f"turns, best length ({best})"] = SerialSpeculation(target, draft, length=best)
        arms["transformers: assisted"] = TransformersGenerate(target, "assisted", draft)
        judged = judged[1:] or judged
    found = compare_decoders(
        arms,
        judged,
        new_tokens,
        repeats=repeats,
        arguments={"tokenswift": greedy, "tokenswift, never plain": greedy},
        on_progress=on_progress,
    )
    return {"prompts": len(judged), "new_tokens": new_tokens, "arms": found.rows()}
