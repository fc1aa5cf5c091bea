"""Priming sets: each kind shows its habits and no others; controls are matched; answers are what they say."""

from __future__ import annotations

import pytest

from firsthand.errors import InputError
from firsthand.lm import train_tokenizer
from firsthand.training.four_habits.countdown import generate, score
from firsthand.training.four_habits.errors import TokenBudgetError
from firsthand.training.four_habits.habits import BEHAVIOURS, count_meaning, count_rules, read_steps
from firsthand.training.four_habits.priming import _HABITS, KINDS, make_priming, prompt_of, within_tokens


@pytest.fixture(scope="module")
def problems():
    return generate(60, seed=3)


@pytest.fixture(scope="module")
def tokenizer(problems):
    return train_tokenizer([e.completion for e in make_priming(problems, "all_strategies")], 320)


def total(examples, counter):
    counts = [counter(example.think, example.problem) for example in examples]
    return {name: sum(count.of(name) for count in counts) for name in BEHAVIOURS}


@pytest.mark.parametrize("kind", _HABITS)
def test_each_kind_shows_its_habits_and_no_others(problems, kind):
    examples = make_priming(problems, kind)
    assert len(examples) >= 0.9 * len(problems)
    for name, count in total(examples, count_rules).items():
        assert (count > 0) == (name in _HABITS[kind]), (name, count)
    assert total(examples, count_meaning)["backtracking"] > 0
    for example in examples:
        assert score(example.completion, example.problem).correct
        assert all(step.correct for step in read_steps(example.think))


def test_wrong_answers_are_wrong_and_can_be_read(problems):
    examples = make_priming(problems, "incorrect")
    assert len(examples) > 0.9 * len(problems)
    scores = [score(example.completion, example.problem) for example in examples]
    assert not any(found.correct or example.correct for found, example in zip(scores, examples, strict=True))
    assert all(found.reason == "value" for found in scores)
    assert total(examples, count_rules)["verification"] > 0


def test_controls_are_matched(problems, tokenizer):
    whole = make_priming(problems, "all_strategies")
    dots = make_priming(problems, "dots", tokenizer=tokenizer)
    for one, other in zip(whole, dots, strict=True):
        count = [len(tokenizer(e.think, add_special_tokens=False)["input_ids"]) for e in (one, other)]
        assert count[0] == count[1]
        assert one.answer == other.answer
        assert set(other.think) == {" ", "."}
    assert set(total(dots, count_rules).values()) == {0}
    assert {example.think for example in make_priming(problems, "empty_cot")} == {" "}
    shuffled = make_priming(problems, "shuffled")
    assert all(
        sorted(a.think.split()) == sorted(b.think.split()) for a, b in zip(whole, shuffled, strict=True)
    )
    assert sum(a.think.split() != b.think.split() for a, b in zip(whole, shuffled, strict=True)) > 40


def test_the_same_seed_makes_the_same_set(problems):
    assert make_priming(problems, "all_strategies", seed=1) == make_priming(
        problems, "all_strategies", seed=1
    )
    assert make_priming(problems, "all_strategies", seed=1) != make_priming(
        problems, "all_strategies", seed=2
    )


def test_a_teacher(problems):
    def teacher(prompt):
        assert prompt.endswith("<think>")
        return "hm</think>\n<answer>1 + 1</answer>" if "42" in prompt else "I do not know"

    found = make_priming(problems, "incorrect", teacher=teacher)
    assert found
    assert all(example.think == "hm" and not example.correct for example in found)
    assert make_priming(problems, "all_strategies", teacher=teacher) == []


def test_sets_of_one_length(problems, tokenizer):
    sets = within_tokens(
        [make_priming(problems, "all_strategies"), make_priming(problems, "only_backtracking")],
        tokenizer,
        tolerance=0.01,
    )
    sums = [sum(len(tokenizer(e.completion, add_special_tokens=False)["input_ids"]) for e in s) for s in sets]
    assert abs(sums[0] - sums[1]) <= 0.02 * sums[1]
    assert len(sets[0]) < len(sets[1])
    few = make_priming(problems[:1], "all_strategies")
    with pytest.raises(TokenBudgetError, match="are wanted"):
        within_tokens([few, make_priming(problems[:1], "empty_cot")], tokenizer)
    with pytest.raises(InputError, match="no examples"):
        within_tokens([[]], tokenizer)


def test_what_does_not_fit(problems):
    for act, message in (
        (lambda: make_priming(problems, "joy"), "a kind is"),
        (lambda: make_priming(problems, "dots"), "give the tokenizer"),
        (lambda: make_priming(problems, "dots", attempts=(3, 1)), "give the tokenizer"),
        (lambda: make_priming(problems, "empty_cot", attempts=(3, 1)), "few to many"),
    ):
        with pytest.raises(InputError, match=message):
            act()
    assert set(_HABITS) < set(KINDS)
    assert "24" in prompt_of(problems[0]._replace(target=24))
