"""Routes of problems, test cases, canonical solutions and generators.

Knows HTTP, and hands everything on to `collection` and `cases`.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from firsthand.evaluation.codearena.grading.sandboxed import known_language
from firsthand.evaluation.codearena.refusals import UnknownEntry
from firsthand.evaluation.codearena.service.access import (
    AnyReader,
    Caller,
    DataReader,
    allowed,
    service_of,
    writes,
)
from firsthand.evaluation.codearena.service.bodies import (
    CasesBody,
    GenerateBody,
    ProblemBody,
    ProblemChanges,
    ProgramBody,
)
from firsthand.evaluation.codearena.service.paging import Paging, page_of
from firsthand.evaluation.codearena.service.schemas import (
    CaseView,
    Moment,
    Page,
    Pid,
    ProblemView,
    ProgramView,
    SampleView,
)
from firsthand.evaluation.codearena.store.cases import NewCase, Program, StoredCase
from firsthand.evaluation.codearena.store.collection import Problem, StoredProblem

__all__ = ["problem_view", "router"]

router = APIRouter(prefix="/api/problem", tags=["problem"])
PidPath = Annotated[Pid, Path()]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
Curator = Annotated[Caller, Depends(writes("curator"))]
SHOWN = 64 * 1024  # characters of a test case in a list


@router.get("/")
def list_problems(
    request: Request,
    caller: AnyReader,
    paging: Paging,
    q: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
    since: Annotated[Moment | None, Query()] = None,
    difficulty: Annotated[str | None, Query(max_length=32, pattern=r"^[^\x00]*$")] = None,
) -> Page[ProblemView]:
    """Problems by id: those that hold `q` in id or title, published `since` a time, of a difficulty."""
    found, total = service_of(request).arena.problems.page(
        q=q,
        since=since,
        difficulty=difficulty,
        hidden=caller.may("curator"),
        offset=paging.offset,
        limit=paging.per_page,
    )
    return page_of([problem_view(stored) for stored in found], total, paging)


@router.post("/", status_code=201)
def create_problem(request: Request, body: ProblemBody, caller: Curator) -> ProblemView:
    """Add a problem; its cases are pending until at least two canonical solutions agree."""
    fields = body.model_dump(exclude={"cases", "solutions"}, exclude_none=True)
    stored = service_of(request).arena.problems.create(
        Problem(**fields),
        cases=[NewCase(case.input, case.output, case.sample) for case in body.cases],
        solutions=[Program(program.language, program.source) for program in body.solutions],
        by=caller.known.account.id,
    )
    return problem_view(stored)


@router.get("/{pid}/")
def get_problem(request: Request, pid: PidPath, caller: AnyReader) -> ProblemView:
    """A problem with its statement, sample cases and acceptance."""
    arena = service_of(request).arena
    stored = arena.problems.find(pid, hidden=caller.may("curator"))
    return problem_view(stored, arena.cases.samples(pid, longest=SHOWN))


@router.patch("/{pid}/")
def change_problem(request: Request, pid: PidPath, body: ProblemChanges, caller: Curator) -> ProblemView:
    """Change a problem; other limits or another checker make a new version, and all submissions are judged again."""
    changes = body.model_dump(exclude_unset=True, exclude_none=True)
    return problem_view(service_of(request).arena.problems.update(pid, changes))


# --- test cases --------------------------------------------------------------------------------------


@router.get("/{pid}/case/")
def list_cases(request: Request, pid: PidPath, caller: DataReader, paging: Paging) -> Page[CaseView]:
    """All test cases, by ordinal."""
    _visible(request, pid, caller)
    found, total = service_of(request).arena.cases.page(
        pid, offset=paging.offset, limit=paging.per_page, longest=SHOWN
    )
    return page_of([_case(case) for case in found], total, paging)


@router.post("/{pid}/case/", status_code=201)
def add_cases(
    request: Request,
    pid: PidPath,
    body: CasesBody,
    caller: Annotated[Caller, Depends(writes("curator", "generator"))],
) -> list[CaseView]:
    """Add test cases, all or none; curators and people may.

    They are pending until at least two canonical solutions agree.
    """
    if not caller.may("curator"):
        _visible(request, pid, caller)
        if caller.known.account.kind != "human":
            caller.known.require("curator")
    cases = [NewCase(case.input, case.output, case.sample and caller.may("curator")) for case in body.cases]
    added = service_of(request).arena.cases.add(pid, cases, by=caller.known.account.id)
    return [_case(case) for case in added]


@router.get("/{pid}/case/{ordinal}/")
def get_case(request: Request, pid: PidPath, ordinal: Number, caller: DataReader) -> CaseView:
    """One test case, whole."""
    _visible(request, pid, caller)
    return _case(_found(request, pid, ordinal))


@router.delete("/{pid}/case/{ordinal}/")
def retire_case(request: Request, pid: PidPath, ordinal: Number, caller: Curator) -> CaseView:
    """Take an active test case out: the problem's next version is without it, and all submissions are judged again."""
    _found(request, pid, ordinal)
    return _case(service_of(request).arena.cases.retire(pid, ordinal))


