"""Other rankings beside dynamic points, in the same shape: Bradley–Terry strengths, pass@1 and pass@k.

Knows the attempts' pairs of user and problem. They serve as a second opinion: where they and dynamic points disagree
about who is ahead, the way of scoring decides and not the programs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores.attempts import AttemptSource, as_attempts
from firsthand.evaluation.codearena.scores.points import score
from firsthand.evaluation.codearena.scores.ranks import Floats, ranks_of
from firsthand.evaluation.codearena.scores.resampling import Bootstrap, Resampled, bootstrap_problems
from firsthand.evaluation.codearena.scores.rules import LeaveOut, Population
from firsthand.evaluation.codearena.scores.score_table import ScoreTable

__all__ = ["RatingRow", "Ratings", "bradley_terry", "pass_at_k"]

BattleOn = Literal["solved", "runtime"]
_STEPS = 500  # of Newton's method; it takes about ten
_AT_ONCE = 1 << 22  # numbers held in one step, 32 MB


@dataclass(frozen=True)
class RatingRow:
    """A user's line."""

    user: str
    rating: float
    solved: int  # problems
    attempted: int  # problems
    pass_rate: float  # solved problems / all problems
    rank: int  # 1, 1, 3


@dataclass(frozen=True)
class Ratings:
    """A ranking of users; rows from the best rank, equal ranks by name."""

    ranking: str
    rows: tuple[RatingRow, ...]
    parameters: Mapping[str, Any]
    table: ScoreTable = field(repr=False, compare=False)  # its points are of no meaning, its counts are
    resampled: Resampled = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON, as `ScoreTable.as_dict`: `score` says which field of the rows ranks."""
        return {
            "ranking": self.ranking,
            "score": "rating",
            "parameters": dict(self.parameters),
            "rows": [asdict(row) for row in self.rows],
            "problems": [
                {
                    "problem": row.problem,
                    "attempts": row.attempts,
                    "solved": row.solved,
                    "solvers": row.solvers,
                    "ac": row.ac,
                }
                for row in self.table.problems
            ],
        }

    def bootstrap(
        self, n: int = 2000, unit: str = "problem", seed: int = 0, level: float = 0.95
    ) -> Bootstrap:
        """Intervals of rating and rank, and who is above whom, over resampled problems (`bootstrap_problems`)."""
        users = sorted(row.user for row in self.rows)
        order = [users.index(row.user) for row in self.rows]
        return bootstrap_problems(
            [row.user for row in self.rows],
            len(self.table.problems),
            lambda counts: self.resampled(counts)[:, order],
            n=n,
            unit=unit,
            seed=seed,
            level=level,
        )


def bradley_terry(
    attempts: AttemptSource,
    *,
    l2: float = 1e-3,
    on: BattleOn = "solved",
    problems: Iterable[str] | None = None,
    population: Population = None,
    leave_out: LeaveOut = (),
    es_tolerance: float = 0.0,
) -> Ratings:
    """Strengths r that best explain who beat whom: P(u beats v) = σ(r_u − r_v).

    On "solved", u beats v wherever both attempted a problem and only u solved it; what both solved, or neither, says
    nothing. If u solves problem i with probability σ(r_u − b_i), the chance that it was u, given that one of the two
    did, is σ(r_u − r_v) whatever b_i is: the strengths are those of the Rasch model, and a problem that leaked to
    everybody drops out by itself. On "runtime", u beats v wherever both solved a problem and u's fastest accepted
    solution took less time.

    Maximises Σ wins_uv · ln σ(r_u − r_v) − l2 · Σ r_u², by Newton's method. The mean of all strengths is 0; a user
    without a battle has 0. Strengths are natural log-odds: a difference of 1 is a win in 73 % of the battles.

    Args:
        attempts: what `as_attempts` reads. Of several attempts at a problem one that solved it is enough.
        l2: keeps a user who won all battles finite; from 1e-6 up.
        on: "solved" or "runtime".
        problems: ids of the problems of the board, which pass rates divide by; those attempted where left out.
        population, leave_out: as of `score`.
        es_tolerance: in per cent: on "runtime" no one beats another who took at most so much longer.

    Raises:
        InputError: an argument that cannot be, or what `score` refuses.
    """
    if on not in get_args(BattleOn):
        raise InputError(f"on must be one of {', '.join(get_args(BattleOn))}, got {on!r}")
    if isinstance(l2, bool) or not isinstance(l2, int | float) or not 1e-6 <= l2 < math.inf:
        raise InputError(f"l2 must be a finite number of at least 1e-6, got {l2!r}")
    table = _counted(attempts, problems, population, leave_out, es_tolerance)
    battles = _Battles(table, on, es_tolerance)

    def resampled(counts: NDArray[np.int64]) -> Floats:
        step = max(1, _AT_ONCE // max(1, len(table.rows) ** 2))
        found = [
            _strengths(battles.wins(counts[start : start + step]), l2)
            for start in range(0, len(counts), step)
        ]
        return np.concatenate(found)

    return _ratings(
        f"Bradley-Terry on {on}", table, resampled, {"l2": l2, "on": on, "es_tolerance": float(es_tolerance)}
    )


def pass_at_k(
    attempts: AttemptSource,
    *,
    k: int = 1,
    problems: Iterable[str] | None = None,
    population: Population = None,
    leave_out: LeaveOut = (),
) -> Ratings:
    """The chance that one of k attempts at a problem is accepted, mean over all problems.

    Of n counted attempts at a problem with c accepted ones, 1 − C(n−c, k) / C(n, k): the unbiased estimate of Chen et
    al. 2021 (arXiv 2107.03374, equation 1). A problem that was not attempted counts as 0, so that with one attempt
    at each problem pass@1 is the pass rate.

    Args:
        attempts: what `as_attempts` reads.
        k: at least 1.
        problems: ids of all problems; those attempted where left out.
        population, leave_out: as of `score`.

    Raises:
        InputError: an argument that cannot be, or a user who attempted a problem less than k times.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise InputError(f"k must be at least 1, got {k!r}")
    table = _counted(attempts, problems, population, leave_out, 0.0)
    pairs = table.pairs
    few = np.flatnonzero(pairs.attempts < k)
    if few.size:
        row = pairs.rows(few[:1])[0]
        raise InputError(
            f"{row.user!r} has {row.attempts} counted attempts at {row.problem!r}, fewer than k = {k}: pass@{k} "
            "needs k at every problem that a user attempted; ask for a smaller k or leave her out"
        )
    failed = pairs.attempts - pairs.accepted
    none_of_k = np.ones(len(failed))
    for number in range(k):  # C(n−c, k) / C(n, k) as a product of ratios, which does not overflow
        none_of_k *= np.maximum(failed - number, 0) / (pairs.attempts - number)
    passed = _grid(table, 1 - none_of_k)

    def resampled(counts: NDArray[np.int64]) -> Floats:
        return np.asarray(counts @ passed.T / max(1, passed.shape[1]), dtype=np.float64)

    return _ratings(f"pass@{k}", table, resampled, {"k": k})


