"""Failed deliveries go again by themselves after an outage."""

from typing import Any

import pytest
from sqlalchemy import select, update

from tests.ledger.shop import NOW, new, place, stand, write
from worker.ledger.database import Ledger
from worker.ledger.delivery import batches, failures, new_batches
from worker.ledger.delivery.batches import Attempt, Member, MemberResult, StartedBatch
from worker.ledger.delivery.failures import Failure, FailureFilter
from worker.ledger.delivery.new_batches import BatchGroup
from worker.ledger.reports import account_status
from worker.ledger.schema import Arrival, State, ad_account, delivery
from worker.ledger.setup import audit_log
from worker.ledger.setup.integrations import Integration
from worker.pipeline.upkeep import outage_retries

HOUR, DAY = 3_600.0, 86_400.0


@pytest.fixture
def shop(ledger: Ledger) -> Integration:
    return place(ledger)


def fail(ledger: Ledger, shop: Integration, *event_ids: str, at: float = NOW, **changes: Any) -> None:
    given = {"state": State.FAILED, "reason_class": "refused", "event_time": int(at)} | changes
    write(ledger, [new(ledger, shop, event_id, **given) for event_id in event_ids], at)


def newest_audit(ledger: Ledger) -> list[tuple[str, str]]:
    with ledger.read() as connection:
        return [(one["actor"], one["action"]) for one in audit_log.newest_audit_entries(connection, 10)]


def test_a_walk_sees_each_failure_once_in_steps(
    ledger: Ledger, shop: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage_retries, "_ROWS_PER_STEP", 2)
    fail(ledger, shop, "a", "b", "c", "d", "e")
    with ledger.read() as connection:
        first = failures.failed_after(connection, FailureFilter(), 1)[0]

    steps = outage_retries.failures_in_steps(ledger, FailureFilter(), after_id=first.id, limit=3)
    assert [[one.event_id for one in step] for step in steps] == [["b", "c"], ["d"]]


OLD = {"event_time": int(NOW - 2 * HOUR)}
# After a try that reached nobody; after one whose outcome is unknown.
KNOWN, UNKNOWN = Arrival.NO, Arrival.POSSIBLE


@pytest.mark.parametrize(
    ("changes", "arrival", "delivered_at", "expected"),
    [
        ({}, KNOWN, NOW - 1, 1),
        # Pinterest is not known to be back.
        ({}, KNOWN, None, 0),
        ({}, KNOWN, NOW - 300, 0),
        ({}, KNOWN, NOW - 299, 1),
        # Each kind of outage; young events can be deduplicated, whether they arrived or not.
        ({"reason_class": "switched_off"}, KNOWN, NOW - 1, 1),
        ({"reason_class": "unavailable"}, UNKNOWN, NOW - 1, 1),
        ({"reason_class": "no_answer"}, UNKNOWN, NOW - 1, 1),
        ({}, UNKNOWN, NOW - 1, 1),
        # What is no outage.
        ({"reason_class": "refused"}, KNOWN, NOW - 1, 0),
        ({"reason_class": "malformed"}, KNOWN, NOW - 1, 0),
        ({"reason_class": "unexpected"}, KNOWN, NOW - 1, 0),
        ({"reason_class": "stale"}, KNOWN, NOW - 1, 0),
        # Deliveries that need manual action are left alone.
        ({"reason_class": "unknown_outcome"}, UNKNOWN, NOW - 1, 0),
        # Over an hour old: only where it has not arrived for sure.
        (OLD, KNOWN, NOW - 1, 1),
        (OLD, UNKNOWN, NOW - 1, 0),
        (OLD, Arrival.SENT_AGAIN, NOW - 1, 0),
        (OLD | {"reason_class": "switched_off"}, KNOWN, NOW - 1, 1),
        (OLD | {"reason_class": "unavailable"}, UNKNOWN, NOW - 1, 0),
        # Offline events cannot be deduplicated at any age.
        ({"offline": True}, KNOWN, NOW - 1, 1),
        ({"offline": True}, UNKNOWN, NOW - 1, 0),
        # Pinterest refuses what is over seven days old.
        ({"event_time": int(NOW - 7 * DAY) - 1}, KNOWN, NOW - 1, 0),
        ({"event_time": int(NOW - 7 * DAY) + 1}, KNOWN, NOW - 1, 1),
    ],
)
def test_a_failure_goes_again_only_when_that_is_safe(
    sqlite_ledger: Ledger, changes: dict[str, Any], arrival: int, delivered_at: float | None, expected: int
) -> None:
    ledger = sqlite_ledger
    shop = place(ledger)
    given = {"reason_class": "not_reached", "event_time": int(NOW - 600)} | changes
    fail(ledger, shop, "e1", at=NOW - 300, **given)
    with ledger.write() as connection:
        connection.execute(update(delivery).values(may_have_arrived=arrival.value))
    if delivered_at is not None:
        send(ledger, shop, "up", None, delivered_at)

    assert outage_retries.retry_after_outage(ledger, NOW) == expected


def start(ledger: Ledger, shop: Integration, at: float) -> tuple[StartedBatch, list[Member]]:
    with ledger.write() as connection:
        group = BatchGroup(shop.credential_id, shop.ad_account, False, False)
        batch_id = new_batches.claim_batch(connection, group, 24, at)
        assert batch_id is not None
        connection.execute(update(ad_account).values(arrival_at=0.0))
        started = batches.start_batch(connection, batch_id, 60.0, at)
        assert isinstance(started, StartedBatch)
        return started, batches.batch_members(connection, batch_id)


