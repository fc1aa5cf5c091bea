"""Groups at one accuracy: sub-samples have it, planted differences survive or vanish as they must; bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.discrimination import error_auc, unpaired_difference
from firsthand.evaluation.uncertainty.errors import EmptyGroup, NonFiniteScores, SingleClassError
from firsthand.evaluation.uncertainty.matching import auc_difference, tilted_weights
from firsthand.evaluation.uncertainty.table import UncertaintyTable

from .planted import planted
from .slow import unhurried


def masks(table):
    subjects = np.array(table.subject)
    return subjects == "a", subjects == "b"


def test_unmatched_it_is_the_difference_of_independent_groups():
    table = planted(("a", None, 200, 0.3, 1.5), ("b", None, 150, 0.6, 0.3), ("c", None, 50, 0.5, 0.0))
    a, b = masks(table)
    found = auc_difference(table, a, b)
    error, u = ~table.correct, table.H_vocab
    wanted = unpaired_difference(error[a], u[a], error[b], u[b])
    for name, value in wanted.__dict__.items():
        assert getattr(found, name) == value, name
    assert (found.accuracy_a, found.accuracy_b, found.n_a, found.n_b) == (0.7, 0.4, 200, 150)


def test_drawn_by_outcome_both_have_the_mean_accuracy_and_the_aucs_stay():
    table = planted(("a", None, 400, 0.1, 1.2), ("b", None, 400, 0.6, 0.4))
    raw, found = (
        auc_difference(table, *masks(table)),
        auc_difference(table, *masks(table), match_accuracy=True),
    )
    assert (found.accuracy_a, found.accuracy_b) == pytest.approx((0.65, 0.65), abs=0.01)
    assert (found.n_a, found.n_b) == pytest.approx((40 / 0.35, 160 / 0.65), abs=1.5)
    assert found.errors == 40 + round(160 / 0.65 - 160)
    assert found.value == pytest.approx(raw.value, abs=0.02)
    assert found.low > 0
    assert found.standard_error >= raw.standard_error
    assert found.p_value < 0.05


def by_exposure(seed=0, n=600):
    """Within each exposure both groups are alike; group a has the frequent ones, group b the rare ones.

    Frequent facts have few errors, and those with high u; rare ones many, with u that says nothing.
    """
    return planted(
        ("a", "often", n * 4 // 5, 0.15, 2.0), ("a", "seldom", n // 5, 0.6, 0.0),
        ("b", "often", n // 5, 0.15, 2.0), ("b", "seldom", n * 4 // 5, 0.6, 0.0), seed=seed,
    )  # fmt: skip


def test_a_difference_that_is_all_of_composition_vanishes_when_drawn_by_strata():
    table = by_exposure()
    raw = auc_difference(table, *masks(table))
    by_outcome = auc_difference(table, *masks(table), match_accuracy=True)
    found = auc_difference(table, *masks(table), match_accuracy=True, strata="steps")
    assert raw.low > 0.05
    assert by_outcome.low > 0  # dropping rows at random cannot explain it
    assert found.low < 0 < found.high
    assert abs(found.value) < 0.04
    assert found.accuracy_a == pytest.approx(found.accuracy_b, abs=0.02)
    assert (found.accuracy_a + found.accuracy_b) / 2 == pytest.approx(
        (raw.accuracy_a + raw.accuracy_b) / 2, abs=0.02
    )
    assert "drawn by steps" in found.method


def test_a_difference_within_strata_stays():
    table = planted(
        ("a", "often", 400, 0.2, 1.5), ("a", "seldom", 200, 0.5, 1.5), ("b", "often", 200, 0.2, 0.2),
        ("b", "seldom", 400, 0.5, 0.2),
    )  # fmt: skip
    assert auc_difference(table, *masks(table), match_accuracy=True, strata="steps").low > 0.1


def test_matched_intervals_cover():
    """Equal groups of unequal accuracy: 0 is inside at least as often as the level says, by either draw."""
    for strata in (None, "steps"):
        inside = 0
        for seed in range(60):
            table = (
                by_exposure(seed, 200)
                if strata
                else planted(("a", None, 80, 0.3, 1), ("b", None, 80, 0.6, 1), seed=seed)
            )
            found = auc_difference(
                table, *masks(table), match_accuracy=True, strata=strata, repeats=8, seed=seed
            )
            inside += found.low <= 0 <= found.high
        assert inside >= 53  # binomial(60, 0.95): fewer in under 2 %


def test_seeds():
    table = by_exposure(n=200)
    for strata in (None, "steps"):
        one, two, three = (
            auc_difference(table, *masks(table), match_accuracy=True, strata=strata, repeats=5, seed=seed)
            for seed in (1, 1, 2)
        )
        assert one == two
        assert one.value != three.value


def test_a_group_that_is_parted_has_an_interval_of_some_width():
    rows = list(planted(("a", None, 40, 0.5, 100.0), ("b", None, 40, 0.25, 0.5)).rows())
    table = UncertaintyTable.from_rows(rows)
    found = auc_difference(table, *masks(table), match_accuracy=True, repeats=5)
    a, _ = masks(table)
    assert error_auc(~table.correct[a], table.H_vocab[a]).value == 1
    assert found.high - found.low > 0.1
    assert math.isfinite(found.standard_error)


def test_invalid_answers_count_as_errors_where_asked():
    table = planted(("a", None, 60, 0.3, 1.0), ("b", None, 60, 0.3, 1.0), invalid=10)
    apart, counted = (auc_difference(table, *masks(table), invalid=word) for word in ("apart", "error"))
    assert (apart.n, counted.n) == (120, 130)
    assert counted.accuracy_a == pytest.approx(42 / 70)


@unhurried
@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=2, max_size=6, unique_by=lambda x: x[0]
    ),
    st.floats(0.05, 0.95),
)
def test_tilted_weights_reach_any_rate_in_between(strata, where):
    rates = np.array([rate for rate, _ in strata]) / 20
    shares = np.array([share for _, share in strata], float)
    wanted = rates.min() + where * np.ptp(rates)
    found = tilted_weights(rates, shares, wanted)
    assert np.average(rates, weights=found * shares) == pytest.approx(wanted)
    assert found.max() == pytest.approx(1)
    assert (found > 0).all()
    order = np.argsort(rates)
    steps = np.diff(np.log(found[order]))
    assert (steps >= -1e-9).all() or (steps <= 1e-9).all()


def test_no_weights_reach_beyond_the_strata():
    assert tilted_weights([0.3, 0.3], [0.5, 0.5], 0.3).tolist() == [1, 1]
    for wanted in (0.1, 0.2, 0.5):
        with pytest.raises(InputError, match="no mixture of strata"):
            tilted_weights([0.2, 0.4], [0.5, 0.5], wanted)


def call(table=None, a=None, b=None, **arguments):
    table = table or by_exposure(n=100)
    one, two = masks(table)
    return lambda: auc_difference(table, one if a is None else a, two if b is None else b, **arguments)


NARROW = planted(
    ("a", "x", 50, 0.2, 1), ("a", "y", 50, 0.24, 1), ("b", "x", 50, 0.8, 1), ("b", "y", 50, 0.7, 1)
)


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (call(a=np.ones(3, bool)), InputError, "200 flags"),
        (call(a=np.ones(200)), InputError, "200 flags"),
        (call(a=np.ones(200, bool)), InputError, "'q100' is in both groups"),
        (call(a=np.zeros(200, bool)), EmptyGroup, "group a has no rows"),
        (call(b=np.zeros(200, bool)), EmptyGroup, "group b has no rows"),
        (call(planted(("a", None, 9, 0, 0), ("b", None, 9, 0.5, 0))), SingleClassError, "a: 9 answers, all right"),
        (call(planted(("a", None, 8, 0.5, 0), ("b", None, 9, 1, 0))), SingleClassError, "b: 9 answers, all wrong"),
        (call(strata="steps"), InputError, "match_accuracy"),
        (call(match_accuracy=True, repeats=0), InputError, "repeats"),
        (call(match_accuracy=True, strata="topic"), InputError, "no column 'topic'"),
        (call(planted(("a", "x", 9, 0.4, 0), ("b", None, 9, 0.4, 0)), match_accuracy=True, strata="steps"), InputError,
         "'q9' has no 'steps'"),
        (call(NARROW, match_accuracy=True, strata="steps"), InputError, "group a by 'steps': no mixture"),
        (call(score="judge"), InputError, "no score"),
        (call(score="msp"), NonFiniteScores, "'msp'"),
        (call(level=0), InputError, "level"),
        (call(invalid="x"), InputError, "invalid"),
    ],
)  # fmt: skip
def test_bad_input(call, kind, says):
    with pytest.raises(kind, match=says):
        call()
