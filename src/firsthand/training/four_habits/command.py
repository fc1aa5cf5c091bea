"""The verbs of `firsthand four-habits`, a thin shell over the room's functions.

Lines of data and figures go to stdout. Errors are raised as `FirsthandError`; whoever mounts `app` prints them and
exits 2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from firsthand.errors import InputError
from firsthand.launch.lines import read_json_lines

__all__ = ["app"]

app = typer.Typer(
    name="four-habits",
    help="Habits of reasoning: count them in traces, write traces that show them (arXiv 2503.01307).",
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
    rules: Annotated[Path | None, typer.Option(help="a TOML file of patterns of your own")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print figures as JSON")] = False,
) -> None:
    """Count verification, backtracking, subgoals and backward chaining in traces."""
    from functools import partial

    from firsthand.training.four_habits import (
        BEHAVIOURS,
        Problem,
        count_meaning,
        count_rules,
        profile,
        read_rules,
    )

    if by not in ("rules", "meaning"):
        raise InputError(f"--by {by!r}: choose rules or meaning")
    lines = _lines(file, text)
    known = [line for line in lines if "numbers" in line and "target" in line]
    problems = None
    if len(known) == len(lines):
        problems = [Problem(tuple(int(n) for n in line["numbers"]), int(line["target"])) for line in lines]
    elif by == "meaning":
        raise InputError(
            f"{file}: by meaning every line needs numbers and a target; {len(known)} of {len(lines)} have them"
        )
    counter: Any = count_meaning if by == "meaning" else partial(count_rules, rules=read_rules(rules))
    found = profile([str(line[text]) for line in lines], problems, counter)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
        return
    typer.echo(f"{found.traces} traces of {found.tokens:.0f} tokens on average, by {by}")
    for name in BEHAVIOURS:
        mean, low, high = found.means[name]
        typer.echo(
            f"{name:<18} {mean:6.2f} a trace ({low:.2f} to {high:.2f})  {found.rates[name]:6.2f} per 1 000 tokens  "
            f"in {found.shares[name]:.0%} of traces"
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
