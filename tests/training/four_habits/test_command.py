"""`firsthand four-habits`: priming sets and profiles; errors exit 2 and say what to do."""

from __future__ import annotations

import json

import pytest

from firsthand.errors import FirsthandError
from firsthand.training.four_habits import count_rules
from firsthand.training.four_habits.command import app
from tests.training.verbs_for_tests import caller

call = caller(app)


def test_prime_and_profile(tmp_path):
    path = tmp_path / "set.jsonl"
    assert "examples of all_strategies" in call("prime", "--output", path, "--count", 30)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(line["correct"] and line["prompt"].endswith("<think>") for line in lines)
    for by in ("rules", "meaning"):
        found = json.loads(call("profile", path, "--by", by, "--json"))
        assert all(found["means"][name][0] > 0 for name in found["means"])
    assert "backtracking" in call("profile", path)
    assert "kappa +" in call("profile", path, "--beside", "meaning")
    beside = json.loads(call("profile", path, "--beside", "meaning", "--json"))["kappa"]
    assert set(beside) == set(found["means"])
    call("prime", "--output", path, "--count", 10, "--kind", "empty_cot")
    assert json.loads(call("profile", path, "--json"))["shares"] == dict.fromkeys(found["shares"], 0.0)


def test_each_way_counts_once(tmp_path, monkeypatch):
    counted = []

    def counting(trace, problem=None, *, rules=None):
        counted.append(trace)
        return count_rules(trace, problem, rules=rules)

    monkeypatch.setattr("firsthand.training.four_habits.count_rules", counting)
    path = tmp_path / "traces.jsonl"
    path.write_text('{"completion": "Wait.", "numbers": [1, 2], "target": 3}\n')
    found = json.loads(call("profile", path, "--beside", "meaning", "--json"), parse_constant=pytest.fail)
    assert counted == ["Wait."]
    assert found["means"]["backtracking"] == [1.0, None, None]


def test_rules_and_fields_of_ones_own(tmp_path):
    (tmp_path / "rules.toml").write_text("[subgoal]\npatterns = ['aha']\n")
    (tmp_path / "traces.jsonl").write_text('{"output": "Aha! wait"}\n\n{"output": "no"}\n')
    found = json.loads(
        call(
            "profile",
            tmp_path / "traces.jsonl",
            "--text",
            "output",
            "--rules",
            tmp_path / "rules.toml",
            "--json",
        )
    )
    assert found["shares"]["subgoal"] == 0.5
    assert found["shares"]["backtracking"] == 0


def test_errors_say_what_to_do(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"completion": "wait"}\n')
    (tmp_path / "bad.jsonl").write_text("{\n")
    (tmp_path / "empty.jsonl").write_text("\n")
    for arguments, message in (
        (("profile", path, "--by", "feeling"), "choose rules or meaning"),
        (("profile", path, "--by", "meaning"), "0 of 1 have them"),
        (("profile", path, "--beside", "meaning"), "0 of 1 have them"),
        (("profile", path, "--text", "output"), "no field 'output'"),
        (("profile", tmp_path / "none.jsonl"), "no file"),
        (("profile", tmp_path / "bad.jsonl"), "line 1 is no JSON"),
        (("profile", tmp_path / "empty.jsonl"), "no traces"),
        (("prime", "--output", path, "--sizes", "three"), "3,4"),
        (("prime", "--output", path, "--kind", "joy"), "a kind is"),
        (("prime", "--output", path, "--kind", "dots"), "give the tokenizer"),
    ):
        with pytest.raises(FirsthandError, match=message):
            call(*arguments)
