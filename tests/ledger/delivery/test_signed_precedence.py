"""A public event never cancels or replaces a signed one, whatever the state of the two copies."""

import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select

from tests.ledger.shop import NOW, close, new, place, stand, write
from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.delivery import batches, failures, find_deliveries, new_batches
from worker.ledger.delivery.batches import UNKNOWN_OUTCOME, MemberResult, StartedBatch
from worker.ledger.delivery.failures import FailureFilter
from worker.ledger.delivery.new_batches import BatchGroup
from worker.ledger.delivery.new_deliveries import NewDelivery
from worker.ledger.delivery.signed_precedence import _FIRST_FAILED, _PUBLIC_REPLACED, MAY_BE_COUNTED_ONCE
from worker.ledger.schema import State, batch, delivery
from worker.ledger.setup.integrations import Integration

P, S = Trust.PUBLIC, Trust.SIGNED
PENDING, READY, TRIED, SENDING, DELIVERED, FAILED = (
    "pending",
    "ready",
    "tried",
    "sending",
    "delivered",
    "failed",
)
STATES = (PENDING, READY, TRIED, SENDING, DELIVERED, FAILED)
WORDS = {(Trust, 0): "public", (Trust, 1): "signed", (bool, 1): "same", (bool, 0): "other"}


@dataclass(frozen=True)
class Sent:
    """A batch in any state."""

    id: int
    started: StartedBatch | None


def copy(ledger: Ledger, shop: Integration, trust: Trust, value: int, **changes: Any) -> NewDelivery:
    """Return a copy of order ORD-1; its source name says who sent it."""
    name = f"{trust.name.lower()} {value}"
    content = {"content_key": b"%d" % value, "currency": "EUR", "value_thousandths": value * 1000}
    return new(
        ledger, shop, **({"event_id": "ORD-1", "source_name": name, "trust": trust} | content | changes)
    )


def bring_to(ledger: Ledger, shop: Integration, state: str) -> Sent | None:
    """Move all pending deliveries to a state."""
    if state == PENDING:
        return None
    group = BatchGroup(shop.credential_id, shop.ad_account, test=False, offline=False)
    with ledger.write() as connection:
        batch_id = new_batches.claim_batch(connection, group, 24, NOW) or 0
    if state == READY:
        return Sent(batch_id, None)
    with ledger.write() as connection:
        started = batches.start_batch(connection, batch_id, 60.0, NOW)
        assert isinstance(started, StartedBatch)
    if state == TRIED:
        with ledger.write() as connection:
            batches.requeue_batch(connection, started, NOW, spent=True)
        return Sent(batch_id, None)
    sent = Sent(batch_id, started)
    if state == DELIVERED:
        settle(ledger, sent)
    if state == FAILED:
        settle(ledger, sent, "refused")
    return sent


def settle(ledger: Ledger, sent: Sent, reason_class: str | None = None) -> None:
    assert sent.started is not None
    with ledger.write() as connection:
        members = batches.batch_members(connection, sent.id)
        endings = [MemberResult(member.id, reason_class, "no") for member in members] if reason_class else []
        assert batches.settle_batch(connection, sent.started, members, endings, NOW)


def stands(ledger: Ledger) -> dict[str, str]:
    """Return the state of each copy after the books were checked."""
    close(ledger)
    with ledger.read() as connection:
        return {found.source_name: found.state for found in find_deliveries.find_after(connection, 0, 100)}


def row(ledger: Ledger, name: str) -> Any:
    with ledger.read() as connection:
        return connection.execute(select(delivery).where(delivery.c.source_name == name)).one()


def event_counts(ledger: Ledger) -> list[int]:
    with ledger.read() as connection:
        return list(connection.scalars(select(batch.c.events).order_by(batch.c.id)))


