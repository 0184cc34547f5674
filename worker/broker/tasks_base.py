"""Base class of tasks whose retries are stored in the ledger."""

from math import ceil, inf
from typing import Any

from celery import Task
from celery.exceptions import Reject, Retry

from worker import logs
from worker.settings import settings

log = logs.of(__name__)

# For brokers without a visibility timeout; RabbitMQ waits 30 minutes before it redelivers.
_DEFAULT_VISIBILITY_TIMEOUT_SECONDS = 300.0


class LedgerRetryTask(Task[Any, Any]):
    """Store a retry in the ledger, then publish it, so that neither ledger nor broker alone can lose the work.

    The ledger's due time is authoritative; Celery's message is a hint. Retries beyond ``max_retries`` and waits
    beyond half the visibility timeout are only in the ledger. ``put_off`` counts the attempts, because
    ``request.retries`` starts at 0 with each new message. Celery rounds ``retry_backoff`` and its jitter to
    whole seconds.
    """

    abstract = True

    retry_backoff = settings().retry_backoff_base_seconds
    retry_jitter = True
    max_retries = settings().retry_max_attempts

    def put_off(self, exc: BaseException | None, countdown_seconds: float) -> float | None:
        """Store when this request's work is due again, fenced, and return the wait in seconds.

        None means that no message is needed: the task ends and the ledger keeps the work. An exception means
        that nothing was stored; then only Celery's message holds the retry.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement put_off")

    @property
    def _longest_countdown_seconds(self) -> float:
        """Half the visibility timeout; Redis redelivers what stays unacknowledged for longer."""
        options = self.app.conf.broker_transport_options or {}
        return float(options.get("visibility_timeout", _DEFAULT_VISIBILITY_TIMEOUT_SECONDS)) / 2

    def retry(  # type: ignore[override]  # the stubs list every option of apply_async
        self,
        *,
        exc: Exception | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Retry:
        """Store the retry in the ledger, then let Celery publish it; always raises.

        ``max_retries`` can only lower the task's own limit.

        Raises:
            Retry: the ledger or a message holds the retry.
            Reject: only this message holds the work, so it returns to its queue.
        """
        request = self.request
        if request.called_directly:
            return super().retry(exc=exc, countdown=countdown, max_retries=max_retries, **options)
        wanted_seconds = float(self.default_retry_delay if countdown is None else countdown)
        held, due_seconds = self._try_to_put_off(exc, wanted_seconds)
        # Celery's retry() stores the limit of one call on the task object, which all threads share.
        limit = min((value for value in (self.max_retries, max_retries) if value is not None), default=inf)
        too_long = due_seconds > self._longest_countdown_seconds
        if held and (too_long or request.retries >= limit or request.is_eager):
            raise Retry("the ledger holds it", exc=exc, when=None)
        return self._publish_retry(exc=exc, countdown=due_seconds, held=held, **options)

    def _try_to_put_off(self, exc: Exception | None, wanted_seconds: float) -> tuple[bool, float]:
        """Return whether the ledger holds the work, and the wait in seconds before a message."""
        try:
            due_seconds = self.put_off(exc, wanted_seconds)
        except Exception as error:  # noqa: BLE001 - after any error the message must survive
            place = logs.error_location(error)
            log.error("retry_not_in_ledger", task=self.name, task_id=self.request.id, error=place)
            return False, min(wanted_seconds, self._longest_countdown_seconds)
        return True, inf if due_seconds is None else due_seconds

    def _publish_retry(self, *, held: bool, countdown: float, **options: Any) -> Retry:
        if (self.request.delivery_info or {}).get("exchange"):
            # A message delayed by RabbitMQ carries the delay instead of its queue's name.
            options.setdefault("queue", self.app.amqp.router.route({}, self.name)["queue"].name)
        if self.app.producer_pool.connections.connection.transport.driver_type == "amqp":
            # Celery truncates RabbitMQ's delays to whole seconds and rejects a delay of 0.
            countdown = ceil(countdown)
        try:
            return super().retry(countdown=countdown, **options)
        except Reject as error:
            # Publishing failed. Celery would drop the message too.
            reason, _ = error.args
            log.warning("retry_not_published", task=self.name, task_id=self.request.id, error=repr(reason))
            if held:
                raise Retry("the ledger holds it", exc=options["exc"]) from error
            raise Reject(reason, requeue=True) from error
