"""Add the trust of an event, and the keys by which two copies are compared."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 0 is public: events that the previous version accepted count as public.
    op.add_column("inbox", sa.Column("trust", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column(
        "delivery", sa.Column("trust", sa.SmallInteger(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("delivery", sa.Column("content_key", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("delivery", "content_key")
    op.drop_column("delivery", "trust")
    op.drop_column("inbox", "trust")
