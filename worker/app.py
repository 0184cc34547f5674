"""The Celery app."""

import gc
from itertools import count
from typing import Any

from celery import Celery, platforms, signals

import celeryconfig
from worker import logs

app = Celery("worker")
# The module and not its name: by that Celery would first look into the folder that a command was called in.
app.config_from_object(celeryconfig)

if celeryconfig.broker_url.startswith("amqp"):
    from worker.broker.kombu_internals import patch_amqp_waits

    patch_amqp_waits()


# With a listener Celery sets up nothing by itself. The others come before it, and may have something to say.
@signals.setup_logging.connect
@signals.celeryd_init.connect
@signals.beat_init.connect
def set_up_logs(**_: Any) -> None:
    """Let workers and beat write their logs, and Celery's own messages, in our form."""
    logs.set_up()


@signals.worker_init.connect
@signals.beat_init.connect
def refuse_a_strange_ledger(**_: Any) -> None:
    """Stop before the first task where the keys or the tables do not fit; see `await_ledger`."""
    from worker.monitoring import tracing
    from worker.runtime import ledger
    from worker.settings import SettingsError
    from worker.startup import await_ledger

    try:
        tracing.tracer()
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    await_ledger(ledger())


@signals.beat_init.connect
def stop_between_ticks(sender: Any, **_: Any) -> None:
    """Let beat finish the tick that is under way when it is told to stop; told again, it ends at once.

    Celery's own handler closes the schedule and raises wherever the signal finds beat. In the middle of an
    exchange with the broker the client replaces what was raised by an error of its own, and beat goes on, to
    fail over the closed schedule and to end with status 1.
    """

    def stop(*_: Any) -> None:
        platforms.signals.update(SIGTERM=end, SIGINT=end)
        sender.stop()

    def end(*_: Any) -> None:
        raise SystemExit

    platforms.signals.update(SIGTERM=stop, SIGINT=stop)


# A bulk makes some hundred thousand objects and lets go of all of them at its end; by its usual measure the
# garbage collector walks over them, and over all of the program, dozens of times in between: a tenth of the time.
@signals.worker_init.connect
@signals.worker_process_init.connect
def collect_rarely(**_: Any) -> None:
    """Leave what was there at the start alone, and look at the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


# By that measure alone statements that refer to themselves, each with the values of its bulk, pile up to 50 MB.
RUNS_A_COLLECTION = 32
_runs = count(1)


@signals.task_postrun.connect
def collect_between_runs(**_: Any) -> None:
    """Look at everything once in a while when there is little to look at."""
    if next(_runs) % RUNS_A_COLLECTION == 0:
        gc.collect()
