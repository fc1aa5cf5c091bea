"""The log of what happened, written with every change in the same transaction and never changed.

Knows nothing of what the events mean. No event holds a secret, a source or a test case.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from firsthand.evaluation.codearena.store.database import Database
from firsthand.evaluation.codearena.store.tables import event

__all__ = ["Event", "note", "read_events"]


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    `seq` rises with every event; on PostgreSQL numbers may be missing, and of two events written at the same moment
    the one with the higher number may be seen first.
    """

    seq: int
    at: datetime
    kind: str
    subject: str
    payload: dict[str, Any]


def note(connection: Connection, at: datetime, kind: str, subject: str, /, **payload: Any) -> None:
    """Write an event in the transaction of what it tells of."""
    connection.execute(insert(event).values(at=at, kind=kind, subject=subject, payload=payload))


def read_events(
    database: Database, *, after: int = 0, subject: str | None = None, limit: int = 1000
) -> Iterator[Event]:
    """Events with a higher number than `after`, oldest first, at most `limit`."""
    query = select(event).where(event.c.seq > after).order_by(event.c.seq).limit(limit)
    if subject is not None:
        query = query.where(event.c.subject == subject)
    with database.read() as connection:
        rows = connection.execute(query).all()
    for row in rows:
        yield Event(row.seq, row.at, row.kind, row.subject, row.payload)
