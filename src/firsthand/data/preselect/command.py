"""The verbs of `firsthand preselect`, a thin shell over the room's functions.

Figures go to stdout, progress to stderr. Errors are raised as `FirsthandError`; whoever mounts `app` prints
them and exits 2.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from firsthand.data.documents import Layout, find_inputs
from firsthand.errors import InputError

__all__ = ["app"]

app = typer.Typer(
    name="preselect",
    help="Keep the documents on which better models lose less (arXiv 2503.00808).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Inputs = Annotated[list[Path], typer.Argument(help="files or folders of documents", show_default=False)]
Output = Annotated[Path, typer.Option("--output", help="where results go", show_default=False)]
TextField = Annotated[str, typer.Option(help="the field that holds the text")]
IdField = Annotated[str, typer.Option(help="the field that holds a unique id")]
TextUnit = Annotated[
    Literal["file", "paragraph", "line"], typer.Option(help="what one document is in a .txt")
]
Seed = Annotated[int, typer.Option(help="seeds every random choice")]
AsJson = Annotated[bool, typer.Option("--json", help="print figures as JSON")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress")]


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Any]:
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


def _show(value: dict[str, Any], lines: list[tuple[str, str]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
        return
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        typer.echo(f"{name:<{width}}  {text}")


def _pairs(given: list[str], flag: str) -> dict[str, float]:
    pairs: dict[str, float] = {}
    for item in given:
        name, equals, value = item.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            equals = ""
            number = 0.0
        if not equals or not name:
            raise InputError(f"{flag} {item!r}: write NAME=NUMBER, such as gemma-3-270m=41.2")
        if name in pairs:
            raise InputError(f"{flag}: {name!r} is given twice")
        pairs[name] = number
    return pairs


@app.command("losses")
def losses_command(
    inputs: Inputs,
    output: Output,
    model: Annotated[
        list[str], typer.Option("--model", help="a reference model; repeat", show_default=False)
    ],
    text_field: TextField = "text",
    id_field: IdField = "id",
    source_field: Annotated[str | None, typer.Option(help="the field to count by in histograms")] = None,
    text_unit: TextUnit = "file",
    seed: Seed = 0,
    seed_docs: Annotated[int, typer.Option(min=2, help="size of the seed sample")] = 2000,
    min_chars: Annotated[int, typer.Option(min=1, help="shorter documents are not sampled")] = 200,
    max_chars: Annotated[
        int, typer.Option(min=1, help="longer ones are cut, the same for all models")
    ] = 4000,
    block: Annotated[int, typer.Option(min=2, help="longest window of tokens")] = 1900,
    stride: Annotated[int, typer.Option(min=1, help="new tokens in each further window")] = 512,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps")] = "auto",
    dtype: Annotated[str | None, typer.Option(help="precision, such as bfloat16")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Draw a seed sample and measure every model's loss on it: OUTPUT/seed.jsonl, OUTPUT/losses."""
    from firsthand.data.preselect.losses import measure_losses, read_losses
    from firsthand.data.preselect.stages import sample_seed

    layout = Layout(text_field, id_field, source_field, text_unit)
    sample = sample_seed(
        find_inputs(inputs),
        output / "seed.jsonl",
        layout=layout,
        seed=seed,
        seed_docs=seed_docs,
        min_chars=min_chars,
        max_chars=max_chars,
    )
    with _progress(quiet) as update:
        folder = measure_losses(
            {name: name for name in model},
            sample,
            output / "losses",
            block=block,
            stride=stride,
            device=device,
            dtype=dtype,
            on_progress=update,
        )
    matrix = read_losses(folder, list(dict.fromkeys(model)))
    bits = matrix.bits_per_char()
    means = {}
    for column, name in enumerate(matrix.models):
        there = bits[:, column][bits[:, column] == bits[:, column]]
        means[name] = float(there.mean()) if there.size else None
    _show(
        {"documents": len(sample), "incomplete": matrix.incomplete, "bits_per_char": means},
        [
            ("documents", str(len(sample))),
            ("without a loss", str(matrix.incomplete)),
            *((name, "none" if v is None else f"{v:.4f} bits per character") for name, v in means.items()),
        ],
        as_json,
    )


