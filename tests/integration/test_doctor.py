"""The doctor, on a running service."""

import json
from typing import Any

from tests.integration.conftest import EMBEDDED
from tests.integration.shop import Shop
from tests.integration.stack import QUEUES, Stack


def _visit(stack: Stack, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = stack.command("doctor", "--json", *options)
    report = json.loads(done.stdout)
    assert done.stderr == ""
    return done.returncode, {one["check"]: one for one in report["checks"]}


def test_a_running_service_is_found_well_on_each_broker(stack: Stack) -> None:
    shop = Shop(stack)
    status, found = _visit(stack)

    wanted = ["database", "migrations", "keys", "broker", "the batcher runs", "the sweeper runs", "collector"]
    wanted += ["management", "flower", "flower password", "disk", "state folder"]
    wanted += [f"workers on {queue}" for queue in QUEUES] + [f"token of {shop.integration_id}"]
    if stack.plan.broker == "rabbitmq":
        wanted += ["broker queues", "broker confirms"]
    else:
        wanted += ["broker eviction", "broker clock"]
    if stack.plan.database == "postgresql":
        wanted += ["database clock"]
    assert {check: found[check]["state"] for check in wanted} == dict.fromkeys(wanted, "ok")
    assert found["production"]["state"] == "degraded"
    assert (
        f"Events go to the sandbox at {stack.sandbox.url}, not to Pinterest" in found["pinterest"]["message"]
    )
    failed = [check for check, one in found.items() if one["state"] == "failed"]
    # Other tests' integrations may have tokens that are refused.
    assert [check for check in failed if not check.startswith("token of ")] == []
    assert status == (1 if failed else 0)


@EMBEDDED
def test_a_test_event_is_not_recorded(stack: Stack) -> None:
    shop = Shop(stack)
    _visit(stack)

    assert shop.accepted() == 0
    assert shop.deliveries() == []


@EMBEDDED
def test_what_is_missing_is_named_with_what_to_do(stack: Stack) -> None:
    stack.stop("delivery", "flower")
    try:
        status, found = _visit(stack, "--no-tokens")
    finally:
        stack.start("delivery", "flower")
        stack.await_ready()

    assert status == 1
    assert found["workers on delivery"]["message"] == "No worker listens: start the delivery process."
    assert found["workers on events"]["state"] == "ok"
    assert "start the flower process" in found["flower"]["message"]
    assert [check for check in found if check.startswith("token of ")] == []
