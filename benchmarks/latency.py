"""Row "latency": how long a caller waits, and how long an event takes, at 200 and 1,000 single events a second."""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from os import cpu_count
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

from sqlalchemy import func, select

from benchmarks.processes import busy_seconds, cpu_seconds
from benchmarks.results import Goal, Result
from benchmarks.stacks import running, shop
from benchmarks.traffic import ANSWER_SECONDS, event
from tests.integration.shop import Shop
from tests.integration.stack import Stack, frozen_broker
from tests.integration.waiting import until
from worker.ledger.schema import BatchStatus, batch, delivery

EVENTS_A_SECOND, MANY_A_SECOND = 200, 1_000
CONNECTIONS = 16
# For the clients to make all requests before the first is due.
PREPARE_SECONDS = 3.0
# At the higher rate one process would itself be late.
CLIENT_PROCESSES, MANY_SECONDS = 4, 20.0
ACCEPT_P99_MS, SQLITE_P99_MS = 50.0, 30.0
WARM_UP_SECONDS, FROZEN_SECONDS = 5.0, 15.0
ARRIVAL_SECONDS = 60.0
ADDRESSES = {"page": "p", "track": "t"}


@dataclass(frozen=True, slots=True)
class Times:
    """Durations in milliseconds, requests answered per second, and the share of a core that the clients used."""

    sorted_ms: Sequence[float]
    rate: float = 0.0
    clients: float = 0.0

    def at(self, share: float) -> float:
        """Return the quantile of a share between 0 and 1."""
        return self.sorted_ms[min(len(self.sorted_ms) - 1, int(share * len(self.sorted_ms)))]


def run(quick: bool = False) -> list[Result]:
    """Send at a steady pace, on both stacks, and on the embedded one also while its broker is frozen."""
    seconds = 5.0 if quick else 60.0
    rows: list[Result] = []
    for broker, database, case in (
        ("rabbitmq", "postgresql", "RabbitMQ + PostgreSQL"),
        ("valkey", "sqlite", "Valkey + SQLite"),
    ):
        with running(broker, database) as stack:
            target = shop(stack)
            pace(target, WARM_UP_SECONDS)
            start = time.time()
            times = pace(target, seconds)
            rows += [_accepting(case, times), _delivering(case, stack, start, len(times.sorted_ms))]
            if broker == "valkey":
                with frozen_broker(stack):
                    frozen_times = pace(target, min(seconds, FROZEN_SECONDS))
                rows.append(_accepting(f"{case}, broker frozen", frozen_times))
                # Workers find their lost connections one by one; until then they could not stop.
                stack.await_ready()
    return [*rows, _many(seconds=5.0 if quick else MANY_SECONDS)]


class _Work(NamedTuple):
    """Requests to send: each number at its time after ``began``, which is of the machine's monotonic clock."""

    url: str
    key: str
    prefix: str
    rate: int
    began: float
    numbers: range


class _Sent(NamedTuple):
    """When each event was due and when it was answered, and the processor time of the clients."""

    answered: list[tuple[float, float]]
    cpu_seconds: float


Send = Callable[[Sequence[_Work]], _Sent]


def pace(target: Shop, seconds: float, rate: int = EVENTS_A_SECOND, send: Send | None = None) -> Times:
    """Post single events at their times, whatever the answers take; return how late each answer came.

    The time runs from when an event was due, so that an answer that holds up others counts for them too.
    """
    count = int(seconds * rate)
    start = time.monotonic() + PREPARE_SECONDS
    work = _Work(target.stack.collector_url, target.key, uuid4().hex[:8], rate, start, range(count))
    connections = CONNECTIONS * CLIENT_PROCESSES if send else CONNECTIONS
    parts = [work._replace(numbers=range(first, count, connections)) for first in range(connections)]
    sent = (send or _send_all)(parts)
    latencies = sorted((at - due) * 1e3 for due, at in sent.answered)
    duration = max(at for _, at in sent.answered) - start
    return Times(latencies, len(latencies) / duration, sent.cpu_seconds / duration)


@contextmanager
def client_processes() -> Iterator[Send]:
    """Lend a way to send from several processes."""
    with ProcessPoolExecutor(CLIENT_PROCESSES, get_context("spawn")) as pool:
        # Starting them would delay the first requests.
        list(pool.map(time.sleep, [1.0] * CLIENT_PROCESSES))

        def send(parts: Sequence[_Work]) -> _Sent:
            shares = [parts[first::CLIENT_PROCESSES] for first in range(CLIENT_PROCESSES)]
            sent = list(pool.map(_send_all, shares))
            times = [pair for share in sent for pair in share.answered]
            return _Sent(times, sum(share.cpu_seconds for share in sent))

        yield send


def _send_all(parts: Sequence[_Work]) -> _Sent:
    """Send each part over its own connection."""
    request_lists = [_requests(part) for part in parts]
    before = time.process_time()
    with ThreadPoolExecutor(len(parts)) as pool:
        times = [pair for pairs in pool.map(_answers, parts, request_lists) for pair in pairs]
    return _Sent(times, time.process_time() - before)


