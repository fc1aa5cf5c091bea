"""Problems: their list, each with its statement and who solved it, and the form that takes a program."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from sqlalchemy import and_, case, func, select
from starlette.responses import Response

from firsthand.errors import FirsthandError
from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.errors import ArenaError, NotAuthorized
from firsthand.evaluation.codearena.grading.sandboxed import language_names
from firsthand.evaluation.codearena.pages.frame import (
    PAGE_HEADERS,
    Form,
    Reader,
    Viewer,
    page,
    paged,
    redirect,
    shown_at,
)
from firsthand.evaluation.codearena.pages.sessions import Session
from firsthand.evaluation.codearena.pages.statement import statement_html
from firsthand.evaluation.codearena.refusals import InvalidRequest
from firsthand.evaluation.codearena.service.access import service_of, submitting, written_by
from firsthand.evaluation.codearena.service.gate import error_answer
from firsthand.evaluation.codearena.service.routes_submissions import check_judges
from firsthand.evaluation.codearena.service.schemas import Pid
from firsthand.evaluation.codearena.store import tables
from firsthand.evaluation.codearena.store.cases import StoredCase
from firsthand.evaluation.codearena.store.collection import StoredProblem

__all__ = ["check_form", "router", "sees_data"]

router = APIRouter()
PidPath = Annotated[Pid, Path()]
_SHOWN = 8 * 1024  # characters of a sample
_CUT = 20  # solvers that are listed


@dataclass(frozen=True)
class Solver:
    """Who solved a problem, from the fastest; equal times share a place."""

    place: int
    user: str
    runtime_ms: float
    points: float


@shown_at(router, "/problem/")
def problems(request: Request, viewer: Reader) -> Response:
    """All published problems, or those whose id or title holds a text."""
    arena = service_of(request).arena
    wanted = {name: request.query_params.get(name, "").strip()[:200] for name in ("q", "difficulty")}
    if any("\0" in text for text in wanted.values()):
        raise InvalidRequest("a text that is looked for has no NUL character")
    hidden = viewer.caller.may("curator")
    asked = paged(request.query_params.get("page", "1"), 0, "/problem/", wanted)
    found, total = arena.problems.page(
        q=wanted["q"] or None,
        difficulty=wanted["difficulty"] or None,
        hidden=hidden,
        offset=asked.offset,
        limit=asked.per_page,
    )
    mine = _own_results(arena, viewer)
    return page(
        request,
        "problems.html",
        viewer,
        here="problems",
        found=found,
        paged=paged(str(asked.number), total, "/problem/", wanted),
        wanted=wanted,
        difficulties=_difficulties(arena),
        now=arena.clock(),
        mine=mine,
    )


def _difficulties(arena: Arena) -> list[str]:
    """Labels that published problems have."""
    problem, edition = tables.problem.c, tables.problem_edition.c
    query = (
        select(edition.difficulty)
        .join(tables.problem, and_(problem.id == edition.problem_id, problem.edition == edition.edition))
        .where(edition.difficulty != "", problem.visible_from <= arena.clock())
        .distinct()
    )
    with arena.database.read() as connection:
        return sorted(connection.execute(query).scalars())


def _own_results(arena: Arena, viewer: Viewer) -> dict[str, str]:
    """What the viewer tried, and what became of it: solved, tried, or waiting for its verdict."""
    if not viewer.submits:
        return {}
    verdict = tables.submission.c.verdict
    best = func.max(case((verdict == "AC", 2), (verdict.is_not(None), 1), else_=0))
    query = (
        select(tables.problem.c.pid, best)
        .select_from(tables.submission)
        .join(tables.account, tables.account.c.id == tables.submission.c.account_id)
        .join(tables.problem, tables.problem.c.id == tables.submission.c.problem_id)
        .where(tables.account.c.name == viewer.name, tables.submission.c.counted)
        .group_by(tables.problem.c.pid)
    )
    with arena.database.read() as connection:
        return {pid: ("waiting", "tried", "solved")[number] for pid, number in connection.execute(query)}


@shown_at(router, "/problem/{pid}")
def problem(request: Request, pid: PidPath, viewer: Reader) -> Response:
    """A problem with its statement, samples, limits, and solvers by time."""
    arena = service_of(request).arena
    stored = arena.problems.find(pid, hidden=viewer.caller.may("curator"))
    return page(
        request,
        "problem.html",
        viewer,
        here="problems",
        stored=stored,
        problem=stored.problem,
        statement=statement_html(stored.problem.statement),
        samples=[_sample(case) for case in arena.cases.samples(pid, longest=_SHOWN)],
        solvers=_solvers(arena, pid),
        sees_data=sees_data(request, viewer),
        now=arena.clock(),
    )


def _sample(case: StoredCase) -> dict[str, Any]:
    return {"ordinal": case.ordinal, "input": case.input, "output": case.output, "cut": case.truncated}


def _solvers(arena: Arena, pid: str) -> list[Solver]:
    """Language models by their fastest accepted solution, as the arena's own board has them; the first of them."""
    kept = tables.user_problem_score.c
    query = (
        select(tables.account.c.name, kept.runtime_ms, kept.cs + kept.es)
        .join(tables.account, tables.account.c.id == kept.account_id)
        .join(tables.problem, tables.problem.c.id == kept.problem_id)
        .where(tables.problem.c.pid == pid, kept.accepted > 0)
        .order_by(kept.runtime_ms, tables.account.c.name)
        .limit(_CUT)
    )
    found: list[Solver] = []
    with arena.database.read() as connection:
        for number, (user, time, points) in enumerate(connection.execute(query), 1):
            place = found[-1].place if found and found[-1].runtime_ms == time else number
            found.append(Solver(place, user, time, points))
    return found


