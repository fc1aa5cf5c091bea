"""What is sent to the server: the bodies of requests, read strictly.

A field that nobody knows, a number in quotes or a text with a NUL character is refused. Knows JSON. What is answered
is in `schemas`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from firsthand.evaluation.codearena.service.schemas import TEXT, Kind, Moment, Name, Pid, ScopeName, Text

__all__ = [
    "AccountBody",
    "BatchBody",
    "CaseBody",
    "CasesBody",
    "GenerateBody",
    "ProblemBody",
    "ProblemChanges",
    "ProgramBody",
    "RetimeBody",
    "SubmissionBody",
    "TokenBody",
    "WebhookBody",
]


class Body(BaseModel):
    """What is sent to the server."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class AccountBody(Body):
    """A new account."""

    name: Name
    kind: Kind
    first_seen: Moment | None = None


class TokenBody(Body):
    """A token that is asked for: of an account (one's own where absent), with scopes (all it may have)."""

    user: Name | None = None
    scopes: list[ScopeName] | None = Field(None, min_length=1, max_length=4)
    label: Annotated[str, Field(max_length=200, pattern=TEXT)] = ""
    expires_at: Moment | None = None


class CaseBody(Body):
    """A test case; `sample`: shown with the statement."""

    input: Text
    output: Text
    sample: bool = False


class CasesBody(Body):
    """Test cases to be added, all or none."""

    cases: Annotated[list[CaseBody], Field(min_length=1, max_length=100)]


class ProgramBody(Body):
    """A program."""

    language: Annotated[str, Field(min_length=1, max_length=32, pattern=TEXT)]
    source: Annotated[str, Field(min_length=1, pattern=TEXT)]


class GenerateBody(Body):
    """Seeds to run a generator for."""

    seeds: Annotated[list[Annotated[int, Field(ge=0, le=2**63 - 1)]], Field(min_length=1, max_length=1000)]
    sample: bool = False


class ProblemChanges(Body):
    """Fields of a problem that are to change."""

    title: (
        Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")] | None
    ) = None
    statement: Text | None = None
    bps: Annotated[float, Field(gt=0, le=1e6)] | None = None
    difficulty: Annotated[str, Field(max_length=32, pattern=TEXT)] | None = None
    time_ms: Annotated[int, Field(ge=1, le=3_600_000)] | None = None
    memory_kb: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] | None = None
    checker: Annotated[str, Field(max_length=200, pattern=TEXT)] | None = None
    checker_source: Text | None = None
    checker_language: Annotated[str, Field(max_length=32, pattern=TEXT)] | None = None
    source: Annotated[str, Field(max_length=1000, pattern=TEXT)] | None = None
    licence: Annotated[str, Field(max_length=64, pattern=TEXT)] | None = None
    visible_from: Moment | None = None


class ProblemBody(ProblemChanges):
    """A new problem, with cases and canonical solutions if they are at hand."""

    pid: Pid
    title: Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")]
    statement: Text
    cases: Annotated[list[CaseBody], Field(max_length=100)] = []
    solutions: Annotated[list[ProgramBody], Field(max_length=20)] = []


class SubmissionBody(Body):
    """A program to be judged.

    `idempotency_key`: sent again with the same content, it gives the same submission. `extra`: a further sample of a
    language model after its one attempt; never counted.
    """

    problem: Pid
    language: Annotated[str, Field(min_length=1, max_length=32, pattern=TEXT)]
    source: Annotated[str, Field(min_length=1, pattern=TEXT)]
    idempotency_key: Annotated[str, Field(min_length=1, max_length=200, pattern=TEXT)] | None = None
    extra: bool = False


class BatchBody(Body):
    """Submissions, each taken or refused for itself."""

    submissions: Annotated[list[SubmissionBody], Field(min_length=1, max_length=100)]


class WebhookBody(Body):
    """Where one's own judged submissions are to be posted."""

    url: Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^https?://[^\x00\s]+$")]


class RetimeBody(Body):
    """On which class of machines accepted solutions are to be timed again."""

    host_class: Annotated[str, Field(min_length=1, max_length=200, pattern=TEXT)]
