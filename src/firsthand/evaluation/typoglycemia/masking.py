"""Context integrity (arXiv 2503.01714): a share of the words around the target is hidden.

Of `count` words that may be hidden, n = ⌊count · (1 − CI)⌋ are, each as one token "_":

    where       which may be hidden               which of them are
    random      all but the target                drawn
    left        those before the target           drawn; all that a causal model sees of the context
    right       those after the target            drawn; a causal model's target cannot feel it
    far, near   all but the target                the farthest from it, or the nearest; two at a distance: drawn
    shuffled    all but the target                drawn, and they change places instead of being hidden

Words are what whitespace separates. Their number never changes, and whitespace stays as it is.

Knows words and places. Knows no scrambling, tokenizer or model.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.doses import checked_share, share_of

__all__ = ["MaskedText", "MaskedWords", "Where", "mask_context", "mask_text"]

Where = Literal["random", "left", "right", "far", "near", "shuffled"]
WHERE: tuple[Where, ...] = get_args(Where)


@dataclass(frozen=True)
class MaskedWords:
    """Words after masking: as many as before, the target as it was."""

    words: tuple[str, ...]
    chosen: tuple[int, ...]  # places that were hidden or took part in the shuffle, ascending
    integrity: float  # CI as asked for
    realised: float  # share of the words other than the target that are what they were


@dataclass(frozen=True)
class MaskedText:
    """A text after masking. Spans are characters, ends exclusive; span i of both is the i-th word."""

    text: str
    target: tuple[int, int]  # where the target is now
    before: tuple[tuple[int, int], ...]  # the words' spans in the text given
    after: tuple[tuple[int, int], ...]  # the words' spans in this text
    masked: MaskedWords


def mask_context(
    words: Sequence[str],
    keep: int,
    integrity: float,
    *,
    rng: random.Random,
    token: str = "_",
    where: Where = "random",
) -> MaskedWords:
    """Hide a share of the words around the one at `keep` (the module has the rules).

    Args:
        words: without whitespace, at least one.
        keep: place of the target; negative places count from the end.
        integrity: CI, from 0 (all that may be hidden is) to 1 (nothing is).
        rng: of the draws; see `generator_for`.
        token: what stands for a hidden word.
        where: which words may be hidden.

    Raises:
        InputError: an argument that cannot be.
    """
    share = checked_share(integrity, "integrity")
    if where not in WHERE:
        raise InputError(f"where must be one of {', '.join(WHERE)}, got {where!r}")
    for name, value in (("token", [token]), ("words", words)):
        if isinstance(value, str) or any(
            not isinstance(word, str) or len(word.split()) != 1 for word in value
        ):
            raise InputError(
                f"{name}: each must be a text that is not empty and has no whitespace, got {value!r}"
            )
    if isinstance(keep, bool) or not isinstance(keep, int) or not -len(words) <= keep < len(words):
        raise InputError(f"keep must be the place of one of the {len(words)} words, got {keep!r}")
    target = keep % len(words)
    chosen = _chosen(len(words), target, share, rng, where)
    new = list(words)
    if where == "shuffled":
        _shuffle(new, chosen, rng)
    else:
        for place in chosen:
            new[place] = token
    others = len(words) - 1
    same = sum(a == b for a, b in zip(words, new, strict=True)) - 1
    return MaskedWords(tuple(new), tuple(chosen), share, same / others if others else 1.0)


def mask_text(
    text: str,
    target: tuple[int, int],
    integrity: float,
    *,
    rng: random.Random,
    token: str = "_",
    where: Where = "random",
) -> MaskedText:
    """Hide a share of a text's words around a target and say where every word is now.

    The word that holds the target stays whole, with what is written to it without a space ("target,").

    Args:
        text: any text.
        target: span of the target in characters, end exclusive, within one word.
        integrity, rng, token, where: see `mask_context`.

    Raises:
        InputError: a span that is not within one word, or what `mask_context` refuses.
    """
    if not isinstance(text, str):
        raise InputError(f"expected a text, got {type(text).__name__}")
    before = tuple(found.span() for found in re.finditer(r"\S+", text))
    start, end = target
    keep = next((place for place, (a, b) in enumerate(before) if a <= start < end <= b), None)
    if keep is None:
        raise InputError(
            f"target {target!r} is not a span within one word of this text of {len(text)} characters"
        )
    masked = mask_context([text[a:b] for a, b in before], keep, integrity, rng=rng, token=token, where=where)
    new: list[str] = []
    after: list[tuple[int, int]] = []
    length = behind = 0
    for word, (a, b) in zip(masked.words, before, strict=True):
        new += [text[behind:a], word]
        length += a - behind
        after.append((length, length + len(word)))
        length += len(word)
        behind = b
    moved = after[keep][0] - before[keep][0]
    return MaskedText(
        "".join([*new, text[behind:]]), (start + moved, end + moved), before, tuple(after), masked
    )


def _chosen(count: int, target: int, integrity: float, rng: random.Random, where: Where) -> list[int]:
    able = [
        place
        for place in range(count)
        if place != target
        and not (where == "left" and place > target)
        and not (where == "right" and place < target)
    ]
    number = share_of(len(able), 1 - integrity)
    rng.shuffle(able)
    if where in ("far", "near"):  # a stable sort: those at one distance stay as shuffled
        able.sort(key=lambda place: abs(place - target), reverse=where == "far")
    return sorted(able[:number])


def _shuffle(words: list[str], places: list[int], rng: random.Random) -> None:
    """Words at `places` change places, to another order than before unless they are all equal."""
    old = [words[place] for place in places]
    new = list(old)
    while len(set(old)) > 1 and new == old:
        rng.shuffle(new)
    for place, word in zip(places, new, strict=True):
        words[place] = word
