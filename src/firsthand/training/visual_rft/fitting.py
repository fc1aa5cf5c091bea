"""A user's own vision-language model: learn from rewards, imitate the same rows, answer, and be measured.

Training is TRL's (`GRPOTrainer`, `SFTTrainer`) under accelerate or torchrun; rows are those of `data`. Both ways to
learn take the same rows and as many answers a step. Models whose processor needs torchvision (Qwen2-VL's video part)
are loaded by transformers and fail there with its own message where torchvision is missing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from firsthand.errors import InputError
from firsthand.lm.backend import require
from firsthand.rl import Rewards
from firsthand.rl.trainer import GRPOConfig
from firsthand.rl.trl_backend import here, trl_trainer
from firsthand.training.visual_rft.answers import Detection
from firsthand.training.visual_rft.data import DataError, open_image
from firsthand.training.visual_rft.evaluation import (
    Estimate,
    evaluate_classification,
    evaluate_detection,
    evaluate_grounding,
    read_answers,
    share,
)
from firsthand.training.visual_rft.rewards import trl_reward, truth_of

__all__ = ["FitResult", "Task", "evaluate", "fit", "fit_supervised", "generate_answers", "task_rewards"]

Task = Literal["detect", "classify", "ground"]


@dataclass
class FitResult:
    """What a run leaves: the model, which learnt in place, TRL's log, and the seconds it took."""

    model: Any
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def task_rewards(task: Task, *, classes: Sequence[str] | None = None, earned: bool = True) -> Rewards:
    """The rewards of a task and of its form, each counted once.

    With `earned` a box's confidence counts only where it hits; without it the paper's rule pays for a box anywhere
    at confidence 0 (`audit_reward`). `classes` lets an answer be a sentence that names one of them.
    """
    if task == "detect":
        parts = [trl_reward("iou"), trl_reward("confidence", confidence_requires_match=earned)]
    elif task == "classify":
        parts = [trl_reward("class", classes=classes)]
    elif task == "ground":
        parts = [trl_reward("grounding")]
    else:
        raise InputError(f"a task is detect, classify or ground, got {task!r}")
    return Rewards([*parts, trl_reward("format")])


def fit(
    model: Any,
    processor: Any,
    rows: Sequence[Mapping[str, Any]],
    task: Task,
    config: GRPOConfig | None = None,
    *,
    output: Path,
    rewards: Rewards | None = None,
    rollouts: Path | None = None,
    save_every: int = 0,
    processes: int = 1,
    **extra: Any,
) -> FitResult:
    """Let `model` learn from the task's rewards (or `rewards`) on `rows`, in place, by TRL's `GRPOTrainer`.

    With `rollouts` every answer and its rewards are added to that JSONL file (one file a process: its rank is in the
    name where there are several). With `save_every` the state is written to `output` every so many steps, and a run
    that finds it there goes on from it; within one pass over the rows the weights are those of an unbroken run (in a
    later pass TRL draws the rows in another order than it would have).
    `extra` are further settings of TRL's. Raises `DataError` for a row whose picture cannot be read and
    `ColumnFormatError` for a solution that makes no sense, before anything is trained.
    """
    given = _trl_rows(rows, task)
    chosen = rewards or task_rewards(
        task, classes=sorted({str(row["label"]) for row in rows if row.get("label")})
    )
    last = _last_state(output) if save_every else None
    trainer = trl_trainer(
        model, processor, given, chosen, config or GRPOConfig(), output, processes=processes, rollouts=rollouts,
        done=_step_of(last), **{**_saving(save_every), **extra},
    )  # fmt: skip
    return _trained(trainer, last)


def fit_supervised(
    model: Any,
    processor: Any,
    rows: Sequence[Mapping[str, Any]],
    task: Task,
    *,
    output: Path,
    steps: int = 200,
    batch: int = 16,
    learning_rate: float = 1e-6,
    seed: int = 0,
    save_every: int = 0,
    **extra: Any,
) -> FitResult:
    """The control: let `model` imitate the rows' solutions, in place, by TRL's `SFTTrainer`; answers alone count."""
    require("trl")
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    given = [
        {
            "prompt": row["prompt"],
            "completion": [{"role": "assistant", "content": f"<think></think>{row['solution']}"}],
            "images": row["images"],
        }
        for row in _trl_rows(rows, task)
    ]
    arguments = SFTConfig(
        **{
            "output_dir": str(output), "max_steps": steps, "per_device_train_batch_size": batch,
            "learning_rate": learning_rate, "lr_scheduler_type": "linear", "seed": seed, "report_to": [],
            "logging_steps": 1, "save_strategy": "no", "max_length": None, "completion_only_loss": True,
            **here(), **_saving(save_every), **extra,
        }
    )  # fmt: skip
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_list(given), processing_class=processor
    )
    return _trained(trainer, _last_state(output) if save_every else None)


def _saving(every: int) -> dict[str, Any]:
    """TRL's settings for writing the state every so many steps; the last one alone is kept."""
    return {"save_strategy": "steps", "save_steps": every, "save_total_limit": 1} if every else {}


