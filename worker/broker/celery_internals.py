"""Overrides of Celery's worker.

They replace undocumented parts of Celery 5.7. ``tests/broker/test_drift.py`` fails when the source of one of these
methods changes.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Protocol

from celery import signals
from celery.utils.time import rate
from celery.worker import state
from celery.worker.consumer import Consumer
from kombu import Connection
from kombu.message import Message
from kombu.utils.limits import TokenBucket

from worker import logs
from worker.broker.bulk import UnackedMessages
from worker.broker.former_queues import LeftOverQueues
from worker.broker.hint_reader import HintReader
from worker.broker.kombu_internals import keep_refused_message, patch_redis_transport, set_answer_timeout

log = logs.of(__name__)

# A warm shutdown waits this long for its last bulks; what is not done by then returns to the broker.
_LAST_WORK_SECONDS = 5.0
_LONGEST_RECONNECT_PAUSE_SECONDS = 5


class _MessageBuffer(Protocol):
    """Collect messages for a bulk."""

    open_bulks: int  # Bulks in the pool, not yet acknowledged or rejected.

    def flush(self) -> None:
        """Start a run with all collected messages."""

    def retire(self) -> None:
        """Flush before a new buffer replaces this one."""


class _BurstTokenBucket(TokenBucket):
    """Token bucket with a burst of ``capacity``, then ``fill_rate`` per second, in order of arrival."""

    contents: deque[tuple[Any, int]]
    _get_tokens: Callable[[], float]

    def __init__(self, fill_rate: float, capacity: float = 1) -> None:
        super().__init__(fill_rate, capacity)  # type: ignore[arg-type]  # it takes any number
        self.timer_entry: Any = None

    @property
    def _is_armed(self) -> bool:
        """Return whether a timer is set for the waiting requests; a reconnect may have cancelled it."""
        return self.timer_entry is not None and not self.timer_entry.canceled

    def _take_over(self, old: "_BurstTokenBucket") -> None:
        """Take the waiting requests of a bucket with another rate, without a new burst."""
        self._tokens = min(self.capacity, old._get_tokens())
        self.contents.extend(old.contents)
        old.contents.clear()


class RateLimitedConsumer(Consumer):
    """Keep rate limits under a backlog, survive the loss of the broker, report messages that cannot run.

    A task may set ``rate_limit_burst`` in addition to ``rate_limit``: the number of runs that may start at once.
    As always with Celery, the limit applies to each worker separately.
    """

    # Attributes of Celery that its type stubs lack.
    conninfo: Connection
    hub: Any
    timer: Any
    task_buckets: dict[str, _BurstTokenBucket | None]
    task_consumer: Any
    event_dispatcher: Any
    connection_errors: tuple[type[Exception], ...]
    channel_errors: tuple[type[Exception], ...]
    _limit_move_to_pool: Callable[[Any], None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Task strategies add their buffers after each connect.
        self.buffers: list[_MessageBuffer] = []
        self.unacked: UnackedMessages | None = None
        self.hint_reader: HintReader | None = None
        self._left_over: LeftOverQueues | None = None
        super().__init__(*args, **kwargs)
        if self.conninfo.transport.driver_type == "redis":
            patch_redis_transport()

    def ensure_connected(self, conn: Connection) -> Connection:
        """Reconnect every few seconds; kombu's pauses would grow to half a minute."""
        patient = partial(conn.ensure_connection, interval_max=_LONGEST_RECONNECT_PAUSE_SECONDS)
        conn.ensure_connection = patient  # type: ignore[method-assign]
        return super().ensure_connected(conn)

    def connect(self) -> Connection:
        """Connect, and declare every queue, not only those consumed from.

        RabbitMQ drops messages for unknown queues, and Celery's set-up of delayed messages fails at the first
        unknown queue. Redis and Valkey create queues with the first message.
        """
        connection = set_answer_timeout(super().connect())
        if self._left_over is None and self.app.conf.get("left_over_queues"):
            self._left_over = LeftOverQueues(self, self.app.conf.left_over_queues)
        if self._left_over:
            self._left_over.restart()
        if connection.transport.driver_type == "amqp":
            self.unacked = self.unacked or UnackedMessages()
            self.hint_reader = HintReader(connection)
            for queue in self.app.amqp.queues.values():
                queue(connection.default_channel).declare()
        return connection

    def connection_for_write(self, url: str | None = None, heartbeat: float | None = None) -> Connection:
        """Open the connection for task events without publisher confirms.

        A thread that waits for a confirm reads from the connection at the same time as the event loop. Only one
        of them gets the answer; the other could wait for ever, and block every thread that sends an event.
        """
        connection = self.app.connection_for_write(url=url, heartbeat=heartbeat)
        options = connection.transport_options or {}
        connection.transport_options = {k: v for k, v in options.items() if k != "confirm_publish"}
        return set_answer_timeout(self.ensure_connected(connection))

    def register_with_event_loop(self, hub: Any) -> None:
        """Let only the sending thread read from the connection for events.

        Celery's event loop would also read from it, for RabbitMQ's heartbeats. Sending reads them too, and a
        worker sends its own heartbeat event every two seconds.
        """
        super().register_with_event_loop(hub)
        if self.conninfo.transport.driver_type == "amqp" and self.event_dispatcher:
            hub.remove_reader(self.event_dispatcher.connection.connection.sock)

    def add_task_queue(self, queue: Any, *rest: Any, **options: Any) -> Any:
        """Also handle the messages that came right after RabbitMQ's answer.

        They were read together with it, so that the socket does not report them.
        """
        result = super().add_task_queue(queue, *rest, **options)
        if self.hint_reader and self.connection:
            self.connection.transport.on_readable(self.connection.connection, self.hub)
        return result

    def bucket_for_task(self, type: Any) -> _BurstTokenBucket | None:  # noqa: A002 - Celery's name
        per_second = rate(getattr(type, "rate_limit", None) or "")
        if not per_second:
            return None
        return _BurstTokenBucket(per_second, max(1, getattr(type, "rate_limit_burst", 1)))

    def reset_rate_limits(self) -> None:
        """Replace the buckets whose limit changed.

        Celery would give every task a new, full bucket, and leave waiting requests in the old one.
        """
        for name, task in self.app.tasks.items():
            old, new = self.task_buckets.get(name), self.bucket_for_task(task)
            if old and new and (old.fill_rate, old.capacity) == (new.fill_rate, new.capacity):
                continue
            self.task_buckets[name] = new
            if old:
                self._move_waiting(old, new)

    def _move_waiting(self, old: _BurstTokenBucket, new: _BurstTokenBucket | None) -> None:
        if new:
            new._take_over(old)
            self._schedule_bucket_request(new)
            return
        while old.contents:
            self._limit_move_to_pool(old.pop()[0])

    def _schedule_bucket_request(self, bucket: _BurstTokenBucket) -> None:
        """Start the requests that have a token, and set one timer for the rest.

        Celery sets one timer for each waiting message. Its event loop fires ten per round and may then sleep for
        a second, so that a backlog falls to about one task per second (celery issue 5927).
        """
        try:
            while bucket.contents and bucket.can_consume(bucket.contents[0][1]):
                self._limit_move_to_pool(bucket.pop()[0])
        finally:
            if bucket.contents and not bucket._is_armed:
                wait_seconds = bucket.expected_time(bucket.contents[0][1])
                bucket.timer_entry = self.timer.call_after(wait_seconds, self._on_bucket_timer, (bucket,))

    def _on_bucket_timer(self, bucket: _BurstTokenBucket) -> None:
        bucket.timer_entry = None
        self._schedule_bucket_request(bucket)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """Refuse malformed messages, which would end the worker with a ``ValueError``.

        Also note every message of the channel for `UnackedMessages`.
        """
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Message) -> None:
            if self.unacked:
                self.unacked.note(message)
            if _is_well_formed(message):
                handle(message)
            else:
                self.on_invalid_task(None, message, ValueError("not a task message"))

        return on_task_received

    def on_unknown_message(self, _body: Any, message: Message) -> None:
        self._refuse("no_task", message)
        signals.task_rejected.send(sender=self, message=message, exc=None)

    def on_unknown_task(self, _body: Any, message: Message, exc: Exception) -> None:
        name, task_id = _name_and_id(message)
        self._refuse("unknown_task", message)
        if self.event_dispatcher and task_id:
            self.event_dispatcher.send("task-failed", uuid=task_id, exception=f"NotRegistered({name!r})")
        signals.task_unknown.send(sender=self, message=message, exc=exc, name=name, id=task_id)

    def on_invalid_task(self, _body: Any, message: Message, exc: Exception) -> None:
        self._refuse("invalid", message, exc)
        signals.task_rejected.send(sender=self, message=message, exc=exc)

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        self._refuse("undecodable", message, exc)
        signals.task_rejected.send(sender=self, message=message, exc=exc)

    def _refuse(self, why: str, message: Message, exc: Exception | None = None) -> None:
        """Log a message's name and id, keep a copy next to its queue, and reject it.

        Celery would log the whole body and headers, and acknowledge messages that it cannot decode.
        """
        name, task_id = _name_and_id(message)
        queue = (message.delivery_info or {}).get("routing_key")
        error, size = type(exc).__name__ if exc else None, len(message.body or b"")
        log.error(
            "message_refused", why=why, task=name, task_id=task_id, queue=queue, bytes=size, error=error
        )
        if queue:
            keep_refused_message(self.app, queue, message)
        message.reject_log_error(log, self.connection_errors)

    def update_strategies(self) -> None:
        for buffer in self.buffers:
            buffer.retire()
        self.buffers.clear()
        super().update_strategies()

    def close(self) -> None:
        """Flush the buffers and wait a few seconds for their runs, before a warm shutdown closes the pool.

        ``WorkController.stop`` calls this first; Celery's own consumer has no such method.
        """
        # A cold shutdown sets it to True or to an exit status, which may be 0.
        cold: Any = state.should_terminate
        if (cold is not None and cold is not False) or not self.buffers:
            return
        try:
            self.task_consumer.cancel()
            for buffer in self.buffers:
                buffer.flush()
            self._run_loop_until(lambda: not any(buffer.open_bulks for buffer in self.buffers))
        except self.connection_errors + self.channel_errors as error:
            # The broker redelivers unacknowledged messages.
            log.warning("gathered_messages_not_flushed", error=repr(error))

    def shutdown(self) -> None:
        """Shut down without error even if there is no connection, whose error classes Celery would read."""
        if self.connection is not None:
            super().shutdown()

    def _run_loop_until(self, done: Callable[[], bool]) -> None:
        deadline = monotonic() + _LAST_WORK_SECONDS
        while self.hub and not done() and monotonic() < deadline:
            self.hub.run_once()


def _is_well_formed(message: Message) -> bool:
    """Return whether Celery can build a request from a message.

    Messages that cannot be decoded or have no task name count as well-formed: Celery reports those itself.
    """
    headers = message.headers
    if not isinstance(headers, dict) or "task" not in headers:
        return True
    try:
        payload = message.payload
    except Exception:  # noqa: BLE001 - the handler raises it again and reports its class
        return True
    if isinstance(payload, dict):
        return "args" in payload
    parts = (list, tuple)
    if not isinstance(headers.get("id"), str) or not isinstance(payload, parts) or len(payload) != 3:
        return False
    args, kwargs, embed = payload
    return isinstance(args, parts) and isinstance(kwargs, dict) and isinstance(embed, dict | None)


def _name_and_id(message: Message) -> tuple[str | None, str | None]:
    headers = message.headers if isinstance(message.headers, dict) else {}
    return headers.get("task"), headers.get("id")
