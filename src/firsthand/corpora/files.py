"""Documents in files: found and streamed in.

Knows `.txt`, `.md`, `.jsonl` (each plain, `.gz` or `.zst`) and `.parquet`, on this machine or behind a URL, and
nothing of what is done with a document. Memory holds one batch, whatever the size of the corpus. `writing` is
the way back.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, cast

from firsthand.corpora.documents import Document
from firsthand.corpora.places import as_place, is_local
from firsthand.errors import FirsthandError, InputError, MissingDependencyError, NotFoundError

__all__ = [
    "SUFFIXES",
    "Batch",
    "InputFile",
    "Layout",
    "TextUnit",
    "find_inputs",
    "read_batches",
    "read_documents",
]

_COMPRESSED = ("", ".gz", ".zst")
SUFFIXES = (*(kind + packed for kind in (".txt", ".md", ".jsonl") for packed in _COMPRESSED), ".parquet")
BATCH = 1024  # documents held at once

TextUnit = Literal["file", "paragraph", "line"]


@dataclass(frozen=True)
class InputFile:
    """A file of documents; `name` is its POSIX path below the folder that the user named."""

    path: Path  # or what `as_place` makes of a URL
    name: str

    @property
    def suffix(self) -> str:
        """The known ending of the file's name, lower case."""
        return _suffix(self.path)

    @property
    def is_text(self) -> bool:
        """Whether it holds plain text, and no records with fields."""
        return self.suffix.startswith((".txt", ".md"))

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.path.stat().st_size)

    def stamp(self) -> dict[str, Any]:
        """Name, size, time and a digest of both ends: enough to see that a file is another one.

        Raises `InputError` where it cannot be read.
        """
        try:
            return self._stamp()
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror or error}") from error

    def _stamp(self) -> dict[str, Any]:
        found = self.path.stat()
        size = int(found.st_size)
        with self.path.open("rb") as stream:
            ends = stream.read(65536)
            if size > 65536:
                stream.seek(max(size - 65536, 0))
                ends += stream.read(65536)
        stamp = {
            "name": self.name,
            "bytes": size,
            "modified_ns": int(found.st_mtime_ns),
            "ends": hashlib.sha256(ends).hexdigest()[:16],
        }
        remote: Any = self.path
        known = {} if is_local(self.path) else remote.fs.info(remote.path)
        for tag in ("ETag", "etag", "created"):  # what stores have in place of a time
            if known.get(tag):
                return {**stamp, "version": str(known[tag])}
        return stamp


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


def find_inputs(places: Iterable[Path | str]) -> tuple[InputFile, ...]:
    """The files of documents at or below `places`, sorted by name within each place given.

    Args:
        places: local paths, or URLs that fsspec knows (`s3://bucket/folder`); files or folders.

    Raises:
        NotFoundError: nothing is there.
        InputError: a file of an unknown kind, an empty folder, an empty file, two files that would get one
            name, a URL that cannot be read.
        MissingDependencyError: what a URL's scheme needs is not installed.
    """
    found: list[InputFile] = []
    for given in places:
        try:
            here = _at(as_place(given))
            empty = next((file for file in here if file.size == 0), None)
        except FirsthandError:
            raise
        except Exception as error:  # each file system has errors of its own
            raise InputError(f"{given}: cannot be read: {type(error).__name__}: {error}") from error
        if empty is not None:
            raise InputError(f"{empty.path}: the file is empty")
        found += here
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
    return tuple(found)


def _at(path: Path) -> list[InputFile]:
    if path.is_dir():
        inside = sorted((name, p) for name, p in _below(path) if _suffix(p) and not _hidden(name))
        if not inside:
            raise InputError(f"{path}: no document files in this folder; looked for {', '.join(SUFFIXES)}")
        return [InputFile(p, name) for name, p in inside]
    if path.is_file():
        if not _suffix(path):
            raise InputError(f"{path}: unknown kind of file; known are {', '.join(SUFFIXES)}")
        return [InputFile(path, path.name)]
    raise NotFoundError(f"{path}: no such file or folder")


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    """(POSIX name below `folder`, place) of every file."""
    if is_local(folder):
        yield from _below_local(folder)
        return
    # One listing, not a question a file; and `rglob` would take a `[` in the folder's name for a pattern.
    remote: Any = folder
    root = remote.path.rstrip("/") + "/"
    for found in remote.fs.find(remote.path):
        name = found.removeprefix(root)
        yield name, folder / name


