"""Predictive strength: the sheet's reference values, an obvious double loop, and what must not change S."""

from __future__ import annotations

import logging
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from firsthand.data.preselect import (
    SaturationWarning,
    compare_estimators,
    level_histogram,
    predictive_strength,
)
from firsthand.errors import InputError

ABILITY = [75.38, 76.30, 77.27, 79.46, 80.47, 81.19]


def double_loop(losses, ability, ties="zero", min_gap=0.0):
    """The formula, as one would write it down first."""
    out = []
    for row in np.asarray(losses, dtype=float):
        if any(np.isnan(x) for x in row):
            out.append(np.nan)
            continue
        agree, pairs = 0.0, 0
        for i in range(len(ability)):
            for j in range(len(ability)):
                if ability[i] < ability[j] and ability[j] - ability[i] >= min_gap:
                    pairs += 1
                    if row[i] > row[j]:
                        agree += 1
                    elif row[i] == row[j] and ties == "half":
                        agree += 0.5
        out.append(agree / pairs)
    return np.array(out)


def official_count(losses, ability):
    """The released counting: pairs of equal ability are skipped, the count is compared with 15."""
    order = np.argsort(ability)
    s, c = np.asarray(ability)[order], np.asarray(losses)[order]
    n = len(s)
    return sum(1 for i in range(n) for j in range(i + 1, n) if s[i] < s[j] and c[i] > c[j])


@pytest.mark.parametrize(
    ("losses", "zero", "half"),
    [
        ([1.00, 0.95, 0.90, 0.85, 0.80, 0.75], 1, 1),
        ([1.00, 0.95, 0.90, 0.85, 0.75, 0.80], 14 / 15, 14 / 15),
        ([0.75, 0.80, 0.85, 0.90, 0.95, 1.00], 0, 0),
        ([0.9] * 6, 0, 0.5),
        ([1.00, 0.95, 0.90, 0.85, 0.80, 0.80], 14 / 15, 14.5 / 15),
        ([0.90, 1.00, 0.95, 0.80, 0.85, 0.75], 0.8, 0.8),
    ],
)
def test_reference_values(losses, zero, half):
    assert predictive_strength([losses], ABILITY)[0] == zero
    assert predictive_strength([losses], ABILITY, ties="half")[0] == half


@pytest.mark.parametrize(
    ("losses", "tau"),
    [([1.00, 0.95, 0.90, 0.85, 0.75, 0.80], 0.866667), ([0.9, 1.0, 0.95, 0.8, 0.85, 0.75], 0.6)],
)
def test_without_ties_it_is_kendalls_tau_rescaled(losses, tau):
    from scipy.stats import kendalltau

    found = kendalltau(ABILITY, -np.array(losses)).statistic
    assert found == pytest.approx(tau, abs=1e-6)
    assert predictive_strength([losses], ABILITY)[0] == pytest.approx((found + 1) / 2)


def test_models_of_equal_ability_leave_the_pairs():
    s = predictive_strength([[4, 3, 3.5, 1], [4, 3, 3.5, 3.2]], [1, 2, 2, 3])
    assert s.tolist() == [1.0, 0.8]
    # Z fixed at N(N-1)/2 can never reach 1 here, and so finds no positives at all
    assert official_count([4, 3, 3.5, 1], [1, 2, 2, 3]) / 6 < 1


def test_any_number_of_models():
    losses = [[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]]
    assert predictive_strength(losses, [1, 2, 3]).tolist() == [1.0, 0.0]
    # the released "== 15" silently finds nothing for N = 3
    assert official_count(losses[0], [1, 2, 3]) != 15
    many = np.linspace(2, 1, 300)[None]
    for ties in ("zero", "half"):  # 44 850 pairs, counted twice with halves: more than 16 bits hold
        assert predictive_strength(many, np.arange(300), ties=ties)[0] == 1.0


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 20), st.just(6)), elements=st.integers(1, 6)),
    st.lists(st.integers(0, 6), min_size=6, max_size=6).filter(lambda s: len(set(s)) >= 3),
    st.sampled_from(["zero", "half"]),
)
@settings(max_examples=60, deadline=None)
def test_equals_the_double_loop(losses, ability, ties):
    np.testing.assert_array_equal(
        predictive_strength(losses, ability, ties=ties), double_loop(losses, ability, ties)
    )


