"""The cheap classifier that carries predictive strength from the seed sample to the corpus.

What all kinds share; knows texts and 0/1 labels, nothing of strength. The kinds are `FastTextScorer`, the
paper's, and `HashedLinearScorer` for machines that fastText has no wheel for. A score is P(label 1), rounded
once to float32; it is relative to the models and the benchmark that made the labels, and no probability of
quality. An empty text scores NaN.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.corpora.ids import identity
from firsthand.corpora.places import atomic_file
from firsthand.data.preselect.errors import EmptyClassError, ScorerVersionError
from firsthand.data.preselect.text import NORMALISER_VERSION, normalize_text
from firsthand.errors import InputError, NotFoundError

__all__ = ["Scorer", "read_meta"]

Scores = NDArray[np.float32]

_LABELS = {"1": "high predictive strength", "0": "low predictive strength"}


class Scorer:
    """What both kinds share: normalised texts in, clipped float32 scores out, a folder on disk.

    A kind adds `_train`, `_probabilities`, `_word_weights`, `_write_weights` and `_read_weights`.
    """

    kind: ClassVar[str]
    weights_name: ClassVar[str]

    def __init__(self, **parameters: Any) -> None:
        self.parameters: dict[str, Any] = parameters
        self.meta: dict[str, Any] = {}

    def fit(self, texts: Sequence[str], y: ArrayLike) -> Self:
        """Learn from texts with labels 1 and 0.

        The order of training is a seeded shuffle of the texts themselves: neither the input's order nor
        classes that come one after the other change the result. Empty texts are left out.

        Raises:
            EmptyClassError: a class without a single non-empty text.
            InputError: labels other than 0 and 1, or lengths that do not match.
        """
        labels = np.asarray(y)
        if labels.shape != (len(texts),):
            raise InputError(f"there are {len(texts)} texts, and labels of shape {labels.shape}")
        if not np.isin(labels, (0, 1)).all():
            raise InputError(f"labels must be 0 or 1, got {sorted(set(labels.tolist()) - {0, 1})[:5]}")
        pairs = [(normalize_text(t), int(label)) for t, label in zip(texts, labels, strict=True)]
        pairs = [pair for pair in pairs if pair[0]]
        for label in (1, 0):
            if not any(pair[1] == label for pair in pairs):
                raise EmptyClassError(f"no non-empty text has label {label}; each class needs some")
        seed = self.parameters["seed"]
        pairs.sort(key=lambda pair: identity(f"train:{seed}:{pair[1]}", pair[0]))
        self._train([text for text, _ in pairs], np.array([label for _, label in pairs]))
        digest = hashlib.sha256()
        for text, label in pairs:
            digest.update(f"{label} {text}\n".encode())
        self.meta = {
            "kind": self.kind,
            "normaliser_version": NORMALISER_VERSION,
            "labels": _LABELS,
            "parameters": self.parameters,
            "n_positive": sum(label for _, label in pairs),
            "n_negative": sum(1 - label for _, label in pairs),
            "training_sha256": digest.hexdigest(),
        }
        return self

    def predict_proba(self, texts: Sequence[str]) -> Scores:
        """(n,) float32 P(label 1) in [0, 1]; NaN for a text that is empty once normalised."""
        if not self.meta:
            raise InputError("this scorer is not trained: call fit or load first")
        normalised = [normalize_text(text) for text in texts]
        scores = np.full(len(normalised), np.nan, dtype=np.float32)
        filled = [i for i, text in enumerate(normalised) if text]
        if filled:
            found = np.asarray(self._probabilities([normalised[i] for i in filled]), dtype=np.float32)
            # fastText's softmax table is a little above 1 at the end (1.00001): harmless, and clipped.
            scores[filled] = np.clip(found, np.float32(0), np.float32(1))
        return scores

    def contributions(self, top: int = 50) -> list[tuple[str, float]]:
        """The words that move the score most, largest first: `top` upward ones, then `top` downward ones.

        For word w: input vector(w) · (output row of label 1 − output row of label 0).
        """
        if not self.meta:
            raise InputError("this scorer is not trained: call fit or load first")
        if top < 1:
            raise InputError(f"top must be at least 1, got {top}")
        words, weights = self._word_weights()
        ranked = sorted(zip(words, weights.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
        return ranked if len(ranked) <= 2 * top else ranked[:top] + ranked[-top:]

    def fingerprint(self) -> str:
        """SHA-256 of the weights file; the same for a scorer and its saved copy."""
        if "weights_sha256" not in self.meta:
            if not self.meta:
                raise InputError("this scorer is not trained: call fit or load first")
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / self.weights_name
                self._write_weights(path)
                self.meta["weights_sha256"] = _sha256(path)
        return str(self.meta["weights_sha256"])

    def save(self, path: Path | str, *, extra: Mapping[str, Any] | None = None) -> Path:
        """Write a folder: the weights, and `meta.json` (kind, normaliser version, hashes, `extra`)."""
        folder = Path(path)
        self.fingerprint()
        with atomic_file(folder / self.weights_name) as beside:
            self._write_weights(beside)
        meta = {**self.meta, **(extra or {})}
        with atomic_file(folder / "meta.json") as beside:
            beside.write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return folder

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a folder that `save` wrote.

        Raises:
            NotFoundError: no scorer there.
            ScorerVersionError: made with another text normaliser.
            InputError: another kind, or weights that are not the ones `meta.json` speaks of.
        """
        folder = Path(path)
        meta = read_meta(folder)
        if meta.get("kind") != cls.kind:
            raise InputError(f"{folder}: a scorer of kind {meta.get('kind')!r}, not {cls.kind!r}")
        weights = folder / cls.weights_name
        if not weights.is_file():
            raise NotFoundError(f"{folder}: the weights file {cls.weights_name} is missing")
        if _sha256(weights) != meta.get("weights_sha256"):
            raise InputError(f"{weights}: not the weights that meta.json speaks of (SHA-256 differs)")
        scorer = cls(**meta["parameters"])
        scorer.meta = meta
        scorer._read_weights(weights)
        return scorer

    def _train(self, texts: list[str], labels: NDArray[np.int_]) -> None:
        raise NotImplementedError

    def _probabilities(self, texts: list[str]) -> ArrayLike:
        raise NotImplementedError

    def _word_weights(self) -> tuple[list[str], NDArray[np.float64]]:
        raise NotImplementedError

    def _write_weights(self, path: Path) -> None:
        raise NotImplementedError

    def _read_weights(self, path: Path) -> None:
        raise NotImplementedError


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_meta(folder: Path) -> dict[str, Any]:
    """A saved scorer's `meta.json`; raises as `Scorer.load` does."""
    path = folder / "meta.json"
    if not path.is_file():
        raise NotFoundError(f"{folder}: no scorer here (meta.json is missing)")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        version = meta["normaliser_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a scorer's meta.json: {error}") from error
    if version != NORMALISER_VERSION:
        raise ScorerVersionError(
            f"{folder}: made with text normaliser {version!r}, this version has {NORMALISER_VERSION!r}; "
            "train the scorer again"
        )
    return dict(meta)
