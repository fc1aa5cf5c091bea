"""A tiny random Llama with a tokenizer of its own behind the server: nothing is scripted."""

from __future__ import annotations

import openai
import pytest

from firsthand.lm.decoding import PlainDecoder, PromptLookup, SamplingParams, Stop
from firsthand.serve import LiveServer, completions_app

WORDS = "the loss of a model tells how well it predicts text; naïve café 東京 🙂\n"
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def parts():
    import torch

    from firsthand.lm import tiny_llama, train_tokenizer
    from firsthand.lm.decoding.huggingface import HFCausalLM

    tokenizer = train_tokenizer([WORDS * 3], vocab_size=300)
    tokenizer.chat_template = TEMPLATE
    model = tiny_llama(len(tokenizer), width=32, layers=1, heads=2, context=128).to(torch.float64)
    return PlainDecoder(HFCausalLM(model, name="tiny")), tokenizer


@pytest.fixture(scope="module")
def client(parts):
    app = completions_app(*parts, model_name="tiny", context_length=128)
    with (
        LiveServer(app) as live,
        openai.OpenAI(base_url=live.url + "/v1", api_key="x", max_retries=0) as made,
    ):
        yield made


SAMPLED = {"temperature": 1.0, "seed": 3, "max_tokens": 40}


@pytest.mark.parametrize("options", [{"temperature": 0, "max_tokens": 30}, SAMPLED, {**SAMPLED, "seed": 4}])
def test_the_text_is_the_decoders_own(parts, client, options):
    """Random weights write bytes that are no UTF-8, too: also these come as the tokenizer decodes them."""
    decoder, tokenizer = parts
    sampling = SamplingParams(temperature=options["temperature"], seed=options.get("seed", 0))
    own = decoder.generate(
        tokenizer.encode("the model"), options["max_tokens"], sampling, Stop((tokenizer.eos_token_id,))
    )
    wanted = tokenizer.decode(own.tokens, skip_special_tokens=True)
    answer = client.completions.create(model="tiny", prompt="the model", **options)
    assert answer.choices[0].text == wanted
    assert answer.choices[0].finish_reason == own.stop_reason
    assert answer.usage.completion_tokens == len(own.tokens)
    assert answer.usage.speculation["tokens_per_step"] == 1.0
    chunks = client.completions.create(model="tiny", prompt="the model", stream=True, **options)
    assert "".join(chunk.choices[0].text for chunk in chunks) == wanted


def test_chat_goes_through_the_models_template(parts, client):
    _, tokenizer = parts
    said = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "how well?"}], **SAMPLED
    )
    written = "<user>how well?<assistant>"
    same = client.completions.create(model="tiny", prompt=written, **SAMPLED)
    assert said.choices[0].message.content == same.choices[0].text
    assert said.usage.prompt_tokens == len(tokenizer.encode(written))
    chunks = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "how well?"}], stream=True, **SAMPLED
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == same.choices[0].text


def test_a_stop_string_of_its_own_text(client):
    whole = client.completions.create(model="tiny", prompt="the", **SAMPLED).choices[0].text
    wanted = next(whole[i : i + 2] for i in range(10, len(whole)) if "\ufffd" not in whole[i : i + 2])
    answer = client.completions.create(model="tiny", prompt="the", stop=[wanted], **SAMPLED)
    assert answer.choices[0].text == whole[: whole.index(wanted)]
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.speculation is not None


def test_the_model_and_its_context_are_checked(client):
    with pytest.raises(openai.BadRequestError, match="tiny reads at most 128") as error:
        client.completions.create(model="tiny", prompt="the", max_tokens=500)
    assert error.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="outside the vocabulary"):
        client.completions.create(model="tiny", prompt=[100000])
    chat = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "x"}], extra_body={"ignore_eos": True}
    )
    assert chat.usage.total_tokens == 128


def test_speculation_gives_the_same_text_and_tells_how_it_went(parts, client):
    decoder, tokenizer = parts
    prompt = "well it predicts text; " * 3
    app = completions_app(PromptLookup(decoder.model), tokenizer, model_name="tiny")
    with (
        LiveServer(app) as live,
        openai.OpenAI(base_url=live.url + "/v1", api_key="x", max_retries=0) as faster,
    ):
        options = {"model": "tiny", "prompt": prompt, "max_tokens": 50, "temperature": 0}
        answer = faster.completions.create(**options)
    plain = client.completions.create(**options)
    assert answer.choices[0].text == plain.choices[0].text
    assert answer.usage.completion_tokens == plain.usage.completion_tokens
    told = answer.usage.speculation
    assert told["tokens_per_step"] == pytest.approx(answer.usage.completion_tokens / told["steps"])
    assert 0 < told["acceptance_rate"] <= 1
    assert told["steps"] < plain.usage.speculation["steps"]
    assert told["fell_back"] is False
