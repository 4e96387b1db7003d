"""Collected events: tenants in the key, sources, tokens, dead letters, quotas, readers bound to their tenants."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_AT = sa.DateTime(timezone=True)
# A day has no policy, so that it is read through the log alone.
_DAYS = """
do $$
declare day regclass;
begin
    for day in select inhrelid from pg_inherits where inhparent = 'event'::regclass loop
        execute format('alter table %s enable row level security', day);
    end loop;
end $$
"""


def upgrade() -> None:
    _event()
    _dead()
    _collectors()
    _readers()


def _event() -> None:
    op.add_column("event", sa.Column("source", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("event", sa.Column("unknown", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.alter_column("event", "seq", nullable=True)
    op.drop_constraint("event_pkey", "event")
    op.create_primary_key("event_pkey", "event", ["tenant_id", "occurred_at", "event_id"])
    op.create_index(
        "event_ingested_at_idx", "event", ["ingested_at"],
        postgresql_using="brin", postgresql_with={"autosummarize": "on"},
    )  # fmt: skip


def _dead() -> None:
    op.create_table(
        "event_dead",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("letter_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("times", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("first_at", _AT, nullable=False),
        sa.Column("last_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "letter_id", name=op.f("event_dead_pkey")),
    )
    op.create_index("event_dead_last_at_idx", "event_dead", ["last_at"])


def _collectors() -> None:
    op.create_table(
        "collect_token",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("added_at", _AT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("revoked_at", _AT, nullable=True),
        sa.CheckConstraint("kind in ('bearer', 'webhook')", name=op.f("collect_token_kind_check")),
        sa.CheckConstraint("(kind = 'bearer') = (sha256 is not null)", name=op.f("collect_token_sha256_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("collect_token_pkey")),
    )
    op.create_table(
        "collect_usage",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "day", name=op.f("collect_usage_pkey")),
    )


def _readers() -> None:
    """Whoever is not the owner reads the tenants that are written down for its role, once it is granted to select."""
    op.create_table(
        "tenant_reader",
        sa.Column("role_name", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("role_name", "tenant_id", name=op.f("tenant_reader_pkey")),
    )
    op.execute("grant select on tenant_reader to public")
    op.execute("alter table tenant_reader enable row level security")
    op.execute("create policy own_rows on tenant_reader for select using (role_name = current_user)")
    for table in ("event", "event_dead", "collect_usage"):
        op.execute(f"alter table {table} enable row level security")
        op.execute(
            f"create policy own_tenants on {table} for select "
            "using (tenant_id in (select reader.tenant_id from tenant_reader as reader))"
        )
    op.execute(_DAYS)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: a downgrade would lose answers")
