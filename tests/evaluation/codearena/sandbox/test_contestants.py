"""The demo league: each contestant gets the verdict it was made for. All 96 submissions are run by `make long`."""

from __future__ import annotations

from collections import Counter

import pytest

from firsthand.evaluation.codearena.grading.bundled import bundled_problem, bundled_problems
from firsthand.evaluation.codearena.grading.contestants import CONTESTANTS, ScriptedSubmission, league
from firsthand.evaluation.codearena.grading.grading import grade, readable_source
from firsthand.evaluation.codearena.grading.languages import find_language

from .conftest import language

LEAGUE = league()
# One of each way to fail, and of each program with a pace.
SAMPLE = [
    ("compile-error", "lamp-posts", "CE"),
    ("compile-error", "tide-table", "CE"),
    ("compile-error", "nested-boxes", "AC"),
    ("fast-python", "crossed-ropes", "WA"),
    ("memory-hog", "letter-tiles", "MLE"),
    ("timeout", "twin-words", "TLE"),
    ("crash", "bell-tower", "RTE"),
    ("wrong-answer", "parcel-lockers", "WA"),
    ("slow-python", "tide-table", "AC"),
]


def of(contestant: str, pid: str) -> ScriptedSubmission:
    return next(one for one in LEAGUE if (one.contestant, one.pid) == (contestant, pid))


def verdict_of(sandbox, one: ScriptedSubmission) -> tuple[str, str]:
    found = grade(sandbox, language(one.language), one.source, bundled_problem(one.pid).task)
    return found.verdict, found.message


def test_eight_contestants_and_every_verdict_of_a_program_s_but_too_much_output():
    assert len(CONTESTANTS) == 8
    assert len(LEAGUE) == 96
    assert len({(one.contestant, one.pid) for one in LEAGUE}) == 96
    assert set(Counter(one.verdict for one in LEAGUE)) == {"AC", "WA", "CE", "MLE", "TLE", "RTE"}
    pids = {problem.pid for problem in bundled_problems()}
    assert all(contestant.fails <= pids for contestant in CONTESTANTS)


def test_no_two_solve_equally_many_alike():
    """A board of equals shows nothing: the number of problems solved spreads from 4 to 12."""
    solved = Counter(one.contestant for one in LEAGUE if one.verdict == "AC")
    assert (max(solved.values()), min(solved.values())) == (12, 5)
    assert len({frozenset(contestant.fails) for contestant in CONTESTANTS}) == 8


def test_every_problem_is_solved_by_some_and_failed_by_others():
    for problem in bundled_problems():
        verdicts = Counter(one.verdict == "AC" for one in LEAGUE if one.pid == problem.pid)
        assert verdicts[True] >= 2
        if problem.pid != "island-survey":
            assert verdicts[False] >= 1


def test_every_program_can_be_handed_in():
    for one in LEAGUE:
        assert find_language(one.language).slug in ("c", "python")
        assert readable_source(one.source) == one.source


def test_programs_differ_where_contestants_do():
    for problem in bundled_problems():
        right = [one.source for one in LEAGUE if one.pid == problem.pid and one.verdict == "AC"]
        assert len(set(right)) == len(right)


@pytest.mark.parametrize(("contestant", "pid", "verdict"), SAMPLE)
def test_a_sample_of_the_league(sandbox, contestant, pid, verdict):
    one = of(contestant, pid)
    assert one.verdict == verdict
    assert verdict_of(sandbox, one)[0] == verdict


@pytest.mark.long
@pytest.mark.parametrize("contestant", [one.name for one in CONTESTANTS])
def test_the_league(sandbox, contestant):
    for one in LEAGUE:
        if one.contestant == contestant:
            found, said = verdict_of(sandbox, one)
            assert found == one.verdict, (one.pid, said)


@pytest.mark.long
def test_runtimes_on_a_problem_are_in_the_order_of_paces(sandbox):
    """The median of 5 passes; neighbours in pace are some 20 ms apart or more."""
    problem = bundled_problem("lamp-posts")
    paces = {one.name: one.pace for one in CONTESTANTS}
    times = {
        one.contestant: grade(sandbox, language(one.language), one.source, problem.task, repeats=5).cpu_ms
        for one in LEAGUE
        if one.pid == problem.pid and one.verdict == "AC"
    }
    python = sorted((name for name in times if name != "fast-c"), key=paces.__getitem__)
    assert python == sorted(python, key=times.__getitem__)
    assert times["fast-c"] == min(times.values())
