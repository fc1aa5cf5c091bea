"""One file of losses: which documents it covers, the key that says whether it is still right, measured, written.

Knows one model and some documents at a time; which of them where and in which order is `losses`' business.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firsthand.corpora.documents import Document
from firsthand.corpora.ids import identity
from firsthand.corpora.tables import arrow, stored_key, write_table
from firsthand.errors import InputError

if TYPE_CHECKING:
    from firsthand.lm import LanguageModel

__all__ = ["Shard", "ShardLosses", "folder_name", "shards_of", "start_token"]


@dataclass(frozen=True)
class Shard:
    """Consecutive documents that one file has the losses of; `key` changes with whatever changes those."""

    number: int
    path: Path
    key: str
    documents: Sequence[Document]

    def done(self) -> bool:
        """Whether the file is there, whole, and of this key."""
        return stored_key(self.path) == self.key

    def item(self) -> dict[str, Any]:
        """What `ShardLosses` measures."""
        return {
            "ids": [document.id for document in self.documents],
            "texts": [document.text for document in self.documents],
        }

    def write(self, name: str, columns: Mapping[str, Any]) -> None:
        """Write what `ShardLosses` measured."""
        pa, _ = arrow()
        ids = [document.id for document in self.documents]
        table = pa.table(
            {
                "id": pa.array(ids, pa.string()),
                "model": pa.array([name] * len(ids), pa.string()),
                "nats": pa.array(columns["nats"], pa.float64()),
                "n_tokens": pa.array(columns["n_tokens"], pa.int64()),
                "n_chars": pa.array(columns["n_chars"], pa.int64()),
                "n_bytes": pa.array(columns["n_bytes"], pa.int64()),
            }
        )
        write_table(table, self.path, self.key)


class ShardLosses:
    """Holds one model and measures shards with it, here or in a worker process.

    Args:
        model: as in `measure_losses`; a name is loaded at once.
        device, dtype: for a name.
        block, stride: windows.
    """

    def __init__(self, model: Any, *, device: str, dtype: str | None, block: int, stride: int) -> None:
        from firsthand import lm

        self._model = lm.load(model, device=device, dtype=dtype) if isinstance(model, str) else model
        self._options = {"block": block, "stride": stride}

    def __call__(self, item: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Columns nats, n_tokens, n_chars, n_bytes of the item's `texts`; its `ids` name them in errors."""
        from firsthand import lm

        ids, texts = item["ids"], item["texts"]
        if isinstance(self._model, lm.LanguageModel):
            with start_token(self._model):
                found = lm.document_losses(self._model, texts, ids, **self._options)
        else:
            found = lm.document_losses(self._model, texts, ids)
        columns = {name: getattr(found, name) for name in ("nats", "n_tokens", "n_chars", "n_bytes")}
        return {name: column.tolist() for name, column in columns.items()}


@contextlib.contextmanager
def start_token(model: LanguageModel) -> Iterator[None]:
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


def shards_of(
    name: str, model: Any, documents: Sequence[Document], folder: Path, size: int, options: str
) -> list[Shard]:
    """All shards of one model, `size` documents each; `options` says whatever else its losses depend on."""
    lot = []
    for number, start in enumerate(range(0, len(documents), size)):
        part = documents[start : start + size]
        path = folder / folder_name(name) / f"{number:05d}.parquet"
        lot.append(Shard(number, path, _shard_key(name, model, part, options), part))
    return lot


def folder_name(name: str) -> str:
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
