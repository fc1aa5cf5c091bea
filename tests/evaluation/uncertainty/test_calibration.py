"""Calibration errors against the sheet's values and bins by exact fractions; the two confidences; bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.calibration import (
    brier,
    ece,
    max_normalised_confidence,
    option_confidence,
    reliability_table,
)
from firsthand.evaluation.uncertainty.errors import EmptyGroup, NonFiniteScores

from .slow import slow_ece, unhurried

CONF = [0.95, 0.9, 0.85, 0.6, 0.55, 0.2, 0.15, 0.05]
CORRECT = [1, 1, 0, 1, 0, 0, 1, 0]
ROWS = st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=40)


def columns(rows):
    return [c / 100 for c, _ in rows], [y for _, y in rows]


def test_the_sheets_values():
    assert ece(CONF, CORRECT) == pytest.approx(0.20625)
    assert ece(CONF, CORRECT, bins=5) == pytest.approx(0.18125)
    assert brier(CONF, CORRECT) == pytest.approx(0.2453125)


@unhurried
@given(ROWS, st.sampled_from([1, 2, 3, 5, 7, 10, 20]))
def test_ece_is_that_of_exact_bins(rows, bins):
    """Every edge of tenths is among the confidences: 0.3 and 0.7 are where rounding goes wrong."""
    conf, correct = columns(rows)
    assert ece(conf, correct, bins) == pytest.approx(slow_ece(conf, correct, bins))


@unhurried
@given(ROWS, st.integers(1, 12), st.booleans(), st.randoms(use_true_random=False))
def test_table_and_figure_agree_in_any_order(rows, bins, adaptive, random):
    conf, correct = columns(rows)
    found = reliability_table(conf, correct, bins, adaptive)
    assert sum(row.n for row in found) == len(conf)
    assert len(found) <= bins
    assert ece(conf, correct, bins, adaptive) == pytest.approx(
        sum(r.n * abs(r.gap) for r in found) / len(conf)
    )
    for number, row in enumerate(found):
        inside = [
            (c, y)
            for c, y in zip(conf, correct, strict=True)
            if row.low < c <= row.high or (c == row.low and number == 0)
        ]
        assert len(inside) == row.n
        assert row.accuracy == pytest.approx(np.mean([y for _, y in inside]))
        assert row.confidence == pytest.approx(np.mean([c for c, _ in inside]))
        assert 0 <= row.accuracy_low <= row.accuracy <= row.accuracy_high <= 1
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert ece(*columns(shuffled), bins, adaptive) == pytest.approx(ece(conf, correct, bins, adaptive))


def test_adaptive_bins_hold_equally_many():
    conf = np.linspace(0.9, 1, 100)
    assert [row.n for row in reliability_table(conf, conf > 0.95, 4, adaptive=True)] == [25] * 4
    assert [row.n for row in reliability_table(conf[:10], conf[:10] > 0.9, 4, adaptive=True)] == [2, 3, 2, 3]
    assert len(reliability_table(conf, conf > 0.95, 4)) == 1
    # Two halves right at 0.25 and 0.75 of the time are one bin of the right mean, and two bins that are off.
    halves = [0.6] * 8 + [0.61] * 8
    right = [1] * 8 + [0] * 8
    assert ece(halves, right, 1, adaptive=True) == pytest.approx(0.105)
    assert ece(halves, right, 2, adaptive=True) == pytest.approx((0.4 + 0.61) / 2)


def test_calibrated_confidences_have_a_small_error():
    random = np.random.default_rng(0)
    conf = random.random(20_000)
    right = random.random(20_000) < conf
    assert ece(conf, right) < 0.015
    assert ece(conf, right, adaptive=True) < 0.015
    assert ece(conf**2, right) > 0.1
    assert brier(conf, right) == pytest.approx(1 / 6, abs=0.01)


def test_the_sheets_confidences():
    u = [0.1, 0.4, 0.35, 0.8]
    assert max_normalised_confidence(u) == pytest.approx([0.875, 0.5, 0.5625, 0])
    assert option_confidence(u, 10) == pytest.approx([0.956571, 0.826282, 0.847997, 0.652564], abs=5e-7)
    assert option_confidence([math.log(3), math.log(3)], [3, 9]) == pytest.approx([0, 0.5])


def test_one_outlier_changes_every_confidence_of_the_papers_kind_alone():
    u = [0.1, 0.4, 0.35, 0.8]
    assert (max_normalised_confidence([*u, 1.6])[:4] != max_normalised_confidence(u)).all()
    assert option_confidence([*u, 1.6], 10)[:4].tolist() == option_confidence(u, 10).tolist()


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda: ece([0.5, 1.2], [1, 0]), InputError, "row 1 is 1.2"),
        (lambda: ece([-0.1, 0.5], [1, 0]), InputError, "row 0"),
        (lambda: ece([0.5], [1, 0]), InputError, "1 rows where 2"),
        (lambda: ece([0.5, math.nan], [1, 0]), NonFiniteScores, "rows 1"),
        (lambda: ece([], []), EmptyGroup, "no rows"),
        (lambda: ece([0.5], [3]), InputError, "correct: row 0 is 3"),
        (lambda: ece(CONF, CORRECT, 0), InputError, "bins"),
        (lambda: ece(CONF, CORRECT, 2.5), InputError, "bins"),
        (lambda: brier([0.5], [1, 0]), InputError, "1 rows"),
        (lambda: reliability_table(CONF, CORRECT, level=2), InputError, "level"),
        (lambda: option_confidence([0.1, 2.0], 4), InputError, "row 1: an entropy of 2 is outside"),
        (lambda: option_confidence([0.1, 1.2], [9, 3]), InputError, r"ln K = 1\.09861"),
        (lambda: option_confidence([-0.1], 4), InputError, "row 0"),
        (lambda: option_confidence([0.1], 1), InputError, "at least 2 options"),
        (lambda: option_confidence([0.1], 2.5), InputError, "whole number"),
        (lambda: option_confidence([0.1], [2, 3]), InputError, "each of 1"),
        (lambda: max_normalised_confidence([0.1, -0.1]), InputError, "row 1"),
        (lambda: max_normalised_confidence([0.0, 0.0]), InputError, "all entropies are 0"),
        (lambda: max_normalised_confidence([math.inf]), NonFiniteScores, "rows 0"),
    ],
)
def test_bad_input(call, kind, says):
    with pytest.raises(kind, match=says):
        call()
