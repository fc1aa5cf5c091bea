"""Rows as rewards and draws see them: the columns of several answers to each, and a generator for one draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

__all__ = ["answer_columns", "column_names", "seeded_generator"]


def column_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What rewards read of rows: every column of any of them but `prompt`."""
    return sorted({name for row in rows for name in row if name != "prompt"})


def answer_columns(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], each: int
) -> dict[str, list[Any]]:
    """Columns of `each` answers to every row, one entry an answer; what a row lacks is None."""
    return {name: [row.get(name) for row in rows for _ in range(each)] for name in names}


def seeded_generator(*numbers: int) -> torch.Generator:
    """A generator that depends on these numbers alone: a seed, and what tells one draw from the others."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1)
    return torch.Generator().manual_seed(int(state))
