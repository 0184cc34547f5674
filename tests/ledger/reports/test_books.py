"""The books balance at any moment, in any order of events."""

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, select, text

from tests.ledger.shop import NOW, accept, close, new, place, stand, write
from worker.ledger.database import Ledger
from worker.ledger.delivery import batches, failures, new_batches
from worker.ledger.delivery.batches import MemberResult, StartedBatch
from worker.ledger.delivery.failures import FailureFilter
from worker.ledger.intake import inbox
from worker.ledger.reports import books, tallies
from worker.ledger.schema import State, tally
from worker.ledger.setup import integrations
from worker.ledger.setup.integrations import Integration
from worker.ledger.upkeep import expired, person_rows
from worker.pipeline.upkeep.purging import fold_counts, purge_expired

STATES = (State.OPEN, State.OPEN, State.OPEN, State.FAILED, State.FILTERED, State.DROPPED)


class Operations:
    """Run at random the actions of stages, sweepers and operators, each in its own transactions."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.ledger, self.dice, self.now = ledger, random.Random(seed), NOW
        self.places = [place(ledger, "src_a"), place(ledger, "src_b", ad_account_id="222", token="pina_b")]
        self.held: list[StartedBatch] = []

    def step(self) -> None:
        self.now += self.dice.random() * 5
        everything: list[Callable[[], None]] = [
            self.accept,
            self.consume,
            self.write,
            self.write,
            self.claim,
            self.claim,
            self.start,
            self.start,
            self.end,
            self.end,
            self.end,
            self.take_back,
            self.retry,
            self.discard,
            self.discard_pending,
            self.erase,
            self.fold,
            self.purge,
        ]
        self.dice.choice(everything)()

    def accept(self) -> None:
        accept(self.ledger, [{"type": "track"}] * self.dice.randint(1, 5), received_at=self.now)

    def consume(self) -> None:
        outcome = self.dice.choice([tallies.CONSUMED, tallies.WITHOUT_DESTINATION, tallies.MAPPED])
        with self.ledger.write() as connection:
            ids = inbox.overdue_ids(connection, 0, self.now + 1, 3)
            gone = inbox.take_events(connection, ids)
            tallies.append_tallies(
                connection, tallies.Counter({tallies.Entry("src_a", 0, "", outcome): len(gone)}), self.now
            )

    def write(self) -> None:
        wanted = [
            new(
                self.ledger,
                self.dice.choice(self.places),
                f"e{self.dice.randrange(60)}",
                state=self.dice.choice(STATES),
                test=self.dice.random() < 0.4,
                offline=self.dice.random() < 0.2,
                payload=b"x",
                reason_class="r",
                reason="r",
            )
            for _ in range(self.dice.randint(1, 8))
        ]
        write(self.ledger, wanted, self.now)

    def claim(self) -> None:
        with self.ledger.read() as connection:
            waiting = new_batches.pending_groups(connection, self.now)
        for group, _ in self.dice.sample(waiting, min(2, len(waiting))):
            with self.ledger.write() as connection:
                new_batches.claim_batch(connection, group, 6, self.now)

    def start(self) -> None:
        with self.ledger.write() as connection:
            for batch_id in batches.take_due_batches(connection, self.now, self.now)[:2]:
                started = batches.start_batch(connection, batch_id, 20, self.now)
                assert isinstance(started, StartedBatch)
                self.held.append(started)

    def end(self) -> None:
        if not self.held:
            return
        started = self.held.pop(self.dice.randrange(len(self.held)))
        with self.ledger.read() as connection:
            everyone = batches.batch_members(connection, started.id)
        dice = self.dice.random()
        with self.ledger.write() as connection:
            if dice < 0.5:
                endings = [
                    MemberResult(one.id, "refused", "no") for one in everyone if self.dice.random() < 0.4
                ]
                batches.settle_batch(connection, started, everyone, endings, self.now)
            elif dice < 0.75:
                batches.requeue_batch(connection, started, self.now + 2, spent=True)
            else:
                ids = [one.id for one in everyone]
                middle = len(ids) // 2
                failed = [MemberResult(one, "refused", "no") for one in ids[:1]]
                parts = [part for part in (ids[1:middle], ids[max(1, middle) :]) if part]
                batches.split_batch(connection, started, everyone, parts, failed, self.now, self.now)
        if self.dice.random() < 0.2:
            # A stopped worker continues with the batch it held.
            self.held.append(started)

    def take_back(self) -> None:
        with self.ledger.write() as connection:
            for batch_id in batches.expired_batches(connection, self.now):
                lost = batches.lock_expired_batch(connection, batch_id, self.now)
                assert lost is not None
                batches.requeue_batch(connection, lost, self.now, spent=True)

    def retry(self) -> None:
        with self.ledger.write() as connection:
            chosen = failures.failed_after(connection, FailureFilter(), 5)
            failures.retry_deliveries(connection, chosen, self.now, "kim", force=True)

    def discard(self) -> None:
        with self.ledger.write() as connection:
            chosen = failures.failed_after(connection, FailureFilter(), 2)
            failures.discard_deliveries(connection, [one.id for one in chosen], "no", self.now, "kim")

    def discard_pending(self) -> None:
        if self.dice.random() < 0.2:
            with self.ledger.write() as connection:
                failures.discard_pending_deliveries(connection, self.places[0].number, "kim", self.now, 100)

    def erase(self) -> None:
        with self.ledger.write() as connection:
            kept = person_rows.delivery_rows_after(connection, 0, 10_000)
            # Most are duplicates or filtered, and have no payload.
            sendable = [row for row in kept if row.body is not None]
            chosen = [self.dice.choice(some).id for some in (kept, sendable) if some]
            person_rows.erase_deliveries(connection, self.ledger.vault, chosen, self.now)
            person_rows.erase_events(connection, inbox.overdue_ids(connection, 0, self.now + 1, 1), self.now)

    def fold(self) -> None:
        fold_counts(self.ledger, self.now)

    def purge(self) -> None:
        purge_expired(self.ledger, 30.0, self.now + 30 * 86_400 - self.dice.choice([5, 50]))


KINDS = {
    *("delivered", "tested", "failed", "filtered", "duplicate", "dropped", "retried", "discarded"),
    *("erased", "event_erased", tallies.PURGED),
}


@pytest.mark.parametrize("seed", [1, 2])
def test_the_books_balance_after_any_sequence_of_operations(ledger: Ledger, seed: int) -> None:
    operations = Operations(ledger, seed)
    for number in range(1_000):
        operations.step()
        if number % 10 == 0:
            close(ledger)
            # The sequence must produce every kind of outcome, or it would prove little.
            if number >= 200 and not missing(ledger):
                break
    assert missing(ledger) == set()


def missing(ledger: Ledger) -> set[str]:
    """Return the kinds of outcomes that were not counted yet."""
    with ledger.read() as connection:
        counted = tallies.tally_totals(connection)
    purged = {tallies.PURGED for outcome in counted if outcome.startswith(tallies.PURGED)}
    return KINDS - counted.keys() - purged


def wrong(closed: books.Books) -> list[tuple[str, int, int]]:
    return [(line.what, line.counted, line.found) for line in closed.lines if not line.balances]


def test_unbalanced_books_say_where(ledger: Ledger) -> None:
    shop, other = place(ledger), place(ledger, "src_b", ad_account_id="222")
    write(ledger, [new(ledger, shop, "e1"), new(ledger, shop, "e2", state=State.FAILED)])
    write(ledger, [new(ledger, other, "e3")])
    with ledger.write() as connection:
        connection.execute(text("DELETE FROM delivery WHERE state = 1"))
    with ledger.snapshot() as connection:
        audited, closed = books.recount_books(connection), books.balance_books(connection)
    assert not audited.balance
    assert wrong(audited) == [
        ("deliveries created", 3, 2),
        ("deliveries failed", 1, 0),
        (f"{shop.ad_account_id}: created", 2, 1),
        (f"{shop.ad_account_id}: failed", 1, 0),
    ]
    # Only counting the rows shows that a finished delivery is missing.
    assert closed.balance


def test_an_unfinished_delivery_that_vanishes_shows_without_counting_the_rest(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [new(ledger, shop, "e1"), new(ledger, shop, "e2")])
    accept(ledger, [{"type": "track"}])
    with ledger.write() as connection:
        connection.execute(text("DELETE FROM delivery WHERE event_id = 'e1'"))
        connection.execute(text("DELETE FROM inbox"))
    with ledger.snapshot() as connection:
        closed = books.balance_books(connection)
    assert wrong(closed) == [
        ("events accepted", 1, 0),
        ("deliveries created", 2, 1),
        (f"{shop.ad_account_id}: created", 2, 1),
    ]


def test_deliveries_of_a_deleted_integration_are_accounted_for(ledger: Ledger) -> None:
    shop, other = place(ledger), place(ledger, "src_b", ad_account_id="222")
    write(ledger, [new(ledger, shop, "e1", state=State.FAILED), new(ledger, other, "e2")])
    with ledger.write() as connection:
        integrations.remove_integration(connection, shop.number)
    assert close(ledger).by_account == {"222": {"pending": 1}, books._GONE: {"failed": 1}}


def test_the_books_read_no_delivery_that_has_ended(sqlite_ledger: Ledger) -> None:
    """So the cost does not grow with the history: SQLite reports which indexes it uses."""
    plans: list[str] = []

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT") and "delivery" in statement:
            rows = connection.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in rows)

    with sqlite_ledger.snapshot() as connection:
        event.listen(connection, "before_cursor_execute", explain)
        books.balance_books(connection)
    of_deliveries = [plan for plan in plans if "delivery" in plan]
    assert of_deliveries
    assert all(
        "ix_delivery_pending" in plan or "ix_delivery_batch" in plan or "USING INTEGER PRIMARY KEY" in plan
        for plan in of_deliveries
    ), plans


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_books_of_a_million_deliveries_are_closed_in_a_moment(ledger: Ledger) -> None:
    """With a hundred thousand more deliveries in flight. Prints the time."""
    shop = place(ledger)
    fill(ledger, shop, settled=1_000_000, pending=100_000)
    took: dict[str, float] = {}
    for name, look in (("books", books.balance_books), ("books --audit", books.recount_books)):
        with ledger.snapshot() as connection:
            began = time.perf_counter()
            assert look(connection).deliveries == {"delivered": 1_000_000, "pending": 100_000}
            took[name] = time.perf_counter() - began
    print("\n" + ", ".join(f"{name}: {seconds:.2f} s" for name, seconds in took.items()))
    assert took["books"] < 2.0


NUMBERS = "WITH RECURSIVE number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :count)"
BATCHES = f"""
    INSERT INTO batch (id, ad_account, credential_id, test, offline, events, status, attempt, attempts_spent,
        unreadable_answers, not_before, hinted_at, created_at, settled_at)
    {NUMBERS} SELECT n + 1, :account, :credential, false, false, 1000, 2, 1, 0, 0, 0, 0, 0, 1 FROM number
