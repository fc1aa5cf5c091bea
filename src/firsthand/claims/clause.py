"""One clause judged on its own: from observations to per-unit effects, an interval and a verdict.

Knows clauses, observations and intervals; nothing of claims, of how their clauses are combined or of the
other claims of a card (`verdict`).
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firsthand.claims.intervals import (
    ALPHA,
    Estimate,
    UndecidedError,
    bootstrap_estimate,
    exact_mismatch_bound,
    smallest_alpha,
    t_estimate,
    units_needed,
    wilson_estimate,
    wilson_units_needed,
)
from firsthand.claims.model import Clause, ClauseResult, Interval, Observation, Unit, Verdict
from firsthand.claims.statistics import Statistic, find_statistic
from firsthand.errors import CheckError

__all__ = ["distinct_seeds", "judge_clause"]

EXACT_OBSERVATIONS = 300
NOISE = 1e-12  # differences below this share of the values are rounding
LARGEST_LOG = math.log(sys.float_info.max)

Floats = NDArray[np.float64]


def distinct_seeds(observations: Sequence[Observation]) -> tuple[Observation, ...]:
    """Drop the rows of seeds that repeat an earlier seed byte for byte, all clauses together.

    Two seeds that gave the very same values everywhere are one draw, however often it is written down: the seed
    did nothing. Equal values in one clause are no sign of that, a statistic of few values often meets itself.
    Times say nothing either way: they are left out of the comparison, and a clause that a seed timed something
    for keeps that seed, since equal times are chance and not a copy. The order of what is kept stays.
    """
    seeds: dict[int, list[Observation]] = defaultdict(list)
    for observation in observations:
        seeds[observation.seed].append(observation)
    seen: set[tuple[str, ...]] = set()
    copies: set[tuple[int, str]] = set()
    for seed in sorted(seeds):
        rows = [o for o in seeds[seed] if o.repeat != "timed"]
        signature = tuple(sorted(repr((o.clause, o.arm, o.item, o.cluster, o.x, o.value)) for o in rows))
        if signature in seen:
            timed = {o.clause for o in seeds[seed] if o.repeat == "timed"}
            copies.update((seed, o.clause) for o in rows if o.clause not in timed)
        seen.add(signature)
    return tuple(o for o in observations if (o.seed, o.clause) not in copies)


# --- from observations to units -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Arm:
    """One arm below one unit of analysis: values and second coordinates, repeats already reduced."""

    values: Floats  # (items,)
    x: Floats  # (items,), NaN where an observation has none


def _reduce_repeats(observations: Sequence[Observation]) -> _Arm:
    """Repeats of one item become one value: the median of timings, the mean of anything else."""
    by_item: dict[tuple[int, str, str, float | None], list[Observation]] = defaultdict(list)
    for observation in observations:
        by_item[observation.seed, observation.cluster, observation.item, observation.x].append(observation)
    values, x = [], []
    for (_, _, _, second), repeats in by_item.items():
        reduce = np.median if all(o.repeat == "timed" for o in repeats) else np.mean
        values.append(float(reduce([o.value for o in repeats])))
        x.append(math.nan if second is None else second)
    return _Arm(np.array(values), np.array(x))


def _units(observations: Sequence[Observation], unit: Unit, named: bool) -> dict[str, _Arm]:
    """One arm's observations by unit; `named` asks that those below one unit can be told apart."""
    groups: dict[str, list[Observation]] = defaultdict(list)
    for observation in observations:
        if unit == "seed":
            key = str(observation.seed)
        else:
            key = observation.cluster if unit == "cluster" else observation.item
            if not key:
                raise CheckError(
                    f"clause {observation.clause!r}: the unit of analysis is the {unit}, "
                    f"and an observation of seed {observation.seed} names none"
                )
        groups[key].append(observation)
    for key, group in groups.items():
        nameless = sum(not o.item for o in group)
        if named and nameless > 1:
            raise CheckError(
                f"clause {group[0].clause!r}: {unit} {key} has {nameless} observations of {group[0].arm!r} "
                "without an item name; its statistic is no mean and cannot tell items from repeats: name them"
            )
    return {key: _reduce_repeats(group) for key, group in groups.items()}


