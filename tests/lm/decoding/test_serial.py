"""Serial speculation, prompt lookup and the bare Llama: plain decoding's tokens, and fewer passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firsthand.errors import InputError
from firsthand.lm import tiny_llama
from firsthand.lm.decoding import PlainDecoder, PromptLookup, SamplingParams, SerialSpeculation, Stop
from firsthand.lm.decoding.huggingface import HFCausalLM
from firsthand.lm.decoding.lean import LeanLlama
from tests.lm.decoding.models_for_tests import random_ids

SAMPLINGS = {
    "greedy": SamplingParams(),
    "greedy, penalty": SamplingParams(repetition_penalty=1.5, penalty_window=6),
    "sampled": SamplingParams(temperature=0.8, seed=1),
    "everything": SamplingParams(
        temperature=1.1, top_k=30, top_p=0.95, min_p=0.02, eta=3e-3, repetition_penalty=1.2,
        penalty_window=9, banned_ids=(3,), seed=2,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def target():
    return HFCausalLM(tiny_llama(64, width=16, layers=2, heads=2, context=256).double(), name="target")


@pytest.fixture(scope="module")
def draft(target):
    """A draft that is often right: the target's weights, disturbed."""
    model = tiny_llama(64, width=16, layers=2, heads=2, context=256).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.04 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return LeanLlama(model)


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("length", [1, 4, 12])
@pytest.mark.parametrize("mode", ["greedy", "coupled"])
def test_serial_speculation_is_plain_decoding(target, draft, sampling, length, mode):
    for seed in range(3):
        ids = random_ids(1 + 7 * seed, seed)
        wanted = PlainDecoder(target).generate(ids, 50, sampling)
        found = SerialSpeculation(target, draft, length=length, draft_mode=mode).generate(ids, 50, sampling)
        assert found.tokens == wanted.tokens
        assert found.accepted + found.steps >= 50


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_prompt_lookup_is_plain_decoding(target, sampling):
    ids = random_ids(8) * 3
    wanted = PlainDecoder(target).generate(ids, 60, sampling)
    assert PromptLookup(target).generate(ids, 60, sampling).tokens == wanted.tokens


def test_the_same_draw_agrees_more_often_than_the_most_probable_token(target, draft):
    """Two models that agree on a distribution agree on what its number falls on; greedy drafts do not."""
    sampling = SamplingParams(temperature=1, seed=5)
    rate = {
        mode: SerialSpeculation(target, draft, length=4, draft_mode=mode).generate(
            random_ids(9), 150, sampling
        ).acceptance_rate
        for mode in ("greedy", "coupled")
    }  # fmt: skip
    assert rate["coupled"] > rate["greedy"] + 0.1


def test_a_perfect_draft_is_never_refused(target):
    found = SerialSpeculation(target, target, length=4).generate(random_ids(9), 50)
    assert found.acceptance_rate == 1
    assert found.steps == 10
    assert found.target_passes == 10  # the prompt is read along with the first draft


@pytest.mark.parametrize("kind", ["plain", "serial", "lookup"])
def test_stop_ids_exact_length_and_streaming(target, draft, kind):
    decoder = {
        "plain": PlainDecoder(target), "serial": SerialSpeculation(target, draft), "lookup": PromptLookup(target)
    }[kind]  # fmt: skip
    ids = random_ids(9)
    whole = decoder.generate(ids, 40).tokens
    stop_at = whole[17]
    first = whole.index(stop_at)
    streamed = []
    found = decoder.generate(ids, 40, stop=Stop(ids=(stop_at,)), on_token=streamed.append)
    assert found.tokens == whole[: first + 1] == tuple(streamed)
    assert found.stop_reason == "stop"
    for count in (0, 1, 2, 23):
        exact = decoder.generate(ids, count)
        assert exact.tokens == whole[:count]
        assert exact.stop_reason == "length"
    together = [token for tokens in decoder.stream(ids, 40) for token in tokens]
    assert tuple(together) == whole


