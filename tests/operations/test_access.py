"""People who sign in with a name and a password."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from worker.ledger.database import Ledger
from worker.ledger.setup import access as ledger_access
from worker.ledger.setup import audit_log
from worker.ledger.setup.access import Role, User
from worker.operations.caller import Caller
from worker.operations.errors import DuplicateError, InvalidError, NotFoundError
from worker.operations.setup import access

NOW = 1_900_000_000.0
PASSWORD, OTHER = "correct horse battery", "staple correct horse"


@pytest.fixture
def caller(ledger: Ledger) -> Caller:
    return Caller(ledger, "kim", NOW)


def signed_in(ledger: Ledger, user: User, now: float = NOW) -> bool:
    """Return whether a session that is opened with a user's key leads to a user who may use it."""
    cookie = access.open_session(Caller(ledger, user.actor, NOW), user.session_key)
    return still_signed_in(ledger, cookie, now)


def still_signed_in(ledger: Ledger, cookie: str, now: float = NOW) -> bool:
    with ledger.read() as connection:
        key = ledger_access.token_of_session(connection, ledger.vault, cookie, NOW)
        user = ledger_access.find_user(connection, session_key=key) if key else None
    return user is not None and user.may_sign_in(now)


def test_a_user_signs_in_with_the_name_in_any_case_and_the_password_is_stored_nowhere(caller: Caller) -> None:
    user = access.create_user(caller, "  Änna ", "editor", PASSWORD, NOW + 60)

    for name in ("Änna", "änna", "ÄNNA "):
        assert access.check_password(caller.ledger, name, PASSWORD, NOW) == user
    assert access.check_password(caller.ledger, "Änna", OTHER, NOW) is None
    assert access.check_password(caller.ledger, "Eve", PASSWORD, NOW) is None
    assert access.check_password(caller.ledger, "Änna", PASSWORD, NOW + 60) is None
    assert (user.name, user.role, user.created_by, user.last_used_at) == ("Änna", Role.EDITOR, "kim", None)
    assert user.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert signed_in(caller.ledger, user)
    assert not signed_in(caller.ledger, user, NOW + 60)
    assert access.list_users(caller)[0].last_used_at == NOW
    with caller.ledger.read() as connection:
        entries = audit_log.newest_audit_entries(connection, 10)
    assert [(one["actor"], one["action"], one["object"]) for one in entries] == [
        (user.actor, "session.open", user.actor),
        (user.actor, "session.open", user.actor),
        ("kim", "user.create", user.actor),
    ]
    assert PASSWORD not in str(entries)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "An\nna"}, "name"),
        ({"role": "king"}, "role"),
        ({"password": "x" * 11}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"name": "anna-of-the-shop", "password": "Anna-of-the-shop"}, "password"),
        ({"expires_at": NOW}, "expires_at"),
    ],
)
def test_what_is_not_allowed_is_refused_with_its_field(given: dict[str, Any], field: str) -> None:
    wanted = {"name": "Anna", "role": "viewer", "password": PASSWORD, "expires_at": None} | given
    # Nothing reaches the ledger.
    with pytest.raises(InvalidError) as refused:
        access.create_user(Caller(None, "kim", NOW), **wanted)  # type: ignore[arg-type]
    assert list(refused.value.errors) == [field]


@pytest.mark.parametrize(
    ("changes", "shown", "ends"),
    [
        ({"role": "owner"}, {"role": ["viewer", "owner"]}, False),
        ({"expires_at": NOW + 60}, {"expires_at": [None, "2030-03-17T17:47:40.000Z"]}, False),
        ({"enabled": False}, {"enabled": [True, False]}, True),
        ({"password": OTHER}, {"password": ["***", "***"]}, True),
        ({"role": "viewer", "enabled": True, "expires_at": None}, None, False),
    ],
    ids=["role", "expiry", "disabled", "password", "nothing"],
)
def test_a_change_is_audited_and_a_password_or_disabling_ends_the_sessions(
    caller: Caller, changes: dict[str, Any], shown: dict[str, Any] | None, ends: bool
) -> None:
    user = access.create_user(caller, "Anna", "viewer", PASSWORD)
    cookie = access.open_session(Caller(caller.ledger, user.actor, NOW), user.session_key)
    access.change_user(caller, "anna", changes)

    assert still_signed_in(caller.ledger, cookie) != ends
    with caller.ledger.read() as connection:
        (newest,) = audit_log.newest_audit_entries(connection, 1)
    assert (newest["changes"] if newest["action"] == "user.change" else None) == shown
    right = changes.get("password", PASSWORD)
    assert (access.check_password(caller.ledger, "Anna", right, NOW) is None) == (
        changes.get("enabled") is False
    )
    access.change_user(caller, user.id, {"enabled": True})
    assert access.check_password(caller.ledger, "Anna", right, NOW) is not None
    # What ended stays so.
    assert still_signed_in(caller.ledger, cookie) != ends


def test_a_removed_user_is_signed_out_and_a_new_one_of_the_same_name_is_another(caller: Caller) -> None:
    user = access.create_user(caller, "Anna", "viewer", PASSWORD)
    cookie = access.open_session(Caller(caller.ledger, user.actor, NOW), user.session_key)
    assert access.remove_user(caller, "Anna").id == user.id

    assert not still_signed_in(caller.ledger, cookie)
    with pytest.raises(NotFoundError):
        access.remove_user(caller, user.id)
    again = access.create_user(caller, "anna", "viewer", OTHER)
    assert again.actor != user.actor
    assert not still_signed_in(caller.ledger, cookie)


def test_ones_own_password_needs_the_current_one(caller: Caller) -> None:
    user = access.create_user(caller, "Anna", "viewer", PASSWORD)
    with pytest.raises(InvalidError, match="current: is not your password"):
        access.change_own_password(caller, user, OTHER, OTHER)
    access.change_own_password(caller, user, PASSWORD, OTHER)
    assert access.check_password(caller.ledger, "Anna", OTHER, NOW) is not None
    assert access.check_password(caller.ledger, "Anna", PASSWORD, NOW) is None


def test_of_two_people_who_add_a_name_at_once_one_is_refused(caller: Caller) -> None:
    def add(name: str) -> str:
        try:
            return access.create_user(caller, name, "viewer", PASSWORD).name
        except DuplicateError as error:
            return error.message

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(add, ["Anna", "anna", "ANNA", "aNNa"]))
    assert len(access.list_users(caller)) == 1
    assert sum(one.startswith("There is already a user named") for one in done) == 3


def test_a_name_that_does_not_exist_costs_as_much_as_a_wrong_password(caller: Caller) -> None:
    access.create_user(caller, "Anna", "viewer", PASSWORD)

    def processor_seconds(name: str) -> float:
        began = time.thread_time()
        assert access.check_password(caller.ledger, name, OTHER, NOW) is None
        return time.thread_time() - began

    processor_seconds("warm up")
    known, unknown = (min(processor_seconds(name) for _ in range(3)) for name in ("Anna", "Eve"))
    assert 0.5 < known / unknown < 2
