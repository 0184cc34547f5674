"""Row "growth": what an event costs in the ledger, with a thousand to a million others kept there."""

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit
from uuid import uuid4

from benchmarks import history
from benchmarks.publish import answers
from benchmarks.results import Goal, Result
from worker.ledger.database import Ledger
from worker.ledger.delivery import batches, new_batches, new_deliveries
from worker.ledger.delivery.batches import StartedBatch
from worker.ledger.delivery.new_batches import BatchGroup
from worker.ledger.delivery.new_deliveries import NewDelivery
from worker.ledger.intake import inbox
from worker.ledger.intake.inbox import Accepted
from worker.ledger.schema import State
from worker.ledger.upkeep import expired
from worker.monitoring.metrics import _REMEMBERED_SECONDS, Exporter

SIZES = (1_000, 10_000, 100_000, 1_000_000)
MANY = (100_000, 10_000_000)
ROUNDS = 25
# The maximum of a request, and of the ingest worker's bulk.
EVENTS_AT_ONCE = 500
EVENTS_A_ROUND = new_batches._BATCH_MAX_EVENTS
GOAL = 1.15
POSTGRESQL = os.environ.get("BENCH_POSTGRESQL_URL", "postgresql+psycopg://root@127.0.0.1:5432/postgres")
OPERATIONS = ("insert", "claim", "settle", "count", "remove")
_BODY = os.urandom(history.PAYLOAD_BYTES)


class Site:
    """A ledger with history, and the steps of an event in it.

    Each round adds as many events as it removes of the oldest, so that the history keeps its size.
    """

    def __init__(self, ledger: Ledger, size: int, payload_bytes: int = history.PAYLOAD_BYTES) -> None:
        self._ledger = ledger
        self._shop = history.shop(ledger)
        history.lay_down(ledger, self._shop, size, payload_bytes)
        # Its history has a batch a second, and so has what is added to it.
        self._oldest, self._now = history.BEGAN, history.BEGAN + size / history.EVENTS_A_BATCH
        self._clock = self._now
        self._exporter = Exporter(ledger, lambda: self._clock)
        self._seconds: dict[str, list[float]] = defaultdict(list)

    @property
    def costs(self) -> dict[str, float]:
        """Return the median microseconds that an event takes, by operation."""
        return {name: median(seconds[1:]) / EVENTS_A_ROUND * 1e6 for name, seconds in self._seconds.items()}

    def round(self) -> None:
        """Take a batch of events from the inbox to retention; the first round only warms up."""
        with self._timed("insert"):
            for _ in range(0, EVENTS_A_ROUND, EVENTS_AT_ONCE):
                self._insert()
        group = BatchGroup(self._shop.credential_id, self._shop.ad_account, test=False, offline=False)
        with self._timed("claim"), self._ledger.write() as connection:
            batch_id = new_batches.claim_batch(connection, group, 24, self._now)
        assert batch_id is not None
        with self._timed("settle"):
            self._settle(batch_id)
        with self._timed("count"):
            self._count()
        self._oldest, self._now = self._oldest + 1, self._now + 1
        with self._timed("remove"):
            removed = self._remove()
        assert removed == EVENTS_A_ROUND

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[name].append(time.perf_counter() - start)

    def _insert(self) -> None:
        """Do what the collector writes for a request, and the ingest worker for a bulk."""
        now = self._now
        came = [Accepted("src_bench", uuid4().bytes, None, False, now, _BODY) for _ in range(EVENTS_AT_ONCE)]
        with self._ledger.write() as connection:
            ids = inbox.accept_events(connection, came, now)
        new = [self._new(number, now) for number in range(EVENTS_AT_ONCE)]
        with self._ledger.write() as connection:
            inbox.take_events(connection, ids)
            new_deliveries.insert_deliveries(connection, self._ledger.vault, new, now)

    def _new(self, number: int, now: float) -> NewDelivery:
        return NewDelivery(
            source_id="src_bench",
            integration_id=self._shop.number,
            ad_account=self._shop.ad_account,
            test=False,
            offline=False,
            event_id=uuid4().hex,
            event_name="page_visit",
            source_name="Page Viewed",
            event_time=int(now),
            accepted_at=now,
            state=State.OPEN,
            payload=_BODY,
            size_bytes=len(_BODY),
            order_key=uuid4().bytes if number % 10 == 0 else None,
            anonymous_key=uuid4().bytes,
        )

    def _settle(self, batch_id: int) -> None:
        """Do what the delivery worker reads and writes for a batch."""
        with self._ledger.write() as connection:
            started = batches.start_batch(connection, batch_id, 60.0, self._now)
        assert isinstance(started, StartedBatch)
        with self._ledger.read() as connection:
            members = batches.batch_members(connection, batch_id)
        with self._ledger.write() as connection:
            assert batches.settle_batch(connection, started, members, [], self._now)

    def _count(self) -> None:
        """Read what Prometheus reads, each time with an expired cache."""
        self._clock += _REMEMBERED_SECONDS
        assert b"signal_deliveries" in self._exporter.text()

    def _remove(self) -> int:
        """Delete the oldest events in the steps of retention."""
        removed = 0
        for _ in range(0, EVENTS_A_ROUND, EVENTS_AT_ONCE):
            with self._ledger.read() as connection:
                ids = expired.ended_delivery_ids(connection, self._oldest, EVENTS_AT_ONCE)
            with self._ledger.write() as connection:
                removed += expired.purge_deliveries(
                    connection, self._ledger.vault, ids, self._oldest, self._now
                )
                expired.purge_batches(connection, self._oldest, EVENTS_AT_ONCE)
        return removed


