"""A board: users' totals and ranks, problems' figures, and the rows of user and problem that both come from.

Knows how points that each problem gave are added up and ranked, also from rows that a database kept. Knows nothing of
how a problem's points come about (`points`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores.ranks import Floats, ranks_of
from firsthand.evaluation.codearena.scores.resampling import Bootstrap, Resampled, bootstrap_problems
from firsthand.evaluation.codearena.scores.rules import Rules, checked_points

__all__ = ["PairRow", "Pairs", "ProblemRow", "ScoreRow", "ScoreTable", "performance_points", "table_of"]

# DMOJ's defaults: each further problem counts 5 % less, 100 of them count, and solving many has a bonus.
STEP, ENTRIES, BONUS, BONUS_STEP = 0.95, 100, 300.0, 0.997


@dataclass(frozen=True)
class PairRow:
    """What one user did on one problem that she attempted, and what it gave."""

    user: str
    problem: str
    attempts: int  # counted ones
    accepted: int  # of these
    runtime_ms: float | None  # of the fastest accepted solution, ms
    cs: float  # 0 where it is not solved
    es: float

    @property
    def solved(self) -> bool:
        """Whether one attempt was accepted."""
        return self.accepted > 0


@dataclass(frozen=True)
class ProblemRow:
    """How the population did on one problem.

    `ac` and `cs` are None where they are undefined: where nobody attempted the problem, and, for a share of the
    points, where nobody solved it.
    """

    problem: str
    bps: float  # basic problem score
    attempts: int  # S_total, users or submissions as the rules have it
    solved: int  # S_solved, likewise
    solvers: int  # distinct users
    ac: float | None
    cs: float | None  # what a solver gets


@dataclass(frozen=True)
class ScoreRow:
    """A user's line on the board."""

    user: str
    dp: float
    cs: float  # sum of challenge scores
    es: float  # sum of efficiency scores, before their weight
    solved: int  # problems
    attempted: int  # problems
    pass_rate: float  # solved problems / all problems
    rank: int  # 1, 1, 3
    dp_attempted: float | None  # dp for each problem attempted; None where none was


@dataclass(frozen=True, eq=False)
class Pairs:
    """`PairRow`s as columns, ordered by problem and then by user: sums over them come out the same bit for bit."""

    users: tuple[str, ...]  # sorted
    problems: tuple[str, ...]  # sorted
    user: NDArray[np.intp]  # (n,) places in users
    problem: NDArray[np.intp]  # (n,) places in problems
    attempts: NDArray[np.int64]
    accepted: NDArray[np.int64]
    runtime_ms: Floats  # NaN where it is not solved
    cs: Floats
    es: Floats

    @property
    def solved(self) -> NDArray[np.bool_]:
        """(n,) whether one attempt was accepted."""
        return self.accepted > 0

    def rows(self, which: NDArray[np.intp] | slice = slice(None)) -> tuple[PairRow, ...]:
        """The rows at those places."""
        return tuple(
            PairRow(self.users[user], self.problems[problem], tries, right, time if right else None, cs, es)
            for user, problem, tries, right, time, cs, es in zip(
                self.user[which].tolist(),
                self.problem[which].tolist(),
                self.attempts[which].tolist(),
                self.accepted[which].tolist(),
                self.runtime_ms[which].tolist(),
                self.cs[which].tolist(),
                self.es[which].tolist(),
                strict=True,
            )
        )