@app.command("strength")
def strength_command(
    losses: Annotated[Path, typer.Argument(help="Parquet of losses, or a folder of it", show_default=False)],
    output: Output,
    ability: Annotated[list[str], typer.Option("--ability", help="MODEL=SCORE; repeat", show_default=False)],
    documents: Annotated[Path | None, typer.Option(help="seed.jsonl, for the sources")] = None,
    ties: Annotated[Literal["zero", "half"], typer.Option(help="what equal losses are worth")] = "zero",
    min_gap: Annotated[float, typer.Option(min=0, help="closer pairs of models do not count")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Predictive strength of every document: OUTPUT is a Parquet file."""
    from firsthand.data.preselect.stages import read_seed, write_strength

    report = write_strength(
        losses,
        _pairs(ability, "--ability"),
        output,
        documents=None if documents is None else read_seed(documents),
        ties=ties,
        min_gap=min_gap,
    )
    _show(report, _strength_lines(report), as_json)


def _strength_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    total = max(sum(report["levels"].values()), 1)
    lines = [("documents", str(report["documents"])), ("pairs of models", str(report["pairs"]))]
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
    if report["saturated"]:
        lines.append(
            ("warning", f"{report['largest_share']:.0%} of the documents sit on one level: the models are "
             "too alike or the documents are; the selection will follow that and not the benchmark")
        )  # fmt: skip
    return lines


@app.command("train")
def train_command(
    documents: Annotated[Path, typer.Argument(help="seed.jsonl of `losses`", show_default=False)],
    strength: Annotated[Path, typer.Option(help="the Parquet of `strength`", show_default=False)],
    output: Output,
    positives: Annotated[
        Literal["exact", "quantile", "auto"], typer.Option(help="exact: S = 1; quantile: the top q")
    ] = "auto",
    q: Annotated[float, typer.Option(help="the quantile")] = 0.25,
    max_per_class: Annotated[int, typer.Option(min=1, help="at most this many a class")] = 200_000,
    min_per_class: Annotated[int, typer.Option(min=1, help="fewer in a class is an error")] = 50,
    scorer: Annotated[Literal["auto", "fasttext", "hashed"], typer.Option(help="kind of scorer")] = "auto",
    epoch: Annotated[int, typer.Option(min=1, help="fastText: passes")] = 3,
    lr: Annotated[float, typer.Option(help="fastText: learning rate")] = 0.1,
    word_ngrams: Annotated[int, typer.Option(min=1, help="longest n-gram of words")] = 2,
    dim: Annotated[int, typer.Option(min=1, help="fastText: width")] = 100,
    bucket: Annotated[
        int, typer.Option(min=1, help="fastText: buckets; officially 2000000 (800 MB)")
    ] = 200_000,
    holdout: Annotated[float, typer.Option(help="share of labels kept for the report")] = 0.1,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train a scorer on the most and the least predictive documents: OUTPUT is a folder."""
    from firsthand.data.preselect.scorers import make_scorer
    from firsthand.data.preselect.stages import read_seed, train_from_strength

    parameters: dict[str, Any] = {"word_ngrams": word_ngrams, "seed": seed}
    if scorer != "hashed":
        parameters.update(epoch=epoch, lr=lr, dim=dim, bucket=bucket)
    report = train_from_strength(
        read_seed(documents),
        strength,
        make_scorer(scorer, **parameters),
        output,
        positives=positives,
        q=q,
        max_per_class=max_per_class,
        min_per_class=min_per_class,
        holdout=holdout,
        seed=seed,
    )
    _show(report, _scorer_lines(report), as_json)


def _scorer_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
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


@app.command("score")
def score_command(
    inputs: Inputs,
    scorer: Annotated[Path, typer.Option(help="the folder of `train`", show_default=False)],
    output: Output,
    text_field: TextField = "text",
    id_field: IdField = "id",
    text_unit: TextUnit = "file",
    tokenizer: Annotated[
        str | None, typer.Option(help="count tokens too: tokenizer.json, folder, name")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score a corpus: OUTPUT gets a compact Parquet file for each input."""
    from firsthand.data.preselect.corpus import score_corpus
    from firsthand.data.preselect.scorers import load_scorer
    from firsthand.data.preselect.stages import token_counter

    files = find_inputs(inputs)
    loaded = load_scorer(scorer)
    with _progress(quiet) as update:
        scored = score_corpus(
            loaded,
            files,
            output,
            layout=Layout(text_field, id_field, None, text_unit),
            count_tokens=token_counter(tokenizer) if tokenizer else None,
            token_name=tokenizer or "",
            on_progress=update,
        )
    _show(
        {"documents": scored.n_docs, "unscored": scored.n_unscored, "scorer_sha256": scored.scorer},
        [
            ("documents", str(scored.n_docs)),
            ("unscored (empty)", str(scored.n_unscored)),
            ("scorer", scored.scorer[:16]),
        ],
        as_json,
    )


@app.command("select")
def select_command(
    inputs: Inputs,
    scores: Annotated[Path, typer.Option(help="the folder of `score`", show_default=False)],
    output: Output,
    fraction: Annotated[float, typer.Option(help="how much to keep, above 0 and at most 1")] = 0.1,
    measure: Annotated[
        Literal["chars", "tokens", "docs"], typer.Option(help="what the fraction is of")
    ] = "chars",
    text_field: TextField = "text",
    id_field: IdField = "id",
    text_unit: TextUnit = "file",
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Keep the top of a scored corpus: OUTPUT gets the kept documents and manifest.json."""
    from firsthand.data.preselect.corpus import select_corpus

    with _progress(quiet) as update:
        manifest = select_corpus(
            find_inputs(inputs),
            scores,
            output,
            fraction=fraction,
            measure=measure,
            layout=Layout(text_field, id_field, None, text_unit),
            seed=seed,
            on_progress=update,
        )
    _show(manifest, _selection_lines({"measure": measure, **manifest["threshold"]}), as_json)


def _selection_lines(cut: dict[str, Any]) -> list[tuple[str, str]]:
    n, measure = cut["scored_docs"], cut["measure"]
    return [
        ("threshold", f"{cut['value']:.6f}"),
        ("kept", f"{cut['kept_docs']} of {n} documents"),
        (
            f"kept {measure}",
            f"{cut['kept_fraction']:.4%} (asked {cut['fraction']:.4%}) of {cut['total_size']}",
        ),
        ("never kept (empty)", str(cut["unscored_docs"])),
    ]


@app.command("explain")
def explain_command(
    scorer: Annotated[Path, typer.Argument(help="the folder of `train`", show_default=False)],
    top: Annotated[int, typer.Option(min=1, help="words each way")] = 50,
    as_json: AsJson = False,
) -> None:
    """The words that push the score up and down most."""
    from firsthand.data.preselect.scorers import load_scorer

    words = load_scorer(scorer).contributions(top)
    if as_json:
        typer.echo(
            json.dumps([{"word": w, "contribution": c} for w, c in words], indent=2, ensure_ascii=False)
        )
        return
    for word, contribution in words:
        typer.echo(f"{contribution:+.4f}  {word}")


@app.command("run")
def run_command(
    config: Annotated[Path | None, typer.Argument(help="a TOML file", show_default=False)] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="write a commented config file")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """All stages, from a folder of documents to the kept ones; run again to resume."""
    from firsthand.data.preselect.config import commented_toml, read_config

    if print_config:
        typer.echo(commented_toml(), nl=False)
        return
    if config is None:
        raise InputError("name a config file; --print-config writes one to start from")
    from firsthand.data.preselect.stages import run

    settings = read_config(config)
    with _progress(quiet) as update:
        summary = run(settings, on_progress=update)
    lines = [
        ("corpus", f"{summary['documents']} documents"),
        ("seed sample", f"{summary['sample']['documents']} documents"),
        *_strength_lines(summary["strength"])[1:],
        *_scorer_lines(summary["scorer"]),
        *_selection_lines(summary["selection"]),
        ("written to", summary["kept"]),
    ]
    _show(summary, lines, as_json)
