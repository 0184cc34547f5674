"""The books balance at any moment, whatever happens in whatever order."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text

from tests.ledger.shop import NOW, accept, close, new, place, stand, write
from worker.ledger import batches, books, claims, failures, inbox, tallies, upkeep
from worker.ledger.batches import Ending, Started
from worker.ledger.engine import Ledger
from worker.ledger.failures import Filter
from worker.ledger.schema import State, tally
from worker.stages.purging import fold_tallies, purge

STATES = (State.OPEN, State.OPEN, State.OPEN, State.FAILED, State.FILTERED, State.DROPPED)


class Operations:
    """Do at random what the stages, sweepers and hands do, each in its transactions."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.ledger, self.dice, self.now = ledger, random.Random(seed), NOW
        self.places = [place(ledger, "src_a"), place(ledger, "src_b", ad_account_id="222", token="pina_b")]
        self.held: list[Started] = []

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
            self.fold,
            self.purge,
        ]
        self.dice.choice(everything)()

    def accept(self) -> None:
        accept(self.ledger, [{"type": "track"}] * self.dice.randint(1, 5), received_at=self.now)

    def consume(self) -> None:
        outcome = self.dice.choice([tallies.CONSUMED, tallies.WITHOUT_DESTINATION, tallies.MAPPED])
        with self.ledger.write() as connection:
            ids = inbox.overdue(connection, 0, self.now + 1, 3)
            gone = inbox.remove(connection, ids)
            tallies.append(
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
            waiting = claims.groups(connection, self.now)
        for group, _ in self.dice.sample(waiting, min(2, len(waiting))):
            with self.ledger.write() as connection:
                claims.claim(connection, group, 6, self.now)

    def start(self) -> None:
        with self.ledger.write() as connection:
            for batch_id in batches.due(connection, self.now, self.now)[:2]:
                started = batches.start(connection, batch_id, 20, self.now)
                assert isinstance(started, Started)
                self.held.append(started)

    def end(self) -> None:
        if not self.held:
            return
        started = self.held.pop(self.dice.randrange(len(self.held)))
        with self.ledger.read() as connection:
            everyone = batches.members(connection, started.id)
        dice = self.dice.random()
        with self.ledger.write() as connection:
            if dice < 0.5:
                endings = [Ending(one.id, "refused", "no") for one in everyone if self.dice.random() < 0.4]
                batches.settle(connection, started, everyone, endings, self.now)
            elif dice < 0.75:
                batches.again(connection, started, self.now + 2, spent=True)
            else:
                ids = [one.id for one in everyone]
                middle = len(ids) // 2
                failed = [Ending(one, "refused", "no") for one in ids[:1]]
                parts = [part for part in (ids[1:middle], ids[max(1, middle) :]) if part]
                batches.split(connection, started, everyone, parts, failed, self.now, self.now)
        if self.dice.random() < 0.2:
            # It comes back from the dead with what it held.
            self.held.append(started)

    def take_back(self) -> None:
        with self.ledger.write() as connection:
            for batch_id in batches.expired(connection, self.now):
                lost = batches.lost(connection, batch_id, self.now)
                assert lost is not None
                batches.again(connection, lost, self.now, spent=True)

    def retry(self) -> None:
        with self.ledger.write() as connection:
            chosen = failures.page(connection, Filter(), 5)
            failures.retry(connection, chosen, self.now, "kim", force=True)

    def discard(self) -> None:
        with self.ledger.write() as connection:
            chosen = failures.page(connection, Filter(), 2)
            failures.discard(connection, [one.id for one in chosen], "no", self.now, "kim")

    def discard_pending(self) -> None:
        if self.dice.random() < 0.2:
            with self.ledger.write() as connection:
                failures.discard_pending(connection, self.places[0].number, "kim", self.now)

    def fold(self) -> None:
        fold_tallies(self.ledger, self.now)

    def purge(self) -> None:
        purge(self.ledger, 30.0, self.now + 30 * 86_400 - self.dice.choice([5, 50]))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_books_balance_after_any_sequence_of_operations(ledger: Ledger, seed: int) -> None:
    operations = Operations(ledger, seed)
    for number in range(220):
        operations.step()
        if number % 10 == 0:
            close(ledger)
    close(ledger)
    with ledger.read() as connection:
        counted = tallies.totals(connection)
    # The sequence went through every kind of outcome, or it would have proved little.
    missing = {"delivered", "tested", "failed", "filtered", "duplicate", "dropped", "retried", "discarded"}
    assert missing - counted.keys() == set()
    assert any(outcome.startswith(tallies.PURGED) for outcome in counted)


def test_books_that_do_not_balance_say_where(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [new(ledger, shop, "e1"), new(ledger, shop, "e2", state=State.FAILED)])
    with ledger.write() as connection:
        connection.execute(text("DELETE FROM delivery WHERE state = 1"))
    with ledger.snapshot() as connection:
        closed = books.close(connection)
    assert not closed.balance
    wrong = [(line.what, line.counted, line.found) for line in closed.lines if not line.balances]
    assert wrong == [("deliveries created", 2, 1), ("deliveries failed", 1, 0)]


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
    assert books.where_it_stands(state, batch_status, test=test) == expected


def test_folding_keeps_every_sum(ledger: Ledger) -> None:
    shop = place(ledger)
    for hour in (0, 0, 0, 1):
        write(ledger, [new(ledger, shop, f"e{random.random()}")], NOW + hour * 3_600)
    before = totals_and_hours(ledger)
    assert fold_tallies(ledger, NOW) == 2
    assert fold_tallies(ledger, NOW) == 0
    assert totals_and_hours(ledger) == before
    with ledger.read() as connection:
        assert len(connection.execute(select(tally)).all()) == 2


def totals_and_hours(ledger: Ledger) -> Any:
    with ledger.read() as connection:
        return (
            tallies.totals(connection),
            sorted(tallies.by_hour(connection, 0)),
            tallies.by_hour(connection, 0, [99]),
        )


def test_retention_removes_what_ended_and_nothing_else(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [new(ledger, shop, "old", state=State.FAILED)], NOW - 40 * 86_400)
    write(ledger, [new(ledger, shop, "new", state=State.FAILED)], NOW - 10 * 86_400)
    write(ledger, [new(ledger, shop, "waiting", accepted_at=NOW - 90 * 86_400)], NOW - 90 * 86_400)
    assert purge(ledger, 30, NOW)["deliveries"] == 1
    assert purge(ledger, 30, NOW)["deliveries"] == 0
    assert stand(ledger) == {"failed": 1, "pending": 1}


def test_a_failure_that_is_retried_while_it_is_purged_stays(ledger: Ledger) -> None:
    shop = place(ledger)
    write(ledger, [new(ledger, shop, "e1", state=State.FAILED)], NOW - 40 * 86_400)
    with ledger.write() as connection:
        ids = upkeep.ended(connection, NOW, 10)
        failures.retry(connection, failures.page(connection, Filter(), 5), NOW, "kim")
        assert upkeep.purge_deliveries(connection, ids, NOW, NOW) == 0
    assert stand(ledger) == {"pending": 1}
