"""What an arena keeps, as SQLAlchemy tables: the same on SQLite and on PostgreSQL.

Knows columns, keys and the rules that hold whoever writes: one attempt of a language model at a problem is a unique
index, not a check before the insert. Knows no queries. The tables are made by `migrations`; a test holds the two equal.

Times are UTC. A judgement is never changed but for the moment in which another one took its place, so that a board can
be drawn up as it stood at any time. Events and checkpoints are never changed at all: triggers refuse it. Long texts
stand last in their tables, because SQLite walks through all that comes before a column to read it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

__all__ = [
    "IMMUTABLE",
    "Utc",
    "account",
    "canonical",
    "case_result",
    "checkpoint",
    "delivery",
    "event",
    "generator",
    "job",
    "judge",
    "judgement",
    "metadata",
    "problem",
    "problem_edition",
    "problem_score",
    "submission",
    "test_case",
    "token",
    "user_problem_score",
    "webhook",
]

IMMUTABLE = ("event", "checkpoint")
"""Tables whose rows are only ever added."""


class Utc(TypeDecorator[datetime]):
    """A moment with its zone, kept as UTC; SQLite has no zones and keeps the UTC time without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """A moment without a zone is a mistake of ours."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time needs its zone, got {value!r}")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """In UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Big = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys by itself


def _id() -> Column[int]:
    return Column("id", _Big, primary_key=True, autoincrement=True)


def _to(name: str, target: str, **options: Any) -> Column[int]:
    return Column(name, _Big, ForeignKey(f"{target}.id"), **options)


