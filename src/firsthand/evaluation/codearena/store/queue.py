"""The queue of work in the database: jobs, and leases that let any number of judges share them.

A judge that claims a job has it for a while, extends the lease as long as it works, and names the lease when it
finishes: whoever lost it (it hung, its machine was gone) finds its result refused, because by then another one may
have judged. Claims skip what others are claiming (FOR UPDATE SKIP LOCKED) on PostgreSQL and hold the write lock
(BEGIN IMMEDIATE) on SQLite. Time is the database's.

Knows jobs. Knows nothing of what a job does (`judging`).
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from firsthand.evaluation.codearena.store.database import Database
from firsthand.evaluation.codearena.store.tables import job, judgement, submission

__all__ = [
    "CASES_FIRST",
    "FRESH",
    "LEASE_S",
    "REPEATED",
    "JobKind",
    "Lease",
    "Queue",
    "QueueLoad",
    "insert_new",
]

JobKind = Literal["submission", "cases", "generate"]
LEASE_S = 30.0
CASES_FIRST, FRESH, REPEATED = 0, 1, 2
"""Priorities: test cases to be validated, submissions that nobody judged yet, submissions that are judged again."""


@dataclass(frozen=True)
class Lease:
    """A claimed job. `tries` counts its claims, this one among them."""

    job_id: int
    kind: JobKind
    submission_id: int | None
    problem_id: int
    payload: dict[str, Any] | None
    tries: int
    key: str


@dataclass(frozen=True)
class QueueLoad:
    """What waits, what is being done, and since when the oldest waits."""

    waiting: int
    leased: int
    oldest: datetime | None


def insert_new(connection: Connection, table: Table) -> Any:
    """An insert that knows `on_conflict_do_nothing`, which both databases have and plain SQL has not."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


