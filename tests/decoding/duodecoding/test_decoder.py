"""Plain decoding's text, token for token; rounds, endings, streams, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.decoding.duodecoding import DuoDecoder, HardwareProfile
from firsthand.errors import InputError
from firsthand.lm.decoding import (
    ContextLengthError,
    NonFiniteLogitsError,
    PlainDecoder,
    SamplingParams,
    Stop,
)
from firsthand.lm.decoding.ngram import NGramLM, TableLM

from .models_for_tests import Clock, Counting, Ticking, counters, duo, random_pair

SAMPLED = SamplingParams(
    temperature=0.8, top_p=0.95, min_p=0.01, repetition_penalty=1.2, penalty_window=5, seed=3
)


def test_the_trace_of_the_sheet():
    """A draft that is wrong after 4, budget 4, one chain: every round as the sheet has it."""
    target, draft = counters(10, {4: 0})
    log = duo(target, draft, 4, max_sequences=1).generate([0], 20).log
    found = [(entry.appended, entry.hit, entry.tail, entry.accepted, entry.certain) for entry in log[:6]]
    assert found == [
        ((1,), 0, 0, 0, 1),
        ((2, 3, 4, 0), 0, 0, 0, 1),
        ((5,), None, 3, 2, 3),  # the draft's 0 is refused at index 2 of the tail
        ((6, 7, 8, 9), 0, 0, 0, 1),
        ((0, 1, 2, 3), 0, 3, 3, 4),
        ((4, 0, 1, 2), 0, 3, 3, 4),
    ]
    short = duo(target, draft, 4, max_sequences=1).generate([0], 12)
    assert short.tokens == (1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2)
    assert short.rounds == short.target_passes == 6


@pytest.mark.parametrize("mode", ["greedy", "coupled"])
@pytest.mark.parametrize("budget", [1, 4, 12, 16])
def test_lossless_on_random_bigrams(budget, mode):
    """200 random models over the parametrisations, greedy and sampled: no mismatch."""
    for seed in range(50 * budget, 50 * budget + 25):
        target, draft, prompt = random_pair(seed)
        for sampling in (SamplingParams(), SAMPLED):
            wanted = PlainDecoder(target).generate(prompt, 24, sampling)
            found = duo(target, draft, budget, draft_mode=mode).generate(prompt, 24, sampling)
            assert found.tokens == wanted.tokens, (seed, sampling)
            assert found.rounds <= 24


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_lossless_in_every_setting(data):
    draw = data.draw
    target, draft, prompt = random_pair(
        draw(st.integers(0, 10_000)), noise=draw(st.sampled_from([0, 0.5, 3]))
    )
    sampling = SamplingParams(
        temperature=draw(st.sampled_from([0, 0.7, 1.5])),
        top_k=draw(st.sampled_from([0, 2])),
        repetition_penalty=draw(st.sampled_from([1, 1.5])),
        penalty_window=draw(st.sampled_from([None, 0, 1, 4])),
        banned_ids=draw(st.sampled_from([(), (1,)])),
        seed=draw(st.integers(0, 99)),
    )
    stop = Stop(ids=draw(st.sampled_from([(), (0,), (0, 2)])))
    tokens = draw(st.integers(0, 30))
    budget = draw(st.integers(1, 24))
    decoder = duo(
        target,
        draft,
        budget,
        draft_mode=draw(st.sampled_from(["greedy", "coupled"])),
        sequences=draw(st.sampled_from(["dynamic", 1, 2, 5])),
        max_sequences=draw(st.sampled_from([1, 3, 8])),
        fallback=draw(st.booleans()),
    )
    wanted = PlainDecoder(target).generate(prompt, tokens, sampling, stop)
    found = decoder.generate(prompt, tokens, sampling, stop)
    assert (found.tokens, found.stop_reason) == (wanted.tokens, wanted.stop_reason)
    assert (
        decoder.generate(prompt, tokens, sampling, stop).tokens == wanted.tokens
    )  # again, on the same worker
    for entry in found.log:
        longest = max(1, budget)
        assert 1 <= entry.certain <= max(1, longest)
        assert entry.tail < max(1, longest)
        assert entry.target_tokens >= 1
        assert entry.sequences == 0 or budget % entry.sequences == 0 or entry.budget == 1
    assert found.steps <= max(1, tokens)


def test_longer_contexts_and_penalties_along_the_path():
    """N-grams of order 4 see three tokens: a wrong cache, mask or window would change the text."""
    rng = np.random.default_rng(0)
    text = rng.zipf(1.5, 3000) % 20
    target, draft = NGramLM(4, vocab_size=20).fit(text), NGramLM(4, vocab_size=20).fit(text[:1500])
    for seed in range(6):
        for sampling in (
            SamplingParams(repetition_penalty=1.3, penalty_window=3),
            SamplingParams(temperature=1.0, repetition_penalty=1.3, penalty_window=8, seed=seed),
        ):
            prompt = rng.integers(0, 20, 5).tolist()
            wanted = PlainDecoder(target).generate(prompt, 60, sampling).tokens
            for budget in (6, 12):
                found = duo(target, draft, budget).generate(prompt, 60, sampling)
                assert found.tokens == wanted
                assert max(found.k_histogram) > 1


def test_budget_one_is_plain_decoding():
    target, draft = counters(10, {4: 0})
    result = duo(target, draft, 1).generate([0], 12)
    assert result.rounds == 12
    assert [entry.certain for entry in result.log] == [1] * 12
    assert {entry.tail for entry in result.log} == {0}


def test_a_perfect_draft():
    """L tokens a round once it runs; nobody reads a token twice."""
    target, draft = counters(40, {})
    counted = Counting(target)
    result = duo(counted, draft, 8, max_sequences=1).generate([0], 57)
    assert [entry.certain for entry in result.log] == [1, 1, 8, 8, 8, 8, 8, 8, 7]
    assert sum(len(tokens) for tokens in counted.passes) == 1 + 56  # the prompt, and all but the last token
    assert result.hit_rate == 1
    assert result.tail_acceptance == (1.0,) * 7
    assert result.acceptance_rate == 1


def test_the_first_round_drafts_one_token_and_the_next_the_whole_budget():
    """The official code leaves the budget at 1 unless a second round puts it back, for later texts too."""
    target, draft = counters(40, {})
    decoder = duo(target, draft, 8, max_sequences=1)
    for _ in range(2):
        assert [entry.budget for entry in decoder.generate([0], 1).log] == [1]
        assert [entry.budget for entry in decoder.generate([0], 30).log][:3] == [1, 8, 8]


def test_the_draft_is_no_help_or_harm_to_the_text():
    target, _ = counters(10, {})
    _, useless = counters(10, {token: 0 for token in range(10) if token != 9})
    result = duo(target, useless, 8).generate([0], 25)
    assert result.tokens == PlainDecoder(target).generate([0], 25).tokens
    assert result.rounds >= 20


# --- several sequences ------------------------------------------------------------------------------------


def test_alternatives_raise_hits_and_cost_length():
    """The draft's second guess is right: one chain never hits, two sequences always do."""
    vocab = 12
    right = np.full((vocab, vocab), -9.0)
    guess = right.copy()
    for token in range(vocab):
        right[token, (token + 1) % vocab] = 0
        guess[token, (token + 5) % vocab], guess[token, (token + 1) % vocab] = 0.2, 0.1
    target, draft = TableLM(right), TableLM(guess)
    one, two = (duo(target, draft, 8, sequences=k).generate([0], 40) for k in (1, 2))
    assert one.tokens == two.tokens
    assert one.hit_rate == 0
    assert two.hit_rate == pytest.approx(1, abs=0.06)  # the first round has one sequence only
    dynamic = duo(target, draft, 8).generate([0], 40)
    assert set(dynamic.k_histogram) == {1, 2}
    assert dynamic.hit_rate == two.hit_rate


