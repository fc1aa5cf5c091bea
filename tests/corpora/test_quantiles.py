"""Every rank within the promised error, for every input, order and tree of merges, in bounded memory."""

from __future__ import annotations

import json
import math
import pickle
import time
from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.corpora.quantiles import QuantileSketch, _compressed
from firsthand.errors import InputError

INF = math.inf
FRACTIONS = (1e-6, 0.01, 0.1, 0.25, 0.5, 0.9, 0.999, 1.0)
KINDS = ("normal", "ties", "ascending", "descending", "bits", "huge", "narrow", "zigzag")


@cache
def stream(kind, seed, n=9000):
    """(n,) scores and weights of a kind that could be hard; enough of them that a coarse sketch compresses."""
    rng = np.random.default_rng(seed)
    scores, weights = rng.normal(size=n), rng.integers(0, 50, n)
    if kind == "ties":
        scores = np.round(scores * 2) / 2
        scores[rng.random(n) < 0.2] = -0.0
        scores[: n // 3] = rng.normal(size=n // 3)
    elif kind == "ascending":
        scores = np.sort(scores)
    elif kind == "descending":
        scores = np.sort(scores)[::-1]
    elif kind == "bits":  # every float32, infinities and denormals too
        scores = rng.integers(0, 1 << 32, n, dtype=np.uint32).view(np.float32)
        scores[::97], scores[1::97] = INF, -INF
        scores[np.isnan(scores)] = 0
    elif kind == "huge":
        weights[int(rng.integers(n))] = 10**15
    elif kind == "narrow":  # neighbours in float32
        scores = (np.float32(0.7).view(np.uint32) + rng.permutation(n).astype(np.uint32)).view(np.float32)
    elif kind == "zigzag":  # from both ends to the middle
        scores = np.sort(scores)
        scores = np.concatenate([scores[::2], scores[1::2][::-1]])
    return scores.astype(np.float32), weights


def sketch_of(scores, weights, error, batch=1024):
    sketch = QuantileSketch(error)
    for start in range(0, len(scores), batch):
        sketch.update(scores[start : start + batch], weights[start : start + batch])
    return sketch


def check(sketch, scores, weights):
    """Every promise of the sketch against exact sums."""
    total, error = int(weights.sum()), Fraction(sketch.error)
    assert sketch.total == total
    assert sketch.count == len(scores)
    assert sketch.nodes <= sketch.most_nodes
    values = sketch.as_dict()  # no node above the leaves is too heavy: 32 of them are `error`, at the worst
    above = [w for node, w in zip(values["nodes"], values["weights"], strict=True) if node < 1 << 32]
    assert 32 * max(above, default=0) <= error * total
    up_to = lambda v: int(weights[scores <= np.float32(v)].sum())
    below = lambda v: int(weights[scores < np.float32(v)].sum())
    with_weight = scores[weights > 0]
    assert sketch.quantile(0) == with_weight.min()
    assert sketch.quantile(1) == with_weight.max()
    for share in FRACTIONS:
        exact = Fraction(repr(share))
        cut = sketch.threshold(share)
        assert total - below(cut) >= exact * total
        assert total - up_to(cut) < (exact + error) * total
        middle = sketch.quantile(share)
        assert up_to(middle) >= (exact - error / 2) * total
        assert below(middle) <= (exact + error / 2) * total
        for value in (cut, middle, np.nextafter(np.float32(cut), np.float32(-INF))):
            low, high = sketch.weight_above(float(value))
            assert low <= total - below(value) <= high
            assert high - low <= error * total


@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 3), error=st.sampled_from([0.02, 0.1, 0.4]), batch=st.sampled_from([300, 1024, 9000])
)
@settings(max_examples=4, deadline=None)
def test_ranks_are_within_the_error(kind, seed, error, batch):
    scores, weights = stream(kind, seed)
    sketch = sketch_of(scores, weights, error, batch)
    check(sketch, scores, weights)


def test_coarse_sketches_do_compress():
    for kind in KINDS:
        sketch = sketch_of(*stream(kind, 0), 0.4)
        assert any(node < 1 << 32 for node in sketch.as_dict()["nodes"]), kind


