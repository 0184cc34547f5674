"""Failed deliveries are kept. An operator retries or discards them; repeating it sends nothing twice."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select

from tests.ledger.shop import NOW, RATE, TOKEN, new, pend, place, stand, write
from worker.ledger.database import Ledger
from worker.ledger.delivery import failures, new_deliveries, ownership
from worker.ledger.delivery.failures import Failure, FailureFilter, RetryResult
from worker.ledger.schema import State, delivery
from worker.ledger.setup import audit_log, integrations
from worker.ledger.setup.integrations import Integration

DAY = 86_400


@pytest.fixture
def shop(ledger: Ledger) -> Integration:
    return place(ledger)


def fail(ledger: Ledger, shop: Integration, *event_ids: str, **changes: Any) -> None:
    given = {"state": State.FAILED, "reason_class": "refused", "reason": "missing email"} | changes
    write(
        ledger,
        [new(ledger, shop, event_id, **given) for event_id in event_ids],
        changes.get("accepted_at", NOW),
    )


def failed(ledger: Ledger, **chosen: Any) -> list[Failure]:
    with ledger.read() as connection:
        return failures.failed_after(connection, FailureFilter(**chosen), 100)


def retry(ledger: Ledger, chosen: list[Failure], *, force: bool = False, now: float = NOW) -> RetryResult:
    with ledger.write() as connection:
        return failures.retry_deliveries(connection, chosen, now, "kim", force=force)


def test_failures_are_shown_with_their_reason(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", warning="late")
    (one,) = failed(ledger)
    assert (one.event_id, one.reason_class, one.reason, one.warning) == (
        "e1",
        "refused",
        "missing email",
        "late",
    )
    assert (one.integration_id, one.ad_account_id, one.failed_at) == (shop.id, shop.ad_account_id, NOW)
    assert one.has_payload


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, ["e1", "e2", "e3"]),
        ({"ad_account_id": "222"}, ["e3"]),
        ({"reason_class": "unavailable"}, ["e2"]),
        ({"event_name": "signup"}, ["e2"]),
        ({"event_id": "e1"}, ["e1"]),
        ({"since": NOW + 50}, ["e3"]),
        ({"reason_class": "unavailable", "event_id": "e1"}, []),
    ],
)
def test_a_filter_chooses(
    ledger: Ledger, shop: Integration, chosen: dict[str, Any], expected: list[str]
) -> None:
    fail(ledger, shop, "e1")
    fail(ledger, shop, "e2", reason_class="unavailable", event_name="signup")
    fail(ledger, place(ledger, "src_b", ad_account_id="222"), "e3", accepted_at=NOW + 100)
    write(ledger, [new(ledger, shop, "pending")])
    assert [one.event_id for one in failed(ledger, **chosen)] == expected
    with ledger.read() as connection:
        assert failures.count_failures(connection, FailureFilter(**chosen)) == len(expected)


def test_failures_come_in_pages_and_by_number(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", "e2", "e3")
    numbers = [one.id for one in failed(ledger)]
    with ledger.read() as connection:
        assert [one.event_id for one in failures.failed_after(connection, FailureFilter(), 2)] == ["e1", "e2"]
        assert [
            one.event_id for one in failures.failed_after(connection, FailureFilter(), 2, numbers[1])
        ] == ["e3"]
    assert [one.event_id for one in failed(ledger, ids=(numbers[2],))] == ["e3"]
    assert [one.event_id for one in failed(ledger, integration_number=shop.number)] == ["e1", "e2", "e3"]


@pytest.mark.parametrize(
    ("changes", "held", "why"),
    [
        ({}, None, None),
        ({"reason_class": "unavailable"}, "it is paused", "will wait: it is paused"),
        ({"reason_class": "refused"}, "it is paused", "the same content was refused"),
        ({"reason_class": "malformed"}, None, "the same content was refused"),
        ({"reason_class": "contract"}, None, "the same content was refused"),
        ({"event_time": NOW - 7 * DAY - 1}, "it is paused", "older than 7 days"),
    ],
)
def test_what_a_retry_alone_does_not_deliver_is_known_before(
    ledger: Ledger, shop: Integration, changes: dict[str, Any], held: str | None, why: str | None
) -> None:
    fail(ledger, shop, "e1", **{"reason_class": "no_answer"} | changes)
    trouble = failed(ledger)[0].expected_trouble(NOW, held)

    assert (trouble or "").startswith(why or "")
    assert bool(trouble) == bool(why)


def test_a_retry_is_pending_again_and_remembers_why_it_failed(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", "e2")
    result = retry(ledger, failed(ledger)[:1])
    assert (result.retried, result.late, dict(result.refused)) == (1, 0, {})
    assert stand(ledger) == {"pending": 1, "failed": 1}
    with ledger.read() as connection:
        kept = select(delivery.c.warning, delivery.c.reason).where(delivery.c.event_id == "e1")
        assert tuple(connection.execute(kept).one()) == ("Retried manually after: missing email", None)
        (entry,) = audit_log.newest_audit_entries(connection, 10)
    assert (entry["actor"], entry["action"], entry["object"]) == ("kim", "failed.retry", "1 delivery")


def test_retrying_twice_changes_nothing_the_second_time(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", "e2")
    chosen = failed(ledger)
    assert retry(ledger, chosen).retried == 2
    before = stand(ledger)
    second = retry(ledger, chosen)
    assert (second.retried, sum(second.refused.values())) == (0, 2)
    assert stand(ledger) == before == {"pending": 2}
    with ledger.read() as connection:
        assert len(audit_log.newest_audit_entries(connection, 10)) == 1


def test_two_concurrent_retries_send_once(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, *(f"e{number}" for number in range(20)))
    chosen, together = failed(ledger), Barrier(3)

    def press(_: int) -> int:
        together.wait()
        return retry(ledger, chosen).retried

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(press, range(3))) == [0, 0, 20]
    assert stand(ledger) == {"pending": 20}


def test_an_event_whose_corrected_copy_was_sent_stays_failed(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1")
    write(ledger, [new(ledger, shop, "e1")])
    result = retry(ledger, failed(ledger))
    assert result.retried == 0
    assert "the same event was sent" in next(iter(result.refused))
    assert stand(ledger) == {"pending": 1, "failed": 1}


def test_of_two_failed_copies_one_is_retried(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1")
    fail(ledger, shop, "e1")
    result = retry(ledger, failed(ledger))
    assert (result.retried, sum(result.refused.values())) == (1, 1)
    assert stand(ledger) == {"pending": 1, "failed": 1}


def test_two_concurrent_retries_of_two_failed_copies_send_one(ledger: Ledger, shop: Integration) -> None:
    for _ in range(2):
        fail(ledger, shop, *(f"e{number}" for number in range(10)))
    chosen, together = failed(ledger), Barrier(2)

    def press(copies: list[Failure]) -> int:
        together.wait()
        return retry(ledger, copies).retried

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(press, [chosen[:10], chosen[10:]])) == 10
    assert stand(ledger) == {"pending": 10, "failed": 10}


def test_a_copy_that_comes_in_during_a_retry_is_seen(ledger: Ledger, shop: Integration) -> None:
    if ledger.is_sqlite:
        # SQLite has a single writer.
        return
    fail(ledger, shop, "e1")
    chosen = failed(ledger)
    with ThreadPoolExecutor(1) as pool:
        with ledger.write() as connection:
            new_deliveries.insert_deliveries(connection, ledger.vault, [new(ledger, shop, "e1")], NOW)
            pressed = pool.submit(retry, ledger, chosen)
            # Long enough for the other thread to meet the uncommitted copy.
            time.sleep(0.3)
        assert pressed.result(5).retried == 0
    assert stand(ledger) == {"pending": 1, "failed": 1}


@pytest.mark.parametrize(
    ("age", "force", "retried", "late"),
    [(0, False, 1, 0), (3_601, False, 1, 1), (7 * DAY + 1, False, 0, 0), (7 * DAY + 1, True, 1, 1)],
)
def test_late_events_are_counted_and_stale_ones_refused_unless_forced(
    ledger: Ledger, shop: Integration, age: int, force: bool, retried: int, late: int
) -> None:
    fail(ledger, shop, "e1", event_time=int(NOW) - age)
    result = retry(ledger, failed(ledger), force=force)
    assert (result.retried, result.late) == (retried, late)
    assert any("older than 7 days" in why for why in result.refused) is (retried == 0)


def test_a_failure_before_mapping_has_nothing_to_send(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", payload=None)
    assert next(iter(retry(ledger, failed(ledger), force=True).refused)).startswith("nothing to send")


def test_a_failure_without_integration_is_not_retried(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1")
    with ledger.write() as connection:
        integrations.remove_integration(connection, shop.number)
    assert next(iter(retry(ledger, failed(ledger), force=True).refused)).startswith("its integration is gone")


def test_a_failure_is_never_retried_into_another_ad_account(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1")
    with ledger.write() as connection:
        moved = replace(shop, ad_account_id="999")
        integrations.update_integration(connection, ledger.vault, moved, rate=RATE, new_token=TOKEN, now=NOW)
    assert "another ad account" in next(iter(retry(ledger, failed(ledger), force=True).refused))


def test_discarding_drops_the_payload_and_is_audited_once(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", "e2")
    ids = [one.id for one in failed(ledger)]
    for expected in (1, 0):
        with ledger.write() as connection:
            assert failures.discard_deliveries(connection, ids[:1], "a test order", NOW, "kim") == expected
    assert stand(ledger) == {"failed": 1, "discarded": 1}
    with ledger.read() as connection:
        assert failures.failed_payload(connection, ids[0]) is None
        assert failures.failed_payload(connection, ids[1]) is not None
        kept = select(delivery.c.reason_class, delivery.c.reason, delivery.c.ended_at)
        told = connection.execute(kept.where(delivery.c.id == ids[0])).one()
        (entry,) = audit_log.newest_audit_entries(connection, 10)
    assert tuple(told) == ("discarded", "a test order", NOW)
    assert (entry["action"], entry["changes"]) == (
        "failed.discard",
        {"ids": ids[:1], "reason": "a test order"},
    )


def test_pending_deliveries_are_discarded_with_their_integration(ledger: Ledger, shop: Integration) -> None:
    write(ledger, [new(ledger, shop, "e1"), new(ledger, shop, "e2")])
    fail(ledger, shop, "e3")
    with ledger.write() as connection:
        assert ownership.count_unsent(connection, shop.number).pending
        assert failures.discard_pending_deliveries(connection, shop.number, "kim", NOW, 10) == 2
        assert not ownership.count_unsent(connection, shop.number).pending
    assert stand(ledger) == {"discarded": 2, "failed": 1}


def test_pending_deliveries_of_all_kinds_are_discarded_in_steps(ledger: Ledger) -> None:
    shop, other = place(ledger), place(ledger, "src_other", ad_account_id="222")
    for number, (test, offline) in enumerate([(False, False), (True, False), (False, True)]):
        pend(ledger, shop, 2, prefix=f"k{number}", test=test, offline=offline)
    pend(ledger, other, 1, prefix="o")
    done = []
    while not done or done[-1]:
        with ledger.write() as connection:
            done.append(failures.discard_pending_deliveries(connection, shop.number, "kim", NOW, 4))
    assert done == [4, 2, 0]
    assert stand(ledger) == {"discarded": 6, "pending": 1}
