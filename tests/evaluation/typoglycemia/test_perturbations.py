"""The other perturbations: each does what it says, by as much as it says."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.doses import clusters
from firsthand.evaluation.typoglycemia.errors import CannotScramble, WordTooShort
from firsthand.evaluation.typoglycemia.perturbations import HOMOGLYPHS, KEYBOARD, KINDS, blank, perturb

WORDS = st.text("abcdefghij", min_size=4, max_size=13)
RATIOS = st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0])


def drawn(word, ratio, kind, seed=0, **options):
    return perturb(word, ratio, kind, rng=random.Random(seed), **options)


def is_subsequence(short, long):
    rest = iter(long)
    return all(letter in rest for letter in short)


def most_swaps(inner, most):
    """The most disjoint pairs of unequal neighbours, by trying all."""
    able = [i for i, (a, b) in enumerate(pairwise(inner)) if a != b]
    return max(
        size
        for size in range(most + 1)
        if any(all(b - a > 1 for a, b in pairwise(chosen)) for chosen in combinations(able, size))
    )


@settings(max_examples=300, deadline=None)
@given(WORDS, RATIOS, st.sampled_from(["swap", "drop", "insert", "keyboard", "homoglyph"]), st.integers(0, 9))
def test_what_each_does(word, ratio, kind, seed):
    m = len(word) - 2
    n = max(1, math.floor(round(m * ratio, 9)))
    able = sum(letter in HOMOGLYPHS for letter in word[1:-1])
    swaps = most_swaps(word[1:-1], n // 2)
    if (kind == "homoglyph" and not able) or (kind == "swap" and not swaps):
        with pytest.raises(CannotScramble):
            drawn(word, ratio, kind, seed)
        return
    found = drawn(word, ratio, kind, seed)
    text = found.text
    assert (found.word, found.kind, found.nominal) == (word, kind, ratio)
    assert text != word
    assert (text[0], text[-1]) == (word[0], word[-1])
    if kind == "drop":
        assert is_subsequence(text, word)
        assert len(word) - len(text) == n
        dose = n / m
    elif kind == "insert":
        assert is_subsequence(word, text)
        assert len(text) - len(word) == n
        dose = n / m
    else:
        changed = [i for i, (a, b) in enumerate(zip(word, text, strict=True)) if a != b]
        dose = len(changed) / m
        if kind == "swap":
            assert len(changed) == 2 * swaps
            back = list(text)
            for i in changed[::2]:
                assert i + 1 in changed
                back[i], back[i + 1] = back[i + 1], back[i]
            assert "".join(back) == word
        elif kind == "keyboard":
            assert len(changed) == n
            assert all(text[i] in KEYBOARD[word[i]] for i in changed)
        else:
            assert len(changed) == min(n, able)
            assert all(text[i] == HOMOGLYPHS[word[i]] for i in changed)
    assert found.realised == pytest.approx(dose)
    assert found.realised <= max(ratio, 1 / m) + 1e-12
    assert drawn(word, ratio, kind, seed) == found


@given(WORDS, st.sampled_from(KINDS))
def test_no_dose_is_the_word_itself(word, kind):
    found = drawn(word, 0, kind)
    assert (found.text, found.nominal, found.realised) == (word, 0, 0)


@settings(deadline=None)
@given(WORDS, st.integers(0, 5))
def test_shuffling_all_letters(word, seed):
    if len(set(word)) == 1:
        with pytest.raises(CannotScramble):
            drawn(word, 1, "shuffle_all", seed)
        return
    found = drawn(word, 1, "shuffle_all", seed)
    assert Counter(found.text) == Counter(word)
    assert found.realised == sum(a != b for a, b in zip(word, found.text, strict=True)) / len(word) > 0


def test_shuffling_reaches_the_ends():
    firsts = {drawn("abcdefgh", 1, "shuffle_all", seed).text[0] for seed in range(60)}
    assert firsts == set("abcdefgh")


def test_every_set_of_swaps_is_as_likely():
    word, draws = "zabcdz", 6000  # two letters of four move: ab, bc or cd
    rng = random.Random(3)
    found = Counter(perturb(word, 0.5, "swap", rng=rng).text for _ in range(draws))
    assert found.keys() == {"zbacdz", "zacbdz", "zabdcz"}
    assert all(count / draws == pytest.approx(1 / 3, abs=0.03) for count in found.values())
    assert drawn("zabcdz", 1.0, "swap").text == "zbadcz"


def test_as_many_as_there_are():
    assert (
        drawn("zaabbz", 1.0, "swap").text == "zababz"
    )  # one pair of unequal neighbours, where four letters may move
    assert drawn("zaabbz", 1.0, "swap").realised == 0.5
    some = drawn("bkfaktb", 1.0, "homoglyph")  # only the a has a double
    assert (some.text, some.realised) == ("bkf\u0430ktb", 0.2)


def test_dropping_and_inserting_everywhere():
    assert drawn("significant", 1.0, "drop").text == "st"
    texts = {drawn("abcd", 0.5, "insert", seed, alphabet="X").text for seed in range(60)}
    assert texts == {"aXbcd", "abXcd", "abcXd"}
    assert drawn("ABCD", 1.0, "insert", alphabet="x").text.isupper()
    cases = {drawn("zBcz", 0.5, "insert", seed, alphabet="x").text for seed in range(60)}
    assert cases == {"zXBcz", "zBXcz", "zBcxz"}
    assert drawn("Abcd", 0.5, "insert", alphabet="x").text.count("x") == 1


def test_keyboard():
    assert {key: "".join(sorted(near)) for key, near in KEYBOARD.items() if key in "qas"} == {
        "q": "aw",
        "a": "qswz",
        "s": "adewxz",
    }
    assert all(key in KEYBOARD[near] for key in KEYBOARD for near in KEYBOARD[key])
    capitals = drawn("ZSSZ", 1.0, "keyboard").text
    assert all(letter.lower() in KEYBOARD["s"] and letter.isupper() for letter in capitals[1:-1])
    assert drawn("zßäz", 1.0, "keyboard", keyboard={"ß": "?", "ä": ["a\u0308"]}).text == "z?a\u0308z"


def test_homoglyphs_look_alike_and_are_others():
    import unicodedata

    for letter, other in HOMOGLYPHS.items():
        assert letter.isascii()
        assert not other.isascii()
        assert unicodedata.category(other) in ("Lu", "Ll")
        assert letter.isupper() == (unicodedata.category(other) == "Lu")
    assert len(set(HOMOGLYPHS.values())) == len(HOMOGLYPHS)


def test_letters_of_several_characters():
    word = "ae\u0301i\u0308👍🏽u"
    for kind in ("swap", "drop", "insert", "shuffle_all"):
        for seed in range(10):
            new = clusters(drawn(word, 1.0, kind, seed, alphabet="x").text)
            assert set(new) <= {*clusters(word), "x"}


def test_blank():
    assert blank("significant").text == drawn("significant", 1, "blank").text == "_"
    assert (blank("word").realised, blank("word").nominal) == (1, 1)
    assert blank("word", "<mask>").text == "<mask>"


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: drawn("word", 0.5, "scramble"), InputError, "kind must be one of swap, drop"),
        (lambda: drawn("word", 1.5, "drop"), InputError, "ratio must be"),
        (lambda: drawn("word", float("nan"), "drop"), InputError, "ratio must be"),
        (lambda: drawn("word", 0.5, "blank"), InputError, "blanked or not"),
        (lambda: drawn("abc", 0.5, "drop"), WordTooShort, "3 letters"),
        (lambda: drawn("ab", 1, "drop", min_len=1), CannotScramble, "no letter between its ends"),
        (lambda: drawn("banana", 0.25, "swap"), CannotScramble, "a swap moves 2 letters"),
        (lambda: drawn("zaaaz", 1, "swap"), CannotScramble, "all equal"),
        (lambda: drawn("дорога", 1, "keyboard"), CannotScramble, "in the table of keyboard"),
        (lambda: drawn("word", 1, "insert", alphabet=""), InputError, "alphabet must hold"),
        (lambda: drawn("word", 1, "insert", alphabet=" "), InputError, "must have no whitespace"),
        (lambda: drawn("word", 1, "insert", alphabet=["ab"]), CannotScramble, "keeps its letters apart"),
        (lambda: drawn("word", 1, "keyboard", keyboard={"o": "\n"}), InputError, "must have no whitespace"),
        (lambda: blank("_"), InputError, "changes nothing"),
        (lambda: blank("word", " "), InputError, "whitespace"),
        (lambda: blank(""), InputError, "must not be empty"),
    ],
)
def test_bad_input(call, error, says):
    with pytest.raises(error, match=says):
        call()
