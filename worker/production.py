"""Settings that no service in production may have: guessable secrets, open doors, traffic in the clear."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from itertools import pairwise
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

_Refusal = tuple[str, str]

# A random key of 32 bytes has 30 different ones; fewer than 20 come up once in 10¹³ keys.
_LEAST_DIFFERENT_BYTES = 20
_LEAST_PASSWORD = 12
# What remains of a secret without these words must have eight characters.
_WORDS = re.compile(
    r"0?123456789(?:0|abcdef)?|12345678?|abcdef(?:gh(?:ijklmnopqrstuvwxyz)?)?|qwert[yz](?:uiop)?|asdf(?:ghjkl)?"
    r"|changeme|changeit|change|replace|please|default|example|sample|insert|dummy|password|passwort|passwd"
    r"|pinterest|signal|flower|celery|rabbitmq|postgresql|postgres|redis|valkey|admin|adm_|root|guest|user|owner"
    r"|operator|management|metrics|cookie|secret|token|random|value|string|letmein|welcome|test|demo|dev|shop"
    r"|encryption|webhook|alert|basic|auth|kim|your|here|goes|worker|tests|passw0rd|of|this|with|some|very|long|none|null|todo|key|the|my|me|a"
)
_NOT_LETTERS = re.compile(r"[^0-9a-z_]")
_LEAST_REST = 8

_PRIVATE = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "100.64.0.0/10",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)
_PRIVATE_ENDINGS = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test", ".svc", ".intranet")
_METADATA_HOSTS = ("169.254.169.254", "fd00:ec2::254", "metadata.google.internal", "100.100.100.200")
_IPV4_IN_IPV6 = IPv6Network("::ffff:0:0/96")

# Variables of other programs that switch on debugging, open Flower or write keys of TLS connections into a file.
_DEBUG = {
    "FLASK_DEBUG": "shows the source code and the data of failed requests",
    "FLOWER_DEBUG": "shows the source code of failed requests",
    "FLOWER_UNAUTHENTICATED_API": "opens Flower's API to everyone",
    "PYTHONINSPECT": "opens a prompt when a process ends",
    "SSLKEYLOGFILE": "writes the keys of encrypted connections into a file",
}
_OFF = ("", "0", "false", "f", "no", "n", "off")


def find_refusals(environ: Mapping[str, str]) -> Iterator[_Refusal]:
    """Yield each setting that production refuses, with the reason; the reason never repeats a secret."""
    values = {name: value.strip() for name, value in environ.items()}
    for check in (_secrets, _shared_secrets, _pinterest, _proxies, _broker, _database, _webhooks, _debugging):
        yield from check(values)


def _is_repeated(text: str) -> bool:
    """Return whether a text is a shorter text twice or more."""
    return text in (text + text)[1:-1]


def _is_counted(text: bytes) -> bool:
    """Return whether more than half of the steps from byte to byte are the same."""
    steps = Counter((after - before) % 256 for before, after in pairwise(text))
    return 2 * max(steps.values(), default=0) >= len(text)


def _is_guessable(secret: str) -> bool:
    """Return whether a secret is repeated, counts up or down, or consists of well-known words."""
    if _is_repeated(secret) or _is_counted(secret.encode()) or len(set(secret)) < 6:
        return True
    rest = _NOT_LETTERS.sub("", _WORDS.sub("", secret.lower()))
    return len(rest) < _LEAST_REST


def _is_weak_key(key: bytes) -> bool:
    text = all(32 <= byte < 127 for byte in key)
    return len(set(key)) < _LEAST_DIFFERENT_BYTES or _is_counted(key) or text


def _secrets(values: Mapping[str, str]) -> Iterator[_Refusal]:
    # Only the first key encrypts; a weak one behind it is being rotated out.
    first = next((key for key in values.get("ENCRYPTION_KEY", "").split(",") if key.strip()), "")
    if _is_weak_key(bytes.fromhex(first)):
        yield (
            "ENCRYPTION_KEY",
            "can be guessed: put a new key first (openssl rand -hex 32), and keep the old one.",
        )
    for name in ("ADMIN_TOKEN", "METRICS_TOKEN", "FLOWER_COOKIE_SECRET", "ALERT_WEBHOOK_SECRET"):
        value = values.get(name, "")
        if value and (len(value) < 16 or _is_guessable(value)):
            yield name, "can be guessed: use 16 characters or more of a random text (openssl rand -hex 24)."
    for pair in values.get("FLOWER_BASIC_AUTH", "").split(","):
        user, _, password = pair.partition(":")
        if len(password) < _LEAST_PASSWORD or _is_guessable(password) or password == user:
            why = (
                "has a password that can be guessed: use 12 random characters or more (openssl rand -hex 12)."
            )
            yield "FLOWER_BASIC_AUTH", why


def _shared_secrets(values: Mapping[str, str]) -> Iterator[_Refusal]:
    seen: dict[str, str] = {}
    for name in (
        "ENCRYPTION_KEY",
        "ADMIN_TOKEN",
        "FLOWER_COOKIE_SECRET",
        "METRICS_TOKEN",
        "ALERT_WEBHOOK_SECRET",
    ):
        value = values.get(name, "")
        if value and value in seen:
            yield name, f"must differ from {seen[value]}: who knows one would know both."
        seen[value] = name
    for pair in values.get("FLOWER_BASIC_AUTH", "").split(","):
        password = pair.partition(":")[2]
        if password in seen:
            yield "FLOWER_BASIC_AUTH", f"must differ from {seen[password]}: who knows one would know both."


def _is_private(host: str) -> bool:
    """Return whether a host is surely in a network of its own: a private address, or a name without a domain."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        name = host.lower().rstrip(".")
        return "." not in name or name.endswith(_PRIVATE_ENDINGS) or ".svc." in f"{name}."
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped in network for network in _PRIVATE)


