"""Toys whose texts are known, models on a clock that one turns by hand, and drafts that fail in a process."""

from __future__ import annotations

import os
import time

import numpy as np

from firsthand.decoding.duodecoding import DuoDecoder
from firsthand.lm.decoding.ngram import TableLM


def counters(vocab: int, wrong: dict[int, int]) -> tuple[TableLM, TableLM]:
    """A target that counts up to `vocab` and begins again, and a draft that is `wrong` after some tokens."""
    right = [(token + 1) % vocab for token in range(vocab)]
    draft = [wrong.get(token, right[token]) for token in range(vocab)]
    return TableLM.of_successors(right, name="target"), TableLM.of_successors(draft, name="draft")


def random_pair(
    seed: int, noise: float = 1.0, vocab: int | None = None
) -> tuple[TableLM, TableLM, list[int]]:
    """Random bigrams, a draft that is the target with `noise` on its logits, and a prompt of 1 to 3 tokens."""
    rng = np.random.default_rng(seed)
    vocab = vocab or int(rng.integers(3, 14))
    logits = 2 * rng.normal(size=(vocab, vocab))
    draft = logits + noise * rng.normal(size=(vocab, vocab))
    prompt = rng.integers(0, vocab, int(rng.integers(1, 4))).tolist()
    return TableLM(logits, name="target"), TableLM(draft, name="draft"), prompt


def duo(target, draft, budget, **options) -> DuoDecoder:
    """Serial and without fallback, unless said otherwise."""
    return DuoDecoder(target, draft, budget=budget, **{"executor": "serial", "fallback": False, **options})


class Clock:
    """Seconds that pass only when someone says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Ticking:
    """A model whose pass over n tokens turns `clock` by `seconds(n, tokens in the cache)`."""

    def __init__(self, model, clock, seconds) -> None:
        self.model, self.clock, self.seconds = model, clock, seconds
        self.name, self.vocab_size, self.max_length = model.name, model.vocab_size, model.max_length

    def new_cache(self):
        return self.model.new_cache()

    def forward(self, tokens, cache, **options):
        self.clock.now += self.seconds(len(tokens), cache.length)
        return self.model.forward(tokens, cache, **options)


class Counting:
    """A model that keeps what it was asked to read."""

    def __init__(self, model) -> None:
        self.model, self.passes = model, []
        self.name, self.vocab_size, self.max_length = model.name, model.vocab_size, model.max_length

    def new_cache(self):
        return self.model.new_cache()

    def forward(self, tokens, cache, **options):
        self.passes.append(list(tokens))
        return self.model.forward(tokens, cache, **options)


class Failing(Ticking):
    """After `after` passes it raises, hangs, exits, or gives NaN, as `how` says."""

    def __init__(self, model, how: str, after: int = 6) -> None:
        super().__init__(model, Clock(), lambda *_: 0.0)
        self.how, self.left = how, after

    def forward(self, tokens, cache, **options):
        self.left -= 1
        logits = super().forward(tokens, cache, **options)
        if self.left >= 0:
            return logits
        if self.how == "exit":
            os._exit(7)
        if self.how == "hang":
            time.sleep(60)
        if self.how == "nan":
            return logits * float("nan")
        raise ZeroDivisionError("the draft broke in its own way")


def build_counter(vocab: int) -> TableLM:
    """Picklable recipe for a worker."""
    return counters(vocab, {4: 0})[1]


def build_failing(vocab: int, how: str) -> Failing:
    return Failing(build_counter(vocab), how)


def build_nothing() -> TableLM:
    raise RuntimeError("no such model on this machine")


def where_am_i(vocab: int) -> TableLM:
    """A draft named after the cores, threads and process that it was built in."""
    import torch

    table = build_counter(vocab)
    table.name = f"{sorted(os.sched_getaffinity(0))} {torch.get_num_threads()} {os.getpid()}"
    return table
