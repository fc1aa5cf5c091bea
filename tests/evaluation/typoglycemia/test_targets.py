"""Targets: which word is drawn, which tokens are its, and what happens where there is none."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.errors import TargetNotFound, TargetTruncated
from firsthand.evaluation.typoglycemia.scrambling import scramble, words_of
from firsthand.evaluation.typoglycemia.targets import (
    is_other_word,
    locate,
    pick_target,
    pick_wrong_word,
    piece_report,
    replaced,
    vocabulary_of,
)

TEXT = (
    "The environment was good, the understanding (international) of Christopher made a representation of it."
)
ONE_TOKEN = ("environment", "understanding", "Christopher", "representation")


def whole(text, word):
    start = text.index(word)
    return start, start + len(word)


@pytest.mark.parametrize("name", ["tokenizer", "framed", "trimmed"])
def test_a_target_is_one_token_in_context(name, request):
    tokenizer = request.getfixturevalue(name)
    found = {pick_target(TEXT, tokenizer, seed=seed, region="any") for seed in range(60)}
    assert {target.word for target in found} == set(
        ONE_TOKEN
    )  # "(international" has its token only after a space
    ids = tokenizer(TEXT)["input_ids"]
    for target in found:
        assert TEXT[target.start : target.end] == target.word
        (first, last) = target.tokens
        assert first == last
        assert ids[first : last + 1] == list(target.ids)
        assert tokenizer.decode(target.ids).strip() == target.word
        assert target.n_pieces == len(target.pieces) == 1


def test_alone_it_would_be_two_tokens(tokenizer):
    """The official code tests the word without the space before it."""
    assert len(tokenizer("significant")["input_ids"]) == 2
    assert pick_target("A significant word", tokenizer).pieces == ("Ġsignificant",)
    with pytest.raises(TargetNotFound):
        pick_target("significant words", tokenizer)
    assert pick_target("significant words", tokenizer, single_token=False).n_pieces == 2


def test_a_token_before_the_text_shifts_places_and_nothing_else(tokenizer, framed):
    span = whole(TEXT, "understanding")
    plain, shifted = locate(TEXT, span, tokenizer), locate(TEXT, span, framed)
    assert shifted.tokens == (plain.tokens[0] + 1, plain.tokens[1] + 1)
    assert shifted.ids == plain.ids


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text("aeé 👍🏽ñ-(), significant", max_size=20), st.text("aeé 👍🏽ñ,. under", max_size=10), st.data()
)
def test_tokens_of_any_span(tokenizer, before, after, data):
    """Pieces, joined and decoded, are the word and no more than spaces before it."""
    word = data.draw(
        st.sampled_from(["significant", "siginficant", "naïveté", "👩\u200d🚀x", "understanding"])
    )
    text = before + " " + word + " " + after
    span = (len(before) + 1, len(before) + 1 + len(word))
    found = locate(text, span, tokenizer)
    ids = tokenizer(text)["input_ids"]
    assert ids[found.tokens[0] : found.tokens[1] + 1] == list(found.ids)
    assert tokenizer.decode(found.ids) == " " + word


@pytest.mark.parametrize("name", ["tokenizer", "trimmed"])
def test_the_space_before_a_word_is_its_own(name, request):
    tokenizer = request.getfixturevalue(name)
    found = locate("the qzx", (4, 7), tokenizer)
    assert found.pieces == ("Ġ", "q", "z", "x")
    assert locate("the  significant", (5, 16), tokenizer).pieces == ("Ġsignificant",)
    assert locate("the\nqzx", (4, 7), tokenizer).pieces == ("q", "z", "x")
    assert locate("qzx", (0, 3), tokenizer).tokens == (0, 2)


def test_the_middle_is_preferred_and_the_region_told(tokenizer):
    text = "An environment was there. The understanding came in between. The representation of it."
    regions = {"start": "environment", "middle": "understanding", "end": "representation"}
    for region, word in regions.items():
        for seed in range(10):
            target = pick_target(text, tokenizer, seed=seed, region=region)
            assert (target.word, target.region) == (word, region)
    only = pick_target("An environment was there. " + "It was so and so. " * 3, tokenizer)
    assert (only.word, only.region) == ("environment", "start")


def test_the_region_is_that_of_the_words_middle(tokenizer):
    text = "aaaa aa abcdefghijkl aaaaaaaaa"  # 30 characters, the word's from 8 to 20
    assert locate(text, (8, 20), tokenizer).region == "middle"
    assert [locate(text, span, tokenizer).region for span in ((0, 7), (21, 30))] == ["start", "end"]


def test_unique_means_nowhere_else_in_the_text(tokenizer):
    text = "The understanding grew; Misunderstanding too. A significant word, a Significant one."
    with pytest.raises(TargetNotFound, match="occurs once and is one token"):
        pick_target(text, tokenizer)
    words = {pick_target(text, tokenizer, unique=False, region="any", seed=seed).word for seed in range(30)}
    assert words == {"understanding", "significant"}


def test_what_cannot_be_scrambled_is_no_target(tokenizer):
    with pytest.raises(TargetNotFound):
        pick_target("This is baaaaaaaaaaaaz here", tokenizer, single_token=False)
    assert pick_target("This is baaaaaacaaaaaaz here", tokenizer, single_token=False).word.startswith("baa")


def test_one_seed_one_target(tokenizer):
    first = [pick_target(TEXT, tokenizer, region="any", seed=4, item=item) for item in range(20)]
    assert first == [pick_target(TEXT, tokenizer, region="any", seed=4, item=item) for item in range(20)]
    assert len({target.word for target in first}) > 1


def test_too_long(tokenizer):
    target = locate(TEXT, whole(TEXT, "representation"), tokenizer)
    count = target.tokens[1] + 1
    assert locate(TEXT, (target.start, target.end), tokenizer, max_length=count) == target
    with pytest.raises(TargetTruncated, match=f"ends at token {count - 1}, beyond max_length = {count - 1}"):
        locate(TEXT, (target.start, target.end), tokenizer, max_length=count - 1)
    for seed in range(30):
        found = pick_target(TEXT, tokenizer, region="end", seed=seed, max_length=count - 1)
        assert found.word != "representation"
    with pytest.raises(TargetTruncated, match="all 4 words that can be targets lie beyond max_length = 1"):
        pick_target(TEXT, tokenizer, max_length=1)


def test_a_word_that_shares_a_token(tokenizer):
    with pytest.raises(TargetNotFound, match=r"shares a token with 'ant' beside it"):
        locate("A significant word", (2, 10), tokenizer)


def test_another_word_of_the_vocabulary():
    known = vocabulary_of(["Out of form, From here.", "É"])
    assert known == {"out", "of", "form", "from", "here", "é"}
    assert is_other_word("form", "from", known)
    assert is_other_word("FORM", "From", known)
    assert not is_other_word("form", "form", known)
    assert not is_other_word("form", "fomr", known)


def test_pieces_before_and_after(tokenizer):
    span = whole(TEXT, "understanding")
    word = scramble("understanding", 1.0, rng=random.Random(1)).text
    report = piece_report(TEXT, span, word, tokenizer, vocabulary=vocabulary_of([TEXT, word]))
    assert (report.before.n_pieces, report.before.word) == (1, "understanding")
    assert report.after.word == word
    assert report.after.n_pieces > 3
    assert "".join(report.after.pieces) == "Ġ" + word
    assert report.after.tokens[0] == report.before.tokens[0]
    assert report.same_left
    assert report.other_word
    assert not piece_report(TEXT, span, word, tokenizer).other_word
    unclean = piece_report("the understanding", (4, 17), "\u0301x", tokenizer)
    assert unclean.after.word == "\u0301x"


def built(vocabulary, merges, split=None, normalizer=None):
    """A BPE tokenizer whose tokens may reach over the ends of words; what it does not know it drops."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE({piece: number for number, piece in enumerate(vocabulary)}, merges))
    if split:
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(split), "isolated")
    if normalizer:
        backend.normalizer = normalizer
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def test_a_left_context_that_changes_is_told():
    looking_ahead = built([*"abcd", "aa"], [("a", "a")], "a+(?=d)|.")
    assert piece_report("aad", (2, 3), "dd", looking_ahead).same_left
    report = piece_report("aad", (2, 3), "c", looking_ahead)
    assert [report.before.tokens, report.after.tokens, report.same_left] == [(1, 1), (2, 2), False]
    with pytest.raises(TargetNotFound, match="in the slot of 'd'"):
        pick_wrong_word("aad", report.before, ["c"], looking_ahead)


