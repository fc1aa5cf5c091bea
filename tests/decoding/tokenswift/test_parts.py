"""Trees, the n-gram table, the cache's part, diversity, the tuner: the sheet's values and the official faults."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.decoding.tokenswift import (
    LaggedFeed,
    LongResult,
    NGramTable,
    PartialKVCache,
    build_tree,
    distinct_n,
    long_sampling,
    self_bleu,
)
from firsthand.decoding.tokenswift.partial_cache import group_scores, selected
from firsthand.decoding.tokenswift.tree import draft_tree
from firsthand.decoding.tokenswift.tuner import Plan, Trace, Tuner, _Evidence, accepted_by
from firsthand.errors import InputError
from firsthand.lm.decoding.caches import FullCache


def test_the_papers_tree():
    tree = build_tree([1, 3, 3, 3])
    assert tree.nodes == 40
    assert len(tree.paths) == 27
    assert tree.mask.sum() == 183
    small = build_tree([1, 2])
    assert small.mask.astype(int).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]]
    assert small.depths == (0, 1, 2, 2)


@pytest.mark.parametrize("wrong", [[], [1, 0], [-1]])
def test_trees_that_cannot_be(wrong):
    with pytest.raises(InputError, match="each at least 1"):
        build_tree(wrong)


def test_a_tree_of_guesses_is_the_template_and_n_grams_add_four_nodes_each():
    guesses = [[5], [1, 2, 3], [4, 5, 6], [7, 8, 9]]
    tree, own = draft_tree(0, guesses, [])
    spec = build_tree([1, 3, 3, 3])
    assert own == len(tree) == 41
    # The trie lays the same nodes out in the same order: mask and depths are the template's.
    assert np.array_equal(tree.mask(), spec.mask)
    assert tuple(tree.depths) == spec.depths
    again = [(40 + i, 50, 60, 70 + i) for i in range(20)]
    whole, own = draft_tree(0, guesses, again)
    assert own == 41
    assert len(whole) == 41 + 80
    # A path that begins like one of the tree shares its nodes: nothing is checked, or counted, twice.
    merged, _ = draft_tree(0, guesses, [(5, 1, 4, 7), (5, 1, 4, 99)])
    assert len(merged) == 42


def test_the_table_ranks_by_count():
    table = NGramTable()
    for ngram in ((1, 10, 11, 12), (1, 20, 21, 22), (1, 20, 21, 22)):
        table.add(ngram)
    assert table.topk(1, 5) == [(20, 21, 22), (10, 11, 12)]
    assert table.topk(1, 1) == [(20, 21, 22)]
    assert table.topk(2, 5) == table.topk(1, 0) == []


def test_a_set_that_compares_counts_alone_loses_an_n_gram():
    """The official table: items equal in count are equal, so the wrong one is taken out before it is raised."""
    naive: list[list] = []
    for rest in ((10, 11, 12), (20, 21, 22), (20, 21, 22)):
        found = next((item for item in naive if item[1] == rest), None)
        count = found[0] if found else 0
        if found:
            naive.remove(
                next(item for item in naive if item[0] == count)
            )  # equal by count: the first one goes
        naive.append([count + 1, rest])
    kept = Counter(rest for _, rest in naive)
    assert (10, 11, 12) not in kept
    assert kept[20, 21, 22] == 2


def test_ties_go_to_the_recent_and_the_cap_to_the_long_unused():
    table = NGramTable()
    table.update([1, 2, 3, 4, 1, 5, 6, 7])
    assert table.topk(1, 2) == [(5, 6, 7), (2, 3, 4)]
    capped = NGramTable(max_keys=2)
    for ngram in ((1, 0, 0, 0), (2, 0, 0, 0), (1, 0, 0, 0), (3, 0, 0, 0)):
        capped.add(ngram)
    assert len(capped) == 2
    assert capped.topk(2, 1) == []
    assert capped.topk(1, 1) == [(0, 0, 0)]


@pytest.mark.parametrize("lag", [0, 1, 5, 50])
@pytest.mark.parametrize("steps", [(1,) * 40, (7, 1, 13, 19)])
def test_the_feed_counts_each_n_gram_once_and_stays_behind(lag, steps):
    """Also with lag 0, where list[:-0] is empty, and for texts shorter than n + lag."""
    text = np.random.default_rng(0).integers(0, 3, sum(steps)).tolist()
    table = NGramTable()
    feed = LaggedFeed(table, lag)
    length = 0
    for step in steps:
        length += step
        feed.advance(text[:length])
    wanted = Counter(tuple(text[s : s + 4]) for s in range(len(text) - 3) if s + 4 <= len(text) - lag)
    found = {(f, *rest): count for f, after in table._after.items() for rest, (count, _) in after.items()}
    assert found == dict(wanted)


def test_wrong_tables():
    with pytest.raises(InputError, match="n must be at least 2"):
        NGramTable(1)
    with pytest.raises(InputError, match="max_keys"):
        NGramTable(max_keys=0)
    with pytest.raises(InputError, match="at least 0"):
        NGramTable().topk(1, -1)
    with pytest.raises(InputError, match="lag"):
        LaggedFeed(NGramTable(), -1)


def test_group_scores():
    queries = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, -1.0], [-1.0, 2.0]]])
    assert group_scores(queries, keys).tolist() == [[1, 2, 3, 0, 3]]
    chosen = selected(torch.tensor([[9.0, 0.0, 5.0, 1.0, 7.0, 6.0]]), 4, 2)
    assert chosen.tolist() == [[0, 1, 4, 5]]


def filled(length, windows=(None,)):
    """A cache whose keys are their own numbers."""
    cache = FullCache(windows)
    cache.begin(np.arange(length))
    numbers = torch.arange(length, dtype=torch.float64).reshape(1, 1, length, 1)
    for layer in range(len(windows)):
        cache.update(numbers, numbers, layer)
    cache.finish()
    return cache


def grow(cache, count):
    cache.begin(np.arange(cache.length, cache.length + count))
    numbers = torch.arange(cache.length, cache.length + count, dtype=torch.float64).reshape(1, 1, count, 1)
    for layer in range(len(cache.windows)):
        cache.update(numbers, numbers, layer)
    cache.finish()


def test_slots_of_the_cache_part():
    part = PartialKVCache(FullCache((None,)), budget=4096, sink=16)
    part.chosen_at = 4096
    assert [part.start(n) for n in (4099, 6000, 8176, 8177)] == [4093, 2192, 16, 15]
    assert not part.due(8176)
    assert part.due(8177)


def test_newest_keys_take_the_place_of_the_lowest_scored():
    cache = filled(12)
    part = PartialKVCache(cache, budget=6, sink=2)
    assert part.due(12)
    part.select([torch.tensor([[1.0]])])  # score = the key's number
    kept = lambda: part._keys[0][0, 0, :6, 0].tolist()
    assert kept() == [0, 1, 11, 10, 9, 8]
    grow(cache, 1)
    part.append()
    assert kept() == [0, 1, 11, 10, 9, 12]
    grow(cache, 3)
    part.append()
    assert kept()[:2] == [0, 1]
    assert sorted(kept()[2:]) == [12, 13, 14, 15]
    assert part.due(17)
    grow(cache, 1)
    with pytest.raises(InputError, match="choose its keys again"):
        part.append()
    part.select([torch.tensor([[-1.0]])])
    assert kept() == [0, 1, 2, 3, 4, 5]
    assert part.selections == 2


def test_what_a_draft_pass_reads_is_not_kept():
    cache = filled(8, (None, 4))
    part = PartialKVCache(cache, budget=100, sink=2)
    part.begin(np.array([8]))
    new = torch.full((1, 1, 1, 1), 99.0, dtype=torch.float64)
    assert part.update(new, new, 0)[0][0, 0, :, 0].tolist() == [*range(8), 99]
    assert part.update(new, new, 1)[0][0, 0, :, 0].tolist() == [5, 6, 7, 99]  # inside the window
    assert (part.entries(None), part.entries(4)) == (9, 4)
    part.finish()
    assert cache.length == 8
    narrow = PartialKVCache(cache, budget=2, sink=1)
    narrow.chosen_at = 8
    narrow.begin(np.array([8]))
    assert narrow.update(new, new, 1)[0][0, 0, :, 0].tolist() == [6, 7, 99]


@pytest.mark.parametrize(("budget", "sink"), [(16, 16), (4, -1), (0, 0)])
def test_budgets_that_cannot_be(budget, sink):
    with pytest.raises(InputError, match="kv_budget must exceed kv_sink"):
        PartialKVCache(FullCache((None,)), budget=budget, sink=sink)


def test_distinct():
    text = [0, 1, 0, 1, 0, 2]
    assert [distinct_n(text, n) for n in (1, 2, 3)] == [0.5, 0.6, 0.75]
    assert distinct_n([1], 2) == 1
    with pytest.raises(InputError, match="at least 1"):
        distinct_n(text, 0)


def test_self_bleu():
    rng = np.random.default_rng(0)
    same = [[1, 2, 3, 4, 5, 6]] * 3
    other = [rng.integers(0, 10**6, 20).tolist() for _ in range(3)]
    assert self_bleu(same) == pytest.approx(1)
    assert self_bleu(other) == 0
    half = [[1, 2, 3, 4, 9, 8], [1, 2, 3, 4, 7, 6]]
    assert 0.3 < self_bleu(half) < 0.9
    with pytest.raises(InputError, match="two segments"):
        self_bleu([[1]])


def test_alpha_and_the_papers_settings():
    result = LongResult(
        tokens=(1,) * 13, stop_reason="length", prompt_tokens=1, steps=4, target_passes=4,
        accepted=sum([4, 2, 0, 3]), gamma=4, modes={"draft": 4},
    )  # fmt: skip
    assert result.acceptance_rate == 0.5625
    assert result.tokens_per_step == 3.25
    assert pytest.approx(4.36) == 0.84 * 4 + 1
    paper = long_sampling(min_tokens_to_keep=20)
    assert (paper.temperature, paper.min_p, paper.repetition_penalty, paper.penalty_window) == (
        1,
        0.1,
        1.2,
        1024,
    )
    assert long_sampling().min_tokens_to_keep == 1


def test_a_smaller_tree_is_judged_by_what_was_seen():
    trace = Trace(ranks=(0, 2, 1), reused=(1, 0, 4))
    assert accepted_by(trace, (1, 3, 3, 3), 0) == 3
    assert accepted_by(trace, (1, 2, 3), 0) == 1
    assert accepted_by(trace, (1, 2, 3), 3) == 4
    assert accepted_by(trace, (1,), 2) == 1


TRACES = st.lists(
    st.builds(
        Trace,
        ranks=st.lists(st.integers(0, 2), max_size=4).map(tuple),
        reused=st.lists(st.integers(0, 4), max_size=6).map(tuple),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=80)
@given(TRACES, st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(0, 8))
def test_many_traces_at_once_are_each_in_turn(traces, branching, reuse):
    evidence = _Evidence(traces, 4)
    assert evidence.gained(branching, reuse) == pytest.approx(
        np.mean([accepted_by(trace, branching, reuse) for trace in traces])
    )
    assert evidence.paths(reuse) == pytest.approx(np.mean([len(trace.reused[:reuse]) for trace in traces]))


def test_drafting_is_tried_again_as_the_text_grows_and_rarely():
    """It pays from token 2 000 on: the tuner finds out, and what trying costs stays within the loss allowed."""
    tuner = Tuner(Plan("draft", (1, 1, 1, 1), 0), 20_000, may_stop=True, table=0)
    seconds = tokens = 0.0
    found = None
    while tokens < 20_000:
        plan = tuner.next
        if plan.mode == "plain":
            tuner.saw_plain(1.0)
            seconds, tokens = seconds + 1, tokens + 1
            continue
        right = 4 if tokens > 2_000 else 0
        tuner.saw_step(plan, right + 1, 5, draft_s=1.0, verify_s=1.0, own_s=0.0)
        tuner.saw_trace(Trace((0,) * right, ()))
        seconds, tokens = seconds + 2, tokens + right + 1
        found = found or (tokens if right else None)
    assert found is not None
    assert found < 8_000
    assert seconds < 20_000 * 0.7


def tuned(accepted, *, draft_s, verify_s, plain_s=1.0, planned=512):
    """A tuner fed with steps of one kind; returns it and the seconds that the text took."""
    tuner = Tuner(Plan("draft", (1, 3, 3, 3), 0), planned, may_stop=True, table=0)
    seconds = tokens = 0.0
    while tokens < planned:
        plan = tuner.next
        if plan.mode == "plain":
            tuner.saw_plain(plain_s)
            seconds, tokens = seconds + plain_s, tokens + 1
            continue
        right = min(accepted, len(plan.branching))
        nodes = build_tree(plan.branching).nodes + 1
        verify = plain_s + (verify_s - plain_s) * (nodes - 1) / 40
        tuner.saw_step(plan, right + 1, nodes, draft_s=draft_s, verify_s=verify, own_s=0.0)
        tuner.saw_trace(Trace((0,) * accepted, ()))
        seconds, tokens = seconds + draft_s + verify, tokens + right + 1
    return tuner, seconds


def test_speculation_that_loses_is_given_up_before_it_has_cost_five_per_cent():
    for accepted in range(4):
        for draft_s, verify_s in ((1.0, 5.0), (1.0, 1.2), (0.2, 9.0)):
            tuner, seconds = tuned(accepted, draft_s=draft_s, verify_s=verify_s)
            assert seconds <= 512 * 1.05, (accepted, draft_s, verify_s, tuner.plan)
            assert tuner.stopped == (seconds > 512 * 0.99), (accepted, draft_s, verify_s)


def test_a_tree_that_pays_is_kept_and_made_narrower():
    tuner, seconds = tuned(4, draft_s=0.3, verify_s=6.0)
    assert not tuner.stopped
    assert tuner.plan.branching == (1, 1, 1, 1)
    assert seconds < 512 * 0.5


def test_repetition_of_meaning():
    """MiniLM, offline: sentences that say the same are nearer than sentences that do not."""
    from firsthand.decoding.tokenswift import embedding_repetition

    same = embedding_repetition(["The cat sat on the mat.", "A cat was sitting on a mat."])
    other = embedding_repetition(["The cat sat on the mat.", "Interest rates rose by a quarter point."])
    assert same > 0.7
    assert other < 0.3
    with pytest.raises(InputError, match="two texts"):
        embedding_repetition(["one"])
