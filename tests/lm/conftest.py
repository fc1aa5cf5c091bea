"""Tiny random models and a tokenizer shared by the tests of the language-model engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


@pytest.fixture(scope="session")
def elsewhere():
    """What `tokenizer_hash` and `trained_hash` of `models` give in another process, on one thread."""
    program = "from tests.lm import models; print(models.tokenizer_hash(), models.trained_hash())"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root, env=environment
    )
    return dict(zip(("tokenizer", "trained"), done.stdout.split(), strict=True))
