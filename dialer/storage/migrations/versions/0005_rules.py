"""Who may be called, when, and again: do-not-call lists, caps, the audit, where a contact came from."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _lists()
    _audit()
    _columns()
    _number_base()
    op.create_index("attempt_number_idx", "attempt", ["number", "submitting_at"])
    op.create_index("attempt_person_idx", "attempt", ["person_id", "submitting_at"])
    op.drop_index("contact_due_idx", "contact")
    op.create_index(
        "contact_due_idx", "contact", ["campaign_id", "zones", "priority", "next_attempt_at", "id"],
        postgresql_where=sa.text("next_attempt_at is not null"),
    )  # fmt: skip


def _lists() -> None:
    op.create_table(
        "dnc",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column("campaign_id", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempt_id", sa.Uuid(), nullable=True),
        sa.Column("added_at", _AT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("until", _AT, nullable=True),
        sa.CheckConstraint("scope in ('site', 'tenant', 'campaign')", name=op.f("dnc_scope_check")),
        sa.CheckConstraint("source in ('command', 'import', 'call')", name=op.f("dnc_source_check")),
        sa.CheckConstraint("(scope = 'site') = (tenant_id is null)", name=op.f("dnc_tenant_check")),
        sa.CheckConstraint("(scope = 'campaign') = (campaign_id is not null)", name=op.f("dnc_campaign_check")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("dnc_campaign_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("dnc_pkey")),
    )
    op.create_index(
        "dnc_number_idx", "dnc", ["number", "scope", "tenant_id", "campaign_id"], unique=True,
        postgresql_nulls_not_distinct=True,
    )  # fmt: skip


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", _AT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column("campaign_id", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("detail", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_pkey")),
    )
    op.create_index("audit_campaign_idx", "audit", ["campaign_id", "at"])
    op.execute("""
        create function audit_stays() returns trigger language plpgsql as $$
        begin raise exception 'the audit is only ever added to'; end $$
    """)
    op.execute("""
        create trigger audit_stays before update or delete or truncate on audit
        for each statement execute function audit_stays()
    """)


def _columns() -> None:
    added: dict[str, list[sa.Column[Any]]] = {
        "revision": [
            sa.Column("accepted_by", sa.Text(), nullable=True),
            sa.Column("note", sa.Text(), nullable=True),
        ],
        "contact_import": [
            sa.Column("changed", sa.Integer(), server_default=sa.text("0"), nullable=False),
            sa.Column("unchanged", sa.Integer(), server_default=sa.text("0"), nullable=False),
            sa.Column("withdrawn", sa.Integer(), server_default=sa.text("0"), nullable=False),
        ],
        "contact": [
            sa.Column("priority", sa.SmallInteger(), server_default=sa.text("5"), nullable=False),
            sa.Column("import_id", sa.BigInteger(), nullable=True),
            sa.Column("line", sa.Integer(), nullable=True),
            sa.Column("waits_for", sa.Text(), nullable=True),
            sa.Column("withdrawn_at", _AT, nullable=True),
            sa.Column("resumes_at", _AT, nullable=True),
            sa.Column("seq", sa.Integer(), server_default=sa.text("0"), nullable=False),
        ],
        "attempt": [
            sa.Column("counted", sa.Boolean(), nullable=True),
        ],
        "flow_result": [
            sa.Column("callback_at", _AT, nullable=True),
            sa.Column("opted_out", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        ],
    }
    for table, columns in added.items():
        for column in columns:
            op.add_column(table, column)
    op.create_foreign_key(op.f("contact_import_id_fkey"), "contact", "contact_import", ["import_id"], ["id"])
    op.create_check_constraint(
        op.f("contact_waits_for_check"), "contact", "waits_for in ('cap', 'gap', 'dnc', 'callback')"
    )  # fmt: skip


def _number_base() -> None:
    """A contact follows its number base, whoever makes it due: a verdict that a call brought, an operator, a rule."""
    op.execute("""
        create function contact_follows_base() returns trigger language plpgsql as $$
        begin
          if new.withdrawn_at is not null then
            new.resumes_at := new.next_attempt_at;
            new.next_attempt_at := null;
            new.next_number := null;
            new.closed_as := 'withdrawn';
          else
            new.next_number := new.numbers[1];
          end if;
          return new;
        end $$
    """)
    op.execute("""
        create trigger contact_follows_base before update on contact for each row
        when (new.next_attempt_at is not null
              and (new.withdrawn_at is not null or new.next_number <> all (new.numbers)))
        execute function contact_follows_base()
    """)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: a downgrade would lose answers")
