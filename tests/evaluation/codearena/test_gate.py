"""The door itself: where requests come from, how long they are, what answers wear, and that no log has a token."""

from __future__ import annotations

import asyncio
import json
import logging
import socket

import httpx
import pytest
from sqlalchemy import text

from firsthand.evaluation.codearena.service.gate import API_HEADERS
from firsthand.serve import LiveServer

from .conftest import add_problem
from .door import ADDRESS, Door, refused


@pytest.fixture
def door(small):
    add_problem(small)
    return Door(small)


def test_every_answer_wears_the_headers(door, monkeypatch):
    answers = [
        door.ask("GET", "/healthz"),
        door.ask("GET", "/nothing"),
        door.ask("DELETE", "/api/problem/"),
        door.ask("POST", "/api/submission/", json={}),
        door.ask("POST", "/api/submission/", "m", json={}),
        door.ask("GET", "/api/problem/?token=x"),
        door.ask("GET", "/", headers={"Host": "evil.example"}),
        door.ask("GET", "/api/export", "rita"),
        door.ask("GET", "/api/openapi.json"),
        door.ask("GET", "/api/v2/problems"),
    ]
    monkeypatch.setattr(door.arena.problems, "page", lambda **_: 1 / 0)
    answers.append(door.ask("GET", "/api/problem/"))
    assert [answer.status_code for answer in answers] == [
        200,
        404,
        405,
        401,
        422,
        422,
        403,
        200,
        200,
        200,
        500,
    ]
    for answer in answers:
        for name, value in API_HEADERS.items():
            assert answer.headers.get_list(name) == [value], (answer.request.url, name)
        assert "server" not in answer.headers


def test_an_error_that_nobody_foresaw_says_nothing(door, monkeypatch, caplog):
    monkeypatch.setattr(door.arena.problems, "page", lambda **_: 1 / 0)
    answer = door.ask("GET", "/api/problem/", "m")
    refused(answer, 500, "internal", "the server's log has the details")
    assert "ZeroDivisionError" in caplog.text
    assert "ZeroDivisionError" not in answer.text
    assert door.tokens["m"] not in caplog.text


def test_an_error_of_the_database_is_logged_without_what_was_written(door, caplog):
    """The statement is named; what went into it may be a source or a secret."""
    with door.arena.database.write() as connection:
        connection.execute(text("ALTER TABLE problem_edition RENAME TO elsewhere"))
    body = {"pid": "p", "title": "P", "statement": "the-statement"}
    refused(door.ask("POST", "/api/problem/", "root", json=body), 500, "internal")
    assert "INSERT INTO problem_edition" in caplog.text
    assert "the-statement" not in caplog.text


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "169.254.169.254", "arena.internal:80"]
)
def test_other_names_of_the_loopback_are_refused(door, host):
    """A page elsewhere can have its own name resolve to 127.0.0.1."""
    refused(door.ask("GET", "/api/problem/", headers={"Host": host}), 403, "host_not_allowed", host)


def test_a_proxys_name_may_be_allowed(small):
    door = Door(small, hosts=("Arena.Example",))
    for host in ("arena.example", "ARENA.example:443", "localhost:1", "[::1]:8766"):
        assert door.ask("GET", "/api/problem/", headers={"Host": host}).status_code == 200, host


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"])
def test_other_pages_are_refused(door, origin):
    answer = door.ask("POST", "/api/authentication/", "root", json={}, headers={"Origin": origin})
    refused(answer, 403, "origin_not_allowed", "another origin")
    own = door.ask("GET", "/api/problem/", headers={"Origin": ADDRESS})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers


SECRET = "arena_" + "s" * 43


@pytest.mark.parametrize(
    "path",
    [
        "/api/problem/?token=x", "/api/problem/?q=a&Access_Token=x", "/api/problem/?api_key=", "/healthz?bearer=x",
        f"/api/problem/?q={SECRET}", f"/api/problem/?q=arena%5F{'s' * 43}", f"/api/user/{SECRET}/", f"/{SECRET}",
        "/api/v2/problems?token=x",
    ],
)  # fmt: skip
def test_a_token_in_an_address_is_refused(door, path):
    answer = door.ask("GET", path)
    refused(answer, 422, "invalid_request", "must not carry a token", "Authorization: Bearer TOKEN", "revoke")
    assert "sss" not in answer.text


