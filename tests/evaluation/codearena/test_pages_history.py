"""The drawing of points over time: what is on it, where names stand, and that it holds no styles."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.evaluation.codearena.pages.history import _spread, history_of
from firsthand.evaluation.codearena.store.checkpoints import HistoryPoint

from .pages_helpers import read_html

START = datetime(2024, 7, 30, tzinfo=UTC)


def points(lines: dict[str, list[float | None]]) -> list[HistoryPoint]:
    """Points a month apart; None where somebody was not on the board."""
    months = max(len(line) for line in lines.values())
    return [
        HistoryPoint(month, START + timedelta(days=30 * month), user, value, 1, 1, 1, 0.5)
        for month in range(months)
        for user, line in lines.items()
        if (value := line[month]) is not None
    ]


def test_lines_and_rows():
    history = history_of(points({"a": [1, 2, 3], "b": [None, 5, 4]}), ["b", "a", "nobody"])
    assert history is not None
    assert history.names == ("b", "a")
    assert [row[1] for row in history.rows] == [(4, 3), (5, 2), (None, 1)]
    drawing = read_html(history.drawing).one("svg")
    assert [len(one.attributes["d"].split("L")) for one in drawing.all("path", class_="line")] == [2, 3]
    assert [one.text for one in drawing.all("text", class_="name")] == ["b", "a"]
    assert "a from 1.00 to 3.00" in drawing.one("desc").text


@pytest.mark.parametrize("lines", [{"a": [1.0]}, {"a": [], "b": []}, {"b": [1.0, 2.0]}])
def test_less_than_two_checkpoints_are_no_history(lines):
    assert history_of(points(lines), ["a"]) is None


def test_at_most_six_are_drawn_and_the_table_has_the_newest():
    lines = {f"m{number}": [float(number)] * 40 for number in range(9)}
    history = history_of(points(lines), sorted(lines))
    assert history is not None
    assert len(history.names) == 6
    assert len(history.rows) == 24
    assert history.moments == 40
    assert history.rows[0][0] == START + timedelta(days=30 * 39)


def test_names_of_equal_lines_stand_apart_and_inside():
    history = history_of(
        points({f"m{number}": [0.0, 0.0] for number in range(6)}), [f"m{n}" for n in range(6)]
    )
    assert history is not None
    places = sorted(
        float(one.attributes["y"]) for one in read_html(history.drawing).all("text", class_="name")
    )
    assert all(b - a >= 14.9 for a, b in pairwise(places))
    assert places[0] > 0
    assert places[-1] <= 260


@given(st.lists(st.floats(12, 234), min_size=1, max_size=6))
@settings(deadline=None)
def test_names_are_spread_within_the_drawing(wanted):
    found = sorted(_spread(wanted, 15.0, 12.0, 234.0))
    assert all(b - a >= 15 - 1e-6 for a, b in pairwise(found))
    assert found[0] >= 12 - 1e-6
    assert found[-1] <= 234 + 1e-6
    if len(wanted) == 1:
        assert found == wanted


def test_hostile_names_stay_text_and_nothing_is_styled():
    name = '<b onload="x">"&'
    history = history_of(points({name: [1.0, 2.0]}), [name])
    assert history is not None
    assert "<b" not in history.drawing
    assert not re.search(r"style=|<style", history.drawing)
    assert name in read_html(history.drawing).text
