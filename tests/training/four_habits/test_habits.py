"""Habits: the sheet's trace, words inside words, placeholders, steps computed again, judges, profiles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from firsthand.errors import InputError, NotFoundError
from firsthand.training.four_habits.countdown import Problem
from firsthand.training.four_habits.errors import JudgeParseError
from firsthand.training.four_habits.habits import (
    BEHAVIOURS,
    BehaviourCounts,
    JudgeCounter,
    agreement,
    count_all,
    count_meaning,
    count_rules,
    profile,
    profile_counts,
    read_rules,
    read_steps,
)

TRACE = (
    "7 + 13 = 20. 20 + 14 = 34, not 24. Try something else: 14 - 7 = 7, 7 * 13 = 91, too high. Let me try again. "
    "13 + 7 = 20, 20 + 4 = 24. This works."
)
PROBLEM = Problem((7, 13, 14, 4), 24)


def habits(counts):
    return tuple(counts.of(name) for name in BEHAVIOURS)


def test_the_sheets_trace():
    found = count_rules(TRACE, PROBLEM)
    assert habits(found) == (3, 2, 0, 0)
    words = [TRACE[start:end].lower() for name, start, end in found.spans if name == "verification"]
    assert words == ["not 24", "too high", "this works"]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("First get to 12, a factor of 24", (0, 0, 1, 0)),
        ("Work backwards: 24 / 2 = 12", (0, 0, 0, 1)),
        ("await the result; awaited", (0, 0, 0, 0)),
        ("Wait, that is wrong", (1, 1, 0, 0)),
        ("." * 40, (0, 0, 0, 0)),
        (" ." * 40, (0, 0, 0, 0)),
        ("", (0, 0, 0, 0)),
    ],
)
def test_words(text, counts):
    assert habits(count_rules(text)) == counts


@given(
    st.lists(
        st.sampled_from(["Wait.", TRACE, "First get 3.", "Working backwards from 24.", "7 + 1 = 8", "..."]),
        max_size=4,
    )
)
def test_counts_add_up(parts):
    total = BehaviourCounts()
    for part in parts:
        total += count_rules(part, PROBLEM)
    assert habits(count_rules("\n\n".join(parts), PROBLEM)) == habits(total)


def test_steps_are_read_and_computed():
    steps = read_steps("7 + 13 = 20, 8/2=4; 3 × 4 = 13. x1 + 2 = 3 and 1.5 + 2 = 3")
    assert [(s.left, s.sign, s.right, s.result, s.correct) for s in steps] == [
        (7, "+", 13, 20, True),
        (8, "/", 2, 4, True),
        (3, "*", 4, 13, False),
    ]
    assert not read_steps("1 / 0 = 0")[0].correct


def test_by_meaning():
    # Three attempts: two were given up, all three were judged rightly.
    assert habits(count_meaning(TRACE, PROBLEM)) == (3, 2, 0, 0)
    # A wrong claim is no check, and a wrong sum is no step.
    assert count_meaning("7 + 13 = 20. This works.", PROBLEM).verification == 0
    assert count_meaning("7 + 13 = 24. This works.", PROBLEM).verification == 0
    # One attempt that goes on from what is left is no backtracking, whatever it says.
    assert (
        count_meaning("Wait. 7 + 13 = 20. Wait. 14 - 4 = 10. 20 + 10 = 30, not 24.", PROBLEM).backtracking
        == 0
    )
    assert count_meaning("24 - 4 = 20. 13 + 7 = 20.", PROBLEM).backward_chaining == 1
    assert count_meaning("First get to 20: 13 + 7 = 20.", PROBLEM).subgoal == 1
    assert count_meaning("First get to 21: 13 + 7 = 20.", PROBLEM).subgoal == 0
    assert habits(count_meaning("", PROBLEM)) == (0, 0, 0, 0)


def test_a_judge():
    asked = []

    def judge(prompt):
        asked.append(prompt)
        return {
            0: "<count> 3 </count>",
            1: "none <count>1</count>, no: <count>2</count>",
            2: "I think 4",
            3: "<count>0</count>",
        }[(len(asked) - 1) % 4]

    (found,) = JudgeCounter(judge).count(["a trace"])
    assert habits(found) == (3, 2, None, 0)
    assert all("a trace" in prompt for prompt in asked)
    assert habits(JudgeCounter(judge, on_missing=0).count(["x"])[0]) == (3, 2, 0, 0)
    with pytest.raises(JudgeParseError, match="subgoal"):
        JudgeCounter(judge, on_missing="raise").count(["x"])
    asked.clear()
    with pytest.raises(InputError, match="on_missing"):
        JudgeCounter(judge, on_missing="skip").count(["x"])


def test_profiles():
    found = profile([TRACE, "nothing here", TRACE], [PROBLEM] * 3)
    assert found.means["verification"][0] == pytest.approx(2)
    assert found.shares["backtracking"] == pytest.approx(2 / 3)
    assert found.rates["subgoal"] == 0
    assert found.rates["verification"] == pytest.approx(1000 * 6 / (found.tokens * 3))
    low, high = found.means["verification"][1:]
    assert low < 2 < high
    assert found.as_dict()["traces"] == 3
    assert found == profile_counts(count_all([TRACE, "nothing here", TRACE], [PROBLEM] * 3))
    judged = profile(["x"], counter=JudgeCounter(lambda prompt: "?"))
    assert judged.missing["subgoal"] == 1
    assert math.isnan(judged.means["subgoal"][0])
    assert math.isnan(profile(["x"]).means["subgoal"][1])
    few = profile([TRACE, "nothing here"]).means["verification"]
    assert few[0] > 0
    assert math.isnan(few[1])  # an interval needs three traces, as everywhere in the instrument
    assert profile([TRACE], [PROBLEM], count_meaning).means["backtracking"][0] == 2


def test_rules_of_ones_own(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text("[backtracking]\npatterns = ['hmm']\n")
    assert count_rules("Hmm. hmm? hmmm", rules=read_rules(path)).backtracking == 2
    for text, message in (
        ("[sorrow]\npatterns = ['x']", "no habit"),
        ("[backtracking]\npatterns = ['(']", "no regular expression"),
        ("[backtracking]\nwords = ['x']", "holds no rules"),
        ("[", "holds no rules"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_rules(path)
    with pytest.raises(NotFoundError):
        read_rules(tmp_path / "none.toml")


def test_what_does_not_fit():
    with pytest.raises(InputError, match="no traces"):
        profile([])
    with pytest.raises(InputError, match="2 problems for 1"):
        profile(["x"], [PROBLEM] * 2)
    with pytest.raises(InputError, match="a habit is"):
        count_rules("x").of("joy")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=30))
def test_agreement_is_scikit_learns(pairs):
    mine, theirs = ([BehaviourCounts(verification=pair[n]) for pair in pairs] for n in range(2))
    found = agreement(mine, theirs)["verification"]
    shown = np.array(pairs) > 0
    if shown.all() or not shown.any():
        assert math.isnan(found)
    else:
        assert found == pytest.approx(cohen_kappa_score(*shown.T, labels=[False, True]))


def test_agreement_leaves_out_what_is_missing():
    mine = [BehaviourCounts(subgoal=None), BehaviourCounts(subgoal=1), BehaviourCounts()]
    theirs = [BehaviourCounts(), BehaviourCounts(subgoal=3), BehaviourCounts()]
    assert agreement(mine, theirs)["subgoal"] == 1
    with pytest.raises(InputError, match="same traces"):
        agreement(mine, theirs[:2])
