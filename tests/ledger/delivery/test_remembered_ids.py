"""What counts once is counted once, also when the first copy is gone from the ledger."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.ledger.delivery.test_signed_precedence import DELIVERED, FAILED, SENDING, bring_to, settle
from tests.ledger.shop import NOW, close, new, place, stand, write
from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.delivery.new_deliveries import NewDelivery
from worker.ledger.reports import data_problems
from worker.ledger.schema import State, delivery, remembered_id
from worker.ledger.setup.integrations import Integration
from worker.ledger.upkeep import person_rows
from worker.pipeline.upkeep.purging import purge_expired

P, S = Trust.PUBLIC, Trust.SIGNED
DAY = 86_400.0
Copy = Callable[..., NewDelivery]


def copy_of(ledger: Ledger, shop: Integration, trust: Trust = S, **changes: Any) -> NewDelivery:
    return new(ledger, shop, **({"event_id": "e1", "trust": trust, "content_key": b"499"} | changes))


def erase_all(ledger: Ledger, now: float = NOW) -> None:
    with ledger.write() as connection:
        ids = list(connection.scalars(select(delivery.c.id)))
        person_rows.erase_deliveries(connection, ledger.vault, ids, now)


def remembered(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return connection.scalar(select(func.count()).select_from(remembered_id)) or 0


def reasons(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        wanted = select(delivery.c.reason).where(delivery.c.state == State.DUPLICATE.value)
        return list(connection.scalars(wanted.order_by(delivery.c.id)))


@pytest.mark.parametrize("days", [1.1, 4, 8])
def test_a_copy_of_a_purged_delivery_is_a_duplicate_that_says_when_the_first_came(
    ledger: Ledger, days: float
) -> None:
    shop = place(ledger)
    write(ledger, [copy_of(ledger, shop)])
    bring_to(ledger, shop, DELIVERED)
    later = NOW + days * DAY
    assert purge_expired(ledger, 1, later)["deliveries"] == 1
    assert write(ledger, [copy_of(ledger, shop, accepted_at=later)], later) == {"created": 1, "duplicate": 1}
    (reason,) = reasons(ledger)
    assert "was accepted before, at 2025-06-15 15:06:40 UTC" in reason


@pytest.mark.parametrize("change", [{"event_id": "e2"}, {"event_name": "lead"}, {"test": True}])
def test_another_event_is_not_taken_for_the_purged_one(ledger: Ledger, change: dict[str, Any]) -> None:
    shop = place(ledger)
    write(ledger, [copy_of(ledger, shop)])
    bring_to(ledger, shop, DELIVERED)
    purge_expired(ledger, 1, NOW + 2 * DAY)
    assert write(ledger, [copy_of(ledger, shop, **change)]) == {"created": 1}


def test_an_event_may_be_sent_after_its_first_copy_failed_and_was_purged(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [copy_of(ledger, shop, business_key=b"order 1")])
    bring_to(ledger, shop, FAILED)
    assert purge_expired(ledger, 1, NOW + 2 * DAY)["deliveries"] == 1
    assert write(ledger, [copy_of(ledger, shop, business_key=b"order 1")]) == {"created": 1}


@pytest.mark.parametrize("state", ["pending", "ready", "delivered", "failed"])
@pytest.mark.parametrize("event_id", ["e1", "other"])
def test_a_copy_of_an_erased_event_is_not_sent_again(
    sqlite_ledger: Ledger, state: str, event_id: str
) -> None:
    ledger = sqlite_ledger
    shop = place(ledger)
    write(ledger, [copy_of(ledger, shop, business_key=b"order 1")])
    bring_to(ledger, shop, state)
    erase_all(ledger)
    again = copy_of(ledger, shop, event_id=event_id, business_key=b"order 1")
    assert write(ledger, [again])["duplicate"] == 1
    close(ledger)


# (trust of the erased or purged copy, whether it was delivered, trust of the copy, same content) → pending or duplicate
AFTER = [
    (P, True, P, False, "duplicate"),
    (S, True, P, True, "duplicate"),
    (S, True, P, False, "duplicate"),
    (S, True, S, False, "duplicate"),
    (P, True, S, True, "duplicate"),
    (P, True, S, False, "contradicted"),
    (P, False, S, True, "duplicate"),
    (P, False, S, False, "created"),
    (S, False, S, False, "duplicate"),
    (S, False, P, True, "duplicate"),
]


@pytest.mark.parametrize(("first", "was_delivered", "second", "same", "outcome"), AFTER)
def test_a_public_event_that_is_gone_does_not_cancel_a_signed_one(
    sqlite_ledger: Ledger, first: Trust, was_delivered: bool, second: Trust, same: bool, outcome: str
) -> None:
    ledger = sqlite_ledger
    shop = place(ledger)
    write(ledger, [copy_of(ledger, shop, first)])
    bring_to(ledger, shop, DELIVERED if was_delivered else "pending")
    erase_all(ledger)
    done = write(ledger, [copy_of(ledger, shop, second, content_key=b"499" if same else b"1")])
    assert list(done)[-1] == outcome


def test_an_order_counts_once_in_thirty_days_and_then_again(ledger: Ledger) -> None:
    shop = place(ledger)
    for day, outcome in ((0, 0), (1, 1), (29, 1), (31, 0), (32, 1)):
        at = NOW + day * DAY
        one = copy_of(ledger, shop, event_id=f"e{day}", business_key=b"order 1", accepted_at=at)
        assert write(ledger, [one], at).get("duplicate", 0) == outcome, day
    assert "with this order id was accepted before" in reasons(ledger)[0]
    assert "with event id e0" in reasons(ledger)[0]


@pytest.mark.parametrize("days", [2, 20, 29])
def test_an_order_counts_once_after_retention_removed_it(ledger: Ledger, days: int) -> None:
    shop = place(ledger)
    write(ledger, [copy_of(ledger, shop, business_key=b"order 1")])
    bring_to(ledger, shop, DELIVERED)
    later = NOW + days * DAY
    purge_expired(ledger, 1, later)
    again = copy_of(ledger, shop, event_id="other", business_key=b"order 1", accepted_at=later)
    assert write(ledger, [again], later)["duplicate"] == 1


def test_what_is_remembered_has_an_end_and_long_retention_needs_no_memory(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [copy_of(ledger, shop, event_id=f"e{n}", business_key=b"%d" % n) for n in range(5)])
    bring_to(ledger, shop, DELIVERED)
    purge_expired(ledger, 40, NOW + 39 * DAY)
    assert (remembered(ledger), stand(ledger)) == (0, {"delivered": 5})
    purge_expired(ledger, 1, NOW + 2 * DAY)
    assert remembered(ledger) == 10
    purge_expired(ledger, 1, NOW + 12 * DAY)
    assert remembered(ledger) == 5
    purge_expired(ledger, 1, NOW + 32 * DAY)
    assert remembered(ledger) == 0


def test_the_memory_holds_no_id_in_clear(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [copy_of(ledger, shop, event_id="jane@example.com")])
    erase_all(ledger)
    with ledger.read() as connection:
        assert "jane" not in repr(connection.execute(select(remembered_id)).all())


def test_a_second_copy_says_which_event_it_repeats_and_names_another_source(ledger: Ledger) -> None:
    one, other = place(ledger), place(ledger, "src_other")
    write(ledger, [copy_of(ledger, one)])
    write(ledger, [copy_of(ledger, one), copy_of(ledger, other, warning="No size.")])
    with ledger.read() as connection:
        wanted = select(delivery.c.reason, delivery.c.warning).order_by(
            delivery.c.integration_id, delivery.c.id
        )
        (_, first), second, third = connection.execute(wanted).all()
    assert first is None
    assert second == ("An event with this id and name was accepted before, at 2025-06-15 15:06:40 UTC.", None)
    assert third.warning.startswith("No size. Another source of this ad account sent an event with this id")
    with ledger.read() as connection:
        counted = data_problems.count_problems(connection, [0])
    assert [(one.source_id, one.problem) for one in counted] == [("src_other", "event_id_of_other_source")]


def test_an_order_that_is_being_sent_again_after_a_failure_counts_once(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [copy_of(ledger, shop, business_key=b"order 1")])
    sent = bring_to(ledger, shop, SENDING)
    assert write(ledger, [copy_of(ledger, shop, event_id="b", business_key=b"order 1")])["duplicate"] == 1
    assert sent is not None
    settle(ledger, sent, "refused")
    assert write(ledger, [copy_of(ledger, shop, event_id="c", business_key=b"order 1")]) == {"created": 1}
