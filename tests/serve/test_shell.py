"""The shell: who is answered, how errors look, how a server starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest
from websockets.sync.client import connect

from firsthand.errors import FirsthandError, InputError, MissingDependencyError, NotFoundError
from firsthand.serve import ApiError, LiveServer, make_app, new_token, serve
from firsthand.serve.shell import is_loopback, json_body
from tests.serve.toys import HTTP

TOKEN = "correct-horse"


def routes():
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route, WebSocketRoute

    async def hello(request):
        return PlainTextResponse("hello")

    async def fail(request):
        raise {
            "input": InputError("the input is wrong; give another"),
            "missing": NotFoundError("no such thing"),
            "own": FirsthandError("the disk is full"),
            "bug": RuntimeError("a secret"),
            "api": ApiError("wait", status=429, param="rate", code="too_fast"),
        }[request.path_params["kind"]]

    async def echo(request):
        return JSONResponse(await json_body(request, limit=100))

    async def talk(websocket):
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    return [
        Route("/hello", hello),
        Route("/fail/{kind}", fail),
        Route("/echo", echo, methods=["POST"]),
        WebSocketRoute("/talk", talk),
    ]


@pytest.fixture(scope="module")
def opened():
    with LiveServer(make_app(routes())) as live:
        yield live


@pytest.fixture(scope="module")
def closed():
    with LiveServer(make_app(routes(), token=TOKEN)) as live:
        yield live


def answers(app, *, server=("127.0.0.1", 80), path="/hello", kind="http", **headers):
    """The status with which the application answers a request as ASGI has it; 0 for a refused websocket."""
    sent = []

    async def receive():
        return {"type": "websocket.connect" if kind == "websocket" else "http.request"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": kind, "path": path, "raw_path": path.encode(), "query_string": b"", "method": "GET",
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
        "server": server, "scheme": "http", "root_path": "", "http_version": "1.1",
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return {"websocket.close": 0, "websocket.accept": 101}.get(sent[0]["type"]) or sent[0].get("status", 0)


def test_health_and_routes(opened):
    assert HTTP.get(opened.url + "/healthz").json() == {"status": "ok"}
    assert HTTP.get(opened.url + "/hello").text == "hello"
    assert opened.url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("path", "status", "message", "kind"),
    [
        ("/fail/input", 400, "the input is wrong; give another", "invalid_request_error"),
        ("/fail/missing", 404, "no such thing", "invalid_request_error"),
        ("/fail/own", 500, "the disk is full", "server_error"),
        ("/fail/bug", 500, "internal error; the server's log has the details", "server_error"),
        ("/nowhere", 404, "Not Found", "invalid_request_error"),
    ],
)
def test_errors_are_json_without_a_traceback(opened, path, status, message, kind):
    answer = HTTP.get(opened.url + path)
    assert answer.status_code == status
    assert answer.json() == {"error": {"message": message, "type": kind, "param": None, "code": None}}
    assert "secret" not in answer.text


def test_a_connection_outlives_an_error(opened):
    """uvicorn would close it unannounced, and the client's next request be lost."""
    with httpx.Client(base_url=opened.url) as client:
        ports = {
            client.get(path).extensions["network_stream"].get_extra_info("client_addr")
            for path in ("/fail/bug", "/hello", "/fail/bug", "/nowhere", "/fail/own")
        }
    assert len(ports) == 1


def test_an_api_error_names_its_field(opened):
    answer = HTTP.get(opened.url + "/fail/api")
    assert answer.status_code == 429
    assert answer.json()["error"]["param"] == "rate"
    assert answer.json()["error"]["code"] == "too_fast"


