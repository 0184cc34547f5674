"""Every setting, read once from the environment."""

import json
import math
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import blake2s
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from worker import production as production_rules
from worker import retention
from worker.addresses import (
    BrokerAddress,
    TLSFiles,
    broker_address,
    database_url,
    split_address,
)
from worker.addresses import (
    SettingsError as SettingsError,  # noqa: PLC0414 - every reader of settings catches it
)

PINTEREST_API_URL = "https://api.pinterest.com"
# The sandbox accepts such access tokens. No token of Pinterest starts like this.
DEMO_TOKEN_PREFIX = "sandbox_"  # noqa: S105 - no token

# sun_path holds 108 bytes with the terminating zero; Valkey and redis-py refuse longer paths.
_LONGEST_SOCKET_PATH_BYTES = 107

# The first has the name of a single queue, so that a change of their number needs no change of the broker.
_EVENT_QUEUES = ("events", *(f"events-{number}" for number in range(2, 33)))

# What the processes keep in the state folder.
_STATE_FILES = ("secrets.json", "signal.db*", "beat*", "flower*", "valkey", "valkey/*", "valkey/*/*")


@dataclass(frozen=True, slots=True)
class IntakeRates:
    """Limits of each collector process per second; 0 for an address means no limit.

    ``public`` is per pipeline key, ``signed`` per source, ``address`` per client address of public calls.
    """

    public_requests: float
    public_events: float
    signed_requests: float
    signed_events: float
    address_requests: float
    address_events: float


@dataclass(frozen=True, slots=True)
class Settings:
    """The checked settings."""

    var: Path
    broker: BrokerAddress
    embedded_broker: bool
    # Names of the queues of events: those in use, those that only a larger number has, those that ingest takes.
    event_queues: tuple[str, ...]
    unused_event_queues: tuple[str, ...]
    ingest_queues: tuple[str, ...]
    database_url: str
    transaction_pooler: bool
    pinterest_api_url: str
    # Of the operator's own Pinterest app, for signing in; both are empty without one.
    pinterest_app_id: str
    pinterest_app_secret: str
    encryption_keys: tuple[str, ...]
    admin_token: str
    flower_basic_auth: str
    flower_cookie_secret: str
    metrics_token: str
    alert_webhook_url: str
    alert_webhook_secret: str
    alert_webhook_private_hosts: tuple[str, ...]
    alert_chat_url: str
    alert_mail_to: tuple[str, ...]
    alert_mail_from: str
    smtp_url: str
    alert_data_quality_percent: float
    production: bool
    rate_limit_rps: float
    rate_limit_burst: int
    retry_max_attempts: int
    retry_backoff_base_seconds: float
    retry_window_seconds: float
    auto_retry: bool
    request_deadline_seconds: float
    delivery_rate_limit: str
    batch_interval_seconds: float
    retention_days: float
    spool_max_bytes: int
    trusted_proxies: tuple[str, ...]
    local_client_ip: str
    intake_rates: IntakeRates
    collector_url: str
    management_url: str
    flower_url: str

    @property
    def spool_folder(self) -> Path:
        """Return where the collector keeps events while PostgreSQL cannot take them."""
        return self.var / "spool"

    @property
    def broker_url(self) -> str:
        """Return the broker's address as kombu reads it."""
        return self.broker.url

    @property
    def sandbox_url(self) -> str:
        """Return where events go instead of to Pinterest; empty if they go to Pinterest."""
        return "" if self.pinterest_api_url == PINTEREST_API_URL else self.pinterest_api_url


