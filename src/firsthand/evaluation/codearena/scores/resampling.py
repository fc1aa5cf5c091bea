"""How much a ranking owes to the problems that happened to be asked: bootstrap over problems.

Problems are drawn again with replacement, as many as there were. What a problem gives to each user does not depend on
the other problems, so a resample is a weight for each problem and nothing is scored again. Users stay: the intervals
speak of other problems of the same kind for the same field.

Knows scores as arrays, and a function from weights of problems to scores. Knows no formula of points or ratings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores.ranks import Floats, ranks_of

__all__ = ["Bootstrap", "BootstrapRow", "Resampled", "bootstrap_problems"]

Resampled = Callable[[NDArray[np.int64]], Floats]
"""(resamples, problems) how often each problem was drawn -> (resamples, users) scores."""

_AT_ONCE = 1 << 22  # counts drawn in one step, 32 MB


@dataclass(frozen=True)
class BootstrapRow:
    """A user's score and rank with their intervals."""

    user: str
    score: float
    low: float
    high: float
    rank: int
    rank_low: int  # the better end
    rank_high: int


@dataclass(frozen=True)
class Bootstrap:
    """What `bootstrap` of a table or of ratings returns; rows in the order of the board.

    Intervals are percentile intervals at `level`.
    """

    rows: tuple[BootstrapRow, ...]
    level: float
    scores: Floats = field(repr=False, compare=False)  # (n, users), in the order of the rows
    ranks: NDArray[np.int64] = field(repr=False, compare=False)  # (n, users)

    @property
    def n(self) -> int:
        """How many resamples there were."""
        return len(self.scores)

    def above(self, one: str, other: str) -> float:
        """The share of resamples in which `one` has a better rank than `other`; a shared rank is not better.

        Raises:
            InputError: a user that is not on the board.
        """
        return float(np.mean(self.ranks[:, self._place(one)] < self.ranks[:, self._place(other)]))

    def above_matrix(self) -> Floats:
        """(users, users) `above` of row over column, in the order of the rows."""
        return np.stack(
            [np.mean(self.ranks[:, [place]] < self.ranks, axis=0) for place in range(len(self.rows))]
        )

    def _place(self, user: str) -> int:
        for place, row in enumerate(self.rows):
            if row.user == user:
                return place
        raise InputError(f"user {user!r} is not on this board of {len(self.rows)} users")

    def as_dict(self) -> dict[str, Any]:
        """For JSON: intervals of all rows."""
        return {
            "n": self.n,
            "level": self.level,
            "unit": "problem",
            "rows": [
                {
                    "user": row.user,
                    "score": row.score,
                    "low": row.low,
                    "high": row.high,
                    "rank": row.rank,
                    "rank_low": row.rank_low,
                    "rank_high": row.rank_high,
                }
                for row in self.rows
            ],
        }


def bootstrap_problems(
    users: Sequence[str],
    problems: int,
    resampled: Resampled,
    *,
    n: int = 2000,
    unit: str = "problem",
    seed: int = 0,
    level: float = 0.95,
) -> Bootstrap:
    """Intervals of scores and ranks over `n` resamples of the problems.

    Memory: 16 bytes for each user and resample.

    Args:
        users: in the order of the board.
        problems: how many there are.
        resampled: scores from how often each problem was drawn; (n, problems) to (n, users).
        n: number of resamples, at least 1.
        unit: what is drawn; "problem".
        seed: of the draws.
        level: of the intervals, between 0 and 1.

    Raises:
        InputError: an argument that cannot be, or no problem to draw.
    """
    if unit != "problem":
        raise InputError(f"unit must be 'problem', got {unit!r}")
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise InputError(f"n must be at least 1 resample, got {n!r}")
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, got {level!r}")
    if problems < 1:
        raise InputError("there is no problem to draw: a bootstrap over problems needs at least one")
    random = np.random.default_rng(seed)
    scores = np.empty((n, len(users)))
    step = max(1, _AT_ONCE // problems)
    for start in range(0, n, step):
        size = min(step, n - start)
        drawn = random.integers(problems, size=(size, problems)) + problems * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * problems).reshape(size, problems)
        scores[start : start + size] = resampled(counts)
    ranks = ranks_of(scores)
    shares = (0.5 - level / 2, 0.5 + level / 2)
    low, high = np.quantile(scores, shares, axis=0)
    best, worst = np.quantile(ranks, shares, axis=0, method="closest_observation")
    found = resampled(np.ones((1, problems), np.int64))[0]
    return Bootstrap(
        tuple(
            BootstrapRow(user, float(score), float(a), float(b), int(rank), int(c), int(d))
            for user, score, a, b, rank, c, d in zip(
                users, found, low, high, ranks_of(found), best, worst, strict=True
            )
        ),
        level,
        scores,
        ranks,
    )
