"""Index when deliveries ended, so that retention finds expired ones."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_HAS_ENDED = sa.text("ended_at IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "ix_delivery_ended", "delivery", ["ended_at"], sqlite_where=_HAS_ENDED, postgresql_where=_HAS_ENDED
    )


def downgrade() -> None:
    op.drop_index("ix_delivery_ended", table_name="delivery")
