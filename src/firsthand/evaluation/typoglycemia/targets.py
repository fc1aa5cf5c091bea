"""Targets (arXiv 2503.01714): which word of a text is probed, and which tokens are its.

A target is a span of characters. Its tokens come from the tokenizer's offset mapping of the whole text, so that a
leading space, a token at the beginning of the text (BOS) or the same word elsewhere cannot shift it. The one space
before a word is the word's, also where it is a token of its own: an intact word has it in its only token.

Knows texts and a fast tokenizer of transformers. Knows no model and no masking.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.doses import checked_count, clusters, generator_for
from firsthand.evaluation.typoglycemia.errors import TargetNotFound, TargetTruncated
from firsthand.evaluation.typoglycemia.scrambling import TextWord, words_of

__all__ = [
    "PieceReport",
    "Region",
    "Target",
    "is_other_word",
    "locate",
    "pick_target",
    "pick_wrong_word",
    "piece_report",
    "replaced",
    "vocabulary_of",
]

SPACES = ("\u2581", "\u0120", " ")  # how SentencePiece and byte-level BPE write a space
Region = Literal["start", "middle", "end", "any"]
REGIONS: tuple[Region, ...] = get_args(Region)


@dataclass(frozen=True)
class Target:
    """A word of a text with its tokens. Both ends of `tokens` are inclusive; the span's end is exclusive."""

    word: str
    start: int  # in characters
    end: int
    tokens: tuple[int, int]  # places of the first and the last token in the sequence, special tokens counted
    ids: tuple[int, ...]
    pieces: tuple[str, ...]  # as the tokenizer writes them
    region: Region  # the third of the text that the word's middle is in

    @property
    def n_pieces(self) -> int:
        """How many tokens the word has."""
        return len(self.ids)


@dataclass(frozen=True)
class PieceReport:
    """What a tokenizer makes of a word and of what replaced it in the same text."""

    before: Target
    after: Target
    same_left: bool  # whether the tokens before the word are the same, so that only the word differs for a causal model
    other_word: bool  # whether the replacement is another word of the vocabulary given


@dataclass(frozen=True)
class _Encoded:
    ids: list[int]
    offsets: list[tuple[int, int]]


def pick_target(
    text: str,
    tokenizer: Any,
    *,
    min_len: int = 11,
    unique: bool = True,
    single_token: bool = True,
    region: Region = "middle",
    seed: int = 0,
    item: str | int = "",
    max_length: int | None = None,
) -> Target:
    """Draw the word of a text that is probed.

    A word can be one if it has `min_len` letters, can be scrambled (two of its inner letters differ), and its tokens
    hold no other character than spaces before it. Words of the region are preferred; where there is none the
    others are drawn from, and `Target.region` says where the word is.

    Args:
        text: any text.
        tokenizer: a fast tokenizer of transformers.
        min_len: fewest letters (grapheme clusters); the official code takes more than 10.
        unique: whether its letters occur once only in the text, in any case, other words' parts included.
        single_token: whether it is one token where it stands.
        region: the third of the text to prefer; "any" for none.
        seed: of the run.
        item: the text's id.
        max_length: the most tokens of a sequence, special ones counted; None for no limit.

    Raises:
        TargetNotFound: no word can be one.
        TargetTruncated: some could be one, all of them beyond `max_length`.
        InputError: an argument that cannot be.
    """
    least = checked_count(min_len, "min_len", 1)
    if region not in REGIONS:
        raise InputError(f"region must be one of {', '.join(REGIONS)}, got {region!r}")
    rng = generator_for(seed, item, purpose="target")
    encoded = _encode(text, tokenizer)
    whole = text.casefold()
    found: list[Target] = []
    for place in words_of(text):
        letters = clusters(place.word)
        if len(letters) < least or len(set(letters[1:-1])) < 2:
            continue
        if unique and whole.count(place.word.casefold()) > 1:
            continue
        try:
            target = _located(text, place, tokenizer, encoded)
        except TargetNotFound:  # shares a token with its neighbours
            continue
        if not single_token or target.n_pieces == 1:
            found.append(target)
    if not found:
        raise TargetNotFound(
            f"no word of this text of {len(text)} characters has {least} letters that can be scrambled"
            f"{', occurs once' if unique else ''}{' and is one token' if single_token else ''}: {text[:60]!r}"
        )
    within = [target for target in found if max_length is None or target.tokens[1] < _limit(max_length)]
    if not within:
        raise TargetTruncated(
            f"all {len(found)} words that can be targets lie beyond max_length = {max_length}; "
            f"the text has {len(encoded.ids)} tokens"
        )
    return rng.choice([target for target in within if region in ("any", target.region)] or within)


def locate(text: str, span: tuple[int, int], tokenizer: Any, *, max_length: int | None = None) -> Target:
    """The tokens of a span of characters.

    Args:
        text: the whole sequence.
        span: start and end in characters, end exclusive.
        tokenizer: a fast tokenizer of transformers.
        max_length: the most tokens of a sequence; None for no limit.

    Raises:
        TargetNotFound: no token covers the span, or one of its tokens holds other characters than spaces before it.
        TargetTruncated: its last token is beyond `max_length`.
        InputError: a span outside the text, or a tokenizer without offsets.
    """
    start, end = span
    encoded = _encode(text, tokenizer)
    if not 0 <= start < end <= len(text):
        raise InputError(f"span {span!r} is empty or lies outside a text of {len(text)} characters")
    target = _located(text, TextWord(text[start:end], start, end), tokenizer, encoded)
    if max_length is not None and target.tokens[1] >= _limit(max_length):
        raise TargetTruncated(
            f"{target.word!r} ends at token {target.tokens[1]}, beyond max_length = {max_length}; "
            "shorten the text before it or raise max_length"
        )
    return target