def judge_clause(
    clause: Clause,
    observations: Sequence[Observation],
    *,
    unit: Unit = "seed",
    statistics: Mapping[str, Statistic] | None = None,
) -> ClauseResult:
    """Judge one clause on its own at 5 %, before Holm and before clauses are combined.

    `observations` are those of all clauses: a seed counts once with another only where all of theirs are equal.

    Where nothing can be decided from observations that are in order (too few units, a statistic that they do not
    define), the clause is inconclusive and says why.

    Raises:
        CheckError: the observations are not in order: arms on different units, no unit's or item's name where
            one is needed, a ratio of a value that is not positive, an unknown statistic.
    """
    own = [o for o in distinct_seeds(observations) if o.clause == clause.id]
    if clause.kind == "exact":
        # Every value is 1 where all agrees, so that items of one name say nothing new in a second seed.
        return _judge_exact(clause, distinct_seeds(own))
    statistic = find_statistic(clause.statistic, statistics)
    is_mean = clause.statistic in ("mean", "proportion") and clause.statistic not in (statistics or {})
    rows = [o for o in own if o.arm == clause.treatment]
    treatment = _units(rows, unit, not is_mean)
    control = None
    if clause.control:
        control = _units([o for o in own if o.arm == clause.control], unit, not is_mean)
    if control is not None and set(treatment) != set(control):
        alone = sorted(set(treatment) ^ set(control))[:5]
        raise CheckError(
            f"clause {clause.id!r}: arms {clause.treatment!r} and {clause.control!r} were not measured on "
            f"the same units ({unit}): only one of them has {', '.join(alone)}"
        )
    keys = sorted(treatment)
    arms = {clause.treatment: treatment} | ({clause.control: control} if clause.control and control else {})
    means = {
        name: float(np.mean([units[key].values.mean() for key in keys]))
        for name, units in arms.items()
        if keys
    }
    effects: tuple[float, ...] = ()
    try:
        if unit == "seed" or is_mean:
            effects = _effects(clause, treatment, control, keys, statistic, unit)
        if len(keys) < 3:
            raise UndecidedError(f"{len(keys)} independent {unit}s; an interval needs at least 3")
        if not effects:
            estimate = _bootstrap(clause, treatment, control, keys, statistic)
        elif clause.statistic == "proportion" and unit == "item" and control is None and not clause.ratio:
            estimate = _proportion(clause, rows, effects)
        else:
            estimate = t_estimate(effects)
    except UndecidedError as error:
        return ClauseResult(
            clause=clause, interval=None, verdict="inconclusive", reason=str(error), arms=means
        )
    # Logs of a ratio are of the order of 1 whatever the arms' own values are.
    largest = max(float(np.abs(arm.values).max()) for units in arms.values() for arm in units.values())
    if estimate.extent <= NOISE * max(1.0, 0.0 if clause.ratio else largest):
        result = _no_variation(clause, estimate)
    else:
        result = _decide(clause, estimate)
    return result.model_copy(
        update={
            "arms": means,
            "ratio_of_totals": _ratio_of_totals(treatment, control) if clause.ratio and control else None,
            "units": tuple(_shown(clause, effect) for effect in effects),
        }
    )


# --- from units to an estimate ------------------------------------------------------------------------


def _effects(
    clause: Clause,
    treatment: Mapping[str, _Arm],
    control: Mapping[str, _Arm] | None,
    keys: Sequence[str],
    statistic: Statistic,
    unit: Unit,
) -> tuple[float, ...]:
    effects = []
    for key in keys:
        try:
            effects.append(_effect(clause, treatment[key], control[key] if control else None, statistic))
        except UndecidedError as error:
            raise UndecidedError(f"{unit} {key}: {error}") from error
    return tuple(effects)


def _effect(clause: Clause, treatment: _Arm, control: _Arm | None, statistic: Statistic) -> float:
    """Treatment minus control, or treatment alone, in logs where the clause is a ratio."""
    value = _value(clause, clause.treatment, treatment, statistic)
    return value if control is None else value - _value(clause, str(clause.control), control, statistic)


def _value(clause: Clause, name: str, arm: _Arm, statistic: Statistic) -> float:
    value = float(statistic(arm.values, arm.x))
    if not math.isfinite(value):
        raise UndecidedError(
            f"the statistic {clause.statistic!r} of {name} is {value}: it is not defined there"
        )
    if not clause.ratio:
        return value
    if value <= 0:
        raise CheckError(
            f"clause {clause.id!r} is a ratio and {name} has the value {value}: it must be positive"
        )
    return math.log(value)


def _bootstrap(
    clause: Clause,
    treatment: Mapping[str, _Arm],
    control: Mapping[str, _Arm] | None,
    keys: Sequence[str],
    statistic: Statistic,
) -> Estimate:
    def effect_of(chosen: Sequence[object]) -> float:
        def joined(arms: Mapping[str, _Arm]) -> _Arm:
            picked = [arms[str(key)] for key in chosen]
            return _Arm(
                np.concatenate([arm.values for arm in picked]), np.concatenate([arm.x for arm in picked])
            )

        return _effect(clause, joined(treatment), joined(control) if control else None, statistic)

    return bootstrap_estimate(keys, effect_of)


def _proportion(clause: Clause, rows: Sequence[Observation], shares: Sequence[float]) -> Estimate:
    """Wilson's estimate; `shares` are the items' means over seeds and repeats of `rows`."""
    strange = next((o.value for o in rows if o.value not in (0.0, 1.0)), None)
    if strange is not None:
        raise CheckError(
            f"clause {clause.id!r} is a proportion of items: its values are 0 and 1, not {strange}"
        )
    if any(share not in (0.0, 1.0) for share in shares):
        raise UndecidedError(
            "items differ between their seeds or repeats and were averaged, which leaves no proportion of "
            "independent items; the statistic 'mean' takes averages"
        )
    return wilson_estimate(shares)


