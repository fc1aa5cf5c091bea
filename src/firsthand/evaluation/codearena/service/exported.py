"""What an export has: tables whose rows name each other as people do (accounts, pids, sids), and the way back.

Tokens, webhooks, the queue and the list of judges stay behind: they are secrets, or of this server. Kept scores are
left out because they follow from the rest. Knows rows. Knows no files (`exchange`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Select, Table, case, func, insert, select
from sqlalchemy.sql.elements import ColumnElement

from firsthand.errors import InputError
from firsthand.evaluation.codearena.store import tables
from firsthand.evaluation.codearena.store.texts import sha256

__all__ = ["EXPORTED", "Exported", "Ids", "Kind", "Row", "read_rows", "write_row"]

Kind = Literal["text", "int", "float", "bool", "time", "json"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Exported:
    """A table of an export: its fields, those that name a row, and where the rows come from."""

    name: str
    fields: Mapping[str, Kind]
    key: tuple[str, ...]
    optional: frozenset[str]
    query: Callable[[], Select[Any]]
    target: Table


def _fields(text: str) -> tuple[dict[str, Kind], frozenset[str]]:
    """`"name:text seen:time?"`: fields with their kinds; a question mark allows null."""
    fields: dict[str, Kind] = {}
    optional = set()
    for entry in text.split():
        name, _, kind = entry.partition(":")
        if kind.endswith("?"):
            optional.add(name)
        fields[name] = kind.rstrip("?")  # type: ignore[assignment]
    return fields, frozenset(optional)


_ACCOUNT, _PROBLEM, _SUBMISSION = tables.account.c, tables.problem.c, tables.submission.c
_AUTHOR = tables.account.alias("author")
_OPEN = ("leased", "judging")  # by a judge of this server: in an export they wait


def _columns(table: Table, names: str) -> list[ColumnElement[Any]]:
    return [table.c[name] for name in names.split()]


def _accounts() -> Select[Any]:
    return select(*_columns(tables.account, "name kind first_seen created_at")).order_by(_ACCOUNT.id)


def _problems() -> Select[Any]:
    table = tables.problem
    return (
        select(
            *_columns(table, "pid version edition visible_from created_at"),
            _AUTHOR.c.name.label("created_by"),
        )
        .outerjoin(_AUTHOR, _AUTHOR.c.id == table.c.created_by)
        .order_by(table.c.id)
    )


_EDITION = (
    "edition version title statement bps difficulty time_ms memory_kb checker checker_source checker_language "
    "source licence created_at"
)


def _editions() -> Select[Any]:
    table = tables.problem_edition
    return (
        select(_PROBLEM.pid, *_columns(table, _EDITION))
        .join(tables.problem, _PROBLEM.id == table.c.problem_id)
        .order_by(_PROBLEM.id, table.c.edition)
    )


def _programs(table: Table) -> Select[Any]:
    number = func.row_number().over(partition_by=table.c.problem_id, order_by=table.c.id)
    return (
        select(
            _PROBLEM.pid,
            number.label("number"),
            *_columns(table, "language source created_at"),
            _AUTHOR.c.name.label("created_by"),
        )
        .join(tables.problem, _PROBLEM.id == table.c.problem_id)
        .outerjoin(_AUTHOR, _AUTHOR.c.id == table.c.created_by)
        .order_by(_PROBLEM.id, table.c.id)
    )


_CASE = "ordinal version retired_in input output sample state detail seed created_at"


def _cases() -> Select[Any]:
    table, made_by = tables.test_case, tables.generator
    number = (
        select(
            made_by.c.id,
            func.row_number().over(partition_by=made_by.c.problem_id, order_by=made_by.c.id).label("number"),
        )
    ).subquery()
    return (
        select(
            _PROBLEM.pid,
            *_columns(table, _CASE),
            number.c.number.label("generator"),
            _AUTHOR.c.name.label("created_by"),
        )
        .join(tables.problem, _PROBLEM.id == table.c.problem_id)
        .outerjoin(number, number.c.id == table.c.generator_id)
        .outerjoin(_AUTHOR, _AUTHOR.c.id == table.c.created_by)
        .order_by(_PROBLEM.id, table.c.ordinal)
    )


_SENT = (
    "sid version language source idempotency_key holds_attempt extra counted verdict cpu_ms wall_ms peak_kb "
    "spread_ms message host host_class created_at judged_at"
)


def _submissions() -> Select[Any]:
    table = tables.submission
    state = case((table.c.state.in_(_OPEN), "queued"), else_=table.c.state)
    return (
        select(_ACCOUNT.name.label("user"), _PROBLEM.pid, *_columns(table, _SENT), state.label("state"))
        .join(tables.account, _ACCOUNT.id == table.c.account_id)
        .join(tables.problem, _PROBLEM.id == table.c.problem_id)
        .order_by(table.c.id)
    )


_JUDGED = (
    "version verdict counted cpu_ms wall_ms peak_kb spread_ms message host host_class judged_at replaced_at"
)
_NUMBER = func.row_number().over(
    partition_by=tables.judgement.c.submission_id, order_by=tables.judgement.c.id
)


def _judgements() -> Select[Any]:
    table = tables.judgement
    return (
        select(_SUBMISSION.sid, _NUMBER.label("number"), *_columns(table, _JUDGED))
        .join(tables.submission, _SUBMISSION.id == table.c.submission_id)
        .order_by(table.c.submission_id, table.c.id)
    )


def _outcomes() -> Select[Any]:
    table = tables.case_result
    numbered = (
        select(tables.judgement.c.id, tables.judgement.c.submission_id, _NUMBER.label("number"))
    ).subquery()
    return (
        select(
            _SUBMISSION.sid,
            numbered.c.number,
            *_columns(table, "ordinal verdict cpu_ms wall_ms peak_kb detail"),
        )
        .join(numbered, numbered.c.id == table.c.judgement_id)
        .join(tables.submission, _SUBMISSION.id == numbered.c.submission_id)
        .order_by(numbered.c.submission_id, numbered.c.number, table.c.ordinal)
    )


def _checkpoints() -> Select[Any]:
    table = tables.checkpoint
    return select(*_columns(table, "at period parameters board")).order_by(table.c.id)


def _events() -> Select[Any]:
    table = tables.event
    return select(*_columns(table, "at kind subject payload")).order_by(table.c.seq)


def _exported(
    name: str, fields: str, key: str, query: Callable[[], Select[Any]], target: Table | None = None
) -> Exported:
    found, optional = _fields(fields)
    return Exported(
        name,
        found,
        tuple(key.split()) or tuple(found),
        optional,
        query,
        target or tables.metadata.tables[name],
    )


_FIGURES = "cpu_ms:float? wall_ms:float? peak_kb:int?"
EXPORTED: Mapping[str, Exported] = {
    one.name: one
    for one in (
        _exported("account", "name:text kind:text first_seen:time? created_at:time", "name", _accounts),
        _exported(
            "problem",
            "pid:text version:int edition:int visible_from:time created_at:time created_by:text?",
            "pid",
            _problems,
        ),
        _exported(
            "problem_edition",
            "pid:text edition:int version:int title:text statement:text bps:float difficulty:text time_ms:int "
            "memory_kb:int checker:text checker_source:text? checker_language:text source:text licence:text "
            "created_at:time",
            "pid edition",
            _editions,
        ),
        _exported(
            "canonical",
            "pid:text number:int language:text source:text created_at:time created_by:text?",
            "pid number",
            lambda: _programs(tables.canonical),
        ),
        _exported(
            "generator",
            "pid:text number:int language:text source:text created_at:time created_by:text?",
            "pid number",
            lambda: _programs(tables.generator),
        ),
        _exported(
            "test_case",
            "pid:text ordinal:int version:int? retired_in:int? input:text output:text sample:bool state:text "
            "detail:text seed:int? created_at:time generator:int? created_by:text?",
            "pid ordinal",
            _cases,
        ),
        _exported(
            "submission",
            "user:text pid:text sid:text version:int language:text source:text idempotency_key:text? "
            f"holds_attempt:bool extra:bool counted:bool verdict:text? {_FIGURES} spread_ms:float? message:text? "
            "host:text? host_class:text? created_at:time judged_at:time? state:text",
            "sid",
            _submissions,
        ),
        _exported(
            "judgement",
            f"sid:text number:int version:int verdict:text counted:bool {_FIGURES} spread_ms:float? message:text "
            "host:text host_class:text judged_at:time replaced_at:time?",
            "sid number",
            _judgements,
        ),
        _exported(
            "case_result",
            f"sid:text number:int ordinal:int verdict:text {_FIGURES} detail:text",
            "sid number ordinal",
            _outcomes,
        ),
        _exported("checkpoint", "at:time period:text? parameters:json board:json", "", _checkpoints),
        _exported("event", "at:time kind:text subject:text payload:json", "", _events),
    )
}
"""By name, in an order in which every row comes after those it names."""


def read_rows(connection: Connection, table: Exported) -> Iterator[Row]:
    """The rows of a table as an export has them, times as RFC 3339."""
    # For this query alone: on a connection it would stay, and PostgreSQL has no cursor for an insert.
    found = connection.execute(table.query(), execution_options={"yield_per": 500})
    for row in found.mappings():
        yield {
            name: _plain(row[name]) if kind == "time" else row[name] for name, kind in table.fields.items()
        }


def _plain(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


# --- the way back --------------------------------------------------------------------------------------------


class Ids:
    """Numbers of what rows name, in the database that they go into."""

    def __init__(self, connection: Connection) -> None:
        def by(name: ColumnElement[Any], number: ColumnElement[Any]) -> dict[Any, int]:
            return {row[0]: row[1] for row in connection.execute(select(name, number))}

        self.accounts = by(_ACCOUNT.name, _ACCOUNT.id)
        self.problems = by(_PROBLEM.pid, _PROBLEM.id)
        self.submissions = by(_SUBMISSION.sid, _SUBMISSION.id)
        self.generators: dict[tuple[str, int], int] = {}
        self.judgements: dict[tuple[str, int], int] = {}

    def account(self, name: str | None) -> int | None:
        """Of an account; None for None."""
        return None if name is None else self._of(self.accounts, name, "account")

    def problem(self, pid: str) -> int:
        """Of a problem."""
        return self._of(self.problems, pid, "problem")

    def submission(self, sid: str) -> int:
        """Of a submission."""
        return self._of(self.submissions, sid, "submission")

    def generator(self, pid: str, number: int | None) -> int | None:
        """Of a problem's generator; None for None."""
        return None if number is None else self._of(self.generators, (pid, number), "generator")

    def judgement(self, sid: str, number: int) -> int:
        """Of a submission's judgement."""
        return self._of(self.judgements, (sid, number), "judgement")

    @staticmethod
    def _of(known: Mapping[Any, int], name: Any, what: str) -> int:
        if name not in known:
            raise InputError(f"there is no {what} {name!r}, neither here nor in rows before this one")
        return known[name]


