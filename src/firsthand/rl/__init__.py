"""Learning from rewards: advantages, losses, a protocol for rewards. Rewards need no torch; losses do."""

from typing import TYPE_CHECKING, Any

from firsthand.rl.rewards import (
    Reward,
    RewardLengthError,
    Rewards,
    RewardTable,
)

if TYPE_CHECKING:
    from firsthand.rl.advantages import GroupSizeError, gae, group_advantages, leave_one_out, whiten
    from firsthand.rl.losses import grpo_loss, kl_estimate, ppo_policy_loss, ppo_value_loss, rewards_with_kl

__all__ = [
    "GroupSizeError",
    "Reward",
    "RewardLengthError",
    "RewardTable",
    "Rewards",
    "gae",
    "group_advantages",
    "grpo_loss",
    "kl_estimate",
    "leave_one_out",
    "ppo_policy_loss",
    "ppo_value_loss",
    "rewards_with_kl",
    "whiten",
]

# These stand on torch, which whoever only scores texts does not need.
_LATE = {
    "GroupSizeError": "advantages",
    "gae": "advantages",
    "group_advantages": "advantages",
    "leave_one_out": "advantages",
    "whiten": "advantages",
    "grpo_loss": "losses",
    "kl_estimate": "losses",
    "ppo_policy_loss": "losses",
    "ppo_value_loss": "losses",
    "rewards_with_kl": "losses",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
