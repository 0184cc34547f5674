"""Store ad accounts with their rate limits, and credentials with their pauses."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Integer,
    and_,
    bindparam,
    case,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from worker.ledger.rows import has_passed, upsert
from worker.ledger.schema import IS_LIVE, BatchStatus, ad_account, batch, credential, integration
from worker.ledger.vault import Vault

_TOKEN = b"access token"
# A rate-limit answer may ask for an hour; the rest is for requests queued behind that.
_LONGEST_SLOW_SECONDS = 3_660.0
# Pause class of a manual pause. Every other class comes from delivery.
MANUAL = "by_hand"
_SECONDS_A_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Credential:
    """Hold a credential and whether batches may be sent with it now."""

    id: int
    ad_account: int
    ad_account_id: str
    paused_class: str | None
    paused_reason: str | None
    paused_at: float | None
    paused_by: str | None
    rate_limit_rps: float
    rate_limit_burst: int
    breaker_failures: int
    breaker_open_until: float | None


@dataclass(frozen=True, slots=True)
class AccountRateLimit:
    """Hold a rate limit: requests per second, and the burst after an idle time."""

    rps: float
    burst: int


def get_or_create_ad_account(connection: Connection, ad_account_id: str, rate: AccountRateLimit) -> int:
    """Return the number of an ad account, inserting it if it is new. A different ``rate`` replaces the old one."""
    row = connection.execute(
        select(ad_account).where(ad_account.c.ad_account_id == ad_account_id)
    ).one_or_none()
    if row is None:
        values = {"ad_account_id": ad_account_id, "rate_limit_rps": rate.rps, "rate_limit_burst": rate.burst}
        try:
            with connection.begin_nested():
                result = connection.execute(insert(ad_account).values(values).returning(ad_account.c.id))
                return int(result.scalar_one())
        except IntegrityError:
            # Another process inserted it meanwhile.
            return get_or_create_ad_account(connection, ad_account_id, rate)
    if (row.rate_limit_rps, row.rate_limit_burst) != (rate.rps, rate.burst):
        set_rate_limit(connection, row.id, rate)
    return int(row.id)


def set_rate_limit(
    connection: Connection, account: int, rate: AccountRateLimit, now: float | None = None
) -> None:
    """Set an ad account's rate limit. It applies from the next request on.

    The bucket stays as full as before, measured in requests.
    """
    now = time.time() if now is None else now
    spent_requests = (ad_account.c.arrival_at - now) * ad_account.c.rate_limit_rps
    values = {
        "rate_limit_rps": rate.rps,
        "rate_limit_burst": rate.burst,
        "arrival_at": case((ad_account.c.arrival_at > now, now + spent_requests / rate.rps), else_=0.0),
    }
    connection.execute(update(ad_account).where(ad_account.c.id == account).values(values))


def get_or_create_credential(
    connection: Connection, vault: Vault, account: int, token: str, now: float
) -> int:
    """Return the number of an ad account's credential, inserted if it is new. The token is sealed."""
    fingerprint = vault.keyed_hash("access token", token)
    query = select(credential.c.id).where(
        credential.c.ad_account == account, credential.c.fingerprint == fingerprint
    )
    # Locked, because unused credentials are purged.
    credential_id = connection.scalar(query.with_for_update())
    if credential_id is None:
        values = {
            "ad_account": account,
            "fingerprint": fingerprint,
            "token": vault.seal(token.encode(), _TOKEN),
            "created_at": now,
        }
        # Another process may insert the same token at the same time.
        connection.execute(upsert(connection, credential).values(values).on_conflict_do_nothing())
        credential_id = connection.execute(query).scalar_one()
    return int(credential_id)


# Statements that run for every batch are built once: building one takes longer than running it.
_SELECT_TOKEN = select(credential.c.token).where(credential.c.id == bindparam("of"))


def access_token(connection: Connection, vault: Vault, credential_id: int) -> str:
    """Return a credential's access token in clear."""
    sealed_token = connection.scalar(_SELECT_TOKEN, {"of": credential_id})
    if sealed_token is None:
        raise LookupError(f"credential {credential_id} is not in the ledger")
    return vault.open(sealed_token, _TOKEN).decode()


_CREDENTIALS = select(
    credential.c.id,
    credential.c.ad_account,
    ad_account.c.ad_account_id,
    credential.c.paused_class,
    credential.c.paused_reason,
    credential.c.paused_at,
    credential.c.paused_by,
    ad_account.c.rate_limit_rps,
    ad_account.c.rate_limit_burst,
    credential.c.breaker_failures,
    credential.c.breaker_open_until,
).join(ad_account, ad_account.c.id == credential.c.ad_account)
_FIND = _CREDENTIALS.where(credential.c.id == bindparam("of"))


