"""From observations to verdicts, by the rules of the instrument and no others.

There are three words: *holds*, *fails*, *inconclusive*. This module combines clauses (`clause`) into claims
and judges a card's claims together; it does not know where observations come from and writes nothing down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from firsthand.claims.clause import distinct_seeds, judge_clause
from firsthand.claims.intervals import ALPHA
from firsthand.claims.model import Claim, ClaimResult, ClauseResult, Gate, Observation, Verdict
from firsthand.claims.statistics import Statistic
from firsthand.errors import CheckError

__all__ = ["distinct_seeds", "judge", "judge_clause"]


@dataclass(frozen=True)
class _Tested:
    """A claim before Holm: its clauses and the smallest α at which it holds or fails. None: no test."""

    clauses: tuple[ClauseResult, ...]
    p_holds: float | None
    p_fails: float | None
    certain: Verdict | None = None  # settled without a test (exact clauses only)


def _combine(claim: Claim, clauses: tuple[ClauseResult, ...]) -> _Tested:
    if all(result.clause.kind == "exact" for result in clauses):
        words = {result.verdict for result in clauses}
        # One word settles the claim whatever the other clauses say; the other word needs all of them.
        settles: Verdict = "holds" if claim.combine == "any of" else "fails"
        certain = settles if settles in words else words.pop() if len(words) == 1 else "inconclusive"
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

    Raises:
        CheckError: an observation's clause or a gate's claim is not on the card, or a clause's observations
            are not in order (`judge_clause`). Observations that decide nothing are no error.
    """
    _known_names(claims, observations, gates)
    tested: dict[str, _Tested] = {}
    for claim in claims:
        if claim.measured:
            clauses = tuple(
                judge_clause(clause, observations, unit=claim.unit_of_analysis, statistics=statistics)
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


def _known_names(claims: Sequence[Claim], observations: Sequence[Observation], gates: Sequence[Gate]) -> None:
    """A misspelt clause or claim would drop observations or a gate without a word: it is an error."""
    clauses = {clause.id for claim in claims if claim.measured for clause in claim.clauses}
    if strangers := sorted({o.clause for o in observations} - clauses):
        raise CheckError(
            f"observations of {', '.join(map(repr, strangers[:5]))}: no measured claim of the card has such a "
            f"clause; it has {', '.join(sorted(clauses)) or 'none'}"
        )
    ids = {claim.id for claim in claims}
    for gate in gates:
        if unknown := sorted(set(gate.claims) - ids):
            raise CheckError(
                f"gate {gate.name!r} names {', '.join(map(repr, unknown))}: the card has no such claim; "
                f"it has {', '.join(sorted(ids))}"
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
        held_only = claim.combine == "any of" and tested.certain == "holds"
        return result(tested.certain, _where_held(tested, alpha) if held_only else reasons)
    p_holds, p_fails = tested.p_holds or 0.0, tested.p_fails or 0.0
    if p_holds <= alpha:
        return result("holds", _where_held(tested, alpha) if claim.combine == "any of" else "")
    if p_fails <= alpha:
        return result("fails", reasons if claim.combine == "all of" else "")
    if min(p_holds, p_fails) <= ALPHA and alpha < ALPHA:
        return result(
            "inconclusive",
            f"decided at 5 % alone (p = {min(p_holds, p_fails):.2g}), not at {alpha:.2g}, which Holm leaves it "
            "beside the card's other secondary claims" + (f"; {reasons}" if reasons else ""),
        )
    return result("inconclusive", reasons or "too wide: clauses point different ways or are not all decided")


def _where_held(tested: _Tested, alpha: float) -> str:
    """The clauses of an "any of" claim that held, each at its share of α; exact ones by their verdict."""

    def held(result: ClauseResult) -> bool:
        if result.clause.kind == "exact":
            return result.verdict == "holds"
        return result.p_holds is not None and result.p_holds * len(tested.clauses) <= alpha

    return "in " + ", ".join(r.clause.id for r in tested.clauses if held(r))
