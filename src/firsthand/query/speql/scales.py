"""How large the experiment is at each scale: tables, queries, typing. Nothing here computes anything."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SEEDS", "SIZES", "Size"]

SEEDS = {"smoke": 2, "laptop": 3}


@dataclass(frozen=True)
class Size:
    """One scale.

    Attributes:
        scale_factor: of TPC-DS; None for one table of sales and three queries.
        rows: of that table.
        last: lines of a query that are typed one by one.
        every: one query in so many is typed with the history of other queries alone, too.
        repeats: measured submissions of a text in each arm, after one that is not.
        timeout_s: seconds that one speculative query may take.
        threads: of DuckDB, in every arm.
    """

    scale_factor: float | None
    rows: int
    last: int
    every: int
    repeats: int
    timeout_s: float
    threads: int


SIZES = {
    "smoke": Size(
        scale_factor=None, rows=1_000_000, last=4, every=1, repeats=2, timeout_s=1.0, threads=1,
    ),
    "laptop": Size(
        scale_factor=1.0, rows=0, last=20, every=2, repeats=3, timeout_s=2.0, threads=1,
    ),
}  # fmt: skip
