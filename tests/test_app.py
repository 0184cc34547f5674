"""Beat stops after a signal, and workers free unused memory."""

import gc
import os
import signal
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery, signals
from celery.apps.beat import Beat
from celery.beat import Scheduler, Service
from celery.utils.dispatch import Signal

from worker.app import _RUNS_A_COLLECTION, _stop_between_ticks


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Return a beat that is about to start, its handlers in place as in a process of its own."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    app = Celery("beat", broker="memory://", set_as_current=False)
    made = Service(app, schedule_filename=str(tmp_path / "schedule"), scheduler_cls=_Interrupted)
    # Those of the whole program want a ledger.
    monkeypatch.setattr("celery.beat.signals.beat_init", Signal())
    Beat(app=app).install_sync_handler(made)
    _stop_between_ticks(made)
    yield made
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


class _Interrupted(Scheduler):
    """Get ``signals`` stop signals during a tick."""

    signals = 1
    ended = 0

    def tick(self, *_: object, **__: object) -> float:
        for _ in range(self.signals):
            os.kill(os.getpid(), signal.SIGTERM)
        self.ended += 1
        return 0.0


def test_beat_finishes_its_tick_and_ends(service: Service) -> None:
    service.start()
    assert (service.scheduler.ended, service._is_stopped.is_set()) == (1, True)


def test_told_twice_beat_does_not_wait_for_its_tick(service: Service) -> None:
    """The broker may hang."""
    service.scheduler.signals = 2
    service.start()
    assert (service.scheduler.ended, service._is_stopped.is_set()) == (0, True)


def test_what_refers_to_itself_goes_between_two_runs() -> None:
    """Each bulk leaves statements with all of its values behind; by allocations alone nobody would look for days."""

    class Itself:
        def __init__(self) -> None:
            self.me = self

    gc.disable()
    try:
        left = weakref.ref(Itself())
        assert left() is not None
        for _ in range(_RUNS_A_COLLECTION):
            signals.task_postrun.send(sender=None)
        assert left() is None
    finally:
        gc.enable()
