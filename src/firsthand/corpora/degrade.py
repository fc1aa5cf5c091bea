"""Text whose quality is known because we damaged it: labels for testing what claims to see quality.

Every generator takes a NumPy generator first and draws nothing from anywhere else. Knows nothing of
where good text comes from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from firsthand.corpora.documents import Document
from firsthand.errors import InputError

__all__ = [
    "GENERATED",
    "boilerplate",
    "character_noise",
    "hex_dump",
    "mixture",
    "number_table",
    "word_shuffle",
]

_PRINTABLE = "".join(chr(code) for code in range(33, 127))

# Sentences that web pages repeat; written for this file.
_BOILERPLATE = (
    "We use cookies to improve your visit. By staying on this page you agree to our cookie policy.",
    "All rights reserved. No part of this site may be used without written permission.",
    "Sign up for our newsletter and never miss an offer again.",
    "Home | Products | Support | About us | Contact | Sitemap",
    "Please enable JavaScript in your browser to see this content.",
    "Follow us and share this page with your friends.",
    "Your session has expired. Log in again to continue.",
    "Read more. Show less. Back to top.",
    "Prices include tax and may change without notice.",
    "Subscribe now to get full access to every article.",
)


def word_shuffle(rng: np.random.Generator, text: str) -> str:
    """The same words in random order, one space between them: vocabulary kept, sense gone."""
    words = text.split()
    return " ".join(words[index] for index in rng.permutation(len(words)))


def character_noise(rng: np.random.Generator, text: str, *, rate: float = 0.2) -> str:
    """Replace each character, with probability `rate`, by a random printable one; the length stays."""
    if not 0 <= rate <= 1:
        raise InputError(f"rate is a probability, got {rate}")
    hit = rng.random(len(text)) < rate
    other = rng.integers(len(_PRINTABLE), size=len(text))
    return "".join(
        _PRINTABLE[index] if change else character
        for character, change, index in zip(text, hit, other, strict=True)
    )


def number_table(rng: np.random.Generator, chars: int = 800) -> str:
    """Rows of random decimals in columns, `chars` characters; columns and digits vary between tables."""
    columns = int(rng.integers(3, 9))
    digits = int(rng.integers(1, 5))
    width = digits + 6
    scale = float(10.0 ** rng.integers(0, 4))
    rows = math.ceil((_positive(chars) + 1) / (columns * (width + 1)))  # each row ends in one character more
    values = rng.normal(scale=scale / 3, size=(rows, columns)).clip(-9999, 9999)
    lines = (" ".join(f"{value:{width}.{digits}f}" for value in row) for row in values)
    return "\n".join(lines)[:chars]


def hex_dump(rng: np.random.Generator, chars: int = 800) -> str:
    """Random bytes as a dump prints them (address, 16 bytes, their printable form), `chars` characters."""
    lines = math.ceil(_positive(chars) / 75)
    address = int(rng.integers(0, 1 << 20)) * 16
    dump = []
    for number in range(lines):
        row = rng.bytes(16)
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        dump.append(f"{address + 16 * number:08x}  {row.hex(' ')}  |{shown}|")
    return "\n".join(dump)[:chars]


def boilerplate(rng: np.random.Generator, chars: int = 800) -> str:
    """Sentences of a page's furniture, a few of them over and over, `chars` characters.

    Every document says the same few things, so a model that is better at anything is better at these.
    """
    chosen = rng.choice(len(_BOILERPLATE), size=4, replace=False)
    once = "\n".join(_BOILERPLATE[index] for index in sorted(chosen)) + "\n"
    return (once * math.ceil(_positive(chars) / len(once)))[:chars]


_Damage = Callable[[np.random.Generator, str], str]
_Generate = Callable[[np.random.Generator, int], str]

# Labels that `mixture` makes out of a text, and those it makes out of nothing.
_DAMAGED: dict[str, _Damage] = {"shuffled": word_shuffle, "noise": character_noise}
_MADE: dict[str, _Generate] = {"numbers": number_table, "hex": hex_dump, "boilerplate": boilerplate}
GENERATED = (*_DAMAGED, *_MADE)


def mixture(
    rng: np.random.Generator,
    count: int,
    shares: Mapping[str, float],
    texts: Mapping[str, Sequence[str]],
    *,
    damage: str = "prose",
    chars: int = 800,
) -> tuple[Document, ...]:
    """A pool of `count` documents in random order, by shares, each with its label as `kind`.

    A label in `shares` is either one of `texts` (its texts are dealt without replacement) or made here:
    "shuffled" and "noise" from texts of `texts[damage]` that nothing else in the pool uses; "numbers",
    "hex" and "boilerplate" of `chars` characters from nothing. Shares must sum to 1; counts are the
    nearest whole numbers that sum to `count`. Ids are label and number, unique in the pool; `source` is
    the label of the text underneath.

        mixture(rng, 4000, {"prose": .15, "code": .25, "shuffled": .3, "numbers": .15, "hex": .15},
                {"prose": docstrings, "code": functions})
    """
    counts = _apportion(count, shares)
    for label in shares:
        if label not in texts and label not in GENERATED:
            raise InputError(
                f"label {label!r} is neither in texts ({', '.join(texts)}) nor made here {GENERATED}"
            )
    both = sorted(set(texts) & set(GENERATED) & set(shares))
    if both:
        raise InputError(f"the label {both[0]!r} is made here; give those texts another label")
    needs: dict[str, int] = {}
    for label, number in counts.items():
        below = label if label in texts else damage if label in _DAMAGED else None
        if below is not None:
            needs[below] = needs.get(below, 0) + number
    hands: dict[str, list[str]] = {}
    for below, number in sorted(needs.items()):
        supply = texts.get(below, ())
        if number > len(supply):
            raise InputError(f"the pool needs {number} texts of {below!r} and was given {len(supply)}")
        hands[below] = [supply[index] for index in rng.choice(len(supply), size=number, replace=False)]
    pool = []
    for label, number in sorted(counts.items()):
        for index in range(number):
            if label in texts:
                text, source = hands[label].pop(), label
            elif label in _DAMAGED:
                text, source = _DAMAGED[label](rng, hands[damage].pop()), damage
            else:
                text, source = _MADE[label](rng, chars), label
            pool.append(Document(f"{label}-{index:06d}", text, source, label))
    return tuple(pool[index] for index in rng.permutation(len(pool)))


def _apportion(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers that sum to `count`, by largest remainder; ties go to the label first in the alphabet."""
    if count < 1 or not shares:
        raise InputError("a pool needs a count of at least 1 and at least one share")
    if min(shares.values()) < 0 or not math.isclose(sum(shares.values()), 1, abs_tol=1e-9):
        raise InputError(f"shares must be 0 or more and sum to 1; they sum to {sum(shares.values()):g}")
    exact = {label: count * share for label, share in shares.items()}
    counts = {label: math.floor(value + 1e-9) for label, value in exact.items()}
    by_remainder = sorted(exact, key=lambda label: (counts[label] - exact[label], label))
    for label in by_remainder[: count - sum(counts.values())]:
        counts[label] += 1
    return counts


def _positive(chars: int) -> int:
    if chars < 1:
        raise InputError(f"chars must be at least 1, got {chars}")
    return chars
