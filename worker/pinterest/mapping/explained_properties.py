"""Explain how each property of an event was used."""

from collections.abc import Mapping
from typing import Any

from worker.event.dialects.translate import DIALECT_KEYS
from worker.event.text import fold_key
from worker.pinterest.custom_data.custom_data import PROPERTY_KEYS
from worker.pinterest.custom_data.items import PRODUCT_LIST_KEYS, is_product_key
from worker.pinterest.mapping.call import Call, Explanation, Notes
from worker.pinterest.user_data.traits import PEOPLE_PROPERTIES, PERSONAL_PROPERTIES

# Properties that are used elsewhere than in custom data.
_ELSEWHERE = """
eventid email phone userdata optout optouttype limiteddataprocessing actionsource channel offline url path title
referrer search
"""
_SHOWN = ("value", "currency", "order_id", "num_items", "predicted_ltv")


def explain_properties(call: Call, data: Mapping[str, Any], notes: Notes) -> None:
    """Add a line for each property that was sent, and a line for the properties that Pinterest has no field for."""
    explain, raw = notes.explain, call.event.get("properties")
    if explain is None or not isinstance(raw, dict):
        return
    properties = call.properties
    spellings = {fold_key(key): key for key in reversed(raw)}
    used = set(_ELSEWHERE.split())
    for target, keys in PROPERTY_KEYS.items():
        present = [key for key in keys if key in properties and target in data]
        used.update(present)
        if present and target not in notes.computed:
            value = f": {data[target]}" if target in _SHOWN else ""
            explain.add("renamed", f"{spellings.get(present[0], present[0])} → {target}{value}")
    used.update(_explain_products(properties, data, spellings, explain))
    used |= PERSONAL_PROPERTIES | PEOPLE_PROPERTIES | (DIALECT_KEYS if call.dialects else set())
    dropped = [spellings[key] for key in properties if key in spellings and key not in used]
    if dropped:
        explain.add("dropped", f"properties without a field at Pinterest: {', '.join(dropped)}")


def _explain_products(
    properties: Mapping[str, Any], data: Mapping[str, Any], spellings: Mapping[str, str], explain: Explanation
) -> list[str]:
    """Explain which properties describe products, and return their keys."""
    lists = [key for key in PRODUCT_LIST_KEYS if key in properties]
    single = [key for key in properties if is_product_key(key)]
    count = len(data.get("contents", ()))
    if lists and count:
        explain.add(
            "renamed",
            f"{spellings.get(lists[0], lists[0])} → contents, content_ids: {count} product{'s'[: count > 1]}",
        )
    elif single and count:
        names = ", ".join(spellings.get(key, key) for key in single)
        explain.add("renamed", f"{names} → contents, content_ids: one product")
    return lists + (single if count else [])
