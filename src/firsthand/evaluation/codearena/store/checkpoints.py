"""Boards that were written down, with the rules they were drawn up by: what history is read from.

Later attempts change old scores, so a board of the past cannot be read off today's. A checkpoint keeps it as it stood
and is never changed. The paper's figure 4 is made of monthly ones. Knows boards. Knows nothing of how they are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select

from firsthand.evaluation.codearena.refusals import InvalidRequest, UnknownEntry
from firsthand.evaluation.codearena.scores.rules import Rules
from firsthand.evaluation.codearena.store.accounts import now
from firsthand.evaluation.codearena.store.database import Database
from firsthand.evaluation.codearena.store.events import note
from firsthand.evaluation.codearena.store.queue import insert_new
from firsthand.evaluation.codearena.store.standing import Standing
from firsthand.evaluation.codearena.store.tables import checkpoint

__all__ = ["Checkpoint", "Checkpoints", "HistoryPoint"]


@dataclass(frozen=True)
class Checkpoint:
    """A board as it stood: `board` is what `ScoreTable.as_dict` gave, `parameters` the rules in it."""

    id: int
    at: datetime
    period: str | None
    parameters: dict[str, Any]
    board: dict[str, Any]


@dataclass(frozen=True)
class HistoryPoint:
    """One user on one checkpoint."""

    checkpoint: int
    at: datetime
    user: str
    dp: float
    rank: int
    solved: int
    attempted: int
    pass_rate: float


class Checkpoints:
    """Checkpoints of one arena."""

    def __init__(self, database: Database, standing: Standing, clock: Callable[[], datetime] = now) -> None:
        self._database, self._standing, self._clock = database, standing, clock

    def make(self, rules: Rules | None = None) -> Checkpoint:
        """Write the board of this moment down."""
        made = self._make(rules or Rules(), None)
        assert made is not None  # only a period can be taken
        return made

    def make_due(self, hours: float) -> Checkpoint | None:
        """The checkpoint of this stretch of `hours`, if nobody made it; however many servers ask, there is one.

        Raises:
            InvalidRequest: `hours` not above 0.
        """
        if not hours > 0:
            raise InvalidRequest(f"checkpoints are made every so many hours, above 0; got {hours!r}")
        period = f"{hours:g}h-{int(self._clock().timestamp() // (hours * 3600))}"
        with self._database.read() as connection:
            there = select(checkpoint.c.id).where(checkpoint.c.period == period)
            if connection.execute(there).first() is not None:
                return None
        return self._make(Rules(), period)

    def _make(self, rules: Rules, period: str | None) -> Checkpoint | None:
        at = self._clock()
        board = self._standing.ranking(rules=rules).as_dict()
        with self._database.write() as connection:
            row = connection.execute(
                insert_new(connection, checkpoint)
                .values(at=at, period=period, parameters=board["parameters"], board=board)
                .on_conflict_do_nothing()
                .returning(checkpoint)
            ).one_or_none()
            if row is None:
                return None
            note(connection, at, "checkpoint.made", str(row.id), rows=len(board["rows"]))
        return _checkpoint(row)

    def find(self, number: int) -> Checkpoint:
        """The checkpoint of that number; raises `UnknownEntry`."""
        with self._database.read() as connection:
            row = connection.execute(select(checkpoint).where(checkpoint.c.id == number)).one_or_none()
        if row is None:
            raise UnknownEntry(f"there is no checkpoint {number}")
        return _checkpoint(row)

    def page(self, *, offset: int = 0, limit: int = 100) -> tuple[list[Checkpoint], int]:
        """Checkpoints, the newest first, and how many there are."""
        with self._database.read() as connection:
            total = connection.execute(select(func.count()).select_from(checkpoint)).scalar_one()
            query = select(checkpoint).order_by(checkpoint.c.at.desc(), checkpoint.c.id.desc())
            rows = connection.execute(query.offset(offset).limit(limit)).all()
        return [_checkpoint(row) for row in rows], total

    def history(
        self,
        *,
        users: Collection[str] | None = None,
        since: datetime | None = None,
        rules: Rules | None = None,
        most: int = 1000,
    ) -> list[HistoryPoint]:
        """How users stood on those of the newest `most` checkpoints that have the same rules, the oldest first.

        Args:
            users: whom; None: everybody.
            since: checkpoints of this time and later.
            rules: None: the default ones.
        """
        rules = rules or Rules()
        wanted = rules.as_dict()
        with self._database.read() as connection:
            newest = connection.execute(select(func.max(checkpoint.c.id))).scalar()

            def points() -> list[HistoryPoint]:
                query = select(checkpoint).order_by(checkpoint.c.at.desc(), checkpoint.c.id.desc())
                return [
                    HistoryPoint(
                        row.id, row.at, line["user"], line["dp"], line["rank"],
                        line["solved"], line["attempted"], line["pass_rate"],
                    )
                    for row in reversed(connection.execute(query.limit(most)).all())
                    if row.parameters == wanted
                    for line in row.board["rows"]
                ]  # fmt: skip

            found = self._standing.kept(("history", newest, rules, most), points)
        return [
            point
            for point in found
            if (since is None or point.at >= since) and (users is None or point.user in users)
        ]


def _checkpoint(row: Row[Any]) -> Checkpoint:
    return Checkpoint(row.id, row.at, row.period, row.parameters, row.board)
