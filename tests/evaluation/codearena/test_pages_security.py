"""What guards the pages: their headers, the login, and forms that no other site can send."""

from __future__ import annotations

import logging
from http.cookies import SimpleCookie

import pytest

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.pages.service import _way_on

from . import pages_helpers
from .conftest import add_problem
from .pages_helpers import (
    PEOPLE,
    Browser,
    client_of,
    read_html,
)

league_template, league = pages_helpers.league_template_fixture, pages_helpers.league_fixture

PAGES = [
    "/", "/?intervals=1", "/?es_weight=x", "/problem/", "/problem/P1", "/submission/", "/user/A", "/compare",
    "/compare?a=A&b=B", "/leakage", "/data", "/about", "/login", "/nothing", "/static/arena.css", "/static/nothing.css",
]  # fmt: skip


@pytest.fixture
def browser(small: Arena) -> Browser:
    return Browser(client_of(small))


def ann(arena: Arena) -> str:
    arena.accounts.create("ann", "human")
    return arena.accounts.issue("ann").secret


def test_every_answer_has_a_strict_policy(league):
    client = client_of(league)
    for path in PAGES:
        check_policy(client.get(path, headers=PEOPLE).headers)


def check_policy(headers) -> None:
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    if headers["content-type"].startswith("application/json"):
        assert policy["default-src"] == "'none'"
    else:
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' data:",
            "connect-src": "'self'",
            "form-action": "'self'",
            "base-uri": "'none'",
            "frame-ancestors": "'none'",
        }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] in ("same-origin", "no-referrer")
    assert len(headers.get_list("content-security-policy")) == 1
    assert "access-control-allow-origin" not in headers


def test_files_are_kept_by_their_content(browser):
    first = browser.client.get("/static/arena.css")
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    assert browser.client.get("/static/arena.css", headers={"If-None-Match": tag}).status_code == 304
    named = browser.client.get(f"/static/arena.css?v={tag.strip(chr(34))}")
    assert "immutable" in named.headers["cache-control"]
    assert "immutable" not in browser.client.get("/static/arena.css?v=old").headers["cache-control"]
    for wrong in (
        "/static/../pages.py",
        "/static/%2e%2e/pages.py",
        "/static/..%2fpages.py",
        "/static/",
        "/static/x",
    ):
        assert browser.client.get(wrong).status_code == 404


# --- logging in --------------------------------------------------------------------------------------


def cookies_of(answer) -> SimpleCookie:
    found: SimpleCookie = SimpleCookie()
    for line in answer.headers.get_list("set-cookie"):
        found.load(line)
    return found


