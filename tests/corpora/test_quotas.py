"""Quotas: the same as going down the ranking, one document after the other, with a share for each source."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.corpora.ids import seeded_order
from firsthand.corpora.quotas import find_quotas
from firsthand.corpora.threshold import Chunk, find_threshold
from firsthand.errors import InputError

NAN = float("nan")
SCORES = [0.0, -0.0, 0.1, 0.1, 0.5, 1.0, -3.5, 1e-42, float("inf"), -float("inf"), NAN]


def chunked(pool, size):
    """Passes over (score, size, source) documents, so many at a time; ids only where they are asked for."""

    def passes(with_ids):
        for at in range(0, len(pool), size):
            part = pool[at : at + size]
            yield Chunk(
                np.array([score for score, _, _ in part], dtype=np.float32),
                np.array([size for _, size, _ in part], dtype=np.int64),
                names(pool)[at : at + size] if with_ids else (),
                [source for _, _, source in part],
            )

    return passes


def names(pool):
    return [f"doc {i}" for i in range(len(pool))]


def cut(pool, budget, share, seed=0, size=5):
    """Indices of what is kept, as a corpus is cut: quotas first, then the threshold of what is eligible."""
    passes = chunked(pool, size)
    quotas = find_quotas(passes, budget, share, seed=seed)

    def within(with_ids):
        for chunk in passes(True):
            inside = quotas.eligible(chunk.scores, chunk.sources, chunk.ids)
            yield chunk._replace(scores=np.where(inside, chunk.scores, np.float32(np.nan)))

    threshold = find_threshold(within, amount=budget, seed=seed)
    (everything,) = chunked(pool, len(pool))(True)
    kept = threshold.keep(everything.scores, everything.ids)
    kept &= quotas.eligible(everything.scores, everything.sources, everything.ids)
    return set(np.flatnonzero(kept).tolist()), quotas


def greedy(pool, budget, share, seed=0):
    """(kept, reachable): down the ranking; a source is closed by its first document that no longer fits."""
    keys = seeded_order(names(pool), seed)
    scored = [i for i, (score, _, _) in enumerate(pool) if score == score]
    ranked = sorted(scored, key=lambda i: (-np.float32(pool[i][0]), int(keys[i])))
    filled, closed, kept, total, reachable = {}, set(), set(), 0, 0
    for i in ranked:
        _, size, source = pool[i]
        part = share.get(source, None) if isinstance(share, dict) else share
        limit = None if part is None else Fraction(part).limit_denominator(1000) * budget
        if source in closed:
            continue
        if limit is not None and filled.get(source, 0) + size > limit:
            closed.add(source)
            continue
        filled[source] = filled.get(source, 0) + size
        reachable += size
        if total < budget:
            kept.add(i)
            total += size
    return kept, reachable


pools = st.lists(
    st.tuples(st.sampled_from(SCORES), st.sampled_from([0, 0, 1, 1, 2, 3, 7, 40]), st.sampled_from("abcd")),
    min_size=1,
    max_size=40,
)
fractions = st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.3, 1 / 3, 0.5, 0.9, 1.0])


@given(
    pool=pools,
    budget=st.integers(1, 60),
    share=fractions | st.dictionaries(st.sampled_from("abcd"), fractions, min_size=1),
    seed=st.integers(0, 3),
    size=st.sampled_from([1, 4, 7, 100]),
)
@settings(max_examples=120, deadline=None)
def test_the_same_as_the_obvious_loop(pool, budget, share, seed, size):
    if isinstance(share, dict):
        there = {source for _, _, source in pool}
        share = {source: part for source, part in share.items() if source in there} or 0.5
    expected, reachable = greedy(pool, budget, share, seed)
    if reachable < budget:
        with pytest.raises(InputError, match=f"at most {reachable} of the {budget}"):
            find_quotas(chunked(pool, size), budget, share, seed=seed)
        return
    kept, quotas = cut(pool, budget, share, seed, size)
    assert kept == expected
    assert quotas.reachable == reachable
    for source in "abcd":
        part = share.get(source) if isinstance(share, dict) else share
        filled = sum(pool[i][1] for i in kept if pool[i][2] == source)
        assert part is None or filled <= Fraction(part).limit_denominator(1000) * budget


def big_pool(seed=0, n=3000):
    """Few scores, so that most documents are ties; sources of very different size, one of nothing but zeros."""
    rng = np.random.default_rng(seed)
    scores = rng.choice([0.2, 0.4, 0.4000001, 0.9, NAN], n, p=[0.2, 0.3, 0.2, 0.2, 0.1])
    sizes = rng.integers(0, 50, n)
    sources = rng.choice(["web", "books", "code", "mail", "empty"], n, p=[0.6, 0.2, 0.1, 0.05, 0.05])
    sizes[sources == "empty"] = 0
    return [(float(s), int(z), str(c)) for s, z, c in zip(scores, sizes, sources, strict=True)]


@pytest.mark.parametrize("share", [0.4, {"web": 0.25, "mail": 0.0}])
def test_heavy_ties(share):
    pool = big_pool()
    budget = 12_000
    expected, reachable = greedy(pool, budget, share, seed=5)
    kept, quotas = cut(pool, budget, share, seed=5, size=256)
    assert kept == expected
    assert quotas.reachable == reachable
    assert kept != greedy(pool, budget, 1.0, seed=5)[0]  # the quotas do something
    assert kept != greedy(pool, budget, share, seed=6)[0]  # and so does the seed
    if share != 0.4:
        assert not any(pool[i][2] == "mail" and pool[i][1] for i in kept)


def test_neither_chunks_nor_order_matter():
    pool = big_pool(1, 400)
    order = np.random.default_rng(2).permutation(len(pool))

    def search(rows, size):
        def passes(with_ids):
            for at in range(0, len(rows), size):
                part = rows[at : at + size]
                yield Chunk(
                    np.array([pool[i][0] for i in part], dtype=np.float32),
                    np.array([pool[i][1] for i in part], dtype=np.int64),
                    [f"doc {i}" for i in part] if with_ids else (),
                    [pool[i][2] for i in part],
                )

        return find_quotas(passes, 1500, 0.3, seed=1)

    first = search(list(range(len(pool))), len(pool))
    assert first.edges
    for size in (1, 17, 399):
        assert search(list(range(len(pool))), size) == first
        assert search(order.tolist(), size) == first


def test_the_longest_prefix_not_a_smaller_one_later():
    """The document that does not fit closes its source; a smaller one behind it is not taken in its place."""
    pool = [(0.9, 3, "a"), (0.8, 5, "a"), (0.7, 1, "a"), (0.85, 4, "b"), (0.1, 9, "b")]
    kept, quotas = cut(pool, 10, {"a": 0.5})
    assert kept == {0, 3, 4}
    assert quotas.as_dict() == {
        "reachable": 16,
        "full": {"a": {"lowest_score": pytest.approx(0.8), "size": 3}},
    }


def test_documents_of_no_size_fill_nothing():
    pool = [(0.9, 5, "a"), (0.8, 0, "a"), (0.7, 1, "a"), (0.6, 0, "a"), (0.5, 5, "b")]
    kept, quotas = cut(pool, 10, 0.5)
    assert kept == {0, 1, 4}
    (everything,) = chunked(pool, 9)(True)
    assert quotas.eligible(everything.scores, everything.sources, everything.ids).tolist() == [1, 1, 0, 0, 1]


def test_exactly_full_is_not_too_much():
    pool = [(0.9, 5, "a"), (0.8, 5, "b")]
    kept, quotas = cut(pool, 10, 0.5)
    assert kept == {0, 1}
    assert quotas.edges == {}
    kept, _ = cut([*pool, (0.7, 1, "a"), (0.6, 4, "b"), (0.5, 5, "c")], 11, 0.5)  # at most 5.5 each
    assert kept == {0, 1, 4}


def test_a_decimal_share_means_what_it_says():
    """0.29 * 100 is 28.999999999999996 in floats: a document too few. No float is a third either."""
    assert int(0.29 * 100) == 28
    pool = [(0.9, 1, "a")] * 50 + [(0.5, 1, "b")] * 100
    kept, _ = cut(pool, 100, {"a": 0.29})
    assert sum(pool[i][2] == "a" for i in kept) == 29
    assert len(cut([(0.5, 1, "abc"[i % 3]) for i in range(330)], 300, 1 / 3)[0]) == 300


def test_positions_stand_in_for_ids():
    pool = [(0.5, 1, "a")] * 20 + [(0.4, 1, "b")] * 20

    def passes(with_ids):
        (chunk,) = chunked(pool, 40)(True)
        yield chunk._replace(ids=[str(i) for i in range(40)])

    quotas = find_quotas(passes, 20, 0.5)
    (chunk,) = passes(True)
    inside = quotas.eligible(chunk.scores, chunk.sources)
    assert inside[:20].sum() == 10
    np.testing.assert_array_equal(inside, quotas.eligible(chunk.scores, chunk.sources, chunk.ids))


@pytest.mark.parametrize(
    ("budget", "share", "message"),
    [
        (5, -0.1, "between 0 and 1, got -0.1"),
        (5, 1.1, "between 0 and 1"),
        (5, NAN, "between 0 and 1"),
        (5, {"a": 0.5, "b": 2}, "between 0 and 1"),
        (5, {}, "between 0 and 1"),
        (0, 0.5, "budget must be at least 1, got 0"),
        (5, {"a": 0.5, "wbe": 0.5}, "share is given for 'wbe', and no document has that source"),
        (100, 1.0, "at most 10 of the 100"),
        (10, 0.2, "at most 4 of the 10"),
        (5, 0.0, "at most 0 of the 5"),
    ],
)
def test_what_is_refused(budget, share, message):
    pool = [(0.9, 1, "a")] * 5 + [(0.5, 1, "b")] * 5 + [(NAN, 1, "c")]
    with pytest.raises(InputError, match=message):
        find_quotas(chunked(pool, 4), budget, share)


def test_a_source_without_a_score_may_be_named():
    pool = [(0.9, 1, "a")] * 5 + [(NAN, 1, "c")]
    kept, quotas = cut(pool, 3, {"c": 0.5})
    assert kept == greedy(pool, 3, {"c": 0.5})[0]
    (everything,) = chunked(pool, 9)(True)
    assert quotas.eligible(everything.scores, everything.sources, everything.ids).tolist() == [True] * 5 + [
        False
    ]


def test_memory_goes_with_full_sources_not_with_documents():
    """A few KiB for a full source; eight times the documents take no more."""

    def peak(chunks, sources, n=512):
        rng = np.random.default_rng(1)
        scores, sizes = rng.random(n).astype(np.float32).round(2), np.ones(n, np.int64)
        labels = [f"s{i % sources}" for i in range(n)]

        def passes(with_ids):
            for number in range(chunks):
                ids = [f"{number} {i}" for i in range(n)] if with_ids else ()
                yield Chunk(np.roll(scores, number), sizes, ids, labels)

        tracemalloc.start()
        quotas = find_quotas(passes, n * chunks // 8, 1 / sources)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(quotas.edges) == sources
        return top

    peak(2, 8)  # what NumPy keeps of a first run
    few = peak(2, 8)
    assert peak(16, 8) - few < 40_000
    assert (peak(2, 64) - few) / 56 < 6_000  # bytes a source
