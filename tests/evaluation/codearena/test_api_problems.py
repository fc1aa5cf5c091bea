"""Problems, test cases, canonical solutions and generators over HTTP, and what of them is refused."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from .conftest import add_problem, judge_all
from .door import Door, refused

NEW = {"pid": "sum", "title": "Sum", "statement": "Print the **sum**.", "bps": 3}


@pytest.fixture
def door(arena):
    return Door(arena)


@pytest.fixture
def small_door(small):
    return Door(small)


def test_a_problem_is_made_tested_and_read(door):
    made = door.post("/api/problem/", "curie", {**NEW, "difficulty": "easy", "licence": "MIT"})
    assert (made["pid"], made["bps"], made["version"], made["cases"], made["ac"]) == ("sum", 3.0, 1, 0, None)
    cases = door.post(
        "/api/problem/sum/case/",
        "curie",
        {"cases": [{"input": "a", "output": "A", "sample": True}, {"input": "b", "output": "wrong"}]},
    )
    assert [(case["ordinal"], case["state"]) for case in cases] == [(1, "pending"), (2, "pending")]
    refused(send(door), 409, "not_ready", "no active test case")
    for language in ("python", "C"):
        program = door.post("/api/problem/sum/solution/", "curie", {"language": language, "source": "SHOUT"})
    assert program["language"] == "c"
    assert [one["number"] for one in door.get("/api/problem/sum/solution/", "rita")] == [1, 2]
    judge_all(door.arena)
    cases = door.get("/api/problem/sum/case/", "rita")["items"]
    assert [(case["state"], case["version"]) for case in cases] == [("active", 2), ("rejected", None)]
    assert "does not agree" in cases[1]["detail"]
    assert send(door).status_code == 201
    judge_all(door.arena)
    shown = door.get("/api/problem/sum/")
    assert shown["statement"] == "Print the **sum**."
    assert shown["samples"] == [{"ordinal": 1, "input": "a", "output": "A"}]
    assert (shown["cases"], shown["attempts"], shown["solved"], shown["ac"], shown["cs"]) == (
        1,
        1,
        1,
        1.0,
        0.0,
    )
    assert (shown["difficulty"], shown["licence"]) == ("easy", "MIT")


def send(door, source="AC 1"):
    body = {"problem": "sum", "language": "python", "source": source}
    return door.ask("POST", "/api/submission/", "m", json=body)


def test_cases_and_solutions_come_with_a_problem(small_door):
    door = small_door
    body = {
        **NEW,
        "cases": [{"input": "a", "output": "A"}],
        "solutions": [{"language": "python", "source": "SHOUT"}, {"language": "c", "source": "SHOUT"}],
    }
    assert door.post("/api/problem/", "curie", body)["cases"] == 0  # nobody has seen them agree yet
    judge_all(door.arena)
    assert door.get("/api/problem/sum/")["cases"] == 1
    refused(door.ask("POST", "/api/problem/", "curie", json=body), 409, "conflict", "sum")


def test_a_generator_runs_for_each_seed(door):
    door.post("/api/problem/", "curie", NEW)
    for language in ("python", "c"):
        door.post("/api/problem/sum/solution/", "curie", {"language": language, "source": "SHOUT"})
    door.post("/api/problem/sum/generator/", "curie", {"language": "python", "source": "SEEDED case "})
    assert door.get("/api/problem/sum/generator/", "rita")[0]["number"] == 1
    door.post("/api/problem/sum/generator/1/", "curie", {"seeds": [7, 2**63 - 1]}, 202)
    judge_all(door.arena)
    found = door.get("/api/problem/sum/case/", "rita")["items"]
    assert [(case["input"], case["output"], case["seed"], case["state"]) for case in found] == [
        ("case 7", "CASE 7", 7, "active"), (f"case {2**63 - 1}", f"CASE {2**63 - 1}", 2**63 - 1, "active"),
    ]  # fmt: skip
    answer = door.ask("POST", "/api/problem/sum/generator/9/", "curie", json={"seeds": [1]})
    assert answer.status_code == 404


def test_lists_are_searched_and_paged(door, clock):
    for pid in ("alpha", "beta", "gamma_x"):
        add_problem(door.arena, pid, difficulty="hard" if pid == "beta" else "easy")
        clock.move(days=1)
    pids = [found["pid"] for found in door.get("/api/problem/", q="A_")["items"]]
    assert pids == ["gamma_x"]  # _ stands for itself
    assert door.get("/api/problem/", q="ALPHA")["total"] == 1
    assert door.get("/api/problem/", q="%")["total"] == 0
    assert door.get("/api/problem/", difficulty="hard")["items"][0]["pid"] == "beta"
    since = (clock.time - timedelta(days=2)).isoformat()
    assert [found["pid"] for found in door.get("/api/problem/", since=since)["items"]] == ["beta", "gamma_x"]
    page = door.get("/api/problem/", per_page=2, page=2)
    assert ([found["pid"] for found in page["items"]], page["pages"], page["total"]) == (["gamma_x"], 2, 3)
    assert door.get("/api/problem/", page=9)["items"] == []
    assert "statement" not in page["items"][0] or page["items"][0]["statement"] is None
    for params in (
        {"page": 0}, {"page": "x"}, {"per_page": 201}, {"since": "yesterday"}, {"since": "2024-01-01T00:00:00"},
        {"q": "a\0"}, {"q": "x" * 201}, {"nonsense": 1}, {"since": "0001-01-01T00:00:00+14:00"},
    ):  # fmt: skip
        refused(door.ask("GET", "/api/problem/", params=params), 422, "invalid_request", next(iter(params)))


def test_what_is_not_published_is_there_for_curators_only(small_door, clock):
    later = (clock.time + timedelta(days=1)).isoformat()
    small_door.post("/api/problem/", "curie", {**NEW, "visible_from": later})
    paths = (
        "/api/problem/sum/",
        "/api/problem/sum/case/",
        "/api/problem/sum/solution/",
        "/api/v2/problem/sum",
    )
    for path in paths:
        assert small_door.ask("GET", path, "rita").status_code == 404, path
    assert small_door.get("/api/problem/", "rita")["total"] == 0
    refused(send(small_door), 404, "unknown_problem")
    assert small_door.get("/api/problem/", "curie")["total"] == 1
    for path in paths[:3]:
        assert small_door.ask("GET", path, "curie").status_code == 200, path
    clock.move(days=1)
    assert small_door.get("/api/problem/")["total"] == 1


def test_a_change_of_limits_is_a_new_version(small_door):
    add_problem(small_door.arena)
    assert send(small_door).status_code == 201
    judge_all(small_door.arena)
    same = small_door.ask("PATCH", "/api/problem/sum/", "curie", json={"title": "Summe", "bps": 7.5})
    assert (same.json()["version"], same.json()["title"], same.json()["bps"]) == (1, "Summe", 7.5)
    changed = small_door.ask("PATCH", "/api/problem/sum/", "curie", json={"time_ms": 500})
    assert changed.json()["version"] == 2
    assert small_door.get("/api/submission/")["items"][0]["state"] == "queued"
    retired = small_door.ask("DELETE", "/api/problem/sum/case/2/", "curie").json()
    assert (retired["retired_in"], small_door.get("/api/problem/sum/")["version"]) == (3, 3)
    refused(small_door.ask("PATCH", "/api/problem/nothing/", "curie", json={}), 404, "unknown_problem")
    refused(small_door.ask("DELETE", "/api/problem/sum/case/9/", "curie"), 404, "not_found")


def test_people_may_bring_cases_but_no_samples(small_door):
    add_problem(small_door.arena)
    body = {"cases": [{"input": "c", "output": "C", "sample": True}]}
    added = small_door.post("/api/problem/sum/case/", "h", body)
    assert [(case["state"], case["sample"]) for case in added] == [("pending", False)]
    refused(small_door.ask("POST", "/api/problem/sum/case/", "m", json=body), 403, "not_authorized")


def test_long_cases_are_cut_in_lists_only(small_door):
    add_problem(small_door.arena)
    small_door.post("/api/problem/sum/case/", "curie", {"cases": [{"input": "ä" * 70_000, "output": "A"}]})
    case = small_door.get("/api/problem/sum/case/", "rita")["items"][2]
    assert (case["truncated"], len(case["input"]), case["input_length"]) == (True, 65536, 70_000)
    case = small_door.get("/api/problem/sum/case/3/", "rita")
    assert (case["truncated"], len(case["input"])) == (False, 70_000)
    refused(small_door.ask("GET", "/api/problem/sum/case/4/", "rita"), 404, "not_found", "4")


@pytest.mark.parametrize("bps", ["0", "-1", "NaN", "Infinity", "1e999", '"5"', "true", "null", "1e7"])
def test_points_that_cannot_be(small_door, bps):
    body = json.dumps(NEW).replace("3", bps)
    answer = small_door.ask(
        "POST", "/api/problem/", "curie", content=body, headers={"Content-Type": "application/json"}
    )
    if bps == "null":  # the same as leaving it out
        assert answer.json()["bps"] == 5.0
        return
    refused(answer, 422, "invalid_request", "body.bps")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"pid": "a/b"}, "invalid_request"), ({"pid": ""}, "invalid_request"), ({"pid": "x" * 65}, "invalid_request"),
        ({"title": "  "}, "invalid_request"), ({"title": "a\0b"}, "invalid_request"),
        ({"statement": "x" * 262145}, "invalid_request"), ({"time_ms": 0}, "invalid_request"),
        ({"memory_kb": 1}, "invalid_request"), ({"time_ms": 1.5}, "invalid_request"),
        ({"checker": "psychic"}, "invalid_case"), ({"checker": "custom"}, "invalid_case"),
        ({"checker_source": "print(1)"}, "invalid_case"),
        ({"checker": "custom", "checker_source": "x", "checker_language": "cobol"}, "unsupported_language"),
        ({"visible_from": "tomorrow"}, "invalid_request"), ({"unknown": 1}, "invalid_request"),
        ({"solutions": [{"language": "cobol", "source": "x"}]}, "unsupported_language"),
        ({"solutions": [{"language": "c", "source": " "}]}, "invalid_source"),
        ({"cases": [{"input": "a", "output": "A"}] * 2}, "invalid_case"),
        ({"cases": [{"input": "a", "output": "A\0"}]}, "invalid_request"),
        ({"cases": [{"input": "a" * 3000, "output": "A"}]}, "invalid_case"),
        ({"cases": [{"input": "a", "output": "A" * 3000}]}, "invalid_case"),
    ],
)  # fmt: skip
def test_problems_that_cannot_be(small_cases_door, change, code):
    refused(small_cases_door.ask("POST", "/api/problem/", "curie", json={**NEW, **change}), 422, code)
    assert small_cases_door.get("/api/problem/", "curie")["total"] == 0  # nothing is left of it


@pytest.fixture
def small_cases_door(sqlite_url):
    from firsthand.evaluation.codearena.arena import Arena

    from .scripted import ScriptedGrader

    with Arena.open(sqlite_url, grader=ScriptedGrader(), case_bytes=2048) as arena:
        yield Door(arena, case_kb=2)


def test_an_output_longer_than_the_cap_says_so(small_cases_door):
    small_cases_door.post("/api/problem/", "curie", NEW)
    body = {"cases": [{"input": "a", "output": "ä" * 1025}]}
    answer = small_cases_door.ask("POST", "/api/problem/sum/case/", "curie", json=body)
    refused(answer, 422, "invalid_case", "output", "2050 bytes", "2048")


def test_unknown_problems(small_door):
    for method, path, body in (
        ("GET", "/api/problem/none/", None), ("GET", "/api/problem/none/case/", None),
        ("GET", "/api/problem/none/submission/", None), ("GET", "/api/problem/none/solution/", None),
        ("POST", "/api/problem/none/case/", {"cases": [{"input": "a", "output": "A"}]}),
        ("POST", "/api/problem/none/solution/", {"language": "c", "source": "x"}),
        ("POST", "/api/problem/none/generator/1/", {"seeds": [1]}),
        ("POST", "/api/submission/", {"problem": "none", "language": "python", "source": "x"}),
    ):  # fmt: skip
        refused(small_door.ask(method, path, "root", json=body), *(
            (403, "not_authorized") if path == "/api/submission/" else (404, "unknown_problem")
        ))  # fmt: skip
    refused(small_door.ask("GET", "/api/problem/a%00b/"), 422, "invalid_request", "path.pid")
    refused(small_door.ask("GET", "/api/nothing/"), 404, "not_found")
    refused(small_door.ask("DELETE", "/api/problem/"), 405, "method_not_allowed")
