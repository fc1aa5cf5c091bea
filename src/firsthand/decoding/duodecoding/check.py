"""Claim: at equal output, drafting while the target checks beats taking turns, and the first token comes sooner.

Treatment: DuoDecoding with the draft in a process of its own, one core for each model. Controls: serial
speculation with the same draft at its own best length, and plain decoding; for the several sequences, a
single chain of the same budget. Measurement: seconds a prompt, by prompts of held-out Python, arms taking
turns, the median of the repeats; exactness in float64 over greedy and sampled texts.

There are two cells with the same weights: the draft run by transformers (c = target time / draft time about
5) and run bare (c above 14). Which of them overlap wins is what the claims ask. A third figure needs no
clock: from counted rounds and steps, the time that both schemes would take at any c (`modelled`).

Models are fixed over all seeds; seeds bring prompts, and a prompt is the unit of analysis.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from firsthand.claims import Gate, Measurement, Observation
from firsthand.decoding.duodecoding.decoder import DuoDecoder
from firsthand.decoding.duodecoding.scales import JUDGED_RATIOS, MODELLED_RATIOS, SEEDS, SIZES, Size
from firsthand.decoding.duodecoding.world import Pair, make_pair, pinned
from firsthand.lm.decoding import GenerationResult, PlainDecoder, SamplingParams, SerialSpeculation
from firsthand.lm.decoding.timing import Comparison, compare_decoders, seconds_by_option

__all__ = ["SEEDS", "TIMED", "charts", "measure"]

TIMED = True
CELLS = ("slow", "fast")
# clause, treatment, control, what is measured
CLAUSES = {
    "slow": (
        ("turns-slow", "duo", "serial", "speed"),
        ("plain-slow", "duo", "plain", "speed"),
        ("first-slow", "duo", "serial", "first"),
    ),
    "fast": (
        ("turns-fast", "duo", "serial", "speed"),
        ("plain-fast", "duo", "plain", "speed"),
        ("chain-fast", "duo", "duo, one chain", "speed"),
    ),
}
TIMED_CLAIMS = {
    "slow": ("beats-turns-slow-draft", "beats-plain-slow-draft", "sooner-slow-draft"),
    "fast": ("beats-turns-fast-draft", "beats-plain-fast-draft", "sequences-help-fast-draft"),
}
DRIFT = 1.15  # plain decoding's own time, last against first prompts


def measure(seed: int, scale: str, *, null: bool = False) -> Measurement:
    """One seed's prompts through every arm. With `null` the control takes the treatment's place."""
    size = SIZES[scale]
    pair = make_pair(size)
    observations: list[Observation] = []
    gates: list[Gate] = []
    details: dict[str, Any] = {"corpus, SHA-256": pair.text.hash}
    for cell in CELLS:
        found, chosen = _timed(pair, size, cell, seed, null)
        observations += _speeds(found, cell, seed)
        details[f"{cell} draft"] = {"chosen": chosen, "arms": found.rows()}
        gates += _gates(found, cell)
    gates.append(_often_right(pair, size, seed))
    modelled = _modelled(pair, size, seed, null)
    observations += modelled.pop("observations")
    observations += _same_text(pair, size, seed)
    details["modelled"] = modelled
    return Measurement(
        observations=tuple(observations),
        gates=tuple(gates),
        candidates={"duo": len(size.budgets), "serial": len(size.lengths)},
        details=details,
    )


# --- speed on two cores -------------------------------------------------------------------------------


def _timed(
    pair: Pair, size: Size, cell: str, seed: int, null: bool
) -> tuple[Comparison, dict[str, int | None]]:
    """Every arm on this seed's prompts, with the lengths that were best on tuning prompts."""
    draft, target = pair.draft(cell), pair.target

    def serial(length: int) -> SerialSpeculation:
        return SerialSpeculation(target, draft, length=length)

    apart = size.executor == "process"
    with (
        pinned() as cores,
        DuoDecoder(
            target,
            pair.recipe(cell),
            budget=1,
            executor=size.executor,
            draft_threads=1 if apart else None,
            draft_cores=[cores[1]] if apart and cores is not None else None,
            fallback=False,
        ) as worker,
    ):  # fmt: skip
        tuning = pair.text.prompts(size.tuning_prompts, size.prompt, seed, 1)
        length = _quickest(serial, size.lengths, tuning, size.tuning_tokens)
        budget = _quickest(partial(_Set, worker), size.budgets, tuning, size.tuning_tokens)
        arms: dict[str, Any] = {
            "plain": PlainDecoder(target),
            "serial": serial(length),
            "duo": serial(length) if null else _Set(worker, budget),
            "duo, one chain": serial(length) if null else _Set(worker, budget, 1),
        }
        found = compare_decoders(
            arms, pair.text.prompts(size.prompts, size.prompt, seed, 2), size.tokens, repeats=size.repeats
        )
    return found, {"serial length": length, "duo budget": budget, "cores": 1 if cores is None else 2}


