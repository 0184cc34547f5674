"""Add examples of problems in a shop's data, and find the counts of a source's events."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_COUNTS_EVENTS = sa.text("integration_id = 0")


def upgrade() -> None:
    op.create_table(
        "problem_example",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("event_name", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_problem_example")),
    )
    op.create_index("ix_problem_example_source", "problem_example", ["source_id", "problem", "event_name"])
    op.create_index("ix_problem_example_delivery", "problem_example", ["delivery_id"])
    op.create_index(
        "ix_tally_events",
        "tally",
        ["source_id", "hour"],
        sqlite_where=_COUNTS_EVENTS,
        postgresql_where=_COUNTS_EVENTS,
    )


def downgrade() -> None:
    op.drop_index("ix_tally_events", "tally")
    op.drop_table("problem_example")
