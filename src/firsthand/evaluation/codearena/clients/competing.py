"""A model takes part: it is asked for a program for each problem, which is submitted, and it goes on where it stopped.

Knows how an arena is asked, in this process or over HTTP, what of a run is done already, and what came of it. Knows no
models (`models`) and no prompts (`prompts`).
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from firsthand.errors import InputError, OutputError
from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.clients.client import ArenaClient
from firsthand.evaluation.codearena.clients.connections import JudgingTimeoutError
from firsthand.evaluation.codearena.clients.models import (
    Message,
    ModelFailedError,
    PromptModel,
    Reply,
    as_model,
)
from firsthand.evaluation.codearena.clients.prompts import Asked, extract_code, messages_for
from firsthand.evaluation.codearena.errors import (
    AttemptAlreadyUsed,
    InvalidSource,
    QueueFull,
    SourceTooLarge,
)
from firsthand.evaluation.codearena.grading.sandboxed import known_language
from firsthand.evaluation.codearena.refusals import NotReady, TooManyRequests

__all__ = ["Competed", "Competition", "compete"]

_BUSY_TRIES, _BUSY_S = 40, 30.0  # how often a busy arena is asked again, and the longest wait before


@dataclass(frozen=True)
class Competed:
    """What came of one sample of one problem.

    `outcome`: "submitted"; "there already" where this account had so many samples before; "no program" where the
    model gave none that can be one, "refused" where the arena took none, and `fault` says why.
    """

    pid: str
    sample: int  # from 1
    outcome: Literal["submitted", "there already", "no program", "refused"]
    sid: str | None = None
    verdict: str | None = None
    cpu_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    fault: str = ""


@dataclass(frozen=True)
class Competition:
    """What came of all samples, in the order of the problems."""

    user: str
    language: str
    results: tuple[Competed, ...]

    @property
    def problems(self) -> int:
        """How many problems were asked for."""
        return len({result.pid for result in self.results})

    @property
    def solved(self) -> int:
        """How many of them the first sample solved."""
        return sum(result.verdict == "AC" for result in self.results if result.sample == 1)

    @property
    def pass_rate(self) -> float:
        """Solved of all; 0 where there is no problem."""
        return self.solved / self.problems if self.problems else 0.0

    @property
    def prompt_tokens(self) -> int:
        """Tokens that the model read, where it said how many."""
        return sum(result.prompt_tokens or 0 for result in self.results)

    @property
    def completion_tokens(self) -> int:
        """Tokens that the model wrote, where it said how many."""
        return sum(result.completion_tokens or 0 for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """The summary and all results, as JSON has them."""
        return {
            "user": self.user,
            "language": self.language,
            "problems": self.problems,
            "solved": self.solved,
            "pass_rate": self.pass_rate,
            "outcomes": dict(Counter(result.outcome for result in self.results)),
            "verdicts": dict(Counter(result.verdict for result in self.results if result.verdict)),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "results": [asdict(result) for result in self.results],
        }


@dataclass(frozen=True)
class _Sent:
    """A submission as far as it matters here."""

    sid: str
    verdict: str | None
    cpu_ms: float | None
    finished: bool


class _Here:
    """An arena in this process, which judges what it is asked about."""

    def __init__(self, arena: Arena, user: str) -> None:
        self._arena, self.user = arena, user
        self.kind = arena.accounts.find(user).kind

    def problems(self, pids: Sequence[str] | None) -> Iterator[Asked]:
        names = sorted(self._arena.problems.published()) if pids is None else pids
        for pid in names:
            stored = self._arena.problems.find(pid).problem
            samples = tuple((case.input, case.output) for case in self._arena.cases.samples(pid))
            yield Asked(pid, stored.title, stored.statement, stored.time_ms, stored.memory_kb, samples)

    def sent(self, pid: str, most: int) -> list[_Sent]:
        total = self._arena.submissions.page(pid=pid, user=self.user, limit=1)[1]
        found = self._arena.submissions.page(pid=pid, user=self.user, limit=max(1, total))[0]
        return _oldest(found, most)

    def submit(self, pid: str, language: str, source: str, extra: bool) -> str:
        return self._arena.submit(self.user, pid, language, source, extra=extra)

    def rest(self, seconds: float) -> None:
        if self._arena.judge_once() is None:
            time.sleep(seconds)

    def verdict(self, sid: str, timeout: float | None) -> tuple[str | None, float | None]:
        started = time.monotonic()
        while not (found := self._arena.submission(sid)).finished:
            if timeout is not None and time.monotonic() - started > timeout:
                return None, None
            self.rest(0.05)  # where nothing waits, another judge has it
        return found.verdict, found.cpu_ms


class _There:
    """An arena over HTTP."""

    def __init__(self, client: ArenaClient) -> None:
        self._client = client
        who = client.who()
        self.user, self.kind = who.user, who.kind

    def problems(self, pids: Sequence[str] | None) -> Iterator[Asked]:
        names = [found.pid for found in self._client.all_problems()] if pids is None else pids
        for pid in names:
            found = self._client.problem(pid)
            samples = tuple((case.input, case.output) for case in found.samples or ())
            yield Asked(pid, found.title, found.statement or "", found.time_ms, found.memory_kb, samples)

    def sent(self, pid: str, most: int) -> list[_Sent]:
        return _oldest(list(self._client.all_submissions(pid, self.user)), most)

    def submit(self, pid: str, language: str, source: str, extra: bool) -> str:
        return self._client.submit(pid, language, source, extra=extra).sid

    def rest(self, seconds: float) -> None:
        time.sleep(seconds)

    def verdict(self, sid: str, timeout: float | None) -> tuple[str | None, float | None]:
        try:
            found = self._client.wait(sid, timeout=timeout)
        except JudgingTimeoutError:
            return None, None
        return found.verdict, found.cpu_ms


def _oldest(newest_first: Sequence[Any], most: int) -> list[_Sent]:
    # An aborted one gave its attempt back.
    return [
        _Sent(found.sid, found.verdict, found.cpu_ms, found.finished)
        for found in reversed(newest_first)
        if found.verdict != "AB"
    ][:most]


def compete(
    arena: Arena | ArenaClient,
    model: PromptModel | Callable[[list[Message]], str | Reply],
    problems: Sequence[str] | None = None,
    language: str = "python",
    k: int = 1,
    *,
    user: str | None = None,
    seed: int = 0,
    wait: bool = True,
    timeout: float | None = None,
    journal: Path | str | None = None,
    on_result: Callable[[Competed], None] | None = None,
) -> Competition:
    """Have a model solve problems, and submit what it writes.

    A language model's first sample of a problem is its one attempt; samples 2 to k are extra ones, which only pass@k
    counts. Run again, it goes on where it stopped: samples that are there are not asked for again, and a problem for
    which the model gave no program is asked again.

    Args:
        arena: an arena in this process, which judges too, or a client whose token is the account's.
        model: what writes programs: a `PromptModel`, or a function from messages to a text.
        problems: ids; None: all that are published.
        language: to write in.
        k: samples of each problem.
        user: the account, for an arena in this process.
        seed: of the first sample of each problem; the next ones have the next numbers.
        wait: for verdicts.
        timeout: seconds to wait for each; None: as long as it takes.
        journal: a file of JSON lines in which each reply's token counts are kept, so that a run that goes on has
            those of the runs before.
        on_result: told of each sample as it is done.

    Raises:
        InputError: `k` below 1, `problems` that are no list, a user where the token says who it is, or a journal
            that is none.
        OutputError: the journal cannot be written.
        ModelUnavailableError: the model answers no prompt at all.
        ArenaError: what else the arena refuses, such as an unknown problem or language.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    if isinstance(problems, str):
        raise InputError(f"problems is a list of ids, got the text {problems!r}")
    wanted = None if problems is None else list(dict.fromkeys(problems))
    slug = known_language(language)
    writer = as_model(model)
    place = _place(arena, user)
    kept = _Journal(None if journal is None else Path(journal), place.user)
    results: list[Competed] = []
    for problem in place.problems(wanted):
        messages = messages_for(problem, slug)
        there = place.sent(problem.pid, k)
        for sample in range(1, k + 1):
            if sample <= len(there):
                found = _known(problem.pid, sample, there[sample - 1], kept)
            else:
                found = _one(place, writer, problem.pid, messages, slug, sample, seed + sample - 1)
                kept.add(found)
            if wait and found.sid is not None and found.verdict is None:
                verdict, cpu_ms = place.verdict(found.sid, timeout)
                found = replace(found, verdict=verdict, cpu_ms=cpu_ms)
            results.append(found)
            if on_result is not None:
                on_result(found)
            if found.sid is None and sample == 1:
                break  # without the attempt there are no extra samples
    return Competition(place.user, slug, tuple(results))


