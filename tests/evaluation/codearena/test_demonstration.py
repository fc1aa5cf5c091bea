"""What an arena begins with."""

from __future__ import annotations

from firsthand.evaluation.codearena.demonstration import add_league, add_problems
from firsthand.evaluation.codearena.grading.bundled import bundled_problems
from firsthand.evaluation.codearena.grading.contestants import CONTESTANTS
from firsthand.evaluation.codearena.serving import ADMIN, Started, first_start


def test_problems_come_once_with_their_cases_and_samples(arena):
    pids = [one.pid for one in bundled_problems()]
    assert add_problems(arena, pids[:2]) == pids[:2]
    assert add_problems(arena) == pids[2:]
    assert add_problems(arena) == []
    for bundled in bundled_problems():
        stored = arena.problems.find(bundled.pid)
        assert (stored.problem.bps, stored.problem.licence) == (bundled.points, "CC0-1.0")
        cases = arena.cases.active(bundled.pid)
        assert [(case.input, case.output) for case in cases] == [
            (case.input, case.output) for case in bundled.task.cases
        ]
        assert sum(case.sample for case in cases) == len(bundled.sample_inputs) > 0
        assert len(arena.cases.solutions(bundled.pid)) == len(bundled.solutions) >= 2


def test_the_league_hands_in_one_program_for_each_problem(small):
    add_problems(small)
    sids = add_league(small)
    assert len(sids) == len(CONTESTANTS) * len(bundled_problems()) == 96
    found, total = small.submissions.page(limit=100)
    assert total == 96
    assert len({(one.user, one.problem) for one in found}) == 96


def test_a_first_start_happens_once(small):
    first = first_start(small, demo=False)
    assert small.accounts.identify(first.token).account.name == ADMIN
    assert (first.problems, first.submissions) == (0, 0)
    assert first_start(small, demo=True) == Started()
    assert small.problems.published() == {}
