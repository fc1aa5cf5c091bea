"""Lines from habits to gains, by hand and by a slow obvious way."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from firsthand.errors import InputError
from firsthand.training.four_habits import predict_gains, profile

HABITS = [{"backtracking": float(n), "verification": 1.0} for n in (0, 1, 2, 3, 4)]
GAINS = [0.02, 0.11, 0.17, 0.33, 0.37]


def test_a_line_is_scipys():
    line = predict_gains(HABITS, GAINS).lines["backtracking"]
    wanted = stats.linregress(range(5), GAINS)
    half = stats.t.ppf(0.975, 3) * wanted.stderr
    assert (line.slope, line.intercept) == pytest.approx((wanted.slope, wanted.intercept))
    assert (line.low, line.high) == pytest.approx((wanted.slope - half, wanted.slope + half))
    assert line.rank == pytest.approx(1)


def test_models_are_left_out_one_by_one():
    x, y = np.arange(5.0), np.array(GAINS)
    errors, plain = [], []
    for left in range(5):
        keep = [n for n in range(5) if n != left]
        slope, intercept = np.polyfit(x[keep], y[keep], 1)
        errors.append(y[left] - intercept - slope * x[left])
        plain.append(y[left] - y[keep].mean())
    line = predict_gains(HABITS, GAINS).lines["backtracking"]
    assert line.error == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert line.error_of_mean == pytest.approx(np.sqrt(np.mean(np.square(plain))))
    assert line.error < line.error_of_mean


def test_a_habit_that_is_the_same_everywhere_says_nothing():
    found = predict_gains(HABITS, GAINS)
    line = found.lines["verification"]
    assert (line.slope, line.rank) == (0, 0)
    assert line.error == pytest.approx(line.error_of_mean)
    assert found.best in ("backtracking", "all")
    assert found.lines["all"].slope == pytest.approx(found.lines["backtracking"].slope)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["lines"]["verification"]["low"] is None


def test_prediction_of_another_model():
    found = predict_gains(HABITS, [0.1 * n for n in range(5)])
    assert found.predict({"backtracking": 7, "verification": 1}) == pytest.approx(0.7)
    seen = profile(["Wait, 3 + 4 = 7. Let me try again.", "nothing"])
    assert found.predict(seen, "backtracking") == pytest.approx(0.1 * seen.means["backtracking"][0])
    with pytest.raises(InputError, match="a line is one of"):
        found.predict({}, "luck")


@pytest.mark.parametrize(
    ("habits", "gains", "message"),
    [
        (HABITS, GAINS[:3], "5 models' habits, but 3 gains"),
        (HABITS[:2], GAINS[:2], "at least 3"),
        ([{"luck": 1.0}] * 3, [0.1, 0.2, 0.3], "luck"),
        (HABITS[:3], [0.1, float("nan"), 0.3], "must be numbers"),
    ],
)
def test_wrong_input(habits, gains, message):
    with pytest.raises(InputError, match=message):
        predict_gains(habits, gains)
