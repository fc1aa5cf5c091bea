"""The client for an event loop: it asks the same as the one that waits, and many at once."""

from __future__ import annotations

import asyncio
import inspect

import httpx
import pytest

from firsthand.evaluation.codearena.clients import async_client as module
from firsthand.evaluation.codearena.clients.async_client import AsyncArenaClient
from firsthand.evaluation.codearena.clients.client import (
    ArenaClient,
    ArenaUnreachableError,
    JudgingTimeoutError,
)
from firsthand.evaluation.codearena.errors import AttemptAlreadyUsed, NotAuthorized

from .conftest import add_problem, judge_all
from .door import ADDRESS, Door
from .test_client import CUT_OFF, HEALTHY, Server, error, submission


def client_of(door, who=None, **options):
    token = None if who is None else door.tokens[who]
    transport = httpx.ASGITransport(door.app, raise_app_exceptions=False)
    return AsyncArenaClient(ADDRESS, token, transport=transport, **options)


def against(server, **options):
    return AsyncArenaClient("http://arena", "t", transport=httpx.MockTransport(server), **options)


def test_both_clients_can_the_same():
    def public(kind):
        return {
            name: [
                (parameter.name, parameter.kind, parameter.default)
                for parameter in inspect.signature(member).parameters.values()
            ]
            for name, member in vars(kind).items()
            if not name.startswith("_") and callable(member)
        }

    assert public(ArenaClient) == public(AsyncArenaClient)
    ours = set(inspect.signature(ArenaClient.__init__).parameters)
    assert ours == set(inspect.signature(AsyncArenaClient.__init__).parameters)


def test_many_submit_and_wait_at_once(arena, tmp_path):
    door = Door(arena)
    for number in range(6):
        add_problem(arena, f"p{number}")

    async def judge(over):
        while not over.is_set():
            await asyncio.to_thread(judge_all, arena)
            await asyncio.sleep(0.02)

    async def run():
        over = asyncio.Event()
        judging = asyncio.create_task(judge(over))
        async with client_of(door, "m") as model, client_of(door, "root") as root:
            done = await asyncio.gather(
                *(model.submit(f"p{number}", "python", f"AC {number + 1}", wait=True) for number in range(6))
            )
            over.set()
            await judging
            assert [one.cpu_ms for one in done] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
            with pytest.raises(AttemptAlreadyUsed):
                await model.submit("p0", "python", "AC 1")
            assert [found.pid async for found in model.all_problems()] == [
                f"p{number}" for number in range(6)
            ]
            assert len([found async for found in model.all_submissions(user="m")]) == 6
            assert (await model.submission(done[0].sid)) == done[0]
            assert (await model.problem("p1")).solved == 1
            assert len((await model.ranking()).rows) == 1
            assert (await model.health()).status == "ok"
            assert (await model.who()).user == "m"
            with pytest.raises(NotAuthorized):
                await model.create_problem("x", "X", "x")
            await root.create_problem("x", "X", "x")
            assert (await root.add_cases("x", [{"input": "a", "output": "A"}]))[0].state == "pending"
            assert (await root.add_solution("x", "py", "SHOUT")).language == "python"
            assert (await root.cases("x")).total == 1
            await root.create_account("y", "human")
            issued = await root.issue_token("y")
            renewed = await root.regenerate_token(issued.id)
            assert (await root.revoke_token(renewed.id)).revoked_at is not None
            assert (
                (await root.submit_batch([{"problem": "x", "language": "c", "source": "x"}])).items[0].error
            )
            assert (await root.rejudge(done[0].sid)).state == "queued"
            assert (await root.abort(done[0].sid)).verdict == "AB"
            arena.checkpoint()
            assert (await root.history()).points
            assert (await root.checkpoint(1)).id == 1
            assert (await root.leakage()).periods
            assert await root.languages()
            made = await root.add_webhook("https://example.com")
            assert [one.id for one in await root.webhooks()] == [made.id]
            await root.remove_webhook(made.id)
            path = await root.export(tmp_path / "arena.jsonl")
            assert path.read_text().startswith('{"format"')
            with pytest.raises(NotAuthorized):
                await model.export(tmp_path / "no.jsonl")

    asyncio.run(run())


@pytest.fixture
def slept(monkeypatch):
    found: list[float] = []

    async def sleep(seconds):
        found.append(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    return found


def test_safe_requests_are_sent_again_and_others_are_not(slept):
    async def run():
        server = Server(error(500, "internal"), CUT_OFF, HEALTHY)
        assert (await against(server).health()).status == "ok"
        assert len(slept) == 2
        server = Server(CUT_OFF)
        with pytest.raises(ArenaUnreachableError):
            await against(server).create_problem("x", "X", "x")
        assert len(server.asked) == 1
        server = Server(error(429, "too_many_requests", **{"Retry-After": "7"}), HEALTHY)
        await against(server).health()
        assert slept[2:] == [7.0]

    asyncio.run(run())


def test_waiting_has_an_end(slept):
    async def run():
        server = Server(httpx.Response(200, json=submission("X1")))
        with pytest.raises(JudgingTimeoutError):
            await against(server).wait("X1", timeout=0.0)
        done = httpx.Response(200, json=submission("X1", "done", "WA"))
        server = Server(httpx.Response(200, json=submission("X1")), done)
        assert (await against(server).wait("X1")).verdict == "WA"
        assert slept == [0.1]

    asyncio.run(run())


def test_a_download_that_breaks_off_leaves_no_file(tmp_path):
    class Breaks(httpx.AsyncByteStream):
        async def __aiter__(self):
            yield b"half"
            raise CUT_OFF

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            return httpx.Response(200, stream=Breaks())

    async def run():
        async with AsyncArenaClient("http://arena", transport=Transport()) as client:
            with pytest.raises(ArenaUnreachableError):
                await client.export(tmp_path / "arena.jsonl")

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []
