"""Reports by group: the figures of each group alone, Holm's adjustment, and groups that have no AUC."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.discrimination import error_auc
from firsthand.evaluation.uncertainty.errors import NonFiniteScores
from firsthand.evaluation.uncertainty.groups import group_report, holm
from firsthand.evaluation.uncertainty.table import UncertaintyTable

from .planted import planted
from .slow import unhurried

TABLE = planted(
    ("biology", "low", 120, 0.3, 1.5), ("biology", "high", 60, 0.5, 0.5), ("math", "low", 80, 0.4, 0.0),
    ("math", None, 40, 0.4, 0.0), ("law", "low", 30, 0.0, 0.0), ("art", "low", 30, 1.0, 0.0),
    ("law", "high", 5, 0.4, 0.0),
)  # fmt: skip


@pytest.mark.parametrize("by", ["subject", "steps", ["subject", "steps"]])
@pytest.mark.parametrize("ci", ["delong", "bootstrap"])
def test_each_group_is_as_if_it_were_alone(by, ci):
    found = group_report(TABLE, by, ci=ci, resamples=100)
    names = [by] if isinstance(by, str) else by
    keys = list(zip(*(TABLE.group(name) for name in names), strict=True))
    assert {row.key for row in found.rows} == set(keys)
    assert sum(row.n for row in found.rows) == len(TABLE)
    for row in found.rows:
        mine = np.array([key == row.key for key in keys])
        error = ~TABLE.correct[mine]
        assert (row.n, row.errors, row.accuracy) == (mine.sum(), error.sum(), pytest.approx(1 - error.mean()))
        if row.auc is None:
            assert row.note
            assert row.p_adjusted is None
        else:
            assert row.auc == error_auc(error, TABLE.H_vocab[mine], ci=ci, resamples=100)
            assert not row.note
    assert found.overall.auc == error_auc(~TABLE.correct, TABLE.H_vocab, ci=ci, resamples=100)


def test_groups_without_an_auc_say_why():
    found = group_report(TABLE, ["subject", "steps"])
    assert found.row("law", "low").note == "30 answers, all right: an AUC needs both"
    assert found.row("art", "low").note == "30 answers, all wrong: an AUC needs both"
    assert found.row("law", "high").note == "fewer than 10 rows"
    assert found.row("math", None).auc is not None
    assert found.rows[-1].key == ("math", None)  # what lacks a label comes last within its subject
    with pytest.raises(InputError, match="no group"):
        found.row("law", None)
    lone = planted(("a", None, 20, 0.05, 1.0))
    assert "1 error and 19 right answers" in group_report(lone).row("a").note
    assert group_report(lone, ci="bootstrap", resamples=50).row("a").auc.errors == 1


def test_what_was_planted_is_found():
    found = group_report(TABLE)
    assert found.row("biology").auc.low > 0.6
    assert found.row("biology").p_adjusted < 0.001
    assert found.row("math").auc.low < 0.5 < found.row("math").auc.high
    assert found.row("math").p_adjusted > 0.05


def test_pooled_subjects_are_not_skill_within_one():
    """Simpson: u says nothing within a subject, and yet the harder subject is where it is higher."""
    easy, hard = planted(("a", None, 400, 0.1, 0.0)), planted(("b", None, 400, 0.9, 0.0), seed=1)
    rows = [
        *easy.rows(),
        *({**row, "id": "b" + row["id"], "H_vocab": row["H_vocab"] + 3} for row in hard.rows()),
    ]
    found = group_report(UncertaintyTable.from_rows(rows))
    assert found.overall.auc.low > 0.8
    for row in found.rows:
        assert row.auc.low < 0.5 < row.auc.high


def test_invalid_answers_are_counted_beside_or_as_errors():
    table = planted(("a", None, 100, 0.4, 0.5), ("b", None, 50, 0.4, 0.5), invalid=7)
    apart, counted = group_report(table), group_report(table, invalid="error")
    assert [(row.n, row.invalid, row.errors) for row in apart.rows] == [(100, 7, 40), (50, 0, 20)]
    assert [(row.n, row.invalid, row.errors) for row in counted.rows] == [(107, 7, 47), (50, 0, 20)]
    assert counted.row("a").auc.value > apart.row("a").auc.value  # their entropy is the highest
    only = UncertaintyTable.from_rows([{"id": "q", "choice": None, "valid": False, "correct": False}])
    row = group_report(only).rows[0]
    assert (row.n, row.invalid, row.accuracy, row.note) == (0, 1, None, "no valid answer")


def test_a_score_that_is_missing_is_named_only_where_it_is_needed():
    rows = list(planted(("a", None, 20, 0.5, 0.5), invalid=1).rows())
    rows[20]["H_vocab"] = None
    table = UncertaintyTable.from_rows(rows)
    assert group_report(table).overall.n == 20
    with pytest.raises(NonFiniteScores, match="q20"):
        group_report(table, invalid="error")


def test_for_json():
    found = json.loads(json.dumps(group_report(TABLE, ["subject", "steps"]).as_dicts()))
    assert len(found) == 7
    assert {"subject", "steps", "n", "auc", "low", "high", "p_adjusted", "note"} <= set(found[0])
    assert found[0]["subject"] == "art"
    assert found[0]["auc"] is None


@unhurried
@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, alpha):
    found = holm(p_values)
    rejected, going = [False] * len(p_values), True
    for rank, number in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        going = going and (len(p_values) - rank) * p_values[number] <= alpha
        rejected[number] = going
    assert [p <= alpha for p in found] == rejected
    assert all(p <= q <= 1 for p, q in zip(p_values, found, strict=True))


def test_the_order_of_rows_changes_nothing():
    shuffled = TABLE.take(np.random.default_rng(2).permutation(len(TABLE)))
    for ci in ("delong", "bootstrap"):
        one, two = (
            group_report(table, ["subject", "steps"], ci=ci, resamples=50) for table in (TABLE, shuffled)
        )
        for row, other in zip(one.as_dicts(), two.as_dicts(), strict=True):
            assert other == {
                name: pytest.approx(value) if isinstance(value, float) else value
                for name, value in row.items()
            }


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    raw = [row.auc.p_value for row in group_report(TABLE).rows if row.auc]
    assert [row.p_adjusted for row in group_report(TABLE).rows if row.auc] == holm(raw)


def test_false_alarms_over_groups_are_rare():
    """Ten groups in which u says nothing: at most 5 % of reports may have one below 0.05."""
    alarms = [
        any(row.p_adjusted < 0.05 for row in group_report(planted(*nothing, seed=seed)).rows)
        for seed in range(40)
        for nothing in [[(f"s{k}", None, 40, 0.5, 0.0) for k in range(10)]]
    ]
    assert sum(alarms) <= 6  # binomial(40, 0.05): 6 or fewer in 99 %


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: group_report(TABLE, "topic"), "no column 'topic'"),
        (lambda: group_report(TABLE, []), "one or more different names"),
        (lambda: group_report(TABLE, ["steps", "steps"]), "one or more different names"),
        (lambda: group_report(TABLE, score="x"), "no score 'x'"),
        (lambda: group_report(TABLE, min_n=0), "min_n"),
        (lambda: group_report(TABLE, level=5), "level"),
        (lambda: group_report(TABLE, ci="x"), "ci must be"),
        (lambda: group_report(TABLE, invalid="x"), "invalid must be"),
        (lambda: holm([0.1, 1.2]), "p value 1"),
        (lambda: holm([float("nan")]), "p value 0"),
    ],
)
def test_bad_arguments(call, says):
    with pytest.raises(InputError, match=says):
        call()
