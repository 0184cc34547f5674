"""List, create, change, delete and test integrations.

NotFoundError is raised for an object that does not exist.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, TypedDict

from sqlalchemy import Connection

from worker.event.text import fold_key
from worker.formats import count_text
from worker.ledger.delivery import failures, ownership
from worker.ledger.delivery.ownership import UnsentDeliveries
from worker.ledger.setup import integrations as store
from worker.ledger.setup import sources
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.ledger.setup.integrations import Integration
from worker.operations.caller import MASK, Caller, Change, changed_fields
from worker.operations.errors import ConflictError, DuplicateError, InvalidError, NotFoundError
from worker.operations.setup.sources import is_source_id
from worker.pinterest.integration_config import ConfigError, load_config

_is_integration_id = re.compile("int_[a-z0-9]{1,64}").fullmatch
# Much less than a second of the write lock.
_DISCARDED_AT_ONCE = 5_000

# Kept elsewhere in the ledger: the token with the credential, the rate with the ad account.
_KEPT_ELSEWHERE = ("access_token", "rate_limit_rps", "rate_limit_burst")
_DEFAULTS = {"field_mapping": "signal", "test_mode": False}


class Unsent(StrEnum):
    """Say what happens to the events that an integration has not delivered yet, when it goes or moves."""

    # They stay, and so does the integration.
    REFUSE = "refuse"
    DISCARD = "discard"
    # Another enabled integration of the same ad account sends them.
    HAND_OVER = "hand_over"


class IntegrationRecord(TypedDict):
    """Describe an integration; ``config`` has its rate and defaults, and its access token masked."""

    number: int
    id: str
    source_id: str
    vendor: str
    name: str
    enabled: bool
    config: dict[str, Any]
    consent_categories: list[str]
    created_at: float
    updated_at: float


def list_integrations(caller: Caller, limit: int, after_number: int = 0) -> list[IntegrationRecord]:
    """Return integrations in the order of their creation."""
    with caller.ledger.read() as connection:
        rows = store.integrations_after(connection, limit, after_number)
        rates = store.rate_limits(connection, {integration.ad_account_id for integration in rows})
    return [_record(integration, rates[integration.ad_account_id]) for integration in rows]


def get_integration(caller: Caller, integration_id: str) -> IntegrationRecord:
    """Return one integration."""
    with caller.ledger.read() as connection:
        integration = find_integration(connection, integration_id)
        return _record(integration, _rate_of(connection, integration))


def create_integration(
    caller: Caller,
    usual_rate: AccountRateLimit,
    *,
    source_id: str,
    vendor: str,
    name: str,
    config: Mapping[str, Any],
    enabled: bool = True,
    consent_categories: Sequence[str] = ("advertising",),
) -> IntegrationRecord:
    """Create an integration; an ad account without a rate of its own gets the usual one.

    Raises:
        InvalidError: the configuration is invalid, or there is no such source.
        DuplicateError: the source already delivers to this ad account.
    """
    checked = _checked_config(config)
    if checked["access_token"] == MASK:
        raise InvalidError("config.access_token", "must be the token itself, not its mask")
    with caller.changing() as change:
        _lock_source(change.connection, source_id)
        _refuse_second(change.connection, source_id, checked["ad_account_id"])
        new = Integration(
            id=f"int_{secrets.token_hex(8)}",
            source_id=source_id,
            vendor=vendor,
            name=name,
            enabled=enabled,
            ad_account_id=checked["ad_account_id"],
            config=_stored_config(checked),
            consent_categories=tuple(consent_categories),
            created_at=change.now,
            updated_at=change.now,
        )
        rate = _wanted_rate(change.connection, new.ad_account_id, config, usual_rate)
        stored = store.insert_integration(change.connection, change.vault, new, checked["access_token"], rate)
        record = _record(stored, rate)
        change.record("integration.create", new.id, changed_fields({}, record))
    return record


def change_integration(
    caller: Caller,
    integration_id: str,
    usual_rate: AccountRateLimit,
    *,
    name: str | None = None,
    enabled: bool | None = None,
    config: Mapping[str, Any] | None = None,
    consent_categories: Sequence[str] | None = None,
    waiting: Unsent = Unsent.REFUSE,
) -> IntegrationRecord:
    """Change the values given; None leaves one as it is, and None inside ``config`` resets a setting.

    A new access token also resumes an ad account that the delivery paused. Of a disabled integration nothing more is
    sent, not even a retry: its events wait until it is enabled. ``waiting`` says what happens to the events that wait
    for the present ad account if the integration moves to another one.

    Raises:
        InvalidError: the configuration is invalid.
        DuplicateError: the source already delivers to the new ad account.
        ConflictError: events wait for the present ad account.
    """
    record = None
    while record is None:
        with caller.changing() as change:
            record = _change_step(
                change,
                find_integration(change.connection, integration_id, locked=True),
                usual_rate,
                waiting,
                name=name,
                enabled=enabled,
                config=config or {},
                consent_categories=consent_categories,
            )
    return record


def map_event_name(
    caller: Caller, integration_id: str, event_name: str, pinterest_name: str, usual_rate: AccountRateLimit
) -> IntegrationRecord:
    """Send the shop's events of a name as one of Pinterest's, by a new override.

    Raises:
        InvalidError: the name has a rule already, or is no name.
    """
    overrides = get_integration(caller, integration_id)["config"].get("event_overrides") or {}
    if fold_key(event_name) in map(fold_key, overrides):
        raise InvalidError(
            "event_name", f"{integration_id} already has a rule for this event. Change that rule"
        )
    config = {"event_overrides": {**overrides, event_name: pinterest_name}}
    return change_integration(caller, integration_id, usual_rate, config=config)


def delete_integration(caller: Caller, integration_id: str, *, waiting: Unsent = Unsent.REFUSE) -> None:
    """Delete an integration; ``waiting`` says what happens to the events that it has not delivered yet.

    A request that is being sent still arrives. If it fails, its events are discarded.

    Raises:
        ConflictError: deliveries wait, and are to be neither discarded nor handed over, or nothing can take them.
    """
    # A million rows in one transaction would keep everybody else from writing, the collector first of all.
    is_gone = False
    while not is_gone:
        with caller.changing() as change:
            current = find_integration(change.connection, integration_id, locked=True)
            is_gone = _clear_step(change, current, waiting)
            if is_gone:
                before = _record(current, _rate_of(change.connection, current))
                store.remove_integration(change.connection, current.number)
                change.record("integration.delete", integration_id, changed_fields(before, {}))


def find_integration(connection: Connection, integration_id: str, *, locked: bool = False) -> Integration:
    """Return one integration; a locked one stays as it is until the transaction ends."""
    is_id = _is_integration_id(integration_id) is not None
    integration = store.load_integration(connection, integration_id, locked=locked) if is_id else None
    if integration is None:
        raise NotFoundError("integration", integration_id)
    return integration


def _change_step(
    change: Change,
    current: Integration,
    usual_rate: AccountRateLimit,
    waiting: Unsent,
    *,
    name: str | None,
    enabled: bool | None,
    config: Mapping[str, Any],
    consent_categories: Sequence[str] | None,
) -> IntegrationRecord | None:
    """Change an integration, or only clear some of what waits for the ad account that it leaves, and return None."""
    before = _record(current, _rate_of(change.connection, current))
    merged = _checked_config({**before["config"], **config})
    if merged["ad_account_id"] != current.ad_account_id:
        _refuse_second(change.connection, current.source_id, merged["ad_account_id"])
        if not _clear_step(change, current, waiting):
            return None
    target = replace(
        current,
        name=current.name if name is None else name,
        enabled=current.enabled if enabled is None else enabled,
        ad_account_id=merged["ad_account_id"],
        config=_stored_config(merged),
        consent_categories=current.consent_categories
        if consent_categories is None
        else tuple(consent_categories),
    )
    token = None if merged["access_token"] == MASK else merged["access_token"]
    rate = _wanted_rate(change.connection, target.ad_account_id, config, usual_rate)
    return _apply(change, before, target, rate, token)


def _clear_step(change: Change, current: Integration, waiting: Unsent) -> bool:
    """Discard or hand over some of what waits for an integration; return whether nothing waits any more.

    The lock on the integration lets nothing new in.
    """
    unsent = ownership.count_unsent(change.connection, current.number)
    if not unsent.total:
        return True
    if waiting is Unsent.REFUSE:
        raise ConflictError(
            f"{current.id} still has unsent events for ad account {current.ad_account_id}: {unsent.total:,}, "
            f"of which {count_text(unsent.being_sent, 'is', 'are')} being sent. Discard them (?waiting=discard), "
            "or hand them over to another integration of the ad account (?waiting=hand_over)."
        )
    successor = _successor(change, current, unsent) if waiting is Unsent.HAND_OVER else None
    ownership.take_back(change.connection, current.number, change.now)
    if successor is None:
        count = failures.discard_pending_deliveries(
            change.connection, current.number, change.actor, change.now, _DISCARDED_AT_ONCE
        )
    else:
        count = ownership.hand_over_pending(
            change.connection, current.number, successor.number, change.now, _DISCARDED_AT_ONCE
        )
        change.record(
            "pending.hand_over", successor.id, {"from": [current.id, None], "deliveries": [None, count]}
        )
    return count < _DISCARDED_AT_ONCE


def _successor(change: Change, current: Integration, unsent: UnsentDeliveries) -> Integration:
    """Return another integration of the same ad account that can send."""
    if unsent.being_sent:
        raise ConflictError(
            f"{count_text(unsent.being_sent, 'event')} of {current.id} cannot be handed over while being sent: "
            "try again in a minute."
        )
    candidate = store.other_integration(change.connection, current)
    successor = store.load_integration(change.connection, candidate.id, locked=True) if candidate else None
    if successor is None or not successor.enabled or successor.ad_account != current.ad_account:
        raise ConflictError(
            f"No other enabled integration delivers to ad account {current.ad_account_id}: "
            "nothing can take the events over."
        )
    return successor


def _apply(
    change: Change, before: IntegrationRecord, target: Integration, rate: AccountRateLimit, token: str | None
) -> IntegrationRecord:
    changes = changed_fields(before, _record(target, rate))
    if token is not None:
        changes["config.access_token"] = [MASK, MASK]
    if not changes:
        return before
    stored = store.update_integration(
        change.connection, change.vault, target, rate=rate, new_token=token, now=change.now
    )
    change.record("integration.change", target.id, changes)
    return _record(stored, rate)


def _checked_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without nulls.

    Raises:
        InvalidError: naming every field that is wrong.
    """
    values = {key: value for key, value in config.items() if value is not None}
    try:
        load_config(values)
    except ConfigError as error:
        raise InvalidError.of({f"config.{field}": reason for field, reason in error.errors.items()}) from None
    return values


