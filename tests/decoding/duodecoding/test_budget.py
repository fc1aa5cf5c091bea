"""The draft budget: the sheet's values, interpolation, and times taken on a clock that one turns by hand."""

from __future__ import annotations

import pytest

from firsthand.decoding.duodecoding import HardwareProfile, draft_budget, profile
from firsthand.errors import InputError
from firsthand.lm.decoding.ngram import TableLM

from .models_for_tests import Clock, Ticking, counters


@pytest.mark.parametrize(
    ("target_ms", "draft_ms", "comm_ms", "budget"),
    [(25.3, 1.55, 0, 16), (24, 1.0, 0, 24), (3, 5, 0, 1), (3, 1.1, 0.5, 3), (3, 0.01, 0, 48), (8, 1, 0, 8)],
)
def test_budgets(target_ms, draft_ms, comm_ms, budget):
    assert draft_budget(HardwareProfile(draft_ms, {1: target_ms}, comm_ms)) == budget


def test_longer_passes_leave_room_for_more():
    growing = HardwareProfile(1.0, {1: 8, 8: 8, 16: 17, 32: 20})
    assert draft_budget(growing) == 16
    assert draft_budget(growing, candidates=(5, 7)) == 7


def test_between_and_beyond_what_was_measured():
    times = HardwareProfile(1.0, {1: 10, 4: 16, 8: 20})
    assert [times.target_time(n) for n in (1, 2, 4, 6, 8, 10)] == [10, 12, 16, 18, 20, 22]
    assert times.ratio == 10
    assert HardwareProfile(1.0, {4: 7}).target_time(30) == 7
    assert HardwareProfile(1.0, {1: 7, 8: 6}).target_time(30) == 6  # noise, not a pass that costs nothing
    scaled = times.scaled(draft_ms=2.0, target_factor=3.0, context_len=99)
    assert (scaled.draft_ms, scaled.target_time(4), scaled.context_len) == (2.0, 48, 99)
    assert times.as_dict()["target_ms"] == {"1": 10, "4": 16, "8": 20}


def test_times_are_medians_after_warming_up():
    clock = Clock()
    target, draft = counters(10, {})
    calls = []

    def slow_at_first(n, cached):
        calls.append((n, cached))
        return 99.0 if len(calls) < 4 else 0.008 + 0.001 * n

    found = profile(
        Ticking(target, clock, slow_at_first),
        Ticking(draft, clock, lambda n, cached: 0.002),
        context_len=40,
        repeats=7,
        clock=clock,
    )
    assert found.draft_ms == pytest.approx(2)
    assert found.target_ms == pytest.approx({n: 8.0 + n for n in (1, 2, 4, 8, 16, 32)})
    assert found.context_len == 40
    assert {cached for _, cached in calls} == {0, 40}  # every pass at the same context


def test_a_short_context():
    target, draft = counters(10, {})
    target.max_length = 20
    found = profile(target, draft, context_len=100, repeats=2, prompt_ids=[1, 2, 3])
    assert found.context_len == 1
    assert max(found.target_ms) == 16  # 32 tokens would not fit


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: HardwareProfile(0, {1: 1}), "draft_ms"),
        (lambda: HardwareProfile(float("nan"), {1: 1}), "draft_ms"),
        (lambda: HardwareProfile(1, {1: 1}, -1), "comm_ms"),
        (lambda: HardwareProfile(1, {}), "target_ms"),
        (lambda: HardwareProfile(1, {0: 1}), "target_ms"),
        (lambda: HardwareProfile(1, {1: 0}), "target_ms"),
        (lambda: draft_budget(HardwareProfile(1, {1: 1}), ()), "candidates"),
        (lambda: draft_budget(HardwareProfile(1, {1: 1}), (0, 1)), "candidates"),
        (lambda: profile(*counters(5, {}), repeats=0), "repeats"),
        (lambda: profile(TableLM([[0]]), TableLM([[0, 0]] * 2)), "vocabularies differ: 2 vs 1"),
    ],
)
def test_bad_input(act, message):
    with pytest.raises(InputError, match=message):
        act()
