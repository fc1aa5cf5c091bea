"""Small corpora with a signal that a bigram classifier can find."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from firsthand.corpora.documents import Document

_GOOD = "the river carries water from the mountain to the sea and every valley keeps a little of it"
_BAD = "click buy now cheap offer win prize deal free bonus code sale limited order today"
GOOD, BAD = _GOOD.split(), _BAD.split()


def text_of(words: Sequence[str], rng: random.Random, n: int = 40) -> str:
    return " ".join(rng.choice(words) for _ in range(n))


def labelled(n: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """n texts, half of each kind, taking turns."""
    rng = random.Random(seed)
    labels = [i % 2 for i in range(n)]
    return [text_of(GOOD if label else BAD, rng) for label in labels], labels


class Ladder:
    """Models as functions: the better the model, the less it loses on good text; junk goes the other way."""

    def __init__(self, skill: float) -> None:
        self.skill = skill
        self.calls = 0
        self.seen: list[str] = []

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray]:
        self.calls += 1
        self.seen += texts
        rows = []
        for text in texts:
            words = text.split()
            good = sum(word in GOOD for word in words) >= len(words) / 2
            rows.append(np.full(len(words), 3.0 - self.skill if good else 3.0 + self.skill))
        return rows


LADDER = {"small": (0.1, 30.0), "middle": (0.2, 35.0), "large": (0.3, 41.0)}


@pytest.fixture
def ladder() -> dict[str, Ladder]:
    return {name: Ladder(skill) for name, (skill, _) in LADDER.items()}


@pytest.fixture
def ability() -> dict[str, float]:
    return {name: value for name, (_, value) in LADDER.items()}


def documents(n: int, seed: int = 0) -> list[Document]:
    texts, labels = labelled(n, seed)
    return [
        Document(f"doc-{i}", t, "good" if label else "bad")
        for i, (t, label) in enumerate(zip(texts, labels, strict=True))
    ]


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[..., Path]:
    import json

    def write(name: str, records: Sequence[dict[str, object]]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
        return path

    return write