def _is_public_address(host: str) -> bool:
    """Return whether a host is the number of a public address; a name may be anywhere."""
    return not _is_private(host) and (":" in host or host.replace(".", "").isdigit())


def _is_loopback(host: str) -> bool:
    return host in ("", "localhost", "::1") or host.startswith("127.")


def _pinterest(values: Mapping[str, str]) -> Iterator[_Refusal]:
    parts = urlsplit(values.get("PINTEREST_API_URL", ""))
    if parts.scheme == "http" and not _is_private(parts.hostname or ""):
        yield "PINTEREST_API_URL", "must be an https address, or a sandbox in a private network."


def _proxies(values: Mapping[str, str]) -> Iterator[_Refusal]:
    if values.get("LOCAL_CLIENT_IP"):
        yield "LOCAL_CLIENT_IP", "is for trials on one machine: it sends an address that no visitor has."
    texts = [text.strip() for text in values.get("TRUSTED_PROXIES", "").split(",") if text.strip()]
    networks = [_without_mapping(ip_network(text)) for text in texts]
    # Together, because two halves of the internet are the whole of it.
    old = collapse_addresses(network for network in networks if isinstance(network, IPv4Network))
    new = collapse_addresses(network for network in networks if isinstance(network, IPv6Network))
    if any(network.prefixlen < 8 for network in old) or any(_is_wide(network) for network in new):
        why = (
            "covers a large part of the internet, so anyone could claim any address: list only your proxies."
        )
        yield "TRUSTED_PROXIES", why


def _without_mapping(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return the IPv4 network that an IPv6 network maps; others as they are."""
    if isinstance(network, IPv6Network) and network.subnet_of(_IPV4_IN_IPV6):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _is_wide(network: IPv6Network) -> bool:
    local = any(isinstance(private, IPv6Network) and network.subnet_of(private) for private in _PRIVATE)
    return network.supernet_of(_IPV4_IN_IPV6) or (network.prefixlen < 16 and not local)


def _is_known_password(user: str, password: str) -> bool:
    return password == user or not _NOT_LETTERS.sub("", _WORDS.sub("", password.lower()))


def _broker(values: Mapping[str, str]) -> Iterator[_Refusal]:
    for url in values.get("BROKER_URL", "").split(";"):
        parts = urlsplit(url)
        for host in _hosts(parts):
            yield from _remote_broker(parts, host)


def _remote_broker(parts: SplitResult, host: str) -> Iterator[_Refusal]:
    query = parse_qs(parts.query)
    if _is_loopback(host):
        return
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme.startswith("amqp") and (user or "guest") == "guest":
        yield (
            "BROKER_URL",
            "must not use RabbitMQ's user guest on another machine: create a user with a password.",
        )
    elif password and _is_known_password(user, password):
        yield "BROKER_URL", "has a password that can be guessed."
    if not parts.scheme.startswith("amqp") and not password and _is_public_address(host):
        yield "BROKER_URL", "needs a password at a public address."
    if parts.scheme in ("amqp", "redis", "valkey", "sentinel") and _is_public_address(host):
        yield "BROKER_URL", "must be encrypted at a public address: use amqps://, rediss:// or sentinels://."
    if any("none" in value.lower() for value in query.get("ssl_cert_reqs", [])):
        yield "BROKER_URL", "must not switch off the check of certificates."


def _database(values: Mapping[str, str]) -> Iterator[_Refusal]:
    parts = urlsplit(values.get("DATABASE_URL", ""))
    hosts = list(_hosts(parts))
    if not parts.scheme.startswith("postgres") or all(_is_loopback(host) for host in hosts):
        return
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if password and _is_known_password(user, password):
        yield "DATABASE_URL", "has a password that can be guessed."
    modes = parse_qs(parts.query).get("sslmode", ["prefer"])
    if any(_is_public_address(host) for host in hosts) and modes[-1] in ("disable", "allow", "prefer"):
        yield "DATABASE_URL", "must be encrypted at a public address: add ?sslmode=verify-full."


def _hosts(parts: SplitResult) -> Iterator[str]:
    """Yield the hosts of a URL: ``host:port,host:port`` or ``?host=a,b``, as libpq reads them."""
    authority = parts.netloc.rpartition("@")[2]
    for text in (
        authority,
        *parse_qs(parts.query).get("host", []),
        *parse_qs(parts.query).get("hostaddr", []),
    ):
        for entry in text.split(","):
            yield urlsplit(f"//{entry}").hostname or ""


def _webhooks(values: Mapping[str, str]) -> Iterator[_Refusal]:
    hosts = {host.strip().lower() for host in values.get("ALERT_WEBHOOK_PRIVATE_HOSTS", "").split(",")}
    if hosts.intersection(_METADATA_HOSTS):
        yield "ALERT_WEBHOOK_PRIVATE_HOSTS", "must not contain the address of a cloud's metadata."


def _debugging(values: Mapping[str, str]) -> Iterator[_Refusal]:
    for name, effect in _DEBUG.items():
        if values.get(name, "").lower() not in _OFF:
            yield name, f"must not be set when PRODUCTION=1: it {effect}."
