"""Remove expired rows, in small steps."""

import time
from collections import Counter
from collections.abc import Callable

from sqlalchemy import Connection

from worker.ledger.database import Ledger
from worker.ledger.delivery import deliveries, remembered_ids
from worker.ledger.intake import debug_inputs, imported_lines, inbox, visitors
from worker.ledger.reports import data_problems, measures, order_days, quality, shop_orders, tallies
from worker.ledger.setup import logins
from worker.ledger.upkeep import alerts, retention, suppressions

_ROWS_PER_STEP = 500
# The next tick continues, so that one run does not block its queue.
_MAX_PURGE_SECONDS = 20.0
# Lets other writers take the lock between two steps.
_PAUSE_SECONDS = 0.05
_SECONDS_PER_DAY = 86_400
# Click ids are useful for about a year; traits are kept as long.
_VISITOR_DAYS = 400
# Three years, in which a request may have to be proved.
_REQUEST_DAYS = 1_095
# Match quality and data quality are needed for about a season.
QUALITY_DAYS = 92
# Events older than seven days fail anyway, so older imported lines need not be remembered.
_MIN_LINE_DAYS = 8
# The longest report, and as many days before it for comparison.
_ORDER_DAYS = 185
_GROUPS_A_FOLD = 200
_MAX_FOLDS = 50
# Minutes become hours after a day; clocks of other hosts differ.
_FOLDED_HOURS = 48
_FOLDED = "folded"


def purge_expired(ledger: Ledger, retention_days: float, now: float) -> Counter[str]:
    """Remove rows older than their retention; return how many of each kind."""
    before = now - retention_days * _SECONDS_PER_DAY
    lines_before = now - max(retention_days, _MIN_LINE_DAYS) * _SECONDS_PER_DAY
    deadline = time.monotonic() + _MAX_PURGE_SECONDS
    counts: Counter[str] = Counter()
    ledger.vault.prepare()
    while time.monotonic() < deadline:
        with ledger.read() as connection:
            ended = retention.ended_delivery_ids(connection, before, _ROWS_PER_STEP)
            old = quality.quality_ids_before(connection, _hour(now) - QUALITY_DAYS * 24, _ROWS_PER_STEP)
            old_lines = imported_lines.imported_lines_before(connection, lines_before, _ROWS_PER_STEP)
        with ledger.write() as connection:
            step = {
                "deliveries": retention.purge_deliveries(connection, ledger.vault, ended, before, now),
                "orders": shop_orders.purge_orders(connection, before, _ROWS_PER_STEP),
                "batches": retention.purge_batches(connection, before, _ROWS_PER_STEP),
                "visitors": visitors.purge_visitors(
                    connection, now - _VISITOR_DAYS * _SECONDS_PER_DAY, _ROWS_PER_STEP
                ),
                "audit": retention.purge_audit(connection, now - _VISITOR_DAYS * _SECONDS_PER_DAY),
            }
            step["person requests"] = suppressions.purge_requests(
                connection, now - _REQUEST_DAYS * _SECONDS_PER_DAY, now
            )
            step["quality"] = quality.delete_quality(connection, old)
            step["sessions"] = retention.purge_sessions(connection, now)
            step["keys"] = retention.purge_keys(connection, before)
            step["credentials"] = retention.purge_credentials(connection, before)
            step["alerts"] = alerts.purge_notices(connection, before)
            step["debug inputs"] = debug_inputs.purge_debug_inputs(connection, now)
            step["usage"] = tallies.purge_usage(connection, _hour(now) // 24 - _VISITOR_DAYS)
            step["problem examples"] = data_problems.purge_examples(connection, before)
            step["signed requests"] = inbox.purge_signed_requests(connection, now, _ROWS_PER_STEP)
            step["ids"] = remembered_ids.forget_ids(connection, now, _ROWS_PER_STEP)
            step["ids of orders"] = remembered_ids.forget_orders(connection, now, _ROWS_PER_STEP)
            step["sign-ins"] = logins.purge_logins(connection, _hour(now) // 24 - QUALITY_DAYS, now)
            step["lines"] = imported_lines.delete_imported_lines(connection, old_lines)
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
        _, last_at = retention.read_watermark(connection, _FOLDED)
    since_hour = max(0, _hour(min(last_at, now)) - _FOLDED_HOURS)
    since = float(since_hour * tallies.SECONDS_PER_HOUR)
    steps: list[Callable[[Connection], int]] = [
        lambda connection: tallies.coarsen_rollups(connection, now, _GROUPS_A_FOLD),
        lambda connection: quality.split_combinations(connection, since_hour, _GROUPS_A_FOLD),
        lambda connection: data_problems.drop_older_examples(connection, _GROUPS_A_FOLD),
        lambda connection: tallies.fold_tally_rows(connection, _GROUPS_A_FOLD, since_hour),
        lambda connection: tallies.fold_rollups(connection, _GROUPS_A_FOLD, since),
        lambda connection: deliveries.fold_sales(connection, _GROUPS_A_FOLD),
        lambda connection: measures.fold_measures(connection, _GROUPS_A_FOLD),
        lambda connection: tallies.fold_usage(connection, _GROUPS_A_FOLD),
    ]
    done = [_in_steps(ledger, step) for step in steps]
    if all(is_complete for _, is_complete in done):
        with ledger.write() as connection:
            retention.set_watermark(connection, _FOLDED, 0, now)
    return sum(saved for saved, _ in done[3:])


def sum_order_days(ledger: Ledger, now: float) -> int:
    """Sum up the days of the shop's orders that do not change any more; return how many days."""
    today, deadline = int(now // _SECONDS_PER_DAY), time.monotonic() + _MAX_PURGE_SECONDS
    with ledger.write() as connection:
        days = order_days.drop_changed_days(connection, today - _ORDER_DAYS, today + 1, now)
    done = 0
    # The latest days are looked at most often.
    for day in reversed(days):
        if time.monotonic() > deadline:
            break
        with ledger.snapshot() as connection:
            seen = order_days.version(connection)
            known = order_days.KnownDay(*shop_orders.sum_one_day(connection, day))
        with ledger.write() as connection:
            done += order_days.keep_day(connection, day, known, seen)
    return done


def _in_steps(ledger: Ledger, step: Callable[[Connection], int]) -> tuple[int, bool]:
    """Repeat a small write, with pauses for other writers; return how much it did, and whether little is left."""
    done = 0
    for _ in range(_MAX_FOLDS):
        with ledger.write() as connection:
            n = step(connection)
        done += n
        # Each group saves at least one row, so fewer rows mean that no group is left.
        if n < _GROUPS_A_FOLD:
            return done, True
        time.sleep(_PAUSE_SECONDS)
    return done, False


def _hour(now: float) -> int:
    return int(now // tallies.SECONDS_PER_HOUR)