def _place(arena: Arena | ArenaClient, user: str | None) -> _Here | _There:
    if isinstance(arena, ArenaClient):
        if user is not None:
            raise InputError("user: the client's token says whose submissions these are; leave it out")
        return _There(arena)
    if user is None:
        raise InputError("user: name the account that submits")
    return _Here(arena, user)


def _known(pid: str, sample: int, sent: _Sent, kept: _Journal) -> Competed:
    tokens = kept.tokens.get(sent.sid, (None, None))
    verdict, cpu_ms = (sent.verdict, sent.cpu_ms) if sent.finished else (None, None)
    return Competed(pid, sample, "there already", sent.sid, verdict, cpu_ms, *tokens)


def _one(
    place: _Here | _There,
    writer: PromptModel,
    pid: str,
    messages: list[Message],
    language: str,
    sample: int,
    seed: int,
) -> Competed:
    """Ask for one sample and submit it."""
    try:
        reply = writer.reply(messages, seed=seed)
    except ModelFailedError as error:
        return Competed(pid, sample, "no program", fault=str(error))
    came_of_it = partial(
        Competed, pid, sample, prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens
    )
    try:
        return came_of_it(
            "submitted", _submit(place, pid, language, extract_code(reply.text, language), sample)
        )
    except (InvalidSource, SourceTooLarge) as error:
        return came_of_it("no program", fault=str(error))
    except (AttemptAlreadyUsed, NotReady) as error:
        # Somebody else used the attempt meanwhile; there is nothing to be judged with.
        return came_of_it("refused", fault=str(error))