def _counted(
    attempts: AttemptSource,
    problems: Iterable[str] | None,
    population: Population,
    leave_out: LeaveOut,
    es_tolerance: float,
) -> ScoreTable:
    """Who solved what how fast; points of 1, which nobody looks at."""
    columns = as_attempts(attempts)
    if isinstance(problems, str):
        raise InputError(
            f"problems must be a sequence of ids, got the text {problems!r}; write [{problems!r}]"
        )
    ids = columns.problems if problems is None else problems
    return score(
        columns,
        dict.fromkeys(ids, 1.0),
        population=population,
        leave_out=leave_out,
        es_tolerance=es_tolerance,
    )


def _ratings(ranking: str, table: ScoreTable, resampled: Resampled, parameters: Mapping[str, Any]) -> Ratings:
    users = sorted(row.user for row in table.rows)
    found = resampled(np.ones((1, len(table.problems)), np.int64))[0]
    ranks = ranks_of(found)
    rows = []
    for place in np.lexsort((np.arange(len(users)), ranks)):
        line = table.of(users[place])
        rows.append(
            RatingRow(
                line.user,
                float(found[place]),
                line.solved,
                line.attempted,
                line.pass_rate,
                int(ranks[place]),
            )
        )
    rules = table.rules.as_dict()
    shared = {name: rules[name] for name in ("population", "leave_out")}
    return Ratings(ranking, tuple(rows), {**parameters, **shared}, table, resampled)


