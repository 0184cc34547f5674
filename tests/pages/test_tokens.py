"""Handing out access on the pages."""

import re

from flask import Flask

from tests.pages.conftest import Pages
from worker.ledger.database import Ledger
from worker.ledger.setup import audit_log, user_access


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
        (made,) = user_access.valid_tokens(connection)
    page = pages.follow(pages.send(f"/access/{made.id}/revoke"))

    assert "Token revoked" in page
    assert "Anna" not in page
    assert pages.send(f"/access/{made.id}/revoke").status_code == 404
