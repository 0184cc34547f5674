"""24 threads work on one ledger with duplicates, new tokens, erasures and purges; the books balance while they do."""

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from tests.ledger.shop import RATE, close, place
from tests.pipeline.ingest.test_ingest_bulk import order, take_in
from tests.pipeline.sandbox import POLICY, FakePinterest, accepted, answer, trouble
from worker.ledger.database import Ledger, is_ledger_unavailable
from worker.ledger.intake import inbox
from worker.ledger.reports import books
from worker.ledger.setup import integrations
from worker.ledger.upkeep import person_rows
from worker.pinterest.client.breaker import BreakerPolicy
from worker.pinterest.client.client import Answer, SendFailure
from worker.pipeline.delivery.deliver_batch import deliver, postpone_delivery
from worker.pipeline.delivery.delivery_context import DeliveryContext, PostponedError
from worker.pipeline.delivery.group_pending import BatchingPolicy, claim_due_batches
from worker.pipeline.ingest.ingest_bulk import ingest
from worker.pipeline.upkeep import purging
from worker.pipeline.upkeep.sweeping import Hints, sweep_ledger

# `make chaos` sets a longer time.
SECONDS = float(os.environ.get("STORM_SECONDS", "6"))
SEED = int(os.environ.get("STORM_SEED", "1"))
ACCOUNTS = ("549765662491", "549765662492", "549765662493")

CUT = text(
    "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE backend_type ="
    " 'client backend' AND datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) one"
)


class Accounts(FakePinterest):
    """Answer by seeded dice, and refuse an event or a token of another ad account."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._dice = dice
        self.taken: Counter[tuple[str, str]] = Counter()
        self.crossed: list[str] = []

    def send(self, ad_account_id: str, access_token: str, body: bytes, test: bool) -> Answer:
        events: list[dict[str, Any]] = json.loads(body)["data"]
        if not access_token.startswith(f"pina_{ad_account_id}"):
            self.crossed.append(f"{ad_account_id} with {access_token}")
        self.crossed += [one["event_id"] for one in events if ad_account_id not in one["event_id"]]
        mood = self._dice.random()
        if mood < 0.1:
            return self._dice.choice(
                [answer(500), answer(429, Retry_After="0"), trouble(SendFailure.NOT_SENT)]
            )
        self.taken.update((ad_account_id, one["event_id"]) for one in events)
        return trouble(SendFailure.UNKNOWN) if mood < 0.15 else accepted(events)


class Storm:
    """What the threads share."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.ledger = ledger
        self.dice = random.Random(seed)
        self.pinterest = Accounts(random.Random(seed + 1))
        self.inbox: list[int] = []
        self.batches: list[int] = []
        self.tried: set[tuple[str, str]] = set()
        self.sent: set[tuple[str, str]] = set()
        self.cuts = 0
        self.problems: list[BaseException] = []
        self.over = threading.Event()
        self.ahead_seconds = 0.0
        self.context = DeliveryContext(
            ledger,
            self.pinterest,
            replace(POLICY, base_seconds=0.05),
            lease_seconds=60.0,
            hint=self.batches.extend,
            breaker_policy=BreakerPolicy(failures_to_open=999),
            now=self.now,
            sleep=lambda _: None,
        )

    def settle(self) -> None:
        """Do what is left, while the clock runs ahead over every lease and retry."""
        for _ in range(200):
            self.ahead_seconds += 60.0
            self.sweep()
            while self.inbox:
                self.ingest()
            self.batch()
            while self.batches:
                self.send()
            with self.ledger.snapshot() as connection:
                closed = books.balance_books(connection)
            if not closed.events["inbox"] and not {"pending", "in_flight"} & closed.deliveries.keys():
                return
        raise AssertionError(f"work is left: {closed.events} {closed.deliveries}")

    def collect(self) -> None:
        """Take in orders, every fifth of them twice."""
        account = self.dice.choice(ACCOUNTS)
        numbers = [self.dice.randrange(100_000) for _ in range(4)]
        numbers.append(numbers[0])
        calls = [
            order(f"{account}-{n}", messageId=f"{account}-{n}", anonymousId=f"d{n % 50}") for n in numbers
        ]
        keys = {(account, f"{account}-{n}") for n in numbers}
        self.tried |= keys
        # A commit whose answer is lost may have happened.
        self.inbox += take_in(self.ledger, *calls, source_id=f"src_{account}")
        self.sent |= keys

    def ingest(self) -> None:
        ids, self.inbox[:50] = self.inbox[:50], []
        ingest(self.ledger, ids)

    def batch(self) -> None:
        claim_due_batches(self.ledger, BatchingPolicy(0.0), lambda: self.now() + 1, self.batches.extend)

    def send(self) -> None:
        try:
            batch_id = self.batches.pop()
        except IndexError:
            time.sleep(0.01)
            return
        try:
            deliver(self.context, batch_id)
        except PostponedError as postponed:
            postpone_delivery(self.context, postponed)

    def sweep(self) -> None:
        hints = Hints(self._hint_at, self.batches.extend, lambda: 0, lambda: 0)
        sweep_ledger(self.ledger, hints, self.now())

    def _hint_at(self, ranges: Sequence[tuple[int, int]]) -> None:
        with self.ledger.read() as connection:
            for first, last in ranges:
                self.inbox += inbox.ids_between(connection, first, last)

    def erase(self) -> None:
        """Erase some of the newest deliveries, whatever becomes of them at the moment."""
        with self.ledger.read() as connection:
            rows = person_rows.delivery_rows_after(connection, max(0, len(self.sent) - 50), 3)
        ids = [row.id for row in rows]
        with self.ledger.write() as connection:
            person_rows.erase_deliveries(connection, self.ledger.vault, ids, self.now())
        time.sleep(0.05)

    def change_token(self) -> None:
        account = self.dice.choice(ACCOUNTS)
        with self.ledger.write() as connection:
            one = integrations.load_integration(connection, f"int_src_{account}_{account}", locked=True)
            assert one is not None
            token = f"pina_{account}_{self.dice.randrange(100)}"
            integrations.update_integration(
                connection, self.ledger.vault, one, rate=RATE, new_token=token, now=self.now()
            )
        time.sleep(0.1)

    def purge(self) -> None:
        purging.fold_counts(self.ledger, self.now())
        purging.purge_expired(self.ledger, 30.0, self.now())

    def cut(self) -> None:
        """End a connection of the ledger on the server, whatever it is doing; SQLite has none."""
        time.sleep(0.2)
        if not self.ledger.is_sqlite:
            with self.ledger.read() as connection:
                self.cuts += int(connection.scalar(CUT) or 0)

    def check_books(self) -> None:
        with self.ledger.snapshot() as connection:
            closed = books.balance_books(connection)
        assert [line for line in closed.lines if not line.balances] == []

    def now(self) -> float:
        return self.ledger.now() + self.ahead_seconds

    def run(self, work: Callable[[], None]) -> None:
        """Repeat one kind of work until the storm is over; a race that was lost is tried again."""
        while not self.over.is_set():
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the test raises what is no lost race
                if not is_ledger_unavailable(error):
                    self.problems.append(error)
                    self.over.set()


