"""Webhooks: signed, sent again, and never into our own network unless that was allowed."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import select, update

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.refusals import InvalidRequest, UnknownEntry
from firsthand.evaluation.codearena.service import api, webhooks
from firsthand.evaluation.codearena.service.webhooks import SIGNATURE, signature, verify_signature
from firsthand.evaluation.codearena.settings import ArenaSettings
from firsthand.evaluation.codearena.store.tables import delivery

from .conftest import add_problem, judge_all
from .scripted import ScriptedGrader


class Receiver:
    """A server on the loopback that notes what is posted to it and answers as told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = lambda handler: self.say(handler, 200)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, dict(self.headers), body))
                outer.answer(self)

            def log_message(self, *ignored):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    @staticmethod
    def say(handler: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def both(arena_url, receiver):
    """An arena that may post to the receiver, on either database."""
    with reaching(arena_url, receiver) as arena:
        yield arena


@pytest.fixture
def open_arena(sqlite_url, receiver):
    with reaching(sqlite_url, receiver) as arena:
        yield arena


@contextlib.contextmanager
def reaching(url, receiver):
    allowed = (f"127.0.0.1:{receiver.port}", f"hooks.example:{receiver.port}")
    with Arena.open(url, grader=ScriptedGrader(), webhook_hosts=allowed) as arena:
        add_problem(arena)
        for name in ("m", "n", "h"):
            arena.accounts.create(name, "human" if name == "h" else "llm")
        yield arena


def hook(arena, receiver, path="/judged?key=hooks-secret", owner="m"):
    return arena.webhooks.add(arena.accounts.find(owner), f"http://127.0.0.1:{receiver.port}{path}")


def waiting(arena):
    with arena.database.read() as connection:
        return connection.execute(select(delivery).order_by(delivery.c.id)).all()


def make_due(arena):
    with arena.database.write() as connection:
        connection.execute(update(delivery).values(not_before=arena.database.now(-1)))


def test_a_judged_submission_is_posted_and_signed(both, receiver, caplog):
    arena = both
    caplog.set_level("DEBUG")
    added = hook(arena, receiver)
    assert added.secret not in repr(added)
    sid = arena.submit("m", "sum", "python", "AC 12.5")
    arena.submit("n", "sum", "python", "AC 1")  # somebody else's
    judge_all(arena)
    assert len(waiting(arena)) == 1  # written with the judgement, before anything is sent
    assert arena.webhooks.deliver_due() == 1
    assert arena.webhooks.deliver_due() == 0
    ((path, headers, body),) = receiver.got
    assert path == "/judged?key=hooks-secret"
    assert headers["Host"] == f"127.0.0.1:{receiver.port}"
    told = json.loads(body)
    assert told["event"] == "submission.judged"
    assert (told["sid"], told["user"], told["problem"], told["verdict"], told["cpu_ms"]) == (
        sid,
        "m",
        "sum",
        "AC",
        12.5,
    )
    assert verify_signature(added.secret, headers[SIGNATURE], body)
    assert not verify_signature("another", headers[SIGNATURE], body)
    assert len(headers["Firsthand-Delivery"]) == 32
    assert "source" not in told
    assert "hooks-secret" not in caplog.text
    assert added.secret not in caplog.text


def test_signatures():
    body, at = b'{"a": 1}', int(time.time())
    header = signature("secret", body, at)
    assert verify_signature("secret", header, body)
    assert not verify_signature("secret", header, body + b" ")
    assert not verify_signature("secret", signature("secret", body, at - 301), body)
    assert verify_signature("secret", signature("secret", body, at - 301), body, tolerance_s=400)
    assert not verify_signature("secret", signature("secret", body, at + 400), body)
    for wrong in (
        "",
        "t=1",
        "v1=00",
        "t=x,v1=00",
        header[:-1],
        header.replace("v1", "v2"),
        "é",
        f"t={at},v1=é",
    ):
        assert not verify_signature("secret", wrong, body), wrong
    # As `printf 0.x | openssl dgst -sha256 -hmac key` has it.
    assert (
        signature("key", b"x", 0) == "t=0,v1=01648d624c0b511b0449a63394418e2d5b018e4cc2f753e42127d445f3ca5dd0"
    )


def test_a_receiver_that_fails_gets_it_again(open_arena, receiver):
    arena = open_arena
    hook(arena, receiver)
    receiver.answer = lambda handler: receiver.say(handler, 500)
    arena.submit("m", "sum", "python", "AC 1")
    judge_all(arena)
    for tries in range(1, webhooks._TRIES):
        assert arena.webhooks.deliver_due() == 0
        assert len(receiver.got) == tries
        (row,) = waiting(arena)
        assert (row.tries, row.last_fault) == (tries, "answered 500")
        assert arena.webhooks.deliver_due() == 0  # not due yet
        make_due(arena)
    receiver.answer = lambda handler: receiver.say(handler, 204)
    assert arena.webhooks.deliver_due() == 1
    assert waiting(arena) == []
    assert len({body for _, _, body in receiver.got}) == 1
    assert len({headers["Firsthand-Delivery"] for _, headers, _ in receiver.got}) == 1
    assert len(receiver.got) == webhooks._TRIES


def test_every_delivery_has_a_name_of_its_own(open_arena, receiver):
    """A receiver that gets one twice can tell it from the next one."""
    arena = open_arena
    hook(arena, receiver, owner="h")
    for number in range(3):
        arena.submit("h", "sum", "python", f"AC {number + 1}")
        judge_all(arena)
        assert arena.webhooks.deliver_due() == 1
    assert len({headers["Firsthand-Delivery"] for _, headers, _ in receiver.got}) == 3


def test_it_is_given_up_after_the_last_try(open_arena, receiver):
    arena = open_arena
    hook(arena, receiver)
    receiver.answer = lambda handler: receiver.say(handler, 404)
    arena.submit("m", "sum", "python", "AC 1")
    judge_all(arena)
    with arena.database.write() as connection:
        connection.execute(update(delivery).values(tries=webhooks._TRIES - 1))
    assert arena.webhooks.deliver_due() == 0
    assert waiting(arena) == []


def test_redirects_are_not_followed(open_arena, receiver):
    arena = open_arena
    hook(arena, receiver)
    target = f"http://127.0.0.1:{receiver.port}/elsewhere"
    receiver.answer = lambda handler: receiver.say(handler, 302, Location=target)
    arena.submit("m", "sum", "python", "AC 1")
    judge_all(arena)
    assert arena.webhooks.deliver_due() == 0
    assert [path for path, _, _ in receiver.got] == ["/judged?key=hooks-secret"]
    assert waiting(arena)[0].last_fault == "answered 302"


def trickling(receiver, over):
    """Has /slow answered piece by piece, each in time, until `over` is set."""

    def answer(handler):
        if handler.path == "/slow":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
            while not over.wait(0.02):
                try:
                    handler.wfile.write(b"X-More: 1\r\n")
                    handler.wfile.flush()
                except OSError:
                    return
            handler.wfile.write(b"\r\n")
        else:
            receiver.say(handler, 200)

    receiver.answer = answer


def test_who_trickles_an_answer_holds_up_nobody_else(open_arena, receiver, monkeypatch):
    arena, over = open_arena, threading.Event()
    monkeypatch.setattr(webhooks, "_TIMEOUT_S", 600.0)
    trickling(receiver, over)
    hook(arena, receiver, "/slow")
    hook(arena, receiver, "/quick", owner="n")
    for user in ("m", "n"):
        arena.submit(user, "sum", "python", "AC 1")
    judge_all(arena)
    received = []
    thread = threading.Thread(target=lambda: received.append(arena.webhooks.deliver_due()))
    thread.start()
    while {path for path, _, _ in receiver.got} != {"/slow", "/quick"}:
        assert thread.is_alive()
        time.sleep(0.01)
    over.set()
    thread.join()
    assert received == [2]


def test_a_trickle_does_not_go_on_for_ever(open_arena, receiver, monkeypatch):
    arena, over = open_arena, threading.Event()
    monkeypatch.setattr(webhooks, "_TIMEOUT_S", 0.3)
    trickling(receiver, over)
    hook(arena, receiver, "/slow")
    arena.submit("m", "sum", "python", "AC 1")
    judge_all(arena)
    assert arena.webhooks.deliver_due() == 0
    over.set()
    assert [row.last_fault for row in waiting(arena)] == ["no answer within 0.3 s"]


def test_two_servers_send_nothing_twice(both, receiver):
    arena = both
    hook(arena, receiver, owner="h")
    for number in range(6):
        arena.submit("h", "sum", "python", f"AC {number + 1}")
    judge_all(arena)

    def deliver():
        while waiting(arena):
            arena.webhooks.deliver_due()

    threads = [threading.Thread(target=deliver) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({headers["Firsthand-Delivery"] for _, headers, _ in receiver.got}) == len(receiver.got) == 6


def test_the_server_sends_by_itself(open_arena, receiver, monkeypatch):
    monkeypatch.setattr(api, "_TICK_S", 0.01)
    hook(open_arena, receiver)
    open_arena.submit("m", "sum", "python", "AC 1")
    judge_all(open_arena)
    over = threading.Event()
    settings = ArenaSettings(checkpoint_hours=1.0)
    thread = threading.Thread(target=api._do_chores, args=(open_arena, settings, over))
    thread.start()
    while not receiver.got or waiting(open_arena) or not open_arena.checkpoints.page()[1]:
        assert thread.is_alive()
        time.sleep(0.01)
    over.set()
    thread.join()
    assert open_arena.checkpoints.page()[1] == 1


def test_chores_outlive_a_database_that_is_away(small, monkeypatch, caplog):
    monkeypatch.setattr(api, "_TICK_S", 0.01)
    calls = []
    over = threading.Event()

    def away():
        calls.append(1)
        if len(calls) == 3:
            over.set()
        raise RuntimeError("gone for a moment")

    monkeypatch.setattr(small.webhooks, "deliver_due", away)
    api._do_chores(small, ArenaSettings(checkpoint_hours=0), over)
    assert len(calls) == 3
    assert "gone for a moment" in caplog.text


# --- addresses that are not posted to ------------------------------------------------------------------------

PRIVATE = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1",
    "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[fec0::1]", "[ff02::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]",
    "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]", "[2001:db8::1]",
]  # fmt: skip


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_are_refused_however_they_are_written(small, host):
    owner = small.accounts.create("m", "llm")
    for port in ("", ":80", ":8766"):
        with pytest.raises(InvalidRequest, match=r"private network|has no address"):
            small.webhooks.add(owner, f"http://{host}{port}/x")
    assert small.webhooks.all(owner) == []


def test_receivers_in_our_own_network_that_are_allowed(sqlite_url):
    with Arena.open(sqlite_url, webhook_hosts=("[::1]:9", "10.0.0.7:80", "10.0.0.8:443")) as arena:
        owner = arena.accounts.create("m", "llm")
        for url in ("http://[::1]:9/x", "http://10.0.0.7/x", "https://10.0.0.8/x"):
            arena.webhooks.add(owner, url)
        for url in ("http://[::1]/x", "http://10.0.0.7:81/x", "http://10.0.0.8/x", "https://10.0.0.7/x"):
            with pytest.raises(InvalidRequest, match="private network"):
                arena.webhooks.add(owner, url)


@pytest.mark.parametrize("host", ["93.184.216.34", "[2606:4700::1111]", "example.com", "localhost.example"])
def test_public_ones_are_taken(small, host):
    owner = small.accounts.create("m", "llm")
    assert small.webhooks.add(owner, f"https://{host}/x").url == f"https://{host}/x"


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://a.example", "http://", "http:///x", "http://a.example:0", "http://a.example:99999",
     "http://u@a.example", "http://u:p@a.example", "http://a.example/#x", "http://a b.example", "http://a.example/é",
     "http://a.example/\r\nX: y", "http://a.example/\0", "http://[::1", "javascript:alert(1)", "file:///etc/passwd",
     "http://a.example/" + "x" * 2000],
)  # fmt: skip
def test_urls_that_are_none(small, url):
    with pytest.raises(InvalidRequest, match="webhook's"):
        small.webhooks.add(small.accounts.create("m", "llm"), url)


