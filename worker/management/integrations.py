"""Make, show, change and delete integrations."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from marshmallow import ValidationError
from sqlalchemy import Connection

from worker.ledger import audit, failures, sources
from worker.ledger import integrations as store
from worker.ledger.accounts import Rate
from worker.ledger.integrations import Integration
from worker.management import changes, context, lists
from worker.management.blueprint import Blueprint
from worker.management.changes import MASK
from worker.management.context import Change
from worker.management.errors import ApiError, duplicate, invalid, not_found, refused
from worker.management.integration_shapes import (
    FIXED,
    DeleteQuery,
    IntegrationAnswer,
    IntegrationBody,
    IntegrationChange,
    check_config,
)
from worker.management.lists import PageQuery, page_of
from worker.management.source_shapes import SOURCE_ID

INTEGRATION_ID = "int_[a-z0-9]{1,64}"

# Kept elsewhere in the ledger: the token with the credential, the rate with the ad account.
_KEPT_ELSEWHERE = ("access_token", "rate_limit_rps", "rate_limit_burst")
# A good deal less than a second of the write lock.
DISCARDED_AT_ONCE = 5_000
_DEFAULTS = {"field_mapping": "signal", "test_mode": False}

blueprint = Blueprint(
    "integrations", __name__, url_prefix="/v1/admin", description="Where a source's events are delivered"
)


@blueprint.route("/integrations", methods=["POST"])
@blueprint.arguments(IntegrationBody)
@blueprint.response(201, IntegrationAnswer)
def create(body: dict[str, Any]) -> dict[str, Any]:
    """Make an integration."""
    return add(body)


def add(body: Mapping[str, Any]) -> dict[str, Any]:
    """Make an integration of what `IntegrationBody` has read."""
    config = _without_nulls(body["config"])
    with context.changing() as change:
        _hold_source(change.connection, body["source_id"])
        _refuse_second(change.connection, body["source_id"], config["ad_account_id"])
        new = Integration(
            id=f"int_{secrets.token_hex(8)}",
            source_id=body["source_id"],
            vendor=_vendor(body),
            name=body["name"],
            enabled=body["enabled"],
            ad_account_id=config["ad_account_id"],
            config=_kept(config),
            consent_categories=tuple(body["consent_categories"]),
            created_at=change.now,
            updated_at=change.now,
        )
        rate = _rate(change.connection, config["ad_account_id"], body["config"])
        made = store.create(change.connection, context.ledger().vault, new, config["access_token"], rate)
        shown = _show(made, rate)
        _tell(change, "create", made.id, changes.between({}, shown))
    return shown


@blueprint.route("/integrations")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(IntegrationAnswer))
def page(query: dict[str, Any]) -> dict[str, Any]:
    """List integrations in the order of their making."""
    return listed(query)


def listed(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return the page of the list that `PageQuery` chooses."""
    after = lists.number_after(query.get("cursor")) or 0
    with context.ledger().read() as connection:
        found = store.page(connection, query["limit"] + 1, after)
        rates = store.rates(connection, {one.ad_account_id for one in found})
    return lists.answer(
        found, query["limit"], lambda one: _show(one, rates[one.ad_account_id]), lambda one: int(one.number)
    )


@blueprint.route("/integrations/<integration_id>")
@blueprint.response(200, IntegrationAnswer)
def show(integration_id: str) -> dict[str, Any]:
    """Show an integration; its access token never comes back."""
    return shown(integration_id)


def shown(integration_id: str) -> dict[str, Any]:
    """Return an integration, its access token masked."""
    with context.ledger().read() as connection:
        found = _found(connection, integration_id)
        return _show(found, _known_rate(connection, found.ad_account_id))


@blueprint.route("/integrations/<integration_id>", methods=["PATCH"])
@blueprint.arguments(IntegrationChange)
@blueprint.response(200, IntegrationAnswer)
def change(body: dict[str, Any], integration_id: str) -> dict[str, Any]:
    """Change what is given of an integration; a new access token also resumes a paused account."""
    return alter(body, integration_id)


def alter(body: Mapping[str, Any], integration_id: str) -> dict[str, Any]:
    """Change what `IntegrationChange` has read."""
    with context.changing() as change:
        current = _found(change.connection, integration_id, locked=True)
        before = _show(current, _known_rate(change.connection, current.ad_account_id))
        changes.keep(body, IntegrationAnswer().dump(before), FIXED)
        given = body.get("config", {})
        config = _merged(before["config"], given)
        _refuse_move(change.connection, current, config["ad_account_id"])
        wanted = replace(
            current,
            name=body.get("name", current.name),
            enabled=body.get("enabled", current.enabled),
            ad_account_id=config["ad_account_id"],
            config=_kept(config),
            consent_categories=tuple(body.get("consent_categories", current.consent_categories)),
        )
        token = None if config["access_token"] == MASK else config["access_token"]
        rate = _rate(change.connection, config["ad_account_id"], given)
        return _apply(change, before, wanted, rate, token)


