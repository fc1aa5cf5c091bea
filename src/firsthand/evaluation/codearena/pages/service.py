"""Logging in and out, what may be taken away, how points come about, and signals of leaked problems."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from sqlalchemy import and_, func, select
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.errors import NotAuthorized
from firsthand.evaluation.codearena.pages.board import board_of
from firsthand.evaluation.codearena.pages.frame import (
    PAGE_HEADERS,
    Form,
    Reader,
    Viewer,
    page,
    redirect,
    secure,
    set_cookie,
    shown_at,
    viewer_of,
)
from firsthand.evaluation.codearena.pages.problems import check_form, sees_data
from firsthand.evaluation.codearena.pages.recent import Recent
from firsthand.evaluation.codearena.pages.rules import board_address
from firsthand.evaluation.codearena.pages.sessions import COOKIE, TICKET, Sessions
from firsthand.evaluation.codearena.pages.words import rules_in_words
from firsthand.evaluation.codearena.refusals import InvalidRequest, TooManyRequests
from firsthand.evaluation.codearena.scores.attempts import Attempt
from firsthand.evaluation.codearena.scores.points import score
from firsthand.evaluation.codearena.scores.score_table import PairRow, ProblemRow, ScoreRow, ScoreTable
from firsthand.evaluation.codearena.service.access import service_of
from firsthand.evaluation.codearena.service.exchange import export_file
from firsthand.evaluation.codearena.store.accounts import Identity
from firsthand.evaluation.codearena.store.tables import problem, problem_edition

__all__ = ["router"]

router = APIRouter()
_FORMATS = {"arena.jsonl": ("jsonl", "application/x-ndjson"), "arena.zip": ("parquet", "application/zip")}
_LENGTHS = ("month", "quarter", "year")


# --- logging in --------------------------------------------------------------------------------------


@shown_at(router, "/login")
def login_form(request: Request) -> Response:
    """The form that takes a token."""
    return _login(request, viewer_of(request), _way_on(request.query_params.get("next", "")))


@router.post("/login")
def login(request: Request, form: Form) -> Response:
    """Take a token once; from now on the browser shows a cookie."""
    service, sessions = service_of(request), _sessions(request)
    way_on = _way_on(form.get("next", ""))
    if not sessions.fits(request.cookies.get(TICKET, ""), form.get("secret", "")):
        raise NotAuthorized(
            "the form was open for too long, or your browser keeps no cookies: load the page again",
            status=403,
        )
    address = service.address_of(request)
    wait = service.failures.missing(address)
    if wait > 0:
        raise TooManyRequests("too many wrong tokens came from this address; wait", wait)
    try:
        identity = service.arena.accounts.identify(form.get("key", "").strip())
    except NotAuthorized:
        service.failures.take(address)
        return _login(request, viewer_of(request), way_on, fault="This token is unknown, revoked or expired.")
    before = request.cookies.get(COOKIE)
    if before:
        sessions.close(before)  # never keep a session that somebody else may have begun
    cookie, _ = sessions.open(form["key"].strip())
    answer = redirect(way_on or _home_of(identity))
    set_cookie(request, answer, COOKIE, cookie)
    answer.delete_cookie(TICKET, path="/", httponly=True, samesite="strict", secure=secure(request))
    return answer


@router.post("/logout")
def logout(request: Request, form: Form) -> Response:
    """Forget the session, here and in the browser."""
    viewer = viewer_of(request)
    if viewer.session is not None:
        check_form(viewer.session, form)
        _sessions(request).close(request.cookies.get(COOKIE, ""))
    answer = redirect("/")
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict", secure=secure(request))
    return answer


def _login(request: Request, viewer: Viewer, way_on: str, fault: str = "") -> Response:
    cookie, seal = _sessions(request).ticket(request.cookies.get(TICKET, ""))
    answer = page(
        request,
        "login.html",
        viewer,
        status=401 if fault else 200,
        here="login",
        seal=seal,
        way_on=way_on,
        fault=fault,
    )
    set_cookie(request, answer, TICKET, cookie)
    return answer


def _sessions(request: Request) -> Sessions:
    found: Sessions = request.app.state.sessions
    return found


def _way_on(target: str) -> str:
    """Where to go after logging in: an address of ours, or nothing."""
    if not target.startswith("/") or target.startswith(("//", "/\\")) or len(target) > 500:
        return ""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or any(ord(one) < 33 or one == "\\" for one in target):
        return ""
    return target


def _home_of(identity: Identity) -> str:
    account = identity.account
    return f"/user/{account.name}" if account.kind in ("llm", "human") else "/"


# --- data --------------------------------------------------------------------------------------------


@shown_at(router, "/data")
def data(request: Request, viewer: Reader) -> Response:
    """What may be downloaded, and under which licences."""
    arena = service_of(request).arena
    licences = _licences(arena)
    _, sent = arena.submissions.page(limit=0)
    return page(
        request,
        "data.html",
        viewer,
        here="data",
        licences=licences,
        problems=sum(number for _, number in licences),
        submissions=sent,
        sees_data=sees_data(request, viewer),
    )


def _licences(arena: Arena) -> list[tuple[str, int]]:
    """Licences of published problems, and how many have each."""
    query = (
        select(problem_edition.c.licence, func.count())
        .join(
            problem,
            and_(
                problem.c.id == problem_edition.c.problem_id, problem.c.edition == problem_edition.c.edition
            ),
        )
        .where(problem.c.visible_from <= arena.clock())
        .group_by(problem_edition.c.licence)
    )
    with arena.database.read() as connection:
        return sorted((licence or "unknown", number) for licence, number in connection.execute(query))


@shown_at(router, "/data/{name}")
def data_file(request: Request, name: str, viewer: Reader) -> Response:
    """The whole arena as a file, for readers."""
    if name not in _FORMATS:
        raise InvalidRequest(f"the data are {' or '.join(_FORMATS)}, not {name[:80]!r}")
    if not service_of(request).settings.open_data:
        viewer.caller.known.require("reader", "curator")
    form, kind = _FORMATS[name]
    path = export_file(service_of(request).arena.database, form)  # type: ignore[arg-type]
    return FileResponse(
        path,
        filename=name,
        media_type=kind,
        headers=PAGE_HEADERS,
        background=BackgroundTask(FilePath(path).unlink, missing_ok=True),
    )


# --- leaks -------------------------------------------------------------------------------------------


@shown_at(router, "/leakage")
def leakage(request: Request, viewer: Reader) -> Response:
    """Signals that problems leaked: what a stranger may see, and copied programs for readers."""
    arena = service_of(request).arena
    length = request.query_params.get("length", "month")
    if length not in _LENGTHS:
        raise InvalidRequest(f"length is {', '.join(_LENGTHS)}, got {length[:40]!r}")
    address = board_address(request.query_params.multi_items())
    may_see = sees_data(request, viewer)
    copies = may_see and request.query_params.get("copies") == "1"
    recent: Recent = request.app.state.recent
    found, moment = recent.of(
        ("leakage", address.rules, length, copies),
        lambda: (arena.leakage(address.rules, length=length, copies=copies), arena.clock()),  # type: ignore[arg-type]
        lambda drawn: sum(row["attempts"] for row in drawn[0]["periods"]),
    )
    return page(
        request,
        "leakage.html",
        viewer,
        here="leakage",
        found=found,
        length=length,
        lengths=_LENGTHS,
        may_see=may_see,
        copies=copies,
        at=moment,
    )


# --- how points come about ---------------------------------------------------------------------------

# Figure 3 of the paper has the times; who took which is not printed there.
_EXAMPLE_POINTS = {"P1": 5.0, "P2": 3.0, "P3": 5.0}
_EXAMPLE_TIMES = {
    "A": {"P1": 58.0, "P2": 42.0, "P3": None},
    "B": {"P1": None, "P2": 24.0, "P3": 19.0},
    "C": {"P1": None, "P2": 48.0, "P3": 22.0},
}


@dataclass(frozen=True)
class Worked:
    """One solved problem of somebody, with the numbers that its points are made of."""

    user: str
    pair: PairRow
    problem: ProblemRow
    solvers: int
    slower: int  # of them, who took at least as long
    row: ScoreRow


@cache
def _examples() -> tuple[ScoreTable, ScoreTable]:
    attempts = [
        Attempt(user, problem, time is not None, time)
        for user, times in _EXAMPLE_TIMES.items()
        for problem, time in times.items()
    ]
    return score(attempts, _EXAMPLE_POINTS), score(attempts, _EXAMPLE_POINTS, challenge="share")


@shown_at(router, "/about")
def about(request: Request, viewer: Reader) -> Response:
    """What the points are, with the formula beside the numbers."""
    arena = service_of(request).arena
    formula, share = _examples()
    table, _ = board_of(request)
    return page(
        request,
        "about.html",
        viewer,
        here="about",
        example=formula,
        share=share,
        example_times=_EXAMPLE_TIMES,
        cells={(row.user, row.problem): row for row in formula.pairs.rows()},
        worked=_worked(table),
        sentences=rules_in_words(table.rules),
        judges=_judges(arena),
        settings=service_of(request).settings,
    )


def _worked(table: ScoreTable) -> Worked | None:
    """The first contestant's problem that gave the most points, of those that several solved."""
    if not table.rows or not table.rows[0].solved:
        return None
    row = table.rows[0]
    problems = {one.problem: one for one in table.problems}
    solved = [pair for pair in table.breakdown(row.user) if pair.solved]
    pair = max(solved, key=lambda pair: (problems[pair.problem].solvers > 1, pair.cs + pair.es))
    problem = problems[pair.problem]
    return Worked(row.user, pair, problem, problem.solvers, round(pair.es * problem.solvers), row)


def _judges(arena: Arena) -> list[str]:
    """The languages that judges at work have installed."""
    return sorted({name for judge in arena.judges.seen() if not judge.fault for name in judge.languages})
