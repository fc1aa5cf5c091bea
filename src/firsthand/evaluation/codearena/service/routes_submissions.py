"""Routes of submissions: one or many in, and what came of them.

Knows HTTP, and hands everything on to `submissions`. A source is shown to its owner and to readers.
"""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from firsthand.errors import FirsthandError
from firsthand.evaluation.codearena.errors import SandboxUnavailable, UnsupportedLanguage
from firsthand.evaluation.codearena.grading.sandboxed import known_language, language_names
from firsthand.evaluation.codearena.service.access import (
    AnyReader,
    Caller,
    Service,
    service_of,
    submitting,
    writes,
)
from firsthand.evaluation.codearena.service.bodies import BatchBody, RetimeBody, SubmissionBody
from firsthand.evaluation.codearena.service.gate import error_answer
from firsthand.evaluation.codearena.service.paging import Paging, page_of
from firsthand.evaluation.codearena.service.schemas import (
    BatchItem,
    BatchView,
    CaseOutcomeView,
    ErrorView,
    Name,
    Page,
    Pid,
    SubmissionView,
)
from firsthand.evaluation.codearena.store.submissions import CaseOutcome, Submission

__all__ = ["check_judges", "router", "shown", "submission_view"]

router = APIRouter(prefix="/api", tags=["submission"])
Sid = Annotated[str, Path(pattern="^[0-9A-Z]{1,26}$")]
Generator = Annotated[Caller, Depends(writes("generator"))]
Admin = Annotated[Caller, Depends(writes("admin"))]
Verdict = Annotated[str | None, Query(pattern="^[A-Z]{2,3}$")]
Language = Annotated[str | None, Query(max_length=32, pattern=r"^[^\x00]*$")]


@router.post("/submission/", status_code=201)
def submit(request: Request, body: SubmissionBody, caller: Generator) -> SubmissionView:
    """Send a program to be judged; the answer has its id at once, the verdict comes later."""
    service = service_of(request)
    submitting(request, caller)
    return _submit(service, caller, body)


@router.post("/submission/batch", status_code=201)
def submit_batch(request: Request, body: BatchBody, caller: Generator) -> BatchView:
    """Send up to 100 programs; each is taken or refused for itself, and the answer has one item for each."""
    service = service_of(request)
    submitting(request, caller, len(body.submissions))
    items = []
    for one in body.submissions:
        try:
            items.append(BatchItem(submission=_submit(service, caller, one)))
        except FirsthandError as error:
            refusal = json.loads(bytes(error_answer(error).body))
            items.append(BatchItem(error=ErrorView(**refusal)))
    return BatchView(items=items)


def _submit(service: Service, caller: Caller, body: SubmissionBody) -> SubmissionView:
    submissions = service.arena.submissions
    check_judges(service, body.language)
    sid = submissions.submit(
        caller.known.account.name,
        body.problem,
        body.language,
        body.source,
        idempotency_key=body.idempotency_key,
        extra=body.extra,
    )
    return submission_view(submissions.find(sid), whole=True)


def check_judges(service: Service, language: str) -> None:
    """Refuse what none of the judges that were heard of lately could judge; where none was, it waits for one.

    Raises:
        SandboxUnavailable: all of them say that they cannot isolate programs.
        UnsupportedLanguage: none has the language installed, or there is no such language.
    """
    slug = known_language(language)
    judges = service.arena.judges.seen()
    able = [judge for judge in judges if not judge.fault]
    if judges and not able:
        raise SandboxUnavailable(f"no judge can isolate programs, so nothing is judged: {judges[0].fault}")
    there = sorted({name for judge in able for name in judge.languages})
    if there and slug not in there:
        raise UnsupportedLanguage(
            f"no judge of this arena has {language_names()[slug][0]} installed; they have {', '.join(there)}"
        )


@router.get("/submission/")
def list_submissions(
    request: Request,
    caller: AnyReader,
    paging: Paging,
    problem: Annotated[Pid | None, Query()] = None,
    user: Annotated[Name | None, Query()] = None,
    language: Language = None,
    verdict: Verdict = None,
) -> Page[SubmissionView]:
    """Submissions, the newest first."""
    found, total = service_of(request).arena.submissions.page(
        pid=problem,
        user=user,
        language=language,
        verdict=verdict,
        offset=paging.offset,
        limit=paging.per_page,
    )
    return page_of([submission_view(one) for one in found], total, paging)


