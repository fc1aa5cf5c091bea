"""The real grader, as an arena's worker calls it."""

from __future__ import annotations

import pytest

from firsthand.evaluation.codearena.errors import InvalidCase, UnsupportedLanguage
from firsthand.evaluation.codearena.grading.grading import Case, Task
from firsthand.evaluation.codearena.grading.languages import languages
from firsthand.evaluation.codearena.grading.sandboxed import (
    SandboxGrader,
    check_checker,
    known_language,
    language_names,
    sandbox_grader,
)
from firsthand.evaluation.codearena.store.cases import Program
from firsthand.evaluation.codearena.store.judging import CaseMaker, Submitted

TASK = Task((Case("1 2\n", "3\n", 1), Case("5 6\n", "11\n", 2)))


def test_a_submission_is_graded(sandbox):
    grader = SandboxGrader(sandbox)
    right = grader(Submitted("Python 3", "print(sum(map(int, input().split())))"), TASK)
    assert (right.verdict, len(right.cases)) == ("AC", 2)
    wrong = grader(Submitted("python", "print(3)", grade_all=True), TASK)
    assert [case.verdict for case in wrong.cases] == ["AC", "WA"]
    assert grader(Submitted("python", "print(3)"), Task(TASK.cases[:1])).spread_ms == 0
    assert grader(Submitted("python", "print(3)", repeats=3), Task(TASK.cases[:1])).spread_ms > 0


def test_it_says_which_languages_are_here(sandbox):
    found = SandboxGrader(sandbox).languages
    assert "python" in found
    assert found == {slug for slug, one in languages().items() if not one.missing}


def test_cases_are_validated_and_generated(sandbox):
    grader = SandboxGrader(sandbox)
    assert isinstance(grader, CaseMaker)
    doubles = [
        Program("python", "print(2 * int(input()))"),
        Program("python", "n = int(input()); print(n + n)"),
    ]
    found = grader.validate([Case("4\n", "", 1), Case("4\n", "9\n", 2)], doubles, TASK)
    assert [(one.accepted, one.case.output) for one in found] == [(True, "8\n"), (False, "9\n")]
    assert grader.generate(Program("python", "print(int(input()) ** 2)"), [2, 3]) == ["4\n", "9\n"]


def test_a_judge_of_its_own(isolated):
    assert sandbox_grader()(Submitted("python", "print(3)"), Task(TASK.cases[:1])).verdict == "AC"


def test_names_of_languages():
    assert known_language(" Python 3") == "python"
    assert language_names()["cpp"][:2] == ("C++", "cpp")
    assert set(language_names()) == set(languages())
    with pytest.raises(UnsupportedLanguage):
        known_language("cobol")


@pytest.mark.parametrize(
    ("checker", "source", "language", "error"),
    [
        ("fuzzy", None, "python", InvalidCase),
        ("custom", None, "python", InvalidCase),
        ("standard", "print()", "python", InvalidCase),
        ("custom", "print()", "cobol", UnsupportedLanguage),
    ],
)
def test_checkers_of_problems_are_checked(checker, source, language, error):
    with pytest.raises(error):
        check_checker(checker, source, language)


def test_checkers_that_fit():
    check_checker("floats(rel=1e-9)", None, "python")
    check_checker("custom", "print()", "c")
