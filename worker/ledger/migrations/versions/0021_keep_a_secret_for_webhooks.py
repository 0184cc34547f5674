"""Keep the secret that a shop's webhooks are signed with."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("source", sa.Column("webhook_secret", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("source", "webhook_secret")
