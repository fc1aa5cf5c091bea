"""Attention to the word and to what came before: sums, what must add up, and whose head it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import FirsthandError, InputError
from firsthand.evaluation.typoglycemia.attention import (
    AttentionShares,
    FormHead,
    attention_of_row,
    attention_self,
    form_heads,
    per_token_ratio,
    prefers_form,
    self_by_layer,
    token_matched_excess,
)
from firsthand.evaluation.typoglycemia.errors import AttentionUnavailable


def causal(layers, heads, length, seed=0):
    """(L, H, T, T) weights of a causal model."""
    scores = np.random.default_rng(seed).normal(size=(layers, heads, length, length)) * 2
    weights = np.exp(scores) * np.tri(length)
    return weights / weights.sum(-1, keepdims=True)


def test_values_of_the_sheet():
    shares = attention_of_row([0.1, 0.2, 0.3, 0.4], 2, 3)
    assert shares.self == pytest.approx(0.7)
    assert shares.context == pytest.approx(0.3)
    assert per_token_ratio(shares, 2, 2) == pytest.approx(2.3333, abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 8), st.data(), st.integers(0, 5))
def test_equals_the_sums(length, data, seed):
    first = data.draw(st.integers(0, length - 1))
    last = data.draw(st.integers(first, length - 1))
    weights = causal(3, 2, length, seed)
    found = attention_self(weights, first, last)
    for layer in range(3):
        one = attention_self(weights[layer], first, last)  # (H, T, T)
        for head in range(2):
            own = sum(weights[layer, head, last, t] for t in range(first, last + 1))
            before = sum(weights[layer, head, last, t] for t in range(first))
            for shares in (found.self[layer, head], one.self[head]):
                assert shares == pytest.approx(own)
            assert found.context[layer, head] == pytest.approx(before)
    assert found.self + found.context == pytest.approx(np.ones((3, 2)), abs=1e-4)
    row = attention_of_row(weights[..., last, :], first, last)
    assert np.array_equal(row.self, found.self)
    assert np.array_equal(row.context, found.context)
    assert self_by_layer(found.self) == pytest.approx(found.self[:, 0] + found.self[:, 1])


def test_tokens_after_the_word_do_not_matter():
    weights = causal(1, 2, 9)
    short = weights[..., :5, :5]
    assert np.array_equal(attention_self(weights, 2, 4).self, attention_self(short, 2, 4).self)


def test_half_precision():
    weights = causal(1, 1, 200)
    found = attention_self(weights.astype(np.float16), 100, 199, atol=1e-2)
    assert found.self == pytest.approx(attention_self(weights, 100, 199).self, abs=1e-3)
    with pytest.raises(InputError, match="not 1"):
        attention_self(weights * 0.98, 100, 199, atol=1e-2)


def test_ratios():
    shares = AttentionShares(np.array([0.5, 1.0, 0.0]), np.array([0.5, 0.0, 1.0]))
    assert per_token_ratio(shares, 1, 4).tolist() == [4, math.inf, 0]
    even = attention_of_row(np.full(10, 0.1), 7, 9)
    assert per_token_ratio(even, 3, 7) == pytest.approx(
        1
    )  # all tokens alike: 1 whatever the number of pieces


def test_more_pieces_are_not_more_form():
    """With equal weights everywhere AttentionSelf rises with the pieces, and the excess does not."""
    own = np.array([attention_of_row(np.full(20, 0.05), 20 - pieces, 19).self for pieces in (1, 3, 6)])
    assert own == pytest.approx([0.05, 0.15, 0.3])
    assert token_matched_excess(own, own, [1, 3, 6], [1, 3, 6]).tolist() == [0, 0, 0]
    found = token_matched_excess(
        own.reshape(3, 1) + np.array([[0.1], [0.0], [-0.1]]), own.reshape(3, 1), [1, 3, 6], [1, 3, 6]
    )
    assert found.ravel() == pytest.approx([0.1, 0, -0.1])


def test_heads_are_of_their_layer():
    own = np.zeros((4, 2, 3))
    own[:, 1, 2] = 0.9  # layer 1, head 2, in all of four items
    own[:3, 0, 2] = 0.6  # layer 0, head 2, in three
    own[:2, 1, 0] = 0.6  # layer 1, head 0, in two
    scores = prefers_form(AttentionShares(own, 1 - own))
    assert scores.tolist() == [[0, 0, 0.75], [0.5, 0, 1]]
    assert (
        prefers_form(AttentionShares(np.full((2, 1, 1), 0.5), np.full((2, 1, 1), 0.5))) == 0
    )  # a tie is no preference
    assert form_heads(scores) == [FormHead(1, 2, 1.0), FormHead(0, 2, 0.75)]
    assert form_heads(scores, threshold=0.4)[-1] == (1, 0, 0.5)
    assert form_heads(scores, threshold=1) == []
    assert [head[:2] for head in form_heads(np.ones((2, 2)))] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_model_without_attention():
    for call in (attention_self, attention_of_row):
        with pytest.raises(AttentionUnavailable, match="attn_implementation='eager'") as caught:
            call(None, 0, 1)
        assert isinstance(caught.value, FirsthandError)
        assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: attention_of_row([0.1, 0.2, 0.3, 0.4], 1, 2), r"self \+ context is 0.6 at \(\), not 1"),
        (lambda: attention_of_row([[0.5, 0.5], [0.5, 0.4]], 1, 1), r"0.9 at \(1,\)"),
        (lambda: attention_of_row([-0.5, 1.5], 1, 1), "must not be negative"),
        (lambda: attention_of_row([0.5, float("nan")], 1, 1), "finite"),
        (lambda: attention_of_row([0.5, 0.5], 1, 2), "last = 2 is not the place of one of 2 tokens"),
        (lambda: attention_of_row([0.5, 0.5], 1, 0), "last must be a whole number of at least 1"),
        (lambda: attention_of_row([0.5, 0.5], -1, 1), "first must be"),
        (lambda: attention_of_row(1.0, 0, 0), "got a number"),
        (lambda: attention_self([0.5, 0.5], 0, 1), r"must be \(..., T, T\)"),
        (lambda: attention_self(np.ones((2, 3)), 0, 1), r"must be \(..., T, T\)"),
        (lambda: per_token_ratio(AttentionShares(np.ones(1), np.zeros(1)), 1, 0), "n_context"),
        (lambda: per_token_ratio(AttentionShares(np.ones(1), np.zeros(1)), 0, 1), "n_self"),
        (lambda: per_token_ratio(AttentionShares(np.zeros(1), np.zeros(1)), 1, 1), "has no ratio"),
        (lambda: self_by_layer(np.ones(3)), r"must be \(..., L, H\)"),
        (lambda: token_matched_excess([1.0], [1.0, 2.0], [1], [1]), "must be"),
        (lambda: token_matched_excess([1.0], [1.0], [1], [2]), "word 0 has 1 pieces scrambled and 2 intact"),
        (lambda: prefers_form(AttentionShares(np.ones((2, 2)), np.ones((2, 2)))), r"\(n, L, H\)"),
        (lambda: prefers_form(AttentionShares(np.ones((0, 2, 2)), np.ones((0, 2, 2)))), "n at least 1"),
        (lambda: form_heads(np.ones(3)), r"must be \(L, H\)"),
        (lambda: form_heads(np.ones((1, 1)), threshold=float("nan")), "threshold must be finite"),
    ],
)  # fmt: skip
def test_bad_input(call, says):
    with pytest.raises(InputError, match=says):
        call()
