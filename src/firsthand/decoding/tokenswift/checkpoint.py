"""A long text that survives being cut off: what must be known to go on, and whether it belongs to this run.

The n-gram table and the caches are not written: both follow from the tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from firsthand.errors import InputError
from firsthand.launch.cache import write_atomically
from firsthand.lm.decoding import SamplingParams

__all__ = ["Checkpoint", "read_checkpoint", "write_checkpoint"]

_VERSION = 2


@dataclass(frozen=True)
class Checkpoint:
    """New tokens so far, and counters of the run that made them."""

    tokens: list[int]
    counters: dict[str, Any]


def _belongs_to(model: str, prompt: Sequence[int], sampling: SamplingParams) -> dict[str, Any]:
    return {"version": _VERSION, "model": model, "prompt": list(prompt), "sampling": asdict(sampling)}


def write_checkpoint(
    path: Path,
    model: str,
    prompt: Sequence[int],
    sampling: SamplingParams,
    tokens: Sequence[int],
    counters: dict[str, Any],
) -> None:
    """Write beside and rename; raises `OutputError` where that fails."""
    state = {
        **_belongs_to(model, prompt, sampling),
        "tokens": list(tokens),
        "counters": counters,
    }
    write_atomically(path, json.dumps(state))


def read_checkpoint(
    path: Path, model: str, prompt: Sequence[int], sampling: SamplingParams
) -> Checkpoint | None:
    """What `path` holds, or None where there is no such file.

    Raises `InputError` for a file that cannot be read, or of another model, prompt or sampling.
    """
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        found = {name: state[name] for name in _belongs_to(model, prompt, sampling)}
        checkpoint = Checkpoint([int(token) for token in state["tokens"]], dict(state["counters"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the checkpoint {path} cannot be read ({type(error).__name__}); delete it to begin anew"
        ) from error
    wanted = json.loads(json.dumps(_belongs_to(model, prompt, sampling)))
    for name, value in wanted.items():
        if found[name] != value:
            raise InputError(
                f"the checkpoint {path} belongs to another run: its {name} differs. Use another path, or delete it"
            )
    return checkpoint
