"""Which judges are at work: each says so now and then, and says why where it cannot judge.

Knows rows of judges. Without it a full queue could not be told from one that nobody serves.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.exc import DBAPIError

from firsthand.evaluation.codearena.store.accounts import now
from firsthand.evaluation.codearena.store.database import Database
from firsthand.evaluation.codearena.store.queue import insert_new
from firsthand.evaluation.codearena.store.submissions import Machine
from firsthand.evaluation.codearena.store.tables import judge
from firsthand.evaluation.codearena.store.texts import storable

__all__ = ["HEARD_S", "JudgeSeen", "Presence", "Voice"]

_LOG = logging.getLogger("firsthand.codearena")

HEARD_S = 90.0
"""A judge that was not heard of for so long is taken to be gone; judges speak three times as often."""


@dataclass(frozen=True)
class JudgeSeen:
    """A judge; `languages` are installed there, `fault` says why it cannot judge, and is empty where it can."""

    id: str
    host: str
    host_class: str
    languages: tuple[str, ...]
    seen_at: datetime
    fault: str


class Presence:
    """The judges of one arena."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = now) -> None:
        self._database, self._clock = database, clock

    def here(
        self, judge_id: str, machine: Machine, *, languages: Collection[str] = (), fault: str = ""
    ) -> None:
        """Say that a judge is there; those that were not heard of for a day are forgotten."""
        at = self._clock()
        values = {
            "host": machine.host,
            "host_class": machine.host_class,
            "languages": " ".join(sorted(languages)),
            "fault": storable(fault, 1000),
            "seen_at": at,
        }
        with self._database.write() as connection:
            connection.execute(
                insert_new(connection, judge)
                .values(id=judge_id, started_at=at, **values)
                .on_conflict_do_update(index_elements=["id"], set_=values)
            )
            connection.execute(delete(judge).where(judge.c.seen_at < at - timedelta(days=1)))

    def gone(self, judge_id: str) -> None:
        """Say that a judge has ended."""
        with self._database.write() as connection:
            connection.execute(delete(judge).where(judge.c.id == judge_id))

    def seen(self, within_s: float = HEARD_S) -> list[JudgeSeen]:
        """Judges that were heard of lately, by id."""
        since = self._clock() - timedelta(seconds=within_s)
        with self._database.read() as connection:
            rows = connection.execute(select(judge).where(judge.c.seen_at >= since).order_by(judge.c.id))
            return [
                JudgeSeen(
                    row.id, row.host, row.host_class, tuple(row.languages.split()), row.seen_at, row.fault
                )
                for row in rows
            ]


class Voice:
    """One judge's: it says that the judge is there as long as it is open, also while a job takes long."""

    def __init__(self, presence: Presence, judge_id: str, machine: Machine) -> None:
        self._presence, self._id, self._machine = presence, judge_id, machine
        self._said: tuple[frozenset[str], str] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="firsthand-presence", daemon=True)
        self._thread.start()

    def say(self, languages: Collection[str] = (), fault: str = "") -> None:
        """From now on it has these languages installed, or this fault; where that is new, it is said at once."""
        found = frozenset(languages), fault
        if found != self._said:
            self._said = found
            self._speak()

    def close(self) -> None:
        """The judge is gone."""
        self._over.set()
        self._thread.join()
        try:
            self._presence.gone(self._id)
        except DBAPIError as error:
            _LOG.warning("the end of the judge %s could not be noted: %s", self._id, error)

    def _speak(self) -> None:
        if self._said is None:
            return
        languages, fault = self._said
        try:
            self._presence.here(self._id, self._machine, languages=languages, fault=fault)
        except DBAPIError as error:  # the database is away; the next time may do
            _LOG.warning("the judge %s could not say that it is there: %s", self._id, error)

    def _keep(self) -> None:
        while not self._over.wait(HEARD_S / 3):
            self._speak()
