"""Submissions over HTTP: in, judged, read, judged again; and every refusal of the sheet with its status and body."""

from __future__ import annotations

import json

import pytest

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.store.submissions import Machine

from .conftest import add_problem, judge_all
from .door import Door, refused
from .scripted import ScriptedGrader

SEND = "/api/submission/"


@pytest.fixture
def door(arena):
    add_problem(arena)
    return Door(arena)


@pytest.fixture
def small_door(small):
    add_problem(small)
    return Door(small)


def body(source="AC 12.5", problem="sum", language="python", **more):
    return {"problem": problem, "language": language, "source": source, **more}


def test_a_submission_is_taken_judged_and_read(door):
    sent = door.post(SEND, "m", body(language="Python 3"))
    assert (sent["state"], sent["verdict"], sent["user"], sent["language"]) == ("queued", None, "m", "python")
    assert sent["source"] == "AC 12.5"
    path = f"/api/submission/{sent['sid']}/"
    assert door.get(path)["state"] == "queued"
    judge_all(door.arena)
    done = door.get(path, "m")
    assert (done["state"], done["verdict"], done["cpu_ms"], done["counted"]) == ("done", "AC", 12.5, True)
    assert [(case["ordinal"], case["verdict"]) for case in done["cases"]] == [(1, "AC"), (2, "AC")]
    assert done["judged_at"] == "2024-07-30T12:00:00Z"
    assert door.get(f"/api/submission/{sent['number']}/", "m") == done


def test_a_source_is_shown_to_its_owner_and_to_readers(small_door):
    sid = small_door.post(SEND, "m", body("CE"))["sid"]
    judge_all(small_door.arena)
    for who, sees in (
        ("m", True),
        ("rita", True),
        ("curie", True),
        ("root", True),
        ("n", False),
        (None, False),
    ):
        found = small_door.get(f"/api/submission/{sid}/", who)
        assert (found["source"], found["message"]) == (("CE", "scripted CE") if sees else (None, None)), who
        assert found["verdict"] == "CE"
        assert all(item["source"] is None for item in small_door.get(SEND, who)["items"])


def test_lists_are_filtered_and_paged(door):
    add_problem(door.arena, "other")
    for who, problem, source in (
        ("m", "sum", "AC 1"), ("n", "sum", "WA 1"), ("h", "sum", "AC 2"), ("h", "other", "AC 2"),
    ):  # fmt: skip
        door.post(SEND, who, body(source, problem, "c" if who == "n" else "python"))
    judge_all(door.arena)

    def users(**params):
        return [found["user"] for found in door.get(SEND, **params)["items"]]

    assert users() == ["h", "h", "n", "m"]
    assert users(problem="sum") == ["h", "n", "m"]
    assert users(user="h") == ["h", "h"]
    assert users(verdict="WA") == users(language="c") == ["n"]
    assert users(per_page=1, page=2) == ["h"]
    assert users(user="nobody") == []
    assert [found["user"] for found in door.get("/api/problem/sum/submission/", user="m")["items"]] == ["m"]
    for params in ({"verdict": "great"}, {"user": "a b"}, {"problem": "/"}, {"who": "m"}):
        refused(door.ask("GET", SEND, params=params), 422, "invalid_request", next(iter(params)))


def test_a_language_model_has_one_attempt(door):
    door.post(SEND, "m", body("WA 1"))
    answer = door.ask("POST", SEND, "m", json=body("AC 1"))
    refused(answer, 409, "attempt_already_used", "'m'", "'sum'")
    extra = door.post(SEND, "m", body("AC 1", extra=True))
    assert (extra["extra"], extra["counted"]) == (True, False)
    refused(door.ask("POST", SEND, "n", json=body(extra=True)), 409, "not_ready", "attempt")
    for _ in range(2):
        door.post(SEND, "h", body())
    refused(door.ask("POST", SEND, "h", json=body(extra=True)), 422, "invalid_request", "extra")


def test_the_same_key_gives_the_same_submission(small_door):
    door = small_door
    first = door.post(SEND, "m", body(idempotency_key="k"))
    assert door.post(SEND, "m", body(idempotency_key="k")) == first
    refused(
        door.ask("POST", SEND, "m", json=body("AC 9", idempotency_key="k")), 409, "conflict", first["sid"]
    )
    assert door.get(SEND)["total"] == 1


