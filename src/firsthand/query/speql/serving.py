"""Serving the page over what a user has, until it is interrupted."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field

from firsthand.query.speql.config import Config
from firsthand.query.speql.opening import open as open_session
from firsthand.query.speql.page import speql_app
from firsthand.query.speql.session import Session
from firsthand.serve import new_token, serve

__all__ = ["ServeSettings", "serve_page", "source_name"]


class ServeSettings(Config):
    """A session's settings, and where the page is served."""

    host: str = Field(
        "127.0.0.1", description="address of this machine; others than the loopback reach the network"
    )
    port: int = Field(8765, ge=0, le=65535, description="0 takes a free one")
    token: str = Field("", description="what the page asks for once; empty for a new one each time")
    open: bool = Field(True, description="open a browser, where this machine has a display")
    memory_limit: str = Field("", description='of DuckDB, such as "4GB"; empty for its own')
    threads: int = Field(0, ge=0, description="of DuckDB; 0 for all cores")

    @property
    def config(self) -> Config:
        """The session's part."""
        return Config(**{name: getattr(self, name) for name in Config.model_fields})


def source_name(source: str) -> str:
    """What a page may call a source: a file's name, or a URL without its user and password."""
    if "://" not in source:
        return Path(source).resolve().name
    parts = urlsplit(source)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def serve_page(
    source: str, settings: ServeSettings | None = None, *, on_ready: Callable[[str], None] | None = None
) -> None:
    """Serve the page on a DuckDB file, a folder of files, or a SQLAlchemy URL; for the main thread.

    Args:
        on_ready: called with the address that lets a browser in, token and all, once it is answered.

    Returns on SIGINT. Raises `NotFoundError` and `InputError` as `open` does, before anything is served.
    """
    settings = settings or ServeSettings()
    token = settings.token or new_token()

    def opened() -> Session:
        return open_session(
            source,
            config=settings.config,
            memory_limit=settings.memory_limit or None,
            threads=settings.threads or None,
        )

    ready = [opened()]  # what cannot be opened is said now, not to the first tab
    lock = threading.Lock()

    def next_session() -> Session:
        with lock:
            first = ready.pop() if ready else None
        return first or opened()

    def announce(url: str) -> None:
        address = f"{url}/?token={token}"
        if on_ready is not None:
            on_ready(address)
        if settings.open and _has_display():
            import webbrowser

            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    try:
        app = speql_app(next_session, token=token, name=source_name(source))
        serve(app, settings.host, settings.port, on_ready=announce, grace_s=1.0)
    finally:
        for session in ready:
            session.close()


def _has_display() -> bool:
    """Whether a browser would open a window, and not take the terminal."""
    return sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