_FIND_LOCKED = _FIND.with_for_update(of=credential)


def find_credential(connection: Connection, credential_id: int, *, locked: bool = False) -> Credential:
    """Return a credential. ``locked`` locks it until the transaction ends."""
    return _credential(connection.execute(_FIND_LOCKED if locked else _FIND, {"of": credential_id}).one())


def used_credentials(connection: Connection) -> list[Credential]:
    """Return the credentials that an integration uses or that still have batches."""
    used_ids = select(integration.c.credential_id)
    live_ids = select(batch.c.credential_id).where(IS_LIVE)
    query = _CREDENTIALS.where(credential.c.id.in_(used_ids.union(live_ids))).order_by(credential.c.id)
    return [_credential(row) for row in connection.execute(query)]


def pause_credential(
    connection: Connection, credential_id: int, paused_class: str, reason: str, actor: str, now: float
) -> bool:
    """Pause a credential. Returns whether that changed anything.

    A manual pause replaces one that delivery made, so that a new token does not end it.
    """
    may_pause: ColumnElement[bool] = credential.c.paused_at.is_(None)
    if paused_class == MANUAL:
        may_pause = or_(may_pause, credential.c.paused_class != MANUAL)
    values = {"paused_at": now, "paused_by": actor, "paused_class": paused_class, "paused_reason": reason}
    statement = update(credential).where(credential.c.id == credential_id, may_pause)
    return connection.execute(statement.values(values)).rowcount == 1


def resume_credential(
    connection: Connection, credential_id: int, *, now: float, is_manual: bool = True
) -> bool:
    """Resume a credential. Returns whether that changed anything. Only a manual resume ends a manual pause.

    All waiting batches get a new retry window: a pause may last longer than that. A manual resume also closes the
    breaker and ends every wait for a next attempt: the operator knows better than a backoff that Pinterest is back.
    """
    # Locked before its batches, as a worker does that starts one: otherwise both deadlock on PostgreSQL.
    connection.execute(select(credential.c.id).where(credential.c.id == credential_id).with_for_update())
    changed_waits = is_manual and _clear_waits(connection, credential_id, now)
    paused = update(credential).where(credential.c.id == credential_id, credential.c.paused_at.is_not(None))
    if not is_manual:
        paused = paused.where(credential.c.paused_class != MANUAL)
    values = {"paused_at": None, "paused_by": None, "paused_class": None, "paused_reason": None}
    if connection.execute(paused.values(values)).rowcount == 0:
        return changed_waits
    live_batches = update(batch).where(batch.c.credential_id == credential_id, IS_LIVE)
    connection.execute(live_batches.values(first_tried_at=_restart_window(now)))
    return True


def _clear_waits(connection: Connection, credential_id: int, now: float) -> bool:
    """Let batches that wait for their next attempt start now. Returns whether there were any."""
    waiting_batches = update(batch).where(
        batch.c.credential_id == credential_id,
        IS_LIVE,
        batch.c.status == BatchStatus.READY.value,
        batch.c.not_before > now,
    )
    is_open = update(credential).where(
        credential.c.id == credential_id, credential.c.breaker_open_until.is_not(None)
    )
    values = {"breaker_failures": 0, "breaker_open_until": None, "breaker_probe_until": None}
    moved_batches = connection.execute(waiting_batches.values(not_before=now)).rowcount
    return bool(connection.execute(is_open.values(values)).rowcount + moved_batches)


def is_credential_used(connection: Connection, credential_id: int) -> bool:
    """Return whether an integration uses a credential."""
    users = select(integration.c.id).where(integration.c.credential_id == credential_id)
    return connection.execute(users.limit(1)).first() is not None


def manually_paused_credential(connection: Connection, account: int) -> Credential | None:
    """Return one of an ad account's credentials if all used ones are manually paused."""
    is_used = credential.c.id.in_(select(integration.c.credential_id))
    rows = connection.execute(_CREDENTIALS.where(credential.c.ad_account == account, is_used)).all()
    paused = [row for row in rows if row.paused_class == MANUAL]
    return _credential(paused[0]) if paused and len(paused) == len(rows) else None