def parse(environ: Mapping[str, str]) -> Settings:
    """Check the environment and fill in the defaults.

    Unless ``PRODUCTION`` is set, missing keys and passwords are generated on first use and kept in
    ``secrets.json`` in the state folder, mode 0600.

    Raises:
        SettingsError: names the first wrong variable.
    """
    read = _Reader(environ)
    production = read.flag("PRODUCTION")
    var = Path(read.text("SIGNAL_VAR", "var")).resolve()
    generated = {} if production else _GeneratedSecrets(var / "secrets.json")
    broker_url = read.text("BROKER_URL", "")
    result = Settings(
        var=var,
        broker=broker_address(
            broker_url or f"redis+socket://{socket_path(var)}?virtual_host=0",
            TLSFiles(*(read.text(f"BROKER_{name}", "") for name in ("CA", "CERT", "KEY"))),
        ),
        embedded_broker=not broker_url,
        event_queues=_EVENT_QUEUES[: _event_queues(read)],
        unused_event_queues=_EVENT_QUEUES[_event_queues(read) :],
        ingest_queues=_ingest_queues(read),
        database_url=database_url(read.text("DATABASE_URL", f"sqlite:///{var / 'signal.db'}")),
        transaction_pooler=_is_transaction_pooler(read.text("DATABASE_POOLER", "")),
        pinterest_api_url=_pinterest_url(read),
        pinterest_app_id=_pinterest_app(read)[0],
        pinterest_app_secret=_pinterest_app(read)[1],
        encryption_keys=_encryption_keys(read.secret("ENCRYPTION_KEY", generated)),
        admin_token=_admin_token(read.secret("ADMIN_TOKEN", generated)),
        flower_basic_auth=_basic_auth(read.secret("FLOWER_BASIC_AUTH", generated)),
        flower_cookie_secret=read.secret("FLOWER_COOKIE_SECRET", generated),
        metrics_token=_metrics_token(read.text("METRICS_TOKEN", "")),
        alert_webhook_url=_webhook_url(read, "ALERT_WEBHOOK_URL"),
        alert_webhook_secret=_webhook_secret(read),
        alert_webhook_private_hosts=_private_hosts(read),
        alert_chat_url=_webhook_url(read, "ALERT_SLACK_URL"),
        alert_mail_to=_mail_addresses(read, "ALERT_EMAIL_TO"),
        alert_mail_from=next(iter(_mail_addresses(read, "ALERT_EMAIL_FROM")), ""),
        smtp_url=_smtp_url(read),
        alert_data_quality_percent=read.number("ALERT_DATA_QUALITY_PERCENT", 20, least=0, most=100),
        production=production,
        rate_limit_rps=read.number("RATE_LIMIT_RPS", 100.0, least=0.01, most=100_000),
        rate_limit_burst=int(read.number("RATE_LIMIT_BURST", 200, least=1, most=100_000, kind=int)),
        retry_max_attempts=int(read.number("RETRY_MAX_ATTEMPTS", 5, least=1, most=100, kind=int)),
        retry_backoff_base_seconds=read.number("RETRY_BACKOFF_BASE", 4.0, least=0.01, most=3600),
        auto_retry=read.flag("AUTO_RETRY"),
        retry_window_seconds=read.number("RETRY_WINDOW", 86_400.0, least=1, most=6 * 86_400),
        # Shorter than the supervisor waits for a stop, so that a warm stop loses no answer.
        request_deadline_seconds=read.number("REQUEST_DEADLINE", 25.0, least=0.5, most=25),
        delivery_rate_limit=_rate(read.text("DELIVERY_RATE_LIMIT", "100/s")),
        batch_interval_seconds=read.number("BATCH_INTERVAL", 1.0, least=0.05, most=3600),
        retention_days=read.number("RETENTION_DAYS", retention.DEFAULT_DAYS, least=1, most=3650),
        spool_max_bytes=int(read.number("SPOOL_MAX_MB", 1_024, least=0, most=1_000_000, kind=int)) * 1024**2,
        trusted_proxies=_networks(read.text("TRUSTED_PROXIES", "")),
        local_client_ip=_address(read.text("LOCAL_CLIENT_IP", "")),
        intake_rates=_intake_rates(read),
        collector_url=read.address("COLLECTOR_URL", read.bound("COLLECTOR_BIND", 8080)),
        management_url=read.address("MANAGEMENT_URL", read.bound("MANAGEMENT_BIND", 8084)),
        flower_url=read.address("FLOWER_URL", read.bound("FLOWER_BIND", 5555)),
    )
    for refusal in production_rules.find_refusals(environ) if production else ():
        raise SettingsError(*refusal)
    return result