def _grid(table: ScoreTable, values: Floats, absent: float = 0.0) -> Floats:
    """(users, problems) of values of the pairs, users in the order of their names."""
    users = sorted(row.user for row in table.rows)
    place = {user: number for number, user in enumerate(users)}
    names = np.array([place[user] for user in table.pairs.users], np.intp)
    grid = np.full((len(users), len(table.problems)), absent)
    grid[names[table.pairs.user], table.pairs.problem] = values
    return grid


class _Battles:
    """Who beat whom on each problem."""

    def __init__(self, table: ScoreTable, on: BattleOn, tolerance: float) -> None:
        solved = table.pairs.solved
        if on == "solved":  # a solution takes 0, a failure 1, what was not attempted does not fight
            self._times = _grid(table, np.where(solved, 0.0, 1.0), math.nan)
            self._factor = 1.0
        else:
            self._times = _grid(table, np.where(solved, table.pairs.runtime_ms, math.nan), math.nan)
            self._factor = 1 + tolerance / 100

    def wins(self, counts: NDArray[np.int64]) -> Floats:
        """(n, problems) -> (n, users, users) how often row beat column."""
        users, problems = self._times.shape
        total = np.zeros((len(counts), users * users))
        step = max(1, _AT_ONCE // max(1, users * users))
        for start in range(0, problems, step):
            times = self._times[:, start : start + step].T
            won = times[:, :, None] * self._factor < times[:, None, :]  # False where one is NaN
            total += counts[:, start : start + step] @ won.reshape(len(times), -1).astype(np.float64)
        return total.reshape(len(counts), users, users)


def _strengths(wins: Floats, l2: float) -> Floats:
    """(n, users, users) -> (n, users) by Newton's method, damped as for self-concordant functions.

    The third derivative of −ln σ is at most its second one, so that a step of length ln(1 + d)/d, d its largest
    difference between two users, always leads up (Sun and Tran-Dinh 2019, theorem 2).
    """
    lost = wins.transpose(0, 2, 1)
    users = wins.shape[1]
    found = np.zeros(wins.shape[:2])
    for _ in range(_STEPS if users else 0):
        lead = found[:, :, None] - found[:, None, :]
        chance, other = 1 / (1 + np.exp(-lead)), 1 / (1 + np.exp(lead))
        # Not wins − battles · chance: what is left of large numbers has their rounding.
        slope = (wins * other - lost * chance).sum(axis=2) - 2 * l2 * found
        bend = (wins + lost) * chance * other
        hessian = -bend
        hessian[:, range(users), range(users)] += bend.sum(axis=2) + 2 * l2
        step = np.linalg.solve(hessian, slope[:, :, None])[:, :, 0]
        step -= step.mean(axis=1, keepdims=True)
        reach = np.ptp(step, axis=1)[:, None]
        found += step * np.where(reach > 0, np.log1p(reach) / np.where(reach > 0, reach, 1), 1)
        if reach.max() < 1e-6:  # the next step would be about the square of that
            return found
    if users == 0:
        return found
    raise InputError(f"strengths did not settle in {_STEPS} steps with l2 = {l2:g}; take a larger l2")
