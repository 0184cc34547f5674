"""Store sign-ins with Pinterest, the ad accounts that are read by them, and Pinterest's Event Quality Scores."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, exists, func, insert, select, update

from worker import retention
from worker.ledger.rows import upsert
from worker.ledger.schema import (
    account_reading,
    ad_account,
    integration,
    login_state,
    pinterest_login,
    quality_score,
)
from worker.ledger.vault import Vault

_ACCESS, _REFRESH = b"pinterest access token", b"pinterest refresh token"
# Tokens are refreshed when this share of their time is left, which leaves weeks for further tries.
_REFRESH_AT_SHARE = 1 / 3
_LEAST_REFRESH_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Login:
    """Hold a sign-in with its tokens in clear; times are in Unix seconds."""

    id: int
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    scope: str
    access_ends_at: float
    refresh_ends_at: float
    version: int
    problem: str | None
    connected_at: float
    connected_by: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Hold how an ad account is read, with the problem of its sign-in; times are in Unix seconds."""

    ad_account: int
    ad_account_id: str
    login_id: int
    name: str
    country: str
    currency: str
    time_zone: str
    read_at: float | None
    problem: str | None
    login_problem: str | None
    connected_at: float
    connected_by: str


@dataclass(frozen=True, slots=True)
class Score:
    """Hold one Event Quality Score. ``components`` maps a component and an event name to coverage and issues."""

    ad_account: int
    day: int
    lookback: str
    source_platform: str
    ingestion_source: str
    overall_status: str
    components: Mapping[str, Mapping[str, Mapping[str, Any]]]
    read_at: float


def begin_sign_in(connection: Connection, vault: Vault, session: str, target: str, now: float) -> str:
    """Store a sign-in that begins in a session. Returns its state, which is valid once."""
    state = secrets.token_urlsafe(24)
    values = {
        "key": _state_key(vault, session, state),
        "target": target,
        "ends_at": now + retention.LOGIN_STATE_SECONDS,
    }
    connection.execute(insert(login_state).values(values))
    return state


def end_sign_in(connection: Connection, vault: Vault, session: str, state: str, now: float) -> str | None:
    """Use up a state. Returns its target, or None if this session has no such state any more."""
    statement = delete(login_state).where(
        login_state.c.key == _state_key(vault, session, state), login_state.c.ends_at > now
    )
    target: str | None = connection.scalar(statement.returning(login_state.c.target))
    return target


def insert_login(connection: Connection, vault: Vault, actor: str, now: float, **tokens: Any) -> int:
    """Insert a sign-in with the tokens of `replace_tokens`. Returns its id."""
    values = _sealed(vault, now, **tokens) | {"version": 1, "connected_at": now, "connected_by": actor}
    result = connection.execute(insert(pinterest_login).values(values).returning(pinterest_login.c.id))
    return int(result.scalar_one())


def replace_tokens(
    connection: Connection,
    vault: Vault,
    login_id: int,
    now: float,
    *,
    version: int | None = None,
    actor: str | None = None,
    **tokens: Any,
) -> bool:
    """Replace all tokens of a sign-in at once. Returns False if its version is not the expected one any more.

    ``tokens`` are access_token, refresh_token, scope, access_seconds and refresh_seconds. An ``actor`` has connected
    again.
    """
    values = _sealed(vault, now, **tokens) | {"version": pinterest_login.c.version + 1, "problem": None}
    values |= {"connected_at": now, "connected_by": actor} if actor else {}
    statement = update(pinterest_login).where(pinterest_login.c.id == login_id)
    if version is not None:
        statement = statement.where(pinterest_login.c.version == version)
    return connection.execute(statement.values(values)).rowcount == 1


def load_login(connection: Connection, vault: Vault, login_id: int) -> Login | None:
    """Return a sign-in."""
    row = connection.execute(select(pinterest_login).where(pinterest_login.c.id == login_id)).one_or_none()
    return _login(row, vault) if row else None


