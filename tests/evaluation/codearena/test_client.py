"""The client that waits: typed answers, errors as the arena raises them, and a server that misbehaves."""

from __future__ import annotations

import json
import socket
import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from firsthand.errors import InputError, OutputError
from firsthand.evaluation.codearena.clients import client as client_module
from firsthand.evaluation.codearena.clients import connections
from firsthand.evaluation.codearena.clients.calls import _ERRORS
from firsthand.evaluation.codearena.clients.client import (
    ArenaClient,
    ArenaUnreachableError,
    JudgingTimeoutError,
    ServerFaultError,
)
from firsthand.evaluation.codearena.errors import (
    AttemptAlreadyUsed,
    InvalidCase,
    InvalidSource,
    NotAuthorized,
    QueueFull,
    SandboxUnavailable,
    SourceTooLarge,
    UnknownProblem,
    UnsupportedLanguage,
)
from firsthand.evaluation.codearena.refusals import (
    Conflict,
    InvalidRequest,
    NotReady,
    TooManyRequests,
    UnknownAccount,
    UnknownEntry,
    UnknownSubmission,
)

from .conftest import add_problem, judge_all
from .door import ADDRESS, Door, InProcess


@pytest.fixture
def door(arena):
    return Door(arena)


def client_of(door, who=None, **options):
    token = None if who is None else door.tokens[who]
    return ArenaClient(ADDRESS, token, transport=InProcess(door.app), **options)


# --- the real application --------------------------------------------------------------------------------


def test_a_problem_from_its_making_to_the_board(door, clock, monkeypatch):
    with client_of(door, "root") as root, client_of(door, "m") as model:
        made = root.create_account("new", "llm", first_seen=datetime(2024, 1, 1, tzinfo=UTC))
        assert (made.kind, made.first_seen) == ("llm", datetime(2024, 1, 1, tzinfo=UTC))
        issued = root.issue_token(
            "new", scopes=["generator"], label="x", expires_at=clock.time + timedelta(days=1)
        )
        assert issued.token not in repr(issued)
        assert root.regenerate_token(issued.id).label == "x"
        root.create_problem("sum", "Sum", "Add.", bps=3.0, visible_from=datetime(2024, 1, 1, tzinfo=UTC))
        added = root.add_cases("sum", [{"input": "a", "output": "A", "sample": True}])
        assert added[0].state == "pending"
        for language in ("python", "c"):
            root.add_solution("sum", language, "SHOUT")
        judge_all(door.arena)
        assert root.cases("sum").items[0].state == "active"
        problem = model.problem("sum")
        assert (problem.bps, problem.samples and problem.samples[0].output) == (3.0, "A")

        monkeypatch.setattr(client_module.time, "sleep", lambda seconds: judge_all(door.arena))
        done = model.submit("sum", "python", "AC 3", wait=True, timeout=60)
        assert (done.verdict, done.cpu_ms, done.source, done.finished) == ("AC", 3.0, "AC 3", True)
        assert model.submission(done.sid) == done
        assert model.submissions("sum", "m", verdict="AC").total == 1
        batch = model.submit_batch([{"problem": "sum", "language": "c", "source": "x"}])
        assert batch.items[0].error
        assert batch.items[0].error.code == "attempt_already_used"
        assert root.rejudge(done.sid).state == "queued"
        judge_all(door.arena)

        board = model.ranking(challenge="share", population=["m"], leave_out=(), at=clock.time)
        assert [(row["user"], row["dp"]) for row in board.rows] == [("m", 4.0)]
        door.arena.checkpoint()
        assert model.history(user="m").points[0].user == "m"
        assert model.checkpoint(1).board["rows"]
        assert root.leakage().periods
        assert {language.name for language in model.languages()} >= {"python", "c"}
        assert model.who().scopes == ["generator"]
        assert model.health().status == "ok"
        made_hook = model.add_webhook("https://example.com")
        assert made_hook.secret
        assert made_hook.secret not in repr(made_hook)
        assert [(one.id, one.secret) for one in model.webhooks()] == [(made_hook.id, None)]
        model.remove_webhook(made_hook.id)
        assert model.webhooks() == []
        assert root.abort(done.sid).verdict == "AB"
        assert root.revoke_token(root.who().tokens[0].id).revoked_at is not None


