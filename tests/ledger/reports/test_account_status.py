"""How many deliveries wait, and since when."""

from tests.ledger.shop import NOW, new, pend, place, write
from worker.ledger.database import Ledger
from worker.ledger.delivery import new_batches
from worker.ledger.delivery.new_batches import BatchGroup
from worker.ledger.reports import account_status
from worker.ledger.reports.account_status import WaitingDeliveries
from worker.ledger.schema import State


def test_nothing_waits_in_an_empty_ledger(ledger: Ledger) -> None:
    with ledger.read() as connection:
        assert account_status.pending_by_integration(connection) == {}
        assert account_status.in_flight_by_account(connection) == {}


def test_pending_deliveries_are_counted_with_the_oldest(ledger: Ledger) -> None:
    one, other = place(ledger), place(ledger, "src_other", "1234567890")
    pend(ledger, one, 3, accepted_at=NOW - 60)
    pend(ledger, one, 2, prefix="late", accepted_at=NOW)
    pend(ledger, other, 1, accepted_at=NOW - 5)
    write(ledger, [new(ledger, one, "failed", state=State.FAILED, reason_class="x", reason="x")])

    with ledger.read() as connection:
        found = account_status.pending_by_integration(connection)
    assert found == {one.number: WaitingDeliveries(5, NOW - 60), other.number: WaitingDeliveries(1, NOW - 5)}


def test_claimed_deliveries_are_in_flight_and_not_pending(ledger: Ledger) -> None:
    where = place(ledger)
    pend(ledger, where, 4)
    with ledger.write() as connection:
        new_batches.claim_batch(
            connection, BatchGroup(where.credential_id, where.ad_account, False, False), 10, NOW
        )

    with ledger.read() as connection:
        assert account_status.pending_by_integration(connection) == {}
        assert account_status.in_flight_by_account(connection) == {
            where.ad_account_id: WaitingDeliveries(4, NOW)
        }
