"""Scrambled words and texts: the sheet's values, what must stay, and letters that are several characters."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import permutations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firsthand.errors import FirsthandError, InputError
from firsthand.evaluation.typoglycemia.doses import clusters, generator_for, letters_of
from firsthand.evaluation.typoglycemia.errors import CannotScramble, WordTooShort
from firsthand.evaluation.typoglycemia.scrambling import realised_dose, scramble, scramble_text, words_of

RATIOS = (0.25, 0.5, 0.75, 1.0)
LETTERS = st.sampled_from([*"abcdeé", "e\u0301", "q\u0323\u0307", "👩\u200d🚀", "👍🏽", "न\u093f", "각", "Ω"])
WORDS = st.lists(LETTERS, min_size=4, max_size=14).map("".join)


def drawn(word, ratio, seed=0, **options):
    return scramble(word, ratio, rng=random.Random(seed), **options)


@pytest.mark.parametrize(
    ("word", "sizes", "arrangements"),
    [
        ("significant", (2, 4, 6, 9), 30_240),
        ("understanding", (2, 5, 8, 11), 3_326_400),
        ("representation", (3, 6, 9, 12), 39_916_800),
        ("Christopher", (2, 4, 6, 9), 181_440),
    ],
)
def test_windows_of_the_sheet(word, sizes, arrangements):
    assert tuple(drawn(word, ratio).window[1] for ratio in RATIOS) == sizes
    inner = Counter(word[1:-1])
    assert math.factorial(len(word) - 2) // math.prod(map(math.factorial, inner.values())) == arrangements


@pytest.mark.parametrize(
    ("count", "ratio", "wanted"), [(100, 0.29, 29), (10, 0.7, 7), (9, 0.1, 1), (9, 0, 0)]
)
def test_a_ratio_means_its_decimals(count, ratio, wanted):
    """In floating point 100 · 0.29 is 28.999…"""
    assert letters_of(count, ratio) == wanted


def test_realised_dose_of_the_sheet():
    assert realised_dose("significant", "siginficant") == pytest.approx(2 / 9)
    assert realised_dose("significant", "significant") == 0
    assert realised_dose("abba", "baab", keep_ends=False) == 1


@settings(max_examples=200, deadline=None)
@given(WORDS, st.sampled_from(RATIOS), st.booleans(), st.integers(0, 9))
def test_what_must_hold_of_every_scramble(word, ratio, keep_ends, seed):
    letters = clusters(word)
    ends = 1 if keep_ends else 0
    movable = len(letters) - 2 * ends
    size = max(1, math.floor(movable * ratio))
    starts = range(ends, ends + movable - size + 1) if movable else ()
    able = [start for start in starts if len(set(letters[start : start + size])) > 1]
    if not able:
        with pytest.raises(CannotScramble):
            drawn(word, ratio, seed, keep_ends=keep_ends)
        return
    found = drawn(word, ratio, seed, keep_ends=keep_ends)
    new = clusters(found.text)
    start, length = found.window
    assert (length, start in able) == (size, True)
    assert Counter(new) == Counter(letters)
    assert new != letters
    assert new[:start] == letters[:start]
    assert new[start + length :] == letters[start + length :]
    moved = sum(a != b for a, b in zip(letters, new, strict=True))
    assert found.realised == moved / movable == realised_dose(word, found.text, keep_ends=keep_ends)
    assert 2 / movable <= found.realised <= size / movable
    assert (found.word, found.nominal) == (word, ratio)
    assert drawn(word, ratio, seed, keep_ends=keep_ends) == found


@given(WORDS, st.booleans())
def test_no_dose_is_the_word_itself(word, keep_ends):
    found = drawn(word, 0, keep_ends=keep_ends)
    assert (found.text, found.realised, found.window[1]) == (word, 0, 0)


@pytest.mark.parametrize(("word", "ratio"), [("zabcz", 1.0), ("zaabz", 1.0), ("zabcz", 0.67)])
def test_every_window_and_every_new_order_is_as_likely(word, ratio):
    """Against all windows and orders, listed."""
    inner = word[1:-1]
    size = max(1, math.floor(len(inner) * ratio))
    wanted = Counter()
    windows = [start for start in range(len(inner) - size + 1) if len(set(inner[start : start + size])) > 1]
    for start in windows:
        window = inner[start : start + size]
        others = ["".join(order) for order in permutations(window) if "".join(order) != window]
        for other in others:
            wanted[word[0] + inner[:start] + other + inner[start + size :] + word[-1]] += 1 / (
                len(windows) * len(others)
            )
    rng = random.Random(7)
    draws = 4000
    found = Counter(scramble(word, ratio, rng=rng).text for _ in range(draws))
    assert found.keys() == wanted.keys()
    for text, share in wanted.items():
        assert found[text] / draws == pytest.approx(share, abs=5 * math.sqrt(0.25 / draws))


def test_the_whole_interior_always_changes():
    """The official code shuffles once there, and may give the word back."""
    assert {drawn("abca", 1.0, seed).text for seed in range(50)} == {"acba"}


def test_letting_a_word_be():
    texts = {drawn("abca", 1.0, seed, must_change=False).text for seed in range(50)}
    assert texts == {"abca", "acba"}
    same = drawn("aaaaaaaa", 0.5, must_change=False)
    assert (same.text, same.realised, same.window[1]) == ("aaaaaaaa", 0, 3)
    assert drawn("ab", 0.5, must_change=False, min_len=2).text == "ab"
    assert drawn("significant", 0.1, must_change=False).text == "significant"


@pytest.mark.parametrize(
    ("word", "ratio", "says"),
    [
        ("aaaaaaaaaaaa", 1.0, "every window of 10 of its 10 letters holds equal letters"),
        ("banana", 0.25, "a window of 1 of 4 letters cannot change; take a ratio of at least 0.5"),
        ("abc", 1.0, "1 letters that may move, and 2 are needed"),
        ("ab", 1.0, "0 letters that may move"),
    ],
)
def test_what_cannot_be_scrambled(word, ratio, says):
    with pytest.raises(CannotScramble, match=says) as caught:
        drawn(word, ratio, min_len=2)
    assert isinstance(caught.value, FirsthandError)
    assert isinstance(caught.value, ValueError)


def test_letters_that_fuse_are_kept_apart():
    """Two halves of a flag that come together are one letter, and the word would have lost one."""
    half_f, half_r = "\U0001f1eb", "\U0001f1f7"
    word = f"z{half_f}a{half_r}z"
    texts = {drawn(word, 1.0, seed).text for seed in range(40)}
    assert texts == {f"z{half_r}a{half_f}z"}
    with pytest.raises(CannotScramble, match="keeps its letters apart"):
        drawn(f"{half_f}a{half_f}b", 1.0, keep_ends=True)


def test_a_mark_stays_on_its_letter():
    word = "re\u0301sume\u0301s"
    for seed in range(20):
        assert all(len(letter) < 3 for letter in clusters(drawn(word, 1.0, seed).text))
        assert drawn(word, 1.0, seed).text[1:2] != "́"


# --- generators and whole texts ------------------------------------------------------------------------


def test_a_generator_is_of_one_item_at_one_dose():
    def first(*key):
        return generator_for(*key).random()

    assert first(0, "a", 0.5, 1.0) == first(0, "a", 0.5, 1) != first(0, "a", 0.5, 0.75)
    assert first(0, "a", 0, 1) == first(0, "a", -0.0, 1)
    keys = [
        (seed, item, ratio, integrity, purpose)
        for seed in (0, 1)
        for item in ("1", 1, "é")
        for ratio in (0.25, 0.5)
        for integrity in (0.25, 0.5)
        for purpose in ("", "mask")
    ]
    assert len({first(*key) for key in keys}) == len(keys)
    assert first(3, "item", 0.25, 0.75) == 0.7935300239354314  # recorded: the same on every machine


TEXT = "Every significant représentation of the language-model, understood; the significant one!"


def test_words_of_a_text():
    assert [word.word for word in words_of(TEXT)] == [
        "Every", "significant", "représentation", "of", "the", "understood", "the", "significant", "one",
    ]  # fmt: skip
    assert [word.word for word in words_of("x2y don't re-do _a b_ (c) e\u0301a")] == ["c", "e\u0301a"]
    assert all(TEXT[word.start : word.end] == word.word for word in words_of(TEXT))


@settings(deadline=None)
@given(st.integers(0, 5), st.sampled_from(RATIOS))
def test_a_whole_text(seed, ratio):
    found = scramble_text(TEXT, ratio, seed=seed, item="t", min_len=5)
    assert len(found.text) == len(TEXT)
    places = [*(place for place, _ in found.words), *(place for place, _ in found.left)]
    assert sorted(place.word for place in places) == sorted(
        ["Every", "significant", "représentation", "understood", "significant"]
    )
    inside = set()
    for place, word in found.words:
        assert found.text[place.start : place.end] == word.text != place.word
        inside |= set(range(place.start, place.end))
    assert all(found.text[i] == TEXT[i] for i in range(len(TEXT)) if i not in inside)
    inner = sum(len(place.word) - 2 for place, _ in found.words)
    moved = sum(a != b for a, b in zip(TEXT, found.text, strict=True))
    assert found.realised == pytest.approx(moved / inner)


def test_words_that_cannot_change_are_listed():
    found = scramble_text("aaaaaa significant", 1.0)
    assert [(place.word, "equal letters" in why) for place, why in found.left] == [("aaaaaa", True)]
    assert found.text.startswith("aaaaaa s")
    assert scramble_text("aaaaaa", 1.0).realised == 0
    assert scramble_text("", 1.0).text == ""


@settings(deadline=None)
@given(st.sampled_from(["", "Some other words. ", "Ünd più "]), st.sampled_from(["", " and longer endings"]))
def test_more_text_changes_no_other_word(before, after):
    alone = scramble_text(TEXT, 0.5, seed=3, item="t")
    more = scramble_text(before + TEXT + after, 0.5, seed=3, item="t")
    assert alone.text in more.text
    assert scramble_text(TEXT, 0.5, seed=3, item="u").text != alone.text


def test_named_targets():
    places = [(word.start, word.end) for word in words_of(TEXT) if word.word == "significant"]
    found = scramble_text(TEXT, 1.0, targets=reversed(places))
    assert [place.start for place, _ in found.words] == [start for start, _ in places]
    assert found.words[0][1].text != found.words[1][1].text  # the second of a word has its own generator
    with pytest.raises(CannotScramble):
        scramble_text("aaaaaa significant", 1.0, targets=[(0, 6)])
    for targets in ([(0, 6), (5, 8)], [(3, 3)], [(-1, 4)], [(80, 99)]):
        with pytest.raises(InputError, match="overlaps another or lies outside"):
            scramble_text(TEXT, 1.0, targets=targets)


@example(value=float("nan"))
@example(value=-0.1)
@example(value=1.5)
@example(value=True)
@example(value="0.5")
@example(value=None)
@given(value=st.floats(1.0001, allow_infinity=True))
def test_bad_ratios(value):
    with pytest.raises(InputError, match="ratio must be a number from 0 to 1"):
        drawn("significant", value)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: drawn("abc", 0), WordTooShort, "3 letters, fewer than min_len = 4"),
        (lambda: drawn("e\u0301a\u0301o\u0301", 0.5), WordTooShort, "3 letters"),
        (lambda: drawn("", 0.5), InputError, "must not be empty"),
        (lambda: drawn("two words", 0.5), InputError, "whitespace"),
        (lambda: drawn(7, 0.5), InputError, "expected a text, got int"),
        (lambda: drawn("word", 0.5, min_len=0), InputError, "min_len must be"),
        (lambda: drawn("word", 0.5, min_len=True), InputError, "min_len must be"),
        (lambda: realised_dose("abcd", "abcde"), InputError, "4 letters and 'abcde' has 5"),
        (lambda: realised_dose("abcd", "bacd"), InputError, "differ in an end"),
        (lambda: words_of(None), InputError, "expected a text"),
        (lambda: generator_for(True, "a"), InputError, "seed must be"),
        (lambda: generator_for(0, 1.5), InputError, "id must be"),
        (lambda: generator_for(0, "a", 2), InputError, "ratio must be"),
        (lambda: generator_for(0, "a", 0, float("nan")), InputError, "integrity must be"),
    ],
)
def test_bad_input(call, error, says):
    with pytest.raises(error, match=says):
        call()
