"""`PreSelect`: strength, labels, scorer and selection behind `fit`, `score` and `select`, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.corpora.documents import Document
from firsthand.data.preselect.holdout import HoldOutReport, train_scorer
from firsthand.data.preselect.labels import Positives, build_labels
from firsthand.data.preselect.scorer import Scorer
from firsthand.data.preselect.scorers import ScorerKind, make_scorer
from firsthand.data.preselect.selection import Measure, Selection, select_by_score
from firsthand.data.preselect.strength import LevelHistogram, Ties, level_histogram, predictive_strength
from firsthand.errors import InputError

__all__ = ["PreSelect"]

_BATCH = 1024


class PreSelect:
    """Select the documents whose compression by known models best predicts those models' abilities.

    Args:
        ties, min_gap: as in `predictive_strength`.
        positives, q, balance, max_per_class, min_per_class: as in `build_labels`.
        scorer: an untrained scorer, or "auto", "fasttext", "hashed"; `scorer_parameters` go to it.
        holdout: the share of labelled documents kept out of training for the report.
        seed: seeds ties, hold-out, training and selection.

    Attributes (after `fit`):
        strength_: (D,) S of the seed documents, NaN where a model's loss is missing.
        histogram_: their levels. positive_, negative_: indices of the two classes.
        report_: accuracy, AUC and calibration on what was held out; None with `holdout=0`.
        scorer_: the trained scorer, to be saved.
    """

    strength_: NDArray[np.float64]
    histogram_: LevelHistogram
    positive_: NDArray[np.intp]
    negative_: NDArray[np.intp]
    report_: HoldOutReport | None
    scorer_: Scorer

    def __init__(
        self,
        *,
        ties: Ties = "zero",
        min_gap: float = 0.0,
        positives: Positives = "exact",
        q: float = 0.25,
        balance: bool = True,
        max_per_class: int = 200_000,
        min_per_class: int = 50,
        scorer: Scorer | ScorerKind = "auto",
        holdout: float = 0.1,
        seed: int = 0,
        **scorer_parameters: Any,
    ) -> None:
        self.ties: Ties = ties
        self.min_gap = min_gap
        self.positives: Positives = positives
        self.q = q
        self.balance = balance
        self.max_per_class = max_per_class
        self.min_per_class = min_per_class
        self.scorer = scorer
        self.holdout = holdout
        self.seed = seed
        self.scorer_parameters = scorer_parameters

    def fit(self, seed_docs: Sequence[str | Document], losses: ArrayLike, ability: ArrayLike) -> Self:
        """Learn what predictive documents look like.

        Args:
            seed_docs: D texts, or `Document`s (their ids then make ties independent of the order).
            losses: (D, N) loss of each document under each model; NaN = missing.
            ability: (N,) benchmark score of each model, higher is better.

        Raises:
            InputError: shapes that do not match, and all that the parts raise.
        """
        ids, texts = _ids_and_texts(seed_docs)
        strength = predictive_strength(losses, ability, ties=self.ties, min_gap=self.min_gap)
        if strength.size != len(texts):
            raise InputError(f"there are {len(texts)} seed documents and losses of {strength.size}")
        sources = [doc.source if isinstance(doc, Document) else "" for doc in seed_docs]
        histogram = level_histogram(strength, sources)
        top, bottom = build_labels(
            strength,
            positives=self.positives,
            q=self.q,
            balance=self.balance,
            seed=self.seed,
            ids=ids,
            max_per_class=self.max_per_class,
            min_per_class=self.min_per_class,
        )
        chosen = np.concatenate([top, bottom])
        scorer = self.scorer
        if isinstance(scorer, str):
            scorer = make_scorer(scorer, **{"seed": self.seed, **self.scorer_parameters})
        self.report_ = train_scorer(
            scorer,
            [texts[i] for i in chosen],
            np.repeat([1, 0], [top.size, bottom.size]),
            [ids[i] for i in chosen],
            holdout=self.holdout,
            seed=self.seed,
        )
        self.strength_, self.histogram_ = strength, histogram
        self.positive_, self.negative_, self.scorer_ = top, bottom, scorer
        return self

    def score(self, docs: Iterable[str | Document]) -> Iterator[float]:
        """The score of each document, one after the other; NaN for an empty one."""
        if not hasattr(self, "scorer_"):
            raise InputError("fit first: there is no trained scorer yet")
        source = iter(docs)
        while batch := list(islice(source, _BATCH)):
            texts = [doc.text if isinstance(doc, Document) else doc for doc in batch]
            yield from (float(score) for score in self.scorer_.predict_proba(texts))

    def select(
        self,
        docs: Sequence[str | Document],
        fraction: float = 0.1,
        measure: Measure = "chars",
        *,
        count_tokens: Callable[[str], int] | None = None,
    ) -> Selection:
        """The documents with the highest scores that make up `fraction` of the whole by `measure`.

        Args:
            docs: the pool, in memory; for files see `score_corpus` and `select_corpus`.
            fraction: in (0, 1].
            measure: "chars", "docs", or "tokens" (which needs `count_tokens`).
            count_tokens: tokens of a text.
        """
        ids, texts = _ids_and_texts(docs)
        if measure == "tokens":
            if count_tokens is None:
                raise InputError("measure 'tokens' needs count_tokens")
            sizes = [count_tokens(text) for text in texts]
        elif measure in ("chars", "docs"):
            sizes = [len(text) if measure == "chars" else 1 for text in texts]
        else:
            raise InputError(f"measure must be 'chars', 'tokens' or 'docs', not {measure!r}")
        scores = np.fromiter(self.score(docs), dtype=np.float32, count=len(docs))
        return select_by_score(scores, sizes, fraction, ids=ids, seed=self.seed)


def _ids_and_texts(docs: Sequence[str | Document]) -> tuple[list[str], list[str]]:
    ids = [doc.id if isinstance(doc, Document) else str(at) for at, doc in enumerate(docs)]
    if len(set(ids)) != len(ids):
        raise InputError("ids repeat: each document needs an id of its own")
    return ids, [doc.text if isinstance(doc, Document) else doc for doc in docs]
