"""A signed request is stored once, and deleted when its signature is void."""

from contextlib import suppress
from threading import Thread

from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.intake.inbox import SignedRequest
from worker.ledger.upkeep import expired


def some(*keys: bytes, forget_at: float = 100.0) -> list[SignedRequest]:
    return [SignedRequest(key, forget_at) for key in keys]


def test_only_requests_that_were_not_stored_before_are_returned(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert inbox.insert_signed_requests(connection, some(b"b", b"a", b"b")) == {b"a", b"b"}
    with ledger.write() as connection:
        assert inbox.insert_signed_requests(connection, some(b"b", b"c")) == {b"c"}
        assert inbox.insert_signed_requests(connection, []) == set()


def test_a_transaction_that_rolls_back_leaves_the_request_to_the_next(ledger: Ledger) -> None:
    with suppress(KeyError), ledger.write() as connection:
        inbox.insert_signed_requests(connection, some(b"a"))
        raise KeyError
    with ledger.write() as connection:
        assert inbox.insert_signed_requests(connection, some(b"a")) == {b"a"}


def test_of_two_concurrent_transactions_one_gets_the_request(ledger: Ledger) -> None:
    others: list[set[bytes]] = []

    def remember() -> None:
        with ledger.write() as connection:
            others.append(inbox.insert_signed_requests(connection, some(b"b", b"a")))

    thread = Thread(target=remember)
    with ledger.write() as connection:
        mine = inbox.insert_signed_requests(connection, some(b"a", b"b"))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(10)
    assert (mine, others) == ({b"a", b"b"}, [set()])


def test_expired_requests_are_deleted_a_few_at_a_time(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.insert_signed_requests(
            connection, [*some(b"a", b"b", b"c", forget_at=10.0), *some(b"d", forget_at=30.0)]
        )
    with ledger.write() as connection:
        assert [expired.purge_aged(connection, 0.0, 20.0, 2)["signed requests"] for _ in range(3)] == [
            2,
            1,
            0,
        ]
        assert inbox.insert_signed_requests(connection, some(b"a", b"d")) == {b"a"}
