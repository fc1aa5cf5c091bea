"""The verbs of `firsthand duodecoding`, a thin shell over the room's functions.

New text and figures go to stdout, progress to stderr. Errors are raised as `FirsthandError`; whoever mounts
`app` prints them and exits 2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from firsthand.decoding.command_line import (
    AsJson,
    Prompt,
    PromptFile,
    Quiet,
    encoded,
    end_of_text,
    load_target,
    prompt_text,
    streamed_text,
)
from firsthand.errors import InputError

__all__ = ["app"]

app = typer.Typer(
    name="duodecoding",
    help="Draft on the CPU while the target checks: the target's own text, sooner (arXiv 2503.00784).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Target = Annotated[
    str,
    typer.Option(help="the model whose text it is: folder, .gguf, installed or hub name", show_default=False),
]
DraftName = Annotated[
    str, typer.Option("--draft", help="a small model with the same tokenizer", show_default=False)
]
RunnerName = Annotated[
    Literal["framework", "lean", "int8", "ngram"],
    typer.Option("--draft-runner", help="how the draft runs: transformers, bare, quantised, n-gram file"),
]
Executor = Annotated[
    Literal["thread", "process", "serial"],
    typer.Option(help="where the draft runs: thread beside a GPU, process beside a CPU"),
]
Device = Annotated[str, typer.Option(help="of the target: auto, cpu, cuda")]
NewTokens = Annotated[int, typer.Option("--max-new-tokens", min=0, help="how many tokens, at most")]
Budget = Annotated[str, typer.Option(help="drafted tokens a round: auto, or a number")]


@app.command("generate")
def generate_command(
    target: Target,
    draft: DraftName,
    prompt: Prompt = None,
    prompt_file: PromptFile = None,
    max_new_tokens: NewTokens = 128,
    budget: Budget = "auto",
    max_sequences: Annotated[int, typer.Option(min=1, help="continuations a round, at most")] = 8,
    executor: Executor = "process",
    draft_runner: RunnerName = "framework",
    device: Device = "auto",
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy")] = 0.0,
    top_k: Annotated[int, typer.Option(min=0, help="0 is off")] = 0,
    top_p: Annotated[float, typer.Option(help="1 is off")] = 1.0,
    min_p: Annotated[float, typer.Option(help="0 is off")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="of the draws")] = 0,
    stop: Annotated[list[str] | None, typer.Option(help="a text that ends the answer; repeat")] = None,
    ignore_eos: Annotated[bool, typer.Option("--ignore-eos", help="go on after the end of text")] = False,
    fallback: Annotated[bool, typer.Option(help="decode plainly where speculation is slower")] = True,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Go on from a text; streams it to stdout, the report to stderr (or both as JSON)."""
    from firsthand.decoding.duodecoding.decoder import DuoDecoder
    from firsthand.decoding.duodecoding.loading import draft_recipe
    from firsthand.lm.decoding import SamplingParams, Stop

    text = prompt_text(prompt, prompt_file)
    sampling = SamplingParams(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed)
    loaded, model = load_target(target, device)
    ids = encoded(loaded.tokenizer, text)
    ends = Stop(
        ids=end_of_text(loaded.tokenizer, ignore=ignore_eos),
        strings=tuple(stop or ()),
        tokenizer=loaded.tokenizer,
    )
    with DuoDecoder(
        model,
        draft_recipe(draft, draft_runner),
        budget=_budget(budget),
        max_sequences=max_sequences,
        executor=executor,
        fallback=fallback,
    ) as decoder:
        result, written = streamed_text(
            decoder.stream(ids, max_new_tokens, sampling, ends), loaded.tokenizer, quiet=as_json
        )
    report = {"target": target, "draft": draft, **result.as_dict(), "text": written}
    if as_json:
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    if not quiet:
        typer.echo(
            f"{len(result.tokens)} tokens in {result.wall_s:.2f} s ({result.tokens_per_s:.1f} a second), "
            f"{result.tokens_per_round:.2f} a round, first token after {1000 * result.ttft_s:.0f} ms"
            + ("; fell back to plain decoding, which is faster here" if result.fell_back else ""),
            err=True,
        )


@app.command("profile")
def profile_command(
    target: Target,
    draft: DraftName,
    context_len: Annotated[int, typer.Option(min=1, help="tokens of context to time at")] = 256,
    repeats: Annotated[int, typer.Option(min=1, help="steps that the median is of")] = 20,
    draft_runner: RunnerName = "framework",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Time both models and say which budget would keep both busy."""
    from firsthand.decoding.duodecoding.budget import draft_budget, profile
    from firsthand.decoding.duodecoding.loading import load_draft

    _, model = load_target(target, device)
    measured = profile(model, load_draft(draft, draft_runner), context_len, repeats)
    budget = draft_budget(measured)
    if as_json:
        typer.echo(json.dumps({**measured.as_dict(), "budget": budget}, indent=2))
        return
    typer.echo(f"draft step        {measured.draft_ms:.3f} ms")
    for count, ms in sorted(measured.target_ms.items()):
        typer.echo(f"target, {count:>2} tokens  {ms:.3f} ms")
    typer.echo(f"c                 {measured.ratio:.2f} draft steps in one target pass")
    typer.echo(f"budget            {budget} drafted tokens a round")


@app.command("bench")
def bench_command(
    target: Target,
    draft: DraftName,
    prompt_file: Annotated[list[Path], typer.Option(help="a text to go on from; repeat", show_default=False)],
    max_new_tokens: Annotated[int, typer.Option(min=1, help="exactly so many a prompt")] = 96,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="each text is cut to so many")] = 64,
    repeats: Annotated[int, typer.Option(min=1, help="the median of so many")] = 3,
    draft_runner: RunnerName = "framework",
    executor: Executor = "process",
    budget: Budget = "auto",
    emulate_target_ms: Annotated[
        float, typer.Option(min=0, help="let the target take so long a pass, as a GPU would; 0 is off")
    ] = 0.0,
    device: Device = "auto",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Time DuoDecoding beside plain decoding, turns at their best length, prompt lookup and transformers' own.

    The best length of the turns is found on the first prompt, so give a prompt more than you judge by. All are
    greedy and give the same number of tokens; a text that differs from plain decoding's is said so.
    """
    from firsthand.decoding.duodecoding.bench import bench, bench_lines

    loaded, model = load_target(target, device)
    ids = [encoded(loaded.tokenizer, prompt_text(None, path))[:prompt_tokens] for path in prompt_file]
    report = bench(
        model,
        draft,
        ids,
        max_new_tokens,
        runner=draft_runner,
        executor=executor,
        budget=_budget(budget),
        repeats=repeats,
        emulate_target_ms=emulate_target_ms,
        on_progress=None if quiet else _progress,
    )
    if not quiet:
        typer.echo("", err=True)
    typer.echo(
        json.dumps({"target": target, "draft": draft, **report}, indent=2) if as_json else bench_lines(report)
    )


def _progress(done: int, total: int) -> None:
    typer.echo(f"\r{done} of {total} texts", nl=False, err=True)


def _budget(given: str) -> Any:
    if given == "auto":
        return "auto"
    try:
        return int(given)
    except ValueError:
        raise InputError(f"--budget {given!r} is neither auto nor a number") from None
