"""Accepting freely sampled drafts so that what comes out is distributed as the target alone (lossless sampling).

A token x drawn from q is kept with probability min(1, p(x)/q(x)); otherwise another is drawn from the
residual norm(max(p − q, 0)). Of several first tokens drawn without replacement each one meets what the
rejected ones before it left of p, and of q without them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["accept_first", "accept_token"]

Floats = NDArray[np.float64]


def accept_token(p: Floats, q: Floats, token: int, random: np.random.Generator) -> tuple[int, bool]:
    """`token`, drawn from `q` (V,), or another in its place: the result is distributed as `p` (V,)."""
    chosen, index = accept_first(p, q, (token,), random)
    return chosen, index is not None


def accept_first(
    p: Floats, q: Floats, tokens: Sequence[int], random: np.random.Generator
) -> tuple[int, int | None]:
    """Which of `tokens`, drawn one after another from `q` without replacement, is kept; or another token.

    Returns the token and its index among `tokens`, None where all were rejected. The token is distributed as
    `p` whatever q is, and whatever the number of tokens depends on, as long as it is not on those drawn later.
    """
    p, q = p.copy(), q.copy()
    for index, token in enumerate(tokens):
        if random.random() * q[token] < p[token]:
            return token, index
        residual = np.maximum(p - q, 0.0)
        mass = residual.sum()
        if mass <= 0:  # p and q are equal up to rounding: a rejection that arithmetic alone made
            return token, index
        p = residual / mass
        q[token] = 0.0
        left = q.sum()
        if left <= 0:
            break
        q /= left
    total = np.cumsum(p)
    drawn = int(np.searchsorted(total, random.random() * total[-1], side="right"))
    return min(drawn, int(np.flatnonzero(p)[-1])), None
