"""Where a text ends, and what a prompt must be."""

from __future__ import annotations

import numpy as np
import pytest

from firsthand.errors import InputError
from firsthand.lm.decoding import ContextLengthError, Ending, Stop, check_pair, check_prompt


class Letters:
    """A tokenizer: one token a byte."""

    def decode(self, ids):
        return bytes(ids).decode("utf-8", errors="replace")


class Model:
    name, vocab_size, max_length = "the model", 100, 20


def test_cut_at_a_stop_id_and_at_the_exact_length():
    ending = Ending(Stop(ids=(7,)), 10)
    assert ending.take([1, 2]) == [1, 2]
    assert not ending.reached
    assert ending.take([3, 7, 4]) == [3, 7]
    assert ending.reason == "stop"
    assert ending.take([5]) == []
    ending = Ending(Stop(), 3)
    assert ending.take([1, 2, 3, 4]) == [1, 2, 3]
    assert ending.reason == "length"
    assert Ending(Stop(), 0).reached


def test_a_stop_string_ends_with_the_token_that_completes_it():
    tokens = list(b"wait ENDING")
    ending = Ending(Stop(strings=("END", "é"), tokenizer=Letters()), 100)
    assert bytes(ending.take(tokens)) == b"wait END"
    ending = Ending(Stop(strings=("END", "é"), tokenizer=Letters()), 100)
    assert ending.take(list("caféx".encode())) == list("café".encode())


def test_a_stop_string_cut_by_steps_is_found():
    ending = Ending(Stop(strings=("stop",), tokenizer=Letters()), 100)
    for letter in b"do not sto":
        assert ending.take([letter]) == [letter]
    assert ending.take(list(b"p it")) == [ord("p")]


def test_wrong_stops():
    with pytest.raises(InputError, match="tokenizer"):
        Stop(strings=("a",))
    with pytest.raises(InputError, match="empty"):
        Stop(strings=("",), tokenizer=Letters())


def test_prompts_of_several_kinds():
    assert check_prompt(Model(), [1, 2], 5) == [1, 2]
    assert check_prompt(Model(), np.array([[1, 2]]), 5) == [1, 2]


@pytest.mark.parametrize(
    ("prompt", "new", "message"),
    [
        ([], 5, "prompt is empty"),
        ([1, 100], 5, "token 100 is outside the vocabulary of the model"),
        ([-1], 5, "token -1"),
        ([1], -1, "max_new_tokens must be at least 0"),
        ([[1], [2]], 5, "one at a time"),
        (np.zeros((2, 3), int), 5, "one sequence at a time; loop"),
    ],
)
def test_wrong_prompts(prompt, new, message):
    with pytest.raises(InputError, match=message):
        check_prompt(Model(), prompt, new)


def test_too_long_is_said_before_anything_is_generated():
    with pytest.raises(ContextLengthError, match="reads at most 20"):
        check_prompt(Model(), [1] * 10, 11)
    assert check_prompt(Model(), [1] * 10, 10)


def test_vocabularies_must_agree():
    other = type("Other", (Model,), {"vocab_size": 99})()
    with pytest.raises(InputError, match="draft and target vocabularies differ: 99 vs 100"):
        check_pair(Model(), other)
