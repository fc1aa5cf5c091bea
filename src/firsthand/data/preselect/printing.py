"""What the verbs of `firsthand preselect` print: figures as aligned lines or JSON, progress as bars.

Knows the reports of the room's functions, and nothing of how they come about.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import typer

__all__ = ["progress_bars", "sample_lines", "scorer_lines", "selection_lines", "show", "strength_lines"]


@contextlib.contextmanager
def progress_bars(quiet: bool) -> Iterator[Any]:
    """A callback (what, done, of how many) that draws bars on stderr."""
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield update


def show(value: dict[str, Any], lines: list[tuple[str, str]], as_json: bool) -> None:
    """The figures as JSON, or the lines with their names aligned."""
    if as_json:
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
        return
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        typer.echo(f"{name:<{width}}  {text}")


def strength_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The report of `write_strength`."""
    total = max(sum(report["levels"].values()), 1)
    lines = [
        ("documents", str(report["documents"])),
        ("pairs of models", str(report["pairs"])),
        ("levels of S", f"{len(report['levels'])} of {report['possible_levels']}"),
    ]
    if report["missing"]:
        lines.append(("without strength", str(report["missing"])))
    lines += [(f"S = {float(level):.3f}", f"{n} ({n / total:.0%})") for level, n in report["levels"].items()]
    if len(report["by_source"]) > 1:
        levels = [float(level) for level in report["levels"]]
        for name, counts in list(report["by_source"].items())[:20]:
            mean = sum(s * n for s, n in zip(levels, counts, strict=True)) / max(sum(counts), 1)
            lines.append((f"source {name or '(none)'}", f"{sum(counts)} documents, mean S = {mean:.3f}"))
    for pair in report["agreement"]:
        share = "none" if pair["share"] is None else f"{pair['share']:.0%} of documents"
        lines.append((f"{pair['weaker']} < {pair['stronger']}", share))
    lines += _confidence_lines(report["confidence"])
    for name, figures in (report["estimators"] or {}).items():
        what = {"rank_agreement": "rank correlation", "top_overlap": "of the top quarter shared"}[name]
        for pair, value in figures.items():
            lines.append(
                (pair.replace("/", " and "), f"{'none' if value is None else f'{value:.3f}'} {what}")
            )
    if report["saturated"]:
        lines.append(
            ("warning", f"{report['largest_share']:.0%} of the documents sit on one level: the models are "
             "too alike or the documents are; the selection will follow that and not the benchmark")
        )  # fmt: skip
    return lines


def _confidence_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    if report["decided"] is None:
        return [
            ("warning", "with these models nothing can be said of how sure S is: it takes four whose "
             "abilities differ, better six or more")
        ]  # fmt: skip
    lines = [
        (
            "standard error of S",
            f"{report['median_standard_error']:.3f} (median), over other draws of models",
        ),
        (
            "decided documents",
            f"{report['decided']:.0%}: the {report['level']:.0%} interval of S excludes 1/2; luck alone decides "
            f"{report['decided_by_chance']:.0%}",
        ),
        (
            "top quarter kept",
            f"{report['top_quarter_kept']:.0%} under other draws of models; by luck {report['kept_by_chance']:.0%}",
        ),
    ]
    if report["rests_on_little"]:
        lines.append(
            ("warning", "the labels rest on little: fewer than twice as many documents are decided as by luck, "
             "so at least half of the decided ones may be lucky; more models, or more unlike ones, would help")
        )  # fmt: skip
    return lines


def scorer_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The report of `train_from_strength`."""
    kind = report["kind"]
    if report["stands_in_for"]:
        kind += f" (stands in for {report['stands_in_for']}, which is not installed)"
    lines = [
        ("scorer", kind),
        ("positives", f"{report['positives']}, S from {report['lowest_positive']:.3f}"),
        ("negatives", f"{report['negatives']}, S to {report['highest_negative']:.3f}"),
    ]
    held = report["holdout"]
    if held:
        lines.append(("held out", f"{held['n']}: accuracy {held['accuracy']:.3f}, AUC {held['auc']:.3f}"))
        lines.append(
            ("top decile", f"mean score {held['decile_mean_score']:.3f}, of which positive "
             f"{held['decile_positive_share']:.3f}")
        )  # fmt: skip
    return lines


def sample_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures of a `SeedSample`."""
    lines = [("seed sample", f"{report['documents']} documents")]
    groups = report["groups"]
    if groups is not None:
        hosts = "" if groups["with_host"] is None else f", {groups['with_host']} of them web domains"
        short = f", {groups['short']} used whole: they have too few documents" if groups["short"] else ""
        lines.append(("groups", f"{groups['found']} found{hosts}; {groups['used']} used{short}"))
    if report["near_duplicates"]:
        share = report["near_duplicate_share"]
        dropped = "dropped" if report["dropped"] else "kept"
        lines.append(
            ("near-duplicates", f"{report['near_duplicates']} ({share:.1%} of those drawn), {dropped}")
        )
    if report["many_near_duplicates"]:
        lines.append(
            ("warning", f"{report['near_duplicate_share']:.0%} of the drawn documents nearly repeat another: "
             "deduplicate the corpus first, or the selection will keep what was copied most")
        )  # fmt: skip
    return lines


def selection_lines(cut: dict[str, Any]) -> list[tuple[str, str]]:
    """Threshold and what it keeps; `cut` is the manifest's threshold with the measure, and quotas if any."""
    n, measure = cut["scored_docs"], cut["measure"]
    asked = f"{cut['amount']}" if cut["amount"] is not None else f"{cut['fraction']:.4%}"
    lines = [
        ("threshold", f"{cut['value']:.6f}"),
        ("kept", f"{cut['kept_docs']} of {n} documents"),
        (f"kept {measure}", f"{cut['kept_fraction']:.4%} (asked {asked}) of {cut['total_size']}"),
        ("never kept (empty)", str(cut["unscored_docs"])),
    ]
    for source, full in list((cut.get("quotas") or {}).get("full", {}).items())[:20]:
        lines.append(
            (f"full: {source or '(none)'}", f"{full['size']} {measure}, scores down to its own limit")
        )
    return lines
