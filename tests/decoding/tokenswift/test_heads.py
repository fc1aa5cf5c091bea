"""The heads: their sizes and files, and a training that learns what is t + 2 + i places on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from firsthand.decoding.tokenswift import MultiTokenHeads, load_heads, save_heads, train_heads
from firsthand.errors import InputError, NotFoundError
from firsthand.lm import tiny_llama
from firsthand.lm.decoding.huggingface import HFCausalLM
from tests.lm.models import digest

PERIOD = np.tile([5, 9, 2, 7], 200)


@pytest.fixture(scope="module")
def model():
    return HFCausalLM(tiny_llama(16, width=32, layers=1, heads=2, context=64))


def settings(**changes):
    return {
        "steps": 40, "warmup": 2, "seq_len": 32, "batch_tokens": 64, "learning_rate": 2e-2, "seed": 0, **changes
    }  # fmt: skip


def test_sizes_and_chain():
    heads = MultiTokenHeads(64)
    assert sum(weight.numel() for weight in heads.parameters()) == 3 * (64**2 + 2 * 64)
    assert 3 * (4096**2 + 2 * 4096) == 50_356_224
    hidden = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    state = torch.random.get_rng_state()
    again = MultiTokenHeads(64)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(heads(hidden), again(hidden), strict=True))
    h = hidden
    for i, found in enumerate(heads(hidden)):
        h = h + heads.before[i](h) @ heads.linear[i].T
        assert torch.allclose(found, heads.after[i](h))
    with pytest.raises(InputError, match="at least 1"):
        MultiTokenHeads(0)


def test_a_copy_task_of_period_four_is_learnt(model):
    seen = []
    before = digest(model.model)
    heads = train_heads(model, PERIOD, on_step=seen.append, **settings())
    assert digest(model.model) == before  # the model is frozen
    assert [row[0] for row in seen[-1].accuracy] == pytest.approx([1, 1, 1], abs=0.01)
    assert seen[-1].losses[0] < seen[0].losses[0]
    reading = model.read(PERIOD[:20].tolist(), model.new_cache())
    for i, state in enumerate(heads(reading.hidden)):
        guesses = model.head(state).argmax(-1)
        assert guesses[:10].tolist() == PERIOD[2 + i : 12 + i].tolist()
        # Labels one place off are what a head that was trained right must not give.
        assert guesses[:10].tolist() != PERIOD[1 + i : 11 + i].tolist()


def test_cut_off_and_resumed(model, tmp_path):
    whole = train_heads(model, PERIOD, **settings(steps=8))
    path = tmp_path / "heads.ckpt"

    def stop(step):
        if step.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_heads(model, PERIOD, checkpoint=path, every=2, on_step=stop, **settings(steps=8))
    steps = []
    again = train_heads(
        model, PERIOD, checkpoint=path, every=2, on_step=lambda s: steps.append(s.step), **settings(steps=8)
    )
    assert steps[0] == 5
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(InputError, match="another run"):
        train_heads(model, PERIOD, checkpoint=path, **settings(steps=9))
    path.write_bytes(b"no")
    with pytest.raises(InputError, match="cannot be read"):
        train_heads(model, PERIOD, checkpoint=path, **settings(steps=8))


def test_it_ends_when_nothing_more_is_learnt(model):
    seen = []
    train_heads(model, PERIOD, patience=5, on_step=seen.append, **settings(steps=200))
    assert len(seen) < 200


def test_files(model, tmp_path):
    heads = MultiTokenHeads(32, seed=3)
    path = tmp_path / "heads.safetensors"
    save_heads(heads, path, model, tokens=77)
    found = load_heads(path, model)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), heads.parameters(), strict=True))
    about = json.loads(Path(f"{path}.json").read_text())
    assert about["gamma"] == 4
    assert about["training_tokens"] == 77
    other = HFCausalLM(tiny_llama(16, width=32, layers=1, heads=2, context=64, seed=1), name="other")
    with pytest.raises(InputError, match=rf"{model.fingerprint()}.*other has {other.fingerprint()}"):
        load_heads(path, other)
    wide = HFCausalLM(tiny_llama(16, width=48, layers=1, heads=2, context=64), name="wide")
    with pytest.raises(InputError, match="hidden size 32, wide has 48"):
        load_heads(path, wide)
    with pytest.raises(NotFoundError, match="no heads"):
        load_heads(tmp_path / "none", model)
    path.write_bytes(b"not safetensors")
    with pytest.raises(InputError, match="cannot be read"):
        load_heads(path, model)


@pytest.mark.parametrize("wrong", [{"seq_len": 4}, {"steps": 0}, {"seq_len": 5000}, {"seq_len": 128}])
def test_wrong_settings(model, wrong):
    with pytest.raises(InputError):
        train_heads(model, PERIOD, **settings(**wrong))
