"""An arena's HTTP side without a network: requests go to the application in this process."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from sqlalchemy import insert

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.service.api import create_app
from firsthand.evaluation.codearena.settings import ArenaSettings
from firsthand.evaluation.codearena.store.accounts import AccountKind
from firsthand.evaluation.codearena.store.tables import account

ADDRESS = "http://127.0.0.1:8766"
CAST: dict[str, AccountKind] = {
    "root": "admin", "curie": "curator", "rita": "reader", "m": "llm", "n": "llm", "h": "human",
}  # fmt: skip


class InProcess(httpx.BaseTransport):
    """httpx's way to an ASGI application, for clients that wait."""

    def __init__(self, app: Any, client: str = "127.0.0.1") -> None:
        self._inner = httpx.ASGITransport(app, raise_app_exceptions=False, client=(client, 50000))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def ask() -> httpx.Response:
            answer = await self._inner.handle_async_request(request)
            body = await answer.aread()
            return httpx.Response(answer.status_code, headers=answer.headers, content=body)

        return asyncio.run(ask())


_MADE: dict[ArenaSettings, Any] = {}


def application(arena: Arena, settings: ArenaSettings) -> Any:
    """An application over an arena; those of equal settings are one, made once, with the last arena behind it."""
    if settings not in _MADE:
        _MADE[settings] = create_app(settings, arena=arena)
    service = _MADE[settings].state.service
    service.arena = arena
    service.__post_init__()  # nobody has asked for anything yet
    if service.gate is not None:
        service.gate.answered.clear()
    return _MADE[settings]


class Tokens(dict[str, str]):
    """A token of each of the cast, issued when it is first asked for."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena

    def __missing__(self, name: str) -> str:
        self[name] = self._arena.accounts.issue(name).secret
        return self[name]


class Door:
    """An application over an arena, and a token for each of the cast."""

    def __init__(self, arena: Arena, **settings: Any) -> None:
        self.arena = arena
        self.app = application(arena, ArenaSettings(judges=0, checkpoint_hours=0, **settings))
        self.client = httpx.Client(base_url=ADDRESS, transport=InProcess(self.app))
        there = {account.name for account in arena.accounts.page()[0]}
        rows = [
            {"name": name, "kind": kind, "created_at": arena.clock()}
            for name, kind in CAST.items()
            if name not in there
        ]
        if rows:
            with arena.database.write() as connection:
                connection.execute(insert(account), rows)
        self.tokens = Tokens(arena)

    def ask(
        self, method: str, path: str, who: str | None = None, *, token: str | None = None, **options: Any
    ) -> httpx.Response:
        """A request of somebody of the cast, or with another token; of nobody where both are absent."""
        token = token or (self.tokens[who] if who is not None else None)
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **options.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **options)

    def get(self, path: str, who: str | None = None, **params: Any) -> Any:
        """The JSON of a GET that is answered with 200."""
        answer = self.ask("GET", path, who, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, who: str | None = None, body: Any = None, status: int = 201) -> Any:
        """The JSON of a POST that is answered with this status."""
        answer = self.ask("POST", path, who, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()


def refused(answer: httpx.Response, status: int, code: str, *words: str) -> dict[str, Any]:
    """Check that an answer is a refusal as the sheet has it, whose message has these words; its body."""
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, "error", code), answer.text
    assert set(body) == {"status", "code", "message", "detail"}
    assert isinstance(body["message"], str)
    assert body["message"]
    for word in words:
        assert word in body["message"], body["message"]
    return body