def test_pages_are_turned(small, monkeypatch):
    monkeypatch.setattr(client_module, "PAGE", 2)
    door = Door(small)
    for number in range(5):
        add_problem(small, f"p{number}")
        small.submit("m", f"p{number}", "python", "AC 1")
    with client_of(door, "m") as model:
        assert [problem.pid for problem in model.all_problems()] == [f"p{number}" for number in range(5)]
        assert [problem.pid for problem in model.all_problems(q="p3")] == ["p3"]
        assert len({found.sid for found in model.all_submissions(user="m")}) == 5
        assert list(model.all_submissions("p0", "n")) == []
        page = model.problems(page=2, per_page=3)
        assert (len(page.items), page.pages) == (2, 2)


def test_an_export_is_a_file_that_appears_whole(small, tmp_path):
    add_problem(small)
    door = Door(small)
    with client_of(door, "rita") as reader:
        path = reader.export(tmp_path / "out.jsonl")
        assert json.loads(path.read_text().splitlines()[0])["rows"]["problem"] == 1
        assert reader.export(tmp_path / "out.zip", format="parquet").read_bytes()[:2] == b"PK"
        with pytest.raises(OutputError, match="no-such-folder"):
            reader.export(tmp_path / "no-such-folder" / "out.jsonl")
    with client_of(door, "m") as model, pytest.raises(NotAuthorized, match="reader"):
        model.export(tmp_path / "none.jsonl")
    assert sorted(file.name for file in tmp_path.iterdir() if file.name.startswith((".", "none"))) == []


def test_refusals_are_the_arenas_own_errors(small):
    add_problem(small)
    door = Door(small)
    with client_of(door, "m") as model, client_of(door, "curie") as curator, client_of(door) as nobody:
        model.submit("sum", "python", "AC 1")
        for kind, status, act in (
            (AttemptAlreadyUsed, 409, lambda: model.submit("sum", "python", "AC 1")),
            (UnknownProblem, 404, lambda: model.problem("none")),
            (UnknownSubmission, 404, lambda: model.submission("0")),
            (InvalidSource, 422, lambda: model.submit("sum", "python", "")),
            (SourceTooLarge, 413, lambda: model.submit("sum", "python", "x" * 70_000)),
            (UnsupportedLanguage, 422, lambda: model.submit("sum", "cobol", "x")),
            (NotAuthorized, 403, lambda: model.create_problem("x", "X", "x")),
            (NotAuthorized, 401, lambda: nobody.submit("sum", "python", "x")),
            (InvalidCase, 422, lambda: curator.add_cases("sum", [{"input": "a", "output": "A"}])),
            (InvalidRequest, 422, lambda: curator.create_problem("x", "X", "x", bps=-1.0)),
            (Conflict, 409, lambda: curator.create_problem("sum", "X", "x")),
            (UnknownEntry, 404, lambda: model.revoke_token("0" * 16)),
            (InvalidRequest, 422, lambda: model.ranking(challange="share")),
        ):
            with pytest.raises(kind) as caught:
                act()
            assert caught.value.status == status
            assert type(caught.value) is kind


def test_every_error_has_a_code_of_its_own():
    from firsthand.evaluation.codearena import errors, refusals

    kinds = [
        kind
        for module in (errors, refusals)
        for name in module.__all__
        if isinstance(kind := getattr(module, name), type)
    ]
    assert {kind.code: kind for kind in kinds} == _ERRORS
    assert len(_ERRORS) == len(kinds)
    assert {UnknownAccount, NotReady, SandboxUnavailable} <= set(kinds)


