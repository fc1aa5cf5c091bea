"""The verbs of `firsthand visual-rft`, a thin shell over the room's functions.

Figures and rows go to stdout, progress to stderr. Errors are raised as `FirsthandError`; whoever mounts `app`
prints them and exits 2.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from firsthand.errors import InputError

__all__ = ["app"]

app = typer.Typer(
    name="visual-rft",
    help="Rewards by rule for pictures: boxes, names, regions; rows from your files (arXiv 2503.01785).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="print figures as JSON")]


@app.command("convert")
def convert_command(
    source: Annotated[
        Path, typer.Argument(help="a COCO or JSON(L) file, or a folder with a subfolder a class")
    ],
    output: Annotated[Path, typer.Option(help="the JSONL file to write", show_default=False)],
    images: Annotated[
        Path | None, typer.Option(help="where pictures lie; beside the file where absent")
    ] = None,
    layout: Annotated[str, typer.Option(help="of boxes in a JSON file: xyxy, xywh, cxcywh")] = "xyxy",
    scale: Annotated[
        float | None, typer.Option(min=0, help="what width and height count as: 1, 1000; pixels where absent")
    ] = None,
    category: Annotated[list[str] | None, typer.Option(help="of a COCO file, only this; repeat")] = None,
    negatives: Annotated[
        int, typer.Option(min=0, help="of a COCO file: rows a picture that ask for what is not there")
    ] = 0,
    domain: Annotated[
        str, typer.Option(help="what pictures show, for class names")
    ] = "one of several classes",
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Turn annotations into rows: picture, question, solution."""
    from firsthand.launch.cache import write_atomically
    from firsthand.training.visual_rft.data import is_coco, rows_from_coco, rows_from_folder, rows_from_json
    from firsthand.vision import BoxFormat

    if source.is_dir():
        rows = rows_from_folder(source, domain=domain)
    elif is_coco(source):
        rows = rows_from_coco(
            source, images or source.parent, categories=category, negatives=negatives, seed=seed
        )
    else:
        if layout not in ("xyxy", "xywh", "cxcywh"):
            raise InputError(f"--layout {layout!r}: choose xyxy, xywh or cxcywh")
        if scale is None and layout != "xyxy":
            raise InputError("--layout needs --scale: what width and height count as")
        form = None if scale is None else BoxFormat(layout, scale)  # type: ignore[arg-type]
        rows = rows_from_json(source, images, form=form, domain=domain)
    beside = output.parent.resolve()  # where a reader of the rows looks for pictures
    lines = [{**row, "image": os.path.relpath(Path(row["image"]).resolve(), beside)} for row in rows]
    write_atomically(output, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    typer.echo(f"{len(rows)} rows: {output}")


@app.command("audit-reward")
def audit_command(
    task: Annotated[str, typer.Option(help="detect, classify or ground")] = "detect",
    rule: Annotated[
        str,
        typer.Option(
            help="of detect: published or earned; of classify: exact or substring; of ground: giou, diou, iou"
        ),
    ] = "",
    form: Annotated[bool, typer.Option(help="add the reward for the form of the answer")] = True,
    reward: Annotated[
        str | None, typer.Option(help="your own instead: MODULE:FUNCTION(completions, **columns)")
    ] = None,
    classes: Annotated[str, typer.Option(help="names of classes, with commas between")] = "cat,dog,bus",
    as_json: AsJson = False,
) -> None:
    """Try the known ways to cheat on a reward, and list each that earns more than an honest near miss."""
    from firsthand.training.visual_rft import Detection, audit_reward

    names = [name.strip() for name in classes.split(",") if name.strip()]
    truth: Any = {
        "detect": [Detection((100.0, 100.0, 400.0, 400.0)), Detection((600.0, 600.0, 700.0, 900.0))],
        "classify": names[0] if names else "",
        "ground": (200.0, 300.0, 500.0, 600.0),
    }.get(task)
    if truth is None:
        raise InputError(f"--task {task!r}: choose detect, classify or ground")
    function = _own(reward) if reward else _built_in(task, rule, form, names)
    found = audit_reward(function, truth, names, task=task)  # type: ignore[arg-type]
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in found], indent=2))
        return
    if not found:
        typer.echo("none of the known tricks earns more than an honest near miss")
    for finding in found:
        typer.echo(
            f"{finding.reward:6.3f}  {finding.trick}   (an honest near miss earns {finding.honest:.3f})"
        )


