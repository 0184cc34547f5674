"""Keep the decision about consent with each delivery."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("delivery", sa.Column("consent", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("delivery", "consent")
