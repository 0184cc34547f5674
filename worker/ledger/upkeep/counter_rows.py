"""Sum up counter rows that have the same key."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, delete, func, insert, select, true

from worker.ledger.reports.sales_by_day import MAX_THOUSANDTHS
from worker.ledger.schema import measure, rollup, sale, source_usage, tally

# Counter → the columns that make a key, those that are summed up, and those of which the largest is kept.
COUNTERS: Mapping[str, tuple[Sequence[Column[Any]], Sequence[Column[Any]], Sequence[Column[Any]]]] = {
    "tally": (
        (tally.c.hour, tally.c.source_id, tally.c.integration_id, tally.c.event_name, tally.c.outcome),
        (tally.c.n,),
        (tally.c.last_at,),
    ),
    "rollup": ((rollup.c.minute, rollup.c.integration_id, rollup.c.what), (rollup.c.n,), ()),
    "sale": (
        (sale.c.day, sale.c.integration_id, sale.c.event_name, sale.c.currency),
        (sale.c.n, sale.c.value_thousandths),
        (),
    ),
    "measure": ((measure.c.name, measure.c.label, measure.c.bound), (measure.c.n, measure.c.total), ()),
    "source_usage": (
        (source_usage.c.day, source_usage.c.source_id, source_usage.c.what),
        (source_usage.c.n,),
        (),
    ),
}


def fold_counters(connection: Connection, counter: str, most_groups: int = 500, since_hour: int = 0) -> int:
    """Sum up a counter's rows with the same key. Returns how many rows that saved.

    Tallies and rollups are read from ``since_hour`` on, the first hour that can have new rows.
    """
    condition: ColumnElement[bool] = true()
    if counter == "tally":
        condition = tally.c.hour >= since_hour
    elif counter == "rollup":
        condition = rollup.c.minute >= since_hour * 60
    elif counter == "sale":
        # Larger sums are not folded any further, so that none exceeds 63 bits.
        condition = sale.c.value_thousandths < 10 * MAX_THOUSANDTHS
    keys, sums, latest = COUNTERS[counter]
    return _fold_rows(connection, sums[0].table, keys, sums, condition, most_groups, latest)


def _fold_rows(
    connection: Connection,
    table: Table,
    keys: Sequence[Column[Any]],
    sums: Sequence[Column[Any]],
    condition: ColumnElement[bool],
    most_groups: int,
    latest: Sequence[Column[Any]] = (),
) -> int:
    """Replace rows with equal keys by one row with their sums, and with the largest of each ``latest`` column.

    Returns how many rows that saved.
    """
    crowded = (
        select(*keys, func.max(table.c.id).label("last"))
        .where(condition)
        .group_by(*keys)
        .having(func.count() > 1)
        .limit(most_groups)
    )
    saved = 0
    for row in connection.execute(crowded).all():
        these = [key == value for key, value in zip(keys, row, strict=False)] + [table.c.id <= row.last]
        removed_rows = connection.execute(delete(table).where(*these).returning(*sums, *latest)).all()
        # Empty if another process folded them meanwhile.
        if removed_rows:
            values = dict(zip((key.name for key in keys), row, strict=False))
            for number, (column, each) in enumerate(
                zip((*sums, *latest), zip(*removed_rows, strict=True), strict=True)
            ):
                amounts = [value for value in each if value is not None]
                values[column.name] = sum(amounts) if number < len(sums) else max(amounts, default=None)
            connection.execute(insert(table).values(**values))
            saved += len(removed_rows) - 1
    return saved
