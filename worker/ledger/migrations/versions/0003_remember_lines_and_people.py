"""Add imported lines, and index deliveries by user id."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "taken_line",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("taken_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_taken_line")),
    )
    op.add_column("delivery", sa.Column("user_key", sa.LargeBinary()))


def downgrade() -> None:
    op.drop_column("delivery", "user_key")
    op.drop_table("taken_line")
