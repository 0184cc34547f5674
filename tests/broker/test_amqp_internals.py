"""Nobody waits for ever for a RabbitMQ that does not answer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from amqp.abstract_channel import AbstractChannel
from amqp.exceptions import RecoverableConnectionError
from kombu import Connection, Queue

from tests.broker.harness import Broker
from tests.chaos.wire import Fault, Wire, broken, wired
from tests.integration import services
from worker.broker import kombu_internals
from worker.broker.kombu_internals import patch_amqp_waits, set_answer_timeout

SILENCE = Fault(silent=True)


@contextmanager
def over_a_wire(rabbitmq: Broker) -> Iterator[tuple[Connection, Wire]]:
    port = services.PORTS["rabbitmq"]
    with wired() as wire:
        wire.target = (services.HOST, port)
        url = rabbitmq.url.replace(f":{port}", f":{wire.port}")
        with Connection(url, transport_options={"confirm_publish": True}) as connection:
            connection.connect()
            yield connection, wire


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up after half a second what is given up after ten."""
    monkeypatch.setattr(kombu_internals, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(AbstractChannel, "wait", AbstractChannel.wait)
    patch_amqp_waits()


@pytest.mark.usefixtures("bounded")
def test_a_message_that_nobody_confirms_is_given_up_and_the_next_goes_over_a_new_connection(
    rabbitmq: Broker,
) -> None:
    """Over a half-open connection beat would send nothing any more."""
    with over_a_wire(rabbitmq) as (connection, wire):
        producer = connection.Producer(auto_declare=False)
        producer.publish("heard", routing_key=rabbitmq.queue)
        with broken(wire, SILENCE), pytest.raises(RecoverableConnectionError, match="did not answer"):
            producer.publish("lost", routing_key=rabbitmq.queue)
        producer.publish("heard again", routing_key=rabbitmq.queue, retry=True)
    assert rabbitmq.depth() == 2


@pytest.mark.usefixtures("bounded")
def test_a_queue_whose_declaration_nobody_answers_is_declared_over_a_new_connection(rabbitmq: Broker) -> None:
    """It comes before the first message on a connection, which may be half-open by then."""
    queue = Queue(f"{rabbitmq.queue}-declared", durable=False, auto_delete=True)
    with over_a_wire(rabbitmq) as (connection, wire):
        producer = connection.Producer()
        with broken(wire, SILENCE), pytest.raises(RecoverableConnectionError, match="did not answer"):
            producer.publish("lost", routing_key=queue.name, declare=[queue])
        producer.publish("heard", routing_key=queue.name, declare=[queue], retry=True)
        assert queue(connection.default_channel).get().payload == "heard"


def test_a_lost_connection_is_closed_without_its_other_end(
    rabbitmq: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker closes a lost connection before it connects again."""
    monkeypatch.setattr(kombu_internals, "ANSWER_SECONDS", 0.5)
    with over_a_wire(rabbitmq) as (connection, wire), broken(wire, SILENCE):
        began = time.monotonic()
        with pytest.raises((TimeoutError, RecoverableConnectionError)):
            set_answer_timeout(connection).connection.close()
        assert time.monotonic() - began < 5
