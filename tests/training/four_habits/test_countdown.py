"""Countdown: the sheet's scorer table, what can be reached, problems that have solutions, text that runs nothing."""

from __future__ import annotations

import itertools
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.training.four_habits.countdown import (
    Problem,
    evaluate,
    generate,
    reachable,
    score,
    solve,
    split_problems,
)
from firsthand.training.four_habits.errors import ExpressionError, LeakageError, UnsolvableRangeError


def answered(expression):
    return f"<think>so</think>\n<answer>{expression}</answer>"


@pytest.mark.parametrize(
    ("expression", "numbers", "target", "value", "reason"),
    [
        ("(55 + 36) - (19 + 7)", (19, 36, 55, 7), 65, 1.0, "ok"),
        ("55 + 36 - 19", (19, 36, 55, 7), 72, 0.1, "wrong_numbers"),
        ("8 / 3 * 3", (8, 3, 3), 8, 1.0, "ok"),
        ("10 / 4 * 2", (10, 4, 2), 5, 1.0, "ok"),
        ("6 // 4 * 2", (6, 4, 2), 2, 0.1, "syntax"),
        ("2 ** 3 + 1", (2, 3, 1), 9, 0.1, "syntax"),
        ("7 = 3 + 4", (3, 4, 7), 7, 0.1, "syntax"),
        ("(1 + 2) / 0", (1, 2, 0), 1, 0.1, "value"),
        ("3 × 4 − 2", (2, 3, 4), 10, 1.0, "ok"),
        ("3 + 4 = 7", (3, 4), 7, 0.1, "syntax"),
        ("-3 + 4", (3, 4), 1, 0.1, "syntax"),
        ("", (3, 4), 7, 0.1, "syntax"),
        ("__import__('os')", (3, 4), 7, 0.1, "syntax"),
        ("3 + 4", (3, 4), 8, 0.1, "value"),
    ],
)
def test_the_scorer(expression, numbers, target, value, reason):
    found = score(answered(expression), Problem(numbers, target))
    assert (found.value, found.reason) == (value, reason)
    assert found.correct == (reason == "ok")


def test_which_answer_counts():
    problem = Problem((3, 4), 7)
    assert score("3 + 4", problem).reason == "no_answer"
    assert score("<answer>3 + 4", problem).value == 0
    assert score("<answer>3 - 4</answer> no: <answer>\n3 + 4\n</answer> done", problem).correct
    assert score("<answer> hm <answer>3 + 4</answer>", problem).correct
    later = "<answer>3 + 4</answer>\nthat is it"
    assert score(later, problem).correct
    assert score(later, problem, strict_last_line=True).reason == "no_answer"
    assert score("x\n<answer>3 + 4</answer>\n", problem, strict_last_line=True).correct


def test_crumbs():
    problem = Problem((3, 4), 8)
    assert score(answered("3 + 4"), problem, format_score=0.0).value == 0
    near, far = (score(answered(e), problem, partial="proximity").value for e in ("3 + 4", "3 - 4"))
    assert 0.5 > near > far >= 0.1
    with pytest.raises(InputError, match="proximity"):
        score(answered("3 + 4"), problem, partial="near")


def test_hostile_expressions_cost_nothing():
    started = time.process_time()
    for expression in ("9**9**9", "(" * 300, "1" * 399, "9" * 10**6, "1+" * 199, "(1)" * 100):
        assert not score(answered(expression), Problem((9, 9), 1)).correct
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("text", "place"), [("1 +", 3), ("(1 + 2", 6), ("1 2", 2), ("1 + a", 4), (")", 0), ("1.5", 1)]
)
def test_where_an_expression_ends_to_be_one(text, place):
    with pytest.raises(ExpressionError) as raised:
        evaluate(text)
    assert raised.value.position == place


@given(
    st.recursive(
        st.integers(0, 30).map(str),
        lambda e: st.tuples(e, st.sampled_from("+-*/"), e).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        max_leaves=6,
    )
)
def test_as_python_computes_it(expression):
    import re

    exact = re.sub(r"\d+", lambda found: f"Fraction({found.group()})", expression)
    try:
        wanted = eval(exact, {"Fraction": Fraction})
    except ZeroDivisionError:
        with pytest.raises(ZeroDivisionError):
            evaluate(expression)
        return
    assert evaluate(expression)[0] == wanted
    assert evaluate(expression.replace(" ", ""))[0] == wanted


@pytest.mark.parametrize(
    ("numbers", "exact_int", "every", "whole", "has_24"),
    [
        ((3, 8), False, 6, 3, True),
        ((1, 5, 9), False, 48, 14, None),
        ((19, 36, 55, 7), False, 1057, 12, None),
        ((6, 6, 6, 6), False, 61, 21, True),
        ((3, 3, 8, 8), False, 269, 47, True),
        ((3, 3, 8, 8), True, 58, 43, False),
    ],
)
def test_what_can_be_reached(numbers, exact_int, every, whole, has_24):
    found = reachable(numbers, exact_int=exact_int)
    assert len(found) == every
    assert sum(value.denominator == 1 and 1 <= value <= 100 for value in found) == whole
    if has_24 is not None:
        assert (Fraction(24) in found) == has_24


