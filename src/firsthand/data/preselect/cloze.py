"""Ability of a model by a cloze test made from held-out text, for whoever has no benchmark at hand.

An item is a context and four continuations: the true one and three from other places. A model answers with
the continuation that it gives the highest probability; chance is a quarter. All four have the same length
in tokens of one tokenizer, since a continuation of many rare characters is improbable after any context;
every model is then asked about the text, so models of unlike tokenizer answer the same questions. Knows
texts and losses, nothing of PreSelect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError

if TYPE_CHECKING:
    from firsthand.lm import LanguageModel

__all__ = ["ClozeItem", "cloze_accuracy", "cloze_items", "cloze_log_probabilities", "cloze_probability"]

CHOICES = 4


@dataclass(frozen=True)
class ClozeItem:
    """A context and four continuations of it; the true one stands first."""

    context: str
    continuations: tuple[str, str, str, str]


def cloze_items(
    texts: Sequence[str],
    count: int,
    *,
    tokenizer: Any,
    context: int = 30,
    continuation: int = 6,
    seed: int = 0,
) -> tuple[ClozeItem, ...]:
    """Cut `count` items out of `texts`.

    Args:
        tokenizer: a Hugging Face tokenizer that lengths are counted by; it need not be any model's own.
        context, continuation: lengths in its tokens. Contexts do not overlap.

    Raises:
        InputError: the texts are too short, or too much alike, for so many items.
    """
    rng = np.random.default_rng(seed)
    spans: list[tuple[str, str]] = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        for start in range(0, len(ids) - context - continuation + 1, context):
            cut, end = start + context, start + context + continuation
            spans.append((tokenizer.decode(ids[start:cut]), tokenizer.decode(ids[cut:end])))
    if len(spans) < max(count, CHOICES):
        raise InputError(
            f"{len(texts)} texts give {len(spans)} cloze items of {context} + {continuation} tokens; "
            f"{count} were asked for: give more or longer texts"
        )
    items = []
    for index in rng.permutation(len(spans))[:count]:
        before, true = spans[index]
        drawn = dict.fromkeys(spans[other][1] for other in rng.integers(0, len(spans), size=32))
        wrong = [end for end in drawn if end != true][: CHOICES - 1]
        if len(wrong) < CHOICES - 1:
            raise InputError("the texts repeat themselves: no three continuations differ from the true one")
        items.append(ClozeItem(before, (true, wrong[0], wrong[1], wrong[2])))
    return tuple(items)


def cloze_log_probabilities(
    model: LanguageModel, items: Sequence[ClozeItem], **options: Any
) -> NDArray[np.float64]:
    """ln p(context, continuation) of each choice, (items, 4) in nats; the context is common to the four.

    `options` go to `firsthand.lm.document_losses` (block, stride, batch_tokens).
    """
    from firsthand.lm import document_losses

    texts = [item.context + choice for item in items for choice in item.continuations]
    return np.asarray(-document_losses(model, texts, **options).nats.reshape(len(items), CHOICES))


def cloze_accuracy(table: NDArray[np.float64]) -> float:
    """Share of right answers in [0, 1] of `cloze_log_probabilities`; a tie with the right one counts as wrong."""
    return float((table[:, 0] > table[:, 1:].max(axis=1)).mean())


def cloze_probability(table: NDArray[np.float64]) -> float:
    """Mean probability of the right answer among the four, in [0, 1].

    Orders models as accuracy does in the long run, with less noise an item and hardly ever a tie: the better
    ability where models are close and items few.
    """
    weights = np.exp(table - table.max(axis=1, keepdims=True))
    return float((weights[:, 0] / weights.sum(axis=1)).mean())
