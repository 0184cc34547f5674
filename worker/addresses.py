"""Check the addresses of the broker and the database."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit


class SettingsError(Exception):
    """A setting is wrong; the message names it and says why."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"{name} {reason}")


def split_address(name: str, url: str) -> SplitResult:
    """Parse an address; the error message omits it, because it may hold a password."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - it is read for its error
    except ValueError:
        why = "is not a valid address: the port must be a number, special characters in a password percent-encoded."
        raise SettingsError(name, why) from None
    return parts


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Hold kombu's address of the broker, its options of TLS, None without, and of the transport."""

    url: str
    tls: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """Name the files of TLS: the authority to trust, the client's certificate and its key; "" for none."""

    ca: str
    cert: str
    key: str

    def check(self) -> None:
        """Read the files.

        Raises:
            SettingsError: names the setting whose file cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if bool(self.cert) != bool(self.key):
            raise SettingsError("BROKER_CERT", "and BROKER_KEY must be set together.")
        try:
            if self.ca:
                context.load_verify_locations(self.ca)
        except OSError as error:
            raise SettingsError("BROKER_CA", f"must be a file of PEM certificates: {error}.") from None
        try:
            if self.cert:
                context.load_cert_chain(self.cert, self.key, password="")
        except OSError as error:
            why = (
                f"and BROKER_KEY must be files of a PEM certificate and its key without a password: {error}."
            )
            raise SettingsError("BROKER_CERT", why) from None

    def options(self, prefix: str = "") -> dict[str, Any]:
        """Return the options that check a server's certificate, as py-amqp or, with a prefix, redis-py name them."""
        names = {"ca_certs": self.ca, "certfile": self.cert, "keyfile": self.key}
        files = {f"{prefix}{name}": path for name, path in names.items() if path}
        return {f"{prefix}cert_reqs": ssl.CERT_REQUIRED} | files


# Each with the scheme that kombu knows, and whether it is encrypted.
_BROKER_SCHEMES = {
    "amqp": ("amqp", False),
    "amqps": ("amqps", True),
    "redis": ("redis", False),
    "rediss": ("rediss", True),
    "redis+socket": ("redis+socket", False),
    "valkey": ("redis", False),
    "sentinel": ("sentinel", False),
    "sentinels": ("sentinel", True),
}


def broker_address(url: str, files: TLSFiles) -> BrokerAddress:
    """Check the address of the broker; several nodes of RabbitMQ are separated by semicolons.

    Raises:
        SettingsError: names the wrong setting.
    """
    brokers = [_one_broker(address, files) for address in url.split(";")]
    if len({broker.url.partition("://")[0] for broker in brokers}) > 1:
        raise SettingsError("BROKER_URL", "must have addresses of one kind.")
    return BrokerAddress(";".join(broker.url for broker in brokers), brokers[0].tls, brokers[0].options)


def _one_broker(url: str, files: TLSFiles) -> BrokerAddress:
    scheme, _, rest = url.partition("://")
    if scheme not in _BROKER_SCHEMES:
        raise SettingsError(
            "BROKER_URL", f"must start with amqp://, redis://, rediss:// or sentinel://, not {scheme!r}."
        )
    kind, is_encrypted = _BROKER_SCHEMES[scheme]
    has_files = files != TLSFiles("", "", "")
    if has_files and not is_encrypted:
        raise SettingsError("BROKER_CA", "needs a BROKER_URL with amqps://, rediss:// or sentinels://.")
    if "ssl_" in _query(url) and (has_files or scheme != "rediss"):
        raise SettingsError(
            "BROKER_URL", "must not have options of TLS: set BROKER_CA, BROKER_CERT, BROKER_KEY."
        )
    files.check()
    if kind == "sentinel":
        return _sentinel(rest, files if is_encrypted else None)
    split_address("BROKER_URL", url)
    tls = files.options("" if kind == "amqps" else "ssl_") if is_encrypted else None
    return BrokerAddress(f"{kind}://{rest}", tls)


def _query(url: str) -> str:
    return url.partition("?")[2]


