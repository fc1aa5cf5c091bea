"""PreSelect from files to files: documents a second in each stage, growth to a million, datatrove beside it.

Part of `preselect.py`'s benchmark. Every run is a process of its own, so that its peak memory is its own:

    python -m benchmarks.corpus_runs ours|pool|ray|datatrove SCORER CORPUS OUT [THRESHOLD]

CORPUS is a folder of JSONL shards; the answer is a line of JSON. CPU time is the process's own and its
children's, after everything is imported and the scorer is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from benchmarks import peers
from benchmarks.measure import Row, at_least, at_most, missing_row, row
from benchmarks.texts import generated_texts

FRACTION = 0.1
SHARD = 50_000  # documents in a file


def rows(quick: bool = False) -> list[Row]:
    """Growth and stages at three sizes; datatrove and two workers beside us at the middle and the largest."""
    sizes = (500, 1_000, 2_000) if quick else (10_000, 100_000, 1_000_000)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _save_scorer(folder / "scorer")
        found: list[Row] = []
        measured: dict[int, dict[str, Any]] = {}
        for size in sizes:
            corpus = folder / f"corpus-{size}"
            write_corpus(corpus, size, 500 if quick else SHARD)
            measured[size] = run_once("ours", folder, corpus)
            if size == sizes[1]:
                found += _beside_datatrove(folder, corpus, size, 1 if quick else 2)
            if size == sizes[2]:
                found += _with_workers(folder, corpus, size, measured[size])
        return [_growth(sizes, measured), *_stages(sizes, measured), *found]


def _save_scorer(target: Path) -> None:
    from firsthand.data.preselect import FastTextScorer

    # A small model: a large one would hide growth behind its own weight.
    FastTextScorer(bucket=20_000).fit(generated_texts(200, seed=1002), np.arange(200) % 2).save(target)


def write_corpus(folder: Path, documents: int, shard: int = SHARD) -> None:
    """Generated documents of 60 words in JSONL files of `shard` each."""
    folder.mkdir()
    for number, first in enumerate(range(0, documents, shard)):
        with (folder / f"{number:05d}.jsonl").open("w", encoding="utf-8") as stream:
            for start in range(first, min(first + shard, documents), 5_000):
                count = min(5_000, min(first + shard, documents) - start)
                for at, text in enumerate(generated_texts(count, seed=2_000 + start), start):
                    stream.write(json.dumps({"id": f"document-{at}", "text": text}) + "\n")


def run_once(what: str, folder: Path, corpus: Path, *more: str) -> dict[str, Any]:
    """One run in a fresh process."""
    out = folder / "out"
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.corpus_runs", what, str(folder / "scorer"), str(corpus), str(out), *more],
        cwd=peers.ROOT, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    subprocess.run(["rm", "-rf", str(out)], check=True)
    return dict(json.loads(answer.stdout.splitlines()[-1]))


# --- rows ------------------------------------------------------------------------------------------------


def _growth(sizes: tuple[int, ...], measured: dict[int, dict[str, Any]]) -> Row:
    small, large = measured[sizes[1]], measured[sizes[2]]

    def side(size: int) -> dict[str, str]:
        peak, loaded = measured[size]["peak_mib"], measured[size]["loaded_mib"]
        return {
            "label": f"{size:,} documents",
            "text": f"{peak:.0f} MiB, {peak - loaded:.0f} of them by the run",
        }

    return row(
        "peak memory of score_corpus + select_corpus", side(sizes[2]), side(sizes[1]),
        large["peak_mib"] / small["peak_mib"], target=at_most(1.2),
        equal=all(found["kept_docs"] == found["expected_docs"] for found in measured.values()),
        note="Both columns are ours, at two sizes of corpus (JSONL shards of 50,000 documents), each in a fresh "
        "process; the ratio is large / small of peak resident memory. Equal: as many documents lie in the output "
        "as the threshold keeps.",
        by_size=[{"documents": size, **found} for size, found in measured.items()],
    )  # fmt: skip


def _stages(sizes: tuple[int, ...], measured: dict[int, dict[str, Any]]) -> list[Row]:
    """Documents per second: does the largest corpus go as fast as the smaller one?"""
    found = []
    for stage in ("score", "select", "all"):
        rate = {size: size / measured[size]["cpu_seconds"][stage] for size in sizes}
        found.append(
            row(
                f"growth of {stage}: documents per CPU-second",
                {"label": f"{sizes[2]:,} documents", "text": f"{rate[sizes[2]]:,.0f} a second"},
                {"label": f"{sizes[1]:,} documents", "text": f"{rate[sizes[1]]:,.0f} a second"},
                rate[sizes[2]] / rate[sizes[1]], target=at_least(0.8), equal=None,
                note="Both columns are ours; the ratio is large / small: 1 is linear growth. Scoring reads the files, "
                "scores, and checks that ids are unique; selecting finds the exact threshold and writes the tenth.",
                documents_per_second={str(size): round(value) for size, value in rate.items()},
            )
        )  # fmt: skip
    return found


def _beside_datatrove(folder: Path, corpus: Path, size: int, rounds: int) -> list[Row]:
    what = f"from files to files, {size:,} documents"
    label = "datatrove: JsonlReader, FastTextClassifierFilter, JsonlWriter"
    if importlib.util.find_spec("datatrove") is None:
        return [missing_row(what, label, "datatrove is not installed: pip install 'firsthand[data]'")]
    threshold = str(run_once("ours", folder, corpus)["threshold"])
    turns: dict[str, list[dict[str, Any]]] = {"ours": [], "datatrove": []}
    for _ in range(rounds):
        for who in ("ours", "datatrove", "datatrove", "ours"):
            turns[who].append(run_once(who, folder, corpus, threshold))
    ours = {
        stage: median(t["cpu_seconds"][stage] for t in turns["ours"]) for stage in ("score", "select", "all")
    }
    theirs = median(t["cpu_seconds"]["all"] for t in turns["datatrove"])
    kept = {who: turns[who][0]["kept_docs"] for who in turns}
    found = []
    for stage, target, told in (
        ("score", at_least(1), "scoring alone, with its second look at every id"),
        ("all", None, "scoring, the exact threshold and writing: ours reads the files twice, as its threshold is not "
         "known beforehand; datatrove is handed the one we found"),
    ):  # fmt: skip
        found.append(
            row(
                f"{what}: {stage}", {"label": "score_corpus" + ("" if stage == "score" else " + select_corpus"),
                 "text": f"{size / ours[stage]:,.0f} documents a CPU-second"},
                {"label": label, "text": f"{size / theirs:,.0f} documents a CPU-second"},
                theirs / ours[stage], target=target, equal=None,
                note="The same files and model, a process each, turns A B B A, medians of CPU time after loading. "
                f"Ours: {told}. Kept: {kept['ours']:,} by ours, {kept['datatrove']:,} by datatrove, which normalises "
                "only line breaks.",
                peak_mib={who: max(t["peak_mib"] for t in turns[who]) for who in turns},
            )
        )  # fmt: skip
    return found


def _with_workers(folder: Path, corpus: Path, size: int, alone: dict[str, Any]) -> list[Row]:
    """Two processes of the local pool, and two of Ray Data's actors: the same bytes, how much sooner?"""
    found = []
    for what, label in (("pool", "engine local, 2 processes"), ("ray", "engine ray, 2 Ray Data actors")):
        answer = run_once(what, folder, corpus)
        wall, base = answer["wall_seconds"]["score"], alone["wall_seconds"]["score"]
        found.append(
            row(
                f"score_corpus on {size:,} documents with two workers (wall time)",
                {"label": label, "text": f"{wall:.1f} s, {size / wall:,.0f} documents a second"},
                {"label": "one process", "text": f"{base:.1f} s, {size / base:,.0f} documents a second"},
                base / wall, target=None, equal=answer["kept_sha256"] == alone["kept_sha256"],
                note="Both columns are ours; starting Ray and loading the scorer in each worker are part of the time. "
                "Equal: the selected files are the same byte for byte.",
                peak_mib=answer["peak_mib"],
            )
        )  # fmt: skip
    return found


