"""Find the address that a request really came from."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# A call from one of these comes through a proxy that TRUSTED_PROXIES lacks, or from the shop's own machines.
_LOCAL = tuple(
    ip_network(network)
    for network in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
)
_IPV6_PREFIX_BITS = 64


def client_ip(remote: str | None, forwarded_for: str, trusted: Sequence[Network]) -> str | None:
    """Return the rightmost address that is not a trusted proxy's.

    ``forwarded_for`` is the whole X-Forwarded-For header. Each proxy appends whom it heard from, so that only
    what stands to the right of the first stranger is true; the rest is the caller's own tale. None where a
    trusted proxy wrote something that is no address.
    """
    current = parse_address(remote or "")
    hops = [hop for hop in forwarded_for.split(",") if hop.strip()]
    while current is not None and hops and _is_trusted(current, trusted):
        current = parse_address(hops.pop())
    return str(current) if current is not None else None


def parse_address(text: str) -> Address | None:
    """Read an address as proxies write it: with or without a port, IPv4 also in its IPv6 form."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def network_of(address: str | None) -> str | None:
    """Return what a client is counted by: its IPv4 address, or the /64 network that one line has in IPv6.

    None for local networks, which stand for many clients, and for what is not an address.
    """
    parsed = parse_address(address or "")
    if parsed is None or any(parsed in network for network in _LOCAL):
        return None
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(ip_network((int(parsed), _IPV6_PREFIX_BITS), strict=False))
