"""Publish hints: many at once, and never in a caller's way."""

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from celery import Celery
from kombu import Connection

from worker import logs
from worker.broker.kombu_internals import ANSWER_SECONDS
from worker.broker.messages import TaskMessageBuilder
from worker.broker.wire import (
    MESSAGES_AT_ONCE,
    PublisherChannel,
    PublishError,
    broker_errors,
    open_publisher_channel,
)

log = logs.of(__name__)

_LONGEST_PAUSE_SECONDS = 10.0


# By queue, for each connection of a pool: whoever has the connection has its lines. On RabbitMQ one is a channel, and
# to open and to close that takes longer than to publish a few messages.
_open_channels: weakref.WeakKeyDictionary[Connection, dict[str, PublisherChannel]] = (
    weakref.WeakKeyDictionary()
)


def publish_many(app: Celery, task: str, args_list: Sequence[tuple[Any, ...]], queue: str) -> None:
    """Publish one message per entry and wait until the broker has them; for tasks, not for web requests.

    A connection that broke while it was idle is renewed once, so that messages may arrive twice.

    Raises:
        PublishError: the broker is away, or did not confirm them all.
    """
    if not args_list:
        return
    maker = TaskMessageBuilder(task)
    pool: Any = app.pool  # Its type stubs make it a pool of producers.
    with pool.acquire(block=True) as connection:
        channels = _open_channels.setdefault(connection, {})
        for last_try in (False, True):
            try:
                channel = channels.pop(queue, None) or open_publisher_channel(
                    connection, app.amqp.queues[queue]
                )
                channel.send(maker.publish_options(tuple(args)) for args in args_list)
                # Only what went well is kept.
                channels[queue] = channel
            except broker_errors(connection) as error:
                channels.clear()
                connection.collect(socket_timeout=ANSWER_SECONDS)
                if last_try:
                    raise PublishError(f"{len(args_list)} messages for {queue}: {error}") from error
            else:
                return


class HintPublisher:
    """Publish one message per id from a thread of its own, so that no broker can hold a caller up.

    Ids are hints: what they stand for is kept elsewhere, and a sweeper makes good for every id dropped here.
    An id may be published twice. Safe to use from many threads and after a fork: a child starts empty.
    """

    def __init__(
        self,
        app: Celery,
        queue: str = "events",
        task: str = "tasks.ingest.process_event",
        max_queued: int = 50_000,
        on_published: Callable[[int], None] | None = None,
        on_dropped: Callable[[int], None] | None = None,
    ) -> None:
        self._app, self._queue_name, self._max_queued = app, queue, max_queued
        self._messages = TaskMessageBuilder(task)
        # Told how many at once, from whichever thread it happens in.
        self._on_published, self._on_dropped = on_published or _ignore, on_dropped or _ignore
        self._start_empty()
        # The parent's thread does not exist in the child, and its lock may be held for ever.
        forget = weakref.WeakMethod(self._start_empty)
        os.register_at_fork(after_in_child=lambda: (reset := forget()) and reset())

    def _start_empty(self) -> None:
        self._changed = threading.Condition()
        self._queued: deque[int] = deque()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        # From the first failure, or the first id dropped, until nothing waits any more: one log line each.
        self._failing = self._dropping = False
        self._offered = self._published = self._dropped = 0

    def offer(self, ids: Sequence[int]) -> int:
        """Take what there is room for and return how many that is; never wait."""
        with self._changed:
            room = 0 if self._closing.is_set() else self._max_queued - len(self._queued)
            taken = max(0, min(room, len(ids)))
            self._queued.extend(islice(ids, taken))
            self._offered += len(ids)
            self._dropped += len(ids) - taken
            first_drop = taken < len(ids) and not self._dropping
            self._dropping = self._dropping or first_drop
            self._start_thread_once()
            self._changed.notify()
        if taken < len(ids):
            self._on_dropped(len(ids) - taken)
        if first_drop:
            log.warning("hints_dropping", queue=self._queue_name, limit=self._max_queued)
        return taken

    def stats(self) -> dict[str, int]:
        """Return how many ids were offered, published, dropped, and how many still wait here."""
        with self._changed:
            return {
                "offered": self._offered,
                "published": self._published,
                "dropped": self._dropped,
                "queued": len(self._queued),
            }

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Take nothing more, publish what the time allows and drop the rest."""
        with self._changed:
            self._closing.set()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        with self._changed:
            left = len(self._queued)
            self._dropped += left
            self._queued.clear()
        if left:
            self._on_dropped(left)
            log.warning("hints_left_behind", queue=self._queue_name, count=left)

    def _start_thread_once(self) -> None:
        if self._thread is None and self._queued:
            self._thread = threading.Thread(target=self._run, name="hint-publisher", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        connection = self._app.connection_for_write()
        queue = self._app.amqp.queues[self._queue_name]
        channel: PublisherChannel | None = None
        pause_seconds = 0.0
        while self._wait_for_ids():
            try:
                if channel is None:
                    connection.collect(socket_timeout=ANSWER_SECONDS)
                    channel = open_publisher_channel(connection, queue)
                self._send_some(channel)
                pause_seconds = 0.0
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever a broker's client raises
                channel = None
                self._note_trouble(error)
                pause_seconds = min(2 * pause_seconds or 0.1, _LONGEST_PAUSE_SECONDS)
                if self._closing.wait(pause_seconds):
                    return
        connection.release()

    def _wait_for_ids(self) -> bool:
        """Return True when there is something to publish, False when there never will be."""
        with self._changed:
            self._changed.wait_for(lambda: self._queued or self._closing.is_set())
            return bool(self._queued)

    def _send_some(self, channel: PublisherChannel) -> None:
        """Publish the oldest; they leave the queue once the broker has them."""
        with self._changed:
            ids = list(islice(self._queued, MESSAGES_AT_ONCE))
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
