"""transformers' own generation behind our `generate`: plain, assisted by a draft model, prompt lookup.

For comparisons on the same models: greedy, exact length. What transformers offers beside that is not
wrapped here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import torch

from firsthand.errors import InputError
from firsthand.lm.backend import quiet
from firsthand.lm.decoding.huggingface import HFCausalLM
from firsthand.lm.decoding.protocol import check_prompt
from firsthand.lm.decoding.results import GenerationResult

__all__ = ["TransformersGenerate"]


class TransformersGenerate:
    """`model.generate`, greedy.

    Args:
        mode: "plain"; "assisted" (with `draft`, transformers' own dynamic draft length); "prompt-lookup"
            (10 candidate tokens, its default n-gram length).
    """

    def __init__(
        self,
        target: HFCausalLM,
        mode: Literal["plain", "assisted", "prompt-lookup"] = "plain",
        draft: HFCausalLM | None = None,
    ) -> None:
        if (mode == "assisted") != (draft is not None):
            raise InputError("a draft model belongs to mode 'assisted', and only there")
        self.target, self.mode, self.draft = target, mode, draft

    def generate(self, prompt_ids: Sequence[int], max_new_tokens: int, **_: Any) -> GenerationResult:
        """Go on from `prompt_ids` (T,) by exactly `max_new_tokens`, greedily."""
        ids = check_prompt(self.target, prompt_ids, max_new_tokens)
        extra: dict[str, Any] = {}
        if self.mode == "prompt-lookup":
            extra["prompt_lookup_num_tokens"] = 10
        if self.draft is not None:
            extra["assistant_model"] = self.draft.model
        passes = 0

        def count(*_: Any) -> None:
            nonlocal passes
            passes += 1

        handle = self.target.model.register_forward_hook(count)
        started = time.perf_counter()
        try:
            with quiet():
                output = self.target.model.generate(
                    torch.tensor([ids], device=self.target.device),
                    attention_mask=torch.ones((1, len(ids)), dtype=torch.long, device=self.target.device),
                    max_new_tokens=max_new_tokens,
                    do_sample=False,
                    eos_token_id=None,
                    pad_token_id=0,
                    **extra,
                )
        finally:
            handle.remove()
        wall = time.perf_counter() - started
        tokens = tuple(output[0, len(ids) :].tolist())
        return GenerationResult(
            tokens=tokens,
            stop_reason="length",
            prompt_tokens=len(ids),
            steps=passes,
            target_passes=passes,
            wall_s=wall,
        )
