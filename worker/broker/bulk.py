"""Gather many small messages into one ordinary run of a task."""

import logging
from collections import deque
from collections.abc import Callable, Container, Sequence
from functools import partial
from math import ceil
from typing import Any

from celery import Celery, Task
from celery.worker.strategy import default as default_strategy
from kombu.message import Message
from kombu.utils.json import loads

from worker import logs
from worker.broker.hint_reader import HintReader
from worker.broker.kombu_internals import park_unreadable
from worker.broker.messages import TaskMessageBuilder, ids_in_message, ids_in_stored_text, parse_ids

# Beyond this many, acknowledged messages are removed; a message with a countdown holds up all after it.
_MANY = 10_000


class _HintRun:
    """Represent messages of RabbitMQ that arrived one after the other, of which only the tags are known."""

    def __init__(self, channel: Any, first_tag: int, count: int) -> None:
        self.channel = channel
        self.delivery_tag = first_tag + count - 1
        self.acknowledged = False
        self.count = count
        self._first_tag = first_tag

    def ack(self, multiple: bool = False) -> None:
        """Acknowledge all of them; with ``multiple`` also all messages before them."""
        if multiple:
            self.channel.basic_ack(self.delivery_tag, multiple=True)
        else:
            self._each(self.channel.basic_ack)
        self.acknowledged = True

    def reject(self) -> None:
        """Reject all of them, so that they do not come back."""
        self._each(partial(self.channel.basic_reject, requeue=False))
        self.acknowledged = True

    def requeue(self) -> None:
        """Give all of them back to the queue."""
        self._each(partial(self.channel.basic_reject, requeue=True))
        self.acknowledged = True

    def _each(self, settle: Callable[[int], None]) -> None:
        for tag in range(self._first_tag, self.delivery_tag + 1):
            settle(tag)


class UnackedMessages:
    """Track the unacknowledged messages of each channel in order of arrival.

    RabbitMQ accepts an acknowledgement of "this message and all before it", at a sixth of the cost of single ones.
    It is allowed only if all earlier messages, of any task, are to be acknowledged too. So every message of a
    channel must be noted on arrival. Redis and Valkey have no such acknowledgement.
    """

    def __init__(self) -> None:
        self._by_channel: dict[Any, deque[Message | _HintRun]] = {}
        self._bound = _MANY

    def note(self, message: Message | _HintRun) -> None:
        """Add a message that has just arrived."""
        queue = self._by_channel.get(message.channel)
        if queue is None:
            self._forget_closed_channels()
            queue = self._by_channel[message.channel] = deque()
        queue.append(message)
        if len(queue) > self._bound:
            unacked = [message for message in queue if not message.acknowledged]
            queue.clear()
            queue.extend(unacked)
            self._bound = max(_MANY, 2 * len(unacked))

    def ack(self, messages: Sequence[Message | _HintRun]) -> None:
        """Acknowledge messages of one channel: the oldest without gaps together, the rest one by one."""
        tags = {message.delivery_tag for message in messages}
        queue = self._by_channel.get(messages[0].channel) or deque()
        last: Message | _HintRun | None = None
        while queue and (queue[0].delivery_tag in tags or queue[0].acknowledged):
            first = queue.popleft()
            if first.delivery_tag in tags:
                tags.discard(first.delivery_tag)
                last = first
        if last is not None:
            last.ack(multiple=True)
        for message in messages:
            if message.delivery_tag in tags:
                message.ack()

    def _forget_closed_channels(self) -> None:
        channels = [channel for channel in self._by_channel if channel.connection is None]
        for channel in channels:
            del self._by_channel[channel]


log = logs.of(__name__)

# A bulk that is not full waits for running bulks, at most this many intervals.
_MOST_INTERVALS = 10

_NOTHING: dict[str, Any] = {}


class BulkTask(Task[Any, Any]):
    """Run once for many messages, each of which carries the id of an item.

    One message per item keeps a queue easy to fill, monitor and scale. One run per item would be slow::

        @app.task(base=BulkTask)
        def index(ids: list[int]) -> None:
            ...  # All of them at once: one statement, one commit.

        index.apply_async((order_id,))  # Callers publish as usual.

    The worker collects ids until there are ``bulk_max``, or until ``bulk_interval_seconds`` have passed and the
    previous bulk is done (ten intervals at most). It starts them as one Celery request with its own id. Pools
    (prefork, threads, solo), time limits, signals, rate limits, ``inspect active`` and Flower's events work as
    usual and see the bulk as one task. All its messages are acknowledged, rejected or requeued together.
    ``run`` gets each id once, in order of arrival.

    - Brokers redeliver what a dead worker held: processing an id twice must be safe.
    - A run that raises fails its whole bulk, by Celery's usual rules (``acks_on_failure``,
      ``Reject(requeue=True)``). Find the culprit inside the task, where the transaction is.
    - These messages get their own run: with a countdown, an expiry, a time limit, callbacks or keyword arguments;
      with an argument that is neither an id nor a list of ids; retried or revoked. ``run`` still gets a list,
      also in a worker that uses Celery's default strategy.
    - The prefetch count is raised to one bulk per pool slot plus one: give such tasks their own worker.
    - On Redis and Valkey an acknowledgement costs two round trips per message. ``Queue(no_ack=True)`` with
      ``worker_disable_prefetch`` avoids them. Then a killed worker loses its messages, a rejected message cannot
      be requeued, and something else has to publish them again.
    - A warm shutdown processes collected messages if ``worker_consumer`` is ``RateLimitedConsumer``.
    """

    abstract = True
    Strategy = "worker.broker.bulk:_bulk_strategy"
    acks_late = True

    bulk_max = 500
    bulk_interval_seconds = 0.05

    def __call__(self, ids: int | Sequence[int]) -> Any:
        return self.run(parse_ids(ids))