@dataclass(frozen=True)
class ScoreTable:
    """A board by dynamic points; rows from the best rank, equal ranks by name, and problems by id."""

    rows: tuple[ScoreRow, ...]
    problems: tuple[ProblemRow, ...]
    rules: Rules
    pairs: Pairs = field(repr=False, compare=False)

    def of(self, user: str) -> ScoreRow:
        """The user's line.

        Raises:
            InputError: she is not on the board.
        """
        try:
            return self._line[user]
        except KeyError:
            raise InputError(f"user {user!r} is not on this board of {len(self.rows)} users") from None

    @cached_property
    def _line(self) -> dict[str, ScoreRow]:
        return {row.user: row for row in self.rows}

    def breakdown(self, user: str) -> tuple[PairRow, ...]:
        """Every problem that the user attempted, by id: what her line is the sum of.

        Raises:
            InputError: she is not on the board.
        """
        self.of(user)
        if user not in self.pairs.users:  # named by the population, without an attempt
            return ()
        return self.pairs.rows(np.flatnonzero(self.pairs.user == self.pairs.users.index(user)))

    def as_dict(self) -> dict[str, Any]:
        """For JSON: `ranking` says what ranks, `score` which field of the rows holds it."""
        return {
            "ranking": "dynamic points",
            "score": "dp",
            "parameters": self.rules.as_dict(),
            "rows": [asdict(row) for row in self.rows],
            "problems": [asdict(row) for row in self.problems],
        }

    def bootstrap(
        self, n: int = 2000, unit: str = "problem", seed: int = 0, level: float = 0.95
    ) -> Bootstrap:
        """Intervals of dp and rank, and who is above whom, over resampled problems (`bootstrap_problems`)."""
        users = [row.user for row in self.rows]
        return bootstrap_problems(
            users, len(self.problems), self.resampled, n=n, unit=unit, seed=seed, level=level
        )

    @cached_property
    def resampled(self) -> Resampled:
        """(n, problems) how often each problem counts -> (n, users) dp, in the order of `problems` and `rows`."""
        bps = np.array([row.bps for row in self.problems])
        return _Resampled(self.pairs, bps, self.rules, [row.user for row in self.rows])


def performance_points(points: Iterable[float]) -> float:
    """DMOJ's performance points of one user, from the points of her n solved problems:

        Σ_{k=0}^{min(n,100)−1} 0.95^k · p_(k) + 300 · (1 − 0.997^n),   p sorted from the highest

    Raises:
        InputError: points that are not finite.
    """
    ordered = np.sort(np.array(list(points), np.float64))[::-1]
    if not np.isfinite(ordered).all():
        raise InputError(f"points must be finite numbers, got {ordered.tolist()}")
    weights = STEP ** np.arange(min(len(ordered), ENTRIES))
    return float(weights @ ordered[: len(weights)] + BONUS * (1 - BONUS_STEP ** len(ordered)))


def table_of(
    rows: Iterable[PairRow], problem_rows: Iterable[ProblemRow], rules: Rules | None = None
) -> ScoreTable:
    """The board of rows that were scored before, by `problem_points`, problem by problem.

    Equal to the last bit to `score` on all attempts with the same rules.

    Args:
        rows: of users and problems, each pair once, in any order.
        problem_rows: all problems of the board, each once, also those that nobody attempted.
        rules: those that the rows were scored by.

    Raises:
        InputError: a row of an unknown problem, a row that comes twice, rules that leave something out.
    """
    rules = rules or Rules()
    if rules.leave_out:
        raise InputError("rows that were scored before cannot leave anything out: use score(attempts, ...)")
    found = sorted(problem_rows, key=lambda row: row.problem)
    bps = checked_points({row.problem: row.bps for row in found})
    if len(bps) < len(found):
        raise InputError("a problem comes twice among the rows of problems")
    ordered = sorted(rows, key=lambda row: (row.problem, row.user))
    for row, after in pairwise(ordered):
        if (row.problem, row.user) == (after.problem, after.user):
            raise InputError(f"user {row.user!r} has two rows for problem {row.problem!r}")
    for row in ordered:
        if row.problem not in bps:
            raise InputError(f"user {row.user!r} has a row for problem {row.problem!r}, which is not listed")
    users = tuple(sorted({row.user for row in ordered}))
    place = {user: number for number, user in enumerate(users)}
    problem_place = {problem: number for number, problem in enumerate(bps)}
    size = len(ordered)
    pairs = Pairs(
        users,
        tuple(bps),
        np.fromiter((place[row.user] for row in ordered), np.intp, size),
        np.fromiter((problem_place[row.problem] for row in ordered), np.intp, size),
        np.fromiter((row.attempts for row in ordered), np.int64, size),
        np.fromiter((row.accepted for row in ordered), np.int64, size),
        np.array([row.runtime_ms for row in ordered], np.float64),
        np.fromiter((row.cs for row in ordered), np.float64, size),
        np.fromiter((row.es for row in ordered), np.float64, size),
    )
    return table_of_pairs(pairs, found, rules, rules.named)


