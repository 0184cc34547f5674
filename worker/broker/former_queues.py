"""Let workers empty the queues that a former, larger number of queues left.

Processes may learn of a new number one after the other. So a queue that is found empty may get messages later, and a
worker looks again every minute.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from kombu import Queue

from worker import logs
from worker.broker.queues import queue_states

log = logs.of(__name__)

_LOOK_SECONDS = 60.0


class LeftOverQueues:
    """Find queues that hold messages although they are not in use any more, and let a worker consume from them.

    ``find`` returns the queues that were in use before. RabbitMQ would log an error for each that never existed.
    A thread looks, over a separate connection: the worker's main thread must not wait. A queue that was found is
    consumed from until the worker loses its broker.
    """

    def __init__(self, consumer: Any, find: Callable[[], Sequence[Queue]]) -> None:
        self._consumer, self._find = consumer, find
        self._taken: set[str] = set()
        self._wanted = threading.Event()
        threading.Thread(target=self._run, name="left-over-queues", daemon=True).start()

    def restart(self) -> None:
        """Look again after a connect. One that was deleted meanwhile would break each new connection."""
        queues = self._consumer.app.amqp.queues
        for name in self._taken:
            queues.deselect(name)
            queues.pop(name, None)
        self._taken.clear()
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait(_LOOK_SECONDS)
            self._wanted.clear()
            self._look()

    def _look(self) -> None:
        app = self._consumer.app
        try:
            queues = {queue.name: queue for queue in self._find() if queue.name not in app.amqp.queues}
            if not queues:
                return
            with app.connection_for_read() as connection:
                states = queue_states(connection, queues)
        except Exception as error:  # noqa: BLE001 - ledger and transports raise many; the next look may succeed
            log.warning("left_over_queues_unknown", error=type(error).__name__)
            return
        for queue in states:
            if queue.messages:
                log.info("left_over_queue", queue=queue.name, messages=queue.messages)
                # Channels belong to the worker's main thread.
                self._consumer.call_soon(self._take, queues[queue.name])

    def _take(self, queue: Queue) -> None:
        queues = self._consumer.app.amqp.queues
        if queue.name not in queues:
            self._taken.add(queue.name)
            queues.add(queue)
            self._consumer.add_task_queue(queue.name)
