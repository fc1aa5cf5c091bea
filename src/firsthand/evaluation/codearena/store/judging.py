"""One job from the queue to its result: load what it needs, run it, write what came of it.

Three kinds of job: a submission is graded on the active cases of its problem; pending cases are put to all canonical
solutions; a generator is run for its seeds. While a job runs its lease is extended, so that a judge that works long
keeps it and one that died loses it.

Knows jobs, and a grader that is handed in: a callable `(submitted program, task) -> Grade`. Knows nothing of how it
isolates what it runs (`grading`, `bubblewrap`).
"""

from __future__ import annotations

import contextlib
import logging
import platform
import socket
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from sqlalchemy import Connection, and_, or_, select
from sqlalchemy.exc import DBAPIError

from firsthand.errors import FirsthandError
from firsthand.evaluation.codearena.errors import InvalidCase, SandboxUnavailable
from firsthand.evaluation.codearena.grading.generation import CheckedCase
from firsthand.evaluation.codearena.grading.grading import Case, Grade, Task
from firsthand.evaluation.codearena.store.cases import Cases, NewCase, Program, Verified
from firsthand.evaluation.codearena.store.database import Database
from firsthand.evaluation.codearena.store.queue import Lease, Queue
from firsthand.evaluation.codearena.store.submissions import RETRIES, Machine, Submissions
from firsthand.evaluation.codearena.store.tables import (
    canonical,
    generator,
    problem,
    problem_edition,
    submission,
    test_case,
)
from firsthand.evaluation.codearena.store.texts import storable

__all__ = ["CaseMaker", "Grader", "Judge", "JudgeFailedError", "Submitted", "Work", "this_machine"]

_LOG = logging.getLogger("firsthand.codearena")
_KEPT_CHARACTERS = 64 << 20  # of the test cases that a judge keeps in memory


@dataclass(frozen=True)
class Submitted:
    """A program as a grader gets it.

    `grade_all` asks for every case, not only those up to the first failure; `repeats` for so many passes over them.
    """

    language: str
    source: str
    sid: str = ""
    grade_all: bool = False
    repeats: int = 1


class JudgeFailedError(FirsthandError, RuntimeError):
    """The judge's own fault, for which no program is to blame; the job is tried again."""


class Grader(Protocol):
    """Runs a program on a task's cases; raises `SandboxUnavailable` where it cannot isolate it.

    An attribute `languages`, where there is one, names those that are installed here; other jobs are not claimed.
    """

    def __call__(self, program: Submitted, task: Task) -> Grade:
        """The verdict, with figures for each case."""


@runtime_checkable
class CaseMaker(Protocol):
    """A grader that also validates test cases and runs generators."""

    def validate(
        self, cases: Sequence[Case], solutions: Sequence[Program], task: Task
    ) -> Sequence[CheckedCase]:
        """What canonical solutions say of each case; raises `InvalidCase` where they cannot be asked."""

    def generate(self, program: Program, seeds: Sequence[int]) -> Sequence[str]:
        """What a generator prints for each seed; raises `InvalidCase` where it fails."""


def this_machine() -> Machine:
    """This host, and its class: architecture and processor."""
    model = platform.processor()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                model = value.strip()
                break
    return Machine(socket.gethostname()[:200], f"{platform.machine()} {model}".strip()[:200])


@dataclass(frozen=True)
class Work:
    """A claimed job with all that it needs; `programs` are canonical solutions, or a generator before them."""

    lease: Lease
    task: Task
    version: int
    programs: tuple[Submitted, ...]


