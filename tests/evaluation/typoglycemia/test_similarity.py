"""Scores of arrays: the sheet's values, slow and obvious versions, half precision, and what is no score."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.similarity import (
    kl_divergence,
    log_softmax,
    neg_corr_rate,
    rescaled_score,
    sem_rec_score,
    top1_agreement,
)

NUMBERS = st.floats(-50, 50, width=32)


def test_cosines_of_the_sheet():
    assert sem_rec_score([3, 4], [4, 3]) == pytest.approx(0.96)
    assert sem_rec_score([1, 0, 1], [1, 1, 0]) == pytest.approx(0.5)
    states = np.random.default_rng(0).normal(size=(19, 7, 640))
    assert sem_rec_score(states, states) == pytest.approx(np.ones((19, 7)), abs=1e-12)


@settings(deadline=None)
@given(arrays(np.float64, (3, 2, 5), elements=NUMBERS), arrays(np.float64, (3, 2, 5), elements=NUMBERS))
def test_cosine_equals_the_obvious_one(one, other):
    one[..., 0] += 60
    other[..., 1] += 60
    found = sem_rec_score(one, other)
    assert found.shape == (3, 2)
    for place in np.ndindex(3, 2):
        a, b = one[place].tolist(), other[place].tolist()
        wanted = sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
        assert found[place] == pytest.approx(wanted, abs=1e-12)
        assert sem_rec_score(a, b) == pytest.approx(found[place], abs=1e-15)
    assert sem_rec_score(3 * one, 0.5 * other) == pytest.approx(found)
    assert sem_rec_score(one, -other) == pytest.approx(-found)
    assert (abs(found) <= 1).all()


def test_cosine_of_extremes_and_of_one_against_many():
    assert sem_rec_score([3e200, 4e200], [4e-200, 3e-200]) == pytest.approx(0.96)
    assert sem_rec_score(np.ones(2), [[1, 1], [1, -1]]).tolist() == pytest.approx([1, 0])


def test_cosine_of_tensors_in_half_precision():
    torch = pytest.importorskip("torch")
    # 300² does not fit in float16
    assert sem_rec_score(
        torch.tensor([300.0, 400.0]).half(), torch.tensor([400.0, 300.0]).bfloat16()
    ) == pytest.approx(0.96)
    assert sem_rec_score(torch.ones(2, requires_grad=True), [1, 1]) == pytest.approx(1)


# --- R -------------------------------------------------------------------------------------------------


def test_rescaled_scores_of_the_sheet():
    assert rescaled_score(0.878, 0.801, 0.898) == pytest.approx(0.7938, abs=5e-5)
    assert rescaled_score(0.659, 0.774, 0.851) == pytest.approx(-1.4935, abs=5e-5)
    found = rescaled_score([0.878, 0.659], [0.801, 0.774], [0.898, 0.851])
    assert found == pytest.approx([0.7938, -1.4935], abs=5e-5)


@given(st.floats(-1, 1), st.floats(-1, 0.5), st.floats(0.01, 0.4))
def test_the_ends_of_the_scale(score, floor, gap):
    ceiling = floor + gap
    assert rescaled_score(ceiling, floor, ceiling) == pytest.approx(1)
    assert rescaled_score(floor, floor, ceiling) == 0
    assert rescaled_score(score, floor, ceiling) * (ceiling - floor) + floor == pytest.approx(
        score, abs=1e-12
    )


def test_a_ceiling_under_its_floor():
    with pytest.raises(InputError, match=r"ceiling 0.7 is not above floor 0.8 at \(1,\)"):
        rescaled_score([0.5, 0.5], [0.4, 0.8], [0.7, 0.7])
    with pytest.raises(InputError, match="R is not defined"):
        rescaled_score(0.5, 0.8, 0.8)
    found = rescaled_score([0.5, 0.5], [0.4, 0.8], 0.7, undefined="nan")
    assert found[0] == pytest.approx(1 / 3)
    assert math.isnan(found[1])


# --- the output ----------------------------------------------------------------------------------------


def test_divergences_of_the_sheet():
    p, q = np.log([0.7, 0.2, 0.1]), np.log([0.5, 0.3, 0.2])
    assert kl_divergence(p, q) == pytest.approx(0.0851228, abs=5e-8)
    assert kl_divergence(q, p) == pytest.approx(0.0920329, abs=5e-8)
    assert kl_divergence(p + 7, q - 3) == pytest.approx(0.0851228, abs=5e-8)
    assert kl_divergence(p, q, dtype="float32") == pytest.approx(0.0851228, abs=1e-6)


@settings(deadline=None)
@given(
    array_shapes(max_dims=3, max_side=4).flatmap(
        lambda shape: st.tuples(*[arrays(np.float64, shape, elements=NUMBERS)] * 2)
    )
)
def test_divergence_equals_scipys(logits):
    from scipy.special import log_softmax as wanted_log_softmax
    from scipy.special import rel_entr, softmax

    p, q = logits
    assert log_softmax(p) == pytest.approx(wanted_log_softmax(p, axis=-1), abs=1e-12)
    found = np.asarray(kl_divergence(p, q))
    assert found.shape == p.shape[:-1]
    assert found == pytest.approx(rel_entr(softmax(p, axis=-1), softmax(q, axis=-1)).sum(-1), abs=1e-9)
    assert (found >= 0).all()
    assert np.all(np.asarray(kl_divergence(p, p)) == 0)
    assert np.array_equal(top1_agreement(p, q), p.argmax(-1) == q.argmax(-1))


def test_a_whole_vocabulary_in_half_precision():
    """The official code's KL is NaN here: 1e-12 is 0 in float16, and most of the vocabulary has probability 0."""
    torch = pytest.importorskip("torch")
    logits = torch.linspace(-60, 30, 5000).half()
    found = kl_divergence(logits, logits.flip(0))
    assert math.isfinite(found)
    assert found == pytest.approx(kl_divergence(logits.double().numpy(), logits.double().numpy()[::-1]))
    eps = torch.tensor(1e-12).half()
    p = torch.softmax(logits.float(), 0).half().clamp(min=eps)
    assert torch.isnan((p * (p / p.flip(0)).log()).sum())


