"""The state of each broker's queues."""

from kombu import Connection

from tests.broker.harness import Broker
from worker.broker import queues
from worker.broker.queues import _QueueState


def test_a_queue_tells_what_waits_in_it(broker: Broker) -> None:
    # The app's connection waits for RabbitMQ to confirm.
    with broker.app().connection_for_write() as connection:
        producer = connection.Producer()
        for number in range(3):
            producer.publish(str(number), routing_key=broker.queue)
        (found,) = queues.queue_states(connection, [broker.queue])

    assert (found.name, found.messages) == (broker.queue, 3)
    # Redis and Valkey do not know the consumers.
    assert found.consumers == (0 if broker.name == "rabbitmq" else None)


def test_a_queue_that_is_not_there_holds_nothing_and_spoils_no_other(broker: Broker) -> None:
    with Connection(broker.url) as connection:
        found = queues.queue_states(connection, ["no-such-queue", broker.queue])

    assert [(one.name, one.messages) for one in found] == [("no-such-queue", 0), (broker.queue, 0)]


def test_rabbitmq_tells_how_many_listen(rabbitmq: Broker) -> None:
    app = rabbitmq.app()
    with app.connection_for_write() as connection, app.connection_for_read() as listening:
        queue = app.amqp.queues[rabbitmq.queue]
        with listening.Consumer([queue], callbacks=[lambda *_: None]):
            assert queues.queue_states(connection, [rabbitmq.queue]) == [_QueueState(rabbitmq.queue, 0, 1)]