def _only(name: str, index: str, *columns: str, where: str, unique: bool = True) -> Index:
    """An index of the rows for which `where` holds."""
    return Index(index, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


# --- who ---------------------------------------------------------------------------------------------------

account = Table(
    "account",  # PostgreSQL keeps `user` for itself
    metadata,
    _id(),
    Column("name", String(64), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("first_seen", Utc()),  # of a model: when it was released, or when its training data end
    Column("created_at", Utc(), nullable=False),
    CheckConstraint("kind IN ('llm', 'human', 'curator', 'reader', 'admin')", name="kind"),
)

token = Table(
    "token",
    metadata,
    Column("id", String(16), primary_key=True),  # public: names the token in lists and logs
    Column("hash", String(64), nullable=False, unique=True),  # SHA-256 of the secret, which is kept nowhere
    _to("account_id", "account", nullable=False, index=True),
    Column("scopes", String(64), nullable=False),
    Column("label", String(200), nullable=False),
    Column("created_at", Utc(), nullable=False),
    Column("expires_at", Utc()),
    Column("revoked_at", Utc()),
)

# --- problems ----------------------------------------------------------------------------------------------

problem = Table(
    "problem",
    metadata,
    _id(),
    Column("pid", String(64), nullable=False, unique=True),
    Column("version", Integer, nullable=False),  # raised with every change of how it is judged
    Column("edition", Integer, nullable=False),  # the current one: raised with every change of what it says
    Column("revision", Integer, nullable=False),  # raised with every change of its points
    Column("visible_from", Utc(), nullable=False, index=True),
    _to("created_by", "account"),
    Column("created_at", Utc(), nullable=False),
)

problem_edition = Table(
    "problem_edition",
    metadata,
    _to("problem_id", "problem", primary_key=True),
    Column("edition", Integer, primary_key=True),
    Column("version", Integer, nullable=False),  # editions of one version are judged alike
    Column("title", Text, nullable=False),
    Column("bps", Float, nullable=False),
    Column("difficulty", String(32), nullable=False),
    Column("time_ms", Integer, nullable=False),  # CPU time for each case
    Column("memory_kb", Integer, nullable=False),
    Column("checker", Text, nullable=False),
    Column("checker_language", String(32), nullable=False),
    Column("source", Text, nullable=False),  # where the problem comes from
    Column("licence", String(64), nullable=False),
    Column("created_at", Utc(), nullable=False),
    Column("checker_source", Text),
    Column("statement", Text, nullable=False),  # Markdown
    CheckConstraint("bps > 0", name="bps"),
)

canonical = Table(  # solutions that are known to be right: what test cases are validated with
    "canonical",
    metadata,
    _id(),
    _to("problem_id", "problem", nullable=False),
    Column("language", String(32), nullable=False),
    Column("sha256", String(64), nullable=False),
    _to("created_by", "account"),
    Column("created_at", Utc(), nullable=False),
    Column("source", Text, nullable=False),
    Index("uq_canonical_problem_id_sha256", "problem_id", "sha256", unique=True),
)

generator = Table(  # programs that print an input of the problem for a seed
    "generator",
    metadata,
    _id(),
    _to("problem_id", "problem", nullable=False),
    Column("language", String(32), nullable=False),
    Column("sha256", String(64), nullable=False),
    _to("created_by", "account"),
    Column("created_at", Utc(), nullable=False),
    Column("source", Text, nullable=False),
    Index("uq_generator_problem_id_sha256", "problem_id", "sha256", unique=True),
)

test_case = Table(
    "test_case",
    metadata,
    _id(),
    _to("problem_id", "problem", nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("version", Integer),  # of the problem, the first with this case; null while it is not active
    Column("retired_in", Integer),  # the first without it
    Column("sha256", String(64), nullable=False),  # of both
    Column("sample", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("detail", Text, nullable=False),  # why it was rejected
    _to("generator_id", "generator"),
    Column("seed", _Big),  # what the generator was given
    _to("created_by", "account"),
    Column("created_at", Utc(), nullable=False),
    Column("input", Text, nullable=False),
    Column("output", Text, nullable=False),
    CheckConstraint("state IN ('pending', 'active', 'rejected')", name="state"),
    Index("uq_test_case_problem_id_ordinal", "problem_id", "ordinal", unique=True),
    _only("test_case", "uq_test_case_problem_id_sha256", "problem_id", "sha256", where="retired_in IS NULL"),
)

# --- submissions and what came of them ---------------------------------------------------------------------

submission = Table(
    "submission",
    metadata,
    _id(),
    Column("sid", String(26), nullable=False, unique=True),  # ULID
    _to("account_id", "account", nullable=False),
    _to("problem_id", "problem", nullable=False),
    Column("version", Integer, nullable=False),  # of the problem: it was judged by, or sent to
    Column("language", String(32), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("idempotency_key", String(200)),
    Column("holds_attempt", Boolean, nullable=False),  # it is the one attempt of a language model
    Column("extra", Boolean, nullable=False),  # a further sample, for pass@k: never counted
    Column("state", String(16), nullable=False),
    Column("counted", Boolean, nullable=False),
    Column("verdict", String(4)),
    Column("cpu_ms", Float),
    Column("wall_ms", Float),
    Column("peak_kb", _Big),
    Column("spread_ms", Float),
    Column("host", String(200)),
    Column("host_class", String(200)),
    Column("created_at", Utc(), nullable=False),
    Column("judged_at", Utc()),
    Column("message", Text),
    Column("source", Text, nullable=False),
    CheckConstraint("state IN ('queued', 'leased', 'judging', 'done', 'failed')", name="state"),
    _only("submission", "uq_submission_one_attempt", "account_id", "problem_id", where="holds_attempt"),
    _only(
        "submission",
        "uq_submission_idempotency_key",
        "account_id",
        "idempotency_key",
        where="idempotency_key IS NOT NULL",
    ),
    Index("ix_submission_problem_id_id", "problem_id", "id"),
    Index("ix_submission_account_id_id", "account_id", "id"),
)

judgement = Table(
    "judgement",
    metadata,
    _id(),
    _to("submission_id", "submission", nullable=False, index=True),
    Column("version", Integer, nullable=False),  # of the problem
    Column("verdict", String(4), nullable=False),
    Column("counted", Boolean, nullable=False),
    Column("cpu_ms", Float),
    Column("wall_ms", Float),
    Column("peak_kb", _Big),
    Column("spread_ms", Float),
    Column("message", Text, nullable=False),
    Column("host", String(200), nullable=False),
    Column("host_class", String(200), nullable=False),
    Column("judged_at", Utc(), nullable=False),
    Column("replaced_at", Utc()),  # when a later judgement took its place
    _only("judgement", "uq_judgement_current", "submission_id", where="replaced_at IS NULL"),
)

case_result = Table(
    "case_result",
    metadata,
    _to("judgement_id", "judgement", primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("verdict", String(4), nullable=False),
    Column("cpu_ms", Float),
    Column("wall_ms", Float),
    Column("peak_kb", _Big),
    Column("detail", Text, nullable=False),
)

# --- the board ---------------------------------------------------------------------------------------------

problem_score = Table(
    "problem_score",
    metadata,
    _to("problem_id", "problem", primary_key=True),
    Column("bps", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("solved", Integer, nullable=False),
    Column("ac", Float),
    Column("cs", Float),
)

user_problem_score = Table(
    "user_problem_score",
    metadata,
    _to("problem_id", "problem", primary_key=True),
    _to("account_id", "account", primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("runtime_ms", Float),
    Column("cs", Float, nullable=False),
    Column("es", Float, nullable=False),
)

checkpoint = Table(
    "checkpoint",
    metadata,
    _id(),
    Column("at", Utc(), nullable=False, index=True),
    Column("period", String(40), unique=True),  # names the stretch of time it was made for; null: asked for
    Column("parameters", JSON, nullable=False),
    Column("board", JSON, nullable=False),
)

event = Table(
    "event",
    metadata,
    Column("seq", _Big, primary_key=True, autoincrement=True),
    Column("at", Utc(), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("subject", String(120), nullable=False, index=True),
    Column("payload", JSON, nullable=False),
)

# --- work to be done ---------------------------------------------------------------------------------------

job = Table(  # a row lives until its work is done
    "job",
    metadata,
    _id(),
    Column("kind", String(16), nullable=False),
    _to("submission_id", "submission", unique=True),
    _to("problem_id", "problem", nullable=False),
    Column("payload", JSON),
    Column("priority", Integer, nullable=False),  # lower comes first
    Column("language", String(32)),  # who has it installed may take it; null: anyone
    Column("host_class", String(200)),  # who may take it; null: anyone
    Column("tries", Integer, nullable=False),
    Column("lease", String(64)),  # names the one claim that may finish it
    Column("lease_owner", String(200)),
    Column("lease_until", Utc()),
    Column("not_before", Utc(), nullable=False),
    Column("created_at", Utc(), nullable=False),
    CheckConstraint("kind IN ('submission', 'cases', 'generate')", name="kind"),
    Index("ix_job_priority_id", "priority", "id"),
    _only("job", "uq_job_cases", "problem_id", where="kind = 'cases'"),
)

judge = Table(
    "judge",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("host", String(200), nullable=False),
    Column("host_class", String(200), nullable=False),
    Column("languages", Text, nullable=False),  # that are installed there
    Column("fault", Text, nullable=False),  # why it cannot judge; empty: it can
    Column("started_at", Utc(), nullable=False),
    Column("seen_at", Utc(), nullable=False),
)

webhook = Table(
    "webhook",
    metadata,
    _id(),
    _to("account_id", "account", nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("secret", String(64), nullable=False),  # signs what is sent; shown once
    Column("created_at", Utc(), nullable=False),
)

delivery = Table(
    "delivery",
    metadata,
    _id(),
    _to("webhook_id", "webhook", nullable=False),
    Column("payload", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("not_before", Utc(), nullable=False, index=True),
    Column("last_fault", Text, nullable=False),
)