def claim_refresh(connection: Connection, vault: Vault, now: float, lease_seconds: float) -> Login | None:
    """Return a sign-in whose tokens are to be refreshed; no other worker gets it during the lease."""
    due = select(pinterest_login.c.id).where(pinterest_login.c.refresh_at <= now)
    first = due.order_by(pinterest_login.c.refresh_at).limit(1).scalar_subquery()
    statement = (
        update(pinterest_login)
        .where(pinterest_login.c.id == first, pinterest_login.c.refresh_at <= now)
        .values(refresh_at=now + lease_seconds)
        .returning(pinterest_login)
    )
    row = connection.execute(statement).one_or_none()
    return _login(row, vault) if row else None


def postpone_refresh(connection: Connection, login: Login, at: float, problem: str | None) -> None:
    """Refresh a sign-in's tokens at a later time, unless they were replaced meanwhile."""
    statement = update(pinterest_login).where(
        pinterest_login.c.id == login.id, pinterest_login.c.version == login.version
    )
    connection.execute(statement.values(refresh_at=at, problem=problem))


def attach_reading(connection: Connection, account: int, login_id: int, now: float, **facts: str) -> None:
    """Read an ad account by a sign-in from now on. ``facts`` are its name, country, currency and time_zone."""
    values = {"login_id": login_id, "due_at": now, "problem": None, **facts}
    statement = upsert(connection, account_reading).values(ad_account=account, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["ad_account"], set_=values))


def readings(connection: Connection) -> list[Reading]:
    """Return how each ad account is read that an integration uses, by ad account id."""
    query = _readings().where(exists().where(integration.c.ad_account == account_reading.c.ad_account))
    return [_reading(row) for row in connection.execute(query.order_by(ad_account.c.ad_account_id))]


def claim_reading(connection: Connection, now: float, until: float) -> Reading | None:
    """Return an ad account whose scores are to be read; no other worker gets it before ``until``."""
    is_used = exists().where(integration.c.ad_account == account_reading.c.ad_account)
    due = select(account_reading.c.ad_account).where(account_reading.c.due_at <= now, is_used)
    first = due.order_by(account_reading.c.due_at).limit(1).scalar_subquery()
    statement = (
        update(account_reading)
        .where(account_reading.c.ad_account == first, account_reading.c.due_at <= now)
        .values(due_at=until)
        .returning(account_reading.c.ad_account)
    )
    account = connection.scalar(statement)
    if account is None:
        return None
    row = connection.execute(_readings().where(account_reading.c.ad_account == account)).one()
    return _reading(row)


def postpone_reading(
    connection: Connection, reading: Reading, at: float, problem: str, *, of_login: bool
) -> None:
    """Read an ad account later, or every one of the same sign-in, and show why."""
    condition = account_reading.c.ad_account == reading.ad_account
    if of_login:
        later = update(account_reading).where(account_reading.c.login_id == reading.login_id)
        connection.execute(later.where(account_reading.c.due_at < at).values(due_at=at))
    connection.execute(update(account_reading).where(condition).values(due_at=at, problem=problem))


def store_scores(
    connection: Connection,
    account: int,
    scores: Mapping[str, Sequence[Mapping[str, Any]]],
    day: int,
    now: float,
) -> None:
    """Store an ad account's scores, by look-back, in place of those of the same day."""
    today = (quality_score.c.ad_account == account, quality_score.c.day == day)
    connection.execute(delete(quality_score).where(*today))
    # Of two entries for the same platform and source, the last one counts.
    rows = {
        (lookback, row["source_platform"], row["ingestion_source"]): {
            **row,
            "lookback": lookback,
            "ad_account": account,
            "day": day,
            "read_at": now,
        }
        for lookback, entries in scores.items()
        for row in entries
    }
    if rows:
        connection.execute(insert(quality_score), list(rows.values()))
    statement = update(account_reading).where(account_reading.c.ad_account == account)
    connection.execute(statement.values(read_at=now, problem=None))


