"""Run the benchmarks, print their tables, keep their results.

    .venv/bin/python benchmarks/run.py [NAME ...] [--quick] [--out FOLDER]

A benchmark is a file beside this one, named after its room, with `run(quick) -> {"rows": [...], "details":
{...}}`. Results go to `results/NAME.json`; those of `--quick` are of toy size and are only written where
`--out` says so. Exit status 1: a row's numbers differ from its peer's where they must be equal. A target
that is not met is printed as such and is no failure: it depends on the machine.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NOT_BENCHMARKS = {"__init__", "codearena_judging", "corpus_runs", "measure", "peers", "run", "texts", "gemma"}
SCHEMA_VERSION = 1


def benchmarks() -> list[str]:
    """The names of all benchmarks."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_BENCHMARKS)


def measure_one(name: str, *, quick: bool) -> dict[str, Any]:
    """Run one benchmark on one thread; everything that goes to its file."""
    from benchmarks.measure import load_average, machine

    from firsthand.claims.record import git_commit
    from firsthand.launch.threads import single_thread

    module = importlib.import_module(f"benchmarks.{name}")
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    before, cpu, wall = load_average(), time.process_time(), time.perf_counter()
    with single_thread():
        found = module.run(quick=quick)
    if quick:  # targets are set for the full size
        found["rows"] = [{**row, "met": None} for row in found["rows"]]
    return {
        "schema_version": SCHEMA_VERSION,
        "benchmark": name,
        "size": "quick" if quick else "full",
        "started": started,
        "commit": git_commit(ROOT),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "wall_seconds": round(time.perf_counter() - wall, 1),
        "load_average_before": before,
        "load_average_after": load_average(),
        "machine": machine(),
        **found,
    }


def print_table(result: Mapping[str, Any]) -> None:
    """Ours, peer, ratio, target, met or not; notes below."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    where = result["machine"]
    load = result["load_average_before"][0], result["load_average_after"][0]
    table = Table(
        title=f"{result['benchmark']} ({result['size']})",
        caption=f"{where['processor']}, {where['usable_cores']} cores, load {load[0]} to {load[1]}; one "
        "thread; times are medians of CPU time; a ratio is peer / ours unless said otherwise",
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )
    for heading in ("what", "ours", "peer", "ratio", "target", "met", "equal"):
        table.add_column(heading, overflow="fold")
    notes: list[str] = []
    for row in result["rows"]:
        mark = ""
        if row["note"]:
            if row["note"] not in notes:
                notes.append(row["note"])
            mark = f" [{notes.index(row['note']) + 1}]"
        table.add_row(
            row["what"].replace("[", r"\[") + mark.replace("[", r"\["),
            _cell(row["ours"]),
            _cell(row["peer"]),
            "" if row["ratio"] is None else f"{row['ratio']:.3g}×",
            "" if row["target"] is None else f"{row['target']['kind']} {row['target']['value']:g}×",
            _yes(row["met"]),
            _yes(row["equal"]),
        )
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    for number, note in enumerate(notes, 1):
        console.print(f"[{number}] {note}", markup=False)


def _cell(side: Mapping[str, Any]) -> str:
    return "\n".join(part for part in (side["label"], side["text"]) if part)


def _yes(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "NO"


def main(arguments: Sequence[str] | None = None) -> int:
    known = benchmarks()
    parser = argparse.ArgumentParser(description="Measure Firsthand against its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(known)} (all where none)")
    parser.add_argument("--quick", action="store_true", help="toy size: shows that it runs")
    parser.add_argument("--out", type=Path, help="folder of the results (default: benchmarks/results)")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in known]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(known)}")
    out = given.out or (None if given.quick else HERE / "results")

    from firsthand.launch.cache import write_atomically

    wrong = False
    for name in given.names or known:
        result = measure_one(name, quick=given.quick)
        print_table(result)
        if out is not None:
            text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
            write_atomically(out / f"{name}.json", text + "\n")
        wrong |= any(row["equal"] is False for row in result["rows"])
    return int(wrong)


if __name__ == "__main__":
    # As a package, not as loose files: a benchmark named like a peer's module must not hide it.
    sys.path[0] = str(ROOT)
    sys.exit(main())
