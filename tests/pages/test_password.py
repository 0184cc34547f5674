"""Changing one's own password."""

from flask import Flask

from tests.pages.conftest import OTHER_PASSWORD, PASSWORD, Pages, sign_in_user
from worker.ledger.database import Ledger
from worker.ledger.setup import access as ledger_access


def test_a_user_changes_the_own_password_and_is_signed_out_everywhere(anna: Pages, app: Flask) -> None:
    other_browser = Pages(app.test_client())
    sign_in_user(anna)
    sign_in_user(other_browser)
    wrong = anna.send(
        "/password", {"current": OTHER_PASSWORD, "password": OTHER_PASSWORD, "repeated": OTHER_PASSWORD}
    )
    assert (wrong.status_code, "Is not your password." in wrong.text) == (422, True)
    typo = anna.send("/password", {"current": PASSWORD, "password": OTHER_PASSWORD, "repeated": "another"})
    assert "Must be the same as the new password." in typo.text
    done = anna.send(
        "/password", {"current": PASSWORD, "password": OTHER_PASSWORD, "repeated": OTHER_PASSWORD}
    )

    assert "Password changed. Sign in with the new one." in anna.follow(done)
    assert other_browser.client.get("/").status_code == 303
    assert sign_in_user(anna).status_code == 401
    assert sign_in_user(anna, password=OTHER_PASSWORD).status_code == 303


def test_a_token_still_signs_in_and_has_no_password(pages: Pages, ledger: Ledger) -> None:
    assert "You are signed in with a token, which has no password." in pages.get("/password")
    fields = {"current": PASSWORD, "password": PASSWORD, "repeated": PASSWORD}
    assert pages.send("/password", fields).status_code == 422
    with ledger.read() as connection:
        assert ledger_access.all_users(connection) == []
