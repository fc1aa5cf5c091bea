"""Arms of a comparison and the estimator, in memory."""

from __future__ import annotations

import numpy as np
import pytest

from firsthand.corpora.documents import Document
from firsthand.data.preselect import (
    EmptyClassError,
    HashedLinearScorer,
    PreSelect,
    bits_per_char,
    lowest_loss_selection,
    random_selection,
    select_by_score,
)
from firsthand.errors import InputError

from .conftest import LADDER, Ladder, documents, labelled


def test_random_selection_is_seeded_by_id():
    ids = [f"d{i}" for i in range(400)]
    sizes = np.arange(1, 401)
    one = random_selection(sizes, 0.1, ids=ids, seed=1)
    assert one.threshold.kept_size >= 0.1 * sizes.sum()
    assert set(one.indices) != set(random_selection(sizes, 0.1, ids=ids, seed=2).indices)
    order = np.random.default_rng(0).permutation(400)
    again = random_selection(sizes[order], 0.1, ids=[ids[i] for i in order], seed=1)
    assert {ids[i] for i in one.indices} == {ids[order[i]] for i in again.indices}
    assert 150 < np.mean(one.indices) < 320  # large documents fill the budget too: no fixed end of the input


def test_lowest_loss_keeps_what_compresses_best():
    picked = lowest_loss_selection([2.0, 0.5, np.nan, 1.0], [10, 10, 10, 10], 0.5)
    assert picked.indices.tolist() == [1, 3]
    assert picked.threshold.unscored_docs == 1


def test_all_is_all():
    assert select_by_score([0.1, 0.1, 0.9], [0, 3, 5], 1.0).indices.tolist() == [0, 1, 2]


@pytest.fixture
def fitted():
    seed = documents(200)
    models = [Ladder(skill) for skill, _ in LADDER.values()]
    losses = np.array([[row.sum() for row in model([d.text for d in seed])] for model in models]).T
    method = PreSelect(min_per_class=20, scorer="hashed", features=4096, seed=1)
    return method.fit(seed, losses, [ability for _, ability in LADDER.values()]), seed, losses


def test_fit_score_select(fitted):
    method, seed, _ = fitted
    assert set(np.unique(method.strength_)) == {0.0, 1.0}
    assert {seed[i].source for i in method.positive_} == {"good"}
    assert method.histogram_.by_source["good"] == (0, 100)
    assert method.report_.auc > 0.95
    pool = documents(300, seed=8)
    scores = list(method.score(iter(pool)))
    assert len(scores) == 300
    picked = method.select(pool, fraction=0.1)
    assert {pool[i].source for i in picked.indices} == {"good"}
    chars = np.array([len(d.text) for d in pool])
    assert chars[picked.indices].sum() >= 0.1 * chars.sum()
    assert picked.indices.tolist() == sorted(picked.indices)
    assert method.select(pool, 0.1, "docs").threshold.kept_docs == 30
    by_tokens = method.select(pool, 0.1, "tokens", count_tokens=lambda text: len(text.split()))
    assert by_tokens.threshold.total_size == 300 * 40
    assert len(method.select([d.text for d in pool] + [""], 1.0).indices) == 300


def test_the_measure_changes_what_is_kept(fitted):
    """By documents, long ones count like short ones: the two selections differ."""
    method = fitted[0]
    short, _ = labelled(10, seed=2)
    pool = [text * (50 if i % 2 == 0 else 1) for i, text in enumerate(short)]  # what scores high is short
    by_docs, by_chars = method.select(pool, 0.5, "docs"), method.select(pool, 0.5, "chars")
    assert by_docs.indices.tolist() == [1, 3, 5, 7, 9]
    assert set(by_docs.indices) < set(by_chars.indices)


def test_the_unit_of_the_losses_does_not_matter(fitted):
    method, seed, losses = fitted
    bits = np.stack([bits_per_char(column, [d.text for d in seed]) for column in losses.T], axis=1)
    again = PreSelect(min_per_class=20, scorer=HashedLinearScorer(features=4096, seed=1), seed=1)
    again.fit(seed, bits, [ability for _, ability in LADDER.values()])
    assert again.scorer_.fingerprint() == method.scorer_.fingerprint()


def test_estimator_errors(fitted):
    method, seed, losses = fitted
    with pytest.raises(InputError, match="fit first"):
        next(PreSelect().score(["a"]))
    with pytest.raises(InputError, match="199 seed documents and losses of 200"):
        PreSelect().fit(seed[:-1], losses, [1, 2, 3])
    with pytest.raises(InputError, match="ids repeat"):
        method.select([Document("a", "x"), Document("a", "y")])
    with pytest.raises(InputError, match="count_tokens"):
        method.select(seed, 0.1, "tokens")
    with pytest.raises(InputError, match="measure"):
        method.select(seed, 0.1, "words")
    with pytest.raises(EmptyClassError, match="positives='quantile'"):
        PreSelect(min_per_class=101).fit(seed, losses, [1, 2, 3])
