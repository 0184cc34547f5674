"""Row "consume": hints from a real broker's queue into a table, compared with Celery tasks and bare kombu."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

from kombu import Connection

from benchmarks.publish import AT_ONCE, ONE_QUEUE, RABBITMQ, an_app, answers, four_queues, valkey
from benchmarks.results import Goal, Result, of_rounds
from worker.broker.bulk import BulkTask
from worker.broker.publisher import publish_many

TASK_EACH, FLOOR = "a task for each", "bare kombu, 500 a row set"
DEADLINE_SECONDS = 120
BULK = "bench.bulk"
STOCK = "bench.stock"
# Options of both kinds of worker: threads, as SQLite requires.
OPTIONS = ("-P", "threads", "-c", "2", "--without-gossip", "--without-mingle", "-l", "error")

_local = threading.local()


class Size(NamedTuple):
    """The amount of work to measure; our worker empties a short queue too fast to measure."""

    rounds: int
    events: int
    our_events: int
    stock_events: int


USUAL, QUICK = Size(3, 12_000, 60_000, 3_000), Size(1, 3_000, 20_000, 500)


def insert(ids: Sequence[int]) -> None:
    """Write ids in one transaction, as durably as the ledger does; a second copy changes nothing."""
    if not hasattr(_local, "database"):
        _local.database = sqlite3.connect(os.environ["BENCH_TABLE"], isolation_level=None, timeout=30)
        _local.database.execute("PRAGMA synchronous=FULL")
    database: sqlite3.Connection = _local.database
    database.execute("BEGIN IMMEDIATE")
    rows = [(id_, time.time()) for id_ in ids]
    database.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", rows)
    database.execute("COMMIT")


def _create_table(path: Path) -> None:
    """Create the table before any worker runs: the first threads to set its journal mode would lock each other out."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE seen (id INTEGER PRIMARY KEY, at REAL)")


def insert_one(id_: int) -> None:
    """Do for one event what the bulk does for many."""
    insert([id_])


def worker_app() -> Any:
    """Return the app of the workers that are measured: ``celery -A benchmarks.consume:app``."""
    url, bulk = os.environ["BENCH_BROKER"], os.environ["BENCH_KIND"] == "ours"
    app = an_app(url, *os.environ["BENCH_QUEUE"].split(","), task_acks_late=True)
    if bulk:
        app.conf.worker_consumer = "worker.broker.celery_internals:RateLimitedConsumer"
        app.conf.worker_disable_prefetch = not url.startswith("amqp")
        for queue in app.conf.task_queues:
            queue.no_ack = not url.startswith("amqp")
    else:
        app.conf.worker_prefetch_multiplier = 128
    app.task(shared=False, base=BulkTask, name=BULK)(insert)
    app.task(shared=False, name=STOCK)(insert_one)
    return app


def run(quick: bool = False) -> list[Result]:
    """Take hints out of Valkey's and RabbitMQ's queues in three ways."""
    size = QUICK if quick else USUAL
    print(
        f"  both kinds of worker: {' '.join(OPTIONS)}; late acknowledgement; Celery's way with prefetch 128"
    )
    with ExitStack() as stack:
        valkey_url = stack.enter_context(valkey())
        rows = [_measure("Valkey, append-only file on, ours without acknowledgements", valkey_url, size)]
        if answers(RABBITMQ):
            rows.append(_measure("RabbitMQ, quorum queue, acknowledged", RABBITMQ, size))
            rows.append(_measure_queues("RabbitMQ, four quorum queues of one node", RABBITMQ, size))
        else:
            print(f"  RabbitMQ: does not answer at {urlsplit(RABBITMQ).hostname}, so nothing was measured")
    return rows


