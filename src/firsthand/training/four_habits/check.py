"""Claim: after the same learning from rewards, a model primed with habits solves more than one primed without.

Treatment: 500 steps of imitating traces that verify and go back, then GRPO on the answer's reward. Controls: the same
problems' right answers after nothing, or after as many dots as the trace had symbols; the same attempts with a wrong
answer; no priming. Measurement: share of right answers, drawn at temperature 1, on problems that nothing has seen.

The base model is trained here, for each seed anew, on single attempts at random: its arithmetic is right and it has no
habits. A seed is the unit of analysis.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from firsthand.claims import Gate, Measurement, Observation
from firsthand.lm.tiny import tiny_llama
from firsthand.rl.policy import CausalPolicy
from firsthand.rl.trainer import GRPOConfig, SupervisedConfig, train_supervised
from firsthand.training.four_habits.condition import Look, StudyConfig, run_condition
from firsthand.training.four_habits.countdown import Problem, split_problems
from firsthand.training.four_habits.prediction import predict_gains
from firsthand.training.four_habits.scales import SEEDS, SIZES, Size
from firsthand.training.four_habits.task import StudyTask, countdown_task
from firsthand.training.four_habits.token_world import (
    SYMBOLS,
    base_rows,
    count_symbols,
    draw_problems,
    primed_rows,
    prompt_of,
    symbol_tokenizer,
)

__all__ = ["SEEDS", "charts", "measure"]

CONDITIONS = ("none", "direct", "dots", "wrong", "habits")


def measure(seed: int, scale: str, *, null: bool = False) -> Measurement:
    """One seed: a base model, and every condition from it.

    With `null` the dots control, learning with other draws, takes the place of what is primed with habits.
    """
    size = SIZES[scale]
    problems = draw_problems(size.problems + size.priming_problems + size.tests, seed=seed)
    learn, prime, tests = split_problems(problems, size.problems, size.priming_problems, size.tests)
    task = countdown_task(learn, tests, prompt=prompt_of, counter=count_symbols)
    base = base_model(size, [*learn, *prime], seed)
    arithmetic = _arithmetic(base, task, size, seed)
    found = {
        name: _condition(base, task, prime, name, size, seed)
        for name in CONDITIONS
        if not null or name not in ("habits", "wrong")
    }
    if null:
        found["habits"] = _condition(base, task, prime, "dots", size, seed, other=1_000)
        found["wrong"] = found["habits"]
    first = {name: next(one for one in looks if one.stage == "primed") for name, looks in found.items()}
    last = {name: looks[-1] for name, looks in found.items()}
    gains = {name: last[name].accuracy - first[name].accuracy for name in found}
    prediction = predict_gains([first[name].habits for name in CONDITIONS], [gains[n] for n in CONDITIONS])
    values = [
        ("than-dots", "habits", last["habits"].accuracy), ("than-dots", "dots", last["dots"].accuracy),
        ("than-direct", "habits", last["habits"].accuracy), ("than-direct", "direct", last["direct"].accuracy),
        ("wrong-as-right", "wrong", last["wrong"].accuracy), ("wrong-as-right", "habits", last["habits"].accuracy),
        ("wrong-than-dots", "wrong", last["wrong"].accuracy), ("wrong-than-dots", "dots", last["dots"].accuracy),
        ("wrong-gains", "wrong", gains["wrong"]), ("wrong-gains", "dots", gains["dots"]),
        ("gains", "habits", gains["habits"]), ("gains", "dots", gains["dots"]),
        ("goes-back", "after", last["habits"].habits["backtracking"]),
        ("goes-back", "before", first["habits"].habits["backtracking"]),
        ("above-unprimed", "habits", last["habits"].accuracy), ("above-unprimed", "none", last["none"].accuracy),
        ("predicts", "habits before", 0.0 if null else prediction.lines["all"].rank),
    ]  # fmt: skip
    return Measurement(
        observations=tuple(
            Observation(clause=clause, arm=arm, seed=seed, value=value) for clause, arm, value in values
        ),
        gates=(
            Gate(
                name="arithmetic",
                passed=arithmetic >= 0.9,
                detail=f"{arithmetic:.1%} of the base model's steps are right; 90 % are wanted",
            ),
        ),
        details={
            "arithmetic": arithmetic,
            "prediction": prediction.as_dict(),
            "looks": {
                name: [{**asdict(one), "correct": one.accuracy} for one in looks]
                for name, looks in found.items()
            },
        },
    )


def base_model(size: Size, problems: Sequence[Problem], seed: int) -> Any:
    """A model of single attempts at random."""
    model = tiny_llama(
        len(SYMBOLS),
        width=size.width,
        layers=size.layers,
        heads=size.heads,
        seed=seed,
        context=128,
    )
    train_supervised(
        CausalPolicy(model, symbol_tokenizer()),
        base_rows(problems, size.base_each, seed=seed),
        SupervisedConfig(
            steps=size.base_steps,
            batch=size.batch,
            learning_rate=size.base_rate,
            warmup=size.warmup,
            seed=seed,
        ),
    )
    return model


def _condition(
    base: Any,
    task: StudyTask,
    problems: Sequence[Problem],
    name: str,
    size: Size,
    seed: int,
    *,
    other: int = 0,
) -> list[Look]:
    """One condition, from a copy of the base model."""
    config = StudyConfig(
        priming=SupervisedConfig(
            steps=size.priming_steps, batch=size.batch, learning_rate=size.priming_rate, seed=seed + other
        ),
        learning=GRPOConfig(
            steps=size.learning_steps, prompts_per_step=size.prompts_per_step, group_size=size.group_size,
            learning_rate=size.learning_rate, schedule="constant", beta=0.0, max_new_tokens=size.longest,
            seed=seed + other,
        ),
        every=size.every,
        samples_at_the_ends=size.samples,
    )  # fmt: skip
    examples = [] if name == "none" else primed_rows(problems, name, each=size.traces, seed=seed)
    return run_condition(CausalPolicy(copy.deepcopy(base), symbol_tokenizer()), task, examples, config)


_STEPS = re.compile(r"(?=(?<!\S)(\d+) ([-+*/]) (\d+) (\d+)(?!\S))")


def _arithmetic(base: Any, task: StudyTask, size: Size, seed: int) -> float:
    """The share of right steps among those that the base model writes down."""
    import torch

    policy = CausalPolicy(base, symbol_tokenizer())
    drawn = policy.sample(
        task.tests, max_new_tokens=size.longest, generator=torch.Generator().manual_seed(seed + 1)
    )
    right = [
        {"+": a + b == c, "-": a - b == c, "*": a * b == c, "/": b != 0 and a == b * c}[sign]
        for text in policy.texts(drawn)
        for a, sign, b, c in (
            (int(m[1]), m[2], int(m[3]), int(m[4])) for m in _STEPS.finditer(text.partition("</think>")[0])
        )
    ]
    return sum(right) / len(right) if right else 0.0


# --- for the system's page ------------------------------------------------------------------------------------------


_NAMES = {
    "none": "not primed", "direct": "right answers alone", "dots": "right answers after dots",
    "wrong": "habits, wrong answers", "habits": "habits",
}  # fmt: skip


def charts(details: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Learning curves of every condition, mean over seeds: accuracy, backtracking, length."""

    def curve(value: Any) -> list[dict[str, Any]]:
        series = []
        for name in CONDITIONS:
            points: dict[int, list[float]] = {}
            for found in details:
                for look in found["looks"][name]:
                    if look["stage"] != "start":
                        points.setdefault(look["step"], []).append(value(look))
            series.append(
                {
                    "name": _NAMES[name],
                    "x": [float(step) for step in points],
                    "y": [float(np.mean(some)) for some in points.values()],
                }
            )
        return series

    return [
        {
            "kind": "line",
            "title": title,
            "x_label": "steps of learning",
            "y_label": unit,
            "series": curve(value),
        }
        for title, unit, value in (
            ("Right answers on unseen problems", "share of answers", lambda look: look["correct"]),
            ("Attempts given up", "a trace", lambda look: look["habits"]["backtracking"]),
            ("Length", "symbols an answer", lambda look: look["tokens"]),
        )
    ]
