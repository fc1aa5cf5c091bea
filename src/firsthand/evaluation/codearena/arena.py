"""An arena: problems, accounts, submissions, the queue and the board over one database, without HTTP.

    arena = Arena.open("sqlite:///arena.db")
    arena.accounts.create("codestral", "llm")
    arena.create_problem(Problem("sum", "Sum", "Print the sum of two numbers."), cases=[...], solutions=[...])
    sid = arena.submit("codestral", "sum", "python", "print(sum(map(int, input().split())))")
    arena.judge_once()
    arena.ranking().rows

Knows which part does what; the parts know the rest.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from types import TracebackType
from typing import Any, Literal

from firsthand.evaluation.codearena.grading.sandboxed import check_checker, known_language, sandbox_grader
from firsthand.evaluation.codearena.scores.leakage import acceptance_by_date, before_and_after, first_attempts
from firsthand.evaluation.codearena.scores.ratings import Ratings, bradley_terry, pass_at_k
from firsthand.evaluation.codearena.scores.rules import LeaveOut, Population, Rules
from firsthand.evaluation.codearena.scores.score_table import ScoreTable
from firsthand.evaluation.codearena.scores.sources import duplicate_sources
from firsthand.evaluation.codearena.service.webhooks import Webhooks
from firsthand.evaluation.codearena.store.accounts import Accounts, now
from firsthand.evaluation.codearena.store.cases import CASE_BYTES, CaseLike, Cases, Program, StoredCase
from firsthand.evaluation.codearena.store.checkpoints import Checkpoint, Checkpoints, HistoryPoint
from firsthand.evaluation.codearena.store.collection import Collection as Problems
from firsthand.evaluation.codearena.store.collection import Problem, StoredProblem
from firsthand.evaluation.codearena.store.database import Database, open_database
from firsthand.evaluation.codearena.store.events import Event, read_events
from firsthand.evaluation.codearena.store.judging import Grader, Judge, this_machine
from firsthand.evaluation.codearena.store.presence import Presence
from firsthand.evaluation.codearena.store.queue import LEASE_S, Queue
from firsthand.evaluation.codearena.store.standing import Audit, Standing
from firsthand.evaluation.codearena.store.submissions import QUEUE_LIMIT, Machine, Submission, Submissions
from firsthand.evaluation.codearena.store.texts import SOURCE_BYTES

__all__ = ["Arena", "Method"]

Method = Literal["pass@k", "bradley-terry", "bradley-terry-runtime"]


class Arena:
    """One arena. Open it with `Arena.open`; its parts are attributes, its everyday verbs methods.

    Safe to use from several threads. Other processes, on this machine or (PostgreSQL) on others, may have the same
    arena open.

    Attributes:
        accounts, problems, cases, submissions, queue, standing, checkpoints, webhooks, judges: the parts.
        clock: what time it is.
    """

    def __init__(
        self,
        database: Database,
        *,
        grader: Grader | None = None,
        clock: Callable[[], datetime] = now,
        lease_s: float = LEASE_S,
        source_bytes: int = SOURCE_BYTES,
        case_bytes: int = CASE_BYTES,
        queue_limit: int = QUEUE_LIMIT,
        machine: Machine | None = None,
        grade_all: bool = False,
        repeats: int = 1,
        webhook_hosts: Collection[str] = (),
    ) -> None:
        self.database = database
        self.accounts = Accounts(database, clock)
        self.queue = Queue(database, lease_s=lease_s)
        self.cases = Cases(
            database, self.queue, check_language=known_language, clock=clock, case_bytes=case_bytes
        )
        self.problems = Problems(database, self.queue, self.cases, check_checker=check_checker, clock=clock)
        self.submissions = Submissions(
            database,
            self.queue,
            self.accounts,
            check_language=known_language,
            clock=clock,
            source_bytes=source_bytes,
            queue_limit=queue_limit,
        )
        self.standing = Standing(database, clock)
        self.checkpoints = Checkpoints(database, self.standing, clock)
        self.judges = Presence(database, clock)
        self.clock = clock
        self.webhooks = Webhooks(database, clock, private=webhook_hosts)
        self._grader, self._machine = grader, machine or this_machine()
        self._grade_all, self._repeats = grade_all, repeats
        self._judge: Judge | None = None
        self.owner = f"{os.getpid()}-{secrets.token_hex(4)}"

    @classmethod
    def open(cls, url: str, **options: Any) -> Arena:
        """Open the arena in a database, whose tables are made or renewed.

        Args:
            url: `sqlite:///arena.db` or `postgresql+psycopg://user@host/name`.
            options: grader (None: the sandbox), lease_s, source_bytes, case_bytes, queue_limit, machine, grade_all,
                repeats, webhook_hosts; see the parts.

        Raises:
            InputError: a database that cannot be used.
            MissingDependencyError: psycopg is not installed.
        """
        return cls(open_database(url), **options)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> Arena:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- problems --------------------------------------------------------------------------------

    def create_problem(
        self,
        problem: Problem,
        *,
        cases: Sequence[CaseLike] = (),
        solutions: Sequence[Program] = (),
        validated: bool = False,
    ) -> StoredProblem:
        """Add a problem (`collection.Collection.create`)."""
        return self.problems.create(problem, cases=cases, solutions=solutions, validated=validated)

    def add_case(self, pid: str, case: CaseLike) -> StoredCase:
        """Add a test case, pending until at least two canonical solutions agree (`cases.Cases.add`)."""
        return self.cases.add(pid, [case])[0]

    def add_solution(self, pid: str, program: Program) -> int:
        """Add a canonical solution (`cases.Cases.add_solution`)."""
        return self.cases.add_solution(pid, program)

    # --- submissions -----------------------------------------------------------------------------

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
        """Take a submission in and return its id (`submissions.Submissions.submit`)."""
        return self.submissions.submit(
            user, pid, language, source, idempotency_key=idempotency_key, extra=extra
        )

    def submission(self, sid: str) -> Submission:
        """A submission; raises `UnknownSubmission`."""
        return self.submissions.find(sid)

    def rejudge(self, sid: str) -> None:
        """Judge a submission again (`submissions.Submissions.rejudge`)."""
        self.submissions.rejudge(sid)

    @property
    def machine(self) -> Machine:
        """Where this arena's own judge runs."""
        return self._machine

    def use(self, grader: Grader) -> None:
        """Have `judge_once` judge with this grader."""
        self._grader, self._judge = grader, None

    @property
    def judge(self) -> Judge:
        """What `judge_once` judges with: made when it is first asked for.

        Raises:
            SandboxUnavailable: this machine cannot isolate programs.
        """
        if self._judge is None:
            self._judge = Judge(
                self.database,
                self.queue,
                self.submissions,
                self.cases,
                self._grader or sandbox_grader(),
                machine=self._machine,
                grade_all=self._grade_all,
                repeats=self._repeats,
            )
        return self._judge

    def judge_once(self) -> str | None:
        """Claim and judge one submission; its id, or None where none waits. Test cases that wait go first.

        Raises:
            SandboxUnavailable: this machine cannot isolate programs; nothing was judged.
        """
        while (done := self.judge.once(self.owner)) is not None:
            if done[1] is not None:
                return done[1]
        return None

    # --- the board -------------------------------------------------------------------------------

    def ranking(self, at: datetime | None = None, **score_kwargs: Any) -> ScoreTable:
        """The board as it stood at a time (None: now), by any rules of `points.score`.

        Raises:
            InputError: a rule that cannot be.
        """
        return self.standing.ranking(at, Rules(**score_kwargs))

    def rating(
        self,
        method: Method,
        *,
        at: datetime | None = None,
        k: int = 1,
        l2: float = 1e-3,
        population: Population = None,
        leave_out: LeaveOut = (),
        es_tolerance: float = 0.0,
    ) -> Ratings:
        """Another ranking beside dynamic points (`ratings`): pass@k with the extra samples, or Bradley-Terry.

        Raises:
            InputError: a parameter that cannot be, or fewer than k samples of somebody.
        """
        rules = Rules(population=population, leave_out=leave_out, es_tolerance=es_tolerance)
        key = ("rating", self.standing.revision(), at, method, k, l2, rules)

        def draw() -> Ratings:
            attempts, points = self.standing.attempts(at, extra=method == "pass@k")
            if method == "pass@k":
                return pass_at_k(attempts, k=k, problems=points, population=population, leave_out=leave_out)
            return bradley_terry(
                attempts,
                l2=l2,
                on="solved" if method == "bradley-terry" else "runtime",
                problems=points,
                population=population,
                leave_out=leave_out,
                es_tolerance=es_tolerance,
            )

        return self.standing.kept(key, draw)

    def checkpoint(self, **score_kwargs: Any) -> Checkpoint:
        """Write the board of this moment down, for ever."""
        return self.checkpoints.make(Rules(**score_kwargs))

    def history(self, users: Collection[str] | None = None, **score_kwargs: Any) -> list[HistoryPoint]:
        """How users stood on the checkpoints of these rules."""
        return self.checkpoints.history(users=users, rules=Rules(**score_kwargs))

    def leakage(
        self,
        rules: Rules | None = None,
        *,
        length: Literal["month", "quarter", "year"] = "month",
        similarity: float = 0.8,
        copies: bool = True,
    ) -> dict[str, list[dict[str, Any]]]:
        """Signals that problems leaked (`leakage`, `sources`), of the rules' population, without what they leave out.

        Without `copies` programs are not compared, which takes the longest, and none are found. Models whose account
        has no `first_seen` count from the day of their first attempt.

        Raises:
            InputError: a parameter that cannot be.
            MissingDependencyError: datasketch is not installed.
        """
        rules = rules or Rules()
        key = ("leakage", self.standing.revision(), rules, length, similarity, copies)

        def draw() -> dict[str, list[dict[str, Any]]]:
            attempts, _ = self.standing.attempts()
            published = self.problems.published()
            seen = {**first_attempts(attempts), **self.accounts.first_seen()}
            whom: dict[str, Any] = {"population": rules.population, "leave_out": rules.leave_out}
            first_seen = {name: day for name, day in seen.items() if name in attempts.users}
            sources = self.submissions.sources() if copies else []
            return {
                "before_and_after": [
                    {**asdict(row), "suspicious": row.suspicious}
                    for row in before_and_after(attempts, published, first_seen, **whom)
                ],
                "periods": [
                    asdict(row) for row in acceptance_by_date(attempts, published, length=length, **whom)
                ],
                "duplicates": [
                    {
                        "problem": group.problem,
                        "language": group.language,
                        "exact": group.exact,
                        "users": list(group.users),
                        "sids": [member.id for member in group.members],
                    }
                    for group in duplicate_sources(sources, similarity=similarity)
                ],
            }

        return self.standing.kept(key, draw)

    def audit(self) -> Audit:
        """Score everything afresh and compare it with what is kept (`standing.Standing.audit`)."""
        return self.standing.audit()

    def events(self, *, after: int = 0, subject: str | None = None, limit: int = 1000) -> Iterator[Event]:
        """What happened, oldest first."""
        return read_events(self.database, after=after, subject=subject, limit=limit)
