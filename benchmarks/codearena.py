"""CodeArena: judging beside a loop over bubblewrap, pages with 10,000 submissions stored, points and ratings.

No peer computes dynamic points: they stand beside the obvious loop over attempts. Bradley-Terry stands beside choix.
The arena is filled by submissions that a grader without a sandbox accepts or refuses, so that this times the arena.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import codearena_judging
from benchmarks.measure import Row, alternate, at_least, row

PAGE_MS = 100.0
STUDY_S = 120.0


def run(quick: bool = False) -> dict[str, Any]:
    judging = codearena_judging.run(quick)
    pages, details = served_rows(models=4 if quick else 40, problems=5 if quick else 250)
    rows = [*judging["rows"], *pages, *score_rows(quick), rating_row(quick), study_row(quick)]
    return {"rows": rows, "details": {**judging["details"], **details}}


# --- the service ---------------------------------------------------------------------------------------------


class Grader:
    """Verdict and time are in the program's text."""

    languages = frozenset(("python",))

    def __call__(self, program: Any, task: Any) -> Any:
        from firsthand.evaluation.codearena.grading.grading import CaseGrade, Grade

        verdict, ms = program.source.split()[1:3]
        case = CaseGrade(1, verdict, float(ms), float(ms), 9000)
        return Grade(verdict, float(ms), float(ms), 9000, (case,))


def served_rows(models: int, problems: int) -> tuple[list[Row], dict[str, Any]]:
    """Fill an arena, then ask a server for its pages."""
    import httpx

    from firsthand.evaluation.codearena.arena import Arena
    from firsthand.evaluation.codearena.service.api import create_app
    from firsthand.evaluation.codearena.settings import ArenaSettings
    from firsthand.serve import LiveServer

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/arena.db"
        with Arena.open(url, grader=Grader(), queue_limit=10**6) as arena:
            seconds = fill(arena, models, problems)
            arena.checkpoint()
            settings = ArenaSettings(
                database=url, judges=0, checkpoint_hours=0, reads_per_minute=1e9, open_data=True
            )
            sid = arena.submissions.page(limit=1)[0][0].sid
            with (
                LiveServer(create_app(settings, arena=arena)) as live,
                httpx.Client(base_url=live.url) as client,
            ):
                took = {page: page_ms(client, page) for page in pages_of(sid)}
        size = Path(folder, "arena.db").stat().st_size
    count = models * problems
    worst = max(took, key=lambda page: took[page])
    rows = [
        row(
            f"pages and boards with {count} submissions stored, the slowest ({worst})",
            {"label": "median of 15 requests", "text": f"{took[worst]:.1f} ms"},
            {"label": "wanted", "text": f"{PAGE_MS:.0f} ms"},
            PAGE_MS / took[worst],
            target=at_least(1.0),
            equal=None,
            note="over HTTP on the loopback, SQLite",
        )
    ]
    details = {
        "pages, ms": took, "submissions stored": count, "database, bytes": size,
        "submissions taken, judged and scored a second, without a sandbox": count / seconds,
    }  # fmt: skip
    return rows, details


def fill(arena: Any, models: int, problems: int) -> float:
    """Every model submits to every problem; gives the seconds that taking, judging and scoring took."""
    from firsthand.evaluation.codearena.store.cases import NewCase, Program
    from firsthand.evaluation.codearena.store.collection import Problem

    for number in range(problems):
        arena.create_problem(
            Problem(f"p{number:03}", f"Problem {number}", "Print the answer.\n" * 20),
            cases=[NewCase("1\n", "1\n", sample=True)],
            solutions=[Program("python", "x"), Program("python", "y")],
            validated=True,
        )
    for number in range(models):
        arena.accounts.create(f"m{number:02}", "llm")
    started = time.perf_counter()
    for problem in range(problems):
        for model in range(models):
            verdict = "AC" if (model * 7 + problem * 13) % models <= model else "WA"
            ms = 10 + (model * 31 + problem * 17) % 97
            arena.submit(f"m{model:02}", f"p{problem:03}", "python", f"# {verdict} {ms} {problem}\n" * 40)
        while arena.judge_once() is not None:
            pass
    return time.perf_counter() - started


def pages_of(sid: str) -> list[str]:
    return [
        "/", "/?challenge=share", "/?intervals=1", "/problem/", "/problem/p000", "/submission/",
        "/submission/?user=m01", f"/submission/{sid}", "/user/m01", "/compare?a=m01&b=m02", "/about",
        "/api/ranking/", "/api/problem/", "/api/submission/",
    ]  # fmt: skip


