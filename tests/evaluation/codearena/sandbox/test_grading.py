"""From a source to a verdict: order of cases, precedence, repeats, what counts as time, custom checkers.

Most of it on a sandbox that is a table of results, since it is about what is made of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.codearena.errors import (
    InvalidCase,
    InvalidSource,
    SandboxFailed,
    SourceTooLarge,
    UnsupportedLanguage,
)
from firsthand.evaluation.codearena.grading.grading import (
    VERDICTS,
    Case,
    Task,
    grade,
    literal_case,
    readable_source,
    worst,
)
from firsthand.evaluation.codearena.grading.languages import Language, find_language
from firsthand.evaluation.codearena.sandbox.limits import RunResult

from .conftest import judged, language

OK = RunResult(0, None, "ok", 10.0, 12.0, 1000, b"right\n")
WRONG = RunResult(0, None, "ok", 10.0, 12.0, 1000, b"wrong\n")
CASES = tuple(Case(f"{number}\n", "right", number) for number in range(1, 5))


class Table:
    """A sandbox whose program's results are told beforehand, by its input and how often that was asked."""

    def __init__(self, results: Callable[[bytes, int], RunResult], *, compiles: RunResult = OK) -> None:
        self.results = results
        self.compiles = compiles
        self.asked: list[bytes] = []
        self.commands: list[list[str]] = []
        self.open: list[Any] = []
        self.most_open = 0

    @contextlib.contextmanager
    def box(self, files: Any = None) -> Iterator[Table]:
        self.files = dict(files or {})
        yield self

    def put(self, name: str, content: bytes) -> None:
        self.files[name] = content

    def prepare(self, argv: Sequence[str], **options: Any) -> Any:
        one = SimpleNamespace(run=lambda: self.run(argv, **options), close=lambda: self.open.remove(one))
        self.open.append(one)
        self.most_open = max(self.most_open, len(self.open))
        return one

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", **options: Any) -> RunResult:
        self.commands.append(list(argv))
        if options.get("stdout_to"):
            return self.compiles
        self.asked.append(stdin)
        return self.results(stdin, self.asked.count(stdin))


PLAIN = Language(slug="plain", name="Plain", source="main.p", run=("run",), version=("v",), needs=("sh",))
COMPILED = Language(
    slug="made", name="Made", source="main.m", run=("/box/program",), version=("v",), needs=("sh",),
    compile=(("cc", "a b"), ("ld",)), artefact="/tmp/out",
)  # fmt: skip


def failing(**by_case: RunResult) -> Callable[[bytes, int], RunResult]:
    return lambda stdin, time: by_case.get(f"c{stdin.decode().strip()}", OK)


def result(status: str, **more: Any) -> RunResult:
    return RunResult(
        **{
            "exit_code": 1,
            "signal": None,
            "status": status,
            "cpu_ms": 5.0,
            "wall_ms": 6.0,
            "peak_kb": 7,
            **more,
        }
    )


def test_all_cases_in_order_and_their_time_summed():
    table = Table(failing())
    found = grade(table, PLAIN, "text", Task(CASES))
    assert table.asked == [b"1\n", b"2\n", b"3\n", b"4\n"]
    assert (found.verdict, found.cpu_ms, found.wall_ms, found.peak_kb) == ("AC", 40.0, 48.0, 1000)
    assert [case.ordinal for case in found.cases] == [1, 2, 3, 4]
    assert (found.message, found.spread_ms) == ("", 0.0)


def test_the_first_failure_ends_it():
    table = Table(failing(c2=WRONG, c3=result("tle")))
    found = grade(table, PLAIN, "text", Task(CASES))
    assert [case.verdict for case in found.cases] == ["AC", "WA"]
    assert found.verdict == "WA"
    assert found.message == "line 1: expected 'right', got 'wrong'"


def test_all_cases_are_run_where_all_are_asked_for_and_the_worst_counts():
    found = grade(Table(failing(c1=WRONG, c3=result("tle"))), PLAIN, "text", Task(CASES), grade_all=True)
    assert [case.verdict for case in found.cases] == ["WA", "AC", "TLE", "AC"]
    assert found.verdict == "TLE"
    assert "processor time" in found.message


