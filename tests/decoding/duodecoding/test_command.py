"""The verbs: text on stdout, figures as a table or JSON, errors that are ours."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from firsthand.decoding.duodecoding.command import app
from firsthand.decoding.duodecoding.loading import load_draft, quantised
from firsthand.errors import FirsthandError, InputError, ModelNotFoundError, NotFoundError
from firsthand.lm import tiny_llama, train_tokenizer
from firsthand.lm.decoding.ngram import NGramLM

TEXT = "def add(left, right):\n    return left + right\n\n" * 12


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer([TEXT], 280)
    for name, layers in (("target", 2), ("draft", 1)):
        tiny_llama(len(tokenizer), width=16, layers=layers, heads=2).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    ids = tokenizer(TEXT)["input_ids"]
    NGramLM(3, vocab_size=len(tokenizer)).fit(ids).save(folder / "draft.npz")
    (folder / "prompt.txt").write_text(TEXT[:60])
    (folder / "other.txt").write_text(TEXT[20:90])
    return folder


def call(*arguments, fails=None):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=True)
    if fails is None:
        assert result.exception is None, (result.output, result.exception)
        return result.stdout
    assert isinstance(result.exception, FirsthandError), (result.output, result.exception)
    assert isinstance(result.exception, fails)
    return str(result.exception)


def pair(models, draft="draft"):
    return ("--target", models / "target", "--draft", models / draft, "--device", "cpu")


def test_generate(models):
    both = (*pair(models), "--prompt-file", models / "prompt.txt", "--max-new-tokens", 12, "--budget", 3)
    options = ("--executor", "serial", "--ignore-eos", "--no-fallback")
    report = json.loads(call("generate", *both, *options, "--json"))
    assert len(report["tokens"]) == 12
    assert report["rounds"] >= 1
    assert call("generate", *both, *options, "-q") == report["text"] + "\n"
    lean = json.loads(call("generate", *both, *options, "--draft-runner", "lean", "--json"))
    assert lean["tokens"] == report["tokens"]
    sampled = json.loads(call("generate", *both, *options, "--temperature", 1, "--seed", 4, "--json"))
    assert sampled["tokens"] != report["tokens"]


def test_n_gram_and_quantised_drafts(models):
    options = ("--prompt", TEXT[:40], "--max-new-tokens", 8, "--budget", 2, "--executor", "serial", "--json")
    wanted = json.loads(call("generate", *pair(models), *options))["tokens"]
    counted = call("generate", *pair(models, "draft.npz"), "--draft-runner", "ngram", *options)
    assert json.loads(counted)["tokens"] == wanted
    eighth = call("generate", *pair(models), "--draft-runner", "int8", *options)
    assert json.loads(eighth)["tokens"] == wanted


def test_quantised_weights_are_close_and_small(models):
    model = tiny_llama(64, width=64, layers=1, heads=2)
    small = quantised(model)
    ids = torch.arange(20)[None]
    with torch.no_grad():
        wanted, found = model(ids).logits, small(ids).logits
    assert not torch.equal(wanted, found)
    assert float((wanted - found).abs().max()) < 0.1 * float(wanted.abs().max())
    assert type(small.model.layers[0].mlp.up_proj) is not torch.nn.Linear
    assert type(model.model.layers[0].mlp.up_proj) is torch.nn.Linear  # the original is as it was
    with pytest.raises(InputError, match="draft runner"):
        load_draft(str(models / "draft"), "fast")


def test_profile(models):
    shown = json.loads(call("profile", *pair(models), "--context-len", 16, "--repeats", 3, "--json"))
    assert shown["budget"] >= 1
    assert shown["ratio"] > 0
    assert "drafted tokens a round" in call("profile", *pair(models), "--context-len", 16, "--repeats", 2)


def test_bench(models):
    arguments = (
        *pair(models), "--prompt-file", models / "prompt.txt", "--prompt-file", models / "other.txt",
        "--max-new-tokens", 6, "--prompt-tokens", 12, "--repeats", 1, "--executor", "serial", "-q",
    )  # fmt: skip
    report = json.loads(call("bench", *arguments, "--json"))
    names = [row["decoder"] for row in report["arms"]]
    assert names[0] == "plain"
    assert {"duo", "duo, one chain", "prompt lookup", "transformers: assisted"} <= set(names)
    assert all(row["same_text"] for row in report["arms"])
    assert report["target_latency"] == "real"
    emulated = call("bench", *arguments, "--emulate-target-ms", 5, "--budget", 2)
    assert "target latency emulated" in emulated
    assert "transformers" not in emulated


def test_errors_say_what_to_do(models, tmp_path):
    both = pair(models)
    assert "give the text to go on from once" in call("generate", *both, fails=InputError)
    assert "no prompt file" in call("generate", *both, "--prompt-file", tmp_path / "no", fails=NotFoundError)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in call("generate", *both, "--prompt-file", tmp_path / "bytes", fails=InputError)
    assert "neither auto nor a number" in call(
        "generate", *both, "--prompt", "a", "--budget", "many", fails=InputError
    )
    assert "prompt is empty" in call(
        "generate", *both, "--prompt", "", "--executor", "serial", "--budget", 2, fails=InputError
    )
    call("profile", "--target", tmp_path / "no", "--draft", models / "draft", fails=ModelNotFoundError)