def newest_scores(connection: Connection) -> list[Score]:
    """Return the scores of the last day on which each ad account had any."""
    other = quality_score.alias()
    last = select(func.max(other.c.day)).where(other.c.ad_account == quality_score.c.ad_account)
    keys = ("ad_account", "source_platform", "ingestion_source", "lookback")
    query = select(quality_score).where(quality_score.c.day == last.scalar_subquery())
    rows = connection.execute(query.order_by(*(quality_score.c[key] for key in keys)))
    return [Score(**row._mapping) for row in rows]


def statuses_since(connection: Connection, day: int) -> dict[tuple[str, str, str], dict[int, str]]:
    """Return the overall status of 14 days by ad account id, platform and ingestion source, then by day."""
    keys = (ad_account.c.ad_account_id, quality_score.c.source_platform, quality_score.c.ingestion_source)
    query = (
        select(*keys, quality_score.c.day, quality_score.c.overall_status)
        .join(ad_account, ad_account.c.id == quality_score.c.ad_account)
        .where(quality_score.c.day >= day, quality_score.c.lookback == "14d")
    )
    statuses: dict[tuple[str, str, str], dict[int, str]] = {}
    for *key, of_day, status in connection.execute(query.order_by(*keys, quality_score.c.day)):
        statuses.setdefault((key[0], key[1], key[2]), {})[of_day] = status
    return statuses


def purge_logins(connection: Connection, before_day: int, now: float) -> int:
    """Delete scores before a day, and sign-ins that no ad account of an integration uses. Returns how many rows."""
    is_idle = ~exists().where(integration.c.ad_account == account_reading.c.ad_account)
    is_free = ~exists().where(account_reading.c.login_id == pinterest_login.c.id)
    is_old = pinterest_login.c.connected_at < now - retention.UNUSED_LOGIN_SECONDS
    statements = (
        delete(quality_score).where(quality_score.c.day < before_day),
        delete(login_state).where(login_state.c.ends_at <= now),
        delete(account_reading).where(is_idle),
        delete(pinterest_login).where(is_free, is_old),
    )
    return sum(connection.execute(statement).rowcount for statement in statements)


def _state_key(vault: Vault, session: str, state: str) -> bytes:
    return vault.keyed_hash("sign in with pinterest", session, state)


def _sealed(
    vault: Vault,
    now: float,
    *,
    access_token: str,
    refresh_token: str,
    scope: str,
    access_seconds: float,
    refresh_seconds: float,
) -> dict[str, Any]:
    lifetime = min(access_seconds, refresh_seconds)
    return {
        "access_token": vault.seal(access_token.encode(), _ACCESS),
        "refresh_token": vault.seal(refresh_token.encode(), _REFRESH),
        "scope": scope,
        "access_ends_at": now + access_seconds,
        "refresh_ends_at": now + refresh_seconds,
        "refresh_at": now + max(_LEAST_REFRESH_SECONDS, lifetime * (1 - _REFRESH_AT_SHARE)),
    }


def _login(row: Any, vault: Vault) -> Login:
    values = dict(row._mapping)
    del values["refresh_at"]
    values["access_token"] = vault.open(row.access_token, _ACCESS).decode()
    values["refresh_token"] = vault.open(row.refresh_token, _REFRESH).decode()
    return Login(**values)


def _readings() -> Any:
    columns = [column for column in account_reading.c if column.name != "due_at"]
    return (
        select(
            *columns,
            ad_account.c.ad_account_id,
            pinterest_login.c.problem.label("login_problem"),
            pinterest_login.c.connected_at,
            pinterest_login.c.connected_by,
        )
        .join(ad_account, ad_account.c.id == account_reading.c.ad_account)
        .join(pinterest_login, pinterest_login.c.id == account_reading.c.login_id)
    )


def _reading(row: Any) -> Reading:
    return Reading(**row._mapping)
