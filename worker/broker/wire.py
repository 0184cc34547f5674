"""Send many messages to a broker at once."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from time import monotonic
from typing import Any, Protocol

import orjson
from kombu import Connection, Queue
from kombu.common import maybe_declare
from kombu.exceptions import KombuError, OperationalError

from worker.broker.kombu_internals import ANSWER_SECONDS
from worker.broker.messages import HintFrames, TaskMessageBuilder

MESSAGES_AT_ONCE = 500
# Half the usual size of a socket's buffer.
_MESSAGES_A_WRITE = 100


class PublishError(OperationalError):
    """Some or all messages may not have reached the broker."""


class PublisherChannel(Protocol):
    """Publish messages over one channel."""

    def send(self, messages: Iterable[dict[str, Any]]) -> None:
        """Return when the broker has all messages; raise if some may be lost."""

    def send_ids(self, messages: TaskMessageBuilder, ids: Sequence[int]) -> None:
        """Publish a message for each id; return or raise like ``send``."""


class _ConfirmedChannel:
    """Publish to RabbitMQ, and wait for the confirms of many messages together."""

    def __init__(self, connection: Connection, queue: Queue) -> None:
        # Limits each later read and write, also those that declare and close.
        connection.connection.sock.settimeout(ANSWER_SECONDS)
        self._connection, self._queue = connection, queue.name
        channel: Any = connection.channel()  # The type stubs lack confirms.
        self._channel = channel
        maybe_declare(queue, self._channel)
        self._channel.confirm_select()
        events = self._channel.events
        events["basic_ack"].add(self._on_ack)
        events["basic_nack"].add(self._on_nack)
        events["basic_return"].add(self._on_return)
        self._last_tag = 0
        self._lowest_tag = 1
        self._unconfirmed: set[int] = set()
        self._refused = 0
        self._frames: HintFrames | None = None

    def send(self, messages: Iterable[dict[str, Any]]) -> None:
        self._refused = 0
        # The class's method: ``confirm_publish`` replaces the instance's by one that waits for each confirm.
        publish, channel = type(self._channel).basic_publish, self._channel
        for message in messages:
            self._last_tag += 1
            self._unconfirmed.add(self._last_tag)
            publish(channel, channel.prepare_message(**message), "", self._queue, mandatory=True)
        self._await_confirms()

    def send_ids(self, messages: TaskMessageBuilder, ids: Sequence[int]) -> None:
        self._refused = 0
        if self._frames is None or self._frames.messages is not messages:
            self._frames = HintFrames(self._channel, self._queue, messages)
        for start in range(0, len(ids), _MESSAGES_A_WRITE):
            some = ids[start : start + _MESSAGES_A_WRITE]
            self._unconfirmed.update(range(self._last_tag + 1, self._last_tag + 1 + len(some)))
            self._last_tag += len(some)
            self._write(b"".join(map(self._frames.of, some)))
        self._await_confirms()

    def _write(self, frames: bytes) -> None:
        connection = self._channel.connection
        if connection is None:
            raise OperationalError("the connection to the broker was closed")
        with suppress(TimeoutError):
            # Learn here if the broker closed the channel or is short of memory.
            self._connection.drain_events(timeout=0)
        connection.transport.write(frames)
        connection.bytes_sent += 1

    def _await_confirms(self) -> None:
        deadline = monotonic() + ANSWER_SECONDS
        while self._unconfirmed:
            self._connection.drain_events(timeout=max(0.001, deadline - monotonic()))
        if self._refused:
            raise PublishError(f"the broker refused {self._refused} messages for the queue {self._queue}")

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._settle(tag, multiple)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._refused += self._settle(tag, multiple)

    def _on_return(self, *_: Any) -> None:
        # The queue does not exist; an ack follows nevertheless.
        self._refused += 1

    def _settle(self, tag: int, multiple: bool) -> int:
        tags = range(self._lowest_tag, tag + 1) if multiple else (tag,)
        before = len(self._unconfirmed)
        self._unconfirmed.difference_update(tags)
        if multiple:
            self._lowest_tag = tag + 1
        return before - len(self._unconfirmed)


class _RedisPushChannel:
    """Push the text that kombu would store to Redis or Valkey, many messages per command.

    A kombu producer routes each message and sends a command for each.
    Only for the default exchange, priority 0 and queues without expiry: there the key is the queue's name.
    """

    def __init__(self, connection: Connection, queue: Queue) -> None:
        channel: Any = connection.default_channel  # The type stubs lack Redis.
        maybe_declare(queue, channel)
        self._channel, self._queue = channel, queue.name

    def send(self, messages: Iterable[dict[str, Any]]) -> None:
        stored = map(self._as_stored, messages)
        with self._channel.conn_or_acquire() as client:
            while some := list(islice(stored, MESSAGES_AT_ONCE)):
                client.lpush(self._queue, *some)

    def send_ids(self, messages: TaskMessageBuilder, ids: Sequence[int]) -> None:
        self.send(messages.publish_options((id_,)) for id_ in ids)

    def _as_stored(self, options: dict[str, Any]) -> bytes:
        message = self._channel.prepare_message(priority=0, **options)
        self._channel._inplace_augment_message(message, "", self._queue)
        return orjson.dumps(message)


def open_publisher_channel(connection: Connection, queue: Queue) -> PublisherChannel:
    """Connect if necessary, declare the queue, and return a channel for this kind of broker."""
    connection.ensure_connection(max_retries=1, interval_start=0)
    kind = _ConfirmedChannel if connection.transport.driver_type == "amqp" else _RedisPushChannel
    return kind(connection, queue)


def broker_errors(connection: Connection) -> tuple[type[BaseException], ...]:
    return (*connection.connection_errors, *connection.channel_errors, KombuError, OSError)
