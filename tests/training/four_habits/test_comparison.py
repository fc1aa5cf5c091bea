"""What a study says of its conditions: accuracy, gains, differences, prediction; intervals over the right units."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from firsthand.errors import InputError
from firsthand.training.four_habits import HabitStudy, Look


def look(stage, step, correct, back=0.0):
    habits = {"verification": 0.0, "backtracking": back, "subgoal": 0.0, "backward_chaining": 0.0}
    return Look(stage, step, tuple(correct), habits, 10.0 + step)


def run(primed, end, back=0.0):
    return [look("start", 0, [0, 0, 0, 0]), look("primed", 0, primed, back), look("learnt", 5, end, back + 1)]


def test_one_seed_has_intervals_over_prompts():
    study = HabitStudy({"a": [run([0, 0, 1, 0], [1, 0.5, 1, 0])], "b": [run([0, 0, 0, 0], [0, 0, 1, 0])]})
    values = np.array([1, 0.5, 1, 0])
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    found = study.accuracy("a")
    assert (found.value, found.low, found.high) == pytest.approx((values.mean(), low, high))
    assert study.gain("a").value == pytest.approx(0.375)
    assert study.difference("a", "b").value == pytest.approx(0.375)
    assert str(study.accuracy("a", "start")) == "0.000 (0.000 to 0.000)"


def test_three_seeds_are_the_units():
    ends = [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    study = HabitStudy({"a": [run([0] * 4, end) for end in ends], "b": [run([0] * 4, [0] * 4)] * 3})
    low, high = stats.t.interval(0.95, 2, 0.75, stats.sem([0.5, 0.75, 1]))
    for found in (study.accuracy("a"), study.gain("a"), study.difference("a", "b")):
        assert (found.value, found.low, found.high) == pytest.approx((0.75, low, high))
    assert study.curve("a")[-1]["accuracy"] == pytest.approx(0.75)
    assert [point["step"] for point in study.curve("a")] == [0, 5]


def test_gains_are_predicted_over_all_runs():
    study = HabitStudy({f"c{n}": [run([0] * 4, [n / 4] * 4, back=n)] for n in range(4)})
    found = study.predict_gains()
    assert found.models == 4
    assert found.lines["backtracking"].slope == pytest.approx(0.25)
    assert study.as_dict()["prediction"]["models"] == 4
    with pytest.raises(InputError, match="a condition is one of"):
        study.accuracy("z")
