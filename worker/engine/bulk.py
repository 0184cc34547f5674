"""Gather many small messages into one ordinary run of a task."""

import logging
from collections.abc import Callable, Container, Sequence
from functools import partial
from math import ceil
from typing import Any

from celery import Celery, Task
from celery.worker.strategy import default as one_by_one
from kombu.message import Message

from worker.engine.wire import TaskMessages

log = logging.getLogger(__name__)

# Each of these makes a message more than a hint, so that it is run for itself.
_OWN_RUN_HEADERS = ("eta", "expires", "retries", "group", "shadow", "stamped_headers")


class BulkTask(Task[Any, Any]):
    """Run once for many messages, each of which names an item by its id.

    A message per item makes a queue easy to feed, to watch and to scale; a run per item makes it slow::

        @app.task(base=BulkTask)
        def index(ids: list[int]) -> None:
            ...  # All of them at once: one statement, one commit.

        index.apply_async((order_id,))  # By whomever, as ever.

    The worker gathers ``bulk_max`` ids, or what came within ``bulk_interval_seconds``, and hands them on as
    one Celery request with an id of its own. Pools (prefork, threads, solo), time limits, signals, rate limits,
    ``inspect active`` and Flower's events are Celery's own and speak of the bulk; acknowledged, rejected or put
    back is every message of it. ``run`` gets each id once, in order of arrival.

    - Brokers hand out anew what a dead worker held: work on an id twice must do no harm.
    - A run that raises costs its whole bulk, by Celery's usual rules (``acks_on_failure_or_timeout``,
      ``Reject(requeue=True)``). Find the culprit inside the task, where the transaction is.
    - Messages with a countdown, an expiry, a time limit, callbacks, keyword arguments, or anything but an id
      or a list of ids, and those that are retried or revoked, go the usual way, one run each. ``run`` gets a
      list all the same, and so it does in a worker whose strategy is Celery's default.
    - The prefetch is raised to one bulk per pool slot and one to gather: give such tasks their own worker.
    - On Redis and Valkey acknowledging costs two round trips a message. ``Queue(no_ack=True)`` together with
      ``worker_disable_prefetch`` saves them: a killed worker then loses what it held, a rejection cannot put
      it back, and something else has to send it again.
    - A warm shutdown works off what is gathered where ``worker_consumer`` is ``SteadyConsumer``.
    """

    abstract = True
    Strategy = "worker.engine.bulk:bulk_strategy"
    acks_late = True

    bulk_max = 500
    bulk_interval_seconds = 0.05

    def __call__(self, ids: int | Sequence[int]) -> Any:
        return self.run(as_ids(ids))


def as_ids(argument: object) -> list[int]:
    """Return the ids of a message's argument, each once.

    Raises:
        TypeError: it is neither a whole number nor a list of them.
    """
    ids = argument if isinstance(argument, list | tuple) else [argument]
    for id_ in ids:
        if not isinstance(id_, int) or isinstance(id_, bool):
            raise TypeError(f"neither an id nor a list of ids: {type(argument).__name__}")
    return list(dict.fromkeys(ids))


def gatherable_ids(message: Message, revoked: Container[str]) -> list[int] | None:
    """Return the ids that a message carries, or None if it has to go the usual way."""
    headers: Any = message.headers
    if any(headers.get(name) for name in _OWN_RUN_HEADERS) or any(headers.get("timelimit") or ()):
        return None
    payload: Any = message.payload
    if headers.get("id") in revoked or not isinstance(payload, list | tuple):
        return None
    args, kwargs, embed = payload
    if len(args) != 1 or kwargs or any((embed or {}).values()):
        return None
    try:
        return as_ids(args[0])
    except TypeError:
        return None


class Bulk:
    """Settle the messages of one bulk together; Celery's request calls this in place of a message's own."""

    def __init__(self, messages: list[Message], consumer: Any, on_settled: Callable[[], None]) -> None:
        self._messages, self._consumer, self._on_settled = messages, consumer, on_settled

    def ack(self, _logger: logging.Logger, errors: tuple[type[Exception], ...]) -> None:
        self._settle_soon(Message.ack, errors)

    def reject(self, _logger: logging.Logger, errors: tuple[type[Exception], ...], requeue: bool) -> None:
        self._settle_soon(Message.requeue if requeue else Message.reject, errors)

    def _settle_soon(self, settle: Callable[[Message], None], errors: tuple[type[Exception], ...]) -> None:
        # The channel belongs to the worker's main thread, and a pool of threads calls from others.
        self._consumer.call_soon_ack(partial(self._settle, settle, errors))

    def _settle(self, settle: Callable[[Message], None], errors: tuple[type[Exception], ...]) -> None:
        self._on_settled()
        try:
            for message in self._messages:
                settle(message)
        except errors as error:
            # The rest would fail alike, and the broker hands all of them out anew.
            log.warning("bulk_not_settled messages=%d error=%r", len(self._messages), error)


