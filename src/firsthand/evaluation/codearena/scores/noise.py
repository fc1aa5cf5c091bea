"""How far timing noise turns efficiency scores round: by theory, and between two passes of a judge.

Runtimes of a few milliseconds are mostly the start of the interpreter, and two timings of one program differ. Where two
solutions lie closer than the noise, ES ranks them by chance; `es_tolerance` calls them equal instead.

Knows attempts that were judged twice. Runs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores.attempts import AttemptSource, as_attempts
from firsthand.evaluation.codearena.scores.points import score
from firsthand.evaluation.codearena.scores.ranks import kendall_tau_b
from firsthand.evaluation.codearena.scores.rules import Population
from firsthand.evaluation.codearena.scores.score_table import ScoreTable

__all__ = ["PassComparison", "compare_passes", "flip_probability"]


@dataclass(frozen=True)
class PassComparison:
    """Two passes over the same attempts.

    A pair is two solvers of one problem whose runtimes differ in both passes; it flips where the slower one of the
    first pass is the faster one of the second. A pair is close where its runtimes differ by less than `close_ms` in
    the first pass.
    """

    tau: float | None  # Kendall's τ_b of the users' ES in both passes; None where all have the same
    pairs: int
    flips: int
    close_ms: float
    close_pairs: int
    close_flips: int

    @property
    def flip_rate(self) -> float | None:
        """Of all pairs, those that flip; None without a pair."""
        return self.flips / self.pairs if self.pairs else None

    @property
    def close_flip_rate(self) -> float | None:
        """Of the close pairs, those that flip; None without one."""
        return self.close_flips / self.close_pairs if self.close_pairs else None


def compare_passes(
    first: AttemptSource,
    second: AttemptSource,
    *,
    close_ms: float = 2.0,
    population: Population = "all",
    es_tolerance: float = 0.0,
) -> PassComparison:
    """How ES of one judging pass agrees with that of another.

    Args:
        first: attempts as the first pass judged them.
        second: the same users' attempts at the same problems, judged again.
        close_ms: below which gap a pair counts as close, ms, 0 or more.
        population, es_tolerance: as of `score`; the tolerance enters τ and no pair.

    Raises:
        InputError: passes in which other pairs of user and problem were solved, a gap that cannot be.
    """
    if not 0 <= close_ms < math.inf:
        raise InputError(f"close_ms must be a finite number of at least 0, got {close_ms!r}")
    tables = [_table(attempts, population, es_tolerance) for attempts in (first, second)]
    times = [_times(table) for table in tables]
    differ = sorted(times[0].keys() ^ times[1].keys())
    if differ:
        user, problem = differ[0]
        raise InputError(
            f"{user!r} solved {problem!r} in one pass and not in the other ({len(differ)} such pairs): "
            "passes are compared where they give the same verdicts"
        )
    users = sorted(row.user for row in tables[0].rows)
    before, after = (np.array([table.of(user).es for user in users]) for table in tables)
    tau = float(kendall_tau_b(before, after)) if users else math.nan
    pairs = flips = close_pairs = close_flips = 0
    together: dict[str, list[str]] = {}
    for user, problem in times[0]:
        together.setdefault(problem, []).append(user)
    for problem, solvers in together.items():
        gaps = []
        for known in times:
            runtime = np.array([known[user, problem] for user in solvers])
            gaps.append((runtime[:, None] - runtime)[np.triu_indices(len(solvers), 1)])
        ordered = (gaps[0] != 0) & (gaps[1] != 0)
        flipped = ordered & ((gaps[0] > 0) != (gaps[1] > 0))
        close = ordered & (np.abs(gaps[0]) < close_ms)
        pairs += int(ordered.sum())
        flips += int(flipped.sum())
        close_pairs += int(close.sum())
        close_flips += int((flipped & close).sum())
    return PassComparison(
        None if math.isnan(tau) else tau, pairs, flips, float(close_ms), close_pairs, close_flips
    )


def _table(attempts: AttemptSource, population: Population, es_tolerance: float) -> ScoreTable:
    columns = as_attempts(attempts)
    points = dict.fromkeys(columns.problems, 1.0)  # ES does not depend on them
    return score(columns, points, population=population, es_tolerance=es_tolerance)


def _times(table: ScoreTable) -> dict[tuple[str, str], float]:
    """Runtimes of the solved pairs, by user and problem."""
    return {
        (row.user, row.problem): row.runtime_ms for row in table.pairs.rows() if row.runtime_ms is not None
    }


def flip_probability(gap_ms: float, noise_ms: float) -> float:
    """The chance that timing noise turns the order of two solutions round: Φ(−d / (s·√2)).

    Args:
        gap_ms: d, how much longer the slower one truly takes, ms, 0 or more.
        noise_ms: s, standard deviation of one timing, ms, above 0; independent and normal.

    Raises:
        InputError: a number outside of that.
    """
    if not (0 <= gap_ms < math.inf and 0 < noise_ms < math.inf):
        raise InputError(f"gap_ms must be at least 0 and noise_ms above 0, got {gap_ms!r} and {noise_ms!r}")
    return 0.5 * math.erfc(gap_ms / (2 * noise_ms))  # Φ(−x) = erfc(x / √2) / 2