IN_FLIGHT = "in_flight"
# (earlier trust, its state, later trust, same content) → final state of the earlier and the later copy.
TABLE = {
    # Of two with the same trust the first wins.
    **{
        (trust, state, trust, same): (IN_FLIGHT if state in (READY, TRIED, SENDING) else state, "duplicate")
        for trust in (P, S)
        for state in (PENDING, READY, TRIED, SENDING, DELIVERED)
        for same in (True, False)
    },
    # A public copy of a signed event is a duplicate.
    **{
        (S, state, P, same): (IN_FLIGHT if state in (READY, TRIED, SENDING) else state, "duplicate")
        for state in (PENDING, READY, TRIED, SENDING, DELIVERED)
        for same in (True, False)
    },
    # A signed copy replaces a public one that is not being sent.
    **{
        (P, state, S, same): ("duplicate", "pending")
        for state in (PENDING, READY, TRIED)
        for same in (True, False)
    },
    # One that is being sent or was delivered counts if its content is the same; otherwise both are delivered.
    (P, SENDING, S, True): (IN_FLIGHT, "duplicate"),
    (P, SENDING, S, False): (IN_FLIGHT, "pending"),
    (P, DELIVERED, S, True): ("delivered", "duplicate"),
    (P, DELIVERED, S, False): ("delivered", "pending"),
    # A failed delivery holds no id.
    **{
        (earlier, FAILED, later, same): ("failed", "pending")
        for earlier in (P, S)
        for later in (P, S)
        for same in (True, False)
    },
}


def test_the_table_is_complete() -> None:
    assert len(TABLE) == 2 * len(STATES) * 2 * 2


@pytest.mark.parametrize(
    ("earlier", "state", "later", "same"),
    TABLE,
    ids=lambda value: value if isinstance(value, str) else WORDS[type(value), int(value)],
)
@pytest.mark.parametrize("two_sources", [False, True], ids=["one_source", "two_sources"])
def test_of_two_copies_of_an_event(
    ledger: Ledger, earlier: Trust, state: str, later: Trust, same: bool, two_sources: bool
) -> None:
    first = place(ledger)
    second = place(ledger, "src_other") if two_sources else first
    write(ledger, [copy(ledger, first, earlier, 499, source_name="earlier")])
    bring_to(ledger, first, state)
    value = 499 if same else 1
    write(ledger, [copy(ledger, second, later, value, source_name="later")])
    assert tuple(stands(ledger).values()) == TABLE[earlier, state, later, same]


@pytest.mark.parametrize(
    ("earlier", "state", "later", "same"),
    TABLE,
    ids=lambda value: value if isinstance(value, str) else WORDS[type(value), int(value)],
)
def test_of_two_events_of_one_order(
    sqlite_ledger: Ledger, earlier: Trust, state: str, later: Trust, same: bool
) -> None:
    """The same holds whatever their event ids are."""
    shop = place(sqlite_ledger)
    of_order = {"business_key": b"order 1"}
    write(sqlite_ledger, [copy(sqlite_ledger, shop, earlier, 499, source_name="earlier", **of_order)])
    bring_to(sqlite_ledger, shop, state)
    value = 499 if same else 1
    write(
        sqlite_ledger,
        [copy(sqlite_ledger, shop, later, value, source_name="later", event_id="other", **of_order)],
    )
    assert tuple(stands(sqlite_ledger).values()) == TABLE[earlier, state, later, same]


def of_order(ledger: Ledger, shop: Integration, trust: Trust, event_id: str, order: str) -> NewDelivery:
    return copy(ledger, shop, trust, 1, event_id=event_id, source_name=event_id, business_key=order.encode())


def test_an_event_whose_id_and_order_two_others_hold_replaces_both_if_they_are_public(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [of_order(ledger, shop, P, "a", "1"), of_order(ledger, shop, P, "b", "2")])
    write(ledger, [of_order(ledger, shop, S, "a", "2") for _ in range(2)])
    assert sorted(stand(ledger).items()) == [("duplicate", 3), ("pending", 1)]