def _below_local(folder: Path) -> Iterator[tuple[str, Path]]:
    """Through links too, each folder once; a folder that cannot be read is an error and not a gap."""

    def stop(error: OSError) -> None:
        raise error

    seen: set[str] = set()
    for here, folders, files in os.walk(folder, onerror=stop, followlinks=True):
        seen.add(os.path.realpath(here))
        folders[:] = [name for name in folders if os.path.realpath(Path(here, name)) not in seen]
        for name in files:
            path = Path(here, name)
            if path.is_file():  # and no socket, no broken link
                yield path.relative_to(folder).as_posix(), path


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


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
                zstandard_module().ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            )
        yield stack.enter_context(io.TextIOWrapper(raw, encoding="utf-8-sig", errors="strict", newline="\n"))


def zstandard_module() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise MissingDependencyError(".zst needs zstandard: pip install 'firsthand[data]'") from error
    return zstandard


def parquet_module() -> Any:
    """pyarrow.parquet, or an error that names what to install."""
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


def read_batches(
    file: InputFile, layout: Layout | None = None, *, whole: bool = False, skip: int = 0
) -> Iterator[Batch]:
    """The documents of one file, up to 1024 at a time.

    Args:
        file: the file.
        layout: which field holds what.
        whole: keep the other fields too, so that `open_writer` can write the documents back.
        skip: pass over so many documents at the start, without parsing them; the others keep their ids.

    Raises:
        InputError: not UTF-8, not JSON, a record without the text field, a damaged archive; the message
            names file and line. A null text is an empty document, not an error.
    """
    layout = layout or Layout()
    if skip < 0:
        raise InputError(f"{file.path}: cannot pass over {skip} documents")
    count = 0
    try:
        if file.size == 0:
            raise InputError(f"{file.path}: the file is empty")
        reader = _read_parquet if file.suffix == ".parquet" else _read_lines
        for batch in reader(file, layout, whole, skip):
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
    if count == 0 and skip == 0:
        raise InputError(f"{file.path}: no document in this file")


def _read_lines(file: InputFile, layout: Layout, whole: bool, skip: int) -> Iterator[Batch]:
    documents: list[Document] = []
    records: list[dict[str, Any]] = []
    places: list[str] = []
    parse = _text_records if file.is_text else _json_records
    for place, document, record in parse(file, layout, skip):
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


def _json_records(file: InputFile, layout: Layout, skip: int) -> Iterator[_Parsed]:
    with _open_text(file.path) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            if skip > 0:
                skip -= 1
                continue
            place = f"{file.path}:{number}"
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
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


def _text_records(file: InputFile, layout: Layout, skip: int) -> Iterator[_Parsed]:
    with _open_text(file.path) as stream:
        for number, text in itertools.islice(_text_units(stream, layout.text_unit), skip, None):
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


def _read_parquet(file: InputFile, layout: Layout, whole: bool, skip: int) -> Iterator[Batch]:
    with contextlib.ExitStack() as stack:
        # pyarrow reads local files on its own, past Python's file objects.
        source = file.path if is_local(file.path) else stack.enter_context(file.path.open("rb"))
        parquet = stack.enter_context(parquet_module().ParquetFile(source))
        names = parquet.schema_arrow.names
        if layout.text_field not in names:
            raise InputError(_missing(str(file.path), layout.text_field, names))
        wanted = [layout.text_field, layout.id_field, layout.source_field]
        for name in wanted:
            if names.count(name) > 1:
                raise InputError(f"{file.path}: there are {names.count(name)} columns {name!r}; rename them")
        columns = None if whole else [name for name in wanted if name in names]
        row, groups = 0, list(range(parquet.num_row_groups))
        while groups and row + parquet.metadata.row_group(groups[0]).num_rows <= skip:
            row += parquet.metadata.row_group(groups.pop(0)).num_rows
        for table in parquet.iter_batches(batch_size=BATCH, row_groups=groups, columns=columns):
            over = max(0, min(skip - row, table.num_rows))
            row += over
            if over == table.num_rows:
                continue
            part = table.slice(over)
            yield _parquet_batch(file, layout, part, row, names, whole)
            row += part.num_rows


def _parquet_batch(
    file: InputFile, layout: Layout, table: Any, row: int, names: Sequence[str], whole: bool
) -> Batch:
    size = table.num_rows

    def values(column: str | None) -> list[Any]:
        return table.column(column).to_pylist() if column in names else [None] * size

    sources = [file.name] * size if layout.source_field is None else values(layout.source_field)
    documents, places = [], []
    rows = zip(values(layout.id_field), values(layout.text_field), sources, strict=True)
    for number, (given, text, source) in enumerate(rows, row + 1):
        place = f"{file.path}: row {number}"
        name = f"{file.name}:{number}" if given is None else str(given)
        documents.append(_document(place, name, text, "" if source is None else str(source)))
        places.append(place)
    return Batch(tuple(documents), None, table if whole else None, tuple(places))
