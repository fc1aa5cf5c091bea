"""Twelve problems that come with the arena, our own and free to use (CC0).

Each `problems/NAME/` holds `problem.toml`, `statement.md`, a case generator with its seeds, solutions (`fast.c`,
`fast.py`, `slow.py` are right, `wrong.py` is not) and `cases.json`, which `make_cases` writes: the samples' inputs and
the generator's, with the answers on which the right solutions agree. The tests make the cases again and compare.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from firsthand.evaluation.codearena.errors import InvalidCase, UnknownProblem
from firsthand.evaluation.codearena.grading.generation import Solution, generate_inputs, validate_cases
from firsthand.evaluation.codearena.grading.grading import Case, Task
from firsthand.evaluation.codearena.sandbox.limits import Sandbox

__all__ = ["BundledProblem", "bundled_problem", "bundled_problems", "make_cases", "write_cases"]

_FOLDER = Path(__file__).parent / "problems"
_LANGUAGE_OF = {".c": "c", ".py": "python"}


@dataclass(frozen=True)
class BundledProblem:
    """A problem of the bundle.

    Attributes:
        pid: its name in addresses.
        title: its name for people.
        statement: Markdown.
        points: what the curator set, 3 to 5 (the paper's BPS).
        difficulty: `easy`, `medium` or `hard`.
        date: when it was written.
        licence: an SPDX identifier.
        task: cases, limits and checker.
        sample_inputs: of the first cases, which are shown with the statement.
        generator: a Python program that writes a case's input for a seed.
        seeds: those of the cases after the samples.
        solutions: the canonical ones.
        programs: every program in the folder by file name, `wrong.py` too.
    """

    pid: str
    title: str
    statement: str
    points: float
    difficulty: str
    date: date
    licence: str
    task: Task
    sample_inputs: tuple[str, ...]
    generator: str
    seeds: tuple[int, ...]
    solutions: tuple[Solution, ...]
    programs: Mapping[str, str]


@cache
def bundled_problems() -> tuple[BundledProblem, ...]:
    """All of them, in alphabetical order."""
    return tuple(_read(folder) for folder in sorted(_FOLDER.iterdir()) if (folder / "problem.toml").exists())


def bundled_problem(pid: str) -> BundledProblem:
    """The one of that name; raises `UnknownProblem` with the names there are."""
    for problem in bundled_problems():
        if problem.pid == pid:
            return problem
    raise UnknownProblem(
        f"{pid!r}: not bundled; there are {', '.join(one.pid for one in bundled_problems())}"
    )


def _read(folder: Path) -> BundledProblem:
    facts = tomllib.loads((folder / "problem.toml").read_text(encoding="utf-8"))
    programs = {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(folder.iterdir())
        if path.suffix in _LANGUAGE_OF and path.stem != "generator"
    }
    cases = folder / "cases.json"
    pairs = json.loads(cases.read_text(encoding="utf-8")) if cases.exists() else []
    return BundledProblem(
        pid=folder.name,
        title=facts["title"],
        statement=(folder / "statement.md").read_text(encoding="utf-8"),
        points=facts["points"],
        difficulty=facts["difficulty"],
        date=facts["date"],
        licence=facts["licence"],
        task=Task(
            cases=tuple(Case(pair["input"], pair["output"], number) for number, pair in enumerate(pairs, 1)),
            time_ms=facts["time-ms"],
            memory_kb=facts["memory-kb"],
            checker=facts.get("checker", "standard"),
        ),
        sample_inputs=tuple(facts["samples"]),
        generator=(folder / "generator.py").read_text(encoding="utf-8"),
        seeds=tuple(facts["seeds"]),
        solutions=tuple(
            Solution(_LANGUAGE_OF[Path(name).suffix], text)
            for name, text in programs.items()
            if Path(name).stem != "wrong"
        ),
        programs=programs,
    )


def make_cases(sandbox: Sandbox, problem: BundledProblem) -> tuple[Case, ...]:
    """The problem's cases, made from its samples, its generator and its seeds.

    Raises:
        InvalidCase: the canonical solutions do not agree on one.
    """
    inputs = [*problem.sample_inputs, *generate_inputs(sandbox, problem.generator, problem.seeds)]
    wanted = [Case(text, "", number) for number, text in enumerate(inputs, 1)]
    checked = validate_cases(sandbox, wanted, problem.solutions, problem.task)
    for case in checked:
        if not case.accepted:
            raise InvalidCase(f"{problem.pid}: case {case.case.ordinal}: {case.reason}")
    return tuple(case.case for case in checked)


def write_cases(sandbox: Sandbox, problem: BundledProblem) -> Path:
    """Make the cases and write them beside the problem's other files, for whoever changes a problem."""
    path = _FOLDER / problem.pid / "cases.json"
    pairs = [{"input": case.input, "output": case.output} for case in make_cases(sandbox, problem)]
    path.write_text(json.dumps(pairs, indent=1) + "\n", encoding="utf-8")
    return path
