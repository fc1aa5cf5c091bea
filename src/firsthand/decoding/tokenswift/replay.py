"""How a drafter would have fared on a text that exists already, step for step, without decoding it again.

Decoding is exact, so any drafter meets the same text: one sample can be replayed with several, and their
acceptance compared pair by pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from firsthand.decoding.tokenswift.drafting import again_after, draft_rows, guessed, trace_of
from firsthand.decoding.tokenswift.ngram_table import LaggedFeed, NGramTable
from firsthand.decoding.tokenswift.sampling import reuse_lag
from firsthand.errors import InputError
from firsthand.lm.decoding import Sampler, SamplingParams

if TYPE_CHECKING:
    from firsthand.lm.decoding.huggingface import HFCausalLM

__all__ = ["Replay", "replay_acceptance"]


@dataclass(frozen=True)
class Replay:
    """One replay: at which new token each step began, and how many guesses it had accepted.

    `gamma` is γ, the positions that a step drafts.
    """

    starts: tuple[int, ...]
    accepted: tuple[int, ...]
    gamma: int

    def acceptance(self, first: int = 0, last: int | None = None) -> float:
        """α = accepted / (γ · steps) over the steps that began at new tokens from `first` to before `last`."""
        chosen = [
            count
            for start, count in zip(self.starts, self.accepted, strict=True)
            if start >= first and (last is None or start < last)
        ]
        return sum(chosen) / (self.gamma * len(chosen)) if chosen else 0.0

    @property
    def tokens_per_step(self) -> float:
        """Accepted guesses and one more, a step."""
        return 1 + sum(self.accepted) / len(self.accepted) if self.accepted else 0.0


def replay_acceptance(
    model: HFCausalLM,
    heads: Any,
    tokens: Sequence[int],
    prompt_len: int,
    sampling: SamplingParams,
    *,
    branching: Sequence[int] = (1, 3, 3, 3),
    ngram_topk: int | Sequence[int] = 20,
    kv_budget: int = 4096,
    kv_sink: int = 16,
    drawn: bool = False,
) -> list[Replay]:
    """Replay drafting on `tokens` (prompt and text) with each number of re-used n-grams in `ngram_topk`.

    The text must be one that `model` gave with `sampling`. Steps begin and end where they would have, so each
    number has steps, and draft passes, of its own; the text is read once. Returns one `Replay` a number.
    """
    from firsthand.decoding.tokenswift.partial_cache import PartialKVCache

    text = [int(token) for token in tokens]
    if not 1 <= prompt_len < len(text):
        raise InputError(f"prompt_len {prompt_len}: at least 1, below the text's length {len(text)}")
    numbers = [ngram_topk] if isinstance(ngram_topk, int) else list(ngram_topk)
    sampler = Sampler(sampling, model.name)
    replays = []
    whole = model.new_cache()
    model.forward(text[:-1], whole, last=1)
    for number in numbers:
        partial = PartialKVCache(whole, budget=kv_budget, sink=kv_sink)
        feed = LaggedFeed(NGramTable(), reuse_lag(sampling))
        at, starts, accepted = prompt_len, [], []
        while at < len(text) - 1:
            ids = text[:at]
            feed.advance(ids)
            with whole.looking_back(at - 1):
                if partial.due(at - 1):
                    with whole.looking_back(at - 2):
                        reading = model.read(ids[-2:-1], whole, queries=True)
                        whole.truncate(at - 2)
                    partial.select([query[:, -1] for query in reading.queries or ()])
                rows = draft_rows(model, heads, partial, ids[-1])
            guesses = guessed(rows[: len(branching)], branching, sampler, ids, drawn)
            following = text[at : at + len(branching) + 1]
            trace = trace_of(following, guesses, again_after(feed.table, guesses[0], number))
            right = max([len(trace.ranks), *trace.reused])
            starts.append(at - prompt_len)
            accepted.append(right)
            at += right + 1
        replays.append(Replay(tuple(starts), tuple(accepted), len(branching)))
    return replays
