"""`/api/v2`: the shapes of DMOJ's API, for the `codearena` package on PyPI, which works unmodified.

The paper's site is a DMOJ; its client (0.0.5) reads `{"data": {"objects": [...]}}` and `{"data": {"object": {...}}}`,
and posts a form with problem_code, language and source. Fields have DMOJ's names: times are in seconds, memory in KiB,
and a language goes by DMOJ's name too ("Python 3", "PY3"). A problem's statement and a submission's `sid` are added.

Knows those shapes. Knows nothing of what is behind them but the arena's parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from firsthand.errors import FirsthandError
from firsthand.evaluation.codearena.grading.sandboxed import known_language, language_names
from firsthand.evaluation.codearena.refusals import InvalidRequest
from firsthand.evaluation.codearena.service.access import (
    Caller,
    caller_of,
    read_by,
    service_of,
    submitting,
    written_by,
)
from firsthand.evaluation.codearena.service.gate import error_answer
from firsthand.evaluation.codearena.service.routes_submissions import check_judges
from firsthand.evaluation.codearena.store.collection import StoredProblem
from firsthand.evaluation.codearena.store.submissions import Submission

__all__ = ["router"]

router = APIRouter(prefix="/api/v2", include_in_schema=False)
_PER_PAGE = 1000  # as DMOJ has it
_STATUS = {"queued": "QU", "leased": "P", "judging": "G", "done": "D", "failed": "IE"}


@router.get("/problems")
def problems(request: Request) -> JSONResponse:
    """A page of problems; `search` looks in ids and titles."""

    def answer(caller: Caller) -> dict[str, Any]:
        page = _page(request)
        found, total = service_of(request).arena.problems.page(
            q=_word(request, "search"), offset=(page - 1) * _PER_PAGE, limit=_PER_PAGE
        )
        return _list([_problem(stored) for stored in found], total, page)

    return _answered(request, answer)


@router.get("/problem/{pid}")
def problem(request: Request, pid: str) -> JSONResponse:
    """One problem."""

    def answer(caller: Caller) -> dict[str, Any]:
        stored = service_of(request).arena.problems.find(_sayable("problem", pid))
        return {
            "object": {
                **_problem(stored),
                "authors": [],
                "time_limit": stored.problem.time_ms / 1000,
                "memory_limit": stored.problem.memory_kb,
                "short_circuit": True,
                "languages": [names[0] for names in language_names().values()],
                "is_organization_private": False,
                "organizations": [],
                "statement": stored.problem.statement,
            }
        }

    return _answered(request, answer)


@router.get("/submissions")
def submissions(request: Request) -> JSONResponse:
    """A page of submissions; `user`, `problem`, `language` and `result` choose."""

    def answer(caller: Caller) -> dict[str, Any]:
        page = _page(request)
        language = _word(request, "language")
        found, total = service_of(request).arena.submissions.page(
            pid=_word(request, "problem"),
            user=_word(request, "user"),
            language=None if language is None else known_language(language),
            verdict=_word(request, "result"),
            offset=(page - 1) * _PER_PAGE,
            limit=_PER_PAGE,
        )
        points = service_of(request).arena.problems.points()
        return _list([_submission(one, points) for one in found], total, page)

    return _answered(request, answer)


@router.get("/submission/{sid}")
def submission(request: Request, sid: str) -> JSONResponse:
    """One submission with its cases, by DMOJ's number or by our id."""

    def answer(caller: Caller) -> dict[str, Any]:
        arena = service_of(request).arena
        found = arena.submissions.find(_sayable("submission", sid))
        arena.problems.find(found.problem)
        return {"object": _detail(request, found)}

    return _answered(request, answer)


@router.post("/submission")
async def post_submission(request: Request) -> JSONResponse:
    """Take a submission in, sent as a form."""
    form = await request.body()

    def answer() -> JSONResponse:
        try:
            caller = caller_of(request)
            written_by(request, caller, "generator")
            service = service_of(request)
            fields = _fields(form)
            submitting(request, caller)
            check_judges(service, fields["language"])
            sid = service.arena.submit(
                caller.known.account.name, fields["problem_code"], fields["language"], fields["source"]
            )
            return _json(request, {"data": {"object": _detail(request, service.arena.submission(sid))}}, 201)
        except FirsthandError as error:
            return _refused(request, error)

    return await run_in_threadpool(answer)