def test_a_signed_holder_of_the_order_protects_a_public_holder_of_the_id(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [of_order(ledger, shop, P, "a", "1"), of_order(ledger, shop, S, "b", "2")])
    write(ledger, [of_order(ledger, shop, S, "a", "2")])
    assert sorted(stand(ledger).items()) == [("duplicate", 1), ("pending", 2)]


def test_the_signed_event_of_an_order_is_sent_if_the_public_one_fails(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [of_order(ledger, shop, P, "a", "1")])
    sent = bring_to(ledger, shop, SENDING)
    write(ledger, [of_order(ledger, shop, S, "b", "1"), of_order(ledger, shop, S, "c", "1")])
    assert sent is not None
    settle(ledger, sent, "refused")
    assert stands(ledger) == {"a": "failed", "b": "pending", "c": "duplicate"}


def test_a_failed_delivery_is_not_retried_while_another_event_of_its_order_is_sent(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [of_order(ledger, shop, S, "a", "1"), of_order(ledger, shop, S, "z", "9")])
    bring_to(ledger, shop, FAILED)
    write(ledger, [of_order(ledger, shop, S, "b", "1")])
    with ledger.write() as connection:
        failed = failures.failed_after(connection, FailureFilter(), 9)
        assert failures.preview_retry(connection, failed, NOW).retried == 1
        assert failures.retry_deliveries(connection, failed, NOW, "kim").retried == 1
    assert stands(ledger) == {"a": "failed", "z": "pending", "b": "pending"}


@pytest.mark.parametrize(("first", "second"), [(P, S), (S, P)])
def test_of_two_copies_in_one_bulk_the_signed_one_counts(ledger: Ledger, first: Trust, second: Trust) -> None:
    shop = place(ledger)
    write(ledger, [copy(ledger, shop, first, 1), copy(ledger, shop, second, 2)])
    at = {first: 1, second: 2}
    assert stands(ledger) == {f"signed {at[S]}": "pending", f"public {at[P]}": "duplicate"}


def test_a_replaced_public_event_keeps_no_payload_and_says_why(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [copy(ledger, shop, P, 1)])
    write(ledger, [copy(ledger, shop, S, 2)])
    public = row(ledger, "public 1")
    assert (public.state, public.payload, public.reason) == (State.DUPLICATE, None, _PUBLIC_REPLACED)
    assert row(ledger, "signed 2").warning is None


def test_a_batch_goes_without_the_events_that_signed_ones_replaced(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [copy(ledger, shop, P, 1), new(ledger, shop, "e1"), new(ledger, shop, "e2")])
    sent = bring_to(ledger, shop, READY)
    write(ledger, [copy(ledger, shop, S, 2)])
    assert event_counts(ledger) == [2]
    with ledger.write() as connection:
        assert sent is not None
        assert len(batches.batch_members(connection, sent.id)) == 2
    assert stand(ledger) == {"pending": 1, "duplicate": 1, "in_flight": 2}


@pytest.mark.parametrize("state", [TRIED, SENDING, DELIVERED])
def test_a_signed_event_whose_id_was_sent_with_other_content_has_a_warning(
    ledger: Ledger, state: str
) -> None:
    shop = place(ledger)
    write(ledger, [copy(ledger, shop, P, 1)])
    bring_to(ledger, shop, state)
    done = write(ledger, [copy(ledger, shop, S, 2, warning="No size is given.")])
    assert done == {"created": 1, "contradicted": 1}
    assert row(ledger, "signed 2").warning == f"No size is given. {MAY_BE_COUNTED_ONCE}"


def test_both_are_found_by_the_id_after_a_public_event_lost_it(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [copy(ledger, shop, P, 1)])
    bring_to(ledger, shop, DELIVERED)
    write(ledger, [copy(ledger, shop, S, 2)])
    with ledger.read() as connection:
        found = find_deliveries.find_of_event(connection, "ORD-1", 10)
    assert [(one.source_name, one.event_id, one.state) for one in found] == [
        ("public 1", "ORD-1", "delivered"),
        ("signed 2", "ORD-1", "pending"),
    ]


