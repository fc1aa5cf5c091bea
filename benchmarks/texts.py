"""Generated texts for benchmarks: any number of them, the same every time, none of them anyone's."""

from __future__ import annotations

from functools import cache

import numpy as np


@cache
def _vocabulary() -> list[str]:
    rng = np.random.default_rng(1007)
    letters = rng.integers(ord("a"), ord("z") + 1, size=(5_000, 10)).astype(np.uint8)
    lengths = rng.integers(2, 11, size=5_000)
    return [bytes(row[:n]).decode() for row, n in zip(letters, lengths, strict=True)]


def generated_texts(count: int, seed: int, words: int = 60) -> list[str]:
    """Texts of a Zipf-like vocabulary in lines of some words, as extracted web text has them."""
    vocabulary = _vocabulary()
    weight = 1 / np.arange(10, 10 + len(vocabulary))
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(vocabulary), size=(count, words), p=weight / weight.sum())
    breaks = set(range(12, words, 13))
    return [
        "".join(vocabulary[w] + ("\n" if at in breaks else " ") for at, w in enumerate(line)).strip()
        for line in drawn.tolist()
    ]
