"""The pages in a real browser: with scripts and without, in light and dark, on a phone and on a desk."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.service.api import create_app
from firsthand.evaluation.codearena.settings import ArenaSettings
from firsthand.serve import LiveServer

from .conftest import Clock, judge_all
from .pages_helpers import add_written_problem, fill_with_figure_3
from .scripted import ScriptedGrader

pytestmark = pytest.mark.browser

STATEMENT = """## Input

Two numbers, such as `1 2`. <script>window.hacked = 1</script>

| a | b |
|---|---|
| 1 | 2 |

![tracker](https://evil.example/x.gif) and مرحبا بالعالم

```python
print(sum(map(int, input().split())))
```
"""


class Served:
    """A league, the server over it, and a token of a person."""

    def __init__(self, arena: Arena, url: str, token: str) -> None:
        self.arena, self.url, self.token = arena, url, token
        (self.sid, *_) = [one.sid for one in arena.submissions.page(user="C", pid="P1")[0]]


@pytest.fixture(scope="module")
def served(sqlite_template, tmp_path_factory) -> Iterator[Served]:
    path = tmp_path_factory.mktemp("arena") / "arena.db"
    shutil.copy(sqlite_template, path)
    clock = Clock()
    with Arena.open(f"sqlite:///{path}", grader=ScriptedGrader(), clock=clock) as arena:
        fill_with_figure_3(arena)
        add_written_problem(arena, "words", "مجموع الأعداد <b>&</b>", STATEMENT)
        for _ in range(3):
            arena.checkpoint()
            clock.move(days=30)
        arena.accounts.create("ann", "human")
        arena.accounts.create("x" * 64, "llm")
        arena.submit("x" * 64, "words", "c", "AC 3")
        judge_all(arena)
        token = arena.accounts.issue("ann").secret
        app = create_app(ArenaSettings(judges=0, checkpoint_hours=0), arena=arena)
        with LiveServer(app) as live:
            yield Served(arena, live.url, token)


class Tab:
    """A tab that notes everything it should not do."""

    def __init__(self, browser: Any, served: Served, width: int = 1280, **options: Any) -> None:
        self.served = served
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        self.page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.served.url, "data:")):
            self.complaints.append(f"request: {request.url}")

    def open(self, path: str) -> Any:
        self.page.goto(self.served.url + path)
        return self.page

    def log_in(self) -> None:
        self.open("/login")
        self.page.get_by_label("Token").fill(self.served.token)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url("**/user/ann")

    def hand_in(self, source: str) -> None:
        self.open("/submit/P1")
        self.page.get_by_label("Language").select_option("python")
        self.page.get_by_label("Source").fill(source)
        self.page.get_by_role("button", name="Hand in").click()
        self.page.wait_for_selector("#verdict-status")


@pytest.fixture
def tab(browser, served):
    tabs: list[Tab] = []

    def open_tab(**options: Any) -> Tab:
        tabs.append(Tab(browser, served, **options))
        return tabs[-1]

    yield open_tab
    for one in tabs:
        complaints = one.complaints
        one.context.close()
        assert complaints == []


def test_the_verdict_arrives_without_a_reload(tab, served):
    one = tab()
    one.log_in()
    one.hand_in("AC 58")
    status = one.page.locator("#verdict-status")
    assert "Waiting" in status.inner_text()
    one.page.evaluate("window.stayed = document.getElementById('verdict-status')")
    judge_all(served.arena)
    one.page.wait_for_selector("#verdict[data-waits=no]")
    assert "Accepted" in status.inner_text()
    assert one.page.evaluate("window.stayed === document.getElementById('verdict-status')")
    assert one.page.locator("#verdict table tbody tr").count() == 2
    cookies = {cookie["name"]: cookie for cookie in one.context.cookies()}
    assert cookies["arena-session"]["httpOnly"]
    assert cookies["arena-session"]["sameSite"] == "Strict"
    assert one.page.evaluate("document.cookie") == ""
    one.page.get_by_role("button", name="Log out").click()
    one.page.wait_for_selector(".who a[href='/login']")


def test_without_scripts_the_page_renews_itself(tab, served):
    one = tab(java_script_enabled=False)
    one.log_in()
    one.hand_in("WA 5")
    assert "Waiting" in one.page.locator("#verdict-status").inner_text()
    judge_all(served.arena)
    one.page.get_by_text("Wrong answer").first.wait_for()  # after the refresh that the page asks for
    one.open("/")
    assert one.page.locator("table.league tbody tr").count() == 4
    one.page.get_by_text("Change the rules").click()
    one.page.get_by_label("Challenge score").select_option("share")
    one.page.get_by_role("button", name="Draw this board").click()
    one.page.wait_for_url("**challenge=share**")
    assert one.page.get_by_text("split evenly among all who solved it").count() == 1


def test_a_server_that_is_away_for_a_while_loses_nothing(tab, served):
    one = tab()
    one.log_in()
    one.hand_in("AC 7")
    one.context.set_offline(True)
    one.page.wait_for_timeout(900)
    one.context.set_offline(False)
    judge_all(served.arena)
    one.page.wait_for_selector("#verdict[data-waits=no]")
    one.complaints = [text for text in one.complaints if "ERR_INTERNET_DISCONNECTED" not in text]


def test_the_league_and_two_of_it_by_keyboard(tab, served):
    one = tab()
    one.open("/")
    one.page.keyboard.press("Tab")
    assert one.page.evaluate("document.activeElement.className") == "skip"
    one.page.keyboard.press("Enter")
    assert one.page.evaluate("document.activeElement.id") == "main"
    one.page.get_by_role("link", name="Compare two").focus()
    one.page.keyboard.press("Enter")
    one.page.wait_for_url("**/compare?a=A&b=B")
    assert one.page.get_by_role("heading", name="Only A solved").count() == 1
    one.page.get_by_label("The other").select_option("C")
    one.page.get_by_role("button", name="Compare").press("Enter")
    one.page.wait_for_url("**/compare?a=A&b=C")
    one.page.get_by_role("link", name="Swap").press("Enter")
    one.page.wait_for_url("**/compare?a=C&b=A")


def test_a_statement_runs_nothing(tab, served):
    one = tab()
    page = one.open("/problem/words")
    assert page.evaluate("window.hacked") is None
    assert page.locator("h1 b").count() == 0
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).direction") == "rtl"


PAGES = (
    "/", "/?intervals=1&challenge=share&leave_out=C", "/problem/", "/problem/words", "/submission/", "{sid}",
    "/user/B", "/compare?a=A&b=B", "/leakage", "/data", "/about", "/login", "/submit/P1", "/nothing",
)  # fmt: skip


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
def test_pages_fit_and_axe_finds_nothing(tab, served, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    one = tab(width=width, color_scheme=scheme)
    one.log_in()
    for path in PAGES:
        page = one.open(path.replace("{sid}", f"/submission/{served.sid}"))
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        found = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
        said = [
            (rule["id"], rule["nodes"][0]["html"][:200], rule["nodes"][0].get("failureSummary", "")[:300])
            for rule in found
        ]
        assert said == [], path
        scroll, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert scroll <= inner, path
    background = one.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 384) == (scheme == "dark")
    one.complaints = [text for text in one.complaints if "404" not in text]  # the page that there is not
