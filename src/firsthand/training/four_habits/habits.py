"""Habits of a trace, counted: verification, backtracking, subgoals, backward chaining (section 3 of the paper).

By rules: words that mark a habit, from a file that anyone can extend, each counted once where it stands. By meaning,
for Countdown: every step is computed again, so that a claim of success that is none does not count as a check, and a
combination that leads nowhere is one that was abandoned, whatever the words around it say. By a judge: any function
from a prompt to an answer with `<count>n</count>`.

Long traces have more of everything: rates per thousand tokens stand beside the counts.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from fractions import Fraction
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from firsthand.errors import InputError, NotFoundError
from firsthand.training.four_habits.countdown import SIGNS, Problem
from firsthand.training.four_habits.errors import JudgeParseError
from firsthand.training.four_habits.estimates import estimate

__all__ = [
    "BEHAVIOURS",
    "BehaviourCounts",
    "HabitProfile",
    "JudgeCounter",
    "Step",
    "agreement",
    "count_all",
    "count_meaning",
    "count_rules",
    "count_words",
    "profile",
    "profile_counts",
    "read_rules",
    "read_steps",
    "sentences",
]

BEHAVIOURS = ("verification", "backtracking", "subgoal", "backward_chaining")
Rules = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class BehaviourCounts:
    """How often each habit shows in one trace; None where a judge gave no count.

    `tokens` counts words, numbers and signs; `spans` holds (habit, start, end) in characters where known.
    """

    verification: int | None = 0
    backtracking: int | None = 0
    subgoal: int | None = 0
    backward_chaining: int | None = 0
    tokens: int = 0
    spans: tuple[tuple[str, int, int], ...] = field(default=(), compare=False)

    def of(self, behaviour: str) -> int | None:
        """The count of one habit."""
        if behaviour not in BEHAVIOURS:
            raise InputError(f"a habit is one of {', '.join(BEHAVIOURS)}, got {behaviour!r}")
        found: int | None = getattr(self, behaviour)
        return found

    def __add__(self, other: BehaviourCounts) -> BehaviourCounts:
        """Counts of two traces together; what is missing in either is missing."""
        sums: dict[str, Any] = {
            name: None if (a := self.of(name)) is None or (b := other.of(name)) is None else a + b
            for name in BEHAVIOURS
        }
        return BehaviourCounts(**sums, tokens=self.tokens + other.tokens)


# --- by rules --------------------------------------------------------------------------------------------------


def read_rules(path: Path | None = None) -> Rules:
    """Patterns of each habit from a TOML file, or the package's own; raises `InputError` for a pattern that is none."""
    try:
        text = (
            resources.files(__package__).joinpath("rules.toml").read_text(encoding="utf-8")
            if path is None
            else path.read_text(encoding="utf-8")
        )
        given = tomllib.loads(text)
        rules = {name: tuple(str(p) for p in given[name]["patterns"]) for name in given}
    except FileNotFoundError:
        raise NotFoundError(f"there are no rules at {path}") from None
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no rules: a table a habit, each with patterns ({error!r})") from error
    unknown = sorted(set(rules) - set(BEHAVIOURS))
    if unknown:
        raise InputError(f"{path}: {unknown[0]!r} is no habit; they are {', '.join(BEHAVIOURS)}")
    for patterns in rules.values():
        for pattern in patterns:
            _compiled((pattern,), 0)
    return rules


@lru_cache(maxsize=4096)
def _compiled(patterns: tuple[str, ...], target: int | None) -> re.Pattern[str] | None:
    """All patterns as one; those with a target are left out where there is none."""
    chosen = [
        p.replace("{target}", str(target)) for p in patterns if target is not None or "{target}" not in p
    ]
    if not chosen:
        return None
    try:
        return re.compile("|".join(rf"(?<!\w)(?:{pattern})(?!\w)" for pattern in chosen), re.IGNORECASE)
    except re.error as error:
        raise InputError(f"{patterns[0]!r} is no regular expression ({error})") from error


@lru_cache(maxsize=1)
def _own_rules() -> Rules:
    return read_rules()


def count_rules(trace: str, problem: Problem | None = None, *, rules: Rules | None = None) -> BehaviourCounts:
    """Habits by the words that mark them; with a `problem` its target counts among them."""
    found: dict[str, int] = {}
    spans: list[tuple[str, int, int]] = []
    for name, patterns in (rules or _own_rules()).items():
        target = None if problem is None else problem.target
        if problem is not None and name == "backward_chaining" and target in problem.numbers:
            target = None  # a step that begins with that number begins with what is given
        compiled = _compiled(tuple(patterns), target)
        matches = [] if compiled is None else [match.span() for match in compiled.finditer(trace)]
        found[name] = len(matches)
        spans += [(name, start, end) for start, end in matches]
    return BehaviourCounts(
        **found, tokens=count_words(trace), spans=tuple(sorted(spans, key=lambda s: s[1:]))
    )


