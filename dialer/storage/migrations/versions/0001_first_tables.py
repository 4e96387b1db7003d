"""The first tables: campaigns, contacts, attempts, answers, events."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


class Xid8(sa.types.UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """The column's type in DDL."""
        return "xid8"


def upgrade() -> None:
    op.create_table(
        "campaign",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("revision_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("campaign_pkey")),
        sa.UniqueConstraint("name", name=op.f("campaign_name_key")),
    )
    op.create_table(
        "event",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.SmallInteger(), nullable=False),
        sa.Column("schema_v", sa.SmallInteger(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("ingested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ingest_xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "occurred_at", name=op.f("event_pkey")),
        postgresql_partition_by="RANGE (occurred_at)",
    )
    op.create_table(
        "person",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("person_key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("person_pkey")),
        sa.UniqueConstraint("tenant_id", "person_key", name=op.f("person_tenant_id_person_key_key")),
    )
    op.create_table(
        "contact",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column("numbers", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("zones", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("fields", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("dials", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("wave", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("next_number", sa.Text(), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_as", sa.Text(), nullable=True),
        sa.Column("on_hold", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("(next_attempt_at is null) = (next_number is null)", name=op.f("contact_due_check")),
        sa.CheckConstraint("closed_as is null or next_attempt_at is null", name=op.f("contact_closed_check")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("contact_campaign_id_fkey")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("contact_person_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("contact_pkey")),
        sa.UniqueConstraint("campaign_id", "person_id", name=op.f("contact_campaign_id_person_id_key")),
    )
    op.create_index(
        "contact_due_idx",
        "contact",
        ["campaign_id", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("next_attempt_at is not null"),
    )
    op.create_table(
        "contact_import",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("contact_import_campaign_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("contact_import_pkey")),
        sa.UniqueConstraint("campaign_id", "sha256", name=op.f("contact_import_campaign_id_sha256_key")),
    )
    op.create_table(
        "revision",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("document", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.Column("base_dir", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("revision_campaign_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("revision_pkey")),
        sa.UniqueConstraint("campaign_id", "number", name=op.f("revision_campaign_id_number_key")),
    )
    op.create_table(
        "attempt",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("contact_id", sa.BigInteger(), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("wave", sa.SmallInteger(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("trunk", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("submitting_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ringing_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hung_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("slot_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("originate_reason", sa.SmallInteger(), nullable=True),
        sa.Column("cause", sa.SmallInteger(), nullable=True),
        sa.Column("tech_cause", sa.SmallInteger(), nullable=True),
        sa.Column("disposition", sa.Text(), nullable=True),
        sa.Column("seq", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint("(state = 'ended') = (disposition is not null)", name=op.f("attempt_verdict_check")),
        sa.CheckConstraint("(state = 'ended') = (ended_at is not null)", name=op.f("attempt_ended_check")),
        sa.CheckConstraint(
            "disposition in ('completed', 'partial', 'refused', 'no_input', 'hung_up', 'dialogue_error', 'busy', 'no_answer', 'unreachable', 'rejected', 'blocked', 'invalid_number', 'number_changed', 'trunk_refused', 'congestion', 'out_of_order', 'media_error', 'rtp_lost', 'not_placed', 'returned', 'unknown')",
            name=op.f("attempt_disposition_check"),
        ),
        sa.CheckConstraint("state <> 'ended' or slot_until is not null", name=op.f("attempt_slot_check")),
        sa.CheckConstraint(
            "state in ('submitting', 'unclear', 'accepted', 'ringing', 'answered', 'closing', 'ended')",
            name=op.f("attempt_state_check"),
        ),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("attempt_campaign_id_fkey")),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("attempt_contact_id_fkey")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("attempt_person_id_fkey")),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"], name=op.f("attempt_revision_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("attempt_pkey")),
    )
    op.create_index("attempt_campaign_idx", "attempt", ["campaign_id", "submitting_at"], unique=False)
    op.create_index("attempt_contact_idx", "attempt", ["contact_id"], unique=False)
    op.create_index(
        "attempt_open_number_idx", "attempt", ["number"], unique=True, postgresql_where=sa.text("state <> 'ended'")
    )
    op.create_index(
        "attempt_open_person_idx", "attempt", ["person_id"], unique=True, postgresql_where=sa.text("state <> 'ended'")
    )
    op.create_index("attempt_slot_idx", "attempt", ["slot_until"], unique=False)
    op.create_table(
        "open_interval",
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("zones", sa.Text(), nullable=False),
        sa.Column("opens_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closes_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("opens_at < closes_at", name=op.f("open_interval_order_check")),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"], name=op.f("open_interval_revision_id_fkey")),
        sa.PrimaryKeyConstraint("revision_id", "zones", "opens_at", name=op.f("open_interval_pkey")),
    )
    op.create_table(
        "answer",
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("visit", sa.SmallInteger(), nullable=False),
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("keys", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], name=op.f("answer_attempt_id_fkey")),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"], name=op.f("answer_revision_id_fkey")),
        sa.PrimaryKeyConstraint("attempt_id", "step", "visit", name=op.f("answer_pkey")),
    )
    op.create_table(
        "answer_try",
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("visit", sa.SmallInteger(), nullable=False),
        sa.Column("try_no", sa.SmallInteger(), nullable=False),
        sa.Column("keys", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "outcome in ('accepted', 'silence', 'not_allowed', 'out_of_range', 'too_short')",
            name=op.f("answer_try_outcome_check"),
        ),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], name=op.f("answer_try_attempt_id_fkey")),
        sa.PrimaryKeyConstraint("attempt_id", "step", "visit", "try_no", name=op.f("answer_try_pkey")),
    )
    op.create_table(
        "flow_result",
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("answers", sa.SmallInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "result in ('completed', 'partial', 'refused', 'no_input', 'hung_up', 'error')",
            name=op.f("flow_result_result_check"),
        ),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], name=op.f("flow_result_attempt_id_fkey")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("flow_result_pkey")),
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: a downgrade would lose answers")
