"""Delete expired rows, merge rows of counters, and sum the days of the shop's orders, in small steps."""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from worker import retention
from worker.ledger.database import Ledger
from worker.ledger.intake import imported_lines
from worker.ledger.reports import data_problems, match_quality_counts, order_days, shop_orders, tallies
from worker.ledger.setup import pinterest_connections
from worker.ledger.upkeep import counter_rows, expired, watermarks

_ROWS_PER_STEP = 500
# The next tick continues, so that one run does not block its queue.
_MAX_PURGE_SECONDS = 20.0
# Lets other writers take the lock between two steps.
_PAUSE_SECONDS = 0.05
_SECONDS_PER_DAY = 86_400
_GROUPS_A_FOLD = 200
_MAX_FOLDS = 50
# Minutes become hours after a day; clocks of other hosts differ.
_FOLDED_HOURS = 48
_FOLDED = "folded"


def purge_expired(ledger: Ledger, retention_days: float, now: float) -> Counter[str]:
    """Delete expired rows, a few hundred of each kind at a time; return how many of each kind.

    Ends after 20 seconds; the next run deletes the rest. ``retention_days`` is RETENTION_DAYS.
    """
    before = now - retention_days * _SECONDS_PER_DAY
    lines_before = now - max(retention_days, retention.LEAST_IMPORTED_LINE_DAYS) * _SECONDS_PER_DAY
    deadline = time.monotonic() + _MAX_PURGE_SECONDS
    counts: Counter[str] = Counter()
    ledger.vault.prepare()
    while time.monotonic() < deadline:
        with ledger.read() as connection:
            ended_ids = expired.ended_delivery_ids(connection, before, _ROWS_PER_STEP)
            old = match_quality_counts.quality_ids_before(
                connection, _hour(now) - retention.QUALITY_DAYS * 24, _ROWS_PER_STEP
            )
            old_lines = imported_lines.imported_lines_before(connection, lines_before, _ROWS_PER_STEP)
        with ledger.write() as connection:
            step = {
                "deliveries": expired.purge_deliveries(connection, ledger.vault, ended_ids, before, now),
                "orders": shop_orders.purge_orders(connection, before, _ROWS_PER_STEP),
                "batches": expired.purge_batches(connection, before, _ROWS_PER_STEP),
                "quality": match_quality_counts.delete_quality(connection, old),
                "sign-ins": pinterest_connections.purge_logins(
                    connection, _hour(now) // 24 - retention.QUALITY_DAYS, now
                ),
                "lines": imported_lines.delete_imported_lines(connection, old_lines),
            }
            step |= expired.purge_aged(connection, before, now, _ROWS_PER_STEP)
        for name, n in step.items():
            counts[name] += n
        if not any(step.values()):
            break
        time.sleep(_PAUSE_SECONDS)
    return counts


def fold_counts(ledger: Ledger, now: float) -> int:
    """Merge counter rows of the same key; return how many rows that saved.

    Rows are read from 48 hours before the last complete run on, so that an interruption of any length leaves none.
    """
    with ledger.read() as connection:
        _, last_at = watermarks.read_watermark(connection, _FOLDED)
    since_hour = max(0, _hour(min(last_at, now)) - _FOLDED_HOURS)
    steps: list[Callable[[Connection], int]] = [
        lambda connection: tallies.coarsen_rollups(connection, now, _GROUPS_A_FOLD),
        lambda connection: match_quality_counts.split_combinations(connection, since_hour, _GROUPS_A_FOLD),
        lambda connection: data_problems.drop_older_examples(connection, _GROUPS_A_FOLD),
    ]
    steps.extend(partial(_fold, counter, since_hour) for counter in counter_rows.COUNTERS)
    results = [_in_steps(ledger, step) for step in steps]
    if all(is_complete for _, is_complete in results):
        with ledger.write() as connection:
            watermarks.set_watermark(connection, _FOLDED, 0, now)
    return sum(saved for saved, _ in results[-len(counter_rows.COUNTERS) :])


def _fold(counter: str, since_hour: int, connection: Connection) -> int:
    return counter_rows.fold_counters(connection, counter, _GROUPS_A_FOLD, since_hour)


def sum_order_days(ledger: Ledger, now: float) -> int:
    """Store the sums of the days whose orders have changed since their sums were stored; return how many days."""
    today, deadline = int(now // _SECONDS_PER_DAY), time.monotonic() + _MAX_PURGE_SECONDS
    with ledger.write() as connection:
        days = order_days.drop_changed_days(connection, today - retention.ORDER_SUM_DAYS, today + 1, now)
    count = 0
    # The latest days are looked at most often.
    for day in reversed(days):
        if time.monotonic() > deadline:
            break
        with ledger.snapshot() as connection:
            seen = order_days.version(connection)
            day_sums = order_days.KnownDay(*shop_orders.sum_one_day(connection, day))
        with ledger.write() as connection:
            count += order_days.keep_day(connection, day, day_sums, seen)
    return count


def _in_steps(ledger: Ledger, step: Callable[[Connection], int]) -> tuple[int, bool]:
    """Repeat a small write, with pauses for other writers; return how much it did, and whether little is left."""
    count = 0
    for _ in range(_MAX_FOLDS):
        with ledger.write() as connection:
            n = step(connection)
        count += n
        # Each group saves at least one row, so fewer rows mean that no group is left.
        if n < _GROUPS_A_FOLD:
            return count, True
        time.sleep(_PAUSE_SECONDS)
    return count, False


def _hour(now: float) -> int:
    return int(now // tallies.SECONDS_PER_HOUR)
