"""The way up: the same rows, rewards and settings on TRL's GRPOTrainer (accelerate, torchrun, DeepSpeed, vLLM).

Knows how our configuration is written in TRL's words and what cannot be said in them; the training is TRL's. Reward
functions have TRL's signature already.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from firsthand.errors import InputError
from firsthand.lm.backend import require
from firsthand.rl.rewards import Rewards, RewardTable, answer_text
from firsthand.rl.rollouts import RolloutFile
from firsthand.rl.trainer import GRPOConfig

__all__ = ["here", "trl_arguments", "trl_trainer"]


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
        **here(),
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
    rollouts: Path | None = None,
    done: int = 0,
    **extra: Any,
) -> Any:
    """TRL's `GRPOTrainer`, ready for `.train()`; its log history has each reward by name.

    `rows` have a `prompt` (text or chat), optionally `image` or `images`, and the rewards' columns. A weight of the
    rewards becomes TRL's; a reward that does not apply is None in both.

    With `rollouts` every answer and its rewards are added to that file, as the torch trainer does; of several
    processes each writes its own, with its rank in the name. Lines of steps after `done`, which a run cut off had
    written, are dropped.
    """
    require("trl")
    from datasets import Dataset
    from trl.trainer.grpo_trainer import GRPOTrainer

    if not rows:
        raise InputError("give at least one row")
    weights = [float(weight) for weight in rewards.weights]
    arguments = trl_arguments(config, output, processes=processes, reward_weights=weights, **extra)
    written = None if rollouts is None else _Written(rollouts, rewards, done)
    with _reference_on_disk(model, output, wanted=bool(config.beta)):
        return GRPOTrainer(
            model=model,
            reward_funcs=[_named(name, function, written) for name, function in rewards.functions.items()],
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


def here() -> dict[str, Any]:
    """TRL's settings where there is no accelerator: on the processor, in the precision that the weights have."""
    import torch

    return {} if torch.accelerator.is_available() else {"use_cpu": True, "bf16": False}


class _Written:
    """Collects what each function gives the answers of a step, and writes them once all have."""

    def __init__(self, path: Path, rewards: Rewards, done: int) -> None:
        rank = os.environ.get("RANK", "0")
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        self.file = RolloutFile(path.with_stem(f"{path.stem}-{rank}") if several else path, done)
        self.names, self.weights = tuple(rewards.functions), rewards.weights
        self.found: dict[str, list[float]] = {}

    def add(
        self, name: str, values: Sequence[float | None], completions: Sequence[Any], given: Mapping[str, Any]
    ) -> None:
        self.found[name] = [math.nan if value is None else value for value in values]
        if len(self.found) < len(self.names):
            return
        columns = np.array([self.found[one] for one in self.names]).T
        table = RewardTable(self.names, columns, self.weights)
        kept = {n: v for n, v in _columns(given, len(completions)).items() if n not in ("image", "images")}
        rows = [
            {"prompt": _question(prompt), **{n: v[place] for n, v in kept.items()}}
            for place, prompt in enumerate(given.get("prompts", [""] * len(completions)))
        ]
        state = given.get("trainer_state")
        step = 1 + int(getattr(state, "global_step", 0))
        self.file.add(step, rows, [answer_text(completion) for completion in completions], table, 1)
        self.found = {}


def _question(prompt: Any) -> str:
    """A prompt as text; pictures are left out."""
    try:
        return answer_text(prompt)
    except InputError:
        return str(prompt)


def _named(name: str, function: Any, written: _Written | None = None) -> Any:
    """The function under the name that it is logged by, without what TRL passes and our functions do not read."""
    import inspect

    def taken(
        found: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]
    ) -> list[float | None]:
        values = [None if value is None or math.isnan(float(value)) else float(value) for value in found]
        if written is not None:
            written.add(name, values, completions, columns)
        return values

    def called(completions: Sequence[Any], **columns: Any) -> Any:
        found = function(completions=completions, **_columns(columns, len(completions)))
        return taken(found, completions, columns)

    async def awaited(completions: Sequence[Any], **columns: Any) -> Any:
        found = await function(completions=completions, **_columns(columns, len(completions)))
        return taken(found, completions, columns)

    wrapped = awaited if inspect.iscoroutinefunction(function) else called
    wrapped.__name__ = name
    return wrapped


def _columns(given: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Columns of the data alone: TRL adds its state and logging functions."""
    ours = {"prompts", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments"}
    return {
        name: value
        for name, value in given.items()
        if name not in ours and isinstance(value, Sequence) and len(value) == count
    }
