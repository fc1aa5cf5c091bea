"""Ids of documents: what depends on an id alone, and ids that occur twice.

A hash of the id, not the place in the input, decides wherever one of equal documents must be chosen: then
neither the order of files nor the number of workers changes the choice.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from firsthand.corpora.files import InputFile, Layout, read_batches
from firsthand.errors import InputError, OutputError

__all__ = ["UniqueIds", "identity", "seeded_order"]


def identity(*parts: str | bytes) -> bytes:
    """Sixteen bytes that depend on the parts only: the same on every machine, in every order of work."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


def seeded_order(ids: Sequence[str], seed: int) -> NDArray[np.uint64]:
    """(D,) uint64 keys: sorting by them is a random permutation that depends on ids and seed only."""
    salt = f"order:{seed}"
    blocks = b"".join(identity(salt, name)[:8] for name in ids)
    return np.frombuffer(blocks, dtype="<u8").astype(np.uint64)


class UniqueIds:
    """Finds ids that occur twice, in constant memory.

    Sixteen bytes an id go to a temporary file; `repeated()` reads it back in slices of the hash space, each
    small enough to sort in memory.
    """

    def __init__(self, slice_size: int = 1 << 22) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, closed by `close`
        self._count = 0
        self._slice_size = slice_size

    def add(self, ids: Iterable[str]) -> None:
        """Take note of more ids."""
        digests = [identity(name) for name in ids]
        try:
            self._file.write(b"".join(digests))
        except OSError as error:
            raise _cannot_write(error) from error
        self._count += len(digests)

    def repeated(self) -> bytes | None:
        """The `identity` of an id that occurs twice, or None."""
        slices = max(1, -(-self._count // self._slice_size))
        for number in range(slices):
            self._rewind()
            parts = []
            while block := self._file.read(1 << 24):
                pairs = np.frombuffer(block, dtype="<u8").reshape(-1, 2)
                parts.append(pairs[pairs[:, 0] % np.uint64(slices) == number] if slices > 1 else pairs)
            if not parts:
                continue
            pairs = np.concatenate(parts)
            pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
            same = np.flatnonzero((pairs[1:] == pairs[:-1]).all(axis=1))
            if same.size:
                return bytes(pairs[same[0]].tobytes())
        return None

    def _rewind(self) -> None:
        try:
            self._file.seek(0)  # what is still buffered is written now
        except OSError as error:
            raise _cannot_write(error) from error

    def require(self, files: Iterable[InputFile], layout: Layout | None = None) -> None:
        """Raise `InputError` naming the id and both places where an id occurs twice in `files`."""
        digest = self.repeated()
        if digest is None:
            return
        places = []
        for file in files:
            for batch in read_batches(file, layout):
                for document, place in zip(batch.documents, batch.places, strict=True):
                    if identity(document.id) == digest:
                        places.append((document.id, place))
                        if len(places) == 2:
                            raise InputError(
                                f"the id {document.id!r} occurs twice: {places[0][1]} and {place}; ids "
                                "must be unique (name another id field, or an absent one to number documents)"
                            )
        raise InputError("an id occurs twice; the input changed while it was read")

    def close(self) -> None:
        """Free the temporary file."""
        self._file.close()

    def __enter__(self) -> UniqueIds:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cannot_write(error: OSError) -> OutputError:
    return OutputError(f"cannot write to {tempfile.gettempdir()}: {error.strerror or error}")
