"""Text that shows habits, and as much text that does not: label, keep, rewrite, match in tokens (section 4.3).

Knows documents and a counter of habits; what counts (rules, a judge, likeness to examples) is the counter's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.training.four_habits.errors import TokenBudgetError
from firsthand.training.four_habits.habits import (
    BEHAVIOURS,
    BehaviourCounts,
    JudgeCounter,
    count_rules,
    count_words,
    sentences,
)

__all__ = ["EnrichedText", "LikenessCounter", "enrich"]


@dataclass(frozen=True)
class EnrichedText:
    """One document of either set: its place in the corpus, its text as it is now, its habits and tokens."""

    place: int
    text: str
    counts: BehaviourCounts
    tokens: int


def enrich(
    documents: Iterable[str],
    counter: Callable[[str], BehaviourCounts] | JudgeCounter = count_rules,
    *,
    keep: Sequence[str] = ("verification", "backtracking"),
    least: int = 1,
    rewrite: tuple[Callable[[str], str], Callable[[str], str]] | None = None,
    tokenizer: Any = None,
    longest: int | None = None,
    match_tokens: bool = True,
) -> tuple[list[EnrichedText], list[EnrichedText]]:
    """Documents in which every habit of `keep` shows `least` times or more, and those with no habit at all.

    Args:
        counter: from a text to its habits; a document without a count (a judge that gave none) is in neither set.
        rewrite: two functions, for the first set (habits kept) and for the second (plain steps); what they return
            empty is left out. The second set is counted again: a rewritten text that shows a habit is dropped.
        tokenizer: counts tokens; words and signs are counted where it is None.
        longest: tokens after which a document is cut, at the end of a line.
        match_tokens: cut both sets, in order, to the same total of tokens within half a per cent, the last document
            at the end of a word.

    Raises `InputError` for a habit that is none, `TokenBudgetError` where a set is empty and cannot be matched.
    """
    unknown = sorted(set(keep) - set(BEHAVIOURS))
    if unknown or not keep or least < 1:
        raise InputError(
            f"keep names habits ({', '.join(BEHAVIOURS)}) and least is at least 1; got {list(keep)}, {least}"
        )
    size = _counted(tokenizer)
    count = (lambda text: counter.count([text])[0]) if isinstance(counter, JudgeCounter) else counter
    shown: list[EnrichedText] = []
    plain: list[EnrichedText] = []
    for place, given in enumerate(documents):
        text = given if longest is None else _cut(given, longest, size, "\n")
        counts = count(text)
        values = [counts.of(name) for name in BEHAVIOURS]
        if None in values:
            continue
        if all((counts.of(name) or 0) >= least for name in keep):
            target, way = shown, rewrite and rewrite[0]
        elif not any(values):
            target, way = plain, rewrite and rewrite[1]
        else:
            continue
        if way:
            text = way(text)
            counts = count(text)
            if target is plain and any(counts.of(name) for name in BEHAVIOURS):
                continue
        if text.strip():
            target.append(EnrichedText(place, text, counts, size(text)))
    if not match_tokens:
        return shown, plain
    budget = min(sum(one.tokens for one in some) for some in (shown, plain))
    if not budget:
        which = "shows these habits" if not shown else "is without habits"
        raise TokenBudgetError(f"no document {which}: there is nothing to match")
    return _first(shown, budget, size, count), _first(plain, budget, size, count)


def _counted(tokenizer: Any) -> Callable[[str], int]:
    if tokenizer is None:
        return count_words
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _first(
    texts: Sequence[EnrichedText],
    budget: int,
    size: Callable[[str], int],
    count: Callable[[str], BehaviourCounts],
) -> list[EnrichedText]:
    """Documents in order up to `budget` tokens, the last one cut."""
    found, left = [], budget
    for one in texts:
        if one.tokens > left:
            text = _cut(one.text, left, size, " ")
            if text.strip():
                found.append(replace(one, text=text, counts=count(text), tokens=size(text)))
            break
        found.append(one)
        left -= one.tokens
        if not left:
            break
    total = sum(one.tokens for one in found)
    if total < 0.995 * budget:
        raise TokenBudgetError(
            f"documents come to {total} tokens, {budget} are wanted: they are too few to match"
        )
    return found


def _cut(text: str, longest: int, size: Callable[[str], int], where: str) -> str:
    """The longest beginning of at most `longest` tokens that ends at `where` (or the whole text)."""
    if size(text) <= longest:
        return text
    parts = text.split(where)
    low, high = 0, len(parts) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if size(where.join(parts[:middle])) <= longest:
            low = middle
        else:
            high = middle - 1
    return where.join(parts[:low])


class LikenessCounter:
    """Habits by likeness: a sentence counts for the habit whose examples it is most like, if like enough.

    Args:
        embed: from texts to vectors (N, D), such as a sentence model's `encode`.
        examples: sentences of each habit; those under "none" are what no habit looks like.
        least: cosine below which a sentence counts for nothing.
    """

    def __init__(
        self,
        embed: Callable[[list[str]], Any],
        examples: Mapping[str, Sequence[str]],
        *,
        least: float = 0.5,
    ) -> None:
        unknown = sorted(set(examples) - {*BEHAVIOURS, "none"})
        if unknown or not any(examples.get(name) for name in BEHAVIOURS):
            raise InputError(
                f"give examples of habits ({', '.join(BEHAVIOURS)}) and of none; got {sorted(examples)}"
            )
        self.embed, self.least = embed, least
        self.names = [name for name, some in examples.items() for _ in some]
        self.vectors = self._unit([text for some in examples.values() for text in some])

    def _unit(self, texts: list[str]) -> NDArray[np.float64]:
        vectors = np.asarray(self.embed(texts), dtype=float)
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise InputError(
                f"embed gives one vector a text; got shape {vectors.shape} for {len(texts)} texts"
            )
        unit: NDArray[np.float64] = vectors / np.maximum(
            np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12
        )
        return unit

    def __call__(self, trace: str, problem: object = None) -> BehaviourCounts:
        """Count one text; `problem` is not looked at."""
        places = sentences(trace)
        counts = dict.fromkeys(BEHAVIOURS, 0)
        spans = []
        if places:
            alike = self._unit([trace[start:end] for start, end in places]) @ self.vectors.T
            for (start, end), row in zip(places, alike, strict=True):
                name = self.names[int(row.argmax())]
                if name != "none" and row.max() >= self.least:
                    counts[name] += 1
                    spans.append((name, start, end))
        return BehaviourCounts(**counts, tokens=count_words(trace), spans=tuple(spans))
