"""Text as it comes is the text of all tokens at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.lm import train_tokenizer
from firsthand.lm.decoding.text import TextStream


class Words:
    """A tokenizer that writes spaces between words only: what a token looks like depends on the one before."""

    def decode(self, ids):
        return " ".join("abc"[i] for i in ids)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["naïve café 東京 🙂 text " * 5], 300)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=30))
def test_pieces_join_to_the_text(tokenizer, text):
    stream = TextStream(tokenizer)
    ids = tokenizer(text)["input_ids"]
    pieces = [stream.push(token) for token in ids]
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces).replace(text, "")
    assert "".join(pieces) + stream.flush() == tokenizer.decode(ids)


def test_spaces_between_tokens_are_kept():
    stream = TextStream(Words())
    assert [stream.push(i) for i in (0, 1, 2)] == ["a", " b", " c"]
    assert stream.flush() == ""


def test_a_broken_character_is_held_back_to_the_end(tokenizer):
    ids = tokenizer("a🙂")["input_ids"]
    stream = TextStream(tokenizer)
    assert "".join(stream.push(token) for token in ids[:-1]) == "a"
    assert stream.push(ids[-1]) == "🙂"
    cut = TextStream(tokenizer)
    for token in ids[:-1]:
        cut.push(token)
    assert cut.flush() == "\N{REPLACEMENT CHARACTER}"
