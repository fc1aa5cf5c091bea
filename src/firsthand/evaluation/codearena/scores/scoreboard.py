"""A board that is kept up: a new attempt re-scores its own problem and nothing else.

Knows attempts in memory. A database does the same with `problem_points` for the problem that was touched and
`table_of` for the board.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores.attempts import Attempt
from firsthand.evaluation.codearena.scores.points import problem_points
from firsthand.evaluation.codearena.scores.rules import Rules, checked_points
from firsthand.evaluation.codearena.scores.score_table import PairRow, ProblemRow, ScoreTable, table_of

__all__ = ["Scoreboard"]


class Scoreboard:
    """Attempts and what they gave so far; `table()` equals `score` of all attempts, to the last bit.

    Args:
        problems: BPS by problem id.
        rules: `leave_out` must be empty.

    Raises:
        InputError: problems or rules that cannot be used.
    """

    def __init__(self, problems: Mapping[str, float], rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self._bps = checked_points(problems)
        self._kinds: dict[str, str] = {}
        self._attempts: dict[str, list[Attempt]] = {problem: [] for problem in self._bps}
        self._scored: dict[str, tuple[ProblemRow, tuple[PairRow, ...]]] = {
            problem: problem_points((), problem, points, self.rules) for problem, points in self._bps.items()
        }

    def add(self, attempts: Iterable[Attempt]) -> dict[str, tuple[ProblemRow, tuple[PairRow, ...]]]:
        """Take attempts in, and return the problems that were re-scored with their new rows.

        All are taken in, or none.

        Raises:
            InputError: an unknown problem, a user of two kinds.
        """
        new: dict[str, list[Attempt]] = {}
        kinds: dict[str, str] = {}
        for attempt in attempts:
            if attempt.problem not in self._bps:
                raise InputError(
                    f"{attempt.user!r} tried {attempt.problem!r}, which is not among the {len(self._bps)} problems"
                )
            before = self._kinds.get(attempt.user) or kinds.setdefault(attempt.user, attempt.kind)
            if before != attempt.kind:
                raise InputError(f"user {attempt.user!r} was of kind {before!r} and is now {attempt.kind!r}")
            new.setdefault(attempt.problem, []).append(attempt)
        together = {problem: [*self._attempts[problem], *more] for problem, more in new.items()}
        scored = {
            problem: problem_points(these, problem, self._bps[problem], self.rules)
            for problem, these in together.items()
        }
        self._kinds |= kinds
        self._attempts |= together
        self._scored |= scored
        return scored

    def table(self) -> ScoreTable:
        """The board as it stands."""
        return table_of(
            (pair for _, pairs in self._scored.values() for pair in pairs),
            [row for row, _ in self._scored.values()],
            self.rules,
        )