def _measure(name: str, url: str, size: Size) -> Result:
    kinds = {
        "ours": partial(_with_worker, "ours", BULK, size.our_events),
        TASK_EACH: partial(_with_worker, "stock", STOCK, size.stock_events),
        FLOOR: partial(_floor, size.events),
    }
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(size.rounds):
        for kind, measure in kinds.items():
            with tempfile.TemporaryDirectory() as folder:
                rates[kind].append(measure(url, f"bench-{uuid4().hex[:8]}", Path(folder) / "seen.db"))
    result = of_rounds("consume", f"{name}; rows into SQLite, synchronous=FULL", "events/s", rates)
    return result.with_goals(
        Goal(f"4 times {TASK_EACH}", 4, result.ratios[TASK_EACH]),
        Goal(f"twice {FLOOR}", 2, result.ratios[FLOOR]),
    )


def _measure_queues(name: str, url: str, size: Size) -> Result:
    """Let one worker take the same hints out of four queues and out of one, in turn."""
    rates: dict[str, list[float]] = {"ours": [], ONE_QUEUE: []}
    for _ in range(size.rounds):
        for kind, values in rates.items():
            queues = four_queues()[: 4 if kind == "ours" else 1]
            with tempfile.TemporaryDirectory() as folder:
                table = Path(folder) / "seen.db"
                values.append(_with_worker("ours", BULK, size.our_events, url, ",".join(queues), table))
    return of_rounds("consume", f"{name}; rows into SQLite, synchronous=FULL", "events/s", rates)


def _with_worker(kind: str, task: str, count: int, url: str, queues: str, table: Path) -> float:
    names = queues.split(",")
    _create_table(table)
    publish_many(an_app(url, *names), task, [(id_,) for id_ in range(count)], *names)
    variables = {"BENCH_BROKER": url, "BENCH_QUEUE": queues, "BENCH_KIND": kind, "BENCH_TABLE": str(table)}
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "celery",
        "-A",
        "benchmarks.consume:app",
        "worker",
        *OPTIONS,
    ]
    worker = subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL)
    try:
        return _wait_and_rate(table, count)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)
        for name in names:
            _delete(url, name)


def _floor(count: int, url: str, queue: str, table: Path) -> float:
    """Take messages with kombu's consumer, write 500 at a time and settle as ours does: no tasks at all."""
    publish_many(an_app(url, queue), BULK, [(id_,) for id_ in range(count)], queue)
    _create_table(table)
    os.environ["BENCH_TABLE"] = str(table)
    vars(_local).clear()
    no_ack, messages, settled = not url.startswith("amqp"), [], [0]

    def on_message(message: Any) -> None:
        messages.append(message)
        if len(messages) == AT_ONCE:
            insert([message.payload[0][0] for message in messages])
            for unacked in () if no_ack else messages:
                unacked.ack()
            settled[0] += len(messages)
            messages.clear()

    with Connection(url) as connection:
        bound = an_app(url, queue).amqp.queues[queue]
        options: Any = {"on_message": on_message, "prefetch_count": 3 * AT_ONCE, "no_ack": no_ack}
        with connection.Consumer([bound], **options):
            while settled[0] < count:
                connection.drain_events(timeout=10)
    _delete(url, queue)
    return _wait_and_rate(table, count)


def _count(table: Path) -> int:
    return int(_query(table, "SELECT count(*) FROM seen")[0])


def _wait_and_rate(table: Path, count: int) -> float:
    """Return rows a second from the first commit to the last, the first one's own rows left out."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while _count(table) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {_count(table)} of {count} came out of the queue")
        time.sleep(0.1)
    first, last = _query(table, "SELECT min(at), max(at) FROM seen")
    (later,) = _query(table, "SELECT count(*) FROM seen WHERE at > (SELECT min(at) + 0.05 FROM seen)")
    return float(later / (last - first - 0.05))


def _query(table: Path, statement: str) -> Any:
    database = sqlite3.connect(table, timeout=30)
    try:
        return database.execute(statement).fetchone()
    finally:
        database.close()


def _delete(url: str, queue: str) -> None:
    with Connection(url) as connection:
        an_app(url, queue).amqp.queues[queue](connection.default_channel).delete()


if "BENCH_KIND" in os.environ:
    app = worker_app()
