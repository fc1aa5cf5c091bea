"""Random histories against a model in plain Python: every board is right after every step, and stays as it was then."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.errors import AttemptAlreadyUsed
from firsthand.evaluation.codearena.refusals import NotReady
from firsthand.evaluation.codearena.scores.attempts import Attempt
from firsthand.evaluation.codearena.scores.points import score
from firsthand.evaluation.codearena.scores.score_table import ScoreTable

from .conftest import Clock, add_problem, retries_now, sqlite_copy
from .scripted import ScriptedGrader
from .slow_points import slow_score

MODELS, PEOPLE = ("A", "B", "C"), ("x", "y")
POINTS = {"P1": 5.0, "P2": 3.0}
RULES: list[dict[str, Any]] = [
    {"challenge": "share"},
    {"ac_unit": "submission", "population": "all"},
    {"population": "human"},
    {"population": "all", "es_scope": "problem+language", "es_weight": 0.5, "es_tolerance": 20.0},
    {"population": {"A", "x", "nobody"}},
    {"leave_out": ("P2",)},
]

steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("submit"),
            st.sampled_from(MODELS + PEOPLE),
            st.sampled_from(sorted(POINTS)),
            st.sampled_from(["AC", "AC", "AC", "WA", "TLE", "CE", "IE"]),
            st.integers(1, 9),
            st.sampled_from(["c", "python"]),
            st.booleans(),
        ),
        st.tuples(st.just("judge"), st.integers(1, 6)),
        st.tuples(st.just("rejudge"), st.integers(0, 9)),
        st.tuples(st.just("abort"), st.integers(0, 9)),
        st.tuples(st.just("points"), st.sampled_from(sorted(POINTS)), st.sampled_from([1.5, 4.0])),
        st.tuples(st.just("version"), st.sampled_from(sorted(POINTS))),
    ),
    min_size=4,
    max_size=24,
)


@dataclass
class Sent:
    """A submission as the model has it; `judged` is the problem's version by which it was judged last."""

    user: str
    problem: str
    verdict: str
    runtime: int
    language: str
    extra: bool
    judged: int | None = None
    waiting: bool = True
    aborted: bool = False
    tries: int = 0


@dataclass
class Model:
    """What an arena should be."""

    points: dict[str, float] = field(default_factory=lambda: dict(POINTS))
    version: dict[str, int] = field(default_factory=lambda: dict.fromkeys(POINTS, 1))
    sent: dict[str, Sent] = field(default_factory=dict)

    def holds(self, user: str, problem: str) -> bool:
        return any(
            (one.user, one.problem) == (user, problem) and not one.extra and not one.aborted
            for one in self.sent.values()
        )

    def attempts(self) -> list[Attempt]:
        return [
            Attempt(
                one.user, one.problem, one.verdict == "AC", float(one.runtime), one.language, None, True,
                "llm" if one.user in MODELS else "human",
            )
            for one in self.sent.values()
            if one.judged == self.version[one.problem]
            and not one.aborted
            and not one.extra
            and one.verdict != "IE"
        ]  # fmt: skip


def take(arena: Arena, model: Model, step: tuple[Any, ...]) -> None:
    """One step, in the arena and in the model."""
    verb, *details = step
    sids = list(model.sent)
    if verb == "submit":
        user, problem, verdict, runtime, language, again = details
        extra = user in MODELS and again and model.holds(user, problem)
        sent = Sent(user, problem, verdict, runtime, language, extra)
        if user in MODELS and not extra and model.holds(user, problem):
            with pytest.raises(AttemptAlreadyUsed):
                arena.submit(user, problem, language, f"{verdict} {runtime}")
        else:
            model.sent[arena.submit(user, problem, language, f"{verdict} {runtime}", extra=extra)] = sent
    elif verb == "judge":
        for _ in range(details[0]):
            retries_now(arena)
            judged(arena, model)
    elif verb == "rejudge" and sids:
        sid = sids[details[0] % len(sids)]
        one = model.sent[sid]
        if one.waiting or one.aborted:
            with pytest.raises(NotReady):
                arena.rejudge(sid)
        else:
            arena.rejudge(sid)
            one.waiting, one.tries = True, 0
    elif verb == "abort" and sids:
        sid = sids[details[0] % len(sids)]
        arena.submissions.abort(sid)
        model.sent[sid].waiting, model.sent[sid].aborted = False, True
    elif verb == "points":
        problem, points = details
        arena.problems.update(problem, {"bps": points})
        model.points[problem] = points
    elif verb == "version":
        problem = details[0]
        model.version[problem] += 1
        arena.problems.update(problem, {"time_ms": 1000 + model.version[problem]})
        for one in model.sent.values():
            if one.problem == problem and one.judged is not None and not one.waiting and not one.aborted:
                one.waiting, one.tries = True, 0


