"""The way up: the same rows, rewards and settings on TRL's GRPOTrainer (accelerate, torchrun, DeepSpeed, vLLM).

Knows how our configuration is written in TRL's words and what cannot be said in them; the training is TRL's. Reward
functions have TRL's signature already.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from firsthand.errors import InputError
from firsthand.lm.backend import require
from firsthand.rl.rewards import Rewards
from firsthand.rl.trainer import GRPOConfig

__all__ = ["trl_arguments", "trl_trainer"]


def trl_arguments(config: GRPOConfig, output: Path, *, processes: int = 1, **extra: Any) -> Any:
    """TRL's `GRPOConfig` for ours: `prompts_per_step` × `group_size` answers a step over all `processes`.

    `extra` are further settings of TRL's (bf16, use_vllm, deepspeed, gradient_accumulation_steps, ...), which win.
    Raises `InputError` for what TRL's trainer does not do.
    """
    require("trl")
    from trl.trainer.grpo_config import GRPOConfig as TRLConfig

    if config.algorithm != "grpo":
        raise InputError(f"TRL's GRPOTrainer does no {config.algorithm}; use the torch backend")
    if config.ddof != 1:
        raise InputError("TRL's group deviation is the unbiased one: ddof is 1 there")
    answers = config.prompts_per_step * config.group_size
    accumulation = int(extra.get("gradient_accumulation_steps", 1))
    device_batch, left = divmod(answers, processes * accumulation)
    if left or not device_batch:
        raise InputError(
            f"{answers} answers a step do not divide over {processes} processes and {accumulation} accumulation steps"
        )
    settings: dict[str, Any] = {
        "output_dir": str(output),
        "max_steps": config.steps,
        "per_device_train_batch_size": device_batch,
        "gradient_accumulation_steps": accumulation,
        "num_generations": config.group_size,
        "max_completion_length": config.max_new_tokens,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.schedule,
        "warmup_steps": config.warmup,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.grad_clip,
        "beta": config.beta,
        "temperature": config.temperature,
        "loss_type": config.loss_type,
        "epsilon": config.clip[0],
        "epsilon_high": config.clip[1],
        "scale_rewards": config.scale,
        "num_iterations": config.updates,
        "seed": config.seed,
        "disable_dropout": True,
        "report_to": [],
        "logging_steps": 1,
        "save_strategy": "no",
        "use_bias_correction_kl": False,  # the paper's KL, not its later variant
        # On a processor weights stay in the precision that they have.
        **({} if _accelerated() else {"use_cpu": True, "bf16": False}),
        **extra,
    }
    return TRLConfig(**settings)


def trl_trainer(
    model: Any,
    processor: Any,
    rows: Sequence[Mapping[str, Any]],
    rewards: Rewards,
    config: GRPOConfig,
    output: Path,
    *,
    processes: int = 1,
    **extra: Any,
) -> Any:
    """TRL's `GRPOTrainer`, ready for `.train()`; its log history has each reward by name.

    `rows` have a `prompt` (text or chat), optionally `image`, and the rewards' columns. A weight of the rewards
    becomes TRL's; a reward that does not apply is None in both.
    """
    require("trl")
    from datasets import Dataset
    from trl.trainer.grpo_trainer import GRPOTrainer

    if not rows:
        raise InputError("give at least one row")
    weights = [float(weight) for weight in rewards.weights]
    arguments = trl_arguments(config, output, processes=processes, reward_weights=weights, **extra)
    with _reference_on_disk(model, output, wanted=bool(config.beta)):
        return GRPOTrainer(
            model=model,
            reward_funcs=[_named(name, function) for name, function in rewards.functions.items()],
            args=arguments,
            train_dataset=Dataset.from_list([dict(row) for row in rows]),
            processing_class=processor,
        )


@contextmanager
def _reference_on_disk(model: Any, output: Path, *, wanted: bool) -> Iterator[None]:
    """TRL loads the reference from where the model came from; one that came from nowhere is written to `output`."""
    config = None if isinstance(model, str) else model.config
    if not wanted or config is None or bool(config._name_or_path):
        yield
        return
    start = output / "start"
    model.save_pretrained(start)
    config._name_or_path = str(start)
    try:
        yield
    finally:
        config._name_or_path = ""


def _accelerated() -> bool:
    import torch

    return torch.accelerator.is_available()


def _named(name: str, function: Any) -> Any:
    """The function under the name that it is logged by, without what TRL passes and our functions do not read."""
    import inspect

    if inspect.iscoroutinefunction(function):

        async def awaited(completions: Sequence[Any], **columns: Any) -> Any:
            return await function(completions=completions, **_columns(columns, len(completions)))

        awaited.__name__ = name
        return awaited

    def called(completions: Sequence[Any], **columns: Any) -> Any:
        found = function(completions=completions, **_columns(columns, len(completions)))
        return [None if value is None or math.isnan(float(value)) else float(value) for value in found]

    called.__name__ = name
    return called


def _columns(given: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Columns of the data alone: TRL adds its state and logging functions."""
    ours = {"prompts", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments"}
    return {
        name: value
        for name, value in given.items()
        if name not in ours and isinstance(value, Sequence) and len(value) == count
    }
