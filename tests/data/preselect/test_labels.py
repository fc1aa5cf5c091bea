"""Labels: whom the seed picks among equals, whatever the input's order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.data.preselect import EmptyClassError, build_labels
from firsthand.errors import InputError

STRENGTH = np.array([0.2, 0.8, 0.8, 0.8, 1.0, 0.0, 0.4, 0.6])


def ids_of(strength, ids, **options):
    top, bottom = build_labels(strength, ids=ids, min_per_class=1, **options)
    return {ids[i] for i in top}, {ids[i] for i in bottom}


def test_quantile_reference_values():
    chosen = set()
    for seed in range(30):
        top, bottom = build_labels(STRENGTH, positives="quantile", q=0.25, seed=seed, min_per_class=1)
        assert 4 in top
        assert len(top) == 2
        assert bottom.tolist() == [0, 5]
        (other,) = set(top.tolist()) - {4}
        chosen.add(other)
    assert chosen == {1, 2, 3}  # each of the three equals has its turn


@given(st.permutations(range(8)), st.integers(0, 5), st.sampled_from(["exact", "quantile"]))
@settings(max_examples=50, deadline=None)
def test_the_choice_does_not_depend_on_the_order(order, seed, positives):
    ids = [f"d{i}" for i in range(8)]
    levels = np.array([0.5, 0.5, 0.5, 1.0, 1.0, 0.5, 0.5, 0.5])
    expected = ids_of(levels, ids, positives=positives, seed=seed)
    assert ids_of(levels[list(order)], [ids[i] for i in order], positives=positives, seed=seed) == expected


def test_a_plain_argsort_would_depend_on_the_order():
    levels = np.array([1.0, 0.5, 0.5, 0.5, 1.0, 0.5])
    ids = np.array(list("abcdef"))
    reverse = np.arange(6)[::-1]
    plain = set(ids[np.argsort(levels, kind="stable")[:2]])
    plain_reversed = set(ids[reverse][np.argsort(levels[reverse], kind="stable")[:2]])
    assert plain != plain_reversed
    ours = ids_of(levels, list(ids), seed=1)
    assert ours == ids_of(levels[reverse], list(ids[reverse]), seed=1)


def test_exact_walks_the_levels_upward():
    strength = np.array([1.0, 1.0, 1.0, 0.0, 0.2, 0.2, 0.2, 0.9])
    top, bottom = build_labels(strength, min_per_class=1)
    assert top.tolist() == [0, 1, 2]
    assert 3 in bottom
    assert len(bottom) == 3
    assert set(bottom.tolist()) <= {3, 4, 5, 6}


def test_no_document_is_in_both_classes():
    mostly_one = np.array([1.0] * 9 + [0.5] * 2)
    top, bottom = build_labels(mostly_one, min_per_class=1)
    assert len(top) == len(bottom) == 2
    assert not set(top) & set(bottom)
    odd = np.array([0.1, 0.2, 0.3])
    top, bottom = build_labels(odd, positives="quantile", q=0.5, min_per_class=1)
    assert (top.tolist(), bottom.tolist()) == ([2], [0])


def test_cap_and_balance():
    strength = np.repeat([1.0, 0.0, 0.5], [30, 10, 60])
    assert [len(c) for c in build_labels(strength, max_per_class=20, min_per_class=1)] == [20, 20]
    assert [len(c) for c in build_labels(strength, balance=False, min_per_class=1)] == [30, 70]
    assert [len(c) for c in build_labels(strength, balance=False, max_per_class=50, min_per_class=1)] == [
        30,
        50,
    ]


def test_documents_without_strength_are_in_neither():
    top, bottom = build_labels([1.0, np.nan, 0.0, np.nan], min_per_class=1)
    assert (top.tolist(), bottom.tolist()) == ([0], [2])


def test_auto_is_exact_only_where_enough_reach_one():
    few = np.array([1.0] + [0.5] * 50 + [0.0] * 49)
    top, _ = build_labels(few, positives="auto", min_per_class=10)
    assert len(top) == 25
    many = np.array([1.0] * 12 + [0.5] * 50 + [0.0] * 38)
    top, _ = build_labels(many, positives="auto", min_per_class=10)
    assert len(top) == 12


def test_too_few_say_what_there_is_and_what_to_do():
    with pytest.raises(EmptyClassError, match=r"positive class has 1 .*S = 0\.800: 3.*positives='quantile'"):
        build_labels(STRENGTH)
    with pytest.raises(EmptyClassError, match="larger seed sample, or a larger q"):
        build_labels(STRENGTH, positives="quantile")
    with pytest.raises(EmptyClassError, match="no strength: 2"):
        build_labels([np.nan, np.nan])
    with pytest.raises(EmptyClassError, match="has 0"):  # N = 4 with the released "== 15": none
        build_labels([0.5] * 100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"q": 0.6}, "q must"),
        ({"positives": "best"}, "positives"),
        ({"ids": ["a"]}, "1 ids"),
        ({"ids": ["a"] * 8}, "repeat"),
        ({"max_per_class": 0}, "at least 1"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(InputError, match=message):
        build_labels(STRENGTH, **options)
    with pytest.raises(InputError, match="one dimension"):
        build_labels([[1.0]])
