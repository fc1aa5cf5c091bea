"""The league table by any rules, with intervals and a second opinion where they are asked for, and its history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request
from starlette.responses import Response

from firsthand.errors import InputError
from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.pages.frame import Reader, Viewer, page, shown_at
from firsthand.evaluation.codearena.pages.history import history_of
from firsthand.evaluation.codearena.pages.recent import Recent
from firsthand.evaluation.codearena.pages.rules import BoardAddress, board_address
from firsthand.evaluation.codearena.pages.words import rules_in_words
from firsthand.evaluation.codearena.refusals import InvalidRequest
from firsthand.evaluation.codearena.scores.ratings import RatingRow, Ratings
from firsthand.evaluation.codearena.scores.resampling import Bootstrap, BootstrapRow
from firsthand.evaluation.codearena.scores.rules import Rules
from firsthand.evaluation.codearena.scores.score_table import ScoreRow, ScoreTable
from firsthand.evaluation.codearena.service.access import service_of
from firsthand.evaluation.codearena.store.checkpoints import HistoryPoint

__all__ = ["board_of", "history_points", "intervals_of", "kinds_of", "router", "second_opinion"]

router = APIRouter()
RESAMPLES = 1000
_CHECKPOINTS = 200  # of a chart


@dataclass(frozen=True)
class BoardLine:
    """A contestant's line: points, and what stands beside them where it was asked for."""

    row: ScoreRow
    kind: str
    interval: BootstrapRow | None = None
    second: RatingRow | None = None
    moved: int | None = None  # places gained against the arena's own board; None: not on it, or not asked


@shown_at(router, "/")
def league(request: Request, viewer: Reader) -> Response:
    """The league table."""
    arena = service_of(request).arena
    wanted = request.query_params.get("intervals", "")
    try:
        address = board_address(request.query_params.multi_items())
        table, moment = board_of(request, address.rules, address.at)
    except (InputError, InvalidRequest) as error:
        return _refused(request, viewer, error)
    with_intervals = wanted == "1" and bool(table.rows) and bool(table.problems)
    intervals = intervals_of(arena, table) if with_intervals else None
    second = second_opinion(arena, table, address.at) if with_intervals else None
    names = [row.user for row in table.rows]
    highest = [row.dp for row in table.rows] + [row.high for row in (intervals.rows if intervals else ())]
    points = history_points(arena, address.rules) if address.at is None else []
    return page(
        request,
        "league.html",
        viewer,
        here="league",
        lines=_lines(request, table, address, intervals, second),
        table=table,
        address=address,
        rules=address.rules,
        sentences=rules_in_words(address.rules),
        at=moment,
        intervals=intervals,
        second=second,
        scale=max(highest, default=0.0) or 1.0,
        history=history_of(points, names),
        host_classes=_host_classes(arena, table),
        fault="",
    )


def board_of(
    request: Request, rules: Rules | None = None, at: datetime | None = None
) -> tuple[ScoreTable, datetime]:
    """A board, and the moment that it is of; while judges are at work a large one may be a few seconds old."""
    arena = service_of(request).arena
    wanted = rules or Rules()
    if at is not None:
        return arena.standing.ranking(at, wanted), at
    recent: Recent = request.app.state.recent
    return recent.of(
        ("board", wanted),
        lambda: (arena.standing.ranking(rules=wanted), arena.clock()),
        lambda drawn: len(drawn[0].pairs.user),
    )


def _refused(request: Request, viewer: Viewer, error: Exception) -> Response:
    """The form again, with what was wrong."""
    sent = error.args[1] if isinstance(error, InvalidRequest) and len(error.args) > 1 else None
    if sent is None:
        query = request.query_params.multi_items()
        sent = board_address(query).sent  # it was read, and is wrong only for this arena
    address = BoardAddress(Rules(), None, "", sent)
    return page(
        request, "league.html", viewer, status=422, here="league", lines=[], table=None, address=address,
        rules=address.rules, sentences=[], at=None, intervals=None, second=None, history=None, host_classes={},
        scale=1.0, fault=str(error),
    )  # fmt: skip


def _lines(
    request: Request,
    table: ScoreTable,
    address: BoardAddress,
    intervals: Bootstrap | None,
    second: Ratings | None,
) -> list[BoardLine]:
    kinds = kinds_of(service_of(request).arena, address.rules)
    spans = {row.user: row for row in intervals.rows} if intervals is not None else {}
    ratings = {row.user: row for row in second.rows} if second is not None else {}
    before: dict[str, int] = {}
    if not address.is_default:
        before = _places(board_of(request)[0], {row.user for row in table.rows})
    return [
        BoardLine(
            row,
            kinds.get(row.user, "llm"),
            spans.get(row.user),
            ratings.get(row.user),
            before[row.user] - row.rank if row.user in before else None,
        )
        for row in table.rows
    ]


def _places(board: ScoreTable, users: set[str]) -> dict[str, int]:
    """Places that these users have among each other: who was left out moves nobody."""
    points = [row.dp for row in board.rows if row.user in users]
    return {row.user: 1 + sum(dp > row.dp for dp in points) for row in board.rows if row.user in users}


def kinds_of(arena: Arena, rules: Rules) -> dict[str, str]:
    """What kind of account everybody on a board is."""
    if rules.population == "llm":
        return {}  # all of them are language models
    found, _ = arena.accounts.page(limit=100_000)
    return {account.name: account.kind for account in found}


def intervals_of(arena: Arena, table: ScoreTable) -> Bootstrap:
    """Intervals over resampled problems; kept together with the board that they belong to, so that its id stays."""
    key = ("page intervals", id(table))
    kept: tuple[ScoreTable, Bootstrap] = arena.standing.kept(
        key, lambda: (table, table.bootstrap(n=RESAMPLES))
    )
    return kept[1]


def second_opinion(arena: Arena, table: ScoreTable, at: datetime | None = None) -> Ratings:
    """Bradley-Terry strengths of the same field, drawn once for a board."""
    rules = table.rules
    key = ("page strengths", id(table))

    def draw() -> tuple[ScoreTable, Ratings]:
        return table, arena.rating(
            "bradley-terry", at=at, population=rules.population, leave_out=rules.leave_out
        )

    kept: tuple[ScoreTable, Ratings] = arena.standing.kept(key, draw)
    return kept[1]


def _host_classes(arena: Arena, table: ScoreTable) -> dict[str, int]:
    """On what kinds of machines solutions were timed, counted once for a board."""
    key = ("page machines", id(table))
    kept: tuple[ScoreTable, dict[str, int]] = arena.standing.kept(
        key, lambda: (table, arena.standing.host_classes())
    )
    return kept[1]


def history_points(arena: Arena, rules: Rules) -> list[HistoryPoint]:
    """Everybody on the newest checkpoints of the same rules, read again only once there is a new one."""
    newest, total = arena.checkpoints.page(limit=1)
    key = ("page history", newest[0].id if newest else 0, total, rules)
    return arena.standing.kept(key, lambda: arena.checkpoints.history(rules=rules, most=_CHECKPOINTS))
