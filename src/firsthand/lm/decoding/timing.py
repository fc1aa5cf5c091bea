"""Decoders side by side on the same prompts: who gives the same text, and in which time.

Knows how to take turns fairly (each decoder as often in each place, and as often after each other one: a
machine that slows down slows all, and what one run leaves in the caches helps all), to reduce repeats to a
median and to compare by prompt; knows nothing of which decoder is whose.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from firsthand.errors import InputError
from firsthand.lm.decoding.results import GenerationResult

__all__ = [
    "Comparison",
    "Divergence",
    "Timed",
    "compare_decoders",
    "first_divergence",
    "seconds_by_option",
    "turns",
]


class Generates(Protocol):
    """Anything with `generate`."""

    def generate(self, prompt_ids: Sequence[int], max_new_tokens: int) -> GenerationResult:
        """Go on from a prompt."""
        ...


@dataclass(frozen=True)
class Divergence:
    """Where a text first differs from plain decoding's: `position` counts new tokens from 0."""

    prompt: int
    position: int
    found: int
    wanted: int


@dataclass(frozen=True)
class Timed:
    """One decoder over all prompts: a median of the repeats a prompt.

    Attributes:
        wall_s, ttft_s: seconds a prompt (prompts,); `ttft_s` is 0 where it was not measured.
        results: of the last repeat, a prompt.
        divergence: the first difference from the reference's tokens, or None.
    """

    wall_s: tuple[float, ...]
    ttft_s: tuple[float, ...]
    results: tuple[GenerationResult, ...]
    divergence: Divergence | None

    @property
    def tokens_per_s(self) -> float:
        """New tokens of all prompts over their seconds."""
        return sum(len(result.tokens) for result in self.results) / sum(self.wall_s)

    @property
    def tokens_per_step(self) -> float:
        """New tokens of all prompts over their steps."""
        return sum(len(r.tokens) for r in self.results) / max(1, sum(r.steps for r in self.results))


@dataclass(frozen=True)
class Comparison:
    """Every decoder by name; `reference` is the one that the others are held to."""

    reference: str
    timed: Mapping[str, Timed]

    def speedup(self, name: str, over: str | None = None, *, seed: int = 0) -> tuple[float, float, float]:
        """How many times faster `name` is than `over` (the reference): geometric mean over prompts, 95 % interval.

        The interval is a bootstrap over prompts (2 000 resamples).
        """
        ratios = np.log(self.timed[over or self.reference].wall_s) - np.log(self.timed[name].wall_s)
        rng = np.random.default_rng(seed)
        means = rng.choice(ratios, (2000, len(ratios))).mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        return math.exp(float(ratios.mean())), math.exp(float(low)), math.exp(float(high))

    def drift(self, name: str) -> float:
        """How many times as long `name` took on the last half of the prompts as on the first (medians)."""
        walls = self.timed[name].wall_s
        half = max(1, len(walls) // 2)
        return statistics.median(walls[-half:]) / statistics.median(walls[:half])

    def rows(self) -> list[dict[str, Any]]:
        """One row a decoder, as JSON has it."""
        rows = []
        for name, timed in self.timed.items():
            estimate, low, high = self.speedup(name)
            rows.append(
                {
                    "decoder": name,
                    "tokens_per_s": timed.tokens_per_s,
                    "speedup": [estimate, low, high],
                    "tokens_per_step": timed.tokens_per_step,
                    "target_passes": sum(result.target_passes for result in timed.results),
                    "ttft_s": statistics.median(timed.ttft_s),
                    "same_text": timed.divergence is None,
                    "first_divergence": None if timed.divergence is None else vars(timed.divergence),
                    "fell_back": sum(result.fell_back for result in timed.results),
                }
            )
        return rows


def compare_decoders(
    decoders: Mapping[str, Generates],
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    *,
    repeats: int = 3,
    arguments: Mapping[str, Mapping[str, Any]] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Run every decoder on every prompt `repeats` times, taking turns; the first one is the reference.

    Each decoder goes on from the first prompt once before anything is timed, and whose turn is first at a prompt
    once more, by 16 tokens: nobody's turn comes after another prompt's. `arguments` are passed on to a decoder's
    `generate` by name (sampling, stop). `on_progress(done, total)` counts generations.
    """
    if not decoders or not prompts or new_tokens < 1 or repeats < 1:
        raise InputError("a comparison needs decoders, prompts, at least one new token and one repeat")
    names, extra = list(decoders), arguments or {}

    def warm_up(name: str, prompt: Sequence[int]) -> None:
        decoders[name].generate(prompt, min(new_tokens, 16), **extra.get(name, {}))

    for name in names:
        warm_up(name, prompts[0])
    walls: dict[str, list[list[float]]] = {name: [[] for _ in prompts] for name in names}
    firsts: dict[str, list[list[float]]] = {name: [[] for _ in prompts] for name in names}
    results: dict[str, list[GenerationResult | None]] = {name: [None] * len(prompts) for name in names}
    done, total = 0, repeats * len(prompts) * len(names)
    for repeat in range(repeats):
        for number, prompt in enumerate(prompts):
            row = [names[place] for place in turns(len(names), repeat + number)]
            warm_up(row[0], prompt)
            for name in row:
                result = decoders[name].generate(prompt, new_tokens, **extra.get(name, {}))
                walls[name][number].append(result.wall_s)
                firsts[name][number].append(result.ttft_s)
                results[name][number] = result
                done += 1
                if on_progress is not None:
                    on_progress(done, total)
    reference = [result.tokens for result in results[names[0]] if result is not None]
    return Comparison(
        names[0],
        {
            name: Timed(
                tuple(statistics.median(found) for found in walls[name]),
                tuple(statistics.median(found) for found in firsts[name]),
                tuple(result for result in results[name] if result is not None),
                first_divergence([r.tokens for r in results[name] if r is not None], reference),
            )
            for name in names
        },
    )


def turns(arms: int, row: int) -> list[int]:
    """The order in which `arms` arms take their `row`-th turn: a Williams design.

    Over `arms` rows (twice as many where `arms` is odd) every arm is as often in every place, and as often
    right after every other arm. Going to and fro (A B C C B A) balances the places alone: there B comes after
    A or C, and A, at the ends, mostly after itself.
    """
    first = [(place + 1) // 2 if place % 2 else -(place // 2) for place in range(arms)]
    order = [(arm + row) % arms for arm in first]
    return order[::-1] if arms % 2 and row // arms % 2 else order


def seconds_by_option(
    make: Callable[[Any], Generates], options: Sequence[Any], texts: Sequence[Sequence[int]], new_tokens: int
) -> dict[Any, float]:
    """Seconds that the decoder of each option takes over all `texts`, after a run that does not count."""
    if not options or not texts or new_tokens < 1:
        raise InputError("a choice needs options, texts, and at least one new token")
    seconds = {}
    for option in options:
        decoder = make(option)
        decoder.generate(texts[0], min(new_tokens, 16))
        seconds[option] = sum(decoder.generate(text, new_tokens).wall_s for text in texts)
    return seconds


def first_divergence(found: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]]) -> Divergence | None:
    """The first place where one of `found` differs from its counterpart in `wanted`, or None."""
    for prompt, (mine, theirs) in enumerate(zip(found, wanted, strict=True)):
        for position in range(max(len(mine), len(theirs))):
            a = mine[position] if position < len(mine) else -1
            b = theirs[position] if position < len(theirs) else -1
            if a != b:
                return Divergence(prompt, position, a, b)
    return None
