"""Count per source and day what its quotas limit."""

from collections import Counter
from collections.abc import Collection, Mapping

from sqlalchemy import Connection, delete, func, select, true

from worker.ledger import rows
from worker.ledger.reports import measures
from worker.ledger.schema import source_usage

SECONDS_A_DAY = 86_400

# New visitors, by the trust of the event that brought them.
PUBLIC_VISITORS, SIGNED_VISITORS = "public_visitors", "signed_visitors"
# Refused by a quota, or replaced by newer rows. No event and no delivery is lost.
VISITORS_REFUSED, DEBUG_INPUTS_DROPPED = "public_visitors_refused", "debug_inputs_dropped"
REFUSED = (VISITORS_REFUSED, DEBUG_INPUTS_DROPPED)


def append_usage(connection: Connection, counts: Mapping[tuple[str, str], int], now: float) -> None:
    """Append counts by (source id, what) to the current day, and add refusals to the metrics."""
    day = int(now // SECONDS_A_DAY)
    new = [
        {"day": day, "source_id": source_id, "what": what, "n": n}
        for (source_id, what), n in counts.items()
        if n
    ]
    rows.insert_all(connection, source_usage, new)
    refused: Counter[str] = Counter()
    for (_, what), n in counts.items():
        if what in REFUSED:
            refused[what] += n
    measures.append_counts(connection, measures.REFUSED_BY_QUOTA, refused)


def usage_of_source(
    connection: Connection, source_id: str, from_day: int, whats: Collection[str] = ()
) -> Counter[str]:
    """Sum a source's usage since a day (days since 1970). ``whats`` limits the sum to these."""
    used = (
        select(source_usage.c.what, func.sum(source_usage.c.n))
        .where(source_usage.c.day >= from_day, source_usage.c.source_id == source_id)
        .group_by(source_usage.c.what)
    )
    if whats:
        used = used.where(source_usage.c.what.in_(whats))
    return Counter({what: int(n) for what, n in connection.execute(used)})


def purge_usage(connection: Connection, before_day: int) -> int:
    """Delete counts before a day. Returns how many."""
    return connection.execute(delete(source_usage).where(source_usage.c.day < before_day)).rowcount


def fold_usage(connection: Connection, most_groups: int) -> int:
    """Sum up rows with the same key. Returns how many rows that saved."""
    keys = (source_usage.c.day, source_usage.c.source_id, source_usage.c.what)
    return rows.fold_rows(connection, source_usage, keys, (source_usage.c.n,), true(), most_groups)
