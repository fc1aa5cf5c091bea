"""Cuts of a word into pieces of the vocabulary: all of them, each as likely, none made up."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.errors import CannotSegment
from firsthand.evaluation.typoglycemia.segmentation import (
    PieceVocabulary,
    count_ways,
    draw_cut,
    piece_vocabulary,
    segment,
)
from firsthand.evaluation.typoglycemia.targets import locate


def vocabulary(pieces):
    return PieceVocabulary(
        {piece: number for number, piece in enumerate(pieces)}, max(map(len, pieces), default=0)
    )


def all_cuts(word, pieces, known):
    """Every choice of pieces − 1 places to cut at."""
    cuts = []
    for places in combinations(range(1, len(word)), pieces - 1):
        ends = [0, *places, len(word)]
        cut = tuple(word[a:b] for a, b in pairwise(ends))
        if all(piece in known for piece in cut):
            cuts.append(cut)
    return cuts


@settings(max_examples=300, deadline=None)
@given(
    st.text("ab", min_size=1, max_size=9),
    st.sets(st.text("ab", min_size=1, max_size=4), max_size=12),
    st.integers(1, 6),
    st.integers(0, 3),
)
def test_equals_trying_every_cut(word, known, pieces, seed):
    cuts = all_cuts(word, pieces, known)
    assert count_ways(word, vocabulary(known), pieces) == len(cuts)
    if cuts:
        found, ways = draw_cut(word, vocabulary(known), pieces, rng=random.Random(seed))
        assert found in cuts
        assert ways == len(cuts)
        assert "".join(found) == word
        assert len(found) == pieces
    else:
        with pytest.raises(CannotSegment, match=f"as {pieces} entries"):
            draw_cut(word, vocabulary(known), pieces, rng=random.Random(seed))


def test_every_cut_is_as_likely():
    known = {"a", "b", "ab", "ba", "aba", "bab"}
    word, draws, rng = "ababab", 6000, random.Random(2)
    cuts = all_cuts(word, 4, known)
    assert len(cuts) > 5
    found = Counter(draw_cut(word, vocabulary(known), 4, rng=rng)[0] for _ in range(draws))
    assert found.keys() == set(cuts)
    for cut in cuts:
        assert found[cut] / draws == pytest.approx(1 / len(cuts), abs=0.03)


@pytest.mark.parametrize("word", ["significant", "understanding", "representation"])
def test_the_intact_word_in_more_pieces(tokenizer, word):
    text = f"the {word} of"
    target = locate(text, (4, 4 + len(word)), tokenizer)
    known = piece_vocabulary(tokenizer)
    ids = tokenizer.get_vocab()
    for pieces in range(1, 8):
        found = segment(target.pieces, tokenizer, pieces, rng=random.Random(pieces), vocabulary=known)
        assert len(found.pieces) == len(found.ids) == pieces
        assert "".join(found.pieces) == "Ġ" + word
        assert found.ids == tuple(ids[piece] for piece in found.pieces)
        assert tokenizer.decode(found.ids) == " " + word
        assert found.ways >= 1
        assert "Ġ" not in found.pieces
    assert segment(target.pieces, tokenizer, 1, rng=random.Random(0)).ids == target.ids
    letters = ("Ġ", *word)  # no entry is a space and this first letter
    with pytest.raises(CannotSegment, match=f"as {len(letters)} entries"):
        segment(target.pieces, tokenizer, len(letters), rng=random.Random(0))
    found = segment(target.pieces, tokenizer, len(letters), rng=random.Random(0), space_alone=True)
    assert (found.pieces, found.ways) == (letters, 1)
    assert tokenizer.decode(found.ids) == " " + word


def test_a_space_that_stands_alone(tokenizer):
    for pieces in range(3, 9):
        found = segment(["Ġenvironment"], tokenizer, pieces, rng=random.Random(0), space_alone=True)
        assert found.pieces[0] == "Ġ"
        assert found.ways == count_ways("environment", piece_vocabulary(tokenizer), pieces - 1)
    with pytest.raises(InputError, match="no space before it"):
        segment(["environment"], tokenizer, 3, rng=random.Random(0), space_alone=True)
    with pytest.raises(InputError, match="at least 2"):
        segment(["Ġenvironment"], tokenizer, 1, rng=random.Random(0), space_alone=True)


def test_a_wrong_word_in_as_many(tokenizer):
    rng = random.Random(0)
    right, wrong = (segment((f"Ġ{word}",), tokenizer, 4, rng=rng) for word in ("significant", "environment"))
    assert len(right.ids) == len(wrong.ids) == 4
    assert tokenizer.decode(wrong.ids) == " environment"


def test_bytes_of_one_letter_may_be_parted(tokenizer):
    found = segment(tokenizer.tokenize(" é"), tokenizer, 3, rng=random.Random(0), space_alone=True)
    assert tokenizer.decode(found.ids) == " é"
    alone = segment(tokenizer.tokenize("é"), tokenizer, 2, rng=random.Random(0))
    assert alone.pieces == ("Ã", "©")
    assert tokenizer.decode(alone.ids) == "é"


def test_special_tokens_are_no_pieces(tokenizer):
    known = piece_vocabulary(tokenizer)
    assert tokenizer.eos_token not in known.ids
    assert set(known.ids.values()) <= set(tokenizer.get_vocab().values())
    assert known.longest == max(map(len, known.ids))


def test_pieces_that_are_not_parts_of_the_text():
    """WordPiece marks a piece that goes on; without its mark it begins a new word."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    names = ["[UNK]", "inter", "national", "##national", "international"]
    backend = Tokenizer(models.WordPiece({name: n for n, name in enumerate(names)}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece()
    wordpiece = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    with pytest.raises(CannotSegment, match="'inter national', not 'international'"):
        segment(["international"], wordpiece, 2, rng=random.Random(0))


@pytest.mark.parametrize("pieces", [0, -1, True, 1.5])
def test_bad_counts(tokenizer, pieces):
    with pytest.raises(InputError, match="pieces must be a whole number of at least 1"):
        segment(["a"], tokenizer, pieces, rng=random.Random(0))


def test_nothing_to_cut(tokenizer):
    with pytest.raises(InputError, match="no token"):
        segment([], tokenizer, 1, rng=random.Random(0))
    with pytest.raises(CannotSegment):
        draw_cut("abc", vocabulary(()), 1, rng=random.Random(0))
