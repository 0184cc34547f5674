"""Gather many small messages into one ordinary run of a task."""

import logging
from collections.abc import Callable, Container, Sequence
from functools import partial
from math import ceil
from typing import Any

from celery import Celery, Task
from celery.worker.strategy import default as default_strategy
from kombu.message import Message
from kombu.utils.json import loads

from worker import logs
from worker.broker.kombu_internals import park_unreadable
from worker.broker.messages import TaskMessageBuilder, ids_in_message, ids_in_stored_text, parse_ids
from worker.broker.unsettled import UnackedMessages

log = logs.of(__name__)

# A bulk that is not full waits for those that run, but no longer than so many times its interval.
_MOST_INTERVALS = 10

_NOTHING: dict[str, Any] = {}


class BulkTask(Task[Any, Any]):
    """Run once for many messages, each of which names an item by its id.

    A message per item makes a queue easy to feed, to watch and to scale; a run per item makes it slow::

        @app.task(base=BulkTask)
        def index(ids: list[int]) -> None:
            ...  # All of them at once: one statement, one commit.

        index.apply_async((order_id,))  # By whomever, as ever.

    The worker gathers ``bulk_max`` ids, or what came within ``bulk_interval_seconds`` and until the bulk before
    is done (ten intervals at the most), and hands them on as one Celery request with an id of its own. Pools
    (prefork, threads, solo), time limits, signals, rate limits, ``inspect active`` and Flower's events are
    Celery's own and speak of the bulk; acknowledged, rejected or put back is every message of it. ``run`` gets
    each id once, in order of arrival.

    - Brokers hand out anew what a dead worker held: work on an id twice must do no harm.
    - A run that raises costs its whole bulk, by Celery's usual rules (``acks_on_failure``,
      ``Reject(requeue=True)``). Find the culprit inside the task, where the transaction is.
    - Messages with a countdown, an expiry, a time limit, callbacks, keyword arguments, or anything but an id
      or a list of ids, and those that are retried or revoked, go the usual way, one run each. ``run`` gets a
      list all the same, and so it does in a worker whose strategy is Celery's default.
    - The prefetch is raised to one bulk per pool slot and one to gather: give such tasks their own worker.
    - On Redis and Valkey acknowledging costs two round trips a message. ``Queue(no_ack=True)`` together with
      ``worker_disable_prefetch`` saves them: a killed worker then loses what it held, a rejection cannot put
      it back, and something else has to send it again.
    - A warm shutdown works off what is gathered where ``worker_consumer`` is ``RateLimitedConsumer``.
    """

    abstract = True
    Strategy = "worker.broker.bulk:bulk_strategy"
    acks_late = True

    bulk_max = 500
    bulk_interval_seconds = 0.05

    def __call__(self, ids: int | Sequence[int]) -> Any:
        return self.run(parse_ids(ids))


class Bulk:
    """Settle the messages of one bulk together; Celery's request calls this in place of a message's own."""

    def __init__(
        self,
        messages: list[Message],
        consumer: Any,
        unacked: UnackedMessages | None,
        on_settled: Callable[[], None],
    ) -> None:
        self._messages, self._consumer = messages, consumer
        self._unacked, self._on_settled = unacked, on_settled

    def ack(self, _logger: logging.Logger, errors: tuple[type[Exception], ...]) -> None:
        self._settle_soon(self._ack_all if self._unacked else partial(self._each, Message.ack), errors)

    def reject(self, _logger: logging.Logger, errors: tuple[type[Exception], ...], requeue: bool) -> None:
        self._settle_soon(partial(self._each, Message.requeue if requeue else Message.reject), errors)

    def _settle_soon(self, settle: Callable[[], None], errors: tuple[type[Exception], ...]) -> None:
        # The channel belongs to the worker's main thread, and a pool of threads calls from others.
        self._consumer.call_soon_ack(partial(self._settle, settle, errors))

    def _settle(self, settle: Callable[[], None], errors: tuple[type[Exception], ...]) -> None:
        try:
            settle()
        except errors as error:
            # The rest would fail alike, and the broker hands all of them out anew.
            log.warning("bulk_not_settled", messages=len(self._messages), error=repr(error))
        finally:
            self._on_settled()

    def _ack_all(self) -> None:
        if self._messages and self._unacked:
            self._unacked.ack(self._messages)

    def _each(self, settle: Callable[[Message], None]) -> None:
        for message in self._messages:
            settle(message)


