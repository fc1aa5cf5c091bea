"""Thresholds: exact on arrays, the same in constant memory, unlike the released search."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.corpora.threshold import (
    Chunk,
    Narrowing,
    find_threshold,
    ordered_bits,
    score_of,
    threshold_for,
)
from firsthand.errors import InputError

SCORES, SIZES = [0.9, 0.8, 0.7, 0.6, 0.5], [100, 300, 100, 400, 100]


def official(scores, sizes, fraction):
    """The released search: down the ranking until the running length is strictly above the budget."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    budget, running = fraction * sum(sizes), 0
    for i in order:
        running += sizes[i]
        if running > budget:
            return scores[i]
    return scores[order[-1]]


def streaming(scores, sizes, fraction=None, ids=None, seed=0, chunk=7, amount=None):
    scores = np.asarray(scores, dtype=np.float32)
    sizes = np.asarray(sizes, dtype=np.int64)
    ids = [str(i) for i in range(scores.size)] if ids is None else ids

    def passes(with_ids):
        for at in range(0, scores.size, chunk):
            part = slice(at, at + chunk)
            yield Chunk(scores[part], sizes[part], ids[part] if with_ids else ())

    return find_threshold(passes, fraction, amount=amount, seed=seed)


@pytest.mark.parametrize(
    ("fraction", "theirs", "ours", "kept"),
    [(0.10, 0.8, 0.9, 100), (0.05, 0.9, 0.9, 100), (0.40, 0.7, 0.8, 400), (0.41, 0.7, 0.7, 500)],
)
def test_reference_values(fraction, theirs, ours, kept):
    assert official(SCORES, SIZES, fraction) == theirs
    for found in (threshold_for(SCORES, SIZES, fraction), streaming(SCORES, SIZES, fraction)):
        assert found.value == pytest.approx(ours)
        assert found.kept_size == kept
        assert found.kept_fraction == kept / 1000
        assert found.total_size == 1000


def test_a_decimal_fraction_means_what_it_says():
    """0.07 * 100 is 7.000000000000001 in floats: a document too many."""
    assert 0.07 * 100 > 7
    assert threshold_for(np.arange(100.0), np.ones(100), 0.07).kept_docs == 7
    assert streaming(np.arange(100), np.ones(100), 0.07).kept_docs == 7
    assert 5 / 9 * 900 == 500  # and the decimals of 5/9 end in a 6: 500.00000000000004
    assert threshold_for(np.arange(900.0), np.ones(900), 5 / 9).kept_docs == 500
    assert threshold_for(np.arange(900.0), np.ones(900), 0.5555556).kept_docs == 501
    assert threshold_for(np.arange(900.0), np.ones(900), 1e-15).kept_docs == 1


pools = st.lists(
    st.tuples(st.sampled_from([0.0, -0.0, 0.1, 0.25, 0.5, 0.9, 1.0, -3.5, float("nan")]), st.integers(0, 5)),
    min_size=1,
    max_size=25,
).filter(lambda pool: any(size for score, size in pool if score == score))


