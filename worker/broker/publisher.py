"""Publish messages in bulk, and hints without blocking the caller."""

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from time import monotonic
from typing import Any, Protocol, TypeVar

import orjson
from celery import Celery
from kombu import Connection, Queue
from kombu.common import maybe_declare
from kombu.exceptions import KombuError, OperationalError

from worker import logs
from worker.broker.kombu_internals import ANSWER_SECONDS
from worker.broker.messages import HintFrames, TaskMessageBuilder

_MESSAGES_AT_ONCE = 500
# Half the usual size of a socket's buffer.
_MESSAGES_A_WRITE = 100
# While ids come in one by one, those of this time are sent together: fewer messages at once cost publisher, broker and
# consumer several times as much for each.
_GATHER_SECONDS = 0.02


_Item = TypeVar("_Item")


def _deal(queues: deque[str], items: Sequence[_Item]) -> list[tuple[str, Sequence[_Item]]]:
    """Deal items to queues in turn, and return each queue's share; the next call goes on with the next queue."""
    shares = [(queue, items[place :: len(queues)]) for place, queue in enumerate(queues)]
    queues.rotate(-len(items))
    return shares[: len(items)]


class PublishError(OperationalError):
    """Some or all messages may not have reached the broker."""


class _PublisherChannel(Protocol):
    """Publish messages over one channel."""

    def send(self, messages: Iterable[dict[str, Any]]) -> None:
        """Spread messages over the queues; return when the broker has all, raise if some may be lost."""

    def send_ids(self, messages: TaskMessageBuilder, ids: Sequence[int]) -> None:
        """Publish a message for each id; spread, return or raise like ``send``."""


class _ConfirmedChannel:
    """Publish to RabbitMQ, and wait for the confirms of many messages together."""

    def __init__(self, connection: Connection, *queues: Queue) -> None:
        # Limits each later read and write, also those that declare and close.
        connection.connection.sock.settimeout(ANSWER_SECONDS)
        self._connection, self._queues = connection, deque(queue.name for queue in queues)
        channel: Any = connection.channel()  # The type stubs lack confirms.
        self._channel = channel
        for queue in queues:
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
        self._frames: dict[str, HintFrames] = {}

    def send(self, messages: Iterable[dict[str, Any]]) -> None:
        self._refused = 0
        # The class's method: ``confirm_publish`` replaces the instance's by one that waits for each confirm.
        publish, channel = type(self._channel).basic_publish, self._channel
        for queue, share in _deal(self._queues, list(messages)):
            for message in share:
                self._last_tag += 1
                self._unconfirmed.add(self._last_tag)
                publish(channel, channel.prepare_message(**message), "", queue, mandatory=True)
        self._await_confirms()

    def send_ids(self, messages: TaskMessageBuilder, ids: Sequence[int]) -> None:
        self._refused = 0
        # Confirms are awaited once, so that the nodes that lead the queues work at the same time.
        for queue, share in _deal(self._queues, ids):
            frames = self._frames.get(queue)
            if frames is None or frames.messages is not messages:
                frames = self._frames[queue] = HintFrames(self._channel, queue, messages)
            for start in range(0, len(share), _MESSAGES_A_WRITE):
                part = share[start : start + _MESSAGES_A_WRITE]
                self._unconfirmed.update(range(self._last_tag + 1, self._last_tag + 1 + len(part)))
                self._last_tag += len(part)
                self._write(b"".join(map(frames.of, part)))
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
            names = " or ".join(sorted(self._queues))
            raise PublishError(f"the broker refused messages for the queue {names}: {self._refused}")

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

    def __init__(self, connection: Connection, *queues: Queue) -> None:
        channel: Any = connection.default_channel  # The type stubs lack Redis.
        for queue in queues:
            maybe_declare(queue, channel)
        self._channel, self._queues = channel, deque(queue.name for queue in queues)

    def send(self, messages: Iterable[dict[str, Any]]) -> None:
        for queue, share in _deal(self._queues, list(messages)):
            self._push(queue, share)

    def send_ids(self, messages: TaskMessageBuilder, ids: Sequence[int]) -> None:
        for queue, share in _deal(self._queues, ids):
            self._push(queue, (messages.publish_options((id_,)) for id_ in share))

    def _push(self, queue: str, messages: Iterable[dict[str, Any]]) -> None:
        texts = (self._as_stored(queue, options) for options in messages)
        with self._channel.conn_or_acquire() as client:
            while part := list(islice(texts, _MESSAGES_AT_ONCE)):
                client.lpush(queue, *part)

    def _as_stored(self, queue: str, options: dict[str, Any]) -> bytes:
        message = self._channel.prepare_message(priority=0, **options)
        self._channel._inplace_augment_message(message, "", queue)
        return orjson.dumps(message)


