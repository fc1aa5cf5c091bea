"""How large the experiment is at each scale. Nothing here computes anything."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SEEDS", "SIZES", "Size"]

SEEDS = {"smoke": 2, "laptop": 20}


@dataclass(frozen=True)
class Size:
    """One scale."""

    base_pictures: int
    base_steps: int
    base_batch: int
    labelled: int  # pictures of the new domain that have boxes
    held_back: int  # of these, for choosing among candidates
    new_tests: int
    base_tests: int
    steps: int  # of every arm
    looks: tuple[int, ...]  # steps at which an arm may be taken
    pictures_a_step: int
    group_size: int
    learning_rate: float = 3e-4
    gentle_rate: float = 1e-4  # of the third candidate of reinforcement learning
    beta: float = 0.04
    anchor: float = 0.05  # weight of the squared distance to the base weights
    width: int = 96
    layers: int = 3


SIZES = {
    "smoke": Size(
        base_pictures=200, base_steps=30, base_batch=16, labelled=8, held_back=2, new_tests=24, base_tests=24,
        steps=4, looks=(2, 4), pictures_a_step=4, group_size=4, width=32, layers=1,
    ),
    "laptop": Size(
        base_pictures=6_000, base_steps=500, base_batch=64, labelled=24, held_back=8, new_tests=400,
        base_tests=300, steps=200, looks=(25, 50, 100, 200), pictures_a_step=8, group_size=16,
    ),
}  # fmt: skip
