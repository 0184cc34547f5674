"""A Redis that runs but refuses to work: nothing is lost, the reason is stated, and work continues by itself."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import requests

from tests.chaos.brokers import redis_server
from tests.chaos.kill_storm import ENVIRONMENT
from tests.integration import stack as stacks
from tests.integration.services import free_port
from tests.integration.shop import Shop
from tests.integration.stack import Plan, Stack
from tests.integration.waiting import until

EVENTS = 200
REFUSES_SECONDS = 15.0
MOST_ANSWER_SECONDS = 2.0
# Hints that got lost are repeated after a minute, those of batches after half of that.
FOUND_SECONDS = 90.0
BACK_SECONDS = 20.0
CONTEXT = {"page": {"url": "https://example.com/"}, "consent": {"advertising": True}}


@dataclass(frozen=True)
class Site:
    """A stack on a Redis that a test may trouble."""

    stack: Stack
    shop: Shop
    client: "redis.Redis[bytes]"
    folder: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("b")
    # Without an append-only file it loads from its copy, each key as slowly as a test says.
    further = {"enable-debug-command": "yes", "enable-protected-configs": "yes", "appendonly": "no"}
    with redis_server(folder, further) as server:
        plan = Plan(broker="redis", environment=ENVIRONMENT | {"BROKER_URL": server.url})
        with (
            stacks.running(plan, folder / "v", without=("flower",)) as stack,
            redis.Redis.from_url(server.url, socket_timeout=120) as client,
        ):
            yield Site(stack, Shop(stack), client, folder)


@contextmanager
def _a_replica(site: Site) -> Iterator[None]:
    site.client.replicaof("127.0.0.1", str(free_port()))
    yield
    site.client.replicaof("NO", "ONE")


@contextmanager
def _full(site: Site) -> Iterator[None]:
    site.client.config_set("maxmemory", "1mb")
    yield
    site.client.config_set("maxmemory", "0")


@contextmanager
def _without_disk(site: Site) -> Iterator[None]:
    gone = site.folder / "gone"
    gone.mkdir()
    site.client.config_set("dir", str(gone))
    gone.rmdir()
    site.client.config_set("save", "3600 1")
    site.client.bgsave()
    until("the copy failed", lambda: _copy_status(site) == "err", 10)
    yield
    site.client.config_set("dir", str(site.folder))
    site.client.bgsave()
    until("the copy is made", lambda: _copy_status(site) == "ok", 10)


def _copy_status(site: Site) -> str:
    return str(site.client.info("persistence")["rdb_last_bgsave_status"])


@contextmanager
def _loading(site: Site) -> Iterator[None]:
    keys = 100
    for n in range(keys):
        # It answers others between two kilobytes.
        site.client.set(f"filler.{n}", os.urandom(4_096))
    site.client.config_set("loading-process-events-interval-bytes", 2_048)
    site.client.config_set("key-load-delay", int(REFUSES_SECONDS / keys * 1e6))
    with redis.Redis.from_url(site.stack.settings.broker_url, socket_timeout=120) as other:
        reload = threading.Thread(target=lambda: other.execute_command("DEBUG", "RELOAD"))
        reload.start()
        yield
        reload.join()


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (_a_replica, "The broker is a replica, which takes no writes"),
        (_full, "The broker's memory is full"),
        (_without_disk, "it cannot write to its disk"),
        (_loading, "The broker is still loading its data"),
    ],
    ids=["replica", "full", "disk", "loading"],
)
def test_a_redis_that_refuses_costs_no_event_and_is_named(
    site: Site, trouble: Callable[[Site], AbstractContextManager[None]], words: str
) -> None:
    stack, shop = site.stack, site.shop
    before = shop.standing()["delivered"]
    _post(shop, f"before {words}")
    with trouble(site):
        began = time.monotonic()
        slowest = _post(shop, f"meanwhile {words}")
        until("readiness names it", lambda: words in _readiness(stack), 10)
        doctor = stack.command("doctor").stdout
        time.sleep(max(0.0, began + REFUSES_SECONDS - time.monotonic()))
        stack.assert_alive()
    began = time.monotonic()
    until("the workers answer", lambda: set(stack.workers) <= stack.ping(len(stack.workers)), BACK_SECONDS)
    back_seconds = time.monotonic() - began
    _post(shop, f"after {words}")
    wanted = {"delivered": before + 3 * EVENTS}
    until("all are delivered", lambda: shop.standing() == wanted, FOUND_SECONDS, every=0.5)
    print(
        f"\n{words}: slowest answer {slowest:.2f} s, workers answer after {back_seconds:.0f} s, "
        f"all is delivered after {time.monotonic() - began:.0f} s"
    )
    stack.assert_alive()
    assert words in doctor
    assert slowest < MOST_ANSWER_SECONDS
    assert stack.command("books", "--audit").returncode == 0


def _readiness(stack: Stack) -> str:
    answer = requests.get(f"{stack.collector_url}/readyz", timeout=20)
    # A load balancer goes on sending events.
    assert answer.status_code == 200
    return str(next(one["message"] for one in answer.json()["checks"] if one["check"] == "broker"))


def _post(shop: Shop, name: str) -> float:
    """Send events; return how long the answer took."""
    batch = [
        {"type": "track", "event": "Signed Up", "messageId": f"{name}_{number}", "context": CONTEXT}
        for number in range(EVENTS)
    ]
    began = time.monotonic()
    assert shop.post("/v1/batch", {"batch": batch}).json() == {"success": True, "accepted": EVENTS}
    return time.monotonic() - began
