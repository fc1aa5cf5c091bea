"""The two-way table against counting, and re-weighted AUCs against copies of rows; what has no weights; bad input."""

from __future__ import annotations

from collections import Counter

import pytest

from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.composition import label_shares, reweighted_report
from firsthand.evaluation.uncertainty.discrimination import error_auc
from firsthand.evaluation.uncertainty.groups import group_report

from .planted import planted
from .slow import slow_auc

GROUPS = (
    ("engineering", "high", 270, 0.5, 0.2), ("engineering", "low", 30, 0.4, 1.8),
    ("philosophy", "high", 150, 0.5, 0.2), ("philosophy", "low", 150, 0.4, 1.8),
)  # fmt: skip
TABLE = planted(*GROUPS)


def test_shares_are_counts():
    table = planted(*GROUPS, ("law", None, 10, 0.5, 0.0), ("law", "low", 30, 0.5, 0.0), invalid=5)
    found = {(cell.group, cell.label): cell for cell in label_shares(table, "steps")}
    counts = Counter(zip(table.subject, table.labels["steps"], strict=True))
    totals = Counter(table.subject)
    assert set(found) == {(s, label) for s in totals for label in ("high", "low", None)}
    for (subject, label), cell in found.items():
        assert cell.n == counts[subject, label]
        assert cell.share == pytest.approx(cell.n / totals[subject])
        assert 0 <= cell.low <= cell.share <= cell.high <= 1
    assert found["law", "high"].n == 0
    assert found["law", "high"].high > 0


def test_one_mix_of_labels_takes_away_what_composition_did():
    """Of equal skill within each label, engineering looks worse: it has more of the hard ones."""
    raw = group_report(TABLE)
    assert raw.row("philosophy").auc.value - raw.row("engineering").auc.value > 0.08
    found = {row.group: row for row in reweighted_report(TABLE, "steps", resamples=200)}
    gap = found["philosophy"].auc.value - found["engineering"].auc.value
    assert abs(gap) < 0.06
    for row in found.values():
        assert row.auc.low < row.auc.value < row.auc.high
        assert row.n == 300
        assert row.effective_n <= 300


def test_the_weighted_auc_is_that_of_copies():
    """3 high and 1 low among 4: a target of one half each is each low row three times."""
    table = planted(("a", "high", 30, 0.5, 0.5), ("a", "low", 10, 0.5, 2.0))
    (found,) = reweighted_report(table, "steps", target={"high": 0.5, "low": 0.5}, resamples=10)
    error, u = (~table.correct).tolist(), table.H_vocab.tolist()
    copies = [3 if label == "low" else 1 for label in table.labels["steps"]]
    assert found.auc.value == pytest.approx(slow_auc(error, u, copies))
    assert found.effective_n == pytest.approx(60**2 / (30 + 10 * 9))


def test_where_the_mix_is_as_wanted_nothing_changes():
    (found,) = reweighted_report(planted(*GROUPS[:2]), "steps", resamples=800)
    alone = planted(*GROUPS[:2])
    wanted = error_auc(~alone.correct, alone.H_vocab)
    assert found.auc.value == pytest.approx(wanted.value)
    assert found.effective_n == pytest.approx(300)
    assert found.auc.standard_error == pytest.approx(wanted.standard_error, rel=0.12)


def test_intervals_cover():
    """The truth is the value at a great size."""
    groups = [("a", "high", 10_000, 0.5, 0.2), ("a", "low", 10_000, 0.3, 1.8)]
    target = {"high": 0.5, "low": 0.5}
    truth = reweighted_report(planted(*groups), "steps", target=target, resamples=2)[0].auc.value
    inside = 0
    for seed in range(60):
        small = planted(("a", "high", 120, 0.5, 0.2), ("a", "low", 30, 0.3, 1.8), seed=seed)
        found = reweighted_report(small, "steps", target=target, resamples=200)[0].auc
        inside += found.low <= truth <= found.high
    assert inside >= 52  # binomial(60, 0.94): fewer in under 2 %


def test_groups_that_cannot_be_reweighted_say_why():
    table = planted(
        *GROUPS, ("law", "low", 30, 0.5, 0.0), ("art", "low", 15, 0.0, 0.0), ("art", "high", 15, 0.0, 0.0),
        ("few", "low", 5, 0.4, 0.0), ("none", None, 20, 0.5, 0.0), ("philosophy", None, 3, 1.0, 0.0),
    )  # fmt: skip
    found = {row.group: row for row in reweighted_report(table, "steps", resamples=20)}
    assert found["law"].note == "no row with steps 'high'"
    assert found["art"].note == "30 answers, all right: an AUC needs both"
    assert found["few"].note == found["none"].note == "fewer than 10 rows"
    assert found["philosophy"].note == "3 rows without a label left out"
    assert [name for name, row in found.items() if row.auc] == ["engineering", "philosophy"]


def test_seeds():
    one, two, three = (reweighted_report(TABLE, "steps", resamples=30, seed=seed) for seed in (1, 1, 2))
    assert one == two
    assert one != three
    assert [row.auc.value for row in one] == [row.auc.value for row in three]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: label_shares(TABLE, "topic"), "no column 'topic'"),
        (lambda: label_shares(TABLE, "subject"), "different names"),
        (lambda: label_shares(TABLE, "steps", level=2), "level"),
        (lambda: reweighted_report(TABLE, "topic"), "no column"),
        (lambda: reweighted_report(TABLE, "steps", target={"low": 1.0}), "see 'high'"),
        (lambda: reweighted_report(TABLE, "steps", target={"low": 0.5, "high": 0.4, "x": 0.1}), "see 'x'"),
        (lambda: reweighted_report(TABLE, "steps", target={"low": 0.5, "high": 0.4}), "sum to 1"),
        (lambda: reweighted_report(TABLE, "steps", target={"low": 1.0, "high": 0.0}), "above 0"),
        (lambda: reweighted_report(TABLE, "steps", resamples=1), "resamples"),
        (
            lambda: reweighted_report(planted(("a", None, 20, 0.5, 0)), "steps"),
            "no row that is judged has a label",
        ),
    ],
)
def test_bad_input(call, says):
    with pytest.raises(InputError, match=says):
        call()
