"""A model takes part, in this process and over HTTP: it goes on where it stopped, and keeps count."""

from __future__ import annotations

import json

import pytest

from firsthand.errors import InputError, OutputError
from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.clients import competing
from firsthand.evaluation.codearena.clients.client import ArenaClient
from firsthand.evaluation.codearena.clients.competing import Competed, compete
from firsthand.evaluation.codearena.clients.models import ModelFailedError, ModelUnavailableError, Reply
from firsthand.evaluation.codearena.errors import (
    NotAuthorized,
    QueueFull,
    UnknownProblem,
    UnsupportedLanguage,
)

from .conftest import add_problem, judge_all
from .door import ADDRESS, Door, InProcess
from .scripted import ScriptedGrader

PIDS = ("a", "b", "c")


class Model:
    """Answers each problem by its title as the script says, and remembers what it was asked."""

    def __init__(self, **replies):
        self.replies, self.asked = replies, []

    def reply(self, messages, *, seed):
        title = messages[-1]["content"].split("\n")[0].removeprefix("# ").lower()
        self.asked.append((title, seed))
        said = self.replies.get(title, "AC 5")
        if isinstance(said, BaseException):
            raise said
        return Reply(f"Here you are:\n```python\n{said}\n```\nThat was {title}.", 100, 10)


@pytest.fixture
def ready(small):
    for pid in PIDS:
        add_problem(small, pid)
    return small


@pytest.fixture
def door(ready):
    return Door(ready)


@pytest.fixture
def judged(monkeypatch, ready):
    """Whoever waits has the arena judge meanwhile."""
    from firsthand.evaluation.codearena.clients import client

    monkeypatch.setattr(client.time, "sleep", lambda seconds: judge_all(ready))


def client_of(door, who="m"):
    return ArenaClient(ADDRESS, door.tokens[who], transport=InProcess(door.app))


@pytest.mark.parametrize("where", ["here", "there"])
def test_all_problems_are_answered_judged_and_summed_up(ready, door, judged, where):
    model = Model(b="WA 2", c="CE")
    place, options = (ready, {"user": "m"}) if where == "here" else (client_of(door), {})
    told = []
    found = compete(place, model, seed=7, on_result=told.append, **options)
    assert [(one.pid, one.outcome, one.verdict, one.cpu_ms) for one in found.results] == [
        ("a", "submitted", "AC", 5.0), ("b", "submitted", "WA", 2.0), ("c", "submitted", "CE", 0.0),
    ]  # fmt: skip
    assert tuple(told) == found.results
    assert model.asked == [("a", 7), ("b", 7), ("c", 7)]
    assert ready.submission(found.results[0].sid).source == "AC 5\n"
    summary = found.as_dict()
    assert summary.pop("results")[0]["sid"] == found.results[0].sid
    assert summary == {
        "user": "m", "language": "python", "problems": 3, "solved": 1, "pass_rate": pytest.approx(1 / 3),
        "outcomes": {"submitted": 3}, "verdicts": {"AC": 1, "WA": 1, "CE": 1}, "prompt_tokens": 300,
        "completion_tokens": 30,
    }  # fmt: skip
    json.dumps(found.as_dict())


@pytest.mark.parametrize("where", ["here", "there"])
def test_it_goes_on_where_it_stopped(ready, door, judged, where, tmp_path):
    place, options = (ready, {"user": "m"}) if where == "here" else (client_of(door), {})
    options["journal"] = tmp_path / "journal.jsonl"
    with pytest.raises(ModelUnavailableError, match="gone"):
        compete(place, Model(b=ModelUnavailableError("gone")), **options)
    with pytest.raises(KeyboardInterrupt):
        compete(place, Model(c=KeyboardInterrupt()), **options)
    model = Model()
    found = compete(place, model, **options)
    assert [title for title, _ in model.asked] == ["c"]
    assert [(one.pid, one.outcome, one.verdict) for one in found.results] == [
        ("a", "there already", "AC"), ("b", "there already", "AC"), ("c", "submitted", "AC"),
    ]  # fmt: skip
    assert (found.prompt_tokens, found.completion_tokens, found.solved) == (300, 30, 3)
    again = compete(place, Model(a=AssertionError("asked again")), **options)
    assert [one.sid for one in again.results] == [one.sid for one in found.results]
    without = compete(place, Model(), **{**options, "journal": None})
    assert (without.prompt_tokens, without.solved) == (0, 3)


