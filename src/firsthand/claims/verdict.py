"""From observations to verdicts, by the rules of the instrument and no others.

There are three words: *holds*, *fails*, *inconclusive*. This module knows claims, observations and
intervals; it does not know where observations come from and writes nothing down.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firsthand.claims.intervals import (
    Estimate,
    bootstrap_estimate,
    exact_mismatch_bound,
    smallest_alpha,
    t_estimate,
    units_needed,
    wilson_estimate,
)
from firsthand.claims.model import (
    Claim,
    ClaimResult,
    Clause,
    ClauseResult,
    Gate,
    Interval,
    Observation,
    Unit,
    Verdict,
)
from firsthand.claims.statistics import Statistic, find_statistic
from firsthand.errors import CheckError

__all__ = ["distinct_seeds", "judge", "judge_clause"]

ALPHA = 0.05
EXACT_OBSERVATIONS = 300

Floats = NDArray[np.float64]


def distinct_seeds(observations: Sequence[Observation]) -> tuple[Observation, ...]:
    """Drop seeds whose seeded and exact observations repeat an earlier seed's byte for byte.

    Two seeds that gave the very same values are one draw, however often it is written down. A seed with
    timed observations only is never dropped: equal times are chance, not a copy.
    """
    by_seed: dict[int, list[Observation]] = defaultdict(list)
    for observation in observations:
        by_seed[observation.seed].append(observation)
    kept: list[Observation] = []
    seen: set[str] = set()
    for seed in sorted(by_seed):
        repeatable = [o for o in by_seed[seed] if o.repeat != "timed"]
        signature = json.dumps([[o.clause, o.arm, o.item, o.cluster, o.x, o.value] for o in repeatable])
        if repeatable and signature in seen:
            continue
        seen.add(signature)
        kept.extend(by_seed[seed])
    return tuple(kept)


# --- one clause -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Arm:
    """One arm below one unit of analysis: values and second coordinates, repeats already reduced."""

    values: Floats
    x: Floats


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


def _units(observations: Sequence[Observation], unit: Unit) -> dict[str, _Arm]:
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
    return {key: _reduce_repeats(group) for key, group in groups.items()}


def _positive(value: float, clause: Clause, arm: str) -> float:
    if value <= 0:
        raise CheckError(
            f"clause {clause.id!r} is a ratio and {arm} has the value {value}: it must be positive"
        )
    return value


def judge_clause(
    clause: Clause,
    observations: Sequence[Observation],
    *,
    unit: Unit = "seed",
    statistics: Mapping[str, Statistic] | None = None,
) -> ClauseResult:
    """Judge one clause on its own at 5 %, before Holm and before clauses are combined."""
    own = [o for o in observations if o.clause == clause.id]
    if clause.kind == "exact":
        return _judge_exact(clause, own)
    treatment = _units([o for o in own if o.arm == clause.treatment], unit)
    control = _units([o for o in own if o.arm == clause.control], unit) if clause.control else None
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
    if len(keys) < 3:
        word = {"seed": "seeds", "item": "items", "cluster": "clusters"}[unit]
        return ClauseResult(
            clause=clause,
            interval=None,
            verdict="inconclusive",
            reason=f"{len(keys)} independent {word}; an interval needs at least 3",
            arms=means,
        )
    statistic = find_statistic(clause.statistic, statistics)
    effects: tuple[float, ...] = ()
    if unit != "seed" and clause.statistic not in ("mean", "proportion"):
        estimate = _bootstrap(clause, treatment, control, keys, statistic)
    else:
        effects = tuple(
            _unit_effect(clause, treatment[key], control[key] if control else None, statistic) for key in keys
        )
        if clause.statistic == "proportion" and control is None and unit == "item":
            estimate = wilson_estimate(effects)
        else:
            estimate = t_estimate(effects)
            if np.ptp(effects) == 0:
                return _no_variation(clause, estimate, means, effects)
    totals = None
    if clause.ratio and control is not None:
        totals = sum(treatment[key].values.sum() for key in keys) / sum(
            control[key].values.sum() for key in keys
        )
    result = _decide(clause, estimate)
    return result.model_copy(
        update={
            "arms": means,
            "ratio_of_totals": totals,
            "units": tuple(math.exp(effect) if clause.ratio else effect for effect in effects),
        }
    )


def _unit_effect(clause: Clause, treatment: _Arm, control: _Arm | None, statistic: Statistic) -> float:
    value = statistic(treatment.values, treatment.x)
    if clause.ratio:
        value = math.log(_positive(value, clause, clause.treatment))
    if control is None:
        return value
    other = statistic(control.values, control.x)
    return value - (math.log(_positive(other, clause, str(clause.control))) if clause.ratio else other)


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

        return _unit_effect(clause, joined(treatment), joined(control) if control else None, statistic)

    return bootstrap_estimate(keys, effect_of)


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
    p_holds = smallest_alpha(estimate.interval, holds)
    p_fails = smallest_alpha(estimate.interval, fails)
    low, high = estimate.interval(1 - ALPHA)
    verdict: Verdict = "holds" if holds(low, high) else "fails" if fails(low, high) else "inconclusive"
    reason = _too_wide(clause, estimate, low, high) if verdict == "inconclusive" else ""
    show = math.exp if clause.ratio else float
    return ClauseResult(
        clause=clause,
        interval=Interval(
            estimate=show(estimate.value),
            low=show(low),
            high=show(high),
            method=estimate.method,
            n=estimate.n,
        ),
        verdict=verdict,
        reason=reason,
        p_holds=p_holds,
        p_fails=p_fails,
    )


def _too_wide(clause: Clause, estimate: Estimate, low: float, high: float) -> str:
    margin = _threshold(clause)
    if clause.kind == "equivalent":
        distance = abs(margin - abs(estimate.value))
    else:
        distance = abs(estimate.value - margin)
    half = (high - low) / 2
    size = f"a factor of {math.exp(half):.3g} each way" if clause.ratio else f"±{half:.3g}"
    needed = units_needed(estimate.spread, distance)
    more = f"about {needed} independent units would decide it" if needed else "more units would not decide it"
    return (
        f"too wide: the 95 % interval is {size} and reaches over the margin; at this effect and spread {more}"
    )


def _no_variation(
    clause: Clause, estimate: Estimate, arms: dict[str, float], effects: Sequence[float]
) -> ClauseResult:
    show = math.exp if clause.ratio else float
    value = show(estimate.value)
    return ClauseResult(
        clause=clause,
        interval=Interval(estimate=value, low=value, high=value, method="t", n=estimate.n),
        verdict="inconclusive",
        reason=f"no variation: all {estimate.n} units gave the same effect, so nothing says how far it would vary",
        arms=arms,
        units=tuple(show(effect) for effect in effects),
    )


def _judge_exact(clause: Clause, observations: Sequence[Observation]) -> ClauseResult:
    values = np.array([o.value for o in observations if o.arm == clause.treatment])
    if not np.isin(values, (0.0, 1.0)).all():
        raise CheckError(f"clause {clause.id!r} is exact: its values are 1 (agrees) and 0, nothing else")
    n, mismatches = len(values), int((values == 0).sum())
    share = {clause.treatment: float(values.mean())} if n else {}
    if mismatches:
        return ClauseResult(
            clause=clause,
            interval=None,
            verdict="fails",
            reason=f"{mismatches} of {n} observations disagree",
            arms=share,
        )
    if n < EXACT_OBSERVATIONS:
        return ClauseResult(
            clause=clause,
            interval=None,
            verdict="inconclusive",
            reason=f"all {n} observations agree; an exact claim needs at least {EXACT_OBSERVATIONS}",
            arms=share,
            mismatch_bound=exact_mismatch_bound(n) if n else None,
        )
    bound = exact_mismatch_bound(n)
    return ClauseResult(
        clause=clause,
        interval=None,
        verdict="holds",
        reason=f"all {n} observations agree; at 95 % the mismatch rate is at most {bound:.2g}",
        arms=share,
        mismatch_bound=bound,
    )


# --- a claim, and a card's claims together ----------------------------------------------------------


@dataclass(frozen=True)
class _Tested:
    """A claim before Holm: its clauses and the smallest α at which it holds or fails. None: no test."""

    clauses: tuple[ClauseResult, ...]
    p_holds: float | None
    p_fails: float | None
    certain: Verdict | None = None  # settled without a test (exact clauses only)


def _combine(claim: Claim, clauses: tuple[ClauseResult, ...]) -> _Tested:
    if all(result.clause.kind == "exact" for result in clauses):
        words = [result.verdict for result in clauses]
        if claim.combine == "any of":
            words = ["inconclusive" if word == "fails" and len(set(words)) > 1 else word for word in words]
            certain: Verdict = (
                "holds" if "holds" in words else "fails" if set(words) == {"fails"} else "inconclusive"
            )
        else:
            certain = "fails" if "fails" in words else "holds" if set(words) == {"holds"} else "inconclusive"
        return _Tested(clauses, None, None, certain)
    k = len(clauses)
    # An exact clause inside a combination is certain either way; one without an interval decides nothing.
    certainly = {"holds": (0.0, 1.0), "fails": (1.0, 0.0), "inconclusive": (1.0, 1.0)}
    pairs = [
        (r.p_holds, r.p_fails)
        if r.p_holds is not None and r.p_fails is not None
        else certainly[r.verdict if r.clause.kind == "exact" else "inconclusive"]
        for r in clauses
    ]
    hold, fail = [p for p, _ in pairs], [p for _, p in pairs]
    if claim.combine == "all of":  # every clause at 5 % (an intersection-union test); a failure at 5 %/k
        return _Tested(clauses, max(hold), min(1.0, min(fail) * k))
    if claim.combine == "any of":  # some clause after Holm over the cells; a failure when every clause fails
        return _Tested(clauses, min(1.0, min(hold) * k), max(fail))
    return _Tested(clauses, hold[0], fail[0])


def _holm(values: Sequence[float]) -> list[float]:
    """The level at which each of several tests is decided: α/m for the smallest p, α/(m−1) next, …

    A test behind one that was not decided is not decided either; it is given that one's level.
    """
    levels = [0.0] * len(values)
    order = sorted(range(len(values)), key=lambda index: values[index])
    blocked = None
    for rank, index in enumerate(order):
        level = ALPHA / (len(values) - rank) if blocked is None else blocked
        levels[index] = level
        if values[index] > level and blocked is None:
            blocked = level
    return levels


def judge(
    claims: Sequence[Claim],
    observations: Sequence[Observation],
    *,
    gates: Sequence[Gate] = (),
    statistics: Mapping[str, Statistic] | None = None,
) -> tuple[ClaimResult, ...]:
    """Judge a card's claims together: the primary at 5 %, the secondaries by Holm among themselves.

    Claims with `measured=False` come back with no verdict and their reason. A gate that did not pass
    makes the claims it names (all, where it names none) inconclusive, whatever their intervals say.
    """
    kept = distinct_seeds(observations)
    tested: dict[str, _Tested] = {}
    for claim in claims:
        if claim.measured:
            clauses = tuple(
                judge_clause(clause, kept, unit=claim.unit_of_analysis, statistics=statistics)
                for clause in claim.clauses
            )
            tested[claim.id] = _combine(claim, clauses)
    shut = {claim.id: _shut_gate(claim, gates) for claim in claims}
    family = [
        claim.id
        for claim in claims
        if claim.measured and not claim.primary and tested[claim.id].certain is None and not shut[claim.id]
    ]
    smallest = [min(tested[key].p_holds or 0.0, tested[key].p_fails or 0.0) for key in family]
    levels = dict(zip(family, _holm(smallest), strict=True))
    return tuple(
        ClaimResult(claim=claim, verdict=None, reason=claim.reason)
        if not claim.measured
        else _conclude(claim, tested[claim.id], levels.get(claim.id, ALPHA), shut[claim.id])
        for claim in claims
    )


def _shut_gate(claim: Claim, gates: Sequence[Gate]) -> str:
    failed = [g for g in gates if not g.passed and (not g.claims or claim.id in g.claims)]
    return "; ".join(
        dict.fromkeys(f"failed gate: {g.name}" + (f" ({g.detail})" if g.detail else "") for g in failed)
    )


def _conclude(claim: Claim, tested: _Tested, alpha: float, shut: str) -> ClaimResult:
    def result(verdict: Verdict, reason: str) -> ClaimResult:
        return ClaimResult(claim=claim, verdict=verdict, reason=reason, clauses=tested.clauses, alpha=alpha)

    reasons = "; ".join(
        (f"{r.clause.id}: " if len(tested.clauses) > 1 else "") + r.reason for r in tested.clauses if r.reason
    )
    if shut:
        return result("inconclusive", shut)
    if tested.certain is not None:
        return result(tested.certain, reasons)
    p_holds, p_fails = tested.p_holds or 0.0, tested.p_fails or 0.0
    if p_holds <= alpha:
        held = [r.clause.id for r in tested.clauses if (r.p_holds or 0.0) * len(tested.clauses) <= alpha]
        return result("holds", f"in {', '.join(held)}" if claim.combine == "any of" else "")
    if p_fails <= alpha:
        return result("fails", reasons if claim.combine == "all of" else "")
    if min(p_holds, p_fails) <= ALPHA and alpha < ALPHA:
        return result(
            "inconclusive",
            f"decided at 5 % alone (p = {min(p_holds, p_fails):.2g}), not at {alpha:.2g}, which Holm leaves it "
            "beside the card's other secondary claims" + (f"; {reasons}" if reasons else ""),
        )
    return result("inconclusive", reasons or "too wide: clauses point different ways or are not all decided")
