"""Add signed_request: each signed request is accepted once."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "signed_request",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("forget_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_signed_request")),
    )
    op.create_index("ix_signed_request_forget_at", "signed_request", ["forget_at"])


def downgrade() -> None:
    op.drop_table("signed_request")
