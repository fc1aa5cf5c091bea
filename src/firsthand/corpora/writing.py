"""Documents written back: in the format, schema and order of the file they came from, whole or not at all.

Knows the batches of `files` and the places of `places`. A column can be added to every document; the same
documents always give the same bytes, also compressed. Memory holds a batch, of Parquet a row group.
"""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from firsthand.corpora.files import SUFFIXES, Batch, parquet_module, zstandard_module
from firsthand.corpora.places import as_place, atomic_file
from firsthand.errors import InputError

__all__ = ["DocumentWriter", "ShardWriter", "open_writer"]

# Batches are gathered into row groups, so that files of few kept documents are not all group headers.
_GROUP_ROWS = 16_384
_GROUP_BYTES = 1 << 25


class DocumentWriter:
    """Writes chosen documents of batches that were read with `whole=True`; see `open_writer`."""

    def __init__(self, path: Path, suffix: str) -> None:
        self._path, self._suffix = path, suffix
        self._parquet: Any = None
        self._stack = contextlib.ExitStack()
        self._stream: IO[bytes] | None = None
        self._waiting: list[Any] = []  # record batches of the next row group
        self._rows = self._bytes = 0  # in them
        if suffix == ".parquet":
            return
        compressor = zstandard_module().ZstdCompressor() if suffix.endswith(".zst") else None
        stream: IO[bytes] = self._stack.enter_context(path.open("wb"))
        if compressor is not None:
            stream = self._stack.enter_context(compressor.stream_writer(stream))
        elif suffix.endswith(".gz"):
            # No file name and no time in the header: the same documents give the same bytes.
            stream = self._stack.enter_context(
                cast(IO[bytes], gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0))
            )
        self._stream = stream

    def write(
        self,
        batch: Batch,
        keep: Sequence[bool] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> int:
        """Write the documents of `batch` where `keep` is true (all of them without it); says how many.

        Args:
            batch: read with `whole=True`, from a file of the kind that is written: records for JSONL, a table
                for Parquet.
            keep: (n,) which ones.
            columns: name -> (n,) values of float32 columns to add; a column of that name is replaced.

        Raises:
            InputError: a batch of another kind or schema than what is written, or of another length than
                `keep` or a column.
        """
        chosen, added = _of_one_length(batch, keep, columns)
        if self._suffix == ".parquet":
            if batch.table is None:
                raise InputError("Parquet is written from Parquet, and this batch holds no table")
            self._write_table(batch.table, chosen, added)
            return sum(chosen)
        if batch.records is None:
            raise InputError("JSONL is written from JSONL or text, and this batch holds no records")
        assert self._stream is not None
        rows = zip(*added.values(), strict=True) if added else [()] * len(chosen)
        for record, kept, values in zip(batch.records, chosen, rows, strict=True):
            if kept:
                # str of a float32 is its shortest exact decimal; float() keeps that in the JSON.
                new = {name: float(str(value)) for name, value in zip(added, values, strict=True)}
                self._stream.write(_json_line({**record, **new}))
        return sum(chosen)

    def _write_table(self, table: Any, keep: Sequence[bool], columns: Mapping[str, Sequence[Any]]) -> None:
        import pyarrow as pa

        for name, values in columns.items():
            column, new = pa.array(values, type=pa.float32()), pa.field(name, pa.float32())
            at = table.schema.get_field_index(name)
            table = table.append_column(new, column) if at < 0 else table.set_column(at, new, column)
        if self._parquet is None:
            # A stream and not the path, which pyarrow would read as a URL where it has a colon.
            stream = self._stack.enter_context(self._path.open("wb"))
            self._parquet = parquet_module().ParquetWriter(stream, table.schema)
            self._stack.callback(self._parquet.close)
        elif not table.schema.equals(self._parquet.schema):
            raise InputError(
                "a Parquet file has one schema, and these documents have another: "
                f"{_schema(table.schema)} after {_schema(self._parquet.schema)}"
            )
        chosen = table.filter(pa.array(keep, type=pa.bool_()))
        if chosen.num_rows:
            self._waiting.append(chosen)
            self._rows += chosen.num_rows
            self._bytes += chosen.nbytes
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._parquet.write_table(pa.Table.from_batches(self._waiting))
            self._waiting, self._rows, self._bytes = [], 0, 0

    def close(self) -> None:
        """Finish the file; `open_writer` does it."""
        with self._stack:
            if self._suffix == ".parquet" and self._parquet is None:
                raise InputError("no batch was written, and without one a Parquet file has no columns")
            self._write_group()

    def drop(self) -> None:
        """Let go of a file that is not to be finished; `open_writer` does it."""
        self._waiting = []
        with contextlib.suppress(Exception):  # a full disk is why we are here: closing may say so again
            self._stack.close()


def _of_one_length(
    batch: Batch, keep: Sequence[bool] | None, columns: Mapping[str, Sequence[Any]] | None
) -> tuple[list[bool], dict[str, Sequence[Any]]]:
    n, added = len(batch.documents), dict(columns or {})
    # bool: a NumPy truth value would make the counts NumPy's, which JSON does not know
    chosen = [True] * n if keep is None else [bool(kept) for kept in keep]
    for name, values in (("keep", chosen), *added.items()):
        if len(values) != n:
            raise InputError(f"{name!r} has {len(values)} values for a batch of {n} documents")
    return chosen, added


def _schema(schema: Any) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _json_line(record: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, legal in JSON as an escape only
        return (json.dumps(record) + "\n").encode("ascii")


@contextlib.contextmanager
def open_writer(target: Path | str, suffix: str) -> Iterator[DocumentWriter]:
    """A writer to `target`, a local path or a URL; the file appears when the block ends well.

    Args:
        target: the file.
        suffix: what is written: `.jsonl`, `.jsonl.gz`, `.jsonl.zst` or `.parquet`.

    Raises:
        InputError: another suffix; Parquet, and no batch was written. OutputError: writing failed.
    """
    if suffix not in SUFFIXES or suffix.startswith((".txt", ".md")):
        raise InputError(
            f"{target}: cannot write {suffix!r}; .jsonl, .jsonl.gz, .jsonl.zst and .parquet can be"
        )
    with atomic_file(as_place(target)) as beside:
        writer = DocumentWriter(beside, suffix)
        try:
            yield writer
            writer.close()
        except BaseException:
            writer.drop()
            raise


class ShardWriter:
    """Writes documents into numbered files of so many documents each: NAME-00000.jsonl.zst, …

    A shard appears when it is full, or at `close`; used as a context manager, the last one is dropped where
    the block raises. `shards` are the files written so far, with their documents. Shards that an earlier call
    left in the folder are overwritten where the numbers are the same, and stay where they are higher.

    Args:
        folder: a local path or a URL.
        documents: at most so many in a file.
        suffix: as in `open_writer`.
        name: what the files' names begin with.
    """

    def __init__(
        self, folder: Path | str, *, documents: int = 100_000, suffix: str = ".jsonl.zst", name: str = "shard"
    ) -> None:
        if documents < 1:
            raise InputError(f"a shard holds at least 1 document, not {documents}")
        self.shards: list[tuple[Path, int]] = []
        self._folder, self._size, self._suffix, self._name = as_place(folder), documents, suffix, name
        self._stack = contextlib.ExitStack()
        self._writer: DocumentWriter | None = None
        self._count = 0

    def write(
        self,
        batch: Batch,
        keep: Sequence[bool] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        """Write the documents of `batch` where `keep` is true; see `DocumentWriter.write`."""
        chosen, given = _of_one_length(batch, keep, columns)
        n, start = len(chosen), 0
        while start < n:
            stop, taken = start, 0  # as many rows as fill this shard
            while stop < n and taken < self._size - self._count:
                taken += chosen[stop]
                stop += 1
            if taken:
                part = Batch(
                    batch.documents[start:stop],
                    None if batch.records is None else batch.records[start:stop],
                    None if batch.table is None else batch.table.slice(start, stop - start),
                )
                added = {name: values[start:stop] for name, values in given.items()}
                self._count += self._open().write(part, chosen[start:stop], added)
            if self._count == self._size:
                self._finish()
            start = stop

    def _path(self) -> Path:
        return self._folder / f"{self._name}-{len(self.shards):05d}{self._suffix}"

    def _open(self) -> DocumentWriter:
        if self._writer is None:
            self._writer = self._stack.enter_context(open_writer(self._path(), self._suffix))
        return self._writer

    def _finish(self) -> None:
        count, self._writer, self._count = self._count, None, 0  # nothing is left to close if this fails
        self._stack.close()  # renames it into place
        self.shards.append((self._path(), count))

    def close(self) -> None:
        """Finish the last shard."""
        if self._writer is not None:
            self._finish()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *raised: Any) -> None:
        if raised[0] is None:
            self.close()
        else:
            self._stack.__exit__(*raised)
