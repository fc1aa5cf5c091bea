"""A tokenizer trained on the spot, whose words the tests know."""

from __future__ import annotations

import copy

import pytest

CORPUS = [
    "The international committee made a significant contribution to our understanding of the representation.",
    "A significant part of the understanding is international, and the representation of letters is significant.",
    "Christopher wrote about the international understanding; the contribution was significant for Christopher.",
    "An important conclusion about the environment was the understanding of the international community.",
    "The environment of the community has a significant representation of international organisations.",
] * 6


@pytest.fixture(scope="session")
def tokenizer():
    from firsthand.lm import train_tokenizer

    return train_tokenizer(CORPUS, 420)


@pytest.fixture(scope="session")
def framed(tokenizer):
    """The same, with a token before every text and one after it, as many models have."""
    from tokenizers import processors

    end = tokenizer.eos_token
    changed = copy.deepcopy(tokenizer)
    changed.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{end} $A {end}", special_tokens=[(end, tokenizer.eos_token_id)]
    )
    return changed


@pytest.fixture(scope="session")
def trimmed(tokenizer):
    """The same, with offsets that leave out the space before a word, as GPT-2 and Llama 3 give them."""
    from tokenizers import processors

    changed = copy.deepcopy(tokenizer)
    changed.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return changed
