"""Submissions: their list, and each with its source, its verdict as it comes, and what every test case gave."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.errors import NotAuthorized
from firsthand.evaluation.codearena.grading.sandboxed import language_names
from firsthand.evaluation.codearena.pages.frame import PAGE_HEADERS, Reader, Viewer, page, paged, shown_at
from firsthand.evaluation.codearena.pages.words import VERDICTS
from firsthand.evaluation.codearena.refusals import InvalidRequest
from firsthand.evaluation.codearena.service.access import service_of
from firsthand.evaluation.codearena.service.routes_submissions import shown
from firsthand.evaluation.codearena.service.schemas import SubmissionView

__all__ = ["SourceText", "router", "source_text"]

router = APIRouter()
Sid = Annotated[str, Path(pattern="^[0-9A-Z]{1,26}$")]
_FILTERS = ("problem", "user", "language", "verdict")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:@-]{0,63}")
_EXTENSIONS = {
    "c": "c", "cpp": "cpp", "go": "go", "haskell": "hs", "java": "java", "javascript": "js", "python": "py",
    "rust": "rs",
}  # fmt: skip
# Characters that reorder or hide text: a source could show one program and be another.
_UNSEEN = re.compile("([\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+)")
_MOST_NUMBERED = 20_000  # lines


@dataclass(frozen=True)
class SourceText:
    """A source in pieces: what is seen, and, marked, characters that are not; and how many lines it has."""

    pieces: tuple[tuple[bool, str], ...]
    lines: int
    deceptive: bool

    @property
    def numbers(self) -> range:
        """The numbers beside the lines."""
        return range(1, min(self.lines, _MOST_NUMBERED) + 1)


def source_text(source: str) -> SourceText:
    """A source to be shown, with every character that hides or reorders text named in its place."""
    text = source.replace("\r\n", "\n").replace("\r", "\n")
    pieces = []
    for number, piece in enumerate(_UNSEEN.split(text)):
        hidden = number % 2 == 1
        if piece:
            pieces.append((hidden, " ".join(f"U+{ord(one):04X}" for one in piece) if hidden else piece))
    lines = text.count("\n") + (not text.endswith("\n"))
    return SourceText(tuple(pieces), lines, any(hidden for hidden, _ in pieces))


@shown_at(router, "/submission/")
def submissions(request: Request, viewer: Reader) -> Response:
    """Submissions to published problems, the newest first."""
    arena = service_of(request).arena
    wanted = {name: request.query_params.get(name, "").strip() for name in _FILTERS}
    for name, text in wanted.items():
        if text and not _NAME.fullmatch(text):
            raise InvalidRequest(f"{name} is a name such as are in the lists, got {text[:80]!r}")
    if wanted["verdict"] and wanted["verdict"] not in VERDICTS:
        raise InvalidRequest(f"verdict is one of {', '.join(VERDICTS)}, got {wanted['verdict'][:20]!r}")
    asked = paged(request.query_params.get("page", "1"), 0, "/submission/", wanted)
    found, total = arena.submissions.page(
        pid=wanted["problem"] or None,
        user=wanted["user"] or None,
        language=wanted["language"] or None,
        verdict=wanted["verdict"] or None,
        offset=asked.offset,
        limit=asked.per_page,
    )
    return page(
        request,
        "submissions.html",
        viewer,
        here="submissions",
        found=found,
        paged=paged(str(asked.number), total, "/submission/", wanted),
        wanted=wanted,
        verdicts=VERDICTS,
        languages={slug: names[0] for slug, names in language_names().items()},
    )


@shown_at(router, "/submission/{sid}")
def submission(request: Request, sid: Sid, viewer: Reader) -> Response:
    """A submission."""
    view = _view(request, sid, viewer)
    return page(
        request,
        "submission.html",
        viewer,
        here="submissions",
        one=view,
        source=None if view.source is None else source_text(view.source),
        **_live(request, view, viewer),
    )


@shown_at(router, "/submission/{sid}/verdict")
def verdict(request: Request, sid: Sid, viewer: Reader) -> Response:
    """The part of the page that changes while the judge is at work: what its script asks for."""
    view = _view(request, sid, viewer)
    return page(request, "verdict.html", viewer, one=view, **_live(request, view, viewer))


@shown_at(router, "/submission/{sid}/source")
def source_file(request: Request, sid: Sid, viewer: Reader) -> Response:
    """The source as a file, for its owner and for readers."""
    view = _view(request, sid, viewer)
    if view.source is None:
        known = viewer.caller.identity is not None
        raise NotAuthorized("a source is shown to its owner and to readers", status=403 if known else 401)
    name = f"{view.problem}-{view.sid}.{_EXTENSIONS.get(view.language, 'txt')}"
    headers = {**PAGE_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(view.source, headers=headers, media_type="text/plain; charset=utf-8")


def _view(request: Request, sid: str, viewer: Viewer) -> SubmissionView:
    """What the API shows of it to the same caller."""
    service = service_of(request)
    return shown(service, viewer.caller, service.arena.submissions.find(sid))


def _live(request: Request, view: SubmissionView, viewer: Viewer) -> dict[str, Any]:
    """What the part of the page shows that changes while the judge is at work."""
    waits = view.state not in ("done", "failed")
    queue = _queue_in_words(service_of(request).arena) if waits and view.state == "queued" else ""
    return {"waits": waits, "queue": queue, "own": viewer.name == view.user}


def _queue_in_words(arena: Arena) -> str:
    """How long a queue it is, and whether anybody serves it."""
    judges = arena.judges.seen()
    if not judges:
        return "No judge was heard of lately: it waits until one is there."
    if all(judge.fault for judge in judges):
        return "No judge can isolate programs now, and without isolation none is run: it waits until one can."
    waiting = arena.queue.load().waiting
    return f"{waiting:,} jobs are waiting." if waiting > 1 else "It is the only one that waits."