"""  # noqa: S608 - no part of it comes from outside
DELIVERIES = f"""
    INSERT INTO delivery (integration_id, ad_account, test, offline, event_id, event_name, source_name,
        event_time, accepted_at, payload, size_bytes, state, batch_id)
    {NUMBERS} SELECT :integration, :account, false, false, :prefix || n, 'checkout', 'Order Completed',
        0, 0, :payload, 500, 0, CASE WHEN :in_batches THEN n / 1000 + 1 END FROM number
"""  # noqa: S608 - no part of it comes from outside


def fill(ledger: Ledger, shop: Integration, *, settled: int, pending: int) -> None:
    """Insert sent deliveries, a thousand per batch, and some pending ones, in a few statements."""
    given = {"account": shop.ad_account, "credential": shop.credential_id, "integration": shop.number}
    counts = {tallies.CREATED: settled + pending, tallies.DELIVERED: settled}
    with ledger.write() as connection:
        connection.execute(text(BATCHES), given | {"count": settled // 1_000})
        for prefix, count in (("sent", settled), ("waits", pending)):
            more = {"prefix": prefix, "count": count, "payload": b"x" * 500, "in_batches": prefix == "sent"}
            connection.execute(text(DELIVERIES), given | more)
        entries = {tallies.Entry("src_shop", shop.number, "checkout", what): n for what, n in counts.items()}
        tallies.append_tallies(connection, tallies.Counter(entries), NOW)


def test_empty_books_balance(ledger: Ledger) -> None:
    assert stand(ledger) == {}


@pytest.mark.parametrize(
    ("state", "batch_status", "test", "expected"),
    [
        (State.OPEN, None, False, "pending"),
        (State.OPEN, 0, False, "in_flight"),
        (State.OPEN, 1, False, "in_flight"),
        (State.OPEN, 2, False, "delivered"),
        (State.OPEN, 2, True, "tested"),
        (State.FAILED, 2, False, "failed"),
        (State.FAILED, 3, True, "failed"),
        (State.FILTERED, None, False, "filtered"),
        (State.DUPLICATE, None, False, "duplicate"),
        (State.DROPPED, None, False, "dropped"),
        (State.DISCARDED, 2, False, "discarded"),
        (State.ERASED, 2, False, "erased"),
    ],
)
def test_every_delivery_is_in_one_state(
    state: int, batch_status: int | None, test: bool, expected: str
) -> None:
    assert books.reported_state(state, batch_status, test=test) == expected


def test_folding_keeps_every_sum(ledger: Ledger) -> None:
    shop = place(ledger)
    for hour in (0, 0, 0, 1):
        write(ledger, [new(ledger, shop, f"e{random.random()}")], NOW + hour * 3_600)
    before = totals_and_hours(ledger)
    assert fold_counts(ledger, NOW) == 2
    assert fold_counts(ledger, NOW) == 0
    assert totals_and_hours(ledger) == before
    with ledger.read() as connection:
        assert len(connection.execute(select(tally)).all()) == 2


def totals_and_hours(ledger: Ledger) -> Any:
    with ledger.read() as connection:
        return (
            tallies.tally_totals(connection),
            sorted(tallies.tallies_by_hour(connection, 0)),
            tallies.tallies_by_hour(connection, 0, [99]),
        )


def test_retention_removes_what_ended_and_nothing_else(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [new(ledger, shop, "old", state=State.FAILED)], NOW - 40 * 86_400)
    write(ledger, [new(ledger, shop, "new", state=State.FAILED)], NOW - 10 * 86_400)
    write(ledger, [new(ledger, shop, "waiting", accepted_at=NOW - 90 * 86_400)], NOW - 90 * 86_400)
    assert purge_expired(ledger, 30, NOW)["deliveries"] == 1
    assert purge_expired(ledger, 30, NOW)["deliveries"] == 0
    assert stand(ledger) == {"failed": 1, "pending": 1}


def test_a_failure_that_is_retried_while_it_is_purged_stays(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [new(ledger, shop, "e1", state=State.FAILED)], NOW - 40 * 86_400)
    with ledger.write() as connection:
        ids = expired.ended_delivery_ids(connection, NOW, 10)
        failures.retry_deliveries(
            connection, failures.failed_after(connection, FailureFilter(), 5), NOW, "kim"
        )
        assert expired.purge_deliveries(connection, ledger.vault, ids, NOW, NOW) == 0
    assert stand(ledger) == {"pending": 1}
