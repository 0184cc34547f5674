"""Frequent statements find their rows by an index, however large the tables are."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, delete, event, text

from benchmarks.history import come_to_rest, lay_down
from tests.conftest import KEY, postgresql_database
from tests.ledger.shop import NOW, pend, place
from worker.ledger.database import Ledger
from worker.ledger.delivery import (
    batch_history,
    batches,
    failure_groups,
    failures,
    find_deliveries,
    new_batches,
)
from worker.ledger.delivery.failures import FailureFilter
from worker.ledger.delivery.new_batches import _BATCH_MAX_EVENTS, BatchGroup
from worker.ledger.intake import inbox, leases
from worker.ledger.migrate import migrate
from worker.ledger.schema import metadata
from worker.ledger.setup import ad_accounts
from worker.ledger.upkeep import alert_queries, expired

GROUP = BatchGroup(1, 1, False, False)
TURNS = [leases.InboxGroup("src_shop", 1), leases.InboxGroup("src_other", 0)]
# Indexes that may be read from end to end: their rows are live or need manual action.
OF_FEW = (
    "ix_delivery_pending",
    "ix_delivery_failed",
    "ix_batch_live",
    "ix_inbox_informs_anonymous",
    "ix_inbox_informs_user",
)
LARGE = ("delivery", "batch", "inbox", "attempt", "visitor")

STATEMENTS: dict[str, Callable[[Connection], Any]] = {
    "groups that wait": lambda connection: new_batches.pending_groups(connection, NOW),
    "a full group": lambda connection: new_batches._has_full_batch(connection, GROUP),
    "a group's last batch": lambda connection: new_batches._was_claimed_between(connection, GROUP, NOW, NOW),
    "claim": lambda connection: new_batches.claim_batch(connection, GROUP, 24, NOW),
    "start": lambda connection: batches.start_batch(connection, 1, 60, NOW),
    "members": lambda connection: batches.batch_members(connection, 1),
    "leases that ran out": lambda connection: batches.expired_batches(connection, NOW),
    "batches that are due": lambda connection: batches.take_due_batches(connection, NOW, NOW),
    "accounts in use": ad_accounts.used_credentials,
    "a page of failures": lambda connection: failures.failed_after(connection, FailureFilter(), 50),
    "failures by reason": lambda connection: failure_groups.failed_by_reason(
        connection, FailureFilter(), NOW
    ),
    "kinds of failures": lambda connection: alert_queries.failure_kinds(connection, 20_000),
    "abandoned batches": lambda connection: ad_accounts.move_batches(connection, 77, 78, NOW),
    "an event's deliveries": lambda connection: find_deliveries.find_of_event(connection, "e1", 20),
    "an order's deliveries": lambda connection: find_deliveries.find_of_order(
        connection, "e1", [b"a", b"b"], 20
    ),
    "families": lambda connection: batch_history.related_batches(connection, 1),
    "what informs": lambda connection: inbox.informing_events(connection, [b"a", b"b"], 99),
    "failures after every retry": lambda connection: alert_queries.count_failed_with(
        connection, ["no_answer"], 20_000
    ),
    "the oldest events that wait": alert_queries.oldest_event_times,
    "what retention may remove": lambda connection: expired.ended_delivery_ids(connection, NOW - 1e9, 500),
    "batches that are empty": lambda connection: expired.purge_batches(connection, NOW - 1e9, 500),
    "the span of the inbox": alert_queries.inbox_span,
    "the oldest event of each source": lambda connection: leases.waiting_groups(connection, NOW),
    "the oldest events of two sources": lambda connection: leases.oldest_ids(connection, TURNS, NOW, 20),
    "what was sent of an order": lambda connection: find_deliveries.payloads_of_orders(
        connection, [b"order"]
    ),
    "what is overdue": lambda connection: inbox.overdue_ids(connection, 7, NOW, 500),
}

HISTORY = 20_000
# Events without consent, and events that wait in the inbox.
FILTERED = """
INSERT INTO delivery (integration_id, ad_account, test, offline, event_id, event_name, source_name, event_time,
    accepted_at, size_bytes, state, ended_at)
