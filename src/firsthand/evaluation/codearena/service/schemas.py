"""What the server answers, for server and clients alike, and the kinds of fields that requests have too.

Answers are read leniently, so that a client understands a newer server. Times are RFC 3339 with a zone. Knows JSON.
What is sent is in `bodies`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

__all__ = [
    "TEXT",
    "AccountView",
    "AuditView",
    "BatchItem",
    "BatchView",
    "CaseOutcomeView",
    "CaseView",
    "CheckpointBrief",
    "CheckpointView",
    "ErrorView",
    "EventView",
    "HealthView",
    "HistoryView",
    "Identified",
    "IssuedView",
    "Kind",
    "LanguageView",
    "LeakageView",
    "Moment",
    "Name",
    "Page",
    "Pid",
    "ProblemView",
    "ProgramView",
    "RankingView",
    "SampleView",
    "ScopeName",
    "SubmissionView",
    "Text",
    "TokenView",
    "WebhookView",
    "moment",
]

Item = TypeVar("Item")
TEXT = r"^[^\x00]*$"
"""What a text is, as a pattern: anything without a NUL character."""
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+:@-]{0,63}$"
_PID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def moment(value: object) -> object:
    """A time as RFC 3339 has it: with a zone, in years that every database knows."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or "T" not in value.upper():
        raise ValueError("must be a time such as 2024-07-30T12:00:00Z")
    found = datetime.fromisoformat(value.upper())
    if found.tzinfo is None:
        raise ValueError("needs a zone, such as Z")
    if not 1900 <= found.year <= 9000:
        raise ValueError("must lie between the years 1900 and 9000")
    return found.astimezone(UTC)


