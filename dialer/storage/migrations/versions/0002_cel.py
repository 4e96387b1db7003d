"""The node's own record of calls (CEL), and how far it is stored."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cel_event",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("inode", sa.BigInteger(), nullable=False),
        sa.Column("byte_offset", sa.BigInteger(), nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("digit", sa.Text(), nullable=True),
        sa.Column("cause", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("node", "inode", "byte_offset", name=op.f("cel_event_pkey")),
    )
    op.create_index("cel_event_attempt_idx", "cel_event", ["attempt_id"])
    op.create_table(
        "cel_position",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("inode", sa.BigInteger(), nullable=False),
        sa.Column("byte_offset", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("cel_position_pkey")),
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: a downgrade would lose answers")
