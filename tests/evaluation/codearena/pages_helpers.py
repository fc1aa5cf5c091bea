"""A league for the pages' tests, a client that reads like a browser without scripts, and a small reader of HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.pages.recent import Recent
from firsthand.evaluation.codearena.pages.sessions import Sessions
from firsthand.evaluation.codearena.service.access import Service
from firsthand.evaluation.codearena.service.api import create_app
from firsthand.evaluation.codearena.settings import ArenaSettings
from firsthand.evaluation.codearena.store.cases import NewCase
from firsthand.evaluation.codearena.store.collection import Problem

from .conftest import SHOUTS, Clock, add_problem, judge_all, sqlite_copy
from .scripted import ScriptedGrader

VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)
PEOPLE = {"Accept": "text/html"}

# The paper's figure 3, as the sheet's example 1 has it: who solved what in which time.
FIGURE_3 = {
    "A": {"P1": "AC 58", "P2": "AC 42", "P3": "WA 1"},
    "B": {"P1": "WA 1", "P2": "AC 24", "P3": "AC 19"},
    "C": {"P1": "TLE 2000", "P2": "AC 48", "P3": "AC 22"},
}


def fill_with_figure_3(arena: Arena) -> None:
    """Three models and three problems, all judged; points as in the sheet."""
    for pid, bps in {"P1": 5.0, "P2": 3.0, "P3": 5.0}.items():
        add_problem(arena, pid, bps=bps)
    for user, sources in FIGURE_3.items():
        arena.accounts.create(user, "llm")
        for pid, source in sources.items():
            arena.submit(user, pid, "python", source)
    judge_all(arena)


@pytest.fixture(scope="session", name="league_template")
def league_template_fixture(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of that league: to be copied."""
    path = Path(sqlite_copy(sqlite_template, tmp_path_factory.mktemp("league")).removeprefix("sqlite:///"))
    with Arena.open(f"sqlite:///{path}", grader=ScriptedGrader(), clock=Clock()) as arena:
        fill_with_figure_3(arena)
    return path


@pytest.fixture(name="league")
def league_fixture(league_template: Path, tmp_path: Path, clock: Clock) -> Iterator[Arena]:
    with Arena.open(sqlite_copy(league_template, tmp_path), grader=ScriptedGrader(), clock=clock) as arena:
        yield arena


_applications: list[FastAPI] = []


def client_of(arena: Arena, **settings: Any) -> TestClient:
    """A client of the application over an arena, which does none of a server's chores.

    All tests share one application, because its first request takes long: the last arena is the one that it serves.
    """
    wanted = ArenaSettings(judges=0, checkpoint_hours=0, **settings)
    if not _applications:
        _applications.append(create_app(wanted, arena=arena))
    (app,) = _applications
    app.state.service = Service(arena, wanted)
    app.state.sessions, app.state.recent = Sessions(), Recent()
    return TestClient(app, base_url="http://127.0.0.1")


def add_written_problem(arena: Arena, pid: str, title: str, statement: str) -> None:
    """A problem with a title and a statement of any kind."""
    arena.create_problem(
        Problem(pid, title=title, statement=statement),
        cases=[NewCase("a", "A", sample=True)],
        solutions=SHOUTS,
        validated=True,
    )


@dataclass
class Element:
    """An element: its name, attributes, and what is in it."""

    name: str
    attributes: dict[str, str]
    inside: list[Element | str] = field(default_factory=list)

    def walk(self) -> Iterator[Element]:
        yield self
        for one in self.inside:
            if isinstance(one, Element):
                yield from one.walk()

    def all(self, tag: str = "", /, **attributes: str) -> list[Element]:
        """Elements of a name with these attributes; `class_` is one of the classes."""
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        return [one for one in self.walk() if (not tag or one.name == tag) and one._has(wanted)]

    def one(self, tag: str = "", /, **attributes: str) -> Element:
        found = self.all(tag, **attributes)
        assert len(found) == 1, (tag, attributes, len(found))
        return found[0]

    def _has(self, wanted: dict[str, str]) -> bool:
        return all(
            value in self.attributes.get(key, "").split()
            if key == "class"
            else self.attributes.get(key) == value
            for key, value in wanted.items()
        )

    @property
    def text(self) -> str:
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for one in self.inside:
            if isinstance(one, str):
                yield one
            else:
                yield from one._texts()

    def rows(self) -> list[list[str]]:
        """A table's body, as texts."""
        bodies = self.all("tbody")
        return [[cell.text for cell in row.all() if cell.name in ("td", "th")] for row in bodies[0].all("tr")]


class Reader(HTMLParser):
    """Builds the tree, and notes what is not well formed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self._open = [self.root]
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.faults.append(f"<{tag}> has an attribute twice")
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].inside.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].inside.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if self._open[-1].name != tag:
            self.faults.append(f"</{tag}> closes <{self._open[-1].name}>")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].inside.append(data)


def read_html(text: str) -> Element:
    """The page; well-formed, with ids that are unique, labels that fit, and nothing inline."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.faults == []
    assert [one.name for one in reader._open[1:]] == []
    page = reader.root
    ids = Counter(one.attributes["id"] for one in page.walk() if "id" in one.attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    for one in page.walk():
        assert not [name for name in one.attributes if name.startswith("on") or name == "style"], (
            one.attributes
        )
        assert one.name != "style"
        assert one.name != "script" or (
            one.attributes.get("src", "").startswith("/static/") and not one.inside
        )
        for name in ("for", "aria-labelledby", "aria-describedby"):
            for target in one.attributes.get(name, "").split():
                assert target in ids, (name, target)
        for name in ("src", "action"):
            assert one.attributes.get(name, "/").startswith(("/", "data:image/")), one.attributes
    named = {one.attributes["for"] for one in page.all("label")}
    for name in ("input", "select", "textarea"):
        for one in page.all(name):
            assert one.attributes.get("type") == "hidden" or one.attributes["id"] in named, one.attributes
    return page


class Browser:
    """A browser without scripts."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def open(self, path: str, status: int = 200) -> Element:
        """A page, as it comes after redirects."""
        answer = self.client.get(path, headers=PEOPLE)
        assert answer.status_code == status, (path, answer.status_code, answer.text[:500])
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        return read_html(answer.text)

    def send(self, page: Element, action: str, status: int = 200, **fields: str) -> Element:
        """Fill in a form of a page and send it."""
        (form,) = [one for one in page.all("form") if one.attributes.get("action") == action]
        values = {one.attributes["name"]: one.attributes.get("value", "") for one in form.all("input")}
        answer = self.client.post(action, data={**values, **fields}, headers=PEOPLE)
        assert answer.status_code == status, (action, answer.status_code, answer.text[:500])
        return read_html(answer.text)

    def log_in(self, token: str) -> Element:
        return self.send(self.open("/login"), "/login", key=token)