def test_a_run_that_did_not_wait_has_its_verdicts_from_the_next(ready, door):
    found = compete(client_of(door), Model(), wait=False)
    assert [one.verdict for one in found.results] == [None] * 3
    assert found.as_dict()["verdicts"] == {}
    again = compete(client_of(door), Model(), timeout=0.0)  # nobody judges
    assert [one.verdict for one in again.results] == [None] * 3
    judge_all(ready)
    assert compete(client_of(door), Model()).solved == 3


def test_further_samples_come_after_the_attempt(ready, door, judged):
    model = Model(b=ModelFailedError("the prompt is too long"))
    found = compete(client_of(door), model, k=3, seed=10)
    assert [(one.pid, one.sample, one.outcome) for one in found.results] == [
        ("a", 1, "submitted"), ("a", 2, "submitted"), ("a", 3, "submitted"), ("b", 1, "no program"),
        ("c", 1, "submitted"), ("c", 2, "submitted"), ("c", 3, "submitted"),
    ]  # fmt: skip
    assert found.results[3].fault == "the prompt is too long"
    assert [seed for title, seed in model.asked if title == "a"] == [10, 11, 12]
    extra = [ready.submission(one.sid).extra for one in found.results if one.pid == "a"]
    assert extra == [False, True, True]
    assert (found.problems, found.solved) == (3, 2)
    model = Model()
    compete(client_of(door), model, k=4, seed=10)
    assert model.asked == [("a", 13), ("b", 10), ("b", 11), ("b", 12), ("b", 13), ("c", 13)]
    assert [(row.user, row.rating) for row in ready.rating("pass@k", k=4).rows] == [("m", 1.0)]


def test_people_have_samples_too(ready):
    ready.accounts.create("h", "human")
    found = compete(ready, Model(), ["a"], k=2, user="h")
    assert [ready.submission(one.sid).extra for one in found.results] == [False, False]


def test_the_same_program_for_two_problems_is_two_submissions(ready, door, judged):
    found = compete(client_of(door), lambda messages: "AC 1")
    assert len({one.sid for one in found.results}) == 3
    assert (found.prompt_tokens, found.solved) == (0, 3)


def test_a_problem_that_is_named_twice_counts_once(ready, door, judged):
    found = compete(client_of(door), Model(), ["a", "b", "a"])
    assert (found.problems, found.solved, found.pass_rate, len(found.results)) == (2, 2, 1.0, 2)


def test_what_gives_no_program(ready, door, judged):
    model = Model(a="", b="x" * 70_000, c=ModelFailedError("busy"))
    found = compete(client_of(door), model)
    assert [one.outcome for one in found.results] == ["no program"] * 3
    assert ["empty" in found.results[0].fault, "bytes" in found.results[1].fault] == [True, True]
    assert (found.prompt_tokens, found.problems, found.solved, found.pass_rate) == (200, 3, 0, 0.0)
    model = Model()
    assert compete(client_of(door), model).solved == 3  # they are asked for again


def test_a_problem_that_nothing_can_be_judged_with(small):
    from firsthand.evaluation.codearena.store.collection import Problem

    small.accounts.create("m", "llm")
    small.create_problem(Problem("bare", "Bare", "No cases."))
    add_problem(small, "a")
    found = compete(small, Model(), user="m")
    assert [(one.pid, one.outcome) for one in found.results] == [("a", "submitted"), ("bare", "refused")]
    assert "no active test case" in found.results[1].fault


def test_somebody_else_is_faster_with_the_same_account(ready, door, judged):
    client = client_of(door)

    def slow(messages):
        if "# B" in messages[-1]["content"]:
            ready.submit("m", "b", "python", "WA 1")
        return "AC 1"

    found = compete(client, slow)
    assert [one.outcome for one in found.results] == ["submitted", "refused", "submitted"]
    assert "one attempt" in found.results[1].fault
    assert compete(client, slow).results[1].verdict == "WA"


