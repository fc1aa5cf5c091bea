"""The running service put to the test: the scripted league is posted over HTTP, judged in the sandbox, and looked at.

A server on SQLite with one judge process, a client for each contestant. Every submission is judged twice; after each
pass the verdicts, times and boards are read back through the API, and boards are computed once more by the plain
matrix form of the paper's equations, which shares no code with the service.

Knows the service from outside. Judges nothing itself.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.evaluation.codearena.clients.client import ArenaClient
from firsthand.evaluation.codearena.demonstration import add_problems
from firsthand.evaluation.codearena.grading.bundled import bundled_problems
from firsthand.evaluation.codearena.grading.contestants import CONTESTANTS, ScriptedSubmission, league
from firsthand.evaluation.codearena.service.api import create_app, open_arena
from firsthand.evaluation.codearena.serving import ADMIN, first_start
from firsthand.evaluation.codearena.settings import ArenaSettings
from firsthand.serve import LiveServer

__all__ = ["BoardRow", "Judged", "Pass", "judge_league", "pairs_of", "plain_points"]

Solved = NDArray[np.bool_]
Floats = NDArray[np.float64]
_OFTEN = 1e9  # requests a minute: the trial is not what rates are for


@dataclass(frozen=True)
class Judged:
    """One submission as the API tells it, beside what it was written to get."""

    contestant: str
    problem: str
    designed: str
    verdict: str
    cpu_ms: float
    spread_ms: float


@dataclass(frozen=True)
class BoardRow:
    """One user on one board: points as the API tells them, and as the equations give them.

    `board` names the rules: the reading of the challenge score, and whom or what it leaves out.
    """

    board: str
    user: str
    told: float
    computed: float


@dataclass(frozen=True)
class Pass:
    """What was read back after every submission had been judged once."""

    judged: tuple[Judged, ...]
    boards: tuple[BoardRow, ...]
    seconds: float

    def times(self) -> dict[tuple[str, str], float]:
        """Processor time in ms by problem and contestant, of what was accepted."""
        return {(one.problem, one.contestant): one.cpu_ms for one in self.judged if one.verdict == "AC"}


def judge_league(
    seed: int,
    *,
    contestants: Sequence[str] = (),
    problems: Sequence[str] = (),
    repeats: int = 3,
    passes: int = 2,
) -> tuple[Pass, ...]:
    """Post the league in an order drawn by `seed`, have it judged `passes` times, and read back what came of it.

    Args:
        contestants: some of the league's; none: all.
        problems: ids of bundled problems; none: all.
        repeats: runs of an accepted program.

    Raises:
        SandboxUnavailable: this machine cannot isolate programs.
    """
    names = tuple(contestants) or tuple(one.name for one in CONTESTANTS)
    pids = tuple(problems) or tuple(one.pid for one in bundled_problems())
    entries = [one for one in league() if one.contestant in names and one.pid in pids]
    random.Random(f"order of submissions {seed}").shuffle(entries)
    with (
        tempfile.TemporaryDirectory(prefix="firsthand-codearena-") as folder,
        _served(Path(folder), names, pids, repeats) as (url, tokens),
    ):
        found = []
        clock = time.perf_counter()
        sids = _post(url, tokens, entries)
        with ArenaClient(url, tokens[ADMIN]) as admin:
            for number in range(passes):
                if number:
                    clock = time.perf_counter()
                    for sid in sids:
                        admin.rejudge(sid)
                judged = tuple(_judged(admin, sid, entry) for sid, entry in zip(sids, entries, strict=True))
                seconds = time.perf_counter() - clock
                found.append(Pass(judged, tuple(_boards(admin, judged, names, pids)), seconds))
        return tuple(found)


@contextmanager
def _served(
    folder: Path, names: Sequence[str], pids: Sequence[str], repeats: int
) -> Iterator[tuple[str, dict[str, str]]]:
    """A server with its judge, and a token by account."""
    settings = ArenaSettings(
        database=f"sqlite:///{folder / 'arena.db'}", judges=1, repeats=repeats, checkpoint_hours=0,
        reads_per_minute=_OFTEN, writes_per_minute=_OFTEN, submissions_per_minute=_OFTEN,
    )  # fmt: skip
    with ExitStack() as stack:
        arena = stack.enter_context(open_arena(settings))
        tokens = {ADMIN: first_start(arena, demo=False).token}
        add_problems(arena, pids)
        for name in names:
            arena.accounts.create(name, "llm")
            tokens[name] = arena.accounts.issue(name).secret
        live = stack.enter_context(LiveServer(create_app(settings, arena=arena)))
        yield live.url, tokens


def _post(url: str, tokens: Mapping[str, str], entries: Sequence[ScriptedSubmission]) -> list[str]:
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(ArenaClient(url, token))
            for name, token in tokens.items()
            if name != ADMIN
        }
        return [clients[one.contestant].submit(one.pid, one.language, one.source).sid for one in entries]


def _judged(admin: ArenaClient, sid: str, entry: ScriptedSubmission) -> Judged:
    found = admin.wait(sid)
    return Judged(
        entry.contestant,
        entry.pid,
        entry.verdict,
        found.verdict or found.state,
        found.cpu_ms or 0.0,
        found.spread_ms or 0.0,
    )


# --- boards, computed once more ------------------------------------------------------------------------------


def plain_points(solved: Solved, runtime_ms: Floats, bps: Floats, challenge: str = "formula") -> Floats:
    """Dynamic points by the paper's equations, for a field in which everybody attempted everything.

    Args:
        solved: (users, problems).
        runtime_ms: (users, problems), read where solved.
        bps: (problems).
        challenge: "formula", BPS·(1 − AC), or "share", BPS over solvers.
    """
    users, problems = solved.shape
    points = np.zeros(users)
    for problem in range(problems):
        solvers = np.flatnonzero(solved[:, problem])
        for user in solvers:
            if challenge == "formula":
                worth = bps[problem] * (1 - len(solvers) / users)
            else:
                worth = bps[problem] / len(solvers)
            as_slow = sum(runtime_ms[user, problem] <= runtime_ms[other, problem] for other in solvers)
            points[user] += worth + as_slow / len(solvers)
    return points


def _boards(
    admin: ArenaClient, judged: Sequence[Judged], names: Sequence[str], pids: Sequence[str]
) -> Iterator[BoardRow]:
    """Both readings of the challenge score, with everybody and everything, and without each user and each problem."""
    row, column = {name: n for n, name in enumerate(names)}, {pid: n for n, pid in enumerate(pids)}
    solved = np.zeros((len(names), len(pids)), bool)
    runtime = np.zeros(solved.shape)
    for one in judged:
        solved[row[one.contestant], column[one.problem]] = one.verdict == "AC"
        runtime[row[one.contestant], column[one.problem]] = one.cpu_ms
    worth = {one.pid: one.points for one in bundled_problems()}
    bps = np.array([worth[pid] for pid in pids], float)
    without: list[tuple[str, str]] = [("", "")]
    without += [("user", name) for name in names] + [("problem", pid) for pid in pids]
    for challenge in ("formula", "share"):
        for kind, left in without:
            users = [n for n, name in enumerate(names) if (kind, left) != ("user", name)]
            kept = [n for n, pid in enumerate(pids) if (kind, left) != ("problem", pid)]
            if not users or not kept:
                continue
            part = np.ix_(users, kept)
            computed = plain_points(solved[part], runtime[part], bps[kept], challenge)
            asked: dict[str, Any] = {"challenge": challenge}
            if kind:
                asked["leave_out"] = [f"{kind}:{left}"]
            told = {one["user"]: one["dp"] for one in admin.ranking(**asked).rows}
            board = f"{challenge} without {left}" if left else challenge
            for place, user in enumerate(users):
                yield BoardRow(
                    board, names[user], told.get(names[user], float("nan")), float(computed[place])
                )


def pairs_of(first: Pass, second: Pass) -> Iterator[tuple[str, float, bool]]:
    """Every two accepted solutions of one problem: their name, how far apart the first pass timed them in ms, and
    whether the second pass has them in the same order."""
    before, after = first.times(), second.times()
    by_problem: dict[str, list[str]] = {}
    for problem, contestant in sorted(before.keys() & after.keys()):
        by_problem.setdefault(problem, []).append(contestant)
    for problem, solvers in by_problem.items():
        for one, other in combinations(solvers, 2):
            apart = before[problem, one] - before[problem, other]
            again = after[problem, one] - after[problem, other]
            yield f"{problem}: {one}, {other}", abs(apart), apart * again > 0
