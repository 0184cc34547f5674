"""Users and API tokens on the pages."""

import re
import time

import pytest
from flask import Flask

from tests.pages.conftest import OTHER_PASSWORD, PASSWORD, Pages, sign_in_user
from worker.ledger.database import Ledger
from worker.ledger.setup import access as ledger_access
from worker.ledger.setup import audit_log
from worker.operations.caller import Caller
from worker.operations.setup import access


@pytest.mark.usefixtures("lanes")
def test_an_owner_adds_changes_and_removes_a_user_who_signs_in(
    pages: Pages, app: Flask, ledger: Ledger
) -> None:
    new = {"user_name": "Anna", "user_role": "viewer", "password": PASSWORD, "expires_at": "2999-12-31"}
    page = pages.follow(pages.send("/access/users", new))
    assert "2999-12-31 23:59:59 UTC" in page
    assert PASSWORD not in page
    anna = Pages(app.test_client())
    assert sign_in_user(anna, "anna").status_code == 303
    assert "Signed in as Anna (usr_" in anna.get("/")
    assert anna.client.get("/access").status_code == 403
    (user,) = access.list_users(Caller(ledger, "kim", time.time()))

    path = f"/access/users/{user.id}"
    untouched = {"expires_at": "2999-12-31", "expired_before": "2999-12-31"}
    pages.send(path, {"role": "owner", "password": ""} | untouched)
    assert "Anna" in anna.get("/access")
    anna.send(path, {"role": "editor", "expires_at": "", "expired_before": "2999-12-31"})
    assert anna.client.get("/access").status_code == 403
    pages.send(path, {"action": "disable"})
    assert anna.client.get("/").status_code == 303
    assert sign_in_user(anna).status_code == 401
    assert '<span class="tag">disabled</span>' in pages.get("/access")
    pages.send(path, {"action": "enable"})
    assert sign_in_user(anna).status_code == 303
    pages.send(path, {"action": "remove"})
    assert anna.client.get("/").status_code == 303
    with ledger.read() as connection:
        entries = audit_log.newest_audit_entries(connection, 20)
    changes = [(one["actor"], one["changes"]) for one in entries if one["action"] == "user.change"]
    assert [actor for actor, _ in changes] == ["admin", "admin", user.actor, "admin"]
    assert changes[2][1] == {
        "role": ["owner", "editor"],
        "expires_at": ["2999-12-31T23:59:59.000Z", None],
    }


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"user_name": " "}, "Must be 1 to 64 printable characters."),
        ({"user_name": "aNNa"}, "There is already a user named aNNa."),
        ({"user_role": "king"}, "Must be one of: viewer, editor, owner."),
        ({"password": "short"}, "Must have 12 to 128 characters."),
        ({"expires_at": "soon"}, "Must be a date like 2030-01-29."),
        ({"expires_at": "2020-01-29"}, "Must be in the future."),
    ],
)
def test_a_wrong_field_is_named_and_the_password_is_not_shown_again(
    pages: Pages, anna: Pages, wrong: dict[str, str], sentence: str
) -> None:
    right = {"user_name": "Eve", "user_role": "viewer", "password": OTHER_PASSWORD, "expires_at": ""}
    answer = pages.send("/access/users", right | wrong)
    assert (answer.status_code, sentence in answer.text) == (422, True)
    assert OTHER_PASSWORD not in answer.text


def test_a_token_is_shown_once_and_works(pages: Pages, app: Flask, ledger: Ledger) -> None:
    page = pages.send("/access", {"name": "Anna", "role": "editor"}).text
    (token,) = re.findall(r"sig_[A-Za-z0-9_-]{43}", page)
    assert token not in pages.get("/access")
    anna = Pages(app.test_client())
    anna.sign_in(token)

    assert "Signed in as Anna (tok_" in anna.get("/")
    with ledger.read() as connection:
        assert token not in str(audit_log.newest_audit_entries(connection, 10))


def test_names_and_roles_are_checked(pages: Pages) -> None:
    pages.send("/access", {"name": "Anna", "role": "viewer"})

    for wrong, sentence in (
        ({"name": "Anna", "role": "viewer"}, "There is already a token named Anna."),
        ({"name": " ", "role": "viewer"}, "Must be 1 to 64 characters."),
        ({"name": "x" * 65, "role": "viewer"}, "Must be 1 to 64 characters."),
        ({"name": "Eve", "role": "king"}, "Must be one of: viewer, editor, owner."),
    ):
        answer = pages.send("/access", wrong)
        assert (answer.status_code, sentence in answer.text) == (422, True)


def test_a_revoked_token_is_gone(pages: Pages, ledger: Ledger) -> None:
    pages.send("/access", {"name": "Anna", "role": "viewer"})
    with ledger.read() as connection:
        (made,) = ledger_access.valid_tokens(connection)
    page = pages.follow(pages.send(f"/access/{made.id}/revoke"))

    assert "Token revoked" in page
    assert "Anna" not in page
    assert pages.send(f"/access/{made.id}/revoke").status_code == 404
