"""Keep the requests of persons about their data, and who is suppressed."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "person_request",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, nullable=False
        ),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("keys", sa.JSON(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_person_request_at", "person_request", ["at"])
    op.create_table(
        "suppression",
        sa.Column("key", sa.LargeBinary(), primary_key=True, nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("request_id", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_suppression_request_id", "suppression", ["request_id"])


def downgrade() -> None:
    op.drop_table("suppression")
    op.drop_table("person_request")
