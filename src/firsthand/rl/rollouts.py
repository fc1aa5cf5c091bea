"""Answers and their rewards as JSONL: one line an answer, written as training goes, read again by people.

A line has the step, the answer's place in its group, the prompt, the answer, each reward by name (null where it did
not apply) and the weighted total. Columns that are no JSON (pictures) are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from firsthand.errors import InputError, NotFoundError, OutputError
from firsthand.launch.cache import write_atomically
from firsthand.rl.rewards import RewardTable

__all__ = ["RolloutFile", "read_rollouts", "summary"]


class RolloutFile:
    """Adds to `path`; steps after `done` that a run cut off had written are dropped first."""

    def __init__(self, path: Path, done: int) -> None:
        self.path = path
        if path.is_file():
            kept = [line for line in read_rollouts(path) if line["step"] <= done] if done else []
            write_atomically(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))

    def add(
        self,
        step: int,
        rows: Sequence[Mapping[str, Any]],
        answers: Sequence[str],
        table: RewardTable,
        group_size: int,
    ) -> None:
        """Add the answers of one step, `group_size` in a row for each row."""
        totals = table.total
        lines = []
        for place, (answer, rewards) in enumerate(zip(answers, table.rows(), strict=True)):
            row = rows[place // group_size]
            lines.append(
                {
                    "step": step,
                    "answer": place % group_size,
                    "prompt": row["prompt"],
                    "completion": answer,
                    "rewards": rewards,
                    "total": None if math.isnan(totals[place]) else float(totals[place]),
                    **{name: value for name, value in row.items() if name != "prompt" and _is_json(value)},
                }
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(
                    "".join(json.dumps(line, ensure_ascii=False, default=str) + "\n" for line in lines)
                )
        except OSError as error:
            raise OutputError(f"cannot add rollouts to {self.path}: {error.strerror or error}") from error


def read_rollouts(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file of rollouts, in order; a last line that was cut off is left out.

    Raises `NotFoundError`, and `InputError` naming the line for what is no rollout.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise NotFoundError(f"there are no rollouts at {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the rollouts at {path} cannot be read ({error})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
            if not isinstance(found, dict) or not {"step", "completion", "rewards"} <= set(found):
                raise ValueError("not a rollout")
        except ValueError as error:
            if number == len(lines):  # no line break after it: the writer was cut off
                return
            raise InputError(f"{path}, line {number} is no rollout ({error})") from error
        yield found


def _is_json(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | list | dict)


def summary(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A mapping a step: its number, how many answers, the mean total and the mean of each reward that applied."""
    steps: dict[int, list[Mapping[str, Any]]] = {}
    for line in lines:
        steps.setdefault(int(line["step"]), []).append(line)
    found = []
    for step, answers in steps.items():
        totals = [line["total"] for line in answers if line["total"] is not None]
        names = answers[0]["rewards"]
        by_name = {
            name: [a["rewards"][name] for a in answers if a["rewards"].get(name) is not None]
            for name in names
        }
        found.append(
            {
                "step": step,
                "answers": len(answers),
                "total": sum(totals) / len(totals) if totals else math.nan,
                "rewards": {name: sum(values) / len(values) for name, values in by_name.items() if values},
            }
        )
    return found