def page_ms(client: Any, page: str) -> float:
    """Median milliseconds of a page, as a reader meets it who comes back: after one request that is not counted."""
    answer = client.get(page)
    answer.raise_for_status()
    took = []
    for _ in range(15):
        started = time.perf_counter()
        client.get(page)
        took.append(1e3 * (time.perf_counter() - started))
    return statistics.median(took)


# --- points and ratings ----------------------------------------------------------------------------------------


def obvious_points(attempts: Sequence[Any], points: dict[str, float]) -> dict[str, float]:
    """The paper's equations, attempt by attempt."""
    tried, times = defaultdict(set), defaultdict(dict)
    for one in attempts:
        tried[one.problem].add(one.user)
        if one.solved:
            times[one.problem][one.user] = one.runtime_ms
    found: dict[str, float] = dict.fromkeys((one.user for one in attempts), 0.0)
    for problem, solvers in times.items():
        challenge = points[problem] * (1 - len(solvers) / len(tried[problem]))
        for user, mine in solvers.items():
            found[user] += challenge + sum(mine <= other for other in solvers.values()) / len(solvers)
    return found


def score_rows(quick: bool) -> list[Row]:
    from firsthand.evaluation.codearena.scores.attempts import as_attempts
    from firsthand.evaluation.codearena.scores.field import Cell, attempts_of, draw_field
    from firsthand.evaluation.codearena.scores.points import score

    rows = []
    for models, problems in ((20, 64),) if quick else ((20, 256), (400, 2500)):
        attempts, points = attempts_of(draw_field(0, models=models, problems=problems), Cell(0.25, 0.5))
        columns = as_attempts(attempts)
        ours = {one.user: one.dp for one in score(columns, points).rows}
        peer = obvious_points(attempts, points)
        timing = alternate(
            lambda columns=columns, points=points: score(columns, points),
            lambda attempts=attempts, points=points: obvious_points(attempts, points),
            rounds=3,
        )
        rows.append(
            row(
                f"dynamic points of {models * problems} attempts",
                {"label": "score", "text": f"{timing['ours_cpu_seconds']:.3g} s"},
                {"label": "attempt by attempt", "text": f"{timing['peer_cpu_seconds']:.3g} s"},
                timing["ratio_cpu"],
                target=None,
                equal=max(abs(ours[user] - peer[user]) for user in ours) < 1e-9,
                note="from attempts that are columns already",
                timing=timing,
            )
        )
    return rows


def rating_row(quick: bool) -> Row:
    import choix
    import numpy as np

    from firsthand.evaluation.codearena.scores.attempts import as_attempts
    from firsthand.evaluation.codearena.scores.field import Cell, attempts_of, draw_field
    from firsthand.evaluation.codearena.scores.ratings import bradley_terry

    models, problems = 20, 32 if quick else 256
    attempts, _ = attempts_of(draw_field(0, models=models, problems=problems), Cell(0.0, 0.0))
    columns = as_attempts(attempts)
    names = sorted({one.user for one in attempts})
    solved = {(one.user, one.problem): one.solved for one in attempts}
    wins = [
        (a, b)
        for problem in sorted({one.problem for one in attempts})
        for a, first in enumerate(names)
        for b, second in enumerate(names)
        if solved[first, problem] and not solved[second, problem]
    ]

    def theirs() -> Any:
        return choix.ilsr_pairwise(models, wins, alpha=1e-3)

    table = {one.user: one.rating for one in bradley_terry(columns).rows}
    ours = np.array([table[name] for name in names])
    peer = theirs()
    same = np.corrcoef(ours, peer)[0, 1] > 0.9999
    timing = alternate(lambda: bradley_terry(columns), theirs, rounds=3)
    return row(
        f"Bradley-Terry of {models} models on {problems} problems",
        {"label": "bradley_terry", "text": f"{timing['ours_cpu_seconds']:.3g} s"},
        {"label": "choix.ilsr_pairwise", "text": f"{timing['peer_cpu_seconds']:.3g} s"},
        timing["ratio_cpu"],
        target=None,
        equal=bool(same),
        note="strengths agree up to scale and regularisation (correlation above 0.9999)",
        timing=timing,
    )


def study_row(quick: bool) -> Row:
    from firsthand.evaluation.codearena.scores.field import leak_study

    seeds = 2 if quick else 40
    started = time.perf_counter()
    for seed in range(seeds):
        leak_study(seed)
    seconds = time.perf_counter() - started
    return row(
        f"the simulated league with leaks, {seeds} seeds, all cells",
        {"label": "leak_study", "text": f"{seconds:.2f} s"},
        {"label": "wanted", "text": f"{STUDY_S:.0f} s"},
        STUDY_S / seconds,
        target=at_least(1.0),
        equal=None,
    )
