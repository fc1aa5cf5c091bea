"""What the clients ask for: one description of each request, which both the waiting and the awaiting one carry out.

Knows paths, bodies, answers and when asking again is safe. Knows no connections (`client`).
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from firsthand.errors import FirsthandError, InputError
from firsthand.evaluation.codearena import errors, refusals
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

__all__ = ["ArenaUnreachableError", "Call", "Calls", "ServerFaultError", "answered", "pause"]

T = TypeVar("T")
_AGAIN = frozenset((429, 500, 502, 503, 504))  # asked again later, the same may be answered otherwise
_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 20.0


class ArenaUnreachableError(FirsthandError, ConnectionError):
    """No answer came: no connection, or none in time, as often as it was tried."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "the arena does not answer"


class ServerFaultError(FirsthandError, RuntimeError):
    """An answer that the server should not have given: an error of its own, or no JSON of ours.

    Attributes:
        status: of the answer.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read. `repeatable`: sent twice, it does no more than sent once."""

    method: str
    path: str
    read: Callable[[Any], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    repeatable: bool = True


def _reader(kind: Any) -> Callable[[Any], Any]:
    adapter = TypeAdapter(kind)
    found: Callable[[Any], Any] = adapter.validate_python
    return found


_READ: dict[Any, Callable[[Any], Any]] = {}


def _read(kind: Any) -> Callable[[Any], Any]:
    """A reader for answers of a kind, made once."""
    key = str(kind)
    if key not in _READ:
        _READ[key] = _reader(kind)
    return _READ[key]


def _params(**given: Any) -> dict[str, Any]:
    """Query parameters without those that are None; times as RFC 3339."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or (isinstance(value, list | tuple) and not value):
            continue
        if isinstance(value, datetime):
            value = _time(value)
        elif isinstance(value, bool):
            value = "true" if value else "false"
        found[name] = value
    return found


def _time(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise InputError(f"a time needs its zone, got {moment!r}")
    return moment.isoformat()


def _body(**given: Any) -> dict[str, Any]:
    return {
        name: _time(value) if isinstance(value, datetime) else value
        for name, value in given.items()
        if value is not None
    }


def _part(name: str) -> str:
    """A name as part of a path."""
    from urllib.parse import quote

    if not name:
        raise InputError("an id is empty")
    return quote(name, safe="")


class Calls:
    """Every request there is."""

    def health(self) -> Call[HealthView]:
        """GET /healthz."""
        return Call("GET", "/healthz", _read(HealthView))

    def languages(self) -> Call[list[LanguageView]]:
        """GET /api/language/."""
        return Call("GET", "/api/language/", _read(list[LanguageView]))

    def who(self) -> Call[Identified]:
        """GET /api/authentication/."""
        return Call("GET", "/api/authentication/", _read(Identified))

    def create_account(self, name: str, kind: str, first_seen: datetime | None) -> Call[AccountView]:
        """POST /api/user/."""
        body = _body(name=name, kind=kind, first_seen=first_seen)
        return Call("POST", "/api/user/", _read(AccountView), body=body, repeatable=False)

    def issue_token(
        self, user: str | None, scopes: Sequence[str] | None, label: str, expires_at: datetime | None
    ) -> Call[IssuedView]:
        """POST /api/authentication/."""
        body = _body(
            user=user, scopes=None if scopes is None else list(scopes), label=label, expires_at=expires_at
        )
        return Call("POST", "/api/authentication/", _read(IssuedView), body=body, repeatable=False)

    def revoke_token(self, token_id: str) -> Call[TokenView]:
        """DELETE /api/authentication/ID/."""
        return Call("DELETE", f"/api/authentication/{_part(token_id)}/", _read(TokenView))

    def regenerate_token(self, token_id: str) -> Call[IssuedView]:
        """POST /api/authentication/ID/regenerate/."""
        path = f"/api/authentication/{_part(token_id)}/regenerate/"
        return Call("POST", path, _read(IssuedView), repeatable=False)

    def problems(
        self, q: str | None, since: datetime | None, difficulty: str | None, page: int, per_page: int
    ) -> Call[Page[ProblemView]]:
        """GET /api/problem/."""
        params = _params(q=q, since=since, difficulty=difficulty, page=page, per_page=per_page)
        return Call("GET", "/api/problem/", _read(Page[ProblemView]), params)

    def problem(self, pid: str) -> Call[ProblemView]:
        """GET /api/problem/PID/."""
        return Call("GET", f"/api/problem/{_part(pid)}/", _read(ProblemView))

    def create_problem(self, fields: Mapping[str, Any]) -> Call[ProblemView]:
        """POST /api/problem/."""
        body = _body(**fields)
        return Call("POST", "/api/problem/", _read(ProblemView), body=body, repeatable=False)

    def add_cases(self, pid: str, cases: Sequence[Mapping[str, Any]]) -> Call[list[CaseView]]:
        """POST /api/problem/PID/case/."""
        path, body = f"/api/problem/{_part(pid)}/case/", {"cases": [dict(case) for case in cases]}
        return Call("POST", path, _read(list[CaseView]), body=body, repeatable=False)

    def cases(self, pid: str, page: int, per_page: int) -> Call[Page[CaseView]]:
        """GET /api/problem/PID/case/."""
        path = f"/api/problem/{_part(pid)}/case/"
        return Call("GET", path, _read(Page[CaseView]), _params(page=page, per_page=per_page))

    def add_solution(self, pid: str, language: str, source: str) -> Call[ProgramView]:
        """POST /api/problem/PID/solution/."""
        path, body = f"/api/problem/{_part(pid)}/solution/", {"language": language, "source": source}
        return Call("POST", path, _read(ProgramView), body=body, repeatable=False)

    def submit(
        self, pid: str, language: str, source: str, idempotency_key: str | None, extra: bool
    ) -> Call[SubmissionView]:
        """POST /api/submission/; with a key of its own where none is given, so that it may be sent again."""
        body = {
            "problem": pid, "language": language, "source": source, "extra": extra,
            "idempotency_key": idempotency_key or f"auto-{secrets.token_hex(16)}",
        }  # fmt: skip
        return Call("POST", "/api/submission/", _read(SubmissionView), body=body)

    def submit_batch(self, submissions: Sequence[Mapping[str, Any]]) -> Call[BatchView]:
        """POST /api/submission/batch; each with a key of its own where it has none."""
        sent = [{"idempotency_key": f"auto-{secrets.token_hex(16)}", **dict(one)} for one in submissions]
        return Call("POST", "/api/submission/batch", _read(BatchView), body={"submissions": sent})

    def submission(self, sid: str) -> Call[SubmissionView]:
        """GET /api/submission/SID/."""
        return Call("GET", f"/api/submission/{_part(sid)}/", _read(SubmissionView))

    def submissions(
        self,
        pid: str | None,
        user: str | None,
        language: str | None,
        verdict: str | None,
        page: int,
        per_page: int,
    ) -> Call[Page[SubmissionView]]:
        """GET /api/submission/."""
        params = _params(
            problem=pid, user=user, language=language, verdict=verdict, page=page, per_page=per_page
        )
        return Call("GET", "/api/submission/", _read(Page[SubmissionView]), params)

    def rejudge(self, sid: str) -> Call[SubmissionView]:
        """POST /api/submission/SID/rejudge."""
        path = f"/api/submission/{_part(sid)}/rejudge"
        return Call("POST", path, _read(SubmissionView), repeatable=False)

    def abort(self, sid: str) -> Call[SubmissionView]:
        """POST /api/submission/SID/abort."""
        return Call("POST", f"/api/submission/{_part(sid)}/abort", _read(SubmissionView))

    def ranking(self, params: Mapping[str, Any]) -> Call[RankingView]:
        """GET /api/ranking/."""
        return Call("GET", "/api/ranking/", _read(RankingView), _params(**params))

    def history(self, params: Mapping[str, Any]) -> Call[HistoryView]:
        """GET /api/ranking/history."""
        return Call("GET", "/api/ranking/history", _read(HistoryView), _params(**params))

    def checkpoint(self, number: int) -> Call[CheckpointView]:
        """GET /api/ranking/checkpoint/N/."""
        return Call("GET", f"/api/ranking/checkpoint/{number}/", _read(CheckpointView))

    def leakage(self, params: Mapping[str, Any]) -> Call[LeakageView]:
        """GET /api/leakage/."""
        return Call("GET", "/api/leakage/", _read(LeakageView), _params(**params))

    def add_webhook(self, url: str) -> Call[WebhookView]:
        """POST /api/webhook/."""
        return Call("POST", "/api/webhook/", _read(WebhookView), body={"url": url}, repeatable=False)

    def webhooks(self) -> Call[list[WebhookView]]:
        """GET /api/webhook/."""
        return Call("GET", "/api/webhook/", _read(list[WebhookView]))

    def remove_webhook(self, number: int) -> Call[None]:
        """DELETE /api/webhook/N/; sent twice, the second finds nothing."""
        return Call("DELETE", f"/api/webhook/{number}/", lambda _: None, repeatable=False)

    def export(self, form: str) -> Call[None]:
        """GET /api/export; its answer is a file."""
        return Call("GET", "/api/export", lambda _: None, {"format": form})


# --- answers -------------------------------------------------------------------------------------------------

_ERRORS: dict[str, type[errors.ArenaError]] = {
    kind.code: kind
    for module in (errors, refusals)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, errors.ArenaError)
}


def answered(call: Call[T], status: int, content: Any) -> T:
    """What an answer says.

    Args:
        content: the answer's JSON; None where it is none.

    Raises:
        ArenaError: the server's refusal, of the kind that its code names.
        ServerFaultError: an error of the server's, or an answer that cannot be read.
    """
    if status < 400:
        try:
            return call.read(content)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise ServerFaultError(
                f"{call.method} {call.path}: the answer ({status}) cannot be read: {where and where + ': '}"
                f"{fault['msg'] if content is not None else 'it is no JSON'}; is this the address of an arena?",
                status,
            ) from error
    code, message = "", f"the server answered {status}"
    detail: Any = None
    if isinstance(content, dict):
        code, message = str(content.get("code", "")), str(content.get("message", message))
        detail = content.get("detail")
    kind = _ERRORS.get(code)
    if kind is None:
        if status < 500:
            raise refusals.InvalidRequest(f"{message} ({status})")
        raise ServerFaultError(f"{call.method} {call.path}: {message}", status)
    if issubclass(kind, errors.NotAuthorized):
        raise kind(message, status=403 if status == 403 else 401)
    if issubclass(kind, errors.QueueFull | refusals.TooManyRequests):
        wait = detail.get("retry_after_s") if isinstance(detail, dict) else None
        raise kind(message, retry_after_s=float(wait) if isinstance(wait, int | float) else 5.0)
    raise kind(message)


def pause(call: Call[Any], status: int | None, headers: Mapping[str, str], tried: int) -> float | None:
    """Seconds until this is asked again; None where it is not.

    Args:
        status: of the answer; None where none came.
        tried: how often it was asked, from 1.
    """
    if status is None:
        if not call.repeatable:
            return None
    elif status not in _AGAIN or (status != 429 and not call.repeatable):
        return None
    said = headers.get("retry-after", "")
    if said.isascii() and said.isdigit():
        return min(float(said), _LONGEST_PAUSE_S)
    return min(_PAUSE_S * 2.0 ** (tried - 1), _LONGEST_PAUSE_S) * (0.5 + random.random() / 2)
