"""Bootstrap over models: the obvious loop over expanded columns, by hand, and what must not change it."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from firsthand.data.preselect import StrengthConfidence, predictive_strength, strength_confidence
from firsthand.data.preselect import confidence as module
from firsthand.errors import InputError

FIELDS = ("standard_error", "low", "high", "top_stability")


def every_draw(losses, ability, level=0.95, ties="zero", min_gap=0.0):
    """All n^n draws of models with replacement, each as a sample with columns repeated."""
    losses, ability = np.asarray(losses, dtype=float), np.asarray(ability, dtype=float)
    n, rows = ability.size, []
    for draw in itertools.product(range(n), repeat=n):
        columns = list(draw)
        if len(set(ability[columns])) < 3:
            continue
        gaps = np.abs(np.subtract.outer(ability[columns], ability[columns]))
        if not ((gaps > 0) & (gaps >= min_gap)).any():
            continue
        rows.append(predictive_strength(losses[:, columns], ability[columns], ties=ties, min_gap=min_gap))
    strength = np.array(rows)  # (draws, D)
    ascending = np.sort(strength, axis=0)
    outer = math.ceil((1 - level) / 2 * len(rows) - 1e-9) - 1
    top = np.mean([top_quarter(row) for row in strength], axis=0)
    return strength.std(axis=0), ascending[outer], ascending[-1 - outer], top


def top_quarter(strength):
    """How far each document is in the top quarter: ties on the edge share what is left."""
    room, part = len(strength) / 4, np.zeros(len(strength))
    for level in sorted(set(strength), reverse=True):
        there = strength == level
        part[there] = min(1.0, room / there.sum())
        room = max(0.0, room - there.sum())
    return part


def equal(found, expected):
    for name, value in zip(FIELDS, expected, strict=True):
        np.testing.assert_allclose(getattr(found, name), value, atol=1e-12, err_msg=name)


@given(
    hnp.arrays(np.float64, (7, 4), elements=st.integers(1, 5)),
    st.lists(st.integers(0, 5), min_size=4, max_size=4).filter(lambda s: len(set(s)) >= 3),
    st.sampled_from(["zero", "half"]),
    st.sampled_from([0.5, 0.9, 0.95]),
)
@settings(max_examples=12, deadline=None)
def test_equals_all_draws_with_repeated_columns(losses, ability, ties, level):
    found = strength_confidence(losses, ability, ties=ties, level=level)
    assert found.exact
    equal(found, every_draw(losses, ability, level, ties))


def test_equals_all_draws_where_close_models_make_no_pair():
    losses = np.random.default_rng(4).random((9, 4)) + 0.1
    ability = [1.0, 1.2, 2.0, 2.9]
    found = strength_confidence(losses, ability, min_gap=0.9)
    equal(found, every_draw(losses, ability, min_gap=0.9))


def test_three_models_by_hand():
    """Only the draws that hold all three models have a strength, and they are the sample itself."""
    found = strength_confidence([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]], [1, 2, 3])
    assert found.resamples == 1
    for name in FIELDS:
        assert np.isnan(getattr(found, name)).all()
    assert math.isnan(found.decided)
    assert found.rests_on_little
    assert found.as_dict() == {
        "median_standard_error": None,
        "decided": None,
        "top_quarter_kept": None,
        "decided_by_chance": None,
        "kept_by_chance": None,
        "rests_on_little": True,
        "level": 0.95,
        "resamples": 1,
        "exact": True,
    }


def test_four_models_by_hand():
    """Abilities 1 2 3 4; only the pair of the two best disagrees: S = 5/6.

    All four models (24 of 168 draws with a strength): 5/6. Two copies of one model (12 draws each of the 12
    sets): twice a, once b and c, so Z = 2 + 2 + 1 = 5. With both of the two best: the wrong pair weighs 2
    where one of them is doubled (4 sets, S = 3/5) and 1 where not (2 sets, S = 4/5); with one of the two
    best no pair is wrong (6 sets, S = 1).
    """
    found = strength_confidence([[4.0, 3.0, 1.0, 2.0]], [1, 2, 3, 4])
    values = np.array([5 / 6, 3 / 5, 4 / 5, 1])
    share = np.array([24, 48, 24, 72]) / 168
    mean = values @ share
    assert found.resamples == 13
    assert found.standard_error[0] == pytest.approx(math.sqrt((values - mean) ** 2 @ share), abs=1e-14)
    assert (found.low[0], found.high[0]) == (3 / 5, 1.0)
    half = strength_confidence([[4.0, 3.0, 1.0, 2.0]], [1, 2, 3, 4], level=0.4)  # a tail of 0.3 > 48/168
    assert (half.low[0], half.high[0]) == (4 / 5, 1.0)


def test_models_of_equal_ability_make_no_pair():
    """Abilities 1 2 2 3: the two in the middle never meet, in no draw."""
    found = strength_confidence([[4.0, 2.0, 3.0, 1.0], [4.0, 3.0, 2.0, 1.0]], [1, 2, 2, 3])
    assert found.standard_error.tolist() == pytest.approx([0, 0], abs=1e-15)
    assert found.low.tolist() == [1.0, 1.0]


@given(hnp.arrays(np.float64, (8, 5), elements=st.floats(0.1, 9.0)), st.permutations(range(5)))
@settings(max_examples=12, deadline=None)
def test_invariances(losses, order):
    ability = np.array([1.0, 2.5, 2.0, 7.0, 4.0])
    found = strength_confidence(losses, ability)
    expected = [getattr(found, name) for name in FIELDS]
    ranks = np.unique(losses, return_inverse=True)[1].reshape(losses.shape) + 1.0
    equal(strength_confidence(ranks**3, ability), expected)  # a monotone map of the losses
    equal(strength_confidence(losses * 2.0 ** np.arange(8)[:, None], ability), expected)  # of each document
    equal(strength_confidence(losses, np.exp(ability)), expected)  # and of the abilities
    equal(strength_confidence(losses[:, order], ability[list(order)]), expected)
    down = strength_confidence(losses, -ability, ties="half")
    up = strength_confidence(losses, ability, ties="half")
    np.testing.assert_allclose(down.standard_error, up.standard_error, atol=1e-12)
    np.testing.assert_allclose(down.low, 1 - up.high, atol=1e-12)
    np.testing.assert_allclose(down.high, 1 - up.low, atol=1e-12)


@pytest.mark.parametrize("models", [5, 9])
def test_documents_do_not_depend_on_their_order_or_on_blocks(models, monkeypatch):
    losses = np.random.default_rng(1).integers(1, 9, (300, models)).astype(float)
    losses[7, 2] = np.nan
    ability = np.arange(models)
    whole = strength_confidence(losses, ability, resamples=200)
    order = np.random.default_rng(2).permutation(300)
    monkeypatch.setattr(module, "_CELLS", 1500)
    shuffled = strength_confidence(losses[order], ability, resamples=200)
    equal(shuffled, [getattr(whole, name)[order] for name in FIELDS])
    assert shuffled.top_quarter_kept == pytest.approx(whole.top_quarter_kept)


def test_a_document_without_a_loss_has_no_confidence():
    rng = np.random.default_rng(3)
    losses = rng.random((20, 5)) + 0.1
    alone = strength_confidence(losses, range(5))
    holed = np.insert(losses, 4, [1, np.nan, 1, 1, 1], axis=0)
    found = strength_confidence(holed, range(5))
    for name in FIELDS:
        assert np.isnan(getattr(found, name)[4])
    equal(found, [np.insert(getattr(alone, name), 4, np.nan) for name in FIELDS])
    assert found.decided == alone.decided
    nothing = strength_confidence(np.full((2, 5), np.nan), range(5))
    assert nothing.as_dict()["median_standard_error"] is None
    assert nothing.rests_on_little
    assert nothing.decided_by_chance == pytest.approx(alone.decided_by_chance)


def test_random_draws_agree_with_all_of_them(monkeypatch):
    losses = np.random.default_rng(6).random((200, 6)) + 0.1
    exact = strength_confidence(losses, range(6))
    monkeypatch.setattr(module, "_EXACT_MOST", 0)
    drawn = strength_confidence(losses, range(6), resamples=4000, seed=1)
    assert exact.exact
    assert not drawn.exact
    assert drawn.resamples == 4000
    # the standard error of a standard error from 4000 draws is about 1.1 %, of a share at most 0.8 points
    np.testing.assert_allclose(drawn.standard_error, exact.standard_error, rtol=0.06, atol=1e-9)
    np.testing.assert_allclose(drawn.top_stability, exact.top_stability, atol=0.04)
    assert np.mean(np.abs(drawn.low - exact.low) < 0.06) > 0.9
    assert drawn.top_quarter_kept == pytest.approx(exact.top_quarter_kept, abs=0.02)
    # conditional on three distinct abilities: unconditional draws would include far wider strengths
    assert drawn.decided_by_chance == pytest.approx(exact.decided_by_chance, abs=0.02)


def test_draws_without_strength_are_drawn_again():
    """Nine models, three abilities: a good part of the draws lacks one of the single ones."""
    ability = [1, 2, 2, 2, 2, 2, 2, 2, 3]
    losses = np.random.default_rng(0).random((30, 9)) + 0.1
    found = strength_confidence(losses, ability, resamples=500)
    assert found.resamples == 500
    assert not found.exact
    assert np.isfinite(found.standard_error).all()


def test_the_seed_decides_and_nothing_else():
    losses = np.random.default_rng(0).random((50, 9)) + 0.1
    one = strength_confidence(losses, range(9), resamples=100, seed=1)
    two = strength_confidence(losses, range(9), resamples=100, seed=1)
    other = strength_confidence(losses, range(9), resamples=100, seed=2)
    equal(one, [getattr(two, name) for name in FIELDS])
    assert one.as_dict() == two.as_dict()
    assert not np.allclose(one.standard_error, other.standard_error)
    few = [strength_confidence(losses[:, :6], range(6), seed=seed).standard_error for seed in (1, 2)]
    np.testing.assert_array_equal(*few)


def signal(models, documents=300, noise=1.0, seed=0):
    """Losses that follow ability on half of the documents, and nothing on the other half."""
    rng = np.random.default_rng(seed)
    ability = np.linspace(0, 1, models)
    slope = np.repeat([3.0, 0.0], documents // 2)[:, None]
    return 20 - slope * ability + noise * rng.standard_normal((documents, models)), ability


def test_more_models_are_surer():
    errors = [strength_confidence(*signal(n), resamples=300).median_standard_error for n in (6, 9, 14, 20)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.6 * errors[0]


def test_the_interval_is_about_right():
    """Twelve models out of a population of 120: the interval holds the population's S nearly as often as said."""
    rng = np.random.default_rng(5)
    losses, ability = signal(120, documents=100, seed=5)
    truth = predictive_strength(losses, ability)
    held = []
    for _ in range(12):
        chosen = rng.choice(120, 12, replace=False)
        found = strength_confidence(losses[:, chosen], ability[chosen], level=0.9, resamples=400)
        held.append(np.mean((found.low <= truth) & (truth <= found.high)))
    assert 0.8 < np.mean(held) < 0.97