@given(
    pairs=st.lists(
        st.tuples(st.floats(width=32, allow_nan=False), st.integers(0, 10)).filter(lambda p: p[1]), min_size=1
    ),
    share=st.floats(1e-9, 1),
)
@settings(max_examples=40, deadline=None)
def test_few_distinct_scores_are_exact(pairs, share):
    scores = np.array([score for score, _ in pairs], np.float32)
    weights = np.array([weight for _, weight in pairs])
    sketch = sketch_of(scores, weights, 0.5)
    order = np.argsort(scores)
    running, total = np.cumsum(weights[order]).tolist(), int(weights.sum())
    wanted = Fraction(repr(share)) * total
    assert sketch.quantile(share) == next(
        s for s, r in zip(scores[order], running, strict=True) if r >= wanted
    )
    kept = {v: int(weights[scores >= v].sum()) for v in scores.tolist()}
    assert sketch.threshold(share) == max(v for v, weight in kept.items() if weight >= wanted)
    for value, weight in kept.items():
        assert sketch.weight_above(value) == (weight, weight)


@given(data=st.data(), kind=st.sampled_from(KINDS), error=st.sampled_from([0.05, 0.4]))
@settings(max_examples=12, deadline=None)
def test_merges_in_any_tree_keep_the_bound(data, kind, error):
    scores, weights = stream(kind, 5)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(scores)), min_size=1, max_size=9)))
    bounds = list(zip([0, *cuts], [*cuts, len(scores)], strict=True))
    sketches = [sketch_of(scores[a:b], weights[a:b], error) for a, b in bounds]
    while len(sketches) > 1:
        first = sketches.pop(data.draw(st.integers(0, len(sketches) - 1)))
        second = sketches.pop(data.draw(st.integers(0, len(sketches) - 1)))
        before = second.as_dict()
        first.merge(second)
        assert second.as_dict() == before
        sketches.append(first)
    check(sketches[0], scores, weights)


