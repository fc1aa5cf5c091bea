"""A figure with its interval, and how rows enter: `error` as flags, `u` as finite numbers.

`error` is the positive class everywhere, and a higher u means a less certain answer.

Knows arrays. Knows no AUC, no table and no question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.errors import EmptyGroup, NonFiniteScores

__all__ = ["Estimate", "Flags", "Floats", "as_flags", "as_scores", "check_level", "rows_of", "two_sided_z"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """A figure, its interval at `level`, and what both come from.

    `standard_error` is NaN where the interval does not come from one. `p_value` is two-sided, against chance for an
    AUC and against 0 for a difference, and None where nothing was tested.
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    n: int  # rows
    errors: int  # rows that are errors
    standard_error: float = math.nan
    p_value: float | None = None


def as_flags(values: ArrayLike, what: str = "error") -> Flags:
    """(n,) flags from booleans, or from numbers that are all 0 or 1.

    Raises:
        InputError: another shape, or another value; the message names its row.
        EmptyGroup: no row.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"{what} must have one dimension, got the shape {array.shape}")
    if array.size == 0:
        raise EmptyGroup(f"{what} has no rows")
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "iuf":
        raise InputError(f"{what} must be true or false, or 1 or 0, got values of type {array.dtype}")
    wrong = np.flatnonzero((array != 0) & (array != 1))
    if wrong.size:
        raise InputError(f"{what}: row {wrong[0]} is {array[wrong[0]]}, and must be 1 or 0")
    return array.astype(np.bool_)


def as_scores(
    values: ArrayLike, n: int | None = None, what: str = "scores", ids: Sequence[object] | None = None
) -> Floats:
    """(n,) finite numbers in float64.

    Args:
        values: one number a row.
        n: how many there must be; None: any number above 0.
        what: their name in messages.
        ids: of the rows, for messages; None: their places.

    Raises:
        InputError: not numbers, another shape, or another number of rows.
        EmptyGroup: no row.
        NonFiniteScores: a NaN or an infinity.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"{what} must have one dimension, got the shape {array.shape}")
    if array.size == 0:
        raise EmptyGroup(f"{what} have no rows")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what} must be numbers, got values of type {array.dtype}")
    if n is not None and array.size != n:
        raise InputError(f"{what} have {array.size} rows where {n} are needed")
    array = array.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(array))
    if wrong.size:
        raise NonFiniteScores(what, rows_of(wrong, ids))
    return array


def rows_of(places: NDArray[Any], ids: Sequence[object] | None) -> list[object]:
    """The ids of the rows at `places`, or the places themselves."""
    return [int(place) if ids is None else ids[int(place)] for place in places]


def check_level(level: float) -> float:
    """`level` itself.

    Raises:
        InputError: it is not between 0 and 1.
    """
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, got {level!r}")
    return float(level)


def two_sided_z(level: float) -> float:
    """Of a normal variable the bound that it stays within, on both sides, with probability `level`: 0.95 -> 1.96."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2))
