"""The twelve problems: their cases are made again as they are stored, and each program does what its name says.

All of it is run by `make long`; what is quick, and a sample of the rest, always.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from firsthand.evaluation.codearena.errors import InvalidCase, UnknownProblem
from firsthand.evaluation.codearena.grading import bundled
from firsthand.evaluation.codearena.grading.bundled import (
    bundled_problem,
    bundled_problems,
    make_cases,
    write_cases,
)
from firsthand.evaluation.codearena.grading.checkers import parse_checker
from firsthand.evaluation.codearena.grading.grading import grade

from .conftest import language

PIDS = [problem.pid for problem in bundled_problems()]


def test_twelve_problems_with_all_that_belongs_to_one():
    assert len(PIDS) == 12
    assert sorted(PIDS) == PIDS
    for problem in bundled_problems():
        assert set(problem.programs) == {"fast.c", "fast.py", "slow.py", "wrong.py"}
        assert problem.points == {"easy": 3, "medium": 4, "hard": 5}[problem.difficulty]
        assert problem.licence == "CC0-1.0"
        assert problem.task.time_ms >= 1000
        assert "## Input" in problem.statement
        assert "## Output" in problem.statement
        assert "## Example" in problem.statement
        assert len(problem.solutions) == 3
        assert all(
            text != problem.programs["wrong.py"]
            for _, text in ((s.language, s.source) for s in problem.solutions)
        )


@pytest.mark.parametrize("pid", PIDS)
def test_cases_are_stored_samples_first(pid):
    problem = bundled_problem(pid)
    cases = problem.task.cases
    assert len(cases) == len(problem.sample_inputs) + len(problem.seeds) == 7
    assert [case.ordinal for case in cases] == list(range(1, 8))
    assert tuple(case.input for case in cases[:2]) == problem.sample_inputs
    checker = parse_checker(problem.task.checker)
    for case in cases:
        checker.validate(case.output.encode())
        assert case.output.strip()
    assert len({case.output for case in cases}) > 2


def test_all_of_it_is_small():
    assert (
        sum(len(case.input) + len(case.output) for one in bundled_problems() for case in one.task.cases)
        < 400_000
    )


def test_an_unknown_one_is_refused_with_those_there_are():
    with pytest.raises(UnknownProblem, match="there are bell-tower, coin-purse"):
        bundled_problem("bell")


@pytest.mark.parametrize("pid", PIDS)
def test_the_quick_solution_is_accepted_and_the_wrong_one_is_wrong(sandbox, pid):
    problem = bundled_problem(pid)
    right = grade(sandbox, language("c"), problem.programs["fast.c"], problem.task)
    assert (right.verdict, right.message, len(right.cases)) == ("AC", "", 7)
    wrong = grade(sandbox, language("python"), problem.programs["wrong.py"], problem.task)
    assert wrong.verdict == "WA", wrong


@pytest.mark.parametrize("pid", ["coin-purse", "island-survey", "twin-words"])
def test_a_sample_of_the_cases_is_made_again_as_it_is_stored(sandbox, pid):
    problem = bundled_problem(pid)
    part = replace(problem, sample_inputs=problem.sample_inputs[:1], seeds=problem.seeds[:2])
    stored = (problem.task.cases[0], *problem.task.cases[2:4])
    made = make_cases(sandbox, part)
    assert [(case.input, case.output) for case in made] == [(case.input, case.output) for case in stored]


@pytest.mark.long
@pytest.mark.parametrize("pid", PIDS)
def test_all_cases_are_made_again_as_they_are_stored(sandbox, pid):
    """All right solutions agree on them, the slow one too, within the problem's limits."""
    assert make_cases(sandbox, bundled_problem(pid)) == bundled_problem(pid).task.cases


@pytest.mark.long
@pytest.mark.parametrize("pid", PIDS)
def test_wrong_solutions_fail_on_what_is_not_shown_as_well(sandbox, pid):
    """A program that fits only the samples is not let through."""
    problem = bundled_problem(pid)
    hidden = replace(problem.task, cases=problem.task.cases[len(problem.sample_inputs) :])
    assert grade(sandbox, language("python"), problem.programs["wrong.py"], hidden).verdict == "WA"


@pytest.mark.long
@pytest.mark.parametrize("pid", PIDS)
def test_python_solutions_are_accepted_and_keep_clear_of_the_limit(sandbox, pid):
    """A machine of half the speed judges them alike."""
    problem = bundled_problem(pid)
    for name in ("fast.py", "slow.py"):
        found = grade(sandbox, language("python"), problem.programs[name], problem.task)
        assert found.verdict == "AC", (name, found.message)
        assert max(case.cpu_ms for case in found.cases) < problem.task.time_ms / 2, name


def test_solutions_that_do_not_agree_make_no_cases(sandbox):
    problem = bundled_problem("lamp-posts")
    wrong = replace(problem.solutions[1], source=problem.programs["wrong.py"])
    broken = replace(problem, solutions=(problem.solutions[0], wrong), seeds=())
    with pytest.raises(InvalidCase, match="lamp-posts: case 2: canonical solution 2 does not agree"):
        make_cases(sandbox, broken)


def test_who_changes_a_problem_writes_its_cases(sandbox, tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "_FOLDER", tmp_path)
    problem = replace(bundled_problem("lamp-posts"), seeds=(), sample_inputs=("#..#\n",))
    (tmp_path / "lamp-posts").mkdir()
    path = write_cases(sandbox, problem)
    assert json.loads(path.read_text()) == [{"input": "#..#\n", "output": "2 2\n"}]
