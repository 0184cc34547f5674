"""Add the data of charts and sales reports, and debug inputs."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# SQLite only generates ids in a column of type INTEGER.
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column(
        "source", sa.Column("debug_until", sa.Double(), server_default=sa.text("0"), nullable=False)
    )
    for name in ("rate_minute", "rate_requests", "rate_requests_before"):
        column = sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
        op.add_column("ad_account", column)
    op.add_column("delivery", sa.Column("day", sa.Integer()))
    op.add_column("delivery", sa.Column("currency", sa.Text()))
    op.add_column("delivery", sa.Column("value_thousandths", sa.BigInteger()))
    _debug_input()
    _rollup()
    _sale()


def _debug_input() -> None:
    op.create_table(
        "debug_input",
        sa.Column("id", _ID, nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("forget_at", sa.Double(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("anonymous_key", sa.LargeBinary()),
        sa.Column("user_key", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_debug_input")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_debug_input_source", "debug_input", ["source_id", "id"])
    op.create_index("ix_debug_input_event_id", "debug_input", ["event_id"])


def _rollup() -> None:
    op.create_table(
        "rollup",
        sa.Column("id", _ID, nullable=False),
        sa.Column("minute", sa.Integer(), nullable=False),
        sa.Column("integration_id", sa.Integer(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollup")),
    )
    op.create_index(op.f("ix_rollup_minute"), "rollup", ["minute"])
    # Keep the hourly counts on the charts.
    op.execute(
        "INSERT INTO rollup (minute, integration_id, what, n) "
        "SELECT hour * 60, integration_id, outcome, SUM(n) FROM tally "
        "WHERE outcome IN ('delivered', 'tested', 'failed', 'filtered') AND NOT EXISTS (SELECT 1 FROM rollup) "
        "GROUP BY hour, integration_id, outcome"
    )


def _sale() -> None:
    op.create_table(
        "sale",
        sa.Column("id", _ID, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("integration_id", sa.Integer(), nullable=False),
        sa.Column("event_name", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("value_thousandths", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sale")),
    )
    op.create_index(op.f("ix_sale_day"), "sale", ["day"])


def downgrade() -> None:
    for table in ("sale", "rollup", "debug_input"):
        op.drop_table(table)
    for name in ("value_thousandths", "currency", "day"):
        op.drop_column("delivery", name)
    for name in ("rate_requests_before", "rate_requests", "rate_minute"):
        op.drop_column("ad_account", name)
    op.drop_column("source", "debug_until")
