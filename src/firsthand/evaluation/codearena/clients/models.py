"""Models that write programs: an OpenAI-compatible endpoint, a local model, or any function of messages.

Knows how each is asked. Knows nothing of problems (`prompts`). A reply may be sampled; the same seed asks for the same
one where the model can promise it. An endpoint's key is sent to that endpoint and is in no message of ours.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from firsthand.errors import FirsthandError, InputError, MissingDependencyError

if TYPE_CHECKING:
    from firsthand.lm import LanguageModel

__all__ = [
    "CallableModel",
    "EndpointModel",
    "LocalModel",
    "Message",
    "ModelFailedError",
    "ModelUnavailableError",
    "PromptModel",
    "Reply",
    "as_model",
    "open_model",
]

Message = Mapping[str, str]
_AGAIN = frozenset((408, 409, 429, 500, 502, 503, 504))
_REFUSED = frozenset((401, 403, 404))  # whatever the prompt is
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0


class ModelFailedError(FirsthandError, RuntimeError):
    """The model gave no reply to this prompt; another prompt may do."""


class ModelUnavailableError(FirsthandError, ConnectionError):
    """The model gives no reply to any prompt: its endpoint is not there, or refuses the key or the model's name."""

    def __str__(self) -> str:  # OSError would number it
        return str(self.args[0])


@dataclass(frozen=True)
class Reply:
    """What a model answered, and how many tokens it read and wrote; None where it does not say."""

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@runtime_checkable
class PromptModel(Protocol):
    """Answers a conversation."""

    def reply(self, messages: Sequence[Message], *, seed: int) -> Reply:
        """The answer; raises `ModelFailedError` or `ModelUnavailableError`."""


class CallableModel:
    """A function from messages (`{"role": ..., "content": ...}`) to a text or a `Reply`. It is not told the seed."""

    def __init__(self, function: Callable[[list[Message]], str | Reply]) -> None:
        self._function = function

    def reply(self, messages: Sequence[Message], *, seed: int) -> Reply:
        """What the function returns; raises `ModelFailedError` where that is neither."""
        found = self._function(list(messages))
        if isinstance(found, str):
            return Reply(found)
        if not isinstance(found, Reply):
            raise ModelFailedError(f"the model's function returned {type(found).__name__}, not a text")
        return found


