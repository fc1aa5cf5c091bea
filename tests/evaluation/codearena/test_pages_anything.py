"""On SQLite and PostgreSQL alike, no address and no form makes a page fail, whatever it holds."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firsthand.evaluation.codearena.arena import Arena

from .conftest import judge_all
from .pages_helpers import PEOPLE, Browser, client_of, fill_with_figure_3, read_html

PARAMETERS = {
    "/": (
        "challenge", "aggregate", "ac_unit", "es_scope", "es_weight", "es_tolerance", "population", "leave_out", "at",
        "intervals",
    ),
    "/problem/": ("q", "difficulty", "page"),
    "/submission/": ("problem", "user", "language", "verdict", "page"),
    "/compare": ("a", "b"),
    "/leakage": ("length", "copies", "population", "leave_out"),
    "/login": ("next",),
    "/submit/P1": ("language",),
    "/data": ("x",),
    "/about": ("x",),
}  # fmt: skip
PATHS = ("/problem/{}", "/problem/{}/cases.json", "/user/{}", "/submission/{}", "/submission/{}/source", "/data/{}",
         "/static/{}", "/submit/{}", "/{}")  # fmt: skip
ODD = st.one_of(
    st.sampled_from(
        [
            "", "0", "-1", "1e999", "nan", "A", "P1", "A,B", "problem:P1", "user:A", "human", "all", "share", "dmoj",
            "2024-07-30", "9999-12-31", "0001-01-01", "2024-07-30T12:00:00Z", "\0", "'", '"', "%", "\\", "<b>", "{{1}}",
            "é", "\u202e", "\U0001f375", "x" * 3000, "1" * 400, "../..", "AC", "c", "year", "1", "2", "submission",
        ]
    ),
    st.text(max_size=12),
)  # fmt: skip
GOOD = {200, 303, 307, 401, 403, 404, 405, 422}


@pytest.fixture
def filled(arena: Arena) -> Arena:
    fill_with_figure_3(arena)
    arena.accounts.create("ann", "human")
    return arena


def test_all_pages_are_there_on_both_databases(filled, clock):
    browser = Browser(client_of(filled))
    browser.log_in(filled.accounts.issue("ann").secret)
    for _ in range(2):
        filled.checkpoint()
        clock.move(days=1)
    shown = browser.send(browser.open("/submit/P1"), "/submit/P1", language="c", source="AC 12")
    assert "Waiting" in shown.one(role="status").text
    assert browser.open("/problem/").one("table").rows()[0][-1] == "waiting"
    judge_all(filled)
    for path in (
        "/", "/?intervals=1&population=all", "/?at=2024-07-30", "/problem/", "/problem/P1", "/submit/P1",
        "/submission/", "/submission/?user=ann&verdict=AC", "/user/A", "/user/ann", "/compare?a=A&b=ann", "/leakage",
        "/data", "/about", "/login",
    ):  # fmt: skip
        browser.open(path)
    assert browser.open("/problem/").one("table").rows()[0][-1] == "solved"
    solvers = browser.open("/problem/P2").one("table", class_="small").rows()
    assert [row[:3] for row in solvers] == [["1", "B", "24 ms"], ["2", "A", "42 ms"], ["3", "C", "48 ms"]]


def test_no_address_makes_a_page_fail(filled):
    client = client_of(filled, reads_per_minute=1e9)
    browser = Browser(client)
    filled.accounts.create("rita", "reader")
    browser.log_in(filled.accounts.issue("rita").secret)

    def check(address: str) -> None:
        answer = client.get(address, headers=PEOPLE, follow_redirects=False)
        assert answer.status_code in GOOD, (address, answer.status_code)
        if answer.headers.get("content-type", "").startswith("text/html"):
            read_html(answer.text)

    @given(st.data())
    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def one(data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(PARAMETERS)))
        names = data.draw(st.lists(st.sampled_from(PARAMETERS[path]), min_size=1, max_size=3))
        check(f"{path}?{urlencode([(name, data.draw(ODD)) for name in names])}")
        check(data.draw(st.sampled_from(PATHS)).format(quote(data.draw(ODD), safe="")[:900]))

    one()


def test_no_form_makes_a_page_fail(filled):
    client = client_of(filled, reads_per_minute=1e9, writes_per_minute=1e9, submissions_per_minute=1e9)
    browser = Browser(client)
    page = browser.log_in(filled.accounts.issue("ann").secret)
    secret = page.all("input", type="hidden")[0].attributes["value"]

    @given(st.dictionaries(st.sampled_from(["language", "source", "once", "secret", "key", "next"]), ODD))
    @settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def one(fields: dict[str, str]) -> None:
        for path in ("/submit/P1", "/login"):
            answer = client.post(
                path, data={"secret": secret, **fields}, headers=PEOPLE, follow_redirects=False
            )
            assert answer.status_code in {*GOOD, 413, 429}, (path, fields, answer.status_code)
            if answer.status_code != 303:
                read_html(answer.text)

    one()
