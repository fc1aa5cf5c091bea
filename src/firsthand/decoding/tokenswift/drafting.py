"""What a step proposes: guesses of the model's own output and of the heads, n-grams that came before.

Knows how a draft pass becomes a tree; knows nothing of checking it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from firsthand.decoding.tokenswift.tuner import Trace
from firsthand.lm.backend import require
from firsthand.lm.decoding import Sampler

if TYPE_CHECKING:
    import torch

    from firsthand.lm.decoding.huggingface import HFCausalLM

__all__ = ["again_after", "draft_rows", "guessed", "trace_of"]


def draft_rows(model: HFCausalLM, heads: Any, partial: Any, token: int) -> torch.Tensor:
    """Logits (γ, V) of the draft pass: `token` read alone with part of the cache, the model's row and the heads'."""
    require("torch")
    import torch

    reading = model.read([token], partial, positions=[partial.length])
    if heads is None:
        return reading.logits
    with torch.no_grad():
        states = torch.cat(heads(reading.hidden))  # (γ − 1, d)
        rows: torch.Tensor = torch.cat([reading.logits, model.head(states)])
    return rows


def guessed(
    rows: torch.Tensor, branching: Sequence[int], sampler: Sampler, ids: Sequence[int], drawn: bool
) -> list[list[int]]:
    """The tokens tried at each position: the best of its row under the sampling's filters.

    With `drawn`, and a temperature, the first is the token that the position's own number falls on.
    """
    return [
        sampler.guesses(row, ids, count=count, ahead=ahead, drawn=drawn)
        for ahead, (row, count) in enumerate(zip(rows, branching, strict=False))
    ]


def again_after(table: Any, firsts: Sequence[int], k: int) -> list[tuple[int, ...]]:
    """Paths that begin with a guess for the next token and go on as the text most often did: (c, x, y, z)."""
    return [(first, *rest) for first in firsts for rest in table.topk(first, k)]


def trace_of(
    tokens: Sequence[int], guesses: Sequence[Sequence[int]], again: Sequence[Sequence[int]]
) -> Trace:
    """What a step showed once its next `tokens` are known: which guesses were right, how far each path went."""
    ranks = []
    for token, tried in zip(tokens, guesses, strict=False):
        if token not in tried:
            break
        ranks.append(tried.index(token))
    return Trace(tuple(ranks), tuple(common(path, tokens) for path in again))


def common(path: Sequence[int], tokens: Sequence[int]) -> int:
    """How many first tokens of both agree."""
    count = 0
    for mine, theirs in zip(path, tokens, strict=False):
        if mine != theirs:
            break
        count += 1
    return count
