"""A lease says that a live worker processes rows, by the database's own clock."""

import pytest

from worker.ledger.database import Ledger
from worker.ledger.intake import leases


def put(ledger: Ledger, holder: str, ids: list[int], seconds: float = 60.0) -> None:
    with ledger.write() as connection:
        leases.save_lease(connection, holder, ids, seconds)


def held(ledger: Ledger, but: str = "") -> set[int]:
    with ledger.read() as connection:
        return leases.leased_ids(connection, but)


def test_rows_are_held_until_their_lease_ends(ledger: Ledger) -> None:
    put(ledger, "a", [1, 2])
    put(ledger, "b", [3])
    assert held(ledger) == {1, 2, 3}
    assert held(ledger, but="a") == {3}
    with ledger.write() as connection:
        leases.end_lease(connection, "a")
        leases.end_lease(connection, "never began")
    assert held(ledger) == {3}


def test_a_renewed_lease_holds_the_remaining_rows(ledger: Ledger) -> None:
    put(ledger, "a", [1, 2], seconds=0.0)
    assert held(ledger) == set()
    put(ledger, "a", [2])
    assert held(ledger) == {2}


def test_an_expired_lease_is_taken_once_and_a_valid_one_stays(ledger: Ledger) -> None:
    put(ledger, "dead", [7, 5], seconds=-1.0)
    put(ledger, "frozen", [6, 5], seconds=-1.0)
    put(ledger, "alive", [8])
    with ledger.write() as connection:
        assert leases.any_lease_expired(connection)
        assert leases.take_expired_leases(connection) == [5, 6, 7]
        assert not leases.any_lease_expired(connection)
        assert leases.take_expired_leases(connection) == []
    assert held(ledger) == {8}


@pytest.mark.services
def test_one_transaction_at_a_time_chooses_rows(shared_postgresql: Ledger) -> None:
    with shared_postgresql.write() as connection:
        assert leases.try_claim_lock(connection)
        with shared_postgresql.write_engine.begin() as another:
            assert not leases.try_claim_lock(another)
    with shared_postgresql.write() as connection:
        assert leases.try_claim_lock(connection)