@pytest.mark.timeout(600)
def test_a_storm_of_24_threads_loses_and_crosses_nothing(ledger: Ledger) -> None:
    for account in ACCOUNTS:
        place(ledger, f"src_{account}", account, f"pina_{account}")
    storm = Storm(ledger, SEED)
    crew = {
        storm.collect: 7,
        storm.ingest: 4,
        storm.batch: 2,
        storm.send: 5,
        storm.sweep: 1,
        storm.erase: 1,
        storm.change_token: 1,
        storm.purge: 1,
        storm.check_books: 1,
        storm.cut: 1,
    }
    threads = [threading.Thread(target=storm.run, args=(work,)) for work, n in crew.items() for _ in range(n)]
    assert len(threads) == 24
    for thread in threads:
        thread.start()
    storm.over.wait(SECONDS)
    storm.over.set()
    for thread in threads:
        thread.join(60)
    assert storm.problems == []

    storm.settle()
    found = close(ledger).deliveries
    # An erased copy of an order counts as erased, too.
    whole = found.get("delivered", 0) + found.get("failed", 0)
    assert whole <= len(storm.tried)
    assert len(storm.sent) <= whole + found.get("erased", 0)
    assert len(storm.sent) > 50
    assert storm.pinterest.crossed == []
    assert set(storm.pinterest.taken) <= storm.tried
    assert ledger.is_sqlite or storm.cuts
    print(f"\n{len(storm.sent)} orders, {storm.cuts} connections cut: {found}")