def log_format(environ: Mapping[str, str]) -> str:
    """Return the log format: json, text, or "" to choose by the output.

    Raises:
        SettingsError: LOG_FORMAT has another value.
    """
    value = environ.get("LOG_FORMAT", "").strip().lower()
    if value not in ("", "json", "text"):
        raise SettingsError("LOG_FORMAT", f"must be json or text, not {value!r}.")
    return value


@cache
def settings() -> Settings:
    """Return this process's settings; the environment is read on the first call.

    From then on the process makes files that only its user can read.
    """
    os.umask(0o077)
    result = parse(os.environ)
    _close_to_others(result)
    return result


def _close_to_others(values: Settings) -> None:
    """Take other users' rights from the state of earlier releases: the folder and its files, the SQLite file."""
    database = Path(values.database_url.removeprefix("sqlite:///").partition("?")[0])
    paths = [path for name in _STATE_FILES for path in values.var.glob(name)]
    paths += database.parent.glob(f"{database.name}*") if values.database_url.startswith("sqlite:///") else []
    # A folder without our files may be anyone's, like /tmp.
    if any(path.parent == values.var for path in paths):
        paths.append(values.var)
    for path in paths:
        _make_private(path)


def _make_private(path: Path) -> None:
    """Take other users' rights from a file or folder of this process's user; a link stays as it is."""
    with suppress(FileNotFoundError):
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        movable = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        if movable and status.st_uid == os.geteuid() and mode & 0o077 and not mode & stat.S_ISVTX:
            path.chmod(mode & 0o700)


def socket_path(var: Path) -> Path:
    """Return the embedded broker's socket path: in ``var``, or in a temporary folder if that is too long."""
    # Derived from the folder, so that every process of one installation finds the same socket.
    label = f"signal-{os.getuid()}-{_fingerprint(str(var))}"
    short = [Path(folder) / label for folder in (tempfile.gettempdir(), "/tmp")]  # noqa: S108 - made with mode 0700
    fitting = (folder / "valkey.sock" for folder in (var, *short) if _fits_a_socket(folder / "valkey.sock"))
    return next(fitting)


def _fits_a_socket(path: Path) -> bool:
    return len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH_BYTES and " " not in str(path)


def _fingerprint(text: str) -> str:
    return blake2s(text.encode(), digest_size=6).hexdigest()


_is_mail_address = re.compile(r"[^@\s<>]+@[^@\s<>]+").fullmatch


class _Reader:
    """Read single variables; an error names the variable."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str, default: str) -> str:
        return self._environ.get(name, "").strip() or default

    def flag(self, name: str) -> bool:
        value = self.text(name, "0")
        if value not in ("0", "1"):
            raise SettingsError(name, f"must be 0 or 1, not {value!r}.")
        return value == "1"

    def number(
        self, name: str, default: float, *, least: float, most: float, kind: Callable[[str], float] = float
    ) -> float:
        value = self.text(name, str(default))
        try:
            number = kind(value)
        except ValueError:
            noun = "a whole number" if kind is int else "a number"
            raise SettingsError(name, f"must be {noun}, not {value!r}.") from None
        if not least <= number <= most:
            raise SettingsError(name, f"must be between {least:g} and {most:g}, not {value}.")
        return number

    def secret(self, name: str, generated: Mapping[str, str]) -> str:
        value = self.text(name, "") or generated.get(name, "")
        if not value:
            why = "must be set when PRODUCTION=1: nothing is generated there."
            if generated:
                why = "is neither set nor in the secrets.json of the state folder."
            raise SettingsError(name, why)
        return value

    def bound(self, name: str, port: int) -> str:
        """Return the local URL of a server that listens at the variable's `host:port`, by default at ``port``."""
        value = self.text(name, f"127.0.0.1:{port}")
        host, _, number = value.rpartition(":")
        if not (host and number.isascii() and number.isdigit() and 0 < int(number) < 65_536):
            raise SettingsError(name, f"must be an address and a port, like 127.0.0.1:{port}, not {value!r}.")
        # A server on all addresses also listens on the loopback address.
        return f"http://{'127.0.0.1' if host in ('0.0.0.0', '[::]') else host}:{number}"

    def address(self, name: str, default: str) -> str:
        """Return an http or https address without a user."""
        url = self.text(name, default).rstrip("/")
        parts = split_address(name, url)
        if parts.username is not None:
            raise SettingsError(name, "must be an address without a user.")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(name, f"must be an http or https address, not {url!r}.")
        return url


