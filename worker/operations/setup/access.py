"""Say who may use the service: users with a password, API tokens, and the sessions of both."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from functools import cache
from typing import Any

from sqlalchemy.exc import IntegrityError

from worker.event.times import iso
from worker.ledger.database import Ledger
from worker.ledger.setup import access
from worker.ledger.setup.access import Role, Token, User
from worker.operations.caller import Caller
from worker.operations.errors import DuplicateError, InvalidError, NotFoundError

_LONGEST_NAME = 64
_SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 128
_MASK = "***"


def list_users(caller: Caller) -> list[User]:
    """Return all users, by name."""
    with caller.ledger.read() as connection:
        return access.all_users(connection)


def create_user(caller: Caller, name: str, role: str, password: str, expires_at: float | None = None) -> User:
    """Add a user.

    Raises:
        InvalidError: the name, the role, the password or the expiry is not allowed.
        DuplicateError: the name is taken.
    """
    name = name.strip()
    _check(caller.now, name, {"name": name, "role": role, "password": password, "expires_at": expires_at})
    password_hash = access.hash_password(password)
    try:
        with caller.changing() as change:
            user = access.insert_user(
                change.connection, name, Role(role), password_hash, expires_at, change.actor, change.now
            )
            changes = {"role": [None, role]} | ({"expires_at": [None, iso(expires_at)]} if expires_at else {})
            change.record("user.create", user.actor, changes)
    except IntegrityError:
        raise DuplicateError(f"There is already a user named {name}.") from None
    return user


def change_user(caller: Caller, id_or_name: str, fields: Mapping[str, Any]) -> User:
    """Change ``role``, ``enabled``, ``expires_at`` or ``password`` of a user; a field that is missing stays.

    A new password, or disabling, ends the user's sessions at once.

    Raises:
        NotFoundError: there is no such user.
        InvalidError: a value is not allowed.
    """
    password = fields.get("password")
    with caller.ledger.read() as connection:
        before = _require_user(access.find_user(connection, id_or_name=id_or_name), id_or_name)
    _check(caller.now, before.name, fields)
    # Outside of the transaction: it takes long.
    password_hash = None if password is None else access.hash_password(password)
    with caller.changing() as change:
        before = _require_user(access.find_user(change.connection, id_or_name=before.id), id_or_name)
        changes, values = _differences(before, fields)
        if password_hash is not None:
            changes["password"], values["password_hash"] = [_MASK, _MASK], password_hash
        if not values:
            return before
        user = access.change_user(change.connection, before, values)
        change.record("user.change", user.actor, changes)
    return user


def change_own_password(caller: Caller, user: User, current: str, new: str) -> User:
    """Change the password of the person who is signed in; all of the person's sessions end.

    Raises:
        InvalidError: the current password is wrong, or the new one is not allowed.
    """
    if not access.is_password(current, user.password_hash):
        raise InvalidError("current", "is not your password")
    return change_user(caller, user.id, {"password": new})


def remove_user(caller: Caller, id_or_name: str) -> User:
    """Remove a user and end the user's sessions at once; return what it was.

    Raises:
        NotFoundError: there is no such user.
    """
    with caller.changing() as change:
        user = _require_user(access.find_user(change.connection, id_or_name=id_or_name), id_or_name)
        access.remove_user(change.connection, user)
        change.record("user.remove", user.actor, {"role": [user.role.value, None]})
    return user


def end_of_day(day: date) -> float:
    """Return the last second of a day in UTC, as an expiry."""
    return datetime.combine(day, time(23, 59, 59), UTC).timestamp()


def check_password(ledger: Ledger, name: str, password: str, now: float) -> User | None:
    """Return the user with a name and a password who may sign in.

    It takes the same time whether or not there is such a user: one hash.
    """
    decoy_hash = _decoy_hash()
    with ledger.read() as connection:
        user = access.find_user(connection, id_or_name=name)
    is_right = access.is_password(password[:LONGEST_PASSWORD], user.password_hash if user else decoy_hash)
    return user if user is not None and is_right and user.may_sign_in(now) else None


@cache
def _decoy_hash() -> str:
    """Return the hash of a password that no user can have."""
    return access.hash_password("")


def _require_user(user: User | None, id_or_name: str) -> User:
    if user is None:
        raise NotFoundError("user", id_or_name)
    return user


def _differences(before: User, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the audit log shows and the columns to change."""
    changes: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name in ("role", "enabled", "expires_at"):
        old = getattr(before, name)
        if name in fields and fields[name] != old:
            values[name] = fields[name]
            is_time = name == "expires_at"
            changes[name] = [
                iso(value) if is_time and value is not None else value for value in (old, fields[name])
            ]
    return changes, values