@dataclass(frozen=True)
class _Set:
    """One worker process for all arms that draft there: the decoder, set anew before each text."""

    decoder: DuoDecoder
    budget: int
    sequences: Literal["dynamic"] | int = "dynamic"

    def generate(self, prompt_ids: Sequence[int], max_new_tokens: int) -> GenerationResult:
        self.decoder.budget, self.decoder.sequences = self.budget, self.sequences
        return self.decoder.generate(prompt_ids, max_new_tokens)


def _quickest(
    make: Callable[[int], Any], options: Sequence[int], texts: Sequence[Sequence[int]], tokens: int
) -> int:
    """The option whose decoder takes least time over `texts`."""
    seconds: dict[int, float] = seconds_by_option(make, options, texts, tokens)
    return min(seconds, key=lambda option: seconds[option])


def _speeds(found: Comparison, cell: str, seed: int) -> list[Observation]:
    """Tokens a second, and seconds to the first token, a prompt and arm."""
    observations = []
    for clause, treatment, control, quantity in CLAUSES[cell]:
        for name in (treatment, control):
            timed = found.timed[name]
            for number, result in enumerate(timed.results):
                value = (
                    len(result.tokens) / timed.wall_s[number] if quantity == "speed" else timed.ttft_s[number]
                )
                observations.append(
                    Observation(
                        clause=clause,
                        arm=name,
                        seed=seed,
                        item=f"{seed}-{number}",
                        value=value,
                        repeat="timed",
                    )
                )
    return observations


def _gates(found: Comparison, cell: str) -> list[Gate]:
    """Equal texts as far as float32 allows, and a machine that did not slow down."""
    drift = found.drift("plain")
    differ = [name for name, timed in found.timed.items() if timed.divergence is not None]
    claims = TIMED_CLAIMS[cell]
    return [
        Gate(
            name=f"steady machine, {cell} draft",
            passed=1 / DRIFT <= drift <= DRIFT,
            detail=f"plain decoding took {drift:.2f} times as long at the end; at most {DRIFT} is wanted",
            claims=claims,
        ),
        Gate(
            name=f"equal texts, {cell} draft",
            passed=not differ,
            detail="all arms gave plain decoding's texts"
            if not differ
            else f"other texts: {', '.join(differ)}",
            claims=claims,
        ),
    ]


def _often_right(pair: Pair, size: Size, seed: int) -> Gate:
    """A draft whose next token is often the target's: of chains of one, whatever length is best by the clock."""
    decoder = SerialSpeculation(pair.target, pair.draft("fast"), length=1)
    texts = pair.text.prompts(size.modelled_prompts, size.prompt, seed, 3)
    results = [decoder.generate(text, size.modelled_tokens) for text in texts]
    accepted = sum(r.accepted for r in results) / max(1, sum(r.drafted for r in results))
    return Gate(
        name="the draft is right often enough",
        passed=accepted >= 0.3,
        detail=f"{accepted:.0%} of the tokens that it drafted one by one were accepted; 30 % are wanted",
        claims=(*TIMED_CLAIMS["slow"], *TIMED_CLAIMS["fast"]),
    )


# --- the same without a clock -------------------------------------------------------------------------


def _modelled(pair: Pair, size: Size, seed: int, null: bool) -> dict[str, Any]:
    """At each c, the time that both schemes would take: rounds cost the longer side, steps cost the sum.

    The draft's step takes 1, the target's pass c whatever it reads. Lengths are chosen on tuning prompts.
    """
    draft = pair.draft("fast")
    texts = pair.text.prompts(size.modelled_prompts, size.prompt, seed, 3)
    tuning = pair.text.prompts(size.tuning_prompts, size.prompt, seed, 4)
    tokens = size.modelled_tokens

    def serial_costs(length: int, texts: Sequence[Sequence[int]]) -> list[Callable[[float], float]]:
        decoder = SerialSpeculation(pair.target, draft, length=length)
        return [_serial_time(decoder.generate(text, tokens)) for text in texts]

    def duo_costs(budget: int, texts: Sequence[Sequence[int]]) -> list[Callable[[float], float]]:
        with DuoDecoder(pair.target, draft, budget=budget, executor="serial", fallback=False) as decoder:
            return [_duo_time(decoder.generate(text, tokens)) for text in texts]

    schemes: dict[str, Mapping[int, tuple[Any, Any]]] = {
        "serial": {n: (serial_costs(n, tuning), serial_costs(n, texts)) for n in size.lengths},
        "duo": {n: (duo_costs(n, tuning), duo_costs(n, texts)) for n in size.budgets},
    }
    observations, table = [], {}
    for c in MODELLED_RATIOS:
        best = {name: _cheapest(options, c) for name, options in schemes.items()}
        times = {name: [cost(c) for cost in schemes[name][best[name]][1]] for name in schemes}
        if null:
            times["duo"] = times["serial"]
        table[c] = {
            **{f"best {name}": best[name] for name in schemes},
            "serial / duo": math.exp(
                statistics.fmean(math.log(a / b) for a, b in zip(times["serial"], times["duo"], strict=True))
            ),
        }
        for name, found in times.items() if c in JUDGED_RATIOS else ():
            observations += [
                Observation(
                    clause=f"modelled-{c}", arm=name, seed=seed, item=f"{seed}-{number}", value=tokens / time
                )
                for number, time in enumerate(found)
            ]
    return {"observations": observations, "by c": {str(c): row for c, row in table.items()}}


