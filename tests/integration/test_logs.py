"""Every process writes one event a line, under names that the documents list."""

import json
import re
from pathlib import Path

from tests.integration.conftest import EMBEDDED
from tests.integration.shop import Shop, Visitor
from tests.integration.stack import BROKER, Stack
from tests.integration.waiting import until

# None of it depends on the broker or the database.
pytestmark = EMBEDDED

ROOT = Path(__file__).parents[2]


# Celery writes this without a logger when it gets a stop signal: in a signal handler a logger could deadlock.
SAID_IN_A_SIGNAL = ("", "worker: Warm shutdown (MainProcess)")


def test_every_line_of_every_process_is_an_event_in_json(stack: Stack) -> None:
    shop = Shop(stack)
    failing = {"error_message": "missing email", "positions": [0]}
    stack.sandbox.behave({"rules": [{"account": shop.account, "times": 1, "fail_events": failing}]})
    shop.send("/v1/p", {}, Visitor())
    until("it has its end", lambda: shop.standing()["failed"] == 1)

    listed = set(re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs/logs.md").read_text(), re.MULTILINE))
    seen: dict[str, list[dict[str, object]]] = {}
    for name in set(stack.running) - {BROKER}:
        seen[name] = [
            json.loads(line) for line in stack.log(name).splitlines() if line not in SAID_IN_A_SIGNAL
        ]
        assert (name, {line["event"] for line in seen[name]} - listed) == (name, set())
    settled = [line for line in seen["delivery"] if line.get("ad_account") == shop.account]
    assert [(line["event"], line["delivered"], line["failed"]) for line in settled] == [
        ("batch_settled", 0, 1)
    ]