def count_words(text: str) -> int:
    """Words, numbers and signs of a text."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def sentences(text: str) -> list[tuple[int, int]]:
    """Where each sentence begins and ends: at full stops, question and exclamation marks, and line breaks."""
    found = []
    for match in re.finditer(r"[^.!?\n]+(?:\.(?=\d)[^.!?\n]*)*[.!?]*", text):
        if match.group().strip():
            start = match.start() + len(match.group()) - len(match.group().lstrip())
            found.append((start, match.end()))
    return found


# --- by meaning ------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """One computed step `left sign right = result` of a trace, and where it stands."""

    left: Fraction
    sign: str
    right: Fraction
    result: Fraction
    start: int
    end: int

    @property
    def correct(self) -> bool:
        """Whether the arithmetic is right."""
        if self.sign == "/":
            return self.right != 0 and self.left / self.right == self.result
        return {"+": self.left + self.right, "-": self.left - self.right, "*": self.left * self.right}[
            self.sign
        ] == self.result


_STEP = re.compile(r"(?<![\w.])(\d{1,9})\s*([-+*/×÷−])\s*(\d{1,9})\s*=\s*(-?\d{1,9})(?![\w.]*\d)")


def read_steps(trace: str) -> list[Step]:
    """Every `a ∘ b = c` of a trace, in order; longer sums are not steps."""
    return [
        Step(
            Fraction(match[1]),
            match[2].translate(SIGNS),
            Fraction(match[3]),
            Fraction(match[4]),
            *match.span(),
        )
        for match in _STEP.finditer(trace)
    ]


def count_meaning(trace: str, problem: Problem) -> BehaviourCounts:
    """Habits of a Countdown trace by its steps, computed again.

    - backtracking: a step that goes on neither from the last result nor from any number that the attempt still has:
      a new attempt began;
    - verification: a last step of an attempt after which the trace says rightly whether the target was reached;
    - backward chaining: a step that begins with the target, where the target is none of the numbers;
    - subgoal: a stated aim ("get to 12") that a later step of the trace reaches.
    """
    steps = [step for step in read_steps(trace) if step.correct]
    target, given = Fraction(problem.target), [Fraction(n) for n in problem.numbers]
    backward = [step for step in steps if step.left == target and target not in given]
    forward = [step for step in steps if step not in backward]
    attempts = _attempts(forward, given)
    checked = sum(_checked(trace, attempt[-1], target) for attempt in attempts)
    aims = [
        (Fraction(match[1]), match.end())
        for match in re.finditer(
            r"(?:get to|reach|make|aim for|near|close to) (\d{1,9})", trace, re.IGNORECASE
        )
    ]
    reached = sum(
        any(step.result == aim and step.start >= end for step in forward)
        for aim, end in aims
        if aim != target
    )
    return BehaviourCounts(
        verification=checked,
        backtracking=max(0, len(attempts) - 1),
        subgoal=reached,
        backward_chaining=len(backward),
        tokens=count_words(trace),
    )


def _attempts(steps: Sequence[Step], given: Sequence[Fraction]) -> list[list[Step]]:
    """Steps in attempts: a step belongs to the last one if its numbers are still there to use."""
    attempts: list[list[Step]] = []
    left: list[Fraction] = []
    for step in steps:
        after = _used(left, step)
        if attempts and after is not None:
            attempts[-1].append(step)
            left = after
            continue
        fresh = _used(list(given), step)
        attempts.append([step])
        left = [] if fresh is None else fresh
    return attempts


def _used(numbers: Sequence[Fraction], step: Step) -> list[Fraction] | None:
    """The numbers after a step, or None where it uses one that is not there."""
    rest = list(numbers)
    for number in (step.left, step.right):
        if number not in rest:
            return None
        rest.remove(number)
    return [*rest, step.result]


def _checked(trace: str, step: Step, target: Fraction) -> bool:
    """Whether what follows the step says rightly that it is, or is not, the target."""
    said = trace[step.end : step.end + 60].lower()
    said = re.split(r"\d+\s*[-+*/×÷]\s*\d+", said)[0]
    no = re.search(
        rf"not {target}(?!\d)|too (?:high|low|big|large|small)|does(?:n.t| not)|(?<!\w)no(?!\w)|wrong", said
    )
    yes = re.search(r"works|correct|right|(?<!\w)yes(?!\w)|reached|done|matches", said)
    if no:
        return step.result != target
    return bool(yes) and step.result == target


# --- by a judge ------------------------------------------------------------------------------------------------


_WHAT = {
    "verification": "checks of a result against what was wanted, said or implied (1, not 22; too high; this works)",
    "backtracking": "an approach given up for another one; every new combination that does not go on from the last",
    "subgoal": "an intermediate aim that is stated (first get near 12)",
    "backward_chaining": "reasoning that starts from the goal and goes towards what is given (24 / 2 = 12, so ...)",
}


@dataclass(frozen=True)
class JudgeCounter:
    """Habits by a judge: a function from a prompt to an answer, such as a chat model.

    `on_missing` is what an answer without `<count>n</count>` counts as: None (missing), a number, or "raise" for
    `JudgeParseError`. `domain` says what the traces are about.
    """

    judge: Callable[[str], str]
    domain: str = "a game in which given numbers are combined to reach a target"
    on_missing: int | str | None = None

    def count(self, traces: Sequence[str]) -> list[BehaviourCounts]:
        """Four questions a trace."""
        return [
            BehaviourCounts(
                **dict[str, Any]((name, self._one(name, trace)) for name in BEHAVIOURS),
                tokens=count_words(trace),
            )
            for trace in traces
        ]

    def _one(self, name: str, trace: str) -> int | None:
        answer = self.judge(
            f"Here is somebody's reasoning about {self.domain}:\n\n<reasoning>\n{trace}\n</reasoning>\n\n"
            f"Count this in it: {_WHAT[name]}. Answer with the number alone between <count> and </count>; 0 if there "
            "is none."
        )
        found = re.findall(r"<count>\s*(\d{1,6})\s*</count>", answer)
        if found:
            return int(found[-1])
        if self.on_missing == "raise":
            raise JudgeParseError(f"the judge's answer about {name} has no <count>: {answer[:80]!r}")
        if isinstance(self.on_missing, str):
            raise InputError(f"on_missing is a number, None or 'raise', got {self.on_missing!r}")
        return self.on_missing


# --- many traces -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HabitProfile:
    """Habits of many traces, each a mapping by habit.

    Attributes:
        means: counts a trace, over the traces that have one, with 95 % intervals (t).
        shares: traces in which the habit shows at all.
        rates: counts per thousand tokens.
        missing: traces without a count.
        traces, tokens: how many traces, and tokens a trace.
    """

    means: dict[str, tuple[float, float, float]]
    shares: dict[str, float]
    rates: dict[str, float]
    missing: dict[str, int]
    traces: int
    tokens: float

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it; what is not defined is None."""

        def known(value: float) -> float | None:
            return None if math.isnan(value) else value

        return {
            **vars(self),
            "means": {name: [known(value) for value in values] for name, values in self.means.items()},
            "shares": {name: known(value) for name, value in self.shares.items()},
        }


