"""The verbs of `firsthand four-habits`, a thin shell over the room's functions.

Lines of data and figures go to stdout. Errors are raised as `FirsthandError`; whoever mounts `app` prints them and
exits 2.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from firsthand.errors import InputError
from firsthand.launch.lines import read_json_lines

__all__ = ["app"]

app = typer.Typer(
    name="four-habits",
    help="Habits of reasoning: count them, prime a model with them, see what it then learns (arXiv 2503.01307).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command("prime")
def prime_command(
    output: Annotated[Path, typer.Option(help="the JSONL file to write", show_default=False)],
    kind: Annotated[str, typer.Option(help="which habits, or which control")] = "all_strategies",
    count: Annotated[int, typer.Option(min=1, help="problems")] = 1000,
    sizes: Annotated[str, typer.Option(help="how many numbers a problem has, with commas between")] = "3,4",
    numbers: Annotated[tuple[int, int], typer.Option(help="range of the numbers")] = (1, 24),
    targets: Annotated[tuple[int, int], typer.Option(help="range of the targets")] = (10, 25),
    model: Annotated[
        str | None, typer.Option(help="whose tokenizer counts dots: folder or installed name")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Write a priming set for Countdown: prompts and completions that show chosen habits, or a control of them."""
    from firsthand.launch.cache import write_atomically
    from firsthand.training.four_habits import generate, make_priming

    tokenizer = None
    if model is not None:
        from firsthand.lm.models import load

        tokenizer = load(model, device="cpu").tokenizer
    try:
        many = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        raise InputError(f"--sizes {sizes!r}: write numbers such as 3,4") from None
    problems = generate(count, sizes=many, number_range=numbers, target_range=targets, seed=seed)
    examples = make_priming(problems, kind, tokenizer=tokenizer, seed=seed)
    lines = [
        {
            "prompt": example.prompt, "completion": example.completion, "numbers": list(example.problem.numbers),
            "target": example.problem.target, "kind": example.kind, "correct": example.correct,
        }
        for example in examples
    ]  # fmt: skip
    write_atomically(output, "".join(json.dumps(line) + "\n" for line in lines))
    typer.echo(f"{len(lines)} examples of {kind}: {output}")


@app.command("profile")
def profile_command(
    file: Annotated[Path, typer.Argument(help="JSONL of traces")],
    text: Annotated[str, typer.Option(help="the field that holds a trace")] = "completion",
    by: Annotated[
        str, typer.Option(help="rules, or meaning (steps computed again; needs numbers and target)")
    ] = "rules",
    beside: Annotated[
        str | None, typer.Option(help="a second way to count: how far both agree (Cohen's kappa)")
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="a TOML file of patterns of your own")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print figures as JSON")] = False,
) -> None:
    """Count verification, backtracking, subgoals and backward chaining in traces."""
    from functools import partial

    from firsthand.training.four_habits import (
        BEHAVIOURS,
        Problem,
        agreement,
        count_all,
        count_meaning,
        count_rules,
        profile_counts,
        read_rules,
    )

    for way in (by, beside or by):
        if way not in ("rules", "meaning"):
            raise InputError(f"{way!r}: choose rules or meaning")
    lines = _lines(file, text)
    known = [line for line in lines if "numbers" in line and "target" in line]
    problems = None
    if len(known) == len(lines):
        problems = [Problem(tuple(int(n) for n in line["numbers"]), int(line["target"])) for line in lines]
    elif "meaning" in (by, beside):
        raise InputError(
            f"{file}: by meaning every line needs numbers and a target; {len(known)} of {len(lines)} have them"
        )
    ways: dict[str, Any] = {"meaning": count_meaning, "rules": partial(count_rules, rules=read_rules(rules))}
    traces = [str(line[text]) for line in lines]
    counts = count_all(traces, problems, ways[by])
    found = profile_counts(counts)
    kappa = {} if beside is None else agreement(counts, count_all(traces, problems, ways[beside]))
    if as_json:
        defined = {name: None if math.isnan(value) else value for name, value in kappa.items()}
        typer.echo(json.dumps({**found.as_dict(), **({"kappa": defined} if kappa else {})}, indent=2))
        return
    typer.echo(f"{found.traces} traces of {found.tokens:.0f} tokens on average, by {by}")
    for name in BEHAVIOURS:
        mean, low, high = found.means[name]
        typer.echo(
            f"{name:<18} {mean:6.2f} a trace ({low:.2f} to {high:.2f})  {found.rates[name]:6.2f} per 1 000 tokens  "
            f"in {found.shares[name]:.0%} of traces" + (f"  kappa {kappa[name]:+.2f}" if kappa else "")
        )


