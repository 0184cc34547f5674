"""Read the texts in which consent tools state consent."""

import re
from typing import Any
from urllib.parse import unquote

from worker.event import json_text
from worker.event.consent.vocabulary import ADVERTISING

_GCS = re.compile(r"G1([01-])([01-])")
# Letters of ad_storage, analytics_storage, ad_user_data and ad_personalization, between digits.
_GCD = re.compile(r"[0-9]{2}([a-z])[0-9]([a-z])[0-9]([a-z])[0-9]([a-z])[0-9A-Za-z]{0,8}")
_GCD_GRANTED = "nrtv"
_US_PRIVACY = re.compile(r"1[YNyn-]([YNyn-])[YNyn-]")


def google_signals(text: str) -> list[tuple[tuple[str, ...], bool | None]]:
    """Return the answers in the parameters ``gcs`` and ``gcd`` of Google's tags; none for another text."""
    analytics = ("analytics",)
    if match := _GCS.fullmatch(text):
        answers = ((ADVERTISING, match[1]), (analytics, match[2]))
        return [(categories, bit == "1") for categories, bit in answers if bit != "-"] or [((), None)]
    if match := _GCD.fullmatch(text):
        order = (ADVERTISING, analytics, ADVERTISING, ADVERTISING)
        return [(names, letter in _GCD_GRANTED) for names, letter in zip(order, match.groups(), strict=True)]
    return []


def refuses_sale(text: str) -> bool | None:
    """Return whether a US privacy string opts out of the sale of data; None for another text."""
    match = _US_PRIVACY.fullmatch(text)
    return match[1] in "Yy" if match else None


def json_in(text: str) -> Any:
    """Return the object or list that a text holds as JSON, or None."""
    if text[0] not in "[{":
        return None
    try:
        return json_text.parse_json(text.encode())
    except (ValueError, RecursionError):
        return None


def pairs_in(text: str) -> list[tuple[str, str]]:
    """Return the pairs of a consent tool's cookie, such as ``C0001:1,C0004:0`` or ``{marketing:false}``."""
    if "&" not in text and "=" not in text:
        if "%" in text:
            text = unquote(text)
        text = text.strip("{}")
        parts = text.split(",")
        pairs = [part.partition(":") for part in parts if part.strip()]
    else:
        pairs = [part.partition("=") for part in text.split("&") if part.strip()]
    if not pairs or not all(separator for _, separator, _ in pairs):
        return []
    return [(name.strip(" '\""), unquote(value).strip(" '\"")) for name, _, value in pairs]