def _last_state(output: Path) -> str | None:
    """The newest state in `output`, if any."""
    require("transformers")
    from transformers import trainer_utils

    if not output.is_dir():
        return None
    found: str | None = trainer_utils.get_last_checkpoint(str(output))  # type: ignore[no-untyped-call]
    return found


def _step_of(state: str | None) -> int:
    return 0 if state is None else int(state.rpartition("-")[2])


def _trained(trainer: Any, state: str | None) -> FitResult:
    started = time.perf_counter()
    if state is not None:
        _take_weights(trainer, state)
    trainer.train(resume_from_checkpoint=state)
    history = [
        {name: float(value) for name, value in line.items() if isinstance(value, int | float)}
        for line in trainer.state.log_history
    ]
    return FitResult(trainer.model, history, time.perf_counter() - started)


def _take_weights(trainer: Any, state: str) -> None:
    """Load a state's weights the way the model itself does.

    The trainer's own way looks for other names than those that some models are saved under (LLaVA's), finds none, and
    goes on from the weights that it has. Adapters and sharded weights it does load.
    """
    model = trainer.model
    if hasattr(model, "peft_config") or trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return
    saved = type(model).from_pretrained(state, dtype=model.dtype, local_files_only=True)
    model.load_state_dict(saved.state_dict())


def _truths(rows: Sequence[Mapping[str, Any]], task: Task) -> list[Any]:
    """What each row's solution says; raises for rows that lack a column or make no sense, naming the row."""
    if not rows:
        raise InputError("give at least one row")
    kind: Any = {"detect": "iou", "classify": "class", "ground": "grounding"}.get(task)
    if kind is None:
        raise InputError(f"a task is detect, classify or ground, got {task!r}")
    found = []
    for place, row in enumerate(rows):
        missing = [name for name in ("image", "problem", "solution") if name not in row]
        if missing:
            raise DataError(f"row {place} has no column {missing[0]!r}; it has {', '.join(row)}")
        found.append(truth_of(row["solution"], place, "solution", kind))
    return found


def _trl_rows(rows: Sequence[Mapping[str, Any]], task: Task) -> list[dict[str, Any]]:
    """Rows as TRL reads them: a chat for a prompt, open pictures, the columns that rewards read."""
    _truths(rows, task)
    return [
        {
            "prompt": [{"role": "user", "content": str(row["problem"])}],
            "images": _opened(row, place),
            "solution": row["solution"],
        }
        for place, row in enumerate(rows)
    ]


def _opened(row: Mapping[str, Any], place: int) -> list[Any]:
    """A row's pictures, ready for a processor."""
    return [open_image(one, f"row {place}") for one in _pictures(row)]


def _pictures(row: Mapping[str, Any]) -> list[Any]:
    """A row's pictures: its `image` may be a list of several."""
    found = row["image"]
    return list(found) if isinstance(found, list | tuple) else [found]


def generate_answers(
    model: Any,
    processor: Any,
    rows: Sequence[Mapping[str, Any]],
    *,
    max_new_tokens: int = 1024,
    batch: int = 8,
) -> list[str]:
    """The model's greedy answer to each row's problem."""
    require("torch")
    import torch

    was_training = model.training
    model.eval()
    texts: list[str] = []
    processor.tokenizer.padding_side = "left"
    try:
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            inputs = processor(
                text=[_prompt(processor, str(row["problem"]), len(_pictures(row))) for row in some],
                images=[_opened(row, start + n) for n, row in enumerate(some)],
                return_tensors="pt",
                padding=True,
            ).to(model.device)
            with torch.no_grad():
                made = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
            texts += processor.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    finally:
        model.train(was_training)
    return texts


def _prompt(processor: Any, problem: str, pictures: int) -> str:
    parts = [*[{"type": "image"}] * pictures, {"type": "text", "text": problem}]
    chat = [{"role": "user", "content": parts}]
    found: str = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    return found


def evaluate(
    model: Any,
    processor: Any,
    rows: Sequence[Mapping[str, Any]],
    task: Task,
    *,
    max_new_tokens: int = 1024,
    batch: int = 8,
) -> dict[str, Estimate]:
    """Greedy answers to `rows`, measured with intervals over pictures; see `evaluation`.

    Of "detect", all rows of a picture are taken together: each asks for one class.
    """
    truths = _truths(rows, task)
    texts = generate_answers(model, processor, rows, max_new_tokens=max_new_tokens, batch=batch)
    if task == "classify":
        return evaluate_classification(texts, truths, classes=sorted(set(truths)))
    if task == "ground":
        return evaluate_grounding(texts, truths)
    answers = read_answers(texts)
    predicted: dict[str, list[Detection]] = {}
    wanted: dict[str, list[Detection]] = {}
    for row, found, boxes in zip(rows, answers, truths, strict=True):
        picture, label = str(row["image"]), str(row.get("label", ""))
        predicted.setdefault(picture, []).extend(Detection(d.box, d.confidence, label) for d in found or [])
        wanted.setdefault(picture, []).extend(Detection(d.box, 1.0, label) for d in boxes)
    measured = evaluate_detection([predicted[name] for name in wanted], list(wanted.values()))
    return {**measured, "parsed": share([found is not None for found in answers])}
