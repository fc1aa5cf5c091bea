"""How large the experiment is at each scale: models, prompts, tokens, repeats. Nothing here computes anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from firsthand.lm.shelf import Recipe

__all__ = ["DUO_BUDGETS", "JUDGED_RATIOS", "MODELLED_RATIOS", "SEEDS", "SERIAL_LENGTHS", "SIZES", "Size"]

SEEDS = {"smoke": 2, "laptop": 5}

# Each arm has as many lengths to choose among, on tuning prompts of their own.
SERIAL_LENGTHS = (1, 2, 3, 4, 5, 6, 8)
DUO_BUDGETS = (2, 3, 4, 6, 8, 12, 16)

# c = target time / draft time of the modelled map: from where overlap should pay to where it should not.
MODELLED_RATIOS = (2, 4, 6, 8, 12, 16, 24)
JUDGED_RATIOS = (2, 4, 6)


@dataclass(frozen=True)
class Size:
    """One scale; tokens are new ones."""

    target: Recipe
    draft: Recipe
    vocabulary: int
    limit: int | None  # of functions read
    prompt: int  # tokens
    tuning_prompts: int
    tuning_tokens: int
    prompts: int  # timed ones, a seed
    tokens: int
    repeats: int
    modelled_prompts: int
    modelled_tokens: int
    exact_texts: int  # a seed
    exact_tokens: int
    executor: Literal["thread", "process"]  # a thread is enough to see that the path works
    lengths: tuple[int, ...] = SERIAL_LENGTHS
    budgets: tuple[int, ...] = DUO_BUDGETS


SIZES = {
    "smoke": Size(
        target=Recipe(width=32, layers=2, heads=2, context=64, steps=40, batch=4),
        draft=Recipe(width=16, layers=1, heads=2, context=64, steps=40, batch=4),
        vocabulary=320, limit=400, prompt=12, tuning_prompts=1, tuning_tokens=8, prompts=4, tokens=12, repeats=1,
        modelled_prompts=3, modelled_tokens=16, exact_texts=6, exact_tokens=12,
        executor="thread", lengths=(1, 3), budgets=(3, 6),
    ),
    # The target is deep and narrow: slow to run for what it takes to train, as large models are.
    "laptop": Size(
        target=Recipe(width=128, layers=8, heads=4, steps=1_000, learning_rate=2e-3),
        draft=Recipe(width=64, layers=1, heads=2, steps=3_000, batch=4),
        vocabulary=1_024, limit=None, prompt=64, tuning_prompts=4, tuning_tokens=64, prompts=12, tokens=96,
        repeats=3, modelled_prompts=8, modelled_tokens=96, exact_texts=64, exact_tokens=40, executor="process",
    ),
}  # fmt: skip
