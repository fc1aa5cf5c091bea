"""What a model's habits before learning say about what it will gain from it (the paper's reading of its figure 1).

Knows counts and gains, one of each a model; knows nothing of how either came about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.training.four_habits.habits import BEHAVIOURS, HabitProfile

__all__ = ["GainPrediction", "HabitLine", "predict_gains"]


@dataclass(frozen=True)
class HabitLine:
    """The line gain = intercept + slope · habit over models, and how well the habit orders them.

    Attributes:
        slope, intercept: of least squares; gain per count a trace.
        low, high: 95 % interval of the slope (t, N − 2 degrees of freedom).
        rank: Spearman's correlation; 0 where the habit is the same in all models.
        error: root mean square of what the line says of each model from all the others; beside it the same of saying
            their mean gain, `error_of_mean`.
    """

    slope: float
    intercept: float
    low: float
    high: float
    rank: float
    error: float
    error_of_mean: float


@dataclass(frozen=True)
class GainPrediction:
    """A line for each habit, and for their sum ("all")."""

    lines: dict[str, HabitLine]
    models: int

    @property
    def best(self) -> str:
        """The habit that says most about models it has not seen."""
        return min(self.lines, key=lambda name: self.lines[name].error)

    def predict(self, habits: Mapping[str, float] | HabitProfile, by: str | None = None) -> float:
        """The gain of a model with these counts a trace, by the line of `by` (the best one)."""
        name = by or self.best
        if name not in self.lines:
            raise InputError(f"a line is one of {', '.join(self.lines)}, got {name!r}")
        line = self.lines[name]
        return line.intercept + line.slope * _with_all(habits)[name]

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it; what is not defined is None."""
        return {
            "models": self.models,
            "best": self.best,
            "lines": {
                name: {key: None if math.isnan(value) else value for key, value in vars(line).items()}
                for name, line in self.lines.items()
            },
        }


def predict_gains(
    habits: Sequence[Mapping[str, float] | HabitProfile], gains: Sequence[float]
) -> GainPrediction:
    """Fit gains of accuracy (N,) to the habits that N models had before they learnt.

    `habits` are counts a trace by habit (a `HabitProfile`, or a mapping; what is absent is 0). Raises `InputError`
    for fewer than 3 models or numbers that are none.
    """
    if len(habits) != len(gains):
        raise InputError(f"{len(habits)} models' habits, but {len(gains)} gains")
    if len(gains) < 3:
        raise InputError(f"a line over models needs at least 3 of them, got {len(gains)}")
    y = np.array(gains, dtype=float)
    table = [_with_all(one) for one in habits]
    if not np.isfinite(y).all() or not all(math.isfinite(v) for row in table for v in row.values()):
        raise InputError("habits and gains must be numbers")
    return GainPrediction(
        {name: _line(np.array([row[name] for row in table]), y) for name in (*BEHAVIOURS, "all")}, len(gains)
    )


def _with_all(habits: Mapping[str, float] | HabitProfile) -> dict[str, float]:
    if isinstance(habits, HabitProfile):
        counts = {name: habits.means[name][0] for name in BEHAVIOURS}
    else:
        unknown = sorted(set(habits) - {*BEHAVIOURS, "all"})
        if unknown:
            raise InputError(f"{unknown[0]!r} is no habit; they are {', '.join(BEHAVIOURS)}")
        counts = {name: float(habits.get(name, 0.0)) for name in BEHAVIOURS}
    return {**counts, "all": sum(counts.values())}


def _fit(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread else 0.0
    return slope, float(y.mean()) - slope * float(x.mean())


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> HabitLine:
    from scipy.stats import spearmanr, t

    slope, intercept = _fit(x, y)
    low = high = math.nan
    spread = float(((x - x.mean()) ** 2).sum())
    if spread:
        rest = y - intercept - slope * x
        half = float(t.ppf(0.975, len(x) - 2)) * math.sqrt(float(rest @ rest) / (len(x) - 2) / spread)
        low, high = slope - half, slope + half
    rank = float(spearmanr(x, y).statistic) if spread and np.ptp(y) else 0.0
    errors = []
    for left in range(len(x)):
        keep = np.arange(len(x)) != left
        a, b = _fit(x[keep], y[keep])
        errors.append((y[left] - b - a * x[left], y[left] - y[keep].mean()))
    mine, plain = np.sqrt(np.mean(np.square(errors), axis=0))
    return HabitLine(slope, intercept, low, high, rank, float(mine), float(plain))
