"""Models behind an endpoint, on this machine, or as a function: what they are asked, what they fail at."""

from __future__ import annotations

import json

import httpx
import pytest

from firsthand.errors import InputError
from firsthand.evaluation.codearena.clients import models
from firsthand.evaluation.codearena.clients.models import (
    CallableModel,
    EndpointModel,
    LocalModel,
    ModelFailedError,
    ModelUnavailableError,
    Reply,
    as_model,
    open_model,
)

from .test_client import Server

ASKED = [{"role": "user", "content": "Hi"}]


def answer(text="print(1)", status=200, **usage):
    body = {
        "choices": [{"message": {"role": "assistant", "content": text}}],
        **({"usage": usage} if usage else {}),
    }
    return httpx.Response(status, json=body)


@pytest.fixture
def slept(monkeypatch):
    found: list[float] = []
    monkeypatch.setattr(models.time, "sleep", found.append)
    return found


def endpoint(*answers, **options):
    server = Server(*answers)
    return server, EndpointModel(
        "http://model/v1/", "coder", transport=httpx.MockTransport(server), **options
    )


def test_an_endpoint_is_asked_as_openai_has_it(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    server, model = endpoint(answer(prompt_tokens=7, completion_tokens=3, total_tokens=10), max_tokens=99)
    assert model.reply(ASKED, seed=5) == Reply("print(1)", 7, 3)
    (request,) = server.asked
    assert str(request.url) == "http://model/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer sk-secret"
    assert json.loads(request.content) == {
        "model": "coder", "messages": ASKED, "temperature": 0.7, "max_tokens": 99, "seed": 5,
    }  # fmt: skip
    assert "sk-secret" not in repr(model)


def test_what_a_request_says_can_be_chosen():
    server, model = endpoint(
        answer(), temperature=None, max_tokens=None, more={"max_completion_tokens": 9, "n": 1}
    )
    model.reply(ASKED, seed=5)
    assert json.loads(server.asked[0].content) == {
        "model": "coder", "messages": ASKED, "seed": 5, "max_completion_tokens": 9, "n": 1,
    }  # fmt: skip


def test_the_key_comes_from_the_environment_that_is_named(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server, model = endpoint(answer())
    model.reply(ASKED, seed=0)
    assert "authorization" not in server.asked[0].headers
    monkeypatch.setenv("OTHER_KEY", " k2\n")
    server, model = endpoint(answer(), key_variable="OTHER_KEY")
    model.reply(ASKED, seed=0)
    assert server.asked[0].headers["authorization"] == "Bearer k2"
    monkeypatch.setenv("OTHER_KEY", "sécret")
    with pytest.raises(InputError, match="OTHER_KEY") as caught:
        endpoint(answer(), key_variable="OTHER_KEY")
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_a_busy_endpoint_is_asked_again(slept, status):
    server, model = endpoint(httpx.Response(status), httpx.ReadTimeout("slow"), answer())
    assert model.reply(ASKED, seed=0).text == "print(1)"
    assert (len(server.asked), len(slept)) == (3, 2)


def test_an_endpoint_that_says_when_is_obeyed(slept):
    _, model = endpoint(
        httpx.Response(429, headers={"Retry-After": "7"}),
        httpx.Response(429, headers={"Retry-After": "x"}),
        answer(),
    )
    model.reply(ASKED, seed=0)
    assert slept[0] == 7.0
    assert slept[1] <= 2.0


@pytest.mark.parametrize(
    ("fault", "kind", "words", "times"),
    [
        (httpx.Response(500, text="oh no"), ModelFailedError, "500: oh no", 5),
        (httpx.Response(400, text="too long"), ModelFailedError, "400: too long", 1),
        (httpx.ReadTimeout("slow"), ModelFailedError, "ReadTimeout", 5),
        (httpx.ConnectError("refused"), ModelUnavailableError, "refused", 5),
        (httpx.Response(401, text="bad key sk-secret"), ModelUnavailableError, r"bad key \[key\]", 1),
        (httpx.Response(404, text="no model"), ModelUnavailableError, "no model", 1),
        (httpx.Response(403), ModelUnavailableError, "403", 1),
        (httpx.Response(200, text="<html>"), ModelFailedError, "no choices", 1),
        (httpx.Response(200, json={"choices": []}), ModelFailedError, "no choices", 1),
        (httpx.Response(200, json=[]), ModelFailedError, "no choices", 1),
        (httpx.Response(200, json={"choices": None}), ModelFailedError, "no choices", 1),
        (httpx.Response(500, text="sk-secret " * 50), ModelFailedError, r"\[key\]", 5),
        (httpx.RemoteProtocolError("cut off"), ModelFailedError, "cut off", 5),
    ],
)
def test_an_endpoint_that_fails(slept, monkeypatch, fault, kind, words, times):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    server, model = endpoint(fault)
    with pytest.raises(kind, match=words) as caught:
        model.reply(ASKED, seed=0)
    assert len(server.asked) == times
    assert "sk-secret" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_empty_reply_is_one_and_odd_counts_are_none():
    for body in (
        {"choices": [{"message": {"content": None}}]},
        {"choices": [{"message": {"content": ""}}], "usage": 7},
    ):
        _, model = endpoint(httpx.Response(200, json=body))
        assert model.reply(ASKED, seed=0) == Reply("", None, None)
    _, model = endpoint(answer("x", prompt_tokens="7", completion_tokens=2))
    assert model.reply(ASKED, seed=0) == Reply("x", None, 2)


def test_functions_are_models():
    assert as_model(lambda messages: messages[-1]["content"]).reply(ASKED, seed=0) == Reply("Hi")
    assert CallableModel(lambda messages: Reply("x", 1, 2)).reply(ASKED, seed=0) == Reply("x", 1, 2)
    with pytest.raises(ModelFailedError, match="returned int"):
        CallableModel(lambda messages: 7).reply(ASKED, seed=0)
    _, model = endpoint(answer())
    assert as_model(model) is model
    with pytest.raises(InputError, match="got str"):
        as_model("gpt-4o")
    with pytest.raises(InputError, match="http://"):
        EndpointModel("model.example", "m")


@pytest.fixture(scope="module")
def tiny():
    """A random Llama, a tokenizer of its own, and a template."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from firsthand.lm import LanguageModel, tiny_llama, train_tokenizer
    from tests.serve.test_real_model import TEMPLATE, WORDS

    tokenizer = train_tokenizer([WORDS * 3], vocab_size=300)
    tokenizer.chat_template = TEMPLATE
    model = tiny_llama(len(tokenizer), width=32, layers=1, heads=2, context=128).to(torch.float64)
    return LanguageModel("tiny", model, tokenizer, "tiny", "MIT")


def test_a_local_model_writes_and_counts(tiny):
    model = LocalModel(tiny, max_tokens=12)
    first = model.reply(ASKED, seed=1)
    assert first == model.reply(ASKED, seed=1)
    assert first != model.reply(ASKED, seed=2)
    assert first.prompt_tokens == len(tiny.tokenizer.encode("<user>Hi<assistant>", add_special_tokens=False))
    assert first.completion_tokens is not None
    assert 1 <= first.completion_tokens <= 12
    with pytest.raises(ModelFailedError, match="128"):
        model.reply([{"role": "user", "content": "the loss of a model " * 200}], seed=0)


def test_a_template_that_takes_no_system_message(tiny):
    """It is put in front of the user's; a template that takes nothing at all fails for this prompt only."""
    import copy
    from dataclasses import replace

    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "<{{ m.role }}>{{ m.content }}{% endfor %}"
    )
    model = LocalModel(replace(tiny, tokenizer=tokenizer), max_tokens=3)
    asked = [{"role": "system", "content": "Code only."}, *ASKED]
    told = model.reply(asked, seed=0).prompt_tokens
    assert told == len(tokenizer.encode("<user>Code only.\n\nHi", add_special_tokens=False))
    tokenizer.chat_template = "{{ raise_exception('nothing') }}"
    with pytest.raises(ModelFailedError, match="nothing"):
        model.reply(asked, seed=0)


def test_a_model_that_was_not_trained_to_chat_goes_on_with_the_text(tiny):
    import copy
    from dataclasses import replace

    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.chat_template = None
    model = LocalModel(replace(tiny, tokenizer=tokenizer), max_tokens=4)
    assert model.reply(ASKED, seed=1).prompt_tokens == len(tokenizer.encode("Hi\n\n"))


def test_the_server_of_this_library_is_an_endpoint(tiny):
    """The same model behind HTTP gives the same text."""
    from firsthand.lm.decoding import PlainDecoder
    from firsthand.lm.decoding.huggingface import HFCausalLM
    from firsthand.serve import LiveServer, completions_app

    app = completions_app(
        PlainDecoder(HFCausalLM(tiny.model, name="tiny")),
        tiny.tokenizer,
        model_name="tiny",
        context_length=128,
    )
    with LiveServer(app) as live:
        model = open_model("tiny", endpoint=live.url + "/v1", max_tokens=12)
        assert model.reply(ASKED, seed=3) == LocalModel(tiny, max_tokens=12).reply(ASKED, seed=3)
        with pytest.raises(ModelUnavailableError, match="there is no model 'other'"):
            open_model("other", endpoint=live.url + "/v1").reply(ASKED, seed=0)


def test_a_model_by_name(monkeypatch, tiny):
    import firsthand.lm

    monkeypatch.setattr(firsthand.lm, "load", lambda name, device: tiny)
    assert open_model("gemma-3-270m", max_tokens=3).reply(ASKED, seed=0).completion_tokens == 3
