"""The verbs: heads trained on text, long texts streamed and resumed, a comparison; errors that are ours."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from firsthand.decoding.tokenswift.command import app
from firsthand.errors import FirsthandError, InputError, NotFoundError, OutputError
from firsthand.lm import tiny_llama, train_tokenizer

TEXT = "def add(left, right):\n    return left + right\n\n" * 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer([TEXT], 280)
    tiny_llama(len(tokenizer), width=16, layers=2, heads=2, context=512).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "text").mkdir()
    (folder / "text" / "a.txt").write_text(TEXT)
    (folder / "prompt.txt").write_text(TEXT[:60])
    return folder


def call(*arguments, fails=None):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=True)
    if fails is None:
        assert result.exception is None, (result.output, result.exception)
        return result.stdout
    assert isinstance(result.exception, FirsthandError), (result.output, result.exception)
    assert isinstance(result.exception, fails)
    return str(result.exception)


@pytest.fixture(scope="module")
def heads(folder):
    path = folder / "heads.safetensors"
    call(
        "train-heads", "--model", folder / "model", "--text", folder / "text", "--output", path, "--steps", 3,
        "--warmup", 1, "--seq-len", 32, "--batch-tokens", 64, "--device", "cpu", "-q",
    )  # fmt: skip
    return path


def test_a_head_file_counts_the_tokens_that_were_read(heads):
    assert json.loads(heads.with_name(heads.name + ".json").read_text())["training_tokens"] == 3 * 64


def test_heads_that_learn_no_more_count_fewer_tokens(folder, tmp_path):
    path = tmp_path / "heads.safetensors"
    call(
        "train-heads", "--model", folder / "model", "--text", folder / "text", "--output", path, "--steps", 50,
        "--learning-rate", 0, "--seq-len", 32, "--batch-tokens", 80, "--patience", 1, "--device", "cpu", "-q",
    )  # fmt: skip
    tokens = json.loads((tmp_path / "heads.safetensors.json").read_text())["training_tokens"]
    assert 0 < tokens < 50 * 64
    assert tokens % 64 == 0


def test_generate_with_and_without_heads(folder, heads, tmp_path):
    shared = (
        "--model", folder / "model", "--prompt-file", folder / "prompt.txt", "--max-new-tokens", 40,
        "--ignore-eos", "--device", "cpu",
    )  # fmt: skip
    plain = json.loads(call("generate", *shared, "--ngram-topk", 0, "--json"))
    metrics = tmp_path / "metrics.jsonl"
    swift = json.loads(
        call("generate", *shared, "--heads", heads, "--no-adaptive", "--metrics", metrics, "--json")
    )
    assert swift["tokens"] == plain["tokens"]
    assert swift["modes"]["draft"] > 0
    assert json.loads(metrics.read_text())["tokens"] == swift["tokens"]
    shown = call("generate", *shared, "--heads", heads, "--branching", "1,2", "-q")
    assert shown == swift["text"] + "\n"
    ckpt = tmp_path / "run.json"
    call("generate", *shared, "--heads", heads, "--resume", ckpt, "-q")
    again = json.loads(call("generate", *shared, "--heads", heads, "--resume", ckpt, "--json"))
    assert again["tokens"] == swift["tokens"]
    assert again["resumed_at"] == 40


def test_bench(folder, heads):
    arguments = (
        "--model", folder / "model", "--heads", heads, "--prompt-file", folder / "prompt.txt",
        "--max-new-tokens", 12, "--prompt-tokens", 10, "--repeats", 1, "--device", "cpu",
    )  # fmt: skip
    report = json.loads(call("bench", *arguments, "--json"))
    assert report["arms"][0]["decoder"] == "plain"
    assert all(row["same_text"] for row in report["arms"])
    assert "transformers: prompt lookup" in call("bench", *arguments)
    beside = json.loads(call("bench", *arguments, "--draft", folder / "model", "--json"))
    assert {row["decoder"].split(",")[0] for row in beside["arms"]} >= {"turns", "transformers: assisted"}
    assert all(row["same_text"] for row in beside["arms"])


def test_serve_answers_the_openai_client(folder, heads, monkeypatch):
    import openai

    from firsthand import serve as serving

    seen = {}

    def answer(application, host, port, *, on_ready):
        assert (host, port) == ("127.0.0.1", 0)
        with serving.LiveServer(application) as live:
            on_ready(live.url)
            client = openai.OpenAI(base_url=f"{live.url}/v1", api_key="secret", max_retries=0)
            wanted = {"model": "small", "prompt": TEXT[:60], "max_tokens": 20, "temperature": 0, "seed": 1}
            options = {"extra_body": {"ignore_eos": True}}
            seen["whole"] = client.completions.create(**wanted, **options)
            chunks = client.completions.create(
                **wanted, **options, stream=True, stream_options={"include_usage": True}
            )
            seen["chunks"] = list(chunks)
            with pytest.raises(openai.AuthenticationError):
                openai.OpenAI(base_url=f"{live.url}/v1", api_key="no", max_retries=0).models.list()

    monkeypatch.setattr(serving, "serve", answer)
    call(
        "serve", "--model", folder / "model", "--heads", heads, "--port", 0, "--token", "secret", "--name", "small",
        "--device", "cpu",
    )  # fmt: skip
    whole = seen["whole"]
    streamed = "".join(chunk.choices[0].text for chunk in seen["chunks"] if chunk.choices)
    assert whole.choices[0].text == streamed
    assert whole.usage.completion_tokens == 20
    assert whole.usage.model_extra["speculation"]["steps"] > 0
    assert seen["chunks"][-1].usage.total_tokens == whole.usage.total_tokens


def test_errors_say_what_to_do(folder, tmp_path):
    model = ("--model", folder / "model", "--device", "cpu")
    assert "once" in call("generate", *model, fails=InputError)
    assert "1,3,3,3" in call("generate", *model, "--prompt", "a", "--branching", "many", fails=InputError)
    assert "no heads" in call(
        "generate", *model, "--prompt", "a", "--heads", tmp_path / "none", fails=NotFoundError
    )
    lost = tmp_path / "no folder" / "metrics.jsonl"
    written = ("--prompt", "a", "--max-new-tokens", 2, "--metrics", lost)
    assert "cannot add the report" in call("generate", *model, *written, fails=OutputError)
    assert "no prompt file" in call("bench", *model, "--prompt-file", tmp_path / "none", fails=NotFoundError)