def test_the_cookie_is_kept_from_scripts_and_from_other_sites_and_is_not_the_token(small, browser):
    token = ann(small)
    page = browser.open("/login")
    secret = page.one("input", name="secret").attributes["value"]
    answer = browser.client.post(
        "/login",
        data={"secret": secret, "key": f" {token}\n", "next": ""},
        headers=PEOPLE,
        follow_redirects=False,
    )
    assert answer.status_code == 303
    assert answer.headers["location"] == "/user/ann"
    cookie = cookies_of(answer)["arena-session"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "strict"
    assert cookie["path"] == "/"
    assert not cookie["secure"]  # plain HTTP on the loopback
    assert not cookie["expires"]
    assert not cookie["max-age"]
    assert token not in cookie.value
    assert len(cookie.value) > 40
    text = browser.client.get("/", headers=PEOPLE).text
    assert token not in text
    assert cookie.value not in text


def test_behind_https_the_cookie_is_secure(small):
    token = ann(small)
    client = client_of(small, proxies=("testclient",))
    browser = Browser(client)
    client.headers["X-Forwarded-Proto"] = "https"
    answer = client.get("/login", headers=PEOPLE)
    assert cookies_of(answer)["arena-login"]["secure"]
    page = read_html(answer.text)
    ticket = cookies_of(answer)["arena-login"].value
    answer = client.post(
        "/login",
        data={"secret": page.one("input", name="secret").attributes["value"], "key": token},
        headers={**PEOPLE, "Cookie": f"arena-login={ticket}"},
        follow_redirects=False,
    )
    assert answer.status_code == 303
    assert cookies_of(answer)["arena-session"]["secure"]
    assert browser.client is client


def test_a_wrong_token_opens_nothing_and_too_many_have_to_wait(small):
    ann(small)
    client = client_of(small, failures_per_minute=3)
    browser = Browser(client)
    for _ in range(3):
        page = browser.send(browser.open("/login"), "/login", 401, key="arena_wrong")
        assert "unknown, revoked or expired" in page.one(role="alert").text
        assert "arena_wrong" not in page.text
    page = browser.send(browser.open("/login"), "/login", 429, key=small.accounts.issue("ann").secret)
    assert page.one("h1").text == "Too many requests"
    assert "arena-session" not in client.cookies


def test_a_revoked_token_ends_its_session_at_once(small, browser):
    token = ann(small)
    browser.log_in(token)
    assert browser.open("/").one("div", class_="who").text == "ann Log out"
    (info,) = small.accounts.tokens("ann")
    small.accounts.revoke(info.id)
    assert browser.open("/").one("div", class_="who").text == "Log in"


def test_what_somebody_saw_is_not_kept_by_the_browser(small, browser):
    assert browser.client.get("/", headers=PEOPLE).headers["cache-control"] == "private, no-cache"
    browser.log_in(ann(small))
    assert browser.client.get("/", headers=PEOPLE).headers["cache-control"] == "no-store"


def test_pages_answer_those_who_ask_for_headers_only(browser):
    answer = browser.client.head("/", headers=PEOPLE)
    assert answer.status_code == 200
    assert "content-security-policy" in answer.headers


def test_logging_out_forgets_the_session_on_the_server(small, browser):
    browser.log_in(ann(small))
    cookie = browser.client.cookies["arena-session"]
    page = browser.send(browser.open("/"), "/logout")
    assert page.one("div", class_="who").text == "Log in"
    browser.client.cookies.set("arena-session", cookie)
    assert browser.open("/").one("div", class_="who").text == "Log in"


def test_logging_in_begins_a_new_session(small, browser):
    token = ann(small)
    browser.log_in(token)
    first = browser.client.cookies["arena-session"]
    browser.log_in(token)
    second = browser.client.cookies["arena-session"]
    assert first != second
    browser.client.cookies.clear()
    browser.client.cookies.set("arena-session", first)
    assert browser.open("/").one("div", class_="who").text == "Log in"


@pytest.mark.parametrize("target", ["/problem/sum", "/submission/?verdict=AC", "/"])
def test_ways_on_within_the_arena(target):
    assert _way_on(target) == target


@pytest.mark.parametrize(
    "target",
    [
        "", "https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "javascript:alert(1)",
        "/a\r\nSet-Cookie: x=y", "\\\\evil", "/x" * 300, "evil", "/a\\..\\b", "///evil.example",
    ],
)  # fmt: skip
def test_ways_that_lead_elsewhere_are_not_taken(target):
    assert _way_on(target) == ""


def test_a_login_leads_nowhere_else(small, browser):
    page = browser.open("/login?next=//evil.example/")
    assert page.one("input", name="next").attributes["value"] == ""
    answer = browser.client.post(
        "/login",
        data={
            "secret": page.one("input", name="secret").attributes["value"],
            "key": ann(small),
            "next": "https://evil.example/",
        },
        headers=PEOPLE,
        follow_redirects=False,
    )
    assert answer.headers["location"] == "/user/ann"


# --- forms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["", "wrong", "é"])
def test_a_form_of_another_session_changes_nothing(small, browser, secret):
    add_problem(small)
    browser.log_in(ann(small))
    data = {"language": "python", "source": "AC 1", "secret": secret}
    assert browser.client.post("/submit/sum", data=data, headers=PEOPLE).status_code == 403
    assert browser.client.post("/logout", data={"secret": secret}, headers=PEOPLE).status_code == 403
    assert small.submissions.page()[1] == 0
    assert "ann" in browser.open("/").one("div", class_="who").text


def test_another_site_can_neither_log_anybody_in_nor_hand_in(small, browser):
    add_problem(small)
    token = ann(small)
    for secret in ("", "wrong"):
        answer = browser.client.post("/login", data={"key": token, "secret": secret}, headers=PEOPLE)
        assert answer.status_code == 403
    page = browser.log_in(token)
    secret = page.all("input", name="secret")[0].attributes["value"]
    data = {"language": "python", "source": "AC 1", "secret": secret}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        answer = browser.client.post("/submit/sum", data=data, headers={**PEOPLE, "Origin": origin})
        assert answer.status_code == 403
        assert read_html(answer.text).one("h1").text == "You may not do this"
    assert small.submissions.page()[1] == 0


def test_who_was_logged_out_meanwhile_is_told_so(small, browser):
    add_problem(small)
    answer = browser.client.post("/submit/sum", data={"secret": "x"}, headers=PEOPLE)
    assert answer.status_code == 401
    assert "logged out meanwhile" in read_html(answer.text).text


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"a=1&a=2", "application/x-www-form-urlencoded", 422),
        (b"a=%ff", "application/x-www-form-urlencoded", 422),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 422),
        (b"&".join(b"f%d=1" % number for number in range(99)), "application/x-www-form-urlencoded", 422),
        (b"{}", "application/json", 422),
        (b"x" * 600_000, "application/x-www-form-urlencoded", 413),
        (b"", "", 422),
    ],
)
def test_forms_that_are_none_are_refused(browser, content, kind, status):
    headers = {**PEOPLE, **({"Content-Type": kind} if kind else {})}
    assert browser.client.post("/login", content=content, headers=headers).status_code == status


def test_no_secret_is_in_logs_or_addresses(small, browser, caplog):
    token = ann(small)
    with caplog.at_level(logging.DEBUG):
        browser.log_in(token)
        page = browser.open("/")
        browser.open(f"/?token={token}", 422)
    cookie = browser.client.cookies["arena-session"]
    ours = " ".join(
        record.getMessage() for record in caplog.records if "httpx" not in record.name
    )  # the client's own
    for secret in (token, cookie):
        assert secret not in ours
    assert "secret" not in " ".join(one.attributes.get("href", "") for one in page.all("a"))


def test_a_session_opens_no_api(small, browser):
    """The cookie is for pages; programs show their token, so that no page of ours can be made to call the API."""
    add_problem(small)
    browser.log_in(ann(small))
    answer = browser.client.post(
        "/api/submission/", json={"problem": "sum", "language": "python", "source": "AC 1"}
    )
    assert answer.status_code == 401