def test_a_wrong_method_says_which_are_right(opened):
    answer = HTTP.get(opened.url + "/echo")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"a": 1}', 200),
        (b"{", 400),
        (b"[1]", 400),
        (b'{"a": "\\ud800"}', 400),
        (b"[" * 99, 400),
        (b'"' + b"x" * 200 + b'"', 413),
        (b"\xff", 400),
    ],
)
def test_a_body_is_a_json_object_of_bounded_size(opened, body, status):
    assert HTTP.post(opened.url + "/echo", content=body).status_code == status


# --- who is answered ---------------------------------------------------------------------------------------


def test_a_token_is_asked_for_everywhere_but_on_the_health_page(closed):
    def get(path, **headers):
        return HTTP.get(closed.url + path, headers=headers)

    assert get("/healthz").status_code == 200
    assert get("/hello", Authorization=f"Bearer {TOKEN}").status_code == 200
    assert get("/hello", Authorization=f"bearer {TOKEN}").status_code == 200
    for wrong in (f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer", f"Basic {TOKEN}", TOKEN):
        answer = get("/hello", Authorization=wrong)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert answer.headers["www-authenticate"] == "Bearer"
    assert get("/hello").status_code == 401
    assert get("/nowhere").status_code == 401  # not told what is there


def test_a_foreign_name_for_the_loopback_is_refused(opened):
    """DNS rebinding: evil.example resolves to 127.0.0.1, and its page asks with its own Host."""
    port = opened.url.rsplit(":", 1)[1]
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "LOCALHOST"):
        assert HTTP.get(opened.url + "/hello", headers={"Host": host}).status_code == 200
    for host in (f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", "[::2]", "x"):
        answer = HTTP.get(opened.url + "/healthz", headers={"Host": host})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "host_not_allowed"


def test_a_page_of_another_origin_is_refused(opened):
    port = opened.url.rsplit(":", 1)[1]
    assert HTTP.get(opened.url + "/hello", headers={"Origin": opened.url}).status_code == 200
    for origin in ("http://evil.example", f"http://localhost:{port}", "null", "http://127.0.0.1:1"):
        answer = HTTP.get(opened.url + "/hello", headers={"Origin": origin})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "origin_not_allowed"


def test_off_the_loopback_nobody_is_answered_without_a_token():
    """However the application is run: the address that the connection reached decides."""
    outside = {"server": ("192.0.2.7", 80), "host": "192.0.2.7"}
    assert answers(make_app(routes()), **outside) == 403
    guarded = make_app(routes(), token=TOKEN)
    assert answers(guarded, **outside) == 401
    assert answers(guarded, **outside, authorization=f"Bearer {TOKEN}") == 200
    assert answers(guarded, **outside, path="/healthz") == 200


def test_a_header_sent_twice_does_not_pass():
    app = make_app(routes())
    scope_headers = {"host": "127.0.0.1", "Host": "evil.example"}
    assert answers(app, **scope_headers) == 403
    assert answers(app) == 403  # no Host at all


def test_a_proxy_on_this_machine_may_forward_its_name():
    app = make_app(routes(), hosts=["Models.example"])
    assert answers(app, host="models.example") == 200
    assert answers(app, host="other.example") == 403
    assert answers(app, server=("/run/x.sock", None), host="models.example") == 200
    assert answers(app, server=("/run/x.sock", None), host="other.example") == 403


def test_websockets_pass_the_same_checks():
    app = make_app(routes(), token=TOKEN)
    local = {"kind": "websocket", "path": "/talk", "host": "127.0.0.1"}
    assert answers(app, **local, authorization=f"Bearer {TOKEN}") == 101
    assert answers(app, **local) == 0
    assert answers(app, **local, authorization=f"Bearer {TOKEN}", origin="http://evil.example") == 0


def test_a_websocket_is_served(opened):
    with connect(opened.url.replace("http", "ws") + "/talk") as connection:
        assert connection.recv() == "hello"


@pytest.mark.parametrize("token", ["", "two words", "tökén"])
def test_a_token_that_cannot_be_sent_is_refused(token):
    with pytest.raises(InputError, match="token"):
        make_app([], token=token)


def test_tokens_are_long_and_differ():
    assert len(new_token()) >= 43
    assert new_token() != new_token()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("LocalHost", True),
     ("0.0.0.0", False), ("::", False), ("", False), ("localhost.evil", False), ("10.0.0.1", False)],
)  # fmt: skip
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback


