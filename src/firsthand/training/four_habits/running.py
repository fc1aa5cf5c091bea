"""One study of `firsthand four-habits study`: every condition and seed as a job of its own, then the report.

A job gets plain settings and gives its looks, so that it runs here, in a process or on Ray, and a study that was cut
off goes on where each run stood.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from firsthand.errors import InputError
from firsthand.launch import Finished, Job, run_jobs, this_rank
from firsthand.launch.cache import write_atomically
from firsthand.launch.lines import read_json_lines
from firsthand.lm.models import load
from firsthand.rl import Rewards
from firsthand.rl.policy import CausalPolicy
from firsthand.rl.trainer import GRPOConfig, SupervisedConfig
from firsthand.training.four_habits.comparison import HabitStudy
from firsthand.training.four_habits.condition import Look, StudyConfig, run_condition
from firsthand.training.four_habits.config import StudySettings
from firsthand.training.four_habits.countdown import Problem, generate, split_problems
from firsthand.training.four_habits.habits import BEHAVIOURS, count_rules, read_rules
from firsthand.training.four_habits.priming import KINDS, make_priming
from firsthand.training.four_habits.task import StudyTask, countdown_task

__all__ = ["draw_curves", "run_one", "run_study"]


def run_study(
    settings: StudySettings, *, on_finished: Callable[[Finished], None] | None = None
) -> HabitStudy:
    """All conditions and seeds; the report is also written to OUTPUT/report.json, curves to OUTPUT/curves.svg."""
    settings = _absolute(settings)
    output = Path(settings.output)
    given = settings.model_dump(
        mode="json", exclude={"output", "engine", "jobs", "address", "conditions", "seeds"}
    )
    jobs = [
        Job(
            f"{condition.partition('=')[0]}-{settings.seed + number}",
            f"{__name__}:run_one",
            {
                "settings": {**given, "output": settings.output, "conditions": [condition]},
                "condition": condition, "seed": settings.seed + number,
            },
        )
        for number in range(settings.seeds)
        for condition in settings.conditions
    ]  # fmt: skip
    for condition in settings.conditions:  # what is wrong with the task or a file is said before any work
        _examples_of(condition)
    _task(settings)
    finished = run_jobs(
        jobs, engine=settings.engine, workers=settings.jobs, address=settings.address, keep=output / "runs",
        resume=True, on_finished=on_finished,
    )  # fmt: skip
    looks: dict[str, list[list[Look]]] = {}
    for one in finished:
        found = [Look(**{**look, "correct": tuple(look["correct"])}) for look in one.result["looks"]]
        looks.setdefault(one.result["condition"], []).append(found)
    study = HabitStudy(looks)
    if this_rank().first:
        report = {"settings": settings.model_dump(mode="json"), **study.as_dict()}
        write_atomically(output / "report.json", json.dumps(report, indent=1))
        write_atomically(output / "curves.svg", draw_curves(study))
    return study


def run_one(settings: Mapping[str, Any], condition: str, seed: int) -> dict[str, Any]:
    """One condition with one seed: a job."""
    read = StudySettings(**settings)
    name = condition.partition("=")[0]
    loaded = load(
        read.model, device=this_rank().device(read.device), dtype=None if read.dtype == "auto" else read.dtype
    )
    task, problems = _task(read)
    examples = _examples_of(condition)
    if name in KINDS and not examples:
        examples = _written(problems, name, loaded.tokenizer, read.seed)
    config = StudyConfig(
        priming=SupervisedConfig(
            steps=read.priming_steps, batch=read.priming_batch, learning_rate=read.priming_learning_rate, seed=seed
        ),
        learning=GRPOConfig(
            steps=read.steps, prompts_per_step=read.prompts_per_step, group_size=read.group_size,
            algorithm=read.algorithm, learning_rate=read.learning_rate, schedule=read.schedule, beta=read.beta,
            temperature=read.temperature, max_new_tokens=read.max_new_tokens, loss_type=read.loss_type,
            micro_batch=read.micro_batch, seed=seed,
        ),
        every=read.every, samples=read.samples, choose_every=read.choose_every, backend=read.backend,
    )  # fmt: skip
    folder = Path(read.output) / "runs" / f"{name}-{seed}"
    policy = CausalPolicy(loaded.model, loaded.tokenizer)
    looks = run_condition(policy, task, examples, config, folder=folder)
    if this_rank().first:
        policy.model.save_pretrained(folder / "model")
        loaded.tokenizer.save_pretrained(folder / "model")
    return {"condition": name, "looks": [asdict(look) for look in looks]}


def _absolute(settings: StudySettings) -> StudySettings:
    """The settings with paths that hold in any folder: a worker may run in another one."""

    def path(text: str | None) -> str | None:
        return text if text is None or not Path(text).exists() else str(Path(text).resolve())

    def function(text: str | None) -> str | None:
        where, colon, name = (text or "").rpartition(":")
        return f"{path(where)}{colon}{name}" if where.endswith(".py") else text

    def condition(text: str) -> str:
        name, own, file = text.partition("=")
        return f"{name}={path(file)}" if own else name

    return settings.model_copy(
        update={
            "output": str(Path(settings.output).resolve()), "model": path(settings.model),
            "conditions": tuple(condition(one) for one in settings.conditions), "rows": path(settings.rows),
            "tests": path(settings.tests), "rules": path(settings.rules), "reward": function(settings.reward),
            "correct": function(settings.correct),
        }
    )  # fmt: skip


# --- the task and what it is primed on ------------------------------------------------------------------------------


def _task(settings: StudySettings) -> tuple[StudyTask, list[Problem]]:
    """The task, and the Countdown problems that traces are written for; none where the task is the user's own."""
    counter = (
        count_rules
        if settings.rules is None
        else partial(count_rules, rules=read_rules(Path(settings.rules)))
    )
    if settings.rows is not None and settings.tests is not None and settings.reward is not None:
        rewards = Rewards([_function(settings.reward)])
        correct = _right(rewards) if settings.correct is None else _function(settings.correct)
        task = StudyTask(_rows(Path(settings.rows)), _rows(Path(settings.tests)), rewards, correct, counter)
        return task, []
    problems = generate(
        settings.problems + settings.priming_problems + settings.test_problems, sizes=settings.sizes,
        number_range=settings.numbers, target_range=settings.targets, seed=settings.seed,
    )  # fmt: skip
    rows, prime, tests = split_problems(
        problems, settings.problems, settings.priming_problems, settings.test_problems
    )
    held_back = prime[: len(prime) // 5] if settings.choose_every else []
    task = countdown_task(
        rows, tests, counter=counter, held_back=held_back, format_score=settings.format_score
    )
    return task, prime[len(held_back) :]


def _examples_of(condition: str) -> list[dict[str, Any]]:
    """The examples of a condition that names a file of its own; none for another."""
    _, own, file = condition.partition("=")
    return _examples(Path(file)) if own else []


def _written(problems: Sequence[Problem], kind: str, tokenizer: Any, seed: int) -> list[dict[str, Any]]:
    """Traces of a kind, as examples."""
    made = make_priming(problems, kind, tokenizer=tokenizer, seed=seed)
    if not made:
        raise InputError(
            f"no trace of {kind} could be written for {len(problems)} problems; ask for more of them"
        )
    return [{"prompt": one.prompt, "answer": one.completion} for one in made]


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, row in read_json_lines(path):
        if not isinstance(row, dict) or not row.get("prompt"):
            raise InputError(f"{path}, line {number} has no prompt")
        rows.append(row)
    if not rows:
        raise InputError(f"{path} holds no rows")
    return rows


def _examples(path: Path) -> list[dict[str, Any]]:
    found = []
    for row in _rows(path):
        if "completion" not in row:
            raise InputError(f"{path}: an example needs a prompt and a completion; there is {', '.join(row)}")
        found.append({"prompt": row["prompt"], "answer": str(row["completion"])})
    return found


def _function(name: str) -> Callable[..., Any]:
    """`FILE.py:function` or `package.module:function`."""
    where, _, function = name.rpartition(":")
    if not where or not function:
        raise InputError(f"{name!r} names no function: write FILE.py:function or package.module:function")
    try:
        if where.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(where).stem, where)
            if spec is None or spec.loader is None:
                raise ImportError(f"{where} cannot be loaded")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(where)
        found: Callable[..., Any] = getattr(module, function)
    except (ImportError, AttributeError, OSError, SyntaxError) as error:
        raise InputError(f"{name} cannot be loaded: {error}") from error
    return found


