"""Traces that show chosen habits, and their controls: what a model is primed on before it learns from rewards.

A solver writes them: attempts that fail, what is said about them, and one that works. Each kind shows its habits and
no others, which `count_rules` and `count_meaning` can check. Controls: the right answer after an empty think part,
after as many dots as the trace had tokens, after the trace's words in random order; and traces whose answer is wrong.
A teacher (any function from a prompt to a completion) can write the traces instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from firsthand.errors import InputError
from firsthand.training.four_habits.countdown import Problem, score, solve, steps_of
from firsthand.training.four_habits.errors import TokenBudgetError

__all__ = ["KINDS", "Example", "make_priming", "prompt_of", "within_tokens"]

_HABITS: dict[str, frozenset[str]] = {
    "all_strategies": frozenset({"verification", "backtracking", "subgoal", "backward_chaining"}),
    "only_backtracking": frozenset({"backtracking"}),
    "backtracking_verification": frozenset({"backtracking", "verification"}),
    "backtracking_subgoal": frozenset({"backtracking", "subgoal"}),
    "backtracking_backward": frozenset({"backtracking", "backward_chaining"}),
}
# "incorrect" and the three last are made from all_strategies traces.
KINDS = (*_HABITS, "incorrect", "empty_cot", "dots", "shuffled")


@dataclass(frozen=True)
class Example:
    """A prompt and the completion that is imitated; `correct` says whether its answer solves the problem."""

    problem: Problem
    kind: str
    prompt: str
    think: str
    answer: str
    correct: bool

    @property
    def completion(self) -> str:
        """What follows the prompt, which ends inside `<think>`."""
        return f"{self.think}</think>\n<answer>{self.answer}</answer>"


def prompt_of(problem: Problem) -> str:
    """The question, and an assistant's turn that has begun to think."""
    numbers = ", ".join(map(str, problem.numbers))
    return (
        f"User: Make an expression that equals {problem.target} out of the numbers {numbers}, each used exactly once, "
        "with + - * / and parentheses. Write down your work in <think> </think>, then the expression in <answer> "
        "</answer>, for example <answer>(1 + 2) / 3</answer>.\nAssistant: I will solve this step by step.\n<think>"
    )