@given(hnp.arrays(np.float64, (8, 5), elements=st.floats(0.1, 9.0)), st.permutations(range(5)))
@settings(max_examples=60, deadline=None)
def test_invariances(losses, order):
    ability = np.array([1.0, 2.5, 2.0, 7.0, 4.0])
    s = predictive_strength(losses, ability)
    lengths = 2.0 ** np.arange(8)[:, None]  # exact: powers of two move no tie
    assert np.array_equal(s, predictive_strength(losses * lengths, ability))
    ranks = np.unique(losses, return_inverse=True)[1].reshape(losses.shape) + 1.0
    assert np.array_equal(s, predictive_strength(ranks**3, ability))
    assert np.array_equal(s, predictive_strength(losses[:, order], ability[list(order)]))
    assert np.array_equal(s * 10, np.round(s * 10))
    tied = np.array([len(set(row)) < 5 for row in losses])
    assert np.allclose(predictive_strength(losses, -ability)[~tied], 1 - s[~tied])
    assert np.allclose(
        predictive_strength(losses, -ability, ties="half"),
        1 - predictive_strength(losses, ability, ties="half"),
    )


def test_a_missing_loss_gives_no_strength(caplog):
    losses = [[3, 2, 1], [3, np.nan, 1], [1, 2, 3.0]]
    with caplog.at_level(logging.INFO, "firsthand"):
        s = predictive_strength(losses, [1, 2, 3])
    assert np.isnan(s).tolist() == [False, True, False]
    assert "1 of 3" in caplog.text
    assert level_histogram(s, warn_above=1).missing == 1


def test_min_gap_leaves_coin_flips_out():
    ability = [50.0, 50.1, 60.0]
    losses = [[2.0, 3.0, 1.0]]  # the close pair disagrees
    assert predictive_strength(losses, ability)[0] == 2 / 3
    assert predictive_strength(losses, ability, min_gap=1.0)[0] == 1.0
    with pytest.raises(InputError, match="min_gap=20"):
        predictive_strength(losses, ability, min_gap=20)


def test_agreement_of_every_pair():
    losses = np.array([[3, 2, 1], [3, 2, 1.5], [2, 1, 3], [np.nan, 1, 1]])
    _, pairs = predictive_strength(losses, [10, 30, 20], return_pairs=True)
    found = {
        (int(i), int(j)): a for i, j, a in zip(pairs.weaker, pairs.stronger, pairs.agreement, strict=True)
    }
    assert found == {(0, 2): 2 / 3, (0, 1): 1, (2, 1): 1 / 3}
    _, none = predictive_strength(np.full((1, 3), np.nan), [1, 2, 3], return_pairs=True)
    assert np.isnan(none.agreement).all()


def test_pearson_would_follow_one_model():
    """One model's outlier turns Pearson's sign; the share of pairs loses only that model's pairs."""
    ability = np.arange(6.0)
    losses = np.array([6.0, 5.0, 4.0, 3.0, 2.0, 60.0])
    assert np.corrcoef(ability, -losses)[0, 1] < 0
    assert predictive_strength(losses[None], ability)[0] == 10 / 15


def test_losses_per_token_reverse_what_losses_per_character_say():
    """A better model with a coarser tokenizer: fewer tokens, each costlier, the whole document cheaper."""
    nats = np.array([[300.0, 200.0, 150.0]])
    tokens = np.array([[100, 40, 20]])
    ability = [1, 2, 3]
    assert predictive_strength(nats, ability)[0] == 1.0
    assert predictive_strength(nats / tokens, ability)[0] == 0.0


