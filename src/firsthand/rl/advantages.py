"""How much better than expected an answer was: by its group (GRPO, RLOO) or by a critic (GAE).

Knows numbers and groups; knows nothing of texts, models or losses.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from firsthand.errors import InputError

__all__ = ["GroupSizeError", "gae", "group_advantages", "leave_one_out", "whiten"]


class GroupSizeError(InputError):
    """A group too small to compare within, or a batch that is no whole number of groups."""


def group_advantages(
    rewards: Tensor,
    group_size: int,
    *,
    scale: Literal["group", "batch", "none"] = "group",
    ddof: int = 1,
    eps: float = 1e-4,
) -> Tensor:
    """A = (R − mean of the group) / (deviation + eps), for rewards (N,) in groups of `group_size` in a row.

    The deviation is the group's own (GRPO), that of the whole batch, or none at all (Dr. GRPO); `ddof` 1 is the
    unbiased one of the official code, TRL and verl. A group whose rewards are all equal gets zeros. A reward of
    NaN (none of an answer's reward functions applied) is left out of its group and gets 0.

    Raises `GroupSizeError` for groups below 2 or a batch that they do not divide, `InputError` for infinite rewards.
    """
    values = _grouped(rewards, group_size)
    known = ~values.isnan()
    counts = known.sum(1, keepdim=True)
    filled = values.nan_to_num(0.0)
    centred = torch.where(known, values - filled.sum(1, keepdim=True) / counts.clamp(min=1), 0.0)
    if scale == "group":
        centred = centred / (_deviation(centred, counts, ddof) + eps)
    elif scale == "batch":
        everything = values[known]
        spread = everything.std(correction=ddof) if len(everything) > ddof else everything.new_zeros(())
        centred = centred / (spread + eps)
    elif scale != "none":
        raise InputError(f"scale is 'group', 'batch' or 'none', got {scale!r}")
    return centred.flatten()


def leave_one_out(rewards: Tensor, group_size: int) -> Tensor:
    """RLOO: each reward less the mean of the others of its group, for rewards (N,)."""
    values = _grouped(rewards, group_size)
    if values.isnan().any():
        raise InputError("leave_one_out needs a reward for every answer")
    others = (values.sum(1, keepdim=True) - values) / (group_size - 1)
    return (values - others).flatten()


def _grouped(rewards: Tensor, group_size: int) -> Tensor:
    if group_size < 2:
        raise GroupSizeError(f"a group needs at least 2 answers to compare, got group_size {group_size}")
    if rewards.ndim != 1 or len(rewards) == 0 or len(rewards) % group_size:
        raise GroupSizeError(
            f"rewards of shape {tuple(rewards.shape)} are no whole number of groups of {group_size}"
        )
    values = rewards.to(torch.promote_types(rewards.dtype, torch.float32)).view(-1, group_size)
    if values.isinf().any():
        raise InputError("a reward is infinite; advantages would be too")
    return values


def _deviation(centred: Tensor, counts: Tensor, ddof: int) -> Tensor:
    """Of each row (B, G), over its known entries, whose mean is 0."""
    return (centred.square().sum(1, keepdim=True) / (counts - ddof).clamp(min=1)).sqrt()


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor | None = None, *, gamma: float = 1.0, lam: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and returns, each (B, T), from rewards and values (B, T).

    δ_t = r_t + γ·V_{t+1} − V_t and A_t = δ_t + γλ·A_{t+1}; the value after the end is 0. Where `mask` (B, T) is 0
    the text has ended and both are 0. Returns are A + V.
    """
    if (
        rewards.shape != values.shape
        or rewards.ndim != 2
        or (mask is not None and mask.shape != rewards.shape)
    ):
        raise InputError(
            f"rewards, values and mask are (B, T) each, got {tuple(rewards.shape)}, {tuple(values.shape)}"
            + ("" if mask is None else f" and {tuple(mask.shape)}")
        )
    on = torch.ones_like(values) if mask is None else mask.to(values.dtype)
    rewards, values = rewards * on, values * on
    following = torch.zeros_like(values[:, 0])
    ahead = torch.zeros_like(following)
    found = []
    for t in reversed(range(values.shape[1])):
        ahead = (rewards[:, t] + gamma * following - values[:, t] + gamma * lam * ahead) * on[:, t]
        following = values[:, t]
        found.append(ahead)
    advantages = torch.stack(found[::-1], dim=1)
    return advantages, (advantages + values) * on


def whiten(x: Tensor, mask: Tensor | None = None, *, eps: float = 1e-8) -> Tensor:
    """(x − mean) / sqrt(variance + eps) over the entries where `mask` is 1; the variance is the unbiased one."""
    on = torch.ones_like(x) if mask is None else mask.to(x.dtype)
    count = on.sum()
    if count < 2:
        raise InputError("whitening needs at least two values")
    mean = (x * on).sum() / count
    variance = ((x - mean).square() * on).sum() / (count - 1)
    return (x - mean) * torch.rsqrt(variance + eps) * on