def _lines(file: Path, text: str) -> list[dict[str, Any]]:
    found = []
    for number, entry in read_json_lines(file):
        if not isinstance(entry, dict) or text not in entry:
            raise InputError(
                f"{file}, line {number} has no field {text!r}; --text names the one that holds the trace"
            )
        found.append(entry)
    if not found:
        raise InputError(f"{file} holds no traces")
    return found


@app.command("enrich")
def enrich_command(
    source: Annotated[list[Path], typer.Argument(help="documents: text, JSONL or Parquet, files or folders")],
    output: Annotated[Path, typer.Option(help="folder for with.jsonl and without.jsonl", show_default=False)],
    keep: Annotated[
        str, typer.Option(help="habits that a document must show, with commas between")
    ] = "verification,backtracking",
    least: Annotated[int, typer.Option(min=1, help="how often it must show each")] = 1,
    text: Annotated[str, typer.Option(help="the field that holds a document's text")] = "text",
    longest: Annotated[int | None, typer.Option(min=1, help="tokens after which a document is cut")] = None,
    rules: Annotated[Path | None, typer.Option(help="a TOML file of patterns of your own")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="whose tokenizer counts tokens: folder or installed name; words without it"),
    ] = None,
    match: Annotated[
        bool, typer.Option("--match/--all", help="cut both sets to as many tokens, or keep all")
    ] = True,
) -> None:
    """Divide documents into those that show habits and those that show none, as much text of each."""
    from functools import partial

    from firsthand.corpora.files import Layout, find_inputs, read_documents
    from firsthand.launch.cache import write_atomically
    from firsthand.training.four_habits import BEHAVIOURS, count_rules, enrich, read_rules

    tokenizer = None
    if model is not None:
        from firsthand.lm.models import load

        tokenizer = load(model, device="cpu").tokenizer
    found = read_documents(find_inputs(source), Layout(text_field=text))
    documents = (document.text for document in found)
    sets = enrich(
        documents, partial(count_rules, rules=read_rules(rules)), keep=[name.strip() for name in keep.split(",")],
        least=least, tokenizer=tokenizer, longest=longest, match_tokens=match,
    )  # fmt: skip
    for name, some in zip(("with", "without"), sets, strict=True):
        lines = [
            {
                "text": one.text,
                "place": one.place,
                "tokens": one.tokens,
                **{h: one.counts.of(h) for h in BEHAVIOURS},
            }
            for one in some
        ]
        path = output / f"{name}.jsonl"
        write_atomically(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        typer.echo(
            f"{len(lines):>7} documents {name} habits, {sum(one.tokens for one in some)} tokens: {path}"
        )


@app.command("study")
def study_command(
    settings: Annotated[Path | None, typer.Argument(help="TOML file; --print-config writes one")] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="print a file with every setting")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print figures as JSON")] = False,
) -> None:
    """Prime a model in several ways, let each learn from the same rewards, and compare; run again to go on."""
    from firsthand.launch.settings import commented_toml, read_settings
    from firsthand.training.four_habits.config import StudySettings

    if print_config:
        examples = {"model": "gemma-3-270m", "output": "study"}
        typer.echo(commented_toml(StudySettings, "firsthand four-habits study", examples), nl=False)
        return
    if settings is None:
        raise InputError("give a settings file; --print-config writes one to start from")
    from firsthand.launch import Finished, this_rank
    from firsthand.training.four_habits.running import run_study

    def said(finished: Finished) -> None:
        how = "there already" if finished.resumed else f"{finished.wall_seconds:.0f} s"
        typer.echo(f"{finished.key}: {how}", err=True)

    read = read_settings(settings, StudySettings)
    study = run_study(read, on_finished=said)
    if not this_rank().first:
        return
    if as_json:
        typer.echo(json.dumps(study.as_dict(), indent=2))
        return
    first = next(iter(study.looks))
    head = ("condition", "accuracy primed", "after learning", "habits a trace", f"accuracy less {first}")
    typer.echo("{:<26} {:<24} {:<24} {:<16} {}".format(*head))
    for name in study.looks:
        points = study.curve(name)
        habits = " -> ".join(f"{sum(points[place]['habits'].values()):.2f}" for place in (0, -1))
        beside = "" if name == first else str(study.difference(name, first))
        cells = (name, str(study.accuracy(name, "primed")), str(study.accuracy(name)), habits, beside)
        typer.echo("{:<26} {:<24} {:<24} {:<16} {}".format(*cells).rstrip())
    if sum(map(len, study.looks.values())) >= 3:
        found = study.predict_gains()
        line = found.lines[found.best]
        typer.echo(
            f"gain from habits before learning, {found.models} models: "
            + (
                "no habit differs between them"
                if math.isnan(line.low)
                else f"{line.slope:+.3f} a count of {found.best} ({line.low:+.3f} to {line.high:+.3f}), "
                f"rank correlation {line.rank:+.2f}"
            )
        )
    typer.echo(f"written to {read.output}: report.json, curves.svg, and each run's model and rollouts")
