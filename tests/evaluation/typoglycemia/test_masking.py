"""Masked contexts: how many words, which of them, and where every word is afterwards."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.masking import WHERE, mask_context, mask_text

WORDS = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=12)
INTEGRITIES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


def masked(words, keep, integrity, where="random", seed=0, **options):
    return mask_context(words, keep, integrity, rng=random.Random(seed), where=where, **options)


@settings(max_examples=300, deadline=None)
@given(WORDS, st.data(), INTEGRITIES, st.sampled_from(WHERE), st.integers(0, 9))
def test_what_must_hold(words, data, integrity, where, seed):
    keep = data.draw(st.integers(0, len(words) - 1))
    found = masked(words, keep, integrity, where, seed)
    able = {"left": keep, "right": len(words) - 1 - keep}.get(where, len(words) - 1)
    assert len(found.chosen) == math.floor(able * (1 - integrity))
    assert len(found.words) == len(words)
    assert found.words[keep] == words[keep]
    assert list(found.chosen) == sorted(set(found.chosen) - {keep})
    for place in set(range(len(words))) - set(found.chosen):
        assert found.words[place] == words[place]
    if where == "shuffled":
        assert Counter(found.words) == Counter(words)
        if len({words[place] for place in found.chosen}) > 1:
            assert list(found.words) != words
    else:
        assert all(found.words[place] == "_" for place in found.chosen)
    if where == "left":
        assert all(place < keep for place in found.chosen)
    if where == "right":
        assert all(place > keep for place in found.chosen)
    distance = sorted(abs(place - keep) for place in range(len(words)) if place != keep)
    mine = sorted(abs(place - keep) for place in found.chosen)
    if where == "near":
        assert mine == distance[: len(mine)]
    if where == "far":
        assert mine == distance[len(distance) - len(mine) :]
    same = sum(a == b for a, b in zip(words, found.words, strict=True)) - 1
    assert found.realised == (same / (len(words) - 1) if len(words) > 1 else 1)
    assert masked(words, keep, integrity, where, seed) == found


def test_full_and_no_context():
    words = ["a", "b", "c", "d", "e"]
    assert masked(words, 2, 1).words == tuple(words)
    assert masked(words, 2, 0).words == ("_", "_", "c", "_", "_")
    assert masked(words, -3, 0, "left").words == ("_", "_", "c", "d", "e")
    assert masked(words, 2, 0, "right", token="<x>").words == ("a", "b", "c", "<x>", "<x>")
    assert masked(words, 2, 0.5, "near").words == ("a", "_", "c", "_", "e")
    assert masked(words, 2, 0.5, "far").words == ("_", "b", "c", "d", "_")


def test_those_at_one_distance_are_drawn():
    found = {
        masked(["a", "b", "c"], 1, 0.5, where, seed).chosen for where in ("near", "far") for seed in range(30)
    }
    assert found == {(0,), (2,)}


def test_a_shuffle_always_changes_the_order_where_it_can():
    assert {masked(["a", "b", "c"], 1, 0, "shuffled", seed).words for seed in range(40)} == {("c", "b", "a")}
    same = masked(["a", "b", "a"], 1, 0, "shuffled")
    assert (same.words, same.chosen, same.realised) == (("a", "b", "a"), (0, 2), 1)


def test_every_other_word_is_as_likely():
    rng = random.Random(5)
    words = list("abcde")
    count = Counter(place for _ in range(4000) for place in mask_context(words, 1, 0.5, rng=rng).chosen)
    assert count.keys() == {0, 2, 3, 4}
    assert all(number / 4000 == pytest.approx(0.5, abs=0.04) for number in count.values())


SPACES = st.sampled_from([" ", "  ", "\n", "\t ", "\u3000"])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(SPACES, st.text("abé,.", min_size=1, max_size=4)), min_size=1),
    INTEGRITIES,
    st.sampled_from(WHERE),
    st.data(),
)
def test_texts(parts, integrity, where, data):
    text = "".join(space + word for space, word in parts) + data.draw(st.sampled_from(["", "\n", "  "]))
    words = text.split()
    keep = data.draw(st.integers(0, len(words) - 1))
    seed = data.draw(st.integers(0, 3))
    whole = mask_text(text, _span(text, words, keep), integrity, rng=random.Random(seed), where=where)
    plain = masked(words, keep, integrity, where, seed)
    assert whole.masked == plain
    assert whole.text.split() == list(plain.words)
    assert [whole.text[a:b] for a, b in whole.after] == list(plain.words)
    assert [text[a:b] for a, b in whole.before] == words
    assert whole.text[slice(*whole.target)] == words[keep]
    gaps = [text[a:b] for (_, a), (b, _) in zip(whole.before, whole.before[1:], strict=False)]
    assert gaps == [whole.text[a:b] for (_, a), (b, _) in zip(whole.after, whole.after[1:], strict=False)]


def _span(text, words, keep):
    start = 0
    for word in words[:keep]:
        start = text.index(word, start) + len(word)
    start = text.index(words[keep], start)
    return start, start + len(words[keep])


def test_a_target_within_a_word():
    found = mask_text('See the "significant" one.', (9, 20), 0, rng=random.Random(0))
    assert found.text == '_ _ "significant" _'
    assert found.text[slice(*found.target)] == "significant"


def test_masking_on_the_right_leaves_all_before_the_target():
    """What a causal model sees at the target is then the same to the character."""
    text = "one two three significant five six seven"
    found = mask_text(text, (14, 25), 0, rng=random.Random(0), where="right")
    assert found.text[:25] == text[:25]
    assert found.target == (14, 25)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: masked(["a"], 0, 1.5), "integrity must be a number from 0 to 1"),
        (lambda: masked(["a"], 0, float("nan")), "integrity must be"),
        (lambda: masked(["a"], 0, 1, "both"), "where must be one of random, left"),
        (lambda: masked(["a"], 1, 1), "keep must be the place of one of the 1 words"),
        (lambda: masked(["a"], True, 1), "keep must be"),
        (lambda: masked([], 0, 1), "keep must be"),
        (lambda: masked(["a", "b c"], 0, 1), "words: each must be"),
        (lambda: masked(["a", ""], 0, 1), "words: each must be"),
        (lambda: masked(["a", 3], 0, 1), "words: each must be"),
        (lambda: masked("abc", 0, 1), "words: each must be"),
        (lambda: masked(["a"], 0, 1, token="_ _"), "token: each must be"),
        (lambda: mask_text("a b", (0, 3), 1, rng=random.Random(0)), "not a span within one word"),
        (lambda: mask_text("a b", (1, 1), 1, rng=random.Random(0)), "not a span within one word"),
        (lambda: mask_text("", (0, 1), 1, rng=random.Random(0)), "not a span within one word"),
        (lambda: mask_text(None, (0, 1), 1, rng=random.Random(0)), "expected a text"),
    ],
)
def test_bad_input(call, says):
    with pytest.raises(InputError, match=says):
        call()
