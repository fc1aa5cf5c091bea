"""No harm, on a clock that only models turn: whatever the draft costs and says, little is lost."""

from __future__ import annotations

import pytest

from firsthand.decoding.duodecoding.fallback import (
    CALIBRATION,
    PROBE_ROUNDS,
    REFRESH,
    WINDOW,
    Fallback,
    PlainTimes,
)
from firsthand.lm.decoding import PlainDecoder
from firsthand.lm.decoding.ngram import TableLM

from .models_for_tests import Clock, Ticking, counters, duo

PLANNED = 512


def timed(draft_s, budget, *, wrong=(), fallback=True, tokens=PLANNED, per_token=0.02):
    """Seconds of a text on a virtual clock where target passes take 1 (and a bit a token); plain's, and the result."""
    clock = Clock()
    table, _ = counters(50, {})
    _, guess = counters(50, dict.fromkeys(wrong, 0))
    target = Ticking(table, clock, lambda n, cached: 1.0 + per_token * (n - 1))
    plain = PlainDecoder(target).generate([0], tokens)
    plain_s, clock.now = clock.now, 0.0
    draft = Ticking(guess, clock, lambda n, cached: draft_s)
    result = duo(target, draft, budget, max_sequences=1, fallback=fallback, clock=clock).generate([0], tokens)
    assert result.tokens == plain.tokens
    return clock.now, plain_s, result


