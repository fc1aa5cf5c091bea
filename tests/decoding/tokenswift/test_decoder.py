"""TokenSwift's text is plain decoding's: every family, sampling, tree, budget; and where naive ways go wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firsthand.decoding.tokenswift import MultiTokenHeads, TokenSwift, long_sampling, replay_acceptance
from firsthand.errors import InputError
from firsthand.lm.decoding import ContextLengthError, PlainDecoder, SamplingParams, Stop
from firsthand.lm.decoding.huggingface import HFCausalLM
from firsthand.lm.decoding.sampling import Sampler, filtered_probabilities
from tests.lm.decoding.models_for_tests import FAMILIES, VOCABULARY, random_ids, random_model

SAMPLINGS = {
    "greedy": SamplingParams(),
    "greedy, penalty": SamplingParams(repetition_penalty=1.4, penalty_window=5),
    "sampled": SamplingParams(temperature=0.9, top_p=0.95, seed=3),
    "paper": long_sampling(penalty_window=12, seed=4),
    "everything": long_sampling(
        penalty_window=7, eta=2e-3, top_k=40, banned_ids=(1, 2), min_tokens_to_keep=3, seed=5
    ),
}


def heads_for(model, count=3):
    """Random heads: they guess badly, which must not show in the text."""
    return MultiTokenHeads(model.hidden_size, count, initializer_range=0.3, seed=1).double()


@pytest.fixture(params=FAMILIES, scope="module")
def model(request):
    return HFCausalLM(random_model(request.param), name=request.param)


@pytest.fixture(scope="module")
def llama():
    return HFCausalLM(random_model("llama"), name="llama")


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_every_family(model, sampling):
    ids = random_ids(20)
    wanted = PlainDecoder(model).generate(ids, 60, sampling).tokens
    for options in (
        {"adaptive": False},
        {"adaptive": False, "kv_budget": 24, "kv_sink": 4, "branching": (2, 2, 1)},
        {"adaptive": True, "branching": "auto", "drawn": False},
    ):
        found = TokenSwift(model, heads_for(model), **options).generate(ids, 60, sampling)
        assert found.tokens == wanted, options


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("branching", [None, (1,), (3, 1, 2, 2), (1, 3, 3, 3)])
@pytest.mark.parametrize("prompt", [1, 2, 33])
def test_every_tree_and_short_prompts(llama, sampling, branching, prompt):
    ids = random_ids(prompt)
    wanted = PlainDecoder(llama).generate(ids, 40, sampling).tokens
    swift = TokenSwift(llama, heads_for(llama), branching=branching, kv_budget=20, kv_sink=3, adaptive=False)
    found = swift.generate(ids, 40, sampling)
    assert found.tokens == wanted
    assert found.selections > 0
    assert found.modes["draft"] > 0


def test_without_heads_n_grams_are_re_used(llama):
    ids = random_ids(6) * 6
    for sampling in SAMPLINGS.values():
        wanted = PlainDecoder(llama).generate(ids, 60, sampling).tokens
        for adaptive in (False, True):
            assert TokenSwift(llama, adaptive=adaptive).generate(ids, 60, sampling).tokens == wanted
    repeating = PlainDecoder(llama).generate(ids, 300).tokens
    found = TokenSwift(llama, adaptive=False).generate(ids, 300, SamplingParams())
    assert found.tokens == repeating
    assert found.steps < 300
    assert found.reuse_share == 1


def test_with_all_keys_the_first_guess_of_a_greedy_text_is_always_right(llama):
    found = TokenSwift(llama, heads_for(llama), ngram_topk=0, adaptive=False).generate(
        random_ids(9), 50, SamplingParams()
    )
    assert found.accepted >= found.modes["draft"]
    assert 1 <= found.tokens_per_step <= 5


def test_drawn_guesses_are_right_where_the_models_own_row_is(llama):
    """The first position's row is the model's own while all keys are read: its draw is the model's draw."""
    sampling = SamplingParams(temperature=1, seed=9)
    rate = {}
    for drawn in (False, True):
        found = TokenSwift(
            llama, heads_for(llama), ngram_topk=0, drawn=drawn, adaptive=False, branching=(1,)
        ).generate(random_ids(9), 80, sampling)
        rate[drawn] = found.accepted / max(1, found.modes["draft"])
    assert rate[True] == 1
    assert rate[False] < 0.9


