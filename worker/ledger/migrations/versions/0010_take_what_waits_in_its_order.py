"""Order pending deliveries by an expression of their own, so that no planner scans the whole history."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_IS_PENDING = sa.text("state = 0 AND batch_id IS NULL")


def upgrade() -> None:
    op.drop_index("ix_delivery_pending", table_name="delivery")
    op.create_index(
        "ix_delivery_pending",
        "delivery",
        ["integration_id", "test", "offline", sa.text("(id + 0)"), "id"],
        sqlite_where=_IS_PENDING,
        postgresql_where=_IS_PENDING,
    )


def downgrade() -> None:
    op.drop_index("ix_delivery_pending", table_name="delivery")
    op.create_index(
        "ix_delivery_pending",
        "delivery",
        ["integration_id", "test", "offline", "id"],
        sqlite_where=_IS_PENDING,
        postgresql_where=_IS_PENDING,
    )
