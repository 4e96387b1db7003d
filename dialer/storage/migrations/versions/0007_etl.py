"""The nightly ETL: how far events are in the lake, runs with their ledger, what they wrote, what is read."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from dialer.storage import guards

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_AT = sa.DateTime(timezone=True)


class Xid8(sa.types.UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """The column's type in DDL."""
        return "xid8"


def upgrade() -> None:
    _runs()
    _lake()
    # They let a forgotten person's number go.
    for statement in guards.statements():
        op.execute(statement)


def _runs() -> None:
    op.create_table(
        "etl_tenant",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("next_xid", Xid8(), nullable=False),
        sa.Column("since", _AT, nullable=False),
        sa.Column("as_of_us", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("etl_tenant_pkey")),
    )
    op.create_table(
        "etl_lake",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("etl_lake_pkey")),
    )
    op.create_table(
        "etl_run",
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("began_at", _AT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("ended_at", _AT, nullable=True),
        sa.Column("lane", sa.Text(), nullable=True),
        sa.Column("next_xid", Xid8(), nullable=True),
        sa.Column("as_of_us", sa.BigInteger(), nullable=True),
        sa.Column("late", sa.BigInteger(), nullable=True),
        sa.Column("days", postgresql.ARRAY(sa.Date()), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("state in ('running', 'done', 'failed', 'killed')", name=op.f("etl_run_state_check")),
        sa.PrimaryKeyConstraint("run", name=op.f("etl_run_pkey")),
    )
    op.create_index("etl_run_tenant_idx", "etl_run", ["tenant_id", "began_at"])
    op.create_table(
        "etl_stage",
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("rows_in", sa.BigInteger(), nullable=False),
        sa.Column("made", postgresql.JSONB(), nullable=False),
        sa.Column("dropped", postgresql.JSONB(), nullable=False),
        sa.Column("rows_out", sa.BigInteger(), nullable=False),
        sa.Column("took_s", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["etl_run.run"], name=op.f("etl_stage_run_fkey")),
        sa.PrimaryKeyConstraint("run", "place", name=op.f("etl_stage_pkey")),
    )


def _lake() -> None:
    op.create_table(
        "etl_segment",
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.Column("taken_by", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["run"], ["etl_run.run"], name=op.f("etl_segment_run_fkey")),
        sa.ForeignKeyConstraint(["taken_by"], ["etl_run.run"], name=op.f("etl_segment_taken_by_fkey")),
        sa.PrimaryKeyConstraint("run", name=op.f("etl_segment_pkey")),
    )
    op.create_index(
        "etl_segment_open_idx", "etl_segment", ["tenant_id"], postgresql_where=sa.text("taken_by is null")
    )  # fmt: skip
    op.create_table(
        "etl_output",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("files", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["etl_run.run"], name=op.f("etl_output_run_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "dataset", "day", "run", name=op.f("etl_output_pkey")),
    )
    op.create_table(
        "etl_pointer",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "dataset", "day", "run"],
            ["etl_output.tenant_id", "etl_output.dataset", "etl_output.day", "etl_output.run"],
            name=op.f("etl_pointer_output_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "dataset", "day", name=op.f("etl_pointer_pkey")),
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: a downgrade would lose the record of the lake")
