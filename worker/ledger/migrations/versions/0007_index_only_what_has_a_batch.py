"""Index a delivery's batch only if it has one."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_HAS_ONE = sa.text("batch_id IS NOT NULL")


def upgrade() -> None:
    op.drop_index("ix_delivery_batch", table_name="delivery")
    op.create_index(
        "ix_delivery_batch", "delivery", ["batch_id"], sqlite_where=_HAS_ONE, postgresql_where=_HAS_ONE
    )


def downgrade() -> None:
    op.drop_index("ix_delivery_batch", table_name="delivery")
    op.create_index("ix_delivery_batch", "delivery", ["batch_id"])
