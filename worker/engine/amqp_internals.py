"""What py-amqp does differently here.

Everything below overrides something that py-amqp does not document. Celery 5.7 is pinned, and
``tests/engine/test_drift.py`` says so when the source of the method changes.
"""

from typing import Any

from kombu import Connection

from worker.engine.kombu_internals import wrap

# A broker that takes longer than this to answer counts as away.
ANSWER_SECONDS = 10.0


def bound_answers(connection: Connection) -> Connection:
    """Let whoever waits for RabbitMQ on a connection do so for a while, and not for ever.

    A worker closes the connections that it has lost, and waits for the other end to agree: over one that is
    half-open that was its end. The event loop reads without waiting, and is not concerned.
    """
    if connection.transport.driver_type == "amqp":
        connection.connection.sock.settimeout(ANSWER_SECONDS)
    return connection


def bound_confirms() -> None:
    """Let whoever publishes to RabbitMQ wait for so long for a confirmation, and then connect anew.

    As it is in py-amqp it waits for ever: over a connection that is half-open, beat never sends another tick, and
    each retry holds a thread of a worker.
    """
    # Loaded here alone: other brokers have no use for it.
    from amqp import Channel

    wrap(Channel, "basic_publish_confirm", _give_up_what_is_not_confirmed)


def _give_up_what_is_not_confirmed(original: Any) -> Any:
    from amqp.exceptions import RecoverableConnectionError

    def basic_publish_confirm(
        self: Any, *args: Any, confirm_timeout: float | None = None, **options: Any
    ) -> Any:
        connection = self.connection
        try:
            return original(self, *args, confirm_timeout=confirm_timeout or ANSWER_SECONDS, **options)
        except TimeoutError as error:
            # Its confirmation may come later, and would be taken for that of another message.
            connection.collect()
            raise RecoverableConnectionError("RabbitMQ did not confirm a message in time") from error

    return basic_publish_confirm