def in_fractions(numbers, exact_int, signs):
    """What can be reached, the slow obvious way: every number a fraction, every order, nothing kept."""
    if len(numbers) == 1:
        return set(numbers)
    found = set()
    for left, right in itertools.permutations(range(len(numbers)), 2):
        a, b = Fraction(numbers[left]), Fraction(numbers[right])
        values = {"+": a + b, "*": a * b, "-": a - b, "/": a / b if b else None}
        if exact_int:
            values["-"] = abs(a - b)
            values["/"] = a / b if a >= b > 0 and (a / b).denominator == 1 else None
        rest = [number for place, number in enumerate(numbers) if place not in (left, right)]
        for sign, value in values.items():
            if sign in signs and value is not None:
                found |= in_fractions([*rest, value], exact_int, signs)
    return found


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 99), min_size=1, max_size=3)
    | st.lists(st.integers(0, 9), min_size=4, max_size=4),
    st.booleans(),
    st.sampled_from(["+-*/", "+-", "*/", "-/"]),
)
def test_whole_numbers_reach_what_fractions_reach(numbers, exact_int, signs):
    found = reachable(numbers, exact_int=exact_int, signs=signs)
    assert found == in_fractions(numbers, exact_int, signs)
    assert all(type(value) is int for value in found) or not exact_int


def test_solver():
    assert solve(Problem((3, 3, 8, 8), 24), exact_int=True) is None
    assert score(answered(solve(Problem((3, 3, 8, 8), 24))), Problem((3, 3, 8, 8), 24)).correct
    assert solve(Problem((1, 1), 5)) is None
    assert solve(Problem((5,), 5)) == "5"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=4), st.booleans(), st.randoms(use_true_random=False))
def test_whatever_can_be_reached_is_solved(numbers, exact_int, rng):
    values = [v for v in reachable(numbers, exact_int=exact_int) if v.denominator == 1]
    target = int(rng.choice(values)) if values else 10**6
    problem = Problem(tuple(numbers), target)
    solution = solve(problem, exact_int=exact_int)
    assert (solution is not None) == bool(values)
    if solution is not None:
        assert score(answered(solution), problem).correct
        assert score(answered(solution.replace(" ", "")), Problem(tuple(reversed(numbers)), target)).correct


def test_problems():
    problems = generate(60, seed=1)
    assert problems == generate(60, seed=1)
    assert len({p.key for p in problems}) == 60
    assert all(solve(p, exact_int=True) for p in problems)
    assert {len(p.numbers) for p in problems} == {3, 4}
    assert not {p.key for p in generate(60, seed=2, exclude=problems)} & {p.key for p in problems}
    assert {len(p.numbers) for p in generate(10, sizes=(2, 3), size_weights=(0, 1), seed=1)} == {3}


# As the generator drew them when it computed in fractions alone: seeds in people's settings keep their problems.
@pytest.mark.parametrize(
    ("options", "problems"),
    [
        (
            {"seed": 0},
            [
                ((44, 69, 5, 81), 76),
                ((50, 3, 92, 72), 38),
                ((76, 26, 27, 24), 29),
                ((74, 20, 78, 53), 78),
                ((7, 27, 9, 32), 45),
            ],
        ),
        (
            {"number_range": (1, 50), "seed": 1},
            [
                ((7, 16, 7, 23), 98),
                ((14, 4, 15, 25), 54),
                ((22, 45, 2, 25), 71),
                ((6, 39, 20, 2), 76),
                ((16, 4, 45), 33),
            ],
        ),
        (
            {"sizes": (3,), "exact_int": False, "number_range": (0, 9), "seed": 2},
            [((6, 6, 9), 48), ((7, 9, 8), 65), ((3, 8, 7), 31), ((4, 8, 8), 20), ((2, 2, 6), 16)],
        ),
        (
            {"sizes": (5,), "number_range": (1, 9), "seed": 3},
            [
                ((2, 3, 2, 8, 8), 62),
                ((3, 4, 6, 5, 3), 24),
                ((1, 2, 5, 4, 8), 57),
                ((6, 6, 2, 7, 7), 97),
                ((3, 6, 6, 7, 8), 36),
            ],
        ),
    ],
)
def test_a_seed_keeps_its_problems(options, problems):
    assert generate(len(problems), **options) == [Problem(*problem) for problem in problems]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sizes": (1,)}, InputError, "at least two numbers"),
        ({"number_range": (5, 1)}, InputError, "low to high"),
        ({"number_range": (-3, 1)}, InputError, "numbers from 0"),
        ({"size_weights": (1,)}, InputError, "one weight a size"),
        ({"sizes": (2,), "number_range": (1, 2), "target_range": (90, 99)}, UnsolvableRangeError, "0 of 3"),
    ],
)
def test_ranges_that_cannot_be(options, error, message):
    with pytest.raises(error, match=message):
        generate(3, **options)


def test_parts_share_nothing():
    problems = generate(10, seed=0)
    one, two = split_problems(problems, 4, 6)
    assert one + two == problems
    with pytest.raises(LeakageError, match="comes twice"):
        split_problems([*problems[:3], Problem(problems[0].numbers[::-1], problems[0].target)], 2, 2)
    with pytest.raises(InputError, match="do not make"):
        split_problems(problems, 8, 8)


def test_signs_can_be_left_out():
    assert reachable([6, 3], signs="+") == {9}
    assert reachable([6, 3], signs="+-") == {9, 3, -3}
    assert reachable([6, 3], exact_int=True, signs="-/") == {3, 2}
    assert solve(Problem((6, 3), 2), signs="+-*") is None
    assert solve(Problem((6, 3), 2), signs="/") == "6 / 3"
    for problem in generate(20, sizes=(3,), number_range=(1, 30), signs="+-", seed=1):
        expression = solve(problem, signs="+-")
        assert set(expression) <= set("0123456789 +-()")
        assert evaluate(expression)[0] == problem.target
    with pytest.raises(InputError, match="signs are some of"):
        reachable([1, 2], signs="+^")
