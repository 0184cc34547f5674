"""Add, change and remove people who sign in with a name and a password."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from functools import cache
from typing import Any

from sqlalchemy.exc import IntegrityError

from worker.event.times import iso
from worker.ledger.database import Ledger
from worker.ledger.setup import people
from worker.ledger.setup.people import Role, User
from worker.operations.caller import Caller
from worker.operations.errors import DuplicateError, InvalidError, NotFoundError

_LONGEST_NAME = 64
_SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 128
_MASK = "***"


def list_users(caller: Caller) -> list[User]:
    """Return all users, by name."""
    with caller.ledger.read() as connection:
        return people.all_users(connection)


def create_user(caller: Caller, name: str, role: str, password: str, expires_at: float | None = None) -> User:
    """Add a user.

    Raises:
        InvalidError: the name, the role, the password or the expiry is not allowed.
        DuplicateError: the name is taken.
    """
    name = name.strip()
    _check(caller.now, name, {"name": name, "role": role, "password": password, "expires_at": expires_at})
    hashed = people.hash_password(password)
    try:
        with caller.changing() as change:
            user = people.insert_user(
                change.connection, name, Role(role), hashed, expires_at, change.actor, change.now
            )
            given = {"role": [None, role]} | ({"expires_at": [None, iso(expires_at)]} if expires_at else {})
            change.record("user.create", user.actor, given)
    except IntegrityError:
        raise DuplicateError(f"There is already a user named {name}.") from None
    return user


def change_user(caller: Caller, id_or_name: str, wanted: Mapping[str, Any]) -> User:
    """Change ``role``, ``enabled``, ``expires_at`` or ``password`` of a user; a field that is missing stays.

    A new password, or disabling, ends the user's sessions at once.

    Raises:
        NotFoundError: there is no such user.
        InvalidError: a value is not allowed.
    """
    password = wanted.get("password")
    with caller.ledger.read() as connection:
        before = _found(people.find_user(connection, id_or_name=id_or_name), id_or_name)
    _check(caller.now, before.name, wanted)
    # Outside of the transaction: it takes long.
    hashed = None if password is None else people.hash_password(password)
    with caller.changing() as change:
        before = _found(people.find_user(change.connection, id_or_name=before.id), id_or_name)
        shown, values = _differences(before, wanted)
        if hashed is not None:
            shown["password"], values["password_hash"] = [_MASK, _MASK], hashed
        if not values:
            return before
        changed = people.change_user(change.connection, before, values)
        change.record("user.change", changed.actor, shown)
    return changed


def change_own_password(caller: Caller, user: User, current: str, new: str) -> User:
    """Change the password of the person who is signed in; all of the person's sessions end.

    Raises:
        InvalidError: the current password is wrong, or the new one is not allowed.
    """
    if not people.is_password(current, user.password_hash):
        raise InvalidError("current", "is not your password")
    return change_user(caller, user.id, {"password": new})


def remove_user(caller: Caller, id_or_name: str) -> User:
    """Remove a user and end the user's sessions at once; return what it was.

    Raises:
        NotFoundError: there is no such user.
    """
    with caller.changing() as change:
        user = _found(people.find_user(change.connection, id_or_name=id_or_name), id_or_name)
        people.remove_user(change.connection, user)
        change.record("user.remove", user.actor, {"role": [user.role.value, None]})
    return user


def end_of_day(day: date) -> float:
    """Return the last second of a day in UTC, as an expiry."""
    return datetime.combine(day, time(23, 59, 59), UTC).timestamp()


def check_password(ledger: Ledger, name: str, password: str, now: float) -> User | None:
    """Return the user with a name and a password who may sign in.

    It takes the same time whether or not there is such a user: one hash.
    """
    hash_of_nobody = _hash_of_nobody()
    with ledger.read() as connection:
        user = people.find_user(connection, id_or_name=name)
    is_right = people.is_password(password[:LONGEST_PASSWORD], user.password_hash if user else hash_of_nobody)
    return user if user is not None and is_right and user.may_sign_in(now) else None


@cache
def _hash_of_nobody() -> str:
    """Return the hash of a password that no user can have."""
    return people.hash_password("")


def _found(user: User | None, id_or_name: str) -> User:
    if user is None:
        raise NotFoundError("user", id_or_name)
    return user


def _differences(before: User, wanted: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the audit log shows and the columns to change."""
    shown: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name in ("role", "enabled", "expires_at"):
        old = getattr(before, name)
        if name in wanted and wanted[name] != old:
            values[name] = wanted[name]
            is_time = name == "expires_at"
            shown[name] = [iso(one) if is_time and one is not None else one for one in (old, wanted[name])]
    return shown, values


def _check(now: float, name: str, wanted: Mapping[str, Any]) -> None:
    errors = {}
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        errors["name"] = f"must be 1 to {_LONGEST_NAME} printable characters"
    if "role" in wanted and wanted["role"] not in list(Role):
        errors["role"] = f"must be one of: {', '.join(Role)}"
    password = wanted.get("password")
    if password is not None and not _SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        errors["password"] = f"must have {_SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters"
    elif password is not None and password.casefold() == name.casefold():
        errors["password"] = "must not be the name"  # noqa: S105 - a sentence, not a password.
    expires_at = wanted.get("expires_at")
    if expires_at is not None and expires_at <= now:
        errors["expires_at"] = "must be in the future"
    if errors:
        raise InvalidError.of(errors)