def resolve(monkeypatch, **names):
    """Names that stand for these addresses, each time the next list of them."""
    real, left = socket.getaddrinfo, {name.replace("_", "."): list(lists) for name, lists in names.items()}

    def look_up(host, port, *args, **options):
        if host not in left:
            return real(host, port, *args, **options)
        found = left[host].pop(0) if len(left[host]) > 1 else left[host][0]
        if not found:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET6 if ":" in ip else socket.AF_INET, 1, 6, "", (ip, port)) for ip in found]

    monkeypatch.setattr(webhooks.socket, "getaddrinfo", look_up)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::1"], []])
def test_a_name_that_leads_into_our_network_is_not_posted_to(open_arena, receiver, monkeypatch, addresses):
    arena = open_arena
    resolve(monkeypatch, evil_example=[addresses])
    arena.webhooks.add(arena.accounts.find("m"), f"http://evil.example:{receiver.port}/x")
    arena.submit("m", "sum", "python", "AC 1")
    judge_all(arena)
    assert arena.webhooks.deliver_due() == 0
    assert receiver.got == []
    fault = waiting(arena)[0].last_fault
    assert ("private network" if addresses else "has no address") in fault


def test_the_address_that_was_checked_is_the_one_that_is_posted_to(open_arena, receiver, monkeypatch):
    """A name that is looked up twice can stand for two things (DNS rebinding)."""
    arena = open_arena
    looked_up = []
    monkeypatch.setattr(webhooks, "_public", lambda address: looked_up.append(address) or True)
    resolve(monkeypatch, twice_example=[["127.0.0.1"], ["127.0.0.9"]])
    arena.webhooks.add(arena.accounts.find("m"), f"http://twice.example:{receiver.port}/x")
    arena.submit("m", "sum", "python", "AC 1")
    judge_all(arena)
    assert arena.webhooks.deliver_due() == 1
    assert looked_up == ["127.0.0.1"]
    assert receiver.got[0][1]["Host"] == f"twice.example:{receiver.port}"


