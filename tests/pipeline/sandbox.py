"""A delivery stage whose Pinterest, clock and dice are ours."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from requests.structures import CaseInsensitiveDict

from tests.ledger.shop import NOW
from worker.ledger.database import Ledger
from worker.ledger.delivery import new_batches
from worker.ledger.delivery.new_batches import BatchGroup
from worker.pinterest.client.breaker import BreakerPolicy
from worker.pinterest.client.client import Answer, PinterestClient, SendFailure
from worker.pinterest.client.retry_delays import RetryPolicy
from worker.pipeline.delivery.deliver_batch import deliver, postpone_delivery
from worker.pipeline.delivery.delivery_context import DeliveryContext, PostponedError
from worker.pipeline.delivery.group_pending import BatchingPolicy, claim_due_batches

Reply = Callable[[list[dict[str, Any]]], Answer]

POLICY = RetryPolicy(max_attempts=5, base_seconds=4.0, window_seconds=86_400.0)


def answer(status: int, body: Any = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, CaseInsensitiveDict(named), json.dumps(body).encode(), None, 0.1)


def trouble(kind: SendFailure, detail: str = "no answer came in time") -> Answer:
    return Answer(None, CaseInsensitiveDict(), b"", kind, 0.1, detail)


def accepted(events: list[dict[str, Any]], failed: Sequence[str] = ()) -> Answer:
    """Answer as Pinterest does, refusing the events with these ids."""
    results = [
        {"status": "failed", "error_message": "missing email"}
        if event["event_id"] in failed
        else {"status": "processed"}
        for event in events
    ]
    return answer(200, {"num_events_received": len(events), "events": results})


def refused(message: str = "Invalid request") -> Answer:
    return answer(400, {"code": 1, "message": message})


def refusing(*bad: str, message: str = "Invalid request") -> Reply:
    """Refuse a whole request while one of these events is in it."""

    def reply(events: list[dict[str, Any]]) -> Answer:
        if any(event["event_id"] in bad for event in events):
            return refused(message)
        return accepted(events)

    return reply


class FakePinterest(PinterestClient):
    """Answer by script: one reply after the other, and the last one for ever."""

    def __init__(self, *replies: Reply | Answer) -> None:
        super().__init__("http://127.0.0.1:1")
        self.replies = list(replies) or [accepted]
        self.requests: list[list[str]] = []
        self.sent_with: list[tuple[str, str, bool]] = []
        self.received: list[str] = []

    def send(self, ad_account_id: str, access_token: str, body: bytes, test: bool) -> Answer:
        events = json.loads(body)["data"]
        self.requests.append([event["event_id"] for event in events])
        self.sent_with.append((ad_account_id, access_token, test))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        made = reply(events) if callable(reply) else reply
        if made.status == 200:
            self.received += [event["event_id"] for event in events]
        return made


@dataclass
class Stage:
    """Run batches to their end, in the order of their hints, and let the clock jump to what is due."""

    ledger: Ledger
    pinterest: FakePinterest
    policy: RetryPolicy = POLICY
    breaker: BreakerPolicy = field(default_factory=lambda: BreakerPolicy(failures_to_open=99))
    now: float = NOW
    slept: list[float] = field(default_factory=list)
    hinted: list[int] = field(default_factory=list)

    @property
    def context(self) -> DeliveryContext:
        return DeliveryContext(
            self.ledger,
            self.pinterest,
            self.policy,
            lease_seconds=60.0,
            hint=self.hinted.extend,
            breaker_policy=self.breaker,
            now=lambda: self.now,
            sleep=self.slept.append,
            dice=lambda: 0.5,
        )

    def batch(self) -> list[int]:
        """Claim everything that is pending."""
        return claim_due_batches(self.ledger, BatchingPolicy(0.0), lambda: self.now + 1, self.hinted.extend)

    def claim(self, group: BatchGroup) -> int:
        with self.ledger.write() as connection:
            return new_batches.claim_batch(connection, group, 24, self.now) or 0

    def deliver(self, batch_id: int) -> str:
        """Send a batch once; tell what became of it, as the task does."""
        try:
            return deliver(self.context, batch_id)
        except PostponedError as postponed:
            seconds = postpone_delivery(self.context, postponed)
            return "postponed" if seconds is not None else "left to the ledger"

    def run(self, most: int = 5_000) -> int:
        """Deliver whatever is hinted at until nothing is; return how many requests that took."""
        before = len(self.pinterest.requests)
        for _ in range(most):
            if not self.hinted:
                return len(self.pinterest.requests) - before
            self.deliver(self.hinted.pop(0))
        raise AssertionError("the hints do not come to an end")
