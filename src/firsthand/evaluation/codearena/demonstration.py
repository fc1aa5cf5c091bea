"""What an arena begins with: the bundled problems, and the league of scripted contestants.

Knows an arena, the problems and the league. What it adds is an arena's like any other: it may be withdrawn, and the
league's submissions are judged as everybody's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.grading.bundled import BundledProblem, bundled_problems
from firsthand.evaluation.codearena.grading.contestants import CONTESTANTS, ScriptedSubmission, league
from firsthand.evaluation.codearena.store.cases import NewCase, Program
from firsthand.evaluation.codearena.store.collection import Problem

__all__ = ["add_league", "add_problems", "as_problem", "sample_cases"]


def as_problem(bundled: BundledProblem) -> Problem:
    """A bundled problem as an arena keeps it."""
    return Problem(
        bundled.pid,
        bundled.title,
        bundled.statement,
        bps=bundled.points,
        difficulty=bundled.difficulty,
        time_ms=int(bundled.task.time_ms),
        memory_kb=bundled.task.memory_kb,
        checker=bundled.task.checker,
        source="Firsthand",
        licence=bundled.licence,
    )


def sample_cases(bundled: BundledProblem) -> list[NewCase]:
    """Its cases in order; the first ones are shown with the statement."""
    shown = len(bundled.sample_inputs)
    return [
        NewCase(case.input, case.output, sample=place < shown)
        for place, case in enumerate(bundled.task.cases)
    ]


def add_problems(arena: Arena, pids: Collection[str] | None = None) -> list[str]:
    """Add the bundled problems that are not there yet, with cases on which their solutions agree; gives their ids.

    Args:
        pids: some of them; None: all.
    """
    there = set(arena.problems.published())
    added = []
    for bundled in bundled_problems():
        if bundled.pid in there or (pids is not None and bundled.pid not in pids):
            continue
        solutions = [Program(solution.language, solution.source) for solution in bundled.solutions]
        arena.create_problem(
            as_problem(bundled), cases=sample_cases(bundled), solutions=solutions, validated=True
        )
        added.append(bundled.pid)
    return added


def add_league(arena: Arena, submissions: Iterable[ScriptedSubmission] | None = None) -> list[str]:
    """Make the contestants' accounts and hand in what they have to hand in; gives the submissions' ids.

    Args:
        submissions: None: all that the league has for problems of the arena.
    """
    for contestant in CONTESTANTS:
        arena.accounts.create(contestant.name, "llm")
    there = set(arena.problems.published())
    chosen = league() if submissions is None else submissions
    return [
        arena.submit(one.contestant, one.pid, one.language, one.source) for one in chosen if one.pid in there
    ]
