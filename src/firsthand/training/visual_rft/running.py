"""One run of `firsthand visual-rft fit`: load, measure, learn, measure again, write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from firsthand.errors import InputError, ModelNotFoundError
from firsthand.launch.cache import write_atomically
from firsthand.lm.backend import quiet, require, resolve_device, transformers_class
from firsthand.rl.trainer import GRPOConfig
from firsthand.training.visual_rft.config import FitSettings, read_rows
from firsthand.training.visual_rft.evaluation import Estimate
from firsthand.training.visual_rft.fitting import evaluate, fit, fit_supervised, task_rewards

__all__ = ["load_model", "run"]


def load_model(name: str, *, device: str = "auto", dtype: str = "auto") -> tuple[Any, Any]:
    """A vision-language model and its processor, from a folder or the hub; never with code of its own.

    Raises `ModelNotFoundError`, and `InputError` for a model that transformers cannot load here (Qwen2-VL's processor
    needs torchvision).
    """
    require("torch")
    place = resolve_device(device)
    if not Path(name).is_dir() and "/" not in name:
        raise ModelNotFoundError(
            f"no vision-language model answers to {name!r}; accepted are a folder in Hugging Face format, or a hub "
            "name such as 'org/name'"
        )
    try:
        with quiet():
            processor = transformers_class("AutoProcessor").from_pretrained(name)
            model = transformers_class("AutoModelForImageTextToText").from_pretrained(
                name, dtype=dtype, use_safetensors=True
            )
    except (OSError, ValueError, ImportError) as error:
        kind = ModelNotFoundError if not Path(name).exists() else InputError
        cause = str(error).splitlines()[0]
        raise kind(f"the model {name} cannot be loaded as a vision-language model: {cause}") from error
    return model.to(place), processor


def run(settings: FitSettings) -> dict[str, Any]:
    """All of it; the report is also written to OUTPUT/report.json, the model to OUTPUT/model."""
    output = Path(settings.output)
    now = _same_run(settings, output)
    rows = read_rows(Path(settings.rows))
    measured = {
        name: read_rows(Path(path))
        for name, path in (("tests", settings.tests), ("remember", settings.remember))
        if path
    }
    model, processor = load_model(settings.model, device=settings.device, dtype=settings.dtype)
    report: dict[str, Any] = {
        "model": settings.model, "task": settings.task, "method": settings.method, "rows": len(rows),
        "before": _measured(model, processor, measured, settings),
    }  # fmt: skip
    if settings.freeze_vision:
        _freeze_vision(model)
    extra: dict[str, Any] = {
        "gradient_accumulation_steps": settings.accumulate, "save_every": settings.save_every,
    }  # fmt: skip
    if settings.lora_rank:
        require("peft")
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(
            model,
            LoraConfig(r=settings.lora_rank, lora_alpha=2 * settings.lora_rank, target_modules="all-linear"),
        )
    write_atomically(output / "settings.json", json.dumps(now, indent=1))  # nothing before it leaves a trace
    result = (_rewarded if settings.method == "rewards" else _supervised)(
        model, processor, rows, settings, output, extra
    )
    trained = result.model
    report["seconds"] = result.seconds
    report["history"] = result.history
    report["after"] = _measured(trained, processor, measured, settings)
    trained.save_pretrained(output / "model")
    processor.save_pretrained(output / "model")
    write_atomically(output / "report.json", json.dumps(report, indent=1))
    return report


def _rewarded(
    model: Any, processor: Any, rows: Sequence[Mapping[str, Any]], settings: FitSettings, output: Path,
    extra: Mapping[str, Any],
) -> Any:  # fmt: skip
    config = GRPOConfig(
        steps=settings.steps, prompts_per_step=settings.prompts_per_step, group_size=settings.group_size,
        learning_rate=settings.learning_rate, beta=settings.beta, temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens, loss_type=settings.loss_type, seed=settings.seed,
    )  # fmt: skip
    classes = sorted({str(row["label"]) for row in rows if row.get("label")})
    rewards = task_rewards(settings.task, classes=classes, earned=settings.earned_confidence)
    return fit(
        model, processor, rows, settings.task, config, output=output, rewards=rewards,
        rollouts=output / "rollouts.jsonl", use_vllm=settings.vllm, **extra,
    )  # fmt: skip


def _supervised(
    model: Any, processor: Any, rows: Sequence[Mapping[str, Any]], settings: FitSettings, output: Path,
    extra: Mapping[str, Any],
) -> Any:  # fmt: skip
    return fit_supervised(
        model, processor, rows, settings.task, output=output, steps=settings.steps,
        batch=settings.prompts_per_step // settings.accumulate, learning_rate=settings.learning_rate,
        seed=settings.seed, **extra,
    )  # fmt: skip


def _measured(
    model: Any, processor: Any, parts: Mapping[str, Sequence[Mapping[str, Any]]], settings: FitSettings
) -> dict[str, dict[str, dict[str, float]]]:
    found = {}
    for name, rows in parts.items():
        figures: dict[str, Estimate] = evaluate(
            model, processor, rows, settings.task, max_new_tokens=settings.max_new_tokens
        )
        found[name] = {key: value._asdict() for key, value in figures.items()}
    return found


def _same_run(settings: FitSettings, output: Path) -> dict[str, Any]:
    """The settings that states in `output` belong to; raises `InputError` where other ones wrote what is there."""
    path, now = output / "settings.json", settings.model_dump(mode="json", exclude={"output"})
    if path.is_file() and any(output.glob("checkpoint-*")):
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        differ = sorted(name for name in now if before.get(name) != now[name])
        if differ:
            raise InputError(
                f"{output} holds the states of a run with another {differ[0]}; choose another output, or delete it"
            )
    return now


def _freeze_vision(model: Any) -> None:
    frozen = [weight for name, weight in model.named_parameters() if "vision" in name or "visual" in name]
    if not frozen:
        raise InputError("freeze-vision: no weights of this model are named after its vision tower")
    for weight in frozen:
        weight.requires_grad_(False)
