"""The shell that every page and service stands on: who may ask, and how errors look.

Knows addresses, tokens, Host and Origin headers. Knows nothing of what the routes do, nor of how the
application is run (`server`).

A server on this machine's loopback is still reached by every web page its user opens. Two checks keep them
out: the Host header must name the loopback (a name of a foreign page that was made to resolve to 127.0.0.1
does not: DNS rebinding), and a request that a browser sent on behalf of another page (its Origin header
says so) is refused. Off the loopback nobody is served without the token.
"""

from __future__ import annotations

import hmac
import importlib
import ipaddress
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from firsthand.errors import FirsthandError, InputError, MissingDependencyError, NotFoundError
from firsthand.serve.entry import cookie_opens, entry_headers

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import BaseRoute

__all__ = [
    "INSTALL",
    "ApiError",
    "error_body",
    "foreign_request",
    "header_values",
    "is_loopback",
    "json_body",
    "make_app",
    "new_token",
    "on_loopback",
    "require",
]

INSTALL = "pip install 'firsthand[decoding]', or [query]"
_LOG = logging.getLogger("firsthand.serve")
_BODY_LIMIT = 16 * 2**20  # bytes

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]


class ApiError(InputError):
    """A request that is refused, with the HTTP status and the `param` and `code` that its answer names."""

    def __init__(
        self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


def require(module: str) -> Any:
    """Import starlette or uvicorn, or raise `MissingDependencyError` naming the extra that has it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingDependencyError(f"{module} is not installed; run: {INSTALL}") from error


def new_token() -> str:
    """A token that cannot be guessed (256 bits, URL-safe)."""
    return secrets.token_urlsafe(32)


def is_loopback(host: str) -> bool:
    """Whether `host` (an address or "localhost", without a port) is this machine's loopback."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


# --- the application -------------------------------------------------------------------------------------


def make_app(
    routes: Sequence[BaseRoute],
    *,
    token: str | None = None,
    hosts: Sequence[str] = (),
    browser: bool = False,
    lifespan: Callable[[Any], AbstractAsyncContextManager[None]] | None = None,
) -> Starlette:
    """A Starlette application of `routes` behind the checks above, with `/healthz` and errors as JSON.

    Args:
        token: what `Authorization: Bearer …` must carry on every route but `/healthz`; None asks for none,
            and then only connections on the loopback are answered.
        hosts: further names (no ports) that a Host header may have on the loopback: what a reverse proxy on
            this machine forwards.
        browser: let a browser in too, which cannot send that header: a GET with `?token=…` is answered by a cookie
            and a redirect to the address without it, and the cookie then opens pages, downloads and websockets.
        lifespan: Starlette's, for what starts and stops with the application.

    A route that raises `InputError` answers 400, `NotFoundError` 404, any other error 500; only messages of
    `FirsthandError` are shown to the client, and never a traceback.
    """
    require("starlette")
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    if token is not None and (not token or not token.isascii() or any(c.isspace() for c in token)):
        raise InputError("a token must be non-empty ASCII without spaces; new_token() makes one")

    async def healthz(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def refused(request: Request, error: Exception) -> JSONResponse:
        headers = getattr(error, "headers", None)
        status, body = error_body(error)
        return JSONResponse(body, status, headers)

    app = Starlette(
        routes=[Route("/healthz", healthz), *routes],
        middleware=[Middleware(_Guard, token=token, hosts=hosts, browser=browser)],
        exception_handlers={HTTPException: refused, FirsthandError: refused},
        lifespan=lifespan,
    )
    app.state.needs_token = token is not None
    return app


def error_body(error: Exception) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the JSON object that tell a client of `error`, in the shape that OpenAI's API has."""
    status, message = 500, "internal error; the server's log has the details"
    if isinstance(error, ApiError):
        status, message = error.status, str(error)
    elif isinstance(error, FirsthandError):
        status = 400 if isinstance(error, InputError) else 404 if isinstance(error, NotFoundError) else 500
        message = str(error)
    elif hasattr(error, "status_code"):  # Starlette's HTTPException
        status, message = error.status_code, str(error.detail)  # type: ignore[attr-defined]
    return status, {
        "error": {
            "message": message,
            "type": "server_error" if status >= 500 else "invalid_request_error",
            "param": getattr(error, "param", None),
            "code": getattr(error, "code", None),
        }
    }


async def json_body(request: Request, limit: int = _BODY_LIMIT) -> dict[str, Any]:
    """The request's body, a JSON object of at most `limit` bytes; raises `ApiError` (400, 413) otherwise."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise ApiError(f"the body is longer than {limit} bytes; send less", status=413)
    try:
        found = json.loads(bytes(body))
        if b"\\u" in body:  # half of a surrogate pair can be written as an escape, and is no text
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ApiError(f"the body is not JSON ({error}); send a JSON object") from error
    if not isinstance(found, dict):
        raise ApiError(f"the body is a JSON {type(found).__name__}; send a JSON object")
    return found


def header_values(scope: Message) -> dict[bytes, list[bytes]]:
    """All values of each header: one that is sent twice must not pass by one of its two values."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found


def on_loopback(scope: Message) -> bool:
    """Whether the request came to this machine's loopback, or through a Unix socket."""
    server = scope.get("server")
    return server is None or server[1] is None or is_loopback(server[0])  # without a port: a Unix socket


def foreign_request(
    scope: Message, headers: Mapping[bytes, Sequence[bytes]], hosts: Collection[str]
) -> ApiError | None:
    """Why a request is refused that a page of another origin sent, or that came to the loopback by another name.

    `hosts`: further names, in lower case, that a Host header may have on the loopback.
    """
    host = b",".join(headers.get(b"host", [])).decode("latin-1").lower()
    if on_loopback(scope) and not (is_loopback(_name(host)) or _name(host) in hosts):
        return ApiError(
            f"the Host header says {host!r}: this server answers on the loopback only "
            "(http://127.0.0.1:PORT, http://localhost:PORT)",
            status=403,
            code="host_not_allowed",
        )
    for origin in headers.get(b"origin", []):
        if origin.decode("latin-1").lower().partition("://")[2] != host:
            return ApiError(
                f"the request comes from a page of another origin ({origin.decode('latin-1')!r})",
                status=403,
                code="origin_not_allowed",
            )
    return None


class _Guard:
    """Lets through what may be answered; plain ASGI, so that streams and websockets pass untouched."""

    def __init__(self, app: AsgiApp, token: str | None, hosts: Sequence[str], browser: bool) -> None:
        self._app, self._browser = app, browser
        self._token = None if token is None else token.encode()
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            problem = self._problem(scope)
            if problem is not None:
                await _refuse(problem, scope, receive, send)
                return
            entry = entry_headers(scope, self._token) if self._browser and self._token is not None else None
            if entry is not None:
                await _redirect(entry, scope, receive, send)
                return
        if scope["type"] == "http":
            await self._answered(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answered(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer also where the application fails.

        An error that came as far as uvicorn would cost the connection, and whatever the client sends next.
        """
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            if started:
                raise
            _LOG.exception("%s %s failed", scope["method"], scope["path"])
            await _answer(error, scope, receive, send)

    def _problem(self, scope: Message) -> ApiError | None:
        headers = header_values(scope)
        foreign = foreign_request(scope, headers, self._hosts)
        if foreign is not None:
            return foreign
        if self._token is None:
            if on_loopback(scope):
                return None
            return ApiError(
                "this server has no token and therefore answers on the loopback only",
                status=403,
                code="token_required",
            )
        if scope["type"] == "http" and scope["path"] == "/healthz":
            return None
        scheme, _, found = b",".join(headers.get(b"authorization", [])).partition(b" ")
        if scheme.lower() == b"bearer" and hmac.compare_digest(found.strip(), self._token):
            return None
        if self._browser and (
            cookie_opens(scope, headers, self._token) or entry_headers(scope, self._token) is not None
        ):
            return None
        return ApiError(
            "the token is missing or wrong; "
            + ("open the address with ?token=… that the command printed, or " if self._browser else "")
            + "send it as 'Authorization: Bearer TOKEN' (the openai client's api_key)",
            status=401,
            code="invalid_api_key",
        )


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


async def _refuse(problem: ApiError, scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()  # its connect
        await send({"type": "websocket.close", "code": 1008, "reason": str(problem)[:120]})  # answers 403
        return
    await _answer(problem, scope, receive, send)


async def _redirect(headers: Sequence[tuple[str, str]], scope: Message, receive: Receive, send: Send) -> None:
    from starlette.responses import Response

    await Response(status_code=303, headers=dict(headers))(scope, receive, send)


async def _answer(error: Exception, scope: Message, receive: Receive, send: Send) -> None:
    from starlette.responses import JSONResponse

    status, body = error_body(error)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    await JSONResponse(body, status, headers)(scope, receive, send)