def _stored_config(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _KEPT_ELSEWHERE}


def _wanted_rate(
    connection: Connection, ad_account_id: str, config: Mapping[str, Any], usual_rate: AccountRateLimit
) -> AccountRateLimit:
    """Return what is given, else what the ad account has; null resets to the usual rate."""
    current = store.rate_limits(connection, [ad_account_id]).get(ad_account_id, usual_rate)
    rps, burst = config.get("rate_limit_rps", current.rps), config.get("rate_limit_burst", current.burst)
    return AccountRateLimit(
        usual_rate.rps if rps is None else float(rps), usual_rate.burst if burst is None else burst
    )


def _rate_of(connection: Connection, integration: Integration) -> AccountRateLimit:
    return store.rate_limits(connection, [integration.ad_account_id])[integration.ad_account_id]


def _lock_source(connection: Connection, source_id: str) -> None:
    """Keep a source from being deleted until the transaction ends."""
    is_id = is_source_id(source_id) is not None
    if not is_id or sources.load_source(connection, source_id, locked=True) is None:
        raise InvalidError("source_id", f"there is no source {source_id}")


def _refuse_second(connection: Connection, source_id: str, ad_account_id: str) -> None:
    for other in store.integrations_of_source(connection, source_id):
        if other.ad_account_id == ad_account_id:
            raise DuplicateError(
                f"{source_id} delivers to ad account {ad_account_id} already, by {other.id}."
            )


def _record(integration: Integration, rate: AccountRateLimit) -> IntegrationRecord:
    first = {"ad_account_id": integration.ad_account_id, "access_token": MASK}
    rates = {"rate_limit_rps": rate.rps, "rate_limit_burst": rate.burst}
    return {
        "number": integration.number,
        "id": integration.id,
        "source_id": integration.source_id,
        "vendor": integration.vendor,
        "name": integration.name,
        "enabled": integration.enabled,
        "config": {**first, **rates, **_DEFAULTS, **integration.config},
        "consent_categories": list(integration.consent_categories),
        "created_at": integration.created_at,
        "updated_at": integration.updated_at,
    }