@pytest.mark.parametrize(
    ("status", "verdict", "says"),
    [
        ("tle", "TLE", "5 ms of processor time, 6 ms on the clock"),
        ("mle", "MLE", "out of memory at 0 MiB"),
        ("ole", "OLE", "too much output"),
        ("rte", "RTE", "exit code 1\nTraceback"),
        ("internal", "IE", "Traceback"),
    ],
)
def test_verdicts_of_runs(status, verdict, says):
    found = grade(Table(failing(c1=result(status, stderr=b"Traceback\n"))), PLAIN, "text", Task(CASES))
    assert (found.verdict, found.message) == (verdict, says)


def test_a_signal_is_told():
    found = grade(Table(failing(c1=result("rte", exit_code=None, signal=11))), PLAIN, "text", Task(CASES))
    assert found.message == "signal 11"


@given(st.lists(st.sampled_from(VERDICTS), max_size=6))
def test_precedence(verdicts):
    order = ["IE", "CE", "MLE", "TLE", "OLE", "RTE", "WA", "AC"]
    assert worst(verdicts) == min(verdicts, key=order.index, default="AC")


def test_the_judge_s_own_fault_ends_it_even_where_all_are_asked_for():
    found = grade(Table(failing(c2=result("internal"))), PLAIN, "text", Task(CASES), grade_all=True)
    assert (found.verdict, len(found.cases)) == ("IE", 2)


def test_one_run_is_made_ready_while_another_runs_and_none_is_left():
    for results, asked in ((failing(), 4), (failing(c2=WRONG), 2)):
        table = Table(results)
        grade(table, PLAIN, "text", Task(CASES))
        assert (len(table.asked), table.most_open, table.open) == (asked, 2, [])
    broken = Table(lambda stdin, time: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        grade(broken, PLAIN, "text", Task(CASES))
    assert broken.open == []


def test_repeats_give_the_median_and_the_spread():
    times = {1: 10.0, 2: 30.0, 3: 12.0}
    table = Table(lambda stdin, time: RunResult(0, None, "ok", times[time], 50.0, 100 * time, b"right"))
    found = grade(table, PLAIN, "text", Task(CASES[:2]), repeats=3)
    assert (found.cpu_ms, found.spread_ms, found.peak_kb) == (24.0, 40.0, 300)
    assert [case.cpu_ms for case in found.cases] == [12.0, 12.0]
    assert len(table.asked) == 6


def test_what_failed_is_not_repeated_and_what_fails_in_a_repeat_failed():
    table = Table(failing(c1=WRONG))
    assert grade(table, PLAIN, "text", Task(CASES), repeats=5).verdict == "WA"
    assert len(table.asked) == 1
    second = Table(lambda stdin, time: OK if time == 1 or stdin != b"3\n" else result("rte"))
    found = grade(second, PLAIN, "text", Task(CASES), repeats=5)
    assert (found.verdict, len(found.cases), len(second.asked)) == ("RTE", 3, 7)


@pytest.mark.parametrize("repeats", [0, -1])
def test_fewer_than_one_pass_is_refused(repeats):
    with pytest.raises(InputError, match="repeats"):
        grade(Table(failing()), PLAIN, "text", Task(CASES), repeats=repeats)


def test_a_task_without_cases_is_refused():
    with pytest.raises(InvalidCase):
        grade(Table(failing()), PLAIN, "text", Task(()))


def test_a_program_gets_the_input_and_nothing_else():
    table = Table(failing())
    grade(table, PLAIN, "text", Task(CASES))
    assert table.files == {"main.p": b"text"}
    assert table.commands == [["run"]] * 4


def test_compiling_is_one_command_whose_time_does_not_count():
    table = Table(failing())
    assert grade(table, COMPILED, "text", Task(CASES[:1])).cpu_ms == 10.0
    assert table.commands[0][2] == "{ cc 'a b' && ld; } >&2 && cat /tmp/out"


@pytest.mark.parametrize(
    ("status", "verdict", "says"),
    [
        ("rte", "CE", "error: x"),
        ("tle", "CE", "compiling took more than 30 s\nerror: x"),
        ("mle", "CE", "compiling took more than 1024 MiB of memory\nerror: x"),
        ("ole", "CE", "the compiler's output is too large\nerror: x"),
        ("internal", "IE", "the sandbox failed\nerror: x"),
    ],
)
def test_what_does_not_compile_is_not_run(status, verdict, says):
    table = Table(failing(), compiles=result(status, stderr=b"error: x\n"))
    found = grade(table, COMPILED, "text", Task(CASES))
    assert (found.verdict, found.message, found.cases, found.cpu_ms) == (verdict, says, (), 0.0)
    assert table.asked == []


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        ("", InvalidSource, "empty"),
        (" \n\t", InvalidSource, "empty"),
        ("a\0b", InvalidSource, "NUL character, at byte 1"),
        (b"ab\xff", InvalidSource, "not UTF-8: byte 2"),
        ("\ud800", InvalidSource, "surrogate"),
        ("x" * 65537, SourceTooLarge, "65537 bytes, and at most 65536"),
        ("é" * 40000, SourceTooLarge, "80000 bytes"),
    ],
)
def test_sources_that_cannot_be_judged(source, error, says):
    with pytest.raises(error, match=says):
        readable_source(source)


