"""A delivery worker is stopped while it sends: warm, cold, or like a power failure."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.conftest import EMBEDDED
from tests.integration.shop import Shop
from tests.integration.stack import Stack
from tests.integration.waiting import until
from worker.ledger.schema import BatchStatus, batch

EVENTS = 50
# A warm shutdown ends after the response of the current request, whose deadline is 25 s.
GRACE_SECONDS = 30.0
CONTEXT = {"page": {"url": "https://example.com/"}, "consent": {"advertising": True}}


@EMBEDDED
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "finishes"),
    # Python waits for its threads also where Celery does not, so that QUIT ends as TERM does; nobody relies on it.
    [(signal.SIGTERM, True), (signal.SIGQUIT, None), (signal.SIGKILL, False)],
    ids=["TERM", "QUIT", "KILL"],
)
def test_a_delivery_worker_that_is_stopped_while_it_sends_loses_nothing(
    stack: Stack, number: signal.Signals, finishes: bool | None
) -> None:
    """TERM finishes the batches in progress; otherwise they are sent again after the lease, with the same ids."""
    shop = Shop(stack)
    stack.sandbox.behave({"rules": [{"account": shop.account, "latency_seconds": 3.0}]})
    _post(shop, number.name)
    until("the batch is being sent", lambda: shop.standing()["in_flight"] and _sending(stack), 30)
    with _away(stack, number) as seconds:
        assert seconds < GRACE_SECONDS
        assert finishes is None or (shop.standing() == {"delivered": EVENTS}) == finishes
    stack.end_leases()
    stack.sandbox.behave_well()
    until("all are delivered", lambda: shop.standing() == {"delivered": EVENTS}, 60)
    assert len(shop.copies()) == EVENTS
    assert max(shop.copies().values()) <= (1 if finishes else 2)


@contextmanager
def _away(stack: Stack, number: signal.Signals) -> Iterator[float]:
    """Send the worker a signal, wait until it has ended, and start it again afterwards."""
    process = stack.running.pop("delivery")
    began = time.monotonic()
    os.kill(process.pid, number)
    try:
        process.wait(60)
        yield time.monotonic() - began
    finally:
        process.kill()
        stack.start("delivery")
        stack.await_ready("delivery")


def _post(shop: Shop, name: str) -> None:
    events = [
        {"type": "track", "event": "Signed Up", "messageId": f"{name}_{n}", "context": CONTEXT}
        for n in range(EVENTS)
    ]
    assert shop.post("/v1/batch", {"batch": events}).json() == {"success": True, "accepted": EVENTS}


def _sending(stack: Stack) -> bool:
    with stack.ledger() as ledger, ledger.read() as connection:
        found = batch.select().where(batch.c.status == BatchStatus.SENDING.value)
        return connection.execute(found).first() is not None