def _sentinel(rest: str, files: TLSFiles | None) -> BrokerAddress:
    """Read `user:password@host1:26379,host2:26379/0?master=NAME&sentinel_password=…`."""
    before, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    authority, _, database = before.partition("/")
    user, at, hosts = authority.rpartition("@")
    master, password = options.pop("master", ""), options.pop("sentinel_password", "")
    if not master or options:
        why = "must name the primary that the sentinels watch, ?master=NAME, and may have &sentinel_password=… too."
        raise SettingsError("BROKER_URL", why)
    urls = [f"sentinel://{user}{at}{host}/{database or 0}" for host in hosts.split(",")]
    if not all(split_address("BROKER_URL", url).hostname for url in urls):
        raise SettingsError("BROKER_URL", "must name the sentinels, like sentinel://host1:26379,host2:26379.")
    tls = files.options("ssl_") if files else None
    # Without limits the client would wait for ever for a sentinel that does not answer.
    to_sentinels: dict[str, Any] = {"socket_timeout": 4, "socket_connect_timeout": 4}
    to_sentinels |= {"password": password} if password else {}
    to_sentinels |= {"ssl": True, **tls} if tls else {}
    return BrokerAddress(";".join(urls), tls, {"master_name": master, "sentinel_kwargs": to_sentinels})


def database_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        return f"postgresql+psycopg://{_with_hosts_as_options(rest)}"
    if scheme != "sqlite":
        raise SettingsError("DATABASE_URL", f"must start with postgresql:// or sqlite:///, not {scheme!r}.")
    path = rest.partition("?")[0].lstrip("/")
    if path in ("", ":memory:"):
        raise SettingsError("DATABASE_URL", "must name a file (sqlite:///…): all processes share it.")
    split_address("DATABASE_URL", url)
    return _from_the_root(url)


def _with_hosts_as_options(rest: str) -> str:
    """Move several hosts of a PostgreSQL address, `host1:5432,host2`, to its options: `?host=host1,host2&port=5432,`.

    One port in the options is for all hosts, as libpq reads it.
    """
    authority, mark, path = rest.partition("/")
    if not mark:
        authority, mark, path = rest.partition("?")
        mark, path = "/", f"?{path}"
    path, _, query = path.partition("?")
    user, at, hosts = authority.rpartition("@")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if "," not in hosts and "," not in options.get("host", ""):
        split_address("DATABASE_URL", f"postgresql://{rest}")
        return rest
    if "," in hosts and "host" in options:
        raise SettingsError("DATABASE_URL", "must name its hosts before the database or as host=…, not both.")
    names, ports = zip(
        *(_host_and_port(host) for host in (options.get("host") or hosts).split(",")), strict=True
    )
    port_list = options.get("port", "").split(",")
    if port_list != [""]:
        ports = tuple(port_list if len(port_list) == len(names) else port_list * len(names))
    if len(ports) != len(names) or not all(port.isdecimal() or not port for port in ports):
        raise SettingsError("DATABASE_URL", "must have one port, or one for each of its hosts.")
    options |= {"host": ",".join(names)} | ({"port": ",".join(ports)} if any(ports) else {})
    return f"{user}{at}/{path}?{urlencode(options, safe=',/:')}"


def _host_and_port(text: str) -> tuple[str, str]:
    host, colon, port = text.rpartition(":")
    # An address of IPv6 with a port is in brackets.
    if not colon or text.endswith("]") or (":" in host and not host.endswith("]")):
        host, port = text, ""
    host = unquote(host).strip("[]")
    if not host or not (port.isdecimal() or not port):
        why = "is not a valid address: the port must be a number, special characters in a password percent-encoded."
        raise SettingsError("DATABASE_URL", why)
    return host, port


def _from_the_root(url: str) -> str:
    """Make a SQLite file's path absolute: processes may run in other folders."""
    path, mark, options = url.removeprefix("sqlite:///").partition("?")
    return f"sqlite:///{Path(path).resolve()}{mark}{options}"
