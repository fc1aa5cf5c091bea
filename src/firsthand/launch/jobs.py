"""Independent jobs, here or elsewhere: this process, a pool of processes, or Ray.

A job names a function (`"package.module:function"`) and gives it plain JSON arguments; it returns plain
JSON. That is what lets one job run unchanged in this process, in a spawned one and on a Ray worker, and
lets a finished one be kept on disk and taken up again. A job does not know where it runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from firsthand.errors import CheckError, FirsthandError, InputError, MissingDependencyError
from firsthand.launch.cache import write_atomically
from firsthand.launch.threads import VARIABLES, single_thread

__all__ = ["ENGINES", "Finished", "Job", "run_jobs"]

ENGINES = ("inline", "local", "ray")
ATTEMPTS = 3  # a worker that dies (out of memory, killed) costs one; the job's own errors are not retried


@dataclass(frozen=True)
class Job:
    """`function` ("package.module:name") called with `arguments`; `key` names it and its file."""

    key: str
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def fingerprint(self, version: str) -> str:
        """What a kept result must match to be taken up again: the call, and the sources behind it."""
        call = json.dumps([self.function, self.arguments, version], sort_keys=True)
        return hashlib.sha256(call.encode()).hexdigest()


@dataclass(frozen=True)
class Finished:
    """A job's result and its cost. `resumed` says it was read from disk and not run now."""

    key: str
    result: Any
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mib: float
    process: int
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
        address: of a Ray cluster; None starts one on this machine with `workers` processors.
        keep: a folder in which every finished job is written as it ends (KEY.json).
        resume: take up what `keep` holds and still matches (`version` and the call), run the rest.
        on_finished: called in this process as each job ends.

    Raises:
        InputError: an unknown engine, repeated keys.
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

    def finish(finished: Finished) -> None:
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
    path = keep / f"{job.key}.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None  # not there, or cut short by a power failure: run it again
    if kept.pop("fingerprint", None) != job.fingerprint(version):
        return None
    return Finished(**{**kept, "resumed": True})


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


@contextlib.contextmanager
def _worker_environment() -> Iterator[None]:
    """Spawned children inherit one thread, so that BLAS starts that way."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _pool(jobs: Sequence[Job], workers: int, address: str | None) -> Iterator[Finished]:
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    left = {job.key: job for job in jobs}
    for _ in range(ATTEMPTS):
        with _worker_environment():
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
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError("--engine ray needs Ray: pip install 'firsthand[ray]'") from error
    variables = {**dict.fromkeys(VARIABLES, "1"), "TOKENIZERS_PARALLELISM": "false"}
    if address is None:  # workers on this machine find what this interpreter finds
        variables["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    environment = {"env_vars": variables}
    own = not ray.is_initialized()
    if own:
        local: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
        ray.init(
            address=address,
            runtime_env=environment,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **local,
        )
    try:
        # A worker that is killed takes no result with it: Ray starts the task again elsewhere.
        remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1, retry_exceptions=False)(execute)
        pending = {remote.remote(job): job for job in jobs}
        while pending:
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
    finally:
        if own:
            ray.shutdown()