def _cheapest(options: Mapping[int, tuple[Any, Any]], c: float) -> int:
    """The length that takes least on the tuning prompts."""
    return min(options, key=lambda n: sum(cost(c) for cost in options[n][0]))


def _serial_time(result: GenerationResult) -> Callable[[float], float]:
    return lambda c: result.steps * c + result.drafted


def _duo_time(result: Any) -> Callable[[float], float]:
    """A round takes as long as its longer side; a draft that the target's refusal makes useless is stopped then."""
    sides = [
        (entry.draft_steps if entry.hit is not None else 0) for entry in result.log if entry.kind == "duo"
    ]
    return lambda c: float(sum(max(c, steps) for steps in sides))


# --- the same text ---------------------------------------------------------------------------------------


SAMPLINGS = (
    SamplingParams(),
    SamplingParams(temperature=1.0),
    SamplingParams(temperature=0.7, top_p=0.9, top_k=50),
    SamplingParams(temperature=1.0, min_p=0.05, repetition_penalty=1.2, penalty_window=64),
)


def _same_text(pair: Pair, size: Size, seed: int) -> list[Observation]:
    """Texts in float64, each with its own prompt, sampling, budget and number of sequences, against plain ones."""
    import copy

    from firsthand.lm.decoding.huggingface import HFCausalLM

    target = HFCausalLM(copy.deepcopy(pair.target.model).double(), name="target")  # type: ignore[attr-defined]
    draft = pair.draft("fast")
    plain = PlainDecoder(target)
    observations = []
    for number, prompt in enumerate(pair.text.prompts(size.exact_texts, size.prompt, seed, 5)):
        sampling = replace(SAMPLINGS[number % len(SAMPLINGS)], seed=1000 * seed + number)
        budget = size.budgets[number % len(size.budgets)]
        mode: Any = ("greedy", "coupled")[number // len(SAMPLINGS) % 2]
        wanted = plain.generate(prompt, size.exact_tokens, sampling).tokens
        with DuoDecoder(
            target, draft, budget=budget, draft_mode=mode, executor="serial", fallback=False
        ) as decoder:
            found = decoder.generate(prompt, size.exact_tokens, sampling).tokens
        observations.append(
            Observation(
                clause="same-text",
                arm="treatment",
                seed=seed,
                item=f"{seed}-{number}",
                value=float(found == wanted),
            )
        )
    return observations


# --- for the system's page ------------------------------------------------------------------------------


def charts(details: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The modelled map and the measured speeds, over all seeds."""
    tables = [found["modelled"]["by c"] for found in details]
    return [
        {
            "kind": "line",
            "title": "Modelled: time of turns over time of overlap, each at its best length (above 1 overlap wins)",
            "x_label": "c = target time / draft time",
            "y_label": "serial / duo",
            "series": [
                {
                    "name": "serial / duo, mean over seeds",
                    "x": [float(c) for c in tables[0]],
                    "y": [
                        math.exp(statistics.fmean(math.log(table[c]["serial / duo"]) for table in tables))
                        for c in tables[0]
                    ],
                }
            ],
        },
        {
            "kind": "bar",
            "title": "Measured on two cores: tokens a second, mean over seeds",
            "y_label": "tokens a second",
            "series": [
                {
                    "name": f"{cell} draft",
                    "x": [row["decoder"] for row in details[0][f"{cell} draft"]["arms"]],
                    "y": [
                        statistics.fmean(found[f"{cell} draft"]["arms"][place]["tokens_per_s"] for found in details)
                        for place in range(len(details[0][f"{cell} draft"]["arms"]))
                    ],
                }
                for cell in CELLS
            ],
        },
    ]  # fmt: skip
