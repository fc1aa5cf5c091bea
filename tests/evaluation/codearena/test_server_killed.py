"""The server is killed in the middle of writes: what was accepted is there, what is there is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import httpx
from sqlalchemy import text

from firsthand.evaluation.codearena.arena import Arena

from .conftest import add_problem, judge_all
from .scripted import ScriptedGrader

SERVE = """
import sys
from firsthand.evaluation.codearena.service.api import create_app
from firsthand.evaluation.codearena.settings import ArenaSettings
from firsthand.serve import serve

settings = ArenaSettings(
    database=sys.argv[1], judges=0, submissions_per_minute=1e6, writes_per_minute=1e6, checkpoint_hours=0
)
serve(create_app(settings), on_ready=lambda url: print(url, flush=True))
"""
WRITERS = 8


class Writers:
    """Clients that submit until the server is gone; `accepted` are the ids that they were told."""

    def __init__(self, url, token):
        self.accepted: list[str] = []
        self.sent = 0
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._write, args=(url, token, number)) for number in range(WRITERS)
        ]
        for thread in self._threads:
            thread.start()

    def _write(self, url, token, number):
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
            count = 0
            while True:
                count += 1
                source = f"AC {count}\n# {number} " + "x" * 20_000
                with self._lock:
                    self.sent += 1
                try:
                    answer = client.post(
                        "/api/submission/", json={"problem": "sum", "language": "python", "source": source}
                    )
                except httpx.TransportError:
                    return
                assert answer.status_code == 201, answer.text
                with self._lock:
                    self.accepted.append(answer.json()["sid"])

    def wait_for(self, count):
        while len(self.accepted) < count:
            assert any(thread.is_alive() for thread in self._threads)
            time.sleep(0.01)

    def join(self):
        for thread in self._threads:
            thread.join()


def test_a_server_that_is_killed_loses_nothing_and_leaves_nothing_half_done(arena_url):
    with Arena.open(arena_url, grader=ScriptedGrader()) as arena:
        add_problem(arena)
        arena.accounts.create("h", "human")
        token = arena.accounts.issue("h").secret
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, arena_url], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url, "the server did not start"
        writers = Writers(url, token)
        writers.wait_for(25)
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
        server.stdout.close()
    writers.join()
    accepted, sent = writers.accepted, writers.sent
    assert len(accepted) == len(set(accepted)) >= 25
    with Arena.open(arena_url, grader=ScriptedGrader()) as arena:
        if arena.database.sqlite:
            with arena.database.read() as connection:
                assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
                assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
        total = arena.submissions.page(limit=1)[1]
        # One more for each client at most: stored, and its answer died with the server.
        assert len(accepted) <= total <= min(sent, len(accepted) + WRITERS)
        for sid in accepted:
            found = arena.submission(sid)
            assert len(found.source) > 20_000
            assert [event.kind for event in arena.events(subject=sid)] == ["submission.accepted"]
        judged = judge_all(arena)
        assert len(judged) == len(set(judged)) == total
        assert set(accepted) <= set(judged)
        assert arena.audit().clean
