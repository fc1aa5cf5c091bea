"""What the verbs of the decoding rooms share: the text to go on from, the model, and text as it comes.

No room of its own: rooms import it, and it imports none of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from firsthand.errors import InputError, NotFoundError

__all__ = [
    "AsJson",
    "Prompt",
    "PromptFile",
    "Quiet",
    "encoded",
    "end_of_text",
    "load_target",
    "prompt_text",
    "streamed_text",
]

Prompt = Annotated[str | None, typer.Option(help="the text to go on from")]
PromptFile = Annotated[Path | None, typer.Option(help="a file with that text")]
AsJson = Annotated[bool, typer.Option("--json", help="print figures as JSON")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress")]


def prompt_text(prompt: str | None, file: Path | None) -> str:
    """The text of `--prompt` or of `--prompt-file`; raises `InputError` unless exactly one of them is given."""
    if (prompt is None) == (file is None):
        raise InputError("give the text to go on from once: --prompt TEXT or --prompt-file FILE")
    if file is None:
        return prompt or ""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"there is no prompt file {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the prompt file {file} cannot be read as UTF-8 text ({error})") from error


def load_target(name: str, device: str) -> tuple[Any, Any]:
    """The model `name` as `firsthand.lm.load` gives it, and as a `CausalLM`."""
    from firsthand.lm.decoding.huggingface import HFCausalLM
    from firsthand.lm.models import load

    loaded = load(name, device=device)
    return loaded, HFCausalLM(loaded.model, name=loaded.name)


def encoded(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text."""
    return [int(token) for token in tokenizer(text)["input_ids"]]


def end_of_text(tokenizer: Any, *, ignore: bool) -> tuple[int, ...]:
    """The ids that end a text: the tokenizer's EOS, or none where it has none or is to be ignored."""
    eos = tokenizer.eos_token_id
    return () if ignore or eos is None else (eos,)


def streamed_text(stream: Any, tokenizer: Any, *, quiet: bool) -> tuple[Any, str]:
    """Drive a token stream to its end, writing its text to stdout as it comes unless `quiet`.

    Returns the stream's result and its text; what was written ends with a line break.
    """
    from firsthand.lm.decoding import drive
    from firsthand.serve.text import Detokeniser

    words = Detokeniser(tokenizer)
    pieces: list[str] = []

    def show(piece: str) -> None:
        pieces.append(piece)
        if not quiet:
            typer.echo(piece, nl=False)

    result = drive(stream, lambda token: show(words.add([token])))
    show(words.finish())
    if not quiet:
        typer.echo("")
    return result, "".join(pieces)
