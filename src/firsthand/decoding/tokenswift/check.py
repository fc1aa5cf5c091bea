"""Claim: a model that drafts for itself gives the same long text sooner, and sooner the longer the text gets.

Treatment: TokenSwift with heads trained here. Controls: plain decoding for speed; the same drafts without
re-used n-grams for what re-use adds; the same model without the penalty for diversity. Acceptance is compared
on texts that exist: decoding is exact, so that one plainly decoded text can be replayed with every drafter,
step for step (`replay_acceptance`). Two figures need a clock and a third none: from the measured acceptance,
the bytes that a token moves in an 8B model at 100 000 tokens (`modelled`).

Model and heads are fixed over all seeds; seeds bring prompts and draws, and a text is the unit of analysis.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from firsthand.claims import Gate, Measurement, Observation
from firsthand.decoding.tokenswift.decoder import TokenSwift
from firsthand.decoding.tokenswift.diversity import distinct_n
from firsthand.decoding.tokenswift.replay import Replay, replay_acceptance
from firsthand.decoding.tokenswift.sampling import long_sampling
from firsthand.decoding.tokenswift.scales import SEEDS, SIZES, Size
from firsthand.decoding.tokenswift.theory import LLAMA_3_1_8B, modelled_speedup
from firsthand.decoding.tokenswift.world import World, make_world
from firsthand.lm.decoding import PlainDecoder, SamplingParams
from firsthand.lm.decoding.timing import compare_decoders

__all__ = ["SEEDS", "TIMED", "charts", "measure"]

TIMED = True
PAPER_TREE = (1, 3, 3, 3)
REUSED = 20  # k
LENGTH, BUDGET = 100_000, 4096  # of the modelled text
DRIFT = 1.15  # plain decoding's own time, last against first
# clause, arm: what is timed against plain decoding
SPEEDS = (("speed-auto", "auto"), ("speed-published", "published"), ("speed-adaptive", "adaptive"))


def measure(seed: int, scale: str, *, null: bool = False) -> Measurement:
    """One seed's texts through every arm. With `null` the control takes the treatment's place."""
    size = SIZES[scale]
    world = make_world(size)
    observations: list[Observation] = []
    gates: list[Gate] = []
    details: dict[str, Any] = {"corpus, SHA-256": world.text.hash}
    speeds, steady, details["timed"] = _timed(world, size, seed, null)
    observations += speeds
    gates += steady
    texts = []
    for number, prompt in enumerate(world.text.prompts(size.texts, size.prompt, seed, 1)):
        found, about = _long_text(world, size, prompt, seed, number, null)
        observations += found
        texts.append(about)
    details["long texts"] = texts
    gates.append(_draws_something(texts))
    observations += _same_text(world, size, seed)
    return Measurement(observations=tuple(observations), gates=tuple(gates), details=details)


# --- speed --------------------------------------------------------------------------------------------


def _timed(
    world: World, size: Size, seed: int, null: bool
) -> tuple[list[Observation], list[Gate], dict[str, Any]]:
    """Tokens a second of each arm on this seed's prompts, sampled as the paper does.

    "auto" speculates at every step with the tree that measured passes favour; "published" is the paper's tree
    and its choice of guesses; "adaptive" may give speculation up.
    """
    sampling = long_sampling(penalty_window=size.window, seed=seed)
    settings: dict[str, Any] = {"ngram_topk": REUSED, "kv_budget": size.budget, "kv_sink": size.sink}
    swifts: dict[str, dict[str, Any]] = {
        "auto": {"branching": "auto", "adaptive": False},
        "published": {"branching": PAPER_TREE, "adaptive": False, "drawn": False},
        "adaptive": {"branching": "auto", "adaptive": True},
    }
    arms: dict[str, Any] = {"plain": PlainDecoder(world.model)}
    for name, options in swifts.items():
        arms[name] = arms["plain"] if null else TokenSwift(world.model, world.heads, **options, **settings)
    found = compare_decoders(
        arms,
        world.text.prompts(size.timed_texts, size.prompt, seed, 2),
        size.timed_tokens,
        repeats=size.repeats,
        arguments={name: {"sampling": sampling} for name in arms},
    )
    observations = []
    for clause, treatment in SPEEDS:
        for name in (treatment, "plain"):
            timed = found.timed["plain" if null else name]
            for number, wall in enumerate(timed.wall_s):
                observations.append(
                    Observation(
                        clause=clause, arm=name, seed=seed, item=f"{seed}-{number}",
                        value=size.timed_tokens / wall, repeat="timed",
                    )
                )  # fmt: skip
    differ = [name for name, timed in found.timed.items() if timed.divergence is not None]
    drift = found.drift("plain")
    claims = ("faster", "faster-as-published", "no-harm")
    gates = [
        Gate(
            name="steady machine",
            passed=1 / DRIFT <= drift <= DRIFT,
            detail=f"plain decoding took {drift:.2f} times as long at the end; at most {DRIFT} is wanted",
            claims=claims,
        ),
        Gate(
            name="equal texts",
            passed=not differ,
            detail=f"other texts: {', '.join(differ)}" if differ else "all arms gave plain decoding's texts",
            claims=claims,
        ),
    ]
    return observations, gates, {"arms": found.rows()}


# --- one long text, replayed ----------------------------------------------------------------------------


def _long_text(
    world: World, size: Size, prompt: list[int], seed: int, number: int, null: bool
) -> tuple[list[Observation], dict[str, Any]]:
    """One text with the penalty and one without: what the penalty does, and for some texts how drafters fare."""
    sampling = long_sampling(penalty_window=size.window, seed=1000 * seed + number)
    freely = replace(sampling, repetition_penalty=1.0)
    text = [*prompt, *PlainDecoder(world.model).generate(prompt, size.tokens, sampling).tokens]
    free = [*prompt, *PlainDecoder(world.model).generate(prompt, size.tokens, freely).tokens]

    def replayed(text: list[int], params: SamplingParams, ks: Sequence[int], drawn: bool) -> list[Replay]:
        return replay_acceptance(
            world.model, world.heads, text, len(prompt), params, branching=PAPER_TREE, ngram_topk=ks,
            kv_budget=size.budget, kv_sink=size.sink, drawn=drawn,
        )  # fmt: skip

    (reusing,) = replayed(text, sampling, (REUSED,), False)
    (loose,) = replayed(free, freely, (REUSED,), False)
    penalised, steps = (free, loose) if null else (text, reusing)
    distinct = {
        name: [distinct_n(found[len(prompt) :], n) for n in range(1, 5)]
        for name, found in (("penalty", penalised), ("no penalty", free))
    }
    values: dict[tuple[str, str], float] = {
        ("distinct", "penalty"): distinct["penalty"][1],
        ("distinct", "no penalty"): distinct["no penalty"][1],
        ("penalty-steps", "penalty"): steps.tokens_per_step,
        ("penalty-steps", "no penalty"): loose.tokens_per_step,
    }
    about: dict[str, Any] = {
        "distinct 1 to 4": distinct,
        "tokens a step": {
            f"k = {REUSED}": reusing.tokens_per_step,
            f"k = {REUSED}, no penalty": loose.tokens_per_step,
        },
    }
    if number < size.replayed:
        (without,) = replayed(text, sampling, (0,), False)
        (drawn,) = replayed(text, sampling, (REUSED,), True)
        values |= _acceptance(size, without, *((without, without) if null else (reusing, drawn)), null)
        about |= _by_stretch(
            size, {"k = 0": without, f"k = {REUSED}": reusing, f"k = {REUSED}, drawn": drawn}
        )
    observations = [
        Observation(clause=clause, arm=arm, seed=seed, item=f"{seed}-{number}", value=value)
        for (clause, arm), value in values.items()
    ]
    return observations, about


def _acceptance(
    size: Size, without: Replay, reusing: Replay, drawn: Replay, null: bool
) -> dict[tuple[str, str], float]:
    """By clause and arm: α in the second half of the text, its growth, and what follows from it."""
    half, end = size.stretches[-2:]
    probable = without if null else reusing
    return {
        ("reuse-late", "reused"): reusing.acceptance(half, end),
        ("reuse-late", "guesses alone"): without.acceptance(half, end),
        ("reuse-slope", "reused"): slope(reusing, size.stretches[0] // 2),
        ("drawn", "drawn"): drawn.acceptance(),
        ("drawn", "probable"): probable.acceptance(),
        ("modelled", "published"): 1.0 if null else _modelled(reusing.acceptance(half, end)),
        ("modelled", "plain"): 1.0,
    }


def _by_stretch(size: Size, replays: Mapping[str, Replay]) -> dict[str, Any]:
    """α of each drafter along the text, for charts."""
    half, end = size.stretches[-2:]
    return {
        "α by stretch": {
            name: [replay.acceptance(first, last) for first, last in pairwise((0, *size.stretches))]
            for name, replay in replays.items()
        },
        "stretches end at": list(size.stretches),
        "tokens a step, all drafters": {name: replay.tokens_per_step for name, replay in replays.items()},
        "modelled, all drafters": {
            name: _modelled(replay.acceptance(half, end)) for name, replay in replays.items()
        },
    }


def _modelled(alpha: float) -> float:
    """Speed over plain decoding of an 8B model at 100 000 tokens, by bytes moved, at the acceptance measured here."""
    return modelled_speedup(1 + len(PAPER_TREE) * alpha, LLAMA_3_1_8B, LENGTH, BUDGET)


def slope(replay: Replay, first: int) -> float:
    """How much α grows each time the text doubles, over the steps that began at new tokens from `first` on."""
    places = np.array(replay.starts)
    chosen = places >= max(first, 1)
    found = np.array(replay.accepted)[chosen] / replay.gamma
    if found.size < 2:
        return 0.0
    return float(np.polyfit(np.log2(places[chosen]), found, 1)[0])


def _draws_something(texts: Sequence[Mapping[str, Any]]) -> Gate:
    """Whether the heads guess neither nothing nor all."""
    found = [text["α by stretch"]["k = 0"] for text in texts if "α by stretch" in text]
    alpha = statistics.fmean(value for stretches in found for value in stretches)
    return Gate(
        name="guesses are right now and then",
        passed=0.02 <= alpha <= 0.95,
        detail=f"without re-use α is {alpha:.3f}; 0.02 to 0.95 is wanted",
        claims=("reuse-pays-with-length", "faster-modelled", "drawn-guesses-help", "penalty-costs-little"),
    )


# --- the same text ---------------------------------------------------------------------------------------


TREES: tuple[Any, ...] = (PAPER_TREE, (2, 2), None, (1, 4, 2, 1))


def _same_text(world: World, size: Size, seed: int) -> list[Observation]:
    """Texts in float64 against plain ones, each with its own prompt, sampling, tree, and number of n-grams."""
    samplings = (
        SamplingParams(),
        SamplingParams(repetition_penalty=1.2, penalty_window=size.window // 4),
        SamplingParams(temperature=1.0),
        long_sampling(penalty_window=size.window // 4),
        long_sampling(penalty_window=None),
        SamplingParams(temperature=0.7, top_p=0.9, top_k=50),
    )
    model, heads = world.in_float64()
    plain = PlainDecoder(model)
    observations = []
    for number, prompt in enumerate(world.text.prompts(size.exact_texts, size.prompt, seed, 3)):
        sampling = replace(samplings[number % len(samplings)], seed=1000 * seed + number)
        swift = TokenSwift(
            model,
            heads if number % 8 else None,
            branching=TREES[number % len(TREES)],
            ngram_topk=(REUSED, 0, 3)[number % 3],
            kv_budget=size.exact_budget,
            kv_sink=size.sink,
            drawn=bool(number // 2 % 2),
            adaptive=False,
        )
        wanted = plain.generate(prompt, size.exact_tokens, sampling).tokens
        found = swift.generate(prompt, size.exact_tokens, sampling).tokens
        observations.append(
            Observation(
                clause="same-text", arm="treatment", seed=seed, item=f"{seed}-{number}",
                value=float(found == wanted),
            )
        )  # fmt: skip
    return observations


# --- for the system's page ------------------------------------------------------------------------------


def charts(details: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Acceptance against length, and measured speed, over all seeds."""
    texts = [text for found in details for text in found["long texts"] if "α by stretch" in text]
    names = list(texts[0]["α by stretch"])
    arms = [row["decoder"] for row in details[0]["timed"]["arms"]]
    speeds = [
        statistics.fmean(found["timed"]["arms"][place]["tokens_per_s"] for found in details)
        for place in range(len(arms))
    ]
    return [
        {
            "kind": "line",
            "title": "Acceptance of the drafts against the length of the text, mean over texts",
            "x_label": "new tokens at the end of the stretch",
            "y_label": "α = accepted / (4 · steps)",
            "log_x": True,
            "series": [
                {
                    "name": name,
                    "x": [float(end) for end in texts[0]["stretches end at"]],
                    "y": [
                        statistics.fmean(text["α by stretch"][name][place] for text in texts)
                        for place in range(len(texts[0]["stretches end at"]))
                    ],
                }
                for name in names
            ],
        },
        {
            "kind": "bar",
            "title": "Measured on one core: tokens a second, mean over seeds",
            "y_label": "tokens a second",
            "series": [{"name": "tokens a second", "x": arms, "y": speeds}],
        },
    ]  # fmt: skip
