"""A mean with its 95 % interval, as the instrument computes it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firsthand.claims.intervals import ALPHA, t_estimate

__all__ = ["Estimate", "estimate"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def estimate(values: NDArray[np.float64]) -> Estimate:
    """The mean of independent values (N,) with its t interval; NaN for its ends below N = 3, for all of it at 0."""
    if len(values) < 3:
        return Estimate(float(values.mean()) if len(values) else math.nan, math.nan, math.nan)
    found = t_estimate(values.tolist())
    return Estimate(found.value, *found.interval(1 - ALPHA))
