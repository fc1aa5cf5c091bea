"""Attention to form (arXiv 2503.01714): what the word's last piece attends to, its own pieces or what came before.

With a and b the first and the last token of the word, and A one head's weights:

    self    = Σ over t = a..b of A[b, t]
    context = Σ over t < a of A[b, t]                   self + context = 1 in a causal model
    AttentionSelf(layer) = Σ over heads of self

More pieces draw more attention whatever their letters, so the excess over the intact word in as many pieces, and the
ratio per token, stand beside it. A head is a pair (layer, head): head 3 of layer 1 is not head 3 of layer 2.

Knows arrays of weights. Knows no words, tokenizers or models.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.doses import checked_count
from firsthand.evaluation.typoglycemia.errors import AttentionUnavailable
from firsthand.evaluation.typoglycemia.similarity import floats_of

__all__ = [
    "AttentionShares",
    "FormHead",
    "attention_of_row",
    "attention_self",
    "form_heads",
    "per_token_ratio",
    "prefers_form",
    "self_by_layer",
    "token_matched_excess",
]

Floats = NDArray[np.float64]
_ATOL = 1e-4


class AttentionShares(NamedTuple):
    """One query's attention, of every head: to the word's own pieces and to the tokens before it."""

    self: Floats
    context: Floats


class FormHead(NamedTuple):
    """A head that attends to form, with its score."""

    layer: int
    head: int
    score: float


def attention_self(attention: Any, first: int, last: int, *, atol: float = _ATOL) -> AttentionShares:
    """Self and context attention of the word at tokens `first` to `last`, both inclusive.

    Args:
        attention: (..., T, T) softmax weights, queries before keys, such as (H, T, T) of a layer.
        first, last: places of the word's tokens in the sequence, special tokens counted.
        atol: how far self + context may be from 1; take 1e-2 for weights in half precision.

    Returns:
        Two arrays (...), such as (H,).

    Raises:
        AttentionUnavailable: `attention` is None, as models give it without eager attention.
        InputError: places outside, or weights that are not those of a causal model.
    """
    weights = _weights(attention)
    if weights.ndim < 2 or weights.shape[-1] != weights.shape[-2]:
        raise InputError(
            f"attention must be (..., T, T), got shape {weights.shape}; attention_of_row takes one row"
        )
    _check_places(first, last, weights.shape[-1])
    return attention_of_row(weights[..., last, :], first, last, atol=atol)


def attention_of_row(row: Any, first: int, last: int, *, atol: float = _ATOL) -> AttentionShares:
    """The same from the last piece's query row alone, which is all that need be stored.

    Args:
        row: (..., T), such as (L, H, T) of all layers; T may be any length above `last`.
        first, last, atol: see `attention_self`.

    Returns:
        Two arrays (...), such as (L, H).

    Raises:
        AttentionUnavailable, InputError: see `attention_self`.
    """
    weights = _weights(row)
    if not weights.ndim:
        raise InputError("row must be (..., T), got a number")
    _check_places(first, last, weights.shape[-1])
    if (weights < 0).any():
        raise InputError("attention weights must not be negative: these are scores before the softmax")
    own, before = weights[..., first : last + 1].sum(-1), weights[..., :first].sum(-1)
    off = np.abs(own + before - 1)
    if (off > atol).any():
        place = tuple(int(i) for i in np.argwhere(off > atol)[0])
        raise InputError(
            f"self + context is {(own + before)[place]:.6g} at {place}, not 1: the weights reach beyond token {last}, "
            f"or were not computed by a causal softmax (atol = {atol:g})"
        )
    return AttentionShares(own, before)


def per_token_ratio(shares: AttentionShares, n_self: int, n_context: int) -> Any:
    """(self / n_self) / (context / n_context): how much more one own piece draws than one token before; may be inf.

    Args:
        shares: of a word.
        n_self: its pieces.
        n_context: tokens before it.

    Raises:
        InputError: no token before the word, or neither has any attention.
    """
    own_count, before_count = checked_count(n_self, "n_self", 1), checked_count(n_context, "n_context", 1)
    own, before = floats_of(shares.self, "self"), floats_of(shares.context, "context")
    if ((own == 0) & (before == 0)).any():
        raise InputError("a head without attention to the word and to what came before has no ratio")
    with np.errstate(divide="ignore"):
        found = (own / own_count) / (before / before_count)
    return found if found.ndim else float(found)


def self_by_layer(own: Any) -> Floats:
    """AttentionSelf of each layer, (..., L): the sum over heads of self attention (..., L, H); from 0 to H."""
    found = floats_of(own, "self attention")
    if found.ndim < 2:
        raise InputError(f"self attention must be (..., L, H), got shape {found.shape}")
    return np.asarray(found.sum(-1))


def token_matched_excess(own: Any, own_segmented: Any, pieces: Any, pieces_segmented: Any) -> Floats:
    """Self attention of scrambled words minus that of the same words, intact, in as many pieces.

    Args:
        own: (n, ...) self attention of n scrambled words.
        own_segmented: the same shape, of the intact words forced into pieces.
        pieces, pieces_segmented: (n,) pieces of each; they must be equal.

    Raises:
        InputError: shapes or piece counts that differ.
    """
    one, other = floats_of(own, "own"), floats_of(own_segmented, "own_segmented")
    counts, matched = floats_of(pieces, "pieces"), floats_of(pieces_segmented, "pieces_segmented")
    if (
        one.shape != other.shape
        or counts.shape != one.shape[:1]
        or matched.shape != counts.shape
        or not one.ndim
    ):
        raise InputError(
            f"own and own_segmented must be (n, ...) and pieces (n,), got {one.shape}, {other.shape}, "
            f"{counts.shape} and {matched.shape}"
        )
    differ = np.flatnonzero(counts != matched)
    if differ.size:
        row = int(differ[0])
        raise InputError(
            f"word {row} has {counts[row]:g} pieces scrambled and {matched[row]:g} intact: nothing is matched"
        )
    return one - other


def prefers_form(shares: AttentionShares) -> Floats:
    """(L, H) the share of items whose self attention is above their context attention, from arrays (n, L, H).

    Raises:
        InputError: other shapes, or no item.
    """
    own, before = floats_of(shares.self, "self"), floats_of(shares.context, "context")
    if own.ndim != 3 or own.shape != before.shape or not own.shape[0]:
        raise InputError(
            f"self and context must be (n, L, H) with n at least 1, got {own.shape} and {before.shape}"
        )
    return np.asarray((own > before).mean(0), np.float64)


def form_heads(scores: Any, *, threshold: float = 0.5) -> list[FormHead]:
    """The heads whose score is above the threshold, highest first, then by layer and head.

    Args:
        scores: (L, H), such as what `prefers_form` gives, or a mean excess.
        threshold: in the scores' unit.

    Raises:
        InputError: another shape, or what is not finite.
    """
    found = floats_of(scores, "scores")
    bound = floats_of(threshold, "threshold")
    if found.ndim != 2 or bound.ndim:
        raise InputError(
            f"scores must be (L, H) and threshold a number, got shapes {found.shape} and {bound.shape}"
        )
    heads = [
        FormHead(int(layer), int(head), float(found[layer, head]))
        for layer, head in np.argwhere(found > bound)
    ]
    return sorted(heads, key=lambda head: -head.score)


def _weights(attention: Any) -> Floats:
    if attention is None:
        raise AttentionUnavailable(
            "the model gave no attention weights; load it with attn_implementation='eager' "
            "and call it with output_attentions=True"
        )
    return floats_of(attention, "attention")


def _check_places(first: int, last: int, length: int) -> None:
    checked_count(first, "first", 0)
    checked_count(last, "last", first)
    if last >= length:
        raise InputError(f"last = {last} is not the place of one of {length} tokens")
