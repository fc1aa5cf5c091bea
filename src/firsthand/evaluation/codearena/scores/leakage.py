"""Signals that problems leaked: acceptance by date, acceptance before and after a model was first seen.

A model cannot have been trained on a problem that was published after the model was. Where it does worse on newer
problems than on older ones, and the others do not, it may have met the older ones. Nothing here is proof: newer
problems may be harder, the others may know them too, and an account's first attempt may come long after the model
was trained.

Knows attempts, dates of problems and dates of models. `sources` compares programs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from firsthand.claims.intervals import wilson_estimate
from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores.attempts import Attempts, AttemptSource, as_attempts
from firsthand.evaluation.codearena.scores.ranks import Floats
from firsthand.evaluation.codearena.scores.rules import LeaveOut, Population, Rules

__all__ = ["BeforeAfter", "Period", "acceptance_by_date", "before_and_after", "first_attempts"]

Length = Literal["month", "quarter", "year"]
_MONTHS: Mapping[Length, int] = {"month": 1, "quarter": 3, "year": 12}
When = date  # or its subclass datetime


@dataclass(frozen=True)
class Period:
    """Problems that were published in one stretch of time, and how often they were solved.

    `low` and `high` are Wilson's 95 % interval of the acceptance; attempts at one problem are not independent, so it
    is too narrow where there are few problems.
    """

    start: date
    end: date  # the first day that is not in it
    problems: int  # that were attempted
    attempts: int  # users and problems
    solved: int
    acceptance: float
    low: float
    high: float


@dataclass(frozen=True)
class BeforeAfter:
    """One user on problems from before she was first seen, and on those from that day on.

    `excess` is what she solved more than the others on the same problems: the mean over problems of solved (1 or 0)
    minus the share of the others who solved it. `gap` = excess before − excess after, with Welch's 95 % interval over
    problems; None where a side has fewer than two problems that others attempted too, and no interval where nothing
    varies. A gap wholly above 0 is a signal.
    """

    user: str
    first_seen: date
    problems_before: int
    problems_after: int
    acceptance_before: float | None
    acceptance_after: float | None
    excess_before: float | None
    excess_after: float | None
    gap: float | None
    low: float | None
    high: float | None

    @property
    def suspicious(self) -> bool:
        """Whether the whole interval of the gap is above 0."""
        return self.low is not None and self.low > 0


def acceptance_by_date(
    attempts: AttemptSource,
    published: Mapping[str, When],
    *,
    length: Length = "month",
    population: Population = None,
    leave_out: LeaveOut = (),
) -> tuple[Period, ...]:
    """Acceptance by the time that problems were published; periods without an attempt are passed over.

    Args:
        attempts: what `as_attempts` reads. Of several attempts at a problem one that solved it is enough.
        published: the date of every problem that was attempted; others may be there too.
        length: of a period; periods begin with the calendar's.
        population, leave_out: as of `score`. One user alone: `population={name}`.

    Raises:
        InputError: a problem without a date, an argument that cannot be.
    """
    if length not in get_args(Length):
        raise InputError(f"length must be one of {', '.join(get_args(Length))}, got {length!r}")
    grid = _grid(attempts, published, Rules(population=population, leave_out=leave_out))
    months = _MONTHS[length]
    number = np.array([(day.year * 12 + day.month - 1) // months for day in grid.days], np.int64)
    found = []
    for period in np.unique(number):
        inside = grid.solved[:, number == period]
        tried = ~np.isnan(inside)
        outcomes = inside[tried]
        low, high = wilson_estimate(outcomes.tolist()).interval(0.95)
        found.append(
            Period(
                _month(int(period) * months),
                _month((int(period) + 1) * months),
                int(tried.any(axis=0).sum()),
                outcomes.size,
                int(outcomes.sum()),
                float(outcomes.mean()),
                low,
                high,
            )
        )
    return tuple(found)


def first_attempts(attempts: AttemptSource) -> dict[str, date]:
    """The day (UTC) of each user's first attempt, counted or not: the latest that she can have been first seen.

    A user whose attempts have no time is absent.
    """
    table = as_attempts(attempts)
    found: dict[str, date] = {}
    for place, user in enumerate(table.users):
        times = table.submitted_at[(table.user == place) & ~np.isnat(table.submitted_at)]
        if times.size:
            found[user] = times.min().astype(datetime).date()
    return found


def before_and_after(
    attempts: AttemptSource,
    published: Mapping[str, When],
    first_seen: Mapping[str, When] | None = None,
    *,
    population: Population = None,
    leave_out: LeaveOut = (),
) -> tuple[BeforeAfter, ...]:
    """How each user did on problems from before and from after she was first seen, beside the others.

    Args:
        attempts: what `as_attempts` reads.
        published: the date of every problem that was attempted.
        first_seen: when a user's model was released, or its training data end; the day of her first attempt where
            this is left out. Users who have no date are passed over.
        population, leave_out: as of `score`; the others are of the population too.

    Returns:
        By user; the largest gaps first, those without one last.

    Raises:
        InputError: a problem without a date, a date of a user without attempts, an argument that cannot be.
    """
    table = as_attempts(attempts)
    seen: Mapping[str, When] = first_attempts(table) if first_seen is None else first_seen
    unknown = sorted(set(seen) - set(table.users))
    if unknown:
        raise InputError(f"first_seen has a date of {unknown[0]!r}, who has no attempt")
    grid = _grid(table, published, Rules(population=population, leave_out=leave_out))
    tried = ~np.isnan(grid.solved)
    outcome = np.where(tried, grid.solved, 0.0)
    others = tried.sum(axis=0) - tried
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN where nobody else tried
        excess = grid.solved - (outcome.sum(axis=0) - outcome) / others
    rows = []
    for place, user in enumerate(grid.users):
        if user not in seen:
            continue
        day = _day(seen[user], f"first_seen of {user!r}")
        old = np.array([published_on < day for published_on in grid.days], np.bool_)
        before, after = tried[place] & old, tried[place] & ~old
        comparable = ~np.isnan(excess[place])
        excess_before, excess_after = excess[place, before & comparable], excess[place, after & comparable]
        gap, low, high = _welch(excess_before, excess_after)
        rows.append(
            BeforeAfter(
                user=user,
                first_seen=day,
                problems_before=int(before.sum()),
                problems_after=int(after.sum()),
                acceptance_before=_mean(grid.solved[place, before]),
                acceptance_after=_mean(grid.solved[place, after]),
                excess_before=_mean(excess_before),
                excess_after=_mean(excess_after),
                gap=gap,
                low=low,
                high=high,
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.gap is None, -(row.gap or 0.0), row.user)))


@dataclass(frozen=True, eq=False)
class _Grid:
    users: list[str]
    days: list[date]  # of the problems, as the columns go
    solved: Floats  # (users, problems) 1 or 0, NaN where it was not attempted


def _grid(attempts: AttemptSource, published: Mapping[str, When], rules: Rules) -> _Grid:
    """Users of the population and problems that one of them attempted."""
    table: Attempts = as_attempts(attempts)
    no_users, no_problems = rules.left_out(table.users, table.problems)
    takes = rules.takes(table.users, table.human) & _absent_from(table.users, no_users)
    asked = _absent_from(table.problems, no_problems)
    kept = table.counted & takes[table.user] & asked[table.problem]
    problems, column = np.unique(table.problem[kept], return_inverse=True)
    users, row = np.unique(table.user[kept], return_inverse=True)
    days = []
    for place in problems:
        name = table.problems[place]
        if name not in published:
            raise InputError(
                f"problem {name!r} was attempted and has no date: add it, or leave the problem out"
            )
        days.append(_day(published[name], f"the date of problem {name!r}"))
    solved = np.full((users.size, problems.size), math.nan)
    solved[row, column] = 0
    right = table.solved[kept]
    solved[row[right], column[right]] = 1
    return _Grid([table.users[place] for place in users], days, solved)


def _absent_from(names: tuple[str, ...], left_out: frozenset[str]) -> NDArray[np.bool_]:
    return np.array([name not in left_out for name in names], np.bool_)


def _day(value: When, what: str) -> date:
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).date()
    if not isinstance(value, date):
        raise InputError(f"{what} must be a date, got {value!r}")
    return value


def _month(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if values.size else None


def _welch(before: Floats, after: Floats) -> tuple[float | None, float | None, float | None]:
    """Difference of the means, with the interval of unequal variances (Welch 1947)."""
    if before.size < 2 or after.size < 2:
        return None, None, None
    from scipy.special import stdtrit

    gap = float(before.mean() - after.mean())
    parts = [float(values.var(ddof=1)) / values.size for values in (before, after)]
    error = math.sqrt(sum(parts))
    if error == 0:
        return gap, None, None  # no variation: no interval
    freedom = sum(parts) ** 2 / sum(
        part**2 / (values.size - 1) for part, values in zip(parts, (before, after), strict=True)
    )
    half = float(stdtrit(freedom, 0.975)) * error
    return gap, gap - half, gap + half
