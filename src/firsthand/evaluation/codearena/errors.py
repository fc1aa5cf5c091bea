"""What can go wrong between a submission and its verdict, with the HTTP status and code each one has.

The service turns an `ArenaError` into a reply by its `status`, `code` and message alone; it knows no single error.
"""

from __future__ import annotations

from typing import ClassVar

from firsthand.errors import FirsthandError

__all__ = [
    "ArenaError",
    "AttemptAlreadyUsed",
    "InvalidCase",
    "InvalidSource",
    "NotAuthorized",
    "QueueFull",
    "SandboxFailed",
    "SandboxUnavailable",
    "SourceTooLarge",
    "UnknownProblem",
    "UnsupportedLanguage",
]


class ArenaError(FirsthandError, RuntimeError):
    """Base of the room's errors.

    Attributes:
        status: the HTTP status a service answers with.
        code: a short name that a program can compare, the same in every release.
    """

    status: int = 500
    code: ClassVar[str] = "arena_error"

    def __str__(self) -> str:  # LookupError and OSError would quote or number it
        return str(self.args[0]) if self.args else self.code


class UnknownProblem(ArenaError, LookupError):
    """No problem, submission or other thing of that name, or none that this account may see."""

    status = 404
    code = "unknown_problem"


class NotAuthorized(ArenaError, PermissionError):
    """No token or a revoked one (401), or a token without the scope that is needed (403)."""

    status = 401
    code = "not_authorized"

    def __init__(self, message: str, *, status: int = 401) -> None:
        if status not in (401, 403):
            raise ValueError(f"status {status}: who is not authorized is told 401 or 403")
        super().__init__(message)
        self.status = status


class AttemptAlreadyUsed(ArenaError, ValueError):
    """A language model's account has its one attempt at this problem behind it."""

    status = 409
    code = "attempt_already_used"


class SourceTooLarge(ArenaError, ValueError):
    """A source text of more bytes than the arena takes."""

    status = 413
    code = "source_too_large"


class UnsupportedLanguage(ArenaError, ValueError):
    """A language that no file describes, or whose compiler this machine lacks."""

    status = 422
    code = "unsupported_language"


class InvalidCase(ArenaError, ValueError):
    """A test case, a checker or a case generator that cannot be used."""

    status = 422
    code = "invalid_case"


class InvalidSource(ArenaError, ValueError):
    """A source text that is empty, has NUL characters or is not valid UTF-8."""

    status = 422
    code = "invalid_source"


class QueueFull(ArenaError):
    """More is waiting, or coming from one account, than the arena takes.

    Attributes:
        retry_after_s: after how many seconds trying again makes sense.
    """

    status = 429
    code = "queue_full"

    def __init__(self, message: str, *, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SandboxFailed(ArenaError):
    """A run that came to nothing by the sandbox's own fault: no program is to blame, and trying again makes sense."""

    status = 500
    code = "sandbox_failed"


class SandboxUnavailable(ArenaError):
    """This machine cannot isolate a program, so nothing is judged on it."""

    status = 503
    code = "sandbox_unavailable"
