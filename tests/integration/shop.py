"""A shop whose visitors send events."""

import itertools
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import requests

from tests.integration.stack import Stack
from tests.integration.waiting import until
from worker.http.signature import sign
from worker.ledger.delivery import find_deliveries
from worker.ledger.delivery.find_deliveries import FoundDelivery

PIN_UNAUTH = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
EPIK = "epik_abc123def456"
LANDING_URL = f"https://example.com/p?epik={EPIK}"
ACCESS_TOKEN = "a-token-of-the-tests"
CONSENT = {"advertising": True}

_accounts = itertools.count(700_000_000_001)


@dataclass(frozen=True, slots=True)
class Visitor:
    """A visitor, with a separate browser."""

    ip: str = "203.0.113.50"
    user_agent: str = "Mozilla/5.0 ..."
    pin_unauth: str = PIN_UNAUTH
    dfid: str = field(default_factory=lambda: str(uuid4()))

    @property
    def headers(self) -> dict[str, str]:
        return {
            "User-Agent": self.user_agent,
            "X-Forwarded-For": self.ip,
            "Cookie": f"_pin_unauth={self.pin_unauth}; _dfid={self.dfid}",
        }


class Shop:
    """A source with one integration, to a new ad account unless one is given."""

    def __init__(
        self, stack: Stack, access_token: str = ACCESS_TOKEN, account: str | None = None, **config: Any
    ) -> None:
        self.stack = stack
        self.account = account or str(next(_accounts))
        source = stack.admin("POST", "/sources", {"name": f"Shop {self.account}", "domain": "example.com"})
        self.source_id, self.key = source["id"], source["pipeline_key"]
        self.secret: str = source["server_secret"]
        body = {
            "source_id": self.source_id,
            "vendor": "pinterest",
            "name": "Pinterest",
            "config": {"ad_account_id": self.account, "access_token": access_token, **config},
        }
        self.integration_id = stack.admin("POST", "/integrations", body)["id"]

    def post(self, path: str, body: object, visitor: Visitor | None = None) -> requests.Response:
        """Send a body as a browser would."""
        headers = (visitor or Visitor()).headers | {"Authorization": f"Bearer {self.key}"}
        text = json.dumps(body)
        return requests.post(f"{self.stack.collector_url}{path}", data=text, headers=headers, timeout=15)

    def sign(self, events: list[dict[str, Any]]) -> None:
        """Send a batch as the shop's server does."""
        body = json.dumps({"batch": events}).encode()
        stamp = str(int(time.time() * 1000))
        headers = {
            "Content-Type": "application/json",
            "X-Source-Id": self.source_id,
            "X-Timestamp": stamp,
            "X-Signature": sign(self.secret, stamp, body),
        }
        url = f"{self.stack.collector_url}/v1/batch"
        answer = requests.post(url, data=body, headers=headers, timeout=15)
        assert answer.json() == {"success": True, "accepted": len(events)}, answer.text

    def send(self, path: str, call: dict[str, Any], visitor: Visitor, url: str = LANDING_URL) -> None:
        """Send one call from a page, with consent to advertising."""
        answer = self.post(
            path, {"context": {"page": {"url": url}, "consent": CONSENT}} | call, visitor=visitor
        )
        assert (answer.status_code, answer.json()) == (200, {"success": True})

    def received(self, event_id: str) -> list[dict[str, Any]]:
        """Return what the sandbox has under an event id."""
        last = self.stack.sandbox.received(account=self.account, event_id=event_id)["last"]
        return [one["event"] for one in last]

    def accepted(self) -> int:
        """Return how many of the shop's events the sandbox accepted, copies included."""
        summary = self.stack.sandbox.received(account=self.account, limit=1)
        return int(summary["accepted"])

    def await_delivered(self, n: int, seconds: float = 45.0) -> None:
        """Wait until the sandbox has this many different events."""
        until(
            f"{n} events of ad account {self.account} arrive",
            lambda: len(self.copies()) >= n if self.accepted() >= n else 0,
            seconds,
        )

    def copies(self) -> dict[tuple[str, str], int]:
        """Return how often the sandbox received each event id and event name."""
        return {
            (one["event_id"], one["event_name"]): one["copies"]
            for one in self.stack.sandbox.ids(self.account)
        }

    def deliveries(self) -> list[FoundDelivery]:
        """Return everything the ledger has for the shop's ad account."""
        with self.stack.ledger() as ledger, ledger.read() as connection:
            return [
                one
                for one in find_deliveries.find_after(connection, 0, 1_000_000)
                if one.ad_account_id == self.account
            ]

    def standing(self) -> Counter[str]:
        """Count the shop's deliveries by state."""
        return Counter(one.state for one in self.deliveries())
