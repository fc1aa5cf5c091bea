"""What each problem gives to each language model by the default rules, kept in the database problem by problem.

    AC_i = solvers / users who attempted i,  CS_i = BPS_i · (1 − AC_i)
    ES = cume_dist() over (partition by class of machine order by runtime desc)

`rescore` writes one problem's rows, in the transaction of the judgement that changes them; `ScoreRows` reads them again
as a board and remembers those of problems that did not change. Equal to `points.score` to the last bit.

Knows judgements that are in force and their scores. Knows no other rules (`standing`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    Double,
    Row,
    Select,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy import cast as sql_cast

from firsthand.evaluation.codearena.scores.rules import Rules
from firsthand.evaluation.codearena.scores.score_table import Pairs, ProblemRow, ScoreTable, table_of_pairs
from firsthand.evaluation.codearena.store.tables import (
    account,
    judgement,
    problem,
    problem_edition,
    problem_score,
    submission,
    user_problem_score,
)

__all__ = ["ScoreRows", "named", "renew", "rescore", "rescore_all"]

_MOST = 500  # numbers in one IN

# --- writing: statements are made once, because making them takes longer than running them -------------------

_PROBLEM = bindparam("the_problem", type_=problem.c.id.type)
_ZERO = literal(0.0, Double)


def _points() -> Any:
    """The problem's basic problem score."""
    return (
        select(problem_edition.c.bps)
        .join(
            problem,
            and_(
                problem.c.id == problem_edition.c.problem_id, problem.c.edition == problem_edition.c.edition
            ),
        )
        .where(problem.c.id == _PROBLEM)
        .scalar_subquery()
    )


def _user_rows() -> Select[Any]:
    """A row for each language model with an attempt at the problem that counts."""
    right = judgement.c.verdict == "AC"
    tries = (
        select(
            submission.c.account_id,
            func.count().label("attempts"),
            func.sum(case((right, 1), else_=0)).label("accepted"),
            func.min(case((right, judgement.c.cpu_ms))).label("runtime"),
            # A language model has one attempt that counts, and so one class.
            func.min(case((right, judgement.c.host_class))).label("host_class"),
        )
        .join(judgement, judgement.c.submission_id == submission.c.id)
        .join(account, account.c.id == submission.c.account_id)
        .join(problem, problem.c.id == submission.c.problem_id)
        .where(
            submission.c.problem_id == _PROBLEM,
            account.c.kind == "llm",
            judgement.c.replaced_at.is_(None),
            judgement.c.counted,
            judgement.c.version == problem.c.version,
        )
        .group_by(submission.c.account_id)
        .cte("tries")
    )
    total = sql_cast(select(func.count()).select_from(tries).scalar_subquery(), Double)
    solved = sql_cast(select(func.count(tries.c.runtime)).scalar_subquery(), Double)
    solver = tries.c.accepted > 0
    efficiency = func.cume_dist().over(
        partition_by=[solver, tries.c.host_class], order_by=tries.c.runtime.desc()
    )
    return select(
        _PROBLEM,
        tries.c.account_id,
        tries.c.attempts,
        tries.c.accepted,
        tries.c.runtime,
        case((solver, _points() * (total - solved) / total), else_=_ZERO),
        case((solver, efficiency), else_=_ZERO),
    )


def _problem_row() -> Select[Any]:
    """The problem's own row, from those of its users."""
    kept = user_problem_score.c
    field = (
        select(
            func.count().label("attempts"),
            func.coalesce(func.sum(case((kept.accepted > 0, 1), else_=0)), 0).label("solved"),
        )
        .where(kept.problem_id == _PROBLEM)
        .subquery()
    )
    total, solved = sql_cast(field.c.attempts, Double), sql_cast(field.c.solved, Double)
    tried = field.c.attempts > 0
    return select(
        _PROBLEM,
        _points(),
        field.c.attempts,
        field.c.solved,
        case((tried, solved / total)),
        case((tried, _points() * (total - solved) / total)),
    )


_STATEMENTS = (
    delete(user_problem_score).where(user_problem_score.c.problem_id == _PROBLEM),
    insert(user_problem_score).from_select(
        ["problem_id", "account_id", "attempts", "accepted", "runtime_ms", "cs", "es"], _user_rows()
    ),
    delete(problem_score).where(problem_score.c.problem_id == _PROBLEM),
    insert(problem_score).from_select(
        ["problem_id", "bps", "attempts", "solved", "ac", "cs"], _problem_row()
    ),
)
_RENEW = update(problem).where(problem.c.id == _PROBLEM).values(revision=problem.c.revision + 1)


def rescore(connection: Connection, problem_id: int) -> None:
    """Write one problem's rows anew. The caller holds the problem's row, so that no two do it at once."""
    for statement in _STATEMENTS:
        connection.execute(statement, {"the_problem": problem_id})
    renew(connection, problem_id)


