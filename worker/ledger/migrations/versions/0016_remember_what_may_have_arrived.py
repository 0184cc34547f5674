"""Remember which deliveries Pinterest may have, and for which integrations an event is parked."""

import sqlalchemy as sa
from alembic import op

from worker.ledger.backfill import fill_in_steps

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# The batches of attempts without a clear answer, and those split from them.
_TRIED = """
WITH RECURSIVE tried (id) AS (
    SELECT batch_id FROM attempt
    WHERE reason_class IN ('unavailable', 'no_answer', 'unreadable', 'unexpected') OR http_status = 422
    UNION
    SELECT batch.id FROM batch JOIN tried ON batch.parent_id = tried.id
)
SELECT id FROM tried
"""
_REMEMBER = """
UPDATE delivery SET may_have_arrived = 1
WHERE batch_id IN :ids
AND (state = 1 OR state = 0 AND batch_id IN (SELECT id FROM batch WHERE status IN (0, 1)))
"""


def upgrade() -> None:
    op.add_column(
        "delivery",
        sa.Column("may_have_arrived", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column("inbox", sa.Column("parked_for", sa.JSON(), nullable=True))
    fill_in_steps(_REMEMBER, _TRIED, at_once=10)


def downgrade() -> None:
    op.drop_column("inbox", "parked_for")
    op.drop_column("delivery", "may_have_arrived")
