"""Bulk tasks against real brokers and real workers."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from tests.broker.harness import Broker, Worker, running, wait_until
from worker.broker.bulk import BulkTask, _BulkBuffer, _widen_prefetch
from worker.broker.publisher import publish_many

BULK_MAX = 100  # As the sample app has it.


POOLS = ("solo", "threads", "prefork")
SERVICE, SLOW = pytest.mark.services, pytest.mark.slow
# All pools on one broker and one pool on another; the slow tests have the rest.
BROKERS_AND_POOLS = [
    *(pytest.param("valkey", pool) for pool in POOLS),
    pytest.param("rabbitmq", "threads", marks=SERVICE),
    *(pytest.param("rabbitmq", pool, marks=[SERVICE, SLOW]) for pool in ("solo", "prefork")),
    *(pytest.param("redis", pool, marks=[SERVICE, SLOW]) for pool in POOLS),
]


def publish_ids(broker: Broker, ids: range | list[int], task: str = "sample.gather") -> None:
    publish_many(broker.app(), task, [(id_,) for id_ in ids], broker.queue)


@pytest.mark.parametrize(("broker", "pool"), BROKERS_AND_POOLS, indirect=["broker"])
def test_many_messages_of_all_kinds_become_few_runs(broker: Broker, pool: str, tmp_path: Path) -> None:
    """Hints run in bulks, what is more than a hint runs for itself, and a bad one costs no other."""
    app = broker.app()
    publish_ids(broker, range(150))
    app.send_task("sample.gather", ("no id",))
    app.send_task("sample.gather", ([1000, 1001, 1000],))
    app.send_task("sample.gather", (1002,), countdown=0.5)
    app.send_task("sample.gather", (9999,), expires=datetime.now(UTC) - timedelta(hours=1))
    app.send_task("sample.gather", kwargs={"ids": 1003})
    publish_ids(broker, range(150, 300))
    expected = [*range(300), 1000, 1001, 1002, 1003]
    with running(Worker(broker, tmp_path, "-P", pool, "-c", "2")) as worker:
        wait_until(lambda: len(worker.ids()) >= len(expected))
        assert expected == sorted(worker.ids())
        sizes = [len(note["ids"]) for note in worker.notes()]
        # How full a bulk gets is a matter of how quick this machine is.
        assert max(sizes) <= BULK_MAX
        assert len(sizes) <= 100
        assert worker.stop() == 0
        assert broker.depth() == 0
        assert "neither an id nor a list of ids: str" in worker.log()


@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_bulks_are_filled_up_at_once_where_nothing_is_acknowledged(
    valkey: Broker, pool: str, tmp_path: Path
) -> None:
    """What is no hint goes the usual way from there too, in among the hints."""
    app = valkey.app()
    for tens in range(10):
        publish_ids(valkey, range(tens * 100, tens * 100 + 100))
        app.send_task("sample.gather", kwargs={"ids": 1000 + tens})
        app.send_task("sample.unheard_of", (tens,))
        with app.connection_for_write() as connection:
            channel: Any = connection.default_channel
            channel.client.lpush(valkey.queue, f"no message {tens}")
    with running(Worker(valkey, tmp_path, "-P", pool, "-c", "2", SAMPLE_NO_ACK="1")) as worker:
        wait_until(lambda: len(worker.ids()) >= 1010)
        assert list(range(1010)) == sorted(worker.ids())
        assert len(worker.notes()) <= 30
        assert wait_until(lambda: worker.log().count("unknown_task', 'task': 'sample.unheard_of'") == 10)
        assert wait_until(lambda: worker.log().count("message_unreadable") == 10)
        assert worker.stop() == 0
    assert valkey.depth() == 0


@pytest.mark.parametrize("pool", ["threads", pytest.param("prefork", marks=pytest.mark.slow)])
def test_a_warm_shutdown_loses_nothing(broker: Broker, pool: str, tmp_path: Path) -> None:
    publish_ids(broker, range(3000))
    with running(Worker(broker, tmp_path, "-P", pool, "-c", "2", SAMPLE_TASK_SECONDS="0.05")) as worker:
        assert wait_until(lambda: len(worker.notes()) >= 3)
        assert worker.stop() == 0
    assert len(worker.ids()) < 3000
    with running(Worker(broker, tmp_path, "-P", pool, "-c", "2")) as successor:
        wait_until(lambda: len(set(successor.ids())) == 3000)
    assert list(range(3000)) == sorted(set(successor.ids()))
    assert broker.depth() == 0


@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_a_warm_shutdown_works_off_what_is_gathered(valkey: Broker, pool: str, tmp_path: Path) -> None:
    """Without acknowledgements the broker no longer has these messages."""
    publish_ids(valkey, range(650))
    options = {"SAMPLE_NO_ACK": "1", "SAMPLE_TASK_SECONDS": "0.05"}
    with running(Worker(valkey, tmp_path, "-P", pool, "-c", "2", **options)) as worker:
        assert wait_until(lambda: len(worker.notes()) >= 3)
        assert worker.stop() == 0
    assert len(worker.ids()) + valkey.depth() == 650
    assert valkey.depth() > 0


def test_a_killed_worker_leaves_its_bulk_to_the_next(rabbitmq: Broker, tmp_path: Path) -> None:
    publish_ids(rabbitmq, range(300))
    with running(Worker(rabbitmq, tmp_path, "-P", "prefork", "-c", "2", SAMPLE_TASK_SECONDS="5")) as worker:
        assert wait_until(lambda: worker.log().count("received") >= 2)
        worker.kill()
    assert worker.ids() == []
    with running(Worker(rabbitmq, tmp_path, "-P", "prefork", "-c", "2")) as successor:
        wait_until(lambda: len(set(successor.ids())) == 300)
        assert list(range(300)) == sorted(successor.ids())


def test_a_rejected_bulk_goes_back_as_a_whole(broker: Broker, tmp_path: Path) -> None:
    publish_ids(broker, range(10), "sample.refuse_once")
    with running(Worker(broker, tmp_path, "-P", "solo")) as worker:
        wait_until(lambda: len(worker.ids()) >= 20)
        assert sorted([*range(10), *range(10)]) == sorted(worker.ids())
        assert worker.stop() == 0
    assert broker.depth() == 0


def test_time_limits_are_for_the_bulk(valkey: Broker, tmp_path: Path) -> None:
    publish_ids(valkey, range(10), "sample.too_slow")
    with running(Worker(valkey, tmp_path, "-P", "prefork", "-c", "1")) as worker:
        assert wait_until(lambda: "SoftTimeLimitExceeded" in worker.log())
        assert worker.log().count("Soft time limit (0.3s) exceeded") == 1
        assert worker.notes() == []


def test_events_speak_of_the_bulk(valkey: Broker, tmp_path: Path) -> None:
    """Flower sees one task for a bulk: received, started and succeeded, with how many ids it had."""
    publish_ids(valkey, range(250))
    options = ("-P", "threads", "-c", "1", "-E")
    with (
        captured_events(valkey.app()) as seen,
        running(Worker(valkey, tmp_path, *options, SAMPLE_BULK_SECONDS="2")) as worker,
    ):
        wait_until(lambda: sum(event["type"] == "task-succeeded" for event in seen) == 3)
    runs = [note["id"] for note in worker.notes()]
    for kind in ("task-received", "task-started", "task-succeeded"):
        assert sorted(runs) == sorted(event["uuid"] for event in seen if event["type"] == kind)
    received = [event["args"] for event in seen if event["type"] == "task-received"]
    assert received == ["(100 ids: 0 to 99,)", "(100 ids: 100 to 199,)", "(50 ids: 200 to 249,)"]


@contextmanager
def captured_events(app: Celery) -> Iterator[list[dict[str, Any]]]:
    """Collect what Flower would see."""
    seen: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": seen.append})
        thread = threading.Thread(target=receiver.capture, kwargs={"wakeup": False})
        thread.start()
        yield seen
        receiver.should_stop = True
        thread.join(5)


def test_a_revoked_message_does_not_run(valkey: Broker, tmp_path: Path) -> None:
    app = valkey.app()
    with running(Worker(valkey, tmp_path, "-P", "solo")) as worker:
        app.control.revoke("revoked-one", destination=None)
        assert wait_until(lambda: "revoked-one" in worker.log())
        app.send_task("sample.gather", (1,), task_id="revoked-one")
        app.send_task("sample.gather", (2,), task_id="another")
        wait_until(lambda: worker.ids() == [2])
        assert worker.ids() == [2]
        assert "Discarding revoked task: sample.gather[revoked-one]" in worker.log()


def test_a_celery_that_knows_no_bulks_runs_the_task_too() -> None:
    """``run`` gets a list, whatever the strategy."""
    app, got = Celery("plain", set_as_current=False), []

    @app.task(shared=False, base=BulkTask, name="plain.task")
    def task(ids: list[int]) -> None:
        got.append(ids)

    task.apply((7,))
    task.apply(([7, 8, 7],))
    task(9)
    assert got == [[7], [7, 8], [9]]


@pytest.mark.parametrize(
    ("slots", "prefetch", "queues", "expected"),
    [
        (1, 1, 1, (200, 200)),
        (4, 4, 1, (500, 125)),
        (2, 4000, 1, (4000, 2000)),  # More than enough stays as it is.
        (2, 0, 1, (0, 0)),  # Without bound already.
        (4, 4, 2, (250, 63)),  # Each queue has its own count.
        (4, 4, 32, (100, 25)),  # One queue alone fills a bulk.
    ],
)
def test_the_prefetch_has_room_for_the_bulks(
    slots: int, prefetch: int, queues: int, expected: tuple[int, int]
) -> None:
    pool = SimpleNamespace(num_processes=slots)
    consumer = SimpleNamespace(
        pool=pool, initial_prefetch_count=prefetch, prefetch_multiplier=prefetch // slots
    )
    _widen_prefetch(consumer, 100, queues)
    assert expected == (consumer.initial_prefetch_count, consumer.prefetch_multiplier)


class Consumer:
    """What a buffer needs of Celery's consumer: a timer that goes off when the test says so."""

    def __init__(self) -> None:
        self.connection = self.timer = self
        self.due: list[SimpleNamespace] = []

    def call_after(self, wait_seconds: float, then: Callable[[], None]) -> SimpleNamespace:
        entry = SimpleNamespace(wait_seconds=wait_seconds, then=then)
        entry.cancel = lambda: self.due.remove(entry) if entry in self.due else None
        self.due.append(entry)
        return entry

    def go_off(self) -> float:
        entry = self.due.pop(0)
        entry.then()
        return float(entry.wait_seconds)

    def call_soon_ack(self, settle: Callable[[], None]) -> None:
        settle()


