"""What an arena refuses beyond the errors of judging itself; each names its HTTP status and code, as `errors` does."""

from __future__ import annotations

from firsthand.evaluation.codearena.errors import ArenaError

__all__ = [
    "Conflict",
    "InvalidRequest",
    "NotReady",
    "RequestTooLarge",
    "TooManyRequests",
    "UnknownAccount",
    "UnknownEntry",
    "UnknownSubmission",
]


class UnknownAccount(ArenaError, LookupError):
    """No account of that name."""

    status = 404
    code = "unknown_account"


class UnknownSubmission(ArenaError, LookupError):
    """No submission with that id."""

    status = 404
    code = "unknown_submission"


class UnknownEntry(ArenaError, LookupError):
    """No such token, checkpoint or webhook."""

    status = 404
    code = "not_found"


class Conflict(ArenaError, ValueError):
    """Something of that name, or with that content, is there already."""

    status = 409
    code = "conflict"


class NotReady(ArenaError):
    """Not in this state: a problem without an active test case, a submission that is being judged."""

    status = 409
    code = "not_ready"


class InvalidRequest(ArenaError, ValueError):
    """A value that cannot be used; the message names it."""

    status = 422
    code = "invalid_request"


class RequestTooLarge(ArenaError, ValueError):
    """A request's body is longer than the server reads."""

    status = 413
    code = "body_too_large"


class TooManyRequests(ArenaError):
    """One client asks too often.

    Attributes:
        retry_after_s: when it may ask again, in seconds.
    """

    status = 429
    code = "too_many_requests"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
