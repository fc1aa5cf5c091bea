"""A model that takes as long as one says: another device's latency on this machine.

Its answers are those of the model inside; only time differs. Every figure measured with it is `emulated`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from firsthand.errors import InputError
from firsthand.lm.decoding.protocol import CausalLM

if TYPE_CHECKING:
    import torch

__all__ = ["EmulatedDevice"]


class EmulatedDevice:
    """`model`, answering no earlier than `base_ms + n·per_token_ms` after a pass over n tokens was asked for.

    What is left of that time once the model has answered is slept, so it takes no core from others. A model
    slower than that keeps its own time. Raises `InputError` for negative times.
    """

    def __init__(self, model: CausalLM, base_ms: float, per_token_ms: float = 0.0) -> None:
        for what, value in (("base_ms", base_ms), ("per_token_ms", per_token_ms)):
            if not (value >= 0 and math.isfinite(value)):
                raise InputError(f"{what} must be at least 0, got {value}")
        self.model = model
        self.base_ms = base_ms
        self.per_token_ms = per_token_ms

    @property
    def name(self) -> str:
        """The model's own."""
        return self.model.name

    @property
    def vocab_size(self) -> int:
        """The model's own."""
        return self.model.vocab_size

    @property
    def max_length(self) -> int | None:
        """The model's own."""
        return self.model.max_length

    def new_cache(self) -> Any:
        """The model's own."""
        return self.model.new_cache()

    def forward(
        self,
        tokens: Sequence[int],
        cache: Any,
        *,
        positions: Sequence[int] | None = None,
        mask: Any = None,
        last: int | None = None,
    ) -> torch.Tensor:
        """The model's own answer, not before its time; see `CausalLM.forward`."""
        due = time.perf_counter() + (self.base_ms + len(tokens) * self.per_token_ms) / 1000
        logits = self.model.forward(tokens, cache, positions=positions, mask=mask, last=last)
        if (rest := due - time.perf_counter()) > 0:
            time.sleep(rest)
        return logits

    def __getattr__(self, attribute: str) -> Any:
        """Everything else (device, tokenizer, fingerprint, ...) is the model's own."""
        if attribute == "model":  # asked for before __init__ when a copy is unpickled
            raise AttributeError(attribute)
        return getattr(self.model, attribute)
