"""Count an order once whatever its event ids, and remember the ids of deliveries that are gone."""

import sqlalchemy as sa
from alembic import op

from worker.ledger.backfill import fill_in_steps

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_IS_OPEN = sa.text("state = 0 AND business_key IS NOT NULL")
_IS_OTHER = sa.text("state != 0 AND business_key IS NOT NULL")
# The orders that are pending or sent. Where an order was sent twice, the first delivery holds it.
_ORDERS = """
SELECT min(id) FROM delivery
WHERE state = 0 AND event_name = 'checkout' AND order_key IS NOT NULL
GROUP BY order_key, ad_account, test ORDER BY 1
"""
_FILL = "UPDATE delivery SET business_key = order_key WHERE id IN :ids"


def upgrade() -> None:
    op.add_column("delivery", sa.Column("business_key", sa.LargeBinary(), nullable=True))
    fill_in_steps(_FILL, _ORDERS, at_once=2_000)
    op.create_index(
        "uq_delivery_business",
        "delivery",
        ["business_key", "ad_account", "test"],
        unique=True,
        sqlite_where=_IS_OPEN,
        postgresql_where=_IS_OPEN,
    )
    op.create_index(
        "ix_delivery_other_business",
        "delivery",
        ["business_key"],
        sqlite_where=_IS_OTHER,
        postgresql_where=_IS_OTHER,
    )
    op.create_table(
        "remembered_id",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("accepted_at", sa.Double(), nullable=False),
        sa.Column("trust", sa.SmallInteger(), nullable=False),
        sa.Column("may_have_arrived", sa.Boolean(), nullable=False),
        sa.Column("content_key", sa.LargeBinary(), nullable=True),
        sa.Column("last_day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_remembered_id")),
    )
    op.create_index("ix_remembered_id_last_day", "remembered_id", ["last_day"])


def downgrade() -> None:
    op.drop_table("remembered_id")
    op.drop_index("ix_delivery_other_business", table_name="delivery")
    op.drop_index("uq_delivery_business", table_name="delivery")
    op.drop_column("delivery", "business_key")
