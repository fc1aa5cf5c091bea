"""Temperatures that were planted are found, isotonic maps are scikit-learn's, and no answer is fitted to itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.calibration import ece
from firsthand.evaluation.uncertainty.entropy import log_probabilities, margin, option_entropy
from firsthand.evaluation.uncertainty.errors import EmptyGroup, NonFiniteScores
from firsthand.evaluation.uncertainty.recalibration import (
    fit_isotonic,
    fit_temperature,
    isotonic,
    temperature_scaled,
)

from .slow import unhurried


def drawn(n=3000, temperature=2.5, options=4, seed=0):
    """Logits of a model that is right in saying softmax(l / temperature), and the answers drawn so."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, options)) * 3
    shares = np.exp(log_probabilities(logits / temperature))
    return logits, (random.random(n)[:, None] > shares.cumsum(axis=1)).sum(axis=1).clip(0, options - 1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_planted_temperature_is_found(temperature):
    found = fit_temperature(*drawn(temperature=temperature))
    assert found.value == pytest.approx(temperature, rel=0.08)
    assert found.loss <= found.loss_before
    assert found.at_bound is False


@unhurried
@given(st.permutations(range(4)))
def test_another_order_of_options_with_its_gold_index_changes_labels_only(order):
    logits, gold = drawn(40)
    moved, moved_gold = logits[:, order], np.argsort(order)[gold]
    assert option_entropy(moved) == pytest.approx(option_entropy(logits))
    assert margin(moved) == pytest.approx(margin(logits))
    assert fit_temperature(moved, moved_gold).value == pytest.approx(
        fit_temperature(logits, gold).value, rel=1e-5
    )
    one, two = temperature_scaled(logits, gold), temperature_scaled(moved, moved_gold)
    assert two.probabilities == pytest.approx(one.probabilities[:, order], abs=1e-6)


def test_no_other_temperature_is_better():
    logits, gold = drawn(500)
    found = fit_temperature(logits, gold)
    rows = np.arange(len(gold))
    grid = [-log_probabilities(logits / t)[rows, gold].mean() for t in np.geomspace(0.01, 100, 2000)]
    assert found.loss <= min(grid) + 1e-9
    assert found.loss == pytest.approx(min(grid), abs=1e-4)
    assert found.loss_before == pytest.approx(-log_probabilities(logits)[rows, gold].mean())


def test_scaling_mends_an_overconfident_model():
    logits, gold = drawn()
    right = logits.argmax(axis=1) == gold
    before = np.exp(log_probabilities(logits)).max(axis=1)
    scaled = temperature_scaled(logits, gold)
    assert ece(before, right) > 0.12
    assert ece(scaled.confidence, right) < 0.05
    assert scaled.probabilities.sum(axis=1) == pytest.approx(np.ones(len(gold)))
    assert (scaled.probabilities.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_questions_with_fewer_options_are_padded():
    logits, gold = drawn(200, options=3)
    padded = np.pad(logits, ((0, 0), (0, 2)), constant_values=-np.inf)
    assert fit_temperature(padded, gold).value == pytest.approx(fit_temperature(logits, gold).value)
    scaled = temperature_scaled(padded, gold)
    assert (scaled.probabilities[:, 3:] == 0).all()


@pytest.mark.parametrize(("sign", "bound"), [(1, 0.01), (-1, 100)])
def test_a_temperature_at_its_bound_is_flagged(sign, bound):
    logits = sign * np.array([[2.0, 0, 0], [0, 3, 0], [0, 0, 1]])
    found = fit_temperature(logits, [0, 1, 2])
    assert found.at_bound is True
    assert found.value == pytest.approx(bound, rel=1e-3)


def test_no_answer_is_in_its_own_temperature():
    logits, gold = drawn(60)
    one = temperature_scaled(logits, gold, folds=3, seed=4)
    changed = gold.copy()
    changed[7] = (gold[7] + 1) % 4
    two = temperature_scaled(logits, changed, folds=3, seed=4)
    mine = one.fold == one.fold[7]
    assert (one.probabilities[mine] == two.probabilities[mine]).all()
    assert (one.probabilities[~mine] != two.probabilities[~mine]).any(axis=1).all()
    assert sorted(np.bincount(one.fold)) == [20, 20, 20]


def test_no_answer_is_in_its_own_isotonic_confidence():
    random = np.random.default_rng(1)
    conf = random.random(90)
    right = random.random(90) < conf
    ids = [f"q{number}" for number in range(90)]
    one = isotonic(conf, right, folds=3, ids=ids)
    for row in range(0, 90, 9):
        changed = right.copy()
        changed[row] = ~changed[row]
        two = isotonic(conf, changed, folds=3, ids=ids)
        assert two[row] == one[row]
        assert (two != one).any()


def test_with_ids_the_order_of_rows_changes_nothing():
    logits, gold = drawn(80)
    ids = np.array([f"q{number}" for number in range(80)])
    order = np.random.default_rng(3).permutation(80)
    one = temperature_scaled(logits, gold, ids=ids.tolist())
    two = temperature_scaled(logits[order], gold[order], ids=ids[order].tolist())
    assert (one.fold[order] == two.fold).all()
    assert two.confidence == pytest.approx(one.confidence[order])
    conf, right = one.confidence, logits.argmax(axis=1) == gold
    assert isotonic(conf[order], right[order], ids=ids[order].tolist()) == pytest.approx(
        isotonic(conf, right, ids=ids.tolist())[order]
    )
    assert (
        temperature_scaled(logits, gold, seed=1).fold != temperature_scaled(logits, gold, seed=2).fold
    ).any()


@unhurried
@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=40),
    st.lists(st.integers(0, 40), min_size=1, max_size=9),
)
def test_isotonic_regression_is_scikit_learns(rows, asked):
    from sklearn.isotonic import IsotonicRegression

    conf, right = [c / 20 for c, _ in rows], [y for _, y in rows]
    new = [a / 40 for a in asked]
    found = fit_isotonic(conf, right)
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(conf, right)
    assert found.apply(new) == pytest.approx(theirs.predict(new))
    assert (np.diff(found.y) >= 0).all()
    assert ((found.y >= 0) & (found.y <= 1)).all()


