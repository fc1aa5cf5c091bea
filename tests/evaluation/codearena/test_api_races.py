"""Many clients at once over real connections: one attempt is one attempt, one key one submission."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from firsthand.serve import LiveServer

from .conftest import add_problem, judge_all
from .door import Door

CLIENTS = 64


@pytest.fixture
def live(arena):
    add_problem(arena)
    door = Door(arena)
    with LiveServer(door.app) as server:
        yield door, server.url


def at_once(url, token, bodies):
    """The answers to all of them, sent from connections that stand ready, at one moment."""
    gate = threading.Barrier(len(bodies))

    def send(body):
        with httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=120, verify=False
        ) as client:
            client.get("/api/language/")
            gate.wait()
            return client.post("/api/submission/", json=body)

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(send, bodies))


def body(number, **more):
    return {"problem": "sum", "language": "python", "source": f"AC {number + 1}", **more}


def test_of_64_clients_that_race_for_one_attempt_exactly_one_gets_it(live):
    door, url = live
    answers = at_once(url, door.tokens["m"], [body(number) for number in range(CLIENTS)])
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: CLIENTS - 1}
    assert {answer.json().get("code") for answer in answers} == {None, "attempt_already_used"}
    (sid,) = (answer.json()["sid"] for answer in answers if answer.status_code == 201)
    assert judge_all(door.arena) == [sid]
    assert door.get("/api/submission/")["total"] == 1


def test_the_same_key_at_once_is_one_submission(live):
    door, url = live
    answers = at_once(url, door.tokens["h"], [body(0, idempotency_key="k")] * 16)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["sid"] for answer in answers}) == 1
    assert len(judge_all(door.arena)) == 1
