"""The whole way with the real sandbox: cases validated and generated, programs of two languages judged and ranked."""

from __future__ import annotations

import os
import signal

import pytest

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.errors import SandboxUnavailable
from firsthand.evaluation.codearena.grading.sandboxed import SandboxGrader
from firsthand.evaluation.codearena.sandbox.isolation import open_sandbox
from firsthand.evaluation.codearena.store.cases import NewCase, Program
from firsthand.evaluation.codearena.store.collection import Problem
from firsthand.evaluation.codearena.store.judges import Judges, JudgeSettings

from .conftest import judge_all
from .watched import LEASE_S, descendants, lives, until

PYTHON = "print(sum(int(word) for word in open(0).read().split()))"
C = '#include <stdio.h>\nint main(void){long s=0,x;while(scanf("%ld",&x)==1)s+=x;printf("%ld\\n",s);return 0;}'
SENT = {
    "right": ("python", PYTHON, "AC"),
    "native": ("c", C, "AC"),
    "wrong": ("python", "print(7)", "WA"),
    "crash": ("python", "raise SystemExit(3)", "RTE"),
    "broken": ("c", "int main(void) { return x; }", "CE"),
}


@pytest.fixture(scope="module")
def grader():
    try:
        sandbox = open_sandbox()
    except SandboxUnavailable as error:
        pytest.skip(f"needs a sandbox: {error}")
    with sandbox:
        found = SandboxGrader(sandbox)
        if not {"c", "python"} <= found.languages:
            pytest.skip("needs gcc (system-packages.txt)")
        yield found


def test_from_cases_to_the_board(arena_url, grader):
    with Arena.open(arena_url, grader=grader) as arena:
        arena.create_problem(
            Problem("sum", "Sum", "Print the sum of all numbers."),
            cases=[NewCase("1 2\n3\n", "6\n"), NewCase("4\n", ""), NewCase("5\n", "6\n")],
            solutions=[Program("python", PYTHON), Program("c", C)],
        )
        number = arena.cases.add_generator(
            "sum", Program("python", "import random; random.seed(int(input())); print(random.randrange(99))")
        )
        arena.cases.generate("sum", number, [1, 2])
        assert arena.judge_once() is None
        cases = arena.cases.all("sum")
        assert [case.state for case in cases] == ["active", "active", "rejected", "active", "active"]
        assert (cases[1].output, cases[3].output) == ("4\n", cases[3].input)
        for user, (language, source, _) in SENT.items():
            arena.accounts.create(user, "llm")
            arena.submit(user, "sum", language, source)
        sids = judge_all(arena)
        assert len(sids) == len(SENT)
        for sid in sids:
            found = arena.submission(sid)
            assert found.verdict == SENT[found.user][2], found.message
            assert found.cpu_ms > 0 or found.verdict == "CE"
        # Two of five solved it, so each has 5 · 3/5, and the faster one all of its efficiency.
        assert sorted(row.dp for row in arena.ranking().rows) == [0.0, 0.0, 0.0, 3.5, 4.0]
        assert arena.audit().clean


@pytest.mark.parametrize("arena_url", ["postgresql"], indirect=True)
def test_a_judge_killed_while_a_program_runs_takes_it_along_and_another_judges_it(arena_url, grader):
    with Arena.open(arena_url) as arena:
        arena.create_problem(
            Problem("sum", "Sum", "Print the sum of all numbers."),
            cases=[NewCase("1 2\n3\n", "6\n")],
            solutions=[Program("python", PYTHON), Program("c", C)],
            validated=True,
        )
        arena.accounts.create("slow", "llm")
        sid = arena.submit("slow", "sum", "python", f"import time; time.sleep(2)\n{PYTHON}")
        with Judges(JudgeSettings(arena_url, lease_s=LEASE_S), 1) as judges:
            (pid,) = judges.pids
            until(lambda: len(descendants(pid)) >= 2)  # bubblewrap, and what runs inside
            family = descendants(pid)
            os.kill(pid, signal.SIGKILL)
            until(lambda: arena.submission(sid).finished)
        assert (arena.submission(sid).verdict, arena.submissions.judgements(sid)) == ("AC", 1)
        assert not [one for one in family if lives(one)]
        assert arena.audit().clean