def test_fixed_numbers_are_divisors_of_the_budget():
    target, draft, prompt = random_pair(1, vocab=12)
    for wanted, budget, k in ((2, 8, 2), (3, 8, 2), (5, 12, 4), (8, 7, 7), (6, 7, 1), (20, 24, 8)):
        log = duo(target, draft, budget, sequences=wanted).generate(prompt, 40).log
        assert {entry.sequences for entry in log[1:] if entry.hit is not None} == {k}


# --- endings and streams ----------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [1, 4, 16])
def test_exact_length_and_stop_ids_inside_a_tail(budget):
    target, draft = counters(40, {})
    for tokens in range(12):
        assert duo(target, draft, budget).generate([0], tokens).tokens == tuple(range(1, tokens + 1))
    for stop_id in range(1, 12):
        result = duo(target, draft, budget).generate([0], 30, stop=Stop(ids=(stop_id,)))
        assert result.tokens == tuple(range(1, stop_id + 1))
        assert result.stop_reason == "stop"


class Letters:
    def decode(self, ids):
        return "".join(chr(97 + token) for token in ids)


def test_stop_strings():
    target, draft = counters(26, {})
    result = duo(target, draft, 8).generate([0], 60, stop=Stop(strings=("jkl",), tokenizer=Letters()))
    assert Letters().decode(result.tokens) == "bcdefghijkl"


