"""A grader that does what a program's text says, so that queue and API are tested without a sandbox.

"AC 58"            every case accepted, 58 ms together
"WA 3", "IE", ...  that verdict
"SHOUT"            right where the expected output is the input in capitals, and prints that
"SLEEP 0.5 AC 1"   first sleeps
"ONCE PATH AC 1"   where there is no such file: makes it and sleeps for a minute; else as the rest says
"DIES PATH AC 1"   where there is no such file: makes it and kills its own process; else as the rest says
"MARK PATH AC 1"   makes the file, then as the rest says
"MEET PATH 2 AC 1" waits until two processes came to the folder
"RAISE", "NOBOX"   the judge's own fault; a machine without isolation

Messages name the process.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from firsthand.evaluation.codearena.errors import InvalidCase, SandboxUnavailable
from firsthand.evaluation.codearena.grading.generation import CheckedCase
from firsthand.evaluation.codearena.grading.grading import Case, CaseGrade, Grade, Task
from firsthand.evaluation.codearena.store.cases import Program
from firsthand.evaluation.codearena.store.judging import Submitted


def without_isolation() -> ScriptedGrader:
    raise SandboxUnavailable("scripted to have no isolation")


class ScriptedGrader:
    def __init__(self, languages: tuple[str, ...] = ("c", "cpp", "python")) -> None:
        self.graded: list[Submitted] = []
        self.languages = frozenset(languages)

    def __call__(self, program: Submitted, task: Task) -> Grade:
        self.graded.append(program)
        words = program.source.split()
        if words[0] == "ONCE":
            marker = Path(words[1])
            if not marker.exists():
                marker.touch()
                time.sleep(60)
            words = words[2:]
        if words[0] == "DIES":
            marker = Path(words[1])
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            words = words[2:]
        if words[0] == "MARK":
            Path(words[1]).touch()
            words = words[2:]
        if words[0] == "MEET":
            folder = Path(words[1])
            (folder / str(os.getpid())).touch()
            end = time.monotonic() + 60
            while len(list(folder.iterdir())) < int(words[2]) and time.monotonic() < end:
                time.sleep(0.02)
            words = words[3:]
        if words[0] == "SLEEP":
            time.sleep(float(words[1]))
            words = words[2:]
        if words[0] == "RAISE":
            raise RuntimeError("scripted to fail")
        if words[0] == "NOBOX":
            raise SandboxUnavailable("scripted to have no isolation")
        if words[0] == "SHOUT":
            cases = tuple(
                case_grade(case.ordinal, "AC" if case.output == case.input.upper() else "WA", 1.0)
                for case in task.cases
            )
            verdict = next((case.verdict for case in cases if case.verdict != "AC"), "AC")
            return grade(verdict, 1.0, cases)
        verdict, cpu_ms = words[0], float(words[1]) if len(words) > 1 else 1.0
        if verdict in ("CE", "IE"):
            return grade(verdict, 0.0, (), message=f"scripted {verdict}")
        return grade(verdict, cpu_ms, tuple(case_grade(case.ordinal, verdict, cpu_ms) for case in task.cases))

    def validate(self, cases: Sequence[Case], solutions: Sequence[Program], task: Task) -> list[CheckedCase]:
        found = []
        for case in cases:
            case = replace(case, output=case.output or case.input.upper())
            reasons = [
                f"canonical solution {number} does not agree: {says}"
                for number, solution in enumerate(solutions, 1)
                if (says := self._disagrees(case, solution.source))
            ]
            found.append(CheckedCase(case, reasons[0] if reasons else ""))
        return found

    def _disagrees(self, case: Case, source: str) -> str:
        if source == "RAISE":
            raise RuntimeError("scripted to fail")
        if source == "CE":
            raise InvalidCase("canonical solution 2 cannot be compiled: scripted")
        return "" if source == "SHOUT" and case.output == case.input.upper() else f"scripted {source}"

    def generate(self, program: Program, seeds: Sequence[int]) -> list[str]:
        if not program.source.startswith("SEEDED "):
            raise InvalidCase(f"the generator failed for seed {seeds[0]} (rte): scripted")
        return [f"{program.source[7:]}{seed}" for seed in seeds]


def case_grade(ordinal: int, verdict: str, cpu_ms: float) -> CaseGrade:
    return CaseGrade(
        ordinal=ordinal, verdict=verdict, cpu_ms=cpu_ms, wall_ms=2 * cpu_ms, peak_kb=1000, detail=""
    )


def grade(verdict: str, cpu_ms: float, cases: tuple[CaseGrade, ...], message: str = "") -> Grade:
    return Grade(
        verdict=verdict,
        cpu_ms=cpu_ms,
        wall_ms=2 * cpu_ms,
        peak_kb=1000,
        cases=cases,
        message=message or f"process {os.getpid()}",
        spread_ms=0.0,
    )
