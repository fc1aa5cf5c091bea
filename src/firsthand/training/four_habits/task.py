"""What is learnt and how it is judged: rows with prompts, a reward, and what counts as right.

The task is anybody's; `countdown_task` is the paper's. Knows nothing of models.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from firsthand.errors import InputError
from firsthand.rl import Rewards
from firsthand.rl.rewards import answer_text
from firsthand.training.four_habits.countdown import Problem, score
from firsthand.training.four_habits.errors import LeakageError
from firsthand.training.four_habits.habits import BehaviourCounts, count_rules
from firsthand.training.four_habits.priming import prompt_of

__all__ = ["StudyTask", "countdown_rewards", "countdown_rows", "countdown_task", "problem_of"]

Counter = Callable[[str, Problem | None], BehaviourCounts]


@dataclass(frozen=True)
class StudyTask:
    """What is learnt, and how it is judged.

    Attributes:
        rows: to learn from: a `prompt` and the columns that rewards read.
        tests: rows to be measured on; none of their prompts may be among `rows`.
        rewards: of learning.
        correct: from answers and columns to 1 where an answer is right and 0 where it is not: a reward for form is
            no success.
        counter: habits of an answer; it is given the row's Countdown problem where it has one, else None.
        held_back: rows by whose accuracy a state of priming is chosen (`StudyConfig.choose_every`).
    """

    rows: Sequence[Mapping[str, Any]]
    tests: Sequence[Mapping[str, Any]]
    rewards: Rewards
    correct: Callable[..., Sequence[float]]
    counter: Counter = count_rules
    held_back: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        if not self.rows or not self.tests:
            raise InputError("a study needs rows to learn from and tests")
        known = {json.dumps(row.get("prompt")) for row in self.rows}
        shared = sum(json.dumps(row.get("prompt")) in known for row in (*self.tests, *self.held_back))
        if shared:
            raise LeakageError(f"{shared} prompts of the tests are among the rows that are learnt from")


def countdown_rewards(
    *, format_score: float = 0.1, partial: Literal["proximity"] | None = None
) -> tuple[Rewards, Callable[..., list[float]]]:
    """The reward of Countdown (`score`), and what counts as right; both read `numbers` and `target`."""

    def countdown(
        completions: Sequence[Any], numbers: Sequence[Any], target: Sequence[Any], **_: Any
    ) -> list[float]:
        return [found.value for found in _scored(completions, numbers, target, format_score, partial)]

    def correct(
        completions: Sequence[Any], numbers: Sequence[Any], target: Sequence[Any], **_: Any
    ) -> list[float]:
        return [float(found.correct) for found in _scored(completions, numbers, target, 0.0, None)]

    return Rewards([countdown]), correct


def _scored(
    completions: Sequence[Any],
    numbers: Sequence[Any],
    targets: Sequence[Any],
    format_score: float,
    partial: Any,
) -> list[Any]:
    return [
        score(answer_text(text), Problem(tuple(n), t), format_score=format_score, partial=partial)
        for text, n, t in zip(completions, numbers, targets, strict=True)
    ]


def countdown_rows(
    problems: Iterable[Problem], prompt: Callable[[Problem], str] = prompt_of
) -> list[dict[str, Any]]:
    """Problems as rows: `prompt`, `numbers`, `target`."""
    return [
        {"prompt": prompt(problem), "numbers": list(problem.numbers), "target": problem.target}
        for problem in problems
    ]


def countdown_task(
    rows: Sequence[Problem],
    tests: Sequence[Problem],
    *,
    prompt: Callable[[Problem], str] = prompt_of,
    counter: Counter = count_rules,
    held_back: Sequence[Problem] = (),
    format_score: float = 0.1,
    partial: Literal["proximity"] | None = None,
) -> StudyTask:
    """Countdown as a task."""
    rewards, correct = countdown_rewards(format_score=format_score, partial=partial)
    return StudyTask(
        countdown_rows(rows, prompt), countdown_rows(tests, prompt), rewards, correct, counter,
        countdown_rows(held_back, prompt),
    )  # fmt: skip


def problem_of(row: Mapping[str, Any]) -> Problem | None:
    """The Countdown problem of a row; None where the row is of another task."""
    if "numbers" not in row or "target" not in row:
        return None
    return Problem(tuple(int(n) for n in row["numbers"]), int(row["target"]))