class Judge:
    """Judges jobs of one database, one at a time.

    Args:
        grader: runs programs.
        machine: where this is.
        grade_all: run every case of a submission, also after one failed.
        repeats: passes over the cases of a submission, for its timing.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        submissions: Submissions,
        cases: Cases,
        grader: Grader,
        *,
        machine: Machine,
        grade_all: bool = False,
        repeats: int = 1,
    ) -> None:
        self._database, self._queue, self._submissions, self._cases = database, queue, submissions, cases
        self._grader = grader
        self.machine = machine
        self._grade_all, self._repeats = grade_all, repeats
        self._tasks: OrderedDict[tuple[int, int], Task] = OrderedDict()

    def once(self, owner: str) -> tuple[Lease, str | None] | None:
        """Claim and do one job.

        Returns:
            The lease and, of a submission, its id; None where there was nothing to do.

        Raises:
            SandboxUnavailable: nothing was judged; the job is back in the queue, as if it had not been claimed.
        """
        lease = self._queue.claim(
            owner, host_class=self.machine.host_class, languages=getattr(self._grader, "languages", None)
        )
        if lease is None:
            return None
        with self.held(lease):
            work = self.load(lease)
            if lease.tries > RETRIES + 1:  # whoever had it before died over it
                self.settle(work, _failed("the judge died over this submission each time it was tried"))
            else:
                self._do(work)
        return lease, work.programs[0].sid if lease.kind == "submission" else None

    def _do(self, work: Work) -> None:
        try:
            if work.lease.kind == "submission":
                self.settle(work, self._grader(work.programs[0], work.task))
            elif work.lease.kind == "cases":
                self._validate(work)
            else:
                self._generate(work)
        except SandboxUnavailable:
            self.give_back(work.lease)
            raise
        except Exception as error:
            # The judge's own fault, whatever it is: never the program's, and never the end of the judge.
            _LOG.exception("job %s failed", work.lease.job_id)
            self.settle(work, _failed(f"{type(error).__name__}: {error}"))

    @property
    def languages(self) -> frozenset[str]:
        """Those that the grader says are installed here."""
        return frozenset(getattr(self._grader, "languages", ()))

    @contextlib.contextmanager
    def held(self, lease: Lease) -> Iterator[None]:
        """Keep a lease from running out for the block."""
        over = threading.Event()

        def extend() -> None:
            while not over.wait(self._queue.lease_s / 3):
                try:
                    if not self._queue.extend(lease):
                        return
                except DBAPIError as error:  # the database is away; the next time may do
                    _LOG.warning("lease of job %s could not be extended: %s", lease.job_id, error)

        thread = threading.Thread(target=extend, name="firsthand-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def give_back(self, lease: Lease) -> None:
        """Put a job back that was not begun; the claim is not one of its tries."""
        with self._database.write() as connection:
            self._queue.put_back(connection, lease, count=False)

    def settle(self, work: Work, grade: Grade) -> None:
        """Write what came of a submission; of another job only that it failed, to be tried again."""
        if work.lease.kind == "submission":
            self._submissions.settle(work.lease, grade, work.version, self.machine)
            return
        with self._database.write() as connection:
            if work.lease.tries <= RETRIES:
                self._queue.put_back(connection, work.lease, after_s=2.0**work.lease.tries)
            else:
                _LOG.error("job %s (%s) is given up: %s", work.lease.job_id, work.lease.kind, grade.message)
                self._queue.close(connection, work.lease)

    # --- test cases ------------------------------------------------------------------------------

    @property
    def _maker(self) -> CaseMaker:
        if not isinstance(self._grader, CaseMaker):
            raise JudgeFailedError("this judge's grader cannot validate test cases")
        return self._grader

    def _validate(self, work: Work) -> None:
        """Put the pending cases to every canonical solution: all must agree."""
        self._cases.settle(work.lease, self._verified(work.task.cases, work))

    def _generate(self, work: Work) -> None:
        """Inputs from the generator, answers from the canonical solutions."""
        payload = work.lease.payload or {}
        seeds: list[int] = payload["seeds"]
        generator, *solutions = work.programs
        try:
            inputs = self._maker.generate(Program(generator.language, generator.source), seeds)
        except InvalidCase as error:
            self._cases.settle_generated(work.lease, (), fault=storable(str(error), 1000))
            return
        wanted = [Case(text, "", number) for number, text in enumerate(inputs, 1)]
        checked = self._verified(wanted, replace(work, programs=tuple(solutions)))
        made = [
            replace(
                one,
                case=NewCase(
                    one.case.input, one.case.output, bool(payload.get("sample")), payload["generator"], seed
                ),
            )
            for seed, one in zip(seeds, checked, strict=True)
        ]
        self._cases.settle_generated(work.lease, made)

    def _verified(self, cases: Sequence[Case], work: Work) -> list[Verified]:
        solutions = [Program(one.language, one.source) for one in work.programs]
        try:
            checked = self._maker.validate(cases, solutions, work.task)
        except InvalidCase as error:
            return [Verified(case.ordinal, case, storable(str(error), 1000)) for case in cases]
        return [Verified(one.case.ordinal, one.case, storable(one.reason, 1000)) for one in checked]

    # --- loading ---------------------------------------------------------------------------------

    def load(self, lease: Lease) -> Work:
        """What a claimed job needs, as the database has it now."""
        with self._database.read() as connection:
            version: int = connection.execute(
                select(problem.c.version).where(problem.c.id == lease.problem_id)
            ).scalar_one()
            if lease.kind == "submission":
                row = connection.execute(
                    select(submission).where(submission.c.id == lease.submission_id)
                ).one()
                program = Submitted(row.language, row.source, row.sid, self._grade_all, self._repeats)
                return Work(lease, self._task(connection, lease.problem_id, version), version, (program,))
            rows = connection.execute(
                select(canonical).where(canonical.c.problem_id == lease.problem_id).order_by(canonical.c.id)
            ).all()
            programs = [Submitted(row.language, row.source) for row in rows]
            if lease.kind == "generate":
                number = (lease.payload or {})["generator"]
                row = connection.execute(select(generator).where(generator.c.id == number)).one()
                programs.insert(0, Submitted(row.language, row.source))
                return Work(lease, _task(connection, lease.problem_id, ()), version, tuple(programs))
            pending = _cases(
                connection,
                and_(test_case.c.problem_id == lease.problem_id, test_case.c.state == "pending"),
            )
            return Work(lease, _task(connection, lease.problem_id, pending), version, tuple(programs))

    def _task(self, connection: Connection, problem_id: int, version: int) -> Task:
        """The task of a problem's version, kept: its cases never change."""
        key = (problem_id, version)
        if key not in self._tasks:
            active = and_(
                test_case.c.problem_id == problem_id,
                test_case.c.state == "active",
                test_case.c.version <= version,
                or_(test_case.c.retired_in.is_(None), test_case.c.retired_in > version),
            )
            self._tasks[key] = _task(connection, problem_id, _cases(connection, active))
            while len(self._tasks) > 1 and sum(map(_size, self._tasks.values())) > _KEPT_CHARACTERS:
                self._tasks.popitem(last=False)
        self._tasks.move_to_end(key)
        return self._tasks[key]


def _size(task: Task) -> int:
    """Characters of a task's cases."""
    return sum(len(case.input) + len(case.output) for case in task.cases)


def _cases(connection: Connection, which: object) -> tuple[Case, ...]:
    rows = connection.execute(select(test_case).where(which).order_by(test_case.c.ordinal))  # type: ignore[arg-type]
    return tuple(Case(input=row.input, output=row.output, ordinal=row.ordinal) for row in rows)


def _task(connection: Connection, problem_id: int, cases: tuple[Case, ...]) -> Task:
    row = connection.execute(
        select(problem_edition)
        .join(
            problem,
            and_(
                problem.c.id == problem_edition.c.problem_id, problem.c.edition == problem_edition.c.edition
            ),
        )
        .where(problem.c.id == problem_id)
    ).one()
    return Task(
        cases=cases,
        time_ms=row.time_ms,
        memory_kb=row.memory_kb,
        checker=row.checker,
        checker_source=row.checker_source,
        checker_language=row.checker_language,
    )


def _failed(message: str) -> Grade:
    return Grade(
        verdict="IE",
        cpu_ms=0.0,
        wall_ms=0.0,
        peak_kb=0,
        cases=(),
        message=storable(message, 2000),
        spread_ms=0.0,
    )
