"""The Celery app."""

import gc
import os
import threading
import time
from itertools import count
from typing import Any

from celery import Celery, platforms, signals

import celeryconfig
from worker import logs
from worker.settings import settings

log = logs.of(__name__)
# Beat gets this long for its last tick.
_TICK_SECONDS = 5.0
# A warm shutdown needs less, once no task runs.
_IDLE_SECONDS = 10

app = Celery("worker")
# The module, not its name: Celery would look for that in the current folder first.
app.config_from_object(celeryconfig)

if celeryconfig.broker_url.startswith("amqp"):
    from worker.broker.kombu_internals import patch_amqp_host_name_check, patch_amqp_waits

    patch_amqp_waits()
    patch_amqp_host_name_check()


# With a listener Celery sets up no logging of its own. The other two signals are sent earlier and may log.
@signals.setup_logging.connect
@signals.celeryd_init.connect
@signals.beat_init.connect
def _set_up_logs(**_: Any) -> None:
    """Write the logs of workers, beat and Celery as structured logs."""
    logs.set_up()


@signals.worker_init.connect
@signals.beat_init.connect
def _check_ledger_at_start(**_: Any) -> None:
    """Exit before the first task if keys or tables do not match; see `await_ledger`."""
    from worker.monitoring import tracing
    from worker.runtime import ledger
    from worker.settings import SettingsError
    from worker.startup import await_ledger

    try:
        tracing.tracer()
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    await_ledger(ledger())


@signals.celeryd_after_setup.connect
def _choose_event_queues(instance: Any, **_: Any) -> None:
    """Let a worker that takes the first queue of events take those that INGEST_QUEUES names, or all.

    It also takes the queues that a former, larger EVENT_QUEUES left; see `worker.broker.former_queues`.
    """
    queues, names = instance.app.amqp.queues, settings().event_queues
    if celeryconfig.EVENTS in queues.consume_from:
        queues.deselect(names)
        for name in settings().ingest_queues:
            queues.select_add(queues[name])
    if not queues.consume_from.keys().isdisjoint(names):
        instance.app.conf.left_over_queues = _left_over_queues


def _left_over_queues() -> list[Any]:
    """Return the queues of events that only a former, larger EVENT_QUEUES used."""
    from worker.ledger.reports import measures
    from worker.runtime import ledger

    with ledger().read() as connection:
        names = measures.former_queues(connection, settings().unused_event_queues)
    return [queue for queue in celeryconfig.unused_event_queues if queue.name in names]


@signals.worker_ready.connect
def _log_ready(sender: Any, **_: Any) -> None:
    """Say in the log that a worker takes tasks now."""
    log.info("ready", process=sender.hostname)


@signals.beat_init.connect
def _stop_between_ticks(sender: Any, **_: Any) -> None:
    """Let beat finish the current tick after a stop signal; a second signal, or five seconds, end it at once.

    Celery's own handler closes the schedule and raises at any point. During an exchange with the broker the client
    replaces that exception by its own; beat goes on, fails over the closed schedule and exits with status 1.
    """

    def stop(*_: Any) -> None:
        platforms.signals.update(SIGTERM=end, SIGINT=end)
        threading.Thread(target=end_late, name="end", daemon=True).start()
        sender.stop()

    def end_late() -> None:
        # The tick may wait for the broker, for ever if that is away.
        if not sender._is_stopped.wait(_TICK_SECONDS):
            _end_without_broker()

    def end(*_: Any) -> None:
        raise SystemExit

    platforms.signals.update(SIGTERM=stop, SIGINT=stop)


@signals.worker_shutting_down.connect
def _start_ending(**_: Any) -> None:
    """Let a worker that stops, and has nothing left to do, not wait for a broker that is away.

    The main thread may wait minutes for it. What a worker still held comes back from the broker or the ledger.
    """
    threading.Thread(target=_end_when_idle, name="end", daemon=True).start()


def _end_when_idle() -> None:
    from celery.worker import state

    idle_seconds = 0
    while idle_seconds < _IDLE_SECONDS:
        time.sleep(1)
        idle_seconds = 0 if state.active_requests else idle_seconds + 1
    _end_without_broker()


def _end_without_broker() -> None:
    log.warning("stopped_without_broker")
    # No client of a broker stops this.
    os._exit(0)


# A bulk creates about a hundred thousand objects and frees all of them at its end. With default thresholds the garbage
# collector would walk over them and the whole program dozens of times, which takes a tenth of the time.
@signals.worker_init.connect
@signals.worker_process_init.connect
def _collect_rarely(**_: Any) -> None:
    """Exclude the objects of the start from garbage collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


# With those thresholds alone, cyclic SQL statements with the values of their bulks would grow to 50 MB.
_RUNS_A_COLLECTION = 32
_runs = count(1)


@signals.task_postrun.connect
def _collect_between_runs(**_: Any) -> None:
    """Collect everything after every 32nd run, when few objects exist."""
    if next(_runs) % _RUNS_A_COLLECTION == 0:
        gc.collect()
