"""The base of tasks whose retries the ledger holds."""

from math import ceil, inf
from typing import Any

from celery import Task
from celery.exceptions import Reject, Retry

from worker import logs
from worker.settings import settings

log = logs.of(__name__)

# For brokers without a visibility timeout; RabbitMQ waits for 30 minutes before it hands out anew.
_DEFAULT_VISIBILITY_TIMEOUT_SECONDS = 300.0


class TryAgain(Exception):  # noqa: N818 - it is a request, not an error
    """Ask for another try: nobody's fault, and likely to pass.

    ``after_seconds`` is what the other side asked for (``Retry-After``); None leaves it to the backoff.
    """

    def __init__(self, why: str = "", after_seconds: float | None = None) -> None:
        super().__init__(why, after_seconds)
        self.after_seconds = after_seconds


class LedgerRetryTask(Task[Any, Any]):
    """Retry through the ledger first and the broker second, so that neither one alone can lose the work.

    The ledger's due time is the truth and Celery's message a hint that it has come. Retries beyond
    ``max_retries``, and waits beyond ``longest_countdown_seconds``, are the ledger's alone. Attempts are
    counted where ``put_off`` writes: ``request.retries`` starts at 0 again with each new message.
    Celery rounds ``retry_backoff`` and its jitter to whole seconds.
    """

    abstract = True

    autoretry_for: tuple[type[Exception], ...] = (TryAgain,)
    retry_backoff = settings().retry_backoff_base_seconds
    retry_jitter = True
    max_retries = settings().retry_max_attempts

    def put_off(self, exc: BaseException | None, countdown_seconds: float) -> float | None:
        """Write when this request's work is due again, fenced, and return in how many seconds that is.

        None says that the ledger alone holds it: no message is published and the task ends quietly. An
        exception says that nothing could be written, and leaves the retry to Celery's message.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its work is put off")

    @property
    def longest_countdown_seconds(self) -> float:
        """Half the visibility timeout: what waits unacknowledged beyond that, Redis hands out anew."""
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
        """Put the work off in the ledger, then let Celery publish its retry; raise what ends this run.

        ``max_retries`` can only lower the task's own.

        Raises:
            Retry: the work will be tried again, by a message or by the ledger alone.
            Reject: nothing but this message holds the work, so it goes back to its queue.
        """
        request = self.request
        if request.called_directly:
            return super().retry(exc=exc, countdown=countdown, max_retries=max_retries, **options)
        wanted_seconds = self._wanted_seconds(exc, countdown)
        held, due_seconds = self._try_to_put_off(exc, wanted_seconds)
        # Celery's own retry() keeps the limit of a single call on the task, which all threads share.
        limit = min((most for most in (self.max_retries, max_retries) if most is not None), default=inf)
        too_long = due_seconds > self.longest_countdown_seconds
        if held and (too_long or request.retries >= limit or request.is_eager):
            raise Retry("the ledger holds it", exc=exc, when=None)
        return self._publish_retry(exc=exc, countdown=due_seconds, held=held, **options)

    def _wanted_seconds(self, exc: Exception | None, countdown: float | None) -> float:
        if isinstance(exc, TryAgain) and exc.after_seconds is not None:
            return exc.after_seconds
        return float(self.default_retry_delay if countdown is None else countdown)

    def _try_to_put_off(self, exc: Exception | None, wanted_seconds: float) -> tuple[bool, float]:
        """Return whether the ledger holds the work, and in how many seconds a message should come."""
        try:
            due_seconds = self.put_off(exc, wanted_seconds)
        except Exception as error:  # noqa: BLE001 - whatever it is, the message must not be let go of
            where = logs.error_location(error)
            log.error("retry_not_in_ledger", task=self.name, task_id=self.request.id, error=where)
            return False, min(wanted_seconds, self.longest_countdown_seconds)
        return True, inf if due_seconds is None else due_seconds

    def _publish_retry(self, *, held: bool, countdown: float, **options: Any) -> Retry:
        if (self.request.delivery_info or {}).get("exchange"):
            # A message that RabbitMQ delayed carries the delay in place of its queue's name.
            options.setdefault("queue", self.app.amqp.router.route({}, self.name)["queue"].name)
        if self.app.producer_pool.connections.connection.transport.driver_type == "amqp":
            # Celery cuts a delay of RabbitMQ's down to whole seconds, and refuses one that comes to none.
            countdown = ceil(countdown)
        try:
            return super().retry(countdown=countdown, **options)
        except Reject as error:
            # Publishing failed, and Celery would let go of the message as well.
            reason, _ = error.args
            log.warning("retry_not_published", task=self.name, task_id=self.request.id, error=repr(reason))
            if held:
                raise Retry("the ledger holds it", exc=options["exc"]) from error
            raise Reject(reason, requeue=True) from error