def _ratio_of_totals(treatment: Mapping[str, _Arm], control: Mapping[str, _Arm]) -> float | None:
    above, below = (sum(float(arm.values.sum()) for arm in arms.values()) for arms in (treatment, control))
    ratio = above / below if below else math.inf
    return ratio if math.isfinite(ratio) else None


# --- from an estimate to a verdict --------------------------------------------------------------------


def _shown(clause: Clause, effect: float) -> float:
    """An effect as it is printed: a ratio as a ratio, and one beyond the largest number as that number."""
    return math.exp(min(effect, LARGEST_LOG)) if clause.ratio else effect


def _threshold(clause: Clause) -> float:
    return math.log(clause.margin) if clause.ratio else clause.margin


def _regions(clause: Clause) -> tuple[Callable[[float, float], bool], Callable[[float, float], bool]]:
    """Where the clause holds and where it fails, as tests of a whole interval on the effect's scale."""
    margin = _threshold(clause)
    if clause.kind == "equivalent":
        return (
            lambda low, high: -margin < low and high < margin,
            lambda low, high: low > margin or high < -margin,
        )
    above = (lambda low, high: low > margin), (lambda low, high: high < margin)
    below = above[1], above[0]
    upward = clause.kind == "greater" or (clause.kind == "absolute" and clause.direction == "greater")
    return above if upward else below


def _decide(clause: Clause, estimate: Estimate) -> ClauseResult:
    holds, fails = _regions(clause)
    low, high = estimate.interval(1 - ALPHA)
    verdict: Verdict = "holds" if holds(low, high) else "fails" if fails(low, high) else "inconclusive"
    return ClauseResult(
        clause=clause,
        interval=_interval(clause, estimate, low, high),
        verdict=verdict,
        reason=_too_wide(clause, estimate, low, high) if verdict == "inconclusive" else "",
        p_holds=smallest_alpha(estimate.interval, holds, finest=estimate.finest),
        p_fails=smallest_alpha(estimate.interval, fails, finest=estimate.finest),
    )


def _interval(clause: Clause, estimate: Estimate, low: float, high: float) -> Interval:
    value, low, high = (_shown(clause, end) for end in (estimate.value, low, high))
    return Interval(estimate=value, low=low, high=high, method=estimate.method, n=estimate.n)


def _too_wide(clause: Clause, estimate: Estimate, low: float, high: float) -> str:
    margin = _threshold(clause)
    if estimate.method == "Wilson":
        needed = wilson_units_needed(estimate.value, margin)
    else:
        centre = abs(estimate.value) if clause.kind == "equivalent" else estimate.value
        needed = units_needed(estimate.spread, abs(centre - margin))
    half = (high - low) / 2
    size = f"a factor of {_shown(clause, half):.3g} each way" if clause.ratio else f"±{half:.3g}"
    more = f"about {needed} independent units would decide it" if needed else "more units would not decide it"
    return (
        f"too wide: the 95 % interval is {size} and reaches over the margin; at this effect and spread {more}"
    )


def _no_variation(clause: Clause, estimate: Estimate) -> ClauseResult:
    same = (
        f"all {estimate.n} units gave the same effect"
        if estimate.method == "t"
        else f"every resample of the {estimate.n} units gave the same effect"
    )
    return ClauseResult(
        clause=clause,
        interval=_interval(clause, estimate, estimate.value, estimate.value),
        verdict="inconclusive",
        reason=f"no variation: {same}, so nothing says how far it would vary",
    )


def _judge_exact(clause: Clause, observations: Sequence[Observation]) -> ClauseResult:
    """Agreement of every distinct item; an item written down twice counts once, and agrees if all its rows do."""
    agrees: dict[tuple[int, str, str, float | None], float] = {}
    for o in observations:
        if o.arm != clause.treatment:
            continue
        if not o.item:
            raise CheckError(
                f"clause {clause.id!r} is exact: each observation names its item, and one of seed {o.seed} has none"
            )
        if o.value not in (0.0, 1.0):
            raise CheckError(
                f"clause {clause.id!r} is exact: its values are 1 (agrees) and 0, nothing else; got {o.value}"
            )
        key = o.seed, o.cluster, o.item, o.x
        agrees[key] = min(o.value, agrees.get(key, 1.0))
    n, matches = len(agrees), int(sum(agrees.values()))
    bound = exact_mismatch_bound(n) if n and matches == n else None
    verdict: Verdict
    if matches < n:
        verdict, reason = "fails", f"{n - matches} of {n} observations disagree"
    elif bound is None or n < EXACT_OBSERVATIONS:
        verdict = "inconclusive"
        reason = f"all {n} observations agree; an exact claim needs at least {EXACT_OBSERVATIONS}"
    else:
        verdict = "holds"
        reason = f"all {n} observations agree; at 95 % the mismatch rate is at most {bound:.2g}"
    return ClauseResult(
        clause=clause,
        interval=None,
        verdict=verdict,
        reason=reason,
        arms={clause.treatment: matches / n} if n else {},
        mismatch_bound=bound,
    )
