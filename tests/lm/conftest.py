"""Tiny random models and a tokenizer shared by the tests of the language-model engine."""

from __future__ import annotations

import pytest

WORDS = (
    "the loss of a model tells how well it predicts text; a tokenizer cuts words into pieces. "
    "def add(left, right): return left + right  # sums two numbers\n"
)


@pytest.fixture(scope="session")
def tokenizer():
    from firsthand.lm import train_tokenizer

    return train_tokenizer([WORDS * 3, "naïve café, ünïcode – 東京 🙂"], vocab_size=320)


@pytest.fixture(scope="session")
def texts():
    return [
        WORDS,
        "a",
        "",
        WORDS[20:70],
        "naïve café 東京",
        WORDS[::-1] * 2,
        "x" * 33,
    ]


@pytest.fixture
def one_thread():
    """This process on one thread, and an environment that puts a child there too."""
    import os

    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield {**os.environ, "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(before)
