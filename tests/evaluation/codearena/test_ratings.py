"""Bradley–Terry and pass@k, against other implementations and what must hold."""

from __future__ import annotations

import json
from itertools import combinations
from math import comb, log

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores import ratings as ratings_module
from firsthand.evaluation.codearena.scores.attempts import Attempt
from firsthand.evaluation.codearena.scores.points import score
from firsthand.evaluation.codearena.scores.ratings import bradley_terry, pass_at_k

from .slow_points import league


def rated(ratings):
    return {row.user: row.rating for row in ratings.rows}


def slow_battles(attempts, on, tolerance=0.0):
    best = {}
    for a in attempts:
        if a.counted and a.kind == "llm":
            times = best.setdefault((a.user, a.problem), [])
            if a.solved:
                times.append(a.runtime_ms)
    found = []
    for (one, problem), mine in best.items():
        for (other, same), theirs in best.items():
            if problem != same or one == other or not mine:
                continue
            if on == "solved":
                wins = not theirs
            else:
                wins = bool(theirs) and min(mine) * (1 + tolerance / 100) < min(theirs)
            if wins:
                found.append((one, other))
    return found


@pytest.mark.parametrize(("on", "tolerance"), [("solved", 0.0), ("runtime", 0.0), ("runtime", 40.0)])
@settings(max_examples=25, deadline=None)
@given(attempts=league(users=6, most=40))
def test_equals_choix(on, tolerance, attempts):
    found = rated(bradley_terry(attempts, l2=0.01, on=on, es_tolerance=tolerance))
    users = sorted(found)
    place = {user: number for number, user in enumerate(users)}
    battles = [(place[one], place[other]) for one, other in slow_battles(attempts, on, tolerance)]
    wanted = choix.opt_pairwise(len(users), battles, alpha=0.01) if battles else np.zeros(len(users))
    assert [found[user] for user in users] == pytest.approx(list(wanted), abs=1e-3)


def test_two_users_by_hand():
    """30 wins of 40: with hardly any penalty the strengths are ln 3 apart."""
    problems = [f"p{number}" for number in range(40)]
    attempts = [
        Attempt(user, name, (number < 30) == (user == "A"), 1.0)
        for number, name in enumerate(problems)
        for user in "AB"
    ]
    found = rated(bradley_terry(attempts, l2=1e-6))
    assert found["A"] - found["B"] == pytest.approx(log(3), abs=1e-5)
    assert found["A"] + found["B"] == pytest.approx(0, abs=1e-12)


def test_a_problem_that_all_solve_or_none_says_nothing():
    attempts = [Attempt(u, p, p == "P1" or u == "A", 1.0) for u in "ABC" for p in ("P1", "P2")]
    more = [Attempt(u, "P3", False, None) for u in "ABC"]
    without = [a for a in attempts if a.problem != "P1"]
    assert rated(bradley_terry([*attempts, *more])) == rated(bradley_terry(without))


def test_strengths_follow_ability_whatever_the_problems():
    """Rasch: who solves with σ(r − b) has strength r, up to a shift, though she chose the harder problems."""
    random = np.random.default_rng(5)
    ability = {"A": 1.0, "B": 0.0, "C": -1.0}
    attempts = []
    for number in range(3000):
        hard = random.normal(0, 1.5)
        for user, r in ability.items():
            if user != "A" or hard > 0:  # A skips what is easy
                solved = bool(random.random() < 1 / (1 + np.exp(hard - r)))
                attempts.append(Attempt(user, f"p{number}", solved, 1.0))
    found = rated(bradley_terry(attempts, l2=1e-6))
    for one, other in combinations("ABC", 2):
        assert found[one] - found[other] == pytest.approx(ability[one] - ability[other], abs=0.15)
    assert score(attempts, {f"p{n}": 5.0 for n in range(3000)}).of("A").pass_rate < 0.25


def test_who_always_wins_is_finite_and_first():
    attempts = [Attempt(u, f"p{n}", u == "A", 1.0) for u in "ABC" for n in range(200)]
    found = bradley_terry(attempts, l2=1e-6)
    assert [row.rank for row in found.rows] == [1, 2, 2]
    assert np.isfinite([row.rating for row in found.rows]).all()


