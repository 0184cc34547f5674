"""A shop's traffic: request bodies of its servers, built before the measurement."""

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from benchmarks.people import person
from benchmarks.plain_way import user_data

EVENTS_A_REQUEST = 500
EVENTS_A_VISITOR = 4
MOST_TRIES = 20
ANSWER_SECONDS = 30.0


def event(prefix: str, number: int, at: float) -> dict[str, Any]:
    """Return one event: of twenty, twelve are page views, five look at a product, two fill a cart, one buys.

    Each visitor is new, and has a few events. Who fills a cart or buys is known by name, phone and address.
    """
    kind = number % 20
    product = {"product_id": f"SKU-{number % 97}", "name": "Widget", "price": 49.99, "currency": "USD"}
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    call: dict[str, Any]
    if kind < 12:
        call = {"type": "page"}
    elif kind < 17:
        call = {"type": "track", "event": "Product Viewed", "properties": product}
    elif kind < 19:
        call = {"type": "track", "event": "Product Added", "properties": product | {"quantity": 2}}
    else:
        call = {
            "type": "track",
            "event": "Order Completed",
            "properties": _order(f"{prefix}-{number}", product),
        }
    visitor = f"{prefix}-{number // EVENTS_A_VISITOR}"
    context = person(visitor)
    if kind < 17:
        context["traits"] = {"email": context["traits"]["email"]}
    return call | {
        "messageId": f"{prefix}-{number:07d}",
        "anonymousId": f"visitor-{visitor}",
        "timestamp": moment,
        "context": context | {"library": {"name": "shop-server"}, "consent": {"advertising": True}},
    }


def _order(number: str, product: dict[str, Any]) -> dict[str, Any]:
    return {
        "order_id": f"ORD-{number}",
        "total": 99.98,
        "currency": "USD",
        "products": [{key: product[key] for key in ("product_id", "name", "price")} | {"quantity": 2}],
    }


_NAMES = {
    None: "page_visit",
    "Product Viewed": "view_category",
    "Product Added": "add_to_cart",
    "Order Completed": "checkout",
}


def payload(source_event: dict[str, Any]) -> dict[str, Any]:
    """Return the expected payload of an event, computed without the product's own mapping."""
    context = source_event["context"]
    expected: dict[str, Any] = {
        "event_name": _NAMES[source_event.get("event")],
        "action_source": "web",
        "event_time": int(datetime.fromisoformat(source_event["timestamp"]).timestamp()),
        "event_id": source_event["messageId"],
        "event_source_url": context["page"]["url"],
        "user_data": user_data(source_event),
    }
    if "properties" in source_event:
        expected["custom_data"] = _custom_data(source_event["properties"])
    return expected


def _custom_data(properties: dict[str, Any]) -> dict[str, Any]:
    items = properties.get("products", [properties])
    value = properties.get("total", sum(item["price"] * item.get("quantity", 1) for item in items))
    expected = {
        "currency": properties["currency"],
        "value": f"{value:.2f}",
        "num_items": sum(item.get("quantity", 1) for item in items),
        "content_ids": [item["product_id"] for item in items],
        "contents": [
            {
                "id": item["product_id"],
                "item_price": f"{item['price']:.2f}",
                "quantity": item.get("quantity", 1),
            }
            for item in items
        ],
    }
    if "order_id" in properties:
        expected["order_id"] = properties["order_id"]
    return expected


@dataclass(slots=True)
class Traffic:
    """Hold events and the bodies that bring them, as many events in each as the collector takes."""

    prefix: str
    events: int
    at: float = field(default_factory=time.time)
    events_a_request: int = EVENTS_A_REQUEST

    def ids(self) -> set[str]:
        return {f"{self.prefix}-{number:07d}" for number in range(self.events)}

    def event(self, event_id: str) -> dict[str, Any]:
        """Return the event with an id again."""
        return event(self.prefix, int(event_id.rpartition("-")[2]), self.at)

    def bodies(self) -> list[bytes]:
        return [
            json.dumps({"batch": [event(self.prefix, number, self.at) for number in numbers]}).encode()
            for numbers in _slices(self.events, self.events_a_request)
        ]


def _slices(count: int, size: int) -> Iterator[range]:
    for first in range(0, count, size):
        yield range(first, min(count, first + size))


class Senders:
    """Post bodies over a few kept-alive connections, as fast as the collector answers."""

    def __init__(
        self, url: str, headers: dict[str, str], bodies: Sequence[bytes], connections: int = 4
    ) -> None:
        self._address, self._headers = urlsplit(url), headers
        self._left = iter(bodies)
        self._lock = threading.Lock()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(connections)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the last response; raise the error of a connection that failed."""
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _run(self) -> None:
        assert self._address.hostname
        connection = http.client.HTTPConnection(
            self._address.hostname, self._address.port, timeout=ANSWER_SECONDS
        )
        try:
            while (body := self._next()) is not None:
                self._post(connection, body)
        except BaseException as failure:  # noqa: BLE001 - raised where the row waits for this thread
            self._failures.append(failure)
        finally:
            connection.close()

    def _next(self) -> bytes | None:
        with self._lock:
            return next(self._left, None)

    def _post(self, connection: http.client.HTTPConnection, body: bytes) -> None:
        for _ in range(MOST_TRIES):
            connection.request("POST", "/v1/batch", body, self._headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 200:
                return
            if answer.status not in (429, 503):
                raise RuntimeError(f"the collector answered {answer.status}: {text[:300]!r}")
            time.sleep(0.5)
        raise RuntimeError(f"the collector took nothing in {MOST_TRIES} tries: {text[:300]!r}")