def test_merging_many_sketches_of_compressed_nodes():
    scores, weights = stream("normal", 1, 60_000)
    merged = QuantileSketch(0.1)
    for start in range(0, 60_000, 6_000):
        part = slice(start, start + 6_000)
        merged.merge(sketch_of(scores[part], weights[part], 0.1))
        assert merged.nodes <= merged.most_nodes - merged._stride
    check(merged, scores, weights)
    merged.merge(merged)
    check(merged, np.tile(scores, 2), np.tile(weights, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_bounded_all_along(kind):
    scores, weights = stream(kind, 2, 30_000)
    sketch = QuantileSketch(0.3)
    k = math.ceil(32 / 0.3)
    assert sketch.most_nodes == 4 * k + 1 + 4096
    seen = []
    for start in range(0, 30_000, 500):
        sketch.update(scores[start : start + 500], weights[start : start + 500])
        seen.append(sketch.nodes)
    assert max(seen) <= sketch.most_nodes
    if kind != "ties":
        assert min(seen[10:]) <= 4 * k + 501  # it does fall back


def test_one_pass_by_hand():
    leaf = 1 << 32
    #        two light siblings, their parent's sibling, and a heavy leaf far away
    nodes = {leaf: 2, leaf + 1: 2, (leaf >> 1) + 1: 3, 2 * leaf - 1: 9}
    ids, weights = _compressed(np.array(sorted(nodes)), np.array([nodes[i] for i in sorted(nodes)]), 5)
    # 2 + 2 join their parent; 4 + 3 are too much for the next; 9 is too much anywhere
    assert dict(zip(ids.tolist(), weights.tolist(), strict=True)) == {
        leaf >> 1: 4,
        (leaf >> 1) + 1: 3,
        2 * leaf - 1: 9,
    }
    ids, weights = _compressed(ids, weights, 7)
    assert dict(zip(ids.tolist(), weights.tolist(), strict=True)) == {1: 7, 2 * leaf - 1: 9}


def test_a_pass_may_open_room_for_another():
    leaf = 1 << 32
    ids, weights = np.array([leaf >> 1, leaf, leaf + 1]), np.array([4, 1, 1])
    once = _compressed(ids, weights, 5)  # the parent holds the leaves back and then leaves them
    assert [part.tolist() for part in once] == [[1, leaf, leaf + 1], [4, 1, 1]]
    twice = _compressed(*once, 5)
    assert [part.tolist() for part in twice] == [[1, 2], [4, 2]]


@given(seed=st.integers(0, 10_000), k=st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_what_no_pass_changes_any_more_is_small(seed, k):
    rng = np.random.default_rng(seed)
    levels = rng.integers(20, 33, 800)  # nodes anywhere, as merges may leave them
    ids = np.unique((1 << levels) + (rng.integers(0, 40, 800) << (levels - 20)) + rng.integers(0, 2, 800))
    weights = rng.integers(1, rng.choice([3, 300]), ids.size)
    total = int(weights.sum())
    while True:
        after, weights_after = _compressed(ids, weights, total // k)
        assert weights_after.sum() == total
        assert (after[1:] > after[:-1]).all()
        if after.size == ids.size and (after == ids).all():
            break
        ids, weights = after, weights_after
    assert ids.size <= 4 * k + 1


@given(cuts=st.lists(st.integers(0, 9000), max_size=6), ask=st.booleans())
@settings(max_examples=15, deadline=None)
def test_neither_batches_nor_questions_change_the_sketch(cuts, ask):
    scores, weights = stream("normal", 3)
    whole = sketch_of(scores, weights, 0.3, 9000)
    pieces = QuantileSketch(0.3)
    bounds = [0, *sorted(cuts), 9000]
    for start, end in pairwise(bounds):
        pieces.update(scores[start:end], weights[start:end])
        if ask and pieces.total:
            pieces.quantile(0.5), pieces.threshold(0.1), pieces.weight_above(0.0), pieces.as_dict()
    assert pieces.as_dict() == whole.as_dict()


def test_the_arrays_given_may_be_used_again():
    scores, weights = (part.copy() for part in stream("normal", 4))
    sketch = QuantileSketch(0.3)
    sketch.update(scores, weights)
    scores[:], weights[:] = 0, 0
    assert sketch.as_dict() == sketch_of(*stream("normal", 4), 0.3).as_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_is_exact_and_goes_on_alike(kind):
    scores, weights = stream(kind, 4)
    sketch = sketch_of(scores[:7000], weights[:7000], 0.2)
    for copy in (
        QuantileSketch.from_dict(json.loads(json.dumps(sketch.as_dict()))),
        pickle.loads(pickle.dumps(sketch)),
    ):
        assert copy.as_dict() == sketch.as_dict()
        copy.update(scores[7000:], weights[7000:])
        assert copy.as_dict() == sketch_of(scores, weights, 0.2).as_dict()
    empty = QuantileSketch.from_dict(QuantileSketch().as_dict())
    empty.update([2.0])
    assert empty.quantile(0.5) == 2


def test_special_scores():
    sketch = QuantileSketch()
    sketch.update([math.nan, INF, -INF, -0.0, 0.0, 1.0, math.nan], [5, 1, 2, 3, 4, 0, 6])
    assert (sketch.count, sketch.missing, sketch.total) == (5, 2, 10)
    assert (sketch.quantile(0), sketch.quantile(1)) == (-INF, INF)
    assert sketch.weight_above(0.0) == sketch.weight_above(-0.0) == (8, 8)
    assert sketch.weight_above(INF) == (1, 1)
    assert sketch.weight_above(-INF) == (10, 10)
    assert sketch.threshold(0.5) == 0
    only = QuantileSketch()
    only.update([3, 4], None)
    assert (only.quantile(0), only.quantile(1), only.total) == (3, 4, 2)


def test_values_between_two_float32():
    sketch = QuantileSketch()
    sketch.update(np.array([0.1, 3.4e38], np.float32))
    assert float(np.float32(0.1)) > 0.1  # what is asked is 0.1 itself
    assert sketch.weight_above(0.1) == (2, 2)
    assert sketch.weight_above(float(np.float32(0.1)) + 1e-12) == (1, 1)
    assert sketch.weight_above(1e39) == (0, 0)
    assert sketch.weight_above(-1e39) == (2, 2)


def test_one_huge_weight():
    sketch = QuantileSketch(0.4)
    scores, _ = stream("normal", 0)
    sketch.update(scores)
    sketch.update([0.25], [1 << 60])
    sketch.update(scores)
    assert sketch.total == (1 << 60) + 18_000
    assert sketch.quantile(0.5) == sketch.threshold(0.5) == 0.25
    low, high = sketch.weight_above(0.25)
    assert low >= 1 << 60
    assert high <= sketch.total


def test_fraction_is_taken_as_written():
    sketch = QuantileSketch()
    sketch.update(np.arange(100))
    assert sketch.threshold(0.07) == 93
    assert sketch.threshold(1) == 0
    assert sketch.quantile(0.07) == 6


def test_empty_sketch():
    for sketch in (QuantileSketch(), QuantileSketch()):
        sketch.update([])
        sketch.update([math.nan, 1.0], [3, 0])
        assert sketch.weight_above(0) == (0, 0)
        for ask in (sketch.quantile, sketch.threshold):
            with pytest.raises(InputError, match="nothing to rank"):
                ask(0.5)
    merged = QuantileSketch()
    merged.merge(QuantileSketch())
    assert merged.total == merged.nodes == 0


@pytest.mark.parametrize("error", [0, -0.1, 1, 1e-7, math.nan])
def test_bad_error(error):
    with pytest.raises(InputError, match="error must be at least"):
        QuantileSketch(error)


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        ([1.0, 2.0], [1], r"\(2,\).*\(1,\)"),
        ([[1.0]], [[1]], "shape"),
        (1.0, 1, "shape"),
        (["a"], [1], "numbers"),
        ([1e39], [1], "too large for float32"),
        ([1.0], [-1], "at least 0"),
        ([math.nan], [-1], "at least 0"),
        ([1.0], [0.5], "whole"),
        ([1.0], [math.nan], "whole"),
        ([1.0], [INF], "whole"),
        ([1.0], ["3"], "whole"),
        ([1.0], [1e300], "2\\*\\*61"),
        ([1.0, 2.0], [1 << 60, (1 << 60) + 1], "2\\*\\*61"),
    ],
)
def test_bad_input_leaves_the_sketch_as_it_was(values, weights, message):
    sketch = QuantileSketch()
    sketch.update([1.0, 2.0], [3, 4])
    before = sketch.as_dict()
    with pytest.raises(InputError, match=message):
        sketch.update(values, weights)
    assert sketch.as_dict() == before


def test_bad_questions():
    sketch = QuantileSketch()
    sketch.update([1.0])
    for q in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="from 0 to 1"):
            sketch.quantile(q)
    for fraction in (0, 1.1, math.nan):
        with pytest.raises(InputError, match="fraction"):
            sketch.threshold(fraction)
    with pytest.raises(InputError, match="NaN"):
        sketch.weight_above(math.nan)


def test_bad_merges():
    sketch, other = QuantileSketch(0.1), QuantileSketch(0.1)
    with pytest.raises(InputError, match=r"error 0\.2 .* error 0\.1"):
        sketch.merge(QuantileSketch(0.2))
    sketch.update([1.0], [1 << 60])
    other.update([1.0], [(1 << 60) + 1])
    before = sketch.as_dict()
    with pytest.raises(InputError, match=r"2\*\*61"):
        sketch.merge(other)
    assert sketch.as_dict() == before


@pytest.mark.parametrize(
    "change",
    [
        {"sketch": "another"},
        {"error": None},
        {"total": 1},
        {"nodes": [1]},
        {"nodes": [2, 1]},
        {"nodes": [0, 1]},
        {"nodes": [1, 1 << 34]},
        {"nodes": "ab"},
        {"weights": [7, 0]},
        {"low": 0},
        {"position": -1},
    ],
)
def test_damaged_values(change):
    sketch = QuantileSketch()
    sketch.update([1.0, 2.0], [3, 4])
    assert QuantileSketch.from_dict(sketch.as_dict()).total == 7
    with pytest.raises(InputError, match=r"damaged|not a quantile sketch"):
        QuantileSketch.from_dict(sketch.as_dict() | change)
    with pytest.raises(InputError, match="damaged"):
        QuantileSketch.from_dict({"sketch": sketch.as_dict()["sketch"]})


def test_a_million_scores_take_a_few_seconds_at_most():
    rng = np.random.default_rng(0)
    scores, weights = rng.normal(size=200_000).astype(np.float32), rng.integers(1, 5000, 200_000)
    start = time.process_time()
    sketch = sketch_of(scores, weights, 1e-3)
    sketch.threshold(0.1)
    assert time.process_time() - start < 2  # 0.2 s; a million 1 s
    check(sketch, scores, weights)
