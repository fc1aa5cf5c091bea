"""Running an application: on an address of this machine, until a signal or for the length of a block.

Knows uvicorn, sockets and threads, and who may be served without a token. Knows nothing of routes.
"""

from __future__ import annotations

import logging
import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from firsthand.errors import FirsthandError, InputError
from firsthand.serve.shell import is_loopback, require

if TYPE_CHECKING:
    import uvicorn

__all__ = ["LiveServer", "serve"]

_LOG = logging.getLogger("firsthand.serve")


def serve(
    app: Any,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    on_ready: Callable[[str], None] | None = None,
    grace_s: float = 5.0,
) -> None:
    """Serve an application until SIGINT (then it returns) or SIGTERM; for the main thread.

    Args:
        app: what `make_app` gave.
        host: an address of this machine; any but the loopback needs an application with a token.
        port: 0 takes a free one.
        on_ready: called with the base URL (`http://127.0.0.1:8123`) once requests are answered.
        grace_s: seconds that requests under way have to finish in, after the signal.

    uvicorn's log goes to the logger "firsthand.serve". Raises `InputError` where the host is refused or the
    port is taken.
    """
    with _listening(app, host, port) as (listener, url), _forwarded_log():
        server = _server(app, grace_s, lambda: on_ready(url) if on_ready is not None else None)
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:  # uvicorn has finished in order and hands the signal on
            _LOG.info("interrupted; %s is closed", url)
        except SystemExit as error:
            raise FirsthandError(_NOT_STARTED) from error


class LiveServer:
    """An application served from a thread of this process, for tests and notebooks.

    >>> with LiveServer(app) as live:  # doctest: +SKIP
    ...     httpx.get(live.url + "/healthz")

    Leaving the block lets requests under way finish within `grace_s`, then ends them.
    """

    def __init__(self, app: Any, *, host: str = "127.0.0.1", port: int = 0, grace_s: float = 1.0) -> None:
        self._app, self._host, self._port, self._grace_s = app, host, port, grace_s
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self.url = ""

    def __enter__(self) -> LiveServer:
        ready = threading.Event()
        listening = _listening(self._app, self._host, self._port)
        listener, url = listening.__enter__()
        self._error = None
        server = _server(self._app, self._grace_s, ready.set)

        def run() -> None:
            try:
                with _forwarded_log():
                    server.run(sockets=[listener])
            except BaseException as error:  # told to whoever entered the block
                self._error = error
            finally:
                listening.__exit__(None, None, None)
                ready.set()

        self._server = server
        self._thread = threading.Thread(target=run, name="firsthand-live-server", daemon=True)
        self._thread.start()
        ready.wait()
        if not server.started:
            self._thread.join()
            raise FirsthandError(_NOT_STARTED) from self._error
        self.url = url
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and wait for its thread; safe to call twice."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
            self._server = self._thread = None


_NOT_STARTED = "the application did not start; the log 'firsthand.serve' says why"


@contextmanager
def _listening(app: Any, host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket and the base URL, once the host may be used."""
    require("uvicorn")
    if not is_loopback(host) and not getattr(getattr(app, "state", None), "needs_token", False):
        raise InputError(
            f"host {host!r} is reached from other machines: make the application with a token, or serve on 127.0.0.1"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), port), family=family)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"cannot listen on {host!r}, port {port}: {error}; choose another port, or 0 for a free one"
        ) from error
    # Else an answer of two parts waits up to 40 ms for the client's word on the first. Connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with listener:
        shown = f"[{host.strip('[]')}]" if family == socket.AF_INET6 else host
        yield listener, f"http://{shown}:{listener.getsockname()[1]}"


def _server(app: Any, grace_s: float, on_ready: Callable[[], None]) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready()

    return Server(
        uvicorn.Config(
            app,
            log_config=None,  # whoever runs us configures logging
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(grace_s),
        )
    )


class _Forwarder(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if _LOG.isEnabledFor(record.levelno):
            _LOG.handle(record)


_FORWARDER = _Forwarder()
_FORWARDING_LOCK = threading.Lock()
_forwarding: list[
    tuple[bool, int]
] = []  # a running server each: uvicorn's `propagate` and level before the first


@contextmanager
def _forwarded_log() -> Iterator[None]:
    """uvicorn's log records go to our logger inside the block; several servers may run at once."""
    log = logging.getLogger("uvicorn")
    with _FORWARDING_LOCK:
        _forwarding.append(_forwarding[0] if _forwarding else (log.propagate, log.level))
        log.addHandler(_FORWARDER)
        log.propagate = False
        log.setLevel(_LOG.getEffectiveLevel())
    try:
        yield
    finally:
        with _FORWARDING_LOCK:
            before = _forwarding.pop()
            if not _forwarding:
                log.removeHandler(_FORWARDER)
                log.propagate = before[0]
                log.setLevel(before[1])
