"""Judging beside a hand-written loop over bubblewrap: submissions a minute, one case each and ten cases each.

The loop is what somebody writes in an afternoon: a folder, `subprocess.run` of bubblewrap with the same namespaces and
the same folders, standard input in, words compared. It has no limits but a timeout, counts neither memory nor
processor time, and filters no system calls. Ours grades the same programs (`grade`), and judges them as one worker of
an arena does: from the queue of a SQLite database to the verdict and the new board.

The time is wall-clock time, since the work is done in other processes.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, alternate, at_least, missing_row, row

PROGRAMS = {"Python 3": "fast.py", "C": "fast.c"}
PROBLEM = "lamp-posts"


def run(quick: bool = False) -> dict[str, Any]:
    from firsthand.evaluation.codearena.sandbox.isolation import examine, open_sandbox

    isolation = examine()
    if not isolation.isolated:
        why = "; ".join(isolation.reasons)
        return {"rows": [missing_row("judging", "a loop over bubblewrap", why)], "details": {}}
    submissions, rounds = (2, 1) if quick else (10, 9)
    with open_sandbox() as sandbox:
        rows = [
            one
            for language in PROGRAMS
            for count in (1, 10)
            for one in judging_rows(sandbox, language, count, submissions=submissions, rounds=rounds)
        ]
    return {"rows": rows, "details": {"counting": isolation.counting, "submissions a turn": submissions}}


@cache
def cases_of(sandbox: Any, count: int) -> tuple[Any, ...]:
    """So many cases of a bundled problem."""
    from firsthand.evaluation.codearena.grading.bundled import bundled_problem, make_cases

    seeds = tuple(range(1, 100, 5))[:count]  # of its second size: 80 characters
    return make_cases(sandbox, replace(bundled_problem(PROBLEM), sample_inputs=(), seeds=seeds))


def judging_rows(sandbox: Any, language: str, count: int, *, submissions: int, rounds: int) -> list[Row]:
    """Grading, and judging from the queue, against the loop."""
    from firsthand.evaluation.codearena.grading.bundled import bundled_problem
    from firsthand.evaluation.codearena.grading.grading import Task, grade
    from firsthand.evaluation.codearena.grading.languages import find_language
    from firsthand.evaluation.codearena.grading.sandboxed import SandboxGrader

    found = find_language(language)
    task = Task(cases_of(sandbox, count))
    text = bundled_problem(PROBLEM).programs[PROGRAMS[language]]
    mark = "//" if language == "C" else "#"
    sources = [f"{text}{mark} {number}\n" for number in range(submissions)]
    loop = Loop(found.slug)

    def by_loop() -> set[str]:
        return {loop.judge(source, task.cases) for source in sources}

    def by_grade() -> set[str]:
        return {grade(sandbox, found, source, task).verdict for source in sources}

    what = f"{language}, {count} case{'s' if count > 1 else ''} each"
    rows = [_row(f"{what}: grade", by_grade, by_loop, submissions, rounds)]
    with Queue(SandboxGrader(sandbox), task) as queue:
        queue.fill(found.slug, sources * (2 * rounds + 1))
        rows.append(
            _row(
                f"{what}: one worker of an arena",
                lambda: queue.judge(submissions),
                by_loop,
                submissions,
                rounds,
            )
        )
    return rows


def _row(
    what: str, ours: Callable[[], set[str]], peer: Callable[[], set[str]], submissions: int, rounds: int
) -> Row:
    equal = ours() == peer() == {"AC"}
    timing = alternate(ours, peer, rounds)

    def side(label: str, key: str) -> dict[str, str]:
        return {"label": label, "text": f"{60 * submissions / timing[key]:.0f} a minute"}

    return row(
        what, side("ours", "ours_wall_seconds"), side("loop over bubblewrap", "peer_wall_seconds"),
        timing["ratio_wall"], target=at_least(0.8), equal=equal,
        note="wall-clock; ours / loop in submissions a minute; no running peer: the loop is the obvious implementation",
        timing=timing,
    )  # fmt: skip


class Loop:
    """Judges without an arena: bubblewrap, and no more."""

    def __init__(self, slug: str) -> None:
        from firsthand.evaluation.codearena.grading.languages import find_language
        from firsthand.evaluation.codearena.sandbox.limits import Limits

        self._language = find_language(slug)
        self._run = self._language.run_command(Limits())
        self._bwrap = ["/usr/bin/bwrap"]
        self._bwrap += [f"--unshare-{kind}" for kind in ("user", "pid", "net", "ipc", "uts", "cgroup")]
        self._bwrap += [
            "--die-with-parent",
            "--new-session",
            "--clearenv",
            "--setenv",
            "PATH",
            "/usr/bin:/bin",
        ]
        for path in ("/usr", "/bin", "/lib", "/lib64", "/etc/alternatives", "/etc/ld.so.cache"):
            self._bwrap += ["--ro-bind-try", path, path]
        self._bwrap += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/tmp"]

    def judge(self, source: str, cases: Sequence[Any]) -> str:
        """The verdict on a source."""
        with tempfile.TemporaryDirectory() as box:
            bwrap = [*self._bwrap, "--ro-bind", box, "/box", "--"]
            Path(box, self._language.source).write_text(source)
            if self._language.compile:
                made = subprocess.run([*bwrap, *self._language.compile_command()], capture_output=True)
                if made.returncode:
                    return "CE"
                program = Path(box, "program")
                program.write_bytes(made.stdout)
                program.chmod(0o755)
            for case in cases:
                done = subprocess.run(
                    [*bwrap, *self._run],
                    input=case.input.encode(),
                    capture_output=True,
                    timeout=6,
                    check=False,
                )
                if done.returncode:
                    return "RTE"
                if done.stdout.split() != case.output.encode().split():
                    return "WA"
        return "AC"


class Queue:
    """An arena on SQLite with one problem, and its one judge."""

    def __init__(self, grader: Any, task: Any) -> None:
        self._grader, self._task = grader, task

    def __enter__(self) -> Queue:
        from firsthand.evaluation.codearena.arena import Arena
        from firsthand.evaluation.codearena.store.cases import NewCase, Program
        from firsthand.evaluation.codearena.store.collection import Problem

        self._folder = tempfile.TemporaryDirectory()
        self._arena = Arena.open(f"sqlite:///{self._folder.name}/arena.db", grader=self._grader)
        self._arena.accounts.create("contestant", "human")
        self._arena.create_problem(
            Problem("lamps", title="Lamps", statement="Count the lamps."),
            cases=[NewCase(case.input, case.output) for case in self._task.cases],
            solutions=[Program("python", "x"), Program("python", "y")],
            validated=True,
        )
        return self

    def fill(self, slug: str, sources: Sequence[str]) -> None:
        """Hand in, which is not the judge's work."""
        for source in sources:
            self._arena.submit("contestant", "lamps", slug, source)

    def judge(self, count: int) -> set[str]:
        """From the queue to the board, so many."""
        ids = [self._arena.judge_once() for _ in range(count)]
        return {str(self._arena.submission(str(sid)).verdict) for sid in ids}

    def __exit__(self, *exception: object) -> None:
        self._arena.close()
        self._folder.cleanup()
