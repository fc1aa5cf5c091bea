"""How two pieces of code are timed against each other, and what a row of results says.

Knows nothing of what is timed. Ours and the peer take turns A B B A in one process on one thread, so that a
busy machine or a drifting clock hits both alike; a round gives one ratio, and the median over rounds is
reported. The ratio is of process CPU time, which other people's work on the machine changes little; wall
time stands beside it.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What a row's ratio should reach; `kind` is "at least" or "at most"."""

    kind: str
    value: float

    def met(self, ratio: float) -> bool:
        return ratio >= self.value if self.kind == "at least" else ratio <= self.value


def at_least(value: float) -> Target:
    return Target("at least", value)


def at_most(value: float) -> Target:
    return Target("at most", value)


def alternate(ours: Callable[[], object], peer: Callable[[], object], rounds: int) -> dict[str, Any]:
    """Time both, A B B A a round.

    Returns CPU and wall seconds of one call (medians), the ratio peer/ours of each kind of time (medians over
    rounds: above 1 means that ours is faster) and the quartiles of the CPU ratio.
    """
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "peer": []}
    ratios: list[tuple[float, float]] = []
    for _ in range(rounds):
        first, second, third, fourth = _time(ours), _time(peer), _time(peer), _time(ours)
        times["ours"] += [first, fourth]
        times["peer"] += [second, third]
        ratios.append(
            (
                (second[0] + third[0]) / (first[0] + fourth[0]),
                (second[1] + third[1]) / (first[1] + fourth[1]),
            )
        )
    by_cpu = [ratio for ratio, _ in ratios]
    return {
        "ours_cpu_seconds": statistics.median(cpu for cpu, _ in times["ours"]),
        "ours_wall_seconds": statistics.median(wall for _, wall in times["ours"]),
        "peer_cpu_seconds": statistics.median(cpu for cpu, _ in times["peer"]),
        "peer_wall_seconds": statistics.median(wall for _, wall in times["peer"]),
        "ratio_cpu": statistics.median(by_cpu),
        "ratio_cpu_quartiles": quartiles(by_cpu),
        "ratio_wall": statistics.median(ratio for _, ratio in ratios),
        "rounds": rounds,
    }


def _time(call: Callable[[], object]) -> tuple[float, float]:
    """(CPU, wall) seconds of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - cpu, time.perf_counter() - wall


def quartiles(values: Sequence[float]) -> list[float]:
    """The lower and the upper quartile."""
    if len(values) < 2:
        return [values[0], values[0]]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return [low, high]


def timed_row(
    what: str,
    ours: str,
    peer: str,
    timing: Mapping[str, Any],
    *,
    target: Target | None,
    equal: bool | None,
    note: str = "",
    **extra: Any,
) -> Row:
    """A row about time; `equal` says whether both gave the same numbers (None: they are not meant to)."""
    return row(
        what,
        {"label": ours, "text": _seconds(timing["ours_cpu_seconds"])},
        {"label": peer, "text": _seconds(timing["peer_cpu_seconds"])},
        timing["ratio_cpu"],
        target=target,
        equal=equal,
        note=note,
        timing=dict(timing),
        **extra,
    )


def row(
    what: str,
    ours: Mapping[str, Any],
    peer: Mapping[str, Any],
    ratio: float,
    *,
    target: Target | None,
    equal: bool | None,
    note: str = "",
    **extra: Any,
) -> Row:
    """One line of the table, as plain data."""
    return {
        "what": what,
        "ours": dict(ours),
        "peer": dict(peer),
        "ratio": ratio,
        "target": None if target is None else {"kind": target.kind, "value": target.value},
        "met": None if target is None else target.met(ratio),
        "equal": equal,
        "note": note,
        **extra,
    }


def missing_row(what: str, peer: str, why: str) -> Row:
    """A line that says why there is no number."""
    return {
        "what": what,
        "ours": {"label": "", "text": ""},
        "peer": {"label": peer, "text": ""},
        "ratio": None,
        "target": None,
        "met": None,
        "equal": None,
        "note": why,
    }


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def machine() -> dict[str, Any]:
    """Processor, cores, memory, Python and package versions: no host name and no path."""
    from firsthand.claims.record import describe_environment

    found = describe_environment().model_dump()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else found["cores"]
    return {**found, "usable_cores": usable, "threads": 1}


def load_average() -> list[float]:
    """Of the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def plain_decoding_row(model: Any, prompt: Sequence[int], tokens: int, rounds: int) -> Row:
    """Our plain loop against `model.generate`, which every speed-up over plain decoding rests on."""
    import torch

    from firsthand.lm.decoding import PlainDecoder

    decoder, ids = PlainDecoder(model), torch.tensor([list(prompt)])
    options = {"max_new_tokens": tokens, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    mine = list(decoder.generate(prompt, tokens).tokens)
    theirs = model.model.generate(ids, **options)[0, len(prompt) :].tolist()
    timing = alternate(
        lambda: decoder.generate(prompt, tokens), lambda: model.model.generate(ids, **options), rounds
    )
    return timed_row(
        f"plain decoding, {tokens} tokens", "PlainDecoder", "transformers' generate", timing,
        target=at_least(0.95), equal=mine == theirs,
    )  # fmt: skip


def decoders_row(
    found: Any, what: str, ours: str, peer: str, *, target: Target | None, equal: bool, note: str
) -> Row:
    """Two decoders of a `Comparison`: the ratio of their times over prompts, with its interval."""
    ratio, low, high = found.speedup(ours, peer)
    sides = [{"label": n, "text": f"{found.timed[n].tokens_per_s:.0f} tokens/s"} for n in (ours, peer)]
    return row(what, *sides, ratio, target=target, equal=equal, note=note, interval=[low, high])
