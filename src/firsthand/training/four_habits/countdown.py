"""Countdown: from given numbers, each used once, make an expression that equals a target (section 3).

Problems that have a solution, a solver, and a scorer that runs no code: an expression is read by a parser of its own
and computed with fractions, so that `8 / 3 * 3` is 8 and `9**9**9` is a syntax error and not an hour. The search keeps
whole numbers as such and turns to fractions where a quotient is one: they cost ten times as much.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from firsthand.errors import InputError
from firsthand.training.four_habits.errors import ExpressionError, LeakageError, UnsolvableRangeError

__all__ = [
    "Problem",
    "Score",
    "evaluate",
    "generate",
    "reachable",
    "score",
    "solve",
    "split_problems",
    "steps_of",
]

Reason = Literal["ok", "no_answer", "wrong_numbers", "syntax", "value"]
Number = int | Fraction  # equal ones are equal, and have one hash, whichever of the two they are
_TRIES = 10_000
_LONGEST = 400  # characters of an expression
_DEEPEST = 40  # parentheses within one another


class Problem(NamedTuple):
    """Numbers, each to be used once, and what they should come to."""

    numbers: tuple[int, ...]
    target: int

    @property
    def key(self) -> tuple[tuple[int, ...], int]:
        """The same for all orders of the numbers."""
        return tuple(sorted(self.numbers)), self.target


@dataclass(frozen=True)
class Score:
    """What an answer earned. `value` may be above 0 without being `correct`: a crumb for its form is no success."""

    value: float
    correct: bool
    reason: Reason
    expression: str = ""


# --- expressions -----------------------------------------------------------------------------------------------


def evaluate(text: str) -> tuple[Fraction, list[int]]:
    """The value of an expression and the numbers in it, in order; whole numbers, + − * / and parentheses.

    × · ÷ − are read as * * / -. Raises `ExpressionError` with the place of what is not allowed, `ZeroDivisionError`
    for a division by zero.
    """
    parser = _parsed(text)
    return parser.value, parser.numbers


def steps_of(text: str) -> list[tuple[Fraction, str, Fraction, Fraction]]:
    """The operations of an expression in the order in which they are computed: (left, sign, right, value).

    Raises what `evaluate` raises.
    """
    return _parsed(text).steps


SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})


def _parsed(text: str) -> _Parser:
    if len(text) > _LONGEST:
        raise ExpressionError(f"an expression has at most {_LONGEST} characters", _LONGEST)
    return _Parser(text.translate(SIGNS))


class _Parser:
    """Recursive descent over one line: sums of products of numbers and parentheses."""

    def __init__(self, text: str) -> None:
        self.text, self.place, self.depth = text, 0, 0
        self.numbers: list[int] = []
        self.steps: list[tuple[Fraction, str, Fraction, Fraction]] = []
        self.value = self.sum()
        self.space()
        if self.place < len(self.text):
            raise ExpressionError(f"{self.text[self.place]!r} does not belong here", self.place)

    def space(self) -> None:
        while self.place < len(self.text) and self.text[self.place] == " ":
            self.place += 1

    def sign(self, allowed: str) -> str:
        """The sign that comes next, if it is one of these; it is taken."""
        self.space()
        found = self.text[self.place : self.place + 1]
        if found and found in allowed:
            self.place += 1
            return found
        return ""

    def sum(self) -> Fraction:
        value = self.product()
        while sign := self.sign("+-"):
            value = self.step(value, sign, self.product())
        return value

    def product(self) -> Fraction:
        value = self.term()
        while sign := self.sign("*/"):
            value = self.step(value, sign, self.term())
        return value

    def step(self, left: Fraction, sign: str, right: Fraction) -> Fraction:
        """The value of one operation, which is kept."""
        value = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[sign](
            left, right
        )
        self.steps.append((left, sign, right, value))
        found: Fraction = value
        return found

    def term(self) -> Fraction:
        if self.sign("("):
            self.depth += 1
            if self.depth > _DEEPEST:
                raise ExpressionError("parentheses are too deep", self.place)
            value = self.sum()
            if not self.sign(")"):
                raise ExpressionError("a parenthesis is not closed", self.place)
            self.depth -= 1
            return value
        self.space()
        found = re.compile(r"[0-9]+").match(self.text, self.place)
        if found is None:
            raise ExpressionError("a number or a parenthesis is missing", self.place)
        self.place = found.end()
        self.numbers.append(int(found.group()))
        return Fraction(self.numbers[-1])


def score(
    text: str,
    problem: Problem,
    *,
    format_score: float = 0.1,
    partial: Literal["proximity"] | None = None,
    strict_last_line: bool = False,
) -> Score:
    """Score an answer: 1 for an expression of exactly the problem's numbers that equals the target.

    The last `<answer>…</answer>` of the text counts (with `strict_last_line`, of its last line: the official rule). An
    answer that is none of what was asked earns `format_score`; no answer earns 0. With `partial="proximity"` a right
    expression of another value earns more the nearer it comes, up to 0.5. Never raises for what a model wrote.
    """
    where = text.rstrip("\n").rpartition("\n")[2] if strict_last_line else text
    found = re.findall(r"<answer>(.*?)</answer>", where, re.DOTALL)
    if not found:
        return Score(0.0, False, "no_answer")
    # An opening tag inside belongs to the last answer: "<answer> <answer> 1 + 2 </answer>".
    expression = found[-1].rpartition("<answer>")[2].strip()
    try:
        value, numbers = evaluate(expression)
    except ExpressionError:
        return Score(format_score, False, "syntax", expression)
    except ZeroDivisionError:
        return Score(format_score, False, "value", expression)
    if sorted(numbers) != sorted(problem.numbers):
        return Score(format_score, False, "wrong_numbers", expression)
    if value == problem.target:
        return Score(1.0, True, "ok", expression)
    earned = format_score
    if partial == "proximity":
        away = abs(value - problem.target) / max(1, abs(problem.target))
        earned = max(format_score, float(Fraction(1, 2) / (1 + away)))
    elif partial is not None:
        raise InputError(f"partial is 'proximity' or None, got {partial!r}")
    return Score(earned, False, "value", expression)


# --- what can be reached ---------------------------------------------------------------------------------------


def reachable(numbers: Sequence[int], *, exact_int: bool = False, signs: str = "+-*/") -> set[Number]:
    """Every value that an expression of all the numbers has, with these signs.

    With `exact_int` only the official generator's steps: a + b, a · b, |a − b|, and quotients that are whole.
    """
    if not numbers:
        raise InputError("there are no numbers")
    return set(_values(tuple(sorted(numbers)), exact_int, _checked_signs(signs)))


def _checked_signs(signs: str) -> str:
    if not signs or set(signs) - set("+-*/"):
        raise InputError(f"signs are some of + - * /, got {signs!r}")
    return "".join(sorted(set(signs)))


@lru_cache(maxsize=200_000)
def _values(numbers: tuple[Number, ...], exact_int: bool, signs: str) -> frozenset[Number]:
    if len(numbers) == 1:
        return frozenset(numbers)
    if len(numbers) == 2:  # most calls: what two numbers make needs no further one
        return frozenset(value for value, _ in _steps(*numbers, exact_int, signs))
    found: set[Number] = set()
    for left, right in _pairs(len(numbers)):
        one, other = numbers[left], numbers[right]
        rest = [n for place, n in enumerate(numbers) if place not in (left, right)]
        for value, _ in _steps(one, other, exact_int, signs):
            found |= _values(tuple(sorted([*rest, value])), exact_int, signs)
    return frozenset(found)


def _pairs(count: int) -> Iterator[tuple[int, int]]:
    return itertools.combinations(range(count), 2)


def _steps(one: Number, other: Number, exact_int: bool, signs: str) -> Iterator[tuple[Number, str]]:
    """Values of two numbers, and the sign that makes each; "-" and "/" take the larger first with `exact_int`."""
    if "+" in signs:
        yield one + other, "+"
    if "*" in signs:
        yield one * other, "*"
    if exact_int:
        large, small = max(one, other), min(one, other)
        if "-" in signs:
            yield large - small, "-"
        if "/" in signs and small and large % small == 0:
            yield large // small, "/"
        return
    if "-" in signs:
        yield one - other, "-"
        yield other - one, "~-"
    if "/" in signs:
        if other:
            yield _quotient(one, other), "/"
        if one:
            yield _quotient(other, one), "~/"


def _quotient(one: Number, other: Number) -> Number:
    found = Fraction(one, other)
    return found.numerator if found.denominator == 1 else found


def solve(problem: Problem, *, exact_int: bool = False, signs: str = "+-*/") -> str | None:
    """An expression that solves the problem, or None where there is none; `exact_int`, `signs` as in `reachable`."""
    items: list[tuple[Number, str]] = [(n, str(n)) for n in problem.numbers]
    found = _search(items, problem.target, exact_int, _checked_signs(signs))
    return found if found is None or not found.startswith("(") else found[1:-1]


def _search(items: list[tuple[Number, str]], target: int, exact_int: bool, signs: str) -> str | None:
    if len(items) == 1:
        return items[0][1] if items[0][0] == target else None
    if target not in _values(tuple(sorted(value for value, _ in items)), exact_int, signs):
        return None
    for left, right in _pairs(len(items)):
        (one, mine), (other, theirs) = items[left], items[right]
        rest = [item for place, item in enumerate(items) if place not in (left, right)]
        for value, sign in _steps(one, other, exact_int, signs):
            first, second = (theirs, mine) if sign[0] == "~" else (mine, theirs)
            if exact_int and sign in "-/" and one < other:
                first, second = theirs, mine
            found = _search([*rest, (value, f"({first} {sign[-1]} {second})")], target, exact_int, signs)
            if found is not None:
                return found
    return None


# --- problems --------------------------------------------------------------------------------------------------


def generate(
    count: int,
    *,
    sizes: Sequence[int] = (3, 4),
    size_weights: Sequence[float] | None = None,
    number_range: tuple[int, int] = (1, 99),
    target_range: tuple[int, int] = (10, 100),
    exact_int: bool = True,
    signs: str = "+-*/",
    exclude: Iterable[Problem] = (),
    seed: int = 0,
) -> list[Problem]:
    """`count` problems that have a solution, no two with the same numbers and target.

    Numbers and targets are drawn evenly from their ranges, ends included; a solution is one as `reachable` says.
    Raises `UnsolvableRangeError` after 10 000 draws without a new problem.
    """
    if count < 0 or not sizes or min(sizes) < 2:
        raise InputError(f"a problem needs at least two numbers, got sizes {tuple(sizes)}")
    if number_range[0] < 0 or number_range[0] > number_range[1] or target_range[0] > target_range[1]:
        raise InputError(
            f"ranges run from low to high, numbers from 0; got {number_range} and {target_range}"
        )
    weights = np.ones(len(sizes)) if size_weights is None else np.array(size_weights, dtype=float)
    if len(weights) != len(sizes) or (weights < 0).any() or weights.sum() <= 0:
        raise InputError(
            f"give one weight a size, at least one above 0; got {size_weights} for {tuple(sizes)}"
        )
    rng = np.random.default_rng(seed)
    seen = {problem.key for problem in exclude}
    found: list[Problem] = []
    missed = 0
    while len(found) < count:
        if missed >= _TRIES:
            raise UnsolvableRangeError(
                f"no further problem of {tuple(sizes)} numbers in {number_range} with a target in {target_range} after "
                f"{_TRIES} draws; {len(found)} of {count} were found"
            )
        size = int(rng.choice(sizes, p=weights / weights.sum()))
        numbers = tuple(int(n) for n in rng.integers(number_range[0], number_range[1] + 1, size))
        problem = Problem(numbers, int(rng.integers(target_range[0], target_range[1] + 1)))
        if problem.key in seen or problem.target not in reachable(numbers, exact_int=exact_int, signs=signs):
            missed += 1
            continue
        missed = 0
        seen.add(problem.key)
        found.append(problem)
    return found


def split_problems(problems: Sequence[Problem], *sizes: int) -> list[list[Problem]]:
    """Parts of these sizes, one after another; raises `LeakageError` where a problem would be in two of them."""
    if sum(sizes) > len(problems):
        raise InputError(f"{len(problems)} problems do not make parts of {sizes}")
    keys = [problem.key for problem in problems[: sum(sizes)]]
    if len(set(keys)) < len(keys):
        twice = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise LeakageError(f"the problem {twice[0]} -> {twice[1]} comes twice: parts would share it")
    ends = list(itertools.accumulate(sizes, initial=0))
    return [list(problems[start:end]) for start, end in itertools.pairwise(ends)]
