"""Proofs at length: they go on where they were cut off, and they can fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firsthand.errors import InputError, OutputError
from firsthand.query.speql.predicates import Premises
from firsthand.query.speql.proving import Proof, prove_workload, prove_worlds

SCALE = 0.01


def test_a_proof_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    seen: list[tuple[int, int]] = []
    found = prove_worlds(120, whole, progress=lambda done, all_: seen.append((done, all_)))
    assert found.pairs >= 120
    assert found.parts == len(whole.read_text().splitlines()) == len(seen)
    assert seen[-1] == (120, 120)
    assert found.differences == ()
    lines = whole.read_bytes()
    cut.write_bytes(lines[: len(lines) - 20])  # within the last line
    assert prove_worlds(120, cut) == found
    assert cut.read_bytes() == lines
    assert prove_worlds(120, cut) == found  # nothing is left to do
    assert cut.read_bytes() == lines


def test_a_proof_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "killed.jsonl"
    code = f"from firsthand.query.speql import prove_worlds; prove_worlds(100000, {str(path)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        for _ in range(600):
            if path.exists() and path.read_bytes().count(b"\n") >= 2:
                break
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    done = path.read_bytes().count(b"\n")
    assert done >= 2
    found = prove_worlds(1, path)
    assert found.parts == 1
    again = tmp_path / "again.jsonl"
    prove_worlds(found.pairs + 1, again)
    assert path.read_bytes().splitlines()[:2] == again.read_bytes().splitlines()[:2]


def test_it_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Premises, "imply", lambda self, wanted: True)
    found = prove_worlds(150, tmp_path / "worlds.jsonl")
    assert "ran as" in found.differences[0]


@pytest.mark.parametrize(("name", "seed"), [("tpcds", 2), ("tpch", 6)])
def test_queries_typed_line_by_line_are_answered_as_the_tables_answer_them(
    tmp_path: Path, workload, name: str, seed: int
) -> None:
    found = prove_workload(name, tmp_path / "proof.jsonl", queries=3, seed=seed, scale_factor=SCALE)
    assert found.parts == 3
    assert found.differences == ()
    assert found.served >= 3
    assert found.filled >= 2


def test_what_cannot_be_proved(tmp_path: Path) -> None:
    path = tmp_path / "proof.jsonl"
    for wrong in (
        lambda: prove_worlds(0, path),
        lambda: prove_workload("tpcc", path),
        lambda: prove_workload("tpch", path, by="word"),
        lambda: prove_workload("tpch", path, queries=23),
        lambda: prove_workload("tpch", path, queries=(1, 23)),
        lambda: prove_workload("tpch", path, queries=()),
    ):
        with pytest.raises(InputError):
            wrong()
    path.write_text(json.dumps({"something": "else"}) + "\n")
    with pytest.raises(InputError, match="line 1: no part of a proof"):
        prove_worlds(1, path)
    with pytest.raises(OutputError):
        prove_worlds(1, tmp_path / "nowhere" / "proof.jsonl")


def test_proofs_add_up() -> None:
    one = Proof(1, 2, 3, 4, ("a",))
    assert one + Proof(1, 1, 1, 1, ("b",)) == Proof(2, 3, 4, 5, ("a", "b"))
    assert one.as_dict()["differences"] == ["a"]
