"""Dates that betray a leak, on leagues where we know whether there is one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from scipy.stats import ttest_ind

from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores.attempts import Attempt
from firsthand.evaluation.codearena.scores.leakage import acceptance_by_date, before_and_after, first_attempts

JUNE = date(2024, 6, 1)


def leaky(seed, *, leaked=True, harder=0.0):
    """200 problems, half from before June 2024; "knows" remembers half of the old ones, where they leaked."""
    random = np.random.default_rng(seed)
    attempts, published = [], {}
    for number in range(200):
        old = number < 100
        name = f"p{number:03}"
        published[name] = JUNE + timedelta(days=-30 if old else 30)
        chance = 0.5 - (0 if old else harder)
        for user in ("knows", "one", "two", "three"):
            solved = random.random() < chance or (
                leaked and old and user == "knows" and random.random() < 0.5
            )
            attempts.append(Attempt(user, name, bool(solved), 1.0))
    return attempts, published


def test_a_leak_shows_and_harder_problems_do_not():
    attempts, published = leaky(1)
    seen = dict.fromkeys(["knows", "one", "two", "three"], JUNE)
    first, *others = before_and_after(attempts, published, seen)
    assert first.user == "knows"
    assert first.suspicious
    assert not any(other.suspicious for other in others)
    assert (first.problems_before, first.problems_after) == (100, 100)
    fair, published = leaky(2, leaked=False, harder=0.3)
    rows = before_and_after(fair, published, seen)
    assert all(
        row.acceptance_before > row.acceptance_after + 0.15 for row in rows
    )  # raw figures would accuse
    assert not any(row.suspicious for row in rows)


def test_false_alarms_are_rare():
    alarms = [
        before_and_after(*leaky(seed, leaked=False, harder=0.2), {"one": JUNE})[0].suspicious
        for seed in range(100)
    ]
    assert sum(alarms) <= 8  # 2.5 % are expected


def test_gap_is_welchs():
    attempts, published = leaky(3)
    row = before_and_after(attempts, published, {"knows": JUNE})[0]
    solved = {(a.user, a.problem): a.solved for a in attempts}
    excess = [
        solved["knows", name] - np.mean([solved[user, name] for user in ("one", "two", "three")])
        for name in published
    ]
    test = ttest_ind(excess[:100], excess[100:], equal_var=False)
    assert row.gap == pytest.approx(np.mean(excess[:100]) - np.mean(excess[100:]))
    interval = test.confidence_interval(0.95)
    assert (row.low, row.high) == pytest.approx((interval.low, interval.high))
    assert row.excess_before == pytest.approx(np.mean(excess[:100]))
    assert row.acceptance_after == pytest.approx(np.mean([solved["knows", n] for n in list(published)[100:]]))


def test_too_little_to_tell():
    published = {"P1": date(2024, 1, 1), "P2": date(2024, 1, 2), "P3": date(2024, 7, 1)}
    attempts = [Attempt("A", name, True, 1.0) for name in published]
    (alone,) = before_and_after(attempts, published, {"A": JUNE})
    assert (alone.problems_before, alone.problems_after, alone.acceptance_before) == (2, 1, 1.0)
    assert (alone.excess_before, alone.gap, alone.suspicious) == (None, None, False)  # nobody to compare with
    constant = [
        Attempt(user, name, user == "A" and name != "P3" and name != "P4", 1.0)
        for user in "AB"
        for name in (*published, "P4")
    ]
    row = before_and_after(constant, {**published, "P4": date(2024, 7, 1)}, {"A": JUNE})[0]
    assert (row.gap, row.low, row.suspicious) == (1.0, None, False)  # nothing varies
    (never,) = before_and_after(attempts, published, {"A": date(2025, 1, 1)})
    assert (never.problems_after, never.acceptance_after) == (0, None)


def test_first_seen_by_the_first_attempt():
    late = datetime(2024, 7, 1, 23, tzinfo=timezone(timedelta(hours=-3)))
    attempts = [
        Attempt("A", "P1", True, 1.0, submitted_at=late),
        Attempt("A", "P2", True, 1.0, submitted_at=late + timedelta(days=3)),
        Attempt("B", "P1", True, 1.0),
    ]
    assert first_attempts(attempts) == {"A": date(2024, 7, 2)}
    published = {"P1": datetime(2024, 7, 1, 12), "P2": datetime(2024, 7, 2, 0, tzinfo=UTC)}
    (row,) = before_and_after(attempts, published)
    assert (row.first_seen, row.problems_before, row.problems_after) == (date(2024, 7, 2), 1, 1)


def test_acceptance_by_date():
    published = {
        "P1": date(2023, 12, 31), "P2": date(2024, 1, 1), "P3": date(2024, 1, 31), "P4": date(2024, 5, 5),
        "not tried": date(2024, 6, 6),
    }  # fmt: skip
    attempts = [
        Attempt("A", "P1", True, 1.0), Attempt("A", "P2", False, 1.0), Attempt("A", "P2", True, 1.0),
        Attempt("B", "P2", False, None), Attempt("B", "P3", False, None), Attempt("B", "P4", True, 1.0, counted=False),
        Attempt("H", "P4", True, 1.0, kind="human"),
    ]  # fmt: skip
    months = acceptance_by_date(attempts, published)
    assert [(p.start, p.end, p.problems, p.attempts, p.solved) for p in months] == [
        (date(2023, 12, 1), date(2024, 1, 1), 1, 1, 1),
        (date(2024, 1, 1), date(2024, 2, 1), 2, 3, 1),
    ]
    assert months[1].acceptance == pytest.approx(1 / 3)
    assert (months[1].low, months[1].high) == pytest.approx((0.0615, 0.7923), abs=1e-4)  # Wilson's, 1 of 3
    quarters = acceptance_by_date(attempts, published, length="quarter", population="all")
    assert [(p.start, p.end, p.attempts) for p in quarters] == [
        (date(2023, 10, 1), date(2024, 1, 1), 1),
        (date(2024, 1, 1), date(2024, 4, 1), 3),
        (date(2024, 4, 1), date(2024, 7, 1), 1),
    ]
    years = acceptance_by_date(attempts, published, length="year", population={"B"}, leave_out=["P3"])
    assert [(p.start, p.end, p.attempts) for p in years] == [(date(2024, 1, 1), date(2025, 1, 1), 1)]
    assert acceptance_by_date([], published) == ()
    with pytest.raises(InputError, match="length must be one of month, quarter, year"):
        acceptance_by_date(attempts, published, length="week")


def test_bad_dates():
    attempts = [Attempt("A", "P1", True, 1.0)]
    with pytest.raises(InputError, match="problem 'P1' was attempted and has no date"):
        before_and_after(attempts, {}, {"A": JUNE})
    with pytest.raises(InputError, match="the date of problem 'P1' must be a date, got '2024'"):
        before_and_after(attempts, {"P1": "2024"}, {"A": JUNE})
    with pytest.raises(InputError, match="first_seen of 'A' must be a date, got 2024"):
        before_and_after(attempts, {"P1": JUNE}, {"A": 2024})
    with pytest.raises(InputError, match="first_seen has a date of 'Z', who has no attempt"):
        before_and_after(attempts, {"P1": JUNE}, {"Z": JUNE})
