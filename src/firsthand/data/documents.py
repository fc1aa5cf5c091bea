"""Documents in files: found, streamed in, streamed out.

Knows `.txt`, `.jsonl` (plain, `.gz`, `.zst`) and `.parquet`, and nothing of what is done with a document.
Everything streams: memory holds one batch, whatever the size of the corpus. A file that is written keeps
the schema and the order of the file it came from and is renamed into place when whole; on failure nothing
half-written stays.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, cast

from firsthand.errors import FirsthandError, InputError, MissingDependencyError, NotFoundError, OutputError

__all__ = [
    "SUFFIXES",
    "Batch",
    "Document",
    "InputFile",
    "Layout",
    "TextUnit",
    "atomic_file",
    "find_inputs",
    "open_writer",
    "read_batches",
    "read_documents",
]

SUFFIXES = (".txt", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
BATCH = 1024  # documents held at once

TextUnit = Literal["file", "paragraph", "line"]


@dataclass(frozen=True, slots=True)
class Document:
    """One document: an id that is unique in its corpus, its text, and where it came from."""

    id: str
    text: str
    source: str = ""


@dataclass(frozen=True)
class InputFile:
    """A file of documents; `name` is its POSIX path below the folder that the user named."""

    path: Path
    name: str

    @property
    def suffix(self) -> str:
        """The known ending of the file's name, lower case."""
        return _suffix(self.path)

    def stamp(self) -> dict[str, Any]:
        """Name, size and a digest of both ends: enough to see that a file is another one."""
        size = self.path.stat().st_size
        with self.path.open("rb") as stream:
            ends = stream.read(65536)
            if size > 65536:
                stream.seek(max(size - 65536, 0))
                ends += stream.read(65536)
        changed = self.path.stat().st_mtime_ns
        return {
            "name": self.name,
            "bytes": size,
            "modified_ns": changed,
            "ends": hashlib.sha256(ends).hexdigest()[:16],
        }


@dataclass(frozen=True)
class Layout:
    """Which field holds what, and how a `.txt` falls into documents.

    `id_field` may be absent from the records: ids are then made of file name and position. `source_field`
    names the field by which documents are grouped in histograms; without one, the file's name is the source.
    """

    text_field: str = "text"
    id_field: str = "id"
    source_field: str | None = None
    text_unit: TextUnit = "file"


@dataclass(frozen=True)
class Batch:
    """Consecutive documents of one file, with what is needed to write them back as they were."""

    documents: tuple[Document, ...]
    records: Sequence[dict[str, Any]] | None = None  # JSONL and text files
    table: Any = None  # pyarrow.RecordBatch: Parquet
    places: tuple[str, ...] = field(default=())  # "file:line", for messages


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(suffix)), "")


def find_inputs(paths: Iterable[Path | str]) -> tuple[InputFile, ...]:
    """The files of documents at or below `paths`, sorted by name within each path given.

    Raises `NotFoundError` for a path that is not there, `InputError` for a file of an unknown kind, an
    empty folder, an empty file, or two files that would get one name.
    """
    found: list[InputFile] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and _suffix(p) and not _hidden(p, path))
            if not inside:
                raise InputError(
                    f"{path}: no document files in this folder; looked for {', '.join(SUFFIXES)}"
                )
            found += [InputFile(p, p.relative_to(path).as_posix()) for p in inside]
        elif path.is_file():
            if not _suffix(path):
                raise InputError(f"{path}: unknown kind of file; known are {', '.join(SUFFIXES)}")
            found.append(InputFile(path, path.name))
        else:
            raise NotFoundError(f"{path}: no such file or folder")
    if not found:
        raise InputError("no input was named: give at least one file or folder of documents")
    first: dict[str, InputFile] = {}
    for file in found:
        if file.name in first:
            raise InputError(
                f"{first[file.name].path} and {file.path} would both be called {file.name!r}; "
                "rename one, or name a folder that holds both"
            )
        first[file.name] = file
        if file.path.stat().st_size == 0:
            raise InputError(f"{file.path}: the file is empty")
    return tuple(found)


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


@contextlib.contextmanager
def _open_text(path: Path) -> Iterator[IO[str]]:
    """Decode strictly; a byte-order mark is dropped."""
    suffix = _suffix(path)
    with contextlib.ExitStack() as stack:
        raw: IO[bytes] = stack.enter_context(path.open("rb"))
        if suffix.endswith(".gz"):
            raw = cast(IO[bytes], stack.enter_context(gzip.open(raw, "rb")))
        elif suffix.endswith(".zst"):
            raw = stack.enter_context(
                _zstandard().ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            )
        yield stack.enter_context(io.TextIOWrapper(raw, encoding="utf-8-sig", errors="strict", newline="\n"))


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise MissingDependencyError("reading .zst needs zstandard: pip install 'firsthand[data]'") from error
    return zstandard


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError("Parquet needs pyarrow: pip install 'firsthand[data]'") from error
    return pyarrow.parquet


