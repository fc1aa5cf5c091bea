"""Test cases, and the canonical solutions and generators that they come from.

A case is pending until at least two canonical solutions agree with it (section 3, test-case generation); the judge
finds out, one job for all pending cases of a problem, and `settle` writes what it found. A case that becomes active,
or is taken out, makes a new version of its problem.

Knows rows of cases. Knows nothing of sandboxes (`judging`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from sqlalchemy import Connection, Row, Select, Table, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from firsthand.evaluation.codearena.errors import InvalidCase
from firsthand.evaluation.codearena.refusals import Conflict, InvalidRequest, NotReady
from firsthand.evaluation.codearena.store.accounts import now
from firsthand.evaluation.codearena.store.database import Database
from firsthand.evaluation.codearena.store.editions import id_of, locked, new_version
from firsthand.evaluation.codearena.store.events import note
from firsthand.evaluation.codearena.store.queue import CASES_FIRST, Lease, Queue
from firsthand.evaluation.codearena.store.tables import canonical, generator, test_case
from firsthand.evaluation.codearena.store.texts import checked_source, checked_text, sha256

__all__ = ["AGREEING", "CASE_BYTES", "CaseLike", "Cases", "NewCase", "Program", "StoredCase", "Verified"]

CaseState = Literal["pending", "active", "rejected"]
AGREEING = 2
"""So many canonical solutions must agree."""
CASE_BYTES = 4 * 1024 * 1024
_MOST = 1000  # cases of a problem


class CaseLike(Protocol):
    """A test case that somebody brings: a `NewCase`, or `grading.Case`, whose ordinal is not looked at."""

    @property
    def input(self) -> str:
        """What the program reads."""

    @property
    def output(self) -> str:
        """What it should print."""


@dataclass(frozen=True)
class NewCase:
    """A test case to be added; where the output is empty, canonical solutions say what it is.

    `sample`: shown with the statement. `generator` and `seed` say which generator made it, and of what.
    """

    input: str
    output: str
    sample: bool = False
    generator: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Verified:
    """A case after canonical solutions ran on it: with their answer where it had none, and why it is rejected."""

    ordinal: int
    case: CaseLike
    fault: str = ""


@dataclass(frozen=True)
class Program:
    """A program's language and source."""

    language: str
    source: str


@dataclass(frozen=True)
class StoredCase:
    """A test case.

    `version` is the problem's first with it, None while it is not active; `retired_in` the first without it. `detail`
    says why it was rejected. `seed` is what its generator was given.
    """

    ordinal: int
    input: str
    output: str
    sample: bool
    state: CaseState
    detail: str
    version: int | None
    retired_in: int | None
    generator: int | None
    seed: int | None
    created_at: datetime
    input_length: int  # in characters, also where a list cuts the text
    output_length: int

    @property
    def truncated(self) -> bool:
        """Whether a list cut a text."""
        return len(self.input) < self.input_length or len(self.output) < self.output_length


