"""Means over words and their intervals: words are what is drawn again, with all their texts.

Knows arrays with a row for each text or each word. Knows no scores and no doses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firsthand.claims.intervals import UndecidedError, bootstrap_estimate
from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.doses import checked_count

__all__ = ["WordEstimate", "by_word", "over_words", "resampled_means"]

Floats = NDArray[np.float64]
_FEWEST_WORDS = 30  # as in firsthand.claims


@dataclass(frozen=True)
class WordEstimate:
    """A value with its interval over words."""

    value: float
    low: float
    high: float
    level: float
    words: int
    method: str


def by_word(words: Sequence[str], values: Floats) -> Floats:
    """(words, ...) means over the items (items, ...) of each word, words in alphabetical order."""
    places = {word: place for place, word in enumerate(sorted(set(words)))}
    place = np.array([places[word] for word in words], np.intp)
    sums = np.zeros((len(places), *values.shape[1:]))
    np.add.at(sums, place, values)
    return sums / np.bincount(place).reshape(-1, *[1] * (values.ndim - 1))


def over_words(
    words: Floats, statistic: Callable[[Floats], float], n_boot: int, seed: int, level: float
) -> WordEstimate:
    """A statistic of the mean over words (words, ...), with the instrument's BCa bootstrap over them.

    Raises:
        InputError: no draw, or a level that is not between 0 and 1.
        UndecidedError: fewer than 30 words, or a resample in which the statistic is not finite.
    """
    checked_count(n_boot, "n_boot", 1)
    _check_level(level)
    found = bootstrap_estimate(
        list(words),
        lambda chosen: statistic(np.mean(np.array(chosen, np.float64), axis=0)),
        seed=seed,
        resamples=n_boot,
    )
    low, high = found.interval(level)
    return WordEstimate(found.value, low, high, level, found.n, found.method)


def resampled_means(words: Floats, *, n_boot: int, seed: int, level: float) -> Floats:
    """(n_boot, ...) means over words (words, ...) drawn again with replacement, as many as there are.

    Raises:
        InputError, UndecidedError: see `over_words`.
    """
    draws = checked_count(n_boot, "n_boot", 1)
    _check_level(level)
    n = len(words)
    if n < _FEWEST_WORDS:
        raise UndecidedError(f"a bootstrap interval needs at least {_FEWEST_WORDS} words, there are {n}")
    drawn = np.random.default_rng(seed).integers(n, size=(draws, n)) + n * np.arange(draws)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=draws * n).reshape(draws, n)
    means = counts @ words.reshape(n, -1) / n
    return np.asarray(means.reshape(draws, *words.shape[1:]))


def _check_level(level: float) -> None:
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, got {level!r}")
