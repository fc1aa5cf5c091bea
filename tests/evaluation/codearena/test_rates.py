"""How often one client may ask: the buckets themselves, and 429 with Retry-After over HTTP."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.evaluation.codearena.service import access
from firsthand.evaluation.codearena.service.api import create_app
from firsthand.evaluation.codearena.service.rates import Buckets
from firsthand.evaluation.codearena.settings import ArenaSettings

from .conftest import add_problem
from .door import ADDRESS, Door, InProcess, refused


class Time:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_a_bucket_holds_a_minute_and_fills_evenly():
    time = Time()
    buckets = Buckets(60, clock=time)
    assert [buckets.take("a") for _ in range(61)] == [0.0] * 60 + [pytest.approx(1.0)]
    assert buckets.take("b") == 0.0  # another key has its own
    time.now += 0.5
    assert buckets.take("a") == pytest.approx(0.5)
    assert buckets.missing("a") == pytest.approx(0.5)
    time.now += 0.5
    assert buckets.missing("a") == 0.0
    assert buckets.take("a") == 0.0
    time.now += 3600
    assert buckets.take("a", 60) == 0.0
    assert buckets.take("a") == pytest.approx(1.0)  # no more than a minute was kept


def test_more_than_a_bucket_holds_is_paid_for_afterwards():
    time = Time()
    buckets = Buckets(60, clock=time)
    assert buckets.take("a", 180) == 0.0
    assert buckets.take("a") == pytest.approx(121.0)
    time.now += 121
    assert buckets.take("a") == 0.0


def test_the_key_seen_longest_ago_is_forgotten():
    buckets = Buckets(1, most=2, clock=Time())
    assert [buckets.take(key) for key in "abc"] == [0.0, 0.0, 0.0]
    assert buckets.take("c") > 0
    assert buckets.take("a") == 0.0


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 30)), max_size=40), st.floats(0.5, 100))
def test_never_more_than_the_rate_and_one_bucket(asked, per_minute):
    time = Time()
    buckets = Buckets(per_minute, clock=time)
    taken = last = 0.0
    for wait, amount in asked:
        time.now += wait
        if buckets.take("a", amount) == 0.0:
            taken, last = taken + amount, amount
    room = max(per_minute, 1.0) + (time.now - 1000.0) * per_minute / 60
    assert taken - last <= room + 1e-6


@pytest.fixture
def time(monkeypatch):
    """The clock of all buckets of an application made in this test."""
    time = Time()
    monkeypatch.setattr(access, "Buckets", lambda rate: Buckets(rate, clock=time))
    return time


def test_reads_and_writes_have_rates_of_their_own(small, time):
    door = Door(small, reads_per_minute=3, writes_per_minute=2)
    for _ in range(3):
        assert door.ask("GET", "/api/problem/", "m").status_code == 200
    answer = door.ask("GET", "/api/problem/", "m")
    found = refused(answer, 429, "too_many_requests", "wait 20.0 s")
    assert answer.headers["retry-after"] == "20"
    assert found["detail"] == {"retry_after_s": pytest.approx(20.0)}
    time.now += 0.4  # never told to come too early
    assert door.ask("GET", "/api/problem/", "m").headers["retry-after"] == "20"
    time.now -= 0.4
    for who in ("n", None):  # others are not kept from reading
        assert door.ask("GET", "/api/problem/", who).status_code == 200
    for _ in range(2):
        assert door.ask("POST", "/api/authentication/", "m", json={}).status_code == 201
    refused(door.ask("POST", "/api/authentication/", "m", json={}), 429, "too_many_requests")
    second = small.accounts.issue("m").secret  # more tokens are not more requests
    refused(door.ask("GET", "/api/problem/", token=second), 429, "too_many_requests")
    time.now += 20
    assert door.ask("GET", "/api/problem/", "m").status_code == 200
    assert door.ask("GET", "/healthz", "m").status_code == 200  # who watches the server is not counted


def test_submissions_of_one_account(small, time):
    add_problem(small)
    door = Door(small, submissions_per_minute=2)
    body = {"problem": "sum", "language": "python", "source": "AC 1"}
    door.post("/api/submission/batch", "h", {"submissions": [body] * 4})
    answer = door.ask("POST", "/api/submission/", "h", json=body)
    refused(answer, 429, "too_many_requests")
    assert int(answer.headers["retry-after"]) == 90  # four were taken, of two that were there
    legacy = door.ask(
        "POST", "/api/v2/submission", "h", data={"problem_code": "sum", "language": "py", "source": "x"}
    )
    assert legacy.status_code == 429
    assert legacy.headers["retry-after"] == "90"
    door.post("/api/submission/", "m", body)
    time.now += 90
    door.post("/api/submission/", "h", body)


def test_wrong_tokens_from_one_address(small, time):
    door = Door(small, failures_per_minute=2)
    for _ in range(2):
        refused(door.ask("GET", "/api/problem/", token="wrong"), 401, "not_authorized")
    answer = door.ask("GET", "/api/problem/", "m")
    refused(answer, 429, "too_many_requests", "wrong tokens")
    assert "retry-after" in answer.headers
    assert door.ask("GET", "/api/problem/").status_code == 200  # without one it may go on
    time.now += 31
    assert door.ask("GET", "/api/problem/", "m").status_code == 200


def test_a_proxy_names_the_client_and_others_cannot(small, time):
    import httpx

    def ask(settings, peer, forwarded):
        app = apps.setdefault(settings, create_app(settings, arena=small))
        with httpx.Client(base_url=ADDRESS, transport=InProcess(app, client=peer)) as client:
            return client.get("/api/problem/", headers={"X-Forwarded-For": forwarded}).status_code

    apps = {}
    direct = ArenaSettings(judges=0, reads_per_minute=1)
    assert [ask(direct, "10.0.0.1", f"1.1.1.{n}") for n in range(2)] == [200, 429]
    behind = ArenaSettings(judges=0, reads_per_minute=1, proxies=("10.0.0.1", "10.0.0.2"))
    assert ask(behind, "10.0.0.1", "1.1.1.1") == 200
    assert ask(behind, "10.0.0.1", "2.2.2.2, 10.0.0.2") == 200
    assert ask(behind, "10.0.0.1", "9.9.9.9, 1.1.1.1") == 429  # what a client wrote itself stands left
    assert ask(behind, "10.9.9.9", "2.2.2.2") == 200
    assert ask(behind, "10.9.9.9", "3.3.3.3") == 429
