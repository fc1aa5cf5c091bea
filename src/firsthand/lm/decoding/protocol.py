"""What every decoder asks of a language model: logits for some tokens, and a cache that can go back.

Knows shapes and promises; knows nothing of how a model keeps them (`huggingface`, `ngram`). A decoder that
is written against these two protocols runs on every model that keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from firsthand.errors import FirsthandError, InputError

if TYPE_CHECKING:
    import torch

__all__ = ["CausalLM", "ContextLengthError", "KVCache", "NonFiniteLogitsError", "check_pair", "check_prompt"]


class ContextLengthError(InputError):
    """Prompt and new tokens together are longer than the model can read."""


class NonFiniteLogitsError(FirsthandError, FloatingPointError):
    """A model gave NaN (or +inf) logits; the message names the model and the position."""


@runtime_checkable
class KVCache(Protocol):
    """What a model remembers of the tokens it has read: one entry a token, in the order they were read."""

    @property
    def length(self) -> int:
        """How many entries there are."""
        ...

    def truncate(self, length: int) -> None:
        """Forget all entries from `length` on. A length at or above the present one changes nothing."""
        ...

    def commit(self, base: int, kept: Sequence[int]) -> None:
        """Of the entries from `base` on keep only those at the indices `kept` (ascending), moved up to `base`.

        Afterwards there are `base + len(kept)` entries. This is how the accepted path of a tree stays.
        """
        ...

    def fork(self) -> KVCache:
        """An independent copy: what is read into one is not seen by the other."""
        ...


@runtime_checkable
class CausalLM(Protocol):
    """A causal language model that one decoder drives, one sequence (batch 1) at a time."""

    @property
    def name(self) -> str:
        """What error messages and reports call it."""
        ...

    @property
    def vocab_size(self) -> int:
        """How many token ids there are; logits have this many columns."""
        ...

    @property
    def max_length(self) -> int | None:
        """The longest sequence it can read, or None where there is no limit."""
        ...

    def new_cache(self) -> Any:
        """An empty cache (a `KVCache` of the model's own kind)."""
        ...

    def forward(
        self,
        tokens: Sequence[int],
        cache: Any,
        *,
        positions: Sequence[int] | None = None,
        mask: torch.Tensor | None = None,
        last: int | None = None,
    ) -> torch.Tensor:
        """Read `tokens` (n,) after what `cache` holds and return logits (n, V); the cache grows by n.

        Args:
            positions: of the tokens in the text (n,); by default they follow the cache, length, length + 1, ...
            mask: bool (n, m) with m ≥ n, which of the last m entries each token sees, where the last n of
                these m are the tokens of this call; by default each token sees itself and those of the call
                before it. All entries before the last m are seen, save what lies outside a layer's window.
                Entries of a tree that grew over several calls need m > n.
            last: give logits of the last so many tokens only (last, V): reading a long prompt needs one row.

        The returned tensor is on the model's device, in its dtype, without gradients.
        """
        ...


def check_prompt(model: CausalLM, prompt_ids: Sequence[int], max_new_tokens: int) -> list[int]:
    """The prompt as a list of ints, once it is one that `model` can go on from.

    Raises `InputError` for an empty prompt, ids outside the vocabulary, more than one sequence, or a negative
    number of new tokens; `ContextLengthError` where both together exceed what the model can read.
    """
    shape = getattr(prompt_ids, "shape", None)
    if shape is not None and len(shape) > 1:
        if len(shape) != 2 or shape[0] != 1:
            raise InputError(
                f"prompt_ids has shape {tuple(shape)}: decoding takes one sequence at a time; loop over the prompts"
            )
        prompt_ids = prompt_ids[0]  # type: ignore[assignment]
    if getattr(prompt_ids, "tolist", None) is not None:
        prompt_ids = prompt_ids.tolist()  # type: ignore[attr-defined]
    if any(isinstance(token, list | tuple) for token in prompt_ids):
        raise InputError(
            "prompt_ids holds several sequences; decoding takes one at a time: loop over the prompts"
        )
    ids = [int(token) for token in prompt_ids]
    if not ids:
        raise InputError(
            "prompt is empty: give at least one token (the model's BOS, for a text from nothing)"
        )
    wrong = next((token for token in ids if not 0 <= token < model.vocab_size), None)
    if wrong is not None:
        raise InputError(
            f"prompt token {wrong} is outside the vocabulary of {model.name} (0 to {model.vocab_size - 1}); "
            "tokenizer and model do not belong together"
        )
    if max_new_tokens < 0:
        raise InputError(f"max_new_tokens must be at least 0, got {max_new_tokens}")
    limit = model.max_length
    if limit is not None and len(ids) + max_new_tokens > limit:
        raise ContextLengthError(
            f"{len(ids)} prompt tokens and {max_new_tokens} new ones are {len(ids) + max_new_tokens}; "
            f"{model.name} reads at most {limit}. Shorten the prompt or ask for fewer tokens"
        )
    return ids


def check_pair(target: CausalLM, draft: CausalLM) -> None:
    """Raise `InputError` unless both models have one vocabulary."""
    if target.vocab_size != draft.vocab_size:
        raise InputError(
            f"draft and target vocabularies differ: {draft.vocab_size} vs {target.vocab_size}; a draft must "
            "have its target's tokenizer"
        )
