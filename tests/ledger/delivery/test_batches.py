"""Guarded statements move a batch: a worker that no longer holds it changes nothing."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.ledger.shop import ACCOUNT, NOW, pend, place, stand
from worker.ledger.database import Ledger
from worker.ledger.delivery import batches, new_batches
from worker.ledger.delivery.batches import Attempt, Member, MemberResult, Postponed, StartedBatch
from worker.ledger.delivery.new_batches import BatchGroup
from worker.ledger.reports import overview, sales_by_day
from worker.ledger.reports.sales_by_day import SalesLine
from worker.ledger.schema import BatchStatus, State, attempt, batch, delivery
from worker.ledger.setup import ad_accounts, integrations
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.ledger.setup.integrations import Integration

LEASE = 60.0
# A worker's lease starts after its wait for a token.
AFTER_LEASE = NOW + LEASE + batches.MAX_TOKEN_WAIT_SECONDS + 0.1
# The result of a failed member.
REFUSED = ("refused", "missing email")


class Sending:
    """One batch of four events, and a worker that may or may not still hold it."""

    def __init__(self, ledger: Ledger, **changes: Any) -> None:
        self.ledger = ledger
        self.shop = place(ledger)
        pend(ledger, self.shop, 4, **changes)
        group = BatchGroup(
            self.shop.credential_id,
            self.shop.ad_account,
            changes.get("test", False),
            changes.get("offline", False),
        )
        with ledger.write() as connection:
            self.id = new_batches.claim_batch(connection, group, 24, NOW) or 0
        # The worker keeps what it has read, whatever happens to the batch.
        self.everyone = self.members()

    def start(self, now: float = NOW) -> StartedBatch:
        started = self.try_to_start(now)
        assert isinstance(started, StartedBatch), started
        return started

    def try_to_start(self, now: float = NOW) -> StartedBatch | Postponed | None:
        with self.ledger.write() as connection:
            return batches.start_batch(connection, self.id, LEASE, now)

    def members(self, batch_id: int | None = None) -> list[Member]:
        with self.ledger.read() as connection:
            return batches.batch_members(connection, batch_id or self.id)

    def settle(self, started: StartedBatch, endings: Sequence[MemberResult] = (), now: float = NOW) -> bool:
        everyone = self.everyone
        with self.ledger.write() as connection:
            return batches.settle_batch(connection, started, everyone, endings, now)

    def again(self, started: StartedBatch, not_before: float = NOW, **how: bool) -> bool:
        with self.ledger.write() as connection:
            return batches.requeue_batch(connection, started, not_before, **({"spent": True} | how))

    def split(self, started: StartedBatch, now: float = NOW) -> list[int] | None:
        everyone = self.everyone
        ids = [one.id for one in everyone]
        endings = [MemberResult(ids[0], *REFUSED)]
        with self.ledger.write() as connection:
            return batches.split_batch(connection, started, everyone, [ids[1:3], ids[3:]], endings, now, now)

    def take_back(self, now: float = AFTER_LEASE) -> bool:
        with self.ledger.write() as connection:
            lost = batches.lock_expired_batch(connection, self.id, now)
            return lost is not None and batches.requeue_batch(connection, lost, now, spent=True)

    def row(self, batch_id: int | None = None) -> Any:
        with self.ledger.read() as connection:
            return connection.execute(select(batch).where(batch.c.id == (batch_id or self.id))).one()

    def everything(self) -> Any:
        """Return everything that a stale worker could change."""
        with self.ledger.read() as connection:
            rows = [
                connection.execute(select(table).order_by(table.c.id)).all() for table in (batch, delivery)
            ]
        return rows, stand(self.ledger)


def test_a_batch_keeps_its_members_in_the_order_of_their_acceptance(ledger: Ledger) -> None:
    sending = Sending(ledger)
    started = sending.start()
    members = sending.members()
    assert [one.id for one in members] == sorted(one.id for one in members)
    assert [(one.integration_id, one.source_id) for one in members] == [(sending.shop.number, "src_shop")] * 4
    assert (started.attempt, started.attempts_spent, started.first_tried_at) == (1, 0, NOW)
    assert stand(ledger) == {"in_flight": 4}


def test_starting_takes_the_batch_its_lease_and_one_token(ledger: Ledger) -> None:
    sending = Sending(ledger)
    sending.start()
    row = sending.row()
    assert (row.status, row.attempt, row.lease_until) == (BatchStatus.SENDING, 1, NOW + LEASE + 2)
    assert sending.try_to_start() is None


def test_only_one_of_several_workers_starts_a_batch(ledger: Ledger) -> None:
    sending = Sending(ledger)
    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(lambda _: sending.try_to_start(), range(4)))
    assert len([one for one in started if one is not None]) == 1


@pytest.mark.parametrize(("early_by", "starts"), [(0.9, True), (1.1, False), (3_600.0, False)])
def test_a_batch_starts_when_it_is_due_and_clocks_differ_a_little(
    ledger: Ledger, early_by: float, starts: bool
) -> None:
    sending = Sending(ledger)
    with ledger.write() as connection:
        batches.postpone_batch(connection, sending.id, NOW + early_by)
    assert (sending.try_to_start() is not None) is starts


def test_a_batch_of_a_paused_credential_does_not_start(ledger: Ledger) -> None:
    sending = Sending(ledger)
    with ledger.write() as connection:
        ad_accounts.pause_credential(
            connection, sending.shop.credential_id, "forbidden", "HTTP 403", "delivery", NOW
        )
    assert sending.try_to_start() is None
    assert sending.row().attempt == 0
    with ledger.write() as connection:
        ad_accounts.resume_credential(connection, sending.shop.credential_id, now=NOW)
    sending.start()


def test_a_manual_resume_ends_the_wait_for_a_next_attempt_and_the_breaker(ledger: Ledger) -> None:
    sending = Sending(ledger)
    sending.again(sending.start(), NOW + 900)
    number = sending.shop.credential_id
    with ledger.write() as connection:
        ad_accounts.set_breaker(connection, number, 5, NOW + 300)
        assert not ad_accounts.resume_credential(connection, number, is_manual=False, now=NOW + 1)
    assert sending.try_to_start(NOW + 1) is None
    with ledger.write() as connection:
        assert ad_accounts.resume_credential(connection, number, now=NOW + 1)
        assert not ad_accounts.resume_credential(connection, number, now=NOW + 1)
        assert batches.take_due_batches(connection, NOW + 1, NOW - 60) == [sending.id]
    assert not sending.start(NOW + 1).is_probe


def test_without_a_token_nothing_changes_and_the_wait_is_returned(ledger: Ledger) -> None:
    sending = Sending(ledger)
    with ledger.write() as connection:
        ad_accounts.set_rate_limit(connection, sending.shop.ad_account, AccountRateLimit(0.1, 1), NOW)
        ad_accounts.take_token(connection, sending.shop.ad_account, NOW)
    before = sending.everything()
    with ledger.write() as connection:
        answer = batches.start_batch(connection, sending.id, LEASE, NOW)
        connection.rollback()
    assert isinstance(answer, Postponed)
    assert answer.not_before == pytest.approx(NOW + 10, abs=0.01)
    assert sending.everything() == before


def test_a_worker_sleeps_through_a_short_wait_for_a_token(ledger: Ledger) -> None:
    sending = Sending(ledger)
    with ledger.write() as connection:
        ad_accounts.set_rate_limit(connection, sending.shop.ad_account, AccountRateLimit(1.0, 1), NOW)
        ad_accounts.take_token(connection, sending.shop.ad_account, NOW)
    assert sending.start().wait_seconds == pytest.approx(1.0, abs=0.01)


def test_postponing_never_brings_a_batch_forward(ledger: Ledger) -> None:
    sending = Sending(ledger)
    for not_before in (NOW + 100, NOW + 5):
        with ledger.write() as connection:
            batches.postpone_batch(connection, sending.id, not_before)
    assert sending.row().not_before == NOW + 100
    sending.start(NOW + 100)
    with ledger.write() as connection:
        batches.postpone_batch(connection, sending.id, NOW + 999)
    assert sending.row().not_before == NOW + 100


@pytest.mark.parametrize(("test", "good"), [(False, "delivered"), (True, "tested")])
def test_settling_writes_exceptions_and_counts_every_member(ledger: Ledger, test: bool, good: str) -> None:
    sending = Sending(ledger, test=test)
    started = sending.start()
    ids = [one.id for one in sending.members()]
    endings = [
        MemberResult(ids[1], *REFUSED, "and a warning"),
        MemberResult(ids[2], None, None, "a warning alone"),
    ]
    assert sending.settle(started, endings, NOW + 1)
    assert stand(ledger) == {good: 3, "failed": 1}
    with ledger.read() as connection:
        kept = select(delivery.c.state, delivery.c.reason_class, delivery.c.reason, delivery.c.warning)
        rows = [tuple(row) for row in connection.execute(kept.order_by(delivery.c.id))]
    assert rows == [
        (State.OPEN, None, None, None),
        (State.FAILED, *REFUSED, "and a warning"),
        (State.OPEN, None, None, "a warning alone"),
        (State.OPEN, None, None, None),
    ]
    row = sending.row()
    assert (row.status, row.settled_at, row.lease_until) == (BatchStatus.SETTLED, NOW + 1, None)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"spent": True}, (1, 0)),
        ({"spent": False}, (0, 0)),
        ({"spent": True, "unreadable": True}, (1, 1)),
    ],
)
def test_a_requeued_batch_counts_spent_attempts(
    ledger: Ledger, how: dict[str, bool], expected: tuple[int, int]
) -> None:
    sending = Sending(ledger)
    assert sending.again(sending.start(), NOW + 30, **how)
    row = sending.row()
    assert (row.status, row.not_before) == (BatchStatus.READY, NOW + 30)
    assert (row.attempts_spent, row.unreadable_answers) == expected
    started = sending.start(NOW + 30)
    # The fence counts every start, and the window counts from the first.
    assert (started.attempt, started.first_tried_at) == (2, NOW)


def test_the_parts_of_a_split_batch_keep_its_counts(ledger: Ledger) -> None:
    sending = Sending(ledger)
    sending.again(sending.start(), unreadable=True)
    made = sending.split(sending.start(NOW + 1), NOW + 2)
    assert made is not None
    parts = [sending.row(one) for one in made]
    expected = (BatchStatus.READY, sending.id, 1, 1, 0, NOW)
    found = [
        (p.status, p.parent_id, p.attempts_spent, p.unreadable_answers, p.attempt, p.first_tried_at)
        for p in parts
    ]
    assert found == [expected, expected]
    assert [part.events for part in parts] == [len(sending.members(one)) for one in made] == [2, 1]
    assert sending.row().status == BatchStatus.SPLIT
    assert stand(ledger) == {"in_flight": 3, "failed": 1}


MOVES = {
    "settle": lambda sending, started: sending.settle(started),
    "settle with failures": lambda sending, started: sending.settle(
        started, [MemberResult(one.id, *REFUSED) for one in sending.members()]
    ),
    "again": lambda sending, started: sending.again(started),
    "split": lambda sending, started: sending.split(started) is not None,
}


@pytest.mark.parametrize(
    "after", ["settled", "put off", "split", "taken back", "taken back and sent by another"]
)
@pytest.mark.parametrize("move", MOVES)
def test_a_worker_whose_lease_expired_changes_nothing(ledger: Ledger, move: str, after: str) -> None:
    sending = Sending(ledger)
    started = sending.start()
    if after == "settled":
        sending.settle(started)
    elif after == "put off":
        sending.again(started, NOW + 30)
    elif after == "split":
        sending.split(started)
    else:
        assert sending.take_back()
        if after.endswith("another"):
            sending.start(AFTER_LEASE)
    before = sending.everything()
    assert MOVES[move](sending, started) is False
    assert sending.everything() == before


def test_a_valid_lease_is_respected(ledger: Ledger) -> None:
    sending = Sending(ledger)
    started = sending.start()
    with ledger.read() as connection:
        assert batches.expired_batches(connection, NOW + LEASE) == []
        assert batches.expired_batches(connection, AFTER_LEASE) == [sending.id]
    assert not sending.take_back(NOW + LEASE)
    assert sending.settle(started)
    assert not sending.take_back()


def test_a_batch_that_was_taken_back_is_due_at_once(ledger: Ledger) -> None:
    sending = Sending(ledger)
    sending.start()
    assert sending.take_back()
    with ledger.write() as connection:
        assert batches.take_due_batches(connection, AFTER_LEASE, AFTER_LEASE - 30) == [sending.id]
    assert sending.start(AFTER_LEASE).attempts_spent == 1


def due(ledger: Ledger, now: float) -> list[int]:
    with ledger.write() as connection:
        any_due = batches.any_batch_due(connection, now, now - 30)
        found = batches.take_due_batches(connection, now, now - 30)
    assert any_due is bool(found)
    return found


def test_a_due_batch_gets_a_hint_and_no_second_one_for_a_while(ledger: Ledger) -> None:
    sending = Sending(ledger)
    # The claim sends its own hint. If that is lost, another one follows.
    assert due(ledger, NOW + 29) == []
    assert due(ledger, NOW + 31) == [sending.id]
    assert due(ledger, NOW + 32) == []
    started = sending.start(NOW + 33)
    assert due(ledger, NOW + 90) == []
    sending.again(started, NOW + 100)
    assert due(ledger, NOW + 99) == []
    # A batch that came due since its last hint gets a new one at once.
    assert due(ledger, NOW + 100) == [sending.id]
    with ledger.write() as connection:
        ad_accounts.pause_credential(
            connection, sending.shop.credential_id, "forbidden", "HTTP 403", "delivery", NOW
        )
    assert due(ledger, NOW + 999) == []


def test_a_new_token_takes_over_what_is_ready_and_what_is_being_sent(ledger: Ledger) -> None:
    sending = Sending(ledger)
    started = sending.start()
    new = rehome(ledger, sending.shop, "pina_the_next")
    made = sending.split(started)
    assert made is not None
    assert {sending.row(one).credential_id for one in made} == {new}


def test_a_token_that_another_integration_uses_keeps_its_batches(ledger: Ledger) -> None:
    sending = Sending(ledger)
    place(ledger, "src_other")
    rehome(ledger, sending.shop, "pina_the_next")
    assert sending.row().credential_id == sending.shop.credential_id


def rehome(ledger: Ledger, shop: Integration, token: str) -> int:
    with ledger.write() as connection:
        changed = integrations.update_integration(
            connection,
            ledger.vault,
            replace(shop),
            rate=AccountRateLimit(100.0, 200),
            new_token=token,
            now=NOW,
        )
    return changed.credential_id


def test_the_history_of_a_batch_is_kept(ledger: Ledger) -> None:
    sending = Sending(ledger)
    started = sending.start()
    with ledger.write() as connection:
        batches.record_attempt(connection, started, Attempt(NOW, 0.5, 503, "unavailable", "HTTP 503"))
        kept = connection.execute(select(attempt)).one()
    assert (kept.batch_id, kept.number, kept.http_status, kept.reason) == (sending.id, 1, 503, "HTTP 503")


def test_an_event_that_was_erased_meanwhile_is_no_member(ledger: Ledger) -> None:
    sending = Sending(ledger)
    with ledger.write() as connection:
        first = sending.members()[0].id
        connection.execute(update(delivery).where(delivery.c.id == first).values(state=State.ERASED))
    assert first not in [one.id for one in sending.members()]


DAY = int(NOW // 86_400)
SALE = {"day": DAY, "currency": "USD", "value_thousandths": 1_500, "accepted_at": NOW - 4}


def test_a_delivered_event_is_in_the_sales_report_and_the_latency_chart(ledger: Ledger) -> None:
    sending = Sending(ledger, **SALE)
    sending.settle(sending.start(), [MemberResult(sending.everyone[0].id, *REFUSED)])
    with ledger.read() as connection:
        charted = overview.moved_by_account(connection, 0.0)

    assert sold(ledger) == [SalesLine(DAY, "checkout", "USD", 3, Decimal("4.5"), ACCOUNT)]
    assert charted == {ACCOUNT: {"delivered": 3, "failed": 1, "within:5": 3}}


def test_a_test_event_is_no_sale(ledger: Ledger) -> None:
    sending = Sending(ledger, test=True, **SALE)
    assert sending.settle(sending.start())

    assert sold(ledger) == []


def test_a_worker_that_lost_its_batch_adds_no_sale(ledger: Ledger) -> None:
    sending = Sending(ledger, **SALE)
    stale = sending.start()
    sending.take_back()

    assert not sending.settle(stale)
    assert sold(ledger) == []


def sold(ledger: Ledger) -> list[SalesLine]:
    with ledger.read() as connection:
        return sales_by_day.sales_since(connection, 0)


@pytest.mark.parametrize("column", ["not_before", "lease_until"])
@pytest.mark.parametrize("ahead_seconds", [5 * 3_600.0, 30 * 86_400.0, 3_650 * 86_400.0])
def test_a_time_of_a_clock_that_was_far_ahead_holds_no_batch(
    ledger: Ledger, column: str, ahead_seconds: float
) -> None:
    one = Sending(ledger)
    if column == "lease_until":
        one.start()
    with ledger.write() as connection:
        connection.execute(update(batch).values({column: NOW + ahead_seconds}))
    with ledger.write() as connection:
        if column == "lease_until":
            assert batches.expired_batches(connection, NOW) == [one.id]
        else:
            assert batches.take_due_batches(connection, NOW, NOW + 1) == [one.id]
            # The next hint comes after the usual time.
            assert batches.take_due_batches(connection, NOW + 1, NOW - 60) == []
    if column == "not_before":
        assert one.start().id == one.id


def test_a_breaker_of_a_clock_that_was_far_ahead_lets_one_batch_probe(ledger: Ledger) -> None:
    one = Sending(ledger)
    with ledger.write() as connection:
        ad_accounts.set_breaker(connection, one.shop.credential_id, 5, NOW + 30 * 86_400.0)
    assert one.start().is_probe


def test_behind_such_a_breaker_events_are_claimed(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 1)
    with ledger.write() as connection:
        ad_accounts.set_breaker(connection, shop.credential_id, 5, NOW + 30 * 86_400.0)
        assert [group.credential_id for group, _ in new_batches.pending_groups(connection, NOW)] == [
            shop.credential_id
        ]
        ad_accounts.set_breaker(connection, shop.credential_id, 5, NOW + 300.0)
        assert new_batches.pending_groups(connection, NOW) == []


def test_the_longest_real_wait_is_kept(ledger: Ledger) -> None:
    one = Sending(ledger)
    with ledger.write() as connection:
        batches.postpone_batch(connection, one.id, NOW + 3_660.0)
        assert batches.take_due_batches(connection, NOW + 3_000, NOW) == []
    assert one.try_to_start(NOW + 3_000) is None
