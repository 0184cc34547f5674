"""Show ad accounts, pause and resume them, and set their rates."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from worker.ledger import accounts as store
from worker.ledger import audit, integrations, standing
from worker.ledger.accounts import Credential, Rate
from worker.management import context, lists
from worker.management.account_shapes import (
    BREAKER_OPEN,
    PARTLY_PAUSED,
    PAUSED,
    RUNNING,
    AccountAnswer,
    AccountChange,
    PauseBody,
)
from worker.management.blueprint import Blueprint
from worker.management.errors import not_found
from worker.management.lists import PageQuery, page_of
from worker.stages import token_ends

MOST_INTEGRATIONS = 10_000

blueprint = Blueprint(
    "accounts", __name__, url_prefix="/v1/admin", description="The ad accounts that events are delivered to"
)


@blueprint.route("/accounts")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(AccountAnswer))
def page(query: dict[str, Any]) -> dict[str, Any]:
    """List ad accounts in the order of their ids."""
    after = lists.text_after(query.get("cursor"))
    with context.ledger().read() as connection:
        found = [one for one in _shown(connection) if one["ad_account_id"] > after]
    return lists.answer(
        found[: query["limit"] + 1], query["limit"], dict, lambda one: str(one["ad_account_id"])
    )


@blueprint.route("/accounts/<ad_account_id>")
@blueprint.response(200, AccountAnswer)
def show(ad_account_id: str) -> dict[str, Any]:
    """Show an ad account."""
    with context.ledger().read() as connection:
        return _show(connection, ad_account_id)


@blueprint.route("/accounts/<ad_account_id>", methods=["PATCH"])
@blueprint.arguments(AccountChange)
@blueprint.response(200, AccountAnswer)
def change(body: dict[str, Any], ad_account_id: str) -> dict[str, Any]:
    """Set an ad account's rate; what was spent of it stays spent."""
    with context.changing() as change:
        known = _credentials(change.connection, ad_account_id)[0]
        before = {"rate_limit_rps": known.rate_limit_rps, "rate_limit_burst": known.rate_limit_burst}
        told = {name: [before[name], value] for name, value in body.items() if before[name] != value}
        if told:
            after = before | body
            rate = Rate(after["rate_limit_rps"], int(after["rate_limit_burst"]))
            store.set_rate(change.connection, known.ad_account, rate, change.now)
            audit.write(change.connection, change.now, change.actor, "account.rate", ad_account_id, told)
        return _show(change.connection, ad_account_id)


@blueprint.route("/accounts/<ad_account_id>/pause", methods=["POST"])
@blueprint.arguments(PauseBody)
@blueprint.response(200, AccountAnswer)
def pause(body: dict[str, Any], ad_account_id: str) -> dict[str, Any]:
    """Stop sending to an ad account; its events are kept and wait."""
    with context.changing() as change:
        known = _credentials(change.connection, ad_account_id)
        paused = [
            store.pause(change.connection, one.id, store.BY_HAND, body["reason"], change.actor, change.now)
            for one in known
        ]
        if any(paused):
            told = {"reason": [None, body["reason"]]}
            audit.write(change.connection, change.now, change.actor, "account.pause", ad_account_id, told)
        return _show(change.connection, ad_account_id)


@blueprint.route("/accounts/<ad_account_id>/resume", methods=["POST"])
@blueprint.response(200, AccountAnswer)
def resume(ad_account_id: str) -> dict[str, Any]:
    """Send to an ad account again; what waits goes out within seconds."""
    with context.changing() as change:
        known = _credentials(change.connection, ad_account_id)
        resumed = [store.resume(change.connection, one.id, now=change.now) for one in known]
        if any(resumed):
            told = {"reason": [_reason(known), None]}
            audit.write(change.connection, change.now, change.actor, "account.resume", ad_account_id, told)
        return _show(change.connection, ad_account_id)


def state_of(states: Sequence[str]) -> str:
    """Name the state of an ad account after those of its credentials, the worst one first."""
    if PAUSED in states:
        return PAUSED if set(states) == {PAUSED} else PARTLY_PAUSED
    return BREAKER_OPEN if BREAKER_OPEN in states else RUNNING


def _credentials(connection: Connection, ad_account_id: str) -> list[Credential]:
    known = [one for one in store.in_use(connection) if one.ad_account_id == ad_account_id]
    if not known:
        raise not_found("ad account", ad_account_id)
    return known


def _show(connection: Connection, ad_account_id: str) -> dict[str, Any]:
    for one in _shown(connection):
        if one["ad_account_id"] == ad_account_id:
            return one
    raise not_found("ad account", ad_account_id)


def _shown(connection: Connection) -> list[dict[str, Any]]:
    """Return every ad account that is in use, in the order of their ids."""
    grouped: dict[str, list[Credential]] = {}
    for one in store.in_use(connection):
        grouped.setdefault(one.ad_account_id, []).append(one)
    waiting = _waiting(connection)
    flying = standing.in_flight(connection)
    ends = token_ends.by_credential(connection)
    return [
        _account(grouped[ad_account_id], waiting.get(ad_account_id, []), flying.get(ad_account_id), ends)
        for ad_account_id in sorted(grouped)
    ]


def _waiting(connection: Connection) -> dict[str, list[standing.Waiting]]:
    pending = standing.pending(connection)
    found: dict[str, list[standing.Waiting]] = {}
    for one in integrations.page(connection, MOST_INTEGRATIONS):
        if one.number in pending:
            found.setdefault(one.ad_account_id, []).append(pending[one.number])
    return found


def _account(
    credentials: Sequence[Credential],
    pending: Sequence[standing.Waiting],
    flying: standing.Waiting | None,
    ends: Mapping[int, float],
) -> dict[str, Any]:
    first = credentials[0]
    since = [one.since for one in (*pending, *([flying] if flying else []))]
    shown = [_credential(one) | {"token_expires_at": ends.get(one.id)} for one in credentials]
    return {
        "ad_account_id": first.ad_account_id,
        "state": state_of([one["state"] for one in shown]),
        "reason": _reason(credentials),
        "rate_limit_rps": first.rate_limit_rps,
        "rate_limit_burst": first.rate_limit_burst,
        "pending": sum(one.deliveries for one in pending),
        "in_flight": flying.deliveries if flying else 0,
        "oldest_waiting_seconds": max(0.0, context.clock() - min(since)) if since else None,
        "credentials": shown,
    }


def _credential(one: Credential) -> dict[str, Any]:
    state = PAUSED if one.paused_at is not None else RUNNING
    if state == RUNNING and one.breaker_open_until is not None:
        state = BREAKER_OPEN
    return {
        "id": one.id,
        "state": state,
        "paused_at": one.paused_at,
        "paused_by": one.paused_by,
        "paused_class": one.paused_class,
        "paused_reason": one.paused_reason,
        "breaker_failures": one.breaker_failures,
        "breaker_open_until": one.breaker_open_until,
    }


def _reason(credentials: Sequence[Credential]) -> str | None:
    """Say why an ad account does not run, by the first of its credentials that does not."""
    for one in credentials:
        if one.paused_at is not None:
            return one.paused_reason
    for one in credentials:
        if one.breaker_open_until is not None:
            return f"Pinterest failed {one.breaker_failures} times in a row; one batch at a time tries again."
    return None
