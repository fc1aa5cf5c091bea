"""Running a check: seeds become jobs, jobs become observations, observations become a record.

A check is a module with

    SEEDS = {"smoke": 2, "laptop": 10}                        # how many seeds each scale takes
    def measure(seed, scale, *, null=False) -> Measurement    # one seed; control in both arms where null

and, where it needs them, `TIMED = True` (it times things: one seed at a time, on this machine, under its
lock), `STATISTICS = {name: function}`, `DEVICE = ("cuda", "bfloat16")` or the same by scale
(`{"gpu": ("cuda", "bfloat16")}`), and `DRY_RUN = {"paper": "package.module:function"}` (the function takes
nothing, builds everything without running it and returns what it would cost; a scale may have such an
account and no seeds). `charts(details)` takes the details of all seeds in order and returns charts over them.
`require()` raises `MissingDependencyError` where this machine lacks what the check needs beyond Python.
"""

from __future__ import annotations

import datetime
import importlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from firsthand.claims.model import SCALES, Claim, Environment, Gate, Measurement, Observation, Record
from firsthand.claims.record import describe_environment, git_commit, without_places, write_record
from firsthand.claims.sources import source_hash
from firsthand.claims.verdict import judge
from firsthand.errors import CheckError, InputError, MissingDependencyError
from firsthand.launch import Finished, Job, machine_lock, run_jobs
from firsthand.launch.jobs import ENGINES

__all__ = ["Subject", "dry_run", "measure_seed", "require_device", "require_engine", "run_check", "seeds_of"]

BUSY = 0.75  # load average per core above which a machine is too busy to time anything


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
    module = subject.module()
    seeds: Mapping[str, int] = module.SEEDS
    if scale not in seeds and scale in getattr(module, "DRY_RUN", {}):
        raise InputError(
            f"the {scale} scale of {subject.slug} can be counted and not run: add --dry-run for what it takes and "
            f"the commands that do it; scales that run are {', '.join(seeds)}"
        )
    if scale not in seeds:
        raise InputError(f"the check of {subject.slug} has no {scale} scale; it has {', '.join(seeds)}")
    return seeds[scale]


def require_engine(subject: Subject, engine: str) -> None:
    """Raise `InputError` where the check times things and `engine` is Ray, which may run it anywhere."""
    if engine == "ray" and getattr(subject.module(), "TIMED", False):
        raise InputError(
            f"the check of {subject.slug} times things: its seeds run one by one on this machine, under its "
            "lock, and not on Ray; use --engine local"
        )


def require_device(subject: Subject, scale: str) -> None:
    """Raise `InputError` where the check computes on CUDA at `scale` and torch finds none here.

    Raises `MissingDependencyError` where there is no torch to ask.
    """
    device, _ = _device(subject.module(), scale)
    if not device.startswith("cuda"):
        return
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            f"the {scale} scale of {subject.slug} computes on {device} with torch, which is not installed; "
            "run: pip install 'firsthand[lm]'"
        ) from error
    if not torch.cuda.is_available():
        raise InputError(
            f"the {scale} scale of {subject.slug} computes on {device}, and torch finds no CUDA device here; run it "
            "where there is one, or use --scale laptop"
        )


def measure_seed(check: str, seed: int, scale: str, null: bool = False) -> dict[str, Any]:
    """One seed of a check, as plain JSON, and the environment it was measured in: the function jobs name."""
    module = importlib.import_module(check)
    measurement: Measurement = module.measure(seed, scale, null=null)
    if not measurement.observations:
        raise CheckError(f"{check}: seed {seed} at {scale} scale gave no observation")
    strangers = {o.seed for o in measurement.observations} - {seed}
    if strangers:
        raise CheckError(f"{check}: seed {seed} returned observations of other seeds: {sorted(strangers)}")
    if not getattr(module, "TIMED", False) and any(o.repeat == "timed" for o in measurement.observations):
        raise CheckError(f"{check}: seed {seed} returned timed observations; such a check says TIMED = True")
    _candidates(check, {seed: measurement})  # here too: better after one seed than after all
    plain = measurement.model_dump(mode="json")
    plain["details"] = without_places(plain["details"])
    environment = describe_environment(*_device(module, scale))
    return {"measurement": plain, "environment": environment.model_dump(mode="json")}