def _requests(part: _Work) -> list[bytes]:
    since = time.time() + part.began - time.monotonic()
    return [_request(part, event(part.prefix, place, since + place / part.rate)) for place in part.numbers]


def _answers(part: _Work, requests: Sequence[bytes]) -> list[tuple[float, float]]:
    """Send requests over a kept-alive connection; a client library would cost half as much as the collector."""
    address = urlsplit(part.url)
    times: list[tuple[float, float]] = []
    with socket.create_connection((address.hostname, address.port), ANSWER_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, request in zip(part.numbers, requests, strict=True):
            due = part.began + number / part.rate
            time.sleep(max(0.0, due - time.monotonic()))
            connection.sendall(request)
            _read_answer(connection)
            times.append((due, time.monotonic()))
    return times


def _request(part: _Work, call: dict[str, Any]) -> bytes:
    body = json.dumps(call).encode()
    head = (
        f"POST /v1/{ADDRESSES[call['type']]} HTTP/1.1\r\nHost: {urlsplit(part.url).netloc}\r\n"
        f"Authorization: Bearer {part.key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _read_answer(connection: socket.socket) -> None:
    """Read one answer as a whole; all answers of the collector have a length."""
    answer = b""
    while not answer.endswith(b"}") or b"\r\n\r\n" not in answer:
        chunk = connection.recv(65_536)
        if not chunk:
            raise RuntimeError(f"the collector closed the connection after {answer[:300]!r}")
        answer += chunk
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the collector answered {answer[:300]!r}")


def _many(seconds: float) -> Result:
    """Send single requests at a rate at which they are the load of a large shop."""
    with (
        running("rabbitmq", "postgresql", PUBLIC_REQUESTS_PER_SECOND="1000000") as stack,
        client_processes() as send,
    ):
        target = shop(stack)
        pace(target, WARM_UP_SECONDS, MANY_A_SECOND, send)
        before, busy_before = cpu_seconds(stack), busy_seconds()
        times = pace(target, seconds, MANY_A_SECOND, send)
        after, duration = cpu_seconds(stack), len(times.sorted_ms) / times.rate
        cores_used = (busy_seconds() - busy_before) / duration
    shares = {name: (after[name] - before[name]) / duration for name in after} | {"clients": times.clients}
    shares["all other processes"] = max(0.0, cores_used - sum(shares.values()))
    result = _accepting(f"RabbitMQ + PostgreSQL, {MANY_A_SECOND:,} requests per second", times)
    return replace(
        result,
        unit=f"{result.unit}; {times.rate:,.0f} requests/s answered; share of one core: {_shares(shares)}",
    )


def _shares(shares: Mapping[str, float]) -> str:
    parts = sorted(shares.items(), key=lambda part: -part[1])
    return (
        ", ".join(f"{name} {share:.0%}" for name, share in parts if share >= 0.01)
        + f" of {cpu_count()} cores"
    )


def _accepting(case: str, times: Times) -> Result:
    p50, p99 = times.at(0.5), times.at(0.99)
    limit = SQLITE_P99_MS if "SQLite" in case else ACCEPT_P99_MS
    goal = Goal(f"accepted within {limit:.0f} ms at p99", limit, p99, at_most=True)
    return Result("latency", f"{case}, accepting", f"ms at p99, {p50:.1f} at p50", p99).with_goals(goal)


def _delivering(case: str, stack: Stack, start: float, count: int) -> Result:
    """Hold the time from acceptance until the answer of the sandbox was written down, event by event."""
    times = until(f"{count} events are delivered", _delivered(stack, start, count), ARRIVAL_SECONDS)
    p50, p99 = times.at(0.5), times.at(0.99)
    limit = (2 * stack.settings.batch_interval_seconds + 1) * 1e3
    goal = Goal("delivered within twice `BATCH_INTERVAL` and 1 s, in ms at p99", limit, p99, at_most=True)
    return Result("latency", f"{case}, delivering", f"ms at p99, {p50:,.0f} at p50", p99).with_goals(goal)


def _delivered(stack: Stack, start: float, count: int) -> Callable[[], Times | None]:
    duration = (batch.c.settled_at - delivery.c.accepted_at) * 1e3
    query = (
        select(duration)
        .join(batch, batch.c.id == delivery.c.batch_id)
        .where(batch.c.status == BatchStatus.SETTLED.value, delivery.c.accepted_at >= start)
        .order_by(duration)
    )

    def look() -> Times | None:
        with stack.ledger() as ledger, ledger.read() as connection:
            times = [float(duration_ms) for duration_ms in connection.scalars(query)]
            pending = connection.scalar(select(func.count()).where(delivery.c.batch_id.is_(None))) or 0
        return Times(times) if len(times) >= count and not pending else None

    return look