# --- what runs in a process of its own ---------------------------------------------------------------------


def memory_mib(field: str) -> float:
    """VmRSS or VmHWM of this process.

    Not `ru_maxrss`: a child starts with its parent's peak in that one, the parent's memory at the spawn.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"this system does not tell {field}")


class Clock:
    """CPU (with ended children's) and wall seconds of named stages."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = {}
        self.wall: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        cpu, wall = sum(os.times()[:4]), time.perf_counter()
        yield
        self.cpu[name] = sum(os.times()[:4]) - cpu
        self.wall[name] = time.perf_counter() - wall

    def answer(self) -> dict[str, Any]:
        """Both, and their sums as "all"."""
        return {
            name: {**{k: round(v, 3) for k, v in times.items()}, "all": round(sum(times.values()), 3)}
            for name, times in (("cpu_seconds", self.cpu), ("wall_seconds", self.wall))
        }


def ours(scorer: Path, corpus: Path, out: Path, engine: str = "inline") -> dict[str, Any]:
    """Score and select, as the room does it."""
    import pyarrow.parquet  # noqa: F401, loaded before the baseline is taken

    from firsthand.corpora.files import find_inputs
    from firsthand.data.preselect import load_scorer, score_corpus, select_corpus

    loaded = load_scorer(scorer)
    loaded.predict_proba(["one text"])
    files, clock, before = find_inputs([corpus]), Clock(), memory_mib("VmRSS")
    workers: dict[str, Any] = {} if engine == "inline" else {"engine": engine, "workers": 2}
    with clock.stage("score"):
        score_corpus(loaded if engine == "inline" else scorer, files, out / "scores", **workers)
    with clock.stage("select"):
        manifest = select_corpus(files, out / "scores", out / "kept", fraction=FRACTION)
    peak, written = memory_mib("VmHWM"), hashlib.sha256()
    kept = sorted((out / "kept").glob("*.jsonl"))
    for path in kept:
        written.update(path.read_bytes())
    return {
        "loaded_mib": round(before, 1), "peak_mib": round(peak, 1), **clock.answer(),
        "kept_docs": sum(path.read_bytes().count(b"\n") for path in kept), "kept_sha256": written.hexdigest(),
        "expected_docs": manifest["threshold"]["kept_docs"], "threshold": manifest["threshold"]["value"],
    }  # fmt: skip


def datatrove(scorer: Path, corpus: Path, out: Path, threshold: float) -> dict[str, Any]:
    """The official pipeline's way: read, score and filter in one pass, write."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.filters import FastTextClassifierFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    from firsthand.data.preselect import load_scorer

    # It asks for a distribution called fasttext-numpy2-wheel: the library we have, under another name.
    FastTextClassifierFilter._requires_dependencies = []

    class Filter(FastTextClassifierFilter):
        """Its model from our file: it would first be copied to a cache that outlives the run."""

        @property
        def model(self) -> Any:
            if self._model is None:
                self._model = load_scorer(scorer)._model
            return self._model

    step = Filter("", keep_labels=("1", threshold), newline_replacement=" ")
    executor = LocalPipelineExecutor(
        pipeline=[JsonlReader(str(corpus)), step, JsonlWriter(str(out / "kept"), compression=None)],
        tasks=1, workers=1, logging_dir=str(out / "logs"),
    )  # fmt: skip
    clock = Clock()
    with clock.stage("run"):
        executor.run()
    kept = sum(path.read_bytes().count(b"\n") for path in (out / "kept").rglob("*.jsonl"))
    return {"peak_mib": round(memory_mib("VmHWM"), 1), **clock.answer(), "kept_docs": kept}


RUNS: dict[str, Callable[..., dict[str, Any]]] = {
    "ours": lambda scorer, corpus, out, *_: ours(scorer, corpus, out),
    "pool": lambda scorer, corpus, out, *_: ours(scorer, corpus, out, "local"),
    "ray": lambda scorer, corpus, out, *_: ours(scorer, corpus, out, "ray"),
    "datatrove": lambda scorer, corpus, out, threshold: datatrove(scorer, corpus, out, float(threshold)),
}


if __name__ == "__main__":
    from firsthand.launch.threads import single_thread

    with single_thread():
        what, scorer_, corpus_, out_, *more_ = sys.argv[1:]
        print(json.dumps(RUNS[what](Path(scorer_), Path(corpus_), Path(out_), *more_)))