def test_resamples_equal_copies_of_problems():
    random = np.random.default_rng(1)
    attempts = [
        Attempt(u, p, bool(random.random() < 0.5), float(random.random()))
        for u in "ABCD"
        for p in ("P1", "P2", "P3", "P4", "P5")
    ]
    counts = np.array([[2, 0, 1, 0, 2], [1, 1, 1, 1, 1]])
    copies = [
        Attempt(a.user, f"{a.problem}-{copy}", a.solved, a.runtime_ms)
        for a in attempts
        for copy in range(counts[0][int(a.problem[1]) - 1])
    ]
    for rate in (
        bradley_terry,
        lambda them: bradley_terry(them, on="runtime"),
        pass_at_k,
    ):
        ratings = rate(attempts)
        found = ratings.resampled(counts)
        assert found[0] == pytest.approx([rated(rate(copies))[user] for user in "ABCD"], abs=1e-7)
        assert found[1] == pytest.approx([rated(ratings)[user] for user in "ABCD"], abs=1e-7)
        intervals = ratings.bootstrap(50)
        assert [row.user for row in intervals.rows] == [row.user for row in ratings.rows]
        assert [row.score for row in intervals.rows] == [row.rating for row in ratings.rows]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.data())
def test_pass_at_k_is_the_chance_of_a_draw(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    attempts = [Attempt("A", "P1", number < c, 1.0) for number in range(n)]
    draws = list(combinations(range(n), k))
    wanted = sum(any(number < c for number in draw) for draw in draws) / len(draws)
    found = rated(pass_at_k(attempts, k=k))["A"]
    assert found == pytest.approx(wanted)
    assert found == pytest.approx(1 - comb(n - c, k) / comb(n, k))


def test_pass_at_1_with_one_attempt_is_the_pass_rate():
    attempts = [Attempt("A", "P1", True, 1.0), Attempt("A", "P2", False, None), Attempt("B", "P1", True, 2.0)]
    problems = ["P1", "P2", "P3", "P4"]
    found = pass_at_k(attempts, problems=problems)
    board = score(attempts, dict.fromkeys(problems, 5.0))
    assert rated(found) == {row.user: row.pass_rate for row in board.rows} == {"A": 0.25, "B": 0.25}
    assert [row.rank for row in found.rows] == [1, 1]


def test_same_shape_as_the_board():
    attempts = [Attempt("A", "P1", True, 1.0), Attempt("B", "P1", False, None)]
    board = score(attempts, {"P1": 5.0}).as_dict()
    for ratings in (bradley_terry(attempts), bradley_terry(attempts, on="runtime"), pass_at_k(attempts)):
        found = json.loads(json.dumps(ratings.as_dict(), allow_nan=False))
        assert found.keys() == board.keys()
        for row in found["rows"]:
            assert found["score"] in row
            assert row.keys() - {"rating"} <= board["rows"][0].keys()
        assert found["problems"][0].keys() <= board["problems"][0].keys()
        assert {"population", "leave_out"} <= found["parameters"].keys()
    assert bradley_terry(attempts).as_dict()["ranking"] == "Bradley-Terry on solved"
    assert pass_at_k(attempts).as_dict()["ranking"] == "pass@1"


def test_nobody():
    assert bradley_terry([]).rows == pass_at_k([]).rows == ()
    assert rated(bradley_terry([], population={"A"})) == {"A": 0.0}
    assert rated(pass_at_k([], population={"A"})) == {"A": 0.0}


ONE = [Attempt("A", "P1", True, 1.0)]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: bradley_terry(ONE, l2=0), "l2 must be a finite number of at least 1e-6"),
        (lambda: bradley_terry(ONE, l2=float("nan")), "l2 must be"),
        (lambda: bradley_terry(ONE, on="memory"), "on must be one of solved, runtime"),
        (lambda: bradley_terry(ONE, problems="P1"), r"write \['P1'\]"),
        (lambda: bradley_terry(ONE, problems=["P2"]), "'A' tried 'P1', which is not among"),
        (lambda: pass_at_k(ONE, k=0), "k must be at least 1"),
        (lambda: pass_at_k(ONE, k=True), "k must be at least 1"),
        (lambda: pass_at_k(ONE, k=2), r"'A' has 1 counted attempts at 'P1', fewer than k = 2"),
    ],
)
def test_bad_input(call, says):
    with pytest.raises(InputError, match=says):
        call()


def test_strengths_that_do_not_settle_are_not_given(monkeypatch):
    monkeypatch.setattr(ratings_module, "_STEPS", 1)
    with pytest.raises(InputError, match="did not settle in 1 steps"):
        bradley_terry([*ONE, Attempt("B", "P1", False, None)])