class Cases:
    """Test cases and programs of all problems of one arena.

    Args:
        check_language: the name that a language goes by here; raises `UnsupportedLanguage`.
        case_bytes: how long an input or an output may be.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        *,
        check_language: Callable[[str], str],
        clock: Callable[[], datetime] = now,
        case_bytes: int = CASE_BYTES,
    ) -> None:
        self._database, self._queue, self._clock = database, queue, clock
        self._check_language, self._case_bytes = check_language, case_bytes

    # --- test cases ------------------------------------------------------------------------------

    def add(self, pid: str, cases: Sequence[CaseLike], *, by: int | None = None) -> list[StoredCase]:
        """Add test cases, pending until canonical solutions agree with them; all or none.

        A case that was rejected before is pending again.

        Raises:
            UnknownProblem: no such problem.
            InvalidCase: an input or output that cannot be stored or is too long; a case that is there already.
        """
        at = self._clock()
        with self._database.write() as connection:
            row = locked(connection, id_of(connection, pid))
            ordinals = self.add_in(connection, row, cases, at, by)
            note(connection, at, "case.added", pid, ordinals=ordinals)
        return [case for case in self.all(pid) if case.ordinal in set(ordinals)]

    def add_in(
        self,
        connection: Connection,
        row: Row[Any],
        cases: Sequence[CaseLike],
        at: datetime,
        by: int | None,
        *,
        active: bool = False,
    ) -> list[int]:
        """`add` to a problem whose row the caller holds; with `active`, cases that need no validation."""
        there: dict[str, tuple[int, str]] = {
            found.sha256: (found.ordinal, found.state)
            for found in connection.execute(
                select(test_case.c.sha256, test_case.c.ordinal, test_case.c.state).where(
                    test_case.c.problem_id == row.id, test_case.c.retired_in.is_(None)
                )
            )
        }
        if len(there) + len(cases) > _MOST:
            raise InvalidCase(f"problem {row.pid}: at most {_MOST} test cases are taken")
        ordinal, ordinals = _last_ordinal(connection, row.id), []
        for number, new in enumerate(cases, 1):
            where = f"problem {row.pid}: test case {number} of {len(cases)}"
            for name in ("input", "output"):
                checked_text(getattr(new, name), f"{where}: {name}", self._case_bytes, fault=InvalidCase)
            digest = sha256(new.input, new.output)
            old = there.get(digest)
            if old is not None and old[1] != "rejected":
                raise InvalidCase(f"{where} is there already, as {old[0]}")
            if old is not None:
                connection.execute(
                    update(test_case)
                    .where(test_case.c.problem_id == row.id, test_case.c.ordinal == old[0])
                    .values(state="pending", detail="")
                )
            else:
                ordinal += 1
                _insert(connection, row, ordinal, new, at, by, version=row.version if active else None)
            ordinals.append(ordinal if old is None else old[0])
            there[digest] = ordinals[-1], "pending"
        self._ask_for_validation(connection, row.id)
        return ordinals

    def all(self, pid: str) -> list[StoredCase]:
        """Every test case of a problem, whole, by ordinal; raises `UnknownProblem`."""
        return self.page(pid)[0]

    def page(
        self, pid: str, *, offset: int = 0, limit: int | None = None, longest: int | None = None
    ) -> tuple[list[StoredCase], int]:
        """Test cases by ordinal, and how many there are; raises `UnknownProblem`.

        Args:
            longest: cut inputs and outputs to so many characters.
        """
        with self._database.read() as connection:
            mine = test_case.c.problem_id == id_of(connection, pid)
            total = connection.execute(select(func.count()).where(mine)).scalar_one()
            query = _cases(longest).where(mine).order_by(test_case.c.ordinal)
            rows = connection.execute(query.offset(offset).limit(limit)).all()
        return [_case(row) for row in rows], total

    def find(self, pid: str, ordinal: int) -> StoredCase | None:
        """One test case, whole; raises `UnknownProblem`."""
        with self._database.read() as connection:
            mine = test_case.c.problem_id == id_of(connection, pid)
            row = connection.execute(_cases(None).where(mine, test_case.c.ordinal == ordinal)).one_or_none()
        return None if row is None else _case(row)

    def samples(self, pid: str, *, longest: int | None = None) -> list[StoredCase]:
        """The active cases that are shown with the statement; raises `UnknownProblem`."""
        with self._database.read() as connection:
            query = _cases(longest).where(
                test_case.c.problem_id == id_of(connection, pid),
                test_case.c.sample,
                test_case.c.state == "active",
                test_case.c.retired_in.is_(None),
            )
            return [_case(row) for row in connection.execute(query.order_by(test_case.c.ordinal))]

    def active(self, pid: str) -> list[StoredCase]:
        """The cases that a submission is judged by now, whole; raises `UnknownProblem`."""
        return [case for case in self.all(pid) if case.state == "active" and case.retired_in is None]

    def retire(self, pid: str, ordinal: int) -> StoredCase:
        """Take a test case out: a new version of the problem is made without it.

        Raises:
            UnknownProblem: no such problem.
            NotReady: it is not active.
        """
        at = self._clock()
        with self._database.write() as connection:
            row = locked(connection, id_of(connection, pid))
            retired = connection.execute(
                update(test_case)
                .where(
                    test_case.c.problem_id == row.id,
                    test_case.c.ordinal == ordinal,
                    test_case.c.state == "active",
                    test_case.c.retired_in.is_(None),
                )
                .values(retired_in=row.version + 1)
            )
            if retired.rowcount != 1:
                raise NotReady(f"problem {pid} has no active test case {ordinal}")
            note(connection, at, "case.retired", pid, ordinal=ordinal)
            new_version(connection, self._queue, row, at, f"test case {ordinal} was taken out")
        found = self.find(pid, ordinal)
        assert found is not None  # it was there in the transaction, and cases stay
        return found

    # --- canonical solutions and generators ------------------------------------------------------

    def add_solution(self, pid: str, program: Program, *, by: int | None = None) -> int:
        """Add a canonical solution and return its number; pending cases are validated once there are two.

        Raises:
            UnknownProblem, Conflict (the same is there), InvalidSource, SourceTooLarge, UnsupportedLanguage.
        """
        return self._add(pid, canonical, program, by)

    def add_generator(self, pid: str, program: Program, *, by: int | None = None) -> int:
        """Add a generator: a program that reads a seed (one line) and prints an input. Returns its number.

        Raises:
            UnknownProblem, Conflict (the same is there), InvalidSource, SourceTooLarge, UnsupportedLanguage.
        """
        return self._add(pid, generator, program, by)

    def _add(self, pid: str, table: Table, program: Program, by: int | None) -> int:
        at = self._clock()
        try:
            with self._database.write() as connection:
                row = locked(connection, id_of(connection, pid))
                return self.add_program_in(connection, table, row, program, at, by)
        except IntegrityError as error:
            raise Conflict(f"problem {pid} has this {table.name} already") from error

    def add_program_in(
        self,
        connection: Connection,
        table: Table,
        row: Row[Any],
        program: Program,
        at: datetime,
        by: int | None,
    ) -> int:
        """Add a row of `canonical` or `generator` to a problem whose row the caller holds."""
        source = checked_source(program.source, what=f"problem {row.pid}: the {table.name}'s source")
        language = self._check_language(program.language)
        number: int = connection.execute(
            insert(table)
            .values(
                problem_id=row.id,
                language=language,
                source=source,
                sha256=sha256(language, source),
                created_by=by,
                created_at=at,
            )
            .returning(table.c.id)
        ).scalar_one()
        note(connection, at, f"{table.name}.added", row.pid, number=number, language=language)
        self._ask_for_validation(connection, row.id)
        return number

    def solutions(self, pid: str) -> list[tuple[int, Program]]:
        """Canonical solutions with their numbers; raises `UnknownProblem`."""
        return self._programs(pid, canonical)

    def generators(self, pid: str) -> list[tuple[int, Program]]:
        """Generators with their numbers; raises `UnknownProblem`."""
        return self._programs(pid, generator)

    def _programs(self, pid: str, table: Table) -> list[tuple[int, Program]]:
        with self._database.read() as connection:
            query = select(table).where(table.c.problem_id == id_of(connection, pid)).order_by(table.c.id)
            return [(row.id, Program(row.language, row.source)) for row in connection.execute(query)]

    def generate(self, pid: str, number: int, seeds: Sequence[int], *, sample: bool = False) -> None:
        """Ask the judge to run a generator for each seed and to add what it prints as pending cases.

        The expected output is that of the first canonical solution; the others must agree, as with any case.

        Raises:
            UnknownProblem: no such problem.
            InvalidRequest: no such generator; no seed, too many of them, or one too large.
            NotReady: fewer than two canonical solutions.
        """
        if not seeds or len(seeds) > _MOST or any(not 0 <= seed < 2**63 for seed in seeds):
            raise InvalidRequest(f"give 1 to {_MOST} seeds from 0 to 2^63 - 1")
        at = self._clock()
        with self._database.write() as connection:
            row = locked(connection, id_of(connection, pid))
            there = connection.execute(
                select(generator.c.id).where(generator.c.problem_id == row.id, generator.c.id == number)
            )
            if there.first() is None:
                raise InvalidRequest(f"problem {pid} has no generator {number}")
            known = _count(connection, canonical, row.id)
            if known < AGREEING:
                raise NotReady(
                    f"problem {pid} has {known} canonical solutions; cases are generated once it has {AGREEING}"
                )
            payload = {"generator": number, "seeds": list(seeds), "sample": sample}
            self._queue.add(connection, "generate", problem_id=row.id, payload=payload, priority=CASES_FIRST)
            note(connection, at, "generator.asked", pid, number=number, seeds=list(seeds))

    # --- what the judge found --------------------------------------------------------------------

    def settle(self, lease: Lease, checked: Sequence[Verified]) -> bool:
        """Write what canonical solutions said of pending cases; False where the lease was lost."""
        at = self._clock()
        with self._database.write() as connection:
            row = locked(connection, lease.problem_id)
            if not self._queue.close(connection, lease):
                return False
            others = self._others(connection, row.id, {one.ordinal for one in checked})
            active: list[int] = []
            rejected: list[int] = []
            for one in checked:
                digest = sha256(one.case.input, one.case.output)
                fault = one.fault or (f"the same as test case {others[digest]}" if digest in others else "")
                values: dict[str, Any] = {"state": "rejected", "detail": fault}
                if not fault:
                    values = {
                        "state": "active", "detail": "", "version": row.version + 1,
                        "output": one.case.output, "sha256": digest,
                    }  # fmt: skip
                changed = connection.execute(
                    update(test_case)
                    .where(
                        test_case.c.problem_id == row.id,
                        test_case.c.ordinal == one.ordinal,
                        test_case.c.state == "pending",
                    )
                    .values(values)
                )
                if changed.rowcount:
                    (rejected if fault else active).append(one.ordinal)
                    if not fault:
                        others[digest] = one.ordinal
            note(connection, at, "case.validated", row.pid, active=active, rejected=rejected)
            if active:
                new_version(connection, self._queue, row, at, f"{len(active)} test cases became active")
            self._ask_for_validation(connection, row.id)  # of those that came meanwhile
        return True

    def settle_generated(self, lease: Lease, made: Sequence[Verified], *, fault: str = "") -> bool:
        """Add what a generator gave, without what is there already; False where the lease was lost.

        Args:
            fault: why the generator gave nothing.
        """
        at = self._clock()
        with self._database.write() as connection:
            row = locked(connection, lease.problem_id)
            if not self._queue.close(connection, lease):
                return False
            there = self._others(connection, row.id, set())
            ordinal = _last_ordinal(connection, row.id)
            active: list[int] = []
            rejected: list[int] = []
            for one in made:
                digest = sha256(one.case.input, one.case.output)
                if digest in there:
                    continue
                ordinal += 1
                there[digest] = ordinal
                version = None if one.fault else row.version + 1
                _insert(connection, row, ordinal, one.case, at, None, version=version, fault=one.fault)
                (rejected if one.fault else active).append(ordinal)
            note(
                connection, at, "case.generated", row.pid, active=active, rejected=rejected,
                repeated=len(made) - len(active) - len(rejected), fault=fault,
            )  # fmt: skip
            if active:
                new_version(connection, self._queue, row, at, f"{len(active)} test cases were generated")
        return True

    def _others(self, connection: Connection, problem_id: int, without: Collection[int]) -> dict[str, int]:
        """Ordinals of a problem's cases by what they are, those without that were taken out."""
        rows = connection.execute(
            select(test_case.c.sha256, test_case.c.ordinal).where(
                test_case.c.problem_id == problem_id, test_case.c.retired_in.is_(None)
            )
        )
        return {row.sha256: row.ordinal for row in rows if row.ordinal not in without}

    def _ask_for_validation(self, connection: Connection, problem_id: int) -> None:
        """A job for the pending cases, where there are any and enough solutions to agree."""
        pending = select(test_case.c.id).where(
            test_case.c.problem_id == problem_id, test_case.c.state == "pending"
        )
        if connection.execute(pending.limit(1)).first() is None:
            return
        if _count(connection, canonical, problem_id) >= AGREEING:
            self._queue.add(connection, "cases", problem_id=problem_id, priority=CASES_FIRST)


