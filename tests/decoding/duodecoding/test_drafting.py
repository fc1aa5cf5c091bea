"""The draft's side: several sequences as one tree equal sequences drafted alone, and the chosen one stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.decoding.duodecoding import DraftSettings, num_sequences
from firsthand.decoding.duodecoding.drafting import Drafter, DraftRequest, Update
from firsthand.lm.decoding import Sampler, SamplingParams
from firsthand.lm.decoding.ngram import NGramLM, TableLM

from .models_for_tests import Clock, Counting, Ticking, counters, random_pair


def obvious(model, ids, budget, longest, fixed=None, most=8):
    """Every sequence drafted greedily and on its own, each token with the whole text read again."""

    def p(text):
        return model.forward(text, model.new_cache(), last=1)[0].softmax(-1).numpy()

    p1 = p(ids)
    order = sorted((i for i in range(len(p1)) if p1[i] > 0), key=lambda i: (-p1[i], i))
    if fixed is None:
        k = num_sequences(p1, float(p([*ids, order[0]]).max()), budget, most)
    else:
        k = max(n for n in range(1, min(fixed, most, len(order)) + 1) if budget % n == 0)
    sequences = []
    for first in order[:k]:
        sequence = [first]
        while len(sequence) < min(budget // k, longest):
            sequence.append(int(np.argmax(p([*ids, *sequence]))))
        sequences.append(tuple(sequence))
    return tuple(sequences)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_equals_sequences_drafted_alone(data):
    """Several rounds on random n-grams of order 4, each going on with some sequence, or cut back somewhere."""
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    model = NGramLM(4, vocab_size=9).fit(rng.zipf(1.3, 400) % 9)
    fixed = data.draw(st.sampled_from([None, 1, 2, 4]))
    drafter = Drafter(model)
    drafter.begin(DraftSettings(sequences="dynamic" if fixed is None else fixed))
    ids = rng.integers(0, 9, 3).tolist()
    updates = (Update(0, -1, tuple(ids)),)
    for number in range(5):
        budget = data.draw(st.sampled_from([1, 2, 4, 6, 7, 12]))
        longest = data.draw(st.integers(1, 12))
        draft = drafter.draft(DraftRequest(updates, budget, longest, number))
        assert draft.sequences == obvious(model, ids, budget, longest, fixed)
        k, length = len(draft.sequences), len(draft.sequences[0])
        if length == budget // k and (length > 1 or fixed is not None or budget == 1):
            assert draft.steps == k * length - (k - 1)  # an alternative's first token is free
        branch = data.draw(st.integers(-1, k - 1))
        if branch >= 0:
            updates = (Update(len(ids), branch, ()),)
            ids = [*ids, *draft.sequences[branch]]
        else:
            updates = (Update(len(ids), -1, (5,)),)
            ids = [*ids, 5]
        if data.draw(st.booleans()):  # cut back, and then some
            keep = data.draw(st.integers(1, len(ids)))
            updates = (*updates, Update(keep, -1, (7, 2)))
            ids = [*ids[:keep], 7, 2]


def test_one_pass_a_depth():
    """k sequences of L tokens take L + 1 passes, not k·L."""
    model = Counting(TableLM(np.zeros((12, 12))))
    drafter = Drafter(model)
    drafter.begin(DraftSettings(sequences=4))
    draft = drafter.draft(DraftRequest((Update(0, -1, (3, 1)),), 12, 12, 0))
    assert [len(tokens) for tokens in model.passes] == [2, 4, 4]
    assert (len(draft.sequences), draft.passes, draft.steps) == (4, 3, 9)
    drafter.begin(DraftSettings())
    model.passes.clear()
    draft = drafter.draft(DraftRequest((Update(0, -1, (3, 1)),), 24, 24, 0))
    assert len(draft.sequences) == 8
    assert [len(tokens) for tokens in model.passes] == [2, 1, 8, 7]
    assert draft.steps == 24 - 7


def test_never_more_sequences_than_tokens_with_probability():
    logits = np.full((10, 10), -np.inf)
    logits[:, :3] = 0.0
    for settings_ in (DraftSettings(), DraftSettings(sequences=8)):
        drafter = Drafter(TableLM(logits))
        drafter.begin(settings_)
        draft = drafter.draft(DraftRequest((Update(0, -1, (0,)),), 8, 8, 0))
        assert [sequence[0] for sequence in draft.sequences] == [0, 1]  # 2 divides 8, 3 does not


def test_penalties_and_bans_hold_for_drafts():
    _, draft = counters(10, {})
    drafter = Drafter(draft)
    drafter.begin(DraftSettings(sampling=SamplingParams(banned_ids=(3,)), sequences=1))
    assert 3 not in drafter.draft(DraftRequest((Update(0, -1, (2,)),), 1, 1, 0)).sequences[0]
    for mode in ("greedy", "coupled", "sample"):  # a draft with nothing else to say is not the text's end
        for temperature in (0.0, 1.0):
            sampling = SamplingParams(temperature=temperature, banned_ids=(3, 5))
            drafter.begin(DraftSettings(mode, sampling))
            for token in (2, 3):  # nothing at once, or after one token
                drafted = drafter.draft(DraftRequest((Update(0, -1, (token,)),), 4, 4, 0)).sequences
                assert all(0 <= token < 10 for sequence in drafted for token in sequence)
    table = TableLM(np.tile(np.array([5.0, 4.9, 4.8, 1.0]), (4, 1)))
    for window, wanted in ((0, (0, 0, 0, 0)), (2, (0, 1, 2, 0)), (1, (0, 1, 0, 1))):
        sampling = SamplingParams(repetition_penalty=2.0, penalty_window=window)
        drafter = Drafter(table)
        drafter.begin(DraftSettings(sampling=sampling, sequences=1))
        assert drafter.draft(DraftRequest((Update(0, -1, (3,)),), 4, 4, 0)).sequences == (wanted,)


def test_coupled_drafts_are_the_draft_models_own_sampled_text():
    _, model, prompt = random_pair(5, vocab=9)
    sampling = SamplingParams(temperature=1.2, top_k=5, seed=8)
    drafter = Drafter(model)
    drafter.begin(DraftSettings("coupled", sampling))
    draft = drafter.draft(DraftRequest((Update(0, -1, tuple(prompt)),), 12, 12, 0))
    text, sampler = list(prompt), Sampler(sampling)
    for token in draft.sequences[0]:
        assert token == sampler.draw(model.forward(text, model.new_cache(), last=1)[0], text)
        text.append(token)
    assert len({sequence[0] for sequence in draft.sequences}) == len(draft.sequences)


def test_sampled_drafts_bring_what_they_were_drawn_from():
    _, model, prompt = random_pair(5, vocab=9)
    sampling = SamplingParams(temperature=1.2, top_k=5, seed=8)
    sampler = Sampler(sampling)
    drafter = Drafter(model)
    drafter.begin(DraftSettings("sample", sampling, sequences=4))
    request = DraftRequest((Update(0, -1, tuple(prompt)),), 12, 12, 0)
    draft = drafter.draft(request)
    firsts = [sequence[0] for sequence in draft.sequences]
    assert len(set(firsts)) == len(firsts) == 4  # without replacement
    np.testing.assert_allclose(
        draft.first_q, sampler.probabilities(model.forward(prompt, model.new_cache(), last=1)[0], prompt)
    )
    for sequence, q in zip(draft.sequences, draft.chain_q, strict=True):
        assert q.shape == (2, 9)
        for place in range(2):
            text = [*prompt, *sequence[: place + 1]]
            wanted = sampler.probabilities(model.forward(text, model.new_cache(), last=1)[0], text)
            np.testing.assert_allclose(q[place], wanted)
    drafter.begin(DraftSettings("sample", sampling, sequences=4))
    assert drafter.draft(request).sequences == draft.sequences  # the same draws for the same round
    drafter.begin(DraftSettings("sample", sampling, sequences=4))
    assert drafter.draft(request._replace(round=1)).sequences != draft.sequences


def test_sampled_first_tokens_are_as_many_as_there_are():
    logits = np.full((6, 6), -np.inf)
    logits[:, :2] = 0.0
    drafter = Drafter(TableLM(logits))
    drafter.begin(DraftSettings("sample", SamplingParams(temperature=1.0), sequences=6))
    draft = drafter.draft(DraftRequest((Update(0, -1, (0,)),), 6, 6, 0))
    assert sorted(sequence[0] for sequence in draft.sequences) == [0, 1]


def test_given_up_between_passes():
    """By request or by time; the text goes on from there as if nothing had been drafted."""
    clock = Clock()
    _, table = counters(10, {})
    slow = Ticking(table, clock, lambda n, cached: 1.0)
    drafter = Drafter(slow, clock)
    draft = drafter.draft(DraftRequest((Update(0, -1, (0,)),), 8, 8, 0, limit_s=2.5))
    assert (draft.cancelled, draft.sequences, draft.passes) == (True, (), 3)
    draft = drafter.draft(DraftRequest((Update(1, -1, (5,)),), 2, 2, 1))
    assert draft.sequences == ((6, 7),)
    answers = iter([False, False, True])
    draft = drafter.draft(DraftRequest((Update(2, -1, (1,)),), 8, 8, 2), lambda: next(answers))
    assert (draft.cancelled, draft.passes) == (True, 3)
    assert drafter.draft(DraftRequest((Update(1, -1, (8,)),), 3, 3, 3)).sequences == ((9, 0, 1),)


@pytest.mark.parametrize("mode", ["greedy", "coupled", "sample"])
def test_at_temperature_0_all_modes_are_one(mode):
    _, model, prompt = random_pair(7, vocab=9)
    drafts = []
    for chosen in ("greedy", mode):
        drafter = Drafter(model)
        drafter.begin(DraftSettings(chosen))
        drafts.append(drafter.draft(DraftRequest((Update(0, -1, tuple(prompt)),), 12, 12, 0)))
    assert drafts[0].sequences == drafts[1].sequences
    assert drafts[1].first_q is None
