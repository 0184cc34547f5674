"""Send events at an even pace, each until the collector says that it has it."""

import random
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import requests

from tests.integration.shop import Shop

EVENTS_A_REQUEST = 10
# A client without a response sends again. The test fails if the collector is unavailable for longer than this.
MOST_TRIES = 60


def event(event_id: str, number: int) -> dict[str, Any]:
    """Return one event as a shop's server sends it."""
    product = {"product_id": f"SKU-{number % 97}", "name": "Widget", "price": 49.99, "currency": "USD"}
    return {
        "type": "track",
        "event": "Product Viewed",
        "messageId": event_id,
        "anonymousId": f"visitor-{number % 5_000}",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "properties": product,
        "context": {
            "ip": f"203.0.113.{number % 250}",
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64)",
            "library": {"name": "chaos-server"},
            "consent": {"advertising": True},
        },
    }


class Feeder:
    """A thread that sends events of the shops in turn; ``accepted`` has the ad account of each event id."""

    def __init__(self, shops: Sequence[Shop], event_ids: Sequence[str], seconds: float) -> None:
        self._shops, self._event_ids, self._seconds = shops, event_ids, seconds
        self._session = requests.Session()
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self._failure: BaseException | None = None
        self.accepted: dict[str, str] = {}
        self.sent_again = 0
        self.slowest_seconds = 0.0

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_seconds: float) -> None:
        """Wait until everything is accepted; raise what ended the thread early."""
        self._thread.join(timeout_seconds)
        if self._failure is not None:
            raise self._failure
        assert not self._thread.is_alive(), f"only {len(self.accepted)} of {len(self._event_ids)} accepted"

    def _run(self) -> None:
        began = time.monotonic()
        try:
            for first in range(0, len(self._event_ids), EVENTS_A_REQUEST):
                due = began + self._seconds * first / len(self._event_ids)
                time.sleep(max(0.0, due - time.monotonic()))
                shop = self._shops[first // EVENTS_A_REQUEST % len(self._shops)]
                self._bring(shop, first, self._event_ids[first : first + EVENTS_A_REQUEST])
        except BaseException as failure:  # noqa: BLE001 - it is raised where the test waits for this thread
            self._failure = failure

    def _bring(self, shop: Shop, first: int, event_ids: Sequence[str]) -> None:
        batch = [event(event_id, first + n) for n, event_id in enumerate(event_ids)]
        for _ in range(MOST_TRIES):
            if self._posted(shop, batch):
                self.accepted.update(dict.fromkeys(event_ids, shop.account))
                return
            self.sent_again += 1
            time.sleep(0.5)
        raise AssertionError(f"the collector took nothing in {MOST_TRIES} tries")

    def _posted(self, shop: Shop, batch: list[dict[str, Any]]) -> bool:
        began = time.monotonic()
        try:
            answer = self._session.post(
                f"{shop.stack.collector_url}/v1/batch",
                json={"batch": batch},
                headers={"Authorization": f"Bearer {shop.key}"},
                timeout=15,
            )
        except requests.RequestException:
            return False
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
        return answer.status_code == 200 and answer.json() == {"success": True, "accepted": len(batch)}


def event_ids(prefix: str, count: int) -> list[str]:
    """Return ids that distinguish a test's events from those of another."""
    return [f"{prefix}-{number:06d}" for number in range(count)]


def some(ids: Sequence[str], share: float, dice: random.Random) -> list[str]:
    """Choose a share of ids, at least one."""
    return sorted(dice.sample(ids, max(1, round(share * len(ids)))))
