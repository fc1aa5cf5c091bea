"""The task of a study: form is no success, and no test is learnt from."""

from __future__ import annotations

import pytest

from firsthand.errors import InputError
from firsthand.training.four_habits import LeakageError, countdown_rewards, countdown_task
from firsthand.training.four_habits.token_world import draw_problems, prompt_of


def test_form_is_no_success():
    rewards, correct = countdown_rewards()
    answers = ["<answer> 1 + 2 </answer>", "<answer> 1 + 3 </answer>", "none"]
    given = {"numbers": [[1, 2]] * 3, "target": [3] * 3}
    assert rewards(answers, **given).total.tolist() == [1.0, 0.1, 0.0]
    assert correct(answers, **given) == [1.0, 0.0, 0.0]


def test_tests_that_are_learnt_from():
    problems = draw_problems(20, seed=0)
    learn, tests = problems[:12], problems[12:]
    with pytest.raises(LeakageError, match="1 prompts"):
        countdown_task(learn, [*tests, learn[0]], prompt=prompt_of)
    with pytest.raises(InputError, match="rows to learn from and tests"):
        countdown_task([], tests)
