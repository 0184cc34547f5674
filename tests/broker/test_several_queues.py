"""Several queues of one kind: filled evenly, read over one connection, and emptied when they are no longer in use."""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from kombu import Connection

from tests.broker.harness import Broker, Worker, running, wait_until
from tests.broker.test_hint_reader import RealSink
from worker.broker.bulk import UnackedMessages
from worker.broker.former_queues import LeftOverQueues
from worker.broker.publisher import HintPublisher, _deal, publish_many


@pytest.mark.parametrize(
    ("items", "shares", "then"),
    [
        ([], [], "abc"),
        ([1], [("a", [1])], "bca"),
        ([1, 2], [("a", [1]), ("b", [2])], "cab"),
        ([1, 2, 3, 4], [("a", [1, 4]), ("b", [2]), ("c", [3])], "bca"),
    ],
)
def test_items_are_dealt_in_turn_and_the_next_ones_go_to_the_next_queue(
    items: list[int], shares: list[tuple[str, list[int]]], then: str
) -> None:
    queues = deque("abc")
    assert _deal(queues, items) == shares
    assert list(queues) == list(then)


def test_one_queue_gets_everything() -> None:
    queues = deque(["events"])
    assert _deal(queues, range(5)) == [("events", range(5))]


@pytest.fixture
def several(broker: Broker) -> Iterator[list[Broker]]:
    """Give four queues on one broker."""
    with ExitStack() as held:
        made = [broker, *(broker.another(number) for number in (2, 3, 4))]
        for other in made[1:]:
            held.callback(other.delete)
        yield made


def app_of(brokers: list[Broker]) -> Celery:
    app = brokers[0].app()
    for other in brokers[1:]:
        app.amqp.queues.add(other.app().amqp.queues[other.queue])
    return app


def test_hints_one_by_one_and_in_bulk_are_spread_evenly(several: list[Broker]) -> None:
    publisher = HintPublisher(app_of(several), [one.queue for one in several], "sample.gather")
    for id_ in range(6):
        publisher.offer([id_])
        assert wait_until(lambda: publisher.stats()["queued"] == 0)
    publisher.offer(range(6, 1_208))
    publisher.close()
    assert [one.depth() for one in several] == [302] * 4
    publish_many(app_of(several), "sample.gather", [(1, 5)] * 6, *(one.queue for one in several))
    assert [one.depth() for one in several] == [304, 304, 303, 303]


@pytest.mark.parametrize("broker", [pytest.param("rabbitmq", marks=pytest.mark.services)], indirect=True)
def test_rabbitmq_hints_of_several_queues_are_read_in_runs_and_acknowledged_together(
    several: list[Broker],
) -> None:
    publisher = HintPublisher(app_of(several), [one.queue for one in several], "sample.gather")
    publisher.offer(range(1_000, 9_000))
    publisher.close(20)
    unacked = UnackedMessages()
    with Connection(several[0].url) as connection:
        connection.connect()
        sink = RealSink(connection)
        queues = [one.app().amqp.queues[one.queue] for one in several]
        options: Any = {"on_message": sink.on_message, "prefetch_count": 2_000}
        with connection.Consumer(queues, **options):
            while len(sink.seen) < 8_000:
                connection.drain_events(timeout=10)
            for run in sink.runs:
                unacked.note(run)
            unacked.ack(sink.runs)
    assert sorted(id_ for id_, _ in sink.seen) == list(range(1_000, 9_000))
    # One message of each queue shows what its hints look like.
    assert sink.messages == 4
    assert [one.depth() for one in several] == [0] * 4


def test_without_former_queues_a_worker_does_not_ask_the_broker() -> None:
    asked = []
    app = SimpleNamespace(amqp=SimpleNamespace(queues={}), connection_for_read=lambda: asked.append("broker"))
    looking = LeftOverQueues(SimpleNamespace(app=app), lambda: asked.append("ledger") or [])
    looking.restart()
    assert wait_until(lambda: asked)
    assert not wait_until(lambda: "broker" in asked, 0.2)


def test_a_queue_that_is_left_over_is_emptied_also_when_it_gets_messages_later(
    broker: Broker, tmp_path: Path
) -> None:
    no_ack = "0" if broker.name == "rabbitmq" else "1"
    left = broker.another(2)
    publish_many(left.app(), "sample.gather", [(1,)], left.queue)
    worker = Worker(
        broker,
        tmp_path,
        "-P",
        "threads",
        SAMPLE_LEFT_OVER=left.queue,
        SAMPLE_NO_ACK=no_ack,
        SAMPLE_BULK_SECONDS="0.05",
    )
    with running(worker):
        assert wait_until(lambda: worker.ids() == [1]), worker.log()
        publish_many(broker.app(), "sample.gather", [(2,)], broker.queue)
        publish_many(left.app(), "sample.gather", [(id_,) for id_ in range(3, 300)], left.queue)
        assert wait_until(lambda: len(worker.ids()) >= 299), worker.log()
        # Also when it is deleted meanwhile, which on RabbitMQ costs the connection.
        left.delete()
        publish_many(broker.app(), "sample.gather", [(300,)], broker.queue)
        assert wait_until(lambda: len(worker.ids()) >= 300), worker.log()
        publish_many(left.app(), "sample.gather", [(301,)], left.queue)
        assert wait_until(lambda: len(worker.ids()) >= 301), worker.log()
    left.delete()
    assert Counter(worker.ids()) == dict.fromkeys(range(1, 302), 1)
