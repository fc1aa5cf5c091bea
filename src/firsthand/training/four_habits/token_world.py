"""Countdown in a language of 116 symbols, small enough that a model of 0.4 M weights learns its arithmetic.

A prompt is `3 5 7 -> 22 <think>`. An attempt is `a ∘ b r ∘ c t`: two of three numbers make r, r and the third make t,
in whole numbers from 0 to 99. A trace is attempts; each is held against the target, `22 NO WAIT` or in the end
`22 YES`; then comes `</think> <answer> ( a ∘ b ) ∘ c </answer>`. Habits are symbols here: NO and YES verify, WAIT goes
back.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from firsthand.errors import InputError
from firsthand.lm.backend import require, transformers_class
from firsthand.training.four_habits.countdown import Problem
from firsthand.training.four_habits.habits import BehaviourCounts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = [
    "CONDITIONS",
    "SYMBOLS",
    "Attempt",
    "attempts_of",
    "base_rows",
    "count_symbols",
    "draw_problems",
    "primed_rows",
    "prompt_of",
    "symbol_tokenizer",
]

NUMBERS, TARGETS, LARGEST = (1, 15), (5, 60), 99
SOLUTIONS = 2  # attempts that solve a problem, at least
END = "<end>"
SYMBOLS = (
    END, *map(str, range(LARGEST + 1)), "+", "-", "*", "/", "(", ")", "->", "<think>", "</think>", "<answer>",
    "</answer>", "NO", "YES", "WAIT", ".",
)  # fmt: skip
# What a model may be primed on; "direct" and "dots" are the controls.
CONDITIONS = ("habits", "wrong", "direct", "dots", "backtracking")


class Attempt(NamedTuple):
    """(a ∘ b) ∘ c with its values: `first` of the first step, `value` in the end."""

    a: int
    sign: str
    b: int
    first: int
    then: str
    c: int
    value: int

    @property
    def steps(self) -> str:
        """As a trace tells it."""
        return f"{self.a} {self.sign} {self.b} {self.first} {self.then} {self.c} {self.value}"

    @property
    def expression(self) -> str:
        """As an answer."""
        return f"( {self.a} {self.sign} {self.b} ) {self.then} {self.c}"


def _values(left: int, right: int) -> list[tuple[str, int]]:
    """Steps with values from 0 to 99 in whole numbers."""
    found = [("+", left + right), ("-", left - right), ("*", left * right)]
    if right and left % right == 0:
        found.append(("/", left // right))
    return [(sign, value) for sign, value in found if 0 <= value <= LARGEST]


@lru_cache(maxsize=20_000)
def attempts_of(numbers: tuple[int, int, int]) -> tuple[Attempt, ...]:
    """Every legal attempt at three numbers: the larger number first in the first step."""
    found: dict[Attempt, None] = {}
    for x, y, c in itertools.permutations(numbers):
        if x < y:
            continue
        for sign, first in _values(x, y):
            for then, value in _values(first, c):
                found[Attempt(x, sign, y, first, then, c, value)] = None
    return tuple(found)


def draw_problems(count: int, *, seed: int) -> list[Problem]:
    """`count` different problems that two attempts solve or more, from all there are, numbers in random order."""
    low, high = TARGETS
    every = [
        (numbers, target)
        for numbers in itertools.combinations_with_replacement(range(NUMBERS[0], NUMBERS[1] + 1), 3)
        for target, ways in sorted(Counter(a.value for a in attempts_of(numbers)).items())
        if low <= target <= high and ways >= SOLUTIONS
    ]
    if count > len(every):
        raise InputError(f"there are {len(every)} problems, {count} are wanted")
    rng = np.random.default_rng([seed, 31])
    chosen = rng.permutation(len(every))[:count]
    return [Problem(tuple(int(n) for n in rng.permutation(every[k][0])), every[k][1]) for k in chosen]


def prompt_of(problem: Problem) -> str:
    """The question; the answer begins inside `<think>`."""
    return f"{' '.join(map(str, problem.numbers))} -> {problem.target} <think>"


def _row(problem: Problem, think: Sequence[str], answer: Attempt) -> dict[str, Any]:
    shown = " ".join([*think, "</think>", "<answer>", answer.expression, "</answer>"])
    return {
        "prompt": prompt_of(problem), "answer": shown, "numbers": list(problem.numbers), "target": problem.target,
    }  # fmt: skip


def base_rows(problems: Sequence[Problem], each: int, *, seed: int) -> list[dict[str, Any]]:
    """What the base model learns: a random legal attempt and that answer, `each` times a problem; no habits."""
    rows = []
    for number, problem in enumerate(problems):
        rng = np.random.default_rng([seed, 1, number])
        legal = attempts_of(tuple(sorted(problem.numbers)))
        for place in rng.integers(0, len(legal), each):
            rows.append(_row(problem, [legal[place].steps], legal[place]))
    return rows


def primed_rows(
    problems: Sequence[Problem], condition: str, *, each: int = 1, most: int = 4, seed: int
) -> list[dict[str, Any]]:
    """`each` traces a problem of one condition, the same failed attempts (0 to `most` a trace) in all:

    - "habits": failed attempts, each told to be none, then one that works;
    - "wrong": the same attempts and one more that fails and is told so, which is answered all the same;
    - "direct": the right answer after nothing;
    - "dots": the right answer after as many dots as "habits" has symbols;
    - "backtracking": as "habits" without NO and YES.
    """
    if condition not in CONDITIONS:
        raise InputError(f"a condition is one of {', '.join(CONDITIONS)}, got {condition!r}")
    rows = []
    for number, problem in enumerate(problem for problem in problems for _ in range(each)):
        rng = np.random.default_rng([seed, 2, number])
        legal = attempts_of(tuple(sorted(problem.numbers)))
        right = [one for one in legal if one.value == problem.target]
        wrong = [one for one in legal if one.value != problem.target]
        order = rng.permutation(len(wrong))
        failed = [wrong[place] for place in order[: rng.integers(0, most + 1)]]
        good = right[int(rng.integers(len(right)))]
        if condition == "wrong":
            failed.append(wrong[order[min(len(failed), len(wrong) - 1)]])
        checked = condition != "backtracking"
        goal = str(problem.target)
        think = [part for one in failed for part in (one.steps, *[goal, "NO"] * checked, "WAIT")]
        answer = good
        if condition == "wrong":
            think, answer = think[:-1], failed[-1]
        else:
            think += [good.steps, *[goal, "YES"] * checked]
        if condition == "direct":
            think = []
        elif condition == "dots":
            think = ["."] * len(" ".join(think).split())
        rows.append(_row(problem, think, answer))
    return rows


def count_symbols(trace: str, problem: Problem | None = None) -> BehaviourCounts:
    """Habits of a trace, exactly: NO and YES are verification, WAIT is backtracking."""
    symbols = trace.partition("</think>")[0].split()
    return BehaviourCounts(
        verification=symbols.count("NO") + symbols.count("YES"),
        backtracking=symbols.count("WAIT"),
        tokens=len(trace.split()),
    )


def symbol_tokenizer() -> PreTrainedTokenizerFast:
    """One token a symbol; `<end>` ends, pads and begins."""
    require("tokenizers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    backend = Tokenizer(
        models.WordLevel({symbol: place for place, symbol in enumerate(SYMBOLS)}, unk_token=END)
    )
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found: PreTrainedTokenizerFast = transformers_class("PreTrainedTokenizerFast")(
        tokenizer_object=backend,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        clean_up_tokenization_spaces=False,
    )
    return found
