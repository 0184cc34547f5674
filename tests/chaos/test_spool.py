"""PostgreSQL is away while a shop sends: every event that got 200 arrives once, also if the collector is killed."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from sqlalchemy import make_url

from tests.chaos.kill_storm import ENVIRONMENT
from tests.chaos.wire import Fault, Wire, broken, wired
from tests.integration import services
from tests.integration import stack as stacks
from tests.integration.shop import Shop
from tests.integration.stack import Plan, Stack
from tests.integration.waiting import until
from worker.ledger.intake import spool
from worker.ledger.postgresql import PATIENCE_SECONDS

CONTEXT = {
    "page": {"url": "https://example.com/?epik=abc"},
    "ip": "203.0.113.9",
    "userAgent": "Mozilla/5.0 (X11)",
    "consent": {"advertising": True},
}


@contextmanager
def stack_behind_a_wire(folder: Path) -> Iterator[tuple[Stack, Wire]]:
    with services.postgresql_url() as url, wired((services.HOST, services.PORTS["postgresql"])) as wire:
        wired_url = make_url(url).set(port=wire.port).render_as_string(hide_password=False)
        environment = {"DATABASE_URL": wired_url, "COLLECTOR_WORKERS": "2"}
        plan = Plan(environment=ENVIRONMENT | environment)
        with stacks.running(plan, folder, without=("flower",)) as stack:
            yield stack, wire


class Sender:
    """Send events by key and by signature, and keep the ids of those that the collector accepted."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.accepted: set[str] = set()
        self.slowest_seconds = 0.0

    def send(self, name: str, requests_: int) -> None:
        for n in range(requests_):
            ids = [f"{name}-{n:03}-{part}" for part in range(4)]
            events = [
                {"type": "track", "event": "Signed Up", "messageId": one, "context": CONTEXT} for one in ids
            ]
            began = time.monotonic()
            if n % 2:
                self._shop.sign(events)
            else:
                answer = self._shop.post("/v1/batch", {"batch": events})
                assert (answer.status_code, answer.json()["accepted"]) == (200, 4), answer.text
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
            self.accepted.update(ids)


def readiness(stack: Stack) -> tuple[int, dict[str, str]]:
    answer = requests.get(f"{stack.collector_url}/readyz", timeout=20)
    return answer.status_code, {one["check"]: one["message"] for one in answer.json()["checks"]}


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.timeout(400)
@pytest.mark.parametrize("fault", [Fault(reset=True), Fault(silent=True)], ids=["refuses", "vanishes"])
def test_an_outage_of_the_database_delays_events_and_loses_none(tmp_path: Path, fault: Fault) -> None:
    with stack_behind_a_wire(tmp_path) as (stack, wire):
        shop = Shop(stack)
        sender = Sender(shop)
        # Each of the two processes has met the shop by key and by signature.
        sender.send("before", 60)
        with broken(wire, fault):
            sender.send("meanwhile", 40)
            folder = stack.settings.spool_folder
            assert spool.count_spooled(folder).events == 160
            status, checks = readiness(stack)
            assert status == 200
            assert "Events are kept in the spool of this host" in checks["database"]
            assert checks["spool"].startswith("160 events wait in the spool")
            metrics = requests.get(f"{stack.collector_url}/metrics", timeout=20).text
            assert re.search(r"^signal_spool_events 160\.0$", metrics, re.MULTILINE)
        began = time.monotonic()
        sender.send("after", 10)
        until("the spool is empty", lambda: not spool.files(folder), 60)
        drained_seconds = time.monotonic() - began
        shop.await_delivered(len(sender.accepted), 120)

        broke_at = time.monotonic()
        with broken(wire, fault):
            sender.send("again", 20)
            if fault.reset:
                assert "80 events wait in the spool" in stack.command("doctor").stdout
            stack.kill("collector")
            # It knows its callers from a file of this host.
            stack.start("collector")
            stack.await_ready("collector")
            sender.send("restarted", 10)
            assert spool.count_spooled(folder).events == 120
            stack.kill("collector")
        until("books count the spool", lambda: "host: 120 events" in stack.command("books").stdout, 60)
        stack.start("collector")
        stack.await_ready("collector")
        until("the spool is empty", lambda: not spool.files(folder), 60)
        shop.await_delivered(len(sender.accepted), 120)

        assert {event_id for event_id, _ in shop.copies()} == sender.accepted
        until("all is settled", lambda: shop.standing() == {"delivered": len(sender.accepted)}, 60)
        # A batch whose answer the database could not take is sent again, with the same ids.
        assert max(shop.copies().values()) <= 2
        assert stack.command("books", "--audit").returncode == 0
        # No request took longer than a shop waits: each has a timeout of 15 s.
        print(f"\nslowest answer {sender.slowest_seconds:.1f} s, drained after {drained_seconds:.1f} s")
        if fault.silent:
            # A worker ends with its task, which gives up a statement that was lost with the host after this time.
            time.sleep(max(0.0, broke_at + PATIENCE_SECONDS + 5.0 - time.monotonic()))