def _fields(form: bytes) -> dict[str, str]:
    try:
        fields = dict(parse_qsl(form.decode("ascii"), keep_blank_values=True, errors="strict"))
    except ValueError as error:
        raise InvalidRequest(f"the form cannot be read: {error}") from error
    for name in ("problem_code", "language", "source"):
        if name not in fields:
            raise InvalidRequest(f"the form needs the field {name!r}")
    _sayable("problem_code", fields["problem_code"])
    return fields


def _answered(request: Request, answer: Callable[[Caller], dict[str, Any]]) -> JSONResponse:
    try:
        caller = caller_of(request)
        read_by(request, caller)
        return _json(request, {"data": answer(caller)})
    except FirsthandError as error:
        return _refused(request, error)


def _refused(request: Request, error: FirsthandError) -> JSONResponse:
    answer = error_answer(error)
    said = {"code": answer.status_code, "message": str(error)}
    headers = {
        name: value for name, value in answer.headers.items() if name in ("retry-after", "www-authenticate")
    }
    return _json(request, {"error": said}, answer.status_code, headers)


def _json(
    request: Request, body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> JSONResponse:
    base = {
        "api_version": "2.0",
        "method": request.method.lower(),
        "fetched": datetime.now(UTC).isoformat(),
    }
    return JSONResponse({**base, **body}, status, headers)


def _list(objects: list[dict[str, Any]], total: int, page: int) -> dict[str, Any]:
    return {
        "current_object_count": len(objects),
        "objects_per_page": _PER_PAGE,
        "total_objects": total,
        "page_index": page,
        "total_pages": max(1, -(-total // _PER_PAGE)),
        "objects": objects,
    }


def _page(request: Request) -> int:
    text = _word(request, "page") or "1"
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= 1_000_000):
        raise InvalidRequest(f"page must be a number from 1, got {text!r}")
    return int(text)


def _word(request: Request, name: str) -> str | None:
    found = request.query_params.get(name)
    return None if found is None else _sayable(name, found)


def _sayable(name: str, text: str) -> str:
    """A text that every database can be asked for."""
    if "\0" in text or len(text) > 200:
        raise InvalidRequest(f"{name} cannot be looked for: it is too long, or has a NUL character")
    return text


def _problem(stored: StoredProblem) -> dict[str, Any]:
    problem = stored.problem
    return {
        "code": problem.pid,
        "name": problem.title,
        "types": [problem.difficulty] if problem.difficulty else [],
        "group": problem.source or "uncategorized",
        "points": problem.bps,
        "partial": False,
    }


def _submission(found: Submission, points: Mapping[str, float]) -> dict[str, Any]:
    return {
        "id": found.number,
        "sid": found.sid,
        "problem": found.problem,
        "user": found.user,
        "date": found.created_at.isoformat(),
        "language": language_names().get(found.language, (found.language,))[0],
        "time": _seconds(found.cpu_ms),
        "memory": found.peak_kb,
        "points": None if found.verdict is None else points[found.problem] if found.verdict == "AC" else 0.0,
        "result": found.verdict,
    }


def _detail(request: Request, found: Submission) -> dict[str, Any]:
    arena = service_of(request).arena
    outcomes = arena.submissions.outcomes(found.sid)
    return {
        **_submission(found, arena.problems.points()),
        "status": "AB" if found.verdict == "AB" else "CE" if found.verdict == "CE" else _STATUS[found.state],
        "case_points": float(sum(outcome.verdict == "AC" for outcome in outcomes)),
        "case_total": float(len(outcomes)),
        "cases": [
            {
                "case_number": outcome.ordinal,
                "status": outcome.verdict,
                "time": _seconds(outcome.cpu_ms),
                "memory": outcome.peak_kb,
                "points": float(outcome.verdict == "AC"),
                "total": 1.0,
            }
            for outcome in outcomes
        ],
    }


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
