"""The segmentation ceiling (a control that arXiv 2503.01714 lacks): the intact word in more pieces.

A scrambled word has broken letters and broken pieces. The intact word cut into as many pieces has broken pieces only;
a wrong word cut likewise is the floor. A cut is a way to write the word's token text as k entries of the vocabulary,
one after the other:

    ways(i, k) = Σ over entries p that begin at letter i of ways(i + |p|, k − 1),      ways(end, 0) = 1

All ways are counted, and one is drawn with each as likely.

Knows the texts of tokens and vocabularies. Knows no scrambling and no model.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.doses import checked_count
from firsthand.evaluation.typoglycemia.errors import CannotSegment
from firsthand.evaluation.typoglycemia.targets import SPACES

__all__ = ["PieceVocabulary", "Segmentation", "count_ways", "draw_cut", "piece_vocabulary", "segment"]


@dataclass(frozen=True)
class Segmentation:
    """A word in pieces of the vocabulary, and in how many ways that could be done."""

    pieces: tuple[str, ...]  # as the tokenizer writes them
    ids: tuple[int, ...]
    ways: int


@dataclass(frozen=True)
class PieceVocabulary:
    """A tokenizer's entries that can be part of a word: no special tokens, and none that is only a space."""

    ids: Mapping[str, int] = field(repr=False)
    longest: int  # characters of the longest entry


def piece_vocabulary(tokenizer: Any) -> PieceVocabulary:
    """Read a tokenizer's vocabulary once for many words.

    Args:
        tokenizer: of transformers, with pieces that are parts of the text (BPE, SentencePiece), bytes included.
    """
    special = set(tokenizer.all_special_ids) | set(getattr(tokenizer, "added_tokens_decoder", ()))
    ids = {
        piece: number
        for piece, number in tokenizer.get_vocab().items()
        if number not in special and piece.strip("".join(SPACES))
    }
    return PieceVocabulary(ids, max(map(len, ids), default=0))


def count_ways(word: str, vocabulary: PieceVocabulary, pieces: int) -> int:
    """How many cuts of the word's token text into exactly so many entries there are."""
    return _ways(word, vocabulary, pieces)[0][pieces]


def draw_cut(
    word: str, vocabulary: PieceVocabulary, pieces: int, *, rng: random.Random
) -> tuple[tuple[str, ...], int]:
    """One cut of the word's token text, each as likely, and the number of ways.

    Raises:
        CannotSegment: there is none.
        InputError: fewer than one piece, or an empty word.
    """
    ways = _ways(word, vocabulary, pieces)
    if ways[0][pieces] == 0:
        raise CannotSegment(
            f"{word!r} cannot be written as {pieces} entries of the vocabulary; choose another word"
        )
    cut: list[str] = []
    start = 0
    for left in range(pieces, 0, -1):
        ticket = rng.randrange(ways[start][left])
        for end in _ends(word, start, vocabulary):  # pragma: no branch: the ways add up
            if ticket < ways[end][left - 1]:
                break
            ticket -= ways[end][left - 1]
        cut.append(word[start:end])
        start = end
    return tuple(cut), ways[0][pieces]


def segment(
    token_texts: Sequence[str],
    tokenizer: Any,
    pieces: int,
    *,
    rng: random.Random,
    vocabulary: PieceVocabulary | None = None,
    space_alone: bool = False,
) -> Segmentation:
    """The word of some tokens in exactly `pieces` pieces.

    Args:
        token_texts: the word's tokens as the tokenizer writes them (`Target.pieces`), the space before it included.
        tokenizer: of transformers.
        pieces: how many, at least 1.
        rng: of the draw; see `generator_for`.
        vocabulary: what `piece_vocabulary(tokenizer)` gives, where many words are cut.
        space_alone: whether the space before the word is the first piece, for a scrambled form of which it is
            (`form.pieces[0] in SPACES`). Else no piece is only a space.

    Raises:
        CannotSegment: there is no such cut, or this tokenizer does not read the pieces as the word.
        InputError: fewer than one piece (two with the space alone), no token, or no space to stand alone.
    """
    known = vocabulary or piece_vocabulary(tokenizer)
    word = "".join(token_texts)
    head: tuple[str, ...] = ()
    checked_count(pieces, "pieces", 2 if space_alone else 1)
    if space_alone:
        if not word.startswith(SPACES):
            raise InputError(f"{word!r} has no space before it that could be a piece; give space_alone=False")
        head, word = (word[:1],), word[1:]
    cut, ways = draw_cut(word, known, pieces - len(head), rng=rng)
    cut = (*head, *cut)
    wanted, read = (tokenizer.convert_tokens_to_string(list(parts)) for parts in (token_texts, cut))
    if read != wanted:
        raise CannotSegment(
            f"{type(tokenizer).__name__} reads the pieces {list(cut)} as {read!r}, not {wanted!r}: "
            "its pieces are not plain parts of the text"
        )
    return Segmentation(cut, tuple(tokenizer.convert_tokens_to_ids(list(cut))), ways)


def _ends(word: str, start: int, vocabulary: PieceVocabulary) -> list[int]:
    last = min(len(word), start + vocabulary.longest)
    return [end for end in range(start + 1, last + 1) if word[start:end] in vocabulary.ids]


def _ways(word: str, vocabulary: PieceVocabulary, pieces: int) -> list[list[int]]:
    """[i][k]: cuts of the letters from i on into k entries."""
    checked_count(pieces, "pieces", 1)
    if not word:
        raise InputError("there is no token to cut")
    ways = [[0] * (pieces + 1) for _ in range(len(word) + 1)]
    ways[len(word)][0] = 1
    for start in range(len(word) - 1, -1, -1):
        for end in _ends(word, start, vocabulary):
            for left in range(1, pieces + 1):
                ways[start][left] += ways[end][left - 1]
    return ways
