"""The demo league: eight scripted contestants, whose verdict on each bundled problem is known beforehand.

A contestant solves some problems with a right solution and fails at the others in a way of its own. It has a pace: work
of a known amount that its right solutions do before they start, so that the order of runtimes on a problem is the
order of paces and does not hang on a machine's mood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from firsthand.evaluation.codearena.grading.bundled import BundledProblem, bundled_problems
from firsthand.evaluation.codearena.grading.grading import Verdict

__all__ = ["CONTESTANTS", "Contestant", "ScriptedSubmission", "league"]

_HARD = frozenset({"coin-purse", "crossed-ropes", "nested-boxes"})
_EASY = frozenset({"lamp-posts", "parcel-lockers", "tide-table", "twin-words"})


@dataclass(frozen=True)
class Contestant:
    """One of the league.

    Attributes:
        name: what it is called, which says what it does.
        program: the file of a problem that holds its right solution.
        pace: loops that a right solution of its turns first.
        fails: the problems that it does not solve.
        verdict: what it gets there.
    """

    name: str
    program: str
    pace: int
    fails: frozenset[str]
    verdict: Verdict


@dataclass(frozen=True)
class ScriptedSubmission:
    """What a contestant hands in for a problem, and the verdict that a right judge gives it."""

    contestant: str
    pid: str
    language: str
    source: str
    verdict: Verdict


CONTESTANTS = (
    Contestant("fast-c", "fast.c", 0, frozenset(), "AC"),
    Contestant("compile-error", "fast.c", 12_000_000, _EASY | {"bell-tower", "coin-purse"}, "CE"),
    Contestant("fast-python", "fast.py", 0, frozenset({"crossed-ropes"}), "WA"),
    Contestant("memory-hog", "fast.py", 500_000, _HARD | {"island-survey", "letter-tiles"}, "MLE"),
    Contestant(
        "timeout", "fast.py", 1_000_000, _HARD | {"garden-fence", "mountain-huts", "twin-words"}, "TLE"
    ),
    Contestant("crash", "fast.py", 1_700_000, _HARD | {"tide-table", "garden-fence", "bell-tower"}, "RTE"),
    Contestant("wrong-answer", "fast.py", 2_600_000, _HARD | _EASY, "WA"),
    Contestant("slow-python", "slow.py", 3_800_000, frozenset({"coin-purse"}), "WA"),
)

_PACE = {
    ".c": """static volatile unsigned pace;
__attribute__((constructor)) static void keep_pace(void) {{
    for (unsigned turn = 0; turn < {pace}u; turn++) pace += turn;
}}
""",
    ".py": "for _turn in range({pace}):\n    pass\n",
}


def _with_pace(source: str, extension: str, pace: int) -> str:
    return _PACE[extension].format(pace=pace) + source if pace else source


def _does_not_compile(problem: BundledProblem) -> tuple[str, str]:
    return "C", problem.programs["fast.c"].replace("int main(void) {", "int main(void) { retrun 0;", 1)


def _is_wrong(problem: BundledProblem) -> tuple[str, str]:
    return "Python 3", problem.programs["wrong.py"]


def _never_ends(problem: BundledProblem) -> tuple[str, str]:
    return "Python 3", f"# {problem.title}\nimport sys\n\nsys.stdin.read()\nwhile True:\n    pass\n"


def _eats_memory(problem: BundledProblem) -> tuple[str, str]:
    return "Python 3", f'# {problem.title}\nheld = []\nwhile True:\n    held.append(b"x" * (1 << 24))\n'


def _crashes(problem: BundledProblem) -> tuple[str, str]:
    return "Python 3", f"# {problem.title}\nlines = open(0).read().split()\nprint(lines[len(lines)])\n"


_FAILURES: dict[str, Callable[[BundledProblem], tuple[str, str]]] = {
    "CE": _does_not_compile,
    "WA": _is_wrong,
    "TLE": _never_ends,
    "MLE": _eats_memory,
    "RTE": _crashes,
}


def league() -> tuple[ScriptedSubmission, ...]:
    """All submissions of all contestants to all bundled problems: 8 × 12, contestant by contestant."""
    submissions = []
    for contestant in CONTESTANTS:
        extension = contestant.program[contestant.program.index(".") :]
        for problem in bundled_problems():
            if problem.pid in contestant.fails:
                language, source = _FAILURES[contestant.verdict](problem)
                verdict = contestant.verdict
            else:
                language = "C" if extension == ".c" else "Python 3"
                source = _with_pace(problem.programs[contestant.program], extension, contestant.pace)
                verdict = "AC"
            submissions.append(ScriptedSubmission(contestant.name, problem.pid, language, source, verdict))
    return tuple(submissions)
