"""How a browser gets in: token in the address, cookie from then on; and a page's files and their headers."""

from __future__ import annotations

import sys

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from firsthand.errors import InputError
from firsthand.serve import LiveServer, make_app, page_routes
from tests.serve.test_shell import TOKEN, answers, routes


@pytest.fixture(scope="module")
def live():
    with LiveServer(make_app(routes(), token=TOKEN, browser=True)) as live:
        yield live


@pytest.fixture
def client(live):
    with httpx.Client(base_url=live.url, verify=False) as client:
        yield client


def cookie_of(live) -> str:
    answer = httpx.get(f"{live.url}/hello?token={TOKEN}", verify=False)
    return answer.headers["set-cookie"].partition(";")[0]


def test_the_token_goes_from_the_address_into_a_cookie(live, client):
    answer = client.get("/hello", params={"a": "b c", "token": TOKEN, "d": ""})
    assert (answer.status_code, answer.headers["location"]) == (303, "/hello?a=b+c&d=")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    name, *rest = answer.headers["set-cookie"].split("; ")
    assert rest == ["HttpOnly", "SameSite=Strict", "Path=/"]
    assert name.startswith(f"firsthand-{live.url.rsplit(':', 1)[1]}=")
    assert TOKEN not in name
    assert client.get("/hello").text == "hello"  # the client kept the cookie


@pytest.mark.parametrize("query", ["token=x", "token=", "token", f"token={TOKEN}x", f"token={TOKEN}&token=x"])
def test_a_wrong_token_opens_nothing(client, query):
    answer = client.get(f"/hello?{query}")
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "?token=" in answer.json()["error"]["message"]


def test_only_a_get_takes_the_token_from_its_address(client):
    assert client.post(f"/echo?token={TOKEN}", json={}).status_code == 401


def test_a_redirect_never_leads_to_another_machine(live, client):
    answer = client.get(f"{live.url}//evil.example/x?token={TOKEN}")
    assert answer.headers["location"] == "/evil.example/x"


def test_the_header_still_opens(client):
    assert client.get("/hello", headers={"Authorization": f"Bearer {TOKEN}"}).text == "hello"


def test_a_cookie_counts_only_for_the_page_itself(live, client):
    cookie = cookie_of(live)
    for site, status in (("same-origin", 200), ("none", 200), ("same-site", 401), ("cross-site", 401)):
        assert (
            client.get("/hello", headers={"Cookie": cookie, "Sec-Fetch-Site": site}).status_code == status
        ), site
    wrong = cookie[:-1] + ("0" if cookie[-1] != "0" else "1")
    assert client.get("/hello", headers={"Cookie": wrong}).status_code == 401
    assert client.get("/hello", headers={"Cookie": "=;;\x01"}).status_code == 401


def test_a_websocket_is_opened_by_the_cookie(live):
    url = live.url.replace("http", "ws") + "/talk"
    with connect(url, additional_headers={"Cookie": cookie_of(live)}) as connection:
        assert connection.recv() == "hello"
    for refused in (url, f"{url}?token={TOKEN}"):
        with pytest.raises(InvalidStatus):
            connect(refused)
    with pytest.raises(InvalidStatus):
        connect(url, additional_headers={"Cookie": cookie_of(live)}, origin="http://evil.example")


def test_a_cookie_of_one_port_does_not_open_another(live):
    with LiveServer(make_app(routes(), token=TOKEN, browser=True)) as other:
        value = cookie_of(live).partition("=")[2]
        name = cookie_of(other).partition("=")[0]
        headers = {"Cookie": f"{name}={value}"}
        assert httpx.get(f"{other.url}/hello", headers=headers, verify=False).status_code == 401


def test_services_for_programs_take_no_cookie():
    with LiveServer(make_app(routes(), token=TOKEN)) as live:
        assert httpx.get(f"{live.url}/hello?token={TOKEN}", verify=False).status_code == 401


def test_without_a_token_there_is_nothing_to_enter():
    assert answers(make_app(routes(), browser=True), host="127.0.0.1") == 200


# --- a page's files ----------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "a_page" / "static"
    folder.mkdir(parents=True)
    (tmp_path / "a_page" / "__init__.py").write_text("SECRET = 1\n")
    (folder / "index.html").write_text("<!doctype html>")
    (folder / "app.js").write_text("1")
    (folder / "notes.py").write_text("x")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "a_page", raising=False)
    return "a_page"


def test_files_come_with_a_policy_and_a_tag(package):
    with (
        LiveServer(make_app(page_routes(package))) as live,
        httpx.Client(base_url=live.url, verify=False) as client,
    ):
        page = client.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        script = client.get("/static/app.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert script.headers["cache-control"] == "no-cache"
        again = client.get("/static/app.js", headers={"If-None-Match": script.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        for missing in ("notes.py", "../__init__.py", "..%2f__init__.py", "%2e%2e/__init__.py", "x.js"):
            assert client.get(f"/static/{missing}").status_code == 404


def test_a_page_that_was_not_built_says_so(package, tmp_path):
    (tmp_path / "a_page" / "static" / "index.html").unlink()
    with pytest.raises(InputError, match="not built"):
        page_routes(package)