SELECT integration_id, ad_account, test, offline, event_id || '-', event_name, source_name, event_time,
    accepted_at, 0, 2, accepted_at FROM delivery LIMIT :count
"""
# Batches of few events each; every second one has an attempt to report.
SMALL_BATCHES = """
INSERT INTO batch (ad_account, credential_id, test, offline, events, status, attempt, attempts_spent,
    unreadable_answers, not_before, hinted_at, created_at, first_tried_at, settled_at)
SELECT ad_account, 1, test, offline, 1, 2, 1, 0, 0, accepted_at, accepted_at, accepted_at, accepted_at,
    accepted_at FROM delivery LIMIT :count
"""
TRIES = """
INSERT INTO attempt (batch_id, number, at, seconds, reason_class, reason)
SELECT id, 1, created_at, 0.1, 'server_error', 'HTTP 500' FROM batch WHERE id % 2 = 0
"""
WAITING = """
INSERT INTO inbox (source_id, informs, received_at, body)
SELECT 'src_shop', false, accepted_at, '' FROM delivery LIMIT :count
"""


@contextmanager
def explained(ledger: Ledger, how: str) -> Iterator[list[Any]]:
    """Collect the plans of all queries."""
    plans: list[Any] = []

    def explain(_c: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            other = cursor.connection.cursor()
            # ANALYZE also runs the statement.
            other.execute("SAVEPOINT explained")
            other.execute(f"{how} {statement}", parameters)
            plans.extend(other.fetchall())
            other.execute("ROLLBACK TO SAVEPOINT explained")

    event.listen(ledger.write_engine, "before_cursor_execute", explain)
    yield plans
    event.remove(ledger.write_engine, "before_cursor_execute", explain)


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_frequent_statement_reads_no_large_table_from_end_to_end(sqlite_ledger: Ledger, name: str) -> None:
    pend(sqlite_ledger, place(sqlite_ledger), 1)
    with explained(sqlite_ledger, "EXPLAIN QUERY PLAN") as plans, sqlite_ledger.write() as connection:
        STATEMENTS[name](connection)
    assert plans
    scans = [plan[3] for plan in plans if plan[3].startswith("SCAN") and plan[3].split()[-1] not in OF_FEW]
    assert [plan for plan in scans if plan.split()[1] in LARGE] == []


@pytest.fixture(scope="module")
def large_postgresql(shared_postgresql: Ledger) -> Iterator[Ledger]:
    """Provide a ledger with a long history in the planner's statistics, because small tables are always scanned."""
    with shared_postgresql.write() as connection:
        connection.execute(text("; ".join(str(delete(table)) for table in metadata.tables.values())))
    ledger = Ledger(shared_postgresql.url.render_as_string(hide_password=False), (KEY,))
    ledger.vault.prepare()
    shop = place(ledger)
    lay_down(ledger, shop, HISTORY)
    pend(ledger, shop, 1)
    with ledger.write() as connection:
        for statement in (FILTERED, SMALL_BATCHES, WAITING):
            connection.execute(text(statement), {"count": HISTORY})
        connection.execute(text(TRIES))
    come_to_rest(ledger)
    yield ledger
    ledger.dispose()


@pytest.mark.services
@pytest.mark.parametrize("name", STATEMENTS)
def test_postgresql_reads_no_large_table_from_end_to_end_either(large_postgresql: Ledger, name: str) -> None:
    with (
        explained(large_postgresql, "EXPLAIN (FORMAT JSON)") as plans,
        large_postgresql.write() as connection,
    ):
        STATEMENTS[name](connection)
        connection.rollback()
    nodes = [node for (plan,) in plans for node in _nodes(plan[0]["Plan"])]
    assert nodes
    assert [node for node in nodes if node.get("Relation Name") in LARGE and _reads_all(node)] == []


