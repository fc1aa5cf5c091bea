"""One normaliser for both sides, and bits per character."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.data.preselect import bits_per_char, normalize_text
from firsthand.errors import InputError


def test_white_space_and_composition():
    assert normalize_text("  a\n\tb\r\n\u00a0c\u3000 ") == "a b c"
    assert normalize_text("cafe\u0301") == "caf\u00e9"
    assert normalize_text("Keep CASE") == "Keep CASE"
    assert normalize_text("a\x00b") == "a b"
    assert normalize_text(" \n ") == ""
    assert normalize_text("x\ud800y") == "x\ufffdy"


@given(st.text())
def test_once_is_enough(text):
    once = normalize_text(text)
    assert normalize_text(once) == once
    assert once == once.strip()
    assert normalize_text(text.replace(" ", "\n")) == once


def test_released_newline_mismatch():
    """Training replaces a line break by a space, the corpus filter deletes it: the words differ."""
    text = "the end\nof a line"
    trained_on, scored_as = text.replace("\n", " "), text.replace("\n", "")
    assert trained_on.split() != scored_as.split()
    assert normalize_text(text).split() == trained_on.split()


def test_bits_reference_values():
    # 693.147181 nats are 1 000 bits; 500 nats over 400 characters, 420 bytes of UTF-8
    assert bits_per_char([693.147181], ["x" * 1000])[0] == pytest.approx(1.0, abs=1e-6)
    text = "é" * 20 + "x" * 380
    assert bits_per_char([500.0], [text])[0] == pytest.approx(1.803369, abs=1e-6)
    assert bits_per_char([500.0], [text], unit="byte")[0] == pytest.approx(1.717494, abs=1e-6)


def test_bits_of_nothing_and_bad_input():
    assert np.isnan(bits_per_char([1.0], [""])[0])
    with pytest.raises(InputError, match="2 texts"):
        bits_per_char([1.0], ["a", "b"])
    with pytest.raises(InputError, match="unit"):
        bits_per_char([1.0], ["a"], unit="token")  # type: ignore[arg-type]
