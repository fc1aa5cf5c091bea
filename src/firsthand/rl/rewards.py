"""Rewards: functions from answers to numbers, weighted, each logged on its own.

A reward function has the signature that TRL's trainer calls, so that one works in both places:

    def reward(completions, **columns) -> list[float | None]

`completions` are texts, or chats whose last message is the answer; `columns` are the data's own, one entry an
answer. None says "does not apply to this answer". A function may be `async`.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError

__all__ = ["Reward", "RewardLengthError", "RewardTable", "Rewards", "answer_text"]

Reward = Callable[..., Any]  # (completions, **columns) -> list[float | None], or a coroutine of that


class RewardLengthError(InputError):
    """A reward function gave more or fewer numbers than there were answers."""


@dataclass(frozen=True)
class RewardTable:
    """Every function's rewards of every answer.

    Attributes:
        names: of the functions (K,).
        values: (N, K); NaN where a function did not apply.
        weights: (K,).
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def total(self) -> NDArray[np.float64]:
        """The weighted sum of what applied (N,); NaN where nothing did."""
        nothing = np.isnan(self.values).all(axis=1)
        summed: NDArray[np.float64] = np.nansum(self.values * self.weights, axis=1)
        summed[nothing] = np.nan
        return summed

    def means(self) -> dict[str, float]:
        """Each function's mean over the answers that it applied to; functions that applied to none are left out."""
        return {
            name: float(np.nanmean(column))
            for name, column in zip(self.names, self.values.T, strict=True)
            if not np.isnan(column).all()
        }

    def rows(self) -> list[dict[str, float | None]]:
        """One mapping an answer, as JSON has it."""
        return [
            {
                name: None if math.isnan(value) else float(value)
                for name, value in zip(self.names, row, strict=True)
            }
            for row in self.values
        ]


class Rewards:
    """Several reward functions as one.

    Args:
        functions: by name, or a sequence whose names are the functions' own.
        weights: one a function; 1 where absent.
    """

    def __init__(
        self, functions: Mapping[str, Reward] | Sequence[Reward], weights: Sequence[float] | None = None
    ) -> None:
        if not isinstance(functions, Mapping):
            named = {getattr(f, "__name__", f"reward {n}"): f for n, f in enumerate(functions)}
            if len(named) != len(functions):
                raise InputError("two reward functions have one name: give a mapping of names to functions")
            functions = named
        if not functions:
            raise InputError("give at least one reward function")
        if weights is not None and len(weights) != len(functions):
            raise InputError(f"{len(functions)} reward functions, but {len(weights)} weights")
        self.functions = dict(functions)
        self.weights = np.ones(len(functions)) if weights is None else np.array(weights, dtype=np.float64)
        if not np.isfinite(self.weights).all():
            raise InputError(f"weights must be numbers, got {list(self.weights)}")

    def __call__(self, completions: Sequence[Any], **columns: Sequence[Any]) -> RewardTable:
        """Score `completions` (N,); coroutines are awaited together.

        Raises `RewardLengthError`, and `InputError` for a column of another length or a reward that is no number.
        """
        for name, column in columns.items():
            if len(column) != len(completions):
                raise InputError(f"column {name!r} has {len(column)} entries for {len(completions)} answers")
        found: dict[str, Any] = {}
        waiting: dict[str, Any] = {}
        for name, function in self.functions.items():
            answer = function(completions=list(completions), **columns)
            if inspect.isawaitable(answer):
                waiting[name] = answer
            else:
                found[name] = answer
        if waiting:
            found.update(zip(waiting, _awaited(list(waiting.values())), strict=True))
        values = np.full((len(completions), len(self.functions)), np.nan)
        for place, name in enumerate(self.functions):
            values[:, place] = self._numbers(name, found[name], len(completions))
        return RewardTable(tuple(self.functions), values, self.weights)

    def _numbers(self, name: str, given: Any, count: int) -> list[float]:
        rewards = list(given)
        if len(rewards) != count:
            raise RewardLengthError(f"the reward {name!r} gave {len(rewards)} numbers for {count} answers")
        try:
            numbers = [math.nan if reward is None else float(reward) for reward in rewards]
        except (TypeError, ValueError) as error:
            raise InputError(f"the reward {name!r} gave something that is no number: {error}") from error
        if any(math.isinf(number) for number in numbers):
            raise InputError(f"the reward {name!r} gave an infinite number")
        return numbers


def _awaited(waiting: list[Any]) -> list[Any]:
    async def together() -> list[Any]:
        return list(await asyncio.gather(*waiting))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(together())
    # Inside a loop that runs already (a notebook): another one, in a thread of its own.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, together()).result()


def answer_text(completion: Any) -> str:
    """The text of an answer: a string as it is, of a chat the last message's content.

    Content in parts (text beside images) is joined from its text parts.
    """
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Sequence) and completion and isinstance(completion[-1], Mapping):
        content = completion[-1].get("content", "")
        if isinstance(content, str):
            return content
        if isinstance(content, Sequence):
            return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    raise InputError(f"an answer is a text or a chat that ends with one, got {type(completion).__name__}")