class Queue:
    """Jobs of one database. `lease_s`: how long a claim lasts without being extended."""

    def __init__(self, database: Database, *, lease_s: float = LEASE_S) -> None:
        self._database = database
        self.lease_s = lease_s

    # --- within a transaction of the caller's ------------------------------------------------------

    def add(
        self,
        connection: Connection,
        kind: JobKind,
        *,
        problem_id: int,
        submission_id: int | None = None,
        payload: dict[str, Any] | None = None,
        priority: int = FRESH,
        host_class: str | None = None,
        language: str | None = None,
    ) -> bool:
        """Ask for work; False where the same is asked for already.

        Args:
            host_class: only judges on such machines may take it; None: anyone.
            language: only judges that have it installed may take it; None: anyone.
        """
        done = connection.execute(
            insert_new(connection, job)
            .values(
                kind=kind,
                submission_id=submission_id,
                problem_id=problem_id,
                payload=payload,
                priority=priority,
                host_class=host_class,
                language=language,
                tries=0,
                not_before=self._database.now(),
                created_at=self._database.now(),
            )
            .on_conflict_do_nothing()
            .returning(job.c.id)
        )
        return done.first() is not None

    def repeat(self, connection: Connection, problem_id: int) -> None:
        """Ask for all submissions to a problem to be judged again that were judged, without the aborted ones."""
        moment = self._database.now()
        judged = (
            select(
                literal("submission"),
                submission.c.id,
                submission.c.problem_id,
                literal(REPEATED),
                submission.c.language,
                literal(0),
                moment,
                moment,
            )
            .join(judgement, judgement.c.submission_id == submission.c.id)
            .where(
                submission.c.problem_id == problem_id,
                judgement.c.replaced_at.is_(None),
                judgement.c.verdict != "AB",
            )
            .order_by(submission.c.id)
        )
        columns = ["kind", "submission_id", "problem_id", "priority", "language", "tries"]
        connection.execute(
            insert_new(connection, job)
            .from_select([*columns, "not_before", "created_at"], judged)
            .on_conflict_do_nothing()
        )
        waiting = select(job.c.submission_id).where(job.c.problem_id == problem_id, job.c.lease.is_(None))
        connection.execute(
            update(submission)
            .where(submission.c.problem_id == problem_id, submission.c.id.in_(waiting))
            .values(state="queued")
        )

    def close(self, connection: Connection, lease: Lease) -> bool:
        """The job is done: take it out. False where the lease was lost, and then nothing may be written."""
        found = connection.execute(delete(job).where(job.c.id == lease.job_id, job.c.lease == lease.key))
        return found.rowcount == 1

    def put_back(
        self, connection: Connection, lease: Lease, *, after_s: float = 0.0, count: bool = True
    ) -> bool:
        """Give the job back to be done later; False where the lease was lost.

        Args:
            after_s: not before so many seconds.
            count: whether this was one of the job's tries.
        """
        values: dict[str, Any] = {"lease": None, "lease_owner": None, "lease_until": None}
        values["not_before"] = self._database.now(after_s)
        if not count:
            values["tries"] = job.c.tries - 1
        found = connection.execute(
            update(job).where(job.c.id == lease.job_id, job.c.lease == lease.key).values(values)
        )
        if lease.submission_id is not None and found.rowcount == 1:
            connection.execute(
                update(submission).where(submission.c.id == lease.submission_id).values(state="queued")
            )
        return found.rowcount == 1

    def drop(self, connection: Connection, submission_id: int) -> bool:
        """Take a submission's job out whoever has it; False where there is none."""
        return bool(connection.execute(delete(job).where(job.c.submission_id == submission_id)).rowcount)

    # --- in transactions of their own --------------------------------------------------------------

    def claim(
        self,
        owner: str,
        *,
        host_class: str = "",
        languages: Collection[str] | None = None,
        state: Literal["leased", "judging"] = "judging",
    ) -> Lease | None:
        """The next job that nobody has, or whose lease ran out; None where there is none.

        Args:
            owner: who claims; told to people only.
            host_class: the machine's.
            languages: that are installed there; None: whatever is asked for.
            state: what the submission's state becomes.
        """
        if self._database.sqlite:  # its write lock is not for looking whether there is work
            with self._database.read() as connection:
                free = self._free(host_class, languages)
                if connection.execute(select(job.c.id).where(free).limit(1)).first() is None:
                    return None
        with self._database.write() as connection:
            row = connection.execute(
                select(job)
                .where(self._free(host_class, languages))
                .order_by(job.c.priority, job.c.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).first()
            if row is None:
                return None
            key = secrets.token_hex(16)
            connection.execute(
                update(job)
                .where(job.c.id == row.id)
                .values(
                    lease=key,
                    lease_owner=owner,
                    lease_until=self._database.now(self.lease_s),
                    tries=row.tries + 1,
                )
            )
            if row.submission_id is not None:
                connection.execute(
                    update(submission).where(submission.c.id == row.submission_id).values(state=state)
                )
        return Lease(row.id, row.kind, row.submission_id, row.problem_id, row.payload, row.tries + 1, key)

    def extend(self, lease: Lease) -> bool:
        """Have the lease for another `lease_s` from now; False where it was lost."""
        with self._database.write() as connection:
            found = connection.execute(
                update(job)
                .where(job.c.id == lease.job_id, job.c.lease == lease.key)
                .values(lease_until=self._database.now(self.lease_s))
            )
        return found.rowcount == 1

    def ready(self, most: int) -> int:
        """How many jobs could be claimed now, by somebody; `most` at the most."""
        now = self._database.now()
        free = select(job.c.id).where(
            job.c.not_before <= now, or_(job.c.lease_until.is_(None), job.c.lease_until < now)
        )
        with self._database.read() as connection:
            return connection.execute(
                select(func.count()).select_from(free.limit(most).subquery())
            ).scalar_one()

    def load(self) -> QueueLoad:
        """How much there is to do."""
        with self._database.read() as connection:
            held = job.c.lease_until > self._database.now()
            waiting = connection.execute(
                select(func.count(), func.min(job.c.created_at)).where(
                    or_(~held, job.c.lease_until.is_(None))
                )
            ).one()
            leased = connection.execute(select(func.count()).where(held)).scalar_one()
        return QueueLoad(waiting[0], leased, waiting[1])

    def waiting(self, connection: Connection) -> int:
        """How many submissions have no verdict yet, those that are being judged among them."""
        return connection.execute(select(func.count()).where(job.c.priority == FRESH)).scalar_one()

    def _free(self, host_class: str, languages: Collection[str] | None) -> ColumnElement[bool]:
        now = self._database.now()
        conditions = [
            job.c.not_before <= now,
            or_(job.c.lease_until.is_(None), job.c.lease_until < now),
            or_(job.c.host_class.is_(None), job.c.host_class == host_class),
        ]
        if languages is not None:
            conditions.append(or_(job.c.language.is_(None), job.c.language.in_(sorted(languages))))
        return and_(*conditions)
