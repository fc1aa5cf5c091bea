"""Scrambling (arXiv 2503.01714): inner letters of a word are shuffled within a window that the dose sets.

With m letters between the first and the last, and Scramble Ratio SR:

    n        = max(1, ⌊m · SR⌋)                                 letters in the window, 0 at SR 0
    realised = |{i : letter i differs from the word's}| / m     never more than n / m

The window is drawn uniformly from those that can change, its new order uniformly from those that differ. SR is the
nominal dose; a shuffle leaves some letters where they were, so the realised dose is lower and is what slopes are on.

Knows words and texts. Knows no tokenizer, no model, and no other perturbation.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.doses import (
    checked_count,
    checked_share,
    clusters,
    generator_for,
    letters_of,
    settled,
)
from firsthand.evaluation.typoglycemia.errors import CannotScramble, WordTooShort
from firsthand.lm.backend import require

__all__ = [
    "ScrambledText",
    "ScrambledWord",
    "TextWord",
    "realised_dose",
    "scramble",
    "scramble_text",
    "words_of",
]


@dataclass(frozen=True)
class ScrambledWord:
    """A word after scrambling, with the dose that was asked for and the one that was reached."""

    word: str
    text: str
    nominal: float  # SR
    realised: float  # share of the letters that may move whose place now has another letter
    window: tuple[int, int]  # start and length, in letters of the word; length 0 at SR 0


@dataclass(frozen=True)
class TextWord:
    """A word at its place in a text, in characters; the end is exclusive."""

    word: str
    start: int
    end: int


@dataclass(frozen=True)
class ScrambledText:
    """A text in which several words were scrambled. It is as long as before, so every span still holds."""

    text: str
    words: tuple[tuple[TextWord, ScrambledWord], ...]  # scrambled, in the order of the text
    left: tuple[tuple[TextWord, str], ...]  # not scrambled, with the reason
    realised: float  # over all letters that might have moved in the words scrambled; 0 without any


def scramble(
    word: str,
    ratio: float,
    *,
    rng: random.Random,
    keep_ends: bool = True,
    min_len: int = 4,
    must_change: bool = True,
) -> ScrambledWord:
    """Shuffle a window of the word's letters (the module has the formulas).

    Letters are grapheme clusters. The result has the word's letters and no others.

    Args:
        word: without whitespace.
        ratio: SR, from 0 to 1; 0 gives the word itself.
        rng: of the draws; see `generator_for`.
        keep_ends: whether the first and the last letter stay. Without it SR 1 is the paper's complete scrambling.
        min_len: the fewest letters a word may have, at any ratio.
        must_change: whether a word that stays as it was is an error at SR above 0. The official code lets it pass.

    Raises:
        WordTooShort: fewer letters than `min_len`.
        CannotScramble: no window of that size can change: it holds one letter, or equal ones.
        InputError: a word or an argument that cannot be.
    """
    dose = checked_share(ratio, "ratio")
    letters = checked_word(word, checked_count(min_len, "min_len", 1))
    first = 1 if keep_ends else 0
    movable = max(0, len(letters) - 2 * first)
    size = letters_of(movable, dose)
    if dose == 0:
        return ScrambledWord(word, word, dose, 0.0, (first, 0))
    starts = range(first, first + movable - size + 1)
    if must_change:
        able = [start for start in starts if len(set(letters[start : start + size])) > 1]
        if not able:
            raise CannotScramble(_why_not(word, dose, movable, size))
    elif movable == 0:
        return ScrambledWord(word, word, dose, 0.0, (first, 0))
    else:
        able = list(starts)
    drawn = [first]

    def draw() -> list[str]:
        drawn[0] = start = rng.choice(able)
        window = letters[start : start + size]
        rng.shuffle(window)
        while must_change and window == letters[start : start + size]:
            rng.shuffle(window)  # ends: it holds two unequal letters, so half of all orders or more differ
        return [*letters[:start], *window, *letters[start + size :]]

    new = settled(draw, repr(word))
    return ScrambledWord(word, "".join(new), dose, _displaced(letters, new, first), (drawn[0], size))


def realised_dose(word: str, text: str, *, keep_ends: bool = True) -> float:
    """The share of places between the ends (of all places without `keep_ends`) that hold another letter than before.

    "significant" as "siginficant" has 2 of 9, 0.2222. Two equal letters that change places count as unmoved.

    Raises:
        InputError: the texts differ in their number of letters, or in an end that is to be kept.
    """
    old, new = clusters(word), clusters(text)
    if len(old) != len(new):
        raise InputError(
            f"{word!r} has {len(old)} letters and {text!r} has {len(new)}; places cannot be compared"
        )
    if keep_ends and old and (old[0] != new[0] or old[-1] != new[-1]):
        raise InputError(f"{word!r} and {text!r} differ in an end; give keep_ends=False to count all places")
    return _displaced(old, new, 1 if keep_ends else 0)


def words_of(text: str) -> tuple[TextWord, ...]:
    """The words of a text: letters and their marks, with no letter, digit, hyphen or apostrophe beside them.

    Raises:
        InputError: not a text.
    """
    if not isinstance(text, str):
        raise InputError(f"expected a text, got {type(text).__name__}")
    beside = r"[\p{L}\p{M}\p{N}_'’\-]"
    pattern = rf"(?<!{beside})\p{{L}}[\p{{L}}\p{{M}}\u200c\u200d]*(?!{beside})"
    return tuple(TextWord(found[0], *found.span()) for found in require("regex").finditer(pattern, text))


def scramble_text(
    text: str,
    ratio: float,
    *,
    seed: int = 0,
    item: str | int = "",
    integrity: float = 1.0,
    targets: Iterable[tuple[int, int]] | None = None,
    keep_ends: bool = True,
    min_len: int = 4,
) -> ScrambledText:
    """Scramble several words of a text, or every word that has enough letters.

    The generator of a word depends on the seed, the item, the dose, the word and how often it came before, so that
    a sentence added elsewhere changes no other word.

    Args:
        text: any text; what is not a target stays to the character.
        ratio: SR of every word.
        seed: of the run.
        item: the text's id.
        integrity: CI, where the text was masked.
        targets: spans of characters, ends exclusive, that do not overlap; None for all words of `min_len` letters,
            of which those that cannot change are left and listed.
        keep_ends, min_len: see `scramble`.

    Raises:
        WordTooShort, CannotScramble: a target that was named cannot be scrambled.
        InputError: spans that overlap or lie outside, or what `scramble` refuses.
    """
    dose = checked_share(ratio, "ratio")
    found = words_of(text)
    least = checked_count(min_len, "min_len", 1)
    chosen = (
        [word for word in found if len(clusters(word.word)) >= least]
        if targets is None
        else _spans(text, targets)
    )
    seen: Counter[str] = Counter()
    done: list[tuple[TextWord, ScrambledWord]] = []
    left: list[tuple[TextWord, str]] = []
    new: list[str] = []
    behind = 0
    for place in chosen:
        rng = generator_for(seed, f"{item!r} {place.word} {seen[place.word]}", dose, integrity, "text")
        seen[place.word] += 1
        try:
            scrambled = scramble(place.word, dose, rng=rng, keep_ends=keep_ends, min_len=least)
        except CannotScramble as error:
            if targets is not None:
                raise
            left.append((place, str(error)))
            continue
        done.append((place, scrambled))
        new += [text[behind : place.start], scrambled.text]
        behind = place.end
    ends = 2 if keep_ends else 0
    sizes = [len(clusters(place.word)) - ends for place, _ in done]
    moved = sum(size * word.realised for size, (_, word) in zip(sizes, done, strict=True))
    return ScrambledText(
        "".join([*new, text[behind:]]), tuple(done), tuple(left), moved / sum(sizes) if moved else 0.0
    )


def checked_word(word: str, min_len: int) -> list[str]:
    """The letters of a word.

    Raises:
        InputError: no text, an empty one, or one with whitespace.
        WordTooShort: fewer letters than `min_len`.
    """
    letters = clusters(word)
    if not letters or any(character.isspace() for character in word):
        raise InputError(f"a word must not be empty or have whitespace, got {word!r}")
    if len(letters) < min_len:
        raise WordTooShort(f"{word!r} has {len(letters)} letters, fewer than min_len = {min_len}")
    return letters


def _displaced(old: Sequence[str], new: Sequence[str], ends: int) -> float:
    places = len(old) - 2 * ends
    moved = sum(a != b for a, b in zip(old, new, strict=True))
    return moved / places if places > 0 else 0.0


def _why_not(word: str, ratio: float, movable: int, size: int) -> str:
    if movable < 2:
        return f"{word!r} has {movable} letters that may move, and 2 are needed"
    if size < 2:
        return (
            f"{word!r} at ratio {ratio:g}: a window of 1 of {movable} letters cannot change; "
            f"take a ratio of at least {2 / movable:.3g}, or must_change=False"
        )
    return f"{word!r} at ratio {ratio:g}: every window of {size} of its {movable} letters holds equal letters"


def _spans(text: str, targets: Iterable[tuple[int, int]]) -> list[TextWord]:
    spans = sorted(targets)
    behind = 0
    for start, end in spans:
        if not behind <= start < end <= len(text):
            raise InputError(
                f"target ({start}, {end}) is empty, overlaps another or lies outside a text of {len(text)} characters"
            )
        behind = end
    return [TextWord(text[start:end], start, end) for start, end in spans]
