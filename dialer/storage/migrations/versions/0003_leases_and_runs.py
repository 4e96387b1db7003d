"""Who may dial through a node, what operators want of campaigns, and under whose lease an attempt was claimed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from dialer.storage import guards

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_DISPOSITIONS = """'completed', 'partial', 'refused', 'no_input', 'hung_up', 'dialogue_error', 'busy', 'no_answer',
'unreachable', 'rejected', 'blocked', 'invalid_number', 'number_changed', 'trunk_refused', 'congestion', 'out_of_order',
'media_error', 'rtp_lost', 'not_placed', 'cancelled', 'returned', 'unknown'"""
_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "engine_lease",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("taken_at", _AT, nullable=False),
        sa.Column("lease_until", _AT, nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("engine_lease_pkey")),
    )
    op.create_table(
        "campaign_run",
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("wanted_at", _AT, nullable=False),
        sa.Column("wanted_by", sa.Text(), nullable=False),
        sa.Column("wanted_why", sa.Text(), nullable=True),
        sa.Column("orders", sa.SmallInteger(), nullable=False),
        sa.Column("max_concurrent", sa.Integer(), nullable=False),
        sa.Column("calls_per_second", sa.Float(), nullable=False),
        sa.Column("progress", JSONB(), nullable=True),
        sa.Column("progress_at", _AT, nullable=True),
        sa.CheckConstraint(
            "wanted in ('idle', 'running', 'paused', 'draining', 'stopping')", name=op.f("campaign_run_wanted_check")
        ),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("campaign_run_campaign_id_fkey")),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"], name=op.f("campaign_run_revision_id_fkey")),
        sa.PrimaryKeyConstraint("campaign_id", name=op.f("campaign_run_pkey")),
    )
    op.create_index(
        "campaign_run_node_idx", "campaign_run", ["node"], postgresql_where=sa.text("wanted <> 'idle'")
    )  # fmt: skip
    op.add_column("attempt", sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("attempt", sa.Column("boot", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.drop_constraint(op.f("attempt_disposition_check"), "attempt")
    op.create_check_constraint(op.f("attempt_disposition_check"), "attempt", f"disposition in ({_DISPOSITIONS})")
    # File systems use inode numbers again: another file's line at the same place is another record.
    op.drop_constraint(op.f("cel_event_pkey"), "cel_event")
    op.create_primary_key(op.f("cel_event_pkey"), "cel_event", ["node", "inode", "byte_offset", "at"])
    for statement in guards.statements():
        op.execute(sa.text(statement))


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: a downgrade would lose answers")
