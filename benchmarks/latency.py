"""Row "latency": how long a caller waits, and how long an event takes, at 200 single events a second."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import uuid4

from sqlalchemy import func, select

from benchmarks.results import Goal, Result
from benchmarks.stacks import running, shop
from benchmarks.traffic import ANSWER_SECONDS, event
from tests.integration.shop import Shop
from tests.integration.stack import Stack, frozen_broker
from tests.integration.waiting import until
from worker.ledger.schema import BatchStatus, batch, delivery

EVENTS_A_SECOND = 200
CONNECTIONS = 16
ACCEPT_P99_MS = 50.0
WARM_UP_SECONDS, FROZEN_SECONDS = 5.0, 15.0
ARRIVAL_SECONDS = 60.0
ADDRESSES = {"page": "p", "track": "t"}


@dataclass(frozen=True, slots=True)
class Times:
    """Durations in milliseconds."""

    sorted_ms: list[float]

    def at(self, share: float) -> float:
        """Return the quantile of a share between 0 and 1."""
        return self.sorted_ms[min(len(self.sorted_ms) - 1, int(share * len(self.sorted_ms)))]


def run(quick: bool = False) -> list[Result]:
    """Send at a steady pace, on both stacks, and on the embedded one also while its broker is frozen."""
    seconds = 5.0 if quick else 60.0
    found: list[Result] = []
    for broker, database, case in (
        ("rabbitmq", "postgresql", "RabbitMQ + PostgreSQL"),
        ("valkey", "sqlite", "Valkey + SQLite"),
    ):
        with running(broker, database) as stack:
            target = shop(stack)
            pace(target, WARM_UP_SECONDS)
            began = time.time()
            accepted = pace(target, seconds)
            found += [_accepting(case, accepted), _delivering(case, stack, began, len(accepted.sorted_ms))]
            if broker == "valkey":
                with frozen_broker(stack):
                    late = pace(target, min(seconds, FROZEN_SECONDS))
                found.append(_accepting(f"{case}, broker frozen", late))
                # Workers find their lost connections one by one; until then they could not stop.
                stack.await_ready()
    return found


def pace(target: Shop, seconds: float) -> Times:
    """Post single events at their times, whatever the answers take; return how late each answer came.

    The time runs from when an event was due, so that an answer that holds up others counts for them too.
    """
    count, began = int(seconds * EVENTS_A_SECOND), time.perf_counter() + 0.2
    late: list[float] = []
    failures: list[BaseException] = []

    def post(first: int) -> None:
        try:
            for number, answered in _answers(target, range(first, count, CONNECTIONS), began):
                late.append((answered - began - number / EVENTS_A_SECOND) * 1e3)
        except BaseException as failure:  # noqa: BLE001 - raised below
            failures.append(failure)

    threads = [threading.Thread(target=post, args=(first,)) for first in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return Times(sorted(late))


def _answers(target: Shop, numbers: range, began: float) -> Iterator[tuple[int, float]]:
    address, prefix = urlsplit(target.stack.collector_url), uuid4().hex[:8]
    assert address.hostname
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=ANSWER_SECONDS)
    headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"}
    for number in numbers:
        one = event(prefix, number, time.time())
        body = json.dumps(one).encode()
        time.sleep(max(0.0, began + number / EVENTS_A_SECOND - time.perf_counter()))
        connection.request("POST", f"/v1/{ADDRESSES[one['type']]}", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the collector answered {answer.status}: {text[:300]!r}")
        yield number, time.perf_counter()
    connection.close()


def _accepting(case: str, times: Times) -> Result:
    p50, p99 = times.at(0.5), times.at(0.99)
    goal = Goal(f"accepted within {ACCEPT_P99_MS:.0f} ms at p99", ACCEPT_P99_MS, p99, at_most=True)
    return Result("latency", f"{case}, accepting", f"ms at p99, {p50:.1f} at p50", p99).with_goals(goal)


def _delivering(case: str, stack: Stack, began: float, count: int) -> Result:
    """Hold the time from acceptance until the answer of the sandbox was written down, event by event."""
    times = until(f"{count} events are delivered", _delivered(stack, began, count), ARRIVAL_SECONDS)
    p50, p99 = times.at(0.5), times.at(0.99)
    most = (2 * stack.settings.batch_interval_seconds + 1) * 1e3
    goal = Goal("delivered within twice `BATCH_INTERVAL` and 1 s, in ms at p99", most, p99, at_most=True)
    return Result("latency", f"{case}, delivering", f"ms at p99, {p50:,.0f} at p50", p99).with_goals(goal)


def _delivered(stack: Stack, began: float, count: int) -> Callable[[], Times | None]:
    took = (batch.c.settled_at - delivery.c.accepted_at) * 1e3
    ended = (
        select(took)
        .join(batch, batch.c.id == delivery.c.batch_id)
        .where(batch.c.status == BatchStatus.SETTLED.value, delivery.c.accepted_at >= began)
        .order_by(took)
    )

    def look() -> Times | None:
        with stack.ledger() as ledger, ledger.read() as connection:
            times = [float(one) for one in connection.scalars(ended)]
            waiting = connection.scalar(select(func.count()).where(delivery.c.batch_id.is_(None))) or 0
        return Times(times) if len(times) >= count and not waiting else None

    return look
