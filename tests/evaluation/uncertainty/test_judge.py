"""A judge with scripted replies: what it is asked, how often, what it takes for a verdict, and what it keeps."""

from __future__ import annotations

import json
import re

import pytest

from firsthand.errors import InputError, OutputError
from firsthand.evaluation.uncertainty.judge import Judge, ReplyCache
from firsthand.evaluation.uncertainty.judge_prompts import VERSION, rating_messages, verdict_messages
from firsthand.evaluation.uncertainty.questions import Question
from firsthand.evaluation.uncertainty.verdicts import NOMINAL, parse_rating, parse_verdict

QUESTION = Question("q1", "Which is a prime?", ("4", "5", "6"), 1, "math")
OTHER = Question("q2", "Which is even?", ("4", "5"), 0)
SCALES = ("numerical", "nominal", "reasoning")


class Scripted:
    """Says one reply after the other, and remembers what it was asked."""

    def __init__(self, *replies):
        self.replies, self.asked = list(replies), []

    def __call__(self, messages):
        self.asked.append(messages)
        return self.replies.pop(0)

    @property
    def kinds(self):
        return "".join("r" if "reviewer" in messages[0]["content"] else "v" for messages in self.asked)


def test_a_verdict_that_is_rated_well_is_taken():
    chat = Scripted("Easy. [[0.1]]", "Well founded. [[9]]")
    (label,) = Judge(chat, model="m").run([QUESTION])
    assert (label.id, label.scale, label.value, label.raw) == ("q1", "numerical", 0.1, "Easy. [[0.1]]")
    assert (label.rating, label.tries, label.failure) == (9, 1, "")
    assert (label.model, label.prompts) == ("m", VERSION)
    assert chat.kinds == "vr"
    assert "Easy. [[0.1]]" in chat.asked[1][1]["content"]


def test_below_eight_it_is_asked_again():
    chat = Scripted("[[0.1]]", "[[7]]", "[[0.2]]", "[[8]]")
    (label,) = Judge(chat).run([QUESTION])
    assert (label.value, label.rating, label.tries) == (0.2, 8, 2)
    assert chat.kinds == "vrvr"


def test_what_cannot_be_read_is_asked_again():
    chat = Scripted("hard", "[[0.1]]", "fine", "[[0.3]]", "[[10]]")
    (label,) = Judge(chat).run([QUESTION])
    assert (label.value, label.tries) == (0.3, 3)
    assert chat.kinds == "vvrvr"


@pytest.mark.parametrize(
    ("replies", "rating", "says"),
    [
        (["a", "b", "c"], None, "try 3 of 3: no verdict in double square brackets"),
        (
            ["[[0.1]]", "[[3]]", "[[0.2]]", "[[4]]", "[[0.3]]", "[[5]]"],
            5,
            "try 3 of 3: rated 5, and 8 were needed",
        ),
        (["[[0.1]]", "[[9.5]]"] * 3, None, "whole number from 1 to 10, got '9.5'"),
        (["[[0.1]]", "[[5]]", "[[2]]", "x"], None, "no verdict"),
    ],
)
def test_after_the_last_try_there_is_no_value_and_no_more_is_asked(replies, rating, says):
    chat = Scripted(*replies)
    (label,) = Judge(chat).run([QUESTION])
    assert label.value is None
    assert label.tries == 3
    assert label.rating == rating
    assert says in label.failure
    assert chat.replies == []


def test_without_a_rating_a_verdict_costs_one_call():
    chat = Scripted("[[graduate]]", "[[postgraduate]]")
    labels = Judge(chat, scale="nominal", min_rating=None).run([QUESTION, OTHER])
    assert [(label.id, label.value, label.rating) for label in labels] == [
        ("q1", "graduate", None), ("q2", "postgraduate", None),
    ]  # fmt: skip
    assert chat.kinds == "vv"


@pytest.mark.parametrize("scale", SCALES)
def test_the_prompts_own_examples_are_verdicts(scale):
    """The published nominal prompt shows a name that is not on its list."""
    task = verdict_messages(QUESTION, scale)[0]["content"]
    parse_verdict(task[task.index("Form of the verdict") :], scale)
    assert 1 <= parse_rating(rating_messages(QUESTION, scale, "x")[0]["content"]) <= 10


@pytest.mark.parametrize("scale", SCALES)
def test_what_a_judge_is_shown(scale):
    system, user = verdict_messages(QUESTION, scale)
    assert (system["role"], user["role"]) == ("system", "user")
    assert user["content"] == "Subject: math\nQuestion:\nWhich is a prime?\n\nOptions:\nA. 4\nB. 5\nC. 6"
    gold_elsewhere = Question("q1", QUESTION.stem, QUESTION.options, 2, "math")
    assert verdict_messages(gold_elsewhere, scale) == [system, user]  # the gold answer is not shown
    assert "Do not answer the question" in system["content"]
    assert "Subject" not in verdict_messages(OTHER, scale)[1]["content"]
    _, rated = rating_messages(QUESTION, scale, "the reply")
    assert user["content"] in rated["content"]
    assert rated["content"].endswith("The judge said:\nthe reply")


