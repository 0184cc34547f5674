"""Find open events by their unique index, and all others by a small one."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_IS_OPEN = sa.text("state = 0")
_IS_NOT_OPEN = sa.text("state != 0")


def upgrade() -> None:
    op.drop_index("uq_delivery_once", table_name="delivery")
    _create_unique(["event_id", "event_name", "ad_account", "test"])
    op.drop_index("ix_delivery_event_id", table_name="delivery")
    op.create_index(
        "ix_delivery_other_event_id",
        "delivery",
        ["event_id"],
        sqlite_where=_IS_NOT_OPEN,
        postgresql_where=_IS_NOT_OPEN,
    )


def downgrade() -> None:
    op.drop_index("ix_delivery_other_event_id", table_name="delivery")
    op.create_index("ix_delivery_event_id", "delivery", ["event_id"])
    op.drop_index("uq_delivery_once", table_name="delivery")
    _create_unique(["ad_account", "test", "event_id", "event_name"])


def _create_unique(columns: list[str]) -> None:
    op.create_index(
        "uq_delivery_once",
        "delivery",
        columns,
        unique=True,
        sqlite_where=_IS_OPEN,
        postgresql_where=_IS_OPEN,
    )
