"""Beat dies, beat runs twice, clocks step: no event is stuck, and none is sent twice because of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from freezegun import freeze_time

from tests.chaos.conftest import Wired
from tests.chaos.timeline import Timeline
from tests.integration.shop import Shop
from tests.integration.stack import Stack
from tests.integration.waiting import until
from tests.ledger.shop import NOW, accept, pend, place, stand
from tests.pipeline.sandbox import FakePinterest, accepted, answer
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.setup.integrations import Integration
from worker.pinterest.client.breaker import BreakerPolicy
from worker.pipeline.ingest.ingest_bulk import ingest
from worker.pipeline.upkeep.sweeping import Hints, sweep_ledger

HOUR = 3_600.0
EVENTS = 300
CONTEXT = {"page": {"url": "https://example.com/"}, "consent": {"advertising": True}}
STEPS = [
    pytest.param(-2 * HOUR, id="back by two hours"),
    pytest.param(-30.0, id="back by half a minute"),
    pytest.param(30.0, id="forward by half a minute"),
    pytest.param(2 * HOUR, id="forward by two hours"),
]


# With processes


def _post(shop: Shop, name: str) -> None:
    batch = [
        {"type": "track", "event": "Signed Up", "messageId": f"{name}_{number}", "context": CONTEXT}
        for number in range(EVENTS)
    ]
    assert shop.post("/v1/batch", {"batch": batch}).json() == {"success": True, "accepted": EVENTS}


def _await_each_once(shop: Shop) -> None:
    until("all are delivered", lambda: shop.standing() == {"delivered": EVENTS}, 60)
    assert set(shop.copies().values()) == {1}


def test_while_beat_is_dead_events_wait_and_go_on_once_it_is_back(stack_on_wires: Wired) -> None:
    stack, shop = stack_on_wires.stack, Shop(stack_on_wires.stack)
    stack.kill("beat")
    # Workers still process the ticks in the queue.
    time.sleep(2.0)
    _post(shop, "beat_dead")
    until("they wait to be batched", lambda: shop.standing() == {"pending": EVENTS})
    time.sleep(2.0)
    assert shop.standing() == {"pending": EVENTS}
    stack.start("beat")
    _await_each_once(shop)


@contextmanager
def _second_beat(stack: Stack) -> Iterator[None]:
    # On another machine it would have its own schedule file.
    stack.commands["beat2"] = f"{stack.commands['beat']} --schedule {stack.var / 'beat2'}"
    stack.start("beat2")
    try:
        # The kind of database decides what is added to the file's name.
        until("the second beat keeps its schedule", lambda: list(stack.var.glob("beat2*")))
        yield
    finally:
        stack.stop("beat2")
        del stack.commands["beat2"]


def test_two_beats_send_nothing_twice(stack_on_wires: Wired) -> None:
    shop = Shop(stack_on_wires.stack)
    with _second_beat(stack_on_wires.stack):
        # Long enough for both to tick.
        time.sleep(3.0)
        _post(shop, "beat_twice")
        _await_each_once(shop)
    assert stack_on_wires.stack.command("books").returncode == 0


# Without processes, where a test can tell the time


@pytest.fixture
def shop(ledger: Ledger) -> Integration:
    return place(ledger)


@pytest.mark.parametrize("step_seconds", STEPS)
def test_pending_events_survive_a_step_of_the_clock(
    ledger: Ledger, shop: Integration, step_seconds: float
) -> None:
    line = Timeline(ledger, FakePinterest(accepted))
    pend(ledger, shop, 10)
    line.clock.now += step_seconds
    line.live(70.0, step_seconds=2.0)
    assert stand(ledger) == {"delivered": 10}
    assert len(line.pinterest.received) == 10


@pytest.mark.parametrize("step_seconds", STEPS)
def test_a_batch_that_waits_for_its_retry_survives_a_step_of_the_clock(
    ledger: Ledger, shop: Integration, step_seconds: float
) -> None:
    """Celery's countdown uses the monotonic clock and ends on time; the ledger's due time is a date."""
    line = Timeline(ledger, FakePinterest(answer(500), accepted))
    # Never late by any of these clocks: a second copy of a late event would need manual action.
    pend(ledger, shop, 10, event_time=int(NOW + 12 * HOUR))
    line.live(2.0)
    assert len(line.tries) == 1
    line.clock.now += step_seconds
    line.messages = [(due + step_seconds, batch_id) for due, batch_id in line.messages]
    line.live(max(0.0, -step_seconds) + 60.0, step_seconds=max(5.0, -step_seconds / 60))
    assert stand(ledger) == {"delivered": 10}
    assert len(line.pinterest.received) == 10


@pytest.mark.parametrize("step_seconds", STEPS)
def test_a_batch_that_is_being_sent_during_a_step_is_not_sent_twice_at_once(
    ledger: Ledger, shop: Integration, step_seconds: float
) -> None:
    """A step forward lets its lease run out early: the fence then keeps the first worker from settling it."""
    line = Timeline(ledger, FakePinterest(accepted))
    pend(ledger, shop, 10, event_time=int(NOW + 12 * HOUR))
    stepped = False

    def during(events: list[dict[str, object]]) -> object:
        nonlocal stepped
        if not stepped:
            stepped = True
            line.clock.now += step_seconds
            line.tick()
        return accepted(events)

    line.pinterest.replies = [during]
    line.live(120.0, step_seconds=5.0)
    assert stand(ledger) == {"delivered": 10}
    sends = len(line.pinterest.requests)
    # Only a step beyond the lease causes a second copy, which has the same ids.
    assert sends == (2 if step_seconds > 62.0 else 1)
    assert len(set(map(tuple, line.pinterest.requests))) == 1


@pytest.mark.parametrize("step_seconds", STEPS)
def test_the_inbox_survives_a_step_of_the_clock(
    ledger: Ledger, shop: Integration, step_seconds: float
) -> None:
    """Events that were accepted before the step, and whose message was lost, are mapped after it."""
    context = CONTEXT | {"ip": "203.0.113.5", "userAgent": "Mozilla/5.0 ..."}
    # PostgreSQL's own clock does not step.
    began = time.time()
    event = {"type": "track", "event": "Signed Up", "messageId": "m1", "context": context}
    accept(ledger, [event], received_at=began)
    ranges: list[tuple[int, int]] = []
    hints = Hints(ranges.extend, lambda _: None, lambda: 0, lambda: 0)
    with freeze_time(datetime.fromtimestamp(began + step_seconds, UTC)) as frozen:
        for _ in range(3):
            sweep_ledger(ledger, hints, time.time())
            frozen.tick(61.0)
        with ledger.read() as connection:
            ids = [i for first, last in ranges for i in inbox.ids_between(connection, first, last)]
        assert ids
        assert ingest(ledger, ids)["mapped"] == 1
        # A hint that comes twice finds nothing.
        assert not ingest(ledger, ids)
    assert stand(ledger) == {"pending": 1}


@pytest.mark.parametrize("step_seconds", STEPS)
def test_an_open_breaker_survives_a_step_of_the_clock(
    ledger: Ledger, shop: Integration, step_seconds: float
) -> None:
    line = Timeline(
        ledger, FakePinterest(*[answer(500)] * 5, accepted), breaker=BreakerPolicy(failures_to_open=5)
    )
    pend(ledger, shop, 10, event_time=int(NOW + 12 * HOUR))
    line.live(70.0)
    line.clock.now += step_seconds
    line.messages = [(due + step_seconds, batch_id) for due, batch_id in line.messages]
    line.live(max(0.0, -step_seconds) + 400.0, step_seconds=60.0)
    assert stand(ledger) == {"delivered": 10}
    assert len(line.pinterest.received) == 10
