"""Losses of a ladder of models on documents: measured, kept, read back as one matrix.

Knows files and shards; windows and batches are `firsthand.lm`'s business. Every document is scored on its
own, every token of it, and every model gets the very same characters after a start token: a text cut by
tokens, or a first token that one model scores and another does not, would shift a document's losses by a
constant and flip close pairs.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from firsthand.data.document_ids import identity
from firsthand.data.documents import Document, atomic_file
from firsthand.errors import InputError, MissingDependencyError, NotFoundError

if TYPE_CHECKING:
    from firsthand.lm import LanguageModel

__all__ = ["LossMatrix", "Model", "measure_losses", "read_losses", "sliding_nll"]

Floats = NDArray[np.float64]
# A name that `firsthand.lm.load` takes, a loaded model, or a function: texts -> nats per token of each.
Model = "str | LanguageModel | Callable[[Sequence[str]], Sequence[Floats]]"

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
        with _start_token(model):
            return float(lm.document_losses(model, [text], block=block, stride=stride, bos=bos).nats[0])
    return float(lm.document_losses(model, [text]).nats[0])


@contextlib.contextmanager
def _start_token(model: LanguageModel) -> Iterator[None]:
    """A tokenizer without BOS starts with EOS for the while: each model then scores all its tokens."""
    tokenizer: Any = model.tokenizer
    if tokenizer.bos_token_id is not None:
        yield
        return
    if tokenizer.eos_token is None:
        raise InputError(
            f"the tokenizer of {model.name} has neither BOS nor EOS: the first token of each document would "
            "go unscored, and the losses would not compare with other models'"
        )
    tokenizer.bos_token = tokenizer.eos_token
    try:
        yield
    finally:
        tokenizer.bos_token = None


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
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Total nats of every document under every model, one Parquet file a model and shard.

    Models are loaded one at a time. A shard that is there with the same content key (documents, model,
    windows) is not computed again, so an interrupted run goes on where it stopped.

    Args:
        models: name -> a name that `firsthand.lm.load` takes, a loaded `LanguageModel`, or a function from
            texts to nats per token of each.
        documents: with unique ids. Cut long ones before: all models must see the same characters.
        folder: gets MODEL/NNNNN.parquet with columns id, model, nats, n_tokens, n_chars, n_bytes.
        block, stride: windows for documents longer than `block` tokens.
        shard_size: documents a shard.
        device, dtype: for models loaded here.
        on_progress: called with (model, shards done, shards in all).

    Returns:
        `folder`, for `read_losses`.
    """
    if not models:
        raise InputError("no model was named")
    if not documents:
        raise InputError("there is no document to measure")
    ids = [document.id for document in documents]
    if len(set(ids)) != len(ids):
        raise InputError("ids repeat: each document needs an id of its own")
    starts = range(0, len(documents), shard_size)
    for name, model in models.items():
        target = folder / _folder_name(name)
        shards: list[tuple[Path, str, Sequence[Document]]] = []
        for number, start in enumerate(starts):
            part = documents[start : start + shard_size]
            key = _shard_key(name, model, part, f"{block}:{stride}:{dtype}")
            shards.append((target / f"{number:05d}.parquet", key, part))
        for stale in set(target.glob("*.parquet")) - {path for path, _, _ in shards}:
            stale.unlink()  # of a larger sample, before: it would be read as part of this one
        open_shards = [shard for shard in shards if _stored_key(shard[0]) != shard[1]]
        done = len(shards) - len(open_shards)
        if on_progress:
            on_progress(name, done, len(shards))
        if not open_shards:
            continue
        loaded = _loaded(model, device, dtype)
        for path, key, part in open_shards:
            _write_shard(path, key, name, loaded, part, block, stride)
            done += 1
            if on_progress:
                on_progress(name, done, len(shards))
        del loaded
    return folder


def _folder_name(name: str) -> str:
    """Readable, a legal folder, and different for different names."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[-60:]}-{identity(name).hex()[:8]}"


def _shard_key(name: str, model: Any, part: Sequence[Document], options: str) -> str:
    pieces = [item for document in part for item in (document.id, document.text)]
    return identity(name, _model_stamp(model), options, *pieces).hex()


def _model_stamp(model: Any) -> str:
    """A local folder or file is known by its files' sizes and times; anything else by its name."""
    if not isinstance(model, str):
        return str(getattr(model, "name", getattr(model, "__qualname__", type(model).__qualname__)))
    path = Path(model).expanduser()
    if not path.exists():
        return model
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return json.dumps([model, [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files]])


def _loaded(model: Any, device: str, dtype: str | None) -> Any:
    if not isinstance(model, str):
        return model
    from firsthand import lm

    return lm.load(model, device=device, dtype=dtype)


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError("losses need pyarrow: pip install 'firsthand[data]'") from error
    return pyarrow, pyarrow.parquet


def _stored_key(path: Path) -> str | None:
    if not path.is_file():
        return None
    with contextlib.suppress(Exception):  # whatever is damaged is computed again
        metadata = _parquet()[1].read_schema(path).metadata or {}
        return str(metadata.get(b"firsthand_key", b"").decode())
    return None


def _write_shard(
    path: Path, key: str, name: str, model: Any, part: Sequence[Document], block: int, stride: int
) -> None:
    from firsthand import lm

    texts = [document.text for document in part]
    ids = [document.id for document in part]
    if isinstance(model, lm.LanguageModel):
        with _start_token(model):
            found = lm.document_losses(model, texts, ids, block=block, stride=stride)
    else:
        found = lm.document_losses(model, texts, ids)
    pa, pq = _parquet()
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "model": pa.array([name] * len(ids), pa.string()),
            "nats": pa.array(found.nats, pa.float64()),
            "n_tokens": pa.array(found.n_tokens, pa.int64()),
            "n_chars": pa.array(found.n_chars, pa.int64()),
            "n_bytes": pa.array(found.n_bytes, pa.int64()),
        }
    ).replace_schema_metadata({"firsthand_key": key})
    with atomic_file(path) as beside:
        pq.write_table(table, beside)


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
    pa, pq = _parquet()
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