def _device(module: Any, scale: str) -> tuple[str, str]:
    """The device and dtype the check declares for `scale`; plain processor and float32 where it does not."""
    declared = getattr(module, "DEVICE", None) or {}
    device, dtype = declared.get(scale, ("cpu", "float32")) if isinstance(declared, Mapping) else declared
    return device, dtype


def _candidates(check: str, measurements: Mapping[int, Measurement]) -> dict[str, int]:
    """How many candidates each arm chose among; raises `CheckError` unless all arms and seeds have equally many.

    An arm that may choose among more is better by choice alone.
    """
    found: dict[str, int] = {}
    for seed, measurement in measurements.items():
        for arm, count in measurement.candidates.items():
            if found.setdefault(arm, count) != count:
                raise CheckError(
                    f"{check}: {arm} chose among {count} candidates in seed {seed}, {found[arm]} in another"
                )
    if len(set(found.values())) > 1:
        told = ", ".join(f"{arm} {count}" for arm, count in found.items())
        raise CheckError(f"{check}: every arm chooses among equally many candidates; here: {told}")
    return found


def _measured(check: str, seed: int, finished: Finished) -> tuple[Measurement, Environment]:
    try:
        return (
            Measurement.model_validate(finished.result["measurement"]),
            Environment.model_validate(finished.result["environment"]),
        )
    except (ValidationError, TypeError, LookupError) as error:  # a kept seed that somebody has edited
        raise CheckError(
            f"{check}: what seed {seed} left is no measurement; run it again without --resume"
        ) from error


def _one_environment(check: str, environments: Mapping[int, Environment]) -> Environment:
    """The environment of all seeds; raises `CheckError` where they ran with different versions."""
    (first, environment), *others = environments.items()
    here = {"python": environment.python, **environment.packages}
    for seed, other in others:
        there = {"python": other.python, **other.packages}
        differ = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
        if differ:
            told = ", ".join(f"{name} {here.get(name)} and {there.get(name)}" for name in differ)
            raise CheckError(
                f"{check}: seeds {first} and {seed} ran with different versions ({told}); one record has one"
            )
    return environment