def test_what_comes_while_pages_are_turned_makes_nothing_come_twice(small, monkeypatch):
    """The newest come first: each new one pushes the last of a page onto the next."""
    monkeypatch.setattr(client_module, "PAGE", 2)
    door = Door(small)
    add_problem(small)
    for number in range(4):
        small.submit("h", "sum", "python", f"AC {number + 1}")
    with client_of(door, "h") as client:
        found = []
        for one in client.all_submissions():
            found.append(one.number)
            small.submit("h", "sum", "python", "AC 9")
    assert found[:2] == [4, 3]
    assert len(set(found)) == len(found)
    assert {1, 2, 3, 4} <= set(found)


# --- a server that misbehaves ----------------------------------------------------------------------------


class Server:
    """Plays answers, one after the other, and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):  # a client changes the one it gets
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        return answer(request)


@pytest.fixture
def slept(monkeypatch):
    found: list[float] = []
    monkeypatch.setattr(client_module.time, "sleep", found.append)
    return found


def against(server, **options):
    return ArenaClient("http://arena", "t", transport=httpx.MockTransport(server), **options)


def error(status, code, detail=None, **headers):
    body = {"status": "error", "code": code, "message": f"said {code}", "detail": detail}
    return httpx.Response(status, json=body, headers=headers)


HEALTHY = httpx.Response(200, json={"status": "ok", "waiting": 0, "leased": 0, "oldest": None, "judges": []})
REFUSED = httpx.ConnectError("refused")
CUT_OFF = httpx.RemoteProtocolError("peer closed connection without sending complete message body")


@pytest.mark.parametrize(
    "fault", [error(500, "internal"), httpx.Response(502, text="<html>"), error(503, "sandbox_unavailable"),
              httpx.Response(504), error(429, "too_many_requests"), REFUSED, CUT_OFF, httpx.ReadTimeout("slow")],
)  # fmt: skip
def test_what_can_be_asked_twice_is_asked_again(slept, fault):
    server = Server(fault, fault, HEALTHY)
    assert against(server).health().status == "ok"
    assert len(server.asked) == 3
    assert len(slept) == 2
    assert 0.125 <= slept[0] <= 0.25 <= slept[1] <= 0.5


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (error(500, "internal"), ServerFaultError, "GET /healthz: said internal"),
        (httpx.Response(502, text="<html>"), ServerFaultError, "answered 502"),
        (error(503, "sandbox_unavailable"), SandboxUnavailable, "said"),
        (REFUSED, ArenaUnreachableError, "ConnectError: refused"),
        (httpx.ReadTimeout("slow"), ArenaUnreachableError, "ReadTimeout"),
        (error(429, "queue_full"), QueueFull, "said"),
    ],
)
def test_only_so_often(slept, fault, kind, words):
    server = Server(fault)
    with pytest.raises(kind, match=words):
        against(server, retries=2).health()
    assert len(server.asked) == 3
    with pytest.raises(kind):
        against(server, retries=0).health()
    assert len(server.asked) == 4


@pytest.mark.parametrize("fault", [error(500, "internal"), error(503, "sandbox_unavailable"), CUT_OFF])
def test_what_must_not_happen_twice_is_asked_once(slept, fault):
    for act in (
        lambda client: client.create_problem("x", "X", "x"),
        lambda client: client.add_cases("x", []),
        lambda client: client.issue_token(),
        lambda client: client.rejudge("X"),
        lambda client: client.create_account("x", "llm"),
        lambda client: client.add_webhook("https://x.example"),
        lambda client: client.regenerate_token("x"),
        lambda client: client.add_solution("x", "c", "x"),
    ):
        server = Server(fault)
        with pytest.raises((ServerFaultError, SandboxUnavailable, ArenaUnreachableError)):
            act(against(server))
        assert len(server.asked) == 1
    assert slept == []


def test_a_server_that_says_come_later_is_obeyed(slept):
    """Nothing was done: also what must not happen twice may be sent again."""
    made = httpx.Response(
        201, json={"name": "x", "kind": "llm", "first_seen": None, "created_at": "2024-01-01T00:00:00Z"}
    )
    server = Server(error(429, "too_many_requests", **{"Retry-After": "7"}), made)
    assert against(server).create_account("x", "llm").name == "x"
    assert slept == [7.0]
    server = Server(error(429, "queue_full", {"retry_after_s": 600.0}, **{"Retry-After": "600"}))
    with pytest.raises(QueueFull) as caught:
        against(server, retries=1).health()
    assert slept[1:] == [20.0]  # not longer than this without the caller's leave
    assert caught.value.retry_after_s == 600.0
    server = Server(error(429, "too_many_requests", "x", **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}))
    with pytest.raises(TooManyRequests):
        against(server, retries=0).health()


def test_a_submission_is_sent_again_under_the_same_key(slept):
    """The first one was stored, and its answer was lost on the way."""
    stored: dict[str, str] = {}

    def lose(request):
        stored[json.loads(request.content)["idempotency_key"]] = "X1"
        raise CUT_OFF

    def answer(request):
        sid = stored[json.loads(request.content)["idempotency_key"]]
        return httpx.Response(201, json=submission(sid))

    server = Server(lose, answer, answer)
    assert against(server).submit("p", "python", "x").sid == "X1"
    own = json.loads(server.asked[0].content)["idempotency_key"]
    with pytest.raises(KeyError):
        against(Server(answer)).submit("p", "python", "x")  # another call has another key
    server = Server(lose, answer)
    against(server).submit("p", "python", "x", idempotency_key="mine")
    assert "mine" in stored
    assert own != "mine"


def submission(sid, state="queued", verdict=None):
    return {
        "sid": sid, "number": 1, "user": "m", "user_kind": "llm", "problem": "p", "version": 1, "language": "python",
        "state": state, "verdict": verdict, "counted": True, "extra": False, "cpu_ms": None, "wall_ms": None,
        "peak_kb": None, "spread_ms": None, "host_class": None, "created_at": "2024-01-01T00:00:00Z",
        "judged_at": None, "a_field_of_the_future": 1,
    }  # fmt: skip


def test_waiting_for_a_verdict(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(client_module.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(connections.time, "monotonic", lambda: now[0])
    waiting = httpx.Response(201, json=submission("X1"))
    server = Server(waiting)
    with pytest.raises(
        JudgingTimeoutError, match=r"X1 has no verdict after 5\.0 s; it is judged all the same"
    ) as caught:
        against(server).submit("p", "python", "x", wait=True, timeout=5.0)
    assert caught.value.sid == "X1"
    assert isinstance(caught.value, TimeoutError)
    assert now[0] == pytest.approx(5.0)
    assert len(server.asked) < 12  # it asks less and less often
    with pytest.raises(JudgingTimeoutError):
        against(Server(waiting)).wait("X1", timeout=0)
    with pytest.raises(InputError, match="timeout"):
        against(Server(waiting)).wait("X1", timeout=-1)
    done = httpx.Response(200, json=submission("X1", "done", "AC"))
    assert against(Server(waiting, waiting, done)).submit("p", "python", "x", wait=True).verdict == "AC"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(200, text="<html>hello</html>"), "no JSON; is this the address of an arena"),
        (httpx.Response(200, json={"status": "ok"}), "waiting: Field required"),
        (httpx.Response(200, json=[]), r"\(200\)"),
        (httpx.Response(302, headers={"Location": "/login"}), r"\(302\)"),
        (httpx.Response(204), "no JSON"),
        (httpx.Response(200, content=b'{"status": "ok", "wai'), "no JSON"),
        (httpx.Response(500, json=["odd"]), "answered 500"),
        (httpx.Response(500, json={"code": 7, "message": None}), "None"),
    ],
)
def test_answers_of_something_else(slept, answer, words):
    with pytest.raises(ServerFaultError, match=words) as caught:
        against(Server(answer), retries=0).health()
    assert caught.value.status == answer.status_code


def test_a_refusal_without_a_code_of_ours():
    for status in (400, 404, 405, 418):
        with pytest.raises(InvalidRequest, match=f"nope \\({status}\\)"):
            against(Server(httpx.Response(status, json={"code": "odd", "message": "nope"}))).health()


def test_an_answer_that_is_badly_packed(slept):
    class Raw(httpx.BaseTransport):
        def handle_request(self, request):
            return httpx.Response(
                200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"not gzip")
            )

    with pytest.raises(ArenaUnreachableError, match="DecodingError"):
        ArenaClient("http://arena", transport=Raw(), retries=1).health()
    assert len(slept) == 1


def test_an_answer_that_is_cut_off_and_one_that_never_comes():
    """With real connections: the length that was promised does not come; then nothing comes at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve():
            promised = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
            while not over.is_set():
                connection, _ = listener.accept()
                with connection:
                    if over.is_set():
                        return
                    asked = connection.recv(65536)
                    if b"/healthz" in asked:
                        connection.sendall(promised)
                    else:
                        over.wait(20)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        address = f"http://127.0.0.1:{port}"
        patient, hasty = ({"retries": 1, "timeout": 30.0}, {"retries": 0, "timeout": 0.2})
        said = "GET /healthz: no answer: RemoteProtocolError"
        with ArenaClient(address, **patient) as client, pytest.raises(ArenaUnreachableError, match=said):
            client.health()
        with (
            ArenaClient(address, **hasty) as client,
            pytest.raises(ArenaUnreachableError, match="ReadTimeout"),
        ):
            client.languages()
        over.set()
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()
    with (
        ArenaClient(address, retries=0) as client,
        pytest.raises(ArenaUnreachableError, match="ConnectError"),
    ):
        client.health()


