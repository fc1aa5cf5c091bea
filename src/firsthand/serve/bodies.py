"""What a client of the completions API may send: fields, types and ranges, and errors that name the field.

Knows OpenAI's request bodies; knows nothing of models. Fields that nobody knows are ignored, as other
servers do; fields that OpenAI knows and this server cannot honour are refused, because an answer that
silently lacks what was asked for is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from firsthand.errors import InputError
from firsthand.lm.decoding import SamplingParams
from firsthand.serve.shell import ApiError

__all__ = ["ChatBody", "CompletionBody", "parse"]

Body = TypeVar("Body", bound="CommonBody")

_SAMPLING = {field.name for field in fields(SamplingParams)} - {"banned_ids"}
# Refused unless null or "nothing": the values that ask for nothing.
_NOTHING: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "suffix": ("",),
    "tools": ([],),
    "top_logprobs": (0,),
}


class StreamOptions(BaseModel):
    """What a stream has besides the text."""

    model_config = ConfigDict(strict=True)
    include_usage: bool | None = None


class CommonBody(BaseModel):
    """What both kinds of request have. None is what a field is without being sent."""

    model_config = ConfigDict(strict=True)
    model: str
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    # Extensions.
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    penalty_window: int | None = None
    eta: float | None = None
    min_tokens_to_keep: int | None = None
    ignore_eos: bool | None = None

    @property
    def new_tokens(self) -> int | None:
        """At most so many tokens are asked for; None where nothing is said."""
        return self.max_tokens

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """The stop strings; empty ones are refused."""
        found = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if "" in found:
            raise ApiError(
                "stop: a stop string is empty; it would end every text before it begins", param="stop"
            )
        return found

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self, defaults: SamplingParams) -> SamplingParams:
        """`defaults` with what the request sets."""
        given = {name: value for name in _SAMPLING if (value := getattr(self, name)) is not None}
        try:
            return replace(defaults, **given)
        except InputError as error:
            raise ApiError(str(error), param=str(error).split()[0]) from error


class CompletionBody(CommonBody):
    """POST /v1/completions."""

    prompt: str | list[int] | list[str] | list[list[int]]

    @property
    def only_prompt(self) -> str | list[int]:
        """The prompt, a text or token ids; raises `ApiError` where there are several."""
        prompt = self.prompt
        if isinstance(prompt, list) and any(isinstance(part, str | list) for part in prompt):
            if len(prompt) > 1:
                raise ApiError(
                    f"prompt: a list of {len(prompt)} prompts; send one prompt a request", param="prompt"
                )
            prompt = prompt[0]  # type: ignore[assignment]
        return prompt  # type: ignore[return-value]


class TextPart(BaseModel):
    """A part of a message's content."""

    model_config = ConfigDict(strict=True)
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(strict=True)
    role: str
    content: str | list[TextPart] | None = None

    def as_dict(self) -> dict[str, str]:
        """As chat templates want it, its text in one piece."""
        parts = self.content or ""
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return {"role": self.role, "content": text}


class ChatBody(CommonBody):
    """POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None

    @property
    def new_tokens(self) -> int | None:
        """`max_completion_tokens`, or `max_tokens`, its former name."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


def parse(kind: type[Body], sent: Mapping[str, Any]) -> Body:
    """The body as `kind` has it; raises `ApiError` naming the first field that is wrong or not supported."""
    for name, nothing in _NOTHING.items():
        value = sent.get(name)
        # 0 == False in Python; logprobs=0 asks for something, logprobs=false does not.
        if value is not None and not any(
            value == none and isinstance(value, bool) == isinstance(none, bool) for none in nothing
        ):
            raise ApiError(f"{name}: {value!r} is not supported by this server; leave it out", param=name)
    try:
        return kind.model_validate(dict(sent))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = [str(part) for part in first["loc"]]
        raise ApiError(f"{'.'.join(where)}: {first['msg']}", param=where[0] if where else None) from error
