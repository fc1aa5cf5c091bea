"""How large the experiment is at each scale: model, heads, texts. Nothing here computes anything."""

from __future__ import annotations

from dataclasses import dataclass

from firsthand.lm.shelf import Recipe

__all__ = ["SEEDS", "SIZES", "Size"]

SEEDS = {"smoke": 2, "laptop": 10}


@dataclass(frozen=True)
class Size:
    """One scale; lengths are in tokens, texts are a seed's."""

    model: Recipe
    vocabulary: int
    limit: int | None  # of functions read
    head_steps: int
    head_tokens: int  # a step
    head_window: int
    prompt: int
    tokens: int  # of a long text
    texts: int  # long ones, with the penalty and without
    replayed: int  # of these, how many are replayed with every drafter
    stretches: tuple[int, ...]  # where the stretches of a long text end; each is half of what came before it
    budget: int  # B, keys that a draft pass reads
    timed_texts: int
    timed_tokens: int
    repeats: int
    exact_texts: int
    exact_tokens: int
    exact_budget: int
    window: int  # W, last tokens that are penalised
    sink: int = 16  # S, first tokens that are always kept


SIZES = {
    "smoke": Size(
        model=Recipe(
            width=32, layers=4, heads=2, kind="hybrid", window=32, context=64, longest=512, steps=60, batch=4
        ),
        vocabulary=320, limit=400, head_steps=20, head_tokens=256, head_window=64, prompt=12, tokens=128, texts=2,
        replayed=1, stretches=(8, 16, 32, 64, 128), budget=48, timed_texts=1, timed_tokens=24, repeats=1, exact_texts=4,
        exact_tokens=24, exact_budget=16, window=16, sink=4,
    ),
    "laptop": Size(
        model=Recipe(
            width=128, layers=4, heads=4, kind="hybrid", window=256, context=1024, steps=900, batch=2,
            learning_rate=2e-3,
        ),
        vocabulary=1_024, limit=None, head_steps=150, head_tokens=4_096, head_window=1_024, prompt=64,
        tokens=4_000, texts=3, replayed=1, stretches=(250, 500, 1_000, 2_000, 4_000), budget=256, timed_texts=4,
        timed_tokens=512, repeats=1, exact_texts=32, exact_tokens=40, exact_budget=48, window=64,
    ),
}  # fmt: skip
