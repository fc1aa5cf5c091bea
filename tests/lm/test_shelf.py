"""Models trained on the spot and kept."""

from __future__ import annotations

import pytest
import torch

from firsthand.errors import InputError
from firsthand.lm.shelf import Recipe, kept, kept_tokenizer, tiny_hybrid, trained_model
from tests.lm.models import digest

TEXTS = ["def add(left, right): return left + right\n" * 30, "for number in range(10): print(number)\n" * 30]
SMALL = Recipe(width=16, layers=1, heads=2, context=16, steps=4, batch=2)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setenv("FIRSTHAND_CACHE", str(tmp_path))
    return tmp_path / "lm" / "trained"


def test_trained_once_and_taken_from_the_shelf(shelf, one_thread):
    tokenizer = kept_tokenizer(TEXTS, 300)
    assert kept_tokenizer(TEXTS, 300).backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    steps = []
    first = trained_model(SMALL, TEXTS, tokenizer, on_step=lambda step, loss: steps.append(step))
    assert steps == [1, 2, 3, 4]
    again = trained_model(SMALL, TEXTS, tokenizer, on_step=lambda step, loss: steps.append(step))
    assert len(steps) == 4
    assert digest(first) == digest(again)
    assert not first.training
    for path in shelf.iterdir():  # made anew, it is the same
        if path.is_dir() and path.name.startswith("llama"):
            path.rename(path.with_name("aside"))
    assert digest(trained_model(SMALL, TEXTS, tokenizer)) == digest(first)


def test_another_recipe_text_or_seed_is_another_model(shelf, one_thread):
    from dataclasses import replace

    tokenizer = kept_tokenizer(TEXTS, 300)
    made = [
        trained_model(SMALL, TEXTS, tokenizer),
        trained_model(replace(SMALL, seed=1), TEXTS, tokenizer),
        trained_model(replace(SMALL, steps=5), TEXTS, tokenizer),
        trained_model(SMALL, TEXTS[:1], tokenizer),
    ]
    assert len({digest(model) for model in made}) == 4


def test_a_training_that_fails_leaves_nothing(shelf):
    tokenizer = kept_tokenizer(TEXTS, 300)

    def fail(step, loss):
        raise RuntimeError("cut off")

    with pytest.raises(RuntimeError, match="cut off"):
        trained_model(SMALL, TEXTS, tokenizer, on_step=fail)
    assert not [path for path in shelf.iterdir() if path.is_dir() and path.name.startswith("llama")]
    assert trained_model(SMALL, TEXTS, tokenizer)


def test_the_hybrid_slides_in_all_layers_but_every_fourth(shelf, one_thread):
    from firsthand.lm.decoding.huggingface import HFCausalLM

    model = tiny_hybrid(64, width=16, layers=4, heads=2, window=8, longest=4096)
    assert HFCausalLM(model).windows == (8, 8, 8, None)
    assert model.config.num_key_value_heads == 1
    state = torch.random.get_rng_state()
    assert digest(model) == digest(tiny_hybrid(64, width=16, layers=4, heads=2, window=8, longest=4096))
    assert torch.equal(state, torch.random.get_rng_state())
    with pytest.raises(InputError, match="multiple"):
        tiny_hybrid(64, width=18, heads=2, layers=1, window=8)
    recipe = Recipe(width=16, layers=4, heads=2, kind="hybrid", window=8, context=16, steps=2, batch=1)
    assert trained_model(recipe, TEXTS, kept_tokenizer(TEXTS, 300)).config.sliding_window == 8


def test_whatever_else_is_kept_is_made_once_and_whole(shelf):
    made = []

    def make(folder):
        folder.mkdir()
        (folder / "part").write_text("half")
        made.append(folder)
        if len(made) == 1:
            raise RuntimeError("cut off")

    with pytest.raises(RuntimeError, match="cut off"):
        kept("heads-1", make)
    assert not (shelf / "heads-1").exists()
    assert kept("heads-1", make) == kept("heads-1", make) == shelf / "heads-1"
    assert len(made) == 2
