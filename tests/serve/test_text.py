"""Text from tokens: no broken character is ever shown, and the pieces are the whole."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.serve.text import Detokeniser, StopText

SAMPLE = "naïve café, ünïcode – 東京 🙂👩‍🚀 ok\n" * 3


@pytest.fixture(scope="module")
def byte_level():
    from firsthand.lm import train_tokenizer

    return train_tokenizer([SAMPLE, "the cat sat on the mat. " * 4], vocab_size=300)


@pytest.fixture(scope="module")
def byte_fallback():
    """SentencePiece's way, as Llama 2 and Gemma have it: ▁ for spaces, the first one stripped, <0xE6> for bytes."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁cat", "▁the", "s", "é", "."]
    backend = Tokenizer(
        models.BPE(
            vocab={w: i for i, w in enumerate(words)}, merges=[], byte_fallback=True, unk_token="<unk>"
        )
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")


def pieces_of(tokenizer, ids, sizes=(1,)):
    detokeniser, pieces, at, turn = Detokeniser(tokenizer), [], 0, 0
    while at < len(ids):
        size = sizes[turn % len(sizes)]
        pieces.append(detokeniser.add(ids[at : at + size]))
        at, turn = at + size, turn + 1
    return [*pieces, detokeniser.finish()]


def test_naive_decoding_breaks_characters_and_ours_does_not(byte_level):
    ids = byte_level.encode("中文 🙂 ok")
    assert any("\ufffd" in byte_level.decode([token]) for token in ids)
    pieces = pieces_of(byte_level, ids)
    assert "".join(pieces) == "中文 🙂 ok"
    assert not any("\ufffd" in piece for piece in pieces)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_tokens_at_all_give_the_text_of_the_whole(byte_level, data):
    """Byte-level BPE: also tokens that are no UTF-8, special tokens among them, in steps of any size."""
    ids = data.draw(st.lists(st.integers(0, len(byte_level) - 1), max_size=40))
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    assert "".join(pieces_of(byte_level, ids, sizes)) == byte_level.decode(ids, skip_special_tokens=True)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=30), st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_a_text_comes_back_without_a_broken_piece(byte_level, text, sizes):
    text = text.replace("\ufffd", "")
    pieces = pieces_of(byte_level, byte_level.encode(text), sizes)
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_byte_fallback_and_stripped_spaces(byte_fallback, data):
    parts = data.draw(
        st.lists(st.sampled_from(["▁cat", "▁the", "s", "▁", "é", "東", "🙂", "ß", "</s>", "."]), max_size=16)
    )
    ids = []
    for part in parts:
        known = byte_fallback.convert_tokens_to_ids(part)
        unknown = byte_fallback.convert_tokens_to_ids("<unk>")
        ids += (
            [known]
            if known != unknown
            else [byte_fallback.convert_tokens_to_ids(f"<0x{byte:02X}>") for byte in part.encode()]
        )
    pieces = pieces_of(byte_fallback, ids, data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    assert "".join(pieces) == byte_fallback.decode(ids, skip_special_tokens=True)
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_broken_byte_does_not_take_back_what_was_shown(byte_fallback):
    """Decoded as a whole the run of bytes is nothing but replacement characters; 東 was right when shown."""
    token = lambda byte: byte_fallback.convert_tokens_to_ids(f"<0x{byte:02X}>")
    cat = byte_fallback.convert_tokens_to_ids("▁cat")
    ids = [cat, *(token(b) for b in "東".encode()), token(0xE6), cat]
    assert "東" not in byte_fallback.decode(ids)
    assert "".join(pieces_of(byte_fallback, ids)) == "cat東\ufffd cat"


def test_an_unfinished_character_comes_at_the_end(byte_level):
    ids = byte_level.encode("a🙂")
    detokeniser = Detokeniser(byte_level)
    assert detokeniser.add(ids[:-1]) == "a"
    assert detokeniser.finish() == "\ufffd"


def test_garbage_is_not_held_back_for_ever(byte_level):
    broken = byte_level.convert_tokens_to_ids("\u0122")  # byte 0x80 in byte-level writing
    assert byte_level.decode([broken]) == "\ufffd"
    detokeniser = Detokeniser(byte_level)
    assert detokeniser.add([broken] * 10) == "\ufffd" * 7


# --- stop strings ----------------------------------------------------------------------------------------


def cut_slowly(text, strings):
    """The definition: the first end at which a stop string is complete, the longest one there."""
    for end in range(len(text) + 1):
        found = [wanted for wanted in strings if text[:end].endswith(wanted)]
        if found:
            return text[: end - len(max(found, key=len))], True
    return text, False


@settings(max_examples=300, deadline=None)
@given(
    st.text("ab\n", max_size=20),
    st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
)
def test_a_text_is_cut_at_its_first_stop_string_however_it_comes(text, strings, sizes):
    stop, pieces, at, turn = StopText(strings), [], 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        pieces.append(stop.add(text[at : at + size]))
        at, turn = at + size, turn + 1
        assert cut_slowly(text, strings)[0].startswith("".join(pieces))
    pieces.append(stop.finish())
    assert ("".join(pieces), stop.found) == cut_slowly(text, strings)


def test_only_a_possible_beginning_is_held_back():
    stop = StopText(["END"])
    assert [stop.add("an E"), stop.add("N"), stop.add("T. E"), stop.finish()] == ["an ", "", "ENT. ", "E"]


def test_an_empty_stop_string_is_refused():
    with pytest.raises(InputError, match="empty"):
        StopText(["a", ""])
