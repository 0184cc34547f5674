"""Store sources, the sites and servers that send events, and their keys."""

import hmac
import json
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from typing import Any, Literal

from sqlalchemy import Connection, delete, insert, or_, select, update

from worker.event.received import Trust
from worker.ledger.rows import iterate_pages
from worker.ledger.schema import debug_input, integration, pipeline_key, source
from worker.ledger.vault import Vault

_DefaultConsent = Literal["drop", "allow"]
WEBHOOK_SYSTEMS = ("shopify", "woocommerce", "custom")
_SECRET, _WEBHOOK_SECRET = b"server secret", b"webhook secret"
# Limit of waiting events per source, for signed and for public ones each, unless the source's options set it.
_BACKLOG_EVENTS = 1_000_000
# Limit of visitors that a source's public calls may create per day, unless its options set it. A visitor is kept
# for more than a year, so that this bounds how far strangers can fill the ledger.
PUBLIC_VISITORS_PER_DAY = 200_000
# The limits of the alerts about a source, unless its options set them.
ALERT_THRESHOLDS: dict[str, float] = {
    "failure_percent": 20,
    "success_percent": 0,
    "filtered_percent": 95,
    "silent_hours": 24,
    "accuracy_percent": 90,
}


@dataclass(frozen=True, slots=True)
class Source:
    """Hold one source. ``options`` may hold the fields of `_SourceOptions` in `worker/api/sources.py`."""

    id: str
    name: str
    domains: tuple[str, ...]
    created_at: float
    updated_at: float
    options: dict[str, Any] = field(default_factory=dict)
    # Inputs are kept for the live debugger until then.
    debug_until: float = 0.0
    # The systems whose webhooks have a secret.
    webhook_systems: tuple[str, ...] = ()

    @property
    def page_origins(self) -> tuple[str, ...]:
        """Return the domains whose pages may send events, and ``null`` if pages in sandboxed frames may, too."""
        return (*self.domains, "null") if self.options.get("allow_null_origin") else self.domains

    def default_consent(self, channel: str) -> _DefaultConsent:
        """Return what a missing consent means. By default browsers drop and servers allow."""
        default = "drop" if channel == "browser" else "allow"
        setting = self.options.get("default_consent", {}).get(channel, default)
        return "allow" if setting == "allow" else "drop"

    @property
    def consent_groups(self) -> dict[str, str]:
        """Return the category of each group of the shop's consent tool, as far as the source names them."""
        groups = self.options.get("consent_groups", {})
        return {group: category for category in sorted(groups, reverse=True) for group in groups[category]}

    def backlog_limit(self, trust: Trust) -> int:
        """Return how many events of one trust may wait. Each trust has its own limit."""
        public = self.options.get("public_backlog_limit") if trust is Trust.PUBLIC else None
        return int(public or self.options.get("backlog_limit") or _BACKLOG_EVENTS)

    @property
    def alert_thresholds(self) -> dict[str, float]:
        """Return the limits of the alerts about this source."""
        return ALERT_THRESHOLDS | (self.options.get("alert_thresholds") or {})

    @property
    def public_visitors_per_day(self) -> int:
        return int(self.options.get("public_visitors_per_day") or PUBLIC_VISITORS_PER_DAY)


@dataclass(frozen=True, slots=True)
class Signer:
    """Hold a source with what proves that a call is its own.

    ``webhook_secrets`` are by system. ``keys`` has the time at which each pipeline key expires, or None; only
    `load_signers` fills it.
    """

    source: Source
    secret: str
    webhook_secrets: dict[str, str]
    keys: dict[str, float | None] = field(default_factory=dict)


WRITE_KEY_PREFIX = "sk_"


def write_key(source_id: str, secret: str) -> str:
    """Return a source's write key for libraries that cannot sign.

    It is derived from the server secret, so it is as secret, and ends with it.
    """
    code = hmac.new(secret.encode(), b"write key." + source_id.encode(), sha256).hexdigest()
    return f"{WRITE_KEY_PREFIX}{source_id}_{code}"


def insert_source(connection: Connection, vault: Vault, new: Source, key: str, server_secret: str) -> None:
    """Insert a source with its first pipeline key.

    Raises:
        sqlalchemy.exc.IntegrityError: the id or the key is taken.
    """
    values = _values(new) | {"server_secret": vault.seal(server_secret.encode(), _SECRET)}
    connection.execute(insert(source).values(values))
    add_key(connection, new.id, key, new.created_at)


def load_source(connection: Connection, source_id: str, *, locked: bool = False) -> Source | None:
    """Return a source or None. ``locked`` locks the row until the transaction ends."""
    query = select(source).where(source.c.id == source_id)
    row = connection.execute(query.with_for_update() if locked else query).one_or_none()
    return _source(row) if row else None


def sources_after(connection: Connection, limit: int, after_id: str = "") -> list[Source]:
    """Return sources in the order of their ids."""
    query = select(source).where(source.c.id > after_id).order_by(source.c.id).limit(limit)
    return [_source(row) for row in connection.execute(query)]


def iterate_sources(connection: Connection) -> Iterator[Source]:
    """Yield all sources in the order of their ids, with one statement per thousand."""
    return iterate_pages(partial(sources_after, connection), lambda row: row.id, "")


