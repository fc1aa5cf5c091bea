"""Submissions: taking one in, and writing down what the judge found, once and in one transaction.

A language model has one attempt at a problem: its submission holds it, and a unique index of the database keeps any
other from holding it too, however many arrive at once. Further samples (`extra`, for pass@k) come after it and never
count. The judge's own failures (IE) and aborted runs (AB) never count either.

Knows rows of submissions and judgements. Knows nothing of sandboxes (`judging`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from firsthand.evaluation.codearena.errors import AttemptAlreadyUsed, NotAuthorized, QueueFull
from firsthand.evaluation.codearena.refusals import Conflict, InvalidRequest, NotReady, UnknownSubmission
from firsthand.evaluation.codearena.scores.sources import Source
from firsthand.evaluation.codearena.service.webhooks import post_judged
from firsthand.evaluation.codearena.store.accounts import AccountKind, Accounts, now
from firsthand.evaluation.codearena.store.database import Database
from firsthand.evaluation.codearena.store.editions import id_of, locked
from firsthand.evaluation.codearena.store.events import note
from firsthand.evaluation.codearena.store.queue import FRESH, REPEATED, Lease, Queue
from firsthand.evaluation.codearena.store.rescoring import renew, rescore
from firsthand.evaluation.codearena.store.tables import (
    account,
    case_result,
    judgement,
    problem,
    submission,
    test_case,
)
from firsthand.evaluation.codearena.store.texts import (
    SOURCE_BYTES,
    checked_source,
    checked_text,
    new_sid,
    sha256,
    storable,
)

if TYPE_CHECKING:
    from firsthand.evaluation.codearena.grading.grading import Grade

__all__ = ["QUEUE_LIMIT", "RETRIES", "CaseOutcome", "Machine", "Submission", "Submissions"]

State = Literal["queued", "leased", "judging", "done", "failed"]
QUEUE_LIMIT = 10_000
RETRIES = 3  # after the judge's own failure
_RETRY_S = 1.0  # before the first; each further one waits twice as long
_NOT_COUNTED = ("IE", "AB")


@dataclass(frozen=True)
class CaseOutcome:
    """What one test case gave; times in ms, `peak_kb` in KiB."""

    ordinal: int
    verdict: str
    cpu_ms: float | None
    wall_ms: float | None
    peak_kb: int | None
    detail: str


@dataclass(frozen=True)
class Submission:
    """A submission and its judgement in force.

    `cpu_ms` is the sum over cases of user and system time of the run steps, the median over passes, `spread_ms` the
    passes' spread; `peak_kb` the largest memory of the process tree. `version` is the problem's. `number` is what
    DMOJ's API calls its id.
    """

    sid: str
    number: int
    user: str
    user_kind: AccountKind
    problem: str
    version: int
    language: str
    source: str
    sha256: str
    state: State
    verdict: str | None
    counted: bool
    extra: bool
    cpu_ms: float | None
    wall_ms: float | None
    peak_kb: int | None
    spread_ms: float | None
    message: str | None
    host: str | None
    host_class: str | None
    created_at: datetime
    judged_at: datetime | None

    @property
    def finished(self) -> bool:
        """Whether no judge is at work on it or about to be."""
        return self.state in ("done", "failed")


@dataclass(frozen=True)
class Machine:
    """Where a judge runs: its name, and its class, within which runtimes may be compared."""

    host: str
    host_class: str


class Submissions:
    """Submissions of one arena.

    Args:
        check_language: the name that a language goes by here; raises `UnsupportedLanguage`.
        source_bytes: how long a source may be.
        queue_limit: how many submissions may wait for their first verdict before new ones are refused.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        accounts: Accounts,
        *,
        check_language: Callable[[str], str],
        clock: Callable[[], datetime] = now,
        source_bytes: int = SOURCE_BYTES,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        self._database, self._queue, self._accounts, self._clock = database, queue, accounts, clock
        self._check_language = check_language
        self._source_bytes, self._queue_limit = source_bytes, queue_limit

    # --- taking in -------------------------------------------------------------------------------

    def submit(
        self,
        user: str,
        pid: str,
        language: str,
        source: str | bytes,
        *,
        idempotency_key: str | None = None,
        extra: bool = False,
    ) -> str:
        """Take a submission in; it is stored and queued when this returns its id.

        Args:
            user: name of an account of kind llm or human.
            idempotency_key: the same key with the same content gives the same submission again, and nothing new.
            extra: a further sample of a language model that has used its attempt at this problem; never counted.

        Raises:
            UnknownAccount, UnknownProblem: no such account or problem.
            NotAuthorized: (403) the account is of another kind.
            InvalidSource, SourceTooLarge, UnsupportedLanguage: what was sent.
            AttemptAlreadyUsed: the language model's attempt at this problem is used up.
            Conflict: the key was used for other content.
            NotReady: the problem has no active test case; an extra sample before the attempt.
            QueueFull: too much is waiting.
        """
        text = checked_source(source, limit=self._source_bytes)
        known = self._check_language(language)
        if idempotency_key is not None:
            checked_text(idempotency_key, "the idempotency key", 200, fault=InvalidRequest)
            if not idempotency_key:
                raise InvalidRequest("the idempotency key is empty")
        content = (pid, known, sha256(text), extra)
        try:
            with self._database.write() as connection:
                owner = self._accounts.find_in(connection, user)
                if owner.kind not in ("llm", "human"):
                    raise NotAuthorized(
                        f"{user!r} is of kind {owner.kind}; language models and people submit", status=403
                    )
                before = self._sent_before(connection, owner.id, idempotency_key, content)
                if before is not None:
                    return before
                return self._insert(connection, owner.id, owner.kind, user, content, text, idempotency_key)
        except IntegrityError as error:
            # The attempt is used up, or the same key was faster, between our look and our insert.
            with self._database.read() as connection:
                owner = self._accounts.find_in(connection, user)
                before = self._sent_before(connection, owner.id, idempotency_key, content)
                if before is not None:
                    return before
                if not _attempted(connection, owner.id, id_of(connection, pid)):
                    raise
            raise AttemptAlreadyUsed(
                f"{user!r} has used its one attempt at {pid!r}; a language model has no second"
            ) from error

    def _sent_before(
        self, connection: Connection, account_id: int, key: str | None, content: tuple[str, str, str, bool]
    ) -> str | None:
        if key is None:
            return None
        row = connection.execute(
            select(submission, problem.c.pid)
            .join(problem, problem.c.id == submission.c.problem_id)
            .where(submission.c.account_id == account_id, submission.c.idempotency_key == key)
        ).one_or_none()
        if row is None:
            return None
        if (row.pid, row.language, row.sha256, row.extra) != content:
            raise Conflict(f"the idempotency key {key!r} was used for another submission ({row.sid})")
        return str(row.sid)

    def _insert(
        self,
        connection: Connection,
        account_id: int,
        kind: AccountKind,
        user: str,
        content: tuple[str, str, str, bool],
        text: str,
        key: str | None,
    ) -> str:
        pid, language, digest, extra = content
        at = self._clock()
        problem_id = id_of(connection, pid, at=at)
        version = connection.execute(select(problem.c.version).where(problem.c.id == problem_id)).scalar_one()
        active = select(test_case.c.id).where(
            test_case.c.problem_id == problem_id,
            test_case.c.state == "active",
            test_case.c.retired_in.is_(None),
        )
        if connection.execute(active.limit(1)).first() is None:
            raise NotReady(f"problem {pid!r} has no active test case yet")
        if extra:
            self._check_extra(connection, account_id, kind, problem_id)
        waiting = self._queue.waiting(connection)
        if waiting >= self._queue_limit:
            raise QueueFull(
                f"{waiting} submissions are waiting, and no more are taken; try again later",
                retry_after_s=30.0,
            )
        sid = new_sid()
        submission_id = connection.execute(
            insert(submission)
            .values(
                sid=sid,
                account_id=account_id,
                problem_id=problem_id,
                version=version,
                language=language,
                source=text,
                sha256=digest,
                idempotency_key=key,
                holds_attempt=kind == "llm" and not extra,
                extra=extra,
                state="queued",
                counted=not extra,
                created_at=at,
            )
            .returning(submission.c.id)
        ).scalar_one()
        self._queue.add(
            connection, "submission", problem_id=problem_id, submission_id=submission_id, priority=FRESH,
            language=language,
        )  # fmt: skip
        note(
            connection, at, "submission.accepted", sid, user=user, problem=pid, language=language, extra=extra
        )
        return sid

    def _check_extra(
        self, connection: Connection, account_id: int, kind: AccountKind, problem_id: int
    ) -> None:
        if kind != "llm":
            raise InvalidRequest(
                "only language models have extra samples; people submit as often as they like"
            )
        if not _attempted(connection, account_id, problem_id):
            raise NotReady("an extra sample comes after the attempt that counts; submit that one first")

    # --- reading ---------------------------------------------------------------------------------

    def find(self, sid: str) -> Submission:
        """A submission by its id, or by its number; raises `UnknownSubmission`."""
        with self._database.read() as connection:
            return _submission(self._row(connection, sid))

    def outcomes(self, sid: str) -> list[CaseOutcome]:
        """What each test case gave, by ordinal, in the judgement in force; raises `UnknownSubmission`."""
        with self._database.read() as connection:
            row = self._row(connection, sid)
            rows = connection.execute(
                select(case_result)
                .join(judgement, judgement.c.id == case_result.c.judgement_id)
                .where(judgement.c.submission_id == row.id, judgement.c.replaced_at.is_(None))
                .order_by(case_result.c.ordinal)
            ).all()
        return [
            CaseOutcome(row.ordinal, row.verdict, row.cpu_ms, row.wall_ms, row.peak_kb, row.detail)
            for row in rows
        ]

    def judgements(self, sid: str) -> int:
        """How often it was judged; raises `UnknownSubmission`."""
        with self._database.read() as connection:
            row = self._row(connection, sid)
            query = select(func.count()).where(judgement.c.submission_id == row.id)
            return connection.execute(query).scalar_one()

    def page(
        self,
        *,
        pid: str | None = None,
        user: str | None = None,
        language: str | None = None,
        verdict: str | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> tuple[list[Submission], int]:
        """Submissions to published problems, the newest first, and how many there are."""
        conditions: list[ColumnElement[bool]] = [problem.c.visible_from <= self._clock()]
        for column, wanted in (
            (problem.c.pid, pid),
            (account.c.name, user),
            (submission.c.language, language),
            (submission.c.verdict, verdict),
        ):
            if wanted is not None:
                conditions.append(column == wanted)
        query = _submissions().where(*conditions)
        counting = (
            select(func.count())
            .select_from(submission)
            .join(account, account.c.id == submission.c.account_id)
            .join(problem, problem.c.id == submission.c.problem_id)
            .where(*conditions)
        )
        with self._database.read() as connection:
            total = connection.execute(counting).scalar_one()
            rows = connection.execute(
                query.order_by(submission.c.id.desc()).offset(offset).limit(limit)
            ).all()
        return [_submission(row) for row in rows], total

    def sources(self) -> list[Source]:
        """The programs of all counted submissions to published problems, for comparing."""
        query = _submissions().where(
            submission.c.counted,
            submission.c.verdict.is_not(None),
            problem.c.visible_from <= self._clock(),
        )
        with self._database.read() as connection:
            return [
                Source(row.name, row.pid, row.language, row.source, row.sid, row.created_at)
                for row in connection.execute(query.order_by(submission.c.id))
            ]

    def _row(self, connection: Connection, sid: str) -> Row[Any]:
        wanted = submission.c.sid == sid
        if sid.isascii() and sid.isdigit() and len(sid) < 19:
            wanted = submission.c.id == int(sid)
        row = connection.execute(_submissions().where(wanted)).one_or_none()
        if row is None:
            raise UnknownSubmission(f"there is no submission {sid!r}")
        return row

    # --- judging again, or never -----------------------------------------------------------------

    def rejudge(self, sid: str) -> None:
        """Judge a submission again; its judgement in force counts until then.

        Raises:
            UnknownSubmission: no such submission.
            NotReady: it is waiting or being judged, or was aborted.
        """
        at = self._clock()
        with self._database.write() as connection:
            row = self._row(connection, sid)
            if row.verdict == "AB":
                raise NotReady(f"submission {sid} was aborted; its owner may submit anew")
            if not self._queue_again(connection, row, None):
                raise NotReady(f"submission {sid} is waiting already, or being judged")
            note(connection, at, "submission.rejudge", row.sid)

    def retime(self, host_class: str) -> list[str]:
        """Judge again, on such machines only, every accepted counted submission that was timed on others.

        Runtimes are comparable within one class of machines: for a formal board.
        """
        at = self._clock()
        with self._database.write() as connection:
            rows = connection.execute(
                _submissions().where(
                    submission.c.verdict == "AC", submission.c.counted, submission.c.host_class != host_class
                )
            ).all()
            sids = [row.sid for row in rows if self._queue_again(connection, row, host_class)]
            for sid in sids:
                note(connection, at, "submission.rejudge", sid, host_class=host_class)
        return sids

    def _queue_again(self, connection: Connection, row: Row[Any], host_class: str | None) -> bool:
        added = self._queue.add(
            connection, "submission", problem_id=row.problem_id, submission_id=row.id, priority=REPEATED,
            host_class=host_class, language=row.language,
        )  # fmt: skip
        if added:
            connection.execute(update(submission).where(submission.c.id == row.id).values(state="queued"))
        return added

    def abort(self, sid: str) -> None:
        """Take a submission out for good: it counts for nothing, and a language model has its attempt back.

        Raises:
            UnknownSubmission: no such submission.
        """
        at = self._clock()
        with self._database.write() as connection:
            found = self._row(connection, sid)
            row = locked(connection, found.problem_id)
            self._queue.drop(connection, found.id)
            self._write(
                connection,
                found,
                row,
                at,
                Machine("", ""),
                verdict="AB",
                message="aborted",
                figures={},
                cases=(),
            )
            connection.execute(
                update(submission).where(submission.c.id == found.id).values(holds_attempt=False)
            )
            note(connection, at, "submission.aborted", found.sid)

    # --- what the judge found --------------------------------------------------------------------

    def settle(self, lease: Lease, grade: Grade, version: int, machine: Machine) -> bool:
        """Write a judgement, if the lease still holds and the problem is still of the version that was judged.

        The judge's own failure is put back to be tried again, at most `RETRIES` times; after that it stands as IE,
        but never in the place of a judgement in force.

        Returns:
            Whether the submission is finished.
        """
        at = self._clock()
        with self._database.write() as connection:
            row = locked(connection, lease.problem_id)
            if row.version != version:  # its cases changed meanwhile
                self._queue.put_back(connection, lease, count=False)
                return False
            found = connection.execute(_submissions().where(submission.c.id == lease.submission_id)).one()
            failed = grade.verdict == "IE"
            if failed and lease.tries <= RETRIES:
                wait = _RETRY_S * 2 ** (lease.tries - 1)
                if self._queue.put_back(connection, lease, after_s=wait):
                    note(
                        connection, at, "submission.retried", found.sid,
                        tries=lease.tries, host=machine.host, message=storable(grade.message, 500),
                    )  # fmt: skip
                return False
            if not self._queue.close(connection, lease):
                return False
            if failed and self._has_judgement(connection, found.id, version):
                connection.execute(update(submission).where(submission.c.id == found.id).values(state="done"))
                note(
                    connection,
                    at,
                    "submission.rejudge_failed",
                    found.sid,
                    message=storable(grade.message, 500),
                )
                return True
            figures = {
                "cpu_ms": grade.cpu_ms,
                "wall_ms": grade.wall_ms,
                "peak_kb": grade.peak_kb,
                "spread_ms": grade.spread_ms,
            }
            self._write(
                connection, found, row, at, machine, verdict=grade.verdict, message=grade.message,
                figures=figures, cases=grade.cases,
            )  # fmt: skip
            note(
                connection, at, "submission.judged", found.sid,
                user=found.name, problem=found.pid, version=version, verdict=grade.verdict,
                cpu_ms=grade.cpu_ms, host=machine.host, host_class=machine.host_class,
            )  # fmt: skip
            post_judged(connection, found.account_id, self._database.now(), {
                "event": "submission.judged", "sid": found.sid, "user": found.name, "problem": found.pid,
                "verdict": grade.verdict, "cpu_ms": grade.cpu_ms, "peak_kb": grade.peak_kb,
                "judged_at": at.isoformat(),
            })  # fmt: skip
        return True

    def _write(
        self,
        connection: Connection,
        found: Row[Any],
        row: Row[Any],
        at: datetime,
        machine: Machine,
        *,
        verdict: str,
        message: str,
        figures: dict[str, Any],
        cases: Sequence[Any],
    ) -> None:
        """A judgement in the place of the one in force, the submission's own fields, and the problem's scores."""
        words = storable(message)
        connection.execute(
            update(judgement)
            .where(judgement.c.submission_id == found.id, judgement.c.replaced_at.is_(None))
            .values(replaced_at=at)
        )
        counted = verdict not in _NOT_COUNTED and not found.extra
        shared = {"verdict": verdict, "counted": counted, "message": words, "version": row.version, **figures}
        shared |= {"host": machine.host, "host_class": machine.host_class, "judged_at": at}
        judgement_id = connection.execute(
            insert(judgement).values(submission_id=found.id, **shared).returning(judgement.c.id)
        ).scalar_one()
        if cases:
            connection.execute(
                insert(case_result),
                [
                    {
                        "judgement_id": judgement_id,
                        "ordinal": one.ordinal,
                        "verdict": one.verdict,
                        "cpu_ms": one.cpu_ms,
                        "wall_ms": one.wall_ms,
                        "peak_kb": one.peak_kb,
                        "detail": storable(one.detail, 4000),
                    }
                    for one in cases
                ],
            )
        shared["state"] = "failed" if verdict == "IE" else "done"
        connection.execute(update(submission).where(submission.c.id == found.id).values(shared))
        if found.extra:
            renew(connection, row.id)
        else:
            rescore(connection, row.id)

    def _has_judgement(self, connection: Connection, submission_id: int, version: int) -> bool:
        query = select(judgement.c.id).where(
            judgement.c.submission_id == submission_id,
            judgement.c.replaced_at.is_(None),
            judgement.c.verdict.not_in(_NOT_COUNTED),
            judgement.c.version == version,
        )
        return connection.execute(query).first() is not None


def _attempted(connection: Connection, account_id: int, problem_id: int) -> bool:
    """Whether a language model's attempt at the problem is used up."""
    attempt = select(submission.c.id).where(
        submission.c.account_id == account_id,
        submission.c.problem_id == problem_id,
        submission.c.holds_attempt,
    )
    return connection.execute(attempt).first() is not None


def _submissions() -> Select[Any]:
    return (
        select(submission, account.c.name, account.c.kind, problem.c.pid)
        .join(account, account.c.id == submission.c.account_id)
        .join(problem, problem.c.id == submission.c.problem_id)
    )


def _submission(row: Row[Any]) -> Submission:
    return Submission(
        sid=row.sid,
        number=row.id,
        user=row.name,
        user_kind=row.kind,
        problem=row.pid,
        version=row.version,
        language=row.language,
        source=row.source,
        sha256=row.sha256,
        state=row.state,
        verdict=row.verdict,
        counted=row.counted,
        extra=row.extra,
        cpu_ms=row.cpu_ms,
        wall_ms=row.wall_ms,
        peak_kb=row.peak_kb,
        spread_ms=row.spread_ms,
        message=row.message,
        host=row.host,
        host_class=row.host_class,
        created_at=row.created_at,
        judged_at=row.judged_at,
    )
