"""Whatever is found says what it waits for."""

from sqlalchemy import delete as remove
from sqlalchemy import select

from tests.ledger.delivery.test_batches import Sending
from tests.ledger.shop import NOW, new, pend, place, write
from worker.ledger.database import Ledger
from worker.ledger.delivery import batches, find_deliveries
from worker.ledger.delivery.batches import Attempt
from worker.ledger.schema import State, delivery
from worker.ledger.setup import ad_accounts


def reasons(ledger: Ledger) -> set[str | None]:
    with ledger.read() as connection:
        return {one.reason for one in find_deliveries.find_after(connection, 0, 10)}


def test_a_waiting_delivery_says_why_and_until_when(ledger: Ledger) -> None:
    sending = Sending(ledger)
    credential_id = sending.shop.credential_id
    assert reasons(ledger) == {None}
    started = sending.start()
    with ledger.write() as connection:
        batches.record_attempt(
            connection, started, Attempt(NOW, 0.5, 503, "unavailable", "HTTP 503 from Pinterest")
        )
    assert reasons(ledger) == {None}
    sending.again(started, NOW + 60)
    at = "2025-06-15 15:07:40 UTC"
    assert reasons(ledger) == {f"Waits for its next try at {at}. The last one: HTTP 503 from Pinterest"}
    with ledger.write() as connection:
        ad_accounts.set_breaker(connection, credential_id, 5, NOW + 60)
    taken = "Waits: Pinterest did not take the last events of this ad account."
    assert reasons(ledger) == {f"{taken} The next try is after {at}."}
    with ledger.write() as connection:
        ad_accounts.pause_credential(connection, credential_id, "by_hand", "Legal asked.", "Anna", NOW)
    assert reasons(ledger) == {"Waits: sending to this ad account is paused. Legal asked."}


def test_the_first_delivery_since_a_time_is_found_also_where_some_are_gone(ledger: Ledger) -> None:
    shop = place(ledger)
    with ledger.read() as connection:
        assert find_deliveries.first_delivery_since(connection, NOW) == 1
    for n in range(9):
        write(ledger, [new(ledger, shop, f"e{n}", accepted_at=NOW + 10 * n)])
    with ledger.write() as connection:
        ids = list(connection.scalars(select(delivery.c.id).order_by(delivery.c.id)))
        connection.execute(remove(delivery).where(delivery.c.id.in_([ids[0], ids[3], ids[4]])))
    with ledger.read() as connection:
        found = [find_deliveries.first_delivery_since(connection, NOW + at) for at in (0, 10, 25, 41, 80, 81)]
    # Nothing is between the id that is found and the first delivery.
    left = [ids[1], ids[2], *ids[5:]]
    firsts = [next((one for one in left if one >= first), None) for first in found]
    assert firsts == [ids[1], ids[1], ids[5], ids[5], ids[8], None]


def test_deliveries_are_chosen_by_what_became_of_them_and_of_their_batch(ledger: Ledger) -> None:
    def chosen(state: str) -> int:
        with ledger.read() as connection:
            wanted = find_deliveries.Wanted(state=state)
            found = find_deliveries.find_chosen(connection, wanted, 1, 2**62, 100, newest_first=True)
        assert {one.state for one in found} <= {state}
        return len(found)

    sending = Sending(ledger)
    pend(ledger, sending.shop, 3, "w")
    assert (chosen("pending"), chosen("in_flight"), chosen("delivered")) == (3, 4, 0)
    sending.settle(sending.start())
    assert (chosen("pending"), chosen("in_flight"), chosen("delivered"), chosen("tested")) == (3, 0, 4, 0)


def test_a_delivery_that_has_ended_or_is_being_sent_waits_for_nothing(ledger: Ledger) -> None:
    sending = Sending(ledger)
    credential_id = sending.shop.credential_id
    write(ledger, [new(ledger, sending.shop, "dropped", state=State.DROPPED)])
    sending.start()
    with ledger.write() as connection:
        ad_accounts.pause_credential(connection, credential_id, "by_hand", "Legal asked.", "Anna", NOW)
    assert reasons(ledger) == {None}


def test_deliveries_of_a_visitor_are_found_from_an_id_on(ledger: Ledger) -> None:
    shop = place(ledger)
    visitors = (b"kim", b"kim", b"lea", b"kim")
    for number, key in enumerate(visitors):
        write(ledger, [new(ledger, shop, f"e{number}", anonymous_key=key)])
    with ledger.read() as connection:
        first, second, _, last = connection.scalars(select(delivery.c.id).order_by(delivery.c.id))

        def found(after_id: int) -> list[int]:
            return [one.id for one in find_deliveries.find_of_visitor(connection, [b"kim"], [], 9, after_id)]

        assert [found(0), found(first), found(last)] == [[first, second, last], [second, last], []]
