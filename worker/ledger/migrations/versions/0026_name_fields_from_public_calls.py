"""Name the fields of a signed event's payload that came only from public calls."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("delivery", sa.Column("public_fields", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("delivery", "public_fields")
