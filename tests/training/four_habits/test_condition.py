"""A condition from start to end: looks, priming, learning, resumption."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest
import torch

from firsthand.errors import InputError
from firsthand.lm.tiny import tiny_llama
from firsthand.rl import Rewards
from firsthand.rl.policy import CausalPolicy
from firsthand.rl.trainer import GRPOConfig, SupervisedConfig, train_supervised
from firsthand.training.four_habits import (
    StudyConfig,
    StudyTask,
    countdown_task,
    run_condition,
)
from firsthand.training.four_habits.token_world import (
    SYMBOLS,
    count_symbols,
    draw_problems,
    primed_rows,
    prompt_of,
    symbol_tokenizer,
)

PROBLEMS = draw_problems(60, seed=0)
LEARN, PRIME, TESTS, HELD = PROBLEMS[:30], PROBLEMS[30:45], PROBLEMS[45:53], PROBLEMS[53:]
CONFIG = StudyConfig(
    priming=SupervisedConfig(steps=5, batch=4, learning_rate=3e-3, schedule="constant"),
    learning=GRPOConfig(
        steps=4,
        prompts_per_step=2,
        group_size=3,
        learning_rate=1e-3,
        beta=0.0,
        max_new_tokens=20,
        schedule="constant",
    ),
    every=2,
    samples=2,
    samples_at_the_ends=3,
)


def small_policy(seed=0):
    model = tiny_llama(len(SYMBOLS), width=16, layers=1, heads=2, seed=seed, context=64)
    return CausalPolicy(model, symbol_tokenizer())


def countdown(held_back=()):
    return countdown_task(LEARN, TESTS, prompt=prompt_of, counter=count_symbols, held_back=held_back)


def weights(policy):
    return torch.cat([weight.detach().flatten() for weight in policy.module.parameters()])


EXAMPLES = primed_rows(PRIME, "habits", seed=0)


def test_the_looks_of_a_condition():
    policy = small_policy()
    seen = []
    looks = run_condition(policy, countdown(), EXAMPLES, CONFIG, on_look=seen.append)
    assert [(one.stage, one.step) for one in looks] == [
        ("start", 0),
        ("primed", 0),
        ("learnt", 2),
        ("learnt", 4),
    ]
    assert seen == looks
    for one in looks:
        assert len(one.correct) == len(TESTS)
        assert one.accuracy == pytest.approx(fmean(one.correct))
        assert 0 < one.tokens <= 20
    assert all((3 * value) % 1 == pytest.approx(0, abs=1e-9) for value in looks[-1].correct)
    assert not torch.equal(weights(policy), weights(small_policy()))
    assert run_condition(small_policy(), countdown(), EXAMPLES, CONFIG) == looks


def test_without_examples_nothing_is_primed():
    looks = run_condition(small_policy(), countdown(), [], CONFIG)
    first, second = looks[:2]
    assert (first.correct, first.habits, first.tokens) == (second.correct, second.habits, second.tokens)


def test_priming_teaches_what_the_examples_show():
    config = replace(
        CONFIG,
        priming=SupervisedConfig(steps=150, batch=8, learning_rate=5e-3),
        learning=replace(CONFIG.learning, steps=1, learning_rate=1e-6, max_new_tokens=60),
    )
    primed = {
        name: run_condition(small_policy(), countdown(), primed_rows(PRIME, name, seed=0), config)[1]
        for name in ("habits", "direct")
    }
    assert primed["habits"].habits["backtracking"] > 0.3
    assert primed["habits"].habits["verification"] > 0.3
    assert primed["direct"].habits["backtracking"] < 0.1
    assert primed["direct"].tokens < primed["habits"].tokens


class CutOff(Exception):
    pass


@pytest.mark.parametrize("stop", [("start", 0), ("primed", 0), ("learnt", 2)])
def test_a_run_that_was_cut_off_goes_on(tmp_path, stop):
    def cut(look):
        if (look.stage, look.step) == stop:
            raise CutOff

    whole = small_policy()
    wanted = run_condition(whole, countdown(), EXAMPLES, CONFIG, folder=tmp_path / "whole")
    broken = small_policy()
    with pytest.raises(CutOff):
        run_condition(broken, countdown(), EXAMPLES, CONFIG, folder=tmp_path / "broken", on_look=cut)
    again = small_policy()
    found = run_condition(again, countdown(), EXAMPLES, CONFIG, folder=tmp_path / "broken")
    assert found == wanted
    assert torch.equal(weights(again), weights(whole))
    lines = [(tmp_path / name / "rollouts.jsonl").read_text() for name in ("whole", "broken")]
    assert lines[0] == lines[1]


def test_a_folder_of_other_settings(tmp_path):
    run_condition(small_policy(), countdown(), EXAMPLES, CONFIG, folder=tmp_path)
    with pytest.raises(InputError, match="other settings"):
        run_condition(small_policy(), countdown(), EXAMPLES, replace(CONFIG, every=1), folder=tmp_path)
    (tmp_path / "looks.json").write_text("{")
    with pytest.raises(InputError, match="delete"):
        run_condition(small_policy(), countdown(), EXAMPLES, CONFIG, folder=tmp_path)


def test_the_best_state_of_priming_is_taken():
    """Accuracy on held-back rows, told by a script: best after step 2 of 5."""
    told = iter([0.1, 0.9, 0.9, 0.2, 0.3])

    def correct(completions, **_):
        if len(completions) == 2 * len(HELD):
            return [next(told)] * len(completions)
        return [0.0] * len(completions)

    task = replace(countdown(HELD), correct=correct)
    policy = small_policy()
    states = []
    run_condition(
        policy, task, EXAMPLES, replace(CONFIG, choose_every=1),
        on_look=lambda look: states.append(weights(policy)) if look.stage == "primed" else None,
    )  # fmt: skip
    wanted = small_policy()
    train_supervised(wanted, EXAMPLES, replace(CONFIG.priming, steps=2))
    assert torch.equal(states[0], weights(wanted))
    with pytest.raises(InputError, match="held back: give some"):
        run_condition(small_policy(), countdown(), EXAMPLES, replace(CONFIG, choose_every=1))


def test_a_task_of_ones_own():
    """Any rows and reward: answers with a YES in them."""

    def says_yes(completions, **_):
        return [float("YES" in text) for text in completions]

    task = StudyTask(
        [{"prompt": f"{n} -> {n} <think>"} for n in range(20)],
        [{"prompt": f"{n} -> {n} <think>"} for n in range(30, 40)],
        Rewards([says_yes]),
        says_yes,
    )
    config = replace(
        CONFIG,
        learning=replace(CONFIG.learning, steps=30, prompts_per_step=4, group_size=8, learning_rate=1e-2),
        every=30,
    )
    looks = run_condition(small_policy(), task, [], config)
    assert looks[-1].accuracy > looks[0].accuracy + 0.3
    assert looks[-1].habits["verification"] == 0  # rules read words; YES alone is none of them


@pytest.mark.parametrize("wrong", [{"every": 0}, {"samples": 0}, {"choose_every": -1}, {"backend": "jax"}])
def test_wrong_settings(wrong):
    with pytest.raises(InputError):
        replace(CONFIG, **wrong)


def test_trl_learns_the_same_task(tmp_path):
    policy = small_policy()
    before = weights(policy).clone()
    config = replace(CONFIG, backend="trl", every=1, learning=replace(CONFIG.learning, steps=2))
    looks = run_condition(policy, countdown(), EXAMPLES, config, folder=tmp_path)
    assert [(one.stage, one.step) for one in looks[2:]] == [("learnt", 1), ("learnt", 2)]
    assert not torch.equal(before, weights(policy))
    assert (tmp_path / "rollouts.jsonl").is_file()