def test_isotonic_regression_mends_a_bent_confidence():
    random = np.random.default_rng(0)
    conf = random.random(4000)
    right = random.random(4000) < conf**3
    assert ece(conf, right) > 0.2
    assert ece(isotonic(conf, right), right) < 0.05


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda: fit_temperature([0.1, 0.2], [0, 1]), InputError, "shape"),
        (lambda: fit_temperature([[0.1, 0.2]], [0, 1]), InputError, "1 whole numbers"),
        (lambda: fit_temperature([[0.1, 0.2]], [0.5]), InputError, "whole numbers"),
        (lambda: fit_temperature([[0.1, 0.2], [0.1, 0.2]], [0, 2]), InputError, "row 1: the answer 2"),
        (lambda: fit_temperature([[0.1, -math.inf]], [1]), InputError, "row 0: the gold option"),
        (lambda: fit_temperature([[0.1, math.nan]], [0]), NonFiniteScores, "rows 0"),
        (lambda: fit_temperature(np.zeros((1, 0)), [0]), EmptyGroup, "nothing to choose"),
        (lambda: temperature_scaled([[0.1, 0.2]] * 3, [0, 1, 0], folds=4), InputError, "2 to the number"),
        (lambda: temperature_scaled([[0.1, 0.2]] * 3, [0, 1, 0], folds=1), InputError, "folds"),
        (lambda: isotonic([0.1, 0.2], [1, 0], folds=2, ids=["a"]), InputError, "2 different"),
        (lambda: isotonic([0.1, 0.2], [1, 0], folds=2, ids=["a", "a"]), InputError, "2 different"),
        (lambda: fit_isotonic([0.1, 1.1], [1, 0]), InputError, "row 1"),
        (lambda: fit_isotonic([], []), EmptyGroup, "no rows"),
    ],
)
def test_bad_input(call, kind, says):
    with pytest.raises(kind, match=says):
        call()
