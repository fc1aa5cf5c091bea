"""The cloze test: true and wrong continuations, chance, models that know the answer, bad input."""

import numpy as np
import pytest

from firsthand.corpora import python_text
from firsthand.data.preselect import (
    cloze_accuracy,
    cloze_items,
    cloze_log_probabilities,
    cloze_probability,
)
from firsthand.errors import InputError
from firsthand.lm import train_tokenizer

TEXTS = python_text("docstrings", packages=["stdlib"], limit=120).texts


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 512)


def test_items_are_cut_from_the_texts(tokenizer):
    items = cloze_items(TEXTS, 50, tokenizer=tokenizer, seed=1)
    joined = "\n".join(TEXTS)
    for item in items:
        assert item.context + item.continuations[0] in joined
        assert len(set(item.continuations)) == 4
        assert [len(tokenizer(c)["input_ids"]) for c in item.continuations[:1]] == [6]


def test_the_seed_decides_and_repeats(tokenizer):
    first, again, other = (cloze_items(TEXTS, 20, tokenizer=tokenizer, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_model_that_knows_the_text_is_right_and_an_indifferent_one_is_not(tokenizer):
    items = cloze_items(TEXTS, 40, tokenizer=tokenizer)
    joined = "\n".join(TEXTS)

    def knows(texts):  # a callable scorer: nats per token of each text
        return [np.array([1.0 if text in joined else 50.0]) for text in texts]

    table = cloze_log_probabilities(knows, items)
    assert table.shape == (40, 4)
    assert cloze_accuracy(table) == 1.0
    assert cloze_probability(table) == pytest.approx(1.0)
    same = cloze_log_probabilities(lambda texts: [np.array([3.0]) for _ in texts], items)
    assert cloze_accuracy(same) == 0.0  # a tie with the right answer is not an answer
    assert cloze_probability(same) == pytest.approx(0.25)


def test_by_hand():
    table = np.log([[0.4, 0.3, 0.2, 0.1], [0.1, 0.6, 0.2, 0.1]])
    assert cloze_accuracy(table) == 0.5
    assert cloze_probability(table) == pytest.approx(0.25)


@pytest.mark.parametrize(("texts", "count", "said"), [
    (["too short"], 5, "longer texts"),
    (TEXTS, 100_000, "longer texts"),
    (["word " * 400] * 3, 10, "repeat themselves"),
])  # fmt: skip
def test_texts_that_do_not_do(tokenizer, texts, count, said):
    with pytest.raises(InputError, match=said):
        cloze_items(texts, count, tokenizer=tokenizer)
