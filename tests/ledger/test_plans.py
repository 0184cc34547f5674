"""Statements that run many times a second find their rows by an index, however much is kept."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event

from tests.ledger.shop import NOW, pend, place
from worker.ledger import accounts, batches, claims, failures, families, inbox, watching
from worker.ledger.claims import Group
from worker.ledger.engine import Ledger
from worker.ledger.failures import Filter

GROUP = Group(1, 1, False, False)
LARGE = ("delivery", "batch", "inbox", "attempt", "visitor")

STATEMENTS: dict[str, Callable[[Connection], Any]] = {
    "groups that wait": lambda connection: claims.groups(connection, NOW),
    "a full group": lambda connection: claims.is_full(connection, GROUP),
    "a group's last batch": lambda connection: claims.was_claimed_between(connection, GROUP, NOW, NOW),
    "claim": lambda connection: claims.claim(connection, GROUP, 24, NOW),
    "start": lambda connection: batches.start(connection, 1, 60, NOW),
    "members": lambda connection: batches.members(connection, 1),
    "leases that ran out": lambda connection: batches.expired(connection, NOW),
    "batches that are due": lambda connection: batches.due(connection, NOW, NOW),
    "accounts in use": accounts.in_use,
    "a page of failures": lambda connection: failures.page(connection, Filter(), 50),
    "abandoned batches": lambda connection: accounts.rehome(connection, 77, 78),
    "families": lambda connection: families.of(connection, 1),
    "what informs": lambda connection: inbox.informing(connection, [b"a", b"b"], 99),
    "failures after every retry": lambda connection: watching.failed_with(connection, ["no_answer"], 20_000),
    "the oldest events that wait": watching.oldest_events,
    "the span of the inbox": watching.inbox_span,
    "what is overdue": lambda connection: inbox.overdue(connection, 7, NOW, 500),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_frequent_statement_reads_no_large_table_from_end_to_end(sqlite_ledger: Ledger, name: str) -> None:
    shop, plans = place(sqlite_ledger), list[str]()
    pend(sqlite_ledger, shop, 1)

    def explain(_c: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            other = cursor.connection.cursor()
            other.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in other.fetchall())

    event.listen(sqlite_ledger.write_engine, "before_cursor_execute", explain)
    with sqlite_ledger.write() as connection:
        STATEMENTS[name](connection)
    assert plans
    # A partial index may be read from end to end: it holds what is live.
    scans = [plan for plan in plans if plan.startswith("SCAN") and "INDEX" not in plan]
    assert [plan for plan in scans if plan.split()[1] in LARGE] == []
