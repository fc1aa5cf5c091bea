"""Advantages: the sheets' values, slow versions of the same, and groups that cannot be."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.rl import GroupSizeError, gae, group_advantages, leave_one_out, whiten


def advantages(rewards, size, **options):
    return group_advantages(torch.tensor(rewards, dtype=torch.float64), size, **options).tolist()


def test_the_papers_values():
    assert advantages([2, 1, 1, 0], 4) == pytest.approx([1.224595, 0, 0, -1.224595], abs=1e-6)
    assert advantages([2, 1, 1, 0], 4, ddof=0)[0] == pytest.approx(1.414014, abs=1e-6)
    assert advantages([3, 1, 1, 1, 0, 0, 1, 1], 8) == pytest.approx(
        [2.160014, 0, 0, 0, -1.080007, -1.080007, 0, 0], abs=1e-6
    )
    assert advantages([0.7] * 4, 4) == [0] * 4


numbers = st.floats(-5, 5)


@given(st.lists(numbers, min_size=3, max_size=5), st.lists(numbers, min_size=3, max_size=5))
def test_each_group_by_itself(one, other):
    size = min(len(one), len(other))
    one, other = one[:size], other[:size]
    found = advantages(one + other, size)
    for group, values in ((one, found[:size]), (other, found[size:])):
        spread = statistics.stdev(group)
        assert values == pytest.approx(
            [(r - statistics.fmean(group)) / (spread + 1e-4) for r in group], abs=1e-6
        )
    unscaled = advantages(one + other, size, scale="none")
    assert unscaled[:size] == pytest.approx([r - statistics.fmean(one) for r in one], abs=1e-9)
    whole = statistics.stdev(one + other)
    assert advantages(one + other, size, scale="batch") == pytest.approx(
        [value / (whole + 1e-4) for value in unscaled], abs=1e-6
    )


def test_a_reward_that_is_not_there_is_left_out():
    nan = math.nan
    found = advantages([2, 1, nan, 0, nan, nan, nan, nan], 4)
    assert found == pytest.approx([*advantages([2, 1, 0], 3)[:2], 0, advantages([2, 1, 0], 3)[2], 0, 0, 0, 0])
    assert advantages([3, nan, nan, nan], 4) == [0, 0, 0, 0]


def test_leave_one_out():
    assert leave_one_out(torch.tensor([2.0, 1, 1, 0]), 4).tolist() == pytest.approx([4 / 3, 0, 0, -4 / 3])
    with pytest.raises(InputError, match="for every answer"):
        leave_one_out(torch.tensor([1.0, math.nan]), 2)


def test_gae_and_whitening():
    found, returns = gae(torch.tensor([[0.0, 0, 1]]), torch.tensor([[0.2, 0.5, 0.7]]))
    assert found[0].tolist() == pytest.approx([0.8, 0.5, 0.3])
    assert returns[0].tolist() == pytest.approx([1, 1, 1])
    assert whiten(found)[0].tolist() == pytest.approx([1.059626, -0.132453, -0.927173], abs=1e-6)


@given(
    st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 3),
)
def test_gae_is_the_sum_it_stands_for(steps, gamma, lam, padding):
    rewards, values = [s[0] for s in steps], [s[1] for s in steps]
    deltas = [
        r + gamma * (values[t + 1] if t + 1 < len(values) else 0) - values[t] for t, r in enumerate(rewards)
    ]
    wanted = [
        sum((gamma * lam) ** (later - t) * deltas[later] for later in range(t, len(deltas)))
        for t in range(len(deltas))
    ]
    pad = [9.0] * padding  # whatever stands there, it is masked
    found, returns = gae(
        torch.tensor([rewards + pad], dtype=torch.float64),
        torch.tensor([values + pad], dtype=torch.float64),
        torch.tensor([[1] * len(steps) + [0] * padding]),
        gamma=gamma, lam=lam,
    )  # fmt: skip
    assert found[0].tolist() == pytest.approx(wanted + [0] * padding, abs=1e-9)
    assert returns[0, : len(steps)].tolist() == pytest.approx(
        [a + v for a, v in zip(wanted, values, strict=True)], abs=1e-9
    )


@pytest.mark.parametrize(
    ("rewards", "size", "message"),
    [([1.0, 2.0], 1, "at least 2"), ([1.0, 2.0, 3.0], 2, "no whole number"), ([], 2, "no whole number")],
)
def test_groups_that_cannot_be(rewards, size, message):
    with pytest.raises(GroupSizeError, match=message):
        group_advantages(torch.tensor(rewards), size)


def test_numbers_that_cannot_be():
    with pytest.raises(InputError, match="infinite"):
        advantages([math.inf, 1], 2)
    with pytest.raises(InputError, match="'group', 'batch' or 'none'"):
        advantages([1, 2], 2, scale="both")
    with pytest.raises(InputError, match=r"\(B, T\)"):
        gae(torch.zeros(3), torch.zeros(3))
    with pytest.raises(InputError, match="two values"):
        whiten(torch.ones(1))
