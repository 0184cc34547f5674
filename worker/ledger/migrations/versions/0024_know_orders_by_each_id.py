"""Know an order by each of its ids."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

# The orders that count already, each under the one id by which it was known. They are remembered for 31 days.
# After an interruption the statement is repeated.
_FILL = """
INSERT INTO order_identity (key, business_key, last_day)
SELECT business_key, business_key, max(CAST(accepted_at / 86400 AS INTEGER)) + 31 FROM delivery
WHERE state = 0 AND event_name = 'checkout' AND business_key IS NOT NULL
GROUP BY business_key
ON CONFLICT (key) DO NOTHING
"""


def upgrade() -> None:
    op.create_table(
        "order_identity",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("business_key", sa.LargeBinary(), nullable=False),
        sa.Column("system_key", sa.LargeBinary(), nullable=True),
        sa.Column("amount_key", sa.LargeBinary(), nullable=True),
        sa.Column("last_day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_order_identity")),
    )
    op.create_index("ix_order_identity_last_day", "order_identity", ["last_day"])
    op.execute(_FILL)


def downgrade() -> None:
    op.drop_table("order_identity")
