"""The board against the obvious implementation, what must not move it, and what a first try gets wrong."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firsthand.errors import FirsthandError, InputError
from firsthand.evaluation.codearena.scores.attempts import Attempt
from firsthand.evaluation.codearena.scores.points import score
from firsthand.evaluation.codearena.scores.rules import Rules
from firsthand.evaluation.codearena.scores.score_table import performance_points

from .slow_points import PROBLEMS, league, slow_score

RULES = st.fixed_dictionaries(
    {},
    optional={
        "challenge": st.sampled_from(["formula", "share"]),
        "ac_unit": st.sampled_from(["user", "submission"]),
        "population": st.sampled_from(["llm", "human", "all", frozenset({"u0", "u3", "u4"})]),
        "es_weight": st.sampled_from([0.0, 0.5, 2.0]),
        "es_scope": st.sampled_from(["problem", "problem+language"]),
        "es_tolerance": st.sampled_from([0.0, 10.0, 50.0, 300.0]),
        "leave_out": st.sampled_from([("P2",), ("P1", "P3"), ()]),
    },
)


def columns(table):
    return {
        row.user: (row.dp, row.cs, row.es, row.solved, row.attempted, row.pass_rate) for row in table.rows
    }


def solving(user, problem="P1", runtime=10.0, **fields):
    return Attempt(user, problem, True, runtime, **fields)


def failing(user, problem="P1", **fields):
    return Attempt(user, problem, False, None, **fields)


@settings(max_examples=200, deadline=None)
@given(league(), RULES)
def test_equals_the_obvious_implementation(attempts, rules):
    found = columns(score(attempts, PROBLEMS, **rules))
    wanted = slow_score(attempts, PROBLEMS, **rules)
    assert found.keys() == wanted.keys()
    for user, values in wanted.items():
        assert found[user] == pytest.approx(values, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(league(whole=True, hosts=False))
def test_efficiency_is_cume_dist(attempts):
    table = score(attempts, PROBLEMS, population="all")
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("create table attempt (user, problem, runtime)")
        accepted = [(a.user, a.problem, a.runtime_ms) for a in attempts if a.solved]
        database.executemany("insert into attempt values (?, ?, ?)", accepted)
        found = database.execute(
            "select user, problem, cume_dist() over (partition by problem order by runtime desc) from "
            "(select user, problem, min(runtime) as runtime from attempt group by user, problem)"
        ).fetchall()
    wanted = {(row.user, row.problem): row.es for row in table.pairs.rows() if row.solved}
    assert {(user, problem): es for user, problem, es in found} == pytest.approx(wanted, abs=1e-15)


@settings(max_examples=50, deadline=None)
@given(league(), st.sampled_from(["u0", "u1"]))
def test_what_if_a_user_had_not_been_there(attempts, user):
    if not any(attempt.user == user for attempt in attempts):
        attempts = [*attempts, failing(user)]
    assert columns(score(attempts, PROBLEMS, leave_out=[user])) == columns(
        score([attempt for attempt in attempts if attempt.user != user], PROBLEMS)
    )


@settings(max_examples=50, deadline=None)
@given(league(), st.randoms(use_true_random=False))
def test_order_changes_nothing(attempts, random):
    table = score(attempts, PROBLEMS)
    shuffled = list(attempts)
    random.shuffle(shuffled)
    names = list(PROBLEMS.items())
    random.shuffle(names)
    assert score(shuffled, dict(names)) == table


@settings(max_examples=50, deadline=None)
@given(league(), st.permutations(["u0", "u1", "u2"]))
def test_names_change_nothing(attempts, names):
    other = dict(zip(["u0", "u1", "u2"], names, strict=True))
    renamed = [replace(a, user=other.get(a.user, a.user)) for a in attempts]
    found, wanted = columns(score(renamed, PROBLEMS)), columns(score(attempts, PROBLEMS))
    for user, values in wanted.items():
        assert found[other.get(user, user)] == pytest.approx(values)


@settings(max_examples=50, deadline=None)
@given(league(), st.sampled_from([0.25, 3.0, 1024.0]))
def test_the_unit_of_time_changes_nothing(attempts, factor):
    slower = [a if a.runtime_ms is None else replace(a, runtime_ms=a.runtime_ms * factor) for a in attempts]
    assert score(slower, PROBLEMS) == score(attempts, PROBLEMS)


@settings(max_examples=50, deadline=None)
@given(league(), st.sampled_from(["formula", "share"]))
def test_more_points_scale_the_challenge_only(attempts, challenge):
    found = score(attempts, {name: 3 * points for name, points in PROBLEMS.items()}, challenge=challenge)
    for row in score(attempts, PROBLEMS, challenge=challenge).rows:
        assert found.of(row.user).cs == pytest.approx(3 * row.cs)
        assert found.of(row.user).es == row.es


@settings(max_examples=50, deadline=None)
@given(league())
def test_who_solves_nothing_raises_the_others(attempts):
    before = score(attempts, PROBLEMS)
    joined = score([*attempts, *(failing("newcomer", problem) for problem in PROBLEMS)], PROBLEMS)
    for row in before.rows:
        after = joined.of(row.user)
        assert after.es == row.es
        assert after.cs > row.cs or row.solved == 0
    assert joined.of("newcomer").dp == 0


@settings(max_examples=50, deadline=None)
@given(league(whole=True))
def test_shares_hand_out_what_the_problem_is_worth(attempts):
    table = score(attempts, PROBLEMS, challenge="share")
    for problem in table.problems:
        given_out = [row.cs for row in table.pairs.rows() if row.problem == problem.problem and row.solved]
        assert sum(given_out) == pytest.approx(problem.bps if problem.solvers else 0)
        assert all(0 < row.es <= 1 for row in table.pairs.rows() if row.solved)


@settings(max_examples=50, deadline=None)
@given(league(), st.sampled_from(["u0", "new"]), st.booleans())
def test_what_is_not_counted_moves_nothing(attempts, user, solved):
    aborted = Attempt(user, "P1", solved, 0.0, counted=False)
    assert score([*attempts, aborted], PROBLEMS) == score(attempts, PROBLEMS)


@settings(max_examples=100, deadline=None)
@given(league(hosts=False), st.sampled_from([0.0, 5.0, 60.0]))
def test_on_one_machine_a_faster_run_never_costs_its_user(attempts, tolerance):
    for place, attempt in enumerate(attempts):
        if attempt.solved and attempt.counted and attempt.kind == "llm":
            faster = [*attempts]
            faster[place] = replace(attempt, runtime_ms=attempt.runtime_ms / 2)
            before = score(attempts, PROBLEMS, es_tolerance=tolerance).of(attempt.user).dp
            after = score(faster, PROBLEMS, es_tolerance=tolerance).of(attempt.user).dp
            assert after >= before - 1e-12


@settings(max_examples=50, deadline=None)
@given(league())
def test_tolerance_only_raises_efficiency(attempts):
    boards = [score(attempts, PROBLEMS, es_tolerance=percent) for percent in (0, 10, 50, 1e6)]
    for row in boards[0].rows:
        found = [board.of(row.user).es for board in boards]
        assert found == sorted(found)


@settings(max_examples=50, deadline=None)
@given(league())
def test_performance_points_of_what_was_solved(attempts):
    table = score(attempts, PROBLEMS, aggregate="dmoj")
    for row in table.rows:
        solved = [PROBLEMS[pair.problem] for pair in table.breakdown(row.user) if pair.solved]
        assert row.dp == pytest.approx(performance_points(solved))


# --- what a first try gets wrong -----------------------------------------------------------------------


def test_a_lone_solver_is_the_fastest():
    """With `<` in place of `<=` she would get 0."""
    assert score([solving("A"), failing("B")], {"P1": 5}).of("A").es == 1


def test_runtimes_of_what_failed_do_not_enter():
    attempts = [solving("A", runtime=50), solving("B", runtime=60), Attempt("C", "P1", False, 1.0)]
    assert score(attempts, {"P1": 5}).of("A").es == 1


def test_acceptance_is_of_one_problem():
    attempts = [solving("A"), failing("B"), solving("A", "P2"), solving("B", "P2")]
    assert [p.ac for p in score(attempts, {"P1": 5, "P2": 5}).problems] == [0.5, 1.0]


def test_a_compile_error_counts_and_the_judges_fault_does_not():
    attempts = [solving("A"), failing("B"), failing("C", counted=False)]
    (row,) = score(attempts, {"P1": 5}).problems
    assert (row.attempts, row.ac, row.cs) == (2, 0.5, 2.5)


@pytest.mark.parametrize("challenge", ["formula", "share"])
def test_nobody_attempted(challenge):
    table = score([solving("A")], {"P1": 5, "P2": 5}, challenge=challenge)
    assert (table.problems[1].ac, table.problems[1].cs, table.problems[1].attempts) == (None, None, 0)
    assert table.of("A").pass_rate == 0.5
    json.dumps(table.as_dict(), allow_nan=False)


def test_nobody_solved():
    (formula,) = score([failing("A")], {"P1": 5}).problems
    (share,) = score([failing("A")], {"P1": 5}, challenge="share").problems
    assert (formula.ac, formula.cs) == (0.0, 5.0)
    assert (share.ac, share.cs) == (0.0, None)


def test_readings_differ_at_both_ends():
    alone = [solving("A"), *(failing(name) for name in "BCDE")]
    every = [solving(name) for name in "ABCDE"]
    for attempts, formula, share in ((alone, 4.0, 5.0), (every, 0.0, 1.0)):
        assert score(attempts, {"P1": 5}).of("A").cs == pytest.approx(formula)
        assert score(attempts, {"P1": 5}, challenge="share").of("A").cs == pytest.approx(share)


# --- populations, people, languages --------------------------------------------------------------------

MIXED = [
    solving("model", runtime=20, language="python"),
    solving("other", runtime=30, language="c"),
    solving("person", runtime=90, language="python", kind="human"),
    solving("person", runtime=10, language="c", kind="human"),
    failing("person", kind="human"),
]


def test_population_enters_acceptance_and_efficiency():
    assert [row.user for row in score(MIXED, {"P1": 5}).rows] == ["model", "other"]
    together = score(MIXED, {"P1": 5}, population="all")
    assert {row.user: row.es for row in together.rows} == pytest.approx(
        {"person": 1, "model": 2 / 3, "other": 1 / 3}
    )
    named = score([*MIXED, failing("fourth")], {"P1": 5}, population={"model", "fourth", "absent"})
    assert {row.user: row.cs for row in named.rows} == {"model": 2.5, "fourth": 0, "absent": 0}
    assert named.of("absent").dp_attempted is None
    assert named.breakdown("absent") == ()


def test_a_person_is_judged_by_her_fastest_and_counted_once():
    everyone = score(MIXED, {"P1": 5}, population="all")
    assert everyone.breakdown("person")[0].runtime_ms == 10
    assert (everyone.problems[0].attempts, everyone.problems[0].ac) == (3, 1.0)
    submissions = score(MIXED, {"P1": 5}, population="all", ac_unit="submission").problems[0]
    assert (submissions.attempts, submissions.solved, submissions.solvers) == (5, 4, 3)
    assert submissions.ac == pytest.approx(0.8)


def test_runtimes_within_a_language():
    table = score(MIXED, {"P1": 5}, population="all", es_scope="problem+language")
    assert {row.user: row.es for row in table.rows} == {"model": 1, "person": 1, "other": 0.5}
    with pytest.raises(InputError, match=r"language of every accepted attempt; 'A' has one at 'P1'"):
        score([solving("A")], {"P1": 5}, es_scope="problem+language")


def test_equal_scores_share_a_rank():
    runtimes = {"A": 10, "B": 10, "C": 20}
    table = score([solving(user, runtime=time) for user, time in runtimes.items()], {"P1": 5})
    assert [(row.user, row.rank) for row in table.rows] == [("A", 1), ("B", 1), ("C", 3)]


@example(order=(0, 1, 2, 3, 4, 5))
@given(order=st.permutations(range(6)))
@settings(deadline=None)
def test_rounding_breaks_no_tie(order):
    """Each has 1/3 + 2/3 + 1, on other problems: sums that rounding may tell apart."""
    times = [10, 20, 30]
    problems = {f"P{number}": 5 for number in range(6)}
    attempts = [
        solving(user, f"P{order[number]}", time)
        for number, three in enumerate(permutations(times))
        for user, time in zip("ABC", three, strict=True)
    ]
    assert [row.rank for row in score(attempts, problems).rows] == [1, 1, 1]


def test_nothing_at_all():
    assert score([], {}).rows == ()
    assert score([], {"P1": 5}).problems[0].ac is None
    assert score([], {}, population={"A"}).of("A").pass_rate == 0


# --- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problems", "says"),
    [
        ({"P1": 0}, "finite and above 0, got 0"),
        ({"P1": -1}, "above 0"),
        ({"P1": float("nan")}, "above 0, got nan"),
        ({"P1": float("inf")}, "above 0, got inf"),
        ({"P1": True}, "above 0, got True"),
        ({"P1": "5"}, "above 0, got '5'"),
        ({"": 5}, "must be a text that is not empty"),
        (["P1"], "must map"),
        ({"P2": 5}, "'A' tried 'P1', which is not among the 1 problems"),
    ],
)
def test_bad_problems(problems, says):
    with pytest.raises(InputError, match=says) as caught:
        score([solving("A")], problems)
    assert isinstance(caught.value, FirsthandError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"challenge": "split"}, "challenge must be one of formula, share"),
        ({"aggregate": "mean"}, "aggregate must be one of sum, dmoj"),
        ({"ac_unit": "case"}, "ac_unit must be one of user, submission"),
        ({"es_scope": "language"}, "es_scope must be one of problem, problem"),
        ({"es_weight": -1}, "es_weight must be a finite number"),
        ({"es_weight": True}, "es_weight"),
        ({"es_tolerance": float("nan")}, "es_tolerance must be a finite number"),
        ({"es_tolerance": float("inf")}, "es_tolerance"),
        ({"population": "llms"}, "population must be one of llm, human, all"),
        ({"population": set()}, "name at least one user"),
        ({"population": {1}}, "not the name of a user"),
        ({"leave_out": "P1"}, r"write \['P1'\]"),
        ({"leave_out": ["P9"]}, "'P9', which is neither a user with an attempt nor a problem"),
        ({"leave_out": [("user", "P1")]}, "not there"),
        ({"leave_out": [("case", "P1")]}, "or pairs such as"),
        ({"leave_out": [3]}, "or pairs such as"),
    ],
)
def test_bad_rules(rules, says):
    with pytest.raises(InputError, match=says):
        score([solving("A")], {"P1": 5}, **rules)


def test_a_name_of_both():
    attempts = [solving("P1"), solving("B")]
    with pytest.raises(InputError, match=r"write \('user', 'P1'\)"):
        score(attempts, {"P1": 5}, leave_out=["P1"])
    assert [row.user for row in score(attempts, {"P1": 5}, leave_out=[("user", "P1")]).rows] == ["B"]
    assert score(attempts, {"P1": 5}, leave_out=[("problem", "P1")]).rows == ()


def test_a_user_who_is_not_there():
    with pytest.raises(InputError, match="'Z' is not on this board of 1 users"):
        score([solving("A")], {"P1": 5}).of("Z")


def test_json_has_the_rules():
    table = score([solving("A")], {"P1": 5, "P2": 5}, population={"B", "A"}, leave_out=[("problem", "P2")])
    found = json.loads(json.dumps(table.as_dict(), allow_nan=False))
    assert found["score"] == "dp"
    assert found["parameters"]["population"] == ["A", "B"]
    assert found["parameters"]["leave_out"] == [["problem", "P2"]]
    assert found["rows"][0] == {
        "user": "A", "dp": 1.0, "cs": 0.0, "es": 1.0, "solved": 1, "attempted": 1, "pass_rate": 1.0, "rank": 1,
        "dp_attempted": 1.0,
    }  # fmt: skip
    assert found["problems"][0]["ac"] == 1.0
    assert table.rules == Rules(population={"A", "B"}, leave_out=[("problem", "P2")])
    assert table.rules == Rules(**found["parameters"])
    several = Rules(leave_out=["b", ("user", "c"), "a"])
    assert several.as_dict()["leave_out"] == ["a", "b", ["user", "c"]]
    assert Rules(**several.as_dict()) == several


def test_runtimes_of_different_machines_are_not_compared():
    attempts = [
        solving("a", runtime=10.0, host_class="fast"),
        solving("b", runtime=12.0, host_class="fast"),
        solving("c", runtime=90.0, host_class="slow"),
        solving("d", runtime=95.0),
    ]
    assert [(row.user, row.es) for row in score(attempts, {"P1": 5.0}).rows] == [
        ("a", 1.0), ("c", 1.0), ("d", 1.0), ("b", 0.5),
    ]  # fmt: skip
    # of two fastest solutions of one user the class that is first in the alphabet counts
    twice = [solving("b", runtime=12.0, host_class=name) for name in ("slow", "fast")]
    assert score([*twice, attempts[0]], {"P1": 5.0}).of("b").es == 0.5
