"""What every request passes before and after the routes: where it comes from, how long it is, how the answer is armed.

A token in an address is refused, because addresses are kept in logs and histories, and the address is taken out of the
scope before uvicorn logs it. A body is cut off at its limit while it is read; a long one is read only from who shows a
token that is known. Every answer has the strictest headers unless a page sets its own, and an error that nobody
foresaw is answered with 500 and no word of what it was.

Plain ASGI. Knows no accounts and no arena.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from firsthand.errors import FirsthandError, InputError, MissingDependencyError, NotFoundError
from firsthand.evaluation.codearena.errors import ArenaError
from firsthand.evaluation.codearena.refusals import InvalidRequest, RequestTooLarge
from firsthand.serve.shell import ApiError, AsgiApp, Message, Receive, Send, foreign_request, header_values

if TYPE_CHECKING:
    from starlette.responses import JSONResponse

__all__ = ["API_HEADERS", "Gate", "error_answer"]

_LOG = logging.getLogger("firsthand.codearena")

API_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_SECRET_NAMES = frozenset(
    ("token", "access_token", "api_token", "api_key", "apikey", "auth_token", "bearer", "authorization")
)
_SECRET = re.compile(r"arena_[A-Za-z0-9_-]{40}")  # ours, wherever it stands
_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: RequestTooLarge.code}


def error_answer(error: Exception) -> JSONResponse:
    """An error as the API tells it: `{"status": "error", "code": ..., "message": ..., "detail": ...}`."""
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse

    status, code, message = 500, "internal", "internal error; the server's log has the details"
    detail: Any = None
    headers: dict[str, str] = {}
    if isinstance(error, ArenaError):
        status, code, message = error.status, error.code, str(error)
        wait = getattr(error, "retry_after_s", None)
        if wait is not None:
            headers["Retry-After"] = str(max(1, math.ceil(round(wait, 3))))
            detail = {"retry_after_s": wait}
    elif isinstance(error, ApiError):
        status, code, message = error.status, error.code or "invalid_request", str(error)
    elif isinstance(error, HTTPException):
        status, message = error.status_code, str(error.detail)
        code = _CODES.get(status, "refused")
        headers |= dict(error.headers or {})
    elif isinstance(error, NotFoundError):
        status, code, message = 404, "not_found", str(error)
    elif isinstance(error, MissingDependencyError):
        status, code, message = 501, "not_installed", str(error)
    elif isinstance(error, InputError):
        status, code, message = 422, "invalid_request", str(error)
    elif isinstance(error, FirsthandError):
        message = str(error)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = {"status": "error", "code": code, "message": message, "detail": detail}
    return JSONResponse(body, status, headers)


class Gate:
    """The outermost layer.

    Args:
        hosts: names that a Host header may have on the loopback beside the loopback's own.
        body_limit: bytes of a request's body.
        body_limits: larger limits, by a regular expression that matches the beginning of the path.
        known: whether a request's token is known; called in a thread, and only where more than `body_limit` is sent
            to a path that may have more. Otherwise anybody could have us read and parse so much.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        hosts: Collection[str] = (),
        body_limit: int = 1 << 20,
        body_limits: Sequence[tuple[str, int]] = (),
        known: Callable[[Message], bool] = lambda scope: False,
    ) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._limit = body_limit
        self._limits = [(re.compile(pattern), limit) for pattern, limit in body_limits]
        self._known = known
        self.answered: Counter[int] = Counter()
        self._lock = threading.Lock()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        from starlette.exceptions import HTTPException

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                with self._lock:
                    self.answered[message["status"]] += 1
                there = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in API_HEADERS.items()
                        if name.lower().encode() not in there
                    ),
                ]
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, await self._limited(scope, receive), sending)
        except Exception as error:
            if started:
                raise
            if not isinstance(error, FirsthandError | HTTPException):
                _LOG.exception("%s %s failed", scope["method"], scope["path"])
            await error_answer(error)(scope, receive, sending)

    def _check(self, scope: Message) -> None:
        query = scope.get("query_string", b"").decode("latin-1")
        named = any(name.lower() in _SECRET_NAMES for name, _ in parse_qsl(query, keep_blank_values=True))
        if named or _SECRET.search(unquote(query)) or _SECRET.search(scope["path"]):
            scope["query_string"] = b""
            scope["path"], scope["raw_path"] = "/not-logged", b"/not-logged"
            raise InvalidRequest(
                "an address must not carry a token: addresses are kept in logs and histories. Send it in the header "
                "'Authorization: Bearer TOKEN', and revoke this one if others can have seen the address"
            )
        foreign = foreign_request(scope, header_values(scope), self._hosts)
        if foreign is not None:
            raise foreign

    async def _limited(self, scope: Message, receive: Receive) -> Receive:
        from starlette.exceptions import HTTPException

        path = scope["path"]
        limit = self._limit
        most = next((limit for pattern, limit in self._limits if pattern.match(path)), limit)

        async def check(size: int) -> None:
            nonlocal limit
            if limit < size <= most and await asyncio.to_thread(self._known, scope):
                limit = most
            if size > limit:
                said = f"{most} bytes; send less"
                if size <= most:
                    said = f"{limit} bytes; longer ones are read from who shows a valid token"
                # Of this kind, because FastAPI would make a 400 of any other.
                raise HTTPException(RequestTooLarge.status, f"the body is longer than {said}")

        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit():
            await check(int(declared[:20]))
        seen = 0

        async def receiving() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                await check(seen)
            return message

        return receiving
