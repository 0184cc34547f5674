"""Print where an event's processor time goes in the ingest worker: ``python -m benchmarks.ingest_parts``.

It ingests the traffic of the row `scale` in this process, in bulks of 500 on PostgreSQL, and measures the thread's
processor time by part. Reading messages and Celery's run of a task are not in it; see the row `consume`.
"""

import gc
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from sqlalchemy import Connection

from benchmarks import history
from benchmarks.growth import POSTGRESQL
from benchmarks.traffic import event
from worker.event.received import Trust, received_from_server
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.vault import Vault
from worker.pipeline.ingest import ingest_bulk, map_rows, outcomes
from worker.pipeline.ingest.accepting import prepare_event
from worker.pipeline.ingest.outcomes import BulkVisitors

EVENTS_A_BULK, BULKS, WARM_UP_BULKS = 500, 40, 4
SEALING, STATEMENTS = "sealing, opening and keyed hashes", "SQL statements: building, sending, commit"
REST = "the rest: rows read, order of the bulk, budget of an event"
# Each part without the parts that it calls.
PARTS: tuple[tuple[str, Any, str], ...] = (
    ("mapping: from the event to the payload", outcomes, "map_events"),
    ("mapping: the payload's JSON", outcomes, "encode_payload"),
    ("parsing the event, finding its click ids", map_rows, "open_row"),
    ("what is known of the visitor", BulkVisitors, "learn"),
    ("the delivery's row", outcomes, "_to_delivery"),
    ("sorting, counting and arranging rows for the statements", ingest_bulk, "_write"),
    *((SEALING, Vault, name) for name in ("seal", "open", "keyed_hash")),
    *((STATEMENTS, Connection, name) for name in ("execute", "scalar", "scalars", "commit")),
)


class _Stopwatch:
    """Add up a thread's processor time by part; a part's time stops while it calls another one."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._thread = threading.get_ident()
        self._part, self._since = REST, time.thread_time()

    def timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``work`` with its time counted for a part."""

        def run(*args: Any, **options: Any) -> Any:
            if threading.get_ident() != self._thread:
                return work(*args, **options)
            outer = self._part
            self._switch(part)
            try:
                return work(*args, **options)
            finally:
                self._switch(outer)

        return run

    def _switch(self, part: str) -> None:
        now = time.thread_time()
        self.seconds[self._part] += now - self._since
        self._part, self._since = part, now


@contextmanager
def _watched() -> Iterator[_Stopwatch]:
    with ExitStack() as patches:
        watch = _Stopwatch()
        for part, holder, name in PARTS:
            patches.enter_context(patch.object(holder, name, watch.timed(part, getattr(holder, name))))
        yield watch


def _accept(ledger: Ledger) -> list[int]:
    """Do what the collector does for a request of unsigned events."""
    now, prefix = ledger.now(), uuid4().hex[:8]
    events = [event(prefix, number, now) for number in range(EVENTS_A_BULK)]
    accepted = [
        prepare_event(
            one,
            lambda raw: received_from_server(raw, now),
            history.PLACE.source_id,
            ledger.vault,
            Trust.PUBLIC,
        )
        for one in events
    ]
    with ledger.write() as connection:
        return inbox.accept_events(connection, accepted, now)


def measure(ledger: Ledger, bulks: int = BULKS) -> Mapping[str, float]:
    """Return the microseconds of a processor for each event, by part."""
    history.shop(ledger)
    for _ in range(WARM_UP_BULKS):
        ingest_bulk.ingest(ledger, _accept(ledger))
    waiting = [_accept(ledger) for _ in range(bulks)]
    # The worker collects garbage between its bulks.
    gc.collect()
    gc.disable()
    try:
        with _watched() as watch:
            for ids in waiting:
                watch.timed(REST, ingest_bulk.ingest)(ledger, ids)
    finally:
        gc.enable()
    events = bulks * EVENTS_A_BULK
    return {part: seconds / events * 1e6 for part, seconds in watch.seconds.most_common()}


def main() -> None:
    """Measure on the PostgreSQL server of the row `growth` and print the table of docs/performance.md."""
    with history.postgresql(POSTGRESQL) as ledger:
        used = measure(ledger)
    total = sum(used.values())
    print(f"| part of {total:.0f} µs an event | % |\n|---|---|")
    for part, spent in used.items():
        print(f"| {part} | {100 * spent / total:.0f} |")


if __name__ == "__main__":
    main()
