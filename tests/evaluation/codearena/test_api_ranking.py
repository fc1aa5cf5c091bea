"""Boards over HTTP: the sheet's figures, other rules and rankings, time, history, what-if, intervals, leakage."""

from __future__ import annotations

from datetime import timedelta

import pytest

from .door import Door, refused
from .test_standing import example

FORMULA = {"A": 5.0, "B": 3.6667, "C": 2.5}


@pytest.fixture
def door(arena):
    example(arena)
    return Door(arena)


@pytest.fixture
def small_door(small):
    example(small)
    return Door(small)


def dp(board):
    return {row["user"]: pytest.approx(row["dp"], abs=5e-5) for row in board["rows"]}


def test_the_sheets_example_by_all_rules(door):
    board = door.get("/api/ranking/")
    assert dp(board) == FORMULA
    assert [(row["user"], row["rank"]) for row in board["rows"]] == [("A", 1), ("B", 2), ("C", 3)]
    assert (board["ranking"], board["score"], board["at"]) == ("dynamic points", "dp", "2024-07-30T12:00:00Z")
    assert (board["parameters"]["challenge"], board["parameters"]["population"]) == ("formula", "llm")
    assert board["problems"] is None
    assert dp(door.get("/api/ranking/", challenge="share")) == {"A": 7.6667, "B": 5.5, "C": 4.3333}
    for params in (
        {"aggregate": "dmoj"}, {"es_weight": 0}, {"ac_unit": "submission"}, {"es_scope": "problem+language"},
        {"es_tolerance": 0.5}, {"population": ["A", "B"]}, {"population": "all"}, {"leave_out": ["A", "problem:P1"]},
    ):  # fmt: skip
        rules = dict(params)
        if isinstance(rules.get("leave_out"), list):
            rules["leave_out"] = ["A", ("problem", "P1")]
        wanted = door.arena.ranking(**rules).as_dict()
        found = door.get("/api/ranking/", problems="true", **params)
        assert (found["rows"], found["problems"]) == (
            wanted["ranking"] and wanted["rows"],
            wanted["problems"],
        )
        assert found["parameters"] == wanted["parameters"]


def test_the_board_as_it_stood(door, clock):
    before = clock.time.isoformat()
    clock.move(days=1)
    door.arena.submit("D", "P1", "python", "AC 58")
    door.arena.judge_once()
    assert set(dp(door.get("/api/ranking/"))) == {"A", "B", "C", "D"}
    assert dp(door.get("/api/ranking/", at=before)) == FORMULA
    assert dp(door.get("/api/ranking/", leave_out="D")) == FORMULA
    assert door.get("/api/ranking/", at="2020-01-01T00:00:00Z")["rows"] == []


def test_other_rankings(small_door):
    door = small_door
    board = door.get("/api/ranking/", method="pass@k")
    assert {row["user"]: row["rating"] for row in board["rows"]} == dict.fromkeys("ABC", pytest.approx(2 / 3))
    for method in ("bradley-terry", "bradley-terry-runtime"):
        board = door.get("/api/ranking/", method=method)
        assert {row["user"] for row in board["rows"]} == {"A", "B", "C"}
        assert board["score"] in board["rows"][0]
    refused(
        door.ask("GET", "/api/ranking/", params={"method": "pass@k", "challenge": "share"}),
        422, "invalid_request", "pass@k",
    )  # fmt: skip
    refused(
        door.ask("GET", "/api/ranking/", params={"method": "pass@k", "k": 2}), 422, "invalid_request", "2"
    )


def test_intervals(small_door):
    found = small_door.get("/api/ranking/", bootstrap=50, seed=3)
    again = small_door.get("/api/ranking/", bootstrap=50, seed=3)
    assert found == again
    wanted = small_door.arena.ranking().bootstrap(n=50, seed=3).as_dict()
    assert found["bootstrap"] == wanted
    assert small_door.get("/api/ranking/", bootstrap=50, seed=4)["bootstrap"] != wanted
    assert small_door.get("/api/ranking/")["bootstrap"] is None


def test_an_empty_board(small):
    door = Door(small)
    for params in (
        {},
        {"bootstrap": 10},
        {"challenge": "share"},
        {"aggregate": "dmoj"},
        {"method": "bradley-terry"},
    ):
        assert door.get("/api/ranking/", **params)["rows"] == []
    assert door.get("/api/ranking/history")["points"] == []


def test_history_and_checkpoints(door, clock):
    first = door.post("/api/ranking/checkpoint/", "root")
    assert {row["user"]: round(row["dp"], 4) for row in first["board"]["rows"]} == FORMULA
    clock.move(days=30)
    door.arena.submit("D", "P1", "python", "AC 58")
    door.arena.judge_once()
    door.post("/api/ranking/checkpoint/", "root")
    door.post("/api/ranking/checkpoint/?challenge=share", "root")
    points = door.get("/api/ranking/history")["points"]
    assert [point["user"] for point in points].count("A") == 2
    only = door.get("/api/ranking/history", user=["A", "D"])["points"]
    assert [(point["user"], point["at"]) for point in only] == [
        ("A", "2024-07-30T12:00:00Z"), ("A", "2024-08-29T12:00:00Z"), ("D", "2024-08-29T12:00:00Z"),
    ]  # fmt: skip
    assert only[0]["dp"] > only[1]["dp"]  # it did nothing
    since = (clock.time - timedelta(days=1)).isoformat()
    assert len(door.get("/api/ranking/history", user="A", since=since)["points"]) == 1
    assert len(door.get("/api/ranking/history", user="A", challenge="share")["points"]) == 1
    listed = door.get("/api/ranking/checkpoint/")
    assert (listed["total"], listed["items"][2]["id"]) == (3, first["id"])
    assert door.get(f"/api/ranking/checkpoint/{first['id']}/") == first
    refused(door.ask("GET", "/api/ranking/checkpoint/999/"), 404, "not_found", "999")


def test_signals_of_leakage(small_door):
    copied = "AC 5\n" + "\n".join(f"total_{n} = total_{n - 1} * {n} + offset" for n in range(1, 20))
    for user in "DE":
        if user == "E":
            small_door.arena.accounts.create("E", "llm")
        small_door.arena.submit(user, "P1", "python", copied)
    small_door.arena.judge_once(), small_door.arena.judge_once()
    found = small_door.get("/api/leakage/", "rita")
    assert set(found) == {"before_and_after", "periods", "duplicates"}
    assert [(group["users"], group["exact"]) for group in found["duplicates"]] == [(["D", "E"], True)]
    assert found["periods"][0]["attempts"] == 11
    refused(small_door.ask("GET", "/api/leakage/", "rita", params={"similarity": 0}), 422, "invalid_request")


@pytest.mark.parametrize(
    "params",
    [
        {"challenge": "mine"}, {"population": ["llm", "A"]}, {"population": "a b"}, {"es_weight": -1},
        {"es_weight": "nan"}, {"es_tolerance": "inf"}, {"at": "now"}, {"bootstrap": 10_001}, {"level": 1},
        {"level": "nan"}, {"k": 0}, {"seed": -1}, {"leave_out": "team:A"}, {"leave_out": ""}, {"method": "elo"},
        {"problems": "perhaps"}, {"challange": "share"},
    ],
)  # fmt: skip
def test_rules_that_cannot_be(small, params):
    refused(
        Door(small).ask("GET", "/api/ranking/", params=params), 422, "invalid_request", next(iter(params))
    )
