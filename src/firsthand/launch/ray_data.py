"""Many items through a few long-lived workers: Ray Data, one prepared object in each worker process.

For work that is dear to prepare and cheap to repeat, such as a model that is loaded once and then reads
thousands of texts. Knows neither: the object is named (`"package.module:Class"`), items and results are
plain JSON, as with jobs. A worker that is killed is started again, prepares itself again and does its item
again.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import importlib
import json
import logging
import math
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from firsthand.errors import CheckError, FirsthandError, InputError, MissingDependencyError
from firsthand.launch.ray_session import ATTEMPTS, ray_session
from firsthand.launch.threads import single_thread

__all__ = ["map_with_actors"]

Item = Mapping[str, Any]


def map_with_actors(
    items: Iterable[Item],
    actor: str,
    arguments: Mapping[str, Any],
    *,
    workers: int = 1,
    address: str | None = None,
    gpus: float | None = 0.0,
    on_finished: Callable[[int, dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """What an object of class `actor` returns for each of `items`, in their order.

    Every worker process makes one such object, when its first item comes, and calls it with one item at a
    time, on one thread.

    Args:
        items: plain JSON (NaN and infinities are let through).
        actor: "package.module:Class"; `Class(**arguments)` is called with an item and returns a dict of
            plain JSON. Must not mind doing an item twice.
        arguments: plain JSON.
        workers: how many processes; each holds one processor.
        address: of a Ray cluster; None takes the Ray that is initialised, or starts one on this machine.
        gpus: how many each worker holds (parts may be shared); None: an even share of what the cluster has,
            at most one each and none where it has none.
        on_finished: called in this process with (place in `items`, result) as each comes, in any order.

    Raises:
        InputError: `workers` below 1, a wrong `actor`, items that are not JSON, no Ray at `address`.
        MissingDependencyError: Ray (with its `data` part) is not installed.
        CheckError: the object raised (chained; a `FirsthandError` comes out as itself), or an item's worker
            died three times.
    """
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    if ":" not in actor:
        raise InputError(f"an actor is named 'package.module:Class', got {actor!r}")
    try:
        rows = [{"place": place, "item": json.dumps(item)} for place, item in enumerate(items)]
        given = json.loads(json.dumps(dict(arguments)))
    except (TypeError, ValueError) as error:
        raise InputError(f"items and arguments of {actor} must be plain JSON: {error}") from error
    if not rows:
        return []
    count = len(rows)
    results: dict[int, dict[str, Any]] = {}
    with ray_session(workers, address) as ray, _quiet_data(ray) as data:
        share = _share(ray, workers) if gpus is None else gpus
        attempts = ray.remote(num_cpus=0, max_restarts=-1)(_Attempts).remote()
        dataset = data.from_items(rows, override_num_blocks=count).map_batches(
            _Held,
            fn_constructor_args=(actor, given, attempts),
            batch_size=1,
            batch_format="pyarrow",
            # One item under way in each worker: nothing waits behind a slow one while another is idle.
            compute=data.ActorPoolStrategy(size=min(workers, count), max_tasks_in_flight_per_actor=1),
            num_cpus=1,
            num_gpus=share or None,
        )
        rows.clear()  # Ray has them now
        batches = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        try:
            with contextlib.closing(iter(batches)) as coming:  # closed early, it ends the workers
                for row in (row for batch in coming for row in batch.to_pylist()):
                    if row["failure"] is not None:
                        raise _failure(actor, row["place"], row["failure"], row["said"])
                    results[row["place"]] = json.loads(row["result"])
                    if on_finished is not None:
                        on_finished(row["place"], results[row["place"]])
        except ray.exceptions.RayError as error:
            raise CheckError(f"Ray failed while it ran {actor}: {type(error).__name__}: {error}") from error
    return [results[place] for place in range(count)]


def _share(ray: Any, workers: int) -> float:
    """GPUs for each worker so that all have a place; a part of one never spans two."""
    there = int(ray.cluster_resources().get("GPU", 0))
    return 1.0 / math.ceil(workers / there) if there else 0.0


@contextlib.contextmanager
def _quiet_data(ray: Any) -> Iterator[Any]:
    """`ray.data` without bars and messages for the block; whatever goes wrong is raised."""
    try:
        from ray import data
    except ImportError as error:
        raise MissingDependencyError(
            "Ray Data needs pyarrow and pandas: pip install 'firsthand[ray]'"
        ) from error
    context = copy.deepcopy(data.DataContext.get_current())
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with data.DataContext.current(context):
            yield data
    finally:
        logger.setLevel(level)


class _Attempts:
    """Counts, in a process of its own, how often each item was begun and not ended.

    Ray Data starts a worker that died again, without end, and gives it the same item: who counts must
    outlive the worker.
    """

    def __init__(self) -> None:
        self._begun: collections.Counter[int] = collections.Counter()

    def begin(self, place: int) -> int:
        """Which attempt this is, from 1."""
        self._begun[place] += 1
        return self._begun[place]

    def end(self, place: int) -> None:
        """The item has a result (it may be wanted again, should the result be lost with its machine)."""
        del self._begun[place]


class _Held:
    """Runs in the worker: makes the object when the first item comes, and hands errors back as data.

    Made late, so that a preparation that kills the worker counts as an attempt at an item. Errors go back as
    data because Ray would wrap them.
    """

    def __init__(self, actor: str, arguments: dict[str, Any], attempts: Any) -> None:
        self._actor, self._arguments, self._attempts = actor, arguments, attempts
        self._object: Any = None

    def __call__(self, batch: Any) -> Any:
        import pyarrow as pa
        import ray

        row = batch.to_pylist()[0]
        result: str | None = None
        error: Exception | None
        if ray.get(self._attempts.begin.remote(row["place"])) > ATTEMPTS:
            result, error = (
                None,
                CheckError(
                    f"a worker process of {self._actor} died {ATTEMPTS} times over item {row['place']}: out of "
                    "memory, or killed from outside"
                ),
            )
        else:
            result, error = self.answer(row["item"])
        self._attempts.end.remote(row["place"])
        said = None if error is None else f"{type(error).__name__}: {error}"
        failure = None if error is None else _pickled(error)
        return pa.table(
            {
                "place": pa.array([row["place"]], pa.int64()),
                "result": pa.array([result], pa.large_string()),
                "said": pa.array([said], pa.string()),
                "failure": pa.array([failure], pa.binary()),
            }
        )

    def answer(self, item: str) -> tuple[str | None, Exception | None]:
        """The result as JSON, or the error."""
        try:
            with single_thread():
                if self._object is None:
                    module, _, name = self._actor.partition(":")
                    self._object = getattr(importlib.import_module(module), name)(**self._arguments)
                return json.dumps(self._object(json.loads(item))), None
        except Exception as error:
            return None, error


def _pickled(error: Exception) -> bytes:
    """The error, where it survives being sent; nothing where it does not."""
    try:
        packed = pickle.dumps(error)
        pickle.loads(packed)
    except Exception:
        return b""
    return packed


def _failure(actor: str, place: int, packed: bytes, said: str) -> FirsthandError:
    error = None
    with contextlib.suppress(Exception):  # of a class that only the worker has
        error = pickle.loads(packed)
    if isinstance(error, FirsthandError):
        return error
    failed = CheckError(f"{actor} failed on item {place}: {said}")
    failed.__cause__ = error
    return failed
