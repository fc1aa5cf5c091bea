"""Routes of boards: rankings by any rules and at any time, history, checkpoints, and signals of leaked problems.

Knows HTTP, and hands everything on to `arena`, `checkpoints`, `leakage` and `sources`. `GET /api/ranking/` is what the
leaderboard's page shows.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field

from firsthand.evaluation.codearena.arena import Method
from firsthand.evaluation.codearena.refusals import InvalidRequest
from firsthand.evaluation.codearena.scores.ratings import Ratings
from firsthand.evaluation.codearena.scores.rules import Rules
from firsthand.evaluation.codearena.scores.score_table import ScoreTable
from firsthand.evaluation.codearena.service.access import AnyReader, Caller, DataReader, service_of, writes
from firsthand.evaluation.codearena.service.paging import Paging, page_of
from firsthand.evaluation.codearena.service.schemas import (
    CheckpointBrief,
    CheckpointView,
    HistoryRow,
    HistoryView,
    LeakageView,
    Moment,
    Name,
    Page,
    RankingView,
)
from firsthand.evaluation.codearena.store.checkpoints import Checkpoint

__all__ = ["RulesOf", "router"]

router = APIRouter(prefix="/api", tags=["ranking"])
_WORDS = ("llm", "human", "all")
LeftOut = Annotated[
    list[Annotated[str, Field(max_length=80, pattern=r"^((user|problem):)?[A-Za-z0-9][A-Za-z0-9._+:@-]{0,63}$")]],
    Query(max_length=200, description="users and problems to score without; user:NAME or problem:PID where both"),
]  # fmt: skip


def rules_of(
    challenge: Annotated[Literal["formula", "share"], Query()] = "formula",
    aggregate: Annotated[Literal["sum", "dmoj"], Query()] = "sum",
    ac_unit: Annotated[Literal["user", "submission"], Query()] = "user",
    population: Annotated[
        list[Name], Query(max_length=500, description="llm, human, all, or names of users")
    ] = ["llm"],  # noqa: B006
    es_weight: Annotated[float, Query(ge=0, le=1e6)] = 1.0,
    es_scope: Annotated[Literal["problem", "problem+language"], Query()] = "problem",
    es_tolerance: Annotated[float, Query(ge=0, le=1e6)] = 0.0,
    leave_out: LeftOut = [],  # noqa: B006
) -> Rules:
    """The rules that a query names."""
    people: str | list[str] = population
    if any(word in population for word in _WORDS) or not population:
        if len(population) != 1:
            raise InvalidRequest("population is llm, human or all, alone, or names of users")
        people = population[0]
    return Rules(
        challenge, aggregate, ac_unit, people, es_weight, es_scope, es_tolerance,
        [_left_out(entry) for entry in leave_out],
    )  # fmt: skip


RulesOf = Annotated[Rules, Depends(rules_of)]


def _left_out(entry: str) -> str | tuple[str, str]:
    kind, colon, name = entry.partition(":")
    return (kind, name) if colon and kind in ("user", "problem") else entry


@router.get("/ranking/")
def ranking(
    request: Request,
    caller: AnyReader,
    rules: RulesOf,
    at: Annotated[Moment | None, Query(description="the board as it stood then")] = None,
    method: Annotated[Literal["dp", "pass@k", "bradley-terry", "bradley-terry-runtime"], Query()] = "dp",
    k: Annotated[int, Query(ge=1, le=1000, description="of pass@k")] = 1,
    l2: Annotated[float, Query(ge=1e-6, le=1e6, description="of Bradley-Terry")] = 1e-3,
    problems: Annotated[
        Literal["true", "false"], Query(description="with figures of all problems")
    ] = "false",
    bootstrap: Annotated[int, Query(ge=0, le=10_000, description="resamples for intervals; 0: none")] = 0,
    seed: Annotated[int, Query(ge=0, le=2**32 - 1, description="of the resamples")] = 0,
    level: Annotated[float, Query(gt=0, lt=1, description="of the intervals")] = 0.95,
) -> RankingView:
    """The board by dynamic points, or another ranking beside it, with intervals where `bootstrap` asks for them."""
    arena = service_of(request).arena
    table = board(request, method, at, rules, k, l2)
    found = table.as_dict()
    intervals = None
    if bootstrap and table.rows:
        key = ("bootstrap", id(table), bootstrap, seed, level)
        intervals = arena.standing.kept(
            key, lambda: (table, table.bootstrap(n=bootstrap, seed=seed, level=level).as_dict())
        )[1]
    return RankingView(
        ranking=found["ranking"],
        score=found["score"],
        at=arena.clock() if at is None else at,
        parameters=found["parameters"],
        rows=found["rows"],
        problems=found["problems"] if problems == "true" else None,
        bootstrap=intervals,
        host_classes=arena.standing.host_classes(),
    )


def board(
    request: Request, method: Literal["dp"] | Method, at: datetime | None, rules: Rules, k: int, l2: float
) -> ScoreTable | Ratings:
    """The board by a method."""
    arena = service_of(request).arena
    if method == "dp":
        return arena.standing.ranking(at, rules)
    plain = Rules(
        population=rules.population, leave_out=rules.leave_out,
        es_tolerance=rules.es_tolerance if method == "bradley-terry-runtime" else 0.0,
    )  # fmt: skip
    if plain != rules:
        raise InvalidRequest(f"rules of dynamic points do not go with the method {method}")
    return arena.rating(
        method,
        at=at,
        k=k,
        l2=l2,
        population=rules.population,
        leave_out=rules.leave_out,
        es_tolerance=rules.es_tolerance,
    )


@router.get("/ranking/history")
def history(
    request: Request,
    caller: AnyReader,
    rules: RulesOf,
    user: Annotated[list[Name], Query(max_length=200, description="whom; everybody where absent")] = [],  # noqa: B006
    since: Annotated[Moment | None, Query()] = None,
    most: Annotated[int, Query(ge=1, le=5000, description="checkpoints, the newest")] = 1000,
) -> HistoryView:
    """How users stood on the checkpoints of the same rules, the oldest first."""
    points = service_of(request).arena.checkpoints.history(
        users=set(user) or None, since=since, rules=rules, most=most
    )
    return HistoryView(parameters=rules.as_dict(), points=[HistoryRow(**asdict(point)) for point in points])


@router.get("/ranking/checkpoint/")
def list_checkpoints(request: Request, caller: AnyReader, paging: Paging) -> Page[CheckpointBrief]:
    """Boards that were written down, the newest first."""
    found, total = service_of(request).arena.checkpoints.page(offset=paging.offset, limit=paging.per_page)
    return page_of(
        [CheckpointBrief(id=one.id, at=one.at, parameters=one.parameters) for one in found], total, paging
    )


@router.get("/ranking/checkpoint/{number}/")
def get_checkpoint(
    request: Request, number: Annotated[int, Path(ge=1, le=2**63 - 1)], caller: AnyReader
) -> CheckpointView:
    """A board as it was written down."""
    return _checkpoint(service_of(request).arena.checkpoints.find(number))


@router.post("/ranking/checkpoint/", status_code=201)
def make_checkpoint(
    request: Request, rules: RulesOf, caller: Annotated[Caller, Depends(writes("admin"))]
) -> CheckpointView:
    """Write the board of this moment down."""
    return _checkpoint(service_of(request).arena.checkpoints.make(rules))


@router.get("/leakage/")
def leakage(
    request: Request,
    caller: DataReader,
    rules: RulesOf,
    length: Annotated[Literal["month", "quarter", "year"], Query(description="of a period")] = "month",
    similarity: Annotated[float, Query(gt=0, le=1, description="from which two programs are alike")] = 0.8,
) -> LeakageView:
    """Signals of leaked problems: acceptance before and after a model was first seen, by date, copied programs."""
    return LeakageView(**service_of(request).arena.leakage(rules, length=length, similarity=similarity))


def _checkpoint(found: Checkpoint) -> CheckpointView:
    return CheckpointView(id=found.id, at=found.at, parameters=found.parameters, board=found.board)
