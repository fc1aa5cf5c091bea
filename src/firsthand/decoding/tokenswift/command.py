"""The verbs of `firsthand tokenswift`, a thin shell over the room's functions.

New text and figures go to stdout, progress to stderr. Errors are raised as `FirsthandError`; whoever mounts
`app` prints them and exits 2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

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
from firsthand.errors import InputError, OutputError

__all__ = ["app"]

app = typer.Typer(
    name="tokenswift",
    help="Very long texts sooner: a model drafts for itself and checks itself (arXiv 2502.18890).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Model = Annotated[str, typer.Option(help="folder, .gguf file, installed or hub name", show_default=False)]
Heads = Annotated[Path | None, typer.Option(help="trained heads; without them n-grams alone are re-used")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda")]
BranchingText = Annotated[
    str, typer.Option("--branching", help="guesses of each position, such as 1,3,3,3; auto; or chain")
]


@app.command("train-heads")
def train_heads_command(
    model: Model,
    text: Annotated[list[str], typer.Option(help="files or folders of text; repeat", show_default=False)],
    output: Annotated[Path, typer.Option(help="where the heads go (.safetensors)", show_default=False)],
    num_heads: Annotated[int, typer.Option(min=1, help="positions guessed beyond the next")] = 3,
    steps: Annotated[int, typer.Option(min=1)] = 200,
    learning_rate: Annotated[float, typer.Option(min=0)] = 5e-3,
    warmup: Annotated[int, typer.Option(min=0, help="steps of rising rate")] = 50,
    seq_len: Annotated[int, typer.Option(min=8, help="tokens of a window")] = 1024,
    batch_tokens: Annotated[int, typer.Option(min=1, help="tokens of a step")] = 8192,
    patience: Annotated[
        int | None, typer.Option(min=1, help="end after so many steps without a gain")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="state of the run; run again to resume")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 42,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Train the heads of a model on text; the model itself stays as it is."""
    from firsthand.corpora.files import find_inputs, read_batches
    from firsthand.decoding.tokenswift.heads import save_heads
    from firsthand.decoding.tokenswift.training import HeadStep, train_heads
    from firsthand.lm.tiny import packed

    loaded, adapter = load_target(model, device)
    texts = [
        document.text
        for file in find_inputs(text)
        for batch in read_batches(file)
        for document in batch.documents
        if document.text
    ]
    ids = packed(loaded.tokenizer, texts)

    read = steps

    def show(step: HeadStep) -> None:
        nonlocal read
        read = step.step  # fewer than were asked for, where nothing more was learnt
        if not quiet:
            top = ", ".join(f"{row[0]:.1%}" for row in step.accuracy)
            typer.echo(f"step {step.step}: top-1 {top}; {step.tokens_per_s:.0f} tokens/s", err=True)

    heads = train_heads(
        adapter, ids, num_heads=num_heads, steps=steps, learning_rate=learning_rate, warmup=warmup,
        seq_len=seq_len, batch_tokens=batch_tokens, patience=patience, checkpoint=checkpoint, seed=seed,
        on_step=show,
    )  # fmt: skip
    save_heads(
        heads,
        output,
        adapter,
        tokens=read * max(1, batch_tokens // seq_len) * seq_len,
        tokenizer=loaded.tokenizer,
    )
    typer.echo(f"heads: {output}")


@app.command("generate")
def generate_command(
    model: Model,
    heads: Heads = None,
    prompt: Prompt = None,
    prompt_file: PromptFile = None,
    max_new_tokens: Annotated[int, typer.Option(min=0, help="how many tokens, at most")] = 1000,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy")] = 1.0,
    min_p: Annotated[float, typer.Option(help="0 is off")] = 0.1,
    penalty: Annotated[float, typer.Option(help="of repetition; 1 is off")] = 1.2,
    penalty_window: Annotated[int, typer.Option(min=0, help="last tokens that are penalised")] = 1024,
    seed: Annotated[int, typer.Option(min=0, help="of the draws")] = 0,
    branching: BranchingText = "auto",
    ngram_topk: Annotated[int, typer.Option(min=0, help="n-grams re-used a step")] = 20,
    kv_budget: Annotated[int, typer.Option(min=1, help="keys that a draft reads")] = 4096,
    ignore_eos: Annotated[bool, typer.Option("--ignore-eos", help="go on after the end of text")] = False,
    adaptive: Annotated[bool, typer.Option(help="decode plainly where speculation is slower")] = True,
    resume: Annotated[
        Path | None, typer.Option(help="a checkpoint, written as it goes; run again to go on")
    ] = None,
    metrics: Annotated[Path | None, typer.Option(help="a JSONL file that the report is added to")] = None,
    device: Device = "auto",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Go on from a text; streams it to stdout, the report to stderr."""
    from firsthand.decoding.tokenswift.sampling import long_sampling
    from firsthand.lm.decoding import Stop

    text = prompt_text(prompt, prompt_file)
    sampling = long_sampling(
        temperature=temperature,
        min_p=min_p,
        repetition_penalty=penalty,
        penalty_window=penalty_window,
        seed=seed,
    )
    loaded, swift = _decoder(model, heads, branching, ngram_topk, kv_budget, adaptive, device)
    ids = encoded(loaded.tokenizer, text)
    stop = Stop(ids=end_of_text(loaded.tokenizer, ignore=ignore_eos))
    result, written = streamed_text(
        swift.stream(ids, max_new_tokens, sampling, stop, checkpoint=resume), loaded.tokenizer, quiet=as_json
    )
    report = {"model": model, **result.as_dict()}
    if metrics is not None:
        try:
            with metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(report) + "\n")
        except OSError as error:
            raise OutputError(f"cannot add the report to {metrics}: {error.strerror or error}") from error
    if as_json:
        typer.echo(json.dumps({**report, "text": written}, indent=2))
        return
    if not quiet:
        typer.echo(
            f"{len(result.tokens)} tokens in {result.wall_s:.2f} s ({result.tokens_per_s:.1f} a second), "
            f"{result.tokens_per_step:.2f} a step, α {result.acceptance_rate:.2f}"
            + ("; fell back to plain decoding, which is faster here" if result.fell_back else ""),
            err=True,
        )


@app.command("bench")
def bench_command(
    model: Model,
    prompt_file: Annotated[list[Path], typer.Option(help="a text to go on from; repeat", show_default=False)],
    heads: Heads = None,
    draft: Annotated[
        str | None,
        typer.Option(help="a small model with the same tokenizer, for turns and assisted generation"),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="exactly so many a prompt")] = 512,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="each text is cut to so many")] = 64,
    repeats: Annotated[int, typer.Option(min=1, help="the median of so many")] = 3,
    branching: BranchingText = "auto",
    kv_budget: Annotated[int, typer.Option(min=1, help="keys that a draft reads")] = 4096,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Time TokenSwift beside plain decoding, turns with a draft, prompt lookup and transformers' own, greedily."""
    from firsthand.decoding.tokenswift.bench import bench

    loaded, swift = _decoder(model, heads, branching, 20, kv_budget, True, device)
    beside = None
    if draft is not None:
        from firsthand.lm.decoding import check_pair

        beside = load_target(draft, device)[1]
        check_pair(swift.model, beside)
    report = bench(
        swift,
        _swift(swift.model, swift.heads, branching, 20, kv_budget, False),
        [encoded(loaded.tokenizer, prompt_text(None, path))[:prompt_tokens] for path in prompt_file],
        max_new_tokens,
        draft=beside,
        repeats=repeats,
    )
    if as_json:
        typer.echo(json.dumps({"model": model, "draft": draft, **report}, indent=2))
        return
    for row in report["arms"]:
        estimate, low, high = row["speedup"]
        same = "" if row["same_text"] else f"  other text: {row['first_divergence']}"
        typer.echo(
            f"{row['decoder']:<28} {row['tokens_per_s']:>8.1f} tokens/s  {estimate:.2f}x ({low:.2f} to {high:.2f})"
            f"  {row['tokens_per_step']:.2f} a step{same}"
        )


@app.command("serve")
def serve_command(
    model: Model,
    heads: Heads = None,
    host: Annotated[
        str, typer.Option(help="this machine's address; other than loopback needs a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, help="0 takes a free one")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="FIRSTHAND_TOKEN", help="what clients send as their API key")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="what clients call the model; its own name where absent")
    ] = None,
    branching: BranchingText = "auto",
    ngram_topk: Annotated[int, typer.Option(min=0, help="n-grams re-used a step")] = 20,
    kv_budget: Annotated[int, typer.Option(min=1, help="keys that a draft reads")] = 4096,
    device: Device = "auto",
) -> None:
    """Answer like OpenAI's API: completions and chat, whole or streamed, one text at a time."""
    from firsthand import serve as serving
    from firsthand.decoding.tokenswift.sampling import long_sampling

    loaded, swift = _decoder(model, heads, branching, ngram_topk, kv_budget, True, device)
    ends = getattr(loaded.model.generation_config, "eos_token_id", None)  # a chat model's end of turn is here
    application = serving.completions_app(
        swift,
        loaded.tokenizer,
        model_name=name or loaded.name,
        defaults=long_sampling(),
        token=token,
        stop_ids=ends if isinstance(ends, list) else [] if ends is None else [ends],
        context_length=swift.model.max_length,
    )
    serving.serve(
        application,
        host,
        port,
        on_ready=lambda url: typer.echo(f"{name or loaded.name} at {url}/v1", err=True),
    )


def _branching(given: str) -> Any:
    if given == "auto":
        return "auto"
    if given == "chain":
        return None
    try:
        return tuple(int(count) for count in given.split(","))
    except ValueError:
        raise InputError(f"--branching {given!r}: write numbers such as 1,3,3,3, or auto, or chain") from None


def _decoder(
    model: str, heads: Path | None, branching: str, topk: int, budget: int, adaptive: bool, device: str
) -> tuple[Any, Any]:
    """The model as it was loaded, and TokenSwift on it and its heads."""
    _branching(branching)  # a wrong one is said before a model is loaded
    loaded, adapter = load_target(model, device)
    found = None
    if heads is not None:
        from firsthand.decoding.tokenswift.heads import load_heads

        found = load_heads(heads, adapter, tokenizer=loaded.tokenizer)
    return loaded, _swift(adapter, found, branching, topk, budget, adaptive)


def _swift(adapter: Any, heads: Any, branching: str, topk: int, budget: int, adaptive: bool) -> Any:
    from firsthand.decoding.tokenswift.decoder import TokenSwift

    return TokenSwift(
        adapter,
        heads,
        branching=_branching(branching),
        ngram_topk=topk,
        kv_budget=budget,
        kv_sink=min(16, budget - 1),
        adaptive=adaptive,
    )
