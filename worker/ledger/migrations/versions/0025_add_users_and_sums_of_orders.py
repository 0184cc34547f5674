"""Add users with passwords, sums of the shop's orders by day, and the time of the newest counted event."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ui_user",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("session_key", sa.LargeBinary(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("last_used_at", sa.Double(), nullable=True),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ui_user")),
        sa.UniqueConstraint("name_key", name=op.f("uq_ui_user_name_key")),
        sa.UniqueConstraint("session_key", name=op.f("uq_ui_user_session_key")),
    )
    op.create_table(
        "order_day",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("integrations", sa.Text(), nullable=False),
        sa.Column("sums", sa.JSON(), nullable=False),
        sa.Column("undelivered", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_order_day")),
    )
    op.create_index("ix_shop_order_recorded_at", "shop_order", ["recorded_at"])
    op.add_column("tally", sa.Column("last_at", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("tally", "last_at")
    op.drop_index("ix_shop_order_recorded_at", table_name="shop_order")
    op.drop_table("order_day")
    op.drop_table("ui_user")
