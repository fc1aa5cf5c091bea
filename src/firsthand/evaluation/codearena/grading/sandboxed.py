"""The real grader: an arena's jobs on one side, the sandbox, the languages and the checkers on the other.

Knows both. A machine that cannot isolate a program has no grader: `sandbox_grader` raises, and nothing is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from firsthand.evaluation.codearena.errors import InvalidCase
from firsthand.evaluation.codearena.grading.checkers import parse_checker
from firsthand.evaluation.codearena.grading.generation import (
    CheckedCase,
    Solution,
    generate_inputs,
    validate_cases,
)
from firsthand.evaluation.codearena.grading.grading import Case, Grade, Task, grade
from firsthand.evaluation.codearena.grading.languages import find_language, languages
from firsthand.evaluation.codearena.sandbox.isolation import open_sandbox
from firsthand.evaluation.codearena.sandbox.limits import Sandbox
from firsthand.evaluation.codearena.store.cases import Program
from firsthand.evaluation.codearena.store.judging import Submitted

__all__ = ["SandboxGrader", "check_checker", "known_language", "language_names", "sandbox_grader"]


def known_language(name: str) -> str:
    """The slug of a language that is called so; raises `UnsupportedLanguage`."""
    return find_language(name).slug


def language_names() -> Mapping[str, tuple[str, ...]]:
    """By slug, what each language is called: its name for people, the slug, and other names."""
    return {slug: (one.name, slug, *one.aliases) for slug, one in languages().items()}


def check_checker(specification: str, source: str | None, language: str) -> None:
    """Raise `InvalidCase` for a checker that there is not, or whose program is missing or too many."""
    checker = parse_checker(specification)
    find_language(language)
    if checker.name == "custom" and source is None:
        raise InvalidCase("checker custom: its program (checker_source) is missing")
    if checker.name != "custom" and source is not None:
        raise InvalidCase(
            f"checker {checker.name} has no program; leave checker_source out, or choose custom"
        )


class SandboxGrader:
    """Grades programs, validates cases and runs generators in a sandbox that its maker closes."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    @property
    def languages(self) -> frozenset[str]:
        """Those whose programs are installed here."""
        return frozenset(slug for slug, language in languages().items() if language.installed)

    def __call__(self, program: Submitted, task: Task) -> Grade:
        """The program's verdict on the task."""
        return grade(
            self._sandbox,
            find_language(program.language),
            program.source,
            task,
            grade_all=program.grade_all,
            repeats=program.repeats,
        )

    def validate(
        self, cases: Sequence[Case], solutions: Sequence[Program], task: Task
    ) -> Sequence[CheckedCase]:
        """What canonical solutions say of cases (`generation.validate_cases`)."""
        known = [Solution(solution.language, solution.source) for solution in solutions]
        return validate_cases(self._sandbox, cases, known, task)

    def generate(self, program: Program, seeds: Sequence[int]) -> Sequence[str]:
        """What a generator prints for each seed (`generation.generate_inputs`)."""
        return generate_inputs(self._sandbox, program.source, seeds, language=program.language)


def sandbox_grader() -> SandboxGrader:
    """The grader of this machine, whose sandbox stays open as long as the process lives.

    Raises:
        SandboxUnavailable: this machine cannot isolate programs; the message says why.
    """
    return SandboxGrader(open_sandbox())