def test_only_certain_tokens_are_streamed():
    target, draft = counters(10, {4: 0})
    seen: list[int] = []
    stream = duo(target, draft, 6).stream([0], 30)
    parts = []
    while True:
        try:
            parts.append(next(stream))
        except StopIteration as end:
            result = end.value
            break
    assert [len(part) for part in parts] == [entry.certain for entry in result.log]
    assert tuple(token for part in parts for token in part) == result.tokens
    duo(target, draft, 6).generate([0], 30, on_token=seen.append)
    assert tuple(seen) == result.tokens == PlainDecoder(target).generate([0], 30).tokens


def test_a_stream_left_early_and_one_at_a_time():
    target, draft = counters(10, {4: 0})
    for executor in ("serial", "thread"):
        with duo(target, draft, 6, executor=executor) as decoder:
            stream = decoder.stream([0], 30)
            next(stream)
            with pytest.raises(InputError, match="middle of another text"):
                decoder.generate([0], 3)
            stream.close()
            assert decoder.generate([3], 5).tokens == (4, 5, 6, 7, 8)


def test_certain_tokens_do_not_wait_for_the_draft():
    """The first token is there when the target has read the prompt, however slow the draft."""
    clock = Clock()
    target, draft = counters(10, {})
    times = {}
    for name in ("plain", "duo"):
        slow = Ticking(target, clock, lambda n, cached: 1.0)
        if name == "plain":
            before, times[name] = clock.now, None
            next(PlainDecoder(slow).stream([0], 4))
        else:
            before = clock.now
            next(duo(slow, draft, 4, clock=clock).stream([0], 4))
        times[name] = clock.now - before
    assert times["plain"] == times["duo"] == 1.0


# --- what is reported --------------------------------------------------------------------------------------


def test_the_report():
    clock = Clock()
    target, draft = counters(10, {4: 0})
    decoder = duo(
        Ticking(target, clock, lambda n, cached: 8.0),
        Ticking(draft, clock, lambda n, cached: 1.0),
        4,
        max_sequences=1,
        clock=clock,
    )
    result = decoder.generate([0], 20)
    entries = result.log[:-1]
    assert result.draft_busy_s == sum(entry.draft_steps for entry in entries) == result.draft_steps
    assert result.target_busy_s == 8 * result.target_passes
    # One after the other here: together they fill the time.
    assert result.idle_share["draft"] + result.idle_share["target"] == pytest.approx(1, abs=0.01)
    assert result.tokens_per_round == pytest.approx(20 / result.rounds, abs=0.3)
    judged = [(entry.tail, entry.accepted) for entry in result.log]
    for place in range(3):
        reached = [accepted > place for tail, accepted in judged if tail > place and accepted >= place]
        assert result.tail_acceptance[place] == sum(reached) / len(reached)
    assert min(result.tail_acceptance) < 1
    assert sum(result.k_histogram.values()) == result.rounds - 1  # the last one drafts nothing
    assert set(result.budgets) == {1, 4}
    plain = json.loads(json.dumps(result.as_dict(log=True)))
    assert plain["hit_rate_first_token"] == result.hit_rate
    assert len(plain["log"]) == result.rounds == plain["rounds"]
    assert "log" not in result.as_dict()
    assert result.profile is None


def test_every_accepted_token_counts():
    """The official code forgets rounds in which the whole tail was accepted, so its mean is too low."""
    target, draft = counters(40, {})
    result = duo(target, draft, 8, max_sequences=1).generate([0], 57)
    forgetful = [entry.accepted for entry in result.log if entry.accepted < entry.tail or not entry.tail]
    assert sum(forgetful) == 0
    assert (
        sum(entry.accepted for entry in result.log) + sum(e.hit == 0 for e in result.log) == result.accepted
    )
    assert result.accepted == 57  # every token was drafted


def test_empty_report():
    target, draft = counters(10, {})
    result = duo(target, draft, 4).generate([0], 0)
    assert result.tokens == ()
    assert (result.hit_rate, result.tokens_per_round, result.tail_acceptance) == (0, 0, ())
    assert result.idle_share == {"draft": 0, "target": 0}


# --- budget "auto" -----------------------------------------------------------------------------------------