@pytest.mark.parametrize("wrong", [(), range(0, 50, 2), range(49), (7, 30)])
@pytest.mark.parametrize("draft_s", [0.01, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("budget", [1, 4, 16, 48])
def test_no_setting_loses_five_percent(budget, draft_s, wrong):
    seconds, plain_s, result = timed(draft_s, budget, wrong=wrong)
    assert seconds <= 1.05 * plain_s
    without, _, _ = timed(draft_s, budget, wrong=wrong, fallback=False)
    one_round = budget * draft_s + 1 + 0.02 * budget
    if without < 0.9 * plain_s and one_round < 0.03 * PLANNED:  # where speculation clearly wins, it is kept
        assert not result.fell_back
        assert seconds < without + 10 * plain_s / PLANNED  # the tokens decoded plainly
    if without > 1.1 * plain_s:
        assert result.fell_back
        assert result.log[-1].kind == "plain"


def test_without_it_much_is_lost():
    seconds, plain_s, result = timed(0.5, 16, wrong=range(49), fallback=False)
    assert seconds > 5 * plain_s
    assert not result.fell_back


def test_a_draft_that_turns_bad_later():
    """Right for 300 tokens, then never: after the probe losses are watched still."""
    clock = Clock()
    table, _ = counters(600, {})
    _, guess = counters(600, dict.fromkeys(range(300, 600), 0))
    target = Ticking(table, clock, lambda n, cached: 1.0)
    draft = Ticking(guess, clock, lambda n, cached: 0.1)
    result = duo(target, draft, 8, max_sequences=1, fallback=True, clock=clock).generate([0], PLANNED)
    assert result.fell_back
    assert clock.now < 0.95 * PLANNED
    bad = [entry for entry in result.log if entry.kind == "duo"][-WINDOW:]
    assert sum(entry.certain for entry in bad) < sum(entry.wall_s for entry in bad)


def test_a_draft_that_is_slow_once_is_stopped():
    """A round's draft is given up when what it loses becomes too much, not when it is done."""
    seconds, plain_s, result = timed(2.0, 48)
    gave_up = [entry for entry in result.log if entry.kind == "duo"][-1]
    assert result.fell_back
    assert gave_up.draft_passes < 48
    assert seconds < 1.05 * plain_s


def test_plain_tokens_are_decoded_to_compare_with():
    _, _, result = timed(0.01, 4, wrong=(7,))
    kinds = [entry.kind for entry in result.log]
    assert kinds[0] == "duo"
    assert kinds[1 : 1 + CALIBRATION] == ["plain"] * CALIBRATION
    assert CALIBRATION <= kinds.count("plain") <= CALIBRATION + PLANNED // REFRESH + 1


def test_a_plain_tokens_time_serves_the_next_text():
    clock = Clock()
    table, guess = counters(50, {7: 0})
    target = Ticking(table, clock, lambda n, cached: 0.01)
    decoder = duo(target, Ticking(guess, clock, lambda n, cached: 0.001), 4, fallback=True, clock=clock)
    first, second = (decoder.generate([0] * 5, 40) for _ in range(2))
    assert sum(entry.kind == "plain" for entry in first.log) == CALIBRATION
    assert sum(entry.kind == "plain" for entry in second.log) == 0
    clock.now += 100
    assert sum(entry.kind == "plain" for entry in decoder.generate([0] * 5, 40).log) == CALIBRATION


def test_the_caller_may_be_slow():
    """What the caller does between tokens is nobody's loss."""
    clock = Clock()
    table, guess = counters(50, {7: 0})
    target = Ticking(table, clock, lambda n, cached: 1.0)
    decoder = duo(target, Ticking(guess, clock, lambda n, cached: 0.01), 8, fallback=True, clock=clock)

    def slow_caller(token):
        clock.now += 50.0

    result = decoder.generate([0], 100, on_token=slow_caller)
    assert not result.fell_back
    assert max(entry.wall_s for entry in result.log) < 2


def test_falling_back_with_a_tail():
    """Drafted tokens that are left are checked in one more pass, not thrown away."""
    _, _, result = timed(0.9, 4)  # the draft is always right, but a round takes longer than four tokens
    assert result.fell_back
    last = [entry for entry in result.log if entry.kind == "duo"][-1]
    assert last.tail > 0
    assert last.budget == 0
    assert last.certain == last.tail + 1


# --- the bookkeeping alone -----------------------------------------------------------------------------


def test_losses_in_plain_tokens():
    watch = Fallback(planned=100, plain_s=2.0)
    assert not watch.wants_plain
    assert watch.limit_s == 2 * (3 + 1)
    watch.saw_round(8.0, 2)  # as long as four, gave two
    assert watch.limit_s == 2 * (3 - 2 + 1)
    watch.saw_round(2.0, 3)  # gains pay
    assert watch.limit_s == 2 * (3 - 0 + 1)
    watch.saw_wait(4.0)
    watch.saw_round(2.0, 1)
    assert watch.limit_s == 2 * (3 - 2 + 1)
    assert not watch.gave_up
    watch.saw_round(8.0, 2)
    assert watch.gave_up


def test_after_sixteen_rounds_it_must_have_won():
    for seconds, gave_up in ((0.99, False), (1.01, True)):
        watch = Fallback(planned=1000, plain_s=1.0)
        for number in range(PROBE_ROUNDS):
            assert not watch.gave_up, number
            watch.saw_round(seconds, 1)
        assert watch.gave_up is gave_up


def test_until_a_plain_token_is_known_nothing_is_judged():
    watch = Fallback(planned=10)
    watch.saw_round(1e9, 1)
    assert watch.limit_s == float("inf")
    assert watch.wants_plain
    for seconds in (1.0, 5.0, 2.0):
        watch.saw_plain(seconds)
    assert watch.plain_s == 2.0
    assert not watch.wants_plain
    watch.saw_round(1.0, REFRESH)
    assert watch.wants_plain


def test_times_by_context():
    times = PlainTimes()
    assert times.get(100, 0.0) is None
    times.put(100, 10.0, 0.5)
    assert times.get(120, 20.0) == 0.5
    assert times.get(50, 20.0) == 0.5
    assert times.get(200, 20.0) is None
    assert times.get(100, 71.0) is None


def test_equal_texts_with_and_without():
    target, draft = TableLM([[0, 1], [1, 0]]), TableLM([[1, 0], [1, 0]])
    assert (
        duo(target, draft, 4, fallback=True).generate([0], 50).tokens
        == duo(target, draft, 4).generate([0], 50).tokens
    )
