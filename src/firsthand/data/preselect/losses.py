"""Losses of a ladder of models on documents: measured, kept, read back as one matrix.

Knows files and shards; windows and batches are `firsthand.lm`'s business. Every document is scored on its
own, every token of it, and every model gets the very same characters after a start token: a text cut by
tokens, or a first token that one model scores and another does not, would shift a document's losses by a
constant and flip close pairs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.corpora.documents import Document
from firsthand.corpora.tables import arrow
from firsthand.data.preselect.loss_shards import (
    Shard,
    ShardLosses,
    folder_name,
    shards_of,
    start_token,
)
from firsthand.errors import InputError, NotFoundError
from firsthand.launch import Rank, map_with_actors
from firsthand.launch.ray_session import ray_session

__all__ = ["LossMatrix", "Model", "measure_losses", "read_losses", "sliding_nll"]

Floats = NDArray[np.float64]
# A name that `firsthand.lm.load` takes, a loaded model, or a function: texts -> nats per token of each.
Model = "str | LanguageModel | Callable[[Sequence[str]], Sequence[Floats]]"

LATE_SECONDS = 90.0  # longer than a network file system keeps what it saw of a folder
COLUMNS = ("id", "model", "nats", "n_tokens", "n_chars", "n_bytes")


def sliding_nll(model: Any, text: str, *, block: int = 1900, stride: int = 512, bos: bool = True) -> float:
    """Total nats of one whole document under `model`.

    Args:
        model: a `firsthand.lm.LanguageModel`, or a function from texts to nats per token.
        text: the document; NaN comes back where it has nothing to score.
        block, stride: a document longer than `block` tokens is read in windows, `stride` new tokens a time.
        bos: begin with a start token, so that the first token is scored too.
    """
    from firsthand import lm

    if isinstance(model, lm.LanguageModel):
        with start_token(model):
            return float(lm.document_losses(model, [text], block=block, stride=stride, bos=bos).nats[0])
    return float(lm.document_losses(model, [text]).nats[0])


def measure_losses(
    models: Mapping[str, Any],
    documents: Sequence[Document],
    folder: Path,
    *,
    block: int = 1900,
    stride: int = 512,
    shard_size: int = 256,
    device: str = "auto",
    dtype: str | None = None,
    engine: str = "inline",
    workers: int = 1,
    address: str | None = None,
    rank: Rank | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Total nats of every document under every model, one Parquet file a model and shard.

    Models are measured one after the other. A shard that is there with the same content key (documents,
    model, windows) is not computed again, so an interrupted run goes on where it stopped. The files are the
    same wherever they were computed; on unlike processors or numbers of threads, up to rounding.

    Args:
        models: name -> a name that `firsthand.lm.load` takes, a loaded `LanguageModel`, or a function from
            texts to nats per token of each.
        documents: with unique ids. Cut long ones before: all models must see the same characters.
        folder: gets MODEL/NNNNN.parquet with columns id, model, nats, n_tokens, n_chars, n_bytes.
        block, stride: windows for documents longer than `block` tokens.
        shard_size: documents a shard.
        device, dtype: for models loaded by name. A dtype of None is float32 on processors and bfloat16 on
            GPUs: say which where both may work on one folder.
        engine: "inline" measures in this process. "ray" has `workers` processes, each of which loads the
            model once and takes shards, on the Ray at `address` (None: the initialised one, or one started on
            this machine). Workers have one processor each and, unless the device is "cpu", a share of the
            cluster's GPUs. They send figures back: only this process writes.
        rank: this process's place among those that torchrun started (`firsthand.launch.process_group`). Each
            measures its share of every model's shards on its own GPU and writes them; `folder` must be
            the same for all. All leave together.
        on_progress: called with (model, shards done, shards in all); under torchrun in the first process
            only, with its own shards.

    Returns:
        `folder`, for `read_losses`.

    Raises:
        InputError: no model or document, ids that repeat, a wrong engine, a model that is not a name with
            "ray", several processes with "ray", or a `folder` that the processes do not share.
        CheckError: a worker died three times over one shard, or another process failed.
    """
    rank = rank or Rank()
    if not models:
        raise InputError("no model was named")
    if not documents:
        raise InputError("there is no document to measure")
    ids = [document.id for document in documents]
    if len(set(ids)) != len(ids):
        raise InputError("ids repeat: each document needs an id of its own")
    _check_engine(models, engine, workers, rank)
    shards = {
        name: shards_of(name, model, documents, folder, shard_size, f"{block}:{stride}:{dtype}")
        for name, model in models.items()
    }
    if rank.first:  # of another sample, before: they would be read as part of this one
        for name, lot in shards.items():
            whole = {shard.path for shard in lot if shard.done()}
            for stale in set((folder / folder_name(name)).glob("*.parquet")) - whole:
                stale.unlink(missing_ok=True)
    rank.barrier()  # nobody writes what is about to be removed
    with contextlib.ExitStack() as held:
        for name, model in models.items():
            mine = [shard for shard in shards[name] if rank.takes(shard.number)]
            left = [shard for shard in mine if not shard.done()]
            done = len(mine) - len(left)

            def report(finished: int = 0, name: str = name, total: int = len(mine)) -> None:
                nonlocal done
                done += finished
                if on_progress and rank.first:
                    on_progress(name, done, total)

            report()
            options: dict[str, Any] = {
                "device": rank.device(device),
                "dtype": dtype,
                "block": block,
                "stride": stride,
            }
            if not left:
                continue
            if engine == "ray":
                # The first model starts it, all leave it at the end.
                held.enter_context(ray_session(workers, address))
                _measure_on_ray(name, model, left, workers, options, report)
            else:
                measure = ShardLosses(model, **options)
                for shard in left:
                    shard.write(name, measure(shard.item()))
                    report(1)
                del measure
    rank.barrier()
    if rank.world > 1 and rank.first:
        _await_files([shard for lot in shards.values() for shard in lot], folder)
    return folder