class _Bulk:
    """Acknowledge or reject the messages of one bulk together; Celery's request calls it like one message."""

    def __init__(
        self,
        messages: list[Message | _HintRun],
        consumer: Any,
        unacked: UnackedMessages | None,
        on_settled: Callable[[], None],
    ) -> None:
        self._messages, self._consumer = messages, consumer
        self._unacked, self._on_settled = unacked, on_settled

    def ack(self, _logger: logging.Logger, errors: tuple[type[Exception], ...]) -> None:
        self._settle_soon(self._ack_all if self._unacked else partial(self._each, "ack"), errors)

    def reject(self, _logger: logging.Logger, errors: tuple[type[Exception], ...], requeue: bool) -> None:
        self._settle_soon(partial(self._each, "requeue" if requeue else "reject"), errors)

    def _settle_soon(self, settle: Callable[[], None], errors: tuple[type[Exception], ...]) -> None:
        # The channel belongs to the worker's main thread; a thread pool calls this from other threads.
        self._consumer.call_soon_ack(partial(self._settle, settle, errors))

    def _settle(self, settle: Callable[[], None], errors: tuple[type[Exception], ...]) -> None:
        try:
            settle()
        except errors as error:
            # The rest would fail too. The broker redelivers all of them.
            count = sum(message.count if isinstance(message, _HintRun) else 1 for message in self._messages)
            log.warning("bulk_not_settled", messages=count, error=repr(error))
        finally:
            self._on_settled()

    def _ack_all(self) -> None:
        if self._messages and self._unacked:
            self._unacked.ack(self._messages)

    def _each(self, method: str) -> None:
        for message in self._messages:
            getattr(message, method)()


class _BulkBuffer:
    """Collect the messages of one broker connection until a bulk is full or its oldest message has waited.

    A bulk that is not full also waits for running bulks. Small parallel bulks cost more than they gain: they slow
    down the collecting thread and so become even smaller. Full bulks run in parallel, one per pool slot.
    """

    def __init__(self, task: BulkTask, consumer: Any, start_run: Callable[..., None]) -> None:
        self._task, self._consumer, self._start_run = task, consumer, start_run
        self._connection = consumer.connection
        self._unacked: UnackedMessages | None = getattr(consumer, "unacked", None)
        self._reader: HintReader | None = getattr(consumer, "hint_reader", None)
        self._requests = TaskMessageBuilder(task.name)
        self._callbacks: Any = ()
        self._delivery_info: Any = None
        self._timer_entry: Any = None
        self._is_overdue = False
        self._ids: list[int] = []
        self._messages: list[Message | _HintRun] = []
        self.open_bulks = 0

    @property
    def _free_slots(self) -> int:
        """Return how many more ids fit into the started bulk; 0 if none is started."""
        return self._task.bulk_max - len(self._ids) if self._ids else 0

    def add(self, ids: list[int], message: Message, must_ack: bool, callbacks: Any) -> None:
        self._callbacks, self._delivery_info = callbacks, message.delivery_info
        if must_ack:
            if self._unacked:
                if self._reader and len(ids) == 1:
                    self._reader.learn(message, ids[0], self)
                # Thousands of messages wait, and RabbitMQ needs only their tags: free the rest. Other brokers may
                # need it to requeue a message.
                message.headers = message.properties = _NOTHING
                message.body = None
            self._messages.append(message)
        self.add_ids(ids)

    @property
    def takes_runs(self) -> bool:
        """Return False while a task is revoked, whose messages have to be found."""
        return not self._consumer.controller.state.revoked

    def add_run(self, ids: list[int], channel: Any, first_tag: int) -> None:
        """Add ids of messages that RabbitMQ delivered one after the other, in bulks of at most ``bulk_max``."""
        start = 0
        while start < len(ids):
            part = ids[start : start + self._task.bulk_max - len(self._ids)]
            run = _HintRun(channel, first_tag + start, len(part))
            if self._unacked:
                self._unacked.note(run)
            self._messages.append(run)
            self.add_ids(part)
            start += len(part)

    def add_ids(self, ids: list[int]) -> None:
        """Add ids of a message without acknowledgement from the same queue as the last one."""
        self._ids.extend(ids)
        if len(self._ids) >= self._task.bulk_max:
            self.flush()
        elif self._timer_entry is None:
            self._set_timer(self._task.bulk_interval_seconds, self._when_due)

    def _when_due(self) -> None:
        self._stop_timer()
        if self.open_bulks:
            self._is_overdue = True
            self._set_timer((_MOST_INTERVALS - 1) * self._task.bulk_interval_seconds, self.flush)
        else:
            self.flush()

    def flush(self) -> None:
        self._stop_timer()
        ids, self._ids = self._ids, []
        messages, self._messages = self._messages, []
        if not ids:
            return
        bulk = _Bulk(messages, self._consumer, self._unacked, self._on_settled)
        self.open_bulks += 1
        self._start_run(self._request(ids), None, bulk.ack, bulk.reject, self._callbacks)

    def retire(self) -> None:
        """Flush before a new buffer replaces this one; drop what the broker will redeliver."""
        if self._reader:
            self._reader.forget(self)
        if self._consumer.connection is not self._connection and self._messages:
            self._stop_timer()
            self._ids, self._messages = [], []
        self.flush()

    def _set_timer(self, wait_seconds: float, then: Callable[[], None]) -> None:
        self._timer_entry = self._consumer.timer.call_after(wait_seconds, then)

    def _stop_timer(self) -> None:
        self._is_overdue = False
        if self._timer_entry is not None:
            self._timer_entry.cancel()
            self._timer_entry = None

    def _on_settled(self) -> None:
        self.open_bulks -= 1
        if self._is_overdue and not self.open_bulks:
            self.flush()

    def _request(self, ids: list[int]) -> Message:
        """Build a message that Celery's default strategy accepts as one from the broker."""
        unique = list(dict.fromkeys(ids))
        argsrepr = f"({len(unique)} ids: {unique[0]} to {unique[-1]},)"
        options = self._requests.publish_options((unique,), argsrepr)
        return Message(**options, delivery_info=self._delivery_info, accept={"application/json"})