def test_the_anchors_are_in_the_prompts():
    nominal = verdict_messages(QUESTION, "nominal")[0]["content"]
    assert re.findall(r"^- (.*)$", nominal, re.M) == list(NOMINAL)
    numerical = verdict_messages(QUESTION, "numerical")[0]["content"]
    assert [numerical.count(f"{a} to {b}") for a, b in (("0.2", "0.4"), ("0.4", "0.6"), ("0.6", "0.8"))] == [
        1,
        1,
        1,
    ]


def test_more_options_than_letters():
    many = Question("q", "?", tuple(f"o{number}" for number in range(28)), 0)
    assert verdict_messages(many, "numerical")[1]["content"].endswith("Z. o25\n27. o26\n28. o27")


def test_a_cache_spares_calls_and_a_later_run_goes_on(tmp_path):
    path = tmp_path / "deep" / "replies.jsonl"
    chat = Scripted("[[0.1]]", "[[3]]", "[[0.2]]", "[[8]]")
    first = Judge(chat, model="m", cache=ReplyCache(path)).run([QUESTION])
    silent = Scripted()
    assert Judge(silent, model="m", cache=ReplyCache(path)).run([QUESTION]) == first
    more = Scripted("[[0.9]]", "[[10]]")
    both = Judge(more, model="m", cache=ReplyCache(path)).run([QUESTION, OTHER])
    assert both[0] == first[0]
    assert both[1].value == 0.9
    assert len(path.read_text().splitlines()) == 6


def test_another_model_scale_question_or_try_is_another_request():
    cache = {}
    for arguments, question in (
        ({"model": "m"}, QUESTION), ({"model": "n"}, QUESTION), ({"model": "m", "scale": "nominal"}, QUESTION),
        ({"model": "m"}, OTHER),
    ):  # fmt: skip
        Judge(lambda messages: "?", cache=cache, max_tries=2, **arguments).run([question])
    assert len(cache) == 8


def test_a_run_that_was_killed_goes_on(tmp_path):
    path = tmp_path / "replies.jsonl"

    def dies(messages):
        if "reviewer" in messages[0]["content"]:
            raise ConnectionError("gone")
        return "[[0.1]]"

    with pytest.raises(ConnectionError, match="gone"):  # what the chat raises is not swallowed
        Judge(dies, model="m", cache=ReplyCache(path)).run([QUESTION])
    with path.open("a") as stream:
        stream.write('{"key": "half')
    chat = Scripted("[[9]]")
    (label,) = Judge(chat, model="m", cache=ReplyCache(path)).run([QUESTION])
    assert (label.value, label.rating) == (0.1, 9)
    assert [json.loads(line)["reply"] for line in path.read_text().splitlines()] == ["[[0.1]]", "[[9]]"]


@pytest.mark.parametrize(
    "content", ["[]\n", "x\n", '{"key": 1, "reply": "a"}\n', '{"key": "a"}\n', "[" * 99_999 + "\n"]
)
def test_a_file_that_is_no_cache(tmp_path, content):
    path = tmp_path / "replies.jsonl"
    path.write_text('{"key": "a", "reply": "b\\u2028c"}\n' + content)
    with pytest.raises(InputError, match=f"{path}:2: "):
        ReplyCache(path)
    path.write_bytes(b"\xff\n")
    with pytest.raises(InputError, match="cannot be read"):
        ReplyCache(path)


def test_any_reply_comes_back(tmp_path):
    reply = 'line\u2028\n"quoted" \\ ü \x85 end'
    ReplyCache(tmp_path / "a")["k"] = reply
    found = ReplyCache(tmp_path / "a")
    assert dict(found) == {"k": reply}
    with pytest.raises(InputError, match="is kept"):
        del found["k"]


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        ReplyCache(tmp_path / "file" / "replies.jsonl")["k"] = "v"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"scale": "hard"}, "scale must be"),
        ({"min_rating": 0}, "min_rating"),
        ({"min_rating": 11}, "min_rating"),
        ({"min_rating": True}, "min_rating"),
        ({"max_tries": 0}, "max_tries"),
        ({"max_tries": 1.5}, "max_tries"),
        ({"cache": {}}, "needs the judge's name"),
        ({"chat": "gpt"}, "chat must be a function"),
    ],
)
def test_bad_arguments(arguments, says):
    with pytest.raises(InputError, match=says):
        Judge(**{"chat": Scripted(), **arguments})


def test_a_chat_that_returns_something_else():
    with pytest.raises(InputError, match="must return a text, got dict"):
        Judge(lambda messages: {"content": "[[0.5]]"}).run([QUESTION])


def test_a_chat_cannot_change_what_is_asked_next():
    seen = []

    def chat(messages):
        seen.append(json.dumps(messages))
        messages[0]["content"] = "spoiled"
        return "?"

    Judge(chat).run([QUESTION])
    assert len(seen) == 3
    assert len(set(seen)) == 1
