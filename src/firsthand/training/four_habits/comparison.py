"""Several conditions of a study side by side: accuracy, gains and differences with intervals, curves, prediction.

Knows looks, one list a condition and seed; knows nothing of how they were taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from firsthand.errors import InputError
from firsthand.training.four_habits.condition import Look
from firsthand.training.four_habits.estimates import Estimate, estimate
from firsthand.training.four_habits.habits import BEHAVIOURS
from firsthand.training.four_habits.prediction import GainPrediction, predict_gains

__all__ = ["HabitStudy"]


@dataclass(frozen=True)
class HabitStudy:
    """The looks of every condition, one list a seed, all with the same tests.

    Intervals are over seeds where there are 3 or more, else over test prompts (t in both cases).
    """

    looks: Mapping[str, Sequence[Sequence[Look]]]

    def accuracy(self, condition: str, when: Literal["start", "primed", "end"] = "end") -> Estimate:
        """Test accuracy of a condition."""
        return _over_seeds([_at(looks, when).correct for looks in self._of(condition)])

    def gain(self, condition: str) -> Estimate:
        """Accuracy at the end less that after priming."""
        return _over_seeds([_less(_at(looks, "end"), _at(looks, "primed")) for looks in self._of(condition)])

    def difference(
        self, condition: str, control: str, when: Literal["start", "primed", "end"] = "end"
    ) -> Estimate:
        """Accuracy of a condition less that of another one, seed by seed and prompt by prompt."""
        pairs = zip(self._of(condition), self._of(control), strict=True)
        return _over_seeds([_less(_at(mine, when), _at(theirs, when)) for mine, theirs in pairs])

    def predict_gains(self) -> GainPrediction:
        """Gains by the habits after priming; every condition of every seed is one model."""
        every = [looks for runs in self.looks.values() for looks in runs]
        return predict_gains(
            [_at(looks, "primed").habits for looks in every],
            [_at(looks, "end").accuracy - _at(looks, "primed").accuracy for looks in every],
        )

    def curve(self, condition: str) -> list[dict[str, Any]]:
        """Accuracy, habits and length by step of learning (0 is the primed model), mean over seeds."""
        points: dict[int, list[Look]] = {}
        for looks in self._of(condition):
            for one in looks:
                if one.stage != "start":
                    points.setdefault(one.step, []).append(one)
        return [
            {
                "step": step,
                "accuracy": float(np.mean([one.accuracy for one in some])),
                "habits": {name: float(np.mean([one.habits[name] for one in some])) for name in BEHAVIOURS},
                "tokens": float(np.mean([one.tokens for one in some])),
            }
            for step, some in sorted(points.items())
        ]

    def as_dict(self) -> dict[str, Any]:
        """Figures of every condition, as JSON has them."""
        return {
            "conditions": {
                name: {
                    **{when: vars(self.accuracy(name, when)) for when in ("start", "primed", "end")},
                    "gain": vars(self.gain(name)),
                    "curve": self.curve(name),
                }
                for name in self.looks
            },
            "prediction": self.predict_gains().as_dict() if sum(map(len, self.looks.values())) >= 3 else None,
        }

    def _of(self, condition: str) -> Sequence[Sequence[Look]]:
        if condition not in self.looks:
            raise InputError(f"a condition is one of {', '.join(self.looks)}, got {condition!r}")
        return self.looks[condition]


def _at(looks: Sequence[Look], when: str) -> Look:
    if when == "end":
        return looks[-1]
    return next(one for one in looks if one.stage == when)


def _less(mine: Look, theirs: Look) -> tuple[float, ...]:
    return tuple(a - b for a, b in zip(mine.correct, theirs.correct, strict=True))


def _over_seeds(by_seed: Sequence[Sequence[float]]) -> Estimate:
    """The mean of values by seed and prompt; the units are seeds from 3 on, else prompts."""
    table = np.array(by_seed, dtype=float)
    return estimate(table.mean(axis=1) if len(table) >= 3 else table.mean(axis=0))
