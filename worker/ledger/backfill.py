"""Fill a new column of a large table while events are written."""

from array import array
from itertools import islice

from alembic import op
from sqlalchemy import bindparam, text
from sqlalchemy.exc import DBAPIError

_DEADLOCK = "40P01"


def fill_in_steps(statement: str, ids: str, at_once: int) -> None:
    """Run an UPDATE with ``IN :ids`` for the ids that a query returns, ``at_once`` of them at a time.

    On PostgreSQL each step is a transaction: one for all rows would lock them until its end, and retention, erasures
    and retries would wait for minutes, or end it with a deadlock. Safe to repeat if the UPDATE is.
    """
    connection = op.get_bind()
    update = text(statement).bindparams(bindparam("ids", expanding=True))
    all_ids = iter(array("q", connection.execute(text(ids)).scalars()))
    step = list(islice(all_ids, at_once))
    while step:
        try:
            connection.execute(update, {"ids": step})
        except DBAPIError as error:
            # Another transaction had some of the rows in another order; now it has ended.
            if getattr(error.orig, "sqlstate", None) != _DEADLOCK:
                raise
        else:
            step = list(islice(all_ids, at_once))
