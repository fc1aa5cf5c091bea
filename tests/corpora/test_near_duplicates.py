"""What is joined is alike, hardly anything alike is missed, and no order of input changes what stays."""

from __future__ import annotations

import sys
import time
import warnings
from collections import defaultdict
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.corpora.near_duplicates import (
    NearDuplicates,
    NearDuplicateWarning,
    _Shingles,
    _similarities,
    find_near_duplicates,
    warn_near_duplicates,
)
from firsthand.errors import InputError, MissingDependencyError

VOCABULARY = np.array([f"word{number}" for number in range(5000)])
LETTERS = st.lists(st.sampled_from([*"abcAB", " ", "  ", "\n"]), max_size=24).map("".join)


def shingles(text, words=5):
    found = text.casefold().split()
    size = min(words, len(found))
    return {" ".join(found[at : at + size]) for at in range(len(found) - size + 1)} if found else set()


def jaccard(one, other):
    return len(one & other) / len(one | other) if one | other else 0.0


def planted(seed, families, *, members=3, length=100, changes=(0, 6)):
    """Texts and ids; each family is a text and copies with some words changed."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(families):
        base = rng.choice(VOCABULARY, length)
        for member in range(members):
            copy = base.copy()
            count = int(rng.integers(*changes)) if member else 0
            copy[rng.choice(length, count, replace=False)] = rng.choice(VOCABULARY, count)
            texts.append(" ".join(copy))
    return texts, [f"doc-{number}" for number in rng.permutation(len(texts))]


def components(count, pairs):
    label = list(range(count))
    for one, other in pairs:
        old, new = label[other], label[one]
        label = [new if value == old else value for value in label]
    return label


@given(texts=st.lists(LETTERS, min_size=1, max_size=6), words=st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_hashed_shingles_have_the_similarity_of_the_shingles(texts, words):
    sets = _Shingles(words).sets_of(texts)
    plain = [shingles(text, words) for text in texts]
    assert [found.size for found in sets] == [len(found) for found in plain]
    for one, other in combinations(range(len(texts)), 2):
        if plain[one] and plain[other]:
            hashed = _similarities(sets[one], [sets[other], sets[one]])
            assert hashed.tolist() == [jaccard(plain[one], plain[other]), 1]


def test_shingles_do_not_run_over_into_the_next_text():
    make = _Shingles(3)
    together = make.of(["a b c d", "", "e f", "g h i"])
    assert [found.size for found in together] == [2, 0, 1, 1]
    for text, found in zip(["a b c d", "", "e f", "g h i"], together, strict=True):
        assert found.tolist() == _Shingles(3).of([text])[0].tolist()


def test_similarity_just_reached_and_just_missed():
    texts = ["a b c d", "a b c d e"]
    assert find_near_duplicates(texts, words=1, similarity=0.8).clusters != ()
    assert find_near_duplicates(texts, words=1, similarity=0.81).clusters == ()


def test_spaces_and_case_do_not_count():
    texts = ["One two three four five six", " one  TWO\nthree four\tfive six ", "six five four three two one"]
    found = find_near_duplicates(texts, similarity=1)
    assert [sorted(cluster) for cluster in found.clusters] == [[0, 1]]
    assert found.share == 1 / 3


def test_short_and_empty_texts():
    texts = ["a b", "A  B", "b a", "a b c", "", "", "  \n", "a"]
    found = find_near_duplicates(texts, similarity=0.5)
    assert [sorted(cluster) for cluster in found.clusters] == [[0, 1]]
    assert found.kept().sum() == 7
    for none in ([], [""], ["", " "], ["a"]):
        nothing = find_near_duplicates(none)
        assert (nothing.clusters, nothing.share, nothing.kept().tolist()) == ((), 0, [True] * len(none))


def test_a_chain_is_one_cluster():
    numbers = [str(n) for n in range(30)]
    texts = [" ".join(numbers[at : at + 20]) for at in range(0, 9, 2)]
    assert jaccard(shingles(texts[0], 1), shingles(texts[-1], 1)) < 0.5
    found = find_near_duplicates(texts, words=1, similarity=0.8)
    assert [sorted(cluster) for cluster in found.clusters] == [[0, 1, 2, 3, 4]]
    assert found.redundant == 4


@given(seed=st.integers(0, 1000), order=st.randoms(use_true_random=False))
@settings(max_examples=6, deadline=None)
def test_no_order_of_input_changes_what_stays(seed, order):
    texts, ids = planted(seed, 12)
    texts += ["", "too short", "Too  short", texts[0]]
    ids += ["e", "s", "t", "again"]
    places = list(range(len(texts)))
    order.shuffle(places)
    shuffled_texts, shuffled_ids = [texts[p] for p in places], [ids[p] for p in places]
    one = find_near_duplicates(texts, ids=ids, seed=seed)
    other = find_near_duplicates(shuffled_texts, ids=shuffled_ids, seed=seed)
    named = lambda found, names: {tuple(names[place] for place in cluster) for cluster in found.clusters}
    assert named(one, ids) == named(other, shuffled_ids)
    assert {ids[p] for p in np.flatnonzero(one.kept())} == {
        shuffled_ids[p] for p in np.flatnonzero(other.kept())
    }
    assert one.redundant >= 2
    # Without ids the texts take their place.
    one, other = find_near_duplicates(texts, seed=seed), find_near_duplicates(shuffled_texts, seed=seed)
    assert named(one, texts) == named(other, shuffled_texts)


def test_the_seed_decides_which_member_stays():
    texts, ids = ["the same few words"] * 4, list("abcd")
    stays = {ids[find_near_duplicates(texts, ids=ids, seed=seed).clusters[0][0]] for seed in range(30)}
    assert stays == set(ids)
    assert find_near_duplicates(texts, ids=ids, seed=7) == find_near_duplicates(texts, ids=ids, seed=7)


def test_against_every_pair():
    """400 texts, 200 planted pairs of similarities around 0.8: none is wrong, hardly any is missed."""
    texts, ids = planted(0, 200, members=2, length=300, changes=(4, 10))
    sets = [shingles(text) for text in texts]
    holders = defaultdict(list)
    for place, found in enumerate(sets):
        for shingle in found:
            holders[shingle].append(place)
    meeting = {pair for places in holders.values() for pair in combinations(places, 2)}
    alike = {(one, other): jaccard(sets[one], sets[other]) for one, other in meeting}
    true = {pair for pair, similarity in alike.items() if similarity >= 0.8}
    assert 60 < len(true) < 140  # the planted ones lie on both sides of the threshold
    assert sum(0.7 < similarity < 0.8 for similarity in alike.values()) > 60
    assert sum(alike[pair] < 0.84 for pair in true) > 40
    found = find_near_duplicates(texts, ids=ids)
    joined = {pair for cluster in found.clusters for pair in combinations(sorted(cluster), 2)}
    label = components(len(texts), true)
    assert all(label[one] == label[other] for one, other in joined)
    assert len(true - joined) <= 1


def test_pairs_at_the_threshold_are_hardly_missed():
    rng = np.random.default_rng(0)
    texts = []
    for _ in range(400):  # sets of 90 with 80 in common: 0.8
        chosen = rng.choice(VOCABULARY, 100, replace=False)
        texts += [" ".join(chosen[:90]), " ".join(chosen[10:])]
    found = find_near_duplicates(texts, words=1, seed=3)
    assert all(cluster[0] // 2 == cluster[1] // 2 and len(cluster) == 2 for cluster in found.clusters)
    assert len(found.clusters) >= 396  # 0.17 % of 400 are 0.7
    assert not find_near_duplicates(texts, words=1, seed=3, similarity=0.801).clusters


def test_unlike_texts_that_share_a_frame_stay_apart():
    rng = np.random.default_rng(0)
    frame = " ".join(rng.choice(VOCABULARY, 60))
    texts = [frame + " " + " ".join(rng.choice(VOCABULARY, 40)) for _ in range(200)]  # similarity 0.4
    assert find_near_duplicates(texts).clusters == ()
    assert len(find_near_duplicates(texts, similarity=0.3).clusters[0]) == 200


def test_a_large_cluster_takes_time_in_proportion():
    text = " ".join(VOCABULARY[:60])
    start = time.process_time()
    found = find_near_duplicates([f"{text} {number}" for number in range(3000)])
    assert time.process_time() - start < 3  # 0.5 s; comparing every pair takes minutes
    assert found.redundant == 2999


def test_progress_is_told():
    texts, ids = planted(0, 100, changes=(0, 1))
    told = []
    find_near_duplicates(texts, ids=ids, on_progress=lambda *what: told.append(what))
    signatures = [(done, of) for stage, done, of in told if stage == "signatures"]
    comparisons = [(done, of) for stage, done, of in told if stage == "comparisons"]
    assert signatures == [(256, 300), (300, 300)]
    assert len(comparisons) == 100
    assert comparisons[-1] == (300, 300)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"similarity": 0}, "similarity"),
        ({"similarity": 1.1}, "similarity"),
        ({"similarity": float("nan")}, "similarity"),
        ({"similarity": 0.01}, "take at least 619"),
        ({"words": 0}, "words"),
        ({"permutations": 0}, "permutations"),
        ({"seed": -1}, "seed"),
        ({"ids": ["a"]}, "2 texts and 1 ids"),
        ({"ids": ["a", "a"]}, "'a' occurs twice"),
        ({"texts": "one string"}, "sequence"),
    ],
)
def test_bad_input(change, message):
    arguments = {"texts": ["a b", "c d"]} | change
    with pytest.raises(InputError, match=message):
        find_near_duplicates(arguments.pop("texts"), **arguments)


def test_as_many_permutations_as_it_asks_for_do():
    assert len(find_near_duplicates(["a b", "a b"], similarity=0.01, permutations=619).clusters) == 1


def test_without_datasketch(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'firsthand\[data\]'"):
        find_near_duplicates(["a", "a"])


def test_warning_says_how_many_which_and_what_to_do():
    found = NearDuplicates(1000, ((4, 2), (7, 900, 901)), 0.8)
    assert (found.redundant, found.share) == (3, 0.003)
    assert np.flatnonzero(~found.kept()).tolist() == [2, 900, 901]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not warn_near_duplicates(found)
        assert not warn_near_duplicates(found, above=0.003)
    with pytest.warns(NearDuplicateWarning) as caught:
        assert warn_near_duplicates(found, above=0.002)
    said = str(caught[0].message)
    assert caught[0].filename == __file__
    for part in ("3 of 1,000 documents (0.3%)", "'900' of '7'", "0.8", "datatrove"):
        assert part in said
    with pytest.warns(NearDuplicateWarning, match="'n900' of 'n7'"):
        warn_near_duplicates(found, ids=[f"n{place}" for place in range(1000)], above=0)
