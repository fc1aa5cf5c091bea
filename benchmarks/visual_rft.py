"""Visual-RFT's rewards and the torch trainer: what they take, and TRL's trainer on the same model.

Rewards of 1 024 answers of ten boxes, from parsed arrays and from text, beside the rule written out box by box. A step
of the torch trainer beside one of TRL's `GRPOTrainer`: the same model, prompts, rewards, group and length of answers.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.measure import Row, alternate, at_least, at_most, row, timed_row


def run(quick: bool = False) -> dict[str, Any]:
    rows = reward_rows(quick)
    steps, details = step_row(quick)
    return {"rows": [*rows, steps], "details": details}


def _answers(count: int) -> tuple[list[Any], list[Any]]:
    from firsthand.training.visual_rft import Detection

    rng = np.random.default_rng(0)

    def some() -> list[Any]:
        low, size = rng.integers(0, 800, (10, 2)), rng.integers(20, 200, (10, 2))
        return [
            Detection((*map(float, a), *map(float, a + s)), float(c))
            for a, s, c in zip(low, size, rng.random(10).round(2), strict=True)
        ]

    return [some() for _ in range(count)], [some() for _ in range(count)]


def _by_the_rule(predicted: Any, truth: Any) -> list[float]:
    """Box by box, as the rule is read."""
    from firsthand.vision import iou

    found = []
    for guesses, answers in zip(predicted, truth, strict=True):
        free, total = [d.box for d in answers], 0.0
        for guess in sorted(guesses, key=lambda d: -d.confidence):
            best = max(free, key=lambda box: iou(guess.box, box), default=None)
            if best is not None and iou(guess.box, best) > 0.5:
                total += iou(guess.box, best)
                free.remove(best)
        found.append(min(1.0, total / max(len(guesses), len(answers))))
    return found


def reward_rows(quick: bool) -> list[Row]:
    from firsthand.training.visual_rft import detection_rewards, packed, trl_reward, write_detections

    count = 64 if quick else 1024
    predicted, truth = _answers(count)
    mine, theirs = packed(predicted), packed(truth, truth=True)
    texts = [write_detections(p, think="x") for p in predicted]
    reward = trl_reward("iou")
    wanted = _by_the_rule(predicted, truth)
    rows = []
    for what, act, limit in (
        ("arrays", lambda: detection_rewards(mine, theirs).iou, 50),
        ("text", lambda: reward(texts, solution=truth), 300),
    ):
        act()
        times = []
        for _ in range(3 if quick else 9):
            started = time.process_time()
            found = act()
            times.append(1e3 * (time.process_time() - started))
        rows.append(
            row(
                f"rewards of {count} answers of ten boxes from {what}, milliseconds",
                {
                    "label": "detection_rewards" if what == "arrays" else "trl_reward",
                    "text": f"{min(times):.0f} ms",
                },
                {"label": "target", "text": f"{limit} ms"},
                float(np.median(times)),
                target=at_most(limit),
                equal=bool(np.allclose(found, wanted)),
                note="CPU milliseconds in place of a ratio; equal to the rule written out box by box",
            )
        )
    timing = alternate(
        lambda: detection_rewards(mine, theirs), lambda: _by_the_rule(predicted, truth), 1 if quick else 2
    )
    rows.append(
        timed_row(
            f"rewards of {count} answers of ten boxes",
            "arrays",
            "box by box",
            timing,
            target=None,
            equal=True,
        )
    )
    return rows


def step_row(quick: bool) -> tuple[Row, dict[str, Any]]:
    from firsthand.lm import tiny_llama, train_tokenizer
    from firsthand.rl import Rewards
    from firsthand.rl.policy import CausalPolicy
    from firsthand.rl.trainer import GRPOConfig, train_grpo
    from firsthand.rl.trl_backend import trl_trainer

    tokenizer = train_tokenizer(["one two three four five six seven eight nine ten\n" * 30], 300)
    tokenizer.pad_token = tokenizer.eos_token
    rows = [
        {"prompt": f"{word} two three"}
        for word in ("one", "four", "seven", "ten", "two", "nine", "six", "five")
    ]
    config = GRPOConfig(
        steps=3 if quick else 20, prompts_per_step=4, group_size=8, learning_rate=1e-4, beta=0.0,
        max_new_tokens=8 if quick else 48, schedule="constant",
    )  # fmt: skip

    def model() -> Any:
        return tiny_llama(len(tokenizer), width=32 if quick else 128, layers=2 if quick else 4, heads=4)

    def reward(completions: Any, **_: Any) -> list[float]:
        return [sum(text.count(v) for v in "aeiou") / (1 + len(text)) for text in completions]

    seconds: dict[str, list[float]] = {"torch": [], "TRL": []}
    for name in ("torch", "TRL", "TRL", "torch"):
        if name == "torch":
            policy = CausalPolicy(model(), tokenizer)
            started = time.process_time()
            train_grpo(policy, rows, Rewards([reward]), config)
        else:
            with tempfile.TemporaryDirectory() as folder:
                trainer = trl_trainer(
                    model(), tokenizer, rows, Rewards([reward]), config, Path(folder), disable_tqdm=True
                )
                started = time.process_time()
                trainer.train()
        seconds[name].append((time.process_time() - started) / config.steps)
    ours, theirs = (float(np.mean(seconds[name])) for name in ("torch", "TRL"))
    return (
        row(
            f"a step of GRPO, 32 answers of {config.max_new_tokens} tokens",
            {"label": "train_grpo", "text": f"{1e3 * ours:.0f} ms"},
            {"label": "TRL's GRPOTrainer", "text": f"{1e3 * theirs:.0f} ms"},
            theirs / ours,
            target=at_least(2.0),
            equal=None,
            note="CPU time a step; the losses agree to 1e-5 on the same answers (a test), the answers are drawn anew",
        ),
        {"step, CPU seconds": seconds},
    )
