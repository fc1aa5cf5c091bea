"""Entropies against the sheet's values and the formula in a loop; bounds; what cannot be used."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.entropy import (
    log_probabilities,
    margin,
    max_probability,
    option_entropy,
    option_mass,
    perplexity,
    token_entropy,
    top_k_entropy,
)
from firsthand.evaluation.uncertainty.errors import EmptyGroup, NonFiniteScores

from .slow import slow_entropy, unhurried

LOGITS = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.floats(-60, 60))
LEAK = np.array([3.0, 1, 1, 1] + [0.0] * 100)


@pytest.mark.parametrize(
    ("logits", "wanted"),
    [
        ([2, 1, 0, -1], 0.947537),
        ([10, 0, 0, 0], 0.001498),
        ([0, 0, 0, 0], 1.386294),
        ([5, 5, -50, -50], 0.693147),
        ([0] * 10, 2.302585),
        ([0] * 262_144, 12.476649),
    ],
)
def test_the_sheets_entropies(logits, wanted):
    assert token_entropy(logits) == pytest.approx(wanted, abs=5e-7)


def test_the_sheets_probabilities_and_normalisation():
    assert np.exp(log_probabilities([2, 1, 0, -1])) == pytest.approx(
        [0.643914, 0.236883, 0.087144, 0.032059], abs=5e-7
    )
    assert token_entropy([2, 1, 0, -1], normalize=True) == pytest.approx(0.683503, abs=5e-7)


def test_probability_that_leaks_to_other_tokens():
    options = log_probabilities(LEAK)[:4]
    assert option_mass(options) == pytest.approx(0.220214, abs=5e-7)
    assert token_entropy(LEAK) == pytest.approx(4.320444, abs=5e-7)
    assert option_entropy(options) == pytest.approx(0.918284, abs=5e-7)


@unhurried
@given(LOGITS)
def test_entropy_is_the_formula_and_stays_in_its_range(logits):
    found = token_entropy(logits)
    assert found == pytest.approx([slow_entropy(row) for row in logits.tolist()], abs=1e-9)
    assert ((found >= 0) & (found <= math.log(logits.shape[1]))).all()
    assert token_entropy(log_probabilities(logits)) == pytest.approx(found, abs=1e-9)
    assert token_entropy(logits + 1000) == pytest.approx(found, abs=1e-9)
    assert token_entropy(logits[:, ::-1]) == pytest.approx(found, abs=1e-9)
    assert token_entropy(logits, base="2") * math.log(2) == pytest.approx(found, abs=1e-9)
    assert token_entropy(logits, base="10") * math.log(10) == pytest.approx(found, abs=1e-9)


@unhurried
@given(LOGITS)
def test_a_batch_is_its_rows(logits):
    assert token_entropy(logits).tolist() == pytest.approx([float(token_entropy(row)) for row in logits])
    assert token_entropy(logits[None])[0].tolist() == token_entropy(logits).tolist()


@unhurried
@given(LOGITS, st.data())
def test_options_alone(logits, data):
    k = data.draw(st.integers(1, logits.shape[1]))
    options = log_probabilities(logits)[:, :k]
    assert (option_entropy(options) <= math.log(k)).all()
    mass = option_mass(options)
    assert ((mass >= 0) & (mass <= 1)).all()
    padded = np.pad(options, ((0, 0), (0, 3)), constant_values=-np.inf)
    assert option_entropy(padded) == pytest.approx(option_entropy(options))
    assert option_mass(padded) == pytest.approx(mass)


@unhurried
@given(LOGITS.filter(lambda x: x.shape[1] > 1))
def test_confidences(logits):
    for row, top, gap in zip(
        np.exp(log_probabilities(logits)), max_probability(logits), margin(logits), strict=True
    ):
        first, second, *_ = sorted(row.tolist(), reverse=True)
        assert top == pytest.approx(first)
        assert gap == pytest.approx(first - second)


def test_half_precision_is_widened_before_the_softmax():
    half = np.array([[20, -20, -20, -20], [2, 1, 0, -1]], np.float16)
    assert np.float16(1e-12) == 0  # why an epsilon inside the logarithm does not help there
    found = token_entropy(half)
    assert found.dtype == np.float64
    assert found == pytest.approx(token_entropy(half.astype(np.float64)))
    assert 0 < found[0] < 1e-14


def test_tensors():
    torch = pytest.importorskip("torch")
    logits = torch.tensor([[2.0, 1, 0, -1]], dtype=torch.bfloat16, requires_grad=True)
    assert token_entropy(logits) == pytest.approx([0.947537], abs=5e-7)


def test_masked_tokens_have_no_part():
    assert token_entropy([0, 0, -math.inf]) == pytest.approx(math.log(2))
    assert option_mass([-math.inf, -math.inf]) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("function", [token_entropy, option_entropy, option_mass, margin, top_k_entropy])
def test_rows_that_are_not_finite_are_named(function, bad):
    with pytest.raises(NonFiniteScores, match="rows 1, 3") as raised:
        function([[-1.0, -2.0], [-1.0, bad], [-2.0, -2.0], [bad, -3.0]])
    assert raised.value.rows == (1, 3)


def test_nothing_possible():
    with pytest.raises(NonFiniteScores):
        token_entropy([[0.0, 1.0], [-math.inf, -math.inf]])


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: token_entropy(3.0), InputError, "axis"),
        (lambda: token_entropy(["a", "b"]), InputError, "numbers"),
        (lambda: token_entropy(np.zeros((2, 0))), EmptyGroup, "nothing to choose"),
        (lambda: token_entropy([1.0, 2.0], base="7"), InputError, "base"),
        (lambda: token_entropy([1.0], normalize=True), InputError, "single choice"),
        (lambda: margin([[1.0]]), InputError, "two choices"),
        (lambda: option_mass([[-1.0, -1.0], [2.0, 1.0]]), InputError, "row 1"),
        (lambda: option_mass([-0.1, -0.2]), InputError, "begins another"),
        (lambda: perplexity([[-1.0], [0.5]]), InputError, "row 1"),
        (lambda: perplexity([-1.0], [True, False]), InputError, "mask"),
        (lambda: perplexity([-1.0], [1]), InputError, "mask"),
        (lambda: perplexity([[-1.0], [-1.0]], np.array([[True], [False]])), EmptyGroup, "row 1"),
        (lambda: perplexity(np.zeros((1, 0))), EmptyGroup, "without tokens"),
        (lambda: perplexity([-math.inf]), NonFiniteScores, "log-prob"),
        (lambda: perplexity([-800.0]), NonFiniteScores, "perplexities"),
        (lambda: top_k_entropy([-1.0, -2.0], vocabulary=1), InputError, "vocabulary of 1"),
        (lambda: top_k_entropy([-1.0, -2.0], vocabulary=2), InputError, "sum to less"),
    ],
)
def test_bad_input(call, error, says):
    with pytest.raises(error, match=says) as raised:
        call()
    assert isinstance(raised.value, ValueError)


def test_perplexity():
    tokens = np.log([[0.5, 0.25, 1.0], [0.1, 1.0, 1.0]])
    assert perplexity(tokens) == pytest.approx([2.0, 10 ** (1 / 3)])
    assert perplexity(tokens, np.array([[True, True, False], [True, False, False]])) == pytest.approx(
        [8**0.5, 10]
    )
    assert perplexity([0.0, 1e-9]) == 1
    junk = np.array([[-1.0, np.nan]])
    assert perplexity(junk, np.array([[True, False]])) == pytest.approx([math.e])


@unhurried
@given(LOGITS.filter(lambda x: x.shape[1] > 1), st.data())
def test_the_first_k_bound_the_entropy(logits, data):
    V = logits.shape[1]
    k = data.draw(st.integers(1, V))
    whole = log_probabilities(logits)
    top = np.sort(whole, axis=1)[:, ::-1][:, :k]
    found, entropy = top_k_entropy(top, vocabulary=V), token_entropy(logits)
    assert (found.lower <= entropy + 1e-9).all()
    assert (found.upper >= entropy - 1e-9).all()
    assert (found.lower >= -(np.exp(top) * top).sum(axis=1) - 1e-9).all()  # no worse than the plain bound
    assert found.renormalized == pytest.approx(option_entropy(top))
    assert found.truncated.tolist() == (np.exp(top).sum(axis=1) < 1 - 1e-4).tolist()
    if k == V:
        assert found.lower == pytest.approx(entropy, abs=1e-9)
        assert found.upper == pytest.approx(entropy, abs=1e-9)
        assert not found.truncated.any()


def test_truncation_is_flagged_and_has_no_upper_bound_without_a_vocabulary():
    found = top_k_entropy(np.log([[0.5, 0.3], [0.75, 0.25]]))
    assert found.truncated.tolist() == [True, False]
    assert found.upper is None
    assert found.mass == pytest.approx([0.8, 1.0])
    rest = -0.2 * math.log(0.3)
    assert found.lower[0] == pytest.approx(-0.5 * math.log(0.5) - 0.3 * math.log(0.3) + rest)