def test_an_aborted_attempt_is_made_again(ready, door, judged):
    first = compete(client_of(door), Model(), ["a"]).results[0]
    ready.submissions.abort(first.sid)
    model = Model()
    second = compete(client_of(door), model, ["a"]).results[0]
    assert (second.outcome, len(model.asked)) == ("submitted", 1)
    assert second.sid != first.sid


def test_a_busy_arena_is_waited_for(sqlite_url, monkeypatch):
    """The reply is there; it is not thrown away because a queue is full."""
    rested = []
    with Arena.open(sqlite_url, grader=ScriptedGrader(), queue_limit=1) as arena:
        for pid in PIDS:
            add_problem(arena, pid)
        arena.accounts.create("m", "llm")
        arena.accounts.create("n", "llm")
        arena.submit("n", "a", "python", "AC 1")
        assert compete(arena, Model(), user="m").solved == 3  # it judges itself
        arena.submit("n", "b", "python", "AC 1")
        door = Door(arena, submissions_per_minute=1000)
        add_problem(arena, "d")
        client = ArenaClient(ADDRESS, door.tokens["m"], transport=InProcess(door.app), retries=0)
        monkeypatch.setattr(
            competing.time, "sleep", lambda seconds: rested.append(seconds) or judge_all(arena)
        )
        assert compete(client, Model(), wait=False).results[3].outcome == "submitted"
        assert rested == [30.0]
        monkeypatch.setattr(competing.time, "sleep", rested.append)
        add_problem(arena, "e")
        with pytest.raises(QueueFull):
            compete(client, Model(), wait=False)
        assert len(rested) == 1 + competing._BUSY_TRIES


def test_what_cannot_be(ready, door, tmp_path):
    client = client_of(door)
    for kind, words, act in (
        (InputError, "k must be", lambda: compete(client, Model(), k=0)),
        (InputError, "list of ids, got the text 'a'", lambda: compete(client, Model(), "a")),
        (InputError, "leave it out", lambda: compete(client, Model(), user="m")),
        (InputError, "name the account", lambda: compete(ready, Model())),
        (InputError, "got int", lambda: compete(client, 7)),
        (UnsupportedLanguage, "cobol", lambda: compete(client, Model(), language="cobol")),
        (UnknownProblem, "none", lambda: compete(client, Model(), ["none"])),
        (NotAuthorized, "scope", lambda: compete(client_of(door, "rita"), Model())),
        (OutputError, "cannot write", lambda: compete(client, Model(), journal=tmp_path / "none" / "x")),
    ):
        with pytest.raises(kind, match=words):
            act()
    (tmp_path / "journal").write_text('{"user": "m"}\n')
    with pytest.raises(InputError, match="no journal"):
        compete(client, Model(), journal=tmp_path / "journal")


def test_a_journal_whose_last_line_was_cut_off(ready, door, judged, tmp_path):
    path = tmp_path / "journal"
    compete(client_of(door), Model(), ["a"], journal=path)
    compete(client_of(door, "n"), Model(), ["a"], journal=path)
    path.write_text(path.read_text() + '{"user": "m", "si')
    found = compete(client_of(door), Model(), ["a", "b"], journal=path)
    assert found.prompt_tokens == 200
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["user"], row["pid"]) for row in rows] == [("m", "a"), ("n", "a"), ("m", "b")]


def test_no_key_is_written_anywhere(ready, door, judged, tmp_path, monkeypatch, caplog):
    import httpx

    from firsthand.evaluation.codearena.clients.models import EndpointModel

    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    caplog.set_level("DEBUG")
    transport = httpx.MockTransport(lambda request: httpx.Response(400, text="sk-secret is not good enough"))
    model = EndpointModel("http://model/v1", "coder", transport=transport)
    found = compete(client_of(door), model, journal=tmp_path / "journal")
    assert found.results[0].outcome == "no program"
    everything = json.dumps(found.as_dict()) + repr(found) + caplog.text + repr(model)
    everything += "".join(path.read_text() for path in tmp_path.glob("journal*"))
    assert "sk-secret" not in everything
    assert door.tokens["m"] not in everything


def test_results_are_plain():
    assert Competed("a", 1, "submitted") == Competed(pid="a", sample=1, outcome="submitted")