def test_an_id_can_be_lost_repeatedly(ledger: Ledger) -> None:
    """The signed copy fails at Pinterest each time, and the next public one is delivered in between."""
    shop = place(ledger)
    for value in (10, 20, 30):
        write(ledger, [copy(ledger, shop, P, value)])
        bring_to(ledger, shop, DELIVERED)
        write(ledger, [copy(ledger, shop, S, value + 1)])
        bring_to(ledger, shop, FAILED)
    assert stands(ledger) == {
        f"{who} {value + add}": state
        for value in (10, 20, 30)
        for who, add, state in (("public", 0, "delivered"), ("signed", 1, "failed"))
    }


def test_a_signed_event_is_sent_when_the_public_copy_that_was_first_fails(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [copy(ledger, shop, P, 499)])
    sent = bring_to(ledger, shop, SENDING)
    write(ledger, [copy(ledger, shop, S, 499)])
    write(ledger, [copy(ledger, shop, S, 499, source_name="signed twice")])
    assert sent is not None
    settle(ledger, sent, "refused")
    assert stands(ledger) == {"public 499": "failed", "signed 499": "pending", "signed twice": "duplicate"}
    revived = row(ledger, "signed 499")
    assert (revived.reason, revived.ended_at, revived.warning) == (None, None, _FIRST_FAILED)
    assert bring_to(ledger, shop, DELIVERED)
    assert stands(ledger)["signed 499"] == "delivered"


@pytest.mark.parametrize("reason_class", [None, UNKNOWN_OUTCOME])
def test_a_signed_copy_stays_a_duplicate_of_what_was_or_may_have_been_delivered(
    ledger: Ledger, reason_class: str | None
) -> None:
    shop = place(ledger)
    write(ledger, [copy(ledger, shop, P, 499)])
    sent = bring_to(ledger, shop, SENDING)
    write(ledger, [copy(ledger, shop, S, 499)])
    assert sent is not None
    settle(ledger, sent, reason_class)
    assert stands(ledger)["signed 499"] == "duplicate"


def test_old_deliveries_are_compared_without_a_content_key(ledger: Ledger) -> None:
    """Deliveries of the previous version have no content key."""
    shop = place(ledger)
    write(ledger, [copy(ledger, shop, P, 499, content_key=None)])
    bring_to(ledger, shop, DELIVERED)
    write(ledger, [copy(ledger, shop, S, 499)])
    write(ledger, [copy(ledger, shop, S, 1)])
    assert stands(ledger) == {"public 499": "delivered", "signed 499": "duplicate", "signed 1": "pending"}


# Manual retries


def retry(ledger: Ledger, *names: str) -> int:
    with ledger.write() as connection:
        page = failures.failed_after(connection, FailureFilter(), 100)
        chosen = [one for one in page if one.source_name in names]
        planned = failures.preview_retry(connection, chosen, NOW).retried
        done = failures.retry_deliveries(connection, chosen, NOW, "jane").retried
    assert planned == done
    return done


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("same", [True, False], ids=["same", "other"])
def test_a_signed_failure_that_is_sent_again_follows_the_same_rules(
    ledger: Ledger, state: str, same: bool
) -> None:
    shop = place(ledger)
    write(ledger, [copy(ledger, shop, S, 499, state=State.FAILED, reason_class="r", reason="r")])
    write(ledger, [copy(ledger, shop, P, 499 if same else 1, source_name="public")])
    bring_to(ledger, shop, state)
    expected = TABLE[P, state, S, same][1] == "pending"
    assert retry(ledger, "signed 499") == int(expected)
    assert stands(ledger)["signed 499"] == ("pending" if expected else "failed")


def test_of_two_failed_copies_the_signed_one_is_sent_again(ledger: Ledger) -> None:
    shop = place(ledger)
    for trust in (P, S):
        write(ledger, [copy(ledger, shop, trust, 1, state=State.FAILED, reason_class="r", reason="r")])
    assert retry(ledger, "public 1", "signed 1") == 1
    assert stands(ledger) == {"public 1": "failed", "signed 1": "pending"}


