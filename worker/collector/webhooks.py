"""Read the order webhooks of Shopify and WooCommerce, and signed webhooks of any other system.

Formats: https://shopify.dev/docs/apps/build/webhooks/subscribe/https and
https://woocommerce.github.io/woocommerce-rest-api-docs/#webhooks.
"""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from werkzeug.datastructures import Headers

from worker.event.click_ids import attributes_of
from worker.event.json_in_text import open_text
from worker.event.text import clean_text, fold_key

_SALES = ("orders/create", "orders/paid")
_TAKEN_BACK = ("refunds/create", "orders/cancelled")
# WooCommerce has no topic for these: an order's status says it.
_UNPAID = ("pending", "checkout-draft", "auto-draft", "draft", "trash")
_REFUNDED = ("refunded", "cancelled", "failed")
_LONGEST_ID = 200


@dataclass(frozen=True, slots=True)
class _Webhook:
    """A webhook's event, or none if it reports nothing to deliver; ``once`` identifies what it reports.

    ``order`` is the shop's own order, if the webhook reports a sale.
    """

    event: dict[str, Any] | None
    once: str = ""
    order: Mapping[str, Any] | None = None


_NOTHING = _Webhook(None)


def is_signed(system: str, headers: Headers, body: bytes, secret: str) -> bool:
    """Return whether a webhook has the signature that its system makes with a secret."""
    digest = hmac.new(secret.encode(), body, sha256)
    if system == "custom":
        signature = headers.get("X-Signature") or headers.get("X-Hub-Signature-256") or ""
        expected = digest.hexdigest()
        signature = signature.strip().lower().removeprefix("sha256=")
    else:
        name = "X-Shopify-Hmac-Sha256" if system == "shopify" else "X-WC-Webhook-Signature"
        signature, expected = headers.get(name, "").strip(), base64.b64encode(digest.digest()).decode()
    return hmac.compare_digest(expected.encode(), signature.encode())


def is_ping(system: str, headers: Headers, body: bytes) -> bool:
    """Return whether WooCommerce tries the address of a new webhook, which it does without a signature."""
    return (
        system == "woocommerce"
        and "X-WC-Webhook-Signature" not in headers
        and body.startswith(b"webhook_id=")
    )


def read_webhook(system: str, headers: Headers, body: object, mapping: Mapping[str, str]) -> _Webhook:
    """Return the event of a webhook, whose body is parsed."""
    if system == "custom":
        return _read_custom(headers, body, mapping)
    if not isinstance(body, dict):
        return _NOTHING
    return _read_shopify(headers, body) if system == "shopify" else _read_woocommerce(headers, body)


def _read_shopify(headers: Headers, order: Mapping[str, Any]) -> _Webhook:
    topic = headers.get("X-Shopify-Topic", "")
    # The admin's test notification has an invented order.
    is_test = headers.get("X-Shopify-Test", "").lower() == "true" or order.get("test") is True
    if is_test or topic not in (*_SALES, *_TAKEN_BACK):
        return _NOTHING
    if topic == "orders/cancelled" and order.get("refunds"):
        # The money that was paid back came as refunds.
        return _NOTHING
    id_ = headers.get("X-Shopify-Webhook-Id", "")[:_LONGEST_ID] or f"{topic} {order.get('id')}"
    created_at = order.get("created_at") if topic != "orders/paid" else None
    timestamp = headers.get("X-Shopify-Triggered-At") or created_at
    return _Webhook(
        _event(topic, order, id_, timestamp, order.get("note_attributes"), order.get("customer")),
        id_,
        order if topic in _SALES else None,
    )


def _read_woocommerce(headers: Headers, order: Mapping[str, Any]) -> _Webhook:
    topic, status = headers.get("X-WC-Webhook-Topic", ""), str(order.get("status"))
    if topic not in ("order.created", "order.updated") or status in _UNPAID:
        return _NOTHING
    # An order is updated often: its sale and each of its refunds count once.
    paid_back = _newest_refund(order.get("refunds"))
    is_refund = status in _REFUNDED or paid_back is not None
    id_ = f"{order.get('id')} {'refund' if is_refund else 'sale'}"
    if paid_back is not None:
        id_ = f"{id_} {paid_back['id']}"
        order = {**order, "refund_amount": str(paid_back.get("total")).lstrip("-")}
    created_at = order.get("date_created_gmt") if topic == "order.created" else None
    timestamp = f"{created_at}Z" if isinstance(created_at, str) and created_at else None
    name = "Order Refunded" if is_refund else "Order Completed"
    customer = {"id": order.get("customer_id") or None}
    event = _event(name, order, id_, timestamp, order.get("meta_data"), customer)
    return _Webhook(event, id_, None if is_refund else order)


def _newest_refund(refunds: object) -> Mapping[str, Any] | None:
    """Return the refund that an order had last: each is reported by an update of the order."""
    rows = [
        row for row in (refunds if isinstance(refunds, list) else ()) if isinstance(row, dict) and "id" in row
    ]
    return max(rows, key=lambda row: _number(str(row["id"])), default=None)


def _number(id_: str) -> int:
    # Python refuses to read a number with thousands of digits.
    return int(id_) if id_.isdecimal() and len(id_) < _LONGEST_ID else 0


def _event(
    name: str, order: Mapping[str, Any], id_: str, timestamp: object, attributes: object, customer: object
) -> dict[str, Any]:
    pairs = attributes_of(attributes) if isinstance(attributes, list) else {}
    consent = next((value for key, value in pairs.items() if fold_key(key[:64]) == "consent"), None)
    user_id = clean_text(customer.get("id"), _LONGEST_ID) if isinstance(customer, dict) else None
    event = {
        "type": "track",
        "event": name,
        "messageId": id_,
        "properties": dict(order),
        "context": {"consent": open_text(consent)} if consent not in (None, "") else {},
        "timestamp": timestamp,
        "userId": user_id,
    }
    return {key: value for key, value in event.items() if value is not None}


def _read_custom(headers: Headers, body: object, mapping: Mapping[str, str]) -> _Webhook:
    """Return a body as an event: as it is, or with the fields of the source's mapping."""
    if not isinstance(body, dict):
        return _Webhook({"type": "track", "event": None})
    event: dict[str, Any] = {} if mapping else dict(body)
    for target, path in mapping.items():
        value = path[1:] if path.startswith("=") else _at(body, path)
        if value is not None:
            _put(event, target.split("."), value)
    event.setdefault("type", "track")
    id_ = clean_text(headers.get("X-Webhook-Id") or event.get("messageId"), _LONGEST_ID)
    if id_:
        event.setdefault("messageId", id_)
    return _Webhook(event, id_ or "")


def _at(holder: Any, path: str) -> Any:
    for step in path.split("."):
        if isinstance(holder, list) and step.isdecimal() and len(step) < 6:
            holder = holder[int(step)] if int(step) < len(holder) else None
        else:
            holder = holder.get(step) if isinstance(holder, dict) else None
    return holder


def _put(holder: dict[str, Any], steps: list[str], value: Any) -> None:
    for step in steps[:-1]:
        inner = holder.setdefault(step, {})
        if not isinstance(inner, dict):
            return
        holder = inner
    holder[steps[-1]] = value
