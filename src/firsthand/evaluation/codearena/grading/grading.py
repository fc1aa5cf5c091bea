"""From a source text to a verdict: compile, run on each case, compare, sum up.

    compile in the sandbox (limits of its own) -> for each case: run in a fresh sandbox, standard input = the case's
    -> compare with the checker -> stop at the first failure, or run all -> the worst case's verdict

by the precedence IE > CE > MLE > TLE > OLE > RTE > WA > AC. A program is given a case's input and nothing else: no
other case, no expected answer. Time is processor time of the run step, compiling left out. Knows nothing of accounts,
queues or scores, and asks nothing of the sandbox but `limits.Sandbox`.
"""

from __future__ import annotations

import statistics
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Literal

from firsthand.errors import InputError
from firsthand.evaluation.codearena.errors import (
    InvalidCase,
    InvalidSource,
    SandboxFailed,
    SourceTooLarge,
    UnsupportedLanguage,
)
from firsthand.evaluation.codearena.grading.checkers import Checker, parse_checker
from firsthand.evaluation.codearena.grading.languages import ARTEFACT, COMPILE_LIMITS, Language, find_language
from firsthand.evaluation.codearena.sandbox.limits import Box, Limits, Prepared, RunResult, Sandbox

__all__ = [
    "SOURCE_KB",
    "VERDICTS",
    "Case",
    "CaseGrade",
    "Grade",
    "Judge",
    "Task",
    "Verdict",
    "compile_in",
    "compile_trusted",
    "grade",
    "literal_case",
    "readable_source",
    "run_on",
    "worst",
]

Verdict = Literal["AC", "WA", "RTE", "OLE", "TLE", "MLE", "CE", "IE"]
VERDICTS: tuple[Verdict, ...] = ("AC", "WA", "RTE", "OLE", "TLE", "MLE", "CE", "IE")  # from best to worst
_OF_STATUS: dict[str, Verdict] = {"tle": "TLE", "mle": "MLE", "ole": "OLE", "rte": "RTE", "internal": "IE"}
_MESSAGE_KB = 8
SOURCE_KB = 64
CHECKER_ACCEPTS, CHECKER_REFUSES = 42, 43
_CHECKER_LIMITS = Limits(cpu_s=10, wall_s=30, memory_mb=512)


@dataclass(frozen=True)
class Case:
    """One test case.

    Attributes:
        input: all of standard input.
        output: the expected answer.
        ordinal: its number within the problem, from 1.
    """

    input: str
    output: str
    ordinal: int


@dataclass(frozen=True)
class Task:
    """What a solution is judged against.

    Attributes:
        cases: in the order in which they are run.
        time_ms: processor time for one case, in milliseconds, before the language's factor.
        memory_kb: memory for one case, in KiB, before what the language's runtime takes.
        checker: as `checkers.parse_checker` reads it.
        checker_source: for `custom`, the program that decides. Its arguments are three files: the input, the expected
            answer and the output. It exits with 42 where the output is right and with 43 where it is wrong, as the
            ICPC's problem packages have it, and may say why on standard output. Anything else is a fault of the
            checker's, and the verdict IE.
        checker_language: the language of that program.
    """

    cases: tuple[Case, ...]
    time_ms: float = 1000.0
    memory_kb: int = 262144
    checker: str = "standard"
    checker_source: str | None = None
    checker_language: str = "python"


@dataclass(frozen=True)
class CaseGrade:
    """What came of one case: its verdict, processor and wall time in ms, peak memory in KiB, and why in words."""

    ordinal: int
    verdict: Verdict
    cpu_ms: float
    wall_ms: float
    peak_kb: int
    detail: str = ""