def _open_publisher_channel(connection: Connection, *queues: Queue) -> _PublisherChannel:
    """Connect if necessary, declare the queues, and return a channel for this kind of broker."""
    connection.ensure_connection(max_retries=1, interval_start=0)
    kind = _ConfirmedChannel if connection.transport.driver_type == "amqp" else _RedisPushChannel
    return kind(connection, *queues)


def _broker_errors(connection: Connection) -> tuple[type[BaseException], ...]:
    return (*connection.connection_errors, *connection.channel_errors, KombuError, OSError)


log = logs.of(__name__)

_LONGEST_PAUSE_SECONDS = 10.0


# By queues for each pooled connection; the thread that holds the connection owns its channels. On RabbitMQ opening and
# closing a channel takes longer than publishing a few messages.
_open_channels: weakref.WeakKeyDictionary[Connection, dict[tuple[str, ...], _PublisherChannel]] = (
    weakref.WeakKeyDictionary()
)


def publish_many(app: Celery, task: str, args_list: Sequence[tuple[Any, ...]], *queues: str) -> None:
    """Publish one message per entry and wait until the broker has them; for tasks, not for web requests.

    They are spread evenly over the queues.
    If the connection broke while idle, it is opened again once, and messages may arrive twice.

    Raises:
        PublishError: the broker does not answer, or did not confirm all messages.
    """
    if not args_list:
        return
    maker = TaskMessageBuilder(task)
    pool: Any = app.pool  # The type stubs declare a pool of producers.
    with pool.acquire(block=True) as connection:
        channels = _open_channels.setdefault(connection, {})
        for last_try in (False, True):
            try:
                channel = channels.pop(queues, None) or _open_publisher_channel(
                    connection, *(app.amqp.queues[queue] for queue in queues)
                )
                channel.send(maker.publish_options(tuple(args)) for args in args_list)
                # Keep the channel only after a success.
                channels[queues] = channel
            except _broker_errors(connection) as error:
                channels.clear()
                connection.collect(socket_timeout=ANSWER_SECONDS)
                if last_try:
                    raise PublishError(f"messages for {queues[0]} ({len(args_list)}): {error}") from error
            else:
                return