def run(quick: bool = False) -> list[Result]:
    """Measure all sizes in turn, a round of each after the other, on both databases."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        rows = _measure("SQLite", lambda: history.sqlite(Path(folder)), quick)
    if answers(POSTGRESQL.replace("+psycopg", "")):
        return rows + _measure("PostgreSQL", _lend_postgresql, quick)
    print(f"  PostgreSQL: does not answer at {urlsplit(POSTGRESQL).hostname}, so nothing was measured")
    return rows


def _lend_postgresql() -> AbstractContextManager[Ledger]:
    return history.postgresql(POSTGRESQL)


def run_ten_million(quick: bool = False) -> list[Result]:
    """Measure PostgreSQL with ten million events in turn with a hundred thousand."""
    if not answers(POSTGRESQL.replace("+psycopg", "")):
        print(f"  PostgreSQL: does not answer at {urlsplit(POSTGRESQL).hostname}, so nothing was measured")
        return []
    return _measure("PostgreSQL", _lend_postgresql, quick, MANY, history.SMALL_PAYLOAD_BYTES, "ten-million")


def _measure(
    name: str,
    lend: Callable[[], AbstractContextManager[Ledger]],
    quick: bool,
    all_sizes: Sequence[int] = SIZES,
    payload_bytes: int = history.PAYLOAD_BYTES,
    row: str = "growth",
) -> list[Result]:
    sizes, rounds = (SIZES[:2], 2) if quick else (all_sizes, ROUNDS)
    with ExitStack() as stack:
        sites = {size: Site(stack.enter_context(lend()), size, payload_bytes) for size in sizes}
        for _ in range(1 + rounds):
            for site in sites.values():
                site.round()
        costs = {size: site.costs for size, site in sites.items()}
    return [
        _growing(row, name, operation, {size: costs[size][operation] for size in sizes})
        for operation in OPERATIONS
    ]


def _growing(row: str, name: str, operation: str, costs: Mapping[int, float]) -> Result:
    *smaller, largest = costs
    dearest = max(costs.values()) / min(costs.values())
    return Result(
        row,
        f"{name}, {operation}, {largest:,} events kept",
        "µs an event",
        costs[largest],
        {f"with {size:,} kept": costs[size] for size in smaller},
        (Goal("the slowest size at most 1.15 times the fastest", GOAL, dearest, at_most=True),),
    )