def _check_engine(models: Mapping[str, Any], engine: str, workers: int, rank: Rank) -> None:
    if engine not in ("inline", "ray"):
        raise InputError(f"losses run on the engines 'inline' and 'ray', not {engine!r}")
    if engine == "inline":
        return
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    if rank.world > 1:
        raise InputError("choose one: Ray, or several processes under torchrun")
    for name, model in models.items():
        if not isinstance(model, str):
            raise InputError(
                f"the engine 'ray' takes names of models only, since every worker loads its own: {name!r} is "
                f"a {type(model).__name__}; save the model to a folder and give its path"
            )


def _measure_on_ray(
    name: str,
    model: str,
    shards: Sequence[Shard],
    workers: int,
    options: Mapping[str, Any],
    report: Callable[[int], None],
) -> None:
    def write(place: int, columns: dict[str, Any]) -> None:
        shards[place].write(name, columns)
        report(1)

    map_with_actors(
        (shard.item() for shard in shards),
        f"{ShardLosses.__module__}:{ShardLosses.__name__}",
        {"model": _wherever(model), **options},
        workers=workers,
        gpus=0.0 if options["device"] == "cpu" else None,
        on_finished=write,
    )


def _wherever(model: str) -> str:
    """The model's name for a process that may have been started in another folder."""
    from firsthand.lm.embedded import EMBEDDED

    path = Path(model).expanduser()
    return str(path.absolute()) if model not in EMBEDDED and path.exists() else model


def _await_files(shards: Sequence[Shard], folder: Path) -> None:
    """All shards are here, or `InputError`; a network file system may show others' files a little late."""
    deadline = time.monotonic() + LATE_SECONDS
    while lacking := [shard for shard in shards if not shard.done()]:
        if time.monotonic() > deadline:
            raise InputError(
                f"{folder}: {len(lacking)} of {len(shards)} shards that other processes measured are not here, "
                f"{lacking[0].path.name} the first; all processes need one folder that they share"
            )
        time.sleep(0.5)


@dataclass(frozen=True)
class LossMatrix:
    """Losses of D documents under N models."""

    ids: tuple[str, ...]
    models: tuple[str, ...]
    nats: Floats  # (D, N); NaN where a model has no finite loss of the document
    n_chars: NDArray[np.int64]  # (D,)
    n_bytes: NDArray[np.int64]  # (D,)
    n_tokens: NDArray[np.int64]  # (D, N): each model's own tokens

    @property
    def incomplete(self) -> int:
        """Documents that lack a loss from some model; their strength will be NaN."""
        return int(np.isnan(self.nats).any(axis=1).sum())

    def bits_per_char(self) -> Floats:
        """(D, N) nats / (characters · ln 2)."""
        chars = np.where(self.n_chars > 0, self.n_chars, np.nan)
        return np.asarray(self.nats / (chars[:, None] * np.log(2)))