class HintPublisher:
    """Publish one message per id from a background thread, so that no broker can block a caller.

    Messages are spread evenly over the queues; logs name the first one.
    Ids are hints: the work is in the ledger, and the sweeper publishes every id dropped here again.
    An id may be published twice. Safe for many threads and after a fork: a child starts empty.
    """

    def __init__(
        self,
        app: Celery,
        queues: str | Sequence[str] = "events",
        task: str = "tasks.ingest.process_event",
        max_queued: int = 50_000,
        on_published: Callable[[int], None] | None = None,
        on_dropped: Callable[[int], None] | None = None,
    ) -> None:
        self._queues = (queues,) if isinstance(queues, str) else tuple(queues)
        self._app, self._queue_name, self._max_queued = app, self._queues[0], max_queued
        self._messages = TaskMessageBuilder(task)
        # Called with a number of ids, from any thread.
        self._on_published, self._on_dropped = on_published or _ignore, on_dropped or _ignore
        self._start_empty()
        # The parent's thread does not exist in the child, where its lock may stay locked.
        forget = weakref.WeakMethod(self._start_empty)
        os.register_at_fork(after_in_child=lambda: (reset := forget()) and reset())

    def _start_empty(self) -> None:
        self._changed = threading.Condition()
        self._queued: deque[int] = deque()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        # True from the first failure or dropped id until the queue is empty: one log line each.
        self._failing = self._dropping = False
        self._offered = self._published = self._dropped = 0

    def offer(self, ids: Sequence[int]) -> int:
        """Queue as many ids as fit, and return how many; never block."""
        with self._changed:
            free_slots = 0 if self._closing.is_set() else self._max_queued - len(self._queued)
            count = max(0, min(free_slots, len(ids)))
            self._queued.extend(islice(ids, count))
            self._offered += len(ids)
            self._dropped += len(ids) - count
            first_drop = count < len(ids) and not self._dropping
            self._dropping = self._dropping or first_drop
            self._start_thread_once()
            self._changed.notify()
        if count < len(ids):
            self._on_dropped(len(ids) - count)
        if first_drop:
            log.warning("hints_dropping", queue=self._queue_name, limit=self._max_queued)
        return count

    def stats(self) -> dict[str, int]:
        """Return how many ids were offered, published and dropped, and how many are queued."""
        with self._changed:
            return {
                "offered": self._offered,
                "published": self._published,
                "dropped": self._dropped,
                "queued": len(self._queued),
            }

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Accept no more ids, publish until the timeout, and drop the rest."""
        with self._changed:
            self._closing.set()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        with self._changed:
            count = len(self._queued)
            self._dropped += count
            self._queued.clear()
        if count:
            self._on_dropped(count)
            log.warning("hints_left_behind", queue=self._queue_name, count=count)

    def _start_thread_once(self) -> None:
        if self._thread is None and self._queued:
            self._thread = threading.Thread(target=self._run, name="hint-publisher", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        connection = self._app.connection_for_write()
        queues = [self._app.amqp.queues[name] for name in self._queues]
        channel: _PublisherChannel | None = None
        pause_seconds = 0.0
        while self._wait_for_ids():
            try:
                if channel is None:
                    connection.collect(socket_timeout=ANSWER_SECONDS)
                    channel = _open_publisher_channel(connection, *queues)
                self._send_some(channel)
                pause_seconds = 0.0
                if len(self._queued) < _MESSAGES_AT_ONCE:
                    self._closing.wait(_GATHER_SECONDS)
            except Exception as error:  # noqa: BLE001 - the thread must survive every error of a broker's client
                channel = None
                self._note_trouble(error)
                pause_seconds = min(2 * pause_seconds or 0.1, _LONGEST_PAUSE_SECONDS)
                if self._closing.wait(pause_seconds):
                    return
        connection.release()

    def _wait_for_ids(self) -> bool:
        """Wait until an id is queued; return False once the publisher is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._queued or self._closing.is_set())
            return bool(self._queued)

    def _send_some(self, channel: _PublisherChannel) -> None:
        """Publish the oldest ids; remove them once the broker has them."""
        with self._changed:
            ids = list(islice(self._queued, _MESSAGES_AT_ONCE))
        channel.send_ids(self._messages, ids)
        with self._changed:
            sent = min(len(ids), len(self._queued))
            for _ in range(sent):
                self._queued.popleft()
            self._published += sent
            recovered = (self._failing or self._dropping) and not self._queued
            if recovered:
                self._failing = self._dropping = False
        self._on_published(len(ids))
        if recovered:
            log.info("hints_flowing", queue=self._queue_name, dropped=self._dropped)

    def _note_trouble(self, error: Exception) -> None:
        with self._changed:
            first, self._failing = not self._failing, True
        if first:
            log.warning("hints_held_up", queue=self._queue_name, error=repr(error))


def _ignore(_count: int) -> None:
    pass