def test_the_next_address_is_tried_where_one_cannot_be_reached(open_arena, receiver, monkeypatch):
    arena = open_arena
    resolve(monkeypatch, hooks_example=[["::1", "127.0.0.1"]])
    arena.webhooks.add(arena.accounts.find("m"), f"http://hooks.example:{receiver.port}/x")
    arena.submit("m", "sum", "python", "AC 1")
    judge_all(arena)
    assert arena.webhooks.deliver_due() == 1
    resolve(monkeypatch, hooks_example=[["::1"]])
    arena.submit("m", "sum", "python", "AC 1", extra=True)
    judge_all(arena)
    assert arena.webhooks.deliver_due() == 0
    assert "ConnectError" in waiting(arena)[0].last_fault


def test_an_account_has_a_few_and_only_its_own(small):
    m, n = small.accounts.create("m", "llm"), small.accounts.create("n", "llm")
    made = [small.webhooks.add(m, f"https://example.com/{number}") for number in range(10)]
    with pytest.raises(InvalidRequest, match="at most 10"):
        small.webhooks.add(m, "https://example.com/more")
    with pytest.raises(UnknownEntry):
        small.webhooks.remove(n, made[0].id)
    small.webhooks.remove(m, made[0].id)
    assert len(small.webhooks.all(m)) == 9


def test_with_a_webhook_goes_what_was_to_be_sent(open_arena, receiver):
    arena = open_arena
    made = hook(arena, receiver)
    arena.submit("m", "sum", "python", "AC 1")
    judge_all(arena)
    arena.webhooks.remove(arena.accounts.find("m"), made.id)
    assert waiting(arena) == []
    assert arena.webhooks.deliver_due() == 0
