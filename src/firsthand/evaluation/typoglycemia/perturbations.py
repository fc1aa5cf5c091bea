"""Other ways to spoil a word, on the scale of scrambling (arXiv 2503.01714): a nominal and a realised dose.

With m letters between the ends and n = max(1, ⌊m · ratio⌋), 0 at ratio 0:

    kind         what is done                                        realised dose
    swap         ⌊n / 2⌋ pairs of unequal neighbours change places   letters that moved / m
    drop         n letters are left out                              letters left out / m
    insert       n letters are put in, at most one in a gap          letters put in / m
    keyboard     n letters become a neighbour on the keyboard        letters replaced / m
    homoglyph    n letters become one of another script that looks alike     letters replaced / m
    shuffle_all  all letters are shuffled within a window, the ends too      letters that moved / all letters
    blank        the word becomes "_"                                1: no letter is left

Where a word has fewer letters that can be changed than the dose asks for, all of them are, and the realised dose says
so. Where it has none, that is an error. The realised dose is never above the nominal one, except where n = 1 is more
than m · ratio.

Knows words. Knows no text, tokenizer or model.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Literal, get_args

from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.doses import checked_count, checked_share, letters_of, settled
from firsthand.evaluation.typoglycemia.errors import CannotScramble
from firsthand.evaluation.typoglycemia.scrambling import checked_word, scramble

__all__ = ["HOMOGLYPHS", "KEYBOARD", "KINDS", "Kind", "PerturbedWord", "blank", "perturb"]

Kind = Literal["swap", "drop", "insert", "keyboard", "homoglyph", "shuffle_all", "blank"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def _neighbours() -> dict[str, str]:
    """Keys less than 1.3 key widths apart, with the rows of a QWERTY keyboard set off by 0, 1/4 and 3/4."""
    rows = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))
    places = {
        key: (column + offset, float(row))
        for row, (keys, offset) in enumerate(rows)
        for column, key in enumerate(keys)
    }
    return {
        key: "".join(
            other for other in places if other != key and math.dist(places[key], places[other]) < 1.3
        )
        for key in places
    }


KEYBOARD: Mapping[str, str] = MappingProxyType(_neighbours())
"""Each lower-case letter's neighbours on a QWERTY keyboard."""

HOMOGLYPHS: Mapping[str, str] = MappingProxyType(
    {
        letter: chr(code)
        for letter, code in (
            # Cyrillic
            ("a", 0x430), ("c", 0x441), ("d", 0x501), ("e", 0x435), ("h", 0x4BB), ("i", 0x456), ("j", 0x458),
            ("l", 0x4CF), ("o", 0x43E), ("p", 0x440), ("q", 0x51B), ("s", 0x455), ("w", 0x51D), ("x", 0x445),
            ("y", 0x443), ("A", 0x410), ("B", 0x412), ("C", 0x421), ("E", 0x415), ("H", 0x41D), ("I", 0x406),
            ("J", 0x408), ("K", 0x41A), ("M", 0x41C), ("O", 0x41E), ("P", 0x420), ("S", 0x405), ("T", 0x422),
            ("X", 0x425), ("Y", 0x4AE),
            # Armenian, Greek, Latin for phonetics
            ("n", 0x578), ("u", 0x57D), ("v", 0x3BD), ("N", 0x39D), ("Z", 0x396), ("g", 0x261), ("z", 0x1D22),
        )
    }
)  # fmt: skip
"""Letters of other scripts that look like a Latin one."""


@dataclass(frozen=True)
class PerturbedWord:
    """A word after a perturbation, with the dose that was asked for and the one that was reached."""

    word: str
    text: str
    kind: Kind
    nominal: float
    realised: float  # the module says of what


