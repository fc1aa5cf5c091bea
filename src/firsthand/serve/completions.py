"""An OpenAI-compatible server over any decoder: completions and chat, whole or streamed.

Knows the API's routes and the shape of its answers; knows nothing of how a decoder works. One text is
written at a time, in a thread of its own, and requests wait for their turn in the order they came. Where a
client goes away its text is ended at the decoder's next step.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from firsthand.lm.decoding import ContextLengthError, Decoder, SamplingParams
from firsthand.serve.bodies import ChatBody, CommonBody, CompletionBody, parse
from firsthand.serve.generation import TextRequest, TextResult, chat_ids, generate_text, prompt_ids
from firsthand.serve.shell import ApiError, Message, Receive, Send, error_body, json_body, make_app, require
from firsthand.serve.worker import Feed, Worker

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse

__all__ = ["completions_app"]

_LOG = logging.getLogger("firsthand.serve")
_COMPLETION_TOKENS = 16  # what OpenAI's completions write where nothing is said


def completions_app(
    decoder: Decoder,
    tokenizer: Any,
    *,
    model_name: str,
    defaults: SamplingParams | None = None,
    token: str | None = None,
    stop_ids: Sequence[int] = (),
    context_length: int | None = None,
    default_chat_tokens: int = 256,
    hosts: Sequence[str] = (),
) -> Starlette:
    """The application: GET /v1/models, POST /v1/completions and /v1/chat/completions, and /healthz.

    Args:
        decoder: anything with `stream`, as `PlainDecoder` has it.
        tokenizer: the model's Hugging Face tokenizer. Its EOS ends a text unless a request says
            `ignore_eos` (which goes for `stop_ids` too); its chat template is needed for chat.
        model_name: what requests must name as their model.
        defaults: how tokens are chosen where a request says nothing, the seed included: without a seed of
            its own the same request gets the same text.
        token: what clients must send (`api_key` in the openai client); None asks for none, on the loopback.
        stop_ids: token ids beside EOS that end a text (a chat model's end of turn).
        context_length: tokens that the model can read, prompt included; bounds the next one.
        default_chat_tokens: how many tokens chat writes at most where a request does not say.
        hosts: as `make_app` has it.

    `usage.speculation` has steps, tokens_per_step, acceptance_rate and fell_back of the text.
    """
    require("starlette")
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    worker = Worker("firsthand-generation")
    defaults = defaults or SamplingParams()
    eos = getattr(tokenizer, "eos_token_id", None)
    ending = {*stop_ids, *([] if eos is None else [eos] if isinstance(eos, int) else eos)}
    created = int(time.time())
    card = {"id": model_name, "object": "model", "created": created, "owned_by": "firsthand"}

    def checked_model(name: str) -> None:
        if name != model_name:
            raise ApiError(
                f"there is no model {name!r} here; this server has {model_name!r}",
                status=404,
                param="model",
                code="model_not_found",
            )

    def reply(body: CommonBody, prompt: Callable[[], Sequence[int]], shape: _Shape, default: int) -> _Reply:
        checked_model(body.model)
        request = TextRequest(
            prompt=prompt,
            max_new_tokens=body.new_tokens,
            sampling=body.sampling(defaults),
            stop_ids=() if body.ignore_eos else tuple(sorted(ending)),
            stop_strings=body.stop_strings,
            default_new_tokens=default,
            context_length=context_length,
        )
        return _Reply(
            start=lambda: worker.start(lambda: generate_text(decoder, tokenizer, request)),
            shape=shape,
            model=model_name,
            streamed=bool(body.stream),
            include_usage=body.include_usage,
        )

    async def models(request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [card]})

    async def model(request: Request) -> JSONResponse:
        checked_model(request.path_params["name"])
        return JSONResponse(card)

    async def completions(request: Request) -> Any:
        body = parse(CompletionBody, await json_body(request))
        prompt = body.only_prompt
        return reply(body, lambda: prompt_ids(tokenizer, prompt), _COMPLETION, _COMPLETION_TOKENS)

    async def chat(request: Request) -> Any:
        body = parse(ChatBody, await json_body(request))
        messages = [message.as_dict() for message in body.messages]
        return reply(body, lambda: chat_ids(tokenizer, messages), _CHAT, default_chat_tokens)

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.to_thread(worker.close)

    return make_app(
        [
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", model),
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/chat/completions", chat, methods=["POST"]),
        ],
        token=token,
        hosts=hosts,
        lifespan=lifespan,
    )


@dataclass(frozen=True)
class _Shape:
    """What the two kinds of answer call things."""

    prefix: str
    whole: str
    chunk: str
    chat: bool

    def whole_choice(self, text: str, reason: str) -> dict[str, Any]:
        content = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        return {"index": 0, **content, "logprobs": None, "finish_reason": reason}

    def chunk_choice(self, text: str, reason: str | None = None, *, first: bool = False) -> dict[str, Any]:
        content: dict[str, Any] = {"text": text}
        if self.chat:
            delta = {**({"role": "assistant"} if first else {}), **({} if reason else {"content": text})}
            content = {"delta": delta}
        return {"index": 0, **content, "logprobs": None, "finish_reason": reason}


_COMPLETION = _Shape("cmpl", "text_completion", "text_completion", chat=False)
_CHAT = _Shape("chatcmpl", "chat.completion", "chat.completion.chunk", chat=True)


@dataclass(frozen=True)
class _Reply:
    """An answer as an ASGI application: it starts the text, sends it, and ends it where its client is gone."""

    start: Callable[[], Feed[str, TextResult]]
    shape: _Shape
    model: str
    streamed: bool
    include_usage: bool

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        feed = self.start()
        watch = asyncio.ensure_future(_gone(receive))
        watch.add_done_callback(lambda _: feed.cancel())
        head = {
            "id": f"{self.shape.prefix}-{secrets.token_hex(12)}",
            "object": self.shape.chunk if self.streamed else self.shape.whole,
            "created": int(time.time()),
            "model": self.model,
        }
        try:
            if self.streamed:
                await self._stream(feed, head, send)
            else:
                await self._whole(feed, head, scope, receive, send)
        except ContextLengthError as error:
            raise ApiError(str(error), code="context_length_exceeded") from error
        finally:
            watch.cancel()
            feed.cancel()

    async def _whole(
        self, feed: Feed[str, TextResult], head: dict[str, Any], scope: Message, receive: Receive, send: Send
    ) -> None:
        from starlette.responses import JSONResponse

        text = "".join([piece async for piece in feed])
        if feed.cancelled:
            raise _gone_error()
        result = feed.result
        _log(head, result)
        choice = self.shape.whole_choice(text, result.finish_reason)
        await JSONResponse({**head, "choices": [choice], "usage": result.usage})(scope, receive, send)

    async def _stream(self, feed: Feed[str, TextResult], head: dict[str, Any], send: Send) -> None:
        usage = {"usage": None} if self.include_usage else {}

        async def event(data: str) -> None:
            await send(
                {"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True}
            )

        async def chunk(*choices: dict[str, Any], **more: Any) -> None:
            # ASCII, because clients differ in what ends a line (U+2028, U+0085).
            await event(json.dumps({**head, "choices": list(choices), **usage, **more}))

        # The status is sent with the first piece: a request that the decoder refuses is still a plain 400.
        pieces = aiter(feed)
        piece = await anext(pieces, None)
        if feed.cancelled:
            raise _gone_error()
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            if self.shape.chat:
                await chunk(self.shape.chunk_choice("", first=True))
            while piece is not None:
                await chunk(self.shape.chunk_choice(piece))
                piece = await anext(pieces, None)
            if feed.cancelled:
                raise _gone_error()
            result = feed.result
            _log(head, result)
            await chunk(self.shape.chunk_choice("", result.finish_reason))
            if self.include_usage:
                await chunk(usage=result.usage)
            await event("[DONE]")
        except Exception as error:
            _, body = error_body(error)
            if not isinstance(error, ApiError):
                _LOG.exception("%s failed after its first token", head["id"])
            await event(json.dumps(body))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _gone_error() -> ApiError:
    # Where the client went away nobody reads it; where the server is closing, the client does.
    return ApiError("the text was ended before it was complete: the server is closing", status=503)


def _log(head: dict[str, Any], result: TextResult) -> None:
    _LOG.info(
        "%s: %d tokens after %d in %.2f s, %s",
        head["id"],
        result.completion_tokens,
        result.prompt_tokens,
        result.wall_s,
        result.finish_reason,
    )