def read_documents(files: Iterable[InputFile], layout: Layout | None = None) -> Iterator[Document]:
    """Every document of `files`, in order."""
    for file in files:
        for batch in read_batches(file, layout):
            yield from batch.documents


def read_batches(file: InputFile, layout: Layout | None = None, *, whole: bool = False) -> Iterator[Batch]:
    """The documents of one file, up to 1024 at a time.

    Args:
        file: the file.
        layout: which field holds what.
        whole: keep the other fields too, so that `open_writer` can write the documents back.

    Raises:
        InputError: not UTF-8, not JSON, a record without the text field, a damaged archive; the message
            names file and line. A null text is an empty document, not an error.
    """
    layout = layout or Layout()
    if file.path.stat().st_size == 0:
        raise InputError(f"{file.path}: the file is empty")
    count = 0
    try:
        reader = _read_parquet if file.suffix == ".parquet" else _read_lines
        for batch in reader(file, layout, whole):
            count += len(batch.documents)
            yield batch
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file.path}: not UTF-8 text (byte {error.object[error.start]:#04x}, {error.reason}); "
            "convert it first, or name the right file"
        ) from error
    except FirsthandError:
        raise
    except (EOFError, OSError, gzip.BadGzipFile) as error:
        raise InputError(f"{file.path}: cannot be read to its end: {error}") from error
    except Exception as error:  # zlib, zstandard and pyarrow each have their own for a damaged file
        if type(error).__module__.partition(".")[0] in ("zlib", "zstandard", "zstd", "pyarrow"):
            raise InputError(f"{file.path}: damaged, or not what its name says: {error}") from error
        raise
    if count == 0:
        raise InputError(f"{file.path}: no document in this file")


def _read_lines(file: InputFile, layout: Layout, whole: bool) -> Iterator[Batch]:
    documents: list[Document] = []
    records: list[dict[str, Any]] = []
    places: list[str] = []
    parse = _text_records if file.suffix == ".txt" else _json_records
    for place, document, record in parse(file, layout):
        documents.append(document)
        places.append(place)
        if whole:
            records.append(record)
        if len(documents) == BATCH:
            yield Batch(tuple(documents), records if whole else None, None, tuple(places))
            documents, records, places = [], [], []
    if documents:
        yield Batch(tuple(documents), records if whole else None, None, tuple(places))


_Parsed = tuple[str, Document, dict[str, Any]]


def _json_records(file: InputFile, layout: Layout) -> Iterator[_Parsed]:
    with _open_text(file.path) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            place = f"{file.path}:{number}"
            try:
                record = json.loads(line)
            except ValueError as error:
                raise InputError(f"{place}: not JSON: {error}") from error
            if not isinstance(record, dict):
                raise InputError(
                    f"{place}: a line must be a JSON object, this one is a {type(record).__name__}"
                )
            if layout.text_field not in record:
                raise InputError(_missing(place, layout.text_field, record))
            given = record.get(layout.id_field)
            name = f"{file.name}:{number}" if given is None else str(given)
            yield (
                place,
                _document(place, name, record[layout.text_field], _source(file, layout, record)),
                record,
            )


def _missing(place: str, wanted: str, fields: Iterable[str]) -> str:
    there = ", ".join(repr(str(name)) for name in fields) or "none"
    return f"{place}: no field {wanted!r}; the fields are: {there}. Say which one holds the text"


def _source(file: InputFile, layout: Layout, record: dict[str, Any]) -> str:
    if layout.source_field is None:
        return file.name
    value = record.get(layout.source_field)
    return "" if value is None else str(value)


def _document(place: str, name: str, text: object, source: str) -> Document:
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise InputError(f"{place}: the text must be a string, this one is a {type(text).__name__}")
    return Document(name, text, source)


def _text_records(file: InputFile, layout: Layout) -> Iterator[_Parsed]:
    with _open_text(file.path) as stream:
        for number, text in _text_units(stream, layout.text_unit):
            name = file.name if number == 0 else f"{file.name}:{number}"
            place = str(file.path) if number == 0 else f"{file.path}:{number}"
            if "\x00" in text:
                raise InputError(f"{place}: holds NUL bytes: a binary file, not text")
            yield place, Document(name, text, file.name), {"id": name, "text": text}


def _text_units(stream: IO[str], unit: TextUnit) -> Iterator[tuple[int, str]]:
    """(line it starts at, text) of each document; line 0 stands for the file as a whole."""
    if unit == "file":
        yield 0, stream.read()
        return
    start, lines = 1, list[str]()
    for number, line in enumerate(stream, 1):
        blank = not line.strip()
        if lines and (blank or unit == "line"):
            yield start, "".join(lines).rstrip("\r\n")
            lines = []
        if not blank:
            if not lines:
                start = number
            lines.append(line)
    if lines:
        yield start, "".join(lines).rstrip("\r\n")


def _read_parquet(file: InputFile, layout: Layout, whole: bool) -> Iterator[Batch]:
    with _parquet().ParquetFile(file.path) as parquet:
        names = parquet.schema_arrow.names
        if layout.text_field not in names:
            raise InputError(_missing(str(file.path), layout.text_field, names))
        wanted = [layout.text_field, layout.id_field, layout.source_field]
        columns = None if whole else [name for name in wanted if name in names]
        row = 0
        for table in parquet.iter_batches(batch_size=BATCH, columns=columns):
            size = table.num_rows
            texts = table.column(layout.text_field).to_pylist()
            ids = table.column(layout.id_field).to_pylist() if layout.id_field in names else [None] * size
            sources: list[Any] = [file.name] * size
            if layout.source_field is not None:
                there = layout.source_field in names
                sources = table.column(layout.source_field).to_pylist() if there else [None] * size
            documents, places = [], []
            for given, text, source in zip(ids, texts, sources, strict=True):
                row += 1
                place = f"{file.path}: row {row}"
                name = f"{file.name}:{row}" if given is None else str(given)
                documents.append(_document(place, name, text, "" if source is None else str(source)))
                places.append(place)
            yield Batch(tuple(documents), None, table if whole else None, tuple(places))


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; renamed to it at the end, removed if anything goes wrong.

    An `OSError` (full disk, no permission) becomes an `OutputError` that names the target.
    """
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(target)
    except FirsthandError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


class _Writer:
    """Writes chosen documents of one file back in the file's own format, with a float32 column added."""

    def __init__(self, path: Path, suffix: str, column: str) -> None:
        self._path, self._suffix, self._column = path, suffix, column
        self._parquet: Any = None
        self._stack = contextlib.ExitStack()
        self._stream: IO[bytes] | None = None
        if suffix != ".parquet":
            stream: IO[bytes] = self._stack.enter_context(path.open("wb"))
            if suffix.endswith(".gz"):
                # No file name and no time in the header: the same documents give the same bytes.
                stream = self._stack.enter_context(
                    cast(IO[bytes], gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0))
                )
            elif suffix.endswith(".zst"):
                stream = self._stack.enter_context(_zstandard().ZstdCompressor().stream_writer(stream))
            self._stream = stream

    def write(self, batch: Batch, keep: Sequence[bool], values: Sequence[Any]) -> None:
        """Write the documents of `batch` where `keep` is true; `values` are the new column's float32."""
        if self._suffix == ".parquet":
            self._write_table(batch.table, keep, values)
            return
        assert self._stream is not None
        for record, kept, value in zip(batch.records or (), keep, values, strict=True):
            if kept:
                # str of a float32 is its shortest exact decimal; float() keeps that in the JSON.
                line = {**record, self._column: float(str(value))}
                self._stream.write(_json_line(line))

    def _write_table(self, table: Any, keep: Sequence[bool], values: Sequence[Any]) -> None:
        import pyarrow as pa

        column = pa.array(values, type=pa.float32())
        new = pa.field(self._column, pa.float32())
        at = table.schema.get_field_index(self._column)
        table = table.append_column(new, column) if at < 0 else table.set_column(at, new, column)
        if self._parquet is None:
            self._parquet = _parquet().ParquetWriter(self._path, table.schema)
        self._parquet.write_batch(table.filter(pa.array(keep, type=pa.bool_())))

    def close(self) -> None:
        if self._parquet is not None:
            self._parquet.close()
        self._stack.close()


def _json_line(record: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, legal in JSON as an escape only
        return (json.dumps(record) + "\n").encode("ascii")


@contextlib.contextmanager
def open_writer(target: Path, suffix: str, column: str) -> Iterator[_Writer]:
    """A writer to `target` for batches read with `whole=True`; the file appears when the block ends well."""
    with atomic_file(target) as beside:
        writer = _Writer(beside, suffix, column)
        try:
            yield writer
        finally:
            writer.close()