def read_losses(path: Path | str, models: Sequence[str] | None = None) -> LossMatrix:
    """Read losses from one Parquet file, or from all of a folder, into a matrix.

    Args:
        path: files with the columns id, model, nats, n_tokens, n_chars, n_bytes.
        models: the columns of the matrix, in this order; by default all models, sorted.

    Raises:
        NotFoundError: nothing there. InputError: a missing column or model, the same document and model
            twice, a loss that is not above 0, or models that read unlike amounts of one document (cut by
            tokens?): such losses do not compare.
    """
    source = Path(path)
    files = sorted(source.rglob("*.parquet")) if source.is_dir() else [source]
    if not source.exists() or not files:
        raise NotFoundError(f"{source}: no losses here (Parquet files with columns {', '.join(COLUMNS)})")
    pa, pq = arrow()
    tables = []
    for file in files:
        try:
            names = pq.read_schema(file).names
            lacking = [name for name in COLUMNS if name not in names]
            if lacking:
                raise InputError(f"{file}: lacks the columns {', '.join(lacking)}; it has {', '.join(names)}")
            tables.append(pq.read_table(file, columns=list(COLUMNS)).replace_schema_metadata(None))
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{file}: not a Parquet file of losses: {error}") from error
    table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()

    there = sorted(set(table.column("model").unique().to_pylist()))
    wanted = list(there if models is None else models)
    absent = [name for name in wanted if name not in there]
    if absent:
        raise InputError(
            f"{source}: no losses of {', '.join(absent)}; there are losses of {', '.join(there)}"
        )
    table = table.filter(pa.compute.is_in(table.column("model"), value_set=pa.array(wanted, pa.string())))
    coded = table.column("id").combine_chunks()
    coded = (coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded).dictionary_encode()
    ids = tuple(str(name) for name in coded.dictionary.to_pylist())
    row = coded.indices.to_numpy(zero_copy_only=False).astype(np.intp)
    column = np.array([wanted.index(name) for name in table.column("model").to_pylist()], dtype=np.intp)
    return _pivot(source, ids, tuple(wanted), row, column, table)


def _pivot(
    source: Path,
    ids: tuple[str, ...],
    models: tuple[str, ...],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    table: Any,
) -> LossMatrix:
    shape = (len(ids), len(models))
    cells, counts = np.unique(row * shape[1] + column, return_counts=True)
    if (counts > 1).any():
        d, m = divmod(int(cells[np.argmax(counts > 1)]), shape[1])
        raise InputError(f"{source}: document {ids[d]!r} has more than one loss of {models[m]}")

    def values(name: str, kind: Any) -> NDArray[Any]:
        return np.asarray(table.column(name).to_numpy(), dtype=kind)

    nats = np.full(shape, np.nan)
    nats[row, column] = values("nats", np.float64)
    nats[~np.isfinite(nats)] = np.nan
    if (nats <= 0).any():
        d, m = np.argwhere(nats <= 0)[0]
        raise InputError(f"{source}: the loss of {ids[d]!r} under {models[m]} is {nats[d, m]}, not above 0")
    sizes = {}
    for name in ("n_chars", "n_bytes"):
        given = values(name, np.int64)
        first = np.zeros(shape[0], dtype=np.int64)
        first[row[::-1]] = given[::-1]
        unlike = np.flatnonzero(first[row] != given)
        if unlike.size:
            at = int(unlike[0])
            raise InputError(
                f"{source}: {models[column[at]]} read {given[at]} of document {ids[row[at]]!r} and another "
                f"model {first[row[at]]} ({name}): losses of unlike pieces of a text do not compare; cut "
                "texts by characters, the same for all models"
            )
        sizes[name] = first
    tokens = np.zeros(shape, dtype=np.int64)
    tokens[row, column] = values("n_tokens", np.int64)
    return LossMatrix(ids, models, nats, sizes["n_chars"], sizes["n_bytes"], tokens)