def count_all(
    traces: Sequence[str],
    problems: Sequence[Problem] | None = None,
    counter: Callable[..., BehaviourCounts] | JudgeCounter = count_rules,
) -> list[BehaviourCounts]:
    """The habits of each trace, by any counter."""
    if not traces:
        raise InputError("there are no traces")
    if problems is not None and len(problems) != len(traces):
        raise InputError(f"{len(problems)} problems for {len(traces)} traces")
    if isinstance(counter, JudgeCounter):
        return counter.count(traces)
    if problems is None:
        return [counter(trace) for trace in traces]
    return [counter(trace, problem) for trace, problem in zip(traces, problems, strict=True)]


def profile(
    traces: Sequence[str],
    problems: Sequence[Problem] | None = None,
    counter: Callable[..., BehaviourCounts] | JudgeCounter = count_rules,
) -> HabitProfile:
    """Count the habits of `traces`, by rules, by meaning (with `problems`) or by a judge, and sum them up."""
    return profile_counts(count_all(traces, problems, counter))


def profile_counts(counts: Sequence[BehaviourCounts]) -> HabitProfile:
    """`profile` of traces that were counted already, one entry a trace."""
    if not counts:
        raise InputError("there are no traces")
    means, shares, rates, missing = {}, {}, {}, {}
    for name in BEHAVIOURS:
        known = [(value, one.tokens) for one in counts if (value := one.of(name)) is not None]
        values = np.array([value for value, _ in known], dtype=float)
        missing[name] = len(counts) - len(known)
        means[name] = astuple(estimate(values))
        shares[name] = float((values > 0).mean()) if len(values) else math.nan
        tokens = sum(count for _, count in known)
        rates[name] = 1000 * float(values.sum()) / tokens if tokens else 0.0
    return HabitProfile(
        means, shares, rates, missing, len(counts), sum(one.tokens for one in counts) / len(counts)
    )


def agreement(mine: Sequence[BehaviourCounts], theirs: Sequence[BehaviourCounts]) -> dict[str, float]:
    """Cohen's κ of two counters on whether each habit shows in a trace; NaN where neither ever differs from itself.

    Traces without a count in either are left out of that habit.
    """
    if len(mine) != len(theirs) or not mine:
        raise InputError(
            f"two counters' counts of the same traces are compared; got {len(mine)} and {len(theirs)}"
        )
    found = {}
    for name in BEHAVIOURS:
        pairs = [(a.of(name), b.of(name)) for a, b in zip(mine, theirs, strict=True)]
        shown = np.array([(a > 0, b > 0) for a, b in pairs if a is not None and b is not None], dtype=float)
        if not len(shown):
            found[name] = math.nan
            continue
        first, second = shown.mean(axis=0)
        chance = first * second + (1 - first) * (1 - second)
        same = float((shown[:, 0] == shown[:, 1]).mean())
        found[name] = math.nan if chance == 1 else float((same - chance) / (1 - chance))
    return found