def test_tokens_that_reach_over_a_words_end():
    """A word whose token holds a full stop is no target, and a word that would be so is no wrong word."""
    reaching = built([*"abc. ", "c."], [("c", ".")])
    with pytest.raises(TargetNotFound, match=r"shares a token with '\.' beside it"):
        locate("aabc.", (0, 4), reaching)
    options = {"min_len": 4, "single_token": False, "region": "any"}
    found = {pick_target("aabc. aacb abca ", reaching, seed=seed, **options).word for seed in range(20)}
    assert found == {"aacb", "abca"}
    with pytest.raises(TargetNotFound, match="4 letters that can be scrambled, occurs once"):
        pick_target("aabc.", reaching, **options)
    target = locate("aacb.", (0, 4), reaching)
    for seed in range(5):
        assert pick_wrong_word("aacb.", target, ["abac", "abca"], reaching, seed=seed)[1].word == "abca"


def test_a_word_that_the_tokenizer_drops():
    with pytest.raises(TargetNotFound, match="no token covers 'xyz' at characters 1 to 4"):
        locate("axyz", (1, 4), built("abc", []))


def test_pieces_of_sentencepiece():
    """As Gemma has them: a space is "▁", at the beginning of a text too where there is one."""
    from tokenizers import normalizers

    metaspace = built(
        [*"▁abc", "▁a", "▁ab", "bc"],
        [("▁", "a"), ("▁a", "b"), ("b", "c")],
        None,
        normalizers.Replace(" ", "▁"),
    )
    for text, span, pieces in (
        ("c abc", (2, 5), ("▁ab", "c")),
        ("abc", (0, 3), ("a", "bc")),
        ("c bca", (2, 5), ("▁", "bc", "a")),
        ("c  abc", (3, 6), ("▁ab", "c")),
    ):
        found = locate(text, span, metaspace)
        assert (found.word, found.pieces) == (text[slice(*span)], pieces)
    report = piece_report("c abc", (2, 5), "bca", metaspace)
    assert (report.same_left, report.before.tokens[0], report.after.tokens[0]) == (True, 1, 1)