def _submit(place: _Here | _There, pid: str, language: str, source: str, sample: int) -> str:
    """Submit, and wait where the arena is busy: a reply is dear."""
    extra = place.kind == "llm" and sample > 1
    for _ in range(_BUSY_TRIES):
        try:
            return place.submit(pid, language, source, extra)
        except (QueueFull, TooManyRequests) as error:
            place.rest(min(error.retry_after_s, _BUSY_S))
    return place.submit(pid, language, source, extra)


class _Journal:
    """Token counts by submission, kept in a file of JSON lines."""

    def __init__(self, path: Path | None, user: str) -> None:
        self._path, self._user = path, user
        self.tokens: dict[str, tuple[int | None, int | None]] = {}
        if path is None or not path.exists():
            return
        try:
            lines = path.read_text("utf-8").split("\n")
            for line in lines[:-1]:  # a last one without its end was cut off
                row = json.loads(line)
                if row["user"] == user:
                    self.tokens[row["sid"]] = (row["prompt_tokens"], row["completion_tokens"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"{path}: is no journal of a competition: {error}") from error
        if lines[-1]:
            self._write("\n".join([*lines[:-1], ""]), "w")

    def add(self, found: Competed) -> None:
        """Write a reply down."""
        if self._path is None or found.sid is None:
            return
        row = {"user": self._user, **asdict(found)}
        self._write(json.dumps(row) + "\n", "a")

    def _write(self, text: str, mode: str) -> None:
        assert self._path is not None
        try:
            with self._path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error