def test_a_batch_is_taken_one_by_one(small_door):
    door = small_door
    items = [body(), body("AC 2"), body(problem="none"), body(language="cobol"), body(idempotency_key="x")]
    found = door.post("/api/submission/batch", "m", {"submissions": items})["items"]
    assert found[0]["submission"]["state"] == "queued"
    assert [item["error"] and item["error"]["code"] for item in found] == [
        None, "attempt_already_used", "unknown_problem", "unsupported_language", "attempt_already_used",
    ]  # fmt: skip
    assert door.get(SEND)["total"] == 1
    answer = door.ask("POST", "/api/submission/batch", "m", json={"submissions": []})
    refused(answer, 422, "invalid_request", "submissions")
    answer = door.ask("POST", "/api/submission/batch", "m", json={"submissions": [body()] * 101})
    refused(answer, 422, "invalid_request", "submissions")


def test_rejudged_aborted_and_timed_again(door):
    sid = door.post(SEND, "m", body())["sid"]
    refused(door.ask("POST", f"/api/submission/{sid}/rejudge", "root"), 409, "not_ready")
    judge_all(door.arena)
    assert door.post(f"/api/submission/{sid}/rejudge", "root", status=202)["state"] == "queued"
    judge_all(door.arena)
    assert door.arena.submissions.judgements(sid) == 2
    assert door.post("/api/submission/retime", "root", {"host_class": "reference"}, 202) == [sid]
    judge_all(door.arena)  # not on this machine
    assert door.get(f"/api/submission/{sid}/")["state"] == "queued"
    aborted = door.post(f"/api/submission/{sid}/abort", "root", status=200)
    assert (aborted["state"], aborted["verdict"], aborted["counted"]) == ("done", "AB", False)
    door.post(SEND, "m", body())  # it has its attempt back
    refused(door.ask("POST", "/api/submission/0/rejudge", "root"), 404, "unknown_submission", "0")


@pytest.mark.parametrize(
    ("change", "status", "code", "word"),
    [
        ({"source": ""}, 422, "invalid_source", "source"), ({"source": " \n\t"}, 422, "invalid_source", "empty"),
        ({"source": "a\0b"}, 422, "invalid_source", "NUL"), ({"source": "\ud800"}, 422, "invalid_source", "source"),
        ({"source": None}, 422, "invalid_source", "source"), ({"source": ["x"]}, 422, "invalid_source", "source"),
        ({"source": "x" * 65537}, 413, "source_too_large", "65537 bytes; at most 65536"),
        ({"source": "ä" * 40_000}, 413, "source_too_large", "80000 bytes"),
        ({"language": "cobol"}, 422, "unsupported_language", "there are C, C++, Go, Haskell"),
        ({"language": ""}, 422, "invalid_request", "language"),
        ({"language": "p\0"}, 422, "invalid_request", "NUL"),
        ({"problem": "none"}, 404, "unknown_problem", "'none'"), ({"problem": "\0"}, 422, "invalid_request", "problem"),
        ({"idempotency_key": ""}, 422, "invalid_request", "idempotency_key"),
        ({"idempotency_key": "x" * 201}, 422, "invalid_request", "idempotency_key"),
        ({"extra": "yes"}, 422, "invalid_request", "extra"), ({"more": 1}, 422, "invalid_request", "more"),
    ],
)  # fmt: skip
def test_what_cannot_be_submitted(small_door, change, status, code, word):
    answer = small_door.ask("POST", SEND, "m", content=json.dumps({**body(), **change}), headers=JSON)
    refused(answer, status, code, word)
    assert small_door.get(SEND)["total"] == 0


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "invalid_request"), (b"{", 422, "invalid_request"), (b"[]", 422, "invalid_request"),
        (b"null", 422, "invalid_request"), (b"[" * 100_000, 400, "bad_request"),
        (b'{"source": "\xff"}', 422, "invalid_request"), (b'{"\\ud800": 1}', 422, "invalid_request"),
        (b"1" * 5000, 400, "bad_request"),
    ],
)  # fmt: skip
def test_bodies_that_are_none(small_door, content, status, code):
    refused(small_door.ask("POST", SEND, "m", content=content, headers=JSON), status, code)


