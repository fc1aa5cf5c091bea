"""What a corpus is: documents in an order that their content decides, a hash, and what they came from.

Knows nothing of where text is found (`python_text`) or made (`degrade`).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from firsthand.errors import OutputError

__all__ = ["Corpus", "Document", "Taken", "collect", "content_id"]


@dataclass(frozen=True, slots=True)
class Document:
    """One text: an id that is unique in its corpus, where it came from, what it is ("docstrings", …)."""

    id: str
    text: str
    source: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Taken:
    """A line of a corpus's listing: what one package gave, after duplicates were removed."""

    package: str
    version: str
    files: int
    documents: int
    characters: int


@dataclass(frozen=True)
class Corpus:
    """Documents, ordered by the hash of their text, so that equal texts make equal corpora on any machine."""

    documents: tuple[Document, ...]
    listing: tuple[Taken, ...] = ()

    @cached_property
    def hash(self) -> str:
        """SHA-256 over kinds and texts; paths and package versions do not enter."""
        digest = hashlib.sha256()
        for document in self.documents:
            digest.update(f"{document.kind}\0{content_id(document.text)}\n".encode())
        return digest.hexdigest()

    @property
    def texts(self) -> list[str]:
        """The documents' texts, in order."""
        return [document.text for document in self.documents]

    def __len__(self) -> int:
        return len(self.documents)


def content_id(text: str) -> str:
    """The first 16 hexadecimal digits of the text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def collect(
    found: Iterable[tuple[str, str, str]],
    *,
    kind: str,
    packages: dict[str, tuple[str, int]],
    limit: int | None,
) -> Corpus:
    """Make a corpus of (package, source, text) triples: exact duplicates once, content order, first `limit`.

    `packages` maps each package to its version and the number of files read. Of equal texts the one whose
    source comes first in the alphabet stays.
    """
    kept: dict[str, tuple[str, str, str]] = {}
    for package, source, text in found:
        name = content_id(text)
        if name not in kept or (source, package) < (kept[name][1], kept[name][0]):
            kept[name] = (package, source, text)
    names = sorted(kept)[:limit]
    documents = tuple(Document(name, kept[name][2], kept[name][1], kind) for name in names)
    listing = []
    for package, (version, files) in sorted(packages.items()):
        sizes = [len(kept[name][2]) for name in names if kept[name][0] == package]
        listing.append(Taken(package, version, files, len(sizes), sum(sizes)))
    return Corpus(documents, tuple(listing))


def write_corpus(corpus: Corpus, path: Path) -> None:
    """Write beside `path` and rename: a line of JSON with listing and hash, then one a document, gzipped."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    head = {"hash": corpus.hash, "listing": [asdict(line) for line in corpus.listing]}
    try:
        with gzip.open(beside, "wt", encoding="utf-8", compresslevel=3) as sink:
            sink.write(json.dumps(head) + "\n")
            for document in corpus.documents:
                sink.write(json.dumps(asdict(document)) + "\n")
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)


def read_corpus(path: Path) -> Corpus | None:
    """What `write_corpus` wrote, or None where the file is missing, damaged or altered."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            head = json.loads(next(lines))
            documents = tuple(Document(**json.loads(line)) for line in lines)
            corpus = Corpus(documents, tuple(Taken(**line) for line in head["listing"]))
            return corpus if corpus.hash == head["hash"] else None
    except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, AttributeError, StopIteration):
        return None
