"""Opening a session on what a user has: a DuckDB file, a folder of files, a database's URL."""

from __future__ import annotations

from pathlib import Path

from firsthand.query.speql.config import Config
from firsthand.query.speql.duckdb_engine import DuckDBEngine
from firsthand.query.speql.engine import Engine
from firsthand.query.speql.history import HistoryCompleter
from firsthand.query.speql.repair import Repairer
from firsthand.query.speql.session import Session

__all__ = ["engine_of", "open"]


def engine_of(source: str | Path, *, memory_limit: str | None = None, threads: int | None = None) -> Engine:
    """The engine behind a path or URL.

    Args:
        source: a DuckDB file, a folder of Parquet, CSV and JSON files, or a SQLAlchemy URL of a PostgreSQL database.
        memory_limit: DuckDB's, such as "4GB".
        threads: DuckDB's.

    Raises `NotFoundError` where nothing is there, `InputError` where it cannot be read; of a URL see
    `SQLAlchemyEngine`.
    """
    if isinstance(source, str) and "://" in source:
        from firsthand.query.speql.sqlalchemy_engine import SQLAlchemyEngine

        return SQLAlchemyEngine(source)
    return DuckDBEngine(source, memory_limit=memory_limit, threads=threads)


def open(
    source: str | Path,
    *,
    config: Config | None = None,
    repairer: Repairer | None = None,
    history: HistoryCompleter | None = None,
    memory_limit: str | None = None,
    threads: int | None = None,
) -> Session:
    """A session on a DuckDB file, a folder of Parquet, CSV and JSON files, or a URL; see `Session` and `engine_of`."""
    engine = engine_of(source, memory_limit=memory_limit, threads=threads)
    try:
        return Session(engine, config, repairer=repairer, history=history)
    except BaseException:
        engine.close()
        raise
