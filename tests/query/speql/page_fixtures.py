"""A small database, the page's application over it, and a client that talks as the page does."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path

import duckdb
import httpx
from websockets.sync.client import connect

from firsthand.query.speql.config import Config
from firsthand.query.speql.opening import open as open_session
from firsthand.query.speql.page import speql_app
from firsthand.query.speql.protocol import unpack
from firsthand.serve import LiveServer

TOKEN = "correct-horse"
SALES = [
    ("a", 3, 100), ("b", 6, 60), ("c", 7, 20), ("d", 9, 5), ("e", 10, 1), ("f", 6, None), ("a", 8, 12),
]  # fmt: skip


def small_database(path: Path) -> Path:
    """The sheet's seven sales, and a hundred days of visits."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE sales(item VARCHAR, price INTEGER, quantity INTEGER)")
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?)", SALES)
        connection.execute(
            "CREATE TABLE visits AS SELECT DATE '2024-01-01' + i::INTEGER AS day, (i * 37) % 101 AS visitors, "
            "(['north', 'south', 'west'])[1 + i % 3] AS region FROM range(100) t(i)"
        )
    return path


def live(path: Path, *, port: int = 0, keep_s: float = 60.0, **config) -> LiveServer:
    app = speql_app(
        lambda: open_session(path, config=Config(**config), threads=1),
        token=TOKEN,
        name=path.name,
        keep_s=keep_s,
    )
    return LiveServer(app, port=port)


class TooManyTabs(Exception):
    """The server said no."""


class Tab:
    """What the page is to the server."""

    def __init__(self, url: str, client: str = "") -> None:
        answer = httpx.get(f"{url}/?token={TOKEN}", verify=False)
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        self.url = url
        address = f"{url.replace('http', 'ws')}/session?client={client}"
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(connect(address, additional_headers={"Cookie": self.cookie}))
        self._number = 0
        self.seen: list[dict] = []
        self.hello, _ = self.until("hello", "error")
        if self.hello["kind"] == "error":
            self._stack.close()
            raise TooManyTabs(self.hello["message"])

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def send(self, kind: str, **body) -> int:
        self._number += 1
        self._socket.send(json.dumps({"kind": kind, "id": self._number, **body}))
        return self._number

    def edit(self, text: str, cursor: int | None = None) -> int:
        return self.send("edit", text=text, cursor=len(text) if cursor is None else cursor)

    def submit(self, text: str, cursor: int | None = None, here: bool = False) -> int:
        return self.send("submit", text=text, cursor=len(text) if cursor is None else cursor, here=here)

    def until(self, *kinds: str, number: int | None = None, timeout: float = 20.0):
        """The next message of one of these kinds (and of that id), with its rows; others are passed over."""
        end = time.monotonic() + timeout
        while True:
            body, rows = unpack(self._socket.recv(timeout=max(0.0, end - time.monotonic())))
            self.seen.append(body)
            if body["kind"] in kinds and number in (None, body["id"]):
                return body, rows

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, headers={"Cookie": self.cookie}, verify=False)

    def raw(self, content: str | bytes) -> None:
        self._socket.send(content)