def test_n_grams_never_lower_what_is_accepted(llama):
    sampling = long_sampling(penalty_window=8, seed=2)
    text = random_ids(10) + list(PlainDecoder(llama).generate(random_ids(10), 120, sampling).tokens)
    heads = heads_for(llama)
    without, with_ = replay_acceptance(llama, heads, text, 10, sampling, ngram_topk=[0, 20])
    by_start = dict(zip(without.starts, without.accepted, strict=True))
    for start, accepted in zip(with_.starts, with_.accepted, strict=True):
        assert accepted >= by_start.get(start, 0)


@pytest.mark.parametrize("options", [{}, {"kv_budget": 24, "kv_sink": 4}])
def test_a_replay_is_the_run(llama, options):
    sampling = long_sampling(penalty_window=8, seed=2)
    ids, heads = random_ids(10), heads_for(llama)
    live = TokenSwift(llama, heads, drawn=False, adaptive=False, **options).generate(ids, 100, sampling)
    (replay,) = replay_acceptance(llama, heads, ids + list(live.tokens), 10, sampling, **options)
    assert abs(sum(replay.accepted) - live.accepted) <= 4  # the run's last step may be cut, or plain
    assert abs(len(replay.starts) - live.modes["draft"]) <= 1


# --- the official faults ----------------------------------------------------------------------------------


def test_a_draw_for_every_leaf_is_not_lossless():
    """27 leaves share the first node; when each draws for itself, a token of probability 0.3 nearly always comes."""
    rng = np.random.default_rng(0)
    p = np.array([0.3, 0.25, 0.2, 0.1, 0.1, 0.05])
    per_leaf = [bool((rng.choice(6, 27, p=p) == 0).any()) for _ in range(3000)]
    assert pytest.approx(0.999934, abs=1e-6) == 1 - 0.7**27
    assert pytest.approx(0.941850, abs=1e-6) == 1 - 0.9**27
    assert np.mean(per_leaf) > 0.99
    # One draw a node: 0.3 (1 + .75 + .75² + .75³) tokens are accepted, and the token comes as often as it should.
    sampler = Sampler(SamplingParams(temperature=1, seed=1))
    accepted, first = [], []
    for trial in range(4000):
        drawn = [sampler.pick(p, 10 * trial + depth) for depth in range(4)]
        first.append(drawn[0] == 0)
        right = 0
        while right < 4 and drawn[right] in ((0,) if right == 0 else (0, 1, 2)):
            right += 1
        accepted.append(right)
    assert np.mean(first) == pytest.approx(0.3, abs=0.03)
    assert np.mean(accepted) == pytest.approx(0.820313, abs=0.06)


def test_a_penalty_window_that_stands_still_during_a_step_gives_another_text(llama):
    """Nodes judged by the window before the step: what the path itself said is not penalised."""
    sampling = SamplingParams(temperature=1, repetition_penalty=1.8, penalty_window=6, seed=7)
    ids = random_ids(8)
    plain = PlainDecoder(llama).generate(ids, 60, sampling).tokens
    differ = 0
    for start in range(0, 56, 4):
        text = ids + list(plain[:start])
        cache = llama.new_cache()
        frozen = Sampler(sampling).window(text)
        for position in range(4):
            upto = text + list(plain[start : start + position])
            logits = llama.forward(upto[cache.length :], cache, last=1)[0].numpy()
            p = filtered_probabilities(logits, sampling, frozen)
            differ += Sampler(sampling).pick(p, len(upto)) != plain[start + position]
    assert differ > 0
    assert TokenSwift(llama, heads_for(llama), adaptive=False).generate(ids, 60, sampling).tokens == plain


def test_it_stops_where_it_should(llama):
    ids, sampling = random_ids(9), long_sampling(penalty_window=10, seed=1)
    swift = TokenSwift(llama, heads_for(llama), adaptive=False)
    whole = swift.generate(ids, 50, sampling).tokens
    at = whole.index(whole[23])
    found = swift.generate(ids, 50, sampling, Stop(ids=(whole[23],)))
    assert found.tokens == whole[: at + 1]
    assert found.stop_reason == "stop"
    for count in (0, 1, 2, 3, 17):
        assert swift.generate(ids, count, sampling).tokens == whole[:count]
    streamed = []
    swift.generate(ids, 50, sampling, on_token=streamed.append)
    assert tuple(streamed) == whole


