"""Running a check: seeds become jobs, jobs become observations, observations become a record.

A check is a module with

    SEEDS = {"smoke": 2, "laptop": 10}                        # how many seeds each scale takes
    def measure(seed, scale, *, null=False) -> Measurement    # one seed; control in both arms where null

and, where it needs them, `TIMED = True` (it times things: one seed at a time, under the machine's lock),
`STATISTICS = {name: function}` and `DRY_RUN = {"paper": function}` (builds everything without running it
and returns what it would cost).
"""

from __future__ import annotations

import datetime
import importlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firsthand.claims.model import SCALES, Claim, Measurement, Record
from firsthand.claims.record import describe_environment, git_commit, write_record
from firsthand.claims.sources import source_hash
from firsthand.claims.verdict import judge
from firsthand.errors import CheckError, InputError
from firsthand.launch import Finished, Job, machine_lock, run_jobs

__all__ = ["Subject", "dry_run", "measure_seed", "run_check", "seeds_of"]


@dataclass(frozen=True)
class Subject:
    """What the runner needs to know of a room."""

    slug: str
    title: str
    domain: str
    claims: tuple[Claim, ...]
    check: str  # the dotted name of its check module
    folder: Path

    def module(self) -> Any:
        """The check module, imported."""
        return importlib.import_module(self.check)


def seeds_of(subject: Subject, scale: str) -> int:
    """How many seeds the check takes at `scale`; raises `InputError` where it has no such scale."""
    if scale not in SCALES:
        raise InputError(f"unknown scale {scale!r}; choose one of {', '.join(SCALES)}")
    seeds: Mapping[str, int] = subject.module().SEEDS
    if scale not in seeds:
        raise InputError(f"the check of {subject.slug} has no {scale} scale; it has {', '.join(seeds)}")
    return seeds[scale]


def measure_seed(check: str, seed: int, scale: str, null: bool = False) -> dict[str, Any]:
    """One seed of a check, as plain JSON: the function that jobs name."""
    module = importlib.import_module(check)
    measurement: Measurement = module.measure(seed, scale, null=null)
    if not measurement.observations:
        raise CheckError(f"{check}: seed {seed} at {scale} scale gave no observation")
    strangers = {o.seed for o in measurement.observations} - {seed}
    if strangers:
        raise CheckError(f"{check}: seed {seed} returned observations of other seeds: {sorted(strangers)}")
    return measurement.model_dump(mode="json")


def run_check(
    subject: Subject,
    scale: str = "laptop",
    *,
    seeds: Sequence[int] | None = None,
    jobs: int = 1,
    engine: str = "local",
    address: str | None = None,
    out: Path | None = None,
    resume: bool = False,
    null: bool = False,
    on_seed: Callable[[Finished], None] | None = None,
) -> Record:
    """Run one room's check and judge it.

    Args:
        seeds: which seeds; None means 0..n−1 with the check's own n. Any other choice makes the record
            exploratory: it is judged, and stays off the board.
        jobs: worker processes; a check that times things runs one seed at a time whatever this says.
        out: a folder for OUT/SLUG/SCALE.json and, under OUT/SLUG/SCALE/, each finished seed.
        resume: take up the finished seeds in `out` that the present sources made.

    Raises:
        InputError: no such scale. CheckError: a seed failed, or its observations cannot be judged.
    """
    module = subject.module()
    wanted = list(range(seeds_of(subject, scale)))
    chosen = wanted if seeds is None else list(seeds)
    if not chosen or len(set(chosen)) != len(chosen):
        raise InputError(f"seeds must be distinct and at least one, got {chosen}")
    sources = source_hash(subject.check, subject.claims)
    timed = bool(getattr(module, "TIMED", False))
    # Null runs lie apart: their seeds must never be taken up as the check's own.
    keep = out / subject.slug / (scale + ("-null" if null else "")) if out is not None else None
    started = datetime.datetime.now(datetime.UTC)
    load = os.getloadavg()[0]
    clock = time.perf_counter()
    with ExitStack() as stack:
        if timed:
            stack.enter_context(machine_lock())
        finished = run_jobs(
            [
                Job(
                    key=f"seed-{seed:04d}",
                    function="firsthand.claims.run:measure_seed",
                    arguments={"check": subject.check, "seed": seed, "scale": scale, "null": null},
                )
                for seed in chosen
            ],
            engine=engine,
            workers=1 if timed else jobs,
            address=address,
            keep=keep,
            resume=resume,
            version=sources,
            on_finished=on_seed,
        )
    measurements = {
        seed: Measurement.model_validate(f.result) for seed, f in zip(chosen, finished, strict=True)
    }
    observations = tuple(o for m in measurements.values() for o in m.observations)
    gates = tuple(
        gate.model_copy(update={"name": f"{gate.name}, seed {seed}"})
        for seed, m in measurements.items()
        for gate in m.gates
    )
    results = judge(subject.claims, observations, gates=gates, statistics=getattr(module, "STATISTICS", None))
    if scale == "smoke":  # smoke shows that the path works; it is too small to say anything of the claim
        results = tuple(
            result.model_copy(
                update={"verdict": None, "reason": result.reason if not result.claim.measured else ""}
            )
            for result in results
        )
    resumed = any(f.resumed for f in finished)
    record = Record(
        room=subject.slug,
        title=subject.title,
        domain=subject.domain,
        scale=scale,
        engine=engine,
        exploratory=null or chosen != wanted,
        seeds=tuple(chosen),
        results=results,
        observations=observations,
        gates=gates,
        candidates={k: v for m in measurements.values() for k, v in m.candidates.items()},
        details={str(seed): m.details for seed, m in measurements.items() if m.details},
        started=started.isoformat(timespec="seconds"),
        # Seeds that were taken up again cost their time in another run: add the parts.
        wall_seconds=sum(f.wall_seconds for f in finished) / jobs if resumed else time.perf_counter() - clock,
        cpu_seconds=sum(f.cpu_seconds for f in finished),
        peak_memory_mib=max(f.peak_memory_mib for f in finished),
        load_average=load,
        commit=git_commit(subject.folder),
        source_hash=sources,
        environment=describe_environment(*getattr(module, "DEVICE", ("cpu", "float32"))),
    )
    if out is not None:
        name = f"{scale}-null" if null else f"{scale}-exploratory" if record.exploratory else scale
        write_record(record, out / subject.slug / f"{name}.json")
    return record


def dry_run(subject: Subject, scale: str) -> dict[str, Any]:
    """What a scale would cost, without running it: the check's own account where it has one."""
    module = subject.module()
    accounts: Mapping[str, Callable[[], dict[str, Any]]] = getattr(module, "DRY_RUN", {})
    if scale in accounts:
        return {"room": subject.slug, "scale": scale, **accounts[scale]()}
    return {
        "room": subject.slug,
        "scale": scale,
        "seeds": seeds_of(subject, scale),
        "claims": [claim.id for claim in subject.claims if claim.measured],
        "not measured": {claim.id: claim.reason for claim in subject.claims if not claim.measured},
        "timed": bool(getattr(module, "TIMED", False)),
    }