def set_breaker(connection: Connection, credential_id: int, failures: int, open_until: float | None) -> None:
    """Store a credential's breaker state. This ends a running probe."""
    values = {
        "breaker_failures": failures,
        "breaker_open_until": open_until,
        "breaker_probe_until": None,
    }
    connection.execute(update(credential).where(credential.c.id == credential_id).values(values))


def begin_probe(connection: Connection, credential_id: int, probe_seconds: float, now: float) -> bool:
    """Claim the single probe of a breaker whose pause is over. Returns False if another batch probes already."""
    no_probe = update(credential).where(
        credential.c.id == credential_id,
        has_passed(credential.c.breaker_open_until, now),
        or_(credential.c.breaker_probe_until.is_(None), has_passed(credential.c.breaker_probe_until, now)),
    )
    return connection.execute(no_probe.values(breaker_probe_until=now + probe_seconds)).rowcount == 1


def end_probe(connection: Connection, credential_id: int) -> None:
    """End a probe that sent nothing, so that another batch can probe at once."""
    connection.execute(
        update(credential).where(credential.c.id == credential_id).values(breaker_probe_until=None)
    )


def move_batches(connection: Connection, old: int, new: int, now: float) -> bool:
    """Move the batches of a replaced credential to the new one, even those that are being sent.

    Such a batch, refused for the old token, would otherwise return to a credential that is never resumed.
    As after a pause, each batch gets a new retry window. Returns False if an enabled integration still uses the old
    credential, whose batches then stay.
    """
    # A batcher that holds it creates a batch, which would stay with the old credential. Locked before the batches.
    connection.execute(select(credential.c.id).where(credential.c.id == old).with_for_update())
    users = select(integration.c.id).where(integration.c.credential_id == old, integration.c.enabled)
    if connection.execute(users.limit(1)).first() is not None:
        return False
    abandoned = update(batch).where(batch.c.credential_id == old, IS_LIVE)
    connection.execute(abandoned.values(credential_id=new, first_tried_at=_restart_window(now)))
    return True


def _later(now: ColumnElement[float]) -> Any:
    # No wait is longer than Pinterest's longest one plus a burst: otherwise the clock stepped back.
    longest = now + _LONGEST_SLOW_SECONDS + ad_account.c.rate_limit_burst / ad_account.c.rate_limit_rps
    is_ahead = and_(ad_account.c.arrival_at > now, ad_account.c.arrival_at < longest)
    return case((is_ahead, ad_account.c.arrival_at), else_=now)


def _one_more(minute: ColumnElement[int]) -> dict[str, Any]:
    last_minute, requests = ad_account.c.rate_minute, ad_account.c.rate_requests
    before = case(
        (last_minute == minute, ad_account.c.rate_requests_before),
        (last_minute == minute - 1, requests),
        else_=0,
    )
    return {
        "rate_minute": minute,
        "rate_requests": case((last_minute == minute, requests + 1), else_=1),
        "rate_requests_before": before,
    }


_TAKE_TOKEN = (
    update(ad_account)
    .where(ad_account.c.id == bindparam("of"))
    .values(
        arrival_at=_later(bindparam("at", type_=Double)) + 1.0 / ad_account.c.rate_limit_rps,
        **_one_more(bindparam("this_minute", type_=Integer)),
    )
    .returning(ad_account.c.arrival_at, ad_account.c.rate_limit_rps, ad_account.c.rate_limit_burst)
)


def take_token(connection: Connection, account: int, now: float) -> float:
    """Take one request of an ad account's rate. Returns the seconds to wait before it may be sent.

    Uses the generic cell rate algorithm: in any time t at most burst + rps x t requests are sent by all workers,
    because the bucket is one number in one row. A caller that does not want to wait must roll back, so that nothing
    is spent.
    """
    values = {"of": account, "at": now, "this_minute": int(now // _SECONDS_A_MINUTE)}
    row = connection.execute(_TAKE_TOKEN, values).one()
    return max(0.0, float(row.arrival_at - row.rate_limit_burst / row.rate_limit_rps - now))


def hold_requests_until(connection: Connection, account: int, until: float) -> None:
    """Hold all requests until a time, because Pinterest asked for it."""
    full_at = until + (ad_account.c.rate_limit_burst - 1) / ad_account.c.rate_limit_rps
    slower = update(ad_account).where(ad_account.c.id == account, ad_account.c.arrival_at < full_at)
    connection.execute(slower.values(arrival_at=full_at))


def _restart_window(now: float) -> Any:
    # A batch without an attempt has no window yet.
    return case((batch.c.first_tried_at.is_not(None), now))


def _credential(row: Any) -> Credential:
    return Credential(**row._mapping)
