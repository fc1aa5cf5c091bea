"""Is this output the right answer? Six ways to compare, and how a problem names them.

    standard            words are compared, white space between them is not
    exact               every byte
    floats              as standard, and two numbers are equal within `rel` or `abs`: floats(rel=1e-6, abs=1e-6)
    unordered_lines     as standard, line by line, in any order
    python_literal      line by line, as the values that Python literals stand for
    custom              a program decides, which `grading.py` runs in the sandbox

A comparison takes time in proportion to both texts and memory in proportion to the expected one, whatever the output:
what a judged program wrote is never evaluated, and only parsed within bounds.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice, zip_longest
from typing import Any

from firsthand.evaluation.codearena.errors import InvalidCase

__all__ = ["CHECKERS", "Checker", "parse_checker"]

CHECKERS = ("standard", "exact", "floats", "unordered_lines", "python_literal", "custom")
_SPECIFICATION = re.compile(r"\s*([a-z_]+)\s*(?:\(([^()]*)\))?\s*")
_SHOWN = 60
# Python's parser takes stack and memory in proportion to depth and length; nothing right is longer or deeper.
_LONGEST_LITERAL = 1 << 18
_DEEPEST_LITERAL = 40
_MANY_SIGNS = re.compile(rb"(?:[-+~]\s*){%d}" % _DEEPEST_LITERAL)

Compare = Callable[[bytes, bytes], "str | None"]


@dataclass(frozen=True)
class Checker:
    """A way to compare.

    Attributes:
        name: one of `CHECKERS`.
        rel: relative tolerance of `floats`.
        abs: absolute tolerance of `floats`.
    """

    name: str
    rel: float = 1e-6
    abs: float = 1e-6

    def validate(self, expected: bytes) -> None:
        """Raise `InvalidCase` where no output could be compared with this expected answer."""
        if self.name == "python_literal":
            for number, line in enumerate(expected.split(b"\n"), 1):
                if line.strip():
                    try:
                        _literal(line)
                    except ValueError as error:
                        raise InvalidCase(f"line {number} of the answer: {_shown(line)}: {error}") from error

    def difference(self, expected: bytes, got: bytes) -> str | None:
        """Where `got` differs from `expected`, in words; None where it is right.

        Raises:
            InvalidCase: `custom`, which only a program can decide, or an expected answer that cannot be read.
        """
        if self.name == "standard":
            return _standard(expected, got)
        if self.name == "exact":
            return _exact(expected, got)
        if self.name == "floats":
            return _floats(expected, got, self.rel, self.abs)
        if self.name == "unordered_lines":
            return _unordered_lines(expected, got)
        if self.name == "python_literal":
            return _python_literal(expected, got)
        raise InvalidCase("checker custom: its program decides, in the sandbox")


def parse_checker(specification: str) -> Checker:
    """Read a problem's checker, such as `standard` or `floats(rel=1e-9)`.

    Raises:
        InvalidCase: no such checker, or a parameter that it does not have.
    """
    match = _SPECIFICATION.fullmatch(specification)
    name, inside = match.groups() if match else (None, None)
    if name not in CHECKERS:
        raise InvalidCase(f"checker {specification!r}: there are {', '.join(CHECKERS)}")
    given: dict[str, float] = {}
    for part in (inside or "").split(",") if (inside or "").strip() else []:
        key, _, text = (piece.strip() for piece in part.partition("="))
        if name != "floats" or key not in ("rel", "abs") or key in given:
            raise InvalidCase(
                f"checker {specification!r}: {part.strip()!r}: only floats takes rel=NUMBER, abs=NUMBER"
            )
        try:
            given[key] = float(text)
        except ValueError as error:
            raise InvalidCase(f"checker {specification!r}: {text!r} is not a number") from error
        if not 0 <= given[key] < math.inf:
            raise InvalidCase(f"checker {specification!r}: {key} has to be a finite number, not negative")
    return Checker(name, **given)


def _shown(raw: bytes) -> str:
    text = raw[: 4 * _SHOWN].decode("utf-8", errors="replace")
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _place(data: bytes, words_before: int) -> str:
    """The line of the word with this number: people look for lines, not for words."""
    word = next(islice(re.finditer(rb"\S+", data), words_before, None))
    lines_before = data.count(b"\n", 0, word.start())
    return f"line {lines_before + 1}"


def _words(expected: bytes, got: bytes) -> tuple[list[bytes], list[bytes]]:
    """The words of both; of `got` only so many that more than expected can be told."""
    wanted = expected.split()
    return wanted, got.split(None, len(wanted))


def _standard(expected: bytes, got: bytes) -> str | None:
    wanted, given = _words(expected, got)
    if wanted == given:
        return None
    for index, (right, wrong) in enumerate(zip(wanted, given, strict=False)):
        if right != wrong:
            return f"{_place(got, index)}: expected {_shown(right)}, got {_shown(wrong)}"
    return _other_number(len(wanted), len(given), "words")


def _other_number(wanted: int, given: int, what: str) -> str:
    return f"expected {wanted} {what}, got {'more' if given > wanted else given}"


def _exact(expected: bytes, got: bytes) -> str | None:
    if expected == got:
        return None
    length = min(len(expected), len(got))
    at = next((index for index in range(length) if expected[index] != got[index]), length)
    line = got.count(b"\n", 0, at) + 1
    return f"line {line}: byte {at} differs: expected {_shown(expected[at:])}, got {_shown(got[at:])}"


def _number(word: bytes) -> float | None:
    if b"_" in word:  # which Python's float allows between digits
        return None
    try:
        return float(word)
    except ValueError:
        return None


def _floats(expected: bytes, got: bytes, rel: float, absolute: float) -> str | None:
    wanted, given = _words(expected, got)
    for index, (right, wrong) in enumerate(zip(wanted, given, strict=False)):
        if right == wrong:
            continue
        right_number, wrong_number = _number(right), _number(wrong)
        if right_number is not None and wrong_number is not None:
            # Infinities are close to nothing but themselves, and NaN only to NaN.
            if right_number == wrong_number or (math.isnan(right_number) and math.isnan(wrong_number)):
                continue
            if math.isclose(right_number, wrong_number, rel_tol=0, abs_tol=absolute):
                continue
            if math.isfinite(right_number) and abs(wrong_number - right_number) <= rel * abs(right_number):
                continue
        return f"{_place(got, index)}: expected {_shown(right)}, got {_shown(wrong)}"
    return None if len(wanted) == len(given) else _other_number(len(wanted), len(given), "words")


def _unordered_lines(expected: bytes, got: bytes) -> str | None:
    wanted = Counter(tuple(line.split()) for line in _lines(expected))
    longest = max(map(len, wanted), default=0)
    for line in _lines(got):
        words = tuple(line.split(None, longest))
        if wanted[words] == 0:
            return f"a line is not expected: {_shown(b' '.join(words))}"
        wanted[words] -= 1
    missing = next(wanted.elements(), None)
    return None if missing is None else f"a line is missing: {_shown(b' '.join(missing))}"


def _lines(data: bytes) -> Iterator[bytes]:
    """Those with something on them, one at a time: an output may have millions."""
    return (line for line in BytesIO(data) if line.strip())


def _python_literal(expected: bytes, got: bytes) -> str | None:
    wanted, given = _lines(expected), _lines(got)
    for number, (right, wrong) in enumerate(zip_longest(wanted, given), 1):
        if right is None or wrong is None:
            total = number - (right is None) + sum(1 for _ in wanted)
            return _other_number(total, number if right is None else number - 1, "lines")
        fault = _other_literal(right.strip(), wrong.strip())
        if fault is not None:
            return f"line {number}: {fault}"
    return None


def _other_literal(right: bytes, wrong: bytes) -> str | None:
    if right == wrong:
        return None
    try:
        right_value = _literal(right)
    except ValueError as error:
        raise InvalidCase(f"the expected answer {_shown(right)} cannot be read: {error}") from error
    try:
        same = _same_value(right_value, _literal(wrong))
    except ValueError as error:
        return f"{_shown(wrong)}: {error}"
    return None if same else f"expected {_shown(right)}, got {_shown(wrong)}"


def _literal(line: bytes) -> Any:
    if len(line) > _LONGEST_LITERAL:
        raise ValueError("too long for a Python literal")
    depth = deepest = 0
    for byte in line:  # brackets inside strings count as well: a bound, not a parser
        depth += (byte in b"([{") - (byte in b")]}")
        deepest = max(deepest, depth)
    if deepest > _DEEPEST_LITERAL or _MANY_SIGNS.search(line):  # signs nest, too
        raise ValueError("too deep for a Python literal")
    try:
        return ast.literal_eval(line.decode("utf-8").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("not a Python literal") from error


def _same_value(right: Any, wrong: Any) -> bool:
    """Python's equality, but that True is not 1, in a list neither."""
    if isinstance(right, bool) or isinstance(wrong, bool):
        return right is wrong
    if isinstance(right, list | tuple):
        return (
            type(right) is type(wrong)
            and len(right) == len(wrong)
            and all(_same_value(one, other) for one, other in zip(right, wrong, strict=True))
        )
    if isinstance(right, dict):
        return (
            isinstance(wrong, dict)
            and right.keys() == wrong.keys()
            and all(_same_value(value, wrong[key]) for key, value in right.items())
        )
    return bool(right == wrong)
