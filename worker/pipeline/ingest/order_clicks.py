"""Give a server's order the click ids that the browser sent with the same order."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlalchemy import Connection

from worker.event import json_text
from worker.event.consent.consent import withdraws_advertising
from worker.event.dialects.translate import translate
from worker.event.text import fold_keys
from worker.ledger.delivery import find_deliveries
from worker.ledger.delivery.new_deliveries import PAYLOAD
from worker.ledger.vault import MissingKeyError, SealError, Vault
from worker.pinterest.business_id import order_ids
from worker.pinterest.custom_data.custom_data import read_order_id
from worker.pinterest.user_data.visitor import Visitor
from worker.pipeline.ingest.accepting import OpenedEvent

# By inbox id, the keys of the order of an event.
_OrderKeys = Mapping[int, tuple[bytes, ...]]
# By inbox id and integration, the click ids of an event's order.
ClickIdsOfOrders = Mapping[int, Mapping[int, Visitor]]


def order_keys(vault: Vault, signed: Iterable[OpenedEvent]) -> _OrderKeys:
    """Return the keys of the orders that servers report without a click id."""
    return {opened.row.id: keys for opened in signed if (keys := _keys_of(vault, opened))}


def _keys_of(vault: Vault, opened: OpenedEvent) -> tuple[bytes, ...]:
    event = opened.event
    if event.get("type") != "track" or opened.click_ids.epik:
        return ()
    context = event.get("context")
    translated = translate(fold_keys(event.get("properties")), context if isinstance(context, dict) else {})
    order_id = read_order_id(translated.properties)
    ids = order_ids(event, order_id)
    # A shop's page may show the number with its sign.
    numbers = (spelling for number in ids.numbers for spelling in (number, f"#{number}"))
    spellings = dict.fromkeys((ids.system_id, order_id, *numbers))
    return tuple(
        vault.keyed_hash("order", opened.row.source_id, spelling) for spelling in spellings if spelling
    )


def click_ids_of_orders(connection: Connection, vault: Vault, keys: _OrderKeys) -> ClickIdsOfOrders:
    """Return, by inbox id and integration, the click ids of earlier deliveries of the same order."""
    all_keys = {key for own_keys in keys.values() for key in own_keys}
    by_key: dict[bytes, dict[int, Visitor]] = {}
    for row in find_deliveries.payloads_of_orders(connection, all_keys) if all_keys else ():
        ids = _read(vault, row.payload, row.field_mapping)
        if ids is not None:
            by_key.setdefault(row.order_key, {})[row.integration] = replace(ids, epik_at=row.accepted_at)
    return {
        inbox_id: {number: ids for key in own_keys for number, ids in by_key.get(key, {}).items()}
        for inbox_id, own_keys in keys.items()
    }


def _read(vault: Vault, payload: bytes, field_mapping: str) -> Visitor | None:
    try:
        user_data = json_text.parse_json(vault.open(payload, PAYLOAD))["user_data"]
    except (MissingKeyError, SealError, ValueError, KeyError, TypeError):
        return None
    if field_mapping == "pinterest":
        return Visitor(epik=user_data.get("click_id")) if "click_id" in user_data else None
    epik, pin_unauth = user_data.get("partner_id"), user_data.get("click_id")
    return Visitor(epik=epik, pin_unauth=pin_unauth) if epik or pin_unauth else None


def with_click_ids_of_order(visitor: Visitor, opened: OpenedEvent, ids: Visitor | None) -> Visitor:
    """Return the visitor with the click ids of the order, where it has none of its own."""
    if ids is None or withdraws_advertising(
        opened.event, gpc=opened.received.gpc, groups=opened.consent_groups
    ):
        return visitor
    epik = opened.click_ids.epik or visitor.epik
    return replace(
        visitor,
        epik=epik or ids.epik,
        epik_at=visitor.epik_at if epik else ids.epik_at,
        pin_unauth=visitor.pin_unauth or ids.pin_unauth,
    )
