"""The completions server, asked by the real openai client; a scripted decoder says what must come."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from firsthand.lm.decoding import SamplingParams
from firsthand.serve import LiveServer, completions_app
from tests.serve.toys import EOS, HTTP, ByteTokenizer, ChatTokenizer, Scripted

TEXT = "naïve 東京 🙂👩‍🚀 \u2028 line\r\n\nnext\x85 END of it. "


def client_of(live, token="any"):
    return openai.OpenAI(base_url=live.url + "/v1", api_key=token, max_retries=0, timeout=20)


class Served:
    """A decoder behind the server, and a client of it."""

    def __init__(self, decoder, tokenizer=None, *, api_key="any", **options):
        self.decoder = decoder
        options.setdefault("model_name", "toy")
        self.live = LiveServer(completions_app(decoder, tokenizer or ChatTokenizer(), **options))
        self.api_key = api_key

    def __enter__(self):
        self.live.__enter__()
        self.client = client_of(self.live, self.api_key)
        return self

    def __exit__(self, *error):
        self.client.close()
        self.live.stop()

    def complete(self, prompt="hi", **options):
        return self.client.completions.create(model="toy", prompt=prompt, **{"max_tokens": 200, **options})

    def chat(self, content="hi", **options):
        return self.client.chat.completions.create(
            model="toy", messages=[{"role": "user", "content": content}], **options
        )

    def post(self, path="completions", **body):
        return HTTP.post(f"{self.live.url}/v1/{path}", json={"model": "toy", "prompt": "hi", **body})


@pytest.fixture(scope="module")
def text():
    """The text once, then the end."""
    with Served(Scripted([*TEXT.encode(), EOS])) as served:
        yield served


@pytest.fixture(autouse=True)
def nothing_seen_yet(text):
    text.decoder.seen.clear()


# --- answers -----------------------------------------------------------------------------------------------


def test_a_completion(text):
    answer = text.complete("über")
    assert answer.object == "text_completion"
    assert answer.model == "toy"
    assert answer.id.startswith("cmpl-")
    (choice,) = answer.choices
    assert (choice.index, choice.text, choice.finish_reason, choice.logprobs) == (0, TEXT, "stop", None)
    tokens = len(TEXT.encode()) + 1
    assert answer.usage.prompt_tokens == 5
    assert answer.usage.completion_tokens == tokens
    assert answer.usage.total_tokens == tokens + 5
    steps = -(-tokens // 3)
    assert answer.usage.speculation == {
        "steps": steps,
        "tokens_per_step": tokens / steps,
        "acceptance_rate": (tokens - steps) / (4 * steps),
        "fell_back": False,
    }
    assert text.decoder.seen[-1][0] == list("über".encode())


def test_a_chat_answer(text):
    answer = text.chat("hello", max_completion_tokens=200)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert bytes(text.decoder.seen[-1][0]) == b"[user]hello[assistant]"
    assert answer.usage.prompt_tokens == len(b"[user]hello[assistant]")


def test_parts_of_a_message_are_put_together(text):
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    text.client.chat.completions.create(
        model="toy",
        messages=[{"role": "system", "content": "be brief"}, {"role": "user", "content": parts}],
    )
    assert bytes(text.decoder.seen[-1][0]) == b"[system]be brief[user]one two[assistant]"


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "options", [{}, {"stop": ["END"]}, {"stop": "京 "}, {"max_tokens": 9}, {"max_tokens": 8}]
)
def test_a_stream_is_the_whole_in_pieces(text, at_once, options):
    """Also where the text is cut inside 東, which has three bytes: max_tokens 9 and 8."""
    text.decoder.at_once = at_once
    try:
        whole = text.complete(**options)
        chunks = list(text.complete(**options, stream=True, stream_options={"include_usage": True}))
        talk = {**options, "max_tokens": options.get("max_tokens", 200)}
        said = list(text.chat(**talk, stream=True))
    finally:
        text.decoder.at_once = 3
    *parts, last, usage = chunks
    pieces = [part.choices[0].text for part in parts]
    assert "".join(pieces) == whole.choices[0].text
    assert not any("\ufffd" in piece for piece in pieces[:-1])
    assert all(part.choices[0].finish_reason is None and part.usage is None for part in parts)
    assert (last.choices[0].text, last.choices[0].finish_reason) == ("", whole.choices[0].finish_reason)
    assert usage.choices == []
    assert usage.usage == whole.usage
    assert len({(chunk.id, chunk.model, chunk.created) for chunk in chunks}) == 1

    assert said[0].choices[0].delta.role == "assistant"
    assert "".join(part.choices[0].delta.content or "" for part in said) == whole.choices[0].text
    assert said[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert {part.object for part in said} == {"chat.completion.chunk"}
    assert all(part.usage is None for part in said)


def test_the_form_of_a_stream(text):
    answer = text.post(stream=True, max_tokens=6)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    for event in events[:-2]:
        assert event.startswith("data: ")
        assert "usage" not in json.loads(event[6:])


# --- where a text ends -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "wanted"),
    [
        ("END", TEXT[: TEXT.index("END")]),
        (["never", "next"], TEXT[: TEXT.index("next")]),
        ("\n\n", TEXT[: TEXT.index("\n\n")]),
        ("🙂", TEXT[: TEXT.index("🙂")]),
        (["of it", "END o"], TEXT[: TEXT.index("END")]),
        ("n", ""),
        ([], TEXT),
    ],
)
def test_a_stop_string_ends_the_text_and_is_no_part_of_it(text, stop, wanted):
    answer = text.complete(stop=stop)
    assert answer.choices[0].text == wanted
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.speculation is not None


def test_a_decoder_that_does_not_heed_stop_strings_is_ended():
    decoder = Scripted(TEXT * 3, heeds_strings=False)
    with Served(decoder) as served:
        answer = served.complete(stop="END")
    assert answer.choices[0].text == TEXT[: TEXT.index("END")]
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.speculation is None
    assert decoder.ended.wait(10)
    assert decoder.steps <= len(TEXT.encode()) / 3 + 2


def test_length_and_eos(text):
    answer = text.complete(max_tokens=4)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("naï", "length")
    assert answer.usage.completion_tokens == 4
    tokens = len(TEXT.encode()) + 1
    answer = text.complete(max_tokens=tokens + 3, extra_body={"ignore_eos": True})
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (TEXT + "na\ufffd", "length")
    assert text.decoder.seen[-1][3].ids == ()


def test_further_stop_ids_end_a_text_and_are_no_part_of_it():
    with Served(Scripted("one|two|"), stop_ids=[ord("|")]) as served:
        answer = served.complete()
        assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("one", "stop")
        assert answer.usage.completion_tokens == 4
        assert served.decoder.seen[-1][3].ids == (ord("|"), EOS)


def test_how_long_a_text_is_where_nothing_is_said():
    with Served(Scripted("a"), context_length=40, default_chat_tokens=30) as served:
        for prompt, wanted in (("x" * 10, 16), ("x" * 30, 10)):
            answer = served.client.completions.create(model="toy", prompt=prompt)
            assert answer.usage.completion_tokens == wanted
            assert answer.choices[0].finish_reason == "length"
        assert served.chat("x").usage.completion_tokens == 40 - len("[user]x[assistant]")
    with Served(Scripted("a"), default_chat_tokens=30) as served:
        assert served.chat("x").usage.completion_tokens == 30


# --- what is asked for ---------------------------------------------------------------------------------------


def test_sampling_is_handed_on_and_defaults_fill_the_rest():
    defaults = SamplingParams(temperature=0.7, top_p=0.9, seed=5)
    with Served(Scripted("a"), defaults=defaults) as served:
        served.complete()
        assert served.decoder.seen[-1][2] == defaults
        served.complete(
            temperature=0, top_p=1, seed=8,
            extra_body={"top_k": 4, "min_p": 0.1, "repetition_penalty": 1.2, "penalty_window": 64, "eta": 0.01,
                        "min_tokens_to_keep": 2},
        )  # fmt: skip
        assert served.decoder.seen[-1][2] == SamplingParams(
            temperature=0, top_p=1, seed=8, top_k=4, min_p=0.1, repetition_penalty=1.2, penalty_window=64,
            eta=0.01, min_tokens_to_keep=2,
        )  # fmt: skip


def test_prompts_of_every_form(text):
    for prompt in ([104, 105], ["hi"], [[104, 105]], "hi"):
        text.complete(prompt, max_tokens=1)
        assert text.decoder.seen[-1][0] == [104, 105]


def test_what_asks_for_nothing_and_unknown_fields_are_taken(text):
    answer = text.post(
        n=1, best_of=1, echo=False, frequency_penalty=0, presence_penalty=0.0, logit_bias={}, logprobs=None, suffix="",
        user="me", temperature=None, stop=None, never_heard_of={"a": [1]}, max_tokens=5,
    )  # fmt: skip
    assert answer.status_code == 200
    answer = text.post(
        "chat/completions", messages=[{"role": "user", "content": "x", "name": "me"}], logprobs=False,
        tools=[], response_format={"type": "text"}, store=False, metadata={"a": "b"},
    )  # fmt: skip
    assert answer.status_code == 200


WRONG = [
    ("n", 2), ("n", 0), ("best_of", 2), ("echo", True), ("frequency_penalty", 0.5), ("presence_penalty", -1),
    ("logit_bias", {"5": 1}), ("logprobs", 0), ("logprobs", 3), ("suffix", "x"), ("temperature", -1),
    ("temperature", "hot"), ("temperature", True), ("top_p", 0), ("top_p", 1.5), ("top_k", -1), ("min_p", 2),
    ("repetition_penalty", 0), ("penalty_window", -1), ("eta", 1), ("min_tokens_to_keep", 0), ("seed", -1),
    ("seed", 0.5), ("stop", ""), ("stop", ["a", ""]), ("stop", 5), ("max_tokens", 0), ("max_tokens", 1.5),
    ("stream", "yes"), ("stream_options", {"include_usage": "x"}), ("prompt", ["a", "b"]), ("prompt", [[1], [2]]),
    ("prompt", {"a": 1}), ("prompt", [1.5]), ("prompt", None), ("model", 5), ("tools", [{"type": "function"}]),
    ("response_format", {"type": "json_object"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_field_is_named(text, name, value, stream):
    answer = text.post(**{"stream": stream, name: value})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == name
    assert error["type"] == "invalid_request_error"
    assert name in error["message"]
    assert not text.decoder.seen


@pytest.mark.parametrize(
    "messages",
    [[], None, "hi", [{"role": "user"}, 5], [{"content": "x"}],
     [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]],
)  # fmt: skip
def test_bad_messages(text, messages):
    answer = text.post("chat/completions", messages=messages)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages"


def test_messages_that_the_template_refuses(text):
    with pytest.raises(openai.BadRequestError, match="the last message must be the user's"):
        text.client.chat.completions.create(model="toy", messages=[{"role": "assistant", "content": "x"}])


def test_a_model_without_a_chat_template_does_not_chat():
    with Served(Scripted("a"), ByteTokenizer()) as served:
        with pytest.raises(openai.BadRequestError, match=r"no chat template.*/v1/completions"):
            served.chat()
        assert served.complete(max_tokens=2).choices[0].text == "aa"


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_decoder_refuses_is_a_bad_request(text, stream):
    with pytest.raises(openai.BadRequestError, match="prompt is empty"):
        text.complete("", stream=stream)
    with pytest.raises(openai.BadRequestError, match="reads at most 1000") as error:
        text.complete(max_tokens=5000, stream=stream)
    assert error.value.code == "context_length_exceeded"
    assert text.complete(max_tokens=3).choices[0].text == "na\ufffd"  # and the server goes on


def test_models(text):
    assert [model.id for model in text.client.models.list()] == ["toy"]
    assert text.client.models.retrieve("toy").object == "model"
    for ask in (
        lambda: text.client.models.retrieve("other"),
        lambda: text.client.completions.create(model="other", prompt="x"),
        lambda: text.client.chat.completions.create(model="x", messages=[{"role": "user", "content": "x"}]),
    ):
        with pytest.raises(openai.NotFoundError, match="'toy'") as error:
            ask()
        assert error.value.code == "model_not_found"


def test_a_token_is_needed_where_there_is_one():
    with Served(Scripted("a"), token="right", api_key="right") as served:
        assert served.complete(max_tokens=1).choices[0].text == "a"
        wrong = client_of(served.live, "wrong")
        for ask in (wrong.models.list, lambda: wrong.completions.create(model="toy", prompt="x")):
            with pytest.raises(openai.AuthenticationError) as error:
                ask()
            assert error.value.code == "invalid_api_key"
        assert len(served.decoder.seen) == 1


@pytest.mark.parametrize("fails_after", [0, 2])
def test_a_failing_decoder_tells_no_secrets(fails_after):
    with Served(Scripted("abcdef", fails_after=fails_after)) as served:
        with pytest.raises(openai.InternalServerError) as whole:
            served.complete()
        assert "secret" not in str(whole.value.body)
        assert "Traceback" not in whole.value.response.text
        # A stream that has begun can only say it inside.
        with pytest.raises(openai.APIError, match="internal error") as streamed:
            list(served.complete(stream=True))
        assert "secret" not in str(streamed.value.body)
        assert isinstance(streamed.value, openai.InternalServerError) == (fails_after == 0)
        served.decoder.fails_after = None
        assert served.complete(max_tokens=3).choices[0].text == "abc"


# --- several clients, and clients that leave -----------------------------------------------------------------


def wait_until(happened):
    for _ in range(1000):
        if happened():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen within ten seconds")


def test_two_clients_wait_for_their_turns_and_both_are_served():
    with Served(Scripted(TEXT)) as served, ThreadPoolExecutor(4) as pool:
        whole = served.complete(max_tokens=60).choices[0].text
        streams = [
            pool.submit(
                lambda: "".join(c.choices[0].text for c in served.complete(max_tokens=60, stream=True))
            )
            for _ in range(3)
        ]
        wholes = [pool.submit(lambda: served.complete(max_tokens=60).choices[0].text) for _ in range(3)]
        assert [job.result() for job in (*streams, *wholes)] == [whole] * 6
        assert served.decoder.running == 1


def send(live, **body):
    """A request on a connection of its own, whose answer nobody has read yet."""
    sent = json.dumps({"model": "toy", **body}).encode()
    host, port = live.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(
        f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(sent)}\r\n\r\n".encode()
        + sent
    )
    return connection


def settle(live):
    """What was sent or closed before has been noticed; the server answers while a text is under way."""
    for _ in range(3):
        assert HTTP.get(live.url + "/healthz", timeout=10).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_its_text_and_others_are_answered_meanwhile(stream):
    gates = threading.Semaphore(0)
    decoder = Scripted("abc", gates=gates)
    with Served(decoder) as served:
        connection = send(served.live, prompt="x", max_tokens=900, stream=stream)
        gates.release()
        wait_until(lambda: decoder.steps == 1)
        if stream:
            assert connection.recv(8) == b"HTTP/1.1"
        connection.close()
        settle(served.live)
        for _ in range(5):
            gates.release()
        assert decoder.ended.wait(10)
        assert decoder.steps == 2  # the step it was in ended, and no other began
        for _ in range(10):
            gates.release()
        assert served.complete(max_tokens=6).choices[0].text == "abcabc"


def test_a_client_that_leaves_while_it_waits_is_never_begun():
    gates = threading.Semaphore(0)
    decoder = Scripted("abc", gates=gates)
    with Served(decoder) as served, ThreadPoolExecutor(2) as pool:
        first = pool.submit(served.complete, "first", max_tokens=3)
        wait_until(lambda: decoder.seen)
        connection = send(served.live, prompt="second")
        settle(served.live)
        connection.close()
        settle(served.live)
        third = pool.submit(served.complete, "third", max_tokens=3)
        for _ in range(4):
            gates.release()
        assert first.result().choices[0].text == third.result().choices[0].text == "abc"
        assert [bytes(ids) for ids, *_ in decoder.seen] == [b"first", b"third"]


def test_a_closing_server_ends_a_text_under_way():
    gates = threading.Semaphore(0)
    decoder = Scripted("abc", gates=gates)
    with Served(decoder) as served:
        gates.release()
        chunks = iter(served.complete(max_tokens=900, stream=True))
        assert next(chunks).choices[0].text == "abc"
        stopping = threading.Thread(target=served.live.stop)
        stopping.start()
        with pytest.raises((openai.APIError, httpx.HTTPError)):  # not a text that merely looks complete
            list(chunks)
        gates.release()
        stopping.join(20)
        assert not stopping.is_alive()
        assert decoder.ended.is_set()