@pytest.mark.parametrize(
    ("losses", "ability", "message"),
    [
        ([[1, 2, 3]], [1, 2], r"\(1, 3\).*\(2,\)|at least 3"),
        ([[1, 2, 3]], [1, 2, 3, 4], r"\(1, 3\) and ability has shape \(4,\)"),
        ([1, 2, 3], [1, 2, 3], r"\(3,\)"),
        ([[1, 2]], [1, 2], "at least 3 models"),
        ([[1, 2, 3, 4]], [1, 1, 2, 2], "2 distinct"),
        ([[1, np.inf, 3]], [1, 2, 3], "document 0 under model 1 is infinite"),
        ([[1, 2, 0]], [1, 2, 3], "document 0 under model 2 is 0"),
        ([[1, 2, 3]], [1, np.nan, 3], "finite"),
        ([[1, 2, 3]], [[1, 2, 3]], "one dimension"),
    ],
)
def test_bad_input(losses, ability, message):
    with pytest.raises(InputError, match=message) as caught:
        predictive_strength(losses, ability)
    assert isinstance(caught.value, ValueError)


def test_bad_options():
    with pytest.raises(InputError, match="ties"):
        predictive_strength([[3, 2, 1]], [1, 2, 3], ties="third")  # type: ignore[call-overload]
    with pytest.raises(InputError, match="min_gap"):
        predictive_strength([[3, 2, 1]], [1, 2, 3], min_gap=-1)


def test_fifty_times_as_fast_as_the_double_loop():
    rng = np.random.default_rng(0)
    losses, ability = rng.random((100_000, 12)) + 0.1, np.arange(12.0)
    part = losses[:500]
    slow = time.process_time()
    expected = double_loop(part, ability)
    slow = (time.process_time() - slow) * losses.shape[0] / part.shape[0]
    fast = min(_cpu_seconds(lambda: predictive_strength(losses, ability)) for _ in range(3))
    np.testing.assert_array_equal(predictive_strength(part, ability), expected)
    assert slow > 50 * fast


def _cpu_seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start


def test_blocks_join_seamlessly():
    rng = np.random.default_rng(1)
    losses = rng.random((20_000, 4)) + 0.1
    losses[8191, 2] = np.nan
    whole, pairs = predictive_strength(losses, [1, 2, 3, 4], return_pairs=True)
    order = rng.permutation(20_000)
    np.testing.assert_array_equal(whole[order], predictive_strength(losses[order], [1, 2, 3, 4]))
    assert np.nanmean(whole) == pytest.approx(pairs.agreement.mean())


def test_histogram_overall_and_by_source():
    s = [1.0, 0.5, 0.5, np.nan, 0.0]
    histogram = level_histogram(s, ["a", "b", "a", "a", "b"])
    assert histogram.levels == (0.0, 0.5, 1.0)
    assert histogram.counts == (1, 2, 1)
    assert histogram.by_source == {"a": (0, 1, 1), "b": (1, 1, 0)}
    assert (histogram.total, histogram.missing, histogram.largest_share) == (4, 1, 0.5)
    assert histogram.lines()[1] == "S = 0.500: 2 (50%)"
    assert histogram.lines()[-1] == "no strength: 1"
    with pytest.raises(InputError, match="2 sources"):
        level_histogram(s, ["a", "b"])
    with pytest.raises(InputError, match="one dimension"):
        level_histogram([[1.0]])


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, float("nan")]), st.sampled_from("abc")), max_size=30)
)
@settings(max_examples=40, deadline=None)
def test_histogram_by_source_adds_up(rows):
    s, sources = [row[0] for row in rows], [row[1] for row in rows]
    histogram = level_histogram(s, sources, warn_above=1)
    for name in set(sources):
        mine = [x for x, source in rows if source == name and x == x]
        row = histogram.by_source.get(name, (0,) * len(histogram.levels))
        assert row == tuple(mine.count(level) for level in histogram.levels)
    assert list(histogram.by_source) == sorted(histogram.by_source)
    assert sum(sum(row) for row in histogram.by_source.values()) == histogram.total


