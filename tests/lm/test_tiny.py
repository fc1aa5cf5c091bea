"""Tiny models and tokenizers: determined by their arguments, and lossless."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.lm import packed, parameters, tiny_llama, train_tokenizer

from .models import digest, tokenizer_hash

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    one = digest(tiny_llama(300, width=16, heads=2, seed=5))
    torch.manual_seed(2)
    assert digest(tiny_llama(300, width=16, heads=2, seed=5)) == one
    assert digest(tiny_llama(300, width=16, heads=2, seed=6)) != one


def test_global_generator_is_left_alone():
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    tiny_llama(300, width=16, heads=2, seed=5)
    assert torch.equal(torch.rand(3), expected)


def test_parameters_counts_tied_weights_once():
    model = tiny_llama(1024, width=96, layers=2, heads=4)
    by_hand = 1024 * 96 + 2 * (4 * 96 * 96 + 3 * 96 * 256 + 2 * 96) + 96
    assert parameters(model) == by_hand
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("arguments", [{"width": 18, "heads": 4}, {"layers": 0}, {"vocab_size": 0}])
def test_sizes_that_do_not_fit(arguments):
    with pytest.raises(InputError, match=r"multiple|at least 1"):
        tiny_llama(**arguments)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_every_string_survives(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.eos_token_id not in ids


def test_separator_in_a_text_survives_as_text(tokenizer):
    ids = tokenizer("a<|endoftext|>b")["input_ids"]
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids) == "a<|endoftext|>b"


def test_tokenizer_is_the_same_in_every_process(elsewhere):
    assert elsewhere["tokenizer"] == tokenizer_hash()


def test_tokenizer_sizes():
    assert len(train_tokenizer(["abcabcabc abc abd abd"] * 3, vocab_size=262)) == 262
    assert train_tokenizer(["x"], 300).bos_token_id == 0
    with pytest.raises(InputError, match="exceed 256"):
        train_tokenizer(["x"], 256)


def test_tokenizer_saves_and_loads(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("the loss  of\n\n a <|endoftext|> model", " naïve 東京 ."):
        assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
        assert again.decode(again(text)["input_ids"]) == text


def test_packed_puts_the_separator_between_documents(tokenizer):
    texts = ["the loss", "a <|endoftext|> text", "of"]
    ids = packed(tokenizer, texts)
    assert ids.dtype == np.int64
    cuts = np.flatnonzero(ids == tokenizer.eos_token_id)
    assert len(cuts) == 2
    assert [
        tokenizer.decode(piece[piece != tokenizer.eos_token_id]) for piece in np.split(ids, cuts)
    ] == texts
    assert packed(tokenizer, []).shape == (0,)
    tokenizer_without = type("T", (), {"eos_token_id": None})()
    with pytest.raises(InputError, match="EOS"):
        packed(tokenizer_without, texts)
