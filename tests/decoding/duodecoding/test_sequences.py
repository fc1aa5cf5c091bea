"""How many sequences: the sheet's values, ties, the divisor rule for every budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.decoding.duodecoding import num_sequences
from firsthand.decoding.duodecoding.sequences import divisor_at_most, ranked
from firsthand.errors import InputError

SIX = [0.25, 0.2, 0.15, 0.12, 0.1, 0.08, 0.05, 0.05]


@pytest.mark.parametrize(
    ("p1", "second", "budget", "k"),
    [
        ([0.45, 0.30, 0.15, 0.06, 0.04], 0.5, 16, 2),
        *((SIX, 0.3, budget, k) for budget, k in ((8, 4), (10, 5), (12, 6), (16, 4), (24, 6))),
        ([0.9, 0.05, 0.05], 0.8, 16, 1),
        ([0.3, 0.3, 0.2, 0.2], 1.0, 16, 1),  # strictly above, and ties are not
        ([0.25] * 4, 0.5, 16, 4),
        ([0.25] * 4, 0.5, 7, 1),  # a prime budget cannot be split
        ([0.25] * 4, 0.5, 1, 1),
        ([1.0, 0.0, 0.0], 1e-300, 12, 1),  # no probability, no sequence
        ([0.5, 0.5], 0.0, 4, 2),
    ],
)
def test_reference_values(p1, second, budget, k):
    assert num_sequences(p1, second, budget) == k
    assert num_sequences(p1[::-1], second, budget) == k  # in any order


def test_the_limit():
    uniform = np.full(100, 0.01)
    assert [num_sequences(uniform, 0.5, 24, limit) for limit in (1, 2, 5, 8, 12)] == [1, 2, 4, 8, 12]


@pytest.mark.parametrize(
    ("budget", "table"),
    [  # the official tables, k by k_raw from 1 to 8
        (16, [1, 2, 2, 4, 4, 4, 4, 8]),
        (24, [1, 2, 3, 4, 4, 6, 6, 8]),
        (12, [1, 2, 3, 4, 4, 6, 6, 6]),
    ],
)
def test_the_official_tables_are_one_rule(budget, table):
    assert [divisor_at_most(budget, raw) for raw in range(1, 9)] == table


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_equals_counting_one_by_one(data):
    weights = data.draw(st.lists(st.floats(0.001, 1), min_size=1, max_size=20))
    p1 = np.array(weights) / sum(weights)
    second, budget = data.draw(st.floats(0.01, 1)), data.draw(st.integers(1, 48))
    order = sorted(range(len(p1)), key=lambda i: (-p1[i], i))
    assert ranked(p1, 8).tolist() == order[:8]
    raw = 1
    for i in order[1:8]:
        if not np.log(p1[i]) > np.log(p1[order[0]]) + np.log(second):
            break
        raw += 1
    assert num_sequences(p1, second, budget) == max(k for k in range(1, raw + 1) if budget % k == 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 0.5], 0.5, 0), "budget must be >= 1"),
        (([0.5, 0.5], 0.5, 4, 0), "max_sequences"),
        (([], 0.5, 4), "first_probs"),
        (([0.0, 0.0], 0.5, 4), "first_probs"),
        (([-0.1, 0.5], 0.5, 4), "first_probs"),
        (([float("nan")], 0.5, 4), "first_probs"),
        (([[0.5, 0.5]], 0.5, 4), "first_probs"),
        (([0.5, 0.5], 1.5, 4), "second_max"),
        (([0.5, 0.5], float("nan"), 4), "second_max"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        num_sequences(*arguments)
