"""Editions and versions of a problem: how one comes after another while everybody else waits for the row.

An edition is what a problem says at a time; a version is how it is judged. A new version has every submission judged
again, and until then its old judgement counts for nothing: results of two versions are never mixed.

Knows a problem's rows. Knows nothing of what curators may write in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from firsthand.evaluation.codearena.errors import UnknownProblem
from firsthand.evaluation.codearena.store.events import note
from firsthand.evaluation.codearena.store.queue import Queue
from firsthand.evaluation.codearena.store.rescoring import rescore
from firsthand.evaluation.codearena.store.tables import problem, problem_edition

__all__ = ["id_of", "locked", "new_edition", "new_version"]


def id_of(connection: Connection, pid: str, *, at: datetime | None = None) -> int:
    """The number of a problem in this database.

    Args:
        at: it must be published at this time; None: whether it is or not.

    Raises:
        UnknownProblem: there is none.
    """
    query = select(problem.c.id).where(problem.c.pid == pid)
    if at is not None:
        query = query.where(problem.c.visible_from <= at)
    found: int | None = connection.execute(query).scalar_one_or_none()
    if found is None:
        raise UnknownProblem(f"there is no problem {pid!r}")
    return found


def locked(connection: Connection, problem_id: int) -> Row[Any]:
    """The problem's row, held until the end of the transaction: who changes its scores does it alone.

    Its key is not held: submissions to it come in meanwhile.
    """
    held = select(problem).where(problem.c.id == problem_id).with_for_update(key_share=True)
    return connection.execute(held).one()


def new_version(
    connection: Connection, queue: Queue, row: Row[Any], at: datetime, why: str, **changes: Any
) -> int:
    """Make a new version of a problem whose row the caller holds, and have its submissions judged again."""
    version: int = row.version + 1
    new_edition(connection, row, at, version, changes)
    queue.repeat(connection, row.id)
    rescore(connection, row.id)
    note(connection, at, "problem.version", row.pid, version=version, why=why)
    return version


def new_edition(
    connection: Connection, row: Row[Any], at: datetime, version: int, changes: Mapping[str, Any]
) -> None:
    """Write the next edition of a problem whose row the caller holds: the current one with changes."""
    current = connection.execute(
        select(problem_edition).where(
            problem_edition.c.problem_id == row.id, problem_edition.c.edition == row.edition
        )
    ).one()
    values = {**current._mapping, **changes}
    values |= {"edition": row.edition + 1, "version": version, "created_at": at}
    connection.execute(insert(problem_edition).values(values))
    connection.execute(
        update(problem).where(problem.c.id == row.id).values(edition=row.edition + 1, version=version)
    )
