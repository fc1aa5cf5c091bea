"""Dynamic points (arXiv 2503.01295, section 3.3): what a solved problem is worth depends on how the field did on it.

For problem i with basic problem score BPS_i, S_i^total counted attempts and S_i^solved accepted ones:

    AC_i    = S_i^solved / S_i^total
    CS_i    = BPS_i · (1 − AC_i)                                    challenge="formula", the printed equation
    CS_i    = BPS_i / |Solved_i|                                    challenge="share", the paper's prose
    ES_i(c) = |{j ∈ Solved_i : rt_c <= rt_j}| / |Solved_i|          a solution is in its own set, ties count for it
    DP_u    = Σ over the problems i that u solved of (CS_i + es_weight · ES_i(u))

Solved_i holds one solution a user, the fastest that was accepted. ES is what SQL calls
`cume_dist() over (partition by problem order by runtime desc)`; where solutions were timed on several classes of
machines, each class is such a set of its own. The two readings of CS differ: of n attempts, a lone
solver gets BPS·(1 − 1/n) by the formula and BPS by the prose; if all n solve, each gets 0 or BPS/n.

Knows attempts and points. Knows no database: `problem_points` re-scores one problem, for whoever stores its rows, and
`table_of` adds stored rows up to a board.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores.attempts import Attempts, AttemptSource, as_attempts
from firsthand.evaluation.codearena.scores.ranks import Floats
from firsthand.evaluation.codearena.scores.rules import (
    AcUnit,
    Aggregate,
    Challenge,
    EsScope,
    LeaveOut,
    Population,
    Rules,
    checked_points,
)
from firsthand.evaluation.codearena.scores.score_table import (
    PairRow,
    Pairs,
    ProblemRow,
    ScoreTable,
    table_of_pairs,
)

__all__ = ["problem_points", "score"]


def score(
    attempts: AttemptSource,
    problems: Mapping[str, float],
    *,
    challenge: Challenge = "formula",
    aggregate: Aggregate = "sum",
    ac_unit: AcUnit = "user",
    population: Population = None,
    es_weight: float = 1.0,
    es_scope: EsScope = "problem",
    es_tolerance: float = 0.0,
    leave_out: LeaveOut = (),
) -> ScoreTable:
    """The board of all attempts (section 3.3; the module has the formulas).

    Attempts that are not counted change nothing. A problem that somebody did not attempt is not in that problem's
    acceptance rate and gives her nothing; her pass rate still divides by all problems.

    Args:
        attempts: what `as_attempts` reads; order does not matter.
        problems: BPS by problem id, above 0 and finite; every attempt's problem must be among them.
        challenge, aggregate, ac_unit, population, es_weight, es_scope, es_tolerance, leave_out: see `Rules`.

    Raises:
        InputError: an attempt, a problem or a rule that cannot be used.
    """
    rules = Rules(challenge, aggregate, ac_unit, population, es_weight, es_scope, es_tolerance, leave_out)
    table = as_attempts(attempts)
    bps = checked_points(problems)
    _check_known(table, bps)
    no_users, no_problems = rules.left_out([*table.users, *rules.named], bps)
    kept = {name: points for name, points in bps.items() if name not in no_problems}
    pairs, rows = _scored(table, kept, rules, no_users)
    return table_of_pairs(pairs, rows, rules, rules.named - no_users)


def problem_points(
    attempts: AttemptSource, problem: str, bps: float, rules: Rules | None = None
) -> tuple[ProblemRow, tuple[PairRow, ...]]:
    """One problem's figures and the rows of all users who attempted it: what a new attempt at it can change.

    Args:
        attempts: all attempts at this problem and no other.
        problem: its id.
        bps: its basic problem score.
        rules: `leave_out` must be empty: a board that leaves something out is scored afresh.

    Raises:
        InputError: an attempt at another problem, rules that leave something out, or what `score` refuses.
    """
    rules = rules or Rules()
    if rules.leave_out:
        raise InputError("one problem's points cannot leave anything out: use score(attempts, ...)")
    points = checked_points({problem: bps})
    table = as_attempts(attempts)
    _check_known(table, points)
    pairs, rows = _scored(table, points, rules, frozenset())
    return rows[0], pairs.rows()


def _check_known(attempts: Attempts, bps: Mapping[str, float]) -> None:
    unknown = [name for name in attempts.problems if name not in bps]
    if unknown:
        row = int(np.flatnonzero(attempts.problem == attempts.problems.index(unknown[0]))[0])
        raise InputError(
            f"attempt {row}: {attempts.users[attempts.user[row]]!r} tried {unknown[0]!r}, which is not among the "
            f"{len(bps)} problems given; add its points, or drop the attempt"
        )


def _scored(
    attempts: Attempts, bps: Mapping[str, float], rules: Rules, no_users: frozenset[str]
) -> tuple[Pairs, list[ProblemRow]]:
    """What each problem gave to each user of the population who attempted it, and the problems' figures."""
    place = {name: number for number, name in enumerate(bps)}
    problem_of = np.array([place.get(name, -1) for name in attempts.problems], np.intp)
    takes = rules.takes(attempts.users, attempts.human)
    if no_users:
        takes &= np.array([name not in no_users for name in attempts.users], np.bool_)
    kept = np.flatnonzero(attempts.counted & takes[attempts.user] & (problem_of[attempts.problem] >= 0))
    present, user_of_row = np.unique(attempts.user[kept], return_inverse=True)
    problem_of_row = problem_of[attempts.problem[kept]]

    keys, pair, tries = np.unique(
        problem_of_row * present.size + user_of_row, return_inverse=True, return_counts=True
    )
    problem, user = np.divmod(keys, max(present.size, 1))
    accepted = np.bincount(pair, attempts.solved[kept], minlength=keys.size).astype(np.int64)
    solved = accepted > 0
    runtime, peers = _fastest(attempts, kept, pair, solved, rules.es_scope)

    def by_problem(values: NDArray[Any] | None) -> NDArray[np.int64]:
        return np.bincount(problem, values, minlength=len(bps)).astype(np.int64)

    solvers = by_problem(solved.astype(np.float64))
    if rules.ac_unit == "user":
        total, right = by_problem(None), solvers
    else:
        total, right = by_problem(tries.astype(np.float64)), by_problem(accepted)
    points = np.fromiter(bps.values(), np.float64, len(bps))
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where nobody attempted: undefined
        ac = np.where(total > 0, right / total, math.nan)
        cs = points * (total - right) / total if rules.challenge == "formula" else points / solvers
    defined = total > 0 if rules.challenge == "formula" else solvers > 0

    es = np.zeros(keys.size)
    group = problem * (int(peers.max(initial=0)) + 1) + peers
    es[solved] = _efficiency(group[solved], runtime[solved], rules.es_tolerance)
    pairs = Pairs(
        users=tuple(attempts.users[number] for number in present),
        problems=tuple(bps),
        user=user,
        problem=problem,
        attempts=tries,
        accepted=accepted,
        runtime_ms=runtime,
        cs=np.where(solved, cs[problem], 0.0),
        es=es,
    )
    rows = [
        ProblemRow(name, value, tried, won, who, rate if tried else None, worth if known else None)
        for name, value, tried, won, who, rate, worth, known in zip(
            bps, points.tolist(), total.tolist(), right.tolist(), solvers.tolist(), ac.tolist(), cs.tolist(),
            defined.tolist(), strict=True,
        )
    ]  # fmt: skip
    return pairs, rows


