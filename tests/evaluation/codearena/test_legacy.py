"""`/api/v2`: the client of the paper's own site, as it is on PyPI, and the shapes of DMOJ's API that it reads."""

from __future__ import annotations

import importlib.metadata

import pytest

from firsthand.serve import LiveServer

from .conftest import add_problem, judge_all
from .door import Door


@pytest.fixture
def door(arena):
    add_problem(arena, "sum", bps=3.0, difficulty="easy", source="our own", time_ms=1500, memory_kb=65536)
    add_problem(arena, "zebra")
    return Door(arena)


@pytest.fixture
def small_door(small):
    add_problem(small)
    return Door(small)


def test_the_published_client_works_unmodified(door):
    pytest.importorskip("requests")
    published = pytest.importorskip("codearena.codearena", reason="pip install codearena==0.0.5")
    assert importlib.metadata.version("codearena") == "0.0.5"
    with LiveServer(door.app) as live:
        client = published.CodeArena(url_root=live.url, token="nothing yet")
        assert client.get_problems()["error"]["code"] == 401
        assert client.authenticate(door.tokens["m"])

        problems = client.get_problems()["data"]["objects"]
        assert [(one["code"], one["name"], one["points"]) for one in problems] == [
            ("sum", "Sum", 3.0), ("zebra", "Zebra", 5.0),
        ]  # fmt: skip
        assert [one["code"] for one in client.get_problems({"search": "zeb"})["data"]["objects"]] == ["zebra"]
        problem = client.get_problem("sum")["data"]["object"]
        assert (problem["time_limit"], problem["memory_limit"], problem["statement"]) == (
            1.5,
            65536,
            "Solve sum.",
        )
        assert client.get_problem("none")["error"]["code"] == 404

        sent = client.post_submission("sum", "Python 3", "AC 12.5\n# é ✓ & = + %")["data"]["object"]
        assert (sent["problem"], sent["user"], sent["language"], sent["status"]) == (
            "sum",
            "m",
            "Python 3",
            "QU",
        )
        assert door.arena.submission(sent["sid"]).source == "AC 12.5\n# é ✓ & = + %"
        judge_all(door.arena)
        done = client.get_submission(sent["id"])["data"]["object"]
        assert (done["status"], done["result"], done["points"], done["time"]) == ("D", "AC", 3.0, 0.0125)
        assert [case["status"] for case in done["cases"]] == ["AC", "AC"]
        assert client.get_submission(sent["sid"])["data"] == {"object": done}
        listed = client.get_submissions({"user": "m", "problem": "sum", "language": "PY3", "result": "AC"})
        assert [one["id"] for one in listed["data"]["objects"]] == [sent["id"]]
        assert client.get_submissions({"user": "n"})["data"]["objects"] == []

        again = client.post_submission("sum", "Python 3", "AC 1")
        assert again["error"]["code"] == 409
        assert "one attempt" in again["error"]["message"]


def test_the_shape_is_dmojs(small):
    add_problem(small, "sum", bps=3.0, difficulty="easy", source="our own")
    add_problem(small, "zebra")
    door = Door(small)
    found = door.get("/api/v2/problems")
    assert (found["api_version"], found["method"]) == ("2.0", "get")
    data = found["data"]
    assert {name: data[name] for name in data if name != "objects"} == {
        "current_object_count": 2, "objects_per_page": 1000, "total_objects": 2, "page_index": 1, "total_pages": 1,
    }  # fmt: skip
    assert data["objects"][0] == {
        "code": "sum", "name": "Sum", "types": ["easy"], "group": "our own", "points": 3.0, "partial": False,
    }  # fmt: skip
    assert door.get("/api/v2/problems", page=2)["data"]["objects"] == []


@pytest.mark.parametrize(
    ("source", "status", "result", "points"),
    [("WA 1", "D", "WA", 0.0), ("CE", "CE", "CE", 0.0), ("TLE 9", "D", "TLE", 0.0)],
)
def test_what_came_of_a_submission(small_door, source, status, result, points):
    sid = small_door.arena.submit("m", "sum", "python", source)
    judge_all(small_door.arena)
    found = small_door.get(f"/api/v2/submission/{sid}")["data"]["object"]
    assert (found["status"], found["result"], found["points"]) == (status, result, points)
    assert "source" not in found


def test_an_aborted_one(small_door):
    sid = small_door.arena.submit("m", "sum", "python", "AC 1")
    small_door.arena.submissions.abort(sid)
    assert small_door.get(f"/api/v2/submission/{sid}")["data"]["object"]["status"] == "AB"


@pytest.mark.parametrize(
    ("form", "status", "word"),
    [
        (b"problem_code=sum&language=py", 422, "'source'"),
        (b"language=py&source=x", 422, "'problem_code'"),
        (b"", 422, "needs"),
        (b"problem_code=sum&language=cobol&source=x", 422, "Haskell"),
        (b"problem_code=no&language=py&source=x", 404, "'no'"),
        (b"problem_code=sum&language=py&source=", 422, "empty"),
        (b"problem_code=sum&language=py&source=a%00", 422, "NUL"),
        (b"problem_code=a%00&language=py&source=x", 422, "NUL"),
        (b"problem_code=sum&language=py&source=%ff", 422, "form"),
        (b"problem_code=sum&language=py&source=\xff", 422, "form"),
        (b"problem_code=sum&language=py&source=" + b"x" * 65537, 413, "65537 bytes"),
        (b"problem_code=sum&language=a%00&source=x", 422, "language"),
    ],
)
def test_forms_that_cannot_be(small_door, form, status, word):
    refuse(small_door, form, status, word)


def refuse(door, form, status, word):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = door.ask("POST", "/api/v2/submission", "m", content=form, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == status
    assert word in answer.json()["error"]["message"]
    assert door.get("/api/submission/")["total"] == 0


def test_a_nul_that_postgresql_could_not_look_for(door):
    for field in (b"problem_code=a%00&language=py&source=x", b"problem_code=sum&language=py&source=%00"):
        refuse(door, field, 422, "NUL")
    paths = (
        "problem/%00",
        "submission/%00",
        "submissions?user=%00",
        "submissions?problem=%00",
        "problems?search=%00",
    )
    for path in paths:
        assert door.ask("GET", f"/api/v2/{path}").status_code == 422, path


def test_who_may_and_what_is_not_there(small_door):
    door = small_door
    form = {"problem_code": "sum", "language": "py", "source": "x"}
    for who, status in ((None, 401), ("rita", 403)):
        answer = door.ask("POST", "/api/v2/submission", who, data=form)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, status)
    assert door.ask("POST", "/api/v2/submission", data=form).headers["www-authenticate"] == "Bearer"
    for path in (
        "/api/v2/problem/%00",
        "/api/v2/submission/%00",
        "/api/v2/submissions?user=%00",
        "/api/v2/problems?page=0",
        "/api/v2/problems?page=x",
        "/api/v2/problems?page=99999999999",
        "/api/v2/problem/" + "x" * 300,
        "/api/v2/submissions?language=cobol",
        "/api/v2/problems?page=%D9%A1",
    ):
        assert door.ask("GET", path).status_code == 422, path
    for path in (
        "/api/v2/problem/none",
        "/api/v2/submission/999",
        "/api/v2/submission/none",
        "/api/v2/nothing",
    ):
        assert door.ask("GET", path).status_code == 404, path
