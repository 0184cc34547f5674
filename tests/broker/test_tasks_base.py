"""Retries that neither the ledger nor the broker alone can lose."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context
from celery.exceptions import Reject, Retry

from tests.broker.harness import Broker, Worker, running, wait_until
from tests.logged import logged
from worker.broker.publisher import publish_many
from worker.broker.tasks_base import LedgerRetryTask

NOBODY_LISTENS = "amqp://guest:guest@127.0.0.1:1//"


class BusyError(Exception):
    """Request a retry after some seconds; without them, after Celery's backoff."""

    def __init__(self, after_seconds: float | None = None) -> None:
        super().__init__(after_seconds)
        self.after_seconds = after_seconds


class Ledger:
    """A substitute for the ledger: records postponed work, and answers with the given function."""

    def __init__(self, answer: Callable[[float], float | None] = lambda seconds: seconds) -> None:
        self.answer = answer
        self.written: list[tuple[str, float]] = []

    def put_off(self, exc: BaseException | None, countdown_seconds: float) -> float | None:
        wanted_seconds = (isinstance(exc, BusyError) and exc.after_seconds) or countdown_seconds
        self.written.append((type(exc).__name__, wanted_seconds))
        return self.answer(wanted_seconds)


def a_task(ledger: Ledger, broker_url: str = "memory://", **options: Any) -> LedgerRetryTask:
    """Create a task that always requests a retry, in an app that publishes to ``broker_url``."""
    app = Celery("retries", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_publish_retry_policy={"max_retries": 0},
        broker_transport_options={"visibility_timeout": 300, "max_retries": 0},
    )

    class Held(LedgerRetryTask):
        abstract = True
        autoretry_for = (BusyError,)

        def put_off(self, exc: BaseException | None, countdown_seconds: float) -> float | None:
            return ledger.put_off(exc, countdown_seconds)

    @app.task(shared=False, base=Held, name="again", **options)
    def again(number: int) -> None:
        raise BusyError(number or None)

    task: LedgerRetryTask = app.tasks["again"]
    return task


@contextmanager
def in_a_worker(task: LedgerRetryTask, *args: Any, retries: int = 0) -> Iterator[None]:
    """Run as a worker would: with a request that came from the broker."""
    request = Context(
        id="i",
        args=args,
        kwargs={},
        retries=retries,
        called_directly=False,
        delivery_info={"exchange": "", "routing_key": "celery"},
    )
    task.request_stack.push(request)
    try:
        yield
    finally:
        task.request_stack.pop()


def waiting(task: LedgerRetryTask) -> int:
    with task.app.connection_for_write() as connection:
        return int(connection.default_channel.queue_declare("celery").message_count)


@pytest.mark.parametrize(
    ("answer", "retries", "after_seconds", "published"),
    [
        (lambda seconds: seconds, 0, 7, True),
        (lambda _: 20.0, 0, 7, True),  # The ledger knows better.
        (lambda _: None, 0, 7, False),  # Only the ledger holds it.
        (lambda seconds: seconds, 0, 151, False),  # Beyond half the visibility timeout.
        (lambda seconds: seconds, 5, 7, False),  # Celery's own tries are used up.
    ],
)
def test_the_ledger_is_written_first_and_decides(
    answer: Callable[[float], float | None], retries: int, after_seconds: int, published: bool
) -> None:
    ledger = Ledger(answer)
    task = a_task(ledger, max_retries=5)
    with in_a_worker(task, after_seconds, retries=retries), pytest.raises(Retry):
        task.run(after_seconds)
    assert ledger.written == [("BusyError", after_seconds)]
    assert waiting(task) == int(published)
    drain(task)


def drain(task: LedgerRetryTask) -> None:
    with task.app.connection_for_write() as connection:
        connection.default_channel.queue_purge("celery")


def test_without_a_wish_celerys_backoff_counts() -> None:
    ledger = Ledger()
    task = a_task(ledger, retry_backoff=8, retry_jitter=False)
    with in_a_worker(task, 0, retries=2), pytest.raises(Retry):
        task.run(0)
    assert ledger.written == [("BusyError", 32.0)]
    drain(task)