@router.get("/problem/{pid}/submission/")
def list_submissions_to(
    request: Request,
    pid: Annotated[Pid, Path()],
    caller: AnyReader,
    paging: Paging,
    user: Annotated[Name | None, Query()] = None,
    language: Language = None,
    verdict: Verdict = None,
) -> Page[SubmissionView]:
    """Submissions to a problem, the newest first."""
    arena = service_of(request).arena
    arena.problems.find(pid)
    found, total = arena.submissions.page(
        pid=pid, user=user, language=language, verdict=verdict, offset=paging.offset, limit=paging.per_page
    )
    return page_of([submission_view(one) for one in found], total, paging)


@router.get("/submission/{sid}/")
def get_submission(request: Request, sid: Sid, caller: AnyReader) -> SubmissionView:
    """A submission with what each test case gave; its source is for its owner and for readers."""
    service = service_of(request)
    found = service.arena.submissions.find(sid)
    return shown(service, caller, found)


@router.post("/submission/{sid}/rejudge", status_code=202)
def rejudge(request: Request, sid: Sid, caller: Admin) -> SubmissionView:
    """Judge a submission again; the judgement in force counts until then."""
    submissions = service_of(request).arena.submissions
    submissions.rejudge(sid)
    return submission_view(submissions.find(sid), whole=True)


@router.post("/submission/{sid}/abort")
def abort(request: Request, sid: Sid, caller: Admin) -> SubmissionView:
    """Take a submission out for good: it counts for nothing, and a language model has its attempt back."""
    submissions = service_of(request).arena.submissions
    submissions.abort(sid)
    return submission_view(submissions.find(sid), whole=True)


@router.post("/submission/retime", status_code=202)
def retime(request: Request, body: RetimeBody, caller: Admin) -> list[str]:
    """Time accepted solutions again on one class of machines; the answer has the ids of those that will be."""
    return service_of(request).arena.submissions.retime(body.host_class)


def shown(service: Service, caller: Caller, found: Submission) -> SubmissionView:
    """A submission as this caller may see it."""
    reader = service.settings.open_data or caller.may("reader")
    mine = caller.name == found.user
    if not (reader or mine or caller.may("curator")):
        service.arena.problems.find(
            found.problem
        )  # submissions to what is not published are not there either
    return submission_view(
        found,
        whole=reader or mine,
        outcomes=service.arena.submissions.outcomes(found.sid),
        details=reader,
    )


def submission_view(
    found: Submission,
    *,
    whole: bool = False,
    outcomes: list[CaseOutcome] | None = None,
    details: bool = False,
) -> SubmissionView:
    """A submission as it is answered.

    Args:
        whole: with source, message and hash.
        outcomes: of test cases; None leaves them out.
        details: with what the checker says of a case, which may tell the expected output.
    """
    return SubmissionView(
        sid=found.sid,
        number=found.number,
        user=found.user,
        user_kind=found.user_kind,
        problem=found.problem,
        version=found.version,
        language=found.language,
        state=found.state,
        verdict=found.verdict,
        counted=found.counted,
        extra=found.extra,
        cpu_ms=found.cpu_ms,
        wall_ms=found.wall_ms,
        peak_kb=found.peak_kb,
        spread_ms=found.spread_ms,
        host_class=found.host_class,
        created_at=found.created_at,
        judged_at=found.judged_at,
        source=found.source if whole else None,
        message=found.message if whole else None,
        sha256=found.sha256 if whole else None,
        cases=None
        if outcomes is None
        else [
            CaseOutcomeView(
                ordinal=one.ordinal,
                verdict=one.verdict,
                cpu_ms=one.cpu_ms,
                wall_ms=one.wall_ms,
                peak_kb=one.peak_kb,
                detail=one.detail if details else None,
            )
            for one in outcomes
        ],
    )
