"""One contestant's results, and two of them side by side."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.pages.board import (
    RESAMPLES,
    board_of,
    history_points,
    intervals_of,
    kinds_of,
    second_opinion,
)
from firsthand.evaluation.codearena.pages.frame import Reader, page, shown_at
from firsthand.evaluation.codearena.pages.history import history_of
from firsthand.evaluation.codearena.refusals import UnknownAccount
from firsthand.evaluation.codearena.scores.ratings import RatingRow
from firsthand.evaluation.codearena.scores.rules import Rules
from firsthand.evaluation.codearena.scores.score_table import PairRow, ScoreTable
from firsthand.evaluation.codearena.service.access import service_of
from firsthand.evaluation.codearena.service.schemas import Name
from firsthand.evaluation.codearena.store.accounts import NAME_PATTERN

__all__ = ["router"]

router = APIRouter()
_KINDS = ("llm", "human")


@shown_at(router, "/user/{name}")
def user(request: Request, name: Annotated[Name, Path()], viewer: Reader) -> Response:
    """A contestant: the line on the board, every problem, and how points went."""
    arena = service_of(request).arena
    account = arena.accounts.find(name)
    if account.kind not in _KINDS and viewer.name != name:
        raise UnknownAccount(f"there is no contestant {name!r}")
    rules = Rules(population=account.kind if account.kind in _KINDS else None)
    table, _ = board_of(request, rules)
    row = next((row for row in table.rows if row.user == name), None)
    points = [point for point in history_points(arena, rules) if point.user == name]
    problems = {one.problem: one for one in table.problems}
    return page(
        request,
        "user.html",
        viewer,
        here="",
        account=account,
        row=row,
        field=len(table.rows),
        pairs=table.breakdown(name) if row is not None else (),
        problems=problems,
        history=history_of(points, [name]),
    )


# --- two of them ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Both:
    """One problem, and what each of the two did on it; None where it was not tried."""

    problem: str
    a: PairRow | None
    b: PairRow | None

    @property
    def group(self) -> str:
        """Who solved it: both, a, b, or neither."""
        return {(True, True): "both", (True, False): "a", (False, True): "b"}.get(
            (bool(self.a and self.a.solved), bool(self.b and self.b.solved)), "neither"
        )

    @property
    def faster(self) -> str:
        """Whose accepted solution took less time, where both have one and they differ."""
        if self.group != "both" or self.a is None or self.b is None:
            return ""
        first, second = self.a.runtime_ms or 0.0, self.b.runtime_ms or 0.0
        return "" if first == second else "a" if first < second else "b"

    @property
    def times(self) -> float | None:
        """How many times as long the slower one took; None where the faster one took no time at all."""
        if not self.faster or self.a is None or self.b is None:
            return None
        first, second = sorted((self.a.runtime_ms or 0.0, self.b.runtime_ms or 0.0))
        return second / first if first > 0 else None


@shown_at(router, "/compare")
def compare(request: Request, viewer: Reader) -> Response:
    """Two contestants: who solves what alone, who is faster, and how sure the order is."""
    arena = service_of(request).arena
    a, b = (request.query_params.get(name, "").strip() for name in "ab")
    rules = Rules()
    table, _ = board_of(request, rules)
    names = sorted(row.user for row in table.rows)
    if not {one for one in (a, b) if one} <= set(
        names
    ):  # people are compared with each other, or with models
        rules = Rules(population="all")
        table, _ = board_of(request, rules)
        names = sorted(row.user for row in table.rows)
    absent = [one for one in (a, b) if one and one not in names]
    fault = ""
    if absent:
        if not re.fullmatch(NAME_PATTERN, absent[0]):
            raise UnknownAccount(f"there is no contestant {absent[0][:80]!r}")
        arena.accounts.find(absent[0])
        fault = f"{absent[0]} has no judged submission yet, so there is nothing to compare."
    elif a and a == b:
        fault = "Choose two different contestants."
    elif bool(a) != bool(b):
        fault = "Choose a second one."
    ready = bool(a and b and not fault)
    return page(
        request,
        "compare.html",
        viewer,
        here="compare",
        names=names,
        kinds=kinds_of(arena, rules),
        a=a,
        b=b,
        fault=fault,
        population=rules.population,
        facts=_facts(arena, table, a, b) if ready else None,
    )


def _chance(a: RatingRow | None, b: RatingRow | None) -> float | None:
    """Of the first to win a problem that one of the two solves."""
    return None if a is None or b is None else 1 / (1 + math.exp(b.rating - a.rating))


def _facts(arena: Arena, table: ScoreTable, a: str, b: str) -> dict[str, object]:
    intervals = intervals_of(arena, table)
    ratings = {row.user: row for row in second_opinion(arena, table).rows}
    mine, theirs = ({row.problem: row for row in table.breakdown(name)} for name in (a, b))
    both = [Both(one.problem, mine.get(one.problem), theirs.get(one.problem)) for one in table.problems]
    both = [one for one in both if one.a or one.b]
    spans = {row.user: row for row in intervals.rows}
    # Strengths are drawn a moment after the board: somebody may be on one of them only.
    strengths = [ratings.get(name) for name in (a, b)]
    above, below = intervals.above(a, b), intervals.above(b, a)
    return {
        "rows": [table.of(a), table.of(b)],
        "spans": [spans[a], spans[b]],
        "ratings": strengths,
        "groups": {
            name: [one for one in both if one.group == name] for name in ("a", "b", "both", "neither")
        },
        "faster": {name: sum(one.faster == name for one in both) for name in "ab"},
        "above": above,
        "below": below,
        "even": max(0.0, 1.0 - above - below),
        "wins": _chance(*strengths),
        "resamples": RESAMPLES,
        "untried": len(table.problems) - len(both),
    }
