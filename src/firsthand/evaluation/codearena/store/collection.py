"""Problems: what curators write, in versions and editions, and how the field did on each.

Whatever changes how a problem is judged (limits, checker, `cases`) makes a new version of it; what it only says
(title, statement, points) makes a new edition of the same version.

Knows rows of problems. Knows nothing of sandboxes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from firsthand.evaluation.codearena.errors import InvalidCase
from firsthand.evaluation.codearena.refusals import Conflict, InvalidRequest
from firsthand.evaluation.codearena.store.accounts import now
from firsthand.evaluation.codearena.store.cases import AGREEING, CaseLike, Cases, Program
from firsthand.evaluation.codearena.store.database import Database
from firsthand.evaluation.codearena.store.editions import id_of, locked, new_edition, new_version
from firsthand.evaluation.codearena.store.events import note
from firsthand.evaluation.codearena.store.queue import Queue
from firsthand.evaluation.codearena.store.rescoring import rescore
from firsthand.evaluation.codearena.store.tables import (
    canonical,
    problem,
    problem_edition,
    problem_score,
    test_case,
)
from firsthand.evaluation.codearena.store.texts import checked_source, checked_text

__all__ = ["PID_PATTERN", "Collection", "Problem", "StoredProblem"]

PID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
# A change of these is a new version.
_JUDGED_BY = ("time_ms", "memory_kb", "checker", "checker_source", "checker_language")
_STATEMENT_BYTES = 256 * 1024


@dataclass(frozen=True)
class Problem:
    """A problem as its curator writes it.

    Args:
        pid: its id, in addresses.
        title, statement: for people and models; the statement is Markdown.
        bps: basic problem score, points above 0.
        difficulty: a label of the curator's, such as "easy"; no score uses it.
        time_ms: CPU time for each test case, before the language's own factor.
        memory_kb: memory of the whole process tree.
        checker: how outputs are compared (`checkers`).
        checker_source: the program of a custom checker.
        checker_language: the language of that program.
        source: where the problem comes from.
        licence: SPDX name of what others may do with it; exported with it.
        visible_from: when it is published; None: at once.

    Raises:
        InvalidRequest: a value that cannot be; the message names it.
    """

    pid: str
    title: str
    statement: str
    bps: float = 5.0
    difficulty: str = ""
    time_ms: int = 2000
    memory_kb: int = 256 * 1024
    checker: str = "standard"
    checker_source: str | None = None
    checker_language: str = "python"
    source: str = ""
    licence: str = "unknown"
    visible_from: datetime | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.pid, str) or not re.fullmatch(PID_PATTERN, self.pid):
            raise InvalidRequest(
                f"a problem's id has 1 to 64 letters, digits and . _ - and begins with one of the first two, "
                f"got {self.pid!r}"
            )
        where = f"problem {self.pid}"
        for name, longest in (
            ("title", 1000),
            ("statement", _STATEMENT_BYTES),
            ("difficulty", 32),
            ("checker", 200),
            ("checker_language", 32),
            ("source", 1000),
            ("licence", 64),
        ):
            checked_text(getattr(self, name), f"{where}: {name}", longest, fault=InvalidRequest)
        if not self.title.strip():
            raise InvalidRequest(f"{where}: title is empty")
        if self.checker_source is not None:
            checked_source(self.checker_source, what=f"{where}: the checker's source")
        points = self.bps
        if isinstance(points, bool) or not isinstance(points, int | float) or not 0 < points < math.inf:
            raise InvalidRequest(f"{where}: bps must be finite and above 0, got {points!r}")
        object.__setattr__(self, "bps", float(points))
        for name, least, most in (("time_ms", 1, 3_600_000), ("memory_kb", 1024, 64 * 1024 * 1024)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise InvalidRequest(
                    f"{where}: {name} must be a whole number from {least} to {most}, got {value!r}"
                )
        if self.visible_from is not None and self.visible_from.tzinfo is None:
            object.__setattr__(self, "visible_from", self.visible_from.replace(tzinfo=UTC))


_FIELDS = tuple(field.name for field in fields(Problem))
_EDITION = tuple(name for name in _FIELDS if name not in ("pid", "visible_from"))


@dataclass(frozen=True)
class StoredProblem:
    """A problem in its current edition, and how the field did on it.

    `ac` and `cs` are None while no language model attempted it.
    """

    problem: Problem
    version: int
    edition: int
    created_at: datetime
    visible_from: datetime
    cases: int  # active ones
    attempts: int
    solved: int
    ac: float | None
    cs: float | None

    @property
    def pid(self) -> str:
        """Its id."""
        return self.problem.pid


class Collection:
    """Problems of one arena.

    Args:
        check_checker: raises `InvalidCase` for a checker that there is not.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        cases: Cases,
        *,
        check_checker: Callable[[str, str | None, str], None],
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._database, self._queue, self._cases, self._clock = database, queue, cases, clock
        self._check_checker = check_checker

    def create(
        self,
        new: Problem,
        *,
        cases: Sequence[CaseLike] = (),
        solutions: Sequence[Program] = (),
        validated: bool = False,
        by: int | None = None,
    ) -> StoredProblem:
        """Add a problem with its cases and canonical solutions.

        Args:
            validated: the caller has seen the canonical solutions agree on every case, so these are active at once;
                needs at least two solutions.
            by: the account's number.

        Raises:
            Conflict: the id is taken, or a solution comes twice.
            InvalidCase: a case, a checker, or `validated` without two solutions.
            InvalidSource, SourceTooLarge, UnsupportedLanguage: a solution.
        """
        self._check_checker(new.checker, new.checker_source, new.checker_language)
        if validated and len(solutions) < AGREEING:
            raise InvalidCase(
                f"problem {new.pid}: cases count as validated where at least {AGREEING} canonical solutions agreed; "
                f"{len(solutions)} came with it"
            )
        at = self._clock()
        try:
            with self._database.write() as connection:
                problem_id = connection.execute(
                    insert(problem)
                    .values(
                        pid=new.pid,
                        version=1,
                        edition=1,
                        revision=0,
                        visible_from=new.visible_from or at,
                        created_by=by,
                        created_at=at,
                    )
                    .returning(problem.c.id)
                ).scalar_one()
                values = {name: getattr(new, name) for name in _EDITION}
                values |= {"problem_id": problem_id, "edition": 1, "version": 1, "created_at": at}
                connection.execute(insert(problem_edition).values(values))
                rescore(connection, problem_id)
                note(connection, at, "problem.created", new.pid, bps=new.bps, licence=new.licence)
                row = locked(connection, problem_id)
                for program in solutions:
                    self._cases.add_program_in(connection, canonical, row, program, at, by)
                if cases:
                    ordinals = self._cases.add_in(connection, row, cases, at, by, active=validated)
                    note(connection, at, "case.added", new.pid, ordinals=ordinals, active=validated)
        except IntegrityError as error:
            raise Conflict(
                f"there is a problem {new.pid!r} already, or one of its solutions comes twice"
            ) from error
        return self.find(new.pid, hidden=True)

    def update(self, pid: str, changes: Mapping[str, Any]) -> StoredProblem:
        """Change fields of a problem; `time_ms`, `memory_kb` and checker make a new version.

        Raises:
            UnknownProblem: no such problem.
            InvalidRequest: a field that there is not, or a value that cannot be.
            InvalidCase: a checker that there is not.
        """
        unknown = sorted(set(changes) - {*_EDITION, "visible_from"})
        if unknown:
            raise InvalidRequest(f"problem {pid}: {unknown[0]!r} cannot be changed")
        at = self._clock()
        with self._database.write() as connection:
            row = locked(connection, id_of(connection, pid))
            before = _stored(connection.execute(_current().where(problem.c.id == row.id)).one()).problem
            after = replace(before, **changes)
            self._check_checker(after.checker, after.checker_source, after.checker_language)
            if after.visible_from != before.visible_from:
                moment = after.visible_from or at
                connection.execute(
                    update(problem)
                    .where(problem.c.id == row.id)
                    .values(visible_from=moment, revision=problem.c.revision + 1)
                )
                note(connection, at, "problem.visible", pid, visible_from=moment.isoformat())
            changed = {
                name: getattr(after, name)
                for name in _EDITION
                if getattr(after, name) != getattr(before, name)
            }
            if changed:
                note(connection, at, "problem.edited", pid, fields=sorted(changed))
            if any(name in changed for name in _JUDGED_BY):
                new_version(connection, self._queue, row, at, "limits or checker changed", **changed)
            elif changed:
                new_edition(connection, row, at, row.version, changed)
                if "bps" in changed:
                    rescore(connection, row.id)
        return self.find(pid, hidden=True)

    def find(self, pid: str, *, hidden: bool = False) -> StoredProblem:
        """A problem; raises `UnknownProblem` where there is none, or, without `hidden`, where it is not published."""
        with self._database.read() as connection:
            problem_id = id_of(connection, pid, at=None if hidden else self._clock())
            return _stored(connection.execute(_current().where(problem.c.id == problem_id)).one())

    def page(
        self,
        *,
        q: str | None = None,
        since: datetime | None = None,
        difficulty: str | None = None,
        hidden: bool = False,
        offset: int = 0,
        limit: int = 100,
    ) -> tuple[list[StoredProblem], int]:
        """Problems by id, and how many there are.

        Args:
            q: what the id or the title holds, whatever the case of letters.
            since: published at this time or later.
            hidden: also those that are not published yet.
        """
        conditions: list[ColumnElement[bool]] = []
        if q:
            wanted = q.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            conditions.append(
                or_(
                    func.lower(problem.c.pid).like(f"%{wanted}%", escape="\\"),
                    func.lower(problem_edition.c.title).like(f"%{wanted}%", escape="\\"),
                )
            )
        if since is not None:
            conditions.append(problem.c.visible_from >= since)
        if difficulty is not None:
            conditions.append(problem_edition.c.difficulty == difficulty)
        if not hidden:
            conditions.append(problem.c.visible_from <= self._clock())
        query = _current().where(*conditions)
        with self._database.read() as connection:
            total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
            rows = connection.execute(query.order_by(problem.c.pid).offset(offset).limit(limit)).all()
        return [_stored(row) for row in rows], total

    def published(self) -> dict[str, datetime]:
        """When each visible problem was published."""
        query = select(problem.c.pid, problem.c.visible_from).where(problem.c.visible_from <= self._clock())
        with self._database.read() as connection:
            return {row.pid: row.visible_from for row in connection.execute(query)}

    def points(self) -> dict[str, float]:
        """The points of every problem, published or not."""
        query = select(problem.c.pid, problem_edition.c.bps).join(
            problem_edition,
            and_(
                problem_edition.c.problem_id == problem.c.id, problem_edition.c.edition == problem.c.edition
            ),
        )
        with self._database.read() as connection:
            return {row.pid: row.bps for row in connection.execute(query)}


def _current() -> Select[Any]:
    """Each problem with its current edition and its figures."""
    active = (
        select(func.count())
        .where(
            test_case.c.problem_id == problem.c.id,
            test_case.c.state == "active",
            test_case.c.retired_in.is_(None),
        )
        .scalar_subquery()
    )
    return (
        select(
            problem.c.pid,
            problem.c.visible_from,
            problem.c.created_at.label("problem_created_at"),
            problem_edition,
            problem_score.c.attempts,
            problem_score.c.solved,
            problem_score.c.ac,
            problem_score.c.cs,
            active.label("cases"),
        )
        .join(
            problem_edition,
            and_(
                problem_edition.c.problem_id == problem.c.id, problem_edition.c.edition == problem.c.edition
            ),
        )
        .join(problem_score, problem_score.c.problem_id == problem.c.id)
    )


def _stored(row: Row[Any]) -> StoredProblem:
    return StoredProblem(
        problem=Problem(**{name: getattr(row, name) for name in _FIELDS}),
        version=row.version,
        edition=row.edition,
        created_at=row.problem_created_at,
        visible_from=row.visible_from,
        cases=row.cases,
        attempts=row.attempts,
        solved=row.solved,
        ac=row.ac,
        cs=row.cs,
    )