def test_the_longest_source_is_judged():
    assert readable_source(b"x" * 65536) == "x" * 65536
    assert grade(Table(failing()), PLAIN, "é" * 32768, Task(CASES)).verdict == "AC"


def test_a_language_that_is_not_installed_is_refused():
    other = PLAIN.model_copy(update={"needs": ("no-such-compiler",)})
    with pytest.raises(UnsupportedLanguage, match="no-such-compiler"):
        grade(Table(failing()), other, "text", Task(CASES))


def test_a_runtime_that_ends_on_its_own_heap_is_out_of_memory():
    java = find_language("java").model_copy(update={"needs": ("sh",), "compile": (), "artefact": ""})
    told = result("rte", stderr=b'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space')
    assert grade(Table(failing(c1=told)), java, "text", Task(CASES)).verdict == "MLE"


def test_one_case_of_the_paper_s_protocol_out_of_several():
    found = literal_case([Case("(1, [2])", "3", 1), Case(" ('a',)\n", "'b'\n", 2)], 7)
    assert found == Case("2\n(1, [2])\n('a',)\n", "3\n'b'\n", 7)
    for bad in (Case("1\n2", "3", 4), Case("1", "2\n3", 4), Case(" ", "1", 4)):
        with pytest.raises(InvalidCase, match="case 4"):
            literal_case([bad])


# --- in the sandbox ------------------------------------------------------------------------------


def test_source_that_an_interpreter_cannot_read_is_a_compile_error(sandbox):
    found = judged(sandbox, "def f(:\n  pass")
    assert (found.verdict, found.cases, found.cpu_ms) == ("CE", (), 0.0)
    assert "SyntaxError" in found.message
    assert judged(sandbox, "raise SyntaxError('my own')").verdict == "RTE"


def test_the_paper_s_protocol_end_to_end(sandbox):
    case = literal_case([Case("(1, 2)", "3", 1), Case("([1], [2])", "[1, 2]", 2)])
    source = "for _ in range(int(input())):\n    a, b = eval(input())\n    print(a + b)"
    task = Task((case,), checker="python_literal")
    assert grade(sandbox, language("python"), source, task).verdict == "AC"


CHECKER = """
import sys
given, expected, got = (open(path).read().split() for path in sys.argv[1:])
if "?" in got:
    print("no idea")
    sys.exit(1)
if sum(map(int, got)) == int(given[0]) and expected == ["any"]:
    sys.exit(42)
print("sum is", sum(map(int, got)))
sys.exit(43)
"""
SPLIT = Task((Case("10", "any", 1),), checker="custom", checker_source=CHECKER)


@pytest.mark.parametrize(
    ("source", "verdict", "says"),
    [
        ("print(3, 7)", "AC", ""),
        ("print(3, 8)", "WA", "sum is 11"),
        ("print('?')", "IE", "checker failed: exit code 1"),
        ("print(1/0)", "RTE", "ZeroDivisionError"),
    ],
)
def test_a_program_decides(sandbox, source, verdict, says):
    found = grade(sandbox, language("python"), source, SPLIT)
    assert found.verdict == verdict
    assert says in found.message


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"checker_source": None}, "is missing"),
        ({"checker_source": "int main(void) {", "checker_language": "c"}, "cannot be compiled"),
        ({"checker_source": "x", "checker_language": "cobol"}, "cobol"),
    ],
)
def test_checkers_that_cannot_be_used(sandbox, options, says):
    with pytest.raises((InvalidCase, UnsupportedLanguage), match=says):
        grade(sandbox, language("python"), "print(1)", Task(CASES, checker="custom", **options))


def test_a_checker_that_the_sandbox_could_not_compile_is_the_sandbox_s_fault():
    table = Table(failing(), compiles=result("internal"))
    task = Task(CASES, checker="custom", checker_source="x", checker_language="c")
    language("c")
    with pytest.raises(SandboxFailed, match="the problem's checker"):
        grade(table, PLAIN, "text", task)