# --- starting and stopping ---------------------------------------------------------------------------------


def test_another_host_needs_a_token():
    for start in (lambda app: serve(app, "0.0.0.0"), lambda app: LiveServer(app, host="0.0.0.0").__enter__()):
        with pytest.raises(InputError, match="token"):
            start(make_app(routes()))
    with LiveServer(make_app(routes(), token=TOKEN), host="0.0.0.0") as live:
        port = live.url.rsplit(":", 1)[1]
        # Asked through the loopback it is a server on the loopback, Host check included.
        url = f"http://127.0.0.1:{port}/hello"
        assert HTTP.get(url).status_code == 401
        assert HTTP.get(url, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_taken_port_is_an_input_error(opened):
    port = int(opened.url.rsplit(":", 1)[1])
    with pytest.raises(InputError, match=f"port {port}.*0 for a free one"):
        serve(make_app(routes()), port=port)
    with pytest.raises(InputError, match="port 70000"):
        serve(make_app(routes()), port=70000)


def test_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:  # a machine without it is told so
        with pytest.raises(InputError, match="cannot listen on '::1'"):
            serve(make_app(routes()), "::1")
        return
    with LiveServer(make_app(routes()), host="::1") as live:
        assert live.url.startswith("http://[::1]:")
        assert HTTP.get(live.url + "/hello").text == "hello"


def test_a_live_server_runs_the_lifespan_and_ends_its_thread():
    happened = []

    @contextlib.asynccontextmanager
    async def lifespan(app):
        happened.append("up")
        yield
        happened.append("down")

    app = make_app(routes(), lifespan=lifespan)
    for turn in (1, 2):  # the same application can be served again
        with LiveServer(app) as live:
            assert happened == ["up", "down"] * (turn - 1) + ["up"]
            assert HTTP.get(live.url + "/hello").text == "hello"
        live.stop()
        assert happened == ["up", "down"] * turn
    with pytest.raises(httpx.ConnectError):
        HTTP.get(live.url + "/hello")


def test_an_application_that_does_not_start_says_so():
    @contextlib.asynccontextmanager
    async def lifespan(app):
        raise RuntimeError("no model")
        yield

    with pytest.raises(FirsthandError, match="did not start"), LiveServer(make_app([], lifespan=lifespan)):
        pass
    with pytest.raises(FirsthandError, match="did not start"):
        serve(make_app([], lifespan=lifespan))


PROGRAM = """
import sys
from firsthand.serve import make_app, serve
serve(make_app([]), on_ready=lambda url: print(url, flush=True))
print("returned", flush=True)
"""


@pytest.mark.parametrize(
    ("number", "code", "last"), [(signal.SIGINT, 0, "returned"), (signal.SIGTERM, -signal.SIGTERM, "")]
)
def test_serve_ends_in_order_on_a_signal(number, code, last):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        url = process.stdout.readline().strip()
        assert HTTP.get(url + "/healthz").status_code == 200
        process.send_signal(number)
        assert process.wait(timeout=20) == code
        assert process.stdout.read().strip() == last
    finally:
        process.kill()
        process.stdout.close()


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(MissingDependencyError, match=r"starlette.*pip install 'firsthand\[decoding\]'"):
        make_app([])
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingDependencyError, match=r"uvicorn.*pip install 'firsthand\[decoding\]'"):
        serve(None)


def test_importing_the_engine_imports_no_heavy_package():
    program = (
        "import sys, firsthand.serve; "
        "heavy = ('starlette', 'uvicorn', 'torch', 'transformers', 'scipy.stats', 'pandas'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
