"""The verbs of `firsthand preselect`, a thin shell over the room's functions.

Figures go to stdout, progress to stderr. Errors are raised as `FirsthandError`; whoever mounts `app` prints
them and exits 2.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from firsthand.corpora.files import Layout, find_inputs
from firsthand.corpora.near_duplicates import NearDuplicateWarning
from firsthand.corpora.output import only_writer
from firsthand.data.preselect.printing import (
    progress_bars,
    sample_lines,
    scorer_lines,
    selection_lines,
    show,
    strength_lines,
)
from firsthand.errors import InputError
from firsthand.launch import this_rank

__all__ = ["app"]

app = typer.Typer(
    name="preselect",
    help="Keep the documents on which better models lose less (arXiv 2503.00808).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Inputs = Annotated[
    list[str], typer.Argument(help="files or folders of documents, local or URLs", show_default=False)
]
Output = Annotated[Path, typer.Option("--output", help="where results go", show_default=False)]
TextField = Annotated[str, typer.Option(help="the field that holds the text")]
IdField = Annotated[str, typer.Option(help="the field that holds a unique id")]
TextUnit = Annotated[
    Literal["file", "paragraph", "line"], typer.Option(help="what one document is in a .txt")
]
Place = Annotated[
    str, typer.Option("--output", help="where results go: a folder or a URL", show_default=False)
]
Workers = Annotated[int, typer.Option(min=1, help="processes or actors; with engine inline, one")]
Address = Annotated[str | None, typer.Option(help="of a Ray cluster; without it, Ray starts here")]
Seed = Annotated[int, typer.Option(help="seeds every random choice")]
AsJson = Annotated[bool, typer.Option("--json", help="print figures as JSON")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress")]


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
    seed_docs: Annotated[int, typer.Option(min=2, help="size of the seed sample, at most")] = 2000,
    min_chars: Annotated[int, typer.Option(min=1, help="shorter documents are not sampled")] = 200,
    max_chars: Annotated[
        int, typer.Option(min=1, help="longer ones are cut, the same for all models")
    ] = 4000,
    stratify_by: Annotated[
        Literal["source", "domain"] | None,
        typer.Option(help="draw as many from each source, or each web domain of it"),
    ] = None,
    per_group: Annotated[int, typer.Option(min=1, help="documents of each group, if stratified")] = 300,
    max_groups: Annotated[int, typer.Option(min=1, help="groups, if stratified: the most frequent")] = 3000,
    near_duplicates: Annotated[
        Literal["drop", "warn", "ignore"], typer.Option(help="what to do with near-duplicates in the sample")
    ] = "drop",
    block: Annotated[int, typer.Option(min=2, help="longest window of tokens")] = 1900,
    stride: Annotated[int, typer.Option(min=1, help="new tokens in each further window")] = 512,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps")] = "auto",
    dtype: Annotated[str | None, typer.Option(help="precision, such as bfloat16")] = None,
    engine: Annotated[
        Literal["inline", "ray"],
        typer.Option(help="where models run; torchrun starts this command several times"),
    ] = "inline",
    workers: Workers = 1,
    address: Address = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Draw a seed sample and measure every model's loss on it: OUTPUT/seed.jsonl, OUTPUT/losses.

    Under torchrun each process measures its share, on its own GPU, and the first one prints.
    """
    from firsthand.data.preselect.losses import read_losses
    from firsthand.data.preselect.sampling import sample_seed
    from firsthand.data.preselect.shared_losses import sample_and_measure
    from firsthand.data.preselect.stages import local_folder, require_models

    output = local_folder(output)
    require_models(model)
    if engine == "inline" and (workers != 1 or address is not None):
        raise InputError(
            "workers and an address are for --engine ray; torchrun starts several processes by itself"
        )
    seed_file, folder = output / "seed.jsonl", output / "losses"
    alone = only_writer(output) if this_rank().first else contextlib.nullcontext()
    with alone, progress_bars(quiet or not this_rank().first) as update, warnings.catch_warnings():
        warnings.simplefilter("ignore", NearDuplicateWarning)  # it is printed
        sample = sample_and_measure(
            lambda: sample_seed(
                find_inputs(inputs),
                seed_file,
                layout=Layout(text_field, id_field, source_field, text_unit),
                seed=seed,
                seed_docs=seed_docs,
                min_chars=min_chars,
                max_chars=max_chars,
                stratify_by=stratify_by,
                per_group=per_group,
                max_groups=max_groups,
                near_duplicates=near_duplicates,
                on_progress=update,
            ),
            seed_file,
            {name: name for name in model},
            folder,
            block=block,
            stride=stride,
            device=device,
            dtype=dtype,
            engine=engine,
            workers=workers,
            address=address,
            on_progress=update,
        )
    if sample is None:  # another process under torchrun reports
        return
    matrix = read_losses(folder, list(dict.fromkeys(model)))
    bits = matrix.bits_per_char()
    means = {}
    for column, name in enumerate(matrix.models):
        there = bits[:, column][bits[:, column] == bits[:, column]]
        means[name] = float(there.mean()) if there.size else None
    show(
        {
            "documents": len(sample.documents),
            "incomplete": matrix.incomplete,
            "bits_per_char": means,
            "sample": sample.as_dict(),
        },
        [
            *sample_lines(sample.as_dict()),
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
    compare: Annotated[
        bool, typer.Option("--compare", help="also rank the documents by two other estimators")
    ] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Predictive strength of every document and how sure it is: OUTPUT is a Parquet file."""
    from firsthand.data.preselect.sampling import read_seed
    from firsthand.data.preselect.stages import write_strength

    report = write_strength(
        losses,
        _pairs(ability, "--ability"),
        output,
        documents=None if documents is None else read_seed(documents),
        ties=ties,
        min_gap=min_gap,
        compare=compare,
        seed=seed,
    )
    show(report, strength_lines(report), as_json)


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
    from firsthand.data.preselect.sampling import read_seed
    from firsthand.data.preselect.scorers import make_scorer
    from firsthand.data.preselect.stages import train_from_strength

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
    show(report, scorer_lines(report), as_json)


@app.command("score")
def score_command(
    inputs: Inputs,
    scorer: Annotated[Path, typer.Option(help="the folder of `train`", show_default=False)],
    output: Place,
    text_field: TextField = "text",
    id_field: IdField = "id",
    source_field: Annotated[
        str | None, typer.Option(help="the field that quotas go by; absent: the file")
    ] = None,
    text_unit: TextUnit = "file",
    tokenizer: Annotated[
        str | None, typer.Option(help="count tokens too: tokenizer.json, folder, name")
    ] = None,
    engine: Annotated[
        Literal["inline", "local", "ray"], typer.Option(help="this process, several, or Ray's actors")
    ] = "inline",
    workers: Workers = 1,
    address: Address = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score a corpus: OUTPUT gets a compact Parquet file for each input."""
    from firsthand.data.preselect.scoring import score_corpus

    files = find_inputs(inputs)
    with progress_bars(quiet) as update:
        scored = score_corpus(
            scorer,
            files,
            output,
            layout=Layout(text_field, id_field, source_field, text_unit),
            tokenizer=tokenizer,
            engine=engine,
            workers=workers,
            address=address,
            on_progress=update,
        )
    show(
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
    scores: Annotated[str, typer.Option(help="the folder of `score`", show_default=False)],
    output: Place,
    fraction: Annotated[
        float | None, typer.Option(help="how much to keep, above 0 and at most 1; 0.1 without --amount")
    ] = None,
    amount: Annotated[
        int | None, typer.Option(min=1, help="or how many characters, tokens or documents")
    ] = None,
    measure: Annotated[
        Literal["chars", "tokens", "docs"], typer.Option(help="what the fraction is of")
    ] = "chars",
    max_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="no source fills more than this share of what is kept")
    ] = None,
    source_share: Annotated[
        list[str] | None, typer.Option("--source-share", help="SOURCE=SHARE for one source; repeat")
    ] = None,
    text_field: TextField = "text",
    id_field: IdField = "id",
    text_unit: TextUnit = "file",
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Keep the top of a scored corpus: OUTPUT gets the kept documents and manifest.json."""
    from firsthand.data.preselect.corpus import select_corpus

    if max_share is not None and source_share:
        raise InputError("give --max-share for all sources, or --source-share for some, not both")
    with progress_bars(quiet) as update:
        manifest = select_corpus(
            find_inputs(inputs),
            scores,
            output,
            fraction=fraction,
            amount=amount,
            max_share=_pairs(source_share, "--source-share") if source_share else max_share,
            measure=measure,
            layout=Layout(text_field, id_field, None, text_unit),
            seed=seed,
            on_progress=update,
        )
    show(
        manifest,
        selection_lines({"measure": measure, "quotas": manifest.get("quotas"), **manifest["threshold"]}),
        as_json,
    )


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
    with progress_bars(quiet) as update:
        summary = run(settings, on_progress=update)
    lines = [
        ("corpus", f"{summary['documents']} documents"),
        *sample_lines(summary["sample"]),
        *strength_lines(summary["strength"])[1:],
        *scorer_lines(summary["scorer"]),
        *selection_lines(summary["selection"]),
        ("written to", summary["kept"]),
    ]
    show(summary, lines, as_json)