def rescore_all(connection: Connection) -> None:
    """Write the rows of every problem anew, after much was written at once."""
    if connection.dialect.name == "postgresql":  # it would plan as for tables that are still empty
        connection.exec_driver_sql("ANALYZE")
    for problem_id in connection.execute(select(problem.c.id).order_by(problem.c.id)).scalars().all():
        rescore(connection, problem_id)


def renew(connection: Connection, problem_id: int) -> None:
    """Say that something changed that a ranking is made of: boards that were kept ready are drawn again."""
    connection.execute(_RENEW, {"the_problem": problem_id})


# --- reading -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """A problem's rows at one revision of it, by the users' names."""

    revision: int
    problem: ProblemRow
    accounts: NDArray[np.int64]
    attempts: NDArray[np.int64]
    accepted: NDArray[np.int64]
    runtime_ms: NDArray[np.float64]
    cs: NDArray[np.float64]
    es: NDArray[np.float64]


class ScoreRows:
    """The rows in memory; only those of problems that changed since are read again."""

    def __init__(self) -> None:
        self._rows: dict[int, _Rows] = {}
        self._names: dict[int, str] = {}
        self._lock = threading.Lock()

    def board(self, connection: Connection, at: datetime) -> ScoreTable:
        """The board by the default rules, of the problems that are visible at that time."""
        visible = connection.execute(
            select(problem.c.id, problem.c.pid, problem.c.revision, problem_score)
            .join(problem_score, problem_score.c.problem_id == problem.c.id)
            .where(problem.c.visible_from <= at)
        ).all()
        with self._lock:
            known = dict(self._rows)
            changed = [row for row in visible if _revision(known.get(row.id)) != row.revision]
            known |= self._read(connection, changed)
            self._rows = known
            names = self._names
        rows = [known[row.id] for row in sorted(visible, key=attrgetter("pid"))]
        return _table(rows, names)

    def _read(self, connection: Connection, changed: Sequence[Row[Any]]) -> dict[int, _Rows]:
        if not changed:
            return {}
        query = select(user_problem_score).order_by(user_problem_score.c.problem_id)
        if len(changed) <= _MOST:
            query = query.where(user_problem_score.c.problem_id.in_([row.id for row in changed]))
        found = connection.execute(query).all()
        if not {row.account_id for row in found} <= self._names.keys():
            accounts = select(account.c.id, account.c.name).where(account.c.kind == "llm")
            self._names = {row.id: row.name for row in connection.execute(accounts)}
        of = {number: list(rows) for number, rows in groupby(found, attrgetter("problem_id"))}
        return {row.id: self._columns(row, of.get(row.id, [])) for row in changed}

    def _columns(self, one: Row[Any], rows: list[Row[Any]]) -> _Rows:
        rows.sort(key=lambda row: self._names[row.account_id])
        return _Rows(
            one.revision,
            ProblemRow(one.pid, one.bps, one.attempts, one.solved, one.solved, one.ac, one.cs),
            np.array([row.account_id for row in rows], np.int64),
            np.array([row.attempts for row in rows], np.int64),
            np.array([row.accepted for row in rows], np.int64),
            np.array([row.runtime_ms for row in rows], np.float64),  # None becomes NaN
            np.array([row.cs for row in rows], np.float64),
            np.array([row.es for row in rows], np.float64),
        )


def _revision(rows: _Rows | None) -> int:
    return -1 if rows is None else rows.revision


def named(ids: NDArray[np.int64], names: Mapping[int, str]) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """The names of those that occur, sorted, and (n,) the place of each among them."""
    present, places = np.unique(ids, return_inverse=True)
    order = sorted(range(present.size), key=lambda number: names[int(present[number])])
    place = np.empty(present.size, np.intp)
    place[order] = np.arange(present.size)
    return tuple(names[int(present[number])] for number in order), place[places]


def _table(rows: Sequence[_Rows], names: Mapping[int, str]) -> ScoreTable:
    """The board of problems in the order of their ids."""

    def column(name: str, kind: Any) -> NDArray[Any]:
        return np.concatenate([np.empty(0, kind), *(getattr(one, name) for one in rows)])

    users, user = named(column("accounts", np.int64), names)
    pairs = Pairs(
        users=users,
        problems=tuple(one.problem.problem for one in rows),
        user=user,
        problem=np.repeat(np.arange(len(rows)), [one.accounts.size for one in rows]),
        attempts=column("attempts", np.int64),
        accepted=column("accepted", np.int64),
        runtime_ms=column("runtime_ms", np.float64),
        cs=column("cs", np.float64),
        es=column("es", np.float64),
    )
    return table_of_pairs(pairs, [one.problem for one in rows], Rules(), ())
