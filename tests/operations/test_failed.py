"""Failed deliveries are sent again or discarded in bounded steps, each once."""

from typing import Any

import pytest

from tests.ledger.shop import NOW, close, new, place, stand, write
from worker.ledger.database import Ledger
from worker.ledger.delivery.failures import FailureFilter
from worker.ledger.schema import State
from worker.ledger.setup import ad_accounts, audit_log
from worker.ledger.setup.integrations import Integration
from worker.operations.caller import Caller
from worker.operations.deliveries.failed import (
    _NOT_FAILED,
    Extent,
    discard_failed,
    get_failed,
    list_failed,
    mark_group,
    retry_failed,
    show_payload,
)
from worker.operations.errors import ConflictError, InvalidError, NotFoundError

HOUR, DAY = 3_600.0, 86_400.0
ALL = FailureFilter()


@pytest.fixture
def shop(ledger: Ledger) -> Integration:
    return place(ledger)


def kim(ledger: Ledger) -> Caller:
    return Caller(ledger, "kim", NOW)


def fail(ledger: Ledger, shop: Integration, *event_ids: str, at: float = NOW, **changes: Any) -> None:
    given = {"state": State.FAILED, "reason_class": "refused", "event_time": int(at)} | changes
    write(ledger, [new(ledger, shop, event_id, **given) for event_id in event_ids], at)


def newest_audit(ledger: Ledger) -> list[tuple[str, str]]:
    with ledger.read() as connection:
        return [(one["actor"], one["action"]) for one in audit_log.newest_audit_entries(connection, 10)]


def test_pressing_twice_sends_once(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "a", "b")
    first = retry_failed(kim(ledger), ALL)
    second = retry_failed(kim(ledger), ALL)

    assert (first.moved, second.moved) == (2, 0)
    assert stand(ledger) == {"pending": 2}
    assert newest_audit(ledger) == [("kim", "failed.retry")]


def test_what_a_call_does_not_reach_is_left_for_the_next(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "a", "b", "c")
    first = retry_failed(kim(ledger), ALL, extent=Extent(most=2))
    second = retry_failed(kim(ledger), ALL, extent=Extent(after_id=first.last_id, most=2))

    assert (first.moved, first.left) == (2, 1)
    assert (second.moved, second.left) == (1, 0)


def test_a_dry_run_tells_the_same_numbers_and_moves_nothing(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "same", "same", "offline", at=NOW - 2 * HOUR)
    fail(ledger, shop, "stale", at=NOW - 8 * DAY)
    fail(ledger, shop, "never mapped", payload=None)
    told = retry_failed(kim(ledger), ALL, extent=Extent(dry_run=True))

    assert stand(ledger) == {"failed": 5}
    assert newest_audit(ledger) == []
    done = retry_failed(kim(ledger), ALL)
    assert (told.moved, told.late, told.left_alone) == (done.moved, done.late, done.left_alone)
    assert (done.moved, done.late, done.left_alone.total()) == (2, 2, 3)


def test_discarding_is_bounded_dry_and_idempotent_too(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "a", "b", "c")

    def discard(extent: Extent | None = None) -> tuple[int, int]:
        done = discard_failed(kim(ledger), ALL, "not worth it", extent=extent)
        return done.moved, done.left

    assert discard(Extent(dry_run=True)) == (3, 0)
    assert stand(ledger) == {"failed": 3}
    assert discard(Extent(most=2)) == (2, 1)
    assert discard() == (1, 0)
    assert discard() == (0, 0)
    close(ledger)


def test_progress_counts_what_was_looked_at(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "a", "b", "c")
    seen: list[int] = []
    retry_failed(kim(ledger), ALL, extent=Extent(most=2, progress=seen.append))
    assert seen == [2]


@pytest.mark.parametrize("reason", ["", "  ", "x" * 301])
def test_a_discard_needs_a_reason_of_at_most_300_characters(
    ledger: Ledger, shop: Integration, reason: str
) -> None:
    fail(ledger, shop, "a")
    with pytest.raises(InvalidError, match="reason: must be 1 to 300 characters"):
        discard_failed(kim(ledger), ALL, reason)
    assert stand(ledger) == {"failed": 1}


def test_numbers_that_have_not_failed_are_counted_as_left_alone(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "a")
    (failed,) = list_failed(kim(ledger), ALL, 10)
    gone = failed.id + 1
    for result in (
        retry_failed(kim(ledger), FailureFilter(ids=(failed.id, gone)), extent=Extent(dry_run=True)),
        retry_failed(kim(ledger), FailureFilter(ids=(failed.id, gone))),
        discard_failed(kim(ledger), FailureFilter(ids=(gone,)), "why", extent=Extent(most=None)),
    ):
        assert result.left_alone == {_NOT_FAILED: 1}


@pytest.mark.parametrize("number", [0, -1, 2**63 - 1, 10**30])
def test_a_number_that_has_not_failed_is_not_found(ledger: Ledger, number: int) -> None:
    with pytest.raises(NotFoundError):
        get_failed(kim(ledger), number)


def test_a_payload_that_cannot_be_opened_is_a_conflict_and_not_recorded(
    ledger: Ledger, shop: Integration
) -> None:
    fail(ledger, shop, "a", payload=b"sealed with a key that is gone")
    (failed,) = list_failed(kim(ledger), ALL, 10)
    with pytest.raises(ConflictError):
        show_payload(kim(ledger), failed.id)
    assert newest_audit(ledger) == []


def test_a_preview_counts_what_a_retry_alone_will_not_deliver(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "refused")
    fail(ledger, shop, "reached nothing", "no answer", reason_class="no_answer")
    fail(ledger, shop, "old", reason_class="no_answer", at=NOW - 8 * DAY)
    before = retry_failed(kim(ledger), ALL, force=True, extent=Extent(dry_run=True))
    with ledger.write() as connection:
        ad_accounts.pause_credential(connection, shop.credential_id, "unauthorized", "HTTP 401", "kim", NOW)
    paused = retry_failed(kim(ledger), ALL, extent=Extent(dry_run=True))

    same = "the same content was refused before, and it is sent unchanged"
    assert (before.moved, before.in_vain) == (4, {same: 1, "older than 7 days: Pinterest will refuse it": 1})
    assert paused.in_vain == {same: 1, "will wait: sending to its ad account is paused": 2}
    assert stand(ledger) == {"failed": 4}


def test_a_group_is_marked_once_and_with_a_known_state(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "a")
    key = (shop.ad_account_id, "checkout", "refused")
    assert mark_group(kim(ledger), *key, "resolved").state == "resolved"
    assert mark_group(kim(ledger), *key, "resolved").decided_by == "kim"

    assert newest_audit(ledger) == [("kim", "failed.mark")]
    with pytest.raises(InvalidError, match="must be one of open, ignored, resolved"):
        mark_group(kim(ledger), *key, "gone")
    with pytest.raises(NotFoundError):
        mark_group(kim(ledger), shop.ad_account_id, "checkout", "no_answer", "ignored")
