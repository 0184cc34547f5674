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


def bound_waits() -> None:
    """Let whoever waits for RabbitMQ's answer or confirmation do so for a while, and then connect anew.

    As it is in py-amqp it waits for ever: over a connection that is half-open, beat never sends another tick, and
    each retry holds a thread of a worker. A message waits to be confirmed, and what comes before the first one on
    a new connection, such as to declare its queue, to be answered.
    """
    # Loaded here alone: other brokers have no use for it.
    from amqp.abstract_channel import AbstractChannel

    wrap(AbstractChannel, "wait", _give_up_what_is_not_answered)


def _give_up_what_is_not_answered(original: Any) -> Any:
    from amqp.exceptions import RecoverableConnectionError

    def wait(
        self: Any, method: Any, callback: Any = None, timeout: float | None = None, **options: Any
    ) -> Any:
        connection = self.connection
        try:
            return original(self, method, callback, timeout or ANSWER_SECONDS, **options)
        except TimeoutError as error:
            # The answer may come later, and would be taken for that to something else.
            connection.collect()
            raise RecoverableConnectionError("RabbitMQ did not answer in time") from error

    return wait
