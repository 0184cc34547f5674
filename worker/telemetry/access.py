"""Decide who may read the metrics."""

from hmac import compare_digest
from ipaddress import ip_address

from werkzeug.datastructures import Headers

REFUSAL = "Metrics are for METRICS_TOKEN (Authorization: Bearer …), or without one for this machine, not by a proxy."
# What a proxy adds: with any of them, a loopback peer is only the messenger.
_FORWARDING = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")


def may_read(headers: Headers, peer: str | None, token: str) -> bool:
    """Tell whether a request may read the metrics.

    With a token, only who shows it. Without one, only a peer on this machine that no proxy speaks for; a
    proxy that adds none of the usual headers is not recognised, and needs the token to be set.
    """
    if token:
        shown = headers.get("Authorization", "")
        return compare_digest(shown.encode(), f"Bearer {token}".encode())
    if any(name in headers for name in _FORWARDING):
        return False
    return _is_loopback(peer)


def _is_loopback(peer: str | None) -> bool:
    try:
        address = ip_address(peer or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
