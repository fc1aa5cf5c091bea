"""Boards of an arena: by any rules, of now or of any time before.

ES compares runtimes of a problem that come from one class of machines: `host_classes` says how many classes there are,
and `submissions.retime` has accepted programs timed again on one.

A board by the default rules adds up rows that are kept with every judgement (`rescoring`). A board by other rules, or
of another time, is scored afresh by `points.score` from the judgements that were in force. Both agree to the last bit,
which `audit` holds against the whole arena.

Knows judgements and points. Knows nothing of judging.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    func,
    or_,
    select,
    true,
)

from firsthand.evaluation.codearena.scores.attempts import Attempts
from firsthand.evaluation.codearena.scores.columns import times_of
from firsthand.evaluation.codearena.scores.points import score
from firsthand.evaluation.codearena.scores.rules import Rules
from firsthand.evaluation.codearena.scores.score_table import ScoreTable
from firsthand.evaluation.codearena.store.accounts import now
from firsthand.evaluation.codearena.store.database import Database
from firsthand.evaluation.codearena.store.rescoring import ScoreRows, named, renew, rescore
from firsthand.evaluation.codearena.store.tables import (
    account,
    judgement,
    problem,
    problem_edition,
    submission,
)

__all__ = ["Audit", "Standing", "renew", "rescore"]

T = TypeVar("T")
_KEPT = 64  # boards that are kept ready


@dataclass(frozen=True)
class Audit:
    """What a full recomputation found: how much was compared, and every difference in words."""

    problems: int
    rows: int
    submissions: int
    differences: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


class Standing:
    """Boards of one database."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = now) -> None:
        self._database, self._clock = database, clock
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._drawing: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        self._rows = ScoreRows()

    def revision(self) -> tuple[int, int]:
        """Changes with every change of a score, and whenever a problem becomes visible."""
        with self._database.read() as connection:
            return self._revision(connection, self._clock())

    def ranking(self, at: datetime | None = None, rules: Rules | None = None) -> ScoreTable:
        """The board by `rules`, as it stood at a time (None: now)."""
        rules = rules or Rules()
        with self._database.read() as connection:
            moment = self._clock() if at is None else at
            key = ("ranking", self._revision(connection, moment), at, rules)

            def draw() -> ScoreTable:
                if at is None and rules == Rules():
                    return self._rows.board(connection, moment)
                attempts = self.kept(("attempts", *key[1:3]), lambda: self._attempts(connection, at, moment))
                return self._scored(attempts, self._points(connection, at, moment), rules)

            return self.kept(key, draw)

    def attempts(
        self, at: datetime | None = None, *, extra: bool = False
    ) -> tuple[Attempts, dict[str, float]]:
        """The counted attempts in force, and the points of all visible problems.

        Args:
            at: a time; None: now.
            extra: with further samples of language models, which no score counts (for pass@k).
        """
        with self._database.read() as connection:
            moment = self._clock() if at is None else at
            key = ("attempts and times", self._revision(connection, moment), at, extra)
            attempts = self.kept(key, lambda: self._attempts(connection, at, moment, extra=extra, times=True))
            return attempts, self._points(connection, at, moment)

    def host_classes(self) -> dict[str, int]:
        """On what kinds of machine the accepted solutions were timed, and how many: one kind, for a formal board."""
        query = (
            select(judgement.c.host_class, func.count())
            .where(judgement.c.replaced_at.is_(None), judgement.c.counted, judgement.c.verdict == "AC")
            .group_by(judgement.c.host_class)
            .order_by(judgement.c.host_class)
        )
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def kept(self, key: Hashable, draw: Callable[[], T]) -> T:
        """What `draw` gave for this key before, or gives now; of many that ask at once one draws."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return cast(T, self._kept[key])
            turn = self._drawing.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                if key in self._kept:
                    return cast(T, self._kept[key])
            try:
                drawn = draw()
            finally:
                with self._lock:
                    self._drawing.pop(key, None)
            with self._lock:
                self._kept[key] = drawn
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return drawn

    def _revision(self, connection: Connection, at: datetime) -> tuple[int, int]:
        # Every commit that changes a score raises the sum, so no two states of the scores have the same one.
        changes, visible = connection.execute(
            select(
                func.coalesce(func.sum(problem.c.revision), 0),
                func.count().filter(problem.c.visible_from <= at),
            )
        ).one()
        return int(changes), visible

    # --- from judgements ---------------------------------------------------------------------------

    # `at` is the time that is asked for; without one, what is in force counts, whatever the clocks of judges say.
    # Problems are those that are visible at `moment`.

    def _scored(self, attempts: Attempts, points: dict[str, float], rules: Rules) -> ScoreTable:
        return score(
            attempts,
            points,
            challenge=rules.challenge,
            aggregate=rules.aggregate,
            ac_unit=rules.ac_unit,
            population=rules.population,
            es_weight=rules.es_weight,
            es_scope=rules.es_scope,
            es_tolerance=rules.es_tolerance,
            leave_out=rules.leave_out,
        )

    def _points(self, connection: Connection, at: datetime | None, moment: datetime) -> dict[str, float]:
        editions = _editions(at).subquery()
        query = (
            select(problem.c.pid, editions.c.bps)
            .join(editions, editions.c.problem_id == problem.c.id)
            .where(problem.c.visible_from <= moment)
        )
        return {row.pid: row.bps for row in connection.execute(query)}

    def _attempts(
        self,
        connection: Connection,
        at: datetime | None,
        moment: datetime,
        *,
        extra: bool = False,
        times: bool = False,
    ) -> Attempts:
        editions = _editions(at).subquery()
        replaced = judgement.c.replaced_at
        in_force: ColumnElement[bool] = replaced.is_(None)
        if at is not None:
            in_force = and_(judgement.c.judged_at <= at, or_(replaced.is_(None), replaced > at))
        query = (
            select(
                submission.c.account_id,
                submission.c.problem_id,
                judgement.c.verdict,
                judgement.c.cpu_ms,
                submission.c.language,
                judgement.c.host_class,
                *([submission.c.created_at] if times else []),
            )
            .join(submission, submission.c.id == judgement.c.submission_id)
            .join(problem, problem.c.id == submission.c.problem_id)
            .join(editions, editions.c.problem_id == problem.c.id)
            .where(
                problem.c.visible_from <= moment,
                in_force,
                judgement.c.version == editions.c.version,
                or_(
                    judgement.c.counted,
                    and_(submission.c.extra, judgement.c.verdict.not_in(("IE", "AB"))) if extra else ~true(),
                ),
            )
            .order_by(judgement.c.id)
        )
        rows = connection.execute(query).all()
        columns = list(zip(*rows, strict=True)) or [()] * 7
        accounts = connection.execute(select(account.c.id, account.c.name, account.c.kind)).all()
        people = {row.name for row in accounts if row.kind == "human"}
        users, user = named(np.array(columns[0], np.int64), {row.id: row.name for row in accounts})
        pids = {row.id: row.pid for row in connection.execute(select(problem.c.id, problem.c.pid))}
        problems, problem_of = named(np.array(columns[1], np.int64), pids)
        languages = sorted(set(columns[4]))
        place = {language: number for number, language in enumerate(languages)}
        classes = sorted(set(columns[5]))
        class_of = {name: number for number, name in enumerate(classes)}
        return Attempts(
            users=users,
            problems=problems,
            languages=tuple(languages),
            host_classes=tuple(classes),
            user=user,
            problem=problem_of,
            solved=np.array([verdict == "AC" for verdict in columns[2]], np.bool_),
            runtime_ms=np.array(columns[3], np.float64),  # None becomes NaN
            language=np.array([place[language] for language in columns[4]], np.intp),
            host_class=np.array([class_of[name] for name in columns[5]], np.intp),
            submitted_at=times_of(columns[6] if times else None, len(rows)),
            counted=np.ones(len(rows), np.bool_),
            human=np.array([name in people for name in users], np.bool_),
        )

    # --- the audit ---------------------------------------------------------------------------------

    def audit(self) -> Audit:
        """Score everything afresh and compare; also that submissions say what their judgements say."""
        with self._database.read() as connection:
            far = datetime.max.replace(tzinfo=self._clock().tzinfo)  # problems that are not visible yet too
            kept = ScoreRows().board(connection, far)  # as the database has it, whatever is in memory
            attempts, points = (
                self._attempts(connection, None, far),
                self._points(connection, None, far),
            )
            afresh = self._scored(attempts, points, Rules())
            differences = [
                *_differences("problem", kept.problems, afresh.problems),
                *_differences("row", kept.pairs.rows(), afresh.pairs.rows()),
                *_faults(connection),
            ]
            submissions = connection.execute(select(func.count()).select_from(submission)).scalar_one()
        return Audit(len(afresh.problems), len(afresh.pairs.user), submissions, tuple(differences))


def _editions(at: datetime | None) -> Select[Any]:
    """The edition of each problem that was in force at a time, or is."""
    if at is None:
        current = and_(
            problem_edition.c.problem_id == problem.c.id, problem_edition.c.edition == problem.c.edition
        )
        return select(problem_edition.c.problem_id, problem_edition.c.version, problem_edition.c.bps).join(
            problem, current
        )
    newest = (
        select(problem_edition.c.problem_id, func.max(problem_edition.c.edition).label("edition"))
        .where(problem_edition.c.created_at <= at)
        .group_by(problem_edition.c.problem_id)
        .subquery()
    )
    return select(problem_edition.c.problem_id, problem_edition.c.version, problem_edition.c.bps).join(
        newest,
        and_(
            newest.c.problem_id == problem_edition.c.problem_id, newest.c.edition == problem_edition.c.edition
        ),
    )


def _differences(what: str, kept: tuple[Any, ...], afresh: tuple[Any, ...]) -> list[str]:
    def by_key(rows: tuple[Any, ...]) -> dict[str, Any]:
        return {f"{getattr(row, 'user', '')} {row.problem}".strip(): row for row in rows}

    first, second = by_key(kept), by_key(afresh)
    return [
        f"{what} {key}: kept {first.get(key)}, recomputed {second.get(key)}"
        for key in sorted(first.keys() | second.keys())
        if first.get(key) != second.get(key)
    ]


def _faults(connection: Connection) -> list[str]:
    """Submissions that contradict their judgements, or the rule of one attempt."""
    current = and_(judgement.c.submission_id == submission.c.id, judgement.c.replaced_at.is_(None))
    contradicting = connection.execute(
        select(submission.c.sid, submission.c.verdict, judgement.c.verdict.label("judged"))
        .outerjoin(judgement, current)
        .where(
            or_(
                and_(submission.c.verdict.is_not(None), judgement.c.id.is_(None)),
                submission.c.verdict != judgement.c.verdict,
                submission.c.cpu_ms != judgement.c.cpu_ms,
                and_(submission.c.state == "done", judgement.c.id.is_(None)),
            )
        )
    ).all()
    counted_twice = connection.execute(
        select(account.c.name, problem.c.pid)
        .join(submission, submission.c.account_id == account.c.id)
        .join(judgement, current)
        .join(problem, problem.c.id == submission.c.problem_id)
        .where(account.c.kind == "llm", judgement.c.counted)
        .group_by(account.c.name, problem.c.pid)
        .having(func.count() > 1)
    ).all()
    return [
        *(f"submission {row.sid}: says {row.verdict}, was judged {row.judged}" for row in contradicting),
        *(f"{row.name} has more than one counted attempt at {row.pid}" for row in counted_twice),
    ]
