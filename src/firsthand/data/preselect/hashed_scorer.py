"""A scorer without fastText: hashed word n-grams and logistic regression."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.data.preselect.scorer import Scorer
from firsthand.errors import InputError, MissingDependencyError

__all__ = ["HashedLinearScorer"]


class HashedLinearScorer(Scorer):
    """Hashed word n-grams and logistic regression (scikit-learn): the same interface without fastText.

    Args:
        word_ngrams: longest n-gram of words.
        features: hash buckets.
        penalty: inverse strength of the L2 penalty (scikit-learn's C).
        seed: seeds the training order; the optimum does not depend on it.
    """

    kind = "hashed"
    weights_name = "model.npz"
    _most_words = 100_000  # words kept for `contributions`, the most frequent first

    def __init__(
        self, word_ngrams: int = 2, features: int = 1 << 18, penalty: float = 10.0, seed: int = 0
    ) -> None:
        super().__init__(word_ngrams=word_ngrams, features=features, penalty=penalty, seed=seed)
        self._weights: NDArray[np.float64] = np.empty(0)
        self._intercept = 0.0
        self._words: list[str] = []
        self._hasher: Any = None

    def _matrix(self, texts: Sequence[str]) -> Any:
        if self._hasher is None:
            try:
                from sklearn.feature_extraction.text import HashingVectorizer
            except ImportError as error:
                raise MissingDependencyError(
                    "this scorer needs scikit-learn: pip install 'firsthand[data]'"
                ) from error
            self._hasher = HashingVectorizer(
                lowercase=False,
                token_pattern=r"\S+",
                ngram_range=(1, self.parameters["word_ngrams"]),
                n_features=self.parameters["features"],
                norm="l2",
            )
        return self._hasher.transform(texts)

    def _train(self, texts: list[str], labels: NDArray[np.int_]) -> None:
        matrix = self._matrix(texts)
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.parameters["penalty"], max_iter=1000).fit(matrix, labels)
        self._weights = np.asarray(model.coef_[0], dtype=np.float64)
        self._intercept = float(model.intercept_[0])
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text.split(" "))
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        self._words = ranked[: self._most_words]

    def _probabilities(self, texts: list[str]) -> ArrayLike:
        from scipy.special import expit

        return np.asarray(expit(self._matrix(texts) @ self._weights + self._intercept))

    def _word_weights(self) -> tuple[list[str], NDArray[np.float64]]:
        if not self._words:
            return [], np.empty(0)
        return self._words, np.asarray(self._matrix(self._words) @ self._weights)

    def _write_weights(self, path: Path) -> None:
        words = np.frombuffer("\n".join(self._words).encode("utf-8"), dtype=np.uint8)
        with path.open("wb") as stream:
            np.savez(stream, weights=self._weights, intercept=np.array([self._intercept]), words=words)

    def _read_weights(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as stored:
                self._weights = stored["weights"]
                self._intercept = float(stored["intercept"][0])
                text = stored["words"].tobytes().decode("utf-8")
        except (ValueError, KeyError, OSError) as error:
            raise InputError(f"{path}: not a scorer's weights: {error}") from error
        self._words = text.split("\n") if text else []
