"""Doses: how many letters or words a share means, and the generator that belongs to one item at one dose.

Knows numbers, and letters as a reader sees them (grapheme clusters). Knows no perturbation, text or model.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Sequence

from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.errors import CannotScramble
from firsthand.lm.backend import require

__all__ = ["checked_count", "checked_share", "clusters", "generator_for", "letters_of", "settled", "share_of"]

_DRAWS = 1000


def checked_share(value: object, name: str) -> float:
    """`value` as a float between 0 and 1.

    Raises:
        InputError: anything else, NaN and booleans among them.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InputError(f"{name} must be a number from 0 to 1, got {value!r}")
    return float(value)


def checked_count(value: object, name: str, least: int) -> int:
    """`value` as an integer of at least `least`.

    Raises:
        InputError: anything else, booleans among them.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return value


def share_of(count: int, share: float) -> int:
    """⌊count · share⌋ with `share` as its decimals are written: 0.29 of 100 is 29, not 28."""
    return math.floor(round(count * share, 9))


def letters_of(count: int, ratio: float) -> int:
    """n = max(1, ⌊m · SR⌋), the letters that a dose above 0 touches; 0 at dose 0 (Scramble Ratio).

    Args:
        count: m, the letters that may be touched.
        ratio: SR, from 0 to 1.
    """
    return 0 if ratio == 0 or count == 0 else max(1, share_of(count, ratio))


def clusters(text: str) -> list[str]:
    """The grapheme clusters of a text: what a reader takes for one letter, marks and joined emoji included.

    Raises:
        InputError: not a text.
        MissingDependencyError: the package `regex` is not installed.
    """
    if not isinstance(text, str):
        raise InputError(f"expected a text, got {type(text).__name__}")
    found: list[str] = require("regex").findall(r"\X", text)
    return found


def settled(draw: Callable[[], Sequence[str]], what: str) -> list[str]:
    """The first arrangement drawn whose clusters stay apart when they are joined.

    Some neighbours fuse: two halves of a flag, a leading Hangul consonant and its vowel. A letter would then be lost.

    Args:
        draw: gives an arrangement of clusters, another one each time.
        what: for the message.

    Raises:
        CannotScramble: a thousand draws gave none.
    """
    for _ in range(_DRAWS):
        letters = list(draw())
        if clusters("".join(letters)) == letters:
            return letters
    raise CannotScramble(
        f"{what}: none of {_DRAWS} arrangements drawn keeps its letters apart; choose another word"
    )


def generator_for(
    seed: int, item: str | int, ratio: float = 0.0, integrity: float = 1.0, purpose: str = ""
) -> random.Random:
    """The generator of one item at one dose: the same whatever other items, ratios and integrities a run has.

    Args:
        seed: the run's seed.
        item: the item's id; 1 and "1" are two items.
        ratio: SR.
        integrity: CI.
        purpose: what is drawn, so that masks and scrambles of an item are independent.

    Raises:
        InputError: a seed, an id or a share that cannot be.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"seed must be a whole number, got {seed!r}")
    if isinstance(item, bool) or not isinstance(item, str | int):
        raise InputError(f"an item's id must be a text or a whole number, got {item!r}")
    # abs: -0.0 is 0
    key = [
        seed,
        item,
        abs(checked_share(ratio, "ratio")),
        abs(checked_share(integrity, "integrity")),
        purpose,
    ]
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return random.Random(int.from_bytes(digest, "big"))
