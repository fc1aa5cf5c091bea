"""Damage keeps what it says it keeps, and a pool has the shares that were asked for."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.corpora import boilerplate, character_noise, hex_dump, mixture, number_table, word_shuffle
from firsthand.errors import InputError

TEXT = "One sentence of ordinary English, with a few more words than are strictly needed here."
TEXTS = {
    "prose": [f"{TEXT} Prose {n}." for n in range(60)],
    "code": [f"def f{n}(): return {n}" for n in range(20)],
}
SHARES = {"prose": 0.15, "code": 0.25, "shuffled": 0.3, "numbers": 0.15, "hex": 0.15}


def generator(seed=0):
    return np.random.default_rng(seed)


@given(text=st.text(max_size=80), seed=st.integers(0, 9))
def test_shuffling_keeps_the_words(text, seed):
    assert sorted(word_shuffle(generator(seed), text).split()) == sorted(text.split())


def test_shuffling_moves_words():
    assert word_shuffle(generator(), TEXT) != TEXT


@given(text=st.text(max_size=80), rate=st.floats(0, 1))
def test_noise_keeps_the_length(text, rate):
    assert len(character_noise(generator(), text, rate=rate)) == len(text)


def test_noise_rate():
    text = "é" * 20_000  # never drawn as a replacement
    changed = sum(character != "é" for character in character_noise(generator(), text, rate=0.3))
    assert changed / len(text) == pytest.approx(0.3, abs=0.02)
    assert character_noise(generator(), TEXT, rate=0) == TEXT
    with pytest.raises(InputError, match="probability"):
        character_noise(generator(), TEXT, rate=1.5)


@pytest.mark.parametrize("make", [number_table, hex_dump, boilerplate])
@given(chars=st.integers(1, 900), seed=st.integers(0, 20))
def test_made_texts_have_the_length_asked_for_and_repeat(make, chars, seed):
    text = make(generator(seed), chars)
    assert len(text) == chars
    assert make(generator(seed), chars) == text


@pytest.mark.parametrize("make", [number_table, hex_dump, boilerplate])
def test_made_texts_of_no_length(make):
    with pytest.raises(InputError, match="chars"):
        make(generator(), 0)


def test_what_made_texts_look_like():
    rows = number_table(generator(), 2000).splitlines()[:-1]
    assert len({len(row.split()) for row in rows}) == 1
    assert all(np.isfinite(float(cell)) for row in rows for cell in row.split())
    for line in hex_dump(generator(), 760).splitlines()[:-1]:
        assert re.fullmatch(r"[0-9a-f]{8}  ([0-9a-f]{2} ){16} \|.{16}\|", line)
    lines = boilerplate(generator(), 3000).splitlines()
    assert Counter(lines[:-1]).most_common(1)[0][1] > 5
    assert len(set(lines[:-1])) == 4
    pages = [boilerplate(generator(seed), 800) for seed in range(50)]
    assert len({line for page in pages for line in page.splitlines()[:4]}) <= 10


def test_mixture_has_its_shares_labels_and_disjoint_texts():
    pool = mixture(generator(), 60, SHARES, TEXTS)
    assert Counter(d.kind for d in pool) == {"prose": 9, "code": 15, "shuffled": 18, "numbers": 9, "hex": 9}
    assert len({document.id for document in pool}) == 60
    used = [" ".join(sorted(d.text.split())) for d in pool if d.kind in ("prose", "shuffled")]
    assert len(set(used)) == 27
    by_kind = {d.kind: d for d in pool}
    assert by_kind["shuffled"].source == "prose"
    assert by_kind["code"].text in TEXTS["code"]
    assert [d.kind for d in pool] != sorted(d.kind for d in pool)


def test_mixture_depends_on_the_generator_alone():
    reordered = dict(reversed(SHARES.items()))
    assert mixture(generator(3), 40, SHARES, TEXTS) == mixture(generator(3), 40, reordered, TEXTS)
    assert mixture(generator(3), 40, SHARES, TEXTS) != mixture(generator(4), 40, SHARES, TEXTS)


@given(count=st.integers(1, 300), weights=st.lists(st.integers(0, 9), min_size=3, max_size=3))
def test_mixture_counts_are_nearest_whole_numbers(count, weights):
    if not sum(weights):
        return
    shares = {
        label: w / sum(weights) for label, w in zip(("numbers", "hex", "boilerplate"), weights, strict=True)
    }
    pool = mixture(generator(), count, shares, {}, chars=8)
    assert len(pool) == count
    seen = Counter(document.kind for document in pool)
    assert all(abs(seen[label] - count * share) < 1 + 1e-6 for label, share in shares.items())


@pytest.mark.parametrize(
    ("count", "shares", "texts", "message"),
    [
        (10, {"hex": 0.5}, {}, "sum to 0.5"),
        (10, {"hex": 1.5, "numbers": -0.5}, {}, "0 or more"),
        (10, {"poems": 1.0}, TEXTS, "poems"),
        (100, {"prose": 0.5, "shuffled": 0.5}, TEXTS, "needs 100 texts of 'prose' and was given 60"),
        (10, {"shuffled": 1.0}, {}, "given 0"),
        (10, {"hex": 1.0}, {"hex": ["a"] * 10}, "made here"),
        (0, {"hex": 1.0}, {}, "at least 1"),
    ],
)
def test_mixture_bad_input(count, shares, texts, message):
    with pytest.raises(InputError, match=message):
        mixture(generator(), count, shares, texts)
