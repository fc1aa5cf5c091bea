"""`ArenaClient` for an event loop: the same methods, awaited; many requests at once share its connections.

    async with AsyncArenaClient(address, token) as arena:
        done = await asyncio.gather(*(arena.submit(pid, "python", source, wait=True) for pid, source in answers))

Knows httpx. What each request is, is known to `calls`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from firsthand.evaluation.codearena.clients.calls import Call, Calls, answered, pause
from firsthand.evaluation.codearena.clients.client import PAGE
from firsthand.evaluation.codearena.clients.connections import (
    checked_address,
    content_of,
    headers_for,
    httpx_module,
    no_answer,
    poll_pauses,
    replacing,
)
from firsthand.evaluation.codearena.service.schemas import (
    AccountView,
    BatchView,
    CaseView,
    CheckpointView,
    HealthView,
    HistoryView,
    Identified,
    IssuedView,
    LanguageView,
    LeakageView,
    Page,
    ProblemView,
    ProgramView,
    RankingView,
    SubmissionView,
    TokenView,
    WebhookView,
)

if TYPE_CHECKING:
    import httpx

__all__ = ["AsyncArenaClient"]

T = TypeVar("T")


class AsyncArenaClient:
    """`ArenaClient` for an event loop: the same methods, awaited; many requests at once share its connections."""

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._calls, self._retries = Calls(), retries
        self._http: httpx.AsyncClient = httpx_module().AsyncClient(
            base_url=checked_address(base_url, timeout, retries),
            headers=headers_for(token),
            timeout=timeout,
            transport=transport,
        )

    async def __aenter__(self) -> AsyncArenaClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _run(self, call: Call[T]) -> T:
        httpx = httpx_module()
        tried = 0
        while True:
            tried += 1
            try:
                answer = await self._http.request(call.method, call.path, params=call.params, json=call.body)
            except httpx.RequestError as error:
                wait = pause(call, None, {}, tried)
                if wait is None or tried > self._retries:
                    raise no_answer(call, error) from error
            else:
                wait = pause(call, answer.status_code, answer.headers, tried)
                if wait is None or tried > self._retries:
                    return answered(call, answer.status_code, content_of(answer))
            await asyncio.sleep(wait)

    # --- the service and accounts ----------------------------------------------------------------

    async def health(self) -> HealthView:
        """Whether the server answers, what waits, and who judges."""
        return await self._run(self._calls.health())

    async def languages(self) -> list[LanguageView]:
        """Languages that submissions may be in."""
        return await self._run(self._calls.languages())

    async def who(self) -> Identified:
        """Whose token this is."""
        return await self._run(self._calls.who())

    async def create_account(
        self, name: str, kind: str, *, first_seen: datetime | None = None
    ) -> AccountView:
        """Make an account (administrators)."""
        return await self._run(self._calls.create_account(name, kind, first_seen))

    async def issue_token(
        self,
        user: str | None = None,
        *,
        scopes: Sequence[str] | None = None,
        label: str = "",
        expires_at: datetime | None = None,
    ) -> IssuedView:
        """A new token: one's own, or anybody's for administrators."""
        return await self._run(self._calls.issue_token(user, scopes, label, expires_at))

    async def revoke_token(self, token_id: str) -> TokenView:
        """From now on the token opens nothing."""
        return await self._run(self._calls.revoke_token(token_id))

    async def regenerate_token(self, token_id: str) -> IssuedView:
        """A new token in the place of an old one."""
        return await self._run(self._calls.regenerate_token(token_id))

    async def add_webhook(self, url: str) -> WebhookView:
        """Have one's own judged submissions posted to an address."""
        return await self._run(self._calls.add_webhook(url))

    async def webhooks(self) -> list[WebhookView]:
        """One's own webhooks, without their secrets."""
        return await self._run(self._calls.webhooks())

    async def remove_webhook(self, number: int) -> None:
        """Delete a webhook of one's own."""
        await self._run(self._calls.remove_webhook(number))

    # --- problems --------------------------------------------------------------------------------

    async def problems(
        self,
        q: str | None = None,
        since: datetime | None = None,
        *,
        difficulty: str | None = None,
        page: int = 1,
        per_page: int = 50,
    ) -> Page[ProblemView]:
        """A page of problems."""
        return await self._run(self._calls.problems(q, since, difficulty, page, per_page))

    async def all_problems(
        self, q: str | None = None, since: datetime | None = None
    ) -> AsyncIterator[ProblemView]:
        """Every problem once, page by page; one that comes meanwhile may be missing."""
        seen, page, pages = set(), 0, 1
        while (page := page + 1) <= pages:
            found = await self.problems(q, since, page=page, per_page=PAGE)
            pages = found.pages
            for item in found.items:  # pages shift while there are new ones
                if item.pid not in seen:
                    seen.add(item.pid)
                    yield item

    async def problem(self, pid: str) -> ProblemView:
        """A problem with its statement and samples."""
        return await self._run(self._calls.problem(pid))

    async def create_problem(self, pid: str, title: str, statement: str, **fields: Any) -> ProblemView:
        """Add a problem (curators); `fields` as of `bodies.ProblemBody`."""
        return await self._run(
            self._calls.create_problem({"pid": pid, "title": title, "statement": statement, **fields})
        )

    async def add_cases(self, pid: str, cases: Sequence[Mapping[str, Any]]) -> list[CaseView]:
        """Add test cases: mappings with `input`, `output` and perhaps `sample`."""
        return await self._run(self._calls.add_cases(pid, cases))

    async def cases(self, pid: str, *, page: int = 1, per_page: int = 50) -> Page[CaseView]:
        """A page of test cases (readers)."""
        return await self._run(self._calls.cases(pid, page, per_page))

    async def add_solution(self, pid: str, language: str, source: str) -> ProgramView:
        """Add a canonical solution (curators)."""
        return await self._run(self._calls.add_solution(pid, language, source))

    # --- submissions -----------------------------------------------------------------------------

    async def submit(
        self,
        pid: str,
        language: str,
        source: str,
        *,
        wait: bool = False,
        timeout: float | None = None,
        idempotency_key: str | None = None,
        extra: bool = False,
    ) -> SubmissionView:
        """Send a program; with `wait`, return once it is judged.

        Args:
            timeout: seconds to wait for the verdict; None: as long as it takes.

        Raises:
            JudgingTimeoutError: no verdict in time; the submission is there.
        """
        sent = await self._run(self._calls.submit(pid, language, source, idempotency_key, extra))
        return await self.wait(sent.sid, timeout=timeout) if wait else sent

    async def submit_batch(self, submissions: Sequence[Mapping[str, Any]]) -> BatchView:
        """Send up to 100 programs: mappings with `problem`, `language`, `source`."""
        return await self._run(self._calls.submit_batch(submissions))

    async def wait(self, sid: str, *, timeout: float | None = None) -> SubmissionView:
        """A submission once it is judged; raises `JudgingTimeoutError` after `timeout` seconds."""
        pauses = poll_pauses(sid, timeout)
        while not (found := await self.submission(sid)).finished:
            await asyncio.sleep(next(pauses))
        return found

    async def submission(self, sid: str) -> SubmissionView:
        """A submission as it is now."""
        return await self._run(self._calls.submission(sid))

    async def submissions(
        self,
        pid: str | None = None,
        user: str | None = None,
        *,
        language: str | None = None,
        verdict: str | None = None,
        page: int = 1,
        per_page: int = 50,
    ) -> Page[SubmissionView]:
        """A page of submissions, the newest first."""
        return await self._run(self._calls.submissions(pid, user, language, verdict, page, per_page))

    async def all_submissions(
        self, pid: str | None = None, user: str | None = None
    ) -> AsyncIterator[SubmissionView]:
        """Every submission once, the newest first and page by page; one that comes meanwhile may be missing."""
        seen, page, pages = set(), 0, 1
        while (page := page + 1) <= pages:
            found = await self.submissions(pid, user, page=page, per_page=PAGE)
            pages = found.pages
            for item in found.items:  # pages shift while there are new ones
                if item.sid not in seen:
                    seen.add(item.sid)
                    yield item

    async def rejudge(self, sid: str) -> SubmissionView:
        """Judge a submission again (administrators)."""
        return await self._run(self._calls.rejudge(sid))

    async def abort(self, sid: str) -> SubmissionView:
        """Take a submission out for good (administrators)."""
        return await self._run(self._calls.abort(sid))

    # --- boards ----------------------------------------------------------------------------------

    async def ranking(self, **params: Any) -> RankingView:
        """A board; `params` as of `GET /api/ranking/`: challenge, population, at, bootstrap, leave_out and so on."""
        return await self._run(self._calls.ranking(params))

    async def history(self, **params: Any) -> HistoryView:
        """How users stood; `params` as of `GET /api/ranking/history`: user, since and the rules."""
        return await self._run(self._calls.history(params))

    async def checkpoint(self, number: int) -> CheckpointView:
        """A board that was written down."""
        return await self._run(self._calls.checkpoint(number))

    async def leakage(self, **params: Any) -> LeakageView:
        """Signals that problems leaked (readers)."""
        return await self._run(self._calls.leakage(params))

    async def export(self, path: Path | str, format: str = "jsonl") -> Path:
        """Write everything into a file: JSON lines, or, for "parquet", a zip of Parquet files (readers)."""
        path, call = Path(path), self._calls.export(format)
        httpx = httpx_module()
        try:
            async with self._http.stream(call.method, call.path, params=call.params) as answer:
                if answer.status_code >= 400:
                    await answer.aread()
                    answered(call, answer.status_code, content_of(answer))
                with replacing(path) as beside, beside.open("wb") as file:
                    async for piece in answer.aiter_bytes():
                        file.write(piece)
        except httpx.RequestError as error:
            raise no_answer(call, error) from error
        return path
