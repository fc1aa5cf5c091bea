"""The page as an application: its files, a websocket for each tab, and downloads of the last answer.

Knows connections and tabs, and hands every call that may wait to a thread: the event loop never blocks, so a keystroke
is taken while a query runs. Knows nothing of SQL (`desk`, `session`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firsthand.errors import FirsthandError, InputError, NotFoundError
from firsthand.query.speql.desk import Desk
from firsthand.query.speql.protocol import Message, pack, read_message
from firsthand.query.speql.rows import FORMATS, export
from firsthand.query.speql.session import Session
from firsthand.serve import make_app, page_routes

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

__all__ = ["speql_app"]

_LOG = logging.getLogger("firsthand.speql")
_MOST_DESKS = 32
_MOST_WAITING = 2000  # messages for a tab that does not read them
_OF_A_SNAPSHOT = frozenset({"repaired", "repair_failed", "planned", "preview", "preview_failed"})
_TICK_S = 0.15


def speql_app(
    open_session: Callable[[], Session],
    *,
    token: str | None,
    name: str = "",
    keep_s: float = 60.0,
    hosts: Sequence[str] = (),
) -> Starlette:
    """The page over sessions that `open_session` opens, one for each tab of a browser.

    Args:
        open_session: called in a thread for each new tab.
        token: as `make_app` has it; a browser opens `/?token=…` once.
        name: what is queried, for the page's title.
        keep_s: seconds that a tab's session outlives its connection.
        hosts: as `make_app` has it.
    """
    desks = _Desks(open_session, keep_s)

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            desk, resumed = await desks.take(websocket.query_params.get("client", ""))
        except FirsthandError as error:
            await websocket.send_text(str(pack("error", message=str(error)).content))
            await websocket.close(1013)
            return
        try:
            await _Connection(websocket, desk).run(name, resumed)
        finally:
            desks.leave(desk)

    async def download(request: Request) -> Response:
        from starlette.background import BackgroundTask
        from starlette.responses import FileResponse

        form = request.path_params["form"]
        if form not in FORMATS:
            raise NotFoundError(f"rows are exported as {', '.join(FORMATS)}, not as {form!r}")
        table = desks.find(request.path_params["client"]).table()
        file = Path(await asyncio.to_thread(_written, table, form))
        return FileResponse(
            file, filename=f"result.{form}", background=BackgroundTask(file.unlink, missing_ok=True),
            headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await desks.close()

    from starlette.routing import Route, WebSocketRoute

    return make_app(
        [
            *page_routes("firsthand.query.speql"),
            WebSocketRoute("/session", talk),
            Route("/export/{client}/result.{form}", download),
        ],
        token=token,
        hosts=hosts,
        browser=True,
        lifespan=lifespan,
    )


def _written(table: Any, form: str) -> str:
    """The path of a temporary file with the rows."""
    with tempfile.NamedTemporaryFile(prefix="firsthand-speql-", suffix=f".{form}", delete=False) as file:
        path = Path(file.name)
    try:
        export(table, form, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return str(path)


class _Desks:
    """The desks of all tabs. A tab names its own when it comes back; while that is in use it gets a new one."""

    def __init__(self, open_session: Callable[[], Session], keep_s: float) -> None:
        self._open, self._keep_s = open_session, keep_s
        self._desks: dict[str, Desk] = {}
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._opening = 0

    async def take(self, client: str) -> tuple[Desk, bool]:
        """The desk of that name if nobody sits there, else a new one; whether it was there."""
        timer = self._leaving.pop(client, None)
        if timer is not None:
            timer.cancel()
            return self._desks[client], True
        if len(self._desks) + self._opening >= _MOST_DESKS:
            if not self._leaving:
                raise InputError(f"{_MOST_DESKS} tabs are open already; close one")
            longest = next(iter(self._leaving))  # the one that left first
            self._leaving[longest].cancel()
            self._forget(self._desks[longest])
        self._opening += 1
        try:
            session = await asyncio.to_thread(self._open)
        finally:
            self._opening -= 1
        desk = Desk(secrets.token_urlsafe(16), session)
        self._desks[desk.client] = desk
        return desk, False

    def leave(self, desk: Desk) -> None:
        """Keep a desk for its tab to come back; close it when that does not happen."""
        desk.attach(None)
        if desk.client in self._desks:
            loop = asyncio.get_running_loop()
            self._leaving[desk.client] = loop.call_later(self._keep_s, self._forget, desk)

    def _forget(self, desk: Desk) -> None:
        self._leaving.pop(desk.client, None)
        self._desks.pop(desk.client, None)
        asyncio.get_running_loop().run_in_executor(None, desk.close)

    def find(self, client: str) -> Desk:
        """The desk of that name; raises `NotFoundError`."""
        if client not in self._desks:
            raise NotFoundError("there is no such tab; reload the page")
        return self._desks[client]

    async def close(self) -> None:
        """Close all."""
        for timer in self._leaving.values():
            timer.cancel()
        desks = list(self._desks.values())
        self._desks.clear()
        self._leaving.clear()
        await asyncio.gather(*(asyncio.to_thread(desk.close) for desk in desks))


class _Connection:
    """A websocket at a desk: reads, sends, and tells now and then what is made ahead."""

    def __init__(self, websocket: WebSocket, desk: Desk) -> None:
        self._websocket, self._desk = websocket, desk
        self._loop = asyncio.get_running_loop()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._moved = asyncio.Event()
        self._newest = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, name: str, resumed: bool) -> None:
        """Until the tab goes."""
        from starlette.websockets import WebSocketDisconnect

        desk = self._desk
        config = desk.session.config
        self._put(
            pack(
                "hello", client=desk.client, resumed=resumed, name=name, debounce_ms=config.debounce_ms,
                preview_rows=config.preview_rows, speculate=config.speculate,
            )
        )  # fmt: skip
        self._put(await asyncio.to_thread(desk.schema))
        desk.attach(self._post)
        self._moved.set()
        self._start(self._send_all())
        self._start(self._tell_ahead())
        try:
            while True:
                await self._take(await self._websocket.receive_text())
        except (WebSocketDisconnect, KeyError):  # KeyError: a binary frame where a text belongs
            pass
        finally:
            desk.attach(None)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, text: str) -> None:
        desk = self._desk
        try:
            message = read_message(text)
        except InputError as error:
            self._put(pack("error", message=str(error)))
            return
        kind = message["kind"]
        if kind == "edit":
            self._newest = max(self._newest, message["id"])
            # Not awaited: edits are taken one after another, and the next message need not wait for this one.
            self._later(desk.edits, desk.edit, message["id"], message["text"], message["cursor"])
        elif kind == "submit":
            desk.begin(message["id"])
            self._start(self._submit(message))
        elif kind == "cancel":
            self._later(None, desk.cancel)
        else:
            self._start(self._rows(message))

    async def _submit(self, message: dict[str, Any]) -> None:
        number, start = message["id"], self._loop.time()
        running = self._loop.run_in_executor(
            self._desk.runs, self._desk.submit, number, message["text"], message["cursor"], message["here"]
        )
        while True:
            done, _ = await asyncio.wait([running], timeout=0.25)
            if done:
                break
            seconds = self._loop.time() - start
            self._put(pack("progress", number, share=self._desk.session.progress(), seconds=seconds))
        self._put(running.result())

    async def _rows(self, message: dict[str, Any]) -> None:
        try:
            self._put(
                await asyncio.to_thread(
                    self._desk.rows, message["result"], message["start"], message["count"]
                )
            )
        except NotFoundError as error:
            self._put(pack("error", message["result"], message=str(error)))

    async def _send_all(self) -> None:
        """Send what waits; what belongs to a text that has changed since is left out."""
        while True:
            message = await self._outbox.get()
            if message.kind in _OF_A_SNAPSHOT and message.id < self._newest:
                continue
            if isinstance(message.content, str):
                await self._websocket.send_text(message.content)
            else:
                await self._websocket.send_bytes(message.content)

    async def _tell_ahead(self) -> None:
        """Tell what is made ahead whenever something has happened, and as long as something is being made."""
        last: tuple[int, dict[str, Any]] | None = None
        while True:
            await self._moved.wait()
            self._moved.clear()
            now = await asyncio.to_thread(self._desk.ahead)
            if now != last:
                last = now
                self._put(pack("planned", now[0], **now[1]))
            if any(node["state"] in ("waiting", "running") for node in now[1]["nodes"]):
                self._moved.set()
            await asyncio.sleep(_TICK_S)

    # --- threads and tasks ----------------------------------------------------------------------

    def _post(self, message: Message) -> None:
        """Take a message from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self._loop.call_soon_threadsafe(self._put, message)

    def _put(self, message: Message) -> None:
        if self._outbox.qsize() > _MOST_WAITING:
            self._start(self._websocket.close(1013))
            return
        self._outbox.put_nowait(message)
        if message.kind != "planned":
            self._moved.set()
        if message.kind == "stale":
            self._start(self._tell_schema())

    async def _tell_schema(self) -> None:
        self._put(await asyncio.to_thread(self._desk.schema))

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        _noted(task)

    def _later(self, pool: Any, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the desk was closed meanwhile
            self._loop.run_in_executor(pool, call, *arguments).add_done_callback(_noted)


def _noted(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and done.exception() is not None:
        _LOG.debug("a tab that has gone", exc_info=done.exception())
