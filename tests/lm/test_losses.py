"""Scoring text: against one forward pass a token, against batches of one, and against stream scoring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.lm import LanguageModel, document_losses, token_losses
from firsthand.lm import losses as losses_module
from firsthand.lm.losses import windows

from .models import make

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

ARCHITECTURES = ("llama", "gemma3", "gpt2", "gemma2", "granite")


def sequence_of(tokenizer, text, bos=True):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ([tokenizer.bos_token_id] if bos else []) + ids


@torch.inference_mode()
def obvious(model, sequence, block, stride):
    """One forward pass for every target, with exactly the context that the rule gives it."""
    nats = []
    for target in range(1, len(sequence)):
        begin = 0
        if target > block:  # which later window scores it, and where that window starts
            begin = stride * -(-(target - block) // stride)
        logits = model(input_ids=torch.tensor([sequence[begin:target]])).logits[0, -1].double()
        nats.append(float(-torch.log_softmax(logits, -1)[sequence[target]]))
    return np.array(nats)


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize(("block", "stride"), [(16, 5), (12, 12), (400, 100)])
def test_equals_one_pass_a_token(kind, block, stride, tokenizer, texts):
    model = make(kind, len(tokenizer))
    some = [texts[0][:60], *texts[1:5]]
    got = token_losses(model, tokenizer, some, block=block, stride=stride, batch_tokens=64)
    for text, row in zip(some, got, strict=True):
        sequence = sequence_of(tokenizer, text) if text else []
        np.testing.assert_allclose(row, obvious(model, sequence, block, stride), atol=1e-4)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_batch_composition_does_not_matter(kind, tokenizer, texts):
    model = make(kind, len(tokenizer))
    options = {"block": 24, "stride": 9}
    together = token_losses(model, tokenizer, texts, batch_tokens=10_000, **options)
    alone = [token_losses(model, tokenizer, [text], batch_tokens=1, **options)[0] for text in texts]
    backwards = token_losses(model, tokenizer, texts[::-1], batch_tokens=100, **options)[::-1]
    for one, two, three in zip(together, alone, backwards, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)
        np.testing.assert_allclose(one, three, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "split"),
    [("llama", True), ("gemma3", True), ("gpt2", True), ("gemma2", True), ("granite", False)],
)
def test_output_layer_is_split_off_only_where_that_gives_the_models_own_logits(kind, split, tokenizer):
    body, _ = losses_module._body_and_head(make(kind, len(tokenizer)))
    assert (body is not None) is split


def test_slicing_the_vocabulary_changes_nothing(tokenizer, texts, monkeypatch):
    model = make("llama", len(tokenizer))
    whole = token_losses(model, tokenizer, texts)
    monkeypatch.setattr(losses_module, "_LOGITS_AT_ONCE", 3 * len(tokenizer))
    for one, two in zip(whole, token_losses(model, tokenizer, texts), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_never_holds_the_logits_of_a_whole_batch(tokenizer, texts, monkeypatch):
    model = make("llama", len(tokenizer))
    monkeypatch.setattr(losses_module, "_LOGITS_AT_ONCE", 7 * len(tokenizer))
    rows = []
    model.get_output_embeddings().register_forward_hook(
        lambda module, inputs, output: rows.append(output.numel() // len(tokenizer))
    )
    losses = token_losses(model, tokenizer, texts, batch_tokens=10_000)
    # The first two calls are the trial of the split, on 8 tokens.
    assert max(rows[2:]) == 7
    assert sum(rows[2:]) == sum(len(row) for row in losses)


def test_number_of_targets_with_and_without_bos(tokenizer, texts):
    model = make("gpt2", len(tokenizer))
    counts = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert [len(row) for row in token_losses(model, tokenizer, texts)] == counts
    without = token_losses(model, tokenizer, texts, bos=False)
    assert [len(row) for row in without] == [max(count - 1, 0) for count in counts]
    np.testing.assert_allclose(
        without[0], obvious(model, sequence_of(tokenizer, texts[0], bos=False), 1900, 512), atol=1e-4
    )


def test_a_separator_written_out_in_a_text_is_ordinary_text(tokenizer):
    model = make("llama", len(tokenizer))
    assert len(token_losses(model, tokenizer, ["<|endoftext|>"])[0]) > 3


def test_stream_scoring_leaks_between_documents(tokenizer, texts):
    """What the released script does; ours must differ on the second document and agree on the first."""
    model = make("llama", len(tokenizer))
    first, second = texts[0][:60], texts[3]
    stream = sequence_of(tokenizer, first) + sequence_of(tokenizer, second, bos=False)
    leaked = obvious(model, stream, 1900, 512)
    ours = token_losses(model, tokenizer, [first, second])
    np.testing.assert_allclose(leaked[: len(ours[0])], ours[0], atol=1e-4)
    assert abs(leaked[len(ours[0]) :].sum() - ours[1].sum()) > 0.1


def test_training_mode_is_respected_and_given_back(tokenizer, texts):
    model = make("gpt2", len(tokenizer))  # has dropout
    expected = token_losses(model, tokenizer, texts)
    model.train()
    np.testing.assert_array_equal(token_losses(model, tokenizer, texts)[0], expected[0])
    assert model.training


@given(
    targets=st.integers(0, 3000),
    block=st.integers(1, 700),
    data=st.data(),
)
def test_windows_score_every_target_once_with_bounded_context(targets, block, data):
    stride = data.draw(st.integers(max(1, block // 10), block))
    cut = windows(targets, block=block, stride=stride)
    scored = [position for window in cut for position in range(window.first, window.end)]
    assert scored == list(range(targets))
    for number, window in enumerate(cut):
        assert window.end - window.begin <= block
        if number:
            assert window.first - window.begin == block - stride


@pytest.mark.parametrize(
    ("stream", "count", "official_targets"),
    [(1901, 1, 1900), (2413, 2, 2412), (5000, 7, 4972), (10000, 16, 9580)],
)
def test_windows_at_the_papers_sizes(stream, count, official_targets):
    """The official windows, then one for the tail that the official script drops."""
    cut = windows(stream - 1)
    tail = stream - 1 - official_targets
    assert len(cut) == count + (tail > 0)
    assert cut[count - 1].end == official_targets
    assert cut[-1].end == stream - 1


def test_bad_input_is_named(tokenizer, texts):
    model = make("gpt2", len(tokenizer), positions=32)
    with pytest.raises(InputError, match="block=32"):
        token_losses(model, tokenizer, texts)
    with pytest.raises(InputError, match="stride"):
        token_losses(model, tokenizer, ["a"], block=8, stride=9)
    with pytest.raises(InputError, match="list of strings"):
        token_losses(model, tokenizer, "one text")
    with pytest.raises(InputError, match="batch_tokens"):
        token_losses(model, tokenizer, ["a"], batch_tokens=0)
    assert len(token_losses(model, tokenizer, texts, block=32, stride=16)) == len(texts)
    assert token_losses(model, tokenizer, []) == []


def test_document_losses_count_what_they_say(tokenizer, texts):
    model = LanguageModel("tiny", make("llama", len(tokenizer)), tokenizer, "folder", "none")
    got = document_losses(model, texts, [f"d{number}" for number in range(len(texts))], block=24, stride=8)
    rows = token_losses(model.model, tokenizer, texts, block=24, stride=8)
    assert got.ids[:2] == ("d0", "d1")
    assert np.isnan(got.nats[2])
    assert got.n_tokens[2] == 0
    np.testing.assert_allclose(np.delete(got.nats, 2), [row.sum() for row in rows if len(row)])
    assert got.n_chars[4] == len("naïve café 東京") == 13
    assert got.n_bytes[4] == 13 + 2 + 4  # two accents and two characters of three bytes


def test_document_losses_of_any_callable():
    got = document_losses(lambda texts: [np.full(len(text), 0.5) for text in texts], ["abcd", ""])
    assert got.ids == ("0", "1")
    assert got.nats[0] == 2.0
    assert np.isnan(got.nats[1])
    with pytest.raises(InputError, match="twice"):
        document_losses(lambda texts: [np.ones(1)] * 2, ["a", "b"], ["x", "x"])
    with pytest.raises(InputError, match="1 ids"):
        document_losses(lambda texts: [np.ones(1)] * 2, ["a", "b"], ["x"])
    with pytest.raises(InputError, match="1 arrays"):
        document_losses(lambda texts: [np.ones(1)], ["a", "b"])