class BulkBuffer:
    """Hold messages back, for one connection to the broker, until they are many or the first has waited.

    What has waited waits on for a bulk that runs: small bulks beside each other cost more than they bring, slow
    down the thread that gathers, and so become smaller still. Full ones run as many at once as the pool has slots.
    """

    def __init__(self, task: BulkTask, consumer: Any, start_run: Callable[..., None]) -> None:
        self._task, self._consumer, self._start_run = task, consumer, start_run
        self._connection = consumer.connection
        self._unacked: UnackedMessages | None = getattr(consumer, "unacked", None)
        self._requests = TaskMessageBuilder(task.name)
        self._callbacks: Any = ()
        self._delivery_info: Any = None
        self._timer_entry: Any = None
        self._is_overdue = False
        self._ids: list[int] = []
        self._messages: list[Message] = []
        self.open_bulks = 0

    @property
    def free_slots(self) -> int:
        """Say how many ids more the bulk that is being gathered takes; 0 when none is."""
        return self._task.bulk_max - len(self._ids) if self._ids else 0

    def add(self, ids: list[int], message: Message, must_ack: bool, callbacks: Any) -> None:
        self._callbacks, self._delivery_info = callbacks, message.delivery_info
        if must_ack:
            if self._unacked:
                # Thousands wait for their bulks, and RabbitMQ is asked by their tags alone. Of other brokers' some
                # take what has to go back from here.
                message.headers = message.properties = _NOTHING
                message.body = None
            self._messages.append(message)
        self.add_ids(ids)

    def add_ids(self, ids: list[int]) -> None:
        """Take ids of a message that nobody has to acknowledge and that came as the last one did."""
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
        bulk = Bulk(messages, self._consumer, self._unacked, self._on_settled)
        self.open_bulks += 1
        self._start_run(self._request(ids), None, bulk.ack, bulk.reject, self._callbacks)

    def retire(self) -> None:
        """Make way for a successor: hand over what is gathered, unless the broker hands it out anew."""
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
        """Return a message that Celery's own strategy takes for one that came from the broker."""
        unique = list(dict.fromkeys(ids))
        argsrepr = f"({len(unique)} ids: {unique[0]} to {unique[-1]},)"
        options = self._requests.publish_options((unique,), argsrepr)
        return Message(**options, delivery_info=self._delivery_info, accept={"application/json"})


def bulk_strategy(task: BulkTask, app: Celery, consumer: Any, **options: Any) -> Callable[..., None]:
    """Return what the consumer calls for each message of the task; called anew after each connect."""
    start_run = default_strategy(task, app, consumer, **options)
    buffer = BulkBuffer(task, consumer, start_run)
    getattr(consumer, "buffers", []).append(buffer)
    widen_prefetch(consumer, task.bulk_max)
    revoked = consumer.controller.state.revoked
    # kombu forgets this for Redis and Valkey, where acknowledging such a message costs what it was to save.
    without_ack = {queue.name for queue in app.amqp.queues.consume_from.values() if queue.no_ack}
    is_redis = consumer.connection.transport.driver_type == "redis"

    def on_message(message: Message, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:
        ids = ids_in_message(message, revoked) if body is None else None
        if ids is None:
            start_run(message, body, ack, reject, callbacks)
        else:
            queue = message.delivery_info.get("routing_key")
            buffer.add(ids, message, queue not in without_ack, callbacks)
            if queue in without_ack and is_redis:
                fill_from_redis(buffer, message.channel, queue, task.name, revoked)

    return on_message


def fill_from_redis(buffer: BulkBuffer, channel: Any, queue: str, task: str, revoked: Container[str]) -> None:
    """Take what a bulk has room for out of a queue of Redis or Valkey with one command.

    kombu asks for one message at a time and builds an object of each: five times the work of what is done with
    it here. Only for queues without acknowledgements: a message that is taken like this is nowhere else.
    """
    if not (room := buffer.free_slots):
        return
    with channel.conn_or_acquire() as client:
        waiting = client.rpop(queue, room) or ()
    for stored in waiting:
        ids = ids_in_stored_text(stored, task, revoked)
        if ids is None:
            _deliver(channel, queue, stored)
        else:
            buffer.add_ids(ids)


def _deliver(channel: Any, queue: str, stored: bytes) -> None:
    """Do with a message what kombu does with one that it took itself."""
    try:
        message = loads(stored.decode())
    except ValueError:
        park_unreadable(channel, queue, stored.decode(errors="backslashreplace"))
    else:
        channel.connection._deliver(message, queue)


def widen_prefetch(consumer: Any, bulk_max: int) -> None:
    """Make room for a bulk per pool slot and one to gather; with less, a bulk would never fill up."""
    slots = consumer.pool.num_processes
    needed = bulk_max * (slots + 1)
    if consumer.initial_prefetch_count:  # 0 is without bound already.
        consumer.initial_prefetch_count = max(consumer.initial_prefetch_count, needed)
        consumer.prefetch_multiplier = max(consumer.prefetch_multiplier, ceil(needed / slots))
