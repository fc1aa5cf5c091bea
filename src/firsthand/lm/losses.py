"""How surprised a causal model is by text: nats per token, every document on its own.

Knows windows, batches and the vocabulary's size; knows nothing of what losses are used for. A document
never sees another one's tokens: scoring a concatenated stream would lend each document the end of the
one before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.lm.backend import require, resolve_device
from firsthand.lm.models import LanguageModel

if TYPE_CHECKING:
    import torch

__all__ = ["DocumentLosses", "Window", "document_losses", "token_losses", "windows"]

Floats = NDArray[np.float64]
TextScorer = Callable[[Sequence[str]], Sequence[Floats]]

# Logits held at a time: 2**24 float32 are 64 MiB, that is 64 positions of a vocabulary of 262 144.
_LOGITS_AT_ONCE = 1 << 24
# Where head and body cannot be told apart, all logits of a batch exist together: at most 512 MiB of them.
_LOGITS_IN_ONE_CALL = 1 << 27


@dataclass(frozen=True)
class Window:
    """One forward pass over inputs `begin:end` of a sequence; the targets of inputs `first:end` count."""

    begin: int
    first: int
    end: int


def windows(targets: int, *, block: int = 1900, stride: int = 512) -> tuple[Window, ...]:
    """Cut `targets` positions into windows of at most `block` inputs, each position scored exactly once.

    The first window scores up to `block` targets, each later one up to `stride` new ones with
    `block - stride` inputs before them; the last one ends where the text does.
    """
    if not 1 <= stride <= block:
        raise InputError(f"stride must lie between 1 and block; got stride {stride}, block {block}")
    cut: list[Window] = []
    done = 0
    while done < targets:
        begin = len(cut) * stride
        end = min(begin + block, targets)
        cut.append(Window(begin, done, end))
        done = end
    return tuple(cut)


def token_losses(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    block: int = 1900,
    stride: int = 512,
    batch_tokens: int = 4096,
    bos: bool = True,
    device: str | None = None,
) -> list[Floats]:
    """Nats of every target token of every text, −ln p(x_t | x_<t), in the texts' order.

    A text of n tokens has n targets when the tokenizer has a beginning-of-sequence token (and `bos`),
    else n − 1: its first token has nothing before it. A text without targets gives an empty array.
    Tokens written out inside a text ("<eos>") are read as plain characters.

    `model` is a Hugging Face causal model, put in evaluation mode for the call. Texts longer than
    `block` tokens are scored by a sliding window (`windows`). Windows of like length share a batch of at
    most `batch_tokens` tokens, padding on the right; which ones share it changes results only by
    rounding. Logits are formed in slices, so a large vocabulary costs no memory. `device=None` leaves the
    model where it is.

    Raises `InputError` where a text needs a longer window than the model has positions.
    """
    require("torch")
    import torch

    if isinstance(texts, str):
        raise InputError("texts is one string; pass a list of strings")
    if batch_tokens < 1:
        raise InputError(f"batch_tokens must be at least 1, got {batch_tokens}")
    windows(0, block=block, stride=stride)  # a wrong pair is an error for short texts as well
    sequences = _encode(tokenizer, texts, bos=bos)
    losses = [np.empty(max(len(sequence) - 1, 0), dtype=np.float64) for sequence in sequences]
    jobs = [
        (document, window)
        for document, sequence in enumerate(sequences)
        for window in windows(len(sequence) - 1, block=block, stride=stride)
    ]
    if not jobs:
        return losses
    longest = max(window.end - window.begin for _, window in jobs)
    _check_positions(model, longest)
    if device is not None:
        model.to(resolve_device(device))
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            score, limit = _scorer(model, batch_tokens, longest)
            for batch in _batches(jobs, limit):
                pieces = score([_example(sequences[document], window) for document, window in batch])
                for (document, window), piece in zip(batch, pieces, strict=True):
                    losses[document][window.first : window.end] = piece
    finally:
        model.train(was_training)
    return losses


@dataclass(frozen=True)
class DocumentLosses:
    """Losses of D documents under one model; all arrays have shape (D,).

    `nats` is a document's total, NaN where it has no target token; `n_tokens` counts target tokens,
    `n_chars` Unicode characters and `n_bytes` UTF-8 bytes of the whole text.
    """

    ids: tuple[str, ...]
    nats: Floats
    n_tokens: NDArray[np.int64]
    n_chars: NDArray[np.int64]
    n_bytes: NDArray[np.int64]


def document_losses(
    model: LanguageModel | TextScorer, texts: Sequence[str], ids: Sequence[str] | None = None, **options: Any
) -> DocumentLosses:
    """Total nats of every text, with the sizes to normalise them by.

    `model` is a `LanguageModel` (then `options` go to `token_losses`), or any callable that takes texts
    and returns an array of nats per target token for each. `ids` default to "0", "1", … Sums are in
    float64.
    """
    names = tuple(str(number) for number in range(len(texts))) if ids is None else tuple(ids)
    if len(names) != len(texts):
        raise InputError(f"{len(texts)} texts and {len(names)} ids; give every text one id")
    if len(set(names)) != len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(f"the id {twice!r} occurs twice; ids tell documents apart")
    if isinstance(model, LanguageModel):
        per_token: Sequence[Floats] = token_losses(model.model, model.tokenizer, texts, **options)
    else:
        per_token = model(texts, **options)
        if len(per_token) != len(texts):
            raise InputError(f"the scorer returned {len(per_token)} arrays for {len(texts)} texts")
    return DocumentLosses(
        ids=names,
        nats=np.array(
            [np.sum(row, dtype=np.float64) if len(row) else np.nan for row in per_token], dtype=np.float64
        ),
        n_tokens=np.array([len(row) for row in per_token], dtype=np.int64),
        n_chars=np.array([len(text) for text in texts], dtype=np.int64),
        n_bytes=np.array([len(text.encode()) for text in texts], dtype=np.int64),
    )


def _encode(tokenizer: Any, texts: Sequence[str], *, bos: bool) -> list[list[int]]:
    filled = [index for index, text in enumerate(texts) if text]
    sequences: list[list[int]] = [[] for _ in texts]
    if not filled:
        return sequences
    encoded = tokenizer(
        [texts[index] for index in filled],
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        verbose=False,  # otherwise it logs that long texts exceed the model's length; windows see to that
    )["input_ids"]
    start = [tokenizer.bos_token_id] if bos and tokenizer.bos_token_id is not None else []
    for index, ids in zip(filled, encoded, strict=True):
        sequences[index] = start + list(ids)
    return sequences


def _check_positions(model: Any, longest: int) -> None:
    positions = getattr(_text_config(model), "max_position_embeddings", None)
    if positions is not None and longest > positions:
        raise InputError(
            f"a text needs a window of {longest} tokens and the model has {positions} positions; "
            f"pass block={positions} and a stride below it"
        )


def _text_config(model: Any) -> Any:
    config = model.config
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _batches(jobs: Sequence[tuple[int, Window]], limit: int) -> Iterator[list[tuple[int, Window]]]:
    """Longest first, so that the first batch shows whether memory suffices."""

    def length(job: tuple[int, Window]) -> int:
        return job[1].end - job[1].begin

    batch: list[tuple[int, Window]] = []
    for job in sorted(jobs, key=length, reverse=True):
        if batch and (len(batch) + 1) * length(batch[0]) > limit:
            yield batch
            batch = []
        batch.append(job)
    yield batch


# Inputs, targets, and how many of the first targets are context only.
_Example = tuple[list[int], list[int], int]


def _example(sequence: list[int], window: Window) -> _Example:
    inputs = sequence[window.begin : window.end]
    targets = sequence[window.begin + 1 : window.end + 1]
    return inputs, targets, window.first - window.begin


def _scorer(
    model: Any, batch_tokens: int, longest: int
) -> tuple[Callable[[Sequence[_Example]], list[Floats]], int]:
    """How this model is scored, and the batch size in tokens that fits that way."""
    require("torch")
    import torch

    vocabulary = int(_text_config(model).vocab_size)
    body, head = _body_and_head(model)

    def hidden_states(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if body is None:
            logits: torch.Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            return logits
        states: torch.Tensor = body(input_ids=ids, attention_mask=mask, use_cache=False)[0]
        return states

    def score(examples: Sequence[_Example]) -> list[Floats]:
        # ids, mask, wanted: (B, T); rows: (N, width or vocabulary) for the N positions that count
        width = max(len(inputs) for inputs, _, _ in examples)
        ids = torch.zeros((len(examples), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        wanted = torch.zeros_like(ids, dtype=torch.bool)
        for row, (inputs, _, context) in enumerate(examples):
            ids[row, : len(inputs)] = torch.tensor(inputs)
            mask[row, : len(inputs)] = 1
            wanted[row, context : len(inputs)] = True
        targets = torch.tensor([token for _, row, context in examples for token in row[context:]])
        place = model.device
        rows = hidden_states(ids.to(place), mask.to(place))[wanted.to(place)]
        step = max(1, _LOGITS_AT_ONCE // vocabulary)
        pieces = []
        for begin in range(0, len(rows), step):
            part = rows[begin : begin + step]
            logits = (part if head is None else head(part)).float()
            wants = targets[begin : begin + step].to(logits.device)
            pieces.append(torch.nn.functional.cross_entropy(logits, wants, reduction="none").cpu())
        flat = torch.cat(pieces).numpy().astype(np.float64)
        counts = [len(inputs) - context for inputs, _, context in examples]
        return np.split(flat, np.cumsum(counts)[:-1])

    whole = body is None
    limit = min(batch_tokens, max(longest, _LOGITS_IN_ONE_CALL // vocabulary)) if whole else batch_tokens
    return score, limit


def _body_and_head(model: Any) -> tuple[Any, Callable[[torch.Tensor], torch.Tensor] | None]:
    """The model without its output layer, and that layer; (None, None) where they do not make the model.

    Many architectures do something between the two or after them (scaled or capped logits). Rather than
    listing them, the split is tried on a few tokens and used only where it gives the model's own logits.
    """
    require("torch")
    import torch

    body = getattr(model, "base_model", model)
    layer = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if layer is None or body is model:
        return None, None
    cap = getattr(_text_config(model), "final_logit_softcapping", None)

    def head(states: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = layer(states)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    tokens = min(8, int(_text_config(model).vocab_size))
    ids = torch.arange(tokens, device=model.device)[None]
    try:
        split = head(body(input_ids=ids, use_cache=False)[0]).float()
        own = model(input_ids=ids, use_cache=False).logits.float()
    except (TypeError, RuntimeError, AttributeError, IndexError):
        return None, None
    tolerance = 1e-4 if model.dtype == torch.float32 else 2e-2
    fits = split.shape == own.shape and torch.allclose(split, own, rtol=tolerance, atol=tolerance)
    return (body, head) if fits else (None, None)