def judged(arena: Arena, model: Model) -> str | None:
    sid = arena.judge_once()
    if sid is None:
        assert not any(one.waiting for one in model.sent.values())
        return None
    one = model.sent[sid]
    assert one.waiting
    one.tries += 1
    if one.verdict != "IE" or one.tries == 4:
        one.judged, one.waiting = model.version[one.problem], False
    return sid


def whole(board: ScoreTable) -> tuple[Any, ...]:
    """All that a board holds, to the last bit."""
    return board.rows, board.problems, board.pairs.rows()


def same(arena: Arena, model: Model) -> None:
    attempts = model.attempts()
    wanted = score(attempts, model.points)
    assert whole(arena.ranking()) == whole(wanted)
    for stored in arena.problems.page()[0]:
        row = next(row for row in wanted.problems if row.problem == stored.pid)
        assert (stored.attempts, stored.solved, stored.ac, stored.cs) == (
            row.attempts,
            row.solvers,
            row.ac,
            row.cs,
        )


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_arenas(request, tmp_path_factory):
    """Opens an empty arena, as often as asked."""

    @contextlib.contextmanager
    def make(clock: Clock) -> Iterator[Arena]:
        with contextlib.ExitStack() as stack:
            if request.param == "postgresql":
                url = stack.enter_context(request.getfixturevalue("postgres_urls").database())
            else:
                folder = tmp_path_factory.mktemp("league")
                url = sqlite_copy(request.getfixturevalue("sqlite_template"), folder)
            yield stack.enter_context(Arena.open(url, grader=ScriptedGrader(), clock=clock))

    return make


def test_every_board_is_right_after_every_step_and_stays_as_it_was(empty_arenas):
    @settings(
        max_examples=8,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        phases=[Phase.generate],  # shrinking takes minutes where every step is written to a database
    )
    @given(steps)
    def check(history):
        clock, model = Clock(), Model()
        with empty_arenas(clock) as arena:
            for user in MODELS + PEOPLE:
                arena.accounts.create(user, "llm" if user in MODELS else "human")
            for pid, points in POINTS.items():
                add_problem(arena, pid, bps=points)
            past = []
            for step in history:
                clock.move(seconds=1)
                take(arena, model, step)
                same(arena, model)
                past.append((clock.time, arena.ranking(), arena.ranking(population="all")))
            clock.move(seconds=1)
            retries_now(arena)
            while judged(arena, model) is not None:
                retries_now(arena)
            same(arena, model)
            assert arena.audit().differences == ()
            for at, board, everybody in past:
                assert whole(arena.ranking(at)) == whole(board)
                assert whole(arena.ranking(at, population="all")) == whole(everybody)
            for rules in RULES:
                found = {
                    row.user: (row.dp, row.cs, row.es, row.solved, row.attempted, row.pass_rate)
                    for row in arena.ranking(**rules).rows
                }
                slow = slow_score(model.attempts(), model.points, **rules)
                assert found.keys() == slow.keys()
                for user, values in slow.items():
                    assert found[user] == pytest.approx(values, abs=1e-9), (rules, user)

    check()