def make_priming(
    problems: Sequence[Problem],
    kind: str,
    *,
    teacher: Callable[[str], str] | None = None,
    tokenizer: Any = None,
    attempts: tuple[int, int] = (1, 4),
    seed: int = 0,
) -> list[Example]:
    """One example a problem; left out are those without a solution in whole numbers, or with one that passes it.

    Args:
        kind: one of `KINDS`.
        teacher: writes the completion to a prompt instead of the solver; what has no answer is left out, and for
            "incorrect" what is right.
        tokenizer: counts tokens for "dots" (required there).
        attempts: fewest and most failed attempts before the last one.

    Raises `InputError` for an unknown kind, `TokenBudgetError` where dots cannot make up a trace's tokens.
    """
    if kind not in KINDS:
        raise InputError(f"a kind is one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "dots" and tokenizer is None:
        raise InputError("dots are counted in tokens: give the tokenizer")
    if not 0 <= attempts[0] <= attempts[1]:
        raise InputError(f"attempts run from few to many, got {attempts}")
    found = []
    for number, problem in enumerate(problems):
        rng = np.random.default_rng([seed, number])
        made = (
            _by_solver(problem, kind, rng, attempts)
            if teacher is None
            else _by_teacher(problem, kind, teacher)
        )
        if made is not None:
            found.append(_control(made, kind, tokenizer, rng))
    return found


def _control(example: Example, kind: str, tokenizer: Any, rng: Any) -> Example:
    think = example.think
    if kind == "empty_cot":
        think = " "
    elif kind == "dots":
        think = _dots(tokenizer, _count(tokenizer, think))
    elif kind == "shuffled":
        words = think.split()
        think = " ".join(words[place] for place in rng.permutation(len(words)))
    return Example(example.problem, kind, example.prompt, think, example.answer, example.correct)


def _count(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _dots(tokenizer: Any, count: int) -> str:
    """Exactly `count` tokens of " .": more of them where dots are merged, fewer where " ." is two tokens.

    Where the count falls between two numbers of them, one more dot or space stands at the end.
    """
    dots = count
    for _ in range(64):
        for end in ("", ".", " "):
            tokens = _count(tokenizer, " ." * dots + end)
            if tokens == count:
                return " ." * dots + end
        tokens = _count(tokenizer, " ." * dots)
        each = max(1.0, tokens / dots)
        dots = max(1, dots + (math.floor((count - tokens) / each) or (1 if count > tokens else -1)))
    raise TokenBudgetError(f"no number of dots makes {count} tokens with this tokenizer")


def _by_teacher(problem: Problem, kind: str, teacher: Callable[[str], str]) -> Example | None:
    prompt = prompt_of(problem)
    text = teacher(prompt)
    found = score(text, problem)
    if found.reason == "no_answer" or found.correct == (kind == "incorrect"):
        return None
    think = text.partition("</think>")[0].removeprefix("<think>")
    return Example(problem, kind, prompt, think, found.expression, found.correct)


# --- the solver's words -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Attempt:
    """Steps as text, the values on the way, and the expression."""

    steps: tuple[str, ...]
    values: tuple[int, ...]
    expression: str


_AGAIN = ("Let me try again.", "Let me try something else.", "Try another combination.", "Wait.")


def _by_solver(problem: Problem, kind: str, rng: Any, attempts: tuple[int, int]) -> Example | None:
    solution = solve(problem, exact_int=True)
    if solution is None:
        return None
    shown = _HABITS.get(kind, _HABITS["all_strategies"])
    good = _attempt_of(solution)
    if problem.target in good.values[:-1]:  # going on from the target would look like working backwards
        return None
    wrong = kind == "incorrect"
    failed = [
        _random_attempt(problem, rng) for _ in range(int(rng.integers(attempts[0], attempts[1] + 1)) + wrong)
    ]
    failed = [attempt for attempt in failed if problem.target not in attempt.values]
    if wrong and not failed:
        return None
    parts: list[str] = []
    if "backward_chaining" in shown:
        parts.append(_backward(problem, good))
    for place, attempt in enumerate(failed):
        if place:
            parts.append(str(rng.choice(_AGAIN)))
        parts.append(_told(attempt, problem, "verification" in shown))
    last = failed[-1] if wrong else good
    if not wrong:
        if failed:
            parts.append(str(rng.choice(_AGAIN)))
        if "subgoal" in shown and len(good.values) > 1:
            parts.append(f"First get to {good.values[-2]}.")
        parts.append(_told(good, problem, "verification" in shown))
    think = "\n" + " ".join(parts) + "\n"
    return Example(problem, kind, prompt_of(problem), think, last.expression, not wrong)


def _told(attempt: _Attempt, problem: Problem, checked: bool) -> str:
    text = ", ".join(attempt.steps)
    if not checked:
        return f"{text}."
    value = attempt.values[-1]
    if value == problem.target:
        return f"{text}. This works."
    return f"{text}, not {problem.target}."


def _backward(problem: Problem, good: _Attempt) -> str:
    """The last step of the solution from its other side."""
    left, sign, right, _, _ = good.steps[-1].split()
    if sign == "+":
        return f"Working backwards: {problem.target} - {right} = {left}."
    if sign == "-":
        return f"Working backwards from {problem.target}, something less {right}."
    if sign == "*" and int(right):
        return f"Working backwards: {problem.target} / {right} = {left}."
    return f"Working backwards from {problem.target}, something over {right}."


def _random_attempt(problem: Problem, rng: Any) -> _Attempt:
    """Numbers combined two by two in random order, in whole numbers that are not negative."""
    items = [(number, str(number)) for number in problem.numbers]
    steps, values = [], []
    while len(items) > 1:
        one, other = (int(n) for n in rng.choice(len(items), 2, replace=False))
        (a, mine), (b, theirs) = items[one], items[other]
        if a < b:
            a, b, mine, theirs = b, a, theirs, mine
        signs = ["+", "-", "*"] + (["/"] if b and a % b == 0 else [])
        sign = str(rng.choice(signs))
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[sign]
        steps.append(f"{a} {sign} {b} = {value}")
        values.append(value)
        rest = [item for place, item in enumerate(items) if place not in (one, other)]
        items = [*rest, (value, f"({mine} {sign} {theirs})")]
    return _Attempt(tuple(steps), tuple(values), items[0][1][1:-1])


def _attempt_of(expression: str) -> _Attempt:
    """An expression of whole numbers as its steps."""
    steps = steps_of(expression)
    return _Attempt(
        tuple(f"{left} {sign} {right} = {value}" for left, sign, right, value in steps),
        tuple(int(value) for _, _, _, value in steps),
        expression,
    )


def within_tokens(
    sets: Sequence[Sequence[Example]], tokenizer: Any, *, tolerance: float = 0.005
) -> list[list[Example]]:
    """Each set cut to the same total of completion tokens, that of the smallest, within `tolerance`.

    Examples are taken in order; raises `TokenBudgetError` where a set's next example would pass the total and what is
    taken stays short of it by more.
    """
    totals = [[_count(tokenizer, example.completion) for example in examples] for examples in sets]
    if not sets or not all(totals):
        raise InputError("there are no examples to match")
    budget = min(sum(counts) for counts in totals)
    found = []
    for examples, counts in zip(sets, totals, strict=True):
        kept, spent = [], 0
        for example, count in zip(examples, counts, strict=True):
            if spent + count <= budget * (1 + tolerance):
                kept.append(example)
                spent += count
        if spent < budget * (1 - tolerance):
            raise TokenBudgetError(
                f"{len(examples)} examples of kind {examples[0].kind} come to {spent} tokens, {budget} are wanted"
            )
        found.append(kept)
    return found