def test_what_cannot_happen():
    assert kl_divergence([0, 0, -math.inf], [0, 0, 0]) == pytest.approx(math.log(1.5))
    assert kl_divergence([0, 0, -math.inf], [0, 0, -math.inf]) == 0
    assert kl_divergence([0, 0, 0], [0, 0, -math.inf]) == math.inf


def test_agreement():
    assert top1_agreement([1, 3, 2], [0, 9, 1]) is True
    assert top1_agreement([1, 3, 2], [0, 1, 9]) is False
    assert top1_agreement([[1, 3], [1, 3]], [[1, 3], [3, 1]]).tolist() == [True, False]


# --- NegCorrRate ---------------------------------------------------------------------------------------


def test_rates_of_the_sheet():
    found = neg_corr_rate([1, 0.9, 0.8, 0.6, 0.5], [0, 0.1, 0.3, 0.2, 0.5], [0, 0.25, 0.5, 0.75, 1])
    assert found == {0.0: 0.0, 0.25: 0.75, 0.5: 1.0, 0.75: 1.0, 1.0: 1.0}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.3, 0.5, 0.75, 1.0]), unique=True, min_size=1),
    st.integers(1, 4),
    st.data(),
)
def test_rates_equal_a_loop_over_pairs(levels, n, data):
    few = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    sim = data.draw(arrays(np.float64, (n, len(levels)), elements=few))
    kl = data.draw(arrays(np.float64, (n, len(levels)), elements=few))
    wanted = {}
    for delta in {round(b - a, 9) for a in levels for b in levels if b >= a}:
        shares = []
        for s, k in zip(sim, kl, strict=True):
            pairs = [
                (s[i] - s[j]) * (k[i] - k[j]) < 0
                for i in range(len(levels))
                for j in range(len(levels))
                if abs(levels[j] - levels[i] - delta) < 1e-9
            ]
            shares.append(sum(pairs) / len(pairs))
        wanted[delta] = sum(shares) / n
    found = neg_corr_rate(sim, kl, levels)
    assert list(found) == sorted(wanted)
    assert found == pytest.approx(wanted)
    assert found[0.0] == 0


def test_rates_of_tiny_differences():
    """Their product, 1e-400, is 0 in floating point."""
    assert neg_corr_rate([0, 1e-200], [1e-200, 0], [0, 1])[1.0] == 1


NAN = float("nan")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: sem_rec_score([1, NAN], [1, 2]), r"h_original must be finite, got nan at \(1,\)"),
        (lambda: sem_rec_score([1, 2], [1, math.inf]), "h_scrambled must be finite"),
        (lambda: sem_rec_score([0, 0], [1, 2]), "a vector of zeros"),
        (lambda: sem_rec_score([1, 2], [1, 2, 3]), r"one width, got shapes \(2,\) and \(3,\)"),
        (lambda: sem_rec_score(1, 2), "one width"),
        (lambda: sem_rec_score([], []), "one width"),
        (lambda: sem_rec_score(np.ones((2, 3)), np.ones((4, 3))), "do not fit"),
        (lambda: sem_rec_score("ab", [1, 2]), "must be numbers"),
        (lambda: sem_rec_score([[1], [1, 2]], [1, 2]), "rows of equal length"),
        (lambda: rescaled_score(NAN, 0, 1), "score must be finite"),
        (lambda: rescaled_score([1, 2], [0, 0, 0], 1), "do not fit"),
        (lambda: rescaled_score(1, 0, 1, undefined="zero"), "undefined must be one of"),
        (lambda: log_softmax([1, NAN]), "logits must be numbers, got nan"),
        (lambda: log_softmax([1, math.inf]), "largest must be finite"),
        (lambda: log_softmax([-math.inf, -math.inf]), "largest must be finite"),
        (lambda: log_softmax([]), "at least one token"),
        (lambda: log_softmax(3.0), "at least one token"),
        (lambda: log_softmax([1, 2], dtype="float16"), "dtype must be one of float32, float64"),
        (lambda: kl_divergence([1, 2], [1, 2, 3]), "one shape"),
        (lambda: top1_agreement([1, 2], [[1, 2]]), "one shape"),
        (lambda: neg_corr_rate([1, 2], [1, 2], [0, 0]), "all be different"),
        (lambda: neg_corr_rate([1, 2], [1, 2], [0, 0.5, 1]), "levels"),
        (lambda: neg_corr_rate([1, 2], [[1, 2], [1, 2]], [0, 1]), "sim and kl must be"),
        (lambda: neg_corr_rate([1, NAN], [1, 2], [0, 1]), "sim must be finite"),
        (lambda: neg_corr_rate([1, 2], [1, NAN], [0, 1]), "kl must be finite"),
        (lambda: neg_corr_rate(np.ones((0, 2)), np.ones((0, 2)), [0, 1]), "sim and kl must be"),
    ],
)  # fmt: skip
def test_bad_input(call, says):
    with pytest.raises(InputError, match=says):
        call()