def _last_ordinal(connection: Connection, problem_id: int) -> int:
    query = select(func.max(test_case.c.ordinal)).where(test_case.c.problem_id == problem_id)
    return connection.execute(query).scalar() or 0


def _insert(
    connection: Connection,
    row: Row[Any],
    ordinal: int,
    new: CaseLike,
    at: datetime,
    by: int | None,
    *,
    version: int | None,
    fault: str = "",
) -> None:
    """Add a case: active in `version`, rejected for `fault`, or pending."""
    connection.execute(
        insert(test_case).values(
            problem_id=row.id,
            ordinal=ordinal,
            version=version,
            input=new.input,
            output=new.output,
            sha256=sha256(new.input, new.output),
            sample=bool(getattr(new, "sample", False)),
            state="rejected" if fault else "pending" if version is None else "active",
            detail=fault,
            generator_id=getattr(new, "generator", None),
            seed=getattr(new, "seed", None),
            created_by=by,
            created_at=at,
        )
    )


def _count(connection: Connection, table: Table, problem_id: int) -> int:
    query = select(func.count()).where(table.c.problem_id == problem_id)
    return connection.execute(query).scalar_one()


def _cases(longest: int | None) -> Select[Any]:
    """Test cases, with their texts cut in the database where they are only shown."""
    texts = {name: test_case.c[name] for name in ("input", "output")}
    return select(
        *(column for column in test_case.c if column.name not in texts),
        *(
            (column if longest is None else func.substr(column, 1, longest)).label(name)
            for name, column in texts.items()
        ),
        *(func.length(column).label(f"{name}_length") for name, column in texts.items()),
    )


def _case(row: Row[Any]) -> StoredCase:
    return StoredCase(
        ordinal=row.ordinal,
        input=row.input,
        output=row.output,
        sample=row.sample,
        state=row.state,
        detail=row.detail,
        version=row.version,
        retired_in=row.retired_in,
        generator=row.generator_id,
        seed=row.seed,
        created_at=row.created_at,
        input_length=row.input_length,
        output_length=row.output_length,
    )
