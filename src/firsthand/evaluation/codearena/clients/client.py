"""`ArenaClient` asks an arena over HTTP and waits for the answers; `async_client` has its awaiting twin.

    with ArenaClient("http://127.0.0.1:8766", token) as arena:
        done = arena.submit("sum", "python", source, wait=True)
        print(done.verdict, done.cpu_ms)

Answers are typed (`schemas`). A refusal is raised as the error that an arena in this process would raise. What can be
asked twice without harm is asked again where no answer came or the server said to come later; a submission carries an
idempotency key for this. Knows httpx.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from firsthand.evaluation.codearena.clients.calls import (
    ArenaUnreachableError,
    Call,
    Calls,
    ServerFaultError,
    answered,
    pause,
)
from firsthand.evaluation.codearena.clients.connections import (
    JudgingTimeoutError,
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

__all__ = [
    "PAGE",
    "ArenaClient",
    "ArenaUnreachableError",
    "JudgingTimeoutError",
    "ServerFaultError",
]

T = TypeVar("T")
PAGE = 100
"""How many items a page has where all are asked for."""


class ArenaClient:
    """Asks an arena and waits for its answer.

    Args:
        base_url: such as `http://127.0.0.1:8766`.
        token: None reads what everybody may read.
        timeout: seconds to connect within, and between two pieces of an answer.
        retries: how often what is safe to repeat is asked again.
        transport: of httpx, for tests and proxies.

    Every method raises `ArenaError` (a refusal, of the kind that the server named), `ArenaUnreachableError` or
    `ServerFaultError`.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._calls, self._retries = Calls(), retries
        self._http: httpx.Client = httpx_module().Client(
            base_url=checked_address(base_url, timeout, retries),
            headers=headers_for(token),
            timeout=timeout,
            transport=transport,
        )

    def __enter__(self) -> ArenaClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _run(self, call: Call[T]) -> T:
        httpx = httpx_module()
        tried = 0
        while True:
            tried += 1
            try:
                answer = self._http.request(call.method, call.path, params=call.params, json=call.body)
            except httpx.RequestError as error:
                wait = pause(call, None, {}, tried)
                if wait is None or tried > self._retries:
                    raise no_answer(call, error) from error
            else:
                wait = pause(call, answer.status_code, answer.headers, tried)
                if wait is None or tried > self._retries:
                    return answered(call, answer.status_code, content_of(answer))
            time.sleep(wait)

    # --- the service and accounts ----------------------------------------------------------------

    def health(self) -> HealthView:
        """Whether the server answers, what waits, and who judges."""
        return self._run(self._calls.health())

    def languages(self) -> list[LanguageView]:
        """Languages that submissions may be in."""
        return self._run(self._calls.languages())

    def who(self) -> Identified:
        """Whose token this is."""
        return self._run(self._calls.who())

    def create_account(self, name: str, kind: str, *, first_seen: datetime | None = None) -> AccountView:
        """Make an account (administrators)."""
        return self._run(self._calls.create_account(name, kind, first_seen))

    def issue_token(
        self,
        user: str | None = None,
        *,
        scopes: Sequence[str] | None = None,
        label: str = "",
        expires_at: datetime | None = None,
    ) -> IssuedView:
        """A new token: one's own, or anybody's for administrators."""
        return self._run(self._calls.issue_token(user, scopes, label, expires_at))

    def revoke_token(self, token_id: str) -> TokenView:
        """From now on the token opens nothing."""
        return self._run(self._calls.revoke_token(token_id))

    def regenerate_token(self, token_id: str) -> IssuedView:
        """A new token in the place of an old one."""
        return self._run(self._calls.regenerate_token(token_id))

    def add_webhook(self, url: str) -> WebhookView:
        """Have one's own judged submissions posted to an address."""
        return self._run(self._calls.add_webhook(url))

    def webhooks(self) -> list[WebhookView]:
        """One's own webhooks, without their secrets."""
        return self._run(self._calls.webhooks())

    def remove_webhook(self, number: int) -> None:
        """Delete a webhook of one's own."""
        self._run(self._calls.remove_webhook(number))

    # --- problems --------------------------------------------------------------------------------

    def problems(
        self,
        q: str | None = None,
        since: datetime | None = None,
        *,
        difficulty: str | None = None,
        page: int = 1,
        per_page: int = 50,
    ) -> Page[ProblemView]:
        """A page of problems."""
        return self._run(self._calls.problems(q, since, difficulty, page, per_page))

    def all_problems(self, q: str | None = None, since: datetime | None = None) -> Iterator[ProblemView]:
        """Every problem once, page by page; one that comes meanwhile may be missing."""
        seen, page, pages = set(), 0, 1
        while (page := page + 1) <= pages:
            found = self.problems(q, since, page=page, per_page=PAGE)
            pages = found.pages
            for item in found.items:  # pages shift while there are new ones
                if item.pid not in seen:
                    seen.add(item.pid)
                    yield item

    def problem(self, pid: str) -> ProblemView:
        """A problem with its statement and samples."""
        return self._run(self._calls.problem(pid))

    def create_problem(self, pid: str, title: str, statement: str, **fields: Any) -> ProblemView:
        """Add a problem (curators); `fields` as of `bodies.ProblemBody`."""
        return self._run(
            self._calls.create_problem({"pid": pid, "title": title, "statement": statement, **fields})
        )

    def add_cases(self, pid: str, cases: Sequence[Mapping[str, Any]]) -> list[CaseView]:
        """Add test cases: mappings with `input`, `output` and perhaps `sample`."""
        return self._run(self._calls.add_cases(pid, cases))

    def cases(self, pid: str, *, page: int = 1, per_page: int = 50) -> Page[CaseView]:
        """A page of test cases (readers)."""
        return self._run(self._calls.cases(pid, page, per_page))

    def add_solution(self, pid: str, language: str, source: str) -> ProgramView:
        """Add a canonical solution (curators)."""
        return self._run(self._calls.add_solution(pid, language, source))

    # --- submissions -----------------------------------------------------------------------------

    def submit(
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
        sent = self._run(self._calls.submit(pid, language, source, idempotency_key, extra))
        return self.wait(sent.sid, timeout=timeout) if wait else sent

    def submit_batch(self, submissions: Sequence[Mapping[str, Any]]) -> BatchView:
        """Send up to 100 programs: mappings with `problem`, `language`, `source`."""
        return self._run(self._calls.submit_batch(submissions))

    def wait(self, sid: str, *, timeout: float | None = None) -> SubmissionView:
        """A submission once it is judged; raises `JudgingTimeoutError` after `timeout` seconds."""
        pauses = poll_pauses(sid, timeout)
        while not (found := self.submission(sid)).finished:
            time.sleep(next(pauses))
        return found

    def submission(self, sid: str) -> SubmissionView:
        """A submission as it is now."""
        return self._run(self._calls.submission(sid))

    def submissions(
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
        return self._run(self._calls.submissions(pid, user, language, verdict, page, per_page))

    def all_submissions(self, pid: str | None = None, user: str | None = None) -> Iterator[SubmissionView]:
        """Every submission once, the newest first and page by page; one that comes meanwhile may be missing."""
        seen, page, pages = set(), 0, 1
        while (page := page + 1) <= pages:
            found = self.submissions(pid, user, page=page, per_page=PAGE)
            pages = found.pages
            for item in found.items:  # pages shift while there are new ones
                if item.sid not in seen:
                    seen.add(item.sid)
                    yield item

    def rejudge(self, sid: str) -> SubmissionView:
        """Judge a submission again (administrators)."""
        return self._run(self._calls.rejudge(sid))

    def abort(self, sid: str) -> SubmissionView:
        """Take a submission out for good (administrators)."""
        return self._run(self._calls.abort(sid))

    # --- boards ----------------------------------------------------------------------------------

    def ranking(self, **params: Any) -> RankingView:
        """A board; `params` as of `GET /api/ranking/`: challenge, population, at, bootstrap, leave_out and so on."""
        return self._run(self._calls.ranking(params))

    def history(self, **params: Any) -> HistoryView:
        """How users stood; `params` as of `GET /api/ranking/history`: user, since and the rules."""
        return self._run(self._calls.history(params))

    def checkpoint(self, number: int) -> CheckpointView:
        """A board that was written down."""
        return self._run(self._calls.checkpoint(number))

    def leakage(self, **params: Any) -> LeakageView:
        """Signals that problems leaked (readers)."""
        return self._run(self._calls.leakage(params))

    def export(self, path: Path | str, format: str = "jsonl") -> Path:
        """Write everything into a file: JSON lines, or, for "parquet", a zip of Parquet files (readers)."""
        path, call = Path(path), self._calls.export(format)
        httpx = httpx_module()
        try:
            with self._http.stream(call.method, call.path, params=call.params) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    answered(call, answer.status_code, content_of(answer))
                with replacing(path) as beside, beside.open("wb") as file:
                    for piece in answer.iter_bytes():
                        file.write(piece)
        except httpx.RequestError as error:
            raise no_answer(call, error) from error
        return path