def test_a_run_that_was_cut_off_goes_on(llama, tmp_path):
    ids, sampling = random_ids(12), long_sampling(penalty_window=10, seed=1)
    swift = TokenSwift(llama, heads_for(llama), adaptive=False, kv_budget=24, kv_sink=4)
    whole = swift.generate(ids, 120, sampling).tokens
    path = tmp_path / "run.json"
    stream = swift.stream(ids, 120, sampling, checkpoint=path, checkpoint_every=20)
    seen = 0
    for tokens in stream:
        seen += len(tokens)
        if seen > 70:
            break
    stream.close()
    found = swift.generate(ids, 120, sampling, checkpoint=path, checkpoint_every=20)
    assert found.tokens == whole
    assert 20 <= found.resumed_at <= 72
    assert found.modes["draft"] >= len(whole) / 5
    again = swift.generate(ids, 120, sampling, checkpoint=path)  # it had ended: nothing is decoded
    assert again.tokens == whole
    assert again.resumed_at == 120
    with pytest.raises(InputError, match="its sampling differs"):
        swift.generate(ids, 120, long_sampling(seed=2), checkpoint=path)
    path.write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        swift.generate(ids, 120, sampling, checkpoint=path)


def test_the_report(llama):
    found = TokenSwift(llama, heads_for(llama), adaptive=False, kv_budget=24, kv_sink=4).generate(
        random_ids(40), 100, long_sampling(penalty_window=10), curve_every=25
    )
    shown = found.as_dict()
    assert shown["acceptance_definition"].startswith("accepted / (gamma")
    assert found.acceptance_rate == found.accepted / (4 * found.modes["draft"])
    assert [point.tokens for point in found.curve][-1] >= 75
    assert set(found.distinct) == {1, 2, 3, 4}
    assert (
        found.partial_bytes == 2 * 2 * 2 * 25 * 4 * 8
    )  # layers, keys and values, heads, slots, width, bytes
    assert found.selections >= 100 / 25
    assert sum(found.seconds.values()) <= found.wall_s * 1.001


def test_adaptive_texts_are_the_same_and_say_when_they_fell_back(llama):
    ids, sampling = random_ids(9), long_sampling(penalty_window=10, seed=1)
    wanted = PlainDecoder(llama).generate(ids, 200, sampling).tokens
    found = TokenSwift(llama, heads_for(llama)).generate(ids, 200, sampling)
    assert found.tokens == wanted
    assert found.modes["plain"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"branching": (1, 0)}, "each at least 1"),
        ({"branching": (1, 3, 3, 3, 3)}, "branching has 5 positions, 3 heads"),
        ({"ngram_topk": -1}, "ngram_topk"),
        ({"ngram_size": 1}, "at least 2"),
        ({"kv_budget": 16, "kv_sink": 16}, "kv_budget must exceed kv_sink"),
    ],
)
def test_wrong_settings(llama, options, message):
    with pytest.raises(InputError, match=message):
        TokenSwift(llama, heads_for(llama), **options)


def test_wrong_prompts_and_heads(llama):
    swift = TokenSwift(llama, heads_for(llama))
    with pytest.raises(InputError, match="prompt is empty"):
        swift.generate([], 5)
    with pytest.raises(ContextLengthError, match="reads at most 512"):
        swift.generate([1] * 10, 600)
    with pytest.raises(InputError, match=f"0 to {VOCABULARY - 1}"):
        swift.generate([VOCABULARY], 5)
    with pytest.raises(InputError, match="hidden size 8"):
        TokenSwift(llama, MultiTokenHeads(8))
    with pytest.raises(InputError, match="at least 1"):
        swift.generate([1], 5, checkpoint_every=0)
    with pytest.raises(InputError, match="prompt_len"):
        replay_acceptance(llama, None, [1, 2, 3], 3, SamplingParams())


def test_own_work_of_a_step_is_small():
    """Trees, guesses and draws cost at most 15 % of a step's two passes on a model of 3.5 M weights (CPU time)."""
    from firsthand.lm import tiny_llama

    torch.set_num_threads(1)
    model = HFCausalLM(tiny_llama(1024, width=256, layers=4, heads=4, context=512))
    heads = MultiTokenHeads(256)
    swift = TokenSwift(model, heads, adaptive=False)
    swift.generate(random_ids(64, vocabulary=1024), 20)
    shares = []
    for seed in range(3):
        found = swift.generate(random_ids(64, vocabulary=1024), 60, long_sampling(seed=seed))
        shares.append(found.seconds["own"] / (found.seconds["draft"] + found.seconds["verify"]))
    assert np.median(shares) <= 0.15
