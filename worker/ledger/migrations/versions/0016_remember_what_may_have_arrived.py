"""Remember which deliveries Pinterest may have, and for which integrations an event is parked."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# Of attempts without a clear answer, and of batches split from theirs.
_REMEMBER = """
WITH RECURSIVE tried (id) AS (
    SELECT batch_id FROM attempt
    WHERE reason_class IN ('unavailable', 'no_answer', 'unreadable', 'unexpected') OR http_status = 422
    UNION
    SELECT batch.id FROM batch JOIN tried ON batch.parent_id = tried.id
)
UPDATE delivery SET may_have_arrived = 1
WHERE batch_id IN (SELECT id FROM tried)
AND (state = 1 OR state = 0 AND batch_id IN (SELECT id FROM batch WHERE status IN (0, 1)))
"""


def upgrade() -> None:
    op.add_column(
        "delivery",
        sa.Column("may_have_arrived", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column("inbox", sa.Column("parked_for", sa.JSON(), nullable=True))
    op.execute(_REMEMBER)


def downgrade() -> None:
    op.drop_column("inbox", "parked_for")
    op.drop_column("delivery", "may_have_arrived")
