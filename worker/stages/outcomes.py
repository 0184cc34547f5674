"""Translate what the mapping decided into rows of the ledger."""

from collections.abc import Mapping
from datetime import date, datetime, tzinfo
from decimal import Decimal
from typing import Any

from worker.events.trust import Trust
from worker.ledger.deliveries import PAYLOAD, NewDelivery
from worker.ledger.inbox import Waiting
from worker.ledger.quality import COMPUTED, INVALID, LATE
from worker.ledger.sales import MOST_THOUSANDTHS, THOUSANDTHS
from worker.ledger.schema import State
from worker.ledger.vault import Vault
from worker.pinterest.mapping import Explanation, Failed, Filtered, Mapped, Outcome, encode, map_event
from worker.pinterest.signed_only import drop_signed_only
from worker.pinterest.visitor import Visitor
from worker.stages.destinations import Destination
from worker.stages.opened import Opened

_FIRST_DAY = date(1970, 1, 1).toordinal()
_LATEST = 2**32


def to_deliveries(
    target: Destination,
    one: Opened,
    visitor: Visitor,
    vault: Vault,
    now: float,
    explain: Explanation | None = None,
) -> list[NewDelivery]:
    """Map one event for one integration; payloads come back sealed."""
    default_consent = target.source.default_consent(one.received.channel)
    outcomes = map_event(one.event, one.received, visitor, target.options, now, default_consent, explain)
    listed = target.source.options.get("signed_only_events")
    if listed and one.trust is Trust.PUBLIC:
        outcomes = drop_signed_only(outcomes, listed, target.options)
    return [_to_delivery(outcome, target, one, vault) for outcome in outcomes]


def _to_delivery(outcome: Outcome, target: Destination, one: Opened, vault: Vault) -> NewDelivery:
    row, text = one.row, _text(outcome)
    return NewDelivery(
        source_id=row.source_id,
        integration_id=target.integration.number,
        ad_account=target.integration.ad_account,
        test=target.test,
        accepted_at=row.received_at,
        anonymous_key=row.anonymous_key,
        user_key=row.user_key,
        trust=one.trust,
        event_id=outcome.event_id,
        source_name=outcome.source_name,
        payload=vault.seal(text, PAYLOAD) if text is not None else None,
        size_bytes=len(text) if text is not None else 0,
        **_of_kind(outcome, row, vault),
        **_sale(outcome, target.time_zone),
    )


def _text(outcome: Outcome) -> bytes | None:
    payload = outcome.payload if isinstance(outcome, Mapped | Failed) else None
    return encode(payload) if payload is not None else None


def _of_kind(outcome: Outcome, row: Waiting, vault: Vault) -> dict[str, Any]:
    if isinstance(outcome, Mapped):
        return {
            "state": State.OPEN,
            "event_name": outcome.event_name,
            "event_time": outcome.event_time,
            "offline": outcome.offline,
            "warning": " ".join(outcome.warnings) or None,
            "order_key": _order_key(outcome.payload, row, vault),
            "content_key": _content_key(outcome.payload, vault),
            "qualities": qualities(outcome),
        }
    if isinstance(outcome, Failed):
        payload = outcome.payload or {}
        return {
            "state": State.FAILED,
            "event_name": outcome.event_name or "",
            "event_time": payload.get("event_time", int(row.received_at)),
            "offline": payload.get("action_source") == "offline",
            "reason_class": outcome.reason_class,
            "reason": outcome.reason,
            "order_key": _order_key(outcome.payload, row, vault),
            "content_key": _content_key(outcome.payload, vault),
            "qualities": qualities(outcome),
        }
    return {
        "state": State.FILTERED if isinstance(outcome, Filtered) else State.DROPPED,
        "event_name": "",
        "event_time": int(row.received_at),
        "offline": False,
        "reason_class": "consent" if isinstance(outcome, Filtered) else outcome.reason_class,
        "reason": outcome.reason,
    }


def _sale(outcome: Outcome, zone: tzinfo) -> dict[str, Any]:
    """Return what the event adds to the books of its day once it is delivered."""
    payload = outcome.payload if isinstance(outcome, Mapped | Failed) else None
    happened = payload.get("event_time") if payload else None
    # What fails as too old may be of any time.
    if payload is None or happened is None or not 0 <= happened <= _LATEST:
        return {}
    data = payload.get("custom_data") or {}
    day = datetime.fromtimestamp(happened, zone).toordinal() - _FIRST_DAY
    return {
        "day": day,
        "currency": data.get("currency"),
        "value_thousandths": _thousandths(data.get("value")),
    }


def _thousandths(value: object) -> int | None:
    # The mapping writes amounts as plain digits.
    if not isinstance(value, str):
        return None
    thousandths = round(Decimal(value) * THOUSANDTHS)
    return thousandths if thousandths <= MOST_THOUSANDTHS else None


def qualities(outcome: Mapped | Failed) -> tuple[str, ...]:
    """Say in a few words, always in the same order, what an event brought with it."""
    if isinstance(outcome, Failed):
        return (INVALID + outcome.reason_class,)
    marks = ((COMPUTED, outcome.computed), (LATE, outcome.late))
    return (*outcome.identifiers, *(word for word, holds in marks if holds))


def _order_key(payload: Mapping[str, Any] | None, row: Waiting, vault: Vault) -> bytes | None:
    order_id = ((payload or {}).get("custom_data") or {}).get("order_id")
    return vault.keyed_hash("order", row.source_id, order_id) if order_id else None


def _content_key(payload: Mapping[str, Any] | None, vault: Vault) -> bytes | None:
    """Return a keyed hash of what two copies of an event are compared by; None where there is nothing of it.

    The source has no part in it: a shop may send the browser's copy and the server's through two sources.
    """
    data = (payload or {}).get("custom_data") or {}
    order_id, currency, value = (data.get(name) or "" for name in ("order_id", "currency", "value"))
    if not (order_id or currency or value):
        return None
    # 499 and 499.00 are the same amount.
    amount = format(Decimal(value).normalize(), "f") if value else ""
    return vault.keyed_hash("content", currency, amount, order_id)
