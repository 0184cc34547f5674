"""Store integrations: which source delivers to which ad account, and how."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from worker.ledger.delivery import ownership
from worker.ledger.rows import iterate_pages
from worker.ledger.schema import account_reading, ad_account, integration
from worker.ledger.setup import ad_accounts
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.ledger.vault import Vault


@dataclass(frozen=True, slots=True)
class Integration:
    """Hold one integration. ``config`` has everything but the access token."""

    id: str
    source_id: str
    vendor: str
    name: str
    enabled: bool
    ad_account_id: str
    config: dict[str, Any]
    consent_categories: tuple[str, ...]
    created_at: float
    updated_at: float
    # Set by the ledger.
    number: int = 0
    ad_account: int = 0
    credential_id: int = 0


def insert_integration(
    connection: Connection, vault: Vault, new: Integration, token: str, rate: AccountRateLimit
) -> Integration:
    """Insert an integration with its ad account and credential. It takes over what lost its integration there.

    Raises:
        sqlalchemy.exc.IntegrityError: the source already delivers to this ad account.
    """
    placed = _with_account(connection, vault, new, token, rate, new.created_at)
    manual_pause = ad_accounts.manually_paused_credential(connection, placed.ad_account)
    _resume_credential(connection, placed.credential_id, manual_pause, new.created_at)
    result = connection.execute(insert(integration).values(_values(placed)).returning(integration.c.id))
    number = int(result.scalar_one())
    ownership.adopt_orphans(connection, number, placed.ad_account, new.created_at)
    return replace(placed, number=number)


def load_integration(connection: Connection, public_id: str, *, locked: bool = False) -> Integration | None:
    """Return an integration or None. ``locked`` locks the row until the transaction ends."""
    query = _integrations().where(integration.c.public_id == public_id)
    if locked:
        query = query.with_for_update(of=integration)
    row = connection.execute(query).one_or_none()
    return _integration(row) if row else None


def integrations_after(connection: Connection, limit: int, after_number: int = 0) -> list[Integration]:
    """Return integrations in the order of creation."""
    query = _integrations().where(integration.c.id > after_number).order_by(integration.c.id).limit(limit)
    return [_integration(row) for row in connection.execute(query)]


def iterate_integrations(connection: Connection) -> Iterator[Integration]:
    """Yield all integrations in the order of creation, with one statement per thousand."""
    return iterate_pages(partial(integrations_after, connection), lambda row: row.number, 0)


def public_ids(connection: Connection) -> dict[int, str]:
    """Return every integration's public id by its number, with one statement."""
    query = select(integration.c.id, integration.c.public_id)
    return {row.id: row.public_id for row in connection.execute(query)}


def account_names(connection: Connection) -> dict[str, str]:
    """Return the name of each ad account by its id: that at Pinterest if it is known, else those of its integrations.

    An ad account without either has none.
    """
    query = (
        select(ad_account.c.ad_account_id, account_reading.c.name.label("read"), integration.c.name)
        .join_from(ad_account, integration, integration.c.ad_account == ad_account.c.id, isouter=True)
        .outerjoin(account_reading, account_reading.c.ad_account == ad_account.c.id)
        .order_by(integration.c.id)
    )
    names: dict[str, dict[str, None]] = {}
    for row in connection.execute(query):
        if name := (row.read or row.name or "").strip():
            names.setdefault(row.ad_account_id, {})[name] = None
    return {account_id: ", ".join(own_names) for account_id, own_names in names.items()}


def integrations_of_source(connection: Connection, source_id: str) -> list[Integration]:
    """Return a source's integrations."""
    query = _integrations().where(integration.c.source_id == source_id).order_by(integration.c.id)
    return [_integration(row) for row in connection.execute(query)]


def update_integration(
    connection: Connection,
    vault: Vault,
    changed: Integration,
    *,
    rate: AccountRateLimit,
    new_token: str | None,
    now: float,
) -> Integration:
    """Store an integration's new values. A new token takes over the batches that wait for the old one.

    What a disabled integration has in waiting batches becomes pending.
    """
    token = new_token or ad_accounts.access_token(connection, vault, changed.credential_id)
    placed = _with_account(connection, vault, replace(changed, updated_at=now), token, rate, now)
    stays = placed.ad_account == changed.ad_account
    if new_token is not None or not stays:
        manual_pause = (
            ad_accounts.find_credential(connection, changed.credential_id)
            if stays
            else ad_accounts.manually_paused_credential(connection, placed.ad_account)
        )
        _resume_credential(connection, placed.credential_id, manual_pause, now)
    connection.execute(update(integration).where(integration.c.id == changed.number).values(_values(placed)))
    old, new = changed.credential_id, placed.credential_id
    has_moved = stays and old != new and ad_accounts.move_batches(connection, old, new, now)
    # Others send with the old token, or nothing may be sent any more.
    if not has_moved and (old != new or not placed.enabled):
        ownership.take_back(connection, placed.number, now)
    return placed