def _right(rewards: Rewards) -> Callable[..., list[float]]:
    def correct(completions: Sequence[Any], **columns: Any) -> list[float]:
        return [float(total >= 1) for total in rewards(completions, **columns).total]

    return correct


# --- the picture ----------------------------------------------------------------------------------------------------


def draw_curves(study: HabitStudy) -> str:
    """Accuracy, each habit and length by step of learning, a line a condition, as SVG."""
    import io

    from matplotlib.figure import Figure

    panels: list[tuple[str, Callable[[Mapping[str, Any]], float]]] = [
        ("accuracy", lambda point: float(point["accuracy"])),
        *((name.replace("_", " ") + " a trace", partial(_habit, name)) for name in BEHAVIOURS),
        ("tokens an answer", lambda point: float(point["tokens"])),
    ]
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, 3)
    for place, (condition, marker) in enumerate(
        zip(study.looks, "osD^vP*X<>" * len(study.looks), strict=False)
    ):
        points = study.curve(condition)
        for axis, (_, value) in zip(axes.flat, panels, strict=True):
            axis.plot(
                [point["step"] for point in points], [value(point) for point in points], marker=marker, markersize=4,
                label=condition, color=f"C{place % 10}",
            )  # fmt: skip
    for axis, (title, _) in zip(axes.flat, panels, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("steps of learning", fontsize=9)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    figure.legend(
        *axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _habit(name: str, point: Mapping[str, Any]) -> float:
    return float(point["habits"][name])