def test_a_saturated_sample_warns():
    """Nested models: every document is compressed better by every better model, and S says nothing."""
    nested = np.array([[3.0, 2.0, 1.0]] * 7 + [[1.0, 2.0, 3.0]] * 3)
    with pytest.warns(SaturationWarning, match="70%"):
        level_histogram(predictive_strength(nested, [1, 2, 3]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        level_histogram([1.0, 1.0, 1.0, 0.0, 0.5])  # exactly 60 % is not more than 60 %


def test_empty_histogram():
    histogram = level_histogram([np.nan])
    assert histogram.largest_share == 0.0
    assert histogram.lines() == ["no strength: 1"]


def naive_estimators(losses, ability):
    from scipy.stats import spearmanr

    n = len(ability)
    rho, sign = [], []
    for row in losses:
        rho.append(0.0 if len(set(row)) == 1 else spearmanr(ability, -row).statistic)
        gaps = [
            np.sign(ability[j] - ability[i]) * (row[i] - row[j]) for i in range(n) for j in range(i + 1, n)
        ]
        sign.append(sum(gaps) / len(gaps))
    return np.array(rho), np.array(sign)


def test_compare_estimators():
    rng = np.random.default_rng(3)
    losses = rng.integers(1, 9, (40, 6)).astype(float)
    losses[0] = 4.0
    ability = np.array([1.0, 2.0, 2.0, 3.0, 5.0, 4.0])
    found = compare_estimators(losses, ability)
    rho, sign = naive_estimators(losses, ability)
    np.testing.assert_allclose(found.spearman, rho, atol=1e-12)
    np.testing.assert_allclose(found.sign, sign, atol=1e-12)
    np.testing.assert_array_equal(found.strength, double_loop(losses, ability))
    assert set(found.rank_agreement) == {("strength", "spearman"), ("strength", "sign"), ("spearman", "sign")}
    assert 0.7 < found.rank_agreement["strength", "spearman"] <= 1
    assert 0.3 < found.top_overlap["strength", "spearman"] <= 1


def test_compare_estimators_with_min_gap():
    """Close pairs leave strength and the sign estimator, and leave Spearman's alone."""
    rng = np.random.default_rng(3)
    losses, ability = rng.random((40, 5)) + 0.1, np.array([1.0, 1.2, 2.0, 3.0, 3.1])
    found = compare_estimators(losses, ability, min_gap=0.5)
    np.testing.assert_array_equal(found.strength, double_loop(losses, ability, min_gap=0.5))
    far = [(i, j) for i in range(5) for j in range(5) if ability[j] - ability[i] >= 0.5]
    sign = sum(losses[:, i] - losses[:, j] for i, j in far) / 10
    np.testing.assert_allclose(found.sign, sign, atol=1e-12)
    np.testing.assert_array_equal(found.spearman, compare_estimators(losses, ability).spearman)
    with pytest.raises(InputError, match="min_gap=20"):
        compare_estimators(losses, ability, min_gap=20)
    with pytest.raises(InputError, match="ties"):
        compare_estimators(losses, ability, ties="third")  # type: ignore[arg-type]


def test_a_comparison_for_a_report():
    losses = np.array([[3.0, 2, 1], [1, 2, 3], [2, 3, 1], [3, 1, 2]])
    report = compare_estimators(losses, [1, 2, 3]).as_dict()
    assert set(report["rank_agreement"]) == {"strength/spearman", "strength/sign", "spearman/sign"}
    assert report["top_overlap"]["strength/spearman"] == 1
    one = compare_estimators([[3.0, 2, 1]], [1, 2, 3]).as_dict()
    assert one["rank_agreement"]["strength/sign"] is None  # nothing to rank: no NaN in a report


def test_compare_estimators_with_missing_losses():
    found = compare_estimators([[np.nan, 1, 2], [3, 2, 1]], [1, 2, 3])
    assert np.isnan(found.sign[0])
    assert found.spearman[1] == pytest.approx(1)
    assert np.isnan(found.rank_agreement["strength", "sign"])
    nothing = compare_estimators([[np.nan, 1, 2]], [1, 2, 3])
    assert np.isnan(nothing.top_overlap["strength", "sign"])
    same = compare_estimators(np.array([[3.0, 2, 1], [1, 2, 3], [2, 3, 1], [3, 1, 2]]), [1, 2, 3])
    assert same.top_overlap["strength", "spearman"] == 1
