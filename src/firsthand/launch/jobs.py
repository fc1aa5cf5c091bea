"""Independent jobs, here or elsewhere: this process, a pool of processes, or Ray.

A job names a function (`"package.module:function"`) and gives it plain JSON arguments; it returns plain
JSON. That is what lets one job run unchanged in this process, in a spawned one and on a Ray worker, and
lets a finished one be kept on disk and taken up again. A job does not know where it runs.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from firsthand.errors import CheckError, FirsthandError, InputError
from firsthand.launch.cache import write_atomically
from firsthand.launch.ray_session import ATTEMPTS, ray_session
from firsthand.launch.threads import one_thread_environment, single_thread

__all__ = ["ENGINES", "Finished", "Job", "run_jobs"]

ENGINES = ("inline", "local", "ray")


@dataclass(frozen=True)
class Job:
    """`function` ("package.module:name") called with `arguments`; `key` names it and its file."""

    key: str
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def fingerprint(self, version: str) -> str:
        """What a kept result must match to be taken up again: the call, and what the caller calls its version
        (sources, package versions)."""
        call = json.dumps([self.function, self.arguments, version], sort_keys=True)
        return hashlib.sha256(call.encode()).hexdigest()


@dataclass(frozen=True)
class Finished:
    """A job's result and its cost. `resumed` says it was read from disk and not run now.

    `load_average` is the machine's, over a minute, when the `run_jobs` that ran the job began: before it
    loaded the machine itself.
    """

    key: str
    result: Any
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mib: float
    process: int
    load_average: float = 0.0
    resumed: bool = False


def execute(job: Job) -> Finished:
    """Run one job in this process, on one thread."""
    module, _, name = job.function.partition(":")
    wall, cpu = time.perf_counter(), time.process_time()
    with single_thread():
        function = getattr(importlib.import_module(module), name)
        result = function(**job.arguments)
    # Through JSON at once, so that no engine can return what another could not.
    result = json.loads(json.dumps(result, allow_nan=False))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Finished(
        key=job.key,
        result=result,
        wall_seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu,
        peak_memory_mib=peak / (1024 * 1024 if sys.platform == "darwin" else 1024),
        process=os.getpid(),
    )


def run_jobs(
    jobs: Sequence[Job],
    *,
    engine: str = "local",
    workers: int = 1,
    address: str | None = None,
    keep: Path | None = None,
    resume: bool = False,
    version: str = "",
    on_finished: Callable[[Finished], None] | None = None,
) -> list[Finished]:
    """Run `jobs` and return what they gave, in the order of `jobs`.

    Args:
        engine: "inline" (this process), "local" (a pool of `workers` spawned processes) or "ray".
        workers: how many jobs are under way at once; "inline" has one at a time whatever this says.
        address: of a Ray cluster; None starts one on this machine with `workers` processors.
        keep: a folder in which every finished job is written as it ends (KEY.json).
        resume: take up what `keep` holds and still matches (`version` and the call), run the rest.
        on_finished: called in this process as each job ends.

    Raises:
        InputError: an unknown engine, repeated keys, no Ray at `address`.
        CheckError: a job raised (chained), or its worker died three times.
    """
    if engine not in ENGINES:
        raise InputError(f"unknown engine {engine!r}; choose one of {', '.join(ENGINES)}")
    keys = [job.key for job in jobs]
    if len(set(keys)) != len(keys):
        raise InputError(f"job keys repeat: {keys}")
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    done: dict[str, Finished] = {}
    load = os.getloadavg()[0]

    def finish(finished: Finished) -> None:
        if not finished.resumed:
            finished = replace(finished, load_average=load)
        done[finished.key] = finished
        if keep is not None and not finished.resumed:
            job = by_key[finished.key]
            kept = {"fingerprint": job.fingerprint(version), **asdict(finished)}
            write_atomically(keep / f"{finished.key}.json", json.dumps(kept, indent=1))
        if on_finished is not None:
            on_finished(finished)

    by_key = {job.key: job for job in jobs}
    waiting = []
    for job in jobs:
        kept = _kept(job, keep, version) if resume and keep is not None else None
        if kept is None:
            waiting.append(job)
        else:
            finish(kept)
    if waiting:
        run = {"inline": _inline, "local": _pool, "ray": _ray}[engine]
        for finished in run(waiting, workers, address):
            finish(finished)
    return [done[key] for key in keys]


def _kept(job: Job, keep: Path, version: str) -> Finished | None:
    """What `keep` holds of this job, or None: not there, made by another call, or not what we wrote."""
    path = keep / f"{job.key}.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, cut short by a power failure, not text: run it again
        return None
    if not isinstance(kept, dict) or kept.pop("fingerprint", None) != job.fingerprint(version):
        return None
    try:
        finished = Finished(**{**kept, "resumed": True})
    except TypeError:  # fields lack, or are none of ours
        return None
    costs = (finished.wall_seconds, finished.cpu_seconds, finished.peak_memory_mib, finished.load_average)
    return finished if all(isinstance(cost, int | float) for cost in costs) else None


def _failed(job: Job, error: BaseException) -> FirsthandError:
    if isinstance(error, FirsthandError):
        return error
    return CheckError(f"job {job.key} ({job.function}) failed: {type(error).__name__}: {error}")


def _inline(jobs: Sequence[Job], workers: int, address: str | None) -> Iterator[Finished]:
    for job in jobs:
        try:
            finished = execute(job)
        except Exception as error:
            raise _failed(job, error) from error
        yield finished


def _prepare_worker() -> None:
    # Ctrl-C goes to the whole terminal group; the parent alone decides what stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A parent that is killed takes nobody along: look whether it is still there.
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _pool(jobs: Sequence[Job], workers: int, address: str | None) -> Iterator[Finished]:
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    left = {job.key: job for job in jobs}
    for _ in range(ATTEMPTS):
        with one_thread_environment():  # spawned children inherit it
            pool = ProcessPoolExecutor(
                max_workers=min(workers, len(left)),
                mp_context=get_context("spawn"),
                initializer=_prepare_worker,
            )
            try:
                pending = {pool.submit(execute, job): job for job in left.values()}
                broken = False
                while pending:
                    ended, _ = wait(pending, return_when=FIRST_COMPLETED)
                    for future in ended:
                        job = pending.pop(future)
                        error = future.exception()
                        if isinstance(error, BrokenProcessPool):
                            broken = True
                        elif error is not None:
                            raise _failed(job, error) from error
                        else:
                            del left[job.key]
                            yield future.result()
            except BaseException:
                for process in list((pool._processes or {}).values()):
                    process.terminate()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            pool.shutdown(wait=True)
        if not broken:
            return
    raise CheckError(
        f"a worker process died {ATTEMPTS} times over {', '.join(left)}: out of memory, or killed from outside"
    )


def _ray(jobs: Sequence[Job], workers: int, address: str | None) -> Iterator[Finished]:
    with ray_session(workers, address) as ray:
        # A worker that is killed takes no result with it: Ray starts the task again elsewhere.
        remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1, retry_exceptions=False)(execute)
        waiting = list(reversed(jobs))
        pending: dict[Any, Job] = {}
        while waiting or pending:
            # A cluster has more processors than were asked for: never more jobs there than workers.
            while waiting and len(pending) < workers:
                job = waiting.pop()
                pending[remote.remote(job)] = job
            ended, _ = ray.wait(list(pending), num_returns=1)
            job = pending.pop(ended[0])
            try:
                finished = ray.get(ended[0])
            except ray.exceptions.RayTaskError as error:
                cause = error.cause if isinstance(error.cause, Exception) else error
                raise _failed(job, cause) from error
            except ray.exceptions.RayError as error:
                raise _failed(job, error) from error
            yield finished
