"""Two hosts share PostgreSQL: their clocks differ, and their processes freeze; no event is lost or sent twice."""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.chaos import counting
from tests.chaos.feeding import Feeder, event_ids
from tests.chaos.kill_storm import ENVIRONMENT
from tests.integration import stack as stacks
from tests.integration.shop import Shop
from tests.integration.stack import Plan, Stack
from tests.integration.waiting import until

SEED = int(os.environ.get("STORM_SEED", "1"))
# A multiple of the time for which a worker holds a batch, so that a look at a host's clock shows.
AHEAD_SECONDS = 90
# With a request deadline of 3 s.
LEASE_SECONDS = 7.2
# The server ends a transaction that waits for its client.
IDLE_SECONDS = 15.0
MOST_TRIES = 300
OTHER_HOST = ("ingest2", "delivery2", "upkeep", "beat")


def other_clock(folder: Path) -> str:
    """Return what lets a Python process see another time."""
    found = list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found and os.environ.get("REQUIRE_SERVICES") != "1":
        pytest.skip("libfaketime is not installed")
    # It lets sleeps fail that end at a time of the monotonic clock.
    folder.mkdir()
    folder.joinpath("sitecustomize.py").write_text(
        "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds)\n"
    )
    faked = f"LD_PRELOAD={found[0]} FAKETIME=+{AHEAD_SECONDS}s FAKETIME_DONT_FAKE_MONOTONIC=1"
    return f"env PYTHONPATH={folder}{os.pathsep}{stacks.ROOT} {faked} "


@contextmanager
def two_hosts(folder: Path) -> Iterator[Stack]:
    plan = Plan(database="postgresql", ingest_workers=2, delivery_workers=2, environment=ENVIRONMENT)
    prefix = other_clock(folder / "site")
    with stacks.prepared(plan, folder) as stack:
        del stack.commands["flower"]
        stack.commands |= {name: prefix + stack.commands[name] for name in OTHER_HOST}
        stack.start(*(name for name in stack.commands if name != stacks.BROKER))
        stack.await_ready()
        yield stack
        stack.assert_alive()


@contextmanager
def frozen(stack: Stack, name: str) -> Iterator[None]:
    os.killpg(stack.running[name].pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(stack.running[name].pid, signal.SIGCONT)


def transactions(stack: Stack) -> int:
    """Count the transactions that have waited for their client for a while."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND state = 'idle in transaction' AND state_change < clock_timestamp() - interval '0.1 s'"
    )
    with stack.ledger() as ledger, ledger.read() as connection:
        return int(connection.scalar(waiting) or 0)


@contextmanager
def frozen_in_a_transaction(stack: Stack, name: str) -> Iterator[None]:
    """Freeze a worker again and again until it has an open transaction."""
    for _ in range(MOST_TRIES):
        with frozen(stack, name):
            time.sleep(0.15)
            if transactions(stack):
                yield
                return
        time.sleep(0.05)
    raise AssertionError(f"{name} never froze in a transaction")


def feed(shops: list[Shop], prefix: str, events: int, seconds: float) -> Feeder:
    feeder = Feeder(shops, event_ids(prefix, events), seconds)
    feeder.start()
    return feeder


def settle(stack: Stack, feeder: Feeder, shops: list[Shop], seconds: float) -> float:
    """Wait until everything is settled; return after how long, once all is accepted."""
    feeder.join(120)
    began = time.monotonic()
    until("all is settled", lambda: counting.is_settled(stack), seconds, every=0.5)
    assert stack.command("books", "--audit").returncode == 0
    sent = counting.copies(stack, (shop.account for shop in shops))
    assert {event_id for _, event_id in sent} >= set(feeder.accepted)
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.timeout(600)
def test_clocks_that_differ_and_processes_that_freeze_cost_no_event(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    with two_hosts(tmp_path) as stack:
        shops = [Shop(stack) for _ in range(3)]
        # Answers take a while, so that leases are looked at, and many requests have to be sent again.
        rules = [{"latency_seconds": [0.2, 1.0]}, {"probability": 0.3, "status": 500}]
        stack.sandbox.behave({"seed": SEED, "rules": rules})
        apart_seconds = settle(stack, feed(shops, "apart", 600, 12), shops, 60)
        # Under the other host's clock each lease had ended, and each retry would wait for 90 s.
        assert counting.taken_back(stack) == 0
        assert max(counting.copies(stack, (shop.account for shop in shops)).values()) == 1

        feeder = feed(shops, "frozen", 1_200, 30)
        for name in dice.sample(["ingest1", "ingest2", "delivery", "delivery2", "upkeep"], 3):
            with frozen(stack, name):
                time.sleep(LEASE_SECONDS + 2)
        froze_seconds = settle(stack, feeder, shops, 120)
        began = time.monotonic()
        feeder = feed(shops, "inside", 1_500, 15)
        name = dice.choice(["ingest1", "ingest2"])
        with frozen_in_a_transaction(stack, name):
            # The others take over what its transaction had locked.
            until("the transaction is ended", lambda: not transactions(stack), IDLE_SECONDS + 5)
            inside_seconds = time.monotonic() - began
        settle(stack, feeder, shops, 120)
        until("all workers answer", lambda: stack.ping() >= set(stack.workers), 30)
        print(
            f"\nclocks apart: settled after {apart_seconds:.0f} s, {counting.taken_back(stack)} batches taken back, "
            f"frozen: settled after {froze_seconds:.0f} s, in a transaction: {inside_seconds:.0f} s"
        )
