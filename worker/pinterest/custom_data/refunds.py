"""Recognise refunds and cancellations, which must not be sent as sales."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from worker.event.text import fold_key
from worker.pinterest.custom_data.custom_data import PROPERTY_KEYS
from worker.pinterest.custom_data.items import UNREADABLE, read_currency, read_items
from worker.pinterest.custom_data.money import Amount, AmountError, NegativeAmountError, read_amount
from worker.pinterest.mapping.call import Notes

_LONGEST_NAME = 128
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_A-Za-z]+")
_REFUNDS = frozenset(("refund", "refunds", "refunded", "refunding", "chargeback", "chargebacks"))
_CANCELLED = """
cancel canceled cancelled canceling cancelling cancellation return returned void voided
"""
_CANCELLATIONS = frozenset(_CANCELLED.split())
_SALES = frozenset(
    ("order", "orders", "purchase", "purchases", "transaction", "transactions", "sale", "sales")
)
# Words that may be in the name of a refund. With further words it is another event, such as "Refund Policy Viewed".
_FILLERS = """
partial partially full fully issued create created complete completed processed processing update updated charge
charged back payment payments checkout dl event ecommerce shop requested initiated approved succeeded item items
product products of the a an customer
"""
_KNOWN = _REFUNDS | _CANCELLATIONS | _SALES | frozenset(_FILLERS.split())
_STATUS_KEYS = ("status", "orderstatus", "financialstatus", "paymentstatus", "transactiontype", "ordertype")
_STATES = {
    "refunded": True,
    "refund": True,
    "return": True,
    "returned": True,
    "chargeback": True,
    "chargedback": True,
    "cancelled": False,
    "canceled": False,
    "voided": False,
    "failed": False,
    "declined": False,
    "wcrefunded": True,
    "wccancelled": False,
    "wcfailed": False,
}
_VALUE_KEYS = frozenset(PROPERTY_KEYS["value"])
_STATE_KEYS = frozenset((*_STATUS_KEYS, "cancelledat"))
_STATE_OR_VALUE_KEYS = _STATE_KEYS | _VALUE_KEYS
_AMOUNT_KEYS = ("refundamount", "refundedamount", "refundtotal", "totalrefunded", "refundvalue")


class Refund(NamedTuple):
    """A refund or a cancellation: the reason why the event is not sent, and what is refunded, if it is known."""

    reason: str
    amount: Amount | None
    currency: str | None


def _is_refund_name(name: str, properties: Mapping[str, Any]) -> bool:
    """Return whether an event's name is that of a refund, a chargeback or a cancelled order."""
    kind = _kind_of_name(name[:_LONGEST_NAME])
    return kind == "refund" or (kind == "about" and not _VALUE_KEYS.isdisjoint(properties))


@lru_cache(maxsize=2048)
def _kind_of_name(name: str) -> str:
    """Return ``refund``, ``about`` for another name with such a word, or an empty text."""
    words = {word.lower() for word in _WORD.findall(name)}
    if len(words) == 1:
        words |= _split(words.pop())
    is_refund = bool(words & _REFUNDS) or {"charge", "back"} <= words
    is_cancelled = bool(words & _CANCELLATIONS and words & _SALES)
    if not (is_refund or is_cancelled):
        return ""
    return "refund" if words <= _KNOWN else "about" if is_refund else ""


def _split(name: str) -> set[str]:
    """Return the two words of a name such as ``orderrefunded``, else the name."""
    for end in range(2, len(name) - 1):
        if name[:end] in _KNOWN and name[end:] in _KNOWN:
            return {name[:end], name[end:]}
    return {name}


def find_refund(
    name: str, properties: Mapping[str, Any], *, by_name: bool, is_checkout: bool
) -> Refund | None:
    """Return what an event takes back, or None if it is no refund; the keys of ``properties`` are folded.

    A checkout is one by its state or by a value below zero.
    """
    if by_name and _is_refund_name(name, properties):
        return _refund("The event is a refund or a cancellation", properties)
    if not is_checkout:
        return _refunded_update(name, properties) if by_name else None
    keys = _STATE_OR_VALUE_KEYS.intersection(properties)
    if not _STATE_KEYS.isdisjoint(keys):
        states = [properties[key] for key in _STATUS_KEYS if key in properties]
        known = [_STATES.get(fold_key(state)) for state in states if type(state) is str]
        if True in known:
            return _refund("The order is refunded", properties)
        if False in known or properties.get("cancelledat"):
            # Whether its sale was counted before is not known.
            return Refund(
                "The order is cancelled, or its payment failed: it is not sent as a sale.", None, None
            )
    for key in keys:
        if key in _VALUE_KEYS and _is_negative(properties[key]):
            return _refund("The order's value is below zero", properties)
    return None


def _refunded_update(name: str, properties: Mapping[str, Any]) -> Refund | None:
    """Return the refund that an update of an order reports; its own event has the amount."""
    if _STATE_KEYS.isdisjoint(properties) or _VALUE_KEYS.isdisjoint(properties):
        return None
    if _SALES.isdisjoint(word.lower() for word in _WORD.findall(name[:_LONGEST_NAME])):
        return None
    states = [properties[key] for key in _STATUS_KEYS if key in properties]
    if any(type(state) is str and _STATES.get(fold_key(state)) for state in states):
        return Refund("The order is refunded: it is not sent as a sale.", None, None)
    return None


def _is_negative(value: object) -> bool:
    if type(value) is float or type(value) is int:
        return value < 0
    try:
        read_amount(value, None)
    except NegativeAmountError:
        return True
    except AmountError:
        return False
    return False


def _refund(reason: str, properties: Mapping[str, Any]) -> Refund:
    reason = f"{reason}: it is not sent as a sale."
    unheard = Notes()
    raw = next((properties[key] for key in PROPERTY_KEYS["currency"] if key in properties), None)
    currency = read_currency(raw, "the value", unheard)
    if currency is UNREADABLE:
        return Refund(reason, None, None)
    for key in (*_AMOUNT_KEYS, *PROPERTY_KEYS["value"], "amount"):
        if key in properties:
            amount = _size(properties[key], currency)
            if amount is not None:
                return Refund(reason, amount, currency or amount.currency)
    items = read_items(properties, False, currency, unheard)
    if items and all(item.price is not None for item in items):
        total = sum(float(item.price.number) * float(item.pieces) for item in items if item.price)
        return Refund(reason, read_amount(total, None), currency)
    return Refund(reason, None, None)


def _size(value: object, currency: str | None) -> Amount | None:
    try:
        return read_amount(value, currency)
    except NegativeAmountError as error:
        return error.size
    except AmountError:
        return None