def test_auto_budget_follows_the_context():
    """Target passes grow with the context, so that the budget does too when the context has doubled."""
    clock = Clock()
    target, draft = counters(40, {})
    decoder = duo(
        Ticking(target, clock, lambda n, cached: 4.0 if cached < 40 else 16.0),
        Ticking(draft, clock, lambda n, cached: 1.0),
        "auto",
        max_sequences=1,
        clock=clock,
    )
    result = decoder.generate([0] * 16, 120)
    assert result.tokens == PlainDecoder(target).generate([0] * 16, 120).tokens
    assert list(result.budgets) == [1, 4, 16]
    assert decoder.profile is not None
    assert decoder.profile.target_time(1) == 4000
    assert result.profile is not None
    assert result.profile.target_time(1) == 16_000
    assert result.profile_s > 0
    assert decoder.generate([0], 10).profile_s == 0  # measured once
    assert result.as_dict()["profile"]["context_len"] >= 64


def test_auto_budget_from_times_given():
    target, draft = counters(40, {})
    for target_ms, budget in ((6, 6), (24, 24), (0.5, 1)):
        decoder = duo(target, draft, "auto", max_sequences=1, profile=HardwareProfile(1.0, {1: target_ms}))
        assert decoder.generate([0], 30).log[1].budget == budget


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "budget must be >= 1"),
        ({"budget": 2.5}, "budget"),
        ({"budget": "many"}, "budget"),
        ({"max_sequences": 0}, "max_sequences"),
        ({"sequences": 0}, "sequences"),
        ({"sequences": "some"}, "sequences"),
        ({"draft_mode": "best"}, "draft_mode"),
        ({"executor": "gpu"}, "executor 'gpu'"),
        ({"draft_threads": 2}, "executor='process'"),
        ({"draft_cores": [0], "executor": "thread"}, "executor='process'"),
        ({"executor": "process", "draft_threads": 0}, "draft_threads"),
        ({"executor": "process", "draft_cores": [4096]}, "draft_cores"),
        ({"executor": "process", "draft_cores": []}, "draft_cores"),
        ({"executor": "process", "timeout_s": 0}, "timeout_s"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        DuoDecoder(*counters(10, {}), **{"budget": 4, **options})


def test_other_vocabularies():
    with pytest.raises(InputError, match="draft and target vocabularies differ: 12 vs 10"):
        DuoDecoder(counters(10, {})[0], counters(12, {})[1])


@pytest.mark.parametrize(
    ("prompt", "tokens", "error", "message"),
    [
        ([], 4, InputError, "prompt is empty"),
        ([10], 4, InputError, "token 10 is outside"),
        ([-1], 4, InputError, "token -1 is outside"),
        ([0], -1, InputError, "max_new_tokens"),
        (torch.zeros((2, 3), dtype=torch.int64), 4, InputError, "loop over the prompts"),
        ([0] * 20, 31, ContextLengthError, "target reads at most 50"),
        ([0] * 20, 30, ContextLengthError, "draft.*reads at most 45"),
    ],
)
def test_bad_prompts(prompt, tokens, error, message):
    target, draft = counters(10, {})
    target.max_length, draft.max_length = 50, 45
    with pytest.raises(error, match=message):
        duo(target, draft, 4).generate(prompt, tokens)


def test_up_to_the_last_position_and_no_further():
    """Tails end with the text, so nothing is read beyond what the models can."""
    target, draft = counters(40, {})
    counted = Counting(target)
    counted.max_length = 33
    draft.max_length = 33
    result = duo(counted, draft, 16, max_sequences=1).generate([0], 32)
    assert len(result.tokens) == 32
    assert sum(len(tokens) for tokens in counted.passes) == 32
    assert max(entry.length for entry in result.log) <= 16


def test_a_prompt_given_as_a_tensor():
    target, draft = counters(10, {})
    assert duo(target, draft, 4).generate(torch.tensor([[0, 1]]), 3).tokens == (2, 3, 4)


@pytest.mark.parametrize("which", ["target", "draft"])
def test_nan_names_the_model(which):
    target, draft = counters(10, {})
    broken = TableLM(np.full((10, 10), np.nan), name=f"the broken {which}")
    pair = (broken, draft) if which == "target" else (target, broken)
    for executor in ("serial", "thread"):
        with pytest.raises(NonFiniteLogitsError, match=f"the broken {which}"):
            duo(*pair, 4, executor=executor).generate([0], 8)


def test_what_the_draft_would_say_is_banned():
    target, draft, prompt = TableLM(np.tile(np.arange(6.0), (6, 1))), counters(6, {})[1], [0]
    sampling = SamplingParams(banned_ids=(1, 5))
    wanted = PlainDecoder(target).generate(prompt, 12, sampling).tokens
    assert duo(target, draft, 4).generate(prompt, 12, sampling).tokens == wanted == (4,) * 12


def test_every_token_banned():
    target, draft = counters(3, {})
    with pytest.raises(InputError, match="banned"):
        duo(target, draft, 4).generate([0], 8, SamplingParams(banned_ids=(0, 1, 2)))