def perturb(
    word: str,
    ratio: float,
    kind: Kind,
    *,
    rng: random.Random,
    min_len: int = 4,
    alphabet: Sequence[str] = "abcdefghijklmnopqrstuvwxyz",
    keyboard: Mapping[str, Sequence[str]] = KEYBOARD,
    homoglyphs: Mapping[str, Sequence[str]] = HOMOGLYPHS,
) -> PerturbedWord:
    """Spoil a word in one of the ways of `KINDS`; the module defines each and its realised dose.

    The ends stay, except with "shuffle_all" and "blank". What is put in or replaced keeps the case of the letter
    that it follows or replaces.

    Args:
        word: without whitespace.
        ratio: nominal dose from 0 to 1; 0 gives the word itself. "blank" takes 0 or 1.
        kind: one of `KINDS`.
        rng: of the draws; see `generator_for`.
        min_len: the fewest letters a word may have.
        alphabet: what "insert" draws from.
        keyboard: for "keyboard", the neighbours of each letter.
        homoglyphs: for "homoglyph", what looks like each letter.

    Raises:
        WordTooShort: fewer letters than `min_len`.
        CannotScramble: the word has no letter that this could change.
        InputError: an argument that cannot be.
    """
    dose = checked_share(ratio, "ratio")
    least = checked_count(min_len, "min_len", 1)
    letters = checked_word(word, least)
    if kind not in KINDS:
        raise InputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "blank" and dose not in (0, 1):
        raise InputError(f"a word is blanked or not: ratio must be 0 or 1, got {dose:g}")
    if dose == 0:
        return PerturbedWord(word, word, kind, dose, 0.0)
    if kind == "blank":
        return blank(word)
    if kind == "shuffle_all":
        found = scramble(word, dose, rng=rng, keep_ends=False, min_len=least)
        return PerturbedWord(word, found.text, kind, dose, found.realised)

    inner = letters[1:-1]
    if not inner:
        raise CannotScramble(f"{word!r} has no letter between its ends")
    size = letters_of(len(inner), dose)
    draw: Callable[[], Sequence[str]]
    if kind == "swap":
        draw, touched = _swapping(word, inner, size, rng)
    elif kind == "drop":
        draw, touched = partial(_dropped, inner, size, rng), size
    elif kind == "insert":
        if not alphabet:
            raise InputError("alphabet must hold a letter to insert")
        draw, touched = partial(_inserted, letters[0], inner, size, alphabet, rng), size
    else:
        others = [
            _keys(keyboard, letter) if kind == "keyboard" else homoglyphs.get(letter, ()) for letter in inner
        ]
        draw, touched = _replacing(word, inner, size, others, kind, rng)
    new = settled(lambda: [letters[0], *draw(), letters[-1]], f"{word!r} by {kind}")
    text = "".join(new)
    if any(character.isspace() for character in text):
        raise InputError(f"{kind} made {text!r} of {word!r}: what is put in must have no whitespace")
    return PerturbedWord(word, text, kind, dose, touched / len(inner))


def blank(word: str, token: str = "_") -> PerturbedWord:
    """The word replaced by `token`: the paper's condition without any form. Dose 1, nominal and realised.

    Raises:
        InputError: a word or a token that is empty or has whitespace, or a token that is the word.
    """
    checked_word(word, 1)
    checked_word(token, 1)
    if token == word:
        raise InputError(f"blanking {word!r} with itself changes nothing")
    return PerturbedWord(word, token, "blank", 1.0, 1.0)


def _swapping(
    word: str, inner: list[str], size: int, rng: random.Random
) -> tuple[Callable[[], list[str]], int]:
    """Draws of up to size // 2 disjoint pairs of unequal neighbours, each set as likely; how many letters move."""
    if size < 2:
        raise CannotScramble(
            f"{word!r}: a swap moves 2 letters and this dose is 1 of {len(inner)}; raise the ratio"
        )
    swaps = [a != b for a, b in pairwise(inner)]
    # ways[i][p]: sets of p disjoint pairs among the letters from i on
    ways = [[1] + [0] * (size // 2) for _ in range(len(inner) + 1)]
    for i in range(len(inner) - 2, -1, -1):
        for p in range(1, size // 2 + 1):
            ways[i][p] = ways[i + 1][p] + (ways[i + 2][p - 1] if swaps[i] else 0)
    pairs = max(p for p, number in enumerate(ways[0]) if number)
    if pairs == 0:
        raise CannotScramble(
            f"{word!r}: its inner letters are all equal, so no swap of neighbours changes it"
        )

    def draw() -> list[str]:
        new, i, p = list(inner), 0, pairs
        while p:
            if rng.randrange(ways[i][p]) < ways[i + 1][p]:
                i += 1
            else:
                new[i], new[i + 1] = new[i + 1], new[i]
                i, p = i + 2, p - 1
        return new

    return draw, 2 * pairs


def _dropped(inner: list[str], size: int, rng: random.Random) -> list[str]:
    gone = set(rng.sample(range(len(inner)), size))
    return [letter for place, letter in enumerate(inner) if place not in gone]


def _inserted(
    first: str, inner: list[str], size: int, alphabet: Sequence[str], rng: random.Random
) -> list[str]:
    gaps = set(rng.sample(range(len(inner) + 1), size))
    new: list[str] = []
    for gap, before in enumerate([first, *inner]):
        if gap:
            new.append(before)
        if gap in gaps:  # the case is that of the inner letter nearest to the left, or of the first inner one
            new.append(_in_case_of(inner[max(0, gap - 1)], rng.choice(alphabet)))
    return new


def _replacing(
    word: str,
    inner: list[str],
    size: int,
    others: Sequence[Sequence[str]],
    kind: Kind,
    rng: random.Random,
) -> tuple[Callable[[], list[str]], int]:
    others = [[other for other in some if other != old] for some, old in zip(others, inner, strict=True)]
    able = [place for place, choices in enumerate(others) if choices]
    if not able:
        raise CannotScramble(f"{word!r}: none of its inner letters is in the table of {kind}")
    count = min(size, len(able))

    def draw() -> list[str]:
        new = list(inner)
        for place in rng.sample(able, count):
            new[place] = rng.choice(others[place])
        return new

    return draw, count


def _keys(keyboard: Mapping[str, Sequence[str]], letter: str) -> list[str]:
    """The keys beside a letter's; a capital without an entry has the capitals of its small letter's."""
    if letter in keyboard:
        return list(keyboard[letter])
    return [key.upper() for key in keyboard.get(letter.lower(), ())]


def _in_case_of(letter: str, other: str) -> str:
    return other.upper() if letter.isupper() else other
