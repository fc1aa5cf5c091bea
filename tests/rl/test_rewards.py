"""Rewards: weights, what does not apply, coroutines, and functions that do not keep to the protocol."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from firsthand.errors import InputError
from firsthand.rl import RewardLengthError, Rewards
from firsthand.rl.rewards import answer_text


def length(completions, **_):
    return [len(text) for text in completions]


def starts(completions, letter, **_):
    return [
        None if not first else float(text.startswith(first))
        for text, first in zip(completions, letter, strict=True)
    ]


async def slow(completions, **_):
    await asyncio.sleep(0.01)
    return [1.0] * len(completions)


def test_weighted_and_logged_each():
    table = Rewards([length, starts], [0.5, 2.0])(["ab", "abc", ""], letter=["a", "", ""])
    assert table.names == ("length", "starts")
    assert table.values[:, 0].tolist() == [2, 3, 0]
    assert table.total.tolist() == [3.0, 1.5, 0.0]
    assert table.means() == {"length": pytest.approx(5 / 3), "starts": 1.0}
    assert table.rows()[1] == {"length": 3.0, "starts": None}


def test_an_answer_that_nothing_applies_to_has_no_reward():
    table = Rewards([starts])(["x", "a"], letter=["", "a"])
    assert math.isnan(table.total[0])
    assert table.total[1] == 1
    assert Rewards([starts])(["x"], letter=[""]).means() == {}


def test_coroutines_are_awaited_together_here_and_inside_a_loop():
    rewards = Rewards({"one": slow, "two": slow, "length": length})
    wanted = [[1, 1, 1], [1, 1, 2]]
    assert rewards(["a", "ab"]).values.tolist() == wanted

    async def inside():
        return rewards(["a", "ab"]).values.tolist()

    assert asyncio.run(inside()) == wanted


def test_answers_are_texts_or_chats():
    assert answer_text("a") == "a"
    assert answer_text([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]) == "a"
    assert answer_text([{"content": [{"type": "image"}, {"type": "text", "text": "a"}]}]) == "a"
    with pytest.raises(InputError, match="a text or a chat"):
        answer_text(3)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: Rewards([]), InputError, "at least one"),
        (lambda: Rewards([length, length]), InputError, "one name"),
        (lambda: Rewards([length], [1, 2]), InputError, "1 reward functions, but 2 weights"),
        (lambda: Rewards([length], [math.nan]), InputError, "weights must be numbers"),
        (lambda: Rewards([starts])(["a"], letter=[]), InputError, "column 'letter' has 0 entries for 1"),
        (
            lambda: Rewards({"r": lambda completions: [1]})(["a", "b"]),
            RewardLengthError,
            "'r' gave 1 numbers for 2",
        ),
        (
            lambda: Rewards({"r": lambda completions: ["x"]})(["a"]),
            InputError,
            "'r' gave something that is no number",
        ),
        (lambda: Rewards({"r": lambda completions: [math.inf]})(["a"]), InputError, "'r' gave an infinite"),
    ],
)
def test_functions_that_do_not_keep_to_it(act, error, message):
    with pytest.raises(error, match=message):
        act()


def test_numbers_may_be_numpys():
    assert Rewards({"r": lambda completions: np.array([1, 2])})(["a", "b"]).total.tolist() == [1, 2]
