"""Sandboxes that several files share: one with what this machine counts with, one with the sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from firsthand.evaluation.codearena.grading.grading import Case, Grade, Task, grade
from firsthand.evaluation.codearena.grading.languages import Language, find_language
from firsthand.evaluation.codearena.sandbox.bubblewrap import BubblewrapSandbox
from firsthand.evaluation.codearena.sandbox.isolation import examine, open_sandbox


@pytest.fixture(scope="session")
def isolated() -> None:
    """Skips where this machine cannot isolate a program."""
    isolation = examine()
    if not isolation.isolated:
        pytest.skip(f"needs isolation (system-packages.txt): {'; '.join(isolation.reasons)}")


@pytest.fixture(scope="session")
def sandbox(isolated: None) -> Iterator[BubblewrapSandbox]:
    """With control groups where this machine has them."""
    with open_sandbox() as found:
        yield found


@pytest.fixture(scope="session")
def sampled(isolated: None) -> Iterator[BubblewrapSandbox]:
    """As on a machine where no control group is writable."""
    with open_sandbox(cgroups=False) as found:
        yield found


@pytest.fixture(params=["cgroups", "sampler"])
def either(request: pytest.FixtureRequest) -> BubblewrapSandbox:
    """The test runs with both kinds of counting."""
    found: BubblewrapSandbox = request.getfixturevalue("sandbox" if request.param == "cgroups" else "sampled")
    return found


def language(slug: str) -> Language:
    """A language whose programs are here; skips, and names them, where they are not."""
    found = find_language(slug)
    if not found.installed:
        pytest.skip(f"needs {', '.join(found.missing)} (system-packages.txt)")
    return found


def judged(
    sandbox: BubblewrapSandbox,
    source: str,
    *,
    slug: str = "python",
    stdin: str = "",
    expected: str = "",
    time_ms: float = 2000,
    memory_mb: int = 128,
    checker: str = "standard",
) -> Grade:
    """The grade of a program on one case."""
    task = Task((Case(stdin, expected, 1),), time_ms, memory_mb << 10, checker)
    return grade(sandbox, language(slug), source, task)


@pytest.fixture
def survives(either: BubblewrapSandbox) -> Iterator[BubblewrapSandbox]:
    """A sandbox that has to judge right after whatever the test ran in it."""
    yield either
    _judges_right(either)


@pytest.fixture
def contains(sandbox: BubblewrapSandbox) -> Iterator[Callable[..., Grade]]:
    """Judges a program that prints what it got out of its tricks: nothing, or the expected text."""

    def run(source: str, **options: object) -> Grade:
        found = judged(sandbox, source, **options)  # type: ignore[arg-type]
        assert found.verdict == "AC", (found.verdict, found.message)
        return found

    yield run
    _judges_right(sandbox)


def _judges_right(sandbox: BubblewrapSandbox) -> None:
    right = judged(sandbox, "print(int(input()) + 1)", stdin="41\n", expected="42\n")
    assert (right.verdict, right.message) == ("AC", "")
