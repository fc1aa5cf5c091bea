"""From logits to a token: reference values, transformers' own filters, and one number a position."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firsthand.errors import FirsthandError, InputError
from firsthand.lm.decoding import NonFiniteLogitsError, Sampler, SamplingParams
from firsthand.lm.decoding.sampling import filtered_probabilities, uniform


def close(found, wanted, tolerance=1e-6):
    np.testing.assert_allclose(found, wanted, atol=tolerance)


def test_penalty_divides_positive_logits_and_multiplies_negative_ones():
    logits = np.array([2.0, -1.0, 0.5, 0.0])
    plain = filtered_probabilities(logits, SamplingParams(temperature=1))
    close(plain, [0.710100, 0.035354, 0.158445, 0.096102])
    found = filtered_probabilities(
        logits, SamplingParams(temperature=1, repetition_penalty=1.2), [0, 1, 1, 0]
    )
    close(found, [0.642192, 0.036533, 0.199981, 0.121294])
    # Dividing both signs, as the paper writes it, makes the penalised token likelier than that.
    naive = np.exp(np.array([2 / 1.2, -1 / 1.2, 0.5, 0.0]))
    close(naive / naive.sum(), [0.631966, 0.051875, 0.196796, 0.119363])


def test_min_p_reference():
    p = np.array([0.5, 0.3, 0.15, 0.04, 0.01])
    found = filtered_probabilities(np.log(p), SamplingParams(temperature=1, min_p=0.1))
    close(found, [0.526316, 0.315789, 0.157895, 0, 0])
    kept = filtered_probabilities(np.log(p), SamplingParams(temperature=1, min_p=0.1, min_tokens_to_keep=20))
    close(kept, p)
    four = filtered_probabilities(np.log(p), SamplingParams(temperature=1, min_p=0.1, min_tokens_to_keep=4))
    assert np.flatnonzero(four).tolist() == [0, 1, 2, 3]


def test_eta_cuts_at_the_smaller_of_its_two_bounds():
    p = np.array([0.5, 0.3, 0.15, 0.04, 0.01])
    entropy = -(p * np.log(p)).sum()
    assert entropy == pytest.approx(1.167140, abs=1e-6)
    epsilon = 0.04
    bound = min(epsilon, math.sqrt(epsilon) * math.exp(-entropy))
    assert bound == epsilon
    found = filtered_probabilities(np.log(p), SamplingParams(temperature=1, eta=epsilon + 1e-9))
    assert np.flatnonzero(found).tolist() == [0, 1, 2]
    flat = np.full(1000, 1e-3)  # here the second bound, √ε·exp(−H), is the smaller one
    assert (filtered_probabilities(np.log(flat), SamplingParams(temperature=1, eta=0.5)) > 0).all()


@pytest.mark.parametrize(
    ("ours", "name", "theirs"),
    [
        ({"temperature": 0.7}, "TemperatureLogitsWarper", {"temperature": 0.7}),
        ({"temperature": 1, "top_k": 5}, "TopKLogitsWarper", {"top_k": 5}),
        ({"temperature": 1, "top_p": 0.8}, "TopPLogitsWarper", {"top_p": 0.8}),
        ({"temperature": 1, "min_p": 0.2}, "MinPLogitsWarper", {"min_p": 0.2}),
        ({"temperature": 1, "eta": 0.02}, "EtaLogitsWarper", {"epsilon": 0.02}),
        (
            {"temperature": 1, "repetition_penalty": 1.3},
            "RepetitionPenaltyLogitsProcessor",
            {"penalty": 1.3},
        ),
    ],
)
def test_each_filter_equals_transformers_own(ours, name, theirs):
    import torch
    import transformers

    warper = getattr(transformers, name, None) or getattr(transformers.generation, name)
    rng = np.random.default_rng(5)
    for _ in range(20):
        logits = rng.normal(size=40) * 3
        ids = rng.integers(0, 40, 12)
        found = filtered_probabilities(logits, SamplingParams(**ours), ids.tolist())
        wanted = warper(**theirs)(torch.tensor(ids[None]), torch.tensor(logits[None]))
        close(found, torch.softmax(wanted, -1)[0].numpy(), 1e-9)


def test_greedy_takes_the_first_of_the_largest_and_heeds_penalty_and_bans():
    logits = np.array([1.0, 3.0, 3.0, 2.9])
    draw = lambda **changes: Sampler(SamplingParams(**changes)).draw(logits, [1])
    assert draw() == 1
    assert draw(repetition_penalty=1.5) == 2
    assert draw(banned_ids=(1, 2)) == 3
    assert draw(repetition_penalty=1.5, penalty_window=0) == 1
    with pytest.raises(InputError, match="every token is banned"):
        draw(banned_ids=(0, 1, 2, 3))


@given(st.integers(0, 2**64 - 1), st.integers(0, 10**9))
def test_a_position_has_one_number(seed, position):
    assert uniform(seed, position) == uniform(seed, position)
    assert 0 <= uniform(seed, position) < 1


def test_numbers_of_positions_and_seeds_are_uniform_and_unrelated():
    from scipy.stats import kstest

    numbers = np.array([[uniform(seed, position) for position in range(400)] for seed in range(20)])
    assert kstest(numbers.ravel(), "uniform").pvalue > 1e-3
    for a, b in ((numbers[:, :-1], numbers[:, 1:]), (numbers[:-1], numbers[1:])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.05


def test_draws_follow_the_distribution():
    from scipy.stats import chisquare

    p = np.array([0.5, 0.0, 0.3, 0.2])
    sampler = Sampler(SamplingParams(temperature=1, seed=4))
    with np.errstate(divide="ignore"):
        logits = np.log(p)
    counts = np.bincount([sampler.draw(logits, [0] * n) for n in range(1, 4001)], minlength=4)
    assert counts[1] == 0
    assert chisquare(counts[[0, 2, 3]], 4000 * p[[0, 2, 3]]).pvalue > 1e-3


@settings(deadline=None, max_examples=60)
@example([-5.734e-71, 0.0], 0, 0.5, 0.0, 1)
@given(
    st.lists(st.floats(-8, 8), min_size=1, max_size=30),
    st.integers(0, 31),
    st.floats(0.05, 1),
    st.floats(0, 1),
    st.integers(1, 5),
)
def test_filters_leave_a_distribution_over_the_most_probable(logits, top_k, top_p, min_p, floor):
    params = SamplingParams(temperature=1, top_k=top_k, top_p=top_p, min_p=min_p, min_tokens_to_keep=floor)
    p = filtered_probabilities(np.array(logits), params)
    assert p.sum() == pytest.approx(1)
    kept, gone = np.flatnonzero(p), np.flatnonzero(p == 0)
    if gone.size:  # by probability: logits that differ by less than it can tell are a tie
        weights = np.exp(np.array(logits) - max(logits))
        assert weights[kept].min() >= weights[gone].max()
    if top_k:
        assert kept.size <= max(top_k, 1)


def test_the_window_is_the_end_of_the_text():
    ids = list(range(10))
    window = lambda width, theta=1.2: list(
        Sampler(SamplingParams(repetition_penalty=theta, penalty_window=width)).window(ids)
    )
    assert window(3) == [7, 8, 9]
    assert window(99) == ids
    assert window(None) == ids
    assert window(0) == []  # list[-0:] would be everything
    assert window(3, 1.0) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_damaged_logits_name_model_and_place(bad):
    with pytest.raises(NonFiniteLogitsError, match=r"big model gave .* at position 2") as raised:
        Sampler(SamplingParams(), "big model").draw(np.array([0.0, bad]), [5, 6])
    assert isinstance(raised.value, FloatingPointError)
    assert isinstance(raised.value, FirsthandError)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1}, {"temperature": math.nan}, {"top_k": -1}, {"top_p": 0}, {"top_p": 1.1},
        {"min_p": 2}, {"eta": 1}, {"repetition_penalty": 0}, {"penalty_window": -1},
        {"min_tokens_to_keep": 0}, {"seed": -1},
    ],
)  # fmt: skip
def test_wrong_parameters_are_named(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        SamplingParams(**wrong)