def send(ledger: Ledger, shop: Integration, event_id: str, reason_class: str | None, at: float) -> None:
    """Send a batch of one event, which arrives, or fails for a reason after one try."""
    write(ledger, [new(ledger, shop, event_id, event_time=int(at))], at)
    started, members = start(ledger, shop, at)
    endings = [MemberResult(one.id, reason_class, "HTTP 503") for one in members] if reason_class else []
    with ledger.write() as connection:
        if reason_class:
            unclear = members if reason_class in ("unavailable", "unknown_outcome") else ()
            what = Attempt(at, 0.1, None, reason_class, "HTTP 503")
            batches.record_attempt(connection, started, what, unclear)
        assert batches.settle_batch(connection, started, members, endings, at)


def test_an_outage_heals_itself_once_the_account_delivers_again(ledger: Ledger, shop: Integration) -> None:
    """Another account's failures wait for their own."""
    other = place(ledger, ad_account_id="2")
    send(ledger, shop, "down", "not_reached", NOW - 2 * HOUR)
    send(ledger, other, "elsewhere", "not_reached", NOW - 2 * HOUR)
    assert outage_retries.retry_after_outage(ledger, NOW - HOUR) == 0

    send(ledger, shop, "up", None, NOW - 60)
    assert outage_retries.retry_after_outage(ledger, NOW) == 1
    assert outage_retries.retry_after_outage(ledger, NOW) == 0
    assert stand(ledger) == {"delivered": 1, "failed": 1, "pending": 1}
    assert newest_audit(ledger) == [("auto retry", "failed.retry")]
    with ledger.read() as connection:
        warning = connection.scalar(select(delivery.c.warning).where(delivery.c.event_id == "down"))
    assert warning == "Retried by itself after: HTTP 503"


def test_what_may_have_arrived_and_could_count_twice_waits_for_a_hand(
    ledger: Ledger, shop: Integration
) -> None:
    send(ledger, shop, "old", "unavailable", NOW - 2 * HOUR)
    send(ledger, shop, "unknown", "unknown_outcome", NOW - 600)
    send(ledger, shop, "young", "unavailable", NOW - 600)
    send(ledger, shop, "up", None, NOW - 60)

    assert outage_retries.retry_after_outage(ledger, NOW) == 1
    with ledger.read() as connection:
        left = failures.failed_after(connection, FailureFilter(), 10)
    assert [one.event_id for one in left] == ["old", "unknown"]


def test_the_tries_of_the_batches_that_one_was_split_from_count(ledger: Ledger, shop: Integration) -> None:
    """Its own try reached nobody, but an earlier one, as part of a larger batch, may have arrived."""
    at = NOW - 2 * HOUR
    write(ledger, [new(ledger, shop, event_id, event_time=int(at)) for event_id in ("a", "b")], at)
    whole, members = start(ledger, shop, at)
    with ledger.write() as connection:
        batches.record_attempt(connection, whole, Attempt(at, 0.1, 503, "unavailable", "HTTP 503"), members)
        ids = [one.id for one in members]
        (part_id,) = batches.split_batch(connection, whole, members, [ids], [], at, at) or []
    with ledger.write() as connection:
        part = batches.start_batch(connection, part_id, 60.0, at)
        assert isinstance(part, StartedBatch)
        batches.record_attempt(connection, part, Attempt(at, 0.1, None, "not_reached", "refused"))
        batches.settle_batch(
            connection, part, members, [MemberResult(i, "not_reached", "refused") for i in ids], at
        )
    send(ledger, shop, "up", None, NOW - 60)

    assert outage_retries.retry_after_outage(ledger, NOW) == 0


def test_what_waits_for_a_person_or_for_pinterest_holds_nothing_up_behind_it(
    ledger: Ledger, shop: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much it is: neither kind is read at all."""
    other = place(ledger, ad_account_id="2")
    fail(ledger, shop, *[f"person{n}" for n in range(50)], at=NOW - 2 * HOUR, reason_class="not_reached")
    with ledger.write() as connection:
        connection.execute(update(delivery).values(may_have_arrived=Arrival.POSSIBLE.value))
    fail(ledger, other, *[f"down{n}" for n in range(50)], at=NOW - 900, reason_class="not_reached")
    fail(ledger, shop, "behind", at=NOW - 600, reason_class="no_answer")
    send(ledger, shop, "up", None, NOW - 60)
    looked_at: list[Failure] = []
    retry = failures.retry_deliveries

    def note(connection: Any, step: list[Failure], *more: Any, **named: Any) -> Any:
        looked_at.extend(step)
        return retry(connection, step, *more, **named)

    monkeypatch.setattr(failures, "retry_deliveries", note)
    assert outage_retries.retry_after_outage(ledger, NOW) == 1
    assert [one.event_id for one in looked_at] == ["behind"]


def test_a_run_is_bounded(ledger: Ledger, shop: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage_retries, "_MAX_AUTO_RETRIES", 3)
    monkeypatch.setattr(outage_retries, "_ROWS_PER_STEP", 2)
    fail(ledger, shop, *"abcd", at=NOW - 600, reason_class="not_reached")
    send(ledger, shop, "up", None, NOW - 60)

    assert [outage_retries.retry_after_outage(ledger, NOW) for _ in range(3)] == [3, 1, 0]


def test_a_test_request_does_not_prove_that_pinterest_is_back(ledger: Ledger, shop: Integration) -> None:
    with ledger.read() as connection:
        assert account_status.last_delivered_at(connection, shop.ad_account_id, 0.0) is None
    send(ledger, shop, "up", None, NOW - 60)
    send(ledger, shop, "refused", "refused", NOW)

    with ledger.read() as connection:
        assert account_status.last_delivered_at(connection, shop.ad_account_id, 0.0) == NOW - 60
        assert account_status.last_delivered_at(connection, shop.ad_account_id, NOW - 60) is None
        assert account_status.last_delivered_at(connection, "2", 0.0) is None