@shown_at(router, "/problem/{pid}/statement.md")
def statement_file(request: Request, pid: PidPath, viewer: Reader) -> Response:
    """The statement as its curator wrote it."""
    stored = service_of(request).arena.problems.find(pid, hidden=viewer.caller.may("curator"))
    return _download(f"{pid}.md", stored.problem.statement.encode(), "text/markdown; charset=utf-8")


@shown_at(router, "/problem/{pid}/samples.json")
def samples_file(request: Request, pid: PidPath, viewer: Reader) -> Response:
    """The samples, whole."""
    arena = service_of(request).arena
    arena.problems.find(pid, hidden=viewer.caller.may("curator"))
    return _cases_file(f"{pid}-samples.json", arena.cases.samples(pid))


@shown_at(router, "/problem/{pid}/cases.json")
def cases_file(request: Request, pid: PidPath, viewer: Reader) -> Response:
    """All test cases that submissions are judged by now, for readers."""
    arena = service_of(request).arena
    if not service_of(request).settings.open_data:
        viewer.caller.known.require("reader", "curator")
    arena.problems.find(pid, hidden=viewer.caller.may("curator"))
    return _cases_file(f"{pid}-cases.json", arena.cases.active(pid))


def _cases_file(name: str, cases: list[StoredCase]) -> Response:
    rows = [{"ordinal": case.ordinal, "input": case.input, "output": case.output} for case in cases]
    return _download(name, json.dumps(rows, ensure_ascii=False, indent=1).encode(), "application/json")


def _download(name: str, content: bytes, kind: str) -> Response:
    # Ids have only letters, digits and . _ -, so that the name needs no quoting.
    headers = {**PAGE_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, headers=headers, media_type=kind)


def sees_data(request: Request, viewer: Viewer) -> bool:
    """Whether sources, test cases and the export are shown."""
    return service_of(request).settings.open_data or any(
        viewer.caller.may(scope) for scope in ("reader", "curator")
    )


# --- handing in --------------------------------------------------------------------------------------


@shown_at(router, "/submit/{pid}")
def submit_form(request: Request, pid: PidPath, viewer: Reader) -> Response:
    """The form that takes a program."""
    if viewer.session is None:
        return redirect(f"/login?next=/submit/{pid}")
    stored = service_of(request).arena.problems.find(pid)
    return _form(request, viewer, stored, language=request.query_params.get("language", "")[:32])


@router.post("/submit/{pid}")
def submit(request: Request, pid: PidPath, viewer: Reader, form: Form) -> Response:
    """Take a program, and lead to its verdict; what is refused stands in the form again."""
    service = service_of(request)
    if viewer.session is None:
        raise NotAuthorized("you were logged out meanwhile; log in, go back and hand in again")
    check_form(viewer.session, form)
    stored = service.arena.problems.find(pid)
    language, source = form.get("language", ""), form.get("source", "")
    try:
        written_by(request, viewer.caller, "generator")
        submitting(request, viewer.caller)
        if not language:
            raise InvalidRequest("choose the language of your program")
        check_judges(service, language)
        # The same form sent twice, by an impatient click, is one submission; a changed program is another one.
        content = hashlib.sha256(f"{language}\0{source}".encode("utf-8", "replace")).hexdigest()
        sid = service.arena.submit(
            str(viewer.name),
            pid,
            language,
            source,
            idempotency_key=f"page {form.get('once', '')[:64]} {content}",
        )
    except FirsthandError as error:
        return _form(request, viewer, stored, language=language, source=source, error=error)
    return redirect(f"/submission/{sid}")


def check_form(session: Session, form: dict[str, str]) -> None:
    """Raise `NotAuthorized` (403) for a form that this session did not get from us."""
    if not session.owns(form.get("secret", "")):
        raise NotAuthorized(
            "the form is not of this session: go back, load the page again, and send it once more", status=403
        )


def _form(
    request: Request,
    viewer: Viewer,
    stored: StoredProblem,
    *,
    language: str = "",
    source: str = "",
    error: FirsthandError | None = None,
) -> Response:
    service = service_of(request)
    judges = [judge for judge in service.arena.judges.seen() if not judge.fault]
    there = {name for judge in judges for name in judge.languages}
    languages = [(slug, names[0]) for slug, names in language_names().items() if not there or slug in there]
    status, headers = 200, {}
    if error is not None:
        status = error.status if isinstance(error, ArenaError) else 422
        headers = {
            name: value
            for name, value in error_answer(error).headers.items()
            if name.lower() == "retry-after"
        }
    identity = viewer.caller.identity
    return page(
        request,
        "submit.html",
        viewer,
        status=status,
        headers=headers,
        here="problems",
        problem=stored.problem,
        languages=languages,
        language=language,
        source=source,
        fault=str(error) if error else "",
        once=secrets.token_hex(8),
        source_kb=service.settings.source_kb,
        one_attempt=identity is not None and identity.account.kind == "llm",
        used=_own_results(service.arena, viewer).get(stored.pid),
    )
