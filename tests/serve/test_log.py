"""Where a server's log goes; in a file of its own, for no other server may be running."""

from __future__ import annotations

import logging

import httpx

from firsthand.serve import LiveServer, make_app
from tests.serve.test_shell import routes


def test_logs_go_to_the_librarys_logger():
    records = []

    class Kept(logging.Handler):  # pytest's own would also sit on uvicorn's logger
        def emit(self, record):
            records.append(self.format(record))

    ours, theirs, kept = logging.getLogger("firsthand.serve"), logging.getLogger("uvicorn"), Kept()
    before = (theirs.propagate, theirs.level, list(theirs.handlers))
    level = ours.level
    ours.addHandler(kept)
    ours.setLevel(logging.INFO)
    try:
        with LiveServer(make_app(routes())) as live:
            with LiveServer(make_app(routes())):
                pass
            httpx.get(live.url + "/hello")
            httpx.get(live.url + "/fail/bug")
    finally:
        ours.removeHandler(kept)
        ours.setLevel(level)
    assert sum('"GET /hello HTTP/1.1" 200' in record for record in records) == 1
    assert any("RuntimeError: a secret" in record for record in records)  # what the client is not told
    assert (theirs.propagate, theirs.level, theirs.handlers) == before