@pytest.fixture
def gathering() -> tuple[Consumer, _BulkBuffer, list[Callable[[], None]]]:
    """Return a consumer, a buffer, and for each bulk that runs what ends it."""
    app, consumer, running = Celery("gathering", set_as_current=False), Consumer(), []

    @app.task(shared=False, base=BulkTask, name="gathering.task", bulk_max=100, bulk_interval_seconds=0.05)
    def task(ids: list[int]) -> None: ...

    def start_run(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:
        running.append(lambda: ack(None, ()))

    return consumer, _BulkBuffer(app.tasks["gathering.task"], consumer, start_run), running


def test_a_bulk_that_is_not_full_waits_for_the_one_that_runs(
    gathering: tuple[Consumer, _BulkBuffer, list[Callable[[], None]]],
) -> None:
    """Small bulks that run at the same time slow down the gathering thread, so that bulks become even smaller."""
    consumer, buffer, running = gathering
    buffer.add_ids([1])
    consumer.go_off()
    assert len(running) == 1
    buffer.add_ids([2])
    consumer.go_off()
    buffer.add_ids([3])
    assert len(running) == 1
    running[0]()
    assert (len(running), buffer.open_bulks, buffer._free_slots, consumer.due) == (2, 1, 0, [])


def test_a_bulk_waits_no_longer_than_ten_intervals(
    gathering: tuple[Consumer, _BulkBuffer, list[Callable[[], None]]],
) -> None:
    consumer, buffer, running = gathering
    buffer.add_ids([1])
    consumer.go_off()
    buffer.add_ids([2])
    assert consumer.go_off() + consumer.go_off() == pytest.approx(0.5)
    assert (len(running), buffer.open_bulks) == (2, 2)


def test_a_full_bulk_waits_for_none(
    gathering: tuple[Consumer, _BulkBuffer, list[Callable[[], None]]],
) -> None:
    _, buffer, running = gathering
    buffer.add_ids(list(range(100)))
    buffer.add_ids(list(range(100, 200)))
    assert (len(running), buffer.open_bulks) == (2, 2)