@blueprint.route("/integrations/<integration_id>", methods=["DELETE"])
@blueprint.arguments(DeleteQuery, location="query")
@blueprint.response(204)
def delete(query: dict[str, Any], integration_id: str) -> None:
    """Delete an integration; what is on its way to Pinterest already still arrives."""
    remove(integration_id, discard_waiting=query["force"])


def remove(integration_id: str, *, discard_waiting: bool) -> None:
    """Delete an integration, and discard what waits for it if told to."""
    # A million in one transaction would keep everybody else from writing, the collector first of all.
    while not _removed(integration_id, discard_waiting=discard_waiting):
        pass


def _removed(integration_id: str, *, discard_waiting: bool) -> bool:
    """Delete an integration for which nothing waits, or discard a step of what does; tell whether it is gone."""
    with context.changing() as change:
        current = _found(change.connection, integration_id, locked=True)
        if store.waiting(change.connection, current.number):
            if not discard_waiting:
                raise ApiError(
                    409, f"{integration_id} still has events to deliver: ?force=true discards them."
                )
            done = failures.discard_pending(
                change.connection, current.number, change.actor, change.now, DISCARDED_AT_ONCE
            )
            # After a step that was not a full one the lock keeps out any more.
            if done == DISCARDED_AT_ONCE:
                return False
        before = _show(current, _known_rate(change.connection, current.ad_account_id))
        store.remove(change.connection, current.number)
        _tell(change, "delete", integration_id, changes.between(before, {}))
        return True


def _apply(
    change: Change, before: dict[str, Any], wanted: Integration, rate: Rate, token: str | None
) -> dict[str, Any]:
    told = changes.between(before, _show(wanted, rate))
    if token is not None:
        told["config.access_token"] = [MASK, MASK]
    if not told:
        return before
    vault = context.ledger().vault
    changed = store.change(change.connection, vault, wanted, rate=rate, new_token=token, now=change.now)
    _tell(change, "change", wanted.id, told)
    return _show(changed, rate)


def _merged(current: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = _without_nulls({**current, **given})
    try:
        check_config(merged)
    except ValidationError as error:
        raise refused(error, "config") from None
    return merged


def _without_nulls(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if value is not None}


def _kept(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _KEPT_ELSEWHERE}


def _rate(connection: Connection, ad_account_id: str, given: Mapping[str, Any]) -> Rate:
    """Choose an ad account's rate: what is given, else what it has; null goes back to the usual rate."""
    usual = _usual_rate()
    known = store.rates(connection, [ad_account_id]).get(ad_account_id, usual)
    rps = given.get("rate_limit_rps", known.rps)
    burst = given.get("rate_limit_burst", known.burst)
    return Rate(usual.rps if rps is None else float(rps), usual.burst if burst is None else burst)


def _known_rate(connection: Connection, ad_account_id: str) -> Rate:
    return store.rates(connection, [ad_account_id])[ad_account_id]


def _usual_rate() -> Rate:
    settings = context.settings()
    return Rate(settings.rate_limit_rps, settings.rate_limit_burst)


def _vendor(body: Mapping[str, Any]) -> str:
    return str(body.get("vendor") or body["type"])


def _hold_source(connection: Connection, source_id: str) -> None:
    """Keep a source from being deleted meanwhile."""
    is_id = re.fullmatch(SOURCE_ID, source_id) is not None
    if not is_id or sources.find(connection, source_id, locked=True) is None:
        raise invalid("source_id", f"there is no source {source_id}")


def _refuse_second(connection: Connection, source_id: str, ad_account_id: str) -> None:
    for other in store.of_source(connection, source_id):
        if other.ad_account_id == ad_account_id:
            raise duplicate(f"{source_id} delivers to ad account {ad_account_id} already, by {other.id}.")


def _refuse_move(connection: Connection, current: Integration, ad_account_id: str) -> None:
    """Refuse another ad account where that would mix up whose the waiting events are."""
    if ad_account_id == current.ad_account_id:
        return
    _refuse_second(connection, current.source_id, ad_account_id)
    if store.waiting(connection, current.number):
        raise ApiError(
            409, f"{current.id} still has events to deliver to ad account {current.ad_account_id}."
        )


def _found(connection: Connection, integration_id: str, *, locked: bool = False) -> Integration:
    is_id = re.fullmatch(INTEGRATION_ID, integration_id) is not None
    found = store.find(connection, integration_id, locked=locked) if is_id else None
    if found is None:
        raise not_found("integration", integration_id)
    return found


def _show(given: Integration, rate: Rate) -> dict[str, Any]:
    first = {"ad_account_id": given.ad_account_id, "access_token": MASK}
    rates = {"rate_limit_rps": rate.rps, "rate_limit_burst": rate.burst}
    return {
        "id": given.id,
        "source_id": given.source_id,
        "vendor": given.vendor,
        "name": given.name,
        "enabled": given.enabled,
        "config": {**first, **rates, **_DEFAULTS, **given.config},
        "consent_categories": list(given.consent_categories),
        "created_at": given.created_at,
        "updated_at": given.updated_at,
    }


def _tell(change: Change, what: str, integration_id: str, told: Mapping[str, Any]) -> None:
    audit.write(change.connection, change.now, change.actor, f"integration.{what}", integration_id, told)