class EndpointModel:
    """A model behind an OpenAI-compatible URL (`POST URL/chat/completions`).

    Args:
        base_url: such as `http://127.0.0.1:8000/v1`.
        model: the name that the endpoint knows it by.
        key_variable: the environment variable that has the key; where it is not set, none is sent.
        temperature: 0.7 in the paper; None says nothing of it, for models that take none.
        max_tokens: of a reply; None says nothing of it.
        more: further fields of each request, such as `{"max_completion_tokens": 4096}`.
        timeout: seconds to connect within, and between two pieces of a reply.
        retries: how often it is asked again where it is busy or does not answer.
        transport: of httpx, for tests and proxies.

    Raises:
        InputError: an address that is none, or a key that no header can carry.
        MissingDependencyError: httpx is not installed.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        key_variable: str = "OPENAI_API_KEY",
        temperature: float | None = 0.7,
        max_tokens: int | None = 2048,
        more: Mapping[str, Any] | None = None,
        timeout: float = 300.0,
        retries: int = 4,
        transport: Any = None,
    ) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingDependencyError(
                "an endpoint needs httpx: pip install 'firsthand[evaluation]'"
            ) from error
        if not base_url.startswith(("http://", "https://")):
            raise InputError(f"an endpoint begins with http:// or https://, got {base_url!r}")
        self._key = os.environ.get(key_variable, "").strip()
        if not (self._key.isascii() and (self._key.isprintable() or not self._key)):
            raise InputError(f"the environment's {key_variable} has characters that are none of a key's")
        said = {"temperature": temperature, "max_tokens": max_tokens, **(more or {})}
        self._body = {"model": model, **{name: value for name, value in said.items() if value is not None}}
        self._retries = retries
        self._errors: tuple[type[Exception], ...] = (httpx.RequestError,)
        self._away: tuple[type[Exception], ...] = (httpx.ConnectError, httpx.ConnectTimeout)
        self._http = httpx.Client(
            base_url=base_url.rstrip("/"),
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=timeout,
            transport=transport,
        )

    def reply(self, messages: Sequence[Message], *, seed: int) -> Reply:
        """The first choice's text.

        Raises:
            ModelFailedError: none came to this prompt.
            ModelUnavailableError: no connection, or the key or the model's name is refused.
        """
        body = {**self._body, "messages": [dict(message) for message in messages], "seed": seed}
        wait: float | None = None
        for tried in range(self._retries + 1):
            if tried:
                time.sleep(_pause(tried) if wait is None else wait)
            wait, away = None, False
            try:
                answer = self._http.post("/chat/completions", json=body)
            except self._errors as error:
                fault, away = f"{type(error).__name__}: {error}", isinstance(error, self._away)
                continue
            if answer.status_code == 200:
                return self._read(answer)
            fault = f"{answer.status_code}: {answer.text[:300]}"
            if answer.status_code in _REFUSED:
                raise ModelUnavailableError(self._safe(f"the endpoint refuses what it is asked: {fault}"))
            if answer.status_code not in _AGAIN:
                break
            said = answer.headers.get("retry-after", "")
            wait = min(float(said), _LONGEST_PAUSE_S) if said.isascii() and said.isdigit() else None
        kind = ModelUnavailableError if away else ModelFailedError
        raise kind(self._safe(f"the endpoint gave no reply: {fault}"))

    def _read(self, answer: Any) -> Reply:
        try:
            content = answer.json()
            found = content["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError) as error:
            raise ModelFailedError(
                self._safe(f"the endpoint's answer has no choices[0].message.content: {answer.text[:300]}")
            ) from error
        usage = content.get("usage")
        counts = [
            count if isinstance(count := usage.get(name), int) else None
            for name in ("prompt_tokens", "completion_tokens")
        ] if isinstance(usage, dict) else [None, None]  # fmt: skip
        return Reply(found if isinstance(found, str) else "", *counts)  # null: it said nothing

    def _safe(self, text: str) -> str:
        """Without the key, which some endpoints repeat."""
        return text.replace(self._key, "[key]") if self._key else text


def _pause(tried: int) -> float:
    return min(_FIRST_PAUSE_S * 2.0**tried, _LONGEST_PAUSE_S) * (0.5 + random.random() / 2)


class LocalModel:
    """A model on this machine.

    A model that was trained to chat is asked by its chat template, and where that takes no system message, the user's
    first one begins with it; any other model continues the prompt as a text.

    Args:
        model: what `firsthand.lm.load` takes (installed, a folder, a `.gguf` file, a hub name), or what it returned.
        device: where a model that is named runs.
        temperature: 0.7 in the paper.
        max_tokens: of a reply.

    Raises:
        ModelNotFoundError, InputError: a model that is not there or cannot be used.
        MissingDependencyError: torch or transformers is not installed.
    """

    def __init__(
        self,
        model: str | Path | LanguageModel,
        *,
        device: str = "auto",
        temperature: float = 0.7,
        max_tokens: int = 1024,
    ) -> None:
        from firsthand.lm import load
        from firsthand.lm.decoding import PlainDecoder
        from firsthand.lm.decoding.huggingface import HFCausalLM

        loaded = load(model, device=device) if isinstance(model, str | Path) else model
        causal = HFCausalLM(loaded.model, name=loaded.name)
        self._decoder, self._tokenizer = PlainDecoder(causal), loaded.tokenizer
        self._context = causal.max_length
        self._temperature, self._max_tokens = temperature, max_tokens
        settings: Any = getattr(loaded.model, "generation_config", None)
        # A chat model ends its turn with a token that is not the tokenizer's end of text.
        self._ends = _numbers(getattr(loaded.tokenizer, "eos_token_id", None)) | _numbers(
            getattr(settings, "eos_token_id", None)
        )

    def reply(self, messages: Sequence[Message], *, seed: int) -> Reply:
        """The text up to the end of the turn; raises `ModelFailedError` for a prompt that is too long."""
        from firsthand.lm.decoding import ContextLengthError, SamplingParams
        from firsthand.serve.generation import TextRequest, chat_ids, generate_text, prompt_ids

        tokenizer: Any = self._tokenizer
        chats = bool(getattr(tokenizer, "chat_template", None))

        def prompt() -> list[int]:
            if chats:
                try:
                    return chat_ids(tokenizer, [dict(message) for message in messages])
                except InputError:
                    return chat_ids(tokenizer, _without_system(messages))
            text = "\n\n".join(message["content"] for message in messages)
            return prompt_ids(tokenizer, text + "\n\n")

        request = TextRequest(
            prompt=prompt,
            max_new_tokens=None,
            sampling=SamplingParams(temperature=self._temperature, seed=seed),
            stop_ids=tuple(sorted(self._ends)),
            default_new_tokens=self._max_tokens,
            context_length=self._context,
        )
        pieces = []
        text = generate_text(self._decoder, tokenizer, request)
        try:
            while True:
                pieces.append(next(text))
        except StopIteration as end:
            return Reply("".join(pieces), end.value.prompt_tokens, end.value.completion_tokens)
        except (ContextLengthError, InputError) as error:  # too long, or its template refuses it
            raise ModelFailedError(str(error)) from error


def _without_system(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The messages, the system's put in front of the next one."""
    found: list[dict[str, str]] = []
    before = ""
    for message in messages:
        if message["role"] == "system":
            before += message["content"] + "\n\n"
        else:
            found.append({"role": message["role"], "content": before + message["content"]})
            before = ""
    return found


def _numbers(ids: Any) -> set[int]:
    return set() if ids is None else {ids} if isinstance(ids, int) else {int(number) for number in ids}


def as_model(model: PromptModel | Callable[[list[Message]], str | Reply]) -> PromptModel:
    """A model, or a function as one; raises `InputError` for anything else."""
    if isinstance(model, PromptModel):
        return model
    if callable(model):
        return CallableModel(model)
    raise InputError(
        f"a model has a method reply(messages, seed=...) or is a function, got {type(model).__name__}"
    )


def open_model(name: str, *, endpoint: str | None = None, **options: Any) -> PromptModel:
    """The model that a command names.

    Args:
        name: the model's name at the endpoint; without one, what `LocalModel` takes.
        endpoint: base URL of an OpenAI-compatible server; None: the model is on this machine.
        options: temperature, max_tokens, and those of `EndpointModel` or `LocalModel`.
    """
    return EndpointModel(endpoint, name, **options) if endpoint else LocalModel(name, **options)