def test_lookup_proposes_what_followed_last(target):
    propose = PromptLookup(target, ngram=2, length=3)._proposer()
    assert propose([1, 2, 3, 1, 2], 9, None) == [3, 1, 2]
    assert propose([1, 2, 3, 1, 2, 4, 5, 1, 2], 9, None) == [4, 5, 1]
    assert propose([1, 2, 3, 1, 2, 4, 5, 1, 2], 1, None) == [4]
    assert propose([1, 2, 3, 1, 2, 4, 5, 1, 2, 9], 5, None) == []


def test_results_count(target, draft):
    found = SerialSpeculation(target, draft, length=4).generate(random_ids(9), 40)
    shown = found.as_dict()
    assert shown["acceptance_rate"] == found.accepted / found.drafted
    assert shown["tokens_per_step"] == 40 / found.steps
    assert shown["tokens"] == list(found.tokens)
    assert 0 < found.ttft_s <= found.wall_s


def test_wrong_settings(target):
    other = HFCausalLM(tiny_llama(65, width=16, layers=1, heads=2))
    with pytest.raises(InputError, match="vocabularies differ: 65 vs 64"):
        SerialSpeculation(target, other)
    with pytest.raises(InputError, match="length must be at least 1"):
        SerialSpeculation(target, target, length=0)
    with pytest.raises(InputError, match="neither"):
        SerialSpeculation(target, target, draft_mode="lucky")
    with pytest.raises(InputError, match="at least 1"):
        PromptLookup(target, ngram=0)


def test_the_bare_llama_gives_the_same_logits():
    model = tiny_llama(64, width=16, layers=2, heads=2, context=700).double()
    ours, lean = HFCausalLM(model), LeanLlama(model)
    ids = random_ids(600)
    caches = ours.new_cache(), lean.new_cache()
    close = lambda a, b: torch.allclose(a, b, atol=2e-5)  # rotary angles are float32 in transformers
    assert close(ours.forward(ids[:300], caches[0]), lean.forward(ids[:300], caches[1]))
    mask = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1]], dtype=bool)
    tree = [model.forward([1, 2, 3], cache, positions=[300, 300, 301], mask=mask)
            for model, cache in zip((ours, lean), caches, strict=True)]  # fmt: skip
    assert close(*tree)
    for cache in caches:
        cache.commit(300, [301, 302])
    fork = caches[1].fork()
    caches[1].truncate(10)
    assert close(ours.forward(ids[302:], caches[0], last=2), lean.forward(ids[302:], fork, last=2))
    with pytest.raises(InputError, match="cannot keep"):
        fork.commit(10, [9])
    with pytest.raises(InputError, match="cannot be cut"):
        fork.truncate(-1)


def test_the_bare_llama_refuses_what_it_is_not():
    from tests.lm.decoding.models_for_tests import random_model

    with pytest.raises(InputError, match="qwen3"):
        LeanLlama(random_model("qwen3"))
    with pytest.raises(InputError, match="bfloat16"):
        LeanLlama(tiny_llama(64, width=16, layers=1, heads=2).bfloat16())


def test_plain_decoding_costs_no_more_than_generate():
    """CPU time of our loop against `model.generate` on a model of 3.5 M weights (the target is 0.95 times)."""
    import time

    model = tiny_llama(1024, width=256, layers=4, heads=4, context=256)
    decoder, ids = PlainDecoder(HFCausalLM(model)), random_ids(16)

    def ours():
        decoder.generate(ids, 64)

    def theirs():
        model.generate(
            torch.tensor([ids]), max_new_tokens=64, do_sample=False, eos_token_id=None, pad_token_id=0
        )

    def cpu_seconds(run):
        start = time.process_time()
        run()
        return time.process_time() - start

    ours(), theirs()
    ratios = [cpu_seconds(theirs) / cpu_seconds(ours) for _ in range(5)]
    assert np.median(ratios) > 0.9
