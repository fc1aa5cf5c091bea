"""How many continuations a draft budget is split over (the paper's dynamic multi-sequence drafting).

Where the draft model is unsure of the next token, an alternative first token may be likelier than the best
two-token continuation; each such one begins a sequence of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError

__all__ = ["divisor_at_most", "num_sequences", "ranked"]


def divisor_at_most(budget: int, limit: int) -> int:
    """The largest divisor of `budget` that is at most `limit` (and at least 1): sequences of equal length."""
    return next(k for k in range(max(1, min(limit, budget)), 0, -1) if budget % k == 0)


def ranked(probabilities: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The `count` most probable token ids in order, equal ones by id; never one of probability 0."""
    p = np.asarray(probabilities)
    count = min(count, p.size)
    edge = np.partition(p, p.size - count)[p.size - count]
    candidates = np.flatnonzero((p >= edge) & (p > 0))
    return candidates[np.lexsort((candidates, -p[candidates]))][:count]


def num_sequences(first_probs: Any, second_max: float, budget: int, max_sequences: int = 8) -> int:
    """k, the number of sequences that `budget` drafted tokens are split over (section 3.3 of the paper).

    With a the most probable first token, the threshold is θ = p1[a]·max p2: a first token more probable than
    the best prefix of two deserves a sequence. k_raw counts a and, in order of probability, those above θ
    (strictly; rank 1 always counts); k is the largest divisor of the budget that is at most k_raw.

    Args:
        first_probs: p1, the draft's untempered distribution of the next token (V,), in any order; its largest
            values are enough.
        second_max: max p2, the largest probability of the token after a.
        budget: γ, drafted tokens of a round.
        max_sequences: k is at most this.

    Raises `InputError` for a budget or limit below 1, no probabilities, or numbers outside [0, 1].
    """
    p1 = np.asarray(first_probs, dtype=np.float64)
    if budget < 1:
        raise InputError(f"budget must be >= 1, got {budget}")
    if max_sequences < 1:
        raise InputError(f"max_sequences must be at least 1, got {max_sequences}")
    if p1.ndim != 1 or not p1.size or not (p1.min() >= 0 and p1.max() <= 1 + 1e-9 and p1.max() > 0):
        raise InputError("first_probs must be probabilities (V,), not all of them 0")
    if not 0 <= second_max <= 1 + 1e-9:
        raise InputError(f"second_max must be a probability, got {second_max}")
    highest = p1[ranked(p1, max_sequences)]
    if second_max == 0:  # nothing can follow; then nothing is known against any alternative
        return divisor_at_most(budget, len(highest))
    # In logarithms: products of small probabilities would vanish.
    above = np.log(highest[1:]) > np.log(highest[0]) + np.log(second_max)
    return divisor_at_most(budget, 1 + int(np.argmin(np.append(above, False))))
