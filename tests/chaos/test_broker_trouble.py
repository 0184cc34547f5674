"""Each of the three brokers is killed during work, and loses all its data: no event is lost, and work continues."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import redis
import requests
from kombu.exceptions import KombuError

from tests.chaos.brokers import (
    Broker,
    EmbeddedValkey,
    RabbitNode,
    rabbitmq_cluster,
    rabbitmq_node,
    redis_server,
    watched_redis,
)
from tests.chaos.conftest import Wired
from tests.chaos.kill_storm import ENVIRONMENT
from tests.integration import stack as stacks
from tests.integration.shop import Shop
from tests.integration.stack import Plan, Stack
from tests.integration.waiting import until
from worker.settings import socket_path

EVENTS = 400
# Workers continue within this time after the broker's return.
MOST_ANSWER_SECONDS = 5.0
BACK_SECONDS = 30.0
# A sweep finds lost messages: those of events after a minute at most, of batches after half of that.
FOUND_SECONDS = 120.0
# Long enough to be seen before it ends, also on a busy machine, and within the deadline of a request.
SENDING = {"latency_seconds": 3.0}
PATIENT = ENVIRONMENT | {"REQUEST_DEADLINE": "10"}
CONTEXT = {"page": {"url": "https://example.com/"}, "consent": {"advertising": True}}


@dataclass(frozen=True)
class Mortal:
    """A stack on a broker that may be killed."""

    stack: Stack
    broker: Broker


@pytest.fixture(
    params=[
        "valkey",
        pytest.param("redis", marks=pytest.mark.services),
        pytest.param("rabbitmq", marks=pytest.mark.services),
    ]
)
def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mortal]:
    with ExitStack() as held:
        environment = dict(PATIENT)
        broker: Broker | None = None
        if request.param != "valkey":
            lend = {"redis": redis_server, "rabbitmq": rabbitmq_node}[request.param]
            server = held.enter_context(lend(tmp_path / "b"))
            environment["BROKER_URL"], broker = server.url, server
        plan = Plan(broker=request.param, environment=environment)
        stack = held.enter_context(stacks.running(plan, tmp_path / "v", without=("flower",)))
        yield Mortal(stack, broker or EmbeddedValkey(stack))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_broker_that_is_killed_or_loses_everything_costs_no_event(mortal: Mortal) -> None:
    """Killed during work; then again, with its files deleted."""
    stack, shop = mortal.stack, Shop(mortal.stack)
    stack.sandbox.behave({"rules": [{"account": shop.account} | SENDING]})
    for round_, wipes in enumerate((False, True)):
        _post(shop, f"before{round_}")
        until("something is being sent", lambda: shop.standing()["in_flight"], 30)
        mortal.broker.kill()
        if wipes:
            mortal.broker.wipe()
        _post(shop, f"meanwhile{round_}")
        time.sleep(3.0)
        mortal.broker.start()
        began = time.monotonic()
        until(
            "the workers answer", lambda: set(stack.workers) <= stack.ping(len(stack.workers)), BACK_SECONDS
        )
        back_seconds = time.monotonic() - began
        _post(shop, f"after{round_}")
        _await_all(shop, 3 * EVENTS * (round_ + 1))
        done_seconds = time.monotonic() - began
        what = "killed and wiped" if wipes else "killed"
        times = f"workers answer after {back_seconds:.0f} s, all is delivered after {done_seconds:.0f} s"
        print(f"\n{stack.plan.broker} {what}: {times}")
    if isinstance(mortal.broker, RabbitNode):
        seconds = _seconds_after_an_alarm(mortal.broker, shop)
        print(f"rabbitmq, out of memory: all is delivered {seconds:.0f} s after the alarm")
    assert stack.command("books", "--audit").returncode == 0


def _seconds_after_an_alarm(node: RabbitNode, shop: Shop) -> float:
    """Let a node block every connection that publishes; return how long its end is ago when all is delivered."""
    node.control("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        began = time.monotonic()
        _post(shop, "alarm")
        assert time.monotonic() - began < MOST_ANSWER_SECONDS
        until("readiness names it", lambda: "short of memory or disk" in _readiness(shop.stack), 12)
        time.sleep(10.0)
        shop.stack.assert_alive()
        # The hints did not get through.
        assert shop.standing()["delivered"] == 6 * EVENTS
    finally:
        node.control("set_vm_memory_high_watermark", "0.6")
    began = time.monotonic()
    _await_all(shop, 7 * EVENTS)
    return time.monotonic() - began


def _readiness(stack: Stack) -> str:
    answer = requests.get(f"{stack.collector_url}/readyz", timeout=20)
    # A load balancer goes on sending events.
    assert answer.status_code == 200
    return answer.text


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.timeout(300)
def test_a_primary_that_dies_costs_no_event_under_sentinels(tmp_path: Path) -> None:
    """The primary dies while batches are being sent; the replica takes over, and the old primary follows it."""
    with watched_redis(tmp_path / "b") as watched:
        plan = Plan(broker="sentinel", environment=PATIENT | {"BROKER_URL": watched.url})
        with stacks.running(plan, tmp_path / "v", without=("flower",)) as stack:
            shop = Shop(stack)
            stack.sandbox.behave({"rules": [{"account": shop.account} | SENDING]})
            for round_ in range(2):
                _post(shop, f"before{round_}")
                until("something is being sent", lambda: shop.standing()["in_flight"], 30)
                watched.kill()
                began = time.monotonic()
                _post(shop, f"meanwhile{round_}")
                until("the workers answer", partial(_all_answer, stack), BACK_SECONDS)
                back_seconds = time.monotonic() - began
                _post(shop, f"after{round_}")
                _await_all(shop, 3 * EVENTS * (round_ + 1))
                done_seconds = time.monotonic() - began
                print(
                    f"\nworkers answer {back_seconds:.0f} s after the death, all is delivered {done_seconds:.0f} s"
                )
                watched.start()
            assert stack.command("books", "--audit").returncode == 0


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.timeout(900)
def test_a_cluster_that_loses_its_leader_and_then_a_node_for_good_costs_no_event(tmp_path: Path) -> None:
    """Three nodes; the leader of the queue dies and comes back; then the new leader's files are gone for good."""
    with rabbitmq_cluster(tmp_path / "b") as nodes:
        url = ";".join(node.url for node in nodes)
        plan = Plan(broker="cluster", environment=PATIENT | {"BROKER_URL": url})
        with stacks.running(plan, tmp_path / "v", without=("flower",)) as stack:
            shop = Shop(stack)
            stack.sandbox.behave({"rules": [{"account": shop.account} | SENDING]})
            for round_, is_for_good in enumerate((False, True)):
                _post(shop, f"before{round_}")
                until("something is being sent", lambda: shop.standing()["in_flight"], 60)
                leader = _leader(nodes)
                leader.kill()
                began = time.monotonic()
                _post(shop, f"meanwhile{round_}")
                until("the workers answer", partial(_all_answer, stack), 90)
                back_seconds = time.monotonic() - began
                _post(shop, f"after{round_}")
                _await_all(shop, 3 * EVENTS * (round_ + 1))
                done_seconds = time.monotonic() - began
                what = "for good" if is_for_good else "once"
                times = (
                    f"workers answer after {back_seconds:.0f} s, all is delivered after {done_seconds:.0f} s"
                )
                print(f"\nthe leader died {what}: {times}")
                if not is_for_good:
                    leader.start()
            assert stack.command("books", "--audit").returncode == 0


