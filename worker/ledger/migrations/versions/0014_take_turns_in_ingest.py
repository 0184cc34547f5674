"""Index the oldest waiting events of each source, and add leases of inbox rows."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_WAITS = sa.text("parked_reason IS NULL")


def upgrade() -> None:
    op.create_table(
        "inbox_lease",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("inbox_ids", sa.JSON(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("holder", name=op.f("pk_inbox_lease")),
    )
    op.create_index(
        "ix_inbox_turns",
        "inbox",
        ["source_id", "trust", "received_at"],
        sqlite_where=_WAITS,
        postgresql_where=_WAITS,
    )


def downgrade() -> None:
    op.drop_index("ix_inbox_turns", table_name="inbox")
    op.drop_table("inbox_lease")