def table_of_pairs(
    pairs: Pairs, problem_rows: Sequence[ProblemRow], rules: Rules, listed: Iterable[str]
) -> ScoreTable:
    """Totals and ranks; those `listed` have a row in any case, of zeros where they attempted nothing."""
    users = sorted({*pairs.users, *listed})
    place = {user: number for number, user in enumerate(users)}
    user = np.array([place[name] for name in pairs.users], np.intp)[pairs.user]
    bps = np.array([row.bps for row in problem_rows])

    def total(values: NDArray[Any]) -> Floats:
        return np.bincount(user, values, minlength=len(users)).astype(np.float64)

    cs, es, solved = total(pairs.cs), total(pairs.es), total(pairs.solved)
    attempted = np.bincount(user, minlength=len(users))
    ones = np.ones((1, len(bps)), np.int64)
    dp = _Resampled(pairs, bps, rules, users)(ones)[0]
    ranks = ranks_of(dp)
    rows = [
        ScoreRow(
            user=users[number],
            dp=float(dp[number]),
            cs=float(cs[number]),
            es=float(es[number]),
            solved=int(solved[number]),
            attempted=int(attempted[number]),
            pass_rate=float(solved[number] / len(bps)) if len(bps) else 0.0,
            rank=int(ranks[number]),
            dp_attempted=float(dp[number] / attempted[number]) if attempted[number] else None,
        )
        for number in np.lexsort((np.arange(len(users)), ranks))
    ]
    return ScoreTable(tuple(rows), tuple(problem_rows), rules, pairs)


class _Resampled:
    """dp of all users from how often each problem counts."""

    def __init__(self, pairs: Pairs, bps: Floats, rules: Rules, users: Sequence[str]) -> None:
        from scipy.sparse import csr_array

        place = {user: number for number, user in enumerate(users)}
        names = np.array([place[user] for user in pairs.users], np.intp)
        self._dmoj = rules.aggregate == "dmoj"
        self._bps = bps
        points = pairs.solved.astype(np.float64) if self._dmoj else pairs.cs + rules.es_weight * pairs.es
        kept = np.flatnonzero(pairs.solved)
        self._points = csr_array(
            (points[kept], (names[pairs.user[kept]], pairs.problem[kept])), shape=(len(users), len(bps))
        )

    def __call__(self, counts: NDArray[np.int64]) -> Floats:
        """(n, problems) -> (n, users)."""
        if not self._dmoj:
            return np.asarray((self._points @ counts.T.astype(np.float64)).T)
        found = np.empty((len(counts), self._points.shape[0]))
        for user in range(self._points.shape[0]):
            solved = self._points.indices[self._points.indptr[user] : self._points.indptr[user + 1]]
            found[:, user] = self._performance(np.sort(solved), counts)
        return found

    def _performance(self, solved: NDArray[Any], counts: NDArray[np.int64]) -> Floats:
        """(n,) performance points where each of the solved problems comes `counts` times.

        A problem that comes m times after c better ones has the weights 0.95^c + … + 0.95^(c+m−1), as far as 100.
        """
        ordered = solved[np.argsort(-self._bps[solved], kind="stable")]
        ends = np.cumsum(counts[:, ordered], axis=1)
        weight = (1 - STEP ** np.minimum(ends, ENTRIES)) / (1 - STEP)  # of all up to here
        weights = np.diff(weight, axis=1, prepend=0.0)
        n = ends[:, -1] if len(ordered) else np.zeros(len(counts), np.int64)
        return np.asarray(weights @ self._bps[ordered] + BONUS * (1 - BONUS_STEP**n))