def test_what_luck_alone_decides():
    """On losses that have nothing to do with ability, what is found is what was called luck."""
    losses = np.random.default_rng(0).random((20_000, 6)) + 0.1
    found = strength_confidence(losses, range(6))
    assert found.decided == pytest.approx(found.decided_by_chance, abs=0.01)
    assert found.top_quarter_kept == pytest.approx(found.kept_by_chance, abs=0.02)
    assert found.rests_on_little
    telling = strength_confidence(*signal(6, noise=0.3))
    assert telling.decided > 2 * telling.decided_by_chance
    assert not telling.rests_on_little
    # four models decide two documents in five by luck: even a good half of decided ones is too few
    four = strength_confidence(np.random.default_rng(0).random((2000, 4)) + 0.1, range(4))
    assert four.decided_by_chance == pytest.approx(10 / 24)
    assert four.rests_on_little


def test_a_document_on_which_all_agree_looks_certain():
    """Named in the module's docstring: the bootstrap cannot doubt what it never saw."""
    found = strength_confidence([[6.0, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6], [3, 1, 2, 6, 4, 5]], range(6))
    assert found.standard_error[:2].tolist() == pytest.approx([0, 0], abs=1e-15)
    assert (found.low[:2].tolist(), found.high[:2].tolist()) == ([1.0, 0.0], [1.0, 0.0])
    assert found.standard_error[2] > 0.1
    assert found.decided == pytest.approx(2 / 3)