def _written(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


_Written = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Moment = Annotated[
    datetime,
    BeforeValidator(moment, json_schema_input_type=_Written),
    PlainSerializer(_written, return_type=_Written, when_used="json"),
]
Text = Annotated[str, Field(pattern=TEXT)]
Name = Annotated[str, Field(pattern=_NAME)]
Pid = Annotated[str, Field(pattern=_PID)]
Kind = Literal["llm", "human", "curator", "reader", "admin"]
ScopeName = Literal["curator", "generator", "reader", "admin"]


class View(BaseModel):
    """What the server answers."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ErrorView(View):
    """Every refusal: `code` is for programs, `message` for people, `detail` has what belongs to the code."""

    status: Literal["error"] = "error"
    code: str
    message: str
    detail: Any = None


class Page(View, Generic[Item]):
    """A page of a list; `page` counts from 1."""

    items: list[Item]
    page: int
    per_page: int
    total: int
    pages: int


# --- accounts ------------------------------------------------------------------------------------------------


class AccountView(View):
    """An account; `first_seen` is when a model was released, or its training data end."""

    name: str
    kind: Kind
    first_seen: Moment | None
    created_at: Moment


class TokenView(View):
    """A token without its secret."""

    id: str
    user: str
    scopes: list[ScopeName]
    label: str
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None


class IssuedView(TokenView):
    """A new token: `token` is told this once."""

    token: str = Field(repr=False)


class Identified(View):
    """Who asks."""

    user: str
    kind: Kind
    scopes: list[ScopeName]
    tokens: list[TokenView]


# --- problems ------------------------------------------------------------------------------------------------


class ProgramView(View):
    """A canonical solution or a generator."""

    number: int
    language: str
    source: str


class SampleView(View):
    """A test case that is shown with the statement; texts of more than 64 Ki characters are cut."""

    ordinal: int
    input: str
    output: str


class ProblemView(View):
    """A problem and how the field did on it; `statement` and `samples` are absent in lists.

    `ac` is the share of language models that solved it of those that tried, `cs` the challenge score that solving it
    gives now; both are null while none tried.
    """

    pid: str
    title: str
    bps: float
    difficulty: str
    time_ms: int
    memory_kb: int
    checker: str
    source: str
    licence: str
    version: int
    visible_from: Moment
    cases: int
    attempts: int
    solved: int
    ac: float | None
    cs: float | None
    statement: str | None = None
    samples: list[SampleView] | None = None


class CaseView(View):
    """A test case; lists cut texts of more than 64 Ki characters and say so."""

    ordinal: int
    input: str
    output: str
    input_length: int
    output_length: int
    truncated: bool
    sample: bool
    state: Literal["pending", "active", "rejected"]
    detail: str
    version: int | None
    retired_in: int | None
    generator: int | None
    seed: int | None
    created_at: Moment


# --- submissions ---------------------------------------------------------------------------------------------


class CaseOutcomeView(View):
    """What one test case gave; `detail` is shown to readers."""

    ordinal: int
    verdict: str
    cpu_ms: float | None
    wall_ms: float | None
    peak_kb: int | None
    detail: str | None


class SubmissionView(View):
    """A submission; source, message and hash are for its owner and for readers, cases are absent in lists."""

    sid: str
    number: int
    user: str
    user_kind: Kind
    problem: str
    version: int
    language: str
    state: Literal["queued", "leased", "judging", "done", "failed"]
    verdict: str | None
    counted: bool
    extra: bool
    cpu_ms: float | None
    wall_ms: float | None
    peak_kb: int | None
    spread_ms: float | None
    host_class: str | None
    created_at: Moment
    judged_at: Moment | None
    source: str | None = None
    message: str | None = None
    sha256: str | None = None
    cases: list[CaseOutcomeView] | None = None

    @property
    def finished(self) -> bool:
        """Whether no judge is at work on it or about to be."""
        return self.state in ("done", "failed")


class BatchItem(View):
    """One of a batch: `submission` or `error`."""

    submission: SubmissionView | None = None
    error: ErrorView | None = None


class BatchView(View):
    """What came of a batch, in its order."""

    items: list[BatchItem]


# --- boards --------------------------------------------------------------------------------------------------


class RankingView(View):
    """A board: when and by which rules it was drawn up, its rows, and, where asked for, intervals and problems.

    `score` names the field of the rows that ranks. `host_classes` says on what machines accepted solutions were timed;
    runtimes of different ones are not comparable.
    """

    ranking: str
    score: str
    at: Moment
    parameters: dict[str, Any]
    rows: list[dict[str, Any]]
    problems: list[dict[str, Any]] | None = None
    bootstrap: dict[str, Any] | None = None
    host_classes: dict[str, int]


class HistoryRow(View):
    """One user on one checkpoint."""

    checkpoint: int
    at: Moment
    user: str
    dp: float
    rank: int
    solved: int
    attempted: int
    pass_rate: float


class HistoryView(View):
    """How users stood on the checkpoints of the same rules, oldest first."""

    parameters: dict[str, Any]
    points: list[HistoryRow]


class CheckpointBrief(View):
    """A checkpoint without its board."""

    id: int
    at: Moment
    parameters: dict[str, Any]


class CheckpointView(CheckpointBrief):
    """A board as it was written down."""

    board: dict[str, Any]


class LeakageView(View):
    """Signals that problems leaked (`leakage`, `sources`): none of them is a proof."""

    before_and_after: list[dict[str, Any]]
    periods: list[dict[str, Any]]
    duplicates: list[dict[str, Any]]


# --- the service ---------------------------------------------------------------------------------------------


class LanguageView(View):
    """A language that submissions may be in: the name that answers have, what people call it, other names."""

    name: str
    title: str
    aliases: list[str]


class WebhookView(View):
    """A webhook; `secret` signs what is posted and is told once, when the webhook is made."""

    id: int
    url: str
    created_at: Moment
    secret: str | None = Field(None, repr=False)


class EventView(View):
    """Something that happened."""

    seq: int
    at: Moment
    kind: str
    subject: str
    payload: dict[str, Any]


class AuditView(View):
    """What a full recomputation found."""

    clean: bool
    problems: int
    rows: int
    submissions: int
    differences: list[str]


class JudgeView(View):
    """A judge that was heard of lately; `fault` says why it cannot judge."""

    id: str
    host: str
    host_class: str
    languages: list[str]
    seen_at: Moment
    fault: str


class HealthView(View):
    """Whether the server answers, what waits, and who judges."""

    status: Literal["ok"]
    waiting: int
    leased: int
    oldest: Moment | None
    judges: list[JudgeView]