class _GeneratedSecrets(Mapping[str, str]):
    """Generate secrets on first use and keep them in a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getitem__(self, name: str) -> str:
        values = self._load()
        if name not in values:
            raise KeyError(name)
        return values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())

    def _load(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return self._generate()
        except (ValueError, TypeError, OSError) as error:
            raise SettingsError(
                "SIGNAL_VAR", f"holds a {self._path.name} that cannot be read: {error}."
            ) from None

    def _generate(self) -> dict[str, str]:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError("SIGNAL_VAR", f"must be a folder that can be written to: {error}.") from None
        values = {
            "ENCRYPTION_KEY": secrets.token_hex(32),
            "ADMIN_TOKEN": f"adm_{secrets.token_urlsafe(24)}",
            "FLOWER_BASIC_AUTH": f"flower:{secrets.token_urlsafe(12)}",
            "FLOWER_COOKIE_SECRET": secrets.token_urlsafe(32),
        }
        descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".secrets-")
        with os.fdopen(descriptor, "w") as file:
            json.dump(values, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        try:
            # link() never replaces a file: if two processes start at once, the first one's keys win.
            os.link(temporary, self._path)
        except FileExistsError:
            return self._load()
        finally:
            Path(temporary).unlink()
        return values


def _is_transaction_pooler(text: str) -> bool:
    if text not in ("", "transaction"):
        raise SettingsError("DATABASE_POOLER", f"must be transaction or unset, not {text!r}.")
    return text == "transaction"


def _event_queues(read: _Reader) -> int:
    return int(read.number("EVENT_QUEUES", 1, least=1, most=len(_EVENT_QUEUES), kind=int))


def _ingest_queues(read: _Reader) -> tuple[str, ...]:
    """Return the names of the event queues to take, all if no number is given."""
    numbers = range(1, _event_queues(read) + 1)
    words = [word.strip() for word in read.text("INGEST_QUEUES", "").split(",") if word.strip()]
    for word in words:
        if not (word.isascii() and word.isdigit() and int(word) in numbers):
            raise SettingsError(
                "INGEST_QUEUES",
                f"must be numbers from 1 to {numbers[-1]} (EVENT_QUEUES), separated by commas, not {word!r}.",
            )
    return tuple(_EVENT_QUEUES[number - 1] for number in sorted({int(word) for word in words} or numbers))


def _address(text: str) -> str:
    try:
        return str(ip_address(text)) if text else ""
    except ValueError:
        raise SettingsError("LOCAL_CLIENT_IP", "must be an IP address.") from None


def _pinterest_url(read: _Reader) -> str:
    url, sandbox_allowed = read.address("PINTEREST_API_URL", PINTEREST_API_URL), read.flag("ALLOW_SANDBOX")
    if url != PINTEREST_API_URL and not sandbox_allowed:
        raise SettingsError(
            "PINTEREST_API_URL", f"may only be {PINTEREST_API_URL}, unless ALLOW_SANDBOX=1 is set as well."
        )
    return url


def _pinterest_app(read: _Reader) -> tuple[str, str]:
    """Return the id and the secret of the Pinterest app, or two empty texts."""
    app = read.text("PINTEREST_APP_ID", ""), read.text("PINTEREST_APP_SECRET", "")
    if all(app) != any(app):
        raise SettingsError("PINTEREST_APP_SECRET", "and PINTEREST_APP_ID must be set together.")
    if not all(part.isascii() and part.isprintable() and ":" not in app[0] for part in app):
        raise SettingsError(
            "PINTEREST_APP_ID", "and PINTEREST_APP_SECRET must be printable ASCII characters."
        )
    return app


def _encryption_keys(text: str) -> tuple[str, ...]:
    """Split the key ring: the first key encrypts, all keys decrypt."""
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    for key in keys or ("",):
        try:
            is_valid = len(bytes.fromhex(key)) == 32
        except ValueError:
            is_valid = False
        if not is_valid:
            raise SettingsError("ENCRYPTION_KEY", "must be 64 hex digits (openssl rand -hex 32).")
    return keys


def _admin_token(token: str) -> str:
    if len(token) < 16 or not token.isascii() or any(c.isspace() for c in token):
        raise SettingsError("ADMIN_TOKEN", "must be at least 16 ASCII characters without spaces.")
    return token


def _metrics_token(token: str) -> str:
    if token and (len(token) < 16 or not token.isascii() or any(c.isspace() for c in token)):
        raise SettingsError("METRICS_TOKEN", "must be at least 16 ASCII characters without spaces, or unset.")
    return token


def _private_hosts(read: _Reader) -> tuple[str, ...]:
    """Return the webhook hosts that may have a private address."""
    text = read.text("ALERT_WEBHOOK_PRIVATE_HOSTS", "")
    return tuple(host.strip().lower() for host in text.split(",") if host.strip())


def _webhook_url(read: _Reader, name: str) -> str:
    if not read.text(name, ""):
        return ""
    url = read.address(name, "")
    parts = urlsplit(url)
    if parts.scheme != "https" and (parts.hostname or "") not in _private_hosts(read):
        raise SettingsError(
            name, "must be an https address, unless ALERT_WEBHOOK_PRIVATE_HOSTS names its host."
        )
    return url


def _mail_addresses(read: _Reader, name: str) -> tuple[str, ...]:
    addresses = tuple(part.strip() for part in read.text(name, "").split(",") if part.strip())
    for address in addresses:
        if not _is_mail_address(address):
            raise SettingsError(name, f"must be e-mail addresses, separated by commas, not {address!r}.")
    return addresses


def _smtp_url(read: _Reader) -> str:
    url = read.text("SMTP_URL", "")
    if url:
        parts = split_address("SMTP_URL", url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise SettingsError("SMTP_URL", "must be like smtps://user:password@mail.example.com.")
    if read.text("ALERT_EMAIL_TO", "") and not (url and read.text("ALERT_EMAIL_FROM", "")):
        raise SettingsError("ALERT_EMAIL_TO", "needs SMTP_URL and ALERT_EMAIL_FROM.")
    return url


def _webhook_secret(read: _Reader) -> str:
    secret = read.text("ALERT_WEBHOOK_SECRET", "")
    if read.text("ALERT_WEBHOOK_URL", "") and len(secret) < 16:
        why = "must be at least 16 characters where ALERT_WEBHOOK_URL is set: it signs what is sent there."
        raise SettingsError("ALERT_WEBHOOK_SECRET", why)
    return secret


def _basic_auth(text: str) -> str:
    for pair in text.split(","):
        user, colon, password = pair.partition(":")
        if not (user and colon and password):
            raise SettingsError("FLOWER_BASIC_AUTH", "must be user:password, several by commas.")
    return text


def _intake_rates(read: _Reader) -> IntakeRates:
    def rate(name: str, default: int, least: float = 1) -> float:
        return read.number(name, default, least=least, most=1_000_000)

    return IntakeRates(
        public_requests=rate("PUBLIC_REQUESTS_PER_SECOND", 1_000),
        public_events=rate("PUBLIC_EVENTS_PER_SECOND", 10_000),
        signed_requests=rate("SIGNED_REQUESTS_PER_SECOND", 1_000),
        signed_events=rate("SIGNED_EVENTS_PER_SECOND", 20_000),
        address_requests=rate("ADDRESS_REQUESTS_PER_SECOND", 200, least=0),
        address_events=rate("ADDRESS_EVENTS_PER_SECOND", 2_000, least=0),
    )


def _rate(text: str) -> str:
    number, _, unit = text.partition("/")
    try:
        is_valid = 0 < float(number) < math.inf and unit in ("s", "m", "h")
    except ValueError:
        is_valid = False
    if not is_valid:
        raise SettingsError("DELIVERY_RATE_LIMIT", f"must be like 100/s, 6000/m or 9/h, not {text!r}.")
    return text


def _networks(text: str) -> tuple[str, ...]:
    networks = tuple(part.strip() for part in text.split(",") if part.strip())
    for network in networks:
        try:
            ip_network(network)
        except ValueError:
            raise SettingsError(
                "TRUSTED_PROXIES", f"must list addresses or networks, not {network!r}."
            ) from None
    return networks
