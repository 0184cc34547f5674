"""Keep sign-ins with Pinterest, and what it says of each ad account."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pinterest_login",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("access_token", sa.LargeBinary(), nullable=False),
        sa.Column("refresh_token", sa.LargeBinary(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("access_ends_at", sa.Double(), nullable=False),
        sa.Column("refresh_ends_at", sa.Double(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("refresh_at", sa.Double(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("connected_at", sa.Double(), nullable=False),
        sa.Column("connected_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pinterest_login")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "login_state",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("ends_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_login_state")),
    )
    op.create_table(
        "account_reading",
        sa.Column("ad_account", sa.Integer(), nullable=False),
        sa.Column("login_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("read_at", sa.Double(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("ad_account", name=op.f("pk_account_reading")),
    )
    op.create_table(
        "quality_score",
        sa.Column("ad_account", sa.Integer(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("lookback", sa.Text(), nullable=False),
        sa.Column("source_platform", sa.Text(), nullable=False),
        sa.Column("ingestion_source", sa.Text(), nullable=False),
        sa.Column("overall_status", sa.Text(), nullable=False),
        sa.Column("components", sa.JSON(), nullable=False),
        sa.Column("read_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint(
            "ad_account",
            "day",
            "lookback",
            "source_platform",
            "ingestion_source",
            name=op.f("pk_quality_score"),
        ),
    )


def downgrade() -> None:
    for table in ("quality_score", "account_reading", "login_state", "pinterest_login"):
        op.drop_table(table)
