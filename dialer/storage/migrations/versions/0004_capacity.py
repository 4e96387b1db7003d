"""Many trunks and nodes: what a campaign runs on, the limits that engines share, and what a call showed and played."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "capacity_limit",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("max_concurrent", sa.Integer(), nullable=True),
        sa.CheckConstraint("scope in ('site', 'node', 'trunk')", name=op.f("capacity_limit_scope_check")),
        sa.PrimaryKeyConstraint("scope", "name", name=op.f("capacity_limit_pkey")),
    )
    op.create_table(
        "node_report",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("report", JSONB(), nullable=False),
        sa.Column("reported_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("node_report_pkey")),
    )
    op.create_table(
        "campaign_node",
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("weight", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("able", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("progress", JSONB(), nullable=True),
        sa.Column("progress_at", _AT, nullable=True),
        sa.Column("rate_share", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("rate_high", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("rate_high_until", _AT, nullable=True),
        sa.Column("rate_at", _AT, nullable=True),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("campaign_node_campaign_id_fkey")),
        sa.PrimaryKeyConstraint("campaign_id", "node", name=op.f("campaign_node_pkey")),
    )
    op.create_index("campaign_node_node_idx", "campaign_node", ["node"])
    op.execute(
        "insert into campaign_node (campaign_id, node, progress, progress_at) "
        "select campaign_id, node, progress, progress_at from campaign_run"
    )
    op.drop_index("campaign_run_node_idx", "campaign_run")
    for name in ("node", "progress", "progress_at"):
        op.drop_column("campaign_run", name)
    for column in (
        sa.Column("priority", sa.SmallInteger(), server_default=sa.text("5"), nullable=False),
        sa.Column("share", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("began_at", _AT, server_default=sa.text("clock_timestamp()"), nullable=False),
    ):
        op.add_column("campaign_run", column)
    # Each order and each `set` counts them up, and a program may give many. Of the parent: its partitions follow.
    op.alter_column("campaign_run", "orders", type_=sa.Integer())
    op.alter_column("event", "seq", type_=sa.Integer())
    op.drop_index("contact_due_idx", "contact")
    op.create_index(
        "contact_due_idx", "contact", ["campaign_id", "zones", "next_attempt_at", "id"],
        postgresql_where=sa.text("next_attempt_at is not null"),
    )  # fmt: skip
    op.add_column("contact", sa.Column("avoid_trunks", ARRAY(sa.Text()), nullable=True))
    op.add_column("attempt", sa.Column("caller_id", sa.Text(), nullable=True))
    op.add_column("attempt", sa.Column("first_audio_at", _AT, nullable=True))
    op.add_column("flow_result", sa.Column("audio_at", _AT, nullable=True))


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: a downgrade would lose answers")