# An outage, and the backlog after it.
WAITING_EVENTS = """
INSERT INTO delivery (integration_id, ad_account, test, offline, event_id, event_name, source_name, event_time,
    accepted_at, size_bytes, state)
SELECT integration_id, ad_account, test, offline, event_id || '+', event_name, source_name, event_time,
    accepted_at + 1e7, 1000, 0 FROM delivery WHERE state = 0 LIMIT :count
"""
WAITING_BATCHES = """
INSERT INTO batch (ad_account, credential_id, test, offline, events, status, attempt, attempts_spent,
    unreadable_answers, not_before, hinted_at, created_at)
SELECT 1000 + i % 100, 1000 + i % 100, false, false, 1, 0, 0, 0, 0, 0, 0, 0 FROM generate_series(1, :count) s(i)
"""
OUTAGE = (WAITING_EVENTS, WAITING_BATCHES)
ITS_END = (
    "UPDATE delivery SET batch_id = 1 + id % 20 WHERE state = 0 AND batch_id IS NULL",
    "UPDATE batch SET status = 2 WHERE status = 0",
)
UNCOUNTED = (
    "DELETE FROM pg_statistic WHERE starelid IN ('delivery'::regclass, 'batch'::regclass)",
    "UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relnamespace = 'public'::regnamespace",
)
# The state before PostgreSQL updates its statistics, if it does, and the state after that.
COUNTED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "before the outage": ((), OUTAGE),
    "in the middle of it": (OUTAGE, ()),
    "and it has ended since": (OUTAGE, ITS_END),
    "never, in an outage": ((), (*OUTAGE, *UNCOUNTED)),
    "never, in a quiet time": ((), UNCOUNTED),
}
# One batch from each end. Without other statistics, a full group is read once more.
FEW = 3 * _BATCH_MAX_EVENTS
ON_THE_WAY = ("groups that wait", "a full group", "a group's last batch", "claim", "start", "members")


@pytest.fixture(scope="module", params=COUNTED)
def stale_postgresql(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """Provide a ledger with outdated statistics: PostgreSQL updates them only after a tenth of a table has changed."""
    before, after = COUNTED[request.param]
    with postgresql_database() as url:
        ledger = Ledger(url, (KEY,))
        migrate(ledger)
        ledger.vault.prepare()
        lay_down(ledger, place(ledger), HISTORY)
        with ledger.write() as connection:
            for table in ("delivery", "batch"):
                connection.execute(text(f"ALTER TABLE {table} SET (autovacuum_enabled = false)"))
        _run(ledger, before)
        come_to_rest(ledger)
        _run(ledger, after)
        yield ledger
        ledger.dispose()


def _run(ledger: Ledger, statements: Sequence[str]) -> None:
    with ledger.write() as connection:
        for statement in statements:
            connection.execute(text(statement), {"count": HISTORY} if ":count" in statement else {})


@pytest.mark.services
@pytest.mark.parametrize("name", ON_THE_WAY)
def test_postgresql_reads_few_rows_even_with_old_statistics(stale_postgresql: Ledger, name: str) -> None:
    """With statistics of a quiet time it searched all pending rows for the rows of each batch."""
    with (
        explained(stale_postgresql, "EXPLAIN (ANALYZE, FORMAT JSON)") as plans,
        stale_postgresql.write() as connection,
    ):
        STATEMENTS[name](connection)
        connection.rollback()
    nodes = [node for (plan,) in plans for node in _nodes(plan[0]["Plan"])]
    looked_at = [(node["Node Type"], node.get("Index Name"), _rows_of(node)) for node in nodes]
    assert looked_at
    assert [one for one in looked_at if one[-1] > FEW] == []


def _rows_of(node: dict[str, Any]) -> int:
    kept, *dropped = (
        node.get(rows, 0)
        for rows in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    )
    return int((kept + sum(dropped)) * node["Actual Loops"])


def _reads_all(node: dict[str, Any]) -> bool:
    if node["Node Type"].startswith("Index"):
        return "Index Cond" not in node and node["Index Name"] not in OF_FEW
    return bool(node["Node Type"] == "Seq Scan")


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)
