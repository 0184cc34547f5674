"""Read from an event who sent it: the visitor's ids, the page and its click id."""

from collections.abc import Mapping
from typing import Any

from worker.events.received import Received, click_id, epik_from_url
from worker.events.text import clean_text


def epik_of(url: str | None, received: Received) -> str | None:
    """Return the click id of the page's address, which is fresher than the cookie, else the cookie's."""
    return epik_from_url(url) or click_id(received.epik)


def page_url(event: Mapping[str, Any]) -> str | None:
    """Return the address of the page that an event happened on."""
    context = event.get("context")
    page = context.get("page") if isinstance(context, dict) else None
    properties = event.get("properties")
    for holder in (page, properties):
        url = holder.get("url") if isinstance(holder, dict) else None
        if isinstance(url, str) and url.strip():
            return url.strip()
    return None


def visitor_ids(event: Mapping[str, Any], received: Received) -> tuple[str | None, str | None]:
    """Return the anonymous id and the user id that an event is known by, as text.

    A browser is known by its own cookie; what a page's script claims comes second.
    """
    anonymous = clean_text(event.get("anonymousId"))
    if received.channel == "browser":
        anonymous = clean_text(received.dfid) or anonymous
    return anonymous or clean_text(received.dfid), clean_text(event.get("userId"))