@given(pools, st.sampled_from([0.01, 0.1, 1 / 3, 0.5, 0.99, 1.0]), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_fewest_documents_that_reach_the_budget(pool, fraction, seed):
    scores = np.array([score for score, _ in pool], dtype=np.float32)
    sizes = np.array([size for _, size in pool])
    ids = [f"doc {i}" for i in range(len(pool))]
    found = threshold_for(scores, sizes, fraction, ids=ids, seed=seed)
    kept = found.keep(scores, ids)
    total = sizes[~np.isnan(scores)].sum()
    assert not kept[np.isnan(scores)].any()
    assert kept.sum() == found.kept_docs
    assert sizes[kept].sum() == found.kept_size >= fraction * total - 1e-9
    assert found.unscored_docs == np.isnan(scores).sum()
    if fraction == 1:
        assert kept.sum() == found.scored_docs
    else:  # without the last kept document it would be below
        lowest = [i for i in np.flatnonzero(kept) if scores[i] == scores[kept].min()]
        assert min(found.kept_size - sizes[i] for i in lowest) < fraction * total
    assert not kept.all() or scores[kept].min() >= found.value
    assert streaming(scores, sizes, fraction, ids, seed) == found


@given(pools, st.sampled_from([0.1, 0.5, 1.0]), st.randoms())
@settings(max_examples=25, deadline=None)
def test_what_is_kept_does_not_depend_on_the_order(pool, fraction, random):
    ids = [f"doc {i}" for i in range(len(pool))]
    order = list(range(len(pool)))
    random.shuffle(order)

    def kept(rows):
        scores = np.array([pool[i][0] for i in rows], dtype=np.float32)
        names = [ids[i] for i in rows]
        found = streaming(scores, [pool[i][1] for i in rows], fraction, names, seed=4)
        return {names[i] for i in np.flatnonzero(found.keep(scores, names))}

    assert kept(order) == kept(range(len(pool)))


@given(pools, st.integers(1, 60), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_an_amount_is_the_fraction_it_makes(pool, amount, seed):
    scores = np.array([score for score, _ in pool], dtype=np.float32)
    sizes = np.array([size for _, size in pool])
    ids = [f"doc {i}" for i in range(len(pool))]
    total = int(sizes[~np.isnan(scores)].sum())
    if amount > total:
        for search in (threshold_for, streaming):
            with pytest.raises(InputError, match=f"an amount of {amount} .* make up {total}$"):
                search(scores, sizes, amount=amount)
        return
    found = threshold_for(scores, sizes, amount=amount, ids=ids, seed=seed)
    assert streaming(scores, sizes, None, ids, seed, amount=amount) == found
    assert (found.amount, found.fraction) == (amount, None)
    assert found.kept_size >= amount
    kept = found.keep(scores, ids)
    assert (sizes[kept].sum(), kept.sum()) == (found.kept_size, found.kept_docs)
    if amount < total:  # a fraction of 1 keeps documents of no size too
        same = threshold_for(scores, sizes, amount / total, ids=ids, seed=seed)
        assert replace(same, amount=amount, fraction=None) == found
        assert (same.amount, same.fraction) == (None, amount / total)


def test_fraction_or_amount_one_of_them():
    for search in (threshold_for, streaming):
        for more in ({}, {"fraction": 0.5, "amount": 5}):
            with pytest.raises(InputError, match="a fraction or an amount, one of them"):
                search(SCORES, SIZES, **more)
        for amount in (0, -1):
            with pytest.raises(InputError, match=f"amount must be at least 1, got {amount}"):
                search(SCORES, SIZES, amount=amount)
        assert search(SCORES, SIZES, amount=1000).kept_docs == 5


@pytest.mark.parametrize(("width", "digit"), [(32, 4), (32, 8), (32, 16), (64, 4), (64, 8), (64, 16)])
def test_narrowing_finds_the_key_whatever_the_digit(width, digit):
    rng = np.random.default_rng(digit)
    kind = np.uint32 if width == 32 else np.uint64
    keys = rng.integers(0, 1 << width, 300, dtype=kind)
    keys[:40], keys[40:60] = keys[0], np.iinfo(kind).max  # ties, and the last key there is
    sizes = rng.integers(0, 2**55, 300)  # whole numbers that floats do not hold
    order = np.argsort(keys, kind="stable")
    running = np.cumsum(sizes[order])
    for budget in (1, int(running[100]), int(running[100]) + 1, int(running[-1])):
        narrowing = Narrowing(width, budget, digit)
        passes = 0
        while narrowing.shift >= 0:
            for part in np.array_split(np.arange(300), 7):
                narrowing.add(keys[part], sizes[part])
            narrowing.close_pass()
            passes += 1
        last = keys[order][np.searchsorted(running, budget)]
        assert passes == width // digit
        assert narrowing.prefix == last
        assert narrowing.before_size == sizes[keys < last].sum()
        assert narrowing.before_docs == (keys < last).sum()
        assert (narrowing.here_docs, narrowing.here_size) == ((keys == last).sum(), sizes[keys == last].sum())
    with pytest.raises(InputError, match="does not fall into digits of 12"):
        Narrowing(width, 1, 12)


def test_ordered_bits_descend_as_the_scores_ascend():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 5000, dtype=np.uint32)
    scores = np.sort(np.concatenate([bits.view(np.float32), np.float32([0, -0.0, np.inf, -np.inf, 1e-45])]))
    scores = scores[~np.isnan(scores)]
    found = ordered_bits(scores).astype(np.int64)
    assert ((found[1:] < found[:-1]) == (scores[1:] > scores[:-1])).all()
    assert (found[1:] <= found[:-1]).all()
    assert [score_of(value) for value in found.tolist()] == scores.tolist()


def test_whole_numbers_are_scores_too():
    for kind in (np.uint8, np.int64, float, np.float16):
        found = threshold_for(np.array([0, 200, 3], dtype=kind), [1, 1, 1], amount=1)
        assert (found.value, found.kept_docs) == (200, 1)


def test_streaming_equals_arrays_on_many_ties():
    rng = np.random.default_rng(0)
    scores = rng.choice(rng.random(40).astype(np.float32), 20_000)
    sizes = rng.integers(1, 10_000, 20_000)
    ids = [f"{i}" for i in range(20_000)]
    for fraction in (0.003, 0.1, 0.77):
        found = streaming(scores, sizes, fraction, ids, seed=5, chunk=4096)
        assert found == threshold_for(scores, sizes, fraction, ids=ids, seed=5)
        assert sizes[found.keep(scores, ids)].sum() == found.kept_size


def test_one_score_for_all_is_a_seeded_draw():
    scores, sizes, ids = np.full(1000, 0.5), np.ones(1000), [f"d{i}" for i in range(1000)]
    draws = [
        frozenset(np.flatnonzero(threshold_for(scores, sizes, 0.1, ids=ids, seed=s).keep(scores, ids)))
        for s in (1, 2)
    ]
    assert [len(draw) for draw in draws] == [100, 100]
    assert draws[0] != draws[1]
    assert 25 < np.median(sorted(draws[0])) / 10 < 75  # not the first hundred of the input


def test_memory_of_the_streaming_search_does_not_grow():
    """Peak memory of two runs, one with sixteen times the documents, differs by less than a chunk's size."""
    import tracemalloc

    def peak(chunks):
        rng = np.random.default_rng(1)
        base = rng.random(4096).astype(np.float32)
        names = [str(i) for i in range(4096)]

        def passes(with_ids):
            for number in range(chunks):
                yield Chunk(np.roll(base, number), np.ones(4096, np.int64), names if with_ids else ())

        tracemalloc.start()
        find_threshold(passes, 0.1)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    few, many = peak(2), peak(32)
    assert many - few < 200_000


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, float("nan")])
def test_bad_fraction(fraction):
    for search in (threshold_for, streaming):
        with pytest.raises(InputError, match="fraction"):
            search(SCORES, SIZES, fraction)


@pytest.mark.parametrize(
    ("scores", "sizes", "message"),
    [
        ([0.5], [1, 2], "shape"),
        ([[0.5]], [[1]], "shape"),
        ([0.5, 0.6], [1, -1], "whole numbers"),
        ([0.5, 0.6], [1, 0.5], "whole numbers"),
        ([0.5, 0.6], [1, np.inf], "whole numbers"),
        ([np.nan], [1], "no document has a score"),
        ([], [], "no document has a score"),
        ([0.5], [0], "total size of 0"),
    ],
)
def test_bad_input(scores, sizes, message):
    with pytest.raises(InputError, match=message):
        threshold_for(scores, sizes, 0.5)
    with pytest.raises(InputError, match="3 scores and 1 ids"):
        threshold_for([1, 2, 3], [1, 1, 1], 0.5, ids=["a"])