def replaced(text: str, span: tuple[int, int], word: str) -> tuple[str, tuple[int, int]]:
    """The text with another word at a span, and where that word is."""
    start, end = span
    return text[:start] + word + text[end:], (start, start + len(word))


def piece_report(
    text: str, span: tuple[int, int], word: str, tokenizer: Any, *, vocabulary: Collection[str] = frozenset()
) -> PieceReport:
    """Pieces of a word and of `word` in its place.

    Args:
        text: the whole sequence.
        span: of the word, in characters.
        word: what replaces it.
        tokenizer: a fast tokenizer of transformers.
        vocabulary: known words, as `vocabulary_of` gives them.

    Raises:
        TargetNotFound, InputError: see `locate`.
    """
    before = locate(text, span, tokenizer)
    other_text, other_span = replaced(text, span, word)
    after = locate(other_text, other_span, tokenizer)
    left = _encode(text, tokenizer).ids[: before.tokens[0]]
    other_left = _encode(other_text, tokenizer).ids[: after.tokens[0]]
    return PieceReport(before, after, left == other_left, is_other_word(before.word, word, vocabulary))


def vocabulary_of(texts: Iterable[str]) -> frozenset[str]:
    """All words of some texts, casefolded."""
    if isinstance(texts, str):
        raise InputError("texts must be several texts: write [text]")
    return frozenset(place.word.casefold() for text in texts for place in words_of(text))


def is_other_word(word: str, scrambled: str, vocabulary: Collection[str]) -> bool:
    """Whether a scrambled word is a word of the vocabulary, and not the one that it was made from: "form", "from"."""
    return scrambled.casefold() != word.casefold() and scrambled.casefold() in vocabulary


def pick_wrong_word(
    text: str,
    target: Target,
    words: Sequence[str],
    tokenizer: Any,
    *,
    seed: int = 0,
    item: str | int = "",
) -> tuple[str, Target]:
    """Draw another word for the target's slot, of as many tokens there: the first floor of the score.

    Words that are in the text already are left out. Returns the text with the word in it, and the word as a target.

    Args:
        text: the whole sequence.
        target: the word to be replaced.
        words: to draw from; their order counts, their repetition does not.
        tokenizer: a fast tokenizer of transformers.
        seed: of the run.
        item: the text's id.

    Raises:
        TargetNotFound: none of the words has as many tokens in this slot.
    """
    present = vocabulary_of([text])
    able = [word for word in dict.fromkeys(words) if word.casefold() not in present]
    rng = generator_for(seed, item, purpose="wrong word")
    rng.shuffle(able)
    for word in able:
        other, span = replaced(text, (target.start, target.end), word)
        try:
            found = locate(other, span, tokenizer)
        except TargetNotFound:
            continue
        if found.n_pieces == target.n_pieces and found.tokens == target.tokens:
            return other, found
    raise TargetNotFound(
        f"none of {len(able)} words that are not in the text is {target.n_pieces} tokens in the slot of {target.word!r}"
    )


def _encode(text: str, tokenizer: Any) -> _Encoded:
    if not isinstance(text, str):
        raise InputError(f"expected a text, got {type(text).__name__}")
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"{type(tokenizer).__name__} gives no character offsets; load a fast tokenizer (use_fast=True)"
        )
    encoded = tokenizer(text, return_offsets_mapping=True, truncation=False, verbose=False)
    return _Encoded(list(encoded["input_ids"]), [(int(a), int(b)) for a, b in encoded["offset_mapping"]])


def _located(text: str, place: TextWord, tokenizer: Any, encoded: _Encoded) -> Target:
    start, end = place.start, place.end
    covering = [number for number, (a, b) in enumerate(encoded.offsets) if a < end and b > start]
    if not covering:
        raise TargetNotFound(f"no token covers {place.word!r} at characters {start} to {end}")
    first, last = covering[0], covering[-1]
    outside = (
        text[min(encoded.offsets[first][0], start) : start],
        text[end : max(encoded.offsets[last][1], end)],
    )
    if outside[0].strip() or outside[1]:
        raise TargetNotFound(
            f"{place.word!r} at characters {start} to {end} shares a token with {''.join(outside).strip()!r} beside it"
        )
    if first and start and text[start - 1] == " ":
        before, own = tokenizer.convert_ids_to_tokens(encoded.ids[first - 1 : first + 1])
        if before in SPACES and own[0] not in SPACES:  # a rare word's space is a token of its own
            first -= 1
    ids = encoded.ids[first : last + 1]
    third = min(2, 3 * (start + end) // (2 * len(text)))
    return Target(
        place.word,
        start,
        end,
        (first, last),
        tuple(ids),
        tuple(tokenizer.convert_ids_to_tokens(ids)),
        REGIONS[third],
    )


def _limit(max_length: int) -> int:
    return checked_count(max_length, "max_length", 1)
