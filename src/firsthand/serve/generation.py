"""From a prompt to a text, piece by piece, with any decoder: tokens in, characters out, what it took at the end.

Knows decoders, tokenizers and stops; knows nothing of HTTP.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from firsthand.errors import InputError
from firsthand.lm.decoding import Decoder, GenerationResult, SamplingParams, Stop
from firsthand.serve.text import Detokeniser, StopText

__all__ = ["TextRequest", "TextResult", "chat_ids", "generate_text", "prompt_ids"]


@dataclass(frozen=True)
class TextRequest:
    """What is to be written.

    Attributes:
        prompt: gives the prompt's token ids; called in the thread that generates, where the tokenizer is used.
        max_new_tokens: at most so many; None takes `default_new_tokens`, or what the context leaves of them.
        sampling: how tokens are chosen.
        stop_ids: token ids that end the text and are no part of it.
        stop_strings: texts that end it and are no part of it.
        default_new_tokens, context_length: see `max_new_tokens`; None is a context of unknown length.
    """

    prompt: Callable[[], Sequence[int]]
    max_new_tokens: int | None
    sampling: SamplingParams
    stop_ids: tuple[int, ...] = ()
    stop_strings: tuple[str, ...] = ()
    default_new_tokens: int = 256
    context_length: int | None = None


@dataclass(frozen=True)
class TextResult:
    """How a text ended and what it took.

    `generation` is the decoder's own result; None where it did not heed a stop string and was ended.
    """

    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    wall_s: float
    generation: GenerationResult | None

    @property
    def usage(self) -> dict[str, Any]:
        """OpenAI's `usage`, and what speculation did under `speculation`."""
        found = self.generation
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "speculation": found
            and {
                "steps": found.steps,
                "tokens_per_step": found.tokens_per_step,
                "acceptance_rate": found.acceptance_rate,
                "fell_back": found.fell_back,
            },
        }


def prompt_ids(tokenizer: Any, prompt: str | Sequence[int]) -> list[int]:
    """Token ids of a prompt: a text (with the special tokens that its tokenizer adds) or ids already."""
    if isinstance(prompt, str):
        return [int(token) for token in tokenizer.encode(prompt)]
    return list(prompt)


def chat_ids(tokenizer: Any, messages: Sequence[dict[str, str]]) -> list[int]:
    """Token ids of a conversation, ready for the assistant's answer.

    Raises `InputError` for a tokenizer without a chat template, and for messages that its template refuses.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            "this model's tokenizer has no chat template: use /v1/completions, or a model that was trained to chat"
        )
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise InputError(f"the model's chat template refuses these messages: {error}") from error
    # The template writes special tokens out, BOS among them.
    return [
        int(token) for token in tokenizer.encode(text, add_special_tokens=False, split_special_tokens=False)
    ]


def generate_text(decoder: Decoder, tokenizer: Any, request: TextRequest) -> Generator[str, None, TextResult]:
    """Yield the text in pieces of whole characters, none of them empty; the return value is the result.

    Closing the generator closes the decoder's. Raises what the decoder does: `InputError`,
    `ContextLengthError`, `NonFiniteLogitsError`.
    """
    started = time.perf_counter()
    ids = request.prompt()
    count = request.max_new_tokens
    if count is None:
        count = request.default_new_tokens
        if request.context_length is not None:
            count = max(1, min(count, request.context_length - len(ids)))
    stop = Stop(request.stop_ids, request.stop_strings, tokenizer)
    text, ending = Detokeniser(tokenizer), StopText(request.stop_strings)
    written, generation = 0, None
    with contextlib.closing(decoder.stream(ids, count, request.sampling, stop)) as stream:
        while True:
            try:
                tokens = next(stream)
            except StopIteration as end:
                generation = end.value
                break
            if ending.found:  # it was asked once more, for its result
                break
            written += len(tokens)
            piece = ending.add(text.add(token for token in tokens if token not in request.stop_ids))
            if piece:
                yield piece
    rest = ending.add(text.finish()) + ending.finish()
    if rest:
        yield rest
    stopped = ending.found or (generation is not None and generation.stop_reason == "stop")
    return TextResult(
        "stop" if stopped else "length", len(ids), written, time.perf_counter() - started, generation
    )
