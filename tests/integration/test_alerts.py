"""The running service reports a refused token and a dead beat, signed, and once."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.alerts.receiver import Receiver, receiving
from tests.integration import stack as stacks
from tests.integration.shop import Shop, Visitor
from tests.integration.stack import Plan, Stack
from tests.integration.waiting import until
from worker.http.signature import sign
from worker.ledger.reports import measures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

SECRET = "a-secret-of-the-tests"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as received:
        yield received


@pytest.fixture(scope="module")
def stack(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environment = {
        "ALERT_WEBHOOK_URL": receiver.url,
        "ALERT_WEBHOOK_SECRET": SECRET,
        "ALERT_WEBHOOK_PRIVATE_HOSTS": "127.0.0.1",
    }
    with stacks.running(Plan(environment=environment), tmp_path_factory.mktemp("a")) as running:
        yield running


def _told(receiver: Receiver) -> list[tuple[str, str]]:
    return [(one["change"], one["rule"]) for one in map(json.loads, receiver.bodies)]


def test_a_refused_token_is_told_once_by_the_upkeep_worker(stack: Stack, receiver: Receiver) -> None:
    # Before the first check, both the Management API and the upkeep worker may run it.
    until("the first check", lambda: _ran_since(stack, measures.WATCH, 0), seconds=60)
    shop = Shop(stack)
    stack.sandbox.behave({"rules": [{"account": shop.account, "status": 401}]})
    shop.send("/v1/t", {"event": "Signed Up", "messageId": "refused"}, Visitor())
    until("the alert is reported", lambda: ("fired", "token_refused") in _told(receiver), seconds=90)

    index = _told(receiver).index(("fired", "token_refused"))
    body, headers = receiver.bodies[index], receiver.headers[index]
    assert headers["x-signature"] == sign(SECRET, headers["x-timestamp"], body)
    assert json.loads(body)["subject"] == shop.account
    assert "token_refused" in stack.log("upkeep")
    (firing,) = stack.admin("GET", "/alerts")["firing"]
    assert (firing["rule"], firing["subject"]) == ("token_refused", shop.account)
    # The next check finds it again, and reports nothing.
    until("the next check", lambda: _ran_since(stack, measures.WATCH, time.time() - 5), seconds=60)
    assert _told(receiver) == [("fired", "token_refused")]


def test_a_beat_that_died_is_told_by_the_management_process(stack: Stack, receiver: Receiver) -> None:
    stack.stop("beat")
    # Tasks in the queue still run. Afterwards there are no more checks and ticks.
    time.sleep(2)
    with stack.ledger() as ledger, ledger.write() as connection:
        for name in (measures.BATCHER, measures.SWEEPER, measures.WATCH):
            measures.record_heartbeat(connection, name, time.time() - 600)
    try:
        until("the alert is reported", lambda: ("fired", "batcher_silent") in _told(receiver), seconds=200)
    finally:
        stack.start("beat")
        # It ticks again, so it now handles TERM.
        until("the batcher runs", lambda: _ran_since(stack, measures.BATCHER, time.time() - 5), seconds=60)
    assert "batcher_silent" in stack.log("management")


def _ran_since(stack: Stack, name: str, then: float) -> bool:
    with stack.ledger() as ledger, ledger.read() as connection:
        return measures.last_heartbeats(connection).get(name, 0) > then