def test_a_download_that_breaks_off_leaves_no_file(tmp_path):
    def broken():
        yield b'{"format": '
        raise CUT_OFF

    class Breaks(httpx.SyncByteStream):
        def __iter__(self):
            return broken()

    class Transport(httpx.BaseTransport):
        def handle_request(self, request):
            return httpx.Response(200, stream=Breaks())

    (tmp_path / "arena.jsonl").write_text("the old one")
    client = ArenaClient("http://arena", "t", transport=Transport())
    with pytest.raises(ArenaUnreachableError, match="RemoteProtocolError"):
        client.export(tmp_path / "arena.jsonl")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("arena.jsonl", "the old one")]


@pytest.mark.parametrize(
    ("address", "words"),
    [("arena.example", "http://"), ("http://x:port", "cannot be read"), ("http://", "HOST"), ("ftp://x", "http://"),
     ("http://u:p@x", "token"), ("http://x/?token=secret", "token")],
)  # fmt: skip
def test_addresses_that_are_none(address, words):
    with pytest.raises(InputError, match=words) as caught:
        ArenaClient(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("token", ["", "a b", "secret\n", "secr\x00et", "sécret"])
def test_tokens_that_no_header_carries(token):
    with pytest.raises(InputError, match="the token is empty, or has a space") as caught:
        ArenaClient("http://arena", token)
    assert "secr" not in str(caught.value)


def test_arguments_that_cannot_be():
    with pytest.raises(InputError, match="timeout"):
        ArenaClient("http://arena", timeout=0)
    with pytest.raises(InputError, match="retries"):
        ArenaClient("http://arena", retries=-1)
    client = against(Server(HEALTHY))
    with pytest.raises(InputError, match="zone"):
        client.ranking(at=datetime(2024, 1, 1))
    with pytest.raises(InputError, match="empty"):
        client.problem("")


def test_ids_stay_in_their_place_in_a_path():
    server = Server(httpx.Response(404, json={"code": "unknown_problem", "message": "none"}))
    with pytest.raises(UnknownProblem):
        against(server).problem("../../api/export?x#y")
    assert server.asked[0].url.raw_path == b"/api/problem/..%2F..%2Fapi%2Fexport%3Fx%23y/"


def test_the_token_is_in_one_header_and_nowhere_else():
    server = Server(HEALTHY)
    client = against(server)
    client.health()
    assert server.asked[0].headers["authorization"] == "Bearer t"
    assert "Bearer" not in repr(client) + str(vars(client))
