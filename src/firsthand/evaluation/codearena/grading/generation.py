"""Test cases from a generator program, and the proof that their answers are right.

A problem's generator is run in the sandbox, once a seed: the seed is its standard input, a case's input its standard
output (paper, "test-case generation"). An input becomes a case if at least two canonical solutions run on it within
the problem's limits and agree on the answer by the problem's own checker; answers that legitimately differ need a
checker that says so, else the case is rejected. Knows nothing of databases.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

from firsthand.evaluation.codearena.errors import InvalidCase, SandboxFailed
from firsthand.evaluation.codearena.grading.grading import Case, Judge, Task, compile_trusted, run_on
from firsthand.evaluation.codearena.grading.languages import find_language
from firsthand.evaluation.codearena.sandbox.limits import Limits, RunResult, Sandbox

__all__ = ["MOST_CASE_KB", "CheckedCase", "Solution", "generate_inputs", "validate_cases"]

MOST_CASE_KB = 1024
_GENERATOR_LIMITS = Limits(cpu_s=10, wall_s=30, memory_mb=512, output_kb=MOST_CASE_KB)


@dataclass(frozen=True)
class Solution:
    """A program that its author vouches for: its language, as `find_language` takes it, and its text."""

    language: str
    source: str


@dataclass(frozen=True)
class CheckedCase:
    """A case after validation.

    Attributes:
        case: with the first solution's answer where none was given.
        reason: why it was rejected; empty where it was not.
    """

    case: Case
    reason: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the solutions agreed."""
        return not self.reason


def generate_inputs(
    sandbox: Sandbox, generator: str, seeds: Sequence[int], *, language: str = "python"
) -> list[str]:
    """The generator's output for each seed.

    Raises:
        InvalidCase: it failed, wrote nothing, more than 1 MiB, or what is not UTF-8; the message says for which seed.
        UnsupportedLanguage: no such language.
        SandboxFailed: the sandbox's own fault.
    """
    known = find_language(language)
    inputs = []
    with sandbox.box({known.source: generator.encode()}) as box, ExitStack() as stack:
        compile_trusted(box, known, "the generator")
        results = run_on(box, known, (f"{seed}\n".encode() for seed in seeds), _GENERATOR_LIMITS)
        for seed, result in zip(seeds, stack.enter_context(closing(results)), strict=True):
            if result.status != "ok":
                said = result.stderr.decode(errors="replace").strip()[-500:]
                error = SandboxFailed if result.status == "internal" else InvalidCase
                raise error(f"the generator failed for seed {seed} ({result.status}): {said}")
            try:
                inputs.append(result.stdout.decode())
            except UnicodeDecodeError as fault:
                raise InvalidCase(f"the generator's output for seed {seed} is not UTF-8") from fault
            if not inputs[-1].strip():
                raise InvalidCase(f"the generator wrote nothing for seed {seed}")
    return inputs


def validate_cases(
    sandbox: Sandbox, cases: Sequence[Case], solutions: Sequence[Solution], task: Task
) -> list[CheckedCase]:
    """Run canonical solutions on each case and keep those on whose answer they agree.

    Args:
        sandbox: runs the solutions.
        cases: a case with an empty `output` gets the first solution's; one with an output has to match it.
        solutions: at least two.
        task: limits and checker; its own cases are not looked at.

    Raises:
        InvalidCase: fewer than two solutions, one that cannot be compiled, or a checker that cannot be used.
        SandboxFailed: the sandbox's own fault.
    """
    if len(solutions) < 2:
        raise InvalidCase(
            f"{len(solutions)} canonical solutions: two that agree are needed to trust an answer"
        )
    results: list[list[RunResult]] = []
    for number, solution in enumerate(solutions, 1):
        language = find_language(solution.language)
        limits = language.limits(task.time_ms, task.memory_kb)
        with sandbox.box({language.source: solution.source.encode()}) as box:
            compile_trusted(box, language, f"canonical solution {number}")
            results.append(list(run_on(box, language, (case.input.encode() for case in cases), limits)))
    with ExitStack() as stack:
        judge = Judge(sandbox, task, stack)
        return [
            _checked(judge, case, runs) for case, runs in zip(cases, zip(*results, strict=True), strict=True)
        ]


def _checked(judge: Judge, case: Case, runs: Sequence[RunResult]) -> CheckedCase:
    for number, run in enumerate(runs, 1):
        if run.status == "internal":
            raise SandboxFailed(
                f"case {case.ordinal}: canonical solution {number}: {run.stderr.decode(errors='replace')}"
            )
        if run.status != "ok":
            return CheckedCase(case, f"canonical solution {number} ended with {run.status}")
        if len(run.stdout) > MOST_CASE_KB << 10:
            return CheckedCase(
                case, f"canonical solution {number}'s answer is larger than {MOST_CASE_KB} KiB"
            )
    if not case.output:
        try:
            case = replace(case, output=runs[0].stdout.decode())
        except UnicodeDecodeError:
            return CheckedCase(case, "canonical solution 1's answer is not UTF-8")
    try:
        judge.checker.validate(case.output.encode())
    except InvalidCase as error:
        return CheckedCase(case, str(error))
    for number, run in enumerate(runs, 1):
        verdict, detail = judge.verdict(case, run)
        if verdict != "AC":
            return CheckedCase(case, f"canonical solution {number} does not agree: {detail}")
    return CheckedCase(case)