def _leader(nodes: Sequence[RabbitNode]) -> RabbitNode:
    """Return the node that leads the queue of events."""
    lines = nodes[0].control("list_queues", "name", "leader").splitlines()
    leaders = dict(line.split() for line in lines if len(line.split()) == 2)
    return next(node for node in nodes if node.name == leaders["events"])


def _all_answer(stack: Stack) -> bool:
    with suppress(redis.RedisError, KombuError, OSError):
        return set(stack.workers) <= stack.ping(len(stack.workers))
    return False


@pytest.mark.slow
def test_a_broker_without_room_ends_no_worker_and_costs_no_event(stack_on_wires: Wired) -> None:
    """Valkey refuses every message while its memory is full; clients still get their responses."""
    stack, shop = stack_on_wires.stack, Shop(stack_on_wires.stack)
    with redis.Redis(unix_socket_path=str(socket_path(stack.var)), socket_timeout=5) as client:
        _post(shop, "before")
        client.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                client.set("probe", "x")
            _post(shop, "meanwhile")
            time.sleep(10.0)
            stack.assert_alive()
        finally:
            client.config_set("maxmemory", "0")
    _await_all(shop, 2 * EVENTS)
    stack.assert_alive()


def _post(shop: Shop, name: str) -> None:
    batch = [
        {"type": "track", "event": "Signed Up", "messageId": f"{name}_{number}", "context": CONTEXT}
        for number in range(EVENTS)
    ]
    assert shop.post("/v1/batch", {"batch": batch}).json() == {"success": True, "accepted": EVENTS}


def _await_all(shop: Shop, count: int) -> None:
    until("all are delivered", lambda: shop.standing() == {"delivered": count}, FOUND_SECONDS, every=0.5)
    assert len(shop.copies()) == count
    # Batches that were being sent were settled without the broker, so none was sent again.
    assert set(shop.copies().values()) == {1}
