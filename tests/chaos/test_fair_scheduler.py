"""Running workers: a source whose events are slow to map delays no other, and a killed worker's bulk goes on."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.chaos.feeding import event
from tests.integration import stack as stacks
from tests.integration.stack import Plan, Stack
from tests.integration.waiting import until
from tests.ledger.shop import place
from worker.http.signature import sign
from worker.ledger.intake import inbox, leases

# Python imports this automatically in every process of the stack. It replaces the product's mapping.
SITE = """
import os, sys, time
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder


class Slow(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "worker.pipeline.ingest.outcomes":
            return None
        spec = PathFinder.find_spec(name, path, target)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            to_deliveries = module.to_deliveries

            def slowly(target, one, *rest):
                if str(one.event.get("messageId", "")).startswith("slow_"):
                    with open({journal!r}, "a") as journal:
                        journal.write(f"{{os.getpid()}} {{one.event['messageId']}}\\n")
                    time.sleep(0.1)
                return to_deliveries(target, one, *rest)

            module.to_deliveries = slowly

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Slow())
"""
FLOOD, QUIET = "src_flood", "src_quiet"
EVENTS = 2_000
VALKEY = Plan("valkey", "sqlite", ingest_workers=2)
RABBITMQ = Plan("rabbitmq", "postgresql", ingest_workers=2)
PLANS = [
    pytest.param(VALKEY, id="valkey+sqlite"),
    pytest.param(RABBITMQ, id="rabbitmq+postgresql", marks=pytest.mark.services),
]


@pytest.fixture(params=PLANS)
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """Run a stack in which an event of the flood takes a tenth of a second, and is recorded when it is mapped."""
    site = tmp_path / "site"
    site.mkdir()
    journal = tmp_path / "var" / "mapped.txt"
    (site / "sitecustomize.py").write_text(SITE.format(journal=str(journal)))
    plan = replace(request.param, environment={"PYTHONPATH": str(site)})
    with stacks.running(plan, tmp_path / "var", without=("flower", "management")) as running:
        with running.ledger() as ledger:
            ledger.vault.prepare()
            place(ledger, FLOOD, "600000000001")
            place(ledger, QUIET, "600000000002")
        yield running


def send(stack: Stack, events: list[dict[str, Any]]) -> None:
    answer = requests.post(
        f"{stack.collector_url}/v1/batch",
        json={"batch": events},
        headers={"Authorization": f"Bearer dk_live_{FLOOD}"},
        timeout=15,
    )
    assert answer.status_code == 200, answer.text


def send_signed(stack: Stack, event_id: str) -> None:
    body = json.dumps(event(event_id, 1)).encode()
    stamp = str(int(time.time() * 1_000))
    headers = {"X-Source-Id": QUIET, "X-Timestamp": stamp, "X-Signature": sign("secret", stamp, body)}
    answer = requests.post(f"{stack.collector_url}/v1/events", data=body, headers=headers, timeout=15)
    assert answer.status_code == 200, answer.text


def has_arrived(stack: Stack, event_id: str) -> bool:
    return any(one["event_id"] == event_id for one in stack.sandbox.ids("600000000002"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_signed_order_is_delivered_within_seconds_behind_a_flood_that_takes_minutes(stack: Stack) -> None:
    for start in range(0, EVENTS, 500):
        send(stack, [event(f"slow_{number}", number) for number in range(start, start + 500)])
    waited = []
    for number in range(5):
        time.sleep(1.5)
        began = time.monotonic()
        send_signed(stack, f"order_{number}")
        until("the order arrives", partial(has_arrived, stack, f"order_{number}"), 60, every=0.05)
        waited.append(time.monotonic() - began)
    print(f"\nseconds from acceptance to Pinterest: {[round(one, 2) for one in waited]}")
    with stack.ledger() as ledger, ledger.read() as connection:
        assert inbox.count_waiting(connection) > EVENTS // 2
    assert max(waited) < 5.0
    # A warm stop would wait for a bulk of the flood.
    stack.kill(*stack.ingest_workers)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_hundred_and_twenty_costly_addresses_delay_no_signed_order(stack: Stack) -> None:
    address = f"https://a.example.com/?x={'a' * 4_050}@b%252525"
    context = {"page": {"url": address}, "consent": {"advertising": True}}
    for start in range(0, 480, 120):
        send(stack, [{"type": "page", "messageId": f"c{start + n}", "context": context} for n in range(120)])
    began = time.monotonic()
    send_signed(stack, "order_behind_costly")
    until("the order arrives", partial(has_arrived, stack, "order_behind_costly"), 60, every=0.05)
    waited = time.monotonic() - began
    print(f"\nseconds from acceptance to Pinterest: {waited:.2f}")
    assert waited < 5.0


def mapped(stack: Stack) -> list[tuple[int, str]]:
    """Return each mapping of an event of the flood, with the process that did it."""
    journal = stack.var / "mapped.txt"
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [(int(pid), event_id) for pid, event_id in map(str.split, lines)]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_bulk_that_takes_half_a_minute_is_worked_on_once_and_again_once_its_worker_is_killed(
    stack: Stack,
) -> None:
    stack.stop("ingest2")
    send(stack, [event(f"slow_{number}", number) for number in range(300)])
    holder, _ = until("the only worker begins", lambda: mapped(stack))[0]
    time.sleep(1.0)
    stack.start("ingest2")
    # Enough time for sweeps that would pass the rows to the other worker.
    time.sleep(13)
    before = mapped(stack)
    assert {pid for pid, _ in before} == {holder}
    assert max(Counter(event_id for _, event_id in before).values()) == 1
    with stack.ledger() as ledger, ledger.read() as connection:
        assert leases.leased_ids(connection)
    stack.kill("ingest1")
    until("another worker goes on", lambda: {pid for pid, _ in mapped(stack)} != {holder}, 25)
    until("all are mapped", lambda: _is_empty(stack), 90)
    counts = Counter(event_id for _, event_id in mapped(stack))
    assert len(counts) == 300
    # Events that the killed worker had mapped and not written: a second's work in each of its threads.
    assert sum(counts.values()) - 300 <= 30
    stack.start("ingest1")
    stack.await_ready("ingest1")


def _is_empty(stack: Stack) -> bool:
    with stack.ledger() as ledger, ledger.read() as connection:
        return inbox.count_waiting(connection) == 0
