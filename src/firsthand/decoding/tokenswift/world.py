"""The model, heads and text of the check: one model trained on Python functions, and heads on top of it.

The model has sliding windows and full attention in every fourth layer, so that it may be asked for texts far
longer than it was trained on, and its full-attention layer has a cache of which a draft pass reads a part.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firsthand.decoding.functions import Functions, python_functions
from firsthand.decoding.tokenswift.scales import Size

if TYPE_CHECKING:
    from firsthand.decoding.tokenswift.heads import MultiTokenHeads
    from firsthand.lm.decoding.huggingface import HFCausalLM

__all__ = ["World", "make_world"]

_FORMAT = 1  # raise when the same sizes would give other heads


@dataclass(frozen=True)
class World:
    """A model, its heads, and the text that both were trained on and are asked about."""

    model: HFCausalLM
    heads: MultiTokenHeads
    text: Functions

    def in_float64(self) -> tuple[Any, Any]:
        """Copies of model and heads in float64, where rounding does not decide between two tokens."""
        import copy

        from firsthand.lm.decoding.huggingface import HFCausalLM

        model = HFCausalLM(copy.deepcopy(self.model.model).double(), name=self.model.name)
        return model, copy.deepcopy(self.heads).double()


def make_world(size: Size) -> World:
    """Train model and heads, or take them from the cache."""
    from firsthand.decoding.tokenswift.heads import load_heads, save_heads
    from firsthand.decoding.tokenswift.training import train_heads
    from firsthand.lm import packed
    from firsthand.lm.decoding.huggingface import HFCausalLM
    from firsthand.lm.shelf import kept, trained_model

    text = python_functions(size.vocabulary, size.limit)
    model = HFCausalLM(trained_model(size.model, text.read, text.tokenizer), name="model")

    def make(folder: Path) -> None:
        heads = train_heads(
            model, packed(text.tokenizer, text.read), steps=size.head_steps,
            warmup=max(1, size.head_steps // 10), seq_len=size.head_window, batch_tokens=size.head_tokens,
        )  # fmt: skip
        save_heads(heads, folder / "heads.safetensors", model, tokens=size.head_steps * size.head_tokens)

    settings = (_FORMAT, text.hash, model.fingerprint(), size.head_steps, size.head_window, size.head_tokens)
    folder = kept(f"heads-{hashlib.sha256(repr(settings).encode()).hexdigest()[:24]}", make)
    return World(model, load_heads(folder / "heads.safetensors", model), text)