def load_signers(connection: Connection, vault: Vault) -> list[Signer]:
    """Return all sources with their secrets and pipeline keys."""
    keys: dict[str, dict[str, float | None]] = defaultdict(dict)
    for row in connection.execute(select(pipeline_key)):
        keys[row.source_id][row.key] = row.expires_at
    return [
        replace(signer, keys=keys[signer.source.id])
        for source in iterate_sources(connection)
        if (signer := load_signer(connection, vault, source.id)) is not None
    ]


def load_signer(connection: Connection, vault: Vault, source_id: str) -> Signer | None:
    """Return a source with its secrets, or None."""
    row = connection.execute(select(source).where(source.c.id == source_id)).one_or_none()
    if row is None:
        return None
    sealed = _sealed_secrets(row.webhook_secret)
    of_webhooks = {system: vault.open(secret, _WEBHOOK_SECRET).decode() for system, secret in sealed.items()}
    return Signer(_source(row), vault.open(row.server_secret, _SECRET).decode(), of_webhooks)


def update_source(connection: Connection, changed: Source, now: float) -> Source:
    """Store a source's new values."""
    changed = replace(changed, updated_at=now)
    connection.execute(update(source).where(source.c.id == changed.id).values(_values(changed)))
    return changed


def remove_source(connection: Connection, source_id: str) -> bool:
    """Delete a source that has no integrations. Returns whether it was deleted."""
    query = select(integration.c.id).where(integration.c.source_id == source_id).limit(1)
    if connection.execute(query).first():
        return False
    connection.execute(delete(pipeline_key).where(pipeline_key.c.source_id == source_id))
    connection.execute(delete(debug_input).where(debug_input.c.source_id == source_id))
    connection.execute(delete(source).where(source.c.id == source_id))
    return True


def set_server_secret(connection: Connection, vault: Vault, source_id: str, secret: str, now: float) -> None:
    """Replace the secret that a source's server signs with."""
    values = {"server_secret": vault.seal(secret.encode(), _SECRET), "updated_at": now}
    connection.execute(update(source).where(source.c.id == source_id).values(values))


def change_webhook_secrets(
    connection: Connection, vault: Vault, source_id: str, secrets: Mapping[str, str | None]
) -> tuple[str, ...]:
    """Replace the secrets of some systems, or remove those without a value; return the systems that have one."""
    stored_value = connection.scalar(select(source.c.webhook_secret).where(source.c.id == source_id))
    sealed_secrets = _sealed_secrets(stored_value)
    for system, secret in secrets.items():
        if secret:
            sealed_secrets[system] = vault.seal(secret.encode(), _WEBHOOK_SECRET)
        else:
            sealed_secrets.pop(system, None)
    coded = {system: b64encode(secret).decode() for system, secret in sorted(sealed_secrets.items())}
    values = {"webhook_secret": json.dumps(coded).encode() if coded else None}
    connection.execute(update(source).where(source.c.id == source_id).values(values))
    return tuple(coded)


def _sealed_secrets(stored_value: bytes | None) -> dict[str, bytes]:
    """Return the sealed secrets by system. Earlier versions kept one for all systems; no sealed text begins so."""
    if stored_value is None:
        return {}
    if not stored_value.startswith(b"{"):
        return dict.fromkeys(WEBHOOK_SYSTEMS, stored_value)
    return {system: b64decode(secret) for system, secret in json.loads(stored_value).items()}


def add_key(connection: Connection, source_id: str, key: str, now: float) -> None:
    """Insert a pipeline key."""
    connection.execute(insert(pipeline_key).values(key=key, source_id=source_id, created_at=now))


def expire_keys(connection: Connection, source_id: str, except_key: str, at: float) -> None:
    """Make every other key of the source expire at a time, unless it expires earlier."""
    statement = update(pipeline_key).where(
        pipeline_key.c.source_id == source_id,
        pipeline_key.c.key != except_key,
        or_(pipeline_key.c.expires_at.is_(None), pipeline_key.c.expires_at > at),
    )
    connection.execute(statement.values(expires_at=at))


def valid_pipeline_keys(connection: Connection, source_id: str, now: float) -> list[str]:
    """Return the valid pipeline keys, the newest first."""
    query = (
        select(pipeline_key.c.key)
        .where(pipeline_key.c.source_id == source_id, _is_good(now))
        .order_by(pipeline_key.c.created_at.desc())
    )
    return list(connection.scalars(query))


def source_of_key(connection: Connection, key: str, now: float) -> Source | None:
    """Return the source of a valid pipeline key."""
    query = (
        select(source)
        .join(pipeline_key, pipeline_key.c.source_id == source.c.id)
        .where(pipeline_key.c.key == key, _is_good(now))
    )
    row = connection.execute(query).one_or_none()
    return _source(row) if row else None


def _is_good(now: float) -> Any:
    return or_(pipeline_key.c.expires_at.is_(None), pipeline_key.c.expires_at > now)


def _values(new_source: Source) -> dict[str, Any]:
    return {
        "id": new_source.id,
        "name": new_source.name,
        "domains": list(new_source.domains),
        "options": new_source.options,
        "created_at": new_source.created_at,
        "updated_at": new_source.updated_at,
    }


def _source(row: Any) -> Source:
    return Source(
        id=row.id,
        name=row.name,
        domains=tuple(row.domains),
        created_at=row.created_at,
        updated_at=row.updated_at,
        options=dict(row.options),
        debug_until=row.debug_until,
        webhook_systems=tuple(_sealed_secrets(row.webhook_secret)),
    )