def _bulk_strategy(task: BulkTask, app: Celery, consumer: Any, **options: Any) -> Callable[..., None]:
    """Return the handler for each message of the task; the consumer calls this after each connect."""
    start_run = default_strategy(task, app, consumer, **options)
    buffer = _BulkBuffer(task, consumer, start_run)
    getattr(consumer, "buffers", []).append(buffer)
    queues = app.amqp.queues.consume_from
    own_name = app.amqp.router.route({}, task.name)["queue"].name
    # The queues that share the task's messages; a worker may take others as well.
    sharing = sum(name == own_name or name.startswith(f"{own_name}-") for name in queues)
    _widen_prefetch(consumer, task.bulk_max, max(1, sharing))
    revoked = consumer.controller.state.revoked
    is_redis = consumer.connection.transport.driver_type == "redis"

    def on_message(message: Message, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:
        ids = ids_in_message(message, revoked) if body is None else None
        if ids is None:
            start_run(message, body, ack, reject, callbacks)
        else:
            queue = message.delivery_info.get("routing_key") or ""
            # On Redis and Valkey kombu ignores no_ack and would still pay for the acknowledgement.
            without_ack = queue in queues and bool(queues[queue].no_ack)
            buffer.add(ids, message, not without_ack, callbacks)
            if without_ack and is_redis:
                _fill_from_redis(buffer, message.channel, queue, task.name, revoked)

    return on_message


def _fill_from_redis(
    buffer: _BulkBuffer, channel: Any, queue: str, task: str, revoked: Container[str]
) -> None:
    """Fill a bulk from a queue of Redis or Valkey with one command.

    kombu fetches one message at a time and builds an object for each, which takes five times as long.
    Only for queues without acknowledgements: a fetched message exists nowhere else.
    """
    if not (free_slots := buffer._free_slots):
        return
    with channel.conn_or_acquire() as client:
        texts = client.rpop(queue, free_slots) or ()
    for text in texts:
        ids = ids_in_stored_text(text, task, revoked)
        if ids is None:
            _deliver(channel, queue, text)
        else:
            buffer.add_ids(ids)


def _deliver(channel: Any, queue: str, text: bytes) -> None:
    """Deliver a message as kombu does after fetching it itself."""
    try:
        message = loads(text.decode())
    except ValueError:
        park_unreadable(channel, queue, text.decode(errors="backslashreplace"))
    else:
        channel.connection._deliver(message, queue)


def _widen_prefetch(consumer: Any, bulk_max: int, queues: int) -> None:
    """Raise the prefetch count to one bulk per pool slot plus one; with less, a bulk would never fill up.

    With quorum queues the count applies to each queue. They share it, but one must be enough for a bulk.
    """
    slots = consumer.pool.num_processes
    prefetch = max(bulk_max, ceil(bulk_max * (slots + 1) / queues))
    if consumer.initial_prefetch_count:  # 0 means unlimited.
        consumer.initial_prefetch_count = max(consumer.initial_prefetch_count, prefetch)
        consumer.prefetch_multiplier = max(consumer.prefetch_multiplier, ceil(prefetch / slots))
