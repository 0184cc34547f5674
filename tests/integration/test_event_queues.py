"""Several queues for events: spread evenly, shared by workers, and their number may change."""

from functools import partial
from pathlib import Path

import pytest
from kombu import Connection

from tests.chaos.feeding import event
from tests.integration import stack as stacks
from tests.integration.shop import Shop
from tests.integration.stack import Plan, Stack
from tests.integration.waiting import until
from worker.broker.queues import queue_states
from worker.ledger.intake import inbox

QUEUES = ("events", "events-2", "events-3", "events-4")
PLANS = [
    pytest.param(Plan("valkey", "sqlite", ingest_workers=2), id="valkey+sqlite"),
    pytest.param(
        Plan("rabbitmq", "postgresql", ingest_workers=2),
        id="rabbitmq+postgresql",
        marks=pytest.mark.services,
    ),
]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("plan", PLANS)
def test_queues_are_used_evenly_and_a_change_of_their_number_strands_no_event(
    plan: Plan, tmp_path: Path
) -> None:
    with stacks.prepared(plan, tmp_path / "v") as stack:
        stack.environment["EVENT_QUEUES"] = "4"
        stack.start("collector", "management")
        stack.await_ready("collector", "management")
        shop = Shop(stack)
        _two_workers_share_four_queues(stack, shop)
        _one_queue_after_four(stack, shop)
        _four_queues_after_one(stack, shop)
        # Until now no sweeper ran, so that only the hints in the queues started work.
        stack.start("delivery", "upkeep", "beat")
        until("all are delivered", lambda: shop.standing() == {"delivered": 120}, 60)
        assert sorted(one["event_id"] for one in stack.sandbox.ids(shop.account)) == sorted(
            f"{step}_{number}" for step in ("shared", "fewer", "more") for number in range(40)
        )
        assert stack.command("books", "--audit").returncode == 0
        stack.assert_alive()


def _two_workers_share_four_queues(stack: Stack, shop: Shop) -> None:
    whole = dict(stack.commands)
    stack.commands["ingest1"] = f"env INGEST_QUEUES=1,3 {whole['ingest1']}"
    stack.commands["ingest2"] = f"env INGEST_QUEUES=2,4 {whole['ingest2']}"
    _post(shop, "shared")
    _await_lengths(stack, 10, 10, 10, 10)
    stack.start("ingest1")
    _await_lengths(stack, 0, 10, 0, 10)
    stack.start("ingest2")
    _await_lengths(stack, 0, 0, 0, 0)
    until("all are mapped", partial(_is_inbox_empty, stack))
    stack.stop("ingest1", "ingest2")
    stack.commands = whole


def _one_queue_after_four(stack: Stack, shop: Shop) -> None:
    _post(shop, "fewer")
    _await_lengths(stack, 10, 10, 10, 10)
    stack.environment["EVENT_QUEUES"] = "1"
    found = stack.command("doctor", "--no-tokens").stdout
    for queue in QUEUES[1:]:
        assert f"{queue} has 10 messages, but EVENT_QUEUES is 1" in found
    stack.start("ingest1")
    _await_lengths(stack, 0, 0, 0, 0)
    until("all are mapped", partial(_is_inbox_empty, stack))
    stack.stop("collector", "ingest1")
    stack.start("collector")
    stack.await_ready("collector")


def _four_queues_after_one(stack: Stack, shop: Shop) -> None:
    _post(shop, "more")
    _await_lengths(stack, 40, 0, 0, 0)
    stack.environment["EVENT_QUEUES"] = "4"
    stack.start("ingest1")
    _await_lengths(stack, 0, 0, 0, 0)
    until("all are mapped", partial(_is_inbox_empty, stack))


def _post(shop: Shop, step: str) -> None:
    for start in range(0, 40, 8):
        batch = [event(f"{step}_{number}", number) for number in range(start, start + 8)]
        assert shop.post("/v1/batch", {"batch": batch}).json() == {"success": True, "accepted": 8}


def _await_lengths(stack: Stack, *wanted: int) -> None:
    with Connection(stack.settings.broker_url) as connection:
        until(
            f"the queues hold {wanted} messages",
            lambda: tuple(one.messages for one in queue_states(connection, QUEUES)) == wanted,
        )


def _is_inbox_empty(stack: Stack) -> bool:
    with stack.ledger() as ledger, ledger.read() as connection:
        return inbox.count_waiting(connection) == 0
