"""What speed to expect where moving bytes is all that takes time: weights once a pass, and the cache that it reads.

Plain decoding moves W + κ·n a token. A step of TokenSwift moves W + κ·min(B, n) to draft and W + κ·n to check,
and gives several tokens. W: bytes of weights; κ: bytes of keys and values a token of text; n: tokens so far.
"""

from __future__ import annotations

from typing import NamedTuple

from firsthand.errors import InputError

__all__ = ["LLAMA_2_7B", "LLAMA_3_1_8B", "Bytes", "modelled_speedup"]


class Bytes(NamedTuple):
    """Of a model: its weights, and the keys and values of one token."""

    weights: float
    token: float


LLAMA_3_1_8B = Bytes(16.06e9, 131_072)
LLAMA_2_7B = Bytes(13.5e9, 524_288)


def modelled_speedup(tokens_per_step: float, model: Bytes, length: int, budget: int = 4096) -> float:
    """Speed over plain decoding after `length` tokens; `budget` is B, and every step gives `tokens_per_step`.

    Heads (0.1 GB of an 8B model), the tree's own keys and all computing are left out.
    """
    if tokens_per_step < 1 or length < 0 or budget < 1 or min(model) <= 0:
        raise InputError(
            f"a step gives at least one token, and sizes are positive; got {tokens_per_step} tokens a step, "
            f"length {length}, budget {budget}, {model}"
        )
    whole = model.weights + model.token * length
    part = model.weights + model.token * min(budget, length)
    return tokens_per_step * whole / (part + whole)
