"""A language model as a policy: many answers to each prompt, and the probability of each of their tokens.

Knows Hugging Face causal models; knows nothing of rewards or losses. How a token is added is `decoding`'s. Prompts of
one batch are padded on the left, answers on the right; padding is masked everywhere, so that an answer's probability
does not depend on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from firsthand.errors import InputError
from firsthand.rl.decoding import batch_decoder
from firsthand.rl.reading import answer_logits

__all__ = ["CausalPolicy", "Policy", "Samples"]


@dataclass(frozen=True)
class Samples:
    """N answers to B prompts.

    Attributes:
        prompts, prompt_mask: token ids and what is no padding, (B, P), padded on the left.
        tokens, mask: answers (N, T) and their tokens up to and including the end, padded on the right.
        rows: which of the prompts each answer is to (N,).
        inputs: whatever else the model reads with the prompts, by name, first axis B (pictures).
    """

    prompts: Tensor
    prompt_mask: Tensor
    tokens: Tensor
    mask: Tensor
    rows: Tensor
    inputs: Mapping[str, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def part(self, chosen: Tensor) -> Samples:
        """The answers with these numbers (K,), and the prompts that they are to."""
        used, rows = torch.unique(self.rows[chosen], return_inverse=True)
        inputs = None if self.inputs is None else {name: value[used] for name, value in self.inputs.items()}
        return Samples(
            self.prompts[used], self.prompt_mask[used], self.tokens[chosen], self.mask[chosen], rows, inputs
        )

    def answers(self) -> list[list[int]]:
        """Token ids of each answer, without padding."""
        return [row[keep].tolist() for row, keep in zip(self.tokens, self.mask.bool(), strict=True)]


class Policy(Protocol):
    """What a trainer asks of a model."""

    @property
    def module(self) -> nn.Module:
        """The weights that learn."""
        ...

    def sample(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        group_size: int,
        max_new_tokens: int,
        temperature: float,
        generator: torch.Generator,
    ) -> Samples:
        """`group_size` answers to each row's prompt; temperature 0 takes the most probable tokens."""
        ...

    def logprobs(
        self, samples: Samples, *, temperature: float = 1.0, entropy_grad: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Log-probability of each answer's tokens and the entropy of each distribution (nats), both (N, T).

        What stands in place of padding means nothing. Gradients flow through the first, and with `entropy_grad`
        through the second too.
        """
        ...

    def texts(self, samples: Samples) -> list[str]:
        """The answers as text (N,)."""
        ...

    def teach(self, rows: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> Samples:
        """Given answers as samples: what a supervised loss reads."""
        ...


class CausalPolicy:
    """A Hugging Face causal model and its tokenizer.

    A row's `prompt` is a text, a chat (the tokenizer's template is used), or token ids. An answer ends with the
    tokenizer's end of text, or with any of `stop_ids`.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, stop_ids: Sequence[int] = (), banned_ids: Sequence[int] = ()
    ):
        self.model, self.tokenizer = model, tokenizer
        ends = tuple(stop_ids) or ((tokenizer.eos_token_id,) if tokenizer.eos_token_id is not None else ())
        if not ends:
            raise InputError("the tokenizer has no end of text: give stop_ids")
        self.stop_ids, self.banned_ids = ends, tuple(banned_ids)
        pad = tokenizer.pad_token_id
        self.pad_id = ends[0] if pad is None else pad

    @property
    def module(self) -> nn.Module:
        """The model."""
        module: nn.Module = self.model
        return module

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    def encode(self, prompt: Any) -> list[int]:
        """Token ids of a row's prompt."""
        if isinstance(prompt, str):
            ids = self.tokenizer(prompt)["input_ids"]
        elif prompt and isinstance(prompt[0], Mapping):
            ids = self.tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)[
                "input_ids"
            ]
        else:
            ids = prompt
        found = [int(token) for token in ids]
        if not found:
            raise InputError("a prompt needs at least one token")
        return found

    def _prompts(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Tensor, Tensor]:
        missing = [place for place, row in enumerate(rows) if "prompt" not in row]
        if missing:
            raise InputError(f"row {missing[0]} has no column 'prompt'; it has {', '.join(rows[missing[0]])}")
        prompts = [row["prompt"] for row in rows]
        if all(prompt and isinstance(prompt, str) for prompt in prompts):
            ids = self.tokenizer(prompts)["input_ids"]  # at once, which takes a fraction of the time
        else:
            ids = [self.encode(prompt) for prompt in prompts]
        longest = max(map(len, ids))
        limit = getattr(self.model.config, "max_position_embeddings", None)
        if limit is not None and longest >= limit:
            raise InputError(f"a prompt of {longest} tokens leaves no room in a context of {limit}")
        # Padded on the left: on the right, seen from the other side.
        tokens, mask = padded([list(reversed(row)) for row in ids], self.pad_id, self.device)
        return tokens.flip(1), mask.flip(1)

    @torch.no_grad()
    def sample(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        group_size: int = 1,
        max_new_tokens: int,
        temperature: float = 1.0,
        generator: torch.Generator,
    ) -> Samples:
        """As `Policy.sample`: prompts are read once, whatever the group's size, and answers that have ended leave."""
        if group_size < 1 or max_new_tokens < 1 or temperature < 0:
            raise InputError("group_size and max_new_tokens are at least 1, temperature at least 0")
        prompts, mask = self._prompts(rows)
        decoder = batch_decoder(self.model, prompts, mask, group_size, max_new_tokens)
        count = len(rows) * group_size
        tokens = torch.full((count, max_new_tokens), self.pad_id, device=self.device)
        kept = torch.zeros_like(tokens)
        stops = torch.tensor(self.stop_ids, device=self.device)
        there = torch.arange(count, device=self.device)  # which answers the decoder still has
        going = torch.ones(count, dtype=torch.bool, device=self.device)  # and which of these have not ended
        step = 0
        for step in range(max_new_tokens):
            chosen = self._draw(decoder.logits, temperature, generator)
            tokens[there, step] = torch.where(going, chosen, self.pad_id)
            kept[there, step] = going.long()
            going = going & ~torch.isin(chosen, stops)
            left = int(going.sum())
            if step + 1 == max_new_tokens or not left:
                break
            if left <= 0.75 * len(going):
                rest = going.nonzero()[:, 0]
                decoder.keep(rest)
                there, chosen, going = there[rest], chosen[rest], going[rest]
            decoder.step(chosen)
        to = torch.arange(len(rows), device=self.device).repeat_interleave(group_size)
        return Samples(prompts, mask, tokens[:, : step + 1], kept[:, : step + 1], to)

    def _draw(self, logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
        logits = logits.float()
        if self.banned_ids:
            logits[:, list(self.banned_ids)] = -torch.inf
        if temperature == 0:
            return logits.argmax(1)
        probabilities = (logits / temperature).softmax(1).to(generator.device)
        return torch.multinomial(probabilities, 1, generator=generator)[:, 0].to(self.device)

    def logprobs(
        self, samples: Samples, *, temperature: float = 1.0, entropy_grad: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As `Policy.logprobs`."""
        logits = answer_logits(self.model, samples)  # (K, V)
        if temperature not in (0, 1):
            logits = logits / temperature
        every = logits.float().log_softmax(-1)
        answers = samples.mask.bool()
        chosen = every.gather(-1, samples.tokens[answers][:, None])[:, 0]
        with torch.set_grad_enabled(entropy_grad and torch.is_grad_enabled()):
            entropy = -(every.exp() * every).nansum(-1)
        nothing = every.new_zeros(answers.shape)
        return nothing.masked_scatter(answers, chosen), nothing.masked_scatter(answers, entropy)

    def texts(self, samples: Samples) -> list[str]:
        """As `Policy.texts`, without special tokens."""
        found: list[str] = self.tokenizer.batch_decode(samples.answers(), skip_special_tokens=True)
        return found

    def teach(self, rows: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> Samples:
        """As `Policy.teach`: each answer ends with the first end of text."""
        prompts, mask = self._prompts(rows)
        encoded = self.tokenizer(list(answers), add_special_tokens=False)["input_ids"]
        ids = [[*tokens, self.stop_ids[0]] for tokens in encoded]
        tokens, kept = padded(ids, self.pad_id, self.device)
        return Samples(prompts, mask, tokens, kept, torch.arange(len(rows), device=self.device))


def padded(ids: Iterable[Sequence[int]], pad: int, device: Any = None) -> tuple[Tensor, Tensor]:
    """Lists of token ids as (N, T), padded on the right, and the mask of what is no padding."""
    rows = [list(row) for row in ids]
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return tokens.to(device), mask.to(device)
