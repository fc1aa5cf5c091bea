"""Texts that grow together or are read whole: both ways give the model's own logits, whatever is let go or left out."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from firsthand.lm import tiny_llama, train_tokenizer
from firsthand.rl.decoding import (
    HFBatchDecoder,
    LlamaBatchDecoder,
    batch_decoder,
    is_plain_llama,
)
from firsthand.rl.policy import CausalPolicy, Samples
from firsthand.rl.reading import answer_logits

PROMPTS = torch.tensor([[0, 0, 5, 6, 7], [9, 8, 7, 6, 5], [0, 3, 3, 4, 9]])
MASK = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1]])


def llama(**more):
    torch.manual_seed(3)
    settings = {
        "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.3,
        "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**{**settings, **more})).double().eval()


def whole(model, prompt, tokens):
    """The logits after one text, read from its start without padding."""
    ids = torch.tensor([[*prompt, *tokens]])
    return model(input_ids=ids).logits[0, -1]


LLAMAS = pytest.mark.parametrize(
    "more",
    [
        {},
        {"num_key_value_heads": 4, "tie_word_embeddings": True},
        {"head_dim": 16},
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}},
        {
            "rope_parameters": {
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16, "rope_theta": 10_000.0,
            }
        },
    ],
)  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("kind", [HFBatchDecoder, LlamaBatchDecoder])
@LLAMAS
@pytest.mark.parametrize("padded", [True, False])
def test_logits_are_those_of_the_whole_text(kind, more, padded):
    model = llama(**more)
    assert is_plain_llama(model)
    close = (
        1e-9 if kind is HFBatchDecoder else 1e-5
    )  # transformers norms in float32, whatever the weights are in
    prompts, mask = (PROMPTS, MASK) if padded else (PROMPTS[:, 2:], MASK[:, 2:])
    decoder = kind(model, prompts, mask, 2, 12)
    texts = [[] for _ in range(6)]
    there = list(range(6))
    for step in range(6):
        for place, row in zip(there, decoder.logits, strict=True):
            prompt = prompts[place // 2][mask[place // 2].bool()].tolist()
            torch.testing.assert_close(row, whole(model, prompt, texts[place]), rtol=close, atol=close)
        if step in (2, 4):
            rest = torch.tensor([n for n in range(len(there)) if n % 3 != 1])
            decoder.keep(rest)
            there = [there[n] for n in rest.tolist()]
        drawn = torch.randint(1, 40, (len(there),))
        for place, token in zip(there, drawn.tolist(), strict=True):
            texts[place].append(token)
        decoder.step(drawn)


@LLAMAS
def test_texts_read_without_padding_are_those_read_with_it(more, monkeypatch):
    """Logits and gradients of answers of 1 to 6 tokens, to prompts that are padded on the left."""
    model = llama(**more)
    tokens = torch.randint(1, 40, (5, 6), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(6) < torch.tensor([3, 6, 1, 2, 5])[:, None]).long()
    samples = Samples(PROMPTS, MASK, tokens, mask, torch.tensor([0, 0, 2, 1, 2]))
    found = []
    for plain in (True, False):
        monkeypatch.setattr("firsthand.rl.reading.is_plain_llama", lambda _, plain=plain: plain)
        model.zero_grad()
        logits = answer_logits(model, samples)
        logits.square().mean().backward()
        found.append((logits, [weight.grad.clone() for weight in model.parameters()]))
    (bare, gradients), (framework, others) = found
    assert bare.shape == (17, 40)
    torch.testing.assert_close(bare, framework, rtol=1e-5, atol=1e-5)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_who_is_run_bare():
    assert is_plain_llama(tiny_llama(300, width=32, layers=1))
    assert not is_plain_llama(tiny_llama(300, width=32, layers=1).half())
    assert not is_plain_llama(llama(attention_bias=True))
    assert not is_plain_llama(llama(hidden_size=1024, num_hidden_layers=1))
    assert not is_plain_llama(llama(hidden_act="gelu"))
    adapted = llama()
    adapted.model.layers[0].self_attn.q_proj = torch.nn.Sequential(adapted.model.layers[0].self_attn.q_proj)
    assert not is_plain_llama(adapted)
    assert isinstance(batch_decoder(adapted.eval(), PROMPTS, MASK, 1, 4), HFBatchDecoder)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_policy_draws_the_same_answers_either_way(monkeypatch, temperature):
    tokenizer = train_tokenizer(["one two three four five six\n" * 20], 270)
    model = tiny_llama(len(tokenizer), width=32, layers=2, context=128).double()
    # Ends are frequent, so that answers are let go.
    policy = CausalPolicy(model, tokenizer, stop_ids=list(range(60)))
    rows = [{"prompt": "one two"}, {"prompt": "three four five six one"}, {"prompt": "six"}]

    def drawn():
        return policy.sample(
            rows,
            group_size=8,
            max_new_tokens=24,
            temperature=temperature,
            generator=torch.Generator().manual_seed(1),
        )

    mine = drawn()
    monkeypatch.setattr("firsthand.rl.decoding.is_plain_llama", lambda _: False)
    theirs = drawn()
    assert torch.equal(mine.tokens, theirs.tokens)
    assert torch.equal(mine.mask, theirs.mask)
    lengths = mine.mask.sum(1)
    if temperature:
        assert len(set(lengths.tolist())) > 3
    for row, length in zip(mine.tokens, lengths.tolist(), strict=True):
        ended = [token in policy.stop_ids for token in row[:length].tolist()]
        assert not any(ended[:-1])
        assert ended[-1] or length == mine.tokens.shape[1] == 24
        assert (row[length:] == policy.pad_id).all()


def test_greedy_answers_are_those_of_generate():
    tokenizer = train_tokenizer(["one two three four five six\n" * 20], 270)
    model = tiny_llama(len(tokenizer), width=32, layers=2, context=128)
    policy = CausalPolicy(model, tokenizer)
    ids = tokenizer("one two three", return_tensors="pt")["input_ids"]
    wanted = copy.deepcopy(model).generate(ids, max_new_tokens=20, do_sample=False)[0, ids.shape[1] :]
    found = policy.sample(
        [{"prompt": "one two three"}],
        group_size=2,
        max_new_tokens=20,
        temperature=0,
        generator=torch.Generator(),
    )
    assert found.answers()[0] == found.answers()[1] == wanted.tolist()[: len(found.answers()[0])]
