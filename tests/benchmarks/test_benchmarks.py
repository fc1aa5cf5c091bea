"""The benchmarks' own machinery, and the two equalities that need no peer. Sizes are toys."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from benchmarks import corpus_runs, measure, peers, preselect, run

from firsthand.data.preselect import predictive_strength


@pytest.fixture
def no_peers(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "BENCH", tmp_path / "bench")
    return tmp_path / "bench"


def test_strength_equals_the_loops_and_is_faster() -> None:
    rows = preselect.strength_rows(quick=True)
    assert len(rows) == 2
    for row in rows:
        assert row["equal"] is True
        assert row["timing"]["ratio_cpu"] == row["ratio"] > 5


@pytest.mark.parametrize("loop", [preselect.strength_by_loop, preselect.strength_by_sorted_lists])
def test_loops_give_the_reference_values(loop) -> None:
    ability = np.array([75.38, 76.30, 77.27, 79.46, 80.47, 81.19])
    losses = np.array(
        [
            [1.00, 0.95, 0.90, 0.85, 0.80, 0.75],
            [1.00, 0.95, 0.90, 0.85, 0.80, 0.80],
            [0.90, 1.00, 0.95, 0.80, 0.85, 0.75],
        ]
    )
    order = [3, 0, 5, 1, 4, 2]  # the models need not come sorted
    assert loop(losses[:, order], ability[order]).tolist() == [1.0, 14 / 15, 0.8]


def test_equality_is_not_taken_for_granted(monkeypatch) -> None:
    def off_by_one_pair(losses, ability):
        return predictive_strength(losses, ability) + 1 / 66

    monkeypatch.setattr(preselect, "strength_by_sorted_lists", off_by_one_pair)
    assert [row["equal"] for row in preselect.strength_rows(quick=True)] == [True, False]


def test_scorer_gives_the_library_s_numbers(no_peers) -> None:
    *rows, of_datatrove = preselect.scorer_rows(quick=True)
    if importlib.util.find_spec("fasttext") is None:
        assert "no wheel" in of_datatrove["note"]
        return
    assert [row["equal"] for row in rows] == [True, True, True]
    assert of_datatrove["equal_scores"] > 150  # of 200: line breaks alone are normalised there


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.skipif(
    importlib.util.find_spec("fasttext") is None, reason="fastText has no wheel for this Python"
)
def test_runs_from_files_to_files(no_peers, monkeypatch) -> None:
    def here(command, **options):  # a fresh process costs seconds and measures the same
        if command[0] == "rm":
            shutil.rmtree(command[-1])
            return subprocess.CompletedProcess(command, 0)
        what, scorer, corpus, out, *more = command[3:]
        places = Path(scorer), Path(corpus), Path(out)
        if what == "datatrove":
            found = corpus_runs.datatrove(*places, float(*more))
        else:
            found = corpus_runs.ours(*places, engine="inline" if what == "ours" else "local")
        return subprocess.CompletedProcess(command, 0, stdout=json.dumps(found))

    monkeypatch.setattr(corpus_runs.subprocess, "run", here)
    growth, score, select, both, beside, beside_all, pool, ray = corpus_runs.rows(quick=True)
    assert growth["equal"] is True
    for found in growth["by_size"]:
        assert found["peak_mib"] >= found["loaded_mib"] > 10
        assert 0 < found["kept_docs"] < found["documents"]
    assert score["documents_per_second"]["2000"] > both["documents_per_second"]["2000"] > 0
    assert select["ratio"] > 0
    assert beside["ratio"] > beside_all["ratio"] > 0
    assert pool["equal"] is True
    assert ray["equal"] is True


def test_simulated_losses_follow_quality_where_they_say_so() -> None:
    losses, ability, follows = preselect.simulated_losses(2_000, seed=1006)
    strength = predictive_strength(losses, ability)
    assert 0.4 < follows.mean() < 0.6
    assert strength[follows].mean() > 0.7
    assert abs(strength[~follows].mean() - 0.5) < 0.05


def test_turns_are_taken_a_b_b_a() -> None:
    calls: list[str] = []
    timing = measure.alternate(lambda: calls.append("a"), lambda: calls.append("b"), rounds=2)
    assert "".join(calls) == "abbaabba"
    assert timing["rounds"] == 2


def test_ratio_is_peer_over_ours_round_by_round(monkeypatch) -> None:
    # (CPU, wall) of: ours, peer, peer, ours; the second round is disturbed on both sides alike.
    turns = iter(
        [(1, 2), (4, 4), (6, 4), (1, 2), (10, 2), (50, 4), (50, 4), (10, 2), (1, 1), (9, 9), (9, 9), (1, 1)]
    )
    monkeypatch.setattr(measure, "_time", lambda call: next(turns))
    timing = measure.alternate(lambda: None, lambda: None, rounds=3)
    assert timing["ratio_cpu"] == 5
    assert timing["ratio_wall"] == 2
    assert timing["ratio_cpu_quartiles"] == [5, 7]
    assert timing["ours_cpu_seconds"] == 1
    assert timing["peer_cpu_seconds"] == 9


def test_targets() -> None:
    assert measure.at_least(0.9).met(0.9)
    assert not measure.at_least(0.9).met(0.89)
    assert measure.at_most(1.2).met(1.2)
    assert not measure.at_most(1.2).met(1.21)


def _toy(equal: bool) -> dict:
    row = measure.row(
        "a [thing]", {"label": "ours", "text": "1 ms"}, {"label": "peer", "text": "2 ms"}, 2.0,
        target=measure.at_least(3), equal=equal, note="why",
    )  # fmt: skip
    return {"rows": [row, measure.missing_row("another", "gone", "not built")], "details": {}}


@pytest.mark.parametrize("equal", [True, False])
def test_run_writes_results_and_prints_them(equal, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(preselect, "run", lambda quick: _toy(equal))
    assert run.main(["preselect", "--out", str(tmp_path)]) == int(not equal)
    result = json.loads((tmp_path / "preselect.json").read_text(encoding="utf-8"))
    assert result["size"] == "full"
    assert result["rows"][0]["met"] is False
    assert {"processor", "usable_cores", "packages", "threads"} <= set(result["machine"])
    assert len(result["load_average_before"]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["preselect.json"]
    printed = capsys.readouterr().out
    assert "a [thing] [1]" in printed
    assert "at least 3×" in printed
    assert "[2] not built" in printed


def test_quick_judges_nothing_and_writes_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(preselect, "run", lambda quick: _toy(True))
    monkeypatch.setattr(run, "HERE", tmp_path)
    assert run.measure_one("preselect", quick=True)["rows"][0]["met"] is None
    monkeypatch.setattr(run, "benchmarks", lambda: ["preselect"])
    assert run.main(["--quick"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_unknown_benchmark_is_named(capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        run.main(["nonsense"])
    assert "nonsense" in capsys.readouterr().err


def test_results_in_the_tree_name_no_place() -> None:
    for path in (run.HERE / "results").glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert str(run.ROOT) not in text
        assert str(Path.home()) + "/" not in text


def test_peer_that_is_not_built_is_a_row_that_says_so(no_peers, capsys) -> None:
    rows, details = preselect.correlation_rows(quick=True)
    assert details == {}
    assert rows[0]["ratio"] is None
    assert "peers.py build perplexity-correlations" in rows[0]["note"]
    assert peers.main(["list"]) == 0
    assert "not built" in capsys.readouterr().out


def _install(monkeypatch, no_peers, fails: bool = False) -> list[list[str]]:
    """Stands in for pip: puts an empty package where it is told to."""
    ran: list[list[str]] = []

    def pip(command, **options):
        if "pip" not in command:
            return subprocess.CompletedProcess(command, 0, stdout="3.11.0\n")
        ran.append(command)
        target = Path(command[command.index("--target") + 1])
        target.mkdir(parents=True)
        if fails:
            raise subprocess.CalledProcessError(1, command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(peers.subprocess, "run", pip)
    return ran


def test_build_happens_once_and_again_for_other_pins(no_peers, tmp_path, monkeypatch, capsys) -> None:
    ran = _install(monkeypatch, no_peers)
    pins = tmp_path / "constraints.txt"
    pins.write_text("numpy==2.4.6\n", encoding="utf-8")
    monkeypatch.setattr(peers, "CONSTRAINTS", pins)
    assert peers.main(["build"]) == 0
    assert peers.main(["build"]) == 0
    assert len(ran) == len(peers.PEERS)
    assert "--no-deps" in ran[0]
    pins.write_text("numpy==2.4.7\n", encoding="utf-8")
    assert peers.main(["build"]) == 0
    assert len(ran) == 2 * len(peers.PEERS)
    assert sorted(path.name for path in no_peers.iterdir()) == sorted(peers.PEERS)
    assert "already built" in capsys.readouterr().out


def test_failed_build_leaves_nothing(no_peers, monkeypatch, capsys) -> None:
    _install(monkeypatch, no_peers, fails=True)
    assert peers.main(["build", "perplexity-correlations"]) == 1
    assert list(no_peers.iterdir()) == []
    assert "could not install" in capsys.readouterr().err


def test_unknown_peer_is_named() -> None:
    with pytest.raises(SystemExit, match="nonsense"):
        peers.main(["list", "nonsense"])
