"""What both clients do with connections: httpx, addresses, answers as JSON, waits, files that appear whole.

Knows httpx. Knows no requests of ours (`calls`).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firsthand.errors import FirsthandError, InputError, MissingDependencyError, OutputError
from firsthand.evaluation.codearena.clients.calls import ArenaUnreachableError, Call

if TYPE_CHECKING:
    import httpx

__all__ = [
    "POLL_S",
    "JudgingTimeoutError",
    "checked_address",
    "content_of",
    "headers_for",
    "httpx_module",
    "no_answer",
    "poll_pauses",
    "replacing",
]

POLL_S = (0.1, 2.0)
"""The first wait for a verdict, and the longest."""


class JudgingTimeoutError(FirsthandError, TimeoutError):
    """A submission was taken and has no verdict yet; `sid` is its id."""

    def __init__(self, sid: str, waited_s: float) -> None:
        super().__init__(f"submission {sid} has no verdict after {waited_s:.1f} s; it is judged all the same")
        self.sid = sid


def httpx_module() -> Any:
    """httpx, or `MissingDependencyError`."""
    try:
        import httpx
    except ImportError as error:
        raise MissingDependencyError("the client needs httpx: pip install 'firsthand[evaluation]'") from error
    return httpx


def checked_address(base_url: str, timeout: float, retries: int) -> str:
    """The address without a slash at its end; raises `InputError` for one that is none, and for wrong numbers."""
    if not base_url.startswith(("http://", "https://")):
        raise InputError(f"the arena's address begins with http:// or https://, got {base_url!r}")
    try:
        named = httpx_module().URL(base_url)
    except httpx_module().InvalidURL as error:
        raise InputError(f"the arena's address {base_url!r} cannot be read: {error}") from error
    if not named.host or named.query or named.fragment or named.userinfo:
        raise InputError(
            "the arena's address is http://HOST:PORT, without a user, a password or a query; a token is an argument "
            "of its own"
        )
    if not timeout > 0 or retries < 0:
        raise InputError(f"timeout must be above 0 and retries at least 0, got {timeout!r} and {retries!r}")
    return base_url.rstrip("/")


def headers_for(token: str | None) -> dict[str, str]:
    """Of every request; raises `InputError` for a token that no header can carry, without repeating it."""
    if token is not None and not (token.isascii() and token.isprintable() and token and " " not in token):
        raise InputError(
            "the token is empty, or has a space, a line end or a character that is none of a token's"
        )
    return {"User-Agent": "firsthand-codearena"} | (
        {} if token is None else {"Authorization": f"Bearer {token}"}
    )


def content_of(answer: httpx.Response) -> Any:
    """The answer's JSON; None where it is none."""
    try:
        return answer.json()
    except ValueError:
        return None


def no_answer(call: Call[Any], error: Exception) -> ArenaUnreachableError:
    """The error for a request that nobody answered."""
    return ArenaUnreachableError(f"{call.method} {call.path}: no answer: {type(error).__name__}: {error}")


def poll_pauses(sid: str, timeout: float | None) -> Iterator[float]:
    """How long to sleep before each further look at a submission.

    Args:
        timeout: seconds that all of them take together; None: no end.

    Raises:
        InputError: a timeout below 0.
        JudgingTimeoutError: it is over.
    """
    if timeout is not None and not timeout >= 0:
        raise InputError(f"timeout must be at least 0 s, or None, got {timeout!r}")
    started, pause_s = time.monotonic(), POLL_S[0]
    while True:
        waited = time.monotonic() - started
        if timeout is not None and waited >= timeout:
            raise JudgingTimeoutError(sid, waited)
        yield pause_s if timeout is None else min(pause_s, timeout - waited)
        pause_s = min(1.5 * pause_s, POLL_S[1])


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place at the end of the block, and goes where the block fails."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            yield beside
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