def test_a_body_says_that_it_is_json(small_door):
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = small_door.ask("POST", SEND, "m", content=json.dumps(body()), headers={"Content-Type": kind})
        refused(answer, 422, "invalid_request", "body")


def test_a_body_that_is_not_utf_8_is_told_where(small_door):
    content = json.dumps(body("x")).encode().replace(b'"x"', b'"\xe4"')
    answer = small_door.ask("POST", SEND, "m", content=content, headers=JSON)
    refused(answer, 422, "invalid_request", "not UTF-8", f"at byte {content.index(0xE4)}")


def test_what_was_sent_is_not_repeated(small_door):
    """A refusal lands in logs of the client's; what was in the body may be secret."""
    secret = "hunter2" * 3
    for sent in (
        {"language": [secret]},
        {"source": {"a": secret}},
        {"extra": secret},
        {"problem": secret + "/"},
    ):
        answer = small_door.ask("POST", SEND, "m", json={**body(), **sent})
        assert answer.status_code == 422
        assert secret not in answer.text


def test_those_who_do_not_submit(small_door):
    answer = small_door.ask("POST", SEND, "root", json=body())
    refused(answer, 403, "not_authorized", "'root' is of kind admin")
    refused(small_door.ask("POST", SEND, json=body()), 401, "not_authorized", "Bearer TOKEN")


def test_a_full_queue(sqlite_url):
    with Arena.open(sqlite_url, grader=ScriptedGrader(), queue_limit=2) as arena:
        add_problem(arena)
        door = Door(arena)
        for who in ("m", "n"):
            door.post(SEND, who, body())
        answer = door.ask("POST", SEND, "h", json=body())
        found = refused(answer, 429, "queue_full", "2 submissions are waiting")
        assert answer.headers["retry-after"] == "30"
        assert found["detail"] == {"retry_after_s": 30.0}
        items = door.post("/api/submission/batch", "h", {"submissions": [body()]})["items"]
        assert items[0]["error"]["code"] == "queue_full"
        judge_all(arena)
        door.post(SEND, "h", body())


def test_no_judge_that_can_isolate_programs(small_door):
    door = small_door
    here = Machine("a", "x86")
    door.arena.judges.here("one", here, fault="no user namespaces")
    refused(door.ask("POST", SEND, "m", json=body()), 503, "sandbox_unavailable", "no user namespaces")
    assert door.get(SEND)["total"] == 0
    door.arena.judges.here("two", here, languages=["c", "python"])
    refused(door.ask("POST", SEND, "m", json=body(language="rust")), 422, "unsupported_language", "c, python")
    door.post(SEND, "m", body())


def test_what_waits_is_taken_where_no_judge_was_heard_of_yet(small_door):
    assert small_door.get("/healthz")["judges"] == []
    assert small_door.post(SEND, "m", body(language="rust"))["state"] == "queued"


def test_unknown_submissions(small_door):
    for sid in ("0", "9" * 18, "9" * 26, "ZZZZZZZZZZZZZZZZZZZZZZZZZZ"):
        refused(small_door.ask("GET", f"/api/submission/{sid}/"), 404, "unknown_submission", sid)
    for sid in ("x", "A" * 27, "%00"):
        refused(small_door.ask("GET", f"/api/submission/{sid}/"), 422, "invalid_request", "path.sid")


def test_submissions_to_what_is_hidden_again_are_not_there(small_door, clock):
    sid = small_door.post(SEND, "m", body())["sid"]
    later = clock.time.replace(year=2030).isoformat()
    small_door.ask("PATCH", "/api/problem/sum/", "curie", json={"visible_from": later})
    assert small_door.get(SEND)["total"] == 0
    refused(small_door.ask("GET", f"/api/submission/{sid}/", "n"), 404, "unknown_problem")
    assert small_door.ask("GET", f"/api/v2/submission/{sid}").status_code == 404
    assert small_door.get(f"/api/submission/{sid}/", "m")["source"] == "AC 12.5"
