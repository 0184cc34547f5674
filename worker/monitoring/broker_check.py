"""Check that the broker takes messages: a server may answer and still refuse every one."""

import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any

from kombu import Connection

from worker.monitoring.checks import Finding, State

# Less than a load balancer waits for an answer.
_CONFIRM_SECONDS = 1.0
# Nothing reads it: on Redis it ends by itself, and RabbitMQ drops it.
_NAME = "signal.check"
# By the first word of an error, or its class: the cause, and what to do. None means that the server is away.
_REFUSALS = {
    "ReadOnlyError": "The broker is a replica, which takes no writes: set BROKER_URL to its primary.",
    "MasterDownError": "The broker is a replica that has lost its primary: set BROKER_URL to a primary.",
    "OutOfMemoryError": "The broker's memory is full, so it takes no messages: raise maxmemory, or see what fills it.",
    "MISCONF": "The broker takes no messages because it cannot write to its disk: free some space there.",
    "NOREPLICAS": "The broker takes no messages because it has fewer replicas than min-replicas-to-write.",
    "BusyLoadingError": "The broker is still loading its data: wait until it has done so.",
    "AuthenticationError": "The broker refuses the user or the password in BROKER_URL.",
    "AccessRefused": "The broker refuses the user or the password in BROKER_URL, or what this user does.",
    "NotAllowed": "The broker has no such virtual host, or the user in BROKER_URL may not use it.",
    "NoPermissionError": "The broker's user may not write: allow it all keys and commands.",
    "BlockedError": "The broker is short of memory or disk, and takes no messages until it has more.",
}


class _BlockedError(Exception):
    """RabbitMQ has blocked this connection."""


def check_broker(connect: Callable[[], Connection]) -> Finding:
    """Check that the broker takes messages, on a connection of its own that is closed afterwards."""
    try:
        with connect() as connection:
            connection.connect()
            _write(connection)
    except Exception as error:  # noqa: BLE001 - each broker's client raises errors of its own, OSError among them
        return Finding("broker", State.FAILED, _describe(error))
    return Finding("broker", State.OK, "The broker answers.")


def _describe(error: BaseException) -> str:
    if reason := _refused_certificate(error):
        return f"The broker's certificate is refused: {reason}."
    for name in (type(error).__name__.strip("_"), str(error).partition(" ")[0]):
        if name in _REFUSALS:
            return _REFUSALS[name]
    return f"The broker does not answer ({type(error).__name__})."


def _write(connection: Connection) -> None:
    """Write a value or message that no process reads."""
    kind = connection.transport.driver_type
    if kind == "redis":
        channel: Any = connection.default_channel
        channel.client.set(_NAME, "", px=1_000)
    elif kind == "amqp":
        _publish(connection)


def _publish(connection: Connection) -> None:
    """Publish to no queue; RabbitMQ confirms it, or says that it is blocked."""
    answers: list[str] = []
    channel: Any = connection.channel()
    channel.connection.on_blocked = answers.append
    channel.confirm_select()
    channel.events["basic_ack"].add(lambda *_: answers.append(""))
    # The class's method: ``confirm_publish`` replaces the instance's by one that waits for the confirm only.
    type(channel).basic_publish(channel, channel.prepare_message(b""), "", _NAME)
    deadline = monotonic() + _CONFIRM_SECONDS
    while not answers:
        connection.drain_events(timeout=max(0.001, deadline - monotonic()))
    if answers[0]:
        raise _BlockedError(answers[0])


def _refused_certificate(error: BaseException | None) -> str:
    """Return why TLS refused a certificate, or "" if an error has another cause."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message.strip(".")
        error = error.__cause__ or error.__context__
    return ""
