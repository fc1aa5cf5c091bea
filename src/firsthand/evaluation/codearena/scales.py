"""How large the experiment is at each scale: leaks, the served league, passes. Nothing here computes anything."""

from __future__ import annotations

from dataclasses import dataclass

from firsthand.evaluation.codearena.scores.field import CELLS, Cell

__all__ = ["NARROW", "SEEDS", "SERVED_EVERY", "SIZES", "WIDE", "Size"]

SEEDS = {"smoke": 3, "laptop": 40}
SERVED_EVERY = 20
"""One seed in so many also has the league judged by the running service."""

WIDE = (Cell(0.25, 0.75), Cell(0.5, 0.75))
NARROW = (Cell(0.25, 0.1), Cell(0.5, 0.1))


@dataclass(frozen=True)
class Size:
    """One scale.

    Attributes:
        cells: leaks that a seed's league is put through.
        models: of the simulated league.
        problems: of the simulated league.
        contestants: of the scripted league that is judged; empty: all eight.
        judged: ids of bundled problems; empty: all twelve.
        repeats: runs of an accepted program, whose median is its time.
    """

    cells: tuple[Cell, ...]
    models: int
    problems: int
    contestants: tuple[str, ...]
    judged: tuple[str, ...]
    repeats: int


SIZES = {
    "smoke": Size(
        cells=(*WIDE, *NARROW, Cell(0.5, 0.25), Cell(0.0, 0.0)), models=20, problems=64,
        contestants=("fast-python", "memory-hog", "crash"), judged=("lamp-posts", "tide-table"), repeats=1,
    ),
    "laptop": Size(cells=CELLS, models=20, problems=256, contestants=(), judged=(), repeats=3),
}  # fmt: skip
