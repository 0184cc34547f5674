"""Broken connections between worker, broker and Pinterest only cause delays."""

import time

import pytest
from sqlalchemy import select

from tests.chaos.conftest import Wired
from tests.chaos.wire import Fault, broken
from tests.integration.shop import Shop, Visitor
from tests.integration.stack import Stack
from tests.integration.waiting import until
from worker.ledger.schema import ad_account, attempt, batch

# The longest time to a response, independent of the broker.
PATIENCE_SECONDS = 4.0
# Workers are to go on within 30 s of the broker's return; the rest is for what was forgotten meanwhile.
BACK_SECONDS = 90.0

EVENTS = 8


def _send(shop: Shop, name: str) -> float:
    """Send single events; return how long the slowest answer took."""
    slowest = 0.0
    for number in range(EVENTS):
        began = time.monotonic()
        shop.send("/v1/t", {"event": "Signed Up", "messageId": f"{name}_{number}"}, Visitor())
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def _await_each_once_in_the_ledger(shop: Shop, name: str) -> None:
    shop.await_delivered(EVENTS, BACK_SECONDS)
    until("the ledger knows", lambda: shop.standing() == {"delivered": EVENTS}, BACK_SECONDS)
    assert set(shop.copies()) == {(f"{name}_{number}", "signup") for number in range(EVENTS)}
    assert shop.stack.command("books").returncode == 0


def _tries(stack: Stack, account: str) -> list[tuple[str, str]]:
    """Return reason class and reason of the tries for an ad account that did not go well."""
    wanted = (
        select(attempt.c.reason_class, attempt.c.reason)
        .join(batch, batch.c.id == attempt.c.batch_id)
        .join(ad_account, ad_account.c.id == batch.c.ad_account)
        .where(ad_account.c.ad_account_id == account)
        .order_by(attempt.c.id)
    )
    with stack.ledger() as ledger, ledger.read() as connection:
        return [(row.reason_class, row.reason) for row in connection.execute(wanted)]


@pytest.mark.parametrize(
    ("name", "fault", "seconds"),
    [
        # Every connection of every worker is half-open from one moment to the next.
        pytest.param("half_open", Fault(silent=True), 12.0, marks=pytest.mark.slow),
        ("reset", Fault(reset=True), 3.0),
        pytest.param("slow", Fault(latency_seconds=0.3), 3.0, marks=pytest.mark.slow),
    ],
)
def test_a_broken_wire_to_the_broker_holds_up_no_caller_and_costs_no_event(
    stack_on_wires: Wired, name: str, fault: Fault, seconds: float
) -> None:
    _break_the_wire_to_the_broker(stack_on_wires, name, fault, seconds)


@pytest.mark.slow
@pytest.mark.services
def test_half_open_connections_to_rabbitmq_hold_up_no_caller_and_cost_no_event(
    rabbitmq_on_wires: Wired,
) -> None:
    """Without patches beat waits for a confirmation without end, and workers for the end of a lost connection."""
    _break_the_wire_to_the_broker(rabbitmq_on_wires, "half_open", Fault(silent=True), 12.0)


def _break_the_wire_to_the_broker(on_wires: Wired, name: str, fault: Fault, seconds: float) -> None:
    shop = Shop(on_wires.stack)
    with broken(on_wires.to_broker, fault):
        slowest = _send(shop, name)
        time.sleep(seconds)
    began = time.monotonic()
    _await_each_once_in_the_ledger(shop, name)
    print(f"\n{name}: slowest answer {slowest:.2f} s, delivered {time.monotonic() - began:.1f} s afterwards")
    assert slowest < PATIENCE_SECONDS


@pytest.mark.parametrize(
    ("name", "fault", "classes", "words", "copies"),
    [
        # The request was sent without a response: stopped by the deadline of the whole request.
        ("half_open", Fault(silent=True), {"no_answer"}, "deadline", 1),
        # Pinterest took the batch, and the answer is cut in its headers, or in its body.
        pytest.param("cut_headers", Fault(answer_bytes=20), {"no_answer"}, "", 2, marks=pytest.mark.slow),
        ("cut_body", Fault(answer_bytes=150), {"no_answer"}, "", 2),
        # The timeout of requests would start again at each byte.
        pytest.param(
            "drip", Fault(answer_bytes_per_second=20), {"no_answer"}, "deadline", 2, marks=pytest.mark.slow
        ),
        # Depending on the moment the batch was handed over, or not.
        ("reset", Fault(reset=True), {"no_answer", "not_reached"}, "", 1),
    ],
)
def test_a_broken_wire_to_pinterest_sends_the_batch_again(
    stack_on_wires: Wired, name: str, fault: Fault, classes: set[str], words: str, copies: int
) -> None:
    """The outcome is unknown, so the same events are sent again with the same ids; the ledger counts them once."""
    shop = Shop(stack_on_wires.stack)
    events = [
        {"type": "track", "event": "Signed Up", "messageId": f"{name}_{number}", "context": _CONTEXT}
        for number in range(EVENTS)
    ]
    with broken(stack_on_wires.to_pinterest, fault):
        assert shop.post("/v1/batch", {"batch": events}).status_code == 200
        tries = until("a try is noted", lambda: _tries(stack_on_wires.stack, shop.account))
    reason_class, reason = tries[0]
    assert reason_class in classes
    assert words in reason
    _await_each_once_in_the_ledger(shop, name)
    assert min(shop.copies().values()) >= copies


_CONTEXT = {"page": {"url": "https://example.com/"}, "consent": {"advertising": True}}
