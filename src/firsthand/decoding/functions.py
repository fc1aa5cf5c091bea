"""Python functions as text for small decoders: what a model is trained on, and held-out text for prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from firsthand.corpora import python_text

__all__ = ["Functions", "python_functions"]

HELD_OUT = 10  # every tenth function is not trained on


@dataclass(frozen=True)
class Functions:
    """The standard library's functions.

    Attributes:
        read: what models are trained on.
        tokenizer: trained on that.
        held_out: token ids (T,) of the other functions.
        hash: SHA-256 of all of them.
    """

    read: list[str]
    tokenizer: Any
    held_out: Any
    hash: str

    def prompts(self, count: int, length: int, seed: int, stream: int) -> list[list[int]]:
        """`count` spans of `length` held-out tokens; spans of one seed and stream begin at different places."""
        rng = np.random.default_rng([seed, stream])
        starts = rng.choice(len(self.held_out) - length, count, replace=False)
        return [self.held_out[start : start + length].tolist() for start in starts]


def python_functions(vocabulary: int, limit: int | None = None) -> Functions:
    """Functions of 200 to 4 000 characters, at most `limit` of them, and a tokenizer of `vocabulary` entries."""
    from firsthand.lm import packed
    from firsthand.lm.shelf import kept_tokenizer

    corpus = python_text("functions", packages=["stdlib"], min_chars=200, max_chars=4_000, limit=limit)
    read = [text for number, text in enumerate(corpus.texts) if number % HELD_OUT]
    tokenizer = kept_tokenizer(read, vocabulary)
    return Functions(read, tokenizer, packed(tokenizer, corpus.texts[::HELD_OUT]), corpus.hash)
