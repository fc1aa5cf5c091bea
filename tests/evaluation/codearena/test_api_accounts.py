"""Tokens, accounts and webhooks over HTTP: who may what, and that no token makes a stronger one of itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from firsthand.evaluation.codearena.store.tables import metadata

from .conftest import add_problem
from .door import CAST, Door, refused


@pytest.fixture
def door(arena):
    return Door(arena)


@pytest.fixture
def small_door(small):
    return Door(small)


def test_a_token_is_issued_used_regenerated_and_revoked(door):
    door.post("/api/user/", "root", {"name": "gpt-4o", "kind": "llm", "first_seen": "2024-05-13T00:00:00Z"})
    issued = door.post("/api/authentication/", "root", {"user": "gpt-4o", "label": "laptop"})
    assert (issued["user"], issued["scopes"], issued["label"]) == ("gpt-4o", ["generator"], "laptop")
    secret = issued["token"]

    def who(token):
        return door.ask("GET", "/api/authentication/", token=token)

    told = who(secret).json()
    assert (told["user"], told["kind"], told["scopes"]) == ("gpt-4o", "llm", ["generator"])
    assert [token["id"] for token in told["tokens"]] == [issued["id"]]
    assert secret not in who(secret).text

    again = door.ask("POST", f"/api/authentication/{issued['id']}/regenerate/", token=secret)
    assert again.status_code == 201
    renewed = again.json()
    assert renewed["token"] != secret
    assert (renewed["label"], renewed["scopes"]) == ("laptop", ["generator"])
    refused(who(secret), 401, "not_authorized", "unknown, revoked or expired")
    assert who(renewed["token"]).status_code == 200

    revoked = door.ask("DELETE", f"/api/authentication/{renewed['id']}/", token=renewed["token"])
    assert revoked.status_code == 200
    assert revoked.json()["revoked_at"] == "2024-07-30T12:00:00Z"
    refused(who(renewed["token"]), 401, "not_authorized")
    answer = door.ask("POST", f"/api/authentication/{renewed['id']}/regenerate/", "root")
    refused(answer, 409, "conflict", "revoked")


def test_no_table_has_a_token(door):
    secrets = [door.tokens[name] for name in CAST]
    secrets.append(door.post("/api/authentication/", "root", {"user": "m"})["token"])
    with door.arena.database.read() as connection:
        everything = repr([connection.execute(select(table)).all() for table in metadata.sorted_tables])
    for secret in secrets:
        assert len(secret) > 40
        assert secret.removeprefix("arena_") not in everything


def test_a_token_expires(small_door, clock):
    ends = (clock.time + timedelta(hours=1)).isoformat()
    issued = small_door.post("/api/authentication/", "rita", {"expires_at": ends})
    assert small_door.ask("GET", "/api/authentication/", token=issued["token"]).status_code == 200
    clock.move(hours=1)
    refused(small_door.ask("GET", "/api/authentication/", token=issued["token"]), 401, "not_authorized")
    answer = small_door.ask("POST", "/api/authentication/", "rita", json={"expires_at": ends})
    refused(answer, 422, "invalid_request", "past")


def test_a_token_makes_none_that_may_more_or_longer(small_door, clock):
    """Whoever finds a weak token has found a weak token."""
    issue, whole_list = "/api/authentication/", "/api/authentication/"
    for owner, weak in (("curie", "reader"), ("root", "reader")):
        ends = (clock.time + timedelta(hours=1)).isoformat()
        token = small_door.post(issue, owner, {"scopes": [weak], "expires_at": ends})["token"]
        strong = next(
            found["id"]
            for found in small_door.ask("GET", whole_list, token=token).json()["tokens"]
            if len(found["scopes"]) > 1
        )
        answer = small_door.ask("POST", f"/api/authentication/{strong}/regenerate/", token=token)
        refused(answer, 403, "not_authorized", "scope")
        answer = small_door.ask("DELETE", f"/api/authentication/{strong}/", token=token)
        refused(answer, 403, "not_authorized", "scope")
        refused(
            small_door.ask("POST", issue, token=token, json={"scopes": ["curator"]}), 403, "not_authorized"
        )
        made = small_door.ask("POST", issue, token=token, json={}).json()
        assert made["scopes"] == [weak]
        assert made["expires_at"] == (clock.time + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
        assert small_door.ask("GET", whole_list, owner).status_code == 200  # the strong one is still there


def test_accounts_keep_out_of_each_others_tokens(small_door):
    hers = small_door.get("/api/authentication/", "curie")["tokens"][0]["id"]
    for method, path in (("DELETE", ""), ("POST", "regenerate/")):
        answer = small_door.ask(method, f"/api/authentication/{hers}/{path}", "rita")
        refused(answer, 404, "not_found", hers)
    refused(
        small_door.ask("POST", "/api/authentication/", "rita", json={"user": "curie"}), 403, "not_authorized"
    )
    assert small_door.ask("DELETE", f"/api/authentication/{hers}/", "root").status_code == 200


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("", "Bearer TOKEN"), ("Bearer", "Bearer TOKEN"), ("Bearer ", "Bearer TOKEN"),
        ("Basic cm9vdA==", "Bearer TOKEN"), ("Bearer no-such-token", "unknown"), ("Bearer \xff", "unknown"),
    ],
)  # fmt: skip
def test_a_header_that_opens_nothing(small_door, header, words):
    for path in ("/api/authentication/", "/api/problem/"):  # also where nobody needs a token
        answer = small_door.ask("GET", path, headers={"Authorization": header.encode("latin-1")})
        refused(answer, 401, "not_authorized", words)
        assert answer.headers["www-authenticate"] == "Bearer"


def test_two_tokens_at_once_are_none(small_door):
    headers = [("Authorization", f"Bearer {small_door.tokens[name]}") for name in ("root", "m")]
    answer = small_door.client.get("/api/problem/", headers=headers)
    refused(answer, 401, "not_authorized", "once")


ALLOWED = {  # who of the cast may, of those with a token; nobody may without one
    ("POST", "/api/user/"): "root",
    ("POST", "/api/problem/"): "root curie",
    ("PATCH", "/api/problem/sum/"): "root curie",
    ("POST", "/api/problem/sum/case/"): "root curie h",
    ("DELETE", "/api/problem/sum/case/1/"): "root curie",
    ("GET", "/api/problem/sum/case/"): "root curie rita",
    ("GET", "/api/problem/sum/case/1/"): "root curie rita",
    ("GET", "/api/problem/sum/solution/"): "root curie rita",
    ("POST", "/api/problem/sum/solution/"): "root curie",
    ("GET", "/api/problem/sum/generator/"): "root curie rita",
    ("POST", "/api/problem/sum/generator/"): "root curie",
    ("POST", "/api/problem/sum/generator/1/"): "root curie",
    ("POST", "/api/submission/"): "root m n h",
    ("POST", "/api/submission/batch"): "root m n h",
    ("POST", "/api/submission/0/rejudge"): "root",
    ("POST", "/api/submission/0/abort"): "root",
    ("POST", "/api/submission/retime"): "root",
    ("POST", "/api/ranking/checkpoint/"): "root",
    ("GET", "/api/leakage/"): "root curie rita",
    ("GET", "/api/export"): "root curie rita",
    ("GET", "/api/event/"): "root",
    ("GET", "/api/audit/"): "root",
    ("POST", "/api/webhook/"): "root curie rita m n h",
    ("GET", "/api/webhook/"): "root curie rita m n h",
    ("POST", "/api/authentication/"): "root curie rita m n h",
    ("GET", "/api/authentication/"): "root curie rita m n h",
}
OPEN = (
    "/healthz", "/metrics", "/api/problem/", "/api/problem/sum/", "/api/submission/", "/api/problem/sum/submission/",
    "/api/ranking/", "/api/ranking/history", "/api/ranking/checkpoint/", "/api/language/", "/api/user/",
    "/api/user/m/", "/api/openapi.json", "/api/v2/problems", "/api/v2/problem/sum", "/api/v2/submissions",
)  # fmt: skip


def test_who_may_what(small_door):
    add_problem(small_door.arena)
    for (method, path), may in ALLOWED.items():
        body = {"cases": [{"input": "x", "output": "X"}]} if path.endswith("/case/") else {}
        body = body if method in ("POST", "PATCH") else None
        for who in CAST:
            answer = small_door.ask(method, path, who, json=body)
            if who in may.split():  # what is sent is nonsense, but they get as far as being told so
                assert answer.status_code not in (401, 403), (method, path, who, answer.text)
            else:
                refused(answer, 403, "not_authorized", "scope")
        answer = small_door.ask(method, path, json=body)
        refused(answer, 401, "not_authorized", "token")


def test_what_everybody_reads_can_take_a_token_too(small_door):
    add_problem(small_door.arena)
    closed = Door(small_door.arena, public_reads=False)
    for path in OPEN:
        assert small_door.ask("GET", path).status_code == 200, path
        assert closed.ask("GET", path, "rita").status_code == 200, path
        answer = closed.ask("GET", path)
        if path in ("/healthz", "/api/openapi.json"):
            assert answer.status_code == 200
        elif path.startswith("/api/v2"):
            assert answer.status_code == 401
        else:
            refused(answer, 401, "not_authorized", "token")


def test_open_data_shows_sources_and_cases_to_everybody(small):
    door = Door(small, open_data=True)
    add_problem(small)
    sid = small.submit("m", "sum", "python", "AC 1")
    small.judge_once()
    assert door.get(f"/api/submission/{sid}/")["source"] == "AC 1"
    assert door.get("/api/problem/sum/case/")["total"] == 2
    assert door.ask("GET", "/api/export").status_code == 200


def test_accounts_are_made_listed_and_found(door):
    made = door.post(
        "/api/user/", "root", {"name": "codestral", "kind": "llm", "first_seen": "2024-05-29T00:00Z"}
    )
    assert made["first_seen"] == "2024-05-29T00:00:00Z"
    assert door.get("/api/user/codestral/") == made
    names = [account["name"] for account in door.get("/api/user/", kind="llm")["items"]]
    assert names == ["codestral", "m", "n"]
    page = door.get("/api/user/", per_page=2, page=2)
    assert (len(page["items"]), page["total"], page["pages"], page["page"]) == (2, 7, 4, 2)
    answer = door.ask("POST", "/api/user/", "root", json={"name": "codestral", "kind": "llm"})
    refused(answer, 409, "conflict", "codestral")
    refused(door.ask("GET", "/api/user/nobody/"), 404, "unknown_account", "nobody")
    for body in (
        {"name": "x y", "kind": "llm"}, {"name": "x", "kind": "robot"}, {"name": "x"}, {"name": 1, "kind": "llm"},
        {"name": "x", "kind": "llm", "first_seen": "2024-05-29T00:00:00"}, {"name": "x", "kind": "llm", "more": 1},
    ):  # fmt: skip
        refused(door.ask("POST", "/api/user/", "root", json=body), 422, "invalid_request", "body.")


def test_webhooks_are_an_accounts_own_and_tell_their_secret_once(small_door):
    made = small_door.post("/api/webhook/", "m", {"url": "https://example.com/judged"})
    assert len(made["secret"]) > 40
    listed = small_door.get("/api/webhook/", "m")
    assert [(one["id"], one["url"], one["secret"]) for one in listed] == [
        (made["id"], "https://example.com/judged", None)
    ]
    assert small_door.get("/api/webhook/", "n") == []
    refused(small_door.ask("DELETE", f"/api/webhook/{made['id']}/", "n"), 404, "not_found")
    gone = small_door.ask("DELETE", f"/api/webhook/{made['id']}/", "m")
    assert (gone.status_code, gone.content) == (204, b"")
    assert small_door.get("/api/webhook/", "m") == []
    for url in (
        "http://127.0.0.1/x",
        "http://localhost",
        "ftp://example.com",
        "https://u:p@example.com",
        "x",
    ):
        answer = small_door.ask("POST", "/api/webhook/", "m", json={"url": url})
        if url == "http://localhost":  # a name is looked up when something is sent
            assert answer.status_code == 201
        else:
            refused(answer, 422, "invalid_request")