def write_row(connection: Connection, ids: Ids, table: Exported, row: Row) -> None:
    """Insert a row that `checked` accepted, and remember its number.

    Raises:
        InputError: it names what is not there.
    """
    values = {name: row[name] for name in table.fields if name in table.target.c}
    for name, kind in table.fields.items():
        if kind == "time" and row[name] is not None:
            values[name] = datetime.fromisoformat(row[name])
    if "created_by" in row:
        values["created_by"] = ids.account(row["created_by"])
    if "pid" in row and table.name != "problem":
        values["problem_id"] = ids.problem(row["pid"])
    if table.name == "problem":
        values["revision"] = 0
    elif table.name in ("canonical", "generator"):
        values["sha256"] = sha256(row["language"], row["source"])
    elif table.name == "test_case":
        values["sha256"] = sha256(row["input"], row["output"])
        values["generator_id"] = ids.generator(row["pid"], row["generator"])
    elif table.name == "submission":
        values["account_id"] = ids.account(row["user"])
        values["sha256"] = sha256(row["source"])
    elif table.name == "judgement":
        values["submission_id"] = ids.submission(row["sid"])
    elif table.name == "case_result":
        values["judgement_id"] = ids.judgement(row["sid"], row["number"])
    if table.name not in ("account", "problem", "generator", "submission", "judgement"):
        connection.execute(insert(table.target), values)
        return
    number = connection.execute(insert(table.target).returning(table.target.c.id), values).scalar_one()
    if table.name == "account":
        ids.accounts[row["name"]] = number
    elif table.name == "problem":
        ids.problems[row["pid"]] = number
    elif table.name == "generator":
        ids.generators[row["pid"], row["number"]] = number
    elif table.name == "submission":
        ids.submissions[row["sid"]] = number
    else:
        ids.judgements[row["sid"], row["number"]] = number


def digest(row: Row) -> str:
    """Equal for equal rows."""
    return sha256(json.dumps(row, sort_keys=True))
