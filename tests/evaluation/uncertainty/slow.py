"""The obvious versions: pairs in two loops, bins by a chain of comparisons, curves by sorting every order of ties."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

from hypothesis import settings
from hypothesis import strategies as st

unhurried = settings(deadline=None, max_examples=40)  # the first example imports scipy or scikit-learn


def slow_entropy(logits):
    top = max(logits)
    weights = [math.exp(x - top) for x in logits]
    shares = [w / sum(weights) for w in weights]
    return -sum(p * math.log(p) for p in shares if p > 0)


def beats(a, b):
    return 1.0 if a > b else 0.5 if a == b else 0.0


def slow_auc(error, u, weights=None):
    weights = weights or [1] * len(u)
    above = total = 0.0
    for (e, a, w), (f, b, v) in product(zip(error, u, weights, strict=True), repeat=2):
        if e and not f:
            above += w * v * beats(a, b)
            total += w * v
    return above / total


def slow_delong_variance(error, u):
    wrong = [a for e, a in zip(error, u, strict=True) if e]
    right = [a for e, a in zip(error, u, strict=True) if not e]
    v10 = [sum(beats(a, b) for b in right) / len(right) for a in wrong]
    v01 = [sum(beats(a, b) for a in wrong) / len(wrong) for b in right]
    mean = sum(v10) / len(v10)
    return sum((v - mean) ** 2 for v in v10) / (len(v10) - 1) / len(v10) + sum(
        (v - mean) ** 2 for v in v01
    ) / (len(v01) - 1) / len(v01)


def slow_ece(conf, correct, bins):
    """Exact edges: bin k is (k/bins, (k+1)/bins], and 0 is in the first."""
    total = 0.0
    for k in range(bins):
        inside = [
            (c, y)
            for c, y in zip(conf, correct, strict=True)
            if (Fraction(k, bins) < Fraction(str(c)) <= Fraction(k + 1, bins)) or (k == 0 and c == 0)
        ]
        if inside:
            gap = sum(c for c, _ in inside) / len(inside) - sum(y for _, y in inside) / len(inside)
            total += len(inside) * abs(gap)
    return total / len(conf)


@st.composite
def answers(draw, least=4, most=30, levels=8):
    """(error, u) of both kinds, at least two of each, with ties."""
    n = draw(st.integers(least, most))
    u = draw(st.lists(st.integers(0, levels), min_size=n, max_size=n))
    middle = draw(st.lists(st.booleans(), min_size=n - 4, max_size=n - 4))
    return [True, True, False, False, *middle], [float(x) / 4 for x in u]