class BulkGatherer:
    """Hold messages back, for one connection to the broker, until they are many or the first has waited."""

    def __init__(self, task: BulkTask, consumer: Any, hand_over: Callable[..., None]) -> None:
        self._task, self._consumer, self._hand_over = task, consumer, hand_over
        self._connection = consumer.connection
        self._requests = TaskMessages(task.name)
        self._callbacks: Any = ()
        self._delivery_info: Any = None
        self._timer_entry: Any = None
        self._ids: list[int] = []
        self._messages: list[Message] = []
        self.open_bulks = 0

    def add(self, ids: list[int], message: Message, must_ack: bool, callbacks: Any) -> None:
        self._ids.extend(ids)
        self._callbacks, self._delivery_info = callbacks, message.delivery_info
        if must_ack:
            self._messages.append(message)
        if len(self._ids) >= self._task.bulk_max:
            self.flush()
        elif self._timer_entry is None:
            wait_seconds = self._task.bulk_interval_seconds
            self._timer_entry = self._consumer.timer.call_after(wait_seconds, self.flush)

    def flush(self) -> None:
        self._stop_timer()
        ids, self._ids = self._ids, []
        messages, self._messages = self._messages, []
        if not ids:
            return
        bulk = Bulk(messages, self._consumer, self._on_settled)
        self.open_bulks += 1
        self._hand_over(self._request(ids), None, bulk.ack, bulk.reject, self._callbacks)

    def retire(self) -> None:
        """Make way for a successor: hand over what is gathered, unless the broker hands it out anew."""
        if self._consumer.connection is not self._connection and self._messages:
            self._stop_timer()
            self._ids, self._messages = [], []
        self.flush()

    def _stop_timer(self) -> None:
        if self._timer_entry is not None:
            self._timer_entry.cancel()
            self._timer_entry = None

    def _on_settled(self) -> None:
        self.open_bulks -= 1

    def _request(self, ids: list[int]) -> Message:
        """Return a message that Celery's own strategy takes for one that came from the broker."""
        unique = list(dict.fromkeys(ids))
        argsrepr = f"({len(unique)} ids: {unique[0]} to {unique[-1]},)"
        options = self._requests.publish_options((unique,), argsrepr)
        return Message(**options, delivery_info=self._delivery_info, accept={"application/json"})


def bulk_strategy(task: BulkTask, app: Celery, consumer: Any, **options: Any) -> Callable[..., None]:
    """Return what the consumer calls for each message of the task; called anew after each connect."""
    hand_over = one_by_one(task, app, consumer, **options)
    gatherer = BulkGatherer(task, consumer, hand_over)
    getattr(consumer, "gatherers", []).append(gatherer)
    widen_prefetch(consumer, task.bulk_max)
    revoked = consumer.controller.state.revoked
    # kombu forgets this for Redis and Valkey, where acknowledging such a message costs what it was to save.
    without_ack = {queue.name for queue in app.amqp.queues.consume_from.values() if queue.no_ack}

    def on_message(message: Message, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:
        ids = gatherable_ids(message, revoked) if body is None else None
        if ids is None:
            hand_over(message, body, ack, reject, callbacks)
        else:
            must_ack = message.delivery_info.get("routing_key") not in without_ack
            gatherer.add(ids, message, must_ack, callbacks)

    return on_message


def widen_prefetch(consumer: Any, bulk_max: int) -> None:
    """Make room for a bulk per pool slot and one to gather; with less, a bulk would never fill up."""
    slots = consumer.pool.num_processes
    needed = bulk_max * (slots + 1)
    if consumer.initial_prefetch_count:  # 0 is without bound already.
        consumer.initial_prefetch_count = max(consumer.initial_prefetch_count, needed)
        consumer.prefetch_multiplier = max(consumer.prefetch_multiplier, ceil(needed / slots))