def test_a_top_that_does_not_move_and_one_that_does():
    clear = np.array([[6.0, 5, 4, 3, 2, 1]] * 2 + [[1.0, 2, 3, 4, 5, 6]] * 6)
    found = strength_confidence(clear, range(6))
    assert found.top_stability.tolist() == pytest.approx([1, 1, 0, 0, 0, 0, 0, 0])
    assert found.top_quarter_kept == pytest.approx(1)
    alike = strength_confidence(np.array([[6.0, 5, 4, 3, 2, 1]] * 8), range(6))
    assert alike.top_stability.tolist() == pytest.approx([0.25] * 8)


def test_faster_than_a_loop_over_resamples():
    rng = np.random.default_rng(0)
    losses, ability = rng.random((4000, 12)) + 0.1, np.arange(12.0)
    fast = cpu_seconds(lambda: strength_confidence(losses, ability, resamples=1000))
    columns = [rng.integers(0, 12, 12) for _ in range(20)]
    slow = cpu_seconds(lambda: [predictive_strength(losses[:, c], ability[c]) for c in columns]) * 50
    assert fast < slow


def test_memory_does_not_grow_with_documents_times_resamples():
    import tracemalloc

    losses = np.random.default_rng(0).random((6000, 9)) + 0.1
    tracemalloc.start()
    strength_confidence(losses, range(9), resamples=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6000 * 1000 * 8 / 4


def cpu_seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start


def test_many_documents_of_few_orders_cost_no_more():
    losses = np.tile(np.random.default_rng(0).random((100, 6)) + 0.1, (200, 1))
    found = strength_confidence(losses, range(6))
    equal(found, [np.tile(getattr(strength_confidence(losses[:100], range(6)), n), 200) for n in FIELDS])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ties": "third"}, "ties"),
        ({"level": 1.0}, "level must be between 0 and 1, got 1.0"),
        ({"level": 0.0}, "level"),
        ({"resamples": 39}, "at least 40"),
        ({"level": 0.99, "resamples": 100}, "at least 200"),
        ({"min_gap": -1}, "min_gap"),
        ({"min_gap": 20}, "min_gap=20"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        strength_confidence([[4.0, 3, 2, 1]], [1, 2, 3, 4], **options)


@pytest.mark.parametrize(
    ("losses", "ability", "message"),
    [
        ([[1, 2, 3]], [1, 2, 3, 4], r"\(1, 3\) and ability has shape \(4,\)"),
        ([[1, 2, 3, 4]], [1, 1, 2, 2], "2 distinct"),
        ([[1, np.inf, 3]], [1, 2, 3], "infinite"),
        ([[1, 2, 0]], [1, 2, 3], "is 0"),
    ],
)
def test_bad_input(losses, ability, message):
    with pytest.raises(InputError, match=message) as caught:
        strength_confidence(losses, ability)
    assert isinstance(caught.value, ValueError)


def test_the_result_is_a_plain_value():
    found = strength_confidence([[4.0, 3, 2, 1]], [1, 2, 3, 4])
    assert isinstance(found, StrengthConfidence)
    with pytest.raises(AttributeError):
        found.level = 0.5  # type: ignore[misc]
