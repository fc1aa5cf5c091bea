"""The language of the check: what the sheet counted of its problems, and what each condition shows."""

from __future__ import annotations

import re
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.training.four_habits import Problem, evaluate, score
from firsthand.training.four_habits.token_world import (
    CONDITIONS,
    SYMBOLS,
    attempts_of,
    base_rows,
    count_symbols,
    draw_problems,
    primed_rows,
    prompt_of,
    symbol_tokenizer,
)

PROBLEMS = draw_problems(400, seed=5)


def test_what_the_sheet_counted():
    """About 23.4 legal expressions a problem, of which a random one is right 13.4 % of the time."""
    problems = draw_problems(2_300, seed=0)
    legal = [attempts_of(tuple(sorted(p.numbers))) for p in problems]
    right = [fmean(a.value == p.target for a in found) for p, found in zip(problems, legal, strict=True)]
    assert fmean(map(len, legal)) == pytest.approx(23.4, abs=2)
    assert fmean(right) == pytest.approx(0.134, abs=0.02)


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(1, 15)] * 3))
def test_attempts_are_legal_and_say_what_they_are(numbers):
    found = attempts_of(tuple(sorted(numbers)))
    assert len(set(found)) == len(found)
    for one in found:
        value, used = evaluate(one.expression)
        assert value == one.value
        assert sorted(used) == sorted(numbers)
        assert 0 <= one.first <= 99
        assert 0 <= one.value <= 99
        assert evaluate(f"{one.a} {one.sign} {one.b}")[0] == one.first


def test_problems_are_different_and_can_be_solved():
    assert len({p.key for p in PROBLEMS}) == len(PROBLEMS)
    for problem in PROBLEMS:
        assert sum(a.value == problem.target for a in attempts_of(tuple(sorted(problem.numbers)))) >= 2
    assert draw_problems(400, seed=5) == PROBLEMS
    assert draw_problems(400, seed=6) != PROBLEMS
    with pytest.raises(InputError, match="are wanted"):
        draw_problems(10**6, seed=0)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_what_a_condition_shows(condition):
    rows = primed_rows(PROBLEMS, condition, seed=1)
    counts = [count_symbols(row["answer"]) for row in rows]
    verified, back = sum(c.verification for c in counts), sum(c.backtracking for c in counts)
    assert (verified > 0) == (condition in ("habits", "wrong"))
    assert (back > 0) == (condition in ("habits", "wrong", "backtracking"))
    for row, problem in zip(rows, PROBLEMS, strict=True):
        found = score(row["answer"], problem)
        assert found.correct == (condition != "wrong")
        assert found.reason == ("value" if condition == "wrong" else "ok")
        assert set(row["answer"].split()) <= set(SYMBOLS)


def test_controls_have_the_length_and_the_answers_of_what_they_control():
    habits, dots, direct = (primed_rows(PROBLEMS, name, seed=1) for name in ("habits", "dots", "direct"))
    for mine, length, nothing in zip(habits, dots, direct, strict=True):
        assert len(mine["answer"].split()) == len(length["answer"].split())
        assert mine["answer"].partition("</think>")[2] == length["answer"].partition("</think>")[2]
        assert mine["answer"].partition("</think>")[2] == nothing["answer"].partition("</think>")[2]
        assert set(length["answer"].partition("</think>")[0].split()) == {"."}


def test_what_a_trace_says_of_itself_is_true():
    for row, problem in zip(primed_rows(PROBLEMS, "habits", seed=2), PROBLEMS, strict=True):
        attempts = re.findall(rf"(\d+) {problem.target} (?:NO|YES)", row["answer"])
        said = re.findall(r"NO|YES", row["answer"])
        assert [value == str(problem.target) for value in attempts] == [word == "YES" for word in said]


def test_the_base_has_no_habits():
    rows = base_rows(PROBLEMS[:50], 3, seed=0)
    assert len(rows) == 150
    assert all(count_symbols(row["answer"]).verification == 0 for row in rows)
    assert len({row["answer"] for row in rows}) > 100


def test_symbols_are_tokens():
    tokenizer = symbol_tokenizer()
    row = primed_rows(PROBLEMS[:1], "habits", seed=3)[0]
    text = f"{row['prompt']} {row['answer']}"
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == len(text.split())
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids) == text
    assert len(tokenizer) == len(SYMBOLS) == len(set(SYMBOLS))
    assert prompt_of(Problem((3, 5, 7), 22)) == "3 5 7 -> 22 <think>"


def test_an_unknown_condition():
    with pytest.raises(InputError, match="backtracking"):
        primed_rows(PROBLEMS, "prayer", seed=0)
