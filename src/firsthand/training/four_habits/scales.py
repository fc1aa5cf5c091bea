"""How large the experiment is at each scale. Nothing here computes anything."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SEEDS", "SIZES", "Size"]

# Two seeds at once on two cores: an even number wastes none of them.
SEEDS = {"smoke": 2, "laptop": 6}


@dataclass(frozen=True)
class Size:
    """One scale."""

    problems: int  # that models learn from by rewards
    priming_problems: int
    tests: int
    samples: int  # answers to a test before learning and after it
    base_each: int  # traces of the base model's text a problem
    base_steps: int
    priming_steps: int
    batch: int
    learning_steps: int
    every: int
    prompts_per_step: int
    group_size: int
    traces: int = 24  # of a problem, that models are primed on
    longest: int = 72  # tokens of an answer
    base_rate: float = 3e-3
    priming_rate: float = 3e-3
    learning_rate: float = 3e-4
    warmup: int = 50  # steps of the base model
    width: int = 128
    layers: int = 2
    heads: int = 4


SIZES = {
    "smoke": Size(
        problems=60, priming_problems=20, tests=12, samples=1, base_each=1, base_steps=12, priming_steps=6, batch=8,
        learning_steps=2, every=1, prompts_per_step=2, group_size=2, traces=2, longest=24, width=32, layers=1, heads=2,
    ),
    "laptop": Size(
        problems=1_440, priming_problems=640, tests=256, samples=4, base_each=32, base_steps=2_600,
        priming_steps=500, batch=32, learning_steps=300, every=50, prompts_per_step=10, group_size=8,
    ),
}  # fmt: skip