def test_a_retry_that_cannot_be_published_is_left_to_the_ledger(caplog: pytest.LogCaptureFixture) -> None:
    """Celery would reject the message for good; here the due time is written already."""
    ledger = Ledger()
    task = a_task(ledger, NOBODY_LISTENS)
    with in_a_worker(task, 7), pytest.raises(Retry, match="the ledger holds it"):
        task.run(7)
    assert ledger.written == [("BusyError", 7)]
    assert "retry_not_published" in caplog.text


def fail(_: float) -> float:
    raise ConnectionError("the database is away")


def test_without_the_ledger_celerys_message_carries_the_retry(caplog: pytest.LogCaptureFixture) -> None:
    task = a_task(Ledger(fail))
    with in_a_worker(task, 7), pytest.raises(Retry):
        task.run(7)
    assert waiting(task) == 1
    assert "retry_not_in_ledger" in caplog.text
    drain(task)


def test_with_neither_ledger_nor_broker_the_message_goes_back() -> None:
    task = a_task(Ledger(fail), NOBODY_LISTENS)
    with in_a_worker(task, 7), pytest.raises(Reject) as rejected:
        task.run(7)
    assert rejected.value.requeue


def test_without_the_ledger_celerys_limit_ends_the_retries() -> None:
    task = a_task(Ledger(fail), max_retries=2)
    with in_a_worker(task, 7, retries=2), pytest.raises(BusyError):
        task.run(7)


def test_the_limit_of_one_call_is_not_kept_on_the_task() -> None:
    """Celery keeps it there, where other threads find it."""
    task = a_task(Ledger())
    with in_a_worker(task, 7, retries=1), pytest.raises(Retry):
        task.retry(exc=BusyError(), countdown=1, max_retries=1)
    assert waiting(task) == 0
    assert not hasattr(task, "override_max_retries")


def test_called_directly_the_task_raises_what_it_raises() -> None:
    ledger = Ledger()
    with pytest.raises(BusyError):
        a_task(ledger)(7)
    assert ledger.written == []


def test_an_eager_run_is_left_to_the_ledger() -> None:
    ledger = Ledger()
    assert a_task(ledger).apply((7,)).state == "RETRY"
    assert ledger.written == [("BusyError", 7)]


def test_a_task_that_does_not_say_how_is_still_retried(caplog: pytest.LogCaptureFixture) -> None:
    app = Celery("retries", broker="memory://", set_as_current=False)

    @app.task(shared=False, base=LedgerRetryTask, name="forgetful", autoretry_for=(BusyError,))
    def forgetful() -> None:
        raise BusyError(1)

    task = app.tasks["forgetful"]
    with in_a_worker(task), pytest.raises(Retry):
        task.run()
    [told] = logged(caplog)
    assert told["event"] == "retry_not_in_ledger"
    assert told["error"].startswith("NotImplementedError at tasks_base.py:")
    drain(task)


def test_retries_come_back_through_the_broker(broker: Broker, tmp_path: Path) -> None:
    """Twice, a little later each time, and a waiting task does not block others."""
    publish_many(broker.app(), "sample.stubborn", [(number,) for number in range(4)], broker.queue)
    publish_many(broker.app(), "sample.limited", [(0,)], broker.queue)
    with running(Worker(broker, tmp_path, "-P", "threads", "-c", "2")) as worker:
        assert wait_until(lambda: sum(note.get("done", 0) for note in worker.notes()) == 4), worker.log()
        assert worker.stop() == 0
    by_task = [(note["task"], note.get("done")) for note in worker.notes()]
    assert by_task.index(("limited", None)) < by_task.index(("stubborn", 1))
    retries = sorted(note["retries"] for note in worker.notes() if note["task"] == "stubborn")
    assert retries == [0] * 4 + [1] * 4 + [2] * 4
    assert broker.depth() == 0