def _check(now: float, name: str, fields: Mapping[str, Any]) -> None:
    errors = {}
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        errors["name"] = f"must be 1 to {_LONGEST_NAME} printable characters"
    if "role" in fields and fields["role"] not in list(Role):
        errors["role"] = f"must be one of: {', '.join(Role)}"
    password = fields.get("password")
    if password is not None and not _SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        errors["password"] = f"must have {_SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters"
    elif password is not None and password.casefold() == name.casefold():
        errors["password"] = "must not be the name"  # noqa: S105 - a sentence, not a password.
    expires_at = fields.get("expires_at")
    if expires_at is not None and expires_at <= now:
        errors["expires_at"] = "must be in the future"
    if errors:
        raise InvalidError.of(errors)


_LONGEST_TOKEN_NAME = 64


def list_tokens(caller: Caller) -> list[Token]:
    """Return the valid API tokens, the oldest first; ADMIN_TOKEN is not one of them."""
    with caller.ledger.read() as connection:
        return access.valid_tokens(connection)


def create_token(caller: Caller, name: str, role: str) -> tuple[Token, str]:
    """Create an API token; return its description and the token itself, which cannot be shown again.

    Raises:
        InvalidError: the name is too long or empty, or there is no such role.
        DuplicateError: the name is taken.
    """
    name = name.strip()
    _check_token(name, role)
    try:
        with caller.changing() as change:
            token, text = access.insert_token(
                change.connection, change.vault, name, Role(role), change.actor, change.now
            )
            change.record("token.create", token.actor, {"role": [None, role]})
    except IntegrityError:
        raise DuplicateError(f"There is already a token named {name}.") from None
    return token, text


def revoke_token(caller: Caller, id_or_name: str) -> Token:
    """Revoke an API token and end its sessions at once; return what it was."""
    with caller.changing() as change:
        token = access.remove_token(change.connection, id_or_name)
        if token is None and (match := access.token_by_name(change.connection, id_or_name)):
            token = access.remove_token(change.connection, match.id)
        if token is None:
            raise NotFoundError("token", id_or_name)
        change.record("token.revoke", token.actor, {"role": [token.role.value, None]})
        return token


def _check_token(name: str, role: str) -> None:
    errors = {}
    if not 1 <= len(name) <= _LONGEST_TOKEN_NAME:
        errors["name"] = f"must be 1 to {_LONGEST_TOKEN_NAME} characters"
    if role not in list(Role):
        errors["role"] = f"must be one of: {', '.join(Role)}"
    if errors:
        raise InvalidError.of(errors)


def open_session(caller: Caller, key: bytes) -> str:
    """Open a session for the hash of a valid API token or the session key of a user; return the cookie's value."""
    with caller.changing() as change:
        cookie = access.open_session(change.connection, change.vault, key, change.now)
        change.record("session.open", change.actor, {})
    return cookie


def close_session(caller: Caller, cookie: str) -> None:
    """Close the session of a cookie."""
    with caller.changing() as change:
        access.close_session(change.connection, change.vault, cookie)
        change.record("session.close", change.actor, {})