def test_a_public_event_that_lost_its_id_is_not_sent_again(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [copy(ledger, shop, P, 1)])
    sent = bring_to(ledger, shop, SENDING)
    write(ledger, [copy(ledger, shop, S, 2)])
    assert sent is not None
    settle(ledger, sent, "refused")
    assert retry(ledger, "public 1") == 0
    assert stands(ledger) == {"public 1": "failed", "signed 2": "pending"}


# Concurrent writers


def test_five_hundred_forged_orders_cancel_none(ledger: Ledger) -> None:
    shop, other = place(ledger), place(ledger, "src_other")
    forged = [copy(ledger, other, P, 1, event_id=f"ORD-{n}", payload=b"x") for n in range(1000, 1500)]
    write(ledger, forged)
    bring_to(ledger, other, READY)
    orders = [copy(ledger, shop, S, 499, event_id=f"ORD-{n}", payload=b"x") for n in range(1200, 1300)]
    assert write(ledger, orders) == {"created": 100}
    assert stand(ledger) == {"pending": 100, "duplicate": 100, "in_flight": 400}
    assert event_counts(ledger) == [400]


@pytest.mark.parametrize("seed", [1, 2])
def test_workers_that_write_batch_and_send_at_once_keep_the_books_and_every_signed_event(
    ledger: Ledger, seed: int
) -> None:
    """Signed and forged copies come in any order while others claim and settle: no signed event is cancelled."""
    shop = place(ledger)
    dice = random.Random(seed)
    ids = [f"ORD-{number}" for number in range(60)]
    bulks: list[list[NewDelivery]] = []
    for trust in (P, S, P, S):
        copies = [copy(ledger, shop, trust, 1 if trust is P else 499, event_id=one) for one in ids]
        dice.shuffle(copies)
        bulks += [copies[start : start + 15] for start in range(0, 60, 15)]
    dice.shuffle(bulks)
    together = Barrier(5)

    def send() -> None:
        together.wait()
        for _ in range(12):
            if row_count(ledger):
                patiently(lambda: bring_to_somewhere(ledger, shop, dice))

    def run(mine: Sequence[list[NewDelivery]]) -> None:
        together.wait()
        for bulk in mine:
            patiently(lambda bulk=bulk: write(ledger, bulk))  # type: ignore[misc]

    with ThreadPoolExecutor(5) as pool:
        futures = [pool.submit(run, bulks[start::4]) for start in range(4)]
        futures.append(pool.submit(send))
        for future in futures:
            future.result()
    close(ledger)
    with ledger.read() as connection:
        found = connection.execute(select(delivery.c.event_id, delivery.c.state, delivery.c.trust)).all()
    signed = Counter(one.event_id for one in found if one.trust == S and one.state == State.OPEN)
    assert signed == Counter(ids)


def patiently(work: Any) -> None:
    """Retry what ingest retries: a lost race, and a deadlock that PostgreSQL ended."""
    for _ in range(50):
        try:
            return work()
        except Exception as error:
            if type(error).__name__ not in ("VersionConflictError", "OperationalError"):
                raise
    raise AssertionError("too many races")


def row_count(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return len(connection.execute(select(delivery.c.id).where(delivery.c.batch_id.is_(None))).all())


def bring_to_somewhere(ledger: Ledger, shop: Integration, dice: random.Random) -> None:
    group = BatchGroup(shop.credential_id, shop.ad_account, test=False, offline=False)
    with ledger.write() as connection:
        batch_id = new_batches.claim_batch(connection, group, 100, NOW)
    if batch_id is None:
        return
    with ledger.write() as connection:
        started = batches.start_batch(connection, batch_id, 60.0, NOW + 3600)
    if isinstance(started, StartedBatch):
        settle(ledger, Sent(batch_id, started))