def test_no_log_has_a_token_a_source_or_a_webhooks_address(door, caplog):
    """uvicorn's log and ours, of every kind of request, as loud as they go."""
    for name in (None, "firsthand", "firsthand.serve"):  # whatever level a command left behind
        caplog.set_level(logging.DEBUG, logger=name)
    secrets = [door.tokens["m"], SECRET, "a-wrong-token", "hooks-secret", "the-source-text"]
    headers = {"Authorization": f"Bearer {door.tokens['m']}"}
    source = {"problem": "sum", "language": "python", "source": "AC 1 the-source-text"}
    with LiveServer(door.app) as live, httpx.Client(base_url=live.url) as client:
        client.get("/api/problem/", headers=headers)
        client.get(f"/api/problem/?token={SECRET}")
        client.get(f"/api/problem/?q={SECRET}")
        client.get(f"/api/user/{SECRET}/")
        client.get("/api/problem/", headers={"Authorization": "Bearer a-wrong-token"})
        client.post("/api/submission/", headers=headers, json=source)
        client.post("/api/submission/", headers=headers, json={**source, "more": "the-source-text"})
        made = client.post("/api/webhook/", headers=headers, json={"url": "http://127.0.0.2:9/hooks-secret"})
        issued = client.post("/api/authentication/", headers=headers, json={}).json()
        secrets += [issued["token"]]
        client.post(f"/api/authentication/{issued['id']}/regenerate/", headers=headers)
        client.post("/api/v2/submission", headers=headers, data={**source, "problem_code": "sum"})
        assert made.status_code == 422
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    text = "\n".join(record.getMessage() + (record.exc_text or "") for record in ours)
    assert 'GET /api/problem/ HTTP/1.1" 200' in text  # it is the log that we look at
    assert text.count("/not-logged") == 3
    for secret in secrets:
        assert secret not in text, secret
        assert secret.removeprefix("arena_") not in text


# --- length ----------------------------------------------------------------------------------------------


def pieces(size, count):
    """A body that does not say how long it is; counts what was taken of it."""
    taken = []

    async def stream():
        for _ in range(count):
            taken.append(size)
            yield b" " * size

    return stream(), taken


def send(door, path, content, who=None, headers=()):
    async def ask():
        transport = httpx.ASGITransport(door.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(base_url=ADDRESS, transport=transport) as client:
            bearer = {"Authorization": f"Bearer {door.tokens[who]}"} if who else {}
            all_headers = {"Content-Type": "application/json", **bearer, **dict(headers)}
            return await client.post(path, content=content, headers=all_headers)

    return asyncio.run(ask())


LIMIT = 6 * 64 * 1024 + 64 * 1024


def test_a_body_that_is_too_long_is_not_read_on(door):
    stream, taken = pieces(65536, 1000)
    refused(send(door, "/api/submission/", stream, "m"), 413, "body_too_large", f"{LIMIT} bytes; send less")
    assert sum(taken) <= LIMIT + 65536
    stream, taken = pieces(1, 10)
    answer = send(door, "/api/submission/", stream, "m", [("Content-Length", str(LIMIT + 1))])
    refused(answer, 413, "body_too_large", "send less")
    assert taken == []
    answer = send(door, "/api/v2/submission", pieces(65536, 10)[0], "m")
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_the_longest_source_fits_however_it_is_written(door):
    body = {"problem": "sum", "language": "python", "source": "AC 1 " + "\x01" * (65536 - 5)}
    content = json.dumps(body).encode()  # six bytes for each
    assert len(content) > 6 * 65000
    assert send(door, "/api/submission/", content, "m").status_code == 201


def test_long_bodies_are_read_from_known_tokens_only(door):
    """Else anybody could have 24 MiB parsed."""
    long = b'{"cases": [' + b" " * LIMIT + b"]}"
    for path in ("/api/problem/sum/case/", "/api/submission/batch"):
        refused(send(door, path, long), 413, "body_too_large", "valid token")
        wrong = send(door, path, long, headers=[("Authorization", "Bearer wrong")])
        refused(wrong, 413, "body_too_large", "valid token")
        known = send(door, path, long, "curie" if "case" in path else "m")
        refused(known, 422, "invalid_request", "body.")  # it was read and understood
    stream, taken = pieces(1 << 20, 100)
    refused(
        send(door, "/api/problem/", stream, "curie"), 413, "body_too_large", f"{24 * 2**20} bytes; send less"
    )
    assert sum(taken) <= 26 << 20


def test_longer_cases_have_longer_bodies(small):
    door = Door(small, case_kb=16384)
    answer = send(door, "/api/problem/", b" " * (40 << 20), "curie")
    assert answer.status_code == 422


def test_a_client_that_goes_away_in_the_middle(door, caplog):
    with LiveServer(door.app) as live:
        host, port = live.url.removeprefix("http://").split(":")
        for _ in range(3):
            with socket.create_connection((host, int(port)), timeout=30) as connection:
                connection.sendall(
                    f"POST /api/submission/ HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 1000\r\n"
                    f"Authorization: Bearer {door.tokens['m']}\r\nContent-Type: application/json\r\n\r\n{{".encode()
                )
        assert httpx.get(live.url + "/healthz").status_code == 200
    assert door.get("/api/submission/")["total"] == 0
