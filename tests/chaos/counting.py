"""Compare accepted events with the ledger and the sandbox."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select

from tests.integration.stack import Stack
from worker.ledger.delivery import find_deliveries
from worker.ledger.reports import books
from worker.ledger.schema import attempt
from worker.pipeline.upkeep.sweeping import _WORKER_LOST

_MOVING = ("pending", "in_flight")


@dataclass(frozen=True, slots=True)
class Standing:
    """The event ids of all deliveries by state, with their ad accounts."""

    by_state: dict[str, set[tuple[str, str]]]
    # Reason class by (ad account, event id), of the failed ones.
    reasons: dict[tuple[str, str], str]
    duplicates: int

    def of(self, state: str) -> set[tuple[str, str]]:
        """Return (ad account, event id) of the deliveries in a state."""
        return self.by_state.get(state, set())


def standing(stack: Stack) -> Standing:
    """Read the state of every delivery."""
    by_state: dict[str, set[tuple[str, str]]] = {}
    reasons: dict[tuple[str, str], str] = {}
    duplicates = last = 0
    with stack.ledger() as ledger, ledger.read() as connection:
        while found := find_deliveries.find_after(connection, last, 10_000):
            last = found[-1].id
            for one in found:
                key = (one.ad_account_id, one.event_id)
                duplicates += one.state == "duplicate"
                by_state.setdefault(one.state, set()).add(key)
                if one.state == "failed":
                    reasons[key] = one.reason_class or ""
    return Standing(by_state, reasons, duplicates)


def is_settled(stack: Stack) -> bool:
    """Return whether no delivery is pending or in flight."""
    with stack.ledger() as ledger, ledger.snapshot() as connection:
        closed = books.balance_books(connection)
    return not closed.events["inbox"] and not any(closed.deliveries.get(state) for state in _MOVING)


def copies(stack: Stack, accounts: Iterable[str]) -> Counter[tuple[str, str]]:
    """Return how often the sandbox accepted each (ad account, event id)."""
    return Counter(
        {
            (account, one["event_id"]): one["copies"]
            for account in accounts
            for one in stack.sandbox.ids(account)
        }
    )


def taken_back(stack: Stack) -> int:
    """Count the batches that a killed worker held and the sweeper took back."""
    wanted = select(func.count()).where(attempt.c.reason == _WORKER_LOST)
    with stack.ledger() as ledger, ledger.read() as connection:
        return int(connection.scalar(wanted) or 0)
