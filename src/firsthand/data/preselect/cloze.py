"""Ability of a model by a cloze benchmark made from held-out text.

An item is a context and four continuations of equal length in tokens: the true one and three taken from
other places. A model answers with the continuation that it gives the highest probability. Chance is a
quarter. Knows token ids and models, nothing of PreSelect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError

__all__ = ["ClozeItems", "cloze_accuracy", "cloze_items", "cloze_log_probabilities", "cloze_probability"]

CHOICES = 4


@dataclass(frozen=True)
class ClozeItems:
    """`tokens` (items, 4, context + continuation) of token ids; the true continuation stands first."""

    tokens: NDArray[np.int64]
    continuation: int


def cloze_items(
    tokenizer: Any,
    texts: Sequence[str],
    count: int,
    *,
    context: int = 30,
    continuation: int = 6,
    seed: int = 0,
) -> ClozeItems:
    """Cut `count` items out of `texts`, at most one start per `context` tokens of a text.

    Raises:
        InputError: the texts are too short for so many items.
    """
    length = context + continuation
    rng = np.random.default_rng(seed)
    spans: list[NDArray[np.int64]] = []
    for text in texts:
        ids = np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)
        spans += [ids[start : start + length] for start in range(0, len(ids) - length + 1, context)]
    if len(spans) < max(count, CHOICES):
        raise InputError(
            f"{len(texts)} texts give {len(spans)} spans of {length} tokens; {count} items were asked for"
        )
    chosen = [spans[i] for i in rng.permutation(len(spans))[:count]]
    ends = np.stack([span[context:] for span in spans])
    tokens = np.empty((count, CHOICES, length), dtype=np.int64)
    for row, span in enumerate(chosen):
        tokens[row] = span
        others = [
            end
            for end in ends[rng.integers(0, len(ends), size=16)]
            if not np.array_equal(end, span[context:])
        ]
        if len(others) < CHOICES - 1:
            raise InputError("the texts repeat themselves: no three continuations differ from the true one")
        tokens[row, 1:, context:] = others[: CHOICES - 1]
    return ClozeItems(tokens, continuation)


def cloze_log_probabilities(model: Any, items: ClozeItems, *, batch: int = 64) -> NDArray[np.float64]:
    """Log-probability of each choice's continuation, Σ ln p(x_t | x_<t), (items, 4) in nats."""
    import torch

    count, choices, length = items.tokens.shape
    rows = torch.from_numpy(items.tokens.reshape(count * choices, length))
    scores = []
    with torch.inference_mode():
        for chunk in torch.split(rows, batch * choices):
            tokens = chunk.to(model.device)
            # The last token predicts nothing; of the rest only the continuation's logits are needed.
            logits = model(
                input_ids=tokens[:, :-1], use_cache=False, logits_to_keep=items.continuation
            ).logits
            target = tokens[:, -items.continuation :].unsqueeze(-1)
            scores.append(logits.float().log_softmax(-1).gather(-1, target).sum((1, 2)).double().cpu())
    return np.asarray(torch.cat(scores).reshape(count, choices).numpy())


def cloze_accuracy(model: Any, items: ClozeItems, *, batch: int = 64) -> float:
    """Share of right answers in [0, 1]; two choices of equal probability count as wrong."""
    table = cloze_log_probabilities(model, items, batch=batch)
    return float((table[:, 0] > table[:, 1:].max(axis=1)).mean())


def cloze_probability(model: Any, items: ClozeItems, *, batch: int = 64) -> float:
    """Mean probability of the right answer among the four, in [0, 1].

    The same order of models as accuracy in the long run, with less noise an item and hardly ever a tie:
    the better ability where models are close and items few.
    """
    table = cloze_log_probabilities(model, items, batch=batch)
    table = np.exp(table - table.max(axis=1, keepdims=True))
    return float((table[:, 0] / table.sum(axis=1)).mean())
