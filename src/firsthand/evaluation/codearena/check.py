"""Claims: dynamic points blunt leaks, and the service that computes them is right and steady.

Leaks are simulated (`field`): treatment is a ranking by dynamic points, control one by pass rate, by points for human
labels, by the challenge score alone, or by the paper's prose in place of its equation; the effect is the difference of
their Kendall's tau with the true abilities. One seed is one league.

One seed in twenty also has the scripted league of eight judged twice by the running service (`trial`): are verdicts
what the programs were written to get, are points what the equations give, do two passes order programs alike?
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from firsthand.claims import Measurement, Observation
from firsthand.errors import MissingDependencyError
from firsthand.evaluation.codearena.errors import SandboxUnavailable
from firsthand.evaluation.codearena.sandbox.isolation import examine
from firsthand.evaluation.codearena.scales import NARROW, SEEDS, SERVED_EVERY, SIZES, WIDE
from firsthand.evaluation.codearena.scores.field import Cell, leak_study
from firsthand.evaluation.codearena.trial import Pass, judge_league, pairs_of

__all__ = ["SEEDS", "TIMED", "charts", "measure", "require"]

TIMED = True
TOLERANCE = 1e-9
CLOSE_MS = 2.0

# Clause, leak, treatment, control.
_COMPARED = (
    ("wide-quarter", WIDE[0], "dp", "pass_rate"),
    ("wide-half", WIDE[1], "dp", "pass_rate"),
    ("narrow-quarter", NARROW[0], "dp", "pass_rate"),
    ("narrow-half", NARROW[1], "dp", "pass_rate"),
    ("labels", WIDE[1], "dp", "labels"),
    ("prose", Cell(0.5, 0.25), "share", "dp"),
    ("efficiency", NARROW[1], "dp", "cs"),
)
_NAMES = {
    "dp": "dynamic points", "pass_rate": "pass rate", "labels": "points for human labels",
    "cs": "challenge score alone", "share": "dynamic points, prose",
}  # fmt: skip


def require() -> None:
    """Raise `MissingDependencyError` where this machine cannot isolate programs: no verdict without it."""
    try:
        examine().require()
    except SandboxUnavailable as error:
        raise MissingDependencyError(str(error)) from error


def measure(seed: int, scale: str, *, null: bool = False) -> Measurement:
    """One seed's league with every leak; for some seeds the service, too. With `null` the control takes both arms."""
    size = SIZES[scale]
    taus = leak_study(seed, size.cells, models=size.models, problems=size.problems)
    observations = [
        Observation(clause=clause, arm=_NAMES[name], seed=seed, value=taus[cell][other if null else name])
        for clause, cell, name, other in _COMPARED
        for name, other in ((name, other), (other, other))
    ]
    details: dict[str, Any] = {
        "taus": [
            {**asdict(cell), **{_NAMES[name]: tau for name, tau in found.items()}}
            for cell, found in taus.items()
        ]
    }
    if seed % SERVED_EVERY == 0:
        passes = judge_league(seed, contestants=size.contestants, problems=size.judged, repeats=size.repeats)
        if null:
            passes = tuple(_without_sense(one, seed + number) for number, one in enumerate(passes))
        observations += _service(seed, passes)
        details["service"] = _told(passes)
    return Measurement(observations=tuple(observations), details=details)


def _service(seed: int, passes: Sequence[Pass]) -> Iterator[Observation]:
    for number, one in enumerate(passes, 1):
        where = f"seed {seed}, pass {number}, "
        for judged in one.judged:
            yield Observation(
                clause="verdicts", arm="treatment", seed=seed, value=float(judged.verdict == judged.designed),
                item=f"{where}{judged.contestant}, {judged.problem}",
            )  # fmt: skip
        for row in one.boards:
            yield Observation(
                clause="points", arm="treatment", seed=seed, value=float(abs(row.told - row.computed) <= TOLERANCE),
                item=f"{where}{row.board}, {row.user}",
            )  # fmt: skip
    for name, _, kept in pairs_of(*passes):
        yield Observation(
            clause="order", arm="treatment", seed=seed, value=float(kept), item=f"seed {seed}, {name}",
            repeat="timed",
        )  # fmt: skip


def _without_sense(one: Pass, seed: int) -> Pass:
    """A pass of a judge that knows nothing: verdicts, times and boards belong to other submissions."""
    shuffle = random.Random(f"nothing known {seed}").shuffle
    verdicts = [judged.verdict for judged in one.judged]
    times = [judged.cpu_ms for judged in one.judged]
    told = [row.told for row in one.boards]
    for values in (verdicts, times, told):
        shuffle(values)
    return replace(
        one,
        judged=tuple(
            replace(judged, verdict=verdict, cpu_ms=cpu_ms)
            for judged, verdict, cpu_ms in zip(one.judged, verdicts, times, strict=True)
        ),
        boards=tuple(replace(row, told=value) for row, value in zip(one.boards, told, strict=True)),
    )


def _told(passes: Sequence[Pass]) -> dict[str, Any]:
    """Figures beside the verdicts."""
    pairs = list(pairs_of(*passes))
    close = [kept for _, apart, kept in pairs if apart < CLOSE_MS]
    return {
        "seconds": [one.seconds for one in passes],
        "submissions": len(passes[0].judged),
        "wrong": [
            asdict(judged) for one in passes for judged in one.judged if judged.verdict != judged.designed
        ],
        "largest difference of points": max(
            (abs(row.told - row.computed) for one in passes for row in one.boards), default=0.0
        ),
        "pairs": len(pairs),
        "pairs turned round": sum(not kept for _, _, kept in pairs),
        "close pairs": len(close),
        "close pairs turned round": sum(not kept for kept in close),
        "times": [
            [one.problem, one.contestant, one.cpu_ms, again.cpu_ms, one.spread_ms]
            for one, again in zip(passes[0].judged, passes[1].judged, strict=True)
            if one.verdict == again.verdict == "AC"
        ],
    }


# --- charts ----------------------------------------------------------------------------------------------------


def charts(details: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How true each ranking stays as a leak spreads, and how alike two passes time a program."""
    found = [
        _leak_chart(details, leaked)
        for leaked in (0.25, 0.5)
        if any(row["leaked"] == leaked for row in details[0]["taus"])
    ]
    times = [row for one in details if "service" in one for row in one["service"]["times"]]
    if times:
        found.append(
            {
                "kind": "points",
                "title": "Milliseconds of processor time, first pass and second",
                "x_label": "first pass",
                "y_label": "second pass",
                "log_x": True,
                "log_y": True,
                "series": [
                    {
                        "name": "accepted programs",
                        "x": [row[2] for row in times],
                        "y": [row[3] for row in times],
                    }
                ],
            }
        )
    return found


def _leak_chart(details: Sequence[Mapping[str, Any]], leaked: float) -> dict[str, Any]:
    knowing = sorted({row["knowing"] for row in details[0]["taus"] if row["leaked"] == leaked})

    def mean(name: str, share: float) -> float:
        taus: list[float] = [
            row[name]
            for one in details
            for row in one["taus"]
            if row["leaked"] == leaked and row["knowing"] == share
        ]
        return sum(taus) / len(taus)

    return {
        "kind": "line",
        "title": f"Kendall's tau with true ability, {leaked:.0%} of the problems leaked",
        "x_label": "share of the models that know them",
        "y_label": "tau",
        "series": [
            {"name": name, "x": knowing, "y": [mean(name, share) for share in knowing]}
            for name in _NAMES.values()
        ],
    }
