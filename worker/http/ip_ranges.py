"""Distinguish public internet addresses from special ones, by IANA's special-purpose address registries.

https://www.iana.org/assignments/iana-ipv4-special-registry and .../iana-ipv6-special-registry. Python's
``is_global`` uses an older version of them, without deprecated and unallocated ranges.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from socket import AF_INET, inet_pton

# Whether each range is globally reachable; the most specific range decides. Ranges for which the registry says
# "not applicable" are False: there are no services there.
_IPV4 = {
    "0.0.0.0/8": False,  # "this network"
    "10.0.0.0/8": False,  # private use
    "100.64.0.0/10": False,  # shared address space (carrier NAT)
    "127.0.0.0/8": False,  # loopback
    "169.254.0.0/16": False,  # link local, and the metadata services of clouds
    "172.16.0.0/12": False,  # private use
    "192.0.0.0/24": False,  # IETF protocol assignments
    "192.0.0.9/32": True,  # port control protocol anycast
    "192.0.0.10/32": True,  # TURN anycast
    "192.0.2.0/24": False,  # documentation
    "192.31.196.0/24": True,  # AS112
    "192.52.193.0/24": True,  # AMT
    "192.88.99.0/24": False,  # deprecated: 6to4 relay anycast
    "192.168.0.0/16": False,  # private use
    "192.175.48.0/24": True,  # AS112
    "198.18.0.0/15": False,  # benchmarking
    "198.51.100.0/24": False,  # documentation
    "203.0.113.0/24": False,  # documentation
    "224.0.0.0/4": False,  # multicast
    "240.0.0.0/4": False,  # reserved, and the limited broadcast address
}
_IPV6 = {
    "::/0": False,  # not allocated; includes unspecified, loopback, ::a.b.c.d, ::ffff:0:a.b.c.d, fec0::/10
    "2000::/3": True,  # global unicast
    "64:ff9b::/96": True,  # translation to IPv4; the IPv4 address inside decides too
    "64:ff9b:1::/48": False,  # translation to IPv4, for local use
    "100::/64": False,  # discard only
    "100:0:0:1::/64": False,  # dummy prefix
    "2001::/23": False,  # IETF protocol assignments; includes Teredo, benchmarking and the deprecated ORCHID
    "2001:1::1/128": True,  # port control protocol anycast
    "2001:1::2/128": True,  # TURN anycast
    "2001:1::3/128": True,  # DNS-SD service registration anycast
    "2001:3::/32": True,  # AMT
    "2001:4:112::/48": True,  # AS112
    "2001:20::/28": True,  # ORCHIDv2
    "2001:30::/28": True,  # drone remote identification
    "2001:db8::/32": False,  # documentation
    "2002::/16": False,  # 6to4, whose relays are gone
    "2620:4f:8000::/48": True,  # AS112
    "3fff::/20": False,  # documentation
    "5f00::/16": False,  # segment routing identifiers
    "fc00::/7": False,  # unique local
    "fe80::/10": False,  # link local
    "ff00::/8": False,  # multicast
}
# The most specific range first.
_IPV4_RANGES = sorted(
    ((IPv4Network(text), ok) for text, ok in _IPV4.items()), key=lambda row: -row[0].prefixlen
)
_IPV6_RANGES = sorted(
    ((IPv6Network(text), ok) for text, ok in _IPV6.items()), key=lambda row: -row[0].prefixlen
)
_NAT64 = IPv6Network("64:ff9b::/96")
# The first bytes of which no address is special.
_PUBLIC_BYTES = frozenset(
    byte
    for byte in range(256)
    if not any(network.overlaps(IPv4Network((byte << 24, 8))) for network, _ in _IPV4_RANGES)
)


def is_plain_public(text: str) -> bool:
    """Return whether a text is a public IPv4 address in its usual form; False may mean that it takes a closer look."""
    try:
        return inet_pton(AF_INET, text)[0] in _PUBLIC_BYTES
    except (OSError, ValueError):
        return False


def is_public(address: str) -> bool:
    """Return whether an address is on the public internet; an IPv6 form of an IPv4 address counts as IPv4."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv4Address):
        return _is_reachable_ipv4(ip)
    # The operating system connects to an IPv4-mapped address over IPv4.
    if ip.ipv4_mapped is not None:
        return _is_reachable_ipv4(ip.ipv4_mapped)
    return _is_reachable_ipv6(ip)


def _is_reachable_ipv4(address: IPv4Address) -> bool:
    return next((reachable for network, reachable in _IPV4_RANGES if address in network), True)


def _is_reachable_ipv6(address: IPv6Address) -> bool:
    if address in _NAT64:
        return _is_reachable_ipv4(IPv4Address(int(address) & 0xFFFFFFFF))
    return next(reachable for network, reachable in _IPV6_RANGES if address in network)
