"""Signing in and out, and what a session is worth."""

import time

import pytest
from flask import Flask
from freezegun import freeze_time

from tests.api.conftest import TOKEN
from tests.pages.conftest import Pages, csrf_of, made_token
from worker.api import auth
from worker.ledger.database import Ledger
from worker.ledger.setup import user_access
from worker.ledger.setup.user_access import _SESSION_SECONDS, Role
from worker.pages.sign_in import MOST_WRONG_BY_ADDRESS
from worker.settings import Settings
from worker.web.management import create_app


def test_the_token_of_the_environment_signs_the_owner_in(stranger: Pages) -> None:
    answer = stranger.sign_in()

    assert (answer.status_code, answer.location) == (303, "/")
    assert "Signed in as admin (owner)" in stranger.get("/")


def test_the_cookie_is_for_this_site_and_for_no_script(stranger: Pages) -> None:
    cookie = stranger.sign_in().headers["Set-Cookie"]

    assert cookie.startswith("signal_session=")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie


def test_over_https_the_cookie_never_goes_out_in_clear(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/sign-in", base_url="https://localhost")
    data = {"csrf": csrf_of(page.text), "token": TOKEN}
    answer = client.post("/sign-in", data=data, base_url="https://localhost")

    assert "Secure" in answer.headers["Set-Cookie"]


def test_a_wrong_token_is_refused_and_not_shown_again(stranger: Pages) -> None:
    answer = stranger.sign_in("a wrong token")

    assert answer.status_code == 401
    assert "Invalid token." in answer.text
    assert "a wrong token" not in answer.text


def test_too_many_wrong_tokens_are_slowed_down_and_the_right_one_is_accepted(stranger: Pages) -> None:
    for _ in range(MOST_WRONG_BY_ADDRESS):
        assert stranger.sign_in("wrong").status_code == 401

    answer = stranger.sign_in("wrong")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 900
    assert "Wait 15 minutes, or enter a valid token" in answer.text
    assert stranger.sign_in().status_code == 303


def test_strangers_on_many_addresses_lock_nobody_out(app: Flask) -> None:
    for number in range(120):
        guesser = Pages(app.test_client())
        guesser.client.environ_base["REMOTE_ADDR"] = f"198.51.100.{number}"
        guesser.sign_in("wrong")

    owner = Pages(app.test_client())
    owner.client.environ_base["REMOTE_ADDR"] = "192.0.2.77"
    assert owner.sign_in().status_code == 303


def test_a_form_of_another_site_signs_nobody_in(app: Flask) -> None:
    client = app.test_client()
    client.get("/sign-in")

    assert client.post("/sign-in", data={"token": TOKEN}).status_code == 403
    assert client.post("/sign-in", data={"token": TOKEN, "csrf": "made up"}).status_code == 403


@pytest.mark.parametrize(
    ("wanted", "goes_to"),
    [
        ("/failed?reason_class=refused", "/failed?reason_class=refused"),
        ("https://example.com/", "/"),
        ("//example.com/", "/"),
        ("/\\example.com/", "/"),
        ("/\t/example.com/", "/"),
        ("", "/"),
    ],
)
def test_signing_in_leads_back_to_the_page_that_was_asked_for_and_nowhere_else(
    stranger: Pages, wanted: str, goes_to: str
) -> None:
    assert stranger.sign_in(next=wanted).location == goes_to


def test_a_page_asked_for_without_a_session_is_remembered(stranger: Pages) -> None:
    answer = stranger.client.get("/failed?event_name=checkout")

    assert (answer.status_code, answer.location) == (303, "/sign-in?next=/failed?event_name%3Dcheckout")


def test_signing_out_ends_the_session_also_for_a_copy_of_the_cookie(pages: Pages, app: Flask) -> None:
    cookie = pages.client.get_cookie(auth.SESSION_COOKIE)
    assert cookie
    pages.send("/sign-out")

    copy = app.test_client()
    copy.set_cookie(auth.SESSION_COOKIE, cookie.value)
    assert copy.get("/").status_code == 303


def test_a_session_ends_by_itself(pages: Pages) -> None:
    with freeze_time(time.strftime("%Y-%m-%d", time.gmtime(time.time() + _SESSION_SECONDS + 86_400))):
        assert pages.client.get("/").status_code == 303


def test_a_form_sent_after_the_end_changes_nothing_and_says_so(pages: Pages, ledger: Ledger) -> None:
    pages.client.delete_cookie(auth.SESSION_COOKIE)
    answer = pages.client.post("/sources/add", data={"name": "Shop"})

    assert answer.status_code == 401
    assert "Your session has ended. Nothing was changed." in answer.text


def test_a_session_ends_with_its_token(app: Flask, ledger: Ledger) -> None:
    pages = Pages(app.test_client())
    pages.sign_in(made_token(ledger, Role.EDITOR))
    assert "Signed in as Anna" in pages.get("/")
    with ledger.write() as connection:
        user_access.remove_token(connection, user_access.valid_tokens(connection)[0].id)

    assert pages.client.get("/").status_code == 303


def test_a_new_token_of_the_environment_ends_the_owners_sessions(
    pages: Pages, ledger: Ledger, settings: Settings
) -> None:
    from dataclasses import replace

    cookie = pages.client.get_cookie(auth.SESSION_COOKIE)
    assert cookie
    restarted = create_app(ledger, replace(settings, admin_token="another-token-than-before")).test_client()
    restarted.set_cookie(auth.SESSION_COOKIE, cookie.value)

    assert restarted.get("/").status_code == 303


def test_a_session_opens_the_apis_description(pages: Pages) -> None:
    assert pages.client.get("/v1/admin/docs/").status_code == 200


def test_a_session_is_no_way_into_the_api_itself(pages: Pages) -> None:
    assert pages.client.get("/v1/admin/sources").status_code == 401
