"""What speed to expect: tokens a round, and times on a clock where nothing but the two models takes time.

α is the chance that a drafted token inside a sequence is the target's, β that the first token of some sequence
is; both independent from token to token. c is the time of one target pass over that of one draft step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from firsthand.errors import InputError

if TYPE_CHECKING:
    from firsthand.decoding.duodecoding.result import Round

__all__ = ["expected_tokens_per_round", "predicted_ratio", "serial_tokens_per_step", "virtual_time"]


def _check(alpha: float, beta: float, length: int, what: str) -> None:
    if not (0 <= alpha <= 1 and 0 <= beta <= 1):
        raise InputError(f"acceptance is a probability; got alpha {alpha}, beta {beta}")
    if length < 1:
        raise InputError(f"{what} must be at least 1, got {length}")


def _geometric(alpha: float, terms: int) -> float:
    """1 + α + ... + α^(terms − 1)."""
    return float(terms) if alpha == 1 else (1 - alpha**terms) / (1 - alpha)


def expected_tokens_per_round(alpha: float, beta: float, length: int) -> float:
    """New certain tokens a round of DuoDecoding with sequences of L = `length` tokens.

    π = β/(β + 1 − α^(L−1)·β) of the rounds come after a hit and check a tail of L − 1 tokens; they yield
    (1 − α^L)/(1 − α) tokens, the others one: (1 − π) + π·(1 − α^L)/(1 − α).
    """
    _check(alpha, beta, length, "length")
    if beta == 0:
        return 1.0
    share = beta / (beta + 1 - alpha ** (length - 1) * beta)
    return (1 - share) + share * _geometric(alpha, length)


def serial_tokens_per_step(alpha: float, length: int) -> float:
    """New certain tokens a step of serial speculation with γ = `length`: (1 − α^(γ+1))/(1 − α)."""
    _check(alpha, 0, length, "length")
    return _geometric(alpha, length + 1)


def predicted_ratio(alpha: float, c: float, beta: float | None = None, longest: int = 64) -> float:
    """Speed of DuoDecoding over that of serial speculation, each at its own best budget up to `longest`.

    One sequence (k = 1); β = α unless given. A round takes max(γ, c) draft steps, a serial step γ + c.
    Above 1 overlapping wins.
    """
    _check(alpha, alpha if beta is None else beta, longest, "longest")
    if not c > 0:
        raise InputError(f"c must be above 0, got {c}")
    budgets = range(1, longest + 1)
    first = alpha if beta is None else beta
    duo = max(expected_tokens_per_round(alpha, first, budget) / max(budget, c) for budget in budgets)
    serial = max(serial_tokens_per_step(alpha, budget) / (budget + c) for budget in budgets)
    return duo / serial


def virtual_time(
    rounds: Iterable[Round],
    draft_ms: float,
    target_ms: float | Callable[[int], float],
    *,
    comm_ms: float = 0.0,
    batched: bool = True,
) -> float:
    """Milliseconds that logged `rounds` take where only the models take time: the sum of max(draft, target).

    `target_ms` is the time of a pass, or a function of how many tokens it reads. A batched draft step over
    several sequences costs as much as over one, unless `batched` is false: then every drafted token's step
    counts. Plain steps cost the target's pass alone.
    """
    passes: Callable[[int], float] = target_ms if callable(target_ms) else lambda _: target_ms
    total = 0.0
    for entry in rounds:
        steps = entry.draft_passes if batched else entry.draft_steps
        together = max(steps * draft_ms, passes(entry.target_tokens))
        total += together + (comm_ms if steps else 0.0)
    return total


def serial_time(steps: Sequence[int], draft_ms: float, target_ms: float) -> float:
    """Milliseconds of serial speculation whose steps drafted so many tokens each: every wait is paid."""
    return sum(drafted * draft_ms + target_ms for drafted in steps)
