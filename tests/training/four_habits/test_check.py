"""The check: what it observes, what its null is, how arithmetic is read, what its charts show."""

from __future__ import annotations

import pytest

from firsthand.claims.chart import Chart, render_svg
from firsthand.training.four_habits import check


@pytest.fixture(scope="module")
def smoke():
    return check.measure(1, "smoke")


def by_clause(measurement):
    found = {}
    for one in measurement.observations:
        found.setdefault(one.clause, {})[one.arm] = one.value
    return found


def test_what_is_observed(smoke):
    found = by_clause(smoke)
    looks = smoke.details["looks"]
    assert set(looks) == set(check.CONDITIONS)
    ends = {name: some[-1]["correct"] for name, some in looks.items()}
    primed = {name: next(one for one in some if one["stage"] == "primed") for name, some in looks.items()}
    assert found["than-dots"] == {"habits": ends["habits"], "dots": ends["dots"]}
    assert found["than-direct"] == {"habits": ends["habits"], "direct": ends["direct"]}
    assert found["gains"]["habits"] == pytest.approx(ends["habits"] - primed["habits"]["correct"])
    assert found["goes-back"]["before"] == primed["habits"]["habits"]["backtracking"]
    assert set(found["predicts"]) == {"habits before"}
    assert len(smoke.gates) == 1


def test_in_the_null_dots_stand_in_for_habits():
    found = by_clause(check.measure(1, "smoke", null=True))
    assert found["wrong-as-right"]["wrong"] == found["wrong-as-right"]["habits"]
    assert found["predicts"] == {"habits before": 0.0}


def test_steps_are_read_from_attempts():
    text = "3 + 4 7 * 5 35 NO WAIT 15 / 5 4 - 1 3"
    assert [m.groups() for m in check._STEPS.finditer(text)] == [
        ("3", "+", "4", "7"), ("7", "*", "5", "35"), ("15", "/", "5", "4"), ("4", "-", "1", "3"),
    ]  # fmt: skip


def test_charts_have_a_line_a_condition(smoke):
    drawn = [Chart(**chart) for chart in check.charts([smoke.details, smoke.details])]
    assert [len(chart.series) for chart in drawn] == [5, 5, 5]
    for chart in drawn:
        assert chart.series[0].x == (0.0, 1.0, 2.0)
        assert "<svg" in render_svg(chart)
