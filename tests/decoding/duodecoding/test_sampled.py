"""Free drafts: what comes out is distributed as the target alone, and the tempting shortcuts are not."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from firsthand.decoding.duodecoding.verification import accept_first, accept_token
from firsthand.lm.decoding import Sampler, SamplingParams
from firsthand.lm.decoding.ngram import TableLM

from .models_for_tests import duo

P = np.array([0.5, 0.3, 0.2])
DRAWS = 20_000


def fits(found, p) -> bool:
    """Whether counts of tokens 0, 1, ... agree with p (χ², one chance in a million of a false alarm)."""
    counts = np.array([found.get(token, 0) for token in range(len(p))], dtype=float)
    inside = p > 0
    if counts[~inside].any():
        return False
    if inside.sum() == 1:  # nothing is left to disagree about
        return True
    return chisquare(counts[inside], p[inside] / p[inside].sum() * counts.sum()).pvalue > 1e-6


def test_coupled_checks_hit_as_often_as_the_drafts_are_likely():
    """The default: t is drawn from p, and a draft is right where it equals t."""
    sampler = Sampler(SamplingParams(temperature=1.0, seed=1))
    logits = np.log(P)
    drawn = [sampler.draw(logits, [0] * position) for position in range(DRAWS)]
    assert fits(Counter(drawn), P)
    assert np.mean([token in (0, 1) for token in drawn]) == pytest.approx(0.8, abs=0.015)


def test_without_the_residual_it_would_be_wrong():
    """Accept draft 0 with probability p(0), else draw from p again: token 0 comes with probability 0.75."""
    rng = np.random.default_rng(0)
    naive = [0 if rng.random() < P[0] else int(rng.choice(3, p=P)) for _ in range(DRAWS)]
    assert np.mean([token == 0 for token in naive]) == pytest.approx(0.75, abs=0.015)
    assert not fits(Counter(naive), P)


def test_verified_twice_it_would_be_wrong():
    """A hit already decided the first token; deciding it again keeps 0 with probability 0.25 only."""
    rng = np.random.default_rng(0)
    naive = []
    for _ in range(DRAWS):
        token = int(rng.choice(3, p=P))
        naive.append(int(rng.choice(3, p=P)) if token == 0 else token)
    assert not fits(Counter(naive), P)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_p_any_q_any_number_of_first_tokens(data):
    size = data.draw(st.integers(2, 5))
    weights = st.lists(st.sampled_from([0.0, 0.2, 1.0, 3.0]), min_size=size, max_size=size)
    p, q = (np.array(data.draw(weights.filter(any))) for _ in range(2))
    p, q = p / p.sum(), q / q.sum()
    k = data.draw(st.integers(1, size))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    tokens: Counter = Counter()
    for _ in range(4000):
        left, firsts = q.copy(), []
        while len(firsts) < k and left.sum() > 0:
            firsts.append(int(rng.choice(size, p=left / left.sum())))
            left[firsts[-1]] = 0
        token, index = accept_first(p, q, firsts, rng)
        assert index is None or firsts[index] == token
        tokens[token] += 1
    assert fits(tokens, p)


def test_several_first_tokens_judged_one_by_one_against_p_would_be_wrong():
    """Each against the untouched p and q, as if the others had not been refused: too much of what q likes."""
    rng = np.random.default_rng(0)
    q = np.array([0.1, 0.1, 0.8])
    naive: Counter = Counter()
    for _ in range(DRAWS):
        left, token = q.copy(), None
        for _ in range(2):
            drafted = int(rng.choice(3, p=left / left.sum()))
            left[drafted] = 0
            if rng.random() * q[drafted] < P[drafted]:
                token = drafted
                break
        if token is None:
            residual = np.maximum(P - q, 0)
            token = int(rng.choice(3, p=residual / residual.sum()))
        naive[token] += 1
    assert not fits(naive, P)


def test_one_token():
    rng = np.random.default_rng(0)
    assert accept_token(P, np.array([0, 0, 1.0]), 2, np.random.default_rng(1))[1] in (True, False)
    q = np.array([0.2, 0.2, 0.6])
    tokens, kept = Counter(), 0
    for _ in range(DRAWS):
        token, right = accept_token(P, q, int(rng.choice(3, p=q)), rng)
        tokens[token] += 1
        kept += right
    assert fits(tokens, P)
    assert kept / DRAWS == pytest.approx(np.minimum(P, q).sum(), abs=0.015)
    assert accept_token(P, P, 1, rng) == (1, True)  # the same distribution is always kept


@pytest.mark.parametrize(("budget", "sequences"), [(4, 1), (6, "dynamic"), (4, 4)])
def test_whole_texts(budget, sequences):
    """Second, third and fourth new tokens over many seeds, against the chain's exact distribution."""
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(4, 4)) * 1.5
    target, draft = TableLM(logits), TableLM(logits + rng.normal(size=(4, 4)))
    sampler = Sampler(SamplingParams(temperature=1.0, top_k=3))
    step = np.stack([sampler.probabilities(row, [0]) for row in logits])
    decoder = duo(target, draft, budget, draft_mode="sample", sequences=sequences)
    texts = [
        decoder.generate([0], 5, SamplingParams(temperature=1.0, top_k=3, seed=seed)).tokens
        for seed in range(2500)
    ]
    p = step[0]
    for place in range(5):
        assert fits(Counter(text[place] for text in texts), p), place
        p = p @ step
    pairs = Counter((text[2], text[3]) for text in texts)
    joint = ((step[0] @ step) @ step)[:, None] * step
    found = Counter({4 * a + b: count for (a, b), count in pairs.items()})
    assert fits(found, joint.ravel())


def test_free_drafts_are_accepted_more_often_than_greedy_ones():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(16, 16)) * 0.7
    target, draft = TableLM(logits), TableLM(logits + 0.1 * rng.normal(size=(16, 16)))
    rates = {}
    for mode in ("greedy", "sample", "coupled"):
        decoder = duo(target, draft, 4, sequences=1, draft_mode=mode)
        results = [decoder.generate([0], 60, SamplingParams(temperature=1.0, seed=s)) for s in range(20)]
        rates[mode] = sum(r.accepted for r in results) / sum(r.drafted for r in results)
    assert rates["sample"] > 2 * rates["greedy"]
    assert rates["coupled"] > 2 * rates["greedy"]


def test_free_drafts_to_the_end_and_after_falling_back():
    target, draft = TableLM(np.zeros((5, 5))), TableLM(np.zeros((5, 5)))
    for fallback in (False, True):
        for tokens in range(8):
            result = duo(target, draft, 6, draft_mode="sample", fallback=fallback).generate(
                [0], tokens, SamplingParams(temperature=1.0)
            )
            assert len(result.tokens) == tokens
    assert result.acceptance_rate == 1  # p equals q
