"""The tables as they were first made, and the triggers that keep events and checkpoints as they were written."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_UTC = sa.DateTime(timezone=True)
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "account",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("first_seen", _UTC, nullable=True),
        sa.Column("created_at", _UTC, nullable=False),
        sa.CheckConstraint(
            "kind IN ('llm', 'human', 'curator', 'reader', 'admin')", name=op.f("ck_account_kind")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("name", name=op.f("uq_account_name")),
    )
    op.create_table(
        "checkpoint",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("at", _UTC, nullable=False),
        sa.Column("period", sa.String(length=40), nullable=True),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("board", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoint")),
        sa.UniqueConstraint("period", name=op.f("uq_checkpoint_period")),
    )
    op.create_index(op.f("ix_checkpoint_at"), "checkpoint", ["at"], unique=False)
    op.create_table(
        "event",
        sa.Column("seq", _BIG, autoincrement=True, nullable=False),
        sa.Column("at", _UTC, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=120), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_event")),
    )
    op.create_index(op.f("ix_event_subject"), "event", ["subject"], unique=False)
    op.create_table(
        "judge",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("host_class", sa.String(length=200), nullable=False),
        sa.Column("languages", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("started_at", _UTC, nullable=False),
        sa.Column("seen_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judge")),
    )
    op.create_table(
        "problem",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("pid", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("visible_from", _UTC, nullable=False),
        sa.Column("created_by", _BIG, nullable=True),
        sa.Column("created_at", _UTC, nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name=op.f("fk_problem_created_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_problem")),
        sa.UniqueConstraint("pid", name=op.f("uq_problem_pid")),
    )
    op.create_index(op.f("ix_problem_visible_from"), "problem", ["visible_from"], unique=False)
    op.create_table(
        "token",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("account_id", _BIG, nullable=False),
        sa.Column("scopes", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("created_at", _UTC, nullable=False),
        sa.Column("expires_at", _UTC, nullable=True),
        sa.Column("revoked_at", _UTC, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_token_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("hash", name=op.f("uq_token_hash")),
    )
    op.create_index(op.f("ix_token_account_id"), "token", ["account_id"], unique=False)
    op.create_table(
        "webhook",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("account_id", _BIG, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.String(length=64), nullable=False),
        sa.Column("created_at", _UTC, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_webhook_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
    )
    op.create_index(op.f("ix_webhook_account_id"), "webhook", ["account_id"], unique=False)
    op.create_table(
        "canonical",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("problem_id", _BIG, nullable=False),
        sa.Column("language", sa.String(length=32), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_by", _BIG, nullable=True),
        sa.Column("created_at", _UTC, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name=op.f("fk_canonical_created_by")),
        sa.ForeignKeyConstraint(["problem_id"], ["problem.id"], name=op.f("fk_canonical_problem_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canonical")),
    )
    op.create_index("uq_canonical_problem_id_sha256", "canonical", ["problem_id", "sha256"], unique=True)
    op.create_table(
        "delivery",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("webhook_id", _BIG, nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("not_before", _UTC, nullable=False),
        sa.Column("last_fault", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhook.id"], name=op.f("fk_delivery_webhook_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
    )
    op.create_index(op.f("ix_delivery_not_before"), "delivery", ["not_before"], unique=False)
    op.create_table(
        "generator",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("problem_id", _BIG, nullable=False),
        sa.Column("language", sa.String(length=32), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_by", _BIG, nullable=True),
        sa.Column("created_at", _UTC, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name=op.f("fk_generator_created_by")),
        sa.ForeignKeyConstraint(["problem_id"], ["problem.id"], name=op.f("fk_generator_problem_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generator")),
    )
    op.create_index("uq_generator_problem_id_sha256", "generator", ["problem_id", "sha256"], unique=True)
    op.create_table(
        "problem_edition",
        sa.Column("problem_id", _BIG, nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("bps", sa.Float(), nullable=False),
        sa.Column("difficulty", sa.String(length=32), nullable=False),
        sa.Column("time_ms", sa.Integer(), nullable=False),
        sa.Column("memory_kb", sa.Integer(), nullable=False),
        sa.Column("checker", sa.Text(), nullable=False),
        sa.Column("checker_language", sa.String(length=32), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("licence", sa.String(length=64), nullable=False),
        sa.Column("created_at", _UTC, nullable=False),
        sa.Column("checker_source", sa.Text(), nullable=True),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.CheckConstraint("bps > 0", name=op.f("ck_problem_edition_bps")),
        sa.ForeignKeyConstraint(["problem_id"], ["problem.id"], name=op.f("fk_problem_edition_problem_id")),
        sa.PrimaryKeyConstraint("problem_id", "edition", name=op.f("pk_problem_edition")),
    )
    op.create_table(
        "problem_score",
        sa.Column("problem_id", _BIG, nullable=False),
        sa.Column("bps", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("solved", sa.Integer(), nullable=False),
        sa.Column("ac", sa.Float(), nullable=True),
        sa.Column("cs", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["problem_id"], ["problem.id"], name=op.f("fk_problem_score_problem_id")),
        sa.PrimaryKeyConstraint("problem_id", name=op.f("pk_problem_score")),
    )
    op.create_table(
        "submission",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("sid", sa.String(length=26), nullable=False),
        sa.Column("account_id", _BIG, nullable=False),
        sa.Column("problem_id", _BIG, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("language", sa.String(length=32), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=True),
        sa.Column("holds_attempt", sa.Boolean(), nullable=False),
        sa.Column("extra", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("verdict", sa.String(length=4), nullable=True),
        sa.Column("cpu_ms", sa.Float(), nullable=True),
        sa.Column("wall_ms", sa.Float(), nullable=True),
        sa.Column("peak_kb", _BIG, nullable=True),
        sa.Column("spread_ms", sa.Float(), nullable=True),
        sa.Column("host", sa.String(length=200), nullable=True),
        sa.Column("host_class", sa.String(length=200), nullable=True),
        sa.Column("created_at", _UTC, nullable=False),
        sa.Column("judged_at", _UTC, nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'leased', 'judging', 'done', 'failed')", name=op.f("ck_submission_state")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_submission_account_id")),
        sa.ForeignKeyConstraint(["problem_id"], ["problem.id"], name=op.f("fk_submission_problem_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submission")),
        sa.UniqueConstraint("sid", name=op.f("uq_submission_sid")),
    )
    op.create_index("ix_submission_account_id_id", "submission", ["account_id", "id"], unique=False)
    op.create_index("ix_submission_problem_id_id", "submission", ["problem_id", "id"], unique=False)
    op.create_index(
        "uq_submission_idempotency_key",
        "submission",
        ["account_id", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index(
        "uq_submission_one_attempt",
        "submission",
        ["account_id", "problem_id"],
        unique=True,
        sqlite_where=sa.text("holds_attempt"),
        postgresql_where=sa.text("holds_attempt"),
    )
    op.create_table(
        "user_problem_score",
        sa.Column("problem_id", _BIG, nullable=False),
        sa.Column("account_id", _BIG, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("runtime_ms", sa.Float(), nullable=True),
        sa.Column("cs", sa.Float(), nullable=False),
        sa.Column("es", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_user_problem_score_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["problem_id"], ["problem.id"], name=op.f("fk_user_problem_score_problem_id")
        ),
        sa.PrimaryKeyConstraint("problem_id", "account_id", name=op.f("pk_user_problem_score")),
    )
    op.create_table(
        "job",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("submission_id", _BIG, nullable=True),
        sa.Column("problem_id", _BIG, nullable=False),
        sa.Column("payload", sa.JSON(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("language", sa.String(length=32), nullable=True),
        sa.Column("host_class", sa.String(length=200), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("lease", sa.String(length=64), nullable=True),
        sa.Column("lease_owner", sa.String(length=200), nullable=True),
        sa.Column("lease_until", _UTC, nullable=True),
        sa.Column("not_before", _UTC, nullable=False),
        sa.Column("created_at", _UTC, nullable=False),
        sa.CheckConstraint("kind IN ('submission', 'cases', 'generate')", name=op.f("ck_job_kind")),
        sa.ForeignKeyConstraint(["problem_id"], ["problem.id"], name=op.f("fk_job_problem_id")),
        sa.ForeignKeyConstraint(["submission_id"], ["submission.id"], name=op.f("fk_job_submission_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("submission_id", name=op.f("uq_job_submission_id")),
    )
    op.create_index("ix_job_priority_id", "job", ["priority", "id"], unique=False)
    op.create_index(
        "uq_job_cases",
        "job",
        ["problem_id"],
        unique=True,
        sqlite_where=sa.text("kind = 'cases'"),
        postgresql_where=sa.text("kind = 'cases'"),
    )
    op.create_table(
        "judgement",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("submission_id", _BIG, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(length=4), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("cpu_ms", sa.Float(), nullable=True),
        sa.Column("wall_ms", sa.Float(), nullable=True),
        sa.Column("peak_kb", _BIG, nullable=True),
        sa.Column("spread_ms", sa.Float(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("host_class", sa.String(length=200), nullable=False),
        sa.Column("judged_at", _UTC, nullable=False),
        sa.Column("replaced_at", _UTC, nullable=True),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submission.id"], name=op.f("fk_judgement_submission_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judgement")),
    )
    op.create_index(op.f("ix_judgement_submission_id"), "judgement", ["submission_id"], unique=False)
    op.create_index(
        "uq_judgement_current",
        "judgement",
        ["submission_id"],
        unique=True,
        sqlite_where=sa.text("replaced_at IS NULL"),
        postgresql_where=sa.text("replaced_at IS NULL"),
    )
    op.create_table(
        "test_case",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("problem_id", _BIG, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("retired_in", sa.Integer(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("sample", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("generator_id", _BIG, nullable=True),
        sa.Column("seed", _BIG, nullable=True),
        sa.Column("created_by", _BIG, nullable=True),
        sa.Column("created_at", _UTC, nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('pending', 'active', 'rejected')", name=op.f("ck_test_case_state")),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name=op.f("fk_test_case_created_by")),
        sa.ForeignKeyConstraint(["generator_id"], ["generator.id"], name=op.f("fk_test_case_generator_id")),
        sa.ForeignKeyConstraint(["problem_id"], ["problem.id"], name=op.f("fk_test_case_problem_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_case")),
    )
    op.create_index("uq_test_case_problem_id_ordinal", "test_case", ["problem_id", "ordinal"], unique=True)
    op.create_index(
        "uq_test_case_problem_id_sha256",
        "test_case",
        ["problem_id", "sha256"],
        unique=True,
        sqlite_where=sa.text("retired_in IS NULL"),
        postgresql_where=sa.text("retired_in IS NULL"),
    )
    op.create_table(
        "case_result",
        sa.Column("judgement_id", _BIG, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(length=4), nullable=False),
        sa.Column("cpu_ms", sa.Float(), nullable=True),
        sa.Column("wall_ms", sa.Float(), nullable=True),
        sa.Column("peak_kb", _BIG, nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["judgement_id"], ["judgement.id"], name=op.f("fk_case_result_judgement_id")),
        sa.PrimaryKeyConstraint("judgement_id", "ordinal", name=op.f("pk_case_result")),
    )

    immutable = ("event", "checkpoint")
    if op.get_bind().dialect.name == "sqlite":
        for table in immutable:
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are never changed'); END"
                )
        return
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME; END $$"
    )
    for table in immutable:
        op.execute(
            f"CREATE TRIGGER {table}_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