def _found(request: Request, pid: str, ordinal: int) -> StoredCase:
    found = service_of(request).arena.cases.find(pid, ordinal)
    if found is None:
        raise UnknownEntry(f"problem {pid!r} has no test case {ordinal}")
    return found


# --- canonical solutions and generators --------------------------------------------------------------


@router.get("/{pid}/solution/")
def list_solutions(
    request: Request, pid: PidPath, caller: Annotated[Caller, Depends(allowed("curator", "reader"))]
) -> list[ProgramView]:
    """Canonical solutions."""
    _visible(request, pid, caller)
    return [_program(*found) for found in service_of(request).arena.cases.solutions(pid)]


@router.post("/{pid}/solution/", status_code=201)
def add_solution(request: Request, pid: PidPath, body: ProgramBody, caller: Curator) -> ProgramView:
    """Add a canonical solution."""
    program = Program(known_language(body.language), body.source)
    number = service_of(request).arena.cases.add_solution(pid, program, by=caller.known.account.id)
    return _program(number, program)


@router.get("/{pid}/generator/")
def list_generators(
    request: Request, pid: PidPath, caller: Annotated[Caller, Depends(allowed("curator", "reader"))]
) -> list[ProgramView]:
    """Generators of test inputs."""
    _visible(request, pid, caller)
    return [_program(*found) for found in service_of(request).arena.cases.generators(pid)]


@router.post("/{pid}/generator/", status_code=201)
def add_generator(request: Request, pid: PidPath, body: ProgramBody, caller: Curator) -> ProgramView:
    """Add a generator: a program that reads a seed (one line) and prints an input."""
    program = Program(known_language(body.language), body.source)
    number = service_of(request).arena.cases.add_generator(pid, program, by=caller.known.account.id)
    return _program(number, program)


@router.post("/{pid}/generator/{number}/", status_code=202)
def generate_cases(
    request: Request, pid: PidPath, number: Number, body: GenerateBody, caller: Curator
) -> ProblemView:
    """Have the judge run a generator for each seed; what it gives is added as pending cases, with their seeds."""
    arena = service_of(request).arena
    if number not in (there for there, _ in arena.cases.generators(pid)):
        raise UnknownEntry(f"problem {pid!r} has no generator {number}")
    arena.cases.generate(pid, number, body.seeds, sample=body.sample)
    return problem_view(arena.problems.find(pid, hidden=True))


def _visible(request: Request, pid: str, caller: Caller) -> None:
    """What is not published is there for curators only."""
    if not caller.may("curator"):
        service_of(request).arena.problems.find(pid)


def problem_view(stored: StoredProblem, samples: list[StoredCase] | None = None) -> ProblemView:
    """A problem as it is answered; with `samples`, and then with its statement."""
    problem = stored.problem
    return ProblemView(
        pid=problem.pid,
        title=problem.title,
        bps=problem.bps,
        difficulty=problem.difficulty,
        time_ms=problem.time_ms,
        memory_kb=problem.memory_kb,
        checker=problem.checker,
        source=problem.source,
        licence=problem.licence,
        version=stored.version,
        visible_from=stored.visible_from,
        cases=stored.cases,
        attempts=stored.attempts,
        solved=stored.solved,
        ac=stored.ac,
        cs=stored.cs,
        statement=None if samples is None else problem.statement,
        samples=None
        if samples is None
        else [SampleView(ordinal=case.ordinal, input=case.input, output=case.output) for case in samples],
    )


def _case(case: StoredCase) -> CaseView:
    return CaseView(
        ordinal=case.ordinal,
        input=case.input,
        output=case.output,
        input_length=case.input_length,
        output_length=case.output_length,
        truncated=case.truncated,
        sample=case.sample,
        state=case.state,
        detail=case.detail,
        version=case.version,
        retired_in=case.retired_in,
        generator=case.generator,
        seed=case.seed,
        created_at=case.created_at,
    )


def _program(number: int, program: Program) -> ProgramView:
    return ProgramView(number=number, language=program.language, source=program.source)
