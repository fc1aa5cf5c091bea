"""AUCs against two loops over pairs, scikit-learn and the sheet's values; their intervals; what cannot be used."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.discrimination import (
    auc,
    error_auc,
    gini,
    hanley_mcneil_se,
    paired_difference,
    pr_auc,
    unpaired_difference,
    weighted_aucs,
)
from firsthand.evaluation.uncertainty.errors import EmptyGroup, NonFiniteScores, SingleClassError

from .slow import answers, slow_auc, slow_delong_variance, unhurried

ERROR = [0, 0, 1, 1]
U = [0.1, 0.4, 0.35, 0.8]


def normal(n, separation, seed=0, share=0.5):
    random = np.random.default_rng(seed)
    error = random.random(n) < share
    return error, random.normal(size=n) + separation * error


def test_the_sheets_values():
    assert auc(ERROR, U) == 0.75
    assert auc(ERROR, [0.1, 0.3, 0.3, 0.9]) == 0.875
    assert auc(1 - np.array(ERROR), U) == 0.25  # right answers as the positive class, uninverted
    assert auc(ERROR, 1 - np.array(U) / max(U)) == 0.25
    assert auc(1 - np.array(ERROR), 1 - np.array(U) / max(U)) == 0.75  # what the notebook computes
    assert gini(ERROR, U) == 0.5


@pytest.mark.parametrize(
    ("value", "errors", "right", "wanted"),
    [(0.72625, 147, 568, 0.0254), (0.544385, 736, 451, 0.0171), (0.583533, 5323, 5912, 0.0054)],
)
def test_hanley_and_mcneil(value, errors, right, wanted):
    assert hanley_mcneil_se(value, errors, right) == pytest.approx(wanted, abs=5e-5)


@unhurried
@given(answers())
def test_auc_is_the_share_of_pairs(rows):
    error, u = rows
    assert auc(error, u) == pytest.approx(slow_auc(error, u))
    assert error_auc(error, u).value == auc(error, u)
    assert auc(error, u) + auc(error, [-x for x in u]) == pytest.approx(1)
    assert auc(error, [math.exp(3 * x) - 7 for x in u]) == auc(error, u)


@unhurried
@given(answers())
def test_scikit_learn_agrees(rows):
    from sklearn.metrics import average_precision_score, roc_auc_score

    error, u = rows
    assert auc(error, u) == pytest.approx(roc_auc_score(error, u))
    assert pr_auc(error, u) == pytest.approx(average_precision_score(error, u))


@unhurried
@given(answers())
def test_delongs_variance_is_that_of_the_placements(rows):
    error, u = rows
    found = error_auc(error, u)
    assert found.standard_error == pytest.approx(math.sqrt(slow_delong_variance(error, u)), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1
    if found.standard_error > 0:
        assert found.method == "DeLong"
        half = 1.959964 * found.standard_error
        assert found.high == pytest.approx(min(1, found.value + half), abs=1e-6)
        assert found.low == pytest.approx(max(0, found.value - half), abs=1e-6)


@unhurried
@given(answers(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(rows, random):
    shuffled = list(zip(*rows, strict=True))
    random.shuffle(shuffled)
    error, u = zip(*shuffled, strict=True)
    for ci in ("delong", "bootstrap"):
        one, two = (error_auc(*each, ci=ci, resamples=50) for each in (rows, (error, u)))
        assert (one.value, one.low, one.high) == pytest.approx((two.value, two.low, two.high))
    assert pr_auc(error, u) == pytest.approx(pr_auc(*rows))


@unhurried
@given(answers(), st.data())
def test_weights_are_copies(rows, data):
    error, u = rows
    counts = data.draw(st.lists(st.integers(1, 3), min_size=len(u), max_size=len(u)))
    found = weighted_aucs(np.array(error), np.array(u), np.array([counts, [1.0] * len(u)]))
    assert found == pytest.approx([slow_auc(error, u, counts), slow_auc(error, u)])
    assert found[0] == pytest.approx(auc(np.repeat(error, counts), np.repeat(u, counts)))


def test_the_bootstrap_resamples_errors_and_right_answers_apart():
    error, u = normal(300, 0.8)
    found = error_auc(error, u, ci="bootstrap", resamples=4000, seed=1)
    again = error_auc(error, u, ci="bootstrap", resamples=4000, seed=1)
    assert found == again
    assert error_auc(error, u, ci="bootstrap", resamples=4000, seed=2) != found
    delong = error_auc(error, u)
    assert found.standard_error == pytest.approx(delong.standard_error, rel=0.06)
    assert (found.low, found.high) == pytest.approx((delong.low, delong.high), abs=0.012)
    random = np.random.default_rng(0)
    wrong, right = u[error], u[~error]
    obvious = [
        (random.choice(wrong, wrong.size)[:, None] > random.choice(right, right.size)).mean()
        for _ in range(1000)
    ]
    assert found.standard_error == pytest.approx(np.std(obvious), rel=0.1)


def test_ties_are_halves_in_every_resample():
    found = error_auc([1, 1, 1, 0, 0], [2.0] * 5, ci="bootstrap", resamples=20)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_intervals_cover():
    """Two normal kinds one deviation apart: the AUC is Φ(1/√2)."""
    truth = 0.5 * (1 + math.erf(0.5))
    hits = [
        found.low <= truth <= found.high
        for found in (error_auc(*normal(120, 1.0, seed, share=0.4)) for seed in range(400))
    ]
    assert 0.92 <= np.mean(hits) <= 0.98


def test_the_p_value_is_uniform_where_u_says_nothing():
    found = [error_auc(*normal(80, 0.0, seed)).p_value for seed in range(400)]
    assert 0.03 <= np.mean(np.array(found) < 0.05) <= 0.08
    assert error_auc(*normal(300, 1.0)).p_value < 1e-6
    assert error_auc([1, 1, 0, 0], [2.0] * 4).p_value == 1


def test_kinds_that_are_parted_still_have_an_interval():
    error = [1] * 10 + [0] * 10
    found = error_auc(error, [float(e) for e in error])
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.75 < found.low < 0.95
    assert "Hanley" in found.method
    longer = error_auc(error * 10, [float(e) for e in error * 10])
    assert found.low < longer.low < 1
    flipped = error_auc(error, [-float(e) for e in error])
    assert (flipped.low, flipped.high) == pytest.approx((0.0, 1 - found.low))
    # At the lower end the distance is z standard errors of that end's own variance.
    theta, more = found.low, 9.0
    variance = theta * (1 - theta) / 100 * (1 + more * (1 - theta) / (2 - theta) + more * theta / (1 + theta))
    assert 1 - theta == pytest.approx(1.959964 * math.sqrt(variance), abs=1e-6)


def test_independent_groups():
    one, two = normal(300, 1.0, 1), normal(200, 0.3, 2)
    found = unpaired_difference(*one, *two)
    a, b = error_auc(*one), error_auc(*two)
    assert found.value == a.value - b.value
    assert found.standard_error == pytest.approx(math.hypot(a.standard_error, b.standard_error))
    assert found.low == pytest.approx(found.value - 1.959964 * found.standard_error)
    assert (found.n, found.errors) == (500, a.errors + b.errors)
    assert found.p_value < 0.001
    other = unpaired_difference(*two, *one)
    assert (other.value, other.low, other.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_the_sheets_difference_of_biology_and_mathematics():
    """From counts: .726 ± .0254 less .544 ± .0171 is .182, z = 5.9."""
    se = math.hypot(hanley_mcneil_se(0.72625, 147, 568), hanley_mcneil_se(0.544385, 736, 451))
    assert (0.72625 - 0.544385) / se == pytest.approx(5.9, abs=0.06)


def test_a_group_whose_kinds_are_parted_is_not_taken_for_certain():
    parted = ([1] * 8 + [0] * 8, [1.0] * 8 + [0.0] * 8)
    other = normal(400, 0.5, 3)
    found = unpaired_difference(*parted, *other)
    a, b = error_auc(*parted), error_auc(*other)
    assert found.value - found.low > 1.5 * (b.high - b.value)
    assert found.low == pytest.approx(found.value - math.hypot(a.value - a.low, b.high - b.value))
    assert (found.p_value < 0.05) == (found.low > 0)
    same = unpaired_difference(*parted, *parted)
    assert same.low < 0 < same.high
    assert same.p_value == 1


def test_two_scores_of_the_same_questions():
    random = np.random.default_rng(5)
    error = random.random(400) < 0.4
    common = random.normal(size=400)
    one = 1.0 * error + common + 0.3 * random.normal(size=400)
    two = 0.6 * error + common + 0.3 * random.normal(size=400)
    found = paired_difference(error, one, two)
    assert found.value == pytest.approx(auc(error, one) - auc(error, two))
    assert found.standard_error < 0.5 * unpaired_difference(error, one, error, two).standard_error
    chosen = [random.permutation(np.r_[random.choice(np.flatnonzero(error), error.sum()),
                                       random.choice(np.flatnonzero(~error), (~error).sum())])
              for _ in range(400)]  # fmt: skip
    drawn = [auc(error[rows], one[rows]) - auc(error[rows], two[rows]) for rows in chosen]
    assert found.standard_error == pytest.approx(np.std(drawn), rel=0.12)
    same = paired_difference(error, one, 2 * one + 1)
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)


BAD = [
    ([], [], EmptyGroup, "no rows"),
    ([1, 1], [0.1, 0.2], SingleClassError, "2 answers, all wrong"),
    ([0, 0, 0], [0.1, 0.2, 0.3], SingleClassError, "3 answers, all right"),
    ([1, 0], [0.1, math.nan], NonFiniteScores, "rows 1"),
    ([1, 0], [math.inf, 0.1], NonFiniteScores, "rows 0"),
    ([1, 0], [0.1], InputError, "1 rows where 2"),
    ([1, 2], [0.1, 0.2], InputError, "row 1 is 2"),
    (["a", "b"], [0.1, 0.2], InputError, "true or false"),
    ([1, 0], [], EmptyGroup, "scores have no rows"),
    ([[1, 0]], [0.1, 0.2], InputError, "one dimension"),
    ([1, 0], [[0.1, 0.2]], InputError, "one dimension"),
    ([1, 0], ["a", "b"], InputError, "numbers"),
]


@pytest.mark.parametrize(("error", "u", "kind", "says"), BAD)
@pytest.mark.parametrize(
    "function",
    [auc, error_auc, pr_auc, gini, lambda e, u: unpaired_difference(e, u, ERROR, U),
     lambda e, u: unpaired_difference(ERROR, U, e, u), lambda e, u: paired_difference(e, u, u)],
)  # fmt: skip
def test_bad_rows(function, error, u, kind, says):
    with pytest.raises(kind, match=says):
        function(error, u)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: error_auc([1, 0, 0], [1.0, 2, 3]), "1 error and 2 right"),
        (lambda: error_auc([1, 1, 0], [1.0, 2, 3]), "2 errors and 1 right answer:"),
        (lambda: paired_difference([1, 1, 0], [1.0, 2, 3], [1.0, 2, 3]), "two of each"),
        (lambda: error_auc(ERROR, U, ci="wald"), "ci must be"),
        (lambda: error_auc(ERROR, U, level=1), "level"),
        (lambda: error_auc(ERROR, U, level=True), "level"),
        (lambda: error_auc(ERROR, U, ci="bootstrap", resamples=1), "resamples"),
        (lambda: hanley_mcneil_se(1.2, 3, 3), "between 0 and 1"),
        (lambda: hanley_mcneil_se(0.7, 0, 3), "at least one"),
        (lambda: paired_difference([1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]), "too few"),
    ],
)
def test_bad_arguments(call, says):
    with pytest.raises(InputError, match=says):
        call()


def test_one_error_can_be_bootstrapped():
    found = error_auc([1, 0, 0, 0], [3.0, 1, 2, 4], ci="bootstrap")
    assert found.value == pytest.approx(2 / 3)
    assert found.low < found.value < found.high
