"""Parquet tables that say what they were made from: written whole, and known again by a key.

A key stands in the file's metadata. A table whose key is another one, or that is damaged, is made again by
whoever keeps such tables to go on where it stopped.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from firsthand.corpora.files import parquet_module
from firsthand.corpora.places import atomic_file

__all__ = ["KEY", "arrow", "stored_key", "stored_rows", "write_table"]

KEY = b"firsthand_key"


def arrow() -> tuple[Any, Any]:
    """`pyarrow` and `pyarrow.parquet`; raises `MissingDependencyError`."""
    parquet = parquet_module()
    import pyarrow

    return pyarrow, parquet


def write_table(table: Any, path: Path, key: str | None = None) -> None:
    """Write a `pyarrow.Table`, with `key` as its only metadata where one is given; whole or not at all."""
    if key is not None:
        table = table.replace_schema_metadata({KEY: key})
    # A stream and not the path, which pyarrow would read as a URL where it has a colon.
    with atomic_file(path) as beside, beside.open("wb") as stream:
        parquet_module().write_table(table, stream)


def stored_key(path: Path) -> str | None:
    """The key of the table at `path`; None where there is none, or it cannot be read."""
    if not path.is_file():
        return None
    parquet = parquet_module()
    with contextlib.suppress(Exception):  # whatever is damaged is made again
        with path.open("rb") as stream:
            metadata = parquet.read_schema(stream).metadata or {}
        return str(metadata.get(KEY, b"").decode())
    return None


def stored_rows(path: Path) -> int:
    """How many rows the table at `path` has, which can be read (`stored_key`)."""
    with path.open("rb") as stream:
        return int(parquet_module().read_metadata(stream).num_rows)
