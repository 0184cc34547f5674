"""Remove what has been kept long enough, in small steps."""

import time
from collections import Counter
from collections.abc import Callable

from sqlalchemy import Connection

from worker.ledger.database import Ledger
from worker.ledger.delivery import deliveries
from worker.ledger.intake import debug_inputs, imported_lines, inbox, visitors
from worker.ledger.reports import measures, quality, rollups, tallies, usage
from worker.ledger.upkeep import alerts, retention

ROWS_PER_STEP = 500
# A purge gives way to the next tick rather than hold up its queue.
_MAX_PURGE_SECONDS = 20.0
# Between two steps others get at the write lock.
_PAUSE_SECONDS = 0.05
SECONDS_PER_DAY = 86_400
# A click id is worth something for about a year; so are the traits that go with it.
VISITOR_DAYS = 400
# What identifiers came with events is a question of today and of a season, not of the books.
QUALITY_DAYS = 92
# What happened longer ago than seven days fails as too old, so that a line need not be known for longer.
_MIN_LINE_DAYS = 8
_GROUPS_A_FOLD = 200
_MAX_FOLDS = 50
# Nothing is ever added to an hour that lies further back.
_FOLDED_HOURS = 48


def purge_expired(ledger: Ledger, retention_days: float, now: float) -> Counter[str]:
    """Remove what is beyond retention; return how many of each."""
    before = now - retention_days * SECONDS_PER_DAY
    lines_before = now - max(retention_days, _MIN_LINE_DAYS) * SECONDS_PER_DAY
    deadline = time.monotonic() + _MAX_PURGE_SECONDS
    counts: Counter[str] = Counter()
    while time.monotonic() < deadline:
        with ledger.read() as connection:
            ended = retention.ended_delivery_ids(connection, before, ROWS_PER_STEP)
            old = quality.quality_ids_before(connection, _hour(now) - QUALITY_DAYS * 24, ROWS_PER_STEP)
            old_lines = imported_lines.imported_lines_before(connection, lines_before, ROWS_PER_STEP)
        with ledger.write() as connection:
            step = {
                "deliveries": retention.purge_deliveries(connection, ended, before, now),
                "batches": retention.purge_batches(connection, before, ROWS_PER_STEP),
                "visitors": visitors.purge_visitors(
                    connection, now - VISITOR_DAYS * SECONDS_PER_DAY, ROWS_PER_STEP
                ),
                "audit": retention.purge_audit(connection, now - VISITOR_DAYS * SECONDS_PER_DAY),
            }
            step["quality"] = quality.delete_quality(connection, old)
            step["sessions"] = retention.purge_sessions(connection, now)
            step["keys"] = retention.purge_keys(connection, before)
            step["credentials"] = retention.purge_credentials(connection, before)
            step["alerts"] = alerts.purge_notices(connection, before)
            step["debug inputs"] = debug_inputs.purge_debug_inputs(connection, now)
            step["usage"] = usage.purge_usage(connection, _hour(now) // 24 - VISITOR_DAYS)
            step["signed requests"] = inbox.purge_signed_requests(connection, now, ROWS_PER_STEP)
            step["lines"] = imported_lines.delete_imported_lines(connection, old_lines)
        for name, n in step.items():
            counts[name] += n
        if not any(step.values()):
            break
        time.sleep(_PAUSE_SECONDS)
    return counts


def fold_counts(ledger: Ledger, now: float) -> int:
    """Sum up the latest tallies and the like of the same kind; return how many rows that saved."""
    since_hour = _hour(now) - _FOLDED_HOURS
    since = float(since_hour * tallies.SECONDS_PER_HOUR)
    _in_steps(ledger, lambda connection: rollups.coarsen_rollups(connection, now, _GROUPS_A_FOLD))
    _in_steps(ledger, lambda connection: quality.split_combinations(connection, since_hour, _GROUPS_A_FOLD))
    return (
        _in_steps(ledger, lambda connection: tallies.fold_tally_rows(connection, _GROUPS_A_FOLD, since_hour))
        + _in_steps(ledger, lambda connection: rollups.fold_rollups(connection, _GROUPS_A_FOLD, since))
        + _in_steps(ledger, lambda connection: deliveries.fold_sales(connection, _GROUPS_A_FOLD))
        + _in_steps(ledger, lambda connection: measures.fold_measures(connection, _GROUPS_A_FOLD))
        + _in_steps(ledger, lambda connection: usage.fold_usage(connection, _GROUPS_A_FOLD))
    )


def _in_steps(ledger: Ledger, step: Callable[[Connection], int]) -> int:
    """Repeat a small write, which gives way to others in between, until it finds too little to do."""
    done = 0
    for _ in range(_MAX_FOLDS):
        with ledger.write() as connection:
            n = step(connection)
        done += n
        # Each group saves a row or more, so that this one left none over.
        if n < _GROUPS_A_FOLD:
            break
        time.sleep(_PAUSE_SECONDS)
    return done


def _hour(now: float) -> int:
    return int(now // tallies.SECONDS_PER_HOUR)