@app.command("rollouts")
def rollouts_command(
    file: Annotated[Path, typer.Argument(help="a JSONL file of rollouts")],
    step: Annotated[int | None, typer.Option(min=1, help="only this step; the last one where absent")] = None,
    every: Annotated[bool, typer.Option("--all", help="of all steps, means only")] = False,
    best: Annotated[int, typer.Option(min=1, help="answers shown, the best and the worst")] = 3,
    as_json: AsJson = False,
) -> None:
    """Show what a run sampled and what it earned."""
    from firsthand.rl.rollouts import read_rollouts, summary

    lines = list(read_rollouts(file))
    if not lines:
        raise InputError(f"{file} holds no rollouts")
    if every:
        rows = summary(lines)
        if as_json:
            typer.echo(json.dumps(rows, indent=2))
            return
        for row in rows:
            parts = "  ".join(f"{name} {value:.3f}" for name, value in row["rewards"].items())
            typer.echo(
                f"step {row['step']:>5}  total {row['total']:.3f}  {parts}  ({row['answers']} answers)"
            )
        return
    wanted = step or lines[-1]["step"]
    chosen = [line for line in lines if line["step"] == wanted]
    if not chosen:
        raise InputError(f"{file} has no step {wanted}; it has 1 to {lines[-1]['step']}")
    if as_json:
        typer.echo(json.dumps(chosen, indent=2, ensure_ascii=False))
        return
    ranked = sorted(chosen, key=lambda line: -(line["total"] or 0.0))
    shown = ranked if len(ranked) <= 2 * best else [*ranked[:best], *ranked[-best:]]
    typer.echo(f"step {wanted}: {len(chosen)} answers, {len(shown)} shown")
    for line in shown:
        parts = ", ".join(
            f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in line["rewards"].items()
        )
        typer.echo(
            f"\n{'-' if line['total'] is None else format(line['total'], '.3f')}  ({parts})\n{line['completion']}"
        )


def _built_in(task: str, rule: str, form: bool, names: list[str]) -> Any:
    from firsthand.rl import Rewards
    from firsthand.training.visual_rft import trl_reward

    rules = {
        "detect": ("published", "earned"),
        "classify": ("exact", "substring"),
        "ground": ("giou", "diou", "iou"),
    }[task]
    chosen = rule or rules[0]
    if chosen not in rules:
        raise InputError(f"--rule {rule!r}: for {task} choose {', '.join(rules)}")
    if task == "detect":
        parts = [trl_reward("iou"), trl_reward("confidence", confidence_requires_match=chosen == "earned")]
    elif task == "classify":
        options: dict[str, Any] = {"mode": "substring"} if chosen == "substring" else {"classes": names}
        parts = [trl_reward("class", **options)]
    else:
        parts = [trl_reward("grounding", kind=chosen)]
    if form:
        parts.append(trl_reward("format"))
    rewards = Rewards(parts)
    return lambda completions, **columns: rewards(completions, **columns).total.tolist()


def _own(name: str) -> Any:
    """A function of the user's, by MODULE:FUNCTION; the folder that she is in counts."""
    import importlib
    import sys

    module, _, function = name.partition(":")
    if not module or not function:
        raise InputError(f"--reward {name!r}: write MODULE:FUNCTION")
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(f"--reward {name!r} cannot be loaded ({error})") from error
    finally:
        if added:
            sys.path.remove(here)


@app.command("fit")
def fit_command(
    config: Annotated[Path | None, typer.Argument(help="a TOML file", show_default=False)] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="write a commented config file")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a vision-language model learn from rewards on your rows, or imitate them: the control."""
    from firsthand.launch.settings import commented_toml, read_settings
    from firsthand.training.visual_rft.config import FitSettings

    if print_config:
        examples = {"model": "models/llava", "rows": "rows.jsonl", "output": "fitted"}
        typer.echo(commented_toml(FitSettings, "firsthand visual-rft fit", examples), nl=False)
        return
    if config is None:
        raise InputError("name a config file; --print-config writes one to start from")
    settings = read_settings(config, FitSettings)
    from firsthand.training.visual_rft.running import run

    report = run(settings)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    for part, before in report["before"].items():
        for name, value in before.items():
            after = report["after"][part][name]
            typer.echo(
                f"{part:<9} {name:<22} {value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})  ->  "
                f"{after['value']:.3f} ({after['low']:.3f} to {after['high']:.3f}), {value['n']} pictures"
            )
    rewards = [line["reward"] for line in report["history"] if "reward" in line]
    if rewards:
        typer.echo(
            f"reward    {rewards[0]:.3f} at the first step, {rewards[-1]:.3f} at the last of {len(rewards)}"
        )
    typer.echo(f"written to {settings.output}")


@app.command("eval")
def eval_command(
    model: Annotated[
        str, typer.Option(help="a vision-language model: folder or hub name", show_default=False)
    ],
    rows: Annotated[Path, typer.Option(help="JSONL of rows", show_default=False)],
    task: Annotated[str, typer.Option(help="detect, classify or ground")] = "detect",
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 1024,
    batch: Annotated[int, typer.Option(min=1, help="pictures at once")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Greedy answers to rows, measured with intervals."""
    from firsthand.training.visual_rft.config import read_rows
    from firsthand.training.visual_rft.fitting import evaluate
    from firsthand.training.visual_rft.running import load_model

    if task not in ("detect", "classify", "ground"):
        raise InputError(f"--task {task!r}: choose detect, classify or ground")
    given = read_rows(rows)
    loaded, processor = load_model(model, device=device, dtype=dtype)
    found = evaluate(loaded, processor, given, task, max_new_tokens=max_new_tokens, batch=batch)  # type: ignore[arg-type]
    if as_json:
        typer.echo(json.dumps({name: value._asdict() for name, value in found.items()}, indent=2))
        return
    for name, value in found.items():
        typer.echo(f"{name:<22} {value.value:.3f} ({value.low:.3f} to {value.high:.3f}), {value.n} pictures")
