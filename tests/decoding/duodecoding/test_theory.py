"""What speed to expect: closed forms against the sheet, against a simulation, against counted rounds."""

from __future__ import annotations

import numpy as np
import pytest

from firsthand.decoding.duodecoding import (
    expected_tokens_per_round,
    predicted_ratio,
    serial_tokens_per_step,
    virtual_time,
)
from firsthand.decoding.duodecoding.theory import serial_time
from firsthand.errors import InputError
from firsthand.lm.decoding import PlainDecoder, SerialSpeculation

from .models_for_tests import counters, duo


@pytest.mark.parametrize(
    ("alpha", "beta", "length", "tokens"),
    [
        (0.8, 0.8, 4, 2.1231),
        (0.8, 0.8, 8, 2.5494),
        (0.8, 0.9, 8, 2.6625),
        (0.6, 0.6, 4, 1.4799),
        (0.6, 0.85, 4, 1.5999),
        (0.9, 0.9, 16, 4.7513),
        (0.3, 0.7, 1, 1.0),
        (1.0, 1.0, 5, 5.0),
        (0.5, 0.0, 5, 1.0),
    ],
)
def test_tokens_per_round(alpha, beta, length, tokens):
    assert expected_tokens_per_round(alpha, beta, length) == pytest.approx(tokens, abs=5e-5)


@pytest.mark.parametrize(("alpha", "beta", "length"), [(0.8, 0.8, 4), (0.6, 0.85, 4), (0.9, 0.9, 16)])
def test_tokens_per_round_simulated(alpha, beta, length):
    rng = np.random.default_rng(0)
    rounds = 400_000
    right = np.minimum.accumulate(rng.random((rounds, length - 1)) < alpha, axis=1).sum(axis=1)
    hits = rng.random(rounds) < beta
    post, tokens = False, 0
    for accepted, hit in zip(right.tolist(), hits.tolist(), strict=True):
        if post and accepted < length - 1:
            tokens += accepted + 1
            post = False
        else:
            tokens += length if post else 1
            post = hit
    # The sheet asks for 0.005 at moderate lengths; rounds depend on the ones before, so long chains vary more.
    assert tokens / rounds == pytest.approx(expected_tokens_per_round(alpha, beta, length), rel=0.004)


def test_serial():
    found = [serial_tokens_per_step(0.8, length) for length in (4, 5, 8, 16)]
    assert found == pytest.approx([3.3616, 3.6893, 4.3289, 4.8874], abs=5e-5)
    assert serial_tokens_per_step(1.0, 3) == 4


def test_predicted_ratios():
    table = {
        0.6: [1.21, 1.13, 1.04, 0.98, 0.90, 0.85, 0.79],
        0.8: [1.27, 1.26, 1.19, 1.12, 1.02, 0.95, 0.85],
        0.9: [1.27, 1.32, 1.30, 1.26, 1.18, 1.11, 1.01],
    }
    for alpha, row in table.items():
        found = [predicted_ratio(alpha, c) for c in (2, 4, 6, 8, 12, 16, 24)]
        assert found == pytest.approx(row, abs=0.0051)
    assert predicted_ratio(0.8, 8, beta=0.95) > predicted_ratio(0.8, 8)


# --- reference item 8: a clock on which only models take time ------------------------------------------

TOY_A, TOY_B = (40, {17: 0}, 120), (10, {4: 0}, 60)


@pytest.mark.parametrize(
    ("toy", "budget", "rounds", "time"),
    [
        (TOY_A, 4, 35, 280),
        (TOY_A, 6, 26, 208),
        (TOY_A, 8, 20, 160),
        (TOY_B, 4, 25, 200),
        (TOY_B, 6, 20, 160),
        (TOY_B, 8, 20, 160),
    ],
)
def test_virtual_clock(toy, budget, rounds, time):
    vocab, wrong, tokens = toy
    target, draft = counters(vocab, wrong)
    result = duo(target, draft, budget, max_sequences=1).generate([0], tokens)
    assert result.tokens == PlainDecoder(target).generate([0], tokens).tokens
    assert (result.rounds, virtual_time(result.log, 1, 8)) == (rounds, time)


@pytest.mark.parametrize(
    ("toy", "length", "steps", "time"),
    [
        (TOY_A, 4, 25, 300),
        (TOY_A, 8, 15, 240),
        (TOY_A, 10, 12, 216),
        (TOY_A, 12, 12, 240),
        (TOY_B, 4, 12, 144),
        (TOY_B, 8, 12, 192),
    ],
)
def test_virtual_clock_of_turns(toy, length, steps, time):
    vocab, wrong, tokens = toy
    target, draft = counters(vocab, wrong)
    result = SerialSpeculation(target, draft, length=length).generate([0], tokens)
    assert result.steps == steps
    assert serial_time([length] * steps, 1, 8) == time


def test_overlap_wins_where_errors_are_rare_and_loses_where_they_are_not():
    best = {}
    for name, (vocab, wrong, tokens) in {"A": TOY_A, "B": TOY_B}.items():
        target, draft = counters(vocab, wrong)
        overlap = min(
            virtual_time(duo(target, draft, budget, max_sequences=1).generate([0], tokens).log, 1, 8)
            for budget in (4, 6, 8)
        )
        turns = min(
            SerialSpeculation(target, draft, length=n).generate([0], tokens).steps * (n + 8)
            for n in (1, 2, 3, 4, 5, 6, 8, 10, 12)
        )
        best[name] = turns / overlap
    assert best["A"] == pytest.approx(1.35)
    assert best["B"] < 1


def test_what_a_round_costs():
    target, draft = counters(40, {})
    log = duo(target, draft, 6, max_sequences=1).generate([0], 12).log
    # Rounds draft 1, 6 and 5 tokens (there is no room for more), then the tail is checked alone.
    assert [entry.draft_steps for entry in log] == [1, 6, 5, 0]
    assert virtual_time(log, 2, 3) == 3 + 12 + 10 + 3
    assert virtual_time(log, 2, lambda n: 10.0 * n) == 10 + 12 + 60 + 40
    assert virtual_time(log, 2, 3, comm_ms=0.5) == 28 + 3 * 0.5


@pytest.mark.parametrize(
    "act",
    [
        lambda: expected_tokens_per_round(1.1, 0.5, 3),
        lambda: expected_tokens_per_round(0.5, -0.1, 3),
        lambda: expected_tokens_per_round(0.5, 0.5, 0),
        lambda: serial_tokens_per_step(0.5, 0),
        lambda: predicted_ratio(0.5, 0),
    ],
)
def test_bad_input(act):
    with pytest.raises(InputError):
        act()
