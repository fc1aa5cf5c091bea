"""Cases from generators, and the answers on which canonical solutions agree."""

from __future__ import annotations

import pytest

from firsthand.evaluation.codearena.errors import InvalidCase, SandboxFailed, UnsupportedLanguage
from firsthand.evaluation.codearena.grading.generation import Solution, generate_inputs, validate_cases
from firsthand.evaluation.codearena.grading.grading import Case, Task

from .conftest import language
from .test_grading import CASES, Table, failing, result

GENERATOR = "import random\nseed = int(input())\nrng = random.Random(seed)\nprint(seed, rng.randrange(10**9))"
DOUBLE = Solution("python", "print(2 * int(input()))")
ADDS = Solution("Python 3", "n = int(input()); print(n + n)")


def test_an_input_for_each_seed_and_the_same_again(sandbox):
    found = generate_inputs(sandbox, GENERATOR, [3, 1, 3])
    assert [text.split()[0] for text in found] == ["3", "1", "3"]
    assert found[0] == found[2] != found[1]
    assert generate_inputs(sandbox, GENERATOR, [3]) == found[:1]


def test_a_generator_in_c(sandbox):
    language("c")
    source = '#include <stdio.h>\nint main(void) { int n; scanf("%d", &n); printf("%d\\n", n * n); }'
    assert generate_inputs(sandbox, source, [7], language="c") == ["49\n"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("print(undefined)", r"seed 5 \(rte\).*NameError"),
        ("pass", "wrote nothing for seed 5"),
        ("import os; os.write(1, b'\\xff')", "seed 5 is not UTF-8"),
        ("print('x' * (1 << 21))", r"seed 5 \(ole\)"),
    ],
)
def test_a_generator_that_fails_is_told_with_its_seed(sandbox, source, says):
    with pytest.raises(InvalidCase, match=f"(?s){says}"):
        generate_inputs(sandbox, source, [5])


def test_a_generator_in_no_language():
    with pytest.raises(UnsupportedLanguage):
        generate_inputs(Table(failing()), "x", [1], language="cobol")


def test_solutions_agree_and_give_the_answer(sandbox):
    cases = [Case("4", "", 1), Case("5", "10", 2), Case("6", "13", 3), Case("x", "", 4)]
    found = validate_cases(sandbox, cases, [DOUBLE, ADDS], Task(()))
    assert [one.accepted for one in found] == [True, True, False, False]
    assert found[0].case.output == "8\n"
    assert "canonical solution 1 does not agree: line 1: expected '13', got '12'" in found[2].reason
    assert found[3].reason == "canonical solution 1 ended with rte"


def test_solutions_that_disagree_reject_the_case(sandbox):
    other = Solution("python", "n = int(input()); print(n * n)")
    found = validate_cases(sandbox, [Case("2", "", 1), Case("3", "", 2)], [DOUBLE, other], Task(()))
    assert [one.accepted for one in found] == [True, False]
    assert "canonical solution 2 does not agree" in found[1].reason


def test_answers_that_differ_need_a_checker_that_says_so(sandbox):
    forwards, backwards = (Solution("python", f"print(*range(3)[::{step}], sep='\\n')") for step in (1, -1))
    case = [Case("1", "", 1)]
    assert not validate_cases(sandbox, case, [forwards, backwards], Task(()))[0].accepted
    loose = Task((), checker="unordered_lines")
    assert validate_cases(sandbox, case, [forwards, backwards], loose)[0].accepted


@pytest.mark.parametrize(
    ("program", "checker", "says"),
    [
        ("import os; os.write(1, b'\\xff')", "standard", "not UTF-8"),
        ("print('x' * (1 << 20))", "standard", "larger than 1024 KiB"),
        ("print('no literal')", "python_literal", "line 1 of the answer"),
    ],
)
def test_answers_that_are_none(sandbox, program, checker, says):
    solution = Solution("python", program)
    found = validate_cases(sandbox, [Case("1", "", 1)], [solution, solution], Task((), checker=checker))
    assert says in found[0].reason


def test_one_solution_is_not_enough():
    with pytest.raises(InvalidCase, match="two that agree"):
        validate_cases(Table(failing()), [], [DOUBLE], Task(()))


def test_a_solution_that_cannot_be_compiled_is_named(sandbox):
    language("c")
    with pytest.raises(InvalidCase, match="canonical solution 2 cannot be compiled"):
        validate_cases(sandbox, [Case("1", "", 1)], [DOUBLE, Solution("c", "int main(")], Task(()))


def test_the_sandbox_s_own_fault_rejects_no_case():
    broken = Table(failing(c2=result("internal", stderr=b"no space")))
    language("python")
    with pytest.raises(SandboxFailed, match="case 2: canonical solution 1: no space"):
        validate_cases(broken, CASES, [DOUBLE, ADDS], Task(()))
    with pytest.raises(SandboxFailed, match=r"seed 2 \(internal\)"):
        generate_inputs(broken, "x", [2])