def remove_integration(connection: Connection, number: int) -> None:
    """Delete an integration. The caller has already dealt with its deliveries."""
    connection.execute(delete(integration).where(integration.c.id == number))


def lock_targets(connection: Connection, targets: Mapping[int, int]) -> bool:
    """Return whether all integrations, by number, still deliver to these ad accounts, and lock them until the commit.

    Otherwise deliveries of a deleted integration would stay pending for ever, and those of a moved one would be sent
    to another ad account.
    """
    query = select(integration.c.id, integration.c.ad_account).where(integration.c.id.in_(targets))
    rows = connection.execute(query.order_by(integration.c.id).with_for_update(read=True))
    return {row.id: row.ad_account for row in rows} == dict(targets)


def rate_limits(connection: Connection, ad_account_ids: Iterable[str]) -> dict[str, AccountRateLimit]:
    """Return the rate limits of the known ones among these ad accounts."""
    query = select(ad_account).where(ad_account.c.ad_account_id.in_(list(ad_account_ids)))
    return {
        row.ad_account_id: AccountRateLimit(row.rate_limit_rps, row.rate_limit_burst)
        for row in connection.execute(query)
    }


def other_integration(connection: Connection, this: Integration) -> Integration | None:
    """Return another enabled integration of the same ad account."""
    query = _integrations().where(
        integration.c.ad_account == this.ad_account, integration.c.id != this.number, integration.c.enabled
    )
    row = connection.execute(query.order_by(integration.c.id).limit(1)).first()
    return _integration(row) if row else None


def _with_account(
    connection: Connection, vault: Vault, new: Integration, token: str, rate: AccountRateLimit, now: float
) -> Integration:
    account = ad_accounts.get_or_create_ad_account(connection, new.ad_account_id, rate)
    return replace(
        new,
        ad_account=account,
        credential_id=ad_accounts.get_or_create_credential(connection, vault, account, token, now),
    )


def _resume_credential(
    connection: Connection, credential_id: int, manual_pause: ad_accounts.Credential | None, now: float
) -> None:
    """Resume a credential whose token was given again. This does not end a manual pause."""
    if manual_pause is not None and manual_pause.paused_class == ad_accounts.MANUAL:
        reason, actor = manual_pause.paused_reason or "", manual_pause.paused_by or ""
        ad_accounts.pause_credential(
            connection, credential_id, ad_accounts.MANUAL, reason, actor, manual_pause.paused_at or now
        )
    else:
        # Other integrations may use the same token and may be paused manually.
        is_manual = not ad_accounts.is_credential_used(connection, credential_id)
        ad_accounts.resume_credential(connection, credential_id, is_manual=is_manual, now=now)


def _values(new: Integration) -> dict[str, Any]:
    return {
        "public_id": new.id,
        "source_id": new.source_id,
        "vendor": new.vendor,
        "name": new.name,
        "enabled": new.enabled,
        "ad_account": new.ad_account,
        "credential_id": new.credential_id,
        "config": new.config,
        "consent_categories": list(new.consent_categories),
        "created_at": new.created_at,
        "updated_at": new.updated_at,
    }


def _integrations() -> Any:
    return select(integration, ad_account.c.ad_account_id).join(
        ad_account, ad_account.c.id == integration.c.ad_account
    )


def _integration(row: Any) -> Integration:
    return Integration(
        id=row.public_id,
        source_id=row.source_id,
        vendor=row.vendor,
        name=row.name,
        enabled=row.enabled,
        ad_account_id=row.ad_account_id,
        config=dict(row.config),
        consent_categories=tuple(row.consent_categories),
        created_at=row.created_at,
        updated_at=row.updated_at,
        number=row.id,
        ad_account=row.ad_account,
        credential_id=row.credential_id,
    )
