"""Losses over sampled answers: GRPO and its published variants, PPO's two halves, estimates of KL.

Knows log-probabilities of tokens (N, T), advantages and masks; knows nothing of models, texts or rewards. A mask
is 1 for each token of an answer up to and including its end, and 0 for what was padded.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from firsthand.errors import InputError

__all__ = ["LossType", "grpo_loss", "kl_estimate", "ppo_policy_loss", "ppo_value_loss", "rewards_with_kl"]

LossType = Literal["grpo", "bnpo", "dr_grpo", "dapo"]


def kl_estimate(logp: Tensor, ref_logp: Tensor, kind: Literal["k1", "abs", "k2", "k3"] = "k3") -> Tensor:
    """Estimates of KL(π‖π_ref) of each sampled token, from its log-probabilities under both.

    With d = logp − ref: k1 is d, abs |d|, k2 d²/2 (verl's "mse"), k3 exp(−d) + d − 1, which is never negative.
    """
    difference = logp - ref_logp
    if kind == "k1":
        return difference
    if kind == "abs":
        return difference.abs()
    if kind == "k2":
        return 0.5 * difference.square()
    if kind == "k3":
        return torch.expm1(-difference) + difference
    raise InputError(f"an estimate of KL is k1, abs, k2 or k3, got {kind!r}")


def grpo_loss(
    logp: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    old_logp: Tensor | None = None,
    ref_logp: Tensor | None = None,
    beta: float = 0.0,
    clip: tuple[float, float] = (0.2, 0.2),
    loss_type: LossType = "grpo",
    max_len: int | None = None,
    entropy: Tensor | None = None,
    entropy_bonus: float = 0.0,
) -> tuple[Tensor, dict[str, float]]:
    """The loss to minimise, and what was seen on the way.

    Per token: −min(r·A, clip(r, 1 − clip[0], 1 + clip[1])·A) + β·k3, with r = exp(logp − old_logp), A the answer's
    advantage, and k3 against `ref_logp`. Without `old_logp` the policy is the one that sampled: r is 1 and its
    gradient that of logp. Tokens are averaged as `loss_type` says:

    - "grpo": within each answer, then over answers (the paper; short answers' tokens weigh more);
    - "bnpo": over all tokens of the batch; "dapo": the same where the batch is one whole step, as here;
    - "dr_grpo": the sum over answers times `max_len`, a constant.

    From it `entropy_bonus` times the mean of `entropy` (N, T) over tokens is taken.

    Args:
        logp, mask, old_logp, ref_logp, entropy: (N, T). advantages: (N,), or (N, T) for one a token.
    """
    _check(logp, advantages, mask, old_logp, ref_logp)
    on = mask.to(logp.dtype)
    gain = advantages.to(logp.dtype)
    gain = gain[:, None] if gain.ndim == 1 else gain
    ratio = torch.exp(logp - (logp.detach() if old_logp is None else old_logp))
    clipped = ratio.clamp(1 - clip[0], 1 + clip[1])
    per_token = -torch.minimum(ratio * gain, clipped * gain)
    seen: dict[str, float] = {}
    total = on.sum().clamp(min=1)
    if beta:
        if ref_logp is None:
            raise InputError("beta needs ref_logp: log-probabilities under the reference model")
        kl = kl_estimate(logp, ref_logp)
        per_token = per_token + beta * kl
        seen["kl"] = float((kl.detach() * on).sum() / total)
    if loss_type == "grpo":
        loss = ((per_token * on).sum(1) / on.sum(1).clamp(min=1)).mean()
    elif loss_type in ("bnpo", "dapo"):
        loss = (per_token * on).sum() / total
    elif loss_type == "dr_grpo":
        if max_len is None or max_len < 1:
            raise InputError("dr_grpo divides by max_len, the longest answer that was allowed: give it")
        loss = (per_token * on).sum() / (len(logp) * max_len)
    else:
        raise InputError(f"loss_type is grpo, bnpo, dr_grpo or dapo, got {loss_type!r}")
    outside = ((ratio < 1 - clip[0]) & (gain < 0)) | ((ratio > 1 + clip[1]) & (gain > 0))
    seen["clipped"] = float((outside * on).sum() / total)
    if entropy is not None:
        mean = (entropy * on).sum() / total
        seen["entropy"] = float(mean.detach())
        if entropy_bonus:
            loss = loss - entropy_bonus * mean
    elif entropy_bonus:
        raise InputError("entropy_bonus needs the entropy of each token's distribution")
    return loss, seen


def _check(logp: Tensor, advantages: Tensor, mask: Tensor, *others: Tensor | None) -> None:
    if (
        logp.ndim != 2
        or mask.shape != logp.shape
        or any(o is not None and o.shape != logp.shape for o in others)
    ):
        raise InputError(
            f"log-probabilities and mask are (N, T) each, got {tuple(logp.shape)}, {tuple(mask.shape)} and "
            f"{[None if o is None else tuple(o.shape) for o in others]}"
        )
    if advantages.shape not in ((len(logp),), tuple(logp.shape)):
        raise InputError(f"advantages are (N,) or (N, T) with N = {len(logp)}, got {tuple(advantages.shape)}")


def ppo_policy_loss(
    logp: Tensor, old_logp: Tensor, advantages: Tensor, mask: Tensor, *, clip: float = 0.2
) -> Tensor:
    """PPO's clipped loss over all tokens of the batch; `advantages` (N, T), from a critic."""
    return grpo_loss(logp, advantages, mask, old_logp=old_logp, clip=(clip, clip), loss_type="bnpo")[0]


def ppo_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, *, clip: float = 0.5
) -> Tensor:
    """Half the larger of (V − R)² and (V clipped to within `clip` of the old V − R)², averaged over tokens (N, T)."""
    near = old_values + (values - old_values).clamp(-clip, clip)
    worst = torch.maximum((values - returns).square(), (near - returns).square())
    on = mask.to(values.dtype)
    return 0.5 * (worst * on).sum() / on.sum().clamp(min=1)


def rewards_with_kl(
    scores: Tensor, logp: Tensor, ref_logp: Tensor, mask: Tensor, *, coefficient: float = 0.001
) -> Tensor:
    """PPO's reward of each token (N, T): −coefficient·(logp − ref), and the answer's score (N,) on its last token."""
    on = mask.to(logp.dtype)
    rewards = -coefficient * kl_estimate(logp, ref_logp, "k1") * on
    last = (on.sum(1).long() - 1).clamp(min=0)
    rewards[torch.arange(len(rewards)), last] += scores.to(rewards.dtype) * (on.sum(1) > 0)
    return rewards