def _idle_gate(claims: Sequence[Claim], observations: Sequence[Observation], load: float) -> Gate:
    """Whether the machine was idle enough to time anything; it concerns the claims that rest on times."""
    cores = os.cpu_count() or 1
    clauses = {o.clause for o in observations if o.repeat == "timed"}
    return Gate(
        name="machine idle",
        passed=load / cores <= BUSY,
        detail=f"load average {load / cores:.2f} a core at the start, at most {BUSY} wanted",
        claims=tuple(claim.id for claim in claims if clauses & {clause.id for clause in claim.clauses}),
    )


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
        InputError: no such scale, or a check that times things on Ray.
        MissingDependencyError: this machine lacks what the check needs.
        CheckError: a seed failed, its observations cannot be judged, or seeds do not belong together
            (unequal candidates, other package versions).
    """
    module = subject.module()
    require_engine(subject, engine)
    if hasattr(module, "require"):
        module.require()
    wanted = list(range(seeds_of(subject, scale)))
    chosen = wanted if seeds is None else list(seeds)
    if not chosen or len(set(chosen)) != len(chosen):
        raise InputError(f"seeds must be distinct and at least one, got {chosen}")
    sources = source_hash(subject.check, subject.claims)
    timed = bool(getattr(module, "TIMED", False))
    # Null runs lie apart: their seeds must never be taken up as the check's own.
    keep = out / subject.slug / (scale + ("-null" if null else "")) if out is not None else None
    # A seed that other sources or packages made is not taken up again.
    now = describe_environment()
    version = json.dumps([sources, now.python, now.packages], sort_keys=True)
    workers = 1 if timed else jobs
    with ExitStack() as stack:
        if timed:
            stack.enter_context(machine_lock())
        started = datetime.datetime.now(datetime.UTC)
        clock = time.perf_counter()
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
            workers=workers,
            address=address,
            keep=keep,
            resume=resume,
            version=version,
            on_finished=on_seed,
        )
    measured = {seed: _measured(subject.check, seed, f) for seed, f in zip(chosen, finished, strict=True)}
    measurements = {seed: measurement for seed, (measurement, _) in measured.items()}
    environment = _one_environment(subject.check, {seed: where for seed, (_, where) in measured.items()})
    candidates = _candidates(subject.check, measurements)
    observations = tuple(o for m in measurements.values() for o in m.observations)
    gates = tuple(
        gate.model_copy(update={"name": f"{gate.name}, seed {seed}"})
        for seed, m in measurements.items()
        for gate in m.gates
    )
    # Seeds taken up again bring the load of the run that made them: an idle resume excuses no busy start.
    load = max(f.load_average for f in finished)
    if timed:
        gates += (_idle_gate(subject.claims, observations, load),)
    results = judge(subject.claims, observations, gates=gates, statistics=getattr(module, "STATISTICS", None))
    if scale == "smoke":  # smoke shows that the path works; it is too small to say anything of the claim
        results = tuple(
            result.model_copy(
                update={"verdict": None, "reason": result.reason if not result.claim.measured else ""}
            )
            for result in results
        )
    resumed = any(f.resumed for f in finished)
    side_by_side = 1 if engine == "inline" else min(workers, len(chosen))
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
        candidates=candidates,
        details=_details(subject, measurements),
        started=started.isoformat(timespec="seconds"),
        # Seeds that were taken up again cost their time in another run: add the parts.
        wall_seconds=sum(f.wall_seconds for f in finished) / side_by_side
        if resumed
        else time.perf_counter() - clock,
        cpu_seconds=sum(f.cpu_seconds for f in finished),
        peak_memory_mib=max(f.peak_memory_mib for f in finished),
        load_average=load,
        commit=git_commit(subject.folder),
        source_hash=sources,
        environment=environment,
    )
    if out is not None:
        name = f"{scale}-null" if null else f"{scale}-exploratory" if record.exploratory else scale
        write_record(record, out / subject.slug / f"{name}.json")
    return record


def _details(subject: Subject, measurements: Mapping[int, Measurement]) -> dict[str, Any]:
    """Each seed's details, and the charts over all seeds where the check draws such (`charts(details)`)."""
    details = {str(seed): m.details for seed, m in measurements.items() if m.details}
    draw = getattr(subject.module(), "charts", None)
    return details if draw is None else {**details, "charts": draw(list(details.values()))}


def dry_run(subject: Subject, scale: str, *, engine: str = "local", jobs: int = 1) -> dict[str, Any]:
    """What a scale would cost, without running it: the check's own account where it has one.

    `engine` and `jobs` are looked at as a run would and stand in the answer; no cluster is reached for.
    Raises `InputError` for an engine, a number of jobs or a scale that a run would not take.
    """
    module = subject.module()
    if engine not in ENGINES:
        raise InputError(f"unknown engine {engine!r}; choose one of {', '.join(ENGINES)}")
    if jobs < 1:
        raise InputError(f"jobs must be at least 1, got {jobs}")
    require_engine(subject, engine)
    plan: dict[str, Any] = {"room": subject.slug, "scale": scale, "engine": engine, "jobs": jobs}
    accounts: Mapping[str, str] = getattr(module, "DRY_RUN", {})
    if scale in accounts:
        name, _, function = accounts[scale].partition(":")
        return {**plan, **getattr(importlib.import_module(name), function)()}
    return {
        **plan,
        "seeds": seeds_of(subject, scale),
        "claims": [claim.id for claim in subject.claims if claim.measured],
        "not measured": {claim.id: claim.reason for claim in subject.claims if not claim.measured},
        "timed": bool(getattr(module, "TIMED", False)),
    }
