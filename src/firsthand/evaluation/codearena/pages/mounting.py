"""The arena's web pages: where each one is, and errors in the same dress.

    add_pages(app)

Knows which pages there are. Each module beside this one knows its own; all of them ask the same parts of the arena as
the API does, and show nothing that the API would not.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from firsthand.evaluation.codearena.pages import board, people, problems, service, submissions
from firsthand.evaluation.codearena.pages.frame import Viewer, asset, page, shown_at, viewer_of
from firsthand.evaluation.codearena.pages.recent import Recent
from firsthand.evaluation.codearena.pages.sessions import Sessions
from firsthand.evaluation.codearena.pages.words import WORDS_OF_STATUS
from firsthand.evaluation.codearena.service.access import Caller
from firsthand.serve.shell import AsgiApp, Message, Receive, Send

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["add_pages", "pages_router"]

_MACHINES = ("/api/", "/static/", "/healthz", "/metrics")
_MOST = 1 << 20  # bytes of an error's body that are looked at


def pages_router() -> APIRouter:
    """All pages and their files."""
    router = APIRouter()

    @shown_at(router, "/static/{name}")
    def static(request: Request, name: str) -> Response:
        found = asset(request, name)
        if found is None:
            raise HTTPException(404)
        return found

    for module in (board, problems, submissions, people, service):
        router.include_router(module.router)
    return router


def add_pages(app: FastAPI) -> None:
    """Put the pages into an application whose state has a `service`."""
    app.state.sessions, app.state.recent = Sessions(), Recent()
    app.include_router(pages_router(), include_in_schema=False)
    app.add_middleware(_DressedErrors, application=app)


class _DressedErrors:
    """Turns errors, which the application answers as JSON, into pages where a browser asked for one.

    It stands outside of everything, so that it also dresses what the gate refuses.
    """

    def __init__(self, app: AsgiApp, *, application: FastAPI) -> None:
        self._app, self._application = app, application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request; what is no error passes untouched."""
        if scope["type"] != "http" or not _is_for_people(scope):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = bytearray()

        async def sending(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_json_error(message):
                start = message
                return
            if start is None:
                await send(message)
                return
            body.extend(message.get("body", b"")[: _MOST - len(body)])
            if not message.get("more_body"):
                await self._dress(start, bytes(body), scope, receive, send)

        await self._app(scope, receive, sending)

    async def _dress(self, start: Message, body: bytes, scope: Message, receive: Receive, send: Send) -> None:
        from starlette.concurrency import run_in_threadpool

        scope = {**scope, "app": self._application}
        request = Request(scope)
        try:
            found = json.loads(body)
        except ValueError:
            found = {}
        answer = await run_in_threadpool(error_page, request, start["status"], found)
        kept = {b"retry-after", b"allow"}
        answer.raw_headers += [(name, value) for name, value in start["headers"] if name.lower() in kept]
        # What arms every answer, such as nosniff, was added to the one that is thrown away.
        there = {name.lower() for name, _ in answer.raw_headers} | {b"content-type", b"content-length"}
        there.add(b"www-authenticate")
        answer.raw_headers += [(name, value) for name, value in start["headers"] if name.lower() not in there]
        await answer(scope, receive, send)


def error_page(request: Request, status: int, found: Any) -> Response:
    """An error as a page, with the words that the API would say."""
    told: dict[str, Any] = found if isinstance(found, dict) else {}
    said = str(told.get("message", ""))
    faults = told.get("detail")
    if status == 422 and isinstance(faults, list) and all(_is_of_path(fault) for fault in faults):
        status, said = 404, ""  # an id that no problem can have: for people the address is just wrong
    if said in ("Not Found", "Method Not Allowed"):
        said = ""  # Starlette's words, which say no more than the title
    title, meaning = WORDS_OF_STATUS.get(status, ("This did not work", "The arena refused the request."))
    try:
        viewer = viewer_of(request)
    except Exception:  # what failed before may fail again; the page is shown to nobody in particular then
        viewer = Viewer(Caller(None), None)
    return page(
        request,
        "error.html",
        viewer,
        status=status,
        here="",
        title=title,
        meaning=meaning,
        said=said,
        status_code=status,
    )


def _is_of_path(fault: Any) -> bool:
    return isinstance(fault, dict) and str(fault.get("where", "")).startswith("path.")


def _is_for_people(scope: Message) -> bool:
    path = scope["path"]
    if any(path == start.rstrip("/") or path.startswith(start) for start in _MACHINES):
        return False
    accepted = b",".join(value for name, value in scope["headers"] if name.lower() == b"accept")
    return b"text/html" in accepted.lower()


def _is_json_error(message: Message) -> bool:
    if message["status"] < 400:
        return False
    kinds = [value for name, value in message["headers"] if name.lower() == b"content-type"]
    return any(kind.lower().startswith(b"application/json") for kind in kinds)
