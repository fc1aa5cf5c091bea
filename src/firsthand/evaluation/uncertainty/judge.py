"""Asking a model to judge questions, and itself, until a verdict is good enough or the tries are used up.

One try: ask for the verdict, read it, ask for a rating of it. A reply that cannot be read, or a rating below
`min_rating`, ends the try. After the last one the label has no value and says why: there is no default.

Knows conversations with any chat function. Knows no model; what the chat function raises is not caught.
"""

from __future__ import annotations

import hashlib
import json
from collections import UserDict
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from firsthand.errors import InputError, OutputError
from firsthand.evaluation.uncertainty.errors import ParseFailure
from firsthand.evaluation.uncertainty.judge_prompts import VERSION, Message, rating_messages, verdict_messages
from firsthand.evaluation.uncertainty.questions import Question
from firsthand.evaluation.uncertainty.verdicts import Scale, Verdict, check_scale, parse_rating, parse_verdict

__all__ = ["Chat", "Judge", "JudgeLabel", "ReplyCache"]

Chat = Callable[[list[Message]], str]


@dataclass(frozen=True)
class JudgeLabel:
    """A judge's verdict on one question; `value` is None where none was good enough, and `failure` then says why."""

    id: str  # of the question
    scale: Scale
    value: Verdict | None
    raw: str  # the last reply with a verdict, or without one
    rating: int | None  # of that reply; None where it was not rated
    tries: int
    failure: str = ""
    model: str = ""
    prompts: str = VERSION


class ReplyCache(UserDict[str, str]):
    """Replies by request, kept in a file of JSON lines: each is on disk before the next is asked for.

    A last line that was cut off when a run was killed is dropped, and its reply asked for again.

    Raises:
        InputError: a file that is something else.
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        self._path = Path(path)
        if not self._path.exists():
            return
        try:
            content = self._path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            lines = whole.decode("utf-8").splitlines() if whole else []
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{self._path}: cannot be read: {error}") from error
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                key, reply = entry["key"], entry["reply"]
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise InputError(
                    f"{self._path}:{number}: not a reply that was kept here: {error!r}"
                ) from error
            if not isinstance(key, str) or not isinstance(reply, str):
                raise InputError(f"{self._path}:{number}: key and reply must be texts")
            self.data[key] = reply
        if len(whole) < len(content):
            try:
                with self._path.open("r+b") as stream:
                    stream.truncate(len(whole))
            except OSError as error:
                raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error

    def __setitem__(self, key: str, reply: str) -> None:
        line = json.dumps({"key": key, "reply": reply}) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(line)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error
        self.data[key] = reply

    def __delitem__(self, key: str) -> None:
        raise InputError("what a cache of replies has is kept: delete its file to ask again")


class Judge:
    """A model as judge (MASJ).

    Args:
        chat: from messages (`{"role": ..., "content": ...}`) to the text of a reply. It should draw its replies: one
            that always says the same will say it at every try.
        scale: "numerical" or "nominal" difficulty, or "reasoning" labels.
        min_rating: 1 to 10, the rating of its own verdict from which it is taken; None: it is not rated.
        max_tries: how often a verdict is asked for, at least 1.
        model: the judge's name, for labels and the cache's keys.
        cache: replies by key, such as a `ReplyCache`; needs `model`. A key hangs on the model, the messages and the
            number of the try.

    Raises:
        InputError: an argument that cannot be.
    """

    def __init__(
        self,
        chat: Chat,
        *,
        scale: Scale = "numerical",
        min_rating: int | None = 8,
        max_tries: int = 3,
        model: str = "",
        cache: MutableMapping[str, str] | None = None,
    ) -> None:
        check_scale(scale)
        if not callable(chat):
            raise InputError(f"chat must be a function from messages to a text, got {type(chat).__name__}")
        if min_rating is not None and (type(min_rating) is not int or not 1 <= min_rating <= 10):
            raise InputError(f"min_rating must be a whole number from 1 to 10, or None; got {min_rating!r}")
        if type(max_tries) is not int or max_tries < 1:
            raise InputError(f"max_tries must be a whole number of at least 1, got {max_tries!r}")
        if cache is not None and not model:
            raise InputError(
                "a cache needs the judge's name: two models must not share replies; give model=..."
            )
        self._chat = chat
        self._scale: Scale = scale
        self._min_rating = min_rating
        self._max_tries = max_tries
        self._model = model
        self._cache = cache

    def run(self, questions: Iterable[Question]) -> list[JudgeLabel]:
        """A label for each question, in their order.

        Raises:
            InputError: the chat function returned something else than a text.
            OutputError: the cache cannot be written.
        """
        return [self.label(question) for question in questions]

    def label(self, question: Question) -> JudgeLabel:
        """The label of one question; see `run`."""
        messages = verdict_messages(question, self._scale)
        reply, rating, failure = "", None, ""
        for tries in range(1, self._max_tries + 1):
            rating = None
            reply = self._ask(messages, tries)
            try:
                value = parse_verdict(reply, self._scale)
                if self._min_rating is not None:
                    rating = parse_rating(self._ask(rating_messages(question, self._scale, reply), tries))
            except ParseFailure as error:
                failure = str(error)
                continue
            if rating is None or self._min_rating is None or rating >= self._min_rating:
                return JudgeLabel(question.id, self._scale, value, reply, rating, tries, model=self._model)
            failure = f"rated {rating}, and {self._min_rating} were needed"
        failure = f"try {self._max_tries} of {self._max_tries}: {failure}"
        return JudgeLabel(
            question.id, self._scale, None, reply, rating, self._max_tries, failure, model=self._model
        )

    def _ask(self, messages: list[Message], tries: int) -> str:
        if self._cache is None:
            return self._reply(messages)
        request = json.dumps([self._model, messages, tries])
        key = hashlib.sha256(request.encode()).hexdigest()
        if key not in self._cache:
            self._cache[key] = self._reply(messages)
        return self._cache[key]

    def _reply(self, messages: list[Message]) -> str:
        reply = self._chat([dict(message) for message in messages])
        if not isinstance(reply, str):
            raise InputError(f"chat must return a text, got {type(reply).__name__}")
        return reply
