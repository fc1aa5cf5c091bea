"""Routes of the service itself: health, metrics, languages, the event log, the audit, the export.

Knows HTTP.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse
from starlette.background import BackgroundTask

from firsthand.evaluation.codearena.grading.sandboxed import language_names
from firsthand.evaluation.codearena.service.access import (
    AnyReader,
    Caller,
    DataReader,
    allowed,
    caller_of,
    service_of,
)
from firsthand.evaluation.codearena.service.exchange import export_file
from firsthand.evaluation.codearena.service.schemas import (
    AuditView,
    EventView,
    HealthView,
    JudgeView,
    LanguageView,
)
from firsthand.evaluation.codearena.store.metrics import metrics_text

__all__ = ["router"]

router = APIRouter(tags=["service"])
Admin = Annotated[Caller, Depends(allowed("admin"))]


@router.get("/healthz")
def healthz(request: Request) -> HealthView:
    """Whether the server and its database answer, what waits, and which judges were heard of lately.

    Where nobody reads without a token, judges are listed for those with one.
    """
    service = service_of(request)
    arena, load = service.arena, service.arena.queue.load()
    listed = service.settings.public_reads or caller_of(request).identity is not None
    return HealthView(
        status="ok",
        waiting=load.waiting,
        leased=load.leased,
        oldest=load.oldest,
        judges=[JudgeView(**asdict(judge)) for judge in arena.judges.seen()] if listed else [],
    )


@router.get(
    "/metrics",
    response_class=Response,  # errors are JSON here too
    responses={200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}}},
)
def metrics(request: Request, caller: AnyReader) -> PlainTextResponse:
    """Figures as Prometheus reads them."""
    return PlainTextResponse(
        metrics_text(service_of(request)), media_type="text/plain; version=0.0.4; charset=utf-8"
    )


@router.get("/api/language/")
def list_languages(caller: AnyReader) -> list[LanguageView]:
    """Languages that submissions may be in."""
    return [
        LanguageView(name=slug, title=names[0], aliases=list(names[2:]))
        for slug, names in language_names().items()
    ]


@router.get("/api/event/")
def list_events(
    request: Request,
    caller: Admin,
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    subject: Annotated[str | None, Query(max_length=120, pattern=r"^[^\x00]*$")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> list[EventView]:
    """What happened, oldest first."""
    found = service_of(request).arena.events(after=after, subject=subject, limit=limit)
    return [EventView(**asdict(event)) for event in found]


@router.get("/api/audit/")
def audit(request: Request, caller: Admin) -> AuditView:
    """Score everything afresh and compare it with what is kept."""
    found = service_of(request).arena.audit()
    return AuditView(
        clean=found.clean,
        problems=found.problems,
        rows=found.rows,
        submissions=found.submissions,
        differences=list(found.differences[:1000]),
    )


@router.get(
    "/api/export",
    response_class=FileResponse,
    responses={
        200: {
            "description": "Everything but secrets; the problems' rows name their licences.",
            "content": {"application/x-ndjson": {}, "application/zip": {}},
        }
    },
)
def export(
    request: Request, caller: DataReader, format: Annotated[Literal["jsonl", "parquet"], Query()] = "jsonl"
) -> FileResponse:
    """All problems, test cases, submissions and judgements: JSONL, or a zip of Parquet files."""
    path = export_file(service_of(request).arena.database, format)
    return FileResponse(
        path,
        filename=path.name,
        media_type="application/x-ndjson" if format == "jsonl" else "application/zip",
        background=BackgroundTask(shutil.rmtree, path.parent, ignore_errors=True),
    )
