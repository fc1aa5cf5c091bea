"""The service as an ASGI application: routes, their gate, and what runs beside them.

    app = create_app(ArenaSettings(database="postgresql+psycopg://arena@db/arena"))

Knows how the parts are put together. With `judges` the application starts judge processes of its own; webhooks are
delivered and checkpoints made by a thread beside the routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from firsthand.errors import FirsthandError
from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.errors import InvalidSource
from firsthand.evaluation.codearena.refusals import InvalidRequest
from firsthand.evaluation.codearena.service.gate import Gate, error_answer
from firsthand.evaluation.codearena.settings import ArenaSettings
from firsthand.evaluation.codearena.store.judges import Judges, JudgeSettings
from firsthand.serve.shell import require

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["create_app", "open_arena"]

_LOG = logging.getLogger("firsthand.codearena")
_ERRORS = {
    400: "The request cannot be read.",
    401: "No token, or one that is unknown, revoked or expired.",
    403: "The token lacks a scope, or the request comes from elsewhere.",
    404: "It is not there.",
    409: "It contradicts what is there: an attempt that is used, a name that is taken, a state that does not allow it.",
    413: "It is too long.",
    422: "A value cannot be used.",
    429: "Too many requests, or too much is waiting; Retry-After says how long to wait.",
    503: "No judge can isolate programs.",
}
_SPARE = 64 * 1024  # of a body, for what is not a source or a test case
_BIG_BODY = 24 * 1024 * 1024
_TICK_S = 1.0


def open_arena(settings: ArenaSettings, **options: Any) -> Arena:
    """The arena that settings name; `options` as of `Arena.open`."""
    chosen: dict[str, Any] = {
        "lease_s": settings.lease_s,
        "source_bytes": settings.source_kb * 1024,
        "case_bytes": settings.case_kb * 1024,
        "queue_limit": settings.queue_limit,
        "grade_all": settings.grade_all,
        "repeats": settings.repeats,
        "webhook_hosts": settings.webhook_hosts,
    }
    return Arena.open(settings.database, **{**chosen, **options})


def create_app(
    settings: ArenaSettings | None = None,
    *,
    arena: Arena | None = None,
    pages: bool = True,
    grader: str | None = None,
) -> FastAPI:
    """The application.

    Args:
        settings: None: the defaults.
        arena: an open arena, which the caller closes; None: the one that the settings name.
        pages: with web pages beside the API.
        grader: of the application's own judges, as of `JudgeSettings`.

    Raises:
        InputError: a database that cannot be used.
        MissingDependencyError: FastAPI is not installed.
    """
    require("starlette")
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    from firsthand import __version__
    from firsthand.evaluation.codearena.service import (
        legacy,
        routes_accounts,
        routes_problems,
        routes_ranking,
        routes_service,
        routes_submissions,
    )
    from firsthand.evaluation.codearena.service.access import Service
    from firsthand.evaluation.codearena.service.schemas import ErrorView

    settings = settings or ArenaSettings()
    own = arena is None
    opened = arena or open_arena(settings)
    service = Service(opened, settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        judges = Judges(JudgeSettings.of(settings, grader=grader), settings.judges)
        over = threading.Event()
        chores = threading.Thread(
            target=_do_chores, args=(service.arena, settings, over), name="firsthand-chores", daemon=True
        )
        await asyncio.to_thread(judges.start)
        chores.start()
        try:
            yield
        finally:
            over.set()
            await asyncio.to_thread(judges.stop)
            await asyncio.to_thread(chores.join)
            if own:
                opened.close()

    app = FastAPI(
        title="Firsthand CodeArena",
        version=__version__,
        description="An online judge that rates who writes programs by how the whole field did (arXiv 2503.01295).",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
        responses={status: {"model": ErrorView, "description": text} for status, text in _ERRORS.items()},
    )
    app.state.service = service
    app.state.needs_token = True  # whatever writes asks for one
    app.add_middleware(_Registered, service=service, settings=settings)

    def refused(request: Request, error: Exception) -> Response:
        if isinstance(error.__cause__, UnicodeDecodeError):  # FastAPI says only that the body cannot be read
            fault = error.__cause__
            error = InvalidRequest(f"the body is not UTF-8: {fault.reason} at byte {fault.start}")
        return error_answer(error)

    def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _invalid(error, sources=request.url.path.startswith("/api/submission/"))

    app.add_exception_handler(FirsthandError, refused)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    for module in (
        routes_accounts, routes_problems, routes_submissions, routes_ranking, routes_service, legacy,
    ):  # fmt: skip
        app.include_router(module.router)
    if pages:
        from firsthand.evaluation.codearena.pages.mounting import add_pages

        add_pages(app)
    return app


class _Registered(Gate):
    """The gate, known to the service for its counts."""

    def __init__(self, app: Any, *, service: Any, settings: ArenaSettings) -> None:
        from starlette.requests import Request

        from firsthand.evaluation.codearena.service.access import caller_of

        def known(scope: Any) -> bool:
            try:
                return caller_of(Request(scope)).identity is not None
            except FirsthandError:
                return False

        super().__init__(
            app,
            hosts=settings.hosts,
            # JSON may write a character in six bytes.
            body_limit=6 * settings.source_kb * 1024 + _SPARE,
            body_limits=[
                (r"/api/problem/", max(_BIG_BODY, 3 * settings.case_kb * 1024)),
                (r"/api/submission/batch$", max(_BIG_BODY, 6 * settings.source_kb * 1024 + _SPARE)),
            ],
            known=known,
        )
        service.gate = self


def _invalid(error: Any, *, sources: bool) -> Response:
    """What is wrong with a request, without repeating what was sent: it may be a secret, or no text at all.

    `sources`: a field `source` is a program, and has the code of one that cannot be.
    """
    from starlette.responses import JSONResponse

    from firsthand.evaluation.codearena.service.schemas import TEXT

    faults = [
        {
            "where": ".".join(str(part) for part in fault["loc"]),
            "message": "has a NUL character" if fault.get("ctx", {}).get("pattern") == TEXT else fault["msg"],
        }
        for fault in error.errors()[:20]
    ]
    said = "; ".join(f"{fault['where']}: {fault['message']}" for fault in faults)
    program = sources and all(fault["where"] == "body.source" for fault in faults)
    code = InvalidSource.code if program else InvalidRequest.code
    body = {"status": "error", "code": code, "message": said, "detail": faults}
    return JSONResponse(_clean(body), InvalidRequest.status)


def _clean(value: Any) -> Any:
    """Texts that are UTF-8: names of unknown fields come from outside."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def _do_chores(arena: Arena, settings: ArenaSettings, over: threading.Event) -> None:
    """Deliver webhooks and make checkpoints until the server ends."""
    while not over.wait(_TICK_S):
        try:
            if settings.checkpoint_hours:
                arena.checkpoints.make_due(settings.checkpoint_hours)
            while arena.webhooks.deliver_due() and not over.is_set():
                pass
        except Exception:  # the database is away, for one: the next round may do
            _LOG.exception("webhooks or checkpoints")