@dataclass(frozen=True)
class Grade:
    """What came of one submission.

    Attributes:
        verdict: the worst of its cases.
        cpu_ms: processor time summed over cases; with `repeats`, the median of the passes.
        wall_ms: time on the clock, alike.
        peak_kb: most memory that a case took, in KiB.
        cases: those that were run.
        message: for CE the compiler's words, for IE the sandbox's, else the first failure's.
        spread_ms: the slowest pass's processor time less the fastest's; 0 for one pass.
    """

    verdict: Verdict
    cpu_ms: float
    wall_ms: float
    peak_kb: int
    cases: tuple[CaseGrade, ...]
    message: str = ""
    spread_ms: float = 0.0


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that stands for all: IE > CE > MLE > TLE > OLE > RTE > WA > AC; AC for none."""
    return max(verdicts, key=VERDICTS.index, default="AC")


def literal_case(cases: Sequence[Case], ordinal: int = 1) -> Case:
    """One case of the paper's program protocol out of several.

    The first line is their number T, then comes one tuple of arguments a line, as a Python literal; the answer has one
    result a line. To be compared by `python_literal`. Raises `InvalidCase` for an input or output of several lines.
    """
    for case in cases:
        if "\n" in case.input.strip() or "\n" in case.output.strip() or not case.input.strip():
            raise InvalidCase(
                f"case {case.ordinal}: the T-lines protocol needs one line of input and one of output"
            )
    inputs = "".join(f"{case.input.strip()}\n" for case in cases)
    return Case(f"{len(cases)}\n{inputs}", "".join(f"{case.output.strip()}\n" for case in cases), ordinal)


def grade(
    sandbox: Sandbox,
    language: Language,
    source: str,
    task: Task,
    *,
    grade_all: bool = False,
    repeats: int = 1,
) -> Grade:
    """Judge a source text.

    Args:
        sandbox: runs the compiler, the program and a custom checker.
        language: of the source.
        source: the program's text.
        task: cases, limits and checker.
        grade_all: run every case; else stop at the first that fails.
        repeats: passes over the cases; more than one for a steadier time. Only a solution that is right so far is
            run again, and one that fails in any pass has failed.

    Raises:
        UnsupportedLanguage: its compiler or runtime is not installed on this machine.
        SourceTooLarge, InvalidSource: see `readable_source`.
        InvalidCase: the task has no cases, or a checker that cannot be used.
        InputError: `repeats` below 1.
    """
    if repeats < 1:
        raise InputError(f"repeats = {repeats}: at least one pass is needed")
    if not task.cases:
        raise InvalidCase("the problem has no test cases, so nothing can be judged")
    if not language.installed:
        raise UnsupportedLanguage(
            f"{language.name}: not installed on this machine: {', '.join(language.missing)} not in /usr"
        )
    text = readable_source(source, most_kb=1024).encode()  # how much is taken, the arena decides
    with ExitStack() as stack:
        box = stack.enter_context(sandbox.box({language.source: text}))
        judge = Judge(sandbox, task, stack)
        failed = compile_in(box, language)
        if failed is not None:
            return failed
        passes = [judge.one_pass(box, language, grade_all=grade_all)]
        while len(passes) < repeats and worst([case.verdict for case in passes[0]]) == "AC":
            passes.append(judge.one_pass(box, language, grade_all=grade_all))
            if worst([case.verdict for case in passes[-1]]) != "AC":
                break
    return _summed_up(passes)


def readable_source(source: str | bytes, *, most_kb: int = SOURCE_KB) -> str:
    """A submission's text, if it can be judged.

    Raises:
        SourceTooLarge: more than `most_kb` KiB.
        InvalidSource: empty, with NUL characters, or not UTF-8.
    """
    try:
        raw = source if isinstance(source, bytes) else source.encode()
    except UnicodeEncodeError as error:
        raise InvalidSource("the source has half a surrogate pair, which UTF-8 cannot write") from error
    if len(raw) > most_kb << 10:
        raise SourceTooLarge(f"the source has {len(raw)} bytes, and at most {most_kb << 10} are taken")
    if b"\0" in raw:
        raise InvalidSource(f"the source has a NUL character, at byte {raw.index(0)}")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidSource(f"the source is not UTF-8: byte {error.start}") from error
    if not text.strip():
        raise InvalidSource("the source is empty")
    return text


def run_on(
    box: Box, language: Language, inputs: Iterable[bytes], limits: Limits
) -> Generator[RunResult, None, None]:
    """Run the program of a box, compiled where its language is, on one input after the other.

    While one runs, the surroundings of the next are made, on another processor where there is one. Who has seen enough
    closes the generator.
    """

    def prepared(stdin: bytes) -> Prepared:
        return box.prepare(
            language.run_command(limits),
            stdin=stdin,
            limits=limits,
            environment=language.environment,
            visible=language.visible,
        )

    waiting = map(prepared, inputs)
    following = next(waiting, None)
    try:
        while following is not None:
            with closing(following) as current:
                following = next(waiting, None)
                result = current.run()
            if result.status == "rte" and any(
                sign.encode() in result.stderr for sign in language.out_of_memory
            ):
                result = replace(
                    result, status="mle"
                )  # a runtime that keeps its own heap ends before the limit
            yield result
    finally:
        if following is not None:
            following.close()


def compile_in(box: Box, language: Language) -> Grade | None:
    """Compile the source in a box; the grade where that failed, None where it went well or there is nothing to do."""
    if not language.compile:
        return None
    result = box.run(
        language.compile_command(),
        limits=COMPILE_LIMITS,
        environment=language.environment,
        visible=language.visible,
        stdout_to=ARTEFACT,
    )
    if result.status == "ok":
        return None
    said = _text(result.stderr)
    reasons = {
        "tle": f"compiling took more than {COMPILE_LIMITS.cpu_s:g} s",
        "mle": f"compiling took more than {COMPILE_LIMITS.memory_mb} MiB of memory",
        "ole": "the compiler's output is too large",
        "internal": "the sandbox failed",
    }
    message = "\n".join(part for part in (reasons.get(result.status, ""), said) if part)
    verdict: Verdict = "IE" if result.status == "internal" else "CE"
    return Grade(verdict, 0.0, 0.0, result.peak_kb, (), message)


def compile_trusted(box: Box, language: Language, what: str) -> None:
    """Compile a curator's program, which is called `what` where it cannot be.

    Raises:
        InvalidCase: the compiler refuses it.
        SandboxFailed: the sandbox's own fault.
    """
    failed = compile_in(box, language)
    if failed is not None:
        error = SandboxFailed if failed.verdict == "IE" else InvalidCase
        raise error(f"{what} cannot be compiled: {failed.message}")


def _text(raw: bytes) -> str:
    """For people to read: bounded, valid, without control characters."""
    cut = raw[: _MESSAGE_KB << 10]
    text = cut.decode("utf-8", errors="replace").strip()
    text = "".join(character for character in text if character.isprintable() or character in "\n\t")
    return text + ("\n…" if len(cut) < len(raw) else "")


def _summed_up(passes: list[tuple[CaseGrade, ...]]) -> Grade:
    last = passes[-1]  # the one that failed, where one did
    verdict = worst([case.verdict for case in last])
    if verdict == "CE":  # an interpreter that could not read the source: no case was run
        return Grade("CE", 0.0, 0.0, last[-1].peak_kb, (), last[-1].detail)
    if verdict == "AC":
        cases = tuple(
            replace(
                runs[0],
                cpu_ms=statistics.median(run.cpu_ms for run in runs),
                wall_ms=statistics.median(run.wall_ms for run in runs),
                peak_kb=max(run.peak_kb for run in runs),
            )
            for runs in zip(*passes, strict=True)
        )
    else:
        cases, passes = last, [last]
    totals = [sum(case.cpu_ms for case in one) for one in passes]
    message = next((case.detail for case in cases if case.verdict == verdict and verdict != "AC"), "")
    return Grade(
        verdict=verdict,
        cpu_ms=statistics.median(totals),
        wall_ms=statistics.median(sum(case.wall_ms for case in one) for one in passes),
        peak_kb=max(case.peak_kb for case in cases),
        cases=cases,
        message=message,
        spread_ms=max(totals) - min(totals),
    )


class Judge:
    """Compares what programs wrote with what a task expects, and runs its cases.

    Attributes:
        checker: how the task compares.
    """

    def __init__(self, sandbox: Sandbox, task: Task, stack: ExitStack) -> None:
        """`stack`: holds a custom checker's box until it is closed.

        Raises:
            InvalidCase: a checker that cannot be used.
            SandboxFailed: its program could not be compiled, by the sandbox's fault.
        """
        self._task = task
        self.checker: Checker = parse_checker(task.checker)
        if self.checker.name == "custom":
            if not task.checker_source:
                raise InvalidCase("checker custom: the program that decides is missing")
            self._custom = find_language(task.checker_language)
            if not self._custom.installed:
                raise InvalidCase(f"checker custom: {self._custom.name} is not installed on this machine")
            self._checker_box = stack.enter_context(
                sandbox.box({self._custom.source: task.checker_source.encode()})
            )
            compile_trusted(self._checker_box, self._custom, "the problem's checker")

    def one_pass(self, box: Box, language: Language, *, grade_all: bool) -> tuple[CaseGrade, ...]:
        """Run the program of a box on the task's cases, to the first failure or all."""
        limits = language.limits(self._task.time_ms, self._task.memory_kb)
        grades: list[CaseGrade] = []
        inputs = (case.input.encode() for case in self._task.cases)
        with closing(run_on(box, language, inputs, limits)) as results:
            for case, result in zip(self._task.cases, results, strict=True):
                verdict, detail = self.verdict(case, result)
                if verdict == "RTE" and language.check and not grades and not _readable(box, language):
                    verdict = "CE"
                grades.append(
                    CaseGrade(case.ordinal, verdict, result.cpu_ms, result.wall_ms, result.peak_kb, detail)
                )
                if verdict in ("CE", "IE") or (verdict != "AC" and not grade_all):
                    break
        return tuple(grades)

    def verdict(self, case: Case, result: RunResult) -> tuple[Verdict, str]:
        """What a run on a case comes to, and why."""
        if result.status != "ok":
            return _OF_STATUS[result.status], _why(result)
        if self.checker.name == "custom":
            return self._decided_by_program(case, result.stdout)
        try:
            difference = self.checker.difference(case.output.encode(), result.stdout)
        except InvalidCase as error:
            return "IE", str(error)
        return ("AC", "") if difference is None else ("WA", difference)

    def _decided_by_program(self, case: Case, stdout: bytes) -> tuple[Verdict, str]:
        language, box = self._custom, self._checker_box
        for name, content in (
            ("input", case.input.encode()),
            ("expected", case.output.encode()),
            ("output", stdout),
        ):
            box.put(name, content)
        result = box.run(
            [*language.run_command(_CHECKER_LIMITS), "/box/input", "/box/expected", "/box/output"],
            limits=_CHECKER_LIMITS,
            environment=language.environment,
            visible=language.visible,
        )
        said = _text(result.stdout) or _text(result.stderr)
        if result.status == "rte" and result.exit_code in (CHECKER_ACCEPTS, CHECKER_REFUSES):
            return ("AC", "") if result.exit_code == CHECKER_ACCEPTS else ("WA", said or "not accepted")
        return "IE", f"the problem's checker failed: {_why(result) or f'exit code {result.exit_code}'}"


def _readable(box: Box, language: Language) -> bool:
    """Whether an interpreter can read the source at all.

    Asked only of a program that failed on its first case, so that right ones pay nothing for it.
    """
    result = box.run(
        language.check, limits=COMPILE_LIMITS, environment=language.environment, visible=language.visible
    )
    return result.status == "ok"


def _why(result: RunResult) -> str:
    if result.status == "tle":
        return f"{result.cpu_ms:.0f} ms of processor time, {result.wall_ms:.0f} ms on the clock"
    if result.status == "mle":
        return f"out of memory at {result.peak_kb // 1024} MiB"
    if result.status == "ole":
        return "too much output"
    said = _text(result.stderr)
    end = f"signal {result.signal}" if result.signal is not None else f"exit code {result.exit_code}"
    return f"{end}\n{said}".strip() if result.status == "rte" else said