def _fastest(
    attempts: Attempts,
    kept: NDArray[np.intp],
    pair: NDArray[np.intp],
    solved: NDArray[np.bool_],
    scope: EsScope,
) -> tuple[Floats, NDArray[np.intp]]:
    """Of each pair the runtime of its fastest accepted solution, NaN without one, and with whom that is compared.

    The second is a number for the class of the machine, and for the language where that counts. Of two fastest
    solutions it is the first in the alphabet of languages, then of classes.
    """
    right = attempts.solved[kept]
    row, to = kept[right], pair[right]
    best = np.full(solved.size, math.inf)
    np.minimum.at(best, to, attempts.runtime_ms[row])
    classes = len(attempts.host_classes) + 1  # the last for those that do not say
    peers = np.where(attempts.host_class[row] < 0, classes - 1, attempts.host_class[row])
    if scope == "problem+language":
        unknown = row[attempts.language[row] < 0]
        if unknown.size:
            user, problem = attempts.user[unknown[0]], attempts.problem[unknown[0]]
            raise InputError(
                f"es_scope='problem+language' needs the language of every accepted attempt; "
                f"{attempts.users[user]!r} has one at {attempts.problems[problem]!r} without it"
            )
        peers = peers + classes * attempts.language[row]
    found = np.full(solved.size, classes * max(len(attempts.languages), 1), np.intp)
    fastest = attempts.runtime_ms[row] == best[to]
    np.minimum.at(found, to[fastest], peers[fastest])
    return np.where(solved, best, math.nan), np.where(solved, found, 0)


def _efficiency(group: NDArray[np.intp], runtime: Floats, tolerance: float) -> Floats:
    """(n,) ES among the solutions of the same group: |{j : rt <= rt_j · (1 + tolerance %)}| / |group|.

    Each solution is asked about once and is once among those that may be slower. Both sorted into one line, from
    the longest, it counts how many of the latter came before.
    """
    size = group.size
    times = np.concatenate([runtime * (1 + tolerance / 100), runtime])
    asking = np.repeat([False, True], size)
    order = np.lexsort((asking, -times, np.concatenate([group, group])))
    before = np.cumsum(~asking[order])
    slower = np.empty(2 * size, np.int64)
    slower[order] = before
    sizes = np.bincount(group)
    earlier = np.cumsum(sizes) - sizes  # solutions of groups that come first
    return np.asarray((slower[size:] - earlier[group]) / sizes[group])