def test_a_wrong_word_in_the_slot(tokenizer):
    target = locate(TEXT, whole(TEXT, "understanding"), tokenizer)
    words = ["significant", "contribution", "Understanding", "qzx", "environment", "representation"]
    found = {pick_wrong_word(TEXT, target, words, tokenizer, seed=seed) for seed in range(30)}
    assert {wrong.word for _, wrong in found} == {"significant", "contribution"}
    for text, wrong in found:
        assert text == TEXT.replace("understanding", wrong.word)
        assert (wrong.tokens, wrong.n_pieces) == (target.tokens, 1)
    with pytest.raises(
        TargetNotFound, match=r"none of 1 words .* is 1 tokens in the slot of 'understanding'"
    ):
        pick_wrong_word(TEXT, target, ["qzx", "environment"], tokenizer)


def test_replaced():
    assert replaced("one two", (4, 7), "three") == ("one three", (4, 9))


class SlowTokenizer:
    is_fast = False


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda t: pick_target("", t), TargetNotFound, "no word of this text of 0 characters"),
        (lambda t: pick_target("short words", t), TargetNotFound, "has 11 letters"),
        (lambda t: pick_target(3, t), InputError, "expected a text"),
        (lambda t: pick_target(TEXT, t, region="top"), InputError, "region must be one of start"),
        (lambda t: pick_target(TEXT, t, min_len=0), InputError, "min_len"),
        (lambda t: pick_target(TEXT, t, max_length=0), InputError, "max_length"),
        (
            lambda t: pick_target(TEXT, SlowTokenizer()),
            InputError,
            "SlowTokenizer gives no character offsets",
        ),
        (lambda t: locate("abc", (2, 2), t), InputError, "is empty or lies outside"),
        (lambda t: locate("abc", (0, 4), t), InputError, "is empty or lies outside"),
        (lambda t: vocabulary_of("text"), InputError, r"write \[text\]"),
    ],
)
def test_bad_input(tokenizer, call, error, says):
    with pytest.raises(error, match=says):
        call(tokenizer)


def test_a_lookup_error_reads_as_it_was_written(tokenizer):
    with pytest.raises(LookupError) as caught:
        pick_target("no", tokenizer)
    assert str(caught.value).startswith("no word of this text")


def test_words_are_found_where_they_are(tokenizer):
    for place in words_of(TEXT):
        assert TEXT[place.start : place.end] == place.word
